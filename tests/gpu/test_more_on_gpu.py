"""What lies beyond the lecture, `tinyddpm.more`, with its arrays on the GPU: CuPy gives what NumPy gives.

Not here: schedules (tables, on the host) and `thresholded`, whose percentiles need a sort that only a GPU itself can run.
"""
import inspect
import os

import numpy as np
import pytest
from on_gpu import assert_same, bound, moved
from oracles import perturb

from autograd.backend import array_module, to_device
from tinyddpm import noise, schedule
from tinyddpm.more import classes, editing, gaussian, ideal, likelihood, predictions, reverse, solvers
from tinyddpm.sampler import ancestral, ddim

S, SHAPE = schedule.linear(8), (1, 2, 3)
rng = np.random.default_rng(0)
X0 = (rng.integers(0, 5, (4, *SHAPE)) / 2 - 1).astype(np.float32)  # of 5 grey levels
EPS, XT, T = rng.standard_normal((4, *SHAPE)).astype(np.float32), rng.standard_normal((4, *SHAPE)).astype(np.float32), np.array([2, 3, 5, 8])
MASK, SHARES, LABELS = np.array([[1, 0, 1], [0, 0, 1]]), np.array([0.0, 0.3, 1.0]), np.array([0, 2, 1, 2])


def draws(like):
    """noise(t) of the samplers, where `like` is and in its shape."""
    return lambda t: noise.normal(0, "sampling", t, array_module(like).arange(len(like)), like.shape[1:])


def half(xt, t):
    return 0.5 * xt


def last(chain):
    *_, (_, xt, x0_hat) = chain
    return xt, x0_hat


SIMPLE = [getattr(predictions, name) for name in ("x0_from_eps", "x0_from_v", "eps_from_x0", "eps_from_v", "v_from_x0", "v_from_eps", "x0_from_x0")] + [
    reverse.posterior_mean_from_eps, reverse.posterior_mean_from_v]
CASES = {f.__name__: lambda x0, eps, xt, t, f=f: f(S, eps, xt, t) for f in SIMPLE} | {
    "velocity": lambda x0, eps, xt, t: predictions.velocity(S, x0, t, eps),
    "denoiser of v": lambda x0, eps, xt, t: predictions.denoiser(half, S, "v")(xt, t),
    "at_timesteps": lambda x0, eps, xt, t: reverse.at_timesteps(ideal.ideal_denoiser(x0, S), [1, 2, 4, 6, 7])(xt, t // 2),
    "ideal_denoiser": lambda x0, eps, xt, t: ideal.ideal_denoiser(x0, S)(xt, t),
    "gaussian_denoiser": lambda x0, eps, xt, t: gaussian.gaussian_denoiser(S, np.full(SHAPE, 0.1), np.diag([1.0, 2, 3, 4, 5, 6]))(xt, t),
    "probability_flow": lambda x0, eps, xt, t: gaussian.probability_flow(S, np.full(SHAPE, 0.1), 0.25, xt, 8, 3),
    "prior_term": lambda x0, eps, xt, t: likelihood.prior_term(S, x0),
    "terms": lambda x0, eps, xt, t: tuple(bits for _, bits in likelihood.terms(half, S, x0, draws(x0), 5)),
    "ddim_inversion": lambda x0, eps, xt, t: last(solvers.ddim_inversion(half, S, x0, steps=4, rounds=2)),
    "dpm_solver": lambda x0, eps, xt, t: last(solvers.dpm_solver(half, S, xt, steps=4)),
    "heun": lambda x0, eps, xt, t: last(solvers.heun(half, S, xt, steps=4)),
    "image_to_image": lambda x0, eps, xt, t: last(editing.image_to_image(half, S, x0, 5, eps, noise=draws(x0))),
    "interpolate_at": lambda x0, eps, xt, t: last(editing.interpolate_at(half, S, x0[0], x0[1], SHARES, 5, eps[0], ddim, noise=None, steps=3)),
    "slerp": lambda x0, eps, xt, t: editing.slerp(xt[0], xt[1], SHARES),
    "interpolate_latents": lambda x0, eps, xt, t: last(editing.interpolate_latents(half, S, x0[0], x0[1], SHARES, lambda pair: pair, noise=None, steps=3)),
    "inpaint": lambda x0, eps, xt, t: last(editing.inpaint(half, S, x0, array_module(x0).asarray(MASK), xt, draws(x0), resamplings=2, jump=3)),
    "respaced": lambda x0, eps, xt, t: last(ancestral(half, reverse.respaced(S, [2, 5, 8]), xt, draws(xt))),
    "dropped": lambda x0, eps, xt, t: classes.dropped(array_module(xt).asarray(LABELS), 3, 0.5)(7, t // 3),
    "by_class": lambda x0, eps, xt, t: classes.by_class([half, lambda xt, t: xt, lambda xt, t: 2 * xt, half])(xt, t, array_module(xt).asarray(LABELS)),
    "guided": lambda x0, eps, xt, t: classes.guided(lambda xt, t, labels: xt * labels[:, None, None, None], array_module(xt).asarray(LABELS), 3, 2.0)(xt, t),
}


@pytest.mark.parametrize("name", CASES)
def test_cupy_gives_what_numpy_gives(name):
    found, expected = (CASES[name](*arrays) for arrays in (moved((X0, EPS, XT, T)), (X0, EPS, XT, T)))
    for gpu, cpu in zip(*(result if isinstance(result, tuple) else (result,) for result in (found, expected)), strict=True):
        assert_same(gpu, cpu, name, tolerance=2e-5)


@pytest.mark.parametrize("predicts, weight", [("eps", "none"), ("v", "min_snr")])
def test_gradient_of_a_network_with_classes(predicts, weight):
    unet = classes.ClassUNet(classes.ClassConfig(image=(1, 2, 4), base=4, levels=(1, 2), attention=(), groups=2, heads=2, classes=3))
    theta = perturb(unet.initialise(0), np.random.default_rng(0)).theta
    x0, eps = np.random.default_rng(1).standard_normal((2, 4, 1, 2, 4)).astype(np.float32)
    results = []
    for device in ("cuda", "cpu"):
        bound(unet, theta, device)
        J, errors = predictions.gradient(unet, S, *(to_device(a, device) for a in (x0, T, eps)), cond=to_device(LABELS, device), predicts=predicts, weight=weight)
        results.append((J, errors, unet.grad))
    for gpu, cpu in zip(*results):
        assert_same(gpu, cpu, tolerance=2e-4)


@pytest.mark.skipif(os.environ.get("TINYDDPM_GPU") == "simulated", reason="sorting is device code inside CuPy's own libraries")
def test_thresholding():
    found, expected = (reverse.thresholded(lambda xt, t: 3 * xt, 90)(xt, None) for xt in (moved(XT), XT))
    assert_same(found, expected)


def test_nothing_is_left_out():
    """Every public function of these files is in CASES, or works on tables or numbers alone."""
    without_arrays = {"truncated", "resampling_path", "q_jump", "least_J", "moments", "step_coefficients", "model_variance", "mean_and_error", "weights", "interpolated_variance",
                      "step_term", "decoder_term", "log_probability", "grey_numbers", "bits_per_dimension", "gradient", "denoiser", "thresholded"}  # or is called by one of them
    modules = (classes, editing, gaussian, ideal, likelihood, predictions, reverse, solvers)
    public = {name for module in modules for name, f in vars(module).items() if inspect.isfunction(f) and f.__module__ == module.__name__ and not name.startswith("_")}
    assert public - without_arrays <= CASES.keys() and without_arrays <= public
