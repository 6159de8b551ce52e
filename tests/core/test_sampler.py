"""The samplers, against each other and against data whose best denoiser is known exactly."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given, strategies as st
from oracles import full, noise_table, same, schedules, seeds

from tinyddpm.diffusion import q_sample
from tinyddpm.more.solvers import ddim, timestep_grid
from tinyddpm.sampler import ancestral
from tinyddpm.schedule import Schedule, linear

SHAPE = (3, 2, 2, 4)  # of the drawn batches: H and W differ
clips = st.sampled_from([None, 0.4, 1.0])


def bent(xt, t):
    """A denoiser without meaning, but not linear: it depends on t, and clipping changes it."""
    return np.sin(2 * xt + (0.1 * t.reshape(-1, 1, 1, 1)).astype(xt.dtype))


def one_by_one(sampler):
    """All (t, x_t, x̂_0) that a sampler yields, as three sequences."""
    return zip(*sampler, strict=True)


# ---- DDIM and the ancestral sampler --------------------------------------------------------------


@given(schedules, clips, seeds)
def test_ddim_with_eta_1_on_all_steps_is_the_ancestral_sampler(schedule, clip, seed):
    rng = np.random.default_rng(seed)
    x_T, noise = rng.standard_normal(SHAPE), noise_table(rng, schedule.T, SHAPE)
    t, x, x0_hat = one_by_one(ancestral(bent, schedule, x_T, noise, clip=clip))
    all_steps = ddim(bent, schedule, x_T, noise, steps=schedule.T, eta=1.0, clip=clip)
    t2, x2, x0_hat2 = one_by_one(all_steps)
    assert t == t2
    np.testing.assert_allclose(x2, x, rtol=0, atol=1e-10)
    np.testing.assert_allclose(x0_hat2, x0_hat, rtol=0, atol=1e-10)


@given(schedules, clips, seeds)
def test_a_strided_chain_is_the_ancestral_chain_of_a_respaced_schedule(schedule, clip, seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, schedule.T + 1))
    visited = np.array([0, *sorted(timestep_grid(schedule.T, n))])
    alpha_bar = schedule.alpha_bar[visited]
    respaced = Schedule(1 - alpha_bar[1:] / alpha_bar[:-1])
    x_T, noise = rng.standard_normal(SHAPE), noise_table(rng, schedule.T, SHAPE)
    _, x, _ = one_by_one(ddim(bent, schedule, x_T, noise, steps=n, eta=1.0, clip=clip))

    def denoiser(xt, i):  # step i of the respaced schedule is at t = visited[i]
        return bent(xt, visited[i])

    chain = ancestral(denoiser, respaced, x_T, lambda i: noise(visited[i]), clip=clip)
    _, expected, _ = one_by_one(chain)
    np.testing.assert_allclose(x, expected, rtol=0, atol=1e-9)


@given(schedules, seeds)
def test_ddim_that_knows_x0_follows_the_noise_back_with_its_sign(schedule, seed):
    """From x_T = q_sample(x_0, ε), every x_t on the way is q_sample of the same x_0 and ε."""
    rng = np.random.default_rng(seed)
    x0, eps = rng.standard_normal((2, *SHAPE))
    x_T = q_sample(schedule, x0, same(schedule.T, 3), eps)
    allowed = 1e-10 / np.sqrt(schedule.alpha_bar[-1])
    for t, xt, _ in ddim(lambda xt, t: x0, schedule, x_T, steps=max(1, schedule.T // 2), clip=None):
        expected = q_sample(schedule, x0, same(t, 3), eps)
        np.testing.assert_allclose(xt, expected, rtol=0, atol=allowed)


@given(schedules, seeds)
def test_ancestral_that_knows_x0_ends_at_x0(schedule, seed):
    rng = np.random.default_rng(seed)
    x0 = rng.standard_normal(SHAPE)
    x_T, noise = rng.standard_normal(SHAPE), noise_table(rng, schedule.T, SHAPE)
    *_, (_, end, _) = ancestral(lambda xt, t: x0, schedule, x_T, noise, clip=None)
    np.testing.assert_allclose(end, x0, rtol=1e-12 / schedule.beta[1])


# ---- Gaussian data: the exact answer without Monte Carlo -----------------------------------------


def spread_of_samples(sampler, s=0.5, T=1000):
    """The standard deviation of a sampler's images, for data N(0, s²) and their exact denoiser.

    Everything is then linear: a sample is a weighted sum of x_T and of each step's noise. The batch
    finds the weights. Image 0 starts at 1, image t gets noise 1 at step t, and all else is 0.
    """
    schedule = linear(T)

    def denoiser(xt, t):  # E[x_0 | x_t]
        alpha_bar = schedule.alpha_bar[t].reshape(-1, 1, 1, 1)
        return np.sqrt(alpha_bar) * s**2 / (alpha_bar * s**2 + 1 - alpha_bar) * xt

    unit = np.eye(T + 1).reshape(T + 1, T + 1, 1, 1, 1)
    *_, (_, weights, _) = sampler(denoiser, schedule, unit[0], lambda t: unit[t])
    return float(np.sqrt((weights**2).sum()))


def test_gaussian_data_ancestral_with_the_small_variance():
    spread = spread_of_samples(lambda d, s, x, noise: ancestral(d, s, x, noise, clip=None))
    assert spread == pytest.approx(0.49611, abs=6e-6)


def test_gaussian_data_ancestral_with_the_large_variance():
    def sampler(d, s, x, noise):
        return ancestral(d, s, x, noise, clip=None, variance=s.beta)

    spread = spread_of_samples(sampler)
    assert spread == pytest.approx(0.50075, abs=6e-6)


@pytest.mark.parametrize("n, expected", [(10, 0.36995), (50, 0.47140), (1000, 0.49850)])
def test_gaussian_data_ddim_on_the_grid_that_includes_T(n, expected):
    spread = spread_of_samples(lambda d, s, x, noise: ddim(d, s, x, steps=n, clip=None))
    assert spread == pytest.approx(expected, abs=6e-6)


# ---- which steps, which noise --------------------------------------------------------------------


@given(st.integers(1, 1000), st.data())
def test_the_grid_goes_evenly_from_T_to_its_last_step(T, data):
    n = data.draw(st.integers(1, T))
    grid = timestep_grid(T, n)
    assert grid == [int(np.floor(T * i / n + 0.5)) for i in range(n, 0, -1)]
    assert len(set(grid)) == n and min(grid) >= 1 and grid[0] == T


def test_ddim_visits_T_and_not_only_the_first_steps():
    seen = []

    def denoiser(xt, t):
        seen.append(set(t.tolist()))
        return xt

    list(ddim(denoiser, linear(1000), full(1, 2), steps=10))
    assert seen == [{t} for t in range(1000, 0, -100)]


@pytest.mark.parametrize("steps", [0, -1, 11])
def test_a_bad_number_of_steps_is_named(steps):
    with pytest.raises(ValueError, match=rf"steps: expected 1 to T = 10, got {steps}"):
        next(ddim(bent, linear(10), full(1), steps=steps))


@pytest.mark.parametrize("large", [False, True])
def test_no_noise_is_added_at_the_final_step(large):
    asked = []

    def noise(t):
        asked.append(t)
        return full(1)

    schedule = linear(5)
    variance = schedule.beta if large else None
    *_, (t, x, x0_hat) = ancestral(bent, schedule, full(1), noise, variance=variance)
    assert t == 0 and asked == [5, 4, 3, 2]
    np.testing.assert_allclose(x, x0_hat, rtol=1e-12)
    asked.clear()
    *_, (t, x, x0_hat) = ddim(bent, schedule, full(1), noise, steps=5, eta=1.0)
    assert t == 0 and asked == [5, 4, 3, 2]
    np.testing.assert_allclose(x, x0_hat, rtol=1e-12)


def test_ddim_without_eta_asks_for_no_noise():
    def end(noise):
        *_, (_, x, _) = ddim(bent, linear(8), full(1), noise, steps=4)
        return x

    np.testing.assert_array_equal(end(None), end(lambda t: 1 / 0))


@given(st.floats(0, 1))
def test_eta_scales_the_noise_of_each_step(eta):
    """Before the last step, x_t holds η times as much noise as in the ancestral sampler."""
    schedule = linear(6)

    def first_step(noise):
        (_, x, _), *_ = ddim(lambda x, t: 0 * x, schedule, full(0), noise, steps=6, eta=eta)
        return x

    quiet, loud = first_step(lambda t: full(0)), first_step(lambda t: full(1))
    before, now = schedule.alpha_bar[5], schedule.alpha_bar[6]
    expected = eta * np.sqrt((1 - before) / (1 - now) * schedule.beta[6])
    assert (loud - quiet).item() == pytest.approx(expected, abs=1e-12)


# ---- what is yielded -----------------------------------------------------------------------------

RUNS = {
    "ancestral": (ancestral, list(range(11, -1, -1))),
    "ddim": (partial(ddim, steps=3, eta=0.7), [8, 4, 0]),
}
both = pytest.mark.parametrize("run, times", RUNS.values(), ids=RUNS)


def drawn(dtype=np.float64, n=4, seed=0):
    rng = np.random.default_rng(seed)
    shape = (n, 2, 3, 5)
    return linear(12), rng.standard_normal(shape).astype(dtype), noise_table(rng, 12, shape, dtype)


@both
def test_a_step_is_yielded_for_each_t_and_the_last_is_0(run, times):
    t, _, _ = one_by_one(run(bent, *drawn()))
    assert list(t) == times


@both
def test_every_yielded_array_is_a_fresh_one(run, times):
    schedule, x_T, noise = drawn()
    before = x_T.copy()
    arrays = [x_T, *(a for _, xt, x0_hat in run(bent, schedule, x_T, noise) for a in (xt, x0_hat))]
    np.testing.assert_array_equal(x_T, before)
    assert not any(np.shares_memory(a, b) for i, a in enumerate(arrays) for b in arrays[:i])


@both
def test_clip_bounds_what_is_predicted_and_none_leaves_it_free(run, times):
    def far(xt, t):
        return 5 * np.sign(xt)

    for clip, bound in ((0.3, 0.3), (1.0, 1.0), (None, 5.0)):
        _, x, x0_hat = one_by_one(run(far, *drawn(), clip=clip))
        assert {float(abs(a).max()) for a in x0_hat} == {bound}
        np.testing.assert_allclose(x[-1], x0_hat[-1], rtol=1e-12)
    _, _, by_default = one_by_one(run(far, *drawn()))
    assert abs(by_default[0]).max() == 1


@both
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_stays(run, times, dtype):
    for _, xt, x0_hat in run(bent, *drawn(dtype)):
        assert xt.dtype == x0_hat.dtype == dtype and xt.shape == x0_hat.shape == (4, 2, 3, 5)


def test_float32_is_close_to_float64():
    schedule, x_T, noise = drawn()

    def noise32(t):
        return noise(t).astype(np.float32)

    for run in (ancestral, partial(ddim, steps=12, eta=1.0)):
        *_, (_, exact, _) = run(bent, schedule, x_T, noise)
        *_, (_, rounded, _) = run(bent, schedule, x_T.astype(np.float32), noise32)
        np.testing.assert_allclose(rounded, exact, rtol=0, atol=1e-4)


@both
def test_permuting_the_batch_permutes_the_samples(run, times):
    schedule, x_T, noise = drawn()
    order = np.array([2, 0, 3, 1])
    *_, (_, x, _) = run(bent, schedule, x_T, noise)
    *_, (_, permuted, _) = run(bent, schedule, x_T[order], lambda t: noise(t)[order])
    np.testing.assert_array_equal(permuted, x[order])
