"""Dynamic thresholding."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from oracles import noise_table, same, seeds

from tinyddpm.more.reverse import thresholded
from tinyddpm.more.solvers import ddim
from tinyddpm.sampler import ancestral
from tinyddpm.schedule import linear

SHAPE = (3, 2, 2, 4)  # of the drawn batches: H and W differ


def bounded(x0_hat, percentile):
    """What thresholding makes of x̂_0."""
    return thresholded(lambda xt, t: x0_hat, percentile)(None, None)


def bent(xt, t):
    """A denoiser without meaning: it depends on t and is not linear."""
    return 2 * np.sin(2 * xt + (0.1 * np.asarray(t).reshape(-1, 1, 1, 1)).astype(xt.dtype))


images = st.tuples(seeds, st.floats(-2, 2), st.sampled_from([0.0, 50.0, 90.0, 99.5, 100.0]))


@given(images)
def test_thresholding_is_its_definition_for_each_image(case):
    seed, log_size, percentile = case
    x = np.exp(log_size) * np.random.default_rng(seed).standard_normal(SHAPE)
    result = bounded(x, percentile)
    for m, image in enumerate(x):
        ranked = sorted(abs(image).ravel())
        place = percentile / 100 * (len(ranked) - 1)
        low = int(place)
        above = ranked[min(low + 1, len(ranked) - 1)]
        size = ranked[low] + (place - low) * (above - ranked[low])
        s = size if size > 1 else 1.0
        expected = [min(max(value, -s), s) / s for value in image.ravel()]
        np.testing.assert_allclose(result[m].ravel(), expected, rtol=0, atol=1e-14)


@given(images, st.sampled_from([np.float32, np.float64]))
def test_the_result_lies_within_the_images_range_in_the_same_order_and_dtype(case, dtype):
    seed, log_size, percentile = case
    x = (np.exp(log_size) * np.random.default_rng(seed).standard_normal(SHAPE)).astype(dtype)
    before = x.copy()
    result = bounded(x, percentile)
    assert result.dtype == dtype and result.shape == SHAPE and abs(result).max() <= 1
    np.testing.assert_array_equal(x, before)
    for image, found in zip(x, result):
        assert np.all(np.diff(found.ravel()[image.ravel().argsort()]) >= 0)
        if percentile == 100 and abs(image).max() > 1:
            assert abs(found).max() == 1  # scaled, nothing cut off


def test_an_image_that_is_in_range_stays_as_it_is():
    x = np.random.default_rng(0).uniform(-1, 1, SHAPE)
    np.testing.assert_array_equal(bounded(x, 99.5), x)


def test_a_few_pixels_out_of_range_are_clipped_and_many_shrink_the_image():
    x = np.linspace(-0.5, 0.5, 100).reshape(1, 1, 4, 25)
    x[0, 0, 0, 0] = 7
    np.testing.assert_array_equal(bounded(x, 90), np.clip(x, -1, 1))
    many = bounded(4 * x, 50)
    assert 0.45 < (abs(many) == 1).mean() < 0.55 and abs(many).min() < abs(x).min() * 4


def test_each_image_has_its_own_threshold():
    x = np.random.default_rng(1).standard_normal(SHAPE) * np.array([0.1, 1, 10]).reshape(3, 1, 1, 1)
    order = np.array([2, 0, 1])
    together = bounded(x, 90)
    np.testing.assert_array_equal(bounded(x[order], 90), together[order])
    np.testing.assert_array_equal(bounded(x[1:2], 90), together[1:2])


def test_in_a_sampler_the_eps_used_is_that_of_the_thresholded_x0():
    """Then clip has nothing left to do, and DDIM with η = 1 is still the ancestral sampler."""
    rng = np.random.default_rng(2)
    schedule, denoiser = linear(9), thresholded(bent, 80)
    x_T, noise = rng.standard_normal(SHAPE), noise_table(rng, 9, SHAPE)
    *_, (_, free, x0_hat) = ancestral(denoiser, schedule, x_T, noise, clip=None)
    *_, (_, clipped, _) = ancestral(denoiser, schedule, x_T, noise, clip=1.0)
    *_, (_, strided, _) = ddim(denoiser, schedule, x_T, noise, steps=9, eta=1.0, clip=None)
    np.testing.assert_array_equal(clipped, free)
    np.testing.assert_allclose(strided, free, rtol=0, atol=1e-12)
    assert abs(bent(x_T, same(9, 3))).max() > 1 >= abs(x0_hat).max()


@pytest.mark.parametrize("percentile", [-1, 100.1, float("nan")])
def test_a_bad_percentile_is_named(percentile):
    with pytest.raises(ValueError, match="^percentile: expected 0 to 100"):
        thresholded(bent, percentile)
