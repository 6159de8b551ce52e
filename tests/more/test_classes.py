"""The U-Net conditioned on the class, and the labels that training drops."""

import itertools
import os

import numpy as np
import pytest
from class_nets import CONFIG, NULL, SCHEDULE, batch, new, shaken
from hypothesis import given, strategies as st
from oracles import SMALL, check_module

from tinyddpm import noise
from tinyddpm.more.classes import ClassConfig, ClassEmbedding, ClassUNet, dropped, guided
from tinyddpm.more.solvers import ddim
from tinyddpm.nn import UNet, UNetConfig
from tinyddpm.schedule import linear
from tinyddpm.train import gradient, train

# ---- the network ---------------------------------------------------------------------------------


def test_a_new_net_is_the_unconditional_one_whatever_the_class():
    plain, conditioned = UNet(SMALL).initialise(0, np.float64), new()
    for p in plain.parameters():
        np.testing.assert_array_equal(plain.state()[p], conditioned.state()[p])
    # Move all parameters but the table away from their start, alike: otherwise both answer 0.
    for net in (plain, conditioned):
        rng = np.random.default_rng(1)
        for name, p in net.parameters().items():
            p.data[...] += rng.standard_normal(p.shape) if name != "classes.table" else 0
    xt, t, _, labels = batch()
    expected = plain.denoise(xt, t)
    assert abs(expected).max() > 0.1
    np.testing.assert_array_equal(conditioned.denoise(xt, t), expected)
    np.testing.assert_array_equal(conditioned.denoise(xt, t, labels), expected)


def test_each_image_is_conditioned_on_its_own_class_and_no_label_means_the_null_class():
    unet = shaken()
    xt, t, _, labels = batch()
    together = unet.denoise(xt, t, labels)
    for i in range(7):
        alone = unet.denoise(xt[[i]], t[[i]], labels[[i]])
        np.testing.assert_allclose(together[[i]], alone, rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(unet.denoise(xt, t), unet.denoise(xt, t, np.full(7, NULL)))
    answers = [unet.denoise(xt[:1], t[:1], np.array([c])) for c in range(4)]
    assert all(abs(a - b).max() > 1e-3 for a, b in itertools.combinations(answers, 2))


def test_the_table_adds_the_row_of_the_label_times_its_multiplier():
    layer = ClassEmbedding(3, 5, 4.0).initialise(0, np.float64)
    layer.table.data[...] = np.arange(20).reshape(4, 5)
    labels = [2, 0, 3, 2]
    np.testing.assert_array_equal(layer(np.array(labels)).data, 4.0 * layer.table.data[labels])


@pytest.mark.parametrize("labels", [[2, 0, 2, 3], [1]])
def test_the_gradient_of_the_table(labels):
    layer = ClassEmbedding(3, 5, 2.0)
    check_module(layer, lambda: layer(np.array(labels)), [])
    assert [row.any() for row in layer.table.grad] == [i in labels for i in range(4)]


def test_the_gradient_of_every_parameter_against_the_complex_step():
    unet = ClassUNet(CONFIG)
    xt, t, _, labels = batch(5)
    # The softmax ignores the biases of the keys.
    zero = [name for name in unet.parameters() if name.endswith("k.bias")]
    rng = np.random.default_rng(3)
    check_module(unet, lambda xt: unet(xt, t, cond=labels), [xt], rng, directions=1, zero=zero)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_stays(dtype):
    unet = shaken(dtype)
    x0, t, eps, labels = batch(dtype=dtype)
    J, errors = gradient(unet, SCHEDULE, x0, t, eps, cond=labels)
    denoised = unet.denoise(x0, t, labels)
    assert denoised.dtype == J.dtype == errors.dtype == unet.grad.dtype == dtype


def test_what_a_net_cannot_be_conditioned_on_is_named():
    unet = shaken()
    xt, t, _, labels = batch()
    out_of_range = (np.full(7, 4), "0 to 3, got 4 to 4"), (np.full(7, -1), "0 to 3, got -1 to -1")
    for wrong, message in out_of_range:
        with pytest.raises(ValueError, match="^cond: expected " + message):
            unet.denoise(xt, t, wrong)
    for wrong in (labels.astype(float), labels[:, None], [0] * 7):
        with pytest.raises(TypeError, match="^cond: expected a class for each image, integers"):
            unet.denoise(xt, t, wrong)
    with pytest.raises(ValueError):
        unet.denoise(xt, t, labels[:3])
    with pytest.raises(ValueError, match="^classes: expected at least 1, got 0"):
        ClassConfig(classes=0)
    with pytest.raises(ValueError, match="^time_conditioning: expected true"):
        ClassConfig(time_conditioning=False)
    with pytest.raises(ValueError, match="^base: "):  # what UNetConfig refuses
        ClassConfig(base=5)
    with pytest.raises(ValueError, match="^cond: .*this network is conditioned on t alone"):
        UNet(SMALL).initialise(0, np.float64).denoise(xt, t, labels)


def test_the_configs_have_one_set_of_fields_and_equality():
    assert ClassConfig(classes=3) != ClassConfig(classes=4) and ClassConfig() != UNetConfig()
    assert ClassUNet().classes.table.initial_shape == (11, 64)


# ---- dropped labels ------------------------------------------------------------------------------

LABELS = np.arange(600) % 3


def test_labels_are_dropped_at_their_fraction_and_stay_otherwise():
    cond, drawn = dropped(LABELS, 3, 0.2, seed=0), np.arange(600)[::-1].copy()
    draws = np.stack([cond(k, drawn) for k in range(1, 21)])
    gone = draws == NULL
    assert abs(gone.mean() - 0.2) < 4 * np.sqrt(0.2 * 0.8 / gone.size)
    originals = np.broadcast_to(LABELS[drawn], draws.shape)
    np.testing.assert_array_equal(draws[~gone], originals[~gone])
    assert len({row.tobytes() for row in gone}) == 20  # others at each step
    assert draws.dtype == LABELS.dtype


@given(st.sampled_from([0, 1, 0.0, 1.0]))
def test_none_or_all_are_dropped(fraction):
    found = dropped(LABELS, 3, fraction)(1, np.arange(50))
    np.testing.assert_array_equal(found, np.full(50, NULL) if fraction else LABELS[:50])


def test_what_is_dropped_is_a_function_of_seed_step_and_place_and_of_nothing_else():
    drawn = noise.integers(0, "data", 5, range(40), 600)
    one, again = dropped(LABELS, 3, 0.5, seed=1), dropped(LABELS, 3, 0.5, seed=1)
    again(7, drawn)  # asked in another order
    np.testing.assert_array_equal(one(5, drawn), again(5, drawn))
    np.testing.assert_array_equal(one(5, drawn)[:10], one(5, drawn[:10]))
    np.testing.assert_array_equal(one(5, drawn) == NULL, one(5, drawn[::-1]) == NULL)
    assert (one(5, drawn) != dropped(LABELS, 3, 0.5, seed=2)(5, drawn)).any()


def test_labels_that_are_none_are_refused():
    for wrong in (LABELS.astype(float), LABELS[:, None], LABELS.tolist()):
        with pytest.raises(TypeError, match="^labels: expected a class for each image"):
            dropped(wrong, 3)
    for wrong, classes in ((LABELS, 2), (LABELS - 1, 3)):
        with pytest.raises(ValueError, match=f"^labels: expected classes from 0 to {classes - 1} "):
            dropped(wrong, classes)
    for fraction in (-0.1, 1.1):
        with pytest.raises(ValueError, match="^fraction: expected 0 to 1"):
            dropped(LABELS, 3, fraction)


def test_the_null_class_learns_from_dropped_labels_only_and_each_class_from_its_own():
    unet = shaken()
    x0, t, eps, _ = batch(6)
    for labels in ([0, 1, 2, 0, 1, 2], [0, 0, NULL, 0, 0, 0], [NULL] * 6, [2, 1, 2, 1, 1, 2]):
        unet.grad[...] = 0
        gradient(unet, SCHEDULE, x0, t, eps, cond=np.array(labels))
        learned = [bool(row.any()) for row in unet.classes.table.grad]
        assert learned == [c in labels for c in range(4)]


# ---- together with the rest ----------------------------------------------------------------------


@pytest.mark.skipif(os.name != "posix", reason="workers inherit files and pipes")
def test_shards_compute_the_same_bits_with_1_and_2_workers_and_the_definitions_gradient():
    Shards = pytest.importorskip("tinyddpm.fast.parallel").Shards
    x0, t, eps, labels = batch(7, np.float32)
    unet = shaken(np.float32, dropout=0.2)

    def gradient_by(function):
        unet.grad[...] = 0
        dropout = noise.Stream(0, "dropout", 9, np.arange(7))
        return function(unet, SCHEDULE, x0, t, eps, dropout=dropout, cond=labels)

    _, errors = gradient_by(gradient)
    whole, unconditional = unet.grad.copy(), unet.denoise(x0, t)
    conditional = unet.denoise(x0, t, labels)
    assert unet.classes.table.grad.all(axis=1).all()
    beyond = 2 * conditional - unconditional
    found = []
    for workers in (1, 2):
        with Shards(unet, SCHEDULE, workers, shards=3) as shards:
            J2, errors2 = gradient_by(shards.gradient)
            denoised = shards.denoise(x0, t), shards.denoise(x0, t, labels)
            found.append([a.tobytes() for a in (J2, errors2, unet.grad, *denoised)])
            guess = guided(shards.denoise, labels, 3, 2.0)(x0, t)
            np.testing.assert_allclose(unet.grad, whole, rtol=1e-5, atol=1e-5 * abs(whole).max())
            np.testing.assert_allclose(errors2, errors, rtol=1e-5)
            np.testing.assert_allclose(denoised[0], unconditional, rtol=1e-4, atol=1e-4)
            np.testing.assert_allclose(guess, beyond, rtol=1e-4, atol=1e-4)
    assert found[0] == found[1]


def test_trained_shortly_it_knows_the_classes_apart_and_guidance_goes_further():
    """Images of class c are c's mean plus a little noise: 2×4 pixels, means −.6 and .6.

    This is the whole use of the file in one place.
    """
    labels = np.arange(64) % 2
    spread = 0.1 * noise.normal(0, "images", 0, range(64), (1, 2, 4))
    images = (np.where(labels, 0.6, -0.6)[:, None, None, None] + spread).astype(np.float32)
    tiny = {"base": 4, "levels": (1,), "blocks": 1, "attention": (), "groups": 2}
    config = ClassConfig(image=(1, 2, 4), middle_attention=False, classes=2, **tiny)
    unet, schedule = ClassUNet(config).initialise(0), linear(100)
    cond = dropped(labels, 2, 0.2, seed=0)
    warm_up = lambda k: min(1, k / 50)
    steps = train(unet, images, schedule, warm_up, seed=0, batch_size=32, cond=cond)
    for _ in itertools.islice(steps, 400):
        pass
    x_T = noise.normal(1, "sampling", 0, range(40), (1, 2, 4))
    classes = np.arange(40) % 2

    def means(weight):
        *_, (_, x0, _) = ddim(guided(unet.denoise, classes, 2, weight), schedule, x_T, steps=20)
        return x0[classes == 0].mean(), x0[classes == 1].mean(), x0

    low, high, _ = means(1.0)
    assert low == pytest.approx(-0.6, abs=0.1) and high == pytest.approx(0.6, abs=0.1)
    _, _, either = means(0.0)
    apart = either[classes == 0].mean() - either[classes == 1].mean()
    assert abs(either).mean() > 0.4 and abs(apart) < 0.5
    beyond = means(3.0)
    assert beyond[0] < low and beyond[1] > high
