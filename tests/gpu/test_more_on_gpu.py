"""What lies beyond the lecture, `tinyddpm.more`, on the GPU: CuPy gives what NumPy gives.

Not here: schedules (tables, on the host) and `thresholded`, whose percentiles need a sort that only
a GPU itself can run.
"""

import inspect
import os

import numpy as np
import pytest
from on_gpu import assert_same, bound, moved
from oracles import perturb

from autograd.backend import array_module, to_device
from tinyddpm import noise, schedule
from tinyddpm.more import (
    chain,
    classes,
    editing,
    gaussian,
    ideal,
    likelihood,
    predictions,
    reverse,
    solvers,
    variance,
)
from tinyddpm.more.solvers import ddim
from tinyddpm.sampler import ancestral

S, SHAPE = schedule.linear(8), (1, 2, 3)
rng = np.random.default_rng(0)
X0 = (rng.integers(0, 5, (4, *SHAPE)) / 2 - 1).astype(np.float32)  # of 5 grey levels
EPS = rng.standard_normal((4, *SHAPE)).astype(np.float32)
XT = rng.standard_normal((4, *SHAPE)).astype(np.float32)
T = np.array([2, 3, 5, 8])
MASK, FRACTIONS = np.array([[1, 0, 1], [0, 0, 1]]), np.array([0.0, 0.3, 1.0])
LABELS = np.array([0, 2, 1, 2])
MEAN = np.full(SHAPE, 0.1)
MODULES = (chain, classes, editing, gaussian, ideal, likelihood, predictions, reverse, solvers)
MODULES += (variance,)
# These work on tables or numbers alone, or are called by a function in CASES.
WITHOUT_ARRAYS = {
    "truncated",
    "resampling_path",
    "q_jump",
    "least_J",
    "moments",
    "step_coefficients",
    "model_variance",
    "mean_and_error",
    "weights",
    "interpolated_variance",
    "step_term",
    "decoder_term",
    "log_probability",
    "grey_numbers",
    "bits_per_dimension",
    "gradient",
    "denoiser",
    "converter",
    "roots",
    "nearest_levels",
    "standard_bin",
    "rows",
    "twice_as_wide",
    "thresholded",
}


def draws(like):
    """noise(t) of the samplers, where `like` is and in its shape."""
    index = array_module(like).arange(len(like))
    return lambda t: noise.normal(0, "sampling", t, index, like.shape[1:])


def half(xt, t):
    return 0.5 * xt


def labelled(xt, t, labels):
    return xt * labels[:, None, None, None]


def beside(array, like):
    """A NumPy array, where `like` is."""
    return array_module(like).asarray(array)


def last(film):
    *_, (_, xt, x0_hat) = film
    return xt, x0_hat


def q_chain(x0, eps, xt, t):
    return tuple(xt for _, xt in chain.q_chain(S, x0, draws(x0)))


def ideal_at(x0, eps, xt, t):
    denoiser = ideal.ideal_denoiser(x0, S)
    return reverse.at_timesteps(denoiser, [1, 2, 4, 6, 7])(xt, t // 2)


def gaussian_denoiser(x0, eps, xt, t):
    covariance = np.diag([1.0, 2, 3, 4, 5, 6])
    return gaussian.gaussian_denoiser(S, MEAN, covariance)(xt, t)


def terms(x0, eps, xt, t):
    return tuple(bits for _, bits in likelihood.terms(half, S, x0, draws(x0), 5))


def interpolate_at(x0, eps, xt, t):
    ends, options = (x0[0], x0[1]), {"noise": None, "steps": 3}
    return last(editing.interpolate_at(half, S, *ends, FRACTIONS, 5, eps[0], ddim, **options))


def interpolate_latents(x0, eps, xt, t):
    ends, options = (x0[0], x0[1]), {"noise": None, "steps": 3}
    pairs = editing.interpolate_latents(half, S, *ends, FRACTIONS, lambda pair: pair, **options)
    return last(pairs)


def inpaint(x0, eps, xt, t):
    mask, options = beside(MASK, x0), {"resamplings": 2, "jump": 3}
    return last(editing.inpaint(half, S, x0, mask, xt, draws(x0), **options))


# A network that answers half of x_t, and as v what it was given for it, which is 0.
LEARNED = variance.VarianceDenoiser(half, S)


def nats(x0, eps, xt, t):
    """Of all t, the first too."""
    how = {"schedule": S, "x0": x0, "x0_hat": eps, "t": t - 1, "grey_levels": 5}
    return variance.nats(xt, **how).data


def learned_terms(x0, eps, xt, t):
    return tuple(bits for _, bits in variance.terms(LEARNED, S, x0, draws(x0), 5))


def by_class(x0, eps, xt, t):
    denoisers = [half, lambda xt, t: xt, lambda xt, t: 2 * xt, half]
    return classes.by_class(denoisers)(xt, t, beside(LABELS, xt))


def guided(x0, eps, xt, t):
    return classes.guided(labelled, beside(LABELS, xt), 3, 2.0)(xt, t)


CONVERSIONS = (
    predictions.x0_from_eps,
    predictions.x0_from_v,
    predictions.eps_from_x0,
    predictions.eps_from_v,
    predictions.v_from_x0,
    predictions.v_from_eps,
    predictions.x0_from_x0,
    reverse.posterior_mean_from_eps,
    reverse.posterior_mean_from_v,
)
CASES = {f.__name__: lambda x0, eps, xt, t, f=f: f(S, eps, xt, t) for f in CONVERSIONS} | {
    "velocity": lambda x0, eps, xt, t: predictions.velocity(S, x0, t, eps),
    "denoiser of v": lambda x0, eps, xt, t: predictions.denoiser(half, S, "v")(xt, t),
    "at_timesteps": ideal_at,
    "ideal_denoiser": lambda x0, eps, xt, t: ideal.ideal_denoiser(x0, S)(xt, t),
    "gaussian_denoiser": gaussian_denoiser,
    "probability_flow": lambda x0, eps, xt, t: gaussian.probability_flow(S, MEAN, 0.25, xt, 8, 3),
    "prior_term": lambda x0, eps, xt, t: likelihood.prior_term(S, x0),
    "terms": terms,
    "log_variance": lambda x0, eps, xt, t: variance.log_variance(S, eps, t),
    "nats": nats,
    "terms of a learned variance": learned_terms,
    "ancestral_learned": lambda x0, eps, xt, t: last(
        variance.ancestral_learned(LEARNED, S, xt, draws(xt), steps=4)
    ),
    "q_step": lambda x0, eps, xt, t: chain.q_step(S, x0, t, eps),
    "q_chain": q_chain,
    "ddim": lambda x0, eps, xt, t: last(ddim(half, S, xt, draws(xt), steps=4, eta=0.5)),
    "ddim_inversion": lambda x0, eps, xt, t: last(
        solvers.ddim_inversion(half, S, x0, steps=4, rounds=2)
    ),
    "dpm_solver": lambda x0, eps, xt, t: last(solvers.dpm_solver(half, S, xt, steps=4)),
    "heun": lambda x0, eps, xt, t: last(solvers.heun(half, S, xt, steps=4)),
    "image_to_image": lambda x0, eps, xt, t: last(
        editing.image_to_image(half, S, x0, 5, eps, noise=draws(x0))
    ),
    "interpolate_at": interpolate_at,
    "slerp": lambda x0, eps, xt, t: editing.slerp(xt[0], xt[1], FRACTIONS),
    "interpolate_latents": interpolate_latents,
    "inpaint": inpaint,
    "respaced": lambda x0, eps, xt, t: last(
        ancestral(half, reverse.respaced(S, [2, 5, 8]), xt, draws(xt))
    ),
    "dropped": lambda x0, eps, xt, t: classes.dropped(beside(LABELS, xt), 3, 0.5)(7, t // 3),
    "by_class": by_class,
    "guided": guided,
}


@pytest.mark.parametrize("name", CASES)
def test_cupy_gives_what_numpy_gives(name):
    arrays = (X0, EPS, XT, T)
    results = [CASES[name](*moved(arrays)), CASES[name](*arrays)]
    results = [result if isinstance(result, tuple) else (result,) for result in results]
    for gpu, cpu in zip(*results, strict=True):
        assert_same(gpu, cpu, name, tolerance=2e-5)


@pytest.mark.parametrize("predicts, weight", [("eps", "none"), ("v", "min_snr")])
def test_gradient_of_a_network_with_classes(predicts, weight):
    config = classes.ClassConfig(
        image=(1, 2, 4), base=4, levels=(1, 2), attention=(), groups=2, heads=2, classes=3
    )
    unet = classes.ClassUNet(config)
    theta = perturb(unet.initialise(0), np.random.default_rng(0)).theta
    x0, eps = np.random.default_rng(1).standard_normal((2, 4, 1, 2, 4)).astype(np.float32)
    results = []
    for device in ("cuda", "cpu"):
        bound(unet, theta, device)
        batch = (to_device(a, device) for a in (x0, T, eps))
        options = {"cond": to_device(LABELS, device), "predicts": predicts, "weight": weight}
        J, errors = predictions.gradient(unet, S, *batch, **options)
        results.append((J, errors, unet.grad))
    for gpu, cpu in zip(*results):
        assert_same(gpu, cpu, tolerance=2e-4)


@pytest.mark.skipif(
    os.environ.get("TINYDDPM_GPU") == "simulated",
    reason="sorting is device code inside CuPy's own libraries",
)
def test_thresholding():
    threshold = reverse.thresholded(lambda xt, t: 3 * xt, 90)
    assert_same(threshold(moved(XT), None), threshold(XT, None))


def test_nothing_is_left_out():
    """Every public function of these files is in CASES, or works on tables or numbers alone."""
    public = {
        name
        for module in MODULES
        for name, f in vars(module).items()
        if inspect.isfunction(f) and f.__module__ == module.__name__ and not name.startswith("_")
    }
    assert public - WITHOUT_ARRAYS <= CASES.keys() and WITHOUT_ARRAYS <= public
