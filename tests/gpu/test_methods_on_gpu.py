"""Runs on the GPU with other optimisers and predictions: as on the CPU, and resumed exactly."""

import dataclasses

import numpy as np
import pytest

from tinyddpm import data
from tinyddpm.nn import UNetConfig
from tinyddpm.runs import checkpoint
from tinyddpm.runs.config import from_dict
from tinyddpm.runs.folder import CHECKPOINT, METRICS, read_metrics
from tinyddpm.runs.training import run

LEAST = UNetConfig(base=4, levels=(1,), attention=(), groups=2, blocks=1, middle_attention=False)
OPTIONS = {"T": 3, "batch_size": 8, "warmup": 2, "every": 3, "steps": 8, "workers": 1, "shards": 1}
METHODS = [
    {"optimiser": "momentum", "predicts": "eps", "beta": 0.01},
    {"optimiser": "adam", "predicts": "v", "decay": "linear"},
    {"optimiser": "adam", "weight": "min_snr", "loss_aware_t": True, "batch_size": 24}
    | {"gpu_shards": 3},
    {"learn_sigma": True, "predicts": "eps", "optimiser": "adam"},
]


def J(folder):
    return [step["J"] for step in read_metrics(folder / METRICS)[0]]


@pytest.mark.parametrize("method", METHODS, ids=lambda m: " ".join(map(str, m.values())))
def test_a_run_is_that_of_the_cpu_and_is_resumed_exactly(method, tmp_path):
    np.save(tmp_path / "x.npy", data.digits().images[:40, 0])
    config = from_dict({"data": str(tmp_path / "x.npy")} | OPTIONS | method)
    config = dataclasses.replace(config, unet=LEAST)
    on_gpu = dataclasses.replace(config, device="cuda")
    run(config, tmp_path / "cpu")
    run(on_gpu, tmp_path / "whole")
    for steps in (2, 5, 8):
        run(dataclasses.replace(on_gpu, steps=steps), tmp_path / "parts", resume="if there")
    np.testing.assert_allclose(J(tmp_path / "whole"), J(tmp_path / "cpu"), rtol=1e-3)
    assert J(tmp_path / "parts") == J(tmp_path / "whole")
    a, b = (checkpoint.load(tmp_path / name / CHECKPOINT) for name in ("parts", "whole"))
    for before, after in ((a.theta, b.theta), (a.memory, b.memory)):
        assert before.keys() == after.keys()
        assert all(before[name].tobytes() == after[name].tobytes() for name in before)
