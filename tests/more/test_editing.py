"""Interpolation and image-to-image: where the chain starts, and what its ends are.

The gallery has an interpolation that noises to t and denoises from t − 1.
"""

from functools import partial

import numpy as np
import pytest
from editing_chains import SHAPE, S, bent, draws, equal, noting, rng_of, some
from hypothesis import given, strategies as st
from oracles import noise_table, same, schedules, seeds

from tinyddpm.diffusion import q_sample
from tinyddpm.more.editing import (
    image_to_image,
    interpolate_at,
    interpolate_latents,
    slerp,
    truncated,
)
from tinyddpm.more.solvers import ddim
from tinyddpm.sampler import ancestral
from tinyddpm.schedule import linear

# ---- from a step on the way ----------------------------------------------------------------------


@given(schedules, st.data())
def test_a_truncated_schedule_has_the_same_tables(schedule, data):
    t = data.draw(st.integers(1, schedule.T))
    short = truncated(schedule, t)
    assert short.T == t
    for name in ("beta", "alpha", "alpha_bar"):
        np.testing.assert_array_equal(getattr(short, name), getattr(schedule, name)[: t + 1])


@pytest.mark.parametrize("t", [0, -1, 13])
def test_a_step_that_is_none_is_refused(t):
    with pytest.raises(ValueError, match=f"^t: expected 1 to T = 12, got {t}"):
        truncated(S, t)
    for chain in (
        image_to_image(bent, S, some(), t, some(1)),
        interpolate_at(bent, S, some()[0], some()[1], [0.5], t, some(1)[0]),
    ):
        with pytest.raises((ValueError, IndexError)):
            next(chain)


@given(st.integers(1, 12), seeds)
def test_an_ancestral_chain_from_a_step_is_the_rest_of_the_whole_chain(t, seed):
    noise = noise_table(rng_of(seed), 12, SHAPE)
    whole = list(ancestral(bent, S, some(), noise))
    x = some() if t == 12 else whole[11 - t][1]
    equal(ancestral(bent, truncated(S, t), x, noise), whole[12 - t :])


@given(st.integers(1, 12), seeds)
def test_image_to_image_noises_to_t_and_denoises_from_that_very_t(t, seed):
    image, eps = rng_of(seed).standard_normal((2, *SHAPE))
    seen = []
    chain = list(image_to_image(noting(bent, seen), S, image, t, eps, noise=draws))
    assert [s for s, _ in seen] == [[s] * 3 for s in range(t, 0, -1)]
    assert [s for s, _, _ in chain] == list(range(t - 1, -1, -1))
    np.testing.assert_array_equal(seen[0][1], q_sample(S, image, same(t, 3), eps))
    seen.clear()
    list(image_to_image(noting(bent, seen), S, image, t, eps, ddim, steps=1))
    assert [s for s, _ in seen] == [[t] * 3]


@given(st.integers(1, 12), st.lists(st.floats(0, 1), min_size=1, max_size=4), seeds)
def test_gallery_interpolation_denoises_from_the_very_t_that_it_noised_to(t, fractions, seed):
    """With the blend itself as x̂_0, DDIM keeps x_s on q_sample's path for every s.

    Started one step off, it leaves the path at once.
    """
    a, b, eps = rng_of(seed).standard_normal((3, *SHAPE[1:]))
    fraction = np.array(fractions).reshape(-1, 1, 1, 1)
    blend, n, seen = (1 - fraction) * a + fraction * b, len(fractions), []
    noises = np.stack([eps] * n)
    denoiser = noting(lambda xt, t: blend, seen)
    chain = interpolate_at(denoiser, S, a, b, fractions, t, eps, ddim, steps=t, clip=None)
    for s, xt, _ in chain:
        on_path = q_sample(S, blend, same(s, n), noises)
        np.testing.assert_allclose(xt, on_path, rtol=0, atol=1e-9)
    assert [s for s, _ in seen] == [[s] * n for s in range(t, 0, -1)]
    start = q_sample(S, blend, same(t, n), noises)
    np.testing.assert_allclose(seen[0][1], start, rtol=0, atol=1e-12)


def test_the_ends_of_an_interpolation_are_the_two_images_gone_through_alone():
    a, b, eps = some(1)[0], some(2)[0], some(3)[0]
    noise = partial(draws, shape=(2, *SHAPE[1:]))
    blends = interpolate_at(bent, S, a, b, [0, 1], 7, eps, noise=noise)
    pair, pair_eps = np.stack([a, b]), np.stack([eps, eps])
    equal(blends, image_to_image(bent, S, pair, 7, pair_eps, noise=noise))


# ---- between latents -----------------------------------------------------------------------------


@given(seeds, st.floats(0, 1), st.sampled_from([np.float32, np.float64]))
def test_slerp_goes_along_the_arc_at_even_speed(seed, fraction, dtype):
    a, b = rng_of(seed).standard_normal((2, 2, 3, 5)).astype(dtype)
    b *= np.linalg.norm(a) / np.linalg.norm(b)
    (at,) = slerp(a, b, [fraction])
    assert at.dtype == dtype and at.shape == a.shape
    rel, off = (1e-5, 3e-3) if dtype == np.float32 else (1e-9, 1e-6)
    assert np.linalg.norm(at) == pytest.approx(np.linalg.norm(a), rel=rel)
    assert angle(a, at) == pytest.approx(fraction * angle(a, b), abs=off)
    assert angle(at, b) == pytest.approx((1 - fraction) * angle(a, b), abs=off)


def angle(a, b):
    a, b = a.ravel().astype(np.float64), b.ravel().astype(np.float64)
    return np.arccos(np.clip(a @ b / np.linalg.norm(a) / np.linalg.norm(b), -1, 1))


@given(seeds, st.sampled_from([np.float32, np.float64]))
def test_slerp_ends_at_its_ends_to_the_bit(seed, dtype):
    a, b = rng_of(seed).standard_normal((2, 2, 3, 5)).astype(dtype)
    np.testing.assert_array_equal(slerp(a, b, [0, 1]), np.stack([a, b]))


def test_slerp_of_parallel_and_of_opposite_directions():
    a = some()[0]
    found = slerp(a, 3 * a, [0, 0.5, 1])
    np.testing.assert_allclose(found, np.stack([a, 2 * a, 3 * a]), rtol=1e-12)
    with pytest.raises(ValueError, match="^slerp: .*opposite"):
        slerp(a, -a, [0.5])


def test_latent_interpolation_gives_the_images_back_at_its_ends_and_full_contrast_between():
    """Data N(0, s²) and the exact denoiser: DDIM multiplies x_T by a number.

    So its inverse, the encoder, is known.
    """
    s, schedule = 0.5, linear(100)

    def denoiser(xt, t):
        a = schedule.alpha_bar[t].reshape(-1, 1, 1, 1)
        return np.sqrt(a) * s**2 / (a * s**2 + 1 - a) * xt

    options = {"steps": 25, "clip": None}
    *_, (_, factor, _) = ddim(denoiser, schedule, np.ones((1, 1, 1, 1)), **options)
    a, b = s * rng_of(0).standard_normal((2, 3, 16, 20))
    encode = lambda images: images / factor
    fractions = [0, 0.25, 0.5, 1]
    chain = list(interpolate_latents(denoiser, schedule, a, b, fractions, encode, **options))
    assert [t for t, _, _ in chain] == [*range(96, 3, -4), 0]
    x0 = chain[-1][1]
    np.testing.assert_allclose(x0[[0, 3]], np.stack([a, b]), rtol=1e-10)
    assert np.abs(x0.std(axis=(1, 2, 3)) - s).max() < 0.05 and ((a + b) / 2).std() < 0.4
    np.testing.assert_allclose(x0[2], slerp(a, b, [0.5])[0], rtol=1e-9)


def test_latent_interpolation_takes_any_sampler():
    a, b = some(1)[0], some(2)[0]
    noise = partial(draws, shape=(2, *SHAPE[1:]))
    encode = lambda images: 2 * images
    chain = interpolate_latents(bent, S, a, b, [0, 1], encode, ancestral, noise=noise)
    equal(chain, ancestral(bent, S, np.stack([2 * a, 2 * b]), noise))
