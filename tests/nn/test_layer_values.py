"""Each layer: its value by an independent formula, its start, its multiplier, and its errors."""

import inspect

import numpy as np
import pytest
import scipy.signal
from hypothesis import given, strategies as st
from layer_draws import C, attention, convolutions, counts, multipliers, normed
from oracles import perturb, seeds

from autograd import Tensor
from tinyddpm.nn.block import Downsample, ResidualBlock, Upsample
from tinyddpm.nn.conv import Conv2d, conv2d
from tinyddpm.nn.linear import Linear
from tinyddpm.nn.norm import GroupNorm, group_norm
from tinyddpm.nn.time import sinusoidal

# ---- convolution ---------------------------------------------------------------------------------


@given(convolutions())
def test_conv2d_is_the_correlation_of_scipy(drawn):
    x, w, options, (rows, columns) = drawn
    y, step = conv2d(x, w, **options).data, options["stride"]
    padded = np.pad(x, (rows, columns, (0, 0), (0, 0)))

    def correlation(n, i, o):
        return scipy.signal.correlate2d(padded[:, :, n, i], w[:, :, i, o], mode="valid")

    for n in range(x.shape[2]):
        for o in range(w.shape[3]):
            expected = sum(correlation(n, i, o) for i in range(x.shape[3]))
            np.testing.assert_allclose(y[:, :, n, o], expected[::step, ::step], atol=1e-12)


def test_conv2d_computes_only_what_is_needed():
    x, w = np.ones((3, 4, 2, 1)), np.ones((3, 3, 1, 2))
    for needs in ((True, False), (False, True), (True, True)):
        y, pullback = inspect.unwrap(conv2d)(x, w, needs=needs)
        assert tuple(part is not None for part in pullback(y)) == needs


XW = r"conv2d: expected x \(H, W, N, Cin\)"
DO_NOT_FIT = [
    ((4, 4, 2, 3), (3, 3, 2, 5), XW + r".*got \(4, 4, 2, 3\) and \(3, 3, 2, 5\)"),
    ((4, 4, 3), (3, 3, 3, 5), XW),
    ((1, 4, 2, 3), (5, 3, 3, 5), "w: expected a kernel that fits into 3×6 pixels, got 5×3"),
]


@pytest.mark.parametrize("x, w, message", DO_NOT_FIT)
def test_conv2d_names_what_does_not_fit(x, w, message):
    with pytest.raises(ValueError, match=message):
        conv2d(np.zeros(x), np.zeros(w))


# ---- group norm ----------------------------------------------------------------------------------


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
            normal = (part - part.mean()) / np.sqrt(part.var() + 1e-5)
            expected = normal * gain[channels] + bias[channels]
            np.testing.assert_allclose(y[:, :, n, channels], expected, atol=1e-11)


def test_group_norm_of_an_image_of_one_colour_is_its_bias():
    x, bias = np.full((2, 3, 2, 4), 7.0), np.arange(4.0)
    y = group_norm(x, np.ones(4), bias, groups=2).data
    np.testing.assert_array_equal(y, np.broadcast_to(bias, x.shape))


@pytest.mark.parametrize("c", [0.5, 1.0, 2.0])
def test_group_norm_starts_with_an_effective_gain_of_1(c):
    layer = GroupNorm(4, 2, c).initialise(0, np.float64)
    np.testing.assert_array_equal(c * layer.gain.data, 1)
    np.testing.assert_array_equal(layer.bias.data, 0)
    x = np.random.default_rng(0).normal(5, 3, (6, 7, 3, 4))
    y = layer(Tensor(x)).data.reshape(42, 3, 2, 2)
    np.testing.assert_allclose(y.mean((0, 3)), 0, atol=1e-12)
    np.testing.assert_allclose(y.std((0, 3)), 1, atol=1e-5)


def test_group_norm_names_groups_that_do_not_divide():
    with pytest.raises(ValueError, match="groups: expected a divisor of 6 channels, got 4"):
        GroupNorm(6, 4)


# ---- attention -----------------------------------------------------------------------------------


def attended(q, k, v, p, heads):
    """What attention adds up for the pixel p. q, k and v hold a vector for each pixel."""
    d = len(q[p]) // heads
    mixed = []
    for head in range(heads):
        part = slice(head * d, (head + 1) * d)
        scores = np.array([q[p][part] @ k[other][part] / d**0.5 for other in k])
        weights = np.exp(scores) / np.exp(scores).sum()
        mixed.append(sum(weight * v[other][part] for weight, other in zip(weights, k)))
    return np.concatenate(mixed)


@given(counts, counts, st.sampled_from([1, 2, 4]), multipliers, seeds)
def test_attention_is_the_formula_pixel_by_pixel(h, w, heads, c, seed):
    rng, n, channels = np.random.default_rng(seed), 2, 4
    layer = perturb(attention(heads, channels, 2, c).initialise(0, np.float64), rng, 0.3)
    x = rng.standard_normal((h, w, n, channels))
    found = layer(Tensor(x)).data
    normal = layer.norm(Tensor(x)).data
    pixels = [(i, j) for i in range(h) for j in range(w)]

    def affine(f, x):
        return x @ f.weight.data + f.bias.data

    for m in range(n):
        q, k, v = (
            {p: c.query_key_value * affine(f, normal[p][m]) for p in pixels}
            for f in (layer.q, layer.k, layer.v)
        )
        for p in pixels:
            mixed = attended(q, k, v, p, heads)
            expected = x[p][m] + c.attention_out * affine(layer.out, mixed)
            np.testing.assert_allclose(found[p][m], expected, atol=1e-10)


def test_attention_names_heads_that_do_not_divide():
    with pytest.raises(ValueError, match="heads: expected a divisor of 4 channels, got 3"):
        attention(heads=3)


# ---- blocks, resolutions, time -------------------------------------------------------------------


@given(st.integers(1, 4), st.integers(1, 4), st.sampled_from([Downsample, Upsample]))
def test_the_resolution_halves_or_doubles(h, w, make):
    y = make(3).initialise(0)(Tensor(np.zeros((2 * h, 2 * w, 2, 3), np.float32)))
    assert y.shape == ((h, w, 2, 3) if make is Downsample else (4 * h, 4 * w, 2, 3))


@pytest.mark.parametrize("inputs, outputs", [(4, 4), (4, 8)])
def test_a_new_block_passes_its_image_through(inputs, outputs):
    x = Tensor(np.random.default_rng(0).standard_normal((3, 5, 2, inputs)))
    temb = Tensor(np.ones((2, 6)))
    block = ResidualBlock(inputs, outputs, 6, 2, 0.0, C).initialise(0, np.float64)
    expected = x if inputs == outputs else block.shortcut(x)
    np.testing.assert_array_equal(block(x, temb, None).data, expected.data)
    layer = attention(2, inputs).initialise(0, np.float64)
    np.testing.assert_array_equal(layer(x).data, x.data)


def test_sinusoidal_by_hand():
    found = sinusoidal(np.array([1, 3, 1000]), 4, np.float64)
    # The frequencies are 1 and 10000^(-1/2).
    expected = [[np.sin(t), np.sin(t / 100), np.cos(t), np.cos(t / 100)] for t in (1, 3, 1000)]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    in_float32 = sinusoidal(np.array([1, 3, 1000]), 4, np.float32)
    assert in_float32.dtype == np.float32
    # Computed in float64, cast once.
    np.testing.assert_array_equal(in_float32, found.astype(np.float32))


def test_sinusoidal_tells_all_timesteps_apart():
    waves = sinusoidal(np.arange(1, 1001), 16, np.float64)
    distance = ((waves[:, None] - waves) ** 2).sum(-1)
    assert distance[~np.eye(1000, dtype=bool)].min() > 1e-3


# ---- start and multipliers -----------------------------------------------------------------------

WITH_FAN_IN = [
    (lambda c: Linear(64, 80, c), 64),
    (lambda c: Conv2d(16, 40, 3, c=c), 144),
    (lambda c: Conv2d(64, 64, 1, c=c), 64),
]


@pytest.mark.parametrize("make, fan_in", WITH_FAN_IN)
def test_the_effective_weight_starts_with_variance_1_over_fan_in_whatever_c(make, fan_in):
    effective = {c: c * make(c).initialise(0, np.float64).weight.data for c in (0.2, 1.0, 7.0)}
    for weight in effective.values():
        np.testing.assert_allclose(weight, effective[1.0], rtol=1e-12)
    assert effective[1.0].var() * fan_in == pytest.approx(1, abs=0.06)
    spread = 1 / np.sqrt(fan_in * effective[1.0].size)  # of the mean
    assert effective[1.0].mean() == pytest.approx(0, abs=5 * spread)


WITH_C = {
    "linear": lambda c: Linear(4, 6, c),
    "conv": lambda c: Conv2d(4, 6, c=c),
    "norm": lambda c: GroupNorm(4, 2, c),
}


@given(st.sampled_from([0.2, 0.5, 2.0, 7.0]), st.sampled_from(list(WITH_C)), seeds)
def test_a_step_moves_the_effective_weight_by_c_squared_beta(c, kind, seed):
    """As multipliers.py says: under θ ← θ − β∇J, w = c·v moves by −c²β∇_w J."""
    rng, beta, make = np.random.default_rng(seed), 0.1, WITH_C[kind]
    plain, scaled = make(1.0).initialise(0, np.float64), make(c).initialise(0, np.float64)
    plain.theta += 0.3 * rng.standard_normal(plain.theta.shape)
    scaled.theta[...] = plain.theta / c  # the same effective weights
    x = Tensor(rng.standard_normal((3, 2, 2, 4)))
    for layer in (plain, scaled):
        (layer(x) ** 2).sum().backward()
    moved = c * (scaled.theta - beta * scaled.grad) - plain.theta
    assert abs(plain.grad).max() > 1e-3
    np.testing.assert_allclose(moved, -(c**2) * beta * plain.grad, rtol=1e-9, atol=1e-11)
