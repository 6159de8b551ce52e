"""DDIM inversion, DPM-Solver++(2M) and Heun: the interface of a sampler, the order of convergence, and what they land on."""
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import full, same, schedules, seeds
from scipy.integrate import solve_ivp

from tinyddpm import noise
from tinyddpm.data import digits
from tinyddpm.diffusion import q_sample
from tinyddpm.more.gaussian import gaussian_denoiser, probability_flow
from tinyddpm.more.ideal import ideal_denoiser
from tinyddpm.more.schedules import zero_terminal_snr
from tinyddpm.more.solvers import ddim_inversion, dpm_solver, heun
from tinyddpm.sampler import ddim, timestep_grid
from tinyddpm.schedule import cosine, linear

SHAPE = (3, 2, 2, 4)  # of the drawn batches: H and W differ
both = pytest.mark.parametrize("solver", [dpm_solver, heun])
all_three = pytest.mark.parametrize("solver", [dpm_solver, heun, ddim_inversion])


def bent(xt, t):
    """A denoiser of no meaning: it depends on t and is not linear, and clipping changes what it says."""
    return 1.5 * np.sin(2 * xt + (0.1 * np.asarray(t).reshape(-1, 1, 1, 1)).astype(xt.dtype))


def last(sampler):
    *_, (_, xt, _) = sampler
    return xt


def drawn(seed=0, shape=SHAPE, dtype=np.float64):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


# ---- what is yielded -----------------------------------------------------------------------------


@all_three
@pytest.mark.parametrize("T, steps", [(12, 3), (12, 12), (7, 1), (10, 4)])
def test_a_step_is_yielded_for_each_t_of_the_grid(solver, T, steps):
    visited = [t for t, _, _ in solver(bent, linear(T), drawn(), steps=steps)]
    grid = timestep_grid(T, steps)
    assert visited == (grid[::-1] if solver is ddim_inversion else [*grid[1:], 0])
    assert visited[-1] == (T if solver is ddim_inversion else 0)


@pytest.mark.parametrize("solver, expected", [
    (dpm_solver, [12, 8, 4]),
    (heun, [12, 8, 8, 4, 4]),  # both ends of a stride, but for the last
    (ddim_inversion, [4, 8, 12]),
    (lambda *a, **k: ddim_inversion(*a, rounds=2, **k), [4, 4, 8, 8, 12, 12]),
], ids=["2M", "heun", "inversion", "2 rounds"])
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
    arrays = [x, *(a for _, xt, x0_hat in solver(bent, linear(12), x, steps=5) for a in (xt, x0_hat))]
    np.testing.assert_array_equal(x, before)
    assert not any(np.shares_memory(a, b) for i, a in enumerate(arrays) for b in arrays[:i])


@all_three
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_and_the_shape_stay(solver, dtype):
    for shape in (SHAPE, (1, 1, 5, 2)):
        for _, xt, x0_hat in solver(bent, linear(12), drawn(shape=shape, dtype=dtype), steps=5):
            assert xt.dtype == x0_hat.dtype == dtype and xt.shape == x0_hat.shape == shape


@all_three
def test_float32_is_close_to_float64(solver):
    schedule, x = linear(100), drawn()
    denoiser = gaussian_denoiser(schedule, np.zeros(SHAPE[1:]), 0.5)
    exact, rounded = (last(solver(denoiser, schedule, x.astype(dtype), steps=20)) for dtype in (np.float64, np.float32))
    np.testing.assert_allclose(rounded, exact, rtol=0, atol=1e-4)


@all_three
def test_permuting_the_batch_permutes_the_images(solver):
    order, x = np.array([2, 0, 1]), drawn()
    np.testing.assert_array_equal(last(solver(bent, linear(12), x[order], steps=5)), last(solver(bent, linear(12), x, steps=5))[order])


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
    by_default, clipped = (last(solver(far, linear(12), drawn(), steps=4, **more)) for more in ({}, {"clip": 1.0}))
    np.testing.assert_array_equal(by_default, clipped)


def test_heun_clips_at_both_ends_of_a_stride():
    """Its own bounds on a denoiser are the same as a denoiser that keeps to them."""
    free = last(heun(lambda x, t: bent(x, t).clip(-0.5, 0.5), linear(12), drawn(), steps=6, clip=None))
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
    """The flow is then a straight line in σ, on which every solver stays: x_t is q_sample of the same x_0 and ε."""
    x0, eps = np.random.default_rng(seed).standard_normal((2, *SHAPE))
    x_T = q_sample(schedule, x0, same(schedule.T, 3), eps)
    for t, xt, _ in solver(lambda xt, t: x0.copy(), schedule, x_T, steps=max(1, round(size * schedule.T)), clip=None):
        np.testing.assert_allclose(xt, q_sample(schedule, x0, same(t, 3), eps) if t else x0, rtol=0, atol=1e-10 / np.sqrt(schedule.alpha_bar[-1]))


@given(schedules, seeds, st.floats(0, 1), st.sampled_from([None, 1.0]))
def test_inversion_is_the_step_of_ddim_the_other_way_round(schedule, seed, size, clip):
    """Song et al. 2021, equation 13, with the larger t where they have the smaller: x/√ᾱ moves by ε̂ times what σ moves. ε̂ is that of
    the t that is gone to, at the x that is left, so the first step needs none at t = 0."""
    x = drawn(seed)
    sigma, now = np.sqrt(1 / schedule.alpha_bar - 1), 0
    for t, ours, x0_hat in ddim_inversion(bent, schedule, x, steps=max(1, round(size * schedule.T)), clip=clip):
        expected_x0 = bent(x, same(t, 3)) if clip is None else bent(x, same(t, 3)).clip(-clip, clip)
        np.testing.assert_array_equal(x0_hat, expected_x0)
        eps = (x - np.sqrt(schedule.alpha_bar[t]) * expected_x0) / np.sqrt(1 - schedule.alpha_bar[t])
        expected = np.sqrt(schedule.alpha_bar[t]) * (x / np.sqrt(schedule.alpha_bar[now]) + (sigma[t] - sigma[now]) * eps)
        np.testing.assert_allclose(ours, expected, rtol=1e-10, atol=1e-10)
        x, now = ours, t


@given(schedules, seeds, st.floats(0, 1))
def test_dpm_solver_is_the_published_algorithm(schedule, seed, size):
    """Lu et al. 2022, algorithm 2, line by line."""
    t = [*timestep_grid(schedule.T, max(1, round(size * schedule.T))), 0]
    alpha, sigma = np.sqrt(schedule.alpha_bar), np.sqrt(1 - schedule.alpha_bar)
    lam = [math.log(alpha[i]) - math.log(sigma[i]) if i else math.inf for i in range(schedule.T + 1)]
    x_T = drawn(seed)
    x, buffer = x_T, []
    for i, (_, ours, x0_hat) in enumerate(dpm_solver(bent, schedule, x_T, steps=len(t) - 1), 1):
        buffer.append(bent(x, same(t[i - 1], 3)).clip(-1, 1))
        np.testing.assert_allclose(x0_hat, buffer[-1], rtol=0, atol=1e-6)
        h = lam[t[i]] - lam[t[i - 1]]
        if i == 1 or t[i] == 0:
            D = buffer[-1]
        else:
            r = (lam[t[i - 1]] - lam[t[i - 2]]) / h
            D = (1 + 1 / (2 * r)) * buffer[-1] - 1 / (2 * r) * buffer[-2]
        expected = sigma[t[i]] / sigma[t[i - 1]] * x - alpha[t[i]] * math.expm1(-h) * D
        np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-9 / schedule.beta[1] ** 0.5)
        x = ours


@given(schedules, seeds, st.floats(0, 1))
def test_heun_is_the_published_algorithm(schedule, seed, size):
    """Karras et al. 2022, algorithm 1 with s(t) = 1 and σ(t) = t, for y = x/√ᾱ."""
    t = [*timestep_grid(schedule.T, max(1, round(size * schedule.T))), 0]
    sigma = [math.sqrt((1 - a2) / a2) for a2 in schedule.alpha_bar]

    def d(y, step):
        return (y - bent(y / math.sqrt(1 + sigma[step] ** 2), same(step, 3)).clip(-1, 1)) / sigma[step]

    x_T = drawn(seed)
    y = x_T * math.sqrt(1 + sigma[schedule.T] ** 2)
    for i, (_, ours, _) in enumerate(heun(bent, schedule, x_T, steps=len(t) - 1)):
        d_i, stride = d(y, t[i]), sigma[t[i + 1]] - sigma[t[i]]
        ahead = y + stride * d_i
        y = ahead if t[i + 1] == 0 else y + stride * (d_i / 2 + d(ahead, t[i + 1]) / 2)
        np.testing.assert_allclose(ours, y / math.sqrt(1 + sigma[t[i + 1]] ** 2), rtol=1e-9, atol=1e-9 / schedule.beta[1] ** 0.5)
        y = ours * math.sqrt(1 + sigma[t[i + 1]] ** 2)


@given(schedules, seeds, st.sampled_from([1, 2]))
def test_the_first_and_the_last_step_of_dpm_solver_are_those_of_ddim(schedule, seed, steps):
    steps = min(steps, schedule.T)
    for (_, x, _), (_, y, _) in zip(dpm_solver(bent, schedule, drawn(seed), steps=steps), ddim(bent, schedule, drawn(seed), steps=steps), strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=1e-12 / np.sqrt(schedule.alpha_bar[-1]))


# ---- the order of convergence --------------------------------------------------------------------


def slopes(errors):
    """log₂ of how much smaller the error is for twice as many steps."""
    return [math.log2(a / b) for a, b in zip(errors, errors[1:])]


orders = pytest.mark.parametrize("solver, order", [(ddim, 1), (dpm_solver, 2), (heun, 2)])
STEPS = 32, 64, 128, 256


def at_half(solver, denoiser, schedule, x_T, steps):
    return next(xt for t, xt, _ in solver(denoiser, schedule, x_T, steps=steps, clip=None) if t == schedule.T // 2)


@orders
def test_order_on_gaussian_images(solver, order):
    """From T to T/2 the exact solution is known. (The last stride, to σ = 0, is one of Euler in all of them.)"""
    schedule, rng = linear(1024), np.random.default_rng(3)
    mean, root = rng.standard_normal((1, 2, 2)), rng.standard_normal((4, 4)) / 2
    x_T = drawn(shape=(5, 1, 2, 2))
    exact = probability_flow(schedule, mean, root @ root.T, x_T, 1024, 512)
    denoiser = gaussian_denoiser(schedule, mean, root @ root.T)
    errors = [abs(at_half(solver, denoiser, schedule, x_T, n) - exact).max() for n in STEPS]
    assert slopes(errors) == pytest.approx([order] * 3, abs=0.1) and errors[-1] < 0.01


@orders
def test_order_on_two_images(solver, order):
    """±1 in one pixel: x̂_0 = tanh(y/σ²) is not linear. The exact solution is SciPy's."""
    schedule = linear(1024)
    alpha_bar, sigma = schedule.alpha_bar, np.sqrt(1 / schedule.alpha_bar - 1)
    x_T = np.array([-1.3, -0.2, 0.05, 0.9]).reshape(4, 1, 1, 1)
    y = solve_ivp(lambda s, y: (y - np.tanh(y / s**2)) / s, (sigma[1024], sigma[512]), x_T.ravel() / np.sqrt(alpha_bar[1024]),
                  method="DOP853", rtol=1e-12, atol=1e-13).y[:, -1]
    denoiser = ideal_denoiser(np.array([-1.0, 1]).reshape(2, 1, 1, 1), schedule)
    errors = [abs(at_half(solver, denoiser, schedule, x_T, n).ravel() - np.sqrt(alpha_bar[512]) * y).max() for n in STEPS]
    assert slopes(errors) == pytest.approx([order] * 3, abs=0.1) and errors[-1] < 0.01


def test_inversion_is_of_first_order():
    """On the way from T/2 to T, started on the exact flow by the exact inverse of the steps before."""
    schedule, mean, w = linear(1024), full(0.3)[0], 0.6
    denoiser, x0 = gaussian_denoiser(schedule, mean, w), full(1.7)
    errors = []
    for n in STEPS:
        film = {t: xt for t, xt, _ in ddim_inversion(denoiser, schedule, x0, steps=n, clip=None)}
        errors.append(abs(film[1024] - probability_flow(schedule, mean, w, film[512], 512, 1024)).item())
    assert slopes(errors) == pytest.approx([1] * 3, abs=0.1) and errors[-1] < 0.01


# ---- there and back ------------------------------------------------------------------------------


def gaussian_digits():
    """Eight digits, and the exact denoiser of N(mean, covariance) of all of them: 64 pixels that depend on each other."""
    images = digits().images.astype(np.float64)
    schedule = linear(1000)
    return images[:8], schedule, gaussian_denoiser(schedule, images.mean(axis=0), np.cov(images.reshape(len(images), -1).T) + 0.01 * np.eye(64))


def round_trip(steps, rounds):
    images, schedule, denoiser = gaussian_digits()
    x_T = last(ddim_inversion(denoiser, schedule, images, steps, rounds, clip=None))
    return abs(last(ddim(denoiser, schedule, x_T, steps=steps, clip=None)) - images).max(), x_T


def test_a_round_trip_gives_the_digits_back_the_better_the_more_steps():
    errors = [round_trip(steps, 1)[0] for steps in (10, 50, 250, 1000)]
    assert errors[0] > errors[1] > errors[2] > errors[3] and errors[3] < 0.05


def test_more_rounds_make_the_round_trip_exact_on_as_few_steps():
    errors = [round_trip(10, rounds)[0] for rounds in (1, 10, 100)]
    assert errors[0] > 0.1 > errors[1] > errors[2] and round_trip(10, 300)[0] < 1e-6


def test_what_a_digit_is_encoded_to_looks_like_noise():
    _, x_T = round_trip(250, 1)
    assert abs(x_T.mean()) < 0.2 and 0.8 < x_T.std() < 1.2


@given(schedules, seeds, st.floats(0.1, 4))
def test_with_enough_rounds_ddim_undoes_inversion_at_every_step(schedule, seed, variance):
    """The iteration shrinks errors by (1−ᾱ)/(ᾱs² + 1−ᾱ) at most: 200 rounds are plenty where that is below .9."""
    steps = min(4, schedule.T)
    a2 = schedule.alpha_bar
    denoiser, x0 = gaussian_denoiser(schedule, np.zeros(SHAPE[1:]), variance), drawn(seed)
    up = {0: x0} | {t: xt for t, xt, _ in ddim_inversion(denoiser, schedule, x0, steps, rounds=200, clip=None)}
    if np.max((1 - a2[1:]) / (a2[1:] * variance + 1 - a2[1:])) < 0.9:
        for t, xt, _ in ddim(denoiser, schedule, up[schedule.T], steps=steps, clip=None):
            np.testing.assert_allclose(xt, up[t], rtol=0, atol=1e-8)


def test_a_clipped_chain_is_inverted_too():
    images, schedule, denoiser = gaussian_digits()
    images = 0.98 * images  # the clipped x̂_0 is constant at ±1, and what is constant has no inverse
    x_T = last(ddim_inversion(denoiser, schedule, images, 20, 300))
    assert abs(last(ddim(denoiser, schedule, x_T, steps=20)) - images).max() < 1e-4


@pytest.mark.parametrize("rounds", [0, -1])
def test_a_bad_number_of_rounds_is_named(rounds):
    with pytest.raises(ValueError, match=f"^rounds: expected at least 1, got {rounds}"):
        next(ddim_inversion(bent, linear(5), full(1), steps=2, rounds=rounds))


# ---- data, and the ends of a schedule ------------------------------------------------------------


@both
def test_with_the_ideal_denoiser_they_land_on_data_points(solver):
    images, schedule = digits().images[:200], linear(1000)
    x_T = noise.normal(0, "eps", 0, range(16), (1, 8, 8), np.float32)
    x0 = last(solver(ideal_denoiser(images, schedule), schedule, x_T, steps=50))
    nearest = np.abs(x0[:, None] - images).max(axis=(2, 3, 4))
    assert nearest.min(axis=1).max() < 1e-3
    assert len(set(nearest.argmin(axis=1))) > 8  # of many images, not always the same


@both
@pytest.mark.parametrize("T", [1, 2, 3])
def test_short_schedules(solver, T):
    *_, (t, xt, x0_hat) = solver(bent, cosine(T), drawn(), steps=T)
    assert t == 0 and np.isfinite(xt).all()
    np.testing.assert_allclose(xt, x0_hat, rtol=1e-9)


def test_dpm_solver_starts_from_zero_terminal_snr_and_the_others_refuse_it():
    """Its first stride is infinitely long in λ, so the second does not extrapolate. Near zero SNR comes to the same."""
    schedule = zero_terminal_snr(linear(100))
    denoiser = gaussian_denoiser(schedule, np.full(SHAPE[1:], 0.3), 0.2)
    film = list(dpm_solver(denoiser, schedule, drawn(), steps=5))
    with_ddim = list(ddim(denoiser, schedule, drawn(), steps=5))
    for i in (0, 1):
        np.testing.assert_allclose(film[i][1], with_ddim[i][1], rtol=0, atol=1e-12)
    assert np.isfinite(film[-1][1]).all() and abs(film[2][1] - with_ddim[2][1]).max() > 1e-3
    for solver in (heun, ddim_inversion):
        with pytest.raises(ValueError, match=f"^{solver.__name__}: expected ᾱ_T > 0, .*zero terminal SNR at T = 100"):
            next(solver(denoiser, schedule, drawn(), steps=5))
