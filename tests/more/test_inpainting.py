"""Inpainting: which pixels stay, and the way back up."""

import itertools
from functools import partial

import numpy as np
import pytest
from editing_chains import SHAPE, S, bent, draws, equal, noting, rng_of, some
from hypothesis import given, strategies as st
from oracles import same, schedules, seeds

from tinyddpm.more.chain import q_step
from tinyddpm.more.editing import inpaint, q_jump, resampling_path
from tinyddpm.sampler import ancestral
from tinyddpm.schedule import cosine, linear

# ---- which pixels stay ---------------------------------------------------------------------------

MASK = np.array([[1, 0, 0, 1], [0, 0, 1, 0]])


@given(
    seeds,
    st.sampled_from([(1, 1), (3, 1), (2, 4), (2, 30)]),
    st.sampled_from([np.float32, np.float64]),
    st.sampled_from([None, 0.3]),
)
def test_known_pixels_stay_to_the_bit_and_the_others_are_painted(seed, plan, dtype, clip):
    image, mask = some(seed, dtype=dtype), rng_of(seed).integers(0, 2, SHAPE)
    x_T, noise = some(1, dtype=dtype), partial(draws, dtype=dtype)
    *_, (t, x, x0_hat) = inpaint(bent, S, image, mask, x_T, noise, *plan, clip=clip)
    assert t == 0 and x.dtype == x0_hat.dtype == dtype
    np.testing.assert_array_equal(x[mask == 1], image[mask == 1])
    assert (x[mask == 0] != image[mask == 0]).all()
    # at t = 1 the posterior mean is x̂_0
    np.testing.assert_allclose(x[mask == 0], x0_hat[mask == 0], rtol=1e-5)
    if clip:
        assert abs(x0_hat).max() <= np.float32(clip)


def test_a_mask_of_ones_returns_the_image_noised_to_each_step_reached():
    """At t the known pixels are x_t, not x_{t+1}.

    The noise that leads there is one of those drawn, and none is used twice.
    """
    image, drawn = some(), {}

    def noise(i):
        assert i not in drawn
        return drawn.setdefault(i, draws(i))

    ones = np.ones(SHAPE[1:], bool)
    chain = list(inpaint(bent, S, image, ones, some(1), noise, resamplings=2, jump=3))
    np.testing.assert_array_equal(chain[-1][1], image)
    used = []
    for t, xt, _ in chain[:-1]:
        eps = (xt - np.sqrt(S.alpha_bar[t]) * image) / np.sqrt(1 - S.alpha_bar[t])
        used += [i for i, z in drawn.items() if np.abs(z - eps).max() < 1e-9]
    assert len(used) == len(set(used)) == len(chain) - 1 and min(used) > S.T


@pytest.mark.parametrize("schedule", [S, cosine(7), linear(1)], ids=["linear", "cosine", "1 step"])
@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("jump", [1, 5])
def test_a_mask_of_zeros_without_resampling_is_ancestral_sampling_to_the_bit(schedule, large, jump):
    options = {"clip": 0.7, "variance": schedule.beta if large else None}
    zeros = np.zeros(SHAPE)
    painted = inpaint(bent, schedule, some(), zeros, some(1), draws, 1, jump, **options)
    equal(painted, ancestral(bent, schedule, some(1), draws, **options))


def test_what_the_mask_hides_has_no_influence_and_nothing_is_written_into():
    image, x_T = some(), some(1)
    other = np.where(MASK, image, 0.123)
    before = image.copy(), x_T.copy(), MASK.copy()
    painted = inpaint(bent, S, image, MASK, x_T, draws, 2, 2)
    equal(painted, inpaint(bent, S, other, MASK, x_T, draws, 2, 2))
    for a, b in zip((image, x_T, MASK), before):
        np.testing.assert_array_equal(a, b)


def test_masks_broadcast_and_the_batch_permutes():
    image, x_T, order = some(), some(1), np.array([2, 0, 1])
    whole = list(inpaint(bent, S, image, MASK, x_T, draws, 2, 2))
    for mask in (
        MASK.astype(bool),
        MASK.astype(np.float32),
        np.broadcast_to(MASK, SHAPE),
        np.broadcast_to(MASK, SHAPE[1:]),
        MASK.tolist(),
    ):
        equal(whole, inpaint(bent, S, image, mask, x_T, draws, 2, 2))
    noise = lambda i: draws(i)[order]
    permuted = list(inpaint(bent, S, image[order], MASK, x_T[order], noise, 2, 2))
    np.testing.assert_array_equal(permuted[-1][1], whole[-1][1][order])


def test_every_yielded_array_is_a_fresh_one():
    image, x_T = some(), some(1)
    chain = inpaint(bent, S, image, MASK, x_T, draws, 2, 2)
    arrays = [image, x_T, *(a for _, xt, x0_hat in chain for a in (xt, x0_hat))]
    assert not any(np.shares_memory(a, b) for i, a in enumerate(arrays) for b in arrays[:i])


def test_inputs_that_do_not_fit_are_named():
    for mask in (0.5 * np.ones(SHAPE), np.full(SHAPE, 2), np.full(SHAPE, np.nan)):
        with pytest.raises(ValueError, match="^mask: expected 0 and 1"):
            next(inpaint(bent, S, some(), mask, some(1), draws))
    for mask, x_T in ((np.ones((5, *SHAPE)), some(1)), (MASK, some(1)[:2])):
        with pytest.raises(ValueError, match="^mask, x_T: expected"):
            next(inpaint(bent, S, some(), mask, x_T, draws))
    for options in ({"resamplings": 0}, {"jump": 0}):
        with pytest.raises(ValueError, match=f"^{[*options][0]}: expected at least 1, got 0"):
            next(inpaint(bent, S, some(), MASK, some(1), draws, **options))


# ---- the way back up -----------------------------------------------------------------------------


@given(st.integers(1, 40), st.integers(1, 5))
def test_jumps_of_1_are_algorithm_1(T, U):
    """For t = T..1, U times: a step down from t, then one up again.

    The step up is left out the last time, and at t = 1.
    """
    expected = [T]
    for t in range(T, 0, -1):
        for u in range(1, U + 1):
            if t > 1 or u == 1:
                expected.append(t - 1)
            if u < U and t > 1:
                expected.append(t)
    assert resampling_path(T, U, 1) == expected


@given(st.integers(1, 60), st.integers(1, 4), st.integers(1, 70))
def test_every_stretch_is_gone_through_as_often_as_asked(T, r, jump):
    path = resampling_path(T, r, jump)
    pairs = list(itertools.pairwise(path))
    assert path[0] == T and path[-1] == 0 and path.count(0) == 1 and max(path) == T
    assert {b - a for a, b in pairs} <= {-1, jump}
    assert set(path) == set(range(T + 1))
    top = 1 + jump * max(0, (T - 1) // jump)  # above this there is no room for a jump
    downs = [pairs.count((t, t - 1)) for t in range(1, T + 1)]
    assert downs == [r if 1 < t <= top else 1 for t in range(1, T + 1)]


def test_the_plan_of_the_paper():
    """T = 250, 10 resamplings, jumps of 10: 24 stretches, nine ways up each."""
    path = resampling_path(250, 10, 10)
    ups = [(a, b) for a, b in itertools.pairwise(path) if b > a]
    assert len(ups) == 216 and ups[0] == (231, 241) and ups[-1] == (1, 11)
    assert len(path) - 1 == 250 + 216 * 11


@given(schedules.filter(lambda s: s.T > 1), st.data())
def test_a_jump_is_the_steps_it_stands_for(schedule, data):
    """The coefficient of x is the same, and so is the variance."""
    then = data.draw(st.integers(2, schedule.T))
    now = data.draw(st.integers(1, then - 1))
    one, zero = np.ones((1, 1, 1, 1)), np.zeros((1, 1, 1, 1))
    signal, variance = one, 0.0
    for t in range(now + 1, then + 1):
        signal = q_step(schedule, signal, same(t), zero)
        old = q_step(schedule, np.full_like(one, np.sqrt(variance)), same(t), zero)
        added = q_step(schedule, zero, same(t), one)
        variance = (old**2 + added**2).item()
    np.testing.assert_allclose(q_jump(schedule, one, now, then, zero), signal, rtol=1e-10)
    noise = q_jump(schedule, zero, now, then, one)
    np.testing.assert_allclose(noise**2, variance, rtol=1e-10, atol=1e-15)


def test_the_way_up_starts_from_what_was_reached_and_adds_its_noise():
    seen, drawn = [], {}
    noise = lambda i: drawn.setdefault(i, draws(i))
    denoiser = noting(bent, seen)
    chain = list(inpaint(denoiser, S, some(), MASK, some(1), noise, resamplings=2, jump=4))
    visited = [t for t, _, _ in chain][:12]
    assert visited == [11, 10, 9, 8, 7, 6, 5, 8, 7, 6, 5, 4]  # the first jump is from 5 to 9
    (_, x_5, _), (t, x_9) = chain[6], seen[7]
    assert t == [9] * 3
    ratio = S.alpha_bar[9] / S.alpha_bar[5]
    eps = (x_9 - np.sqrt(ratio) * x_5) / np.sqrt(1 - ratio)
    assert sum(np.abs(z - eps).max() < 1e-9 for z in drawn.values()) == 1
