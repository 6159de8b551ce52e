"""Classifier-free guidance (and the −one-hot mask of the gallery)."""

import numpy as np
import pytest
from class_nets import NULL, SCHEDULE, batch, shaken
from hypothesis import given, settings, strategies as st

from tinyddpm.diffusion import predicted_noise
from tinyddpm.more.classes import by_class, guided


def counted(denoise, calls):
    def counting(xt, t, labels):
        calls.append(labels.tolist())
        return denoise(xt, t, labels)

    return counting


@pytest.mark.parametrize("zero, one", [(0, 1), (0.0, 1.0)])
def test_weight_0_is_the_unconditional_and_1_the_conditional_model_to_the_bit_in_one_call(
    zero, one
):
    unet, calls = shaken(np.float32), []
    xt, t, _, labels = batch(dtype=np.float32)
    denoise = counted(unet.denoise, calls)
    unconditional, conditional = (guided(denoise, labels, 3, w)(xt, t) for w in (zero, one))
    np.testing.assert_array_equal(unconditional, unet.denoise(xt, t))
    np.testing.assert_array_equal(conditional, unet.denoise(xt, t, labels))
    assert calls == [[NULL] * 7, labels.tolist()]


@settings(max_examples=10)
@given(st.floats(-1, 8))
def test_guidance_goes_from_the_one_model_through_the_other(weight):
    unet, calls = shaken(), []
    xt, t, _, labels = batch()
    got = guided(counted(unet.denoise, calls), labels, 3, weight)(xt, t)
    null, conditional = unet.denoise(xt, t), unet.denoise(xt, t, labels)
    expected = (1 - weight) * null + weight * conditional
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)
    assert len(calls) == 1
    # in ε, as in the paper: (1 + w) ε(x, c) − w ε(x) with w = weight − 1
    eps = [predicted_noise(SCHEDULE, x, xt, t) for x in (got, conditional, null)]
    expected = weight * eps[1] - (weight - 1) * eps[2]
    np.testing.assert_allclose(eps[0], expected, rtol=1e-7, atol=1e-7)


def test_gallery_the_unconditional_half_is_of_the_null_class_and_not_minus_one_hot():
    """A mask that flips the one-hot vector is −1·(1 − mask).

    It would condition the "unconditional" half on the negative of its class.
    """
    unet, seen = shaken(), []
    original = unet.classes.forward
    unet.classes.forward = lambda labels: seen.append((labels, original(labels))) or seen[-1][1]
    xt, t, _, _ = batch()
    labels = np.array([0, 1, 2, 0, 1, 2, 1])
    guided(unet.denoise, labels, 3, 2.5)(xt, t)
    ((both, rows),) = seen
    assert both.tolist() == [NULL] * 7 + labels.tolist()
    table = unet.classes.c * unet.classes.table.data
    np.testing.assert_allclose(rows.data, table[[NULL] * 7 + labels.tolist()], rtol=1e-12)
    assert not np.allclose(rows.data[:7], -table[labels], atol=1e-3)

    # And so the unconditional part is the same, whatever class is asked for.
    def at_0(c):
        labels = np.full(7, c)
        return 2 * guided(unet.denoise, labels, 3, 0.5)(xt, t) - unet.denoise(xt, t, labels)

    first, *others = (at_0(c) for c in range(3))
    np.testing.assert_allclose(others, [first] * 2, rtol=1e-9, atol=1e-9)


def test_each_image_may_ask_for_another_class_and_for_none():
    unet = shaken()
    xt, t, _, labels = batch()
    together = guided(unet.denoise, labels, 3, 3.0)(xt, t)
    for i in range(7):
        alone = guided(unet.denoise, labels[[i]], 3, 3.0)(xt[[i]], t[[i]])
        np.testing.assert_allclose(together[[i]], alone, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(together[3], unet.denoise(xt, t)[3], rtol=1e-10)  # label 3 is none


def test_guidance_keeps_float32_and_refuses_what_does_not_fit():
    unet = shaken(np.float32)
    xt, t, _, labels = batch(dtype=np.float32)
    assert guided(unet.denoise, labels, 3, np.float64(2.5))(xt, t).dtype == np.float32
    with pytest.raises(ValueError, match="^xt: expected 7 images, one for each label, got 5"):
        guided(unet.denoise, labels, 3, 2.0)(xt[:5], t[:5])
    with pytest.raises(ValueError, match="^labels: expected classes from 0 to 2"):
        guided(unet.denoise, labels, 2)
    with pytest.raises(TypeError, match="^labels: "):
        guided(unet.denoise, [0, 1], 3)


def test_the_null_class_may_be_the_only_one_there_is_to_ask_for():
    unet = shaken()
    xt, t, _, _ = batch()
    got = guided(unet.denoise, np.full(7, NULL), 3, 4.0)(xt, t)
    np.testing.assert_allclose(got, unet.denoise(xt, t), rtol=1e-9)


def test_by_class_asks_the_denoiser_of_each_images_class_and_of_none_the_last():
    denoise = by_class([lambda xt, t, c=c: 10 * c + t[:, None, None, None] + xt for c in range(4)])
    xt, t = np.arange(7.0).reshape(7, 1, 1, 1), np.arange(1, 8)
    labels = np.array([2, 0, 3, 2, 1, 0, 3])
    conditional, unconditional = denoise(xt, t, labels), denoise(xt, t)
    np.testing.assert_array_equal(conditional.ravel(), 10 * labels + t + np.arange(7))
    np.testing.assert_array_equal(unconditional, denoise(xt, t, np.full(7, NULL)))
    got = guided(denoise, labels, 3, 2.0)(xt, t)
    np.testing.assert_array_equal(got.ravel(), 2 * conditional.ravel() - unconditional.ravel())
    with pytest.raises(ValueError, match="^labels: expected classes from 0 to 3"):
        denoise(xt, t, labels + 1)
