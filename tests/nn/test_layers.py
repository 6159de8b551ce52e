"""Each layer: its gradient by the complex step, its value by an independent formula, its start, and its multiplier."""
import inspect

import numpy as np
import pytest
import scipy.signal
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from oracles import check_module, perturb, seeds

from autograd import Tensor, leaf
from autograd.check import check_pullback
from tinyddpm import noise
from tinyddpm.nn.attention import SelfAttention
from tinyddpm.nn.block import Downsample, ResidualBlock, Upsample, repeat2
from tinyddpm.nn.conv import Conv2d, add_windows, conv2d, windows
from tinyddpm.nn.linear import Linear
from tinyddpm.nn.multipliers import ONES, Multipliers
from tinyddpm.nn.norm import GroupNorm, group_norm
from tinyddpm.nn.time import TimeEmbedding, sinusoidal

C = Multipliers()
sizes = st.integers(1, 5)
few = settings(max_examples=10)  # for the layers of many parameters


@st.composite
def convolutions(draw):
    """x (H, W, N, Cin), w (kh, kw, Cin, Cout), stride and padding, such that the kernel fits."""
    h, w, kh, kw = draw(sizes), draw(sizes), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    side = st.tuples(st.integers(0, 2), st.integers(0, 2))
    padding = draw(st.one_of(st.integers(0, 2), st.tuples(side, side)))
    rows, columns = ((padding, padding), (padding, padding)) if isinstance(padding, int) else padding
    assume(h + sum(rows) >= kh and w + sum(columns) >= kw)
    rng = np.random.default_rng(draw(seeds))
    n, c_in, c_out = (draw(st.integers(1, 3)) for _ in range(3))
    x, weight = rng.standard_normal((h, w, n, c_in)), rng.standard_normal((kh, kw, c_in, c_out))
    return x, weight, {"stride": draw(st.integers(1, 3)), "padding": padding}, (rows, columns)


@given(convolutions())
def test_conv2d_is_the_correlation_of_scipy(drawn):
    x, w, options, (rows, columns) = drawn
    y = conv2d(x, w, **options).data
    padded = np.pad(x, (rows, columns, (0, 0), (0, 0)))
    for n in range(x.shape[2]):
        for o in range(w.shape[3]):
            expected = sum(scipy.signal.correlate2d(padded[:, :, n, i], w[:, :, i, o], mode="valid") for i in range(x.shape[3]))
            np.testing.assert_allclose(y[:, :, n, o], expected[::options["stride"], ::options["stride"]], atol=1e-12)


@given(convolutions(), seeds)
def test_conv2d_gradient(drawn, seed):
    """Besides, `check_pullback` sees to it that no bit of g, of the inputs or of the output changes."""
    x, w, options, _ = drawn
    check_pullback(conv2d, x, w, options=options, seed=seed, analytic=True)


def test_conv2d_computes_only_what_is_needed():
    x, w = np.ones((3, 4, 2, 1)), np.ones((3, 3, 1, 2))
    for needs in ((True, False), (False, True), (True, True)):
        y, pullback = inspect.unwrap(conv2d)(x, w, needs=needs)
        assert tuple(part is not None for part in pullback(y)) == needs


@pytest.mark.parametrize("x, w, message", [
    ((4, 4, 2, 3), (3, 3, 2, 5), r"expected x \(H, W, N, Cin\).*got \(4, 4, 2, 3\) and \(3, 3, 2, 5\)"),
    ((4, 4, 3), (3, 3, 3, 5), r"expected x \(H, W, N, Cin\)"),
    ((1, 4, 2, 3), (5, 3, 3, 5), "a 5×3 kernel does not fit into an image of 3×6"),
])
def test_conv2d_names_what_does_not_fit(x, w, message):
    with pytest.raises(ValueError, match="conv2d: .*" + message):
        conv2d(np.zeros(x), np.zeros(w))


@given(convolutions(), seeds)
def test_add_windows_is_the_adjoint_of_windows(drawn, seed):
    x, w, options, _ = drawn
    kh, kw, stride = *w.shape[:2], options["stride"]
    assume(x.shape[0] >= kh and x.shape[1] >= kw)
    out = windows(x, kh, kw, stride)
    g = np.random.default_rng(seed).standard_normal(out.shape)
    assert (out * g).sum() == pytest.approx((x * add_windows(g, x.shape, kh, kw, stride)).sum(), abs=1e-10)


@given(sizes, sizes, st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.sampled_from([None, 1, ((0, 2), (1, 0))]),
       st.sampled_from([0.2, 1.0, 3.0]), seeds)
def test_conv_layer_gradient(h, w, inputs, outputs, kernel, stride, padding, c, seed):
    (top, bottom), (left, right) = padding if isinstance(padding, tuple) else [(kernel // 2 if padding is None else padding,) * 2] * 2
    assume(h + top + bottom >= kernel and w + left + right >= kernel)
    rng = np.random.default_rng(seed)
    layer = Conv2d(inputs, outputs, kernel, stride, padding, c)
    check_module(layer, layer, [rng.standard_normal((h, w, 2, inputs))], rng)


@given(sizes, sizes, st.lists(st.integers(1, 3), max_size=3), st.sampled_from([0.2, 1.0, 3.0]), seeds)
def test_linear_layer_gradient(inputs, outputs, others, c, seed):
    rng = np.random.default_rng(seed)
    layer = Linear(inputs, outputs, c)
    check_module(layer, layer, [rng.standard_normal((*others, inputs))], rng)


# ---- group norm ----------------------------------------------------------------------------------


@st.composite
def normed(draw):
    """x (H, W, N, C) and a number of groups; every group has at least three values."""
    h, w, n, groups, each = draw(sizes), draw(sizes), draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    assume(h * w * each >= 3)
    rng = np.random.default_rng(draw(seeds))
    scale = draw(st.sampled_from([1e-3, 1.0, 30.0]))  # at 1e-3 the variance is below eps, which then decides
    return rng, scale * rng.standard_normal((h, w, n, groups * each)) + scale, groups


@given(normed())
def test_group_norm_is_the_formula_sample_by_sample(drawn):
    rng, x, groups = drawn
    gain, bias = rng.standard_normal((2, x.shape[3]))
    y = group_norm(x, gain, bias, groups=groups).data
    each = x.shape[3] // groups
    for n in range(x.shape[2]):
        for g in range(groups):
            channels = slice(g * each, (g + 1) * each)
            part = x[:, :, n, channels]
            expected = (part - part.mean()) / np.sqrt(part.var() + 1e-5) * gain[channels] + bias[channels]
            np.testing.assert_allclose(y[:, :, n, channels], expected, atol=1e-11)


@given(normed(), seeds)
def test_group_norm_gradient(drawn, seed):
    rng, x, groups = drawn
    gain, bias = rng.standard_normal((2, x.shape[3]))
    check_pullback(group_norm, x, gain, bias, options={"groups": groups}, seed=seed, analytic=True, tolerance=1e-10)


def test_group_norm_of_an_image_of_one_colour_is_its_bias():
    x, bias = np.full((2, 3, 2, 4), 7.0), np.arange(4.0)
    np.testing.assert_array_equal(group_norm(x, np.ones(4), bias, groups=2).data, np.broadcast_to(bias, x.shape))


@given(normed(), st.sampled_from([0.5, 1.0, 2.0]))
def test_group_norm_layer_gradient(drawn, c):
    rng, x, groups = drawn
    layer = GroupNorm(x.shape[3], groups, c)
    check_module(layer, layer, [x / abs(x).max()], rng)


@pytest.mark.parametrize("c", [0.5, 1.0, 2.0])
def test_group_norm_starts_with_an_effective_gain_of_1(c):
    layer = GroupNorm(4, 2, c).initialise(0, np.float64)
    np.testing.assert_array_equal(c * layer.gain.data, 1)
    np.testing.assert_array_equal(layer.bias.data, 0)
    y = layer(Tensor(np.random.default_rng(0).normal(5, 3, (6, 7, 3, 4)))).data.reshape(42, 3, 2, 2)
    np.testing.assert_allclose(y.mean((0, 3)), 0, atol=1e-12)
    np.testing.assert_allclose(y.std((0, 3)), 1, atol=1e-5)


def test_group_norm_names_groups_that_do_not_divide():
    with pytest.raises(ValueError, match="groups: 6 channels cannot be divided into 4 groups"):
        GroupNorm(6, 4)


# ---- attention -----------------------------------------------------------------------------------


def attention(heads=2, channels=4, groups=2, c=C):
    return SelfAttention(channels, heads, groups, c)


@few
@given(st.integers(1, 3), st.integers(2, 3), st.integers(1, 2), st.sampled_from([(1, 4), (2, 4), (3, 6), (2, 2)]), st.sampled_from([ONES, C]), seeds)
def test_attention_gradient(h, w, n, heads_channels, c, seed):
    """The key's bias adds the same to a whole row before the softmax, which therefore ignores it."""
    rng, (heads, channels) = np.random.default_rng(seed), heads_channels
    layer = attention(heads, channels, 1 + (channels > 2), c)
    check_module(layer, layer, [rng.standard_normal((h, w, n, channels))], rng, zero=["k.bias"])


@given(st.integers(1, 3), st.integers(1, 3), st.sampled_from([1, 2, 4]), st.sampled_from([ONES, C]), seeds)
def test_attention_is_the_formula_pixel_by_pixel(h, w, heads, c, seed):
    rng, n, channels = np.random.default_rng(seed), 2, 4
    layer = perturb(attention(heads, channels, 2, c).initialise(0, np.float64), rng, 0.3)
    x = rng.standard_normal((h, w, n, channels))
    found = layer(Tensor(x)).data
    normal = layer.norm(Tensor(x)).data
    pixels = [(i, j) for i in range(h) for j in range(w)]
    d = channels // heads
    for m in range(n):
        q, k, v = ({p: c.query_key_value * (normal[p][m] @ f.weight.data + f.bias.data) for p in pixels} for f in (layer.q, layer.k, layer.v))
        for p in pixels:
            mixed = []
            for head in range(heads):
                part = slice(head * d, (head + 1) * d)
                scores = np.array([q[p][part] @ k[other][part] / d**0.5 for other in pixels])
                weights = np.exp(scores) / np.exp(scores).sum()
                mixed += sum(weight * v[other][part] for weight, other in zip(weights, pixels)).tolist()
            expected = x[p][m] + c.attention_out * (np.array(mixed) @ layer.out.weight.data + layer.out.bias.data)
            np.testing.assert_allclose(found[p][m], expected, atol=1e-10)


def test_attention_names_heads_that_do_not_divide():
    with pytest.raises(ValueError, match="heads: 4 channels cannot be divided among 3 heads"):
        attention(heads=3)


# ---- blocks and resolutions ----------------------------------------------------------------------


@few
@given(st.integers(2, 3), st.integers(1, 3), st.integers(1, 2), st.sampled_from([(2, 2), (2, 4), (6, 4)]), st.booleans(),
       st.sampled_from([0.0, 0.5]), st.sampled_from([ONES, C]), seeds)
def test_residual_block_gradient(h, w, n, channels, time_conditioning, dropout, c, seed):
    rng, (inputs, outputs) = np.random.default_rng(seed), channels
    block = ResidualBlock(inputs, outputs, 3 if time_conditioning else 0, 1, dropout, c)
    x, temb = rng.standard_normal((h, w, n, inputs)), rng.standard_normal((n, 3))

    def forward(x, *temb):
        return block(x, temb[0] if temb else None, noise.Stream(0, "dropout", 1, np.arange(n)))

    check_module(block, forward, [x, temb] if time_conditioning else [x], rng)


@few
@given(st.integers(1, 4), st.integers(1, 4), st.sampled_from([Downsample, Upsample]), seeds)
def test_gradients_of_the_layers_that_change_the_resolution(h, w, make, seed):
    rng = np.random.default_rng(seed)
    layer = make(2)
    check_module(layer, layer, [rng.standard_normal((h, w, 2, 2))], rng)


@given(st.integers(1, 4), st.integers(1, 4), st.sampled_from([Downsample, Upsample]))
def test_the_resolution_halves_or_doubles(h, w, make):
    y = make(3).initialise(0)(Tensor(np.zeros((2 * h, 2 * w, 2, 3), np.float32)))
    assert y.shape == ((h, w, 2, 3) if make is Downsample else (4 * h, 4 * w, 2, 3))


@given(sizes, sizes, st.integers(1, 3), st.integers(1, 3), seeds)
def test_repeat2_makes_each_pixel_2_by_2(h, w, n, c, seed):
    x = np.random.default_rng(seed).standard_normal((h, w, n, c))
    np.testing.assert_array_equal(repeat2(x).data, np.kron(x, np.ones((2, 2, 1, 1))))
    check_pullback(repeat2, x, seed=seed, analytic=True)


@pytest.mark.parametrize("inputs, outputs", [(4, 4), (4, 8)])
def test_a_new_block_passes_its_image_through(inputs, outputs):
    x, temb = Tensor(np.random.default_rng(0).standard_normal((3, 5, 2, inputs))), Tensor(np.ones((2, 6)))
    block = ResidualBlock(inputs, outputs, 6, 2, 0.0, C).initialise(0, np.float64)
    expected = x if inputs == outputs else block.shortcut(x)
    np.testing.assert_array_equal(block(x, temb, None).data, expected.data)
    layer = attention(2, inputs).initialise(0, np.float64)
    np.testing.assert_array_equal(layer(x).data, x.data)


# ---- time ----------------------------------------------------------------------------------------


def test_sinusoidal_by_hand():
    found = sinusoidal(np.array([1, 3, 1000]), 4, np.float64)
    expected = [[np.sin(t), np.sin(t / 100), np.cos(t), np.cos(t / 100)] for t in (1, 3, 1000)]  # frequencies 1 and 10000^(-1/2)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    in_float32 = sinusoidal(np.array([1, 3, 1000]), 4, np.float32)
    assert in_float32.dtype == np.float32
    np.testing.assert_array_equal(in_float32, found.astype(np.float32))  # computed in float64, cast once


def test_sinusoidal_tells_all_timesteps_apart():
    waves = sinusoidal(np.arange(1, 1001), 16, np.float64)
    distance = ((waves[:, None] - waves) ** 2).sum(-1)
    assert distance[~np.eye(1000, dtype=bool)].min() > 1e-3


@given(st.sampled_from([2, 4]), st.sampled_from([1.0, 4.0]), seeds)
def test_time_embedding_gradient(channels, c, seed):
    rng = np.random.default_rng(seed)
    layer, t = TimeEmbedding(channels, c), rng.integers(1, 1001, 3)
    check_module(layer, lambda: layer(t), [], rng)


# ---- dtype, start and multipliers of all ---------------------------------------------------------

LAYERS = {
    "linear": (lambda: Linear(4, 3, 2.0), True),
    "conv": (lambda: Conv2d(4, 3, c=2.2), True),
    "norm": (lambda: GroupNorm(4, 2, 0.5), True),
    "attention": (lambda: attention(), True),
    "block": (lambda: ResidualBlock(4, 8, 6, 2, 0.5, C), True),
    "down": (lambda: Downsample(4), True),
    "up": (lambda: Upsample(4), True),
    "time": (lambda: TimeEmbedding(4, 4.0), False),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_stays_forward_and_backward(name, dtype):
    make, takes_image = LAYERS[name]
    layer, rng = make().initialise(0, dtype), np.random.default_rng(0)
    inputs = [leaf(rng.standard_normal((4, 6, 2, 4)).astype(dtype))] if takes_image else []
    more = [Tensor(np.ones((2, 6), dtype)), noise.Stream(0, "dropout", 1, np.arange(2))] if name == "block" else []
    y = layer(*inputs, *more) if takes_image else layer(np.array([1, 1000]))
    y.backward(np.ones_like(y.data))
    assert y.dtype == layer.grad.dtype == dtype and abs(layer.grad).max() > 0
    assert all(x.grad.dtype == dtype for x in inputs)


@pytest.mark.parametrize("make, fan_in", [(lambda c: Linear(64, 80, c), 64), (lambda c: Conv2d(16, 40, 3, c=c), 144), (lambda c: Conv2d(64, 64, 1, c=c), 64)])
def test_the_effective_weight_starts_with_variance_1_over_fan_in_whatever_c(make, fan_in):
    effective = {c: c * make(c).initialise(0, np.float64).weight.data for c in (0.2, 1.0, 7.0)}
    for weight in effective.values():
        np.testing.assert_allclose(weight, effective[1.0], rtol=1e-12)
    assert effective[1.0].var() * fan_in == pytest.approx(1, abs=0.06)
    assert effective[1.0].mean() == pytest.approx(0, abs=5 / np.sqrt(fan_in * effective[1.0].size))


@given(st.sampled_from([0.2, 0.5, 2.0, 7.0]), st.sampled_from(["linear", "conv", "norm"]), seeds)
def test_a_step_moves_the_effective_weight_by_c_squared_beta(c, kind, seed):
    """As multipliers.py says: under θ ← θ − β∇J, w = c·v moves by −c²β∇_w J."""
    rng, beta = np.random.default_rng(seed), 0.1
    make = {"linear": lambda c: Linear(4, 6, c), "conv": lambda c: Conv2d(4, 6, c=c), "norm": lambda c: GroupNorm(4, 2, c)}[kind]
    plain, scaled = make(1.0).initialise(0, np.float64), make(c).initialise(0, np.float64)
    plain.theta += 0.3 * rng.standard_normal(plain.theta.shape)
    scaled.theta[...] = plain.theta / c  # the same effective weights
    x = Tensor(rng.standard_normal((3, 2, 2, 4)))
    for layer in (plain, scaled):
        (layer(x) ** 2).sum().backward()
    moved = c * (scaled.theta - beta * scaled.grad) - plain.theta
    assert abs(plain.grad).max() > 1e-3
    np.testing.assert_allclose(moved, -(c**2) * beta * plain.grad, rtol=1e-9, atol=1e-11)
