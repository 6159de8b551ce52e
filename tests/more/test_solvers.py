"""DDIM inversion, DPM-Solver++(2M) and Heun: the interface of a sampler, and what they compute."""

import math

import numpy as np
import pytest
from hypothesis import given, strategies as st
from oracles import full, same, schedules, seeds
from solved import SHAPE, bent, both, drawn, last

from tinyddpm.diffusion import q_sample
from tinyddpm.more.gaussian import gaussian_denoiser
from tinyddpm.more.schedules import zero_terminal_snr
from tinyddpm.more.solvers import ddim, ddim_inversion, dpm_solver, heun, timestep_grid
from tinyddpm.schedule import cosine, linear

all_three = pytest.mark.parametrize("solver", [dpm_solver, heun, ddim_inversion])


def some_steps(schedule, size):
    """A fraction `size` of the steps, at least one."""
    return max(1, round(size * schedule.T))


# ---- what is yielded -----------------------------------------------------------------------------


@all_three
@pytest.mark.parametrize("T, steps", [(12, 3), (12, 12), (7, 1), (10, 4)])
def test_a_step_is_yielded_for_each_t_of_the_grid(solver, T, steps):
    visited = [t for t, _, _ in solver(bent, linear(T), drawn(), steps=steps)]
    grid = timestep_grid(T, steps)
    assert visited == (grid[::-1] if solver is ddim_inversion else [*grid[1:], 0])
    assert visited[-1] == (T if solver is ddim_inversion else 0)


ASKED = {
    "2M": (dpm_solver, [12, 8, 4]),
    "heun": (heun, [12, 8, 8, 4, 4]),  # both ends of a stride, but for the last
    "inversion": (ddim_inversion, [4, 8, 12]),
    "2 rounds": (lambda *a, **k: ddim_inversion(*a, rounds=2, **k), [4, 4, 8, 8, 12, 12]),
}


@pytest.mark.parametrize("solver, expected", ASKED.values(), ids=ASKED)
def test_which_timesteps_the_denoiser_is_asked_for(solver, expected):
    asked = []

    def denoiser(xt, t):
        asked.append(t.tolist())
        return bent(xt, t)

    list(solver(denoiser, linear(12), drawn(), steps=3))
    assert asked == [[t] * 3 for t in expected]


@all_three
def test_every_yielded_array_is_a_fresh_one(solver):
    x = drawn()
    before = x.copy()
    chain = solver(bent, linear(12), x, steps=5)
    arrays = [x, *(a for _, xt, x0_hat in chain for a in (xt, x0_hat))]
    np.testing.assert_array_equal(x, before)
    assert not any(np.shares_memory(a, b) for i, a in enumerate(arrays) for b in arrays[:i])


@all_three
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_and_the_shape_stay(solver, dtype):
    for shape in (SHAPE, (1, 1, 5, 2)):
        x = drawn(shape=shape, dtype=dtype)
        for _, xt, x0_hat in solver(bent, linear(12), x, steps=5):
            assert xt.dtype == x0_hat.dtype == dtype and xt.shape == x0_hat.shape == shape


@all_three
def test_float32_is_close_to_float64(solver):
    schedule, x = linear(100), drawn()
    denoiser = gaussian_denoiser(schedule, np.zeros(SHAPE[1:]), 0.5)
    exact, rounded = (
        last(solver(denoiser, schedule, x.astype(dtype), steps=20))
        for dtype in (np.float64, np.float32)
    )
    np.testing.assert_allclose(rounded, exact, rtol=0, atol=1e-4)


@all_three
def test_permuting_the_batch_permutes_the_images(solver):
    order, x = np.array([2, 0, 1]), drawn()
    whole, permuted = (last(solver(bent, linear(12), some, steps=5)) for some in (x, x[order]))
    np.testing.assert_array_equal(permuted, whole[order])


@all_three
def test_clip_bounds_what_is_predicted_and_none_leaves_it_free(solver):
    def far(xt, t):
        return 5 * np.sign(xt)

    for clip, bound in ((0.3, 0.3), (1.0, 1.0), (None, 5.0)):
        film = list(solver(far, linear(12), drawn(), steps=4, clip=clip))
        assert {float(abs(x0_hat).max()) for _, _, x0_hat in film} == {bound}
        if solver is not ddim_inversion:
            _, end, x0_hat = film[-1]
            np.testing.assert_allclose(end, x0_hat, rtol=1e-12)
    by_default, clipped = (
        last(solver(far, linear(12), drawn(), steps=4, **more)) for more in ({}, {"clip": 1.0})
    )
    np.testing.assert_array_equal(by_default, clipped)


def test_heun_clips_at_both_ends_of_a_stride():
    """Its own bounds on a denoiser are the same as a denoiser that keeps to them."""
    bounded = lambda x, t: bent(x, t).clip(-0.5, 0.5)
    free = last(heun(bounded, linear(12), drawn(), steps=6, clip=None))
    np.testing.assert_array_equal(last(heun(bent, linear(12), drawn(), steps=6, clip=0.5)), free)


@all_three
@pytest.mark.parametrize("steps", [0, -1, 11])
def test_a_bad_number_of_steps_is_named(solver, steps):
    with pytest.raises(ValueError, match=rf"^steps: expected 1 to T = 10, got {steps}"):
        next(solver(bent, linear(10), full(1), steps=steps))


# ---- what they compute ---------------------------------------------------------------------------


@both
@given(schedules, seeds, st.floats(0, 1))
def test_a_solver_that_knows_x0_follows_the_noise_back_with_its_sign(solver, schedule, seed, size):
    """The flow is then a straight line in σ, on which every solver stays.

    x_t is q_sample of the same x_0 and ε.
    """
    x0, eps = np.random.default_rng(seed).standard_normal((2, *SHAPE))
    x_T = q_sample(schedule, x0, same(schedule.T, 3), eps)
    allowed = 1e-10 / np.sqrt(schedule.alpha_bar[-1])
    options = {"steps": some_steps(schedule, size), "clip": None}
    for t, xt, _ in solver(lambda xt, t: x0.copy(), schedule, x_T, **options):
        expected = q_sample(schedule, x0, same(t, 3), eps) if t else x0
        np.testing.assert_allclose(xt, expected, rtol=0, atol=allowed)


@given(schedules, seeds, st.floats(0, 1), st.sampled_from([None, 1.0]))
def test_inversion_is_the_step_of_ddim_the_other_way_round(schedule, seed, size, clip):
    """Song et al. 2021, equation 13, with the larger t where they have the smaller.

    x/√ᾱ moves by ε̂ times the move of σ. ε̂ is that of the t ahead, at the x before the step. So
    the first step needs none at t = 0.
    """
    x, now = drawn(seed), 0
    signal, sigma = np.sqrt(schedule.alpha_bar), np.sqrt(1 / schedule.alpha_bar - 1)
    steps = some_steps(schedule, size)
    for t, ours, x0_hat in ddim_inversion(bent, schedule, x, steps=steps, clip=clip):
        free = bent(x, same(t, 3))
        expected_x0 = free if clip is None else free.clip(-clip, clip)
        np.testing.assert_array_equal(x0_hat, expected_x0)
        eps = (x - signal[t] * expected_x0) / np.sqrt(1 - schedule.alpha_bar[t])
        expected = signal[t] * (x / signal[now] + (sigma[t] - sigma[now]) * eps)
        np.testing.assert_allclose(ours, expected, rtol=1e-10, atol=1e-10)
        x, now = ours, t


@given(schedules, seeds, st.floats(0, 1))
def test_dpm_solver_is_the_published_algorithm(schedule, seed, size):
    """Lu et al. 2022, algorithm 2, line by line."""
    t = [*timestep_grid(schedule.T, some_steps(schedule, size)), 0]
    alpha, sigma = np.sqrt(schedule.alpha_bar), np.sqrt(1 - schedule.alpha_bar)
    lam = [math.inf, *(math.log(alpha[i]) - math.log(sigma[i]) for i in range(1, schedule.T + 1))]
    x_T = drawn(seed)
    x, buffer = x_T, []
    chain = dpm_solver(bent, schedule, x_T, steps=len(t) - 1)
    for i, (_, ours, x0_hat) in enumerate(chain, 1):
        buffer.append(bent(x, same(t[i - 1], 3)).clip(-1, 1))
        np.testing.assert_allclose(x0_hat, buffer[-1], rtol=0, atol=1e-6)
        h = lam[t[i]] - lam[t[i - 1]]
        if i == 1 or t[i] == 0:
            D = buffer[-1]
        else:
            r = (lam[t[i - 1]] - lam[t[i - 2]]) / h
            D = (1 + 1 / (2 * r)) * buffer[-1] - 1 / (2 * r) * buffer[-2]
        expected = sigma[t[i]] / sigma[t[i - 1]] * x - alpha[t[i]] * math.expm1(-h) * D
        allowed = 1e-9 / schedule.beta[1] ** 0.5
        np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=allowed)
        x = ours


@given(schedules, seeds, st.floats(0, 1))
def test_heun_is_the_published_algorithm(schedule, seed, size):
    """Karras et al. 2022, algorithm 1 with s(t) = 1 and σ(t) = t, for y = x/√ᾱ."""
    t = [*timestep_grid(schedule.T, some_steps(schedule, size)), 0]
    sigma = [math.sqrt((1 - a2) / a2) for a2 in schedule.alpha_bar]
    scale = [math.sqrt(1 + s**2) for s in sigma]  # 1/√ᾱ

    def d(y, step):
        return (y - bent(y / scale[step], same(step, 3)).clip(-1, 1)) / sigma[step]

    x_T = drawn(seed)
    y = x_T * scale[schedule.T]
    allowed = 1e-9 / schedule.beta[1] ** 0.5
    for i, (_, ours, _) in enumerate(heun(bent, schedule, x_T, steps=len(t) - 1)):
        now, then = t[i], t[i + 1]
        slope, stride = d(y, now), sigma[then] - sigma[now]
        ahead = y + stride * slope
        y = ahead if then == 0 else y + stride * (slope / 2 + d(ahead, then) / 2)
        np.testing.assert_allclose(ours, y / scale[then], rtol=1e-9, atol=allowed)
        y = ours * scale[then]


@given(schedules, seeds, st.sampled_from([1, 2]))
def test_the_first_and_the_last_step_of_dpm_solver_are_those_of_ddim(schedule, seed, steps):
    steps = min(steps, schedule.T)
    allowed = 1e-12 / np.sqrt(schedule.alpha_bar[-1])
    chains = (solver(bent, schedule, drawn(seed), steps=steps) for solver in (dpm_solver, ddim))
    for (_, x, _), (_, y, _) in zip(*chains, strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=allowed)


# ---- the ends of a schedule ----------------------------------------------------------------------


@both
@pytest.mark.parametrize("T", [1, 2, 3])
def test_short_schedules(solver, T):
    *_, (t, xt, x0_hat) = solver(bent, cosine(T), drawn(), steps=T)
    assert t == 0 and np.isfinite(xt).all()
    np.testing.assert_allclose(xt, x0_hat, rtol=1e-9)


def test_dpm_solver_starts_from_zero_terminal_snr_and_the_others_refuse_it():
    """Its first stride is infinitely long in λ, so the second does not extrapolate.

    Near zero SNR comes to the same.
    """
    schedule = zero_terminal_snr(linear(100))
    denoiser = gaussian_denoiser(schedule, np.full(SHAPE[1:], 0.3), 0.2)
    film = list(dpm_solver(denoiser, schedule, drawn(), steps=5))
    with_ddim = list(ddim(denoiser, schedule, drawn(), steps=5))
    for i in (0, 1):
        np.testing.assert_allclose(film[i][1], with_ddim[i][1], rtol=0, atol=1e-12)
    assert np.isfinite(film[-1][1]).all() and abs(film[2][1] - with_ddim[2][1]).max() > 1e-3
    for solver in (heun, ddim_inversion):
        expected = f"^{solver.__name__}: expected ᾱ_T > 0, .*zero terminal SNR at T = 100"
        with pytest.raises(ValueError, match=expected):
            next(solver(denoiser, schedule, drawn(), steps=5))
