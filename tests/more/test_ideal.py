"""The ideal denoiser of the training set: a softmax-weighted mean, the minimiser of training J."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.special import softmax

from tinyddpm import noise, schedule
from tinyddpm.data import digits, split
from tinyddpm.diffusion import q_sample
from tinyddpm.more.ideal import ideal_denoiser
from tinyddpm.more.solvers import ddim
from tinyddpm.sampler import ancestral

S = schedule.linear(1000)


def draws(n, shape, seed=0, T=1000, dtype=np.float64):
    """n timesteps and noises."""
    t = 1 + noise.integers(seed, "t", 0, range(n), T)
    return t, noise.normal(seed, "eps", 0, range(n), shape, dtype)


def some_images(n=12, shape=(2, 3, 4), dtype=np.float64):
    return 2 * noise.uniform(3, "images", 0, range(n), shape, dtype) - 1


def one_by_one(images, xt, t):
    """The definition: distances as they are written, softmax by SciPy."""
    images, out = images.astype(np.float64), []
    for x, a in zip(xt.astype(np.float64), S.alpha_bar[t]):
        square = ((x - np.sqrt(a) * images) ** 2).sum(axis=(1, 2, 3))
        out.append(np.tensordot(softmax(-square / (2 * (1 - a))), images, 1))
    return np.stack(out)


@given(
    n=st.integers(1, 9),
    shape=st.tuples(st.sampled_from([1, 3]), st.integers(1, 4), st.integers(1, 4)),
    t=st.lists(st.integers(1, 1000), min_size=1, max_size=6),
    seed=st.integers(0, 99),
)
def test_it_is_the_softmax_weighted_mean(n, shape, t, seed):
    images, t = some_images(n, shape), np.array(t)
    # anywhere, not only where q puts it
    xt = 2 * noise.normal(seed, "x", 0, range(len(t)), shape, np.float64)
    expected = one_by_one(images, xt, t)
    np.testing.assert_allclose(ideal_denoiser(images, S)(xt, t), expected, rtol=1e-9, atol=1e-9)


def test_where_every_likelihood_underflows():
    images = some_images()
    xt = np.full((1, 2, 3, 4), 1e3)  # exp(−‖x_t − x_i‖²/2(1−ᾱ_1)) is 0 for every image
    with np.errstate(all="raise", under="ignore"):
        got = ideal_denoiser(images, S)(xt, np.array([1]))
    np.testing.assert_allclose(got, one_by_one(images, xt, np.array([1])), atol=1e-9)


def test_with_little_noise_it_names_the_image():
    images = digits().images[:50]
    t, eps = np.full(50, 3), draws(50, (1, 8, 8), dtype=np.float32)[1]
    got = ideal_denoiser(images, S)(q_sample(S, images, t, eps), t)
    np.testing.assert_array_equal(got, images)


def test_with_nothing_but_noise_it_answers_the_mean():
    images = some_images()
    got = ideal_denoiser(images, S)(draws(5, (2, 3, 4))[1], np.full(5, 1000))
    mean = images.mean(axis=0)
    assert np.abs(got - mean).max() < 0.05 < np.abs(images - mean).max()


def test_one_image_is_always_the_answer():
    images = some_images(1)
    t, eps = draws(7, (2, 3, 4))
    expected = images.repeat(7, axis=0)
    np.testing.assert_array_equal(ideal_denoiser(images, S)(5 * eps, t), expected)


def J(denoiser, x0, t, eps):
    return np.square(denoiser(q_sample(S, x0, t, eps), t) - x0).mean()


def test_nothing_has_a_smaller_training_J():
    images, count = some_images(6, (1, 2, 2)), 40_000
    t, eps = draws(count, (1, 2, 2))
    x0 = images[noise.integers(0, "data", 0, range(count), 6)]
    ideal = ideal_denoiser(images, S)
    best, mean = J(ideal, x0, t, eps), images.mean(axis=0)
    others = {
        "the mean": lambda xt, t: np.broadcast_to(mean, xt.shape),
        "the nearest": lambda xt, t: _nearest(images, xt, t),
        "t + 20": lambda xt, t: ideal(xt, np.minimum(t + 20, 1000)),
        "t − 20": lambda xt, t: ideal(xt, np.maximum(t - 20, 1)),
        "larger": lambda xt, t: 1.05 * ideal(xt, t),
        "smaller": lambda xt, t: 0.95 * ideal(xt, t),
        "a little of x_t": lambda xt, t: 0.97 * ideal(xt, t) + 0.03 * xt,
        "moved": lambda xt, t: ideal(xt, t) + 0.05,
        "mixed with the mean": lambda xt, t: 0.95 * ideal(xt, t) + 0.05 * mean,
        "half of the images": ideal_denoiser(images[:3], S),
    }
    for name, other in others.items():
        assert J(other, x0, t, eps) > best, name


def _nearest(images, xt, t):
    a = np.sqrt(S.alpha_bar[t])[:, None, None, None, None]
    return images[np.square(xt[:, None] - a * images).sum(axis=(2, 3, 4)).argmin(axis=1)]


def test_ddim_with_it_lands_on_data_points():
    images = digits().images[:200]
    x_T = draws(16, (1, 8, 8), dtype=np.float32)[1]
    *_, (t, x0, _) = ddim(ideal_denoiser(images, S), S, x_T, steps=50)
    nearest = np.abs(x0[:, None] - images).max(axis=(2, 3, 4))
    assert t == 0 and nearest.min(axis=1).max() < 1e-3
    assert len(set(nearest.argmin(axis=1))) > 8  # of many images, not always the same


def test_ancestral_sampling_with_it_lands_on_data_points():
    images, short = some_images(5), schedule.linear(100)

    def z(t):
        return noise.normal(0, "sampling", t, range(4), (2, 3, 4), np.float64)

    x_T = draws(4, (2, 3, 4))[1]
    *_, (_, x0, _) = ancestral(ideal_denoiser(images, short), short, x_T, z)
    assert np.abs(x0[:, None] - images).max(axis=(2, 3, 4)).min(axis=1).max() < 1e-6


def test_on_the_digits_it_is_a_floor_of_training_J_only():
    """.190–.192 on training draws, .207–.220 on held-out ones, predict-the-mean .287–.298.

    The draws are fixed, so ± .003.
    """
    train, held_out = (part.images for part in split(digits()))
    ideal, scores = ideal_denoiser(train, S), []
    for x0 in (train[::5], held_out):
        x0 = np.repeat(x0, 10, axis=0)
        count = len(x0)
        tenth = 100 * (np.arange(count) % 10)  # one t from each tenth
        t = 1 + tenth + noise.integers(0, "t", 0, range(count), 100)
        scores.append(J(ideal, x0, t, draws(count, (1, 8, 8), dtype=np.float32)[1]))
    assert 0.187 < scores[0] < 0.195 and 0.204 < scores[1] < 0.223
    assert 0.28 < np.square(held_out - train.mean(axis=0)).mean() < 0.30


@pytest.mark.parametrize("chunk", [1, 30, 100, 10**9])
def test_chunks_change_nothing(chunk):
    images = some_images()
    t, eps = draws(11, (2, 3, 4))
    chunked, whole = ideal_denoiser(images, S, chunk)(eps, t), ideal_denoiser(images, S)(eps, t)
    np.testing.assert_allclose(chunked, whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_of_xt_comes_back_and_nothing_is_written_into(dtype):
    images = some_images(dtype=np.float32)
    t, eps = draws(4, (2, 3, 4), dtype=dtype)
    before = images.copy(), t.copy(), eps.copy()
    got = ideal_denoiser(images, S)(eps, t)
    assert got.dtype == dtype and got.shape == eps.shape
    for a, b in zip((images, t, eps), before):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(got, one_by_one(images, eps, t), rtol=0, atol=1e-6)


def test_float32_keeps_its_precision_where_large_products_cancel():
    # far from 0: ‖x‖² is 900 times the spread
    images = some_images(40, (1, 16, 16), np.float32) + np.float32(30)
    t = np.full(40, 400)
    xt = q_sample(S, images, t, draws(40, (1, 16, 16), dtype=np.float32)[1])
    expected = one_by_one(images, xt, t)
    np.testing.assert_allclose(ideal_denoiser(images, S)(xt, t), expected, rtol=1e-6)


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match="^images: .*at least one.*0"):
        ideal_denoiser(np.zeros((0, 1, 2, 2)), S)
    with pytest.raises(ValueError, match="^xt: .*2, 3, 4.*2, 4, 3"):
        ideal_denoiser(some_images(), S)(np.zeros((1, 2, 4, 3)), np.array([1]))
