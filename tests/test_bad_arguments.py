"""Arrays that do not fit are refused: of the wrong shape or dtype, a t that is no step, too few.

The tables are in bad_calls_of_*.py, one row for each bad call: the function, its arguments, and
words that the message must have. Each call must raise; nothing may come back. Where NumPy itself
says it clearly, no check of ours stands before it, and the row holds NumPy's words.
`test_every_public_function_is_here` asks for a row, or a reason why there is none, for each public
function that takes arrays.
"""

import inspect
import re

import bad_calls_of_autograd
import bad_calls_of_other_rooms
import bad_calls_of_the_core
import numpy as np
import pytest
from bad_calls import UNET, S, T, X

import autograd
from autograd import backend, check, more_ops, ops
from tinyddpm import diffusion, noise, sampler, schedule
from tinyddpm.interop import torch_random
from tinyddpm.more import (
    chain,
    classes,
    editing,
    gaussian,
    ideal,
    likelihood,
    predictions,
    reverse,
    schedules,
    solvers,
    variance,
)
from tinyddpm.more.training import hybrid
from tinyddpm.nn import conv
from tinyddpm.noise import addressed
from tinyddpm.objective import factor, objective
from tinyddpm.runs import heldout
from tinyddpm.train import gradient, gradient_descent, train

ROWS = [*bad_calls_of_autograd.ROWS, *bad_calls_of_the_core.ROWS, *bad_calls_of_other_rooms.ROWS]

# ---- bad calls -----------------------------------------------------------------------------------

ERRORS = ValueError, TypeError, IndexError, FloatingPointError, AssertionError


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.function.__name__)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_a_bad_call_says_what_was_expected_and_what_came(row):
    with pytest.raises(ERRORS) as caught:
        row.call()
    said = str(caught.value)
    assert row.says in said and "\n" not in said and len(said) < 400, said


# ---- a bad t -------------------------------------------------------------------------------------

BAD_T = {  # of two images
    "negative": (np.array([3, -1]), "t: expected 1 to 10, got -1 to 3"),
    "0": (np.array([0, 3]), "t: expected 1 to 10, got 0 to 3"),
    "T + 1": (np.array([3, 11]), "t: expected 1 to 10, got 3 to 11"),
    "floats": (
        np.array([3.0, 4.0]),
        "t: expected an integer for each of 2 images, got float64 of shape (2,)",
    ),
    "booleans": (np.array([True, False]), "got bool of shape (2,)"),
    "a number": (3, "for each of 2 images, got 3"),
    "one for two": (np.array([3]), "for each of 2 images, got int64 of shape (1,)"),
    "three for two": (np.array([3, 3, 3]), "got int64 of shape (3,)"),
    "a column": (np.array([[3], [3]]), "got int64 of shape (2, 1)"),
    "a list": ([3, 4], "got [3, 4]"),
}
OF_T = {  # every function that looks t up
    schedule.at: lambda t: schedule.at(S.beta, t, X),
    diffusion.q_sample: lambda t: diffusion.q_sample(S, X, t, X),
    chain.q_step: lambda t: chain.q_step(S, X, t, X),
    diffusion.posterior_mean: lambda t: diffusion.posterior_mean(S, X, X, t),
    diffusion.predicted_noise: lambda t: diffusion.predicted_noise(S, X, X, t),
    gradient: lambda t: gradient(UNET, S, X, t, X),
    predictions.gradient: lambda t: predictions.gradient(UNET, S, X, t, X),
    predictions.velocity: lambda t: predictions.velocity(S, X, t, X),
    predictions.x0_from_eps: lambda t: predictions.x0_from_eps(S, X, X, t),
    predictions.x0_from_v: lambda t: predictions.x0_from_v(S, X, X, t),
    predictions.eps_from_v: lambda t: predictions.eps_from_v(S, X, X, t),
    predictions.v_from_x0: lambda t: predictions.v_from_x0(S, X, X, t),
    predictions.v_from_eps: lambda t: predictions.v_from_eps(S, X, X, t),
    predictions.denoiser: lambda t: predictions.denoiser(lambda x, t: x, S, "eps")(X, t),
    reverse.posterior_mean_from_eps: lambda t: reverse.posterior_mean_from_eps(S, X, X, t),
    reverse.posterior_mean_from_v: lambda t: reverse.posterior_mean_from_v(S, X, X, t),
    gaussian.gaussian_denoiser: lambda t: gaussian.gaussian_denoiser(S, X[0], 1.0)(X, t),
}
FROM_0 = [diffusion.q_sample, gradient, predictions.gradient]  # at t = 0 x_t is x_0


@pytest.mark.parametrize("t", BAD_T)
@pytest.mark.parametrize("function", OF_T, ids=lambda f: f"{f.__module__}.{f.__name__}")
def test_a_t_that_is_no_step_is_refused(function, t):
    assert OF_T[function](T) is not None  # with a right one it computes
    value, words = BAD_T[t]
    if function in FROM_0:
        words = words.replace("expected 1 to", "expected 0 to")
        if t == "0":
            return
    with pytest.raises(ValueError, match=re.escape(words)):
        OF_T[function](value)


def test_a_t_on_a_gpu_is_not_waited_for_and_gives_nan(monkeypatch):
    """With t taken for an array on a GPU; on CuPy itself: tests/gpu."""
    monkeypatch.setattr(backend, "array_module", lambda a: None if a.dtype.kind == "i" else np)
    t = np.array([-7, -1, 0, 1, 10, 11, 99])
    found = schedule.at(S.beta, t, np.zeros((7, 1, 2, 2)))
    assert found.shape == (7, 1, 1, 1)
    expected = [np.nan, np.nan, np.nan, S.beta[1], S.beta[10], np.nan, np.nan]
    np.testing.assert_array_equal(found.ravel(), expected)


# ---- nothing is left out -------------------------------------------------------------------------

# Public, takes arrays, and has no row.
NO_ROW = {
    "any array will do": [
        ops.neg,
        ops.square,
        ops.silu,
        ops.sigmoid_of,
        more_ops.abs,
        more_ops.sqrt,
        more_ops.exp,
        more_ops.log,
        more_ops.tanh,
        more_ops.sigmoid,
        more_ops.relu,
        more_ops.gelu,
        more_ops.clip,
    ],
    "takes a schedule, which cannot be made wrong": [
        diffusion.posterior_coefficients,
        diffusion.posterior_variance,
        schedules.snr,
        schedules.log_snr,
    ],
    "takes numbers, and `objective` has rows for both": [factor],
    "is the one in another module": [predictions.eps_from_x0, predictions.x0_from_x0],
    "a decorator or a context": [autograd.primitive, autograd.no_grad],
    "is called by others here, with what they have checked": [
        conv.windows,
        conv.add_windows,
        likelihood.mean_and_error,
        likelihood.nearest_levels,
        variance.twice_as_wide,
        classes.rows,
        gradient_descent,
        noise.Stream,
        heldout.mean_image,
        heldout.mean_of,
    ],
    "an error, or a record": [
        autograd.engine.Node,
        inspect.getmodule(train).Step,
        likelihood.Bound,
        check.GradientError,
        check.Method,
    ],
    "takes numbers, which its own test gets wrong (test_classes)": [
        classes.ClassConfig,
        classes.ClassUNet,
        classes.ClassEmbedding,
    ],
    "takes what a U-Net takes, which has rows": [
        variance.LearnsVariance,
        variance.VarianceUNet,
        variance.VarianceClassUNet,
    ],
    "takes what comes out of PyTorch's shapes (test_torch_random)": [torch_random.initial_weights],
}
MODULES = [
    autograd.engine,
    ops,
    more_ops,
    check,
    schedule,
    diffusion,
    inspect.getmodule(objective),
    sampler,
    inspect.getmodule(train),
    addressed,
    predictions,
    reverse,
    schedules,
    solvers,
    ideal,
    gaussian,
    likelihood,
    variance,
    hybrid,
    chain,
    classes,
    editing,
    heldout,
    torch_random,
]


def public_of(module):
    """The public functions and classes that a module defines."""
    return {
        f
        for name, f in vars(module).items()
        if callable(f) and not name.startswith("_")
        if getattr(f, "__module__", None) == module.__name__
    }


def test_every_public_function_is_here():
    named = {*(row.function for row in ROWS), *OF_T}.union(*NO_ROW.values())
    missing = set().union(*map(public_of, MODULES)) - named
    assert not sorted(f"{f.__module__}.{f.__name__}" for f in missing)
