"""The U-Net that is told a class, dropped labels, and classifier-free guidance (and the −one-hot mask of the gallery)."""
import itertools
import os
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import SMALL, TINY_STEP, check_module, perturb

from tinyddpm import noise
from tinyddpm.diffusion import predicted_noise
from tinyddpm.more.classes import ClassConfig, ClassEmbedding, ClassUNet, by_class, dropped, guided
from tinyddpm.nn import UNet, UNetConfig
from tinyddpm.sampler import ddim
from tinyddpm.schedule import linear
from tinyddpm.train import gradient, train

SCHEDULE = linear(50)
CONFIG = ClassConfig(**{**vars(SMALL), "classes": 3})
NULL = 3


def new(dtype=np.float64, **changes):
    return ClassUNet(replace(CONFIG, **changes)).initialise(0, dtype)


def shaken(dtype=np.float64, **changes):
    """Away from its start, so that every class has its say."""
    return perturb(new(dtype, **changes), np.random.default_rng(7), 0.3)


def batch(n=7, dtype=np.float64, seed=0):
    """x0, t, eps and a class for each image: all of them, the null class too."""
    rng = np.random.default_rng(seed)
    x0, eps = rng.standard_normal((2, n, *CONFIG.image)).astype(dtype)
    return x0, rng.integers(1, SCHEDULE.T + 1, n), eps, np.arange(n) % 4


# ---- the network ---------------------------------------------------------------------------------


def test_a_new_net_is_the_unconditional_one_whatever_class_it_is_told():
    plain, told = UNet(SMALL).initialise(0, np.float64), new()
    for p in plain.parameters().keys():
        np.testing.assert_array_equal(plain.state()[p], told.state()[p])
    for net in (plain, told):  # all but the table away from its start, alike: else both would answer 0
        rng = np.random.default_rng(1)
        for name, p in net.parameters().items():
            p.data[...] += rng.standard_normal(p.shape) if name != "classes.table" else 0
    xt, t, _, labels = batch()
    expected = plain.denoise(xt, t)
    assert abs(expected).max() > 0.1
    np.testing.assert_array_equal(told.denoise(xt, t), expected)
    np.testing.assert_array_equal(told.denoise(xt, t, labels), expected)


def test_each_image_is_told_its_own_class_and_no_label_means_the_null_class():
    unet = shaken()
    xt, t, _, labels = batch()
    together = unet.denoise(xt, t, labels)
    for i in range(7):
        np.testing.assert_allclose(together[[i]], unet.denoise(xt[[i]], t[[i]], labels[[i]]), rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(unet.denoise(xt, t), unet.denoise(xt, t, np.full(7, NULL)))
    answers = [unet.denoise(xt[:1], t[:1], np.array([c])) for c in range(4)]
    assert all(abs(a - b).max() > 1e-3 for a, b in itertools.combinations(answers, 2))


def test_the_table_adds_the_row_of_the_label_times_its_multiplier():
    layer = ClassEmbedding(3, 5, 4.0).initialise(0, np.float64)
    layer.table.data[...] = np.arange(20).reshape(4, 5)
    np.testing.assert_array_equal(layer(np.array([2, 0, 3, 2])).data, 4.0 * layer.table.data[[2, 0, 3, 2]])


@pytest.mark.parametrize("labels", [[2, 0, 2, 3], [1]])
def test_the_gradient_of_the_table_against_the_complex_step(labels):
    labels, rng = np.array(labels), np.random.default_rng(0)
    layer = perturb(ClassEmbedding(3, 5, 2.0).initialise(0, np.float64), rng)
    g = rng.standard_normal((len(labels), 5))
    layer(labels).backward(g)
    for i, j in itertools.product(range(4), range(5)):
        moved = layer.theta.astype(complex)
        moved[5 * i + j] += 1j * TINY_STEP
        slope = (g * ClassEmbedding(3, 5, 2.0).bind(moved)(labels).data).sum().imag / TINY_STEP
        assert layer.table.grad[i, j] == pytest.approx(slope, abs=1e-13)
        assert (slope != 0) == (i in labels)


def test_the_gradient_of_every_parameter_against_the_complex_step():
    unet = ClassUNet(CONFIG)
    _, t, _, labels = batch(5)
    check_module(unet, lambda xt: unet(xt, t, cond=labels), [batch(5)[0]], np.random.default_rng(3), directions=1,
                 zero=[name for name in unet.parameters() if name.endswith("k.bias")])  # which the softmax ignores


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_stays(dtype):
    unet = shaken(dtype)
    x0, t, eps, labels = batch(dtype=dtype)
    J, errors = gradient(unet, SCHEDULE, x0, t, eps, cond=labels)
    assert unet.denoise(x0, t, labels).dtype == J.dtype == errors.dtype == unet.grad.dtype == dtype


def test_what_a_net_cannot_be_told_is_named():
    unet = shaken()
    xt, t, _, labels = batch()
    for wrong, message in ((np.full(7, 4), "0 to 3, got 4 to 4"), (np.full(7, -1), "0 to 3, got -1 to -1")):
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
    with pytest.raises(ValueError, match="^cond: this network is conditioned on t alone"):
        UNet(SMALL).initialise(0, np.float64).denoise(xt, t, labels)


# ---- dropped labels ------------------------------------------------------------------------------

LABELS = np.arange(600) % 3


def test_labels_are_dropped_at_their_share_and_kept_otherwise():
    given_at, drawn = dropped(LABELS, 3, 0.2, seed=0), np.arange(600)[::-1].copy()
    draws = np.stack([given_at(k, drawn) for k in range(1, 21)])
    gone = draws == NULL
    assert abs(gone.mean() - 0.2) < 4 * np.sqrt(0.2 * 0.8 / gone.size)
    np.testing.assert_array_equal(draws[~gone], np.broadcast_to(LABELS[drawn], draws.shape)[~gone])
    assert len({row.tobytes() for row in gone}) == 20  # anew at each step
    assert draws.dtype == LABELS.dtype


@given(st.sampled_from([0, 1, 0.0, 1.0]))
def test_none_or_all_are_dropped(share):
    drawn = np.arange(50)
    np.testing.assert_array_equal(dropped(LABELS, 3, share)(1, drawn), np.full(50, NULL) if share else LABELS[:50])


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
    for share in (-0.1, 1.1):
        with pytest.raises(ValueError, match="^share: expected 0 to 1"):
            dropped(LABELS, 3, share)


def test_the_null_class_learns_from_dropped_labels_only_and_each_class_from_its_own():
    unet = shaken()
    x0, t, eps, _ = batch(6)
    for labels in ([0, 1, 2, 0, 1, 2], [0, 0, NULL, 0, 0, 0], [NULL] * 6, [2, 1, 2, 1, 1, 2]):
        unet.grad[...] = 0
        gradient(unet, SCHEDULE, x0, t, eps, cond=np.array(labels))
        assert [bool(row.any()) for row in unet.classes.table.grad] == [c in labels for c in range(4)]


# ---- guidance ------------------------------------------------------------------------------------


def counted(denoise, calls):
    def counting(xt, t, labels):
        calls.append(labels.tolist())
        return denoise(xt, t, labels)
    return counting


@pytest.mark.parametrize("zero, one", [(0, 1), (0.0, 1.0)])
def test_weight_0_is_the_unconditional_and_1_the_conditional_model_to_the_bit_in_one_call(zero, one):
    unet, calls = shaken(np.float32), []
    xt, t, _, labels = batch(dtype=np.float32)
    denoise = counted(unet.denoise, calls)
    np.testing.assert_array_equal(guided(denoise, labels, 3, zero)(xt, t), unet.denoise(xt, t))
    np.testing.assert_array_equal(guided(denoise, labels, 3, one)(xt, t), unet.denoise(xt, t, labels))
    assert calls == [[NULL] * 7, labels.tolist()]


@settings(max_examples=10)
@given(st.floats(-1, 8))
def test_guidance_goes_from_the_one_model_through_the_other(weight):
    unet, calls = shaken(), []
    xt, t, _, labels = batch()
    got = guided(counted(unet.denoise, calls), labels, 3, weight)(xt, t)
    null, told = unet.denoise(xt, t), unet.denoise(xt, t, labels)
    np.testing.assert_allclose(got, (1 - weight) * null + weight * told, rtol=1e-9, atol=1e-9)
    assert len(calls) == 1
    # in ε, as the paper has it: (1 + w) ε(x, c) − w ε(x) with w = weight − 1
    eps = [predicted_noise(SCHEDULE, x, xt, t) for x in (got, told, null)]
    np.testing.assert_allclose(eps[0], weight * eps[1] - (weight - 1) * eps[2], rtol=1e-7, atol=1e-7)


def test_gallery_the_unconditional_half_is_time_conditioninghe_null_class_and_not_minus_one_hot():
    """A mask that flips the one-hot vector, −1·(1 − mask), tells the "unconditional" half the negative of its class."""
    unet, seen = shaken(), []
    original = unet.classes.forward
    unet.classes.forward = lambda labels: seen.append((labels, original(labels))) or seen[-1][1]
    xt, t, _, _ = batch()
    labels = np.array([0, 1, 2, 0, 1, 2, 1])
    guided(unet.denoise, labels, 3, 2.5)(xt, t)
    (told, rows), = seen
    assert told.tolist() == [NULL] * 7 + labels.tolist()
    table = unet.classes.c * unet.classes.table.data
    np.testing.assert_allclose(rows.data, table[[NULL] * 7 + labels.tolist()], rtol=1e-12)
    assert not np.allclose(rows.data[:7], -table[labels], atol=1e-3)
    # and so the unconditional part is the same whatever class is asked for
    at_0 = [2 * guided(unet.denoise, np.full(7, c), 3, 0.5)(xt, t) - unet.denoise(xt, t, np.full(7, c)) for c in range(3)]
    np.testing.assert_allclose(at_0[1:], [at_0[0]] * 2, rtol=1e-9, atol=1e-9)


def test_each_image_may_ask_for_another_class_and_for_none():
    unet = shaken()
    xt, t, _, labels = batch()
    together = guided(unet.denoise, labels, 3, 3.0)(xt, t)
    for i in range(7):
        np.testing.assert_allclose(together[[i]], guided(unet.denoise, labels[[i]], 3, 3.0)(xt[[i]], t[[i]]), rtol=1e-9, atol=1e-10)
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
    np.testing.assert_allclose(guided(unet.denoise, np.full(7, NULL), 3, 4.0)(xt, t), unet.denoise(xt, t), rtol=1e-9)


def test_by_class_asks_the_denoiser_of_each_images_class_and_of_none_the_last():
    denoise = by_class([lambda xt, t, c=c: 10 * c + t[:, None, None, None] + xt for c in range(4)])
    xt, t, labels = np.arange(7.0).reshape(7, 1, 1, 1), np.arange(1, 8), np.array([2, 0, 3, 2, 1, 0, 3])
    np.testing.assert_array_equal(denoise(xt, t, labels).ravel(), 10 * labels + t + np.arange(7))
    np.testing.assert_array_equal(denoise(xt, t), denoise(xt, t, np.full(7, NULL)))
    np.testing.assert_array_equal(guided(denoise, labels, 3, 2.0)(xt, t).ravel(), 2 * denoise(xt, t, labels).ravel() - denoise(xt, t).ravel())
    with pytest.raises(ValueError, match="^labels: expected classes from 0 to 3"):
        denoise(xt, t, labels + 1)


# ---- together with the rest ----------------------------------------------------------------------


@pytest.mark.skipif(os.name != "posix", reason="workers inherit files and pipes")
def test_shards_compute_the_same_bits_with_1_and_2_workers_and_the_definitions_gradient():
    Shards = pytest.importorskip("tinyddpm.fast.parallel").Shards
    x0, t, eps, labels = batch(7, np.float32)
    unet = shaken(np.float32, dropout=0.2)

    def stream():
        return noise.Stream(0, "dropout", 9, np.arange(7))

    unet.grad[...] = 0
    J, errors = gradient(unet, SCHEDULE, x0, t, eps, dropout=stream(), cond=labels)
    whole, guess, told = unet.grad.copy(), unet.denoise(x0, t), unet.denoise(x0, t, labels)
    assert unet.classes.table.grad.all(axis=1).all()
    found = []
    for workers in (1, 2):
        with Shards(unet, SCHEDULE, workers, shards=3) as shards:
            unet.grad[...] = 0
            J2, errors2 = shards.gradient(unet, SCHEDULE, x0, t, eps, dropout=stream(), cond=labels)
            found.append([a.tobytes() for a in (J2, errors2, unet.grad, shards.denoise(x0, t), shards.denoise(x0, t, labels))])
            np.testing.assert_allclose(unet.grad, whole, rtol=1e-5, atol=1e-5 * abs(whole).max())
            np.testing.assert_allclose(errors2, errors, rtol=1e-5)
            np.testing.assert_allclose(shards.denoise(x0, t), guess, rtol=1e-4, atol=1e-4)
            np.testing.assert_allclose(guided(shards.denoise, labels, 3, 2.0)(x0, t), 2 * told - guess, rtol=1e-4, atol=1e-4)
    assert found[0] == found[1]


def test_trained_shortly_it_knows_the_classes_apart_and_guidance_goes_further():
    """Images of class c are c's mean plus a little noise: 2×4 pixels, means −.6 and .6. This is the whole use of the file in one place."""
    labels = np.arange(64) % 2
    images = (np.where(labels, 0.6, -0.6)[:, None, None, None] + 0.1 * noise.normal(0, "images", 0, range(64), (1, 2, 4))).astype(np.float32)
    config = ClassConfig(image=(1, 2, 4), base=4, levels=(1,), blocks=1, attention=(), middle_attention=False, groups=2, classes=2)
    unet, schedule = ClassUNet(config).initialise(0), linear(100)
    steps = train(unet, images, schedule, lambda k: min(1, k / 50), seed=0, batch_size=32, cond=dropped(labels, 2, 0.2, seed=0))
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
    assert abs(either).mean() > 0.4 and abs(either[classes == 0].mean() - either[classes == 1].mean()) < 0.5
    beyond = means(3.0)
    assert beyond[0] < low and beyond[1] > high


def test_the_configs_have_one_set_of_fields_and_equality():
    assert ClassConfig(classes=3) != ClassConfig(classes=4) and ClassConfig() != UNetConfig()
    assert ClassUNet().classes.table.initial_shape == (11, 64)
