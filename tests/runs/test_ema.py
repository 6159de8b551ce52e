"""The EMA in a run's checkpoints, beside its closed form."""

import dataclasses

import numpy as np
import pytest
from small_runs import TINY

from tinyddpm.runs import checkpoint
from tinyddpm.runs.folder import BEST, RunFolder
from tinyddpm.runs.training import run


@pytest.mark.parametrize("decay", [0.999, 0.2, 0.0])
def test_the_ema_is_a_weighted_mean_of_the_thetas_after_each_step(tmp_path, decay):
    """Σ_k w_k θ_k, with w_k = (1 − d_k) Π_{j>k} d_j, and Π_j d_j for the θ_0 of the start.

    The θ_k are those in the run's own checkpoints: one for each step, after it.
    """
    config = dataclasses.replace(TINY, steps=6, every=1, keep=9, ema_decay=decay)
    run(config, tmp_path / "x")
    paths = [path for path in RunFolder(tmp_path / "x").checkpoints() if path.name != BEST]
    saved = {found.step: found for found in map(checkpoint.load, paths)}
    assert sorted(saved) == [1, 2, 3, 4, 5, 6]
    thetas = [config.make_unet().initialise(config.seed).state()]
    thetas += [saved[k].theta for k in range(1, 7)]
    d = [0.0] + [min(decay, (1 + k) / (10 + k)) for k in range(1, 7)]
    for k in range(1, 7):
        weights = [(1 - d[j]) * np.prod(d[j + 1 : k + 1]) for j in range(k + 1)]
        assert sum(weights) == pytest.approx(1)
        for name, found in saved[k].ema.items():
            expected = sum(w * theta[name].astype(np.float64) for w, theta in zip(weights, thetas))
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    moved = max(abs(thetas[6][name] - thetas[5][name]).max() for name in thetas[6])
    assert moved > 1e-4  # or a θ of another step would do as well
