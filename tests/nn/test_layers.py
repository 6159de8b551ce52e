"""The gradient of each layer by the complex step, and its dtype.

tests/gpu runs everything here that calls `check_module` a second time, on a GPU.
"""

import numpy as np
import pytest
from hypothesis import assume, given, strategies as st
from image_draws import OPS
from layer_draws import C, attention, convolutions, counts, few, multipliers, normed, sizes
from oracles import check_module, seeds

from autograd import Tensor, leaf
from autograd.testing import gradient_test
from tinyddpm import noise
from tinyddpm.nn.block import Downsample, ResidualBlock, Upsample, repeat2
from tinyddpm.nn.conv import Conv2d, add_windows, windows
from tinyddpm.nn.linear import Linear
from tinyddpm.nn.norm import GroupNorm
from tinyddpm.nn.time import TimeEmbedding

# ---- the ops -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPS)
def test_gradient_of_an_op(name):
    op, drawn = OPS[name]
    gradient_test(op, draw=drawn, analytic=True)()


# ---- convolution and linear ----------------------------------------------------------------------


@given(convolutions(), seeds)
def test_add_windows_is_the_adjoint_of_windows(drawn, seed):
    x, w, options, _ = drawn
    kh, kw, stride = *w.shape[:2], options["stride"]
    assume(x.shape[0] >= kh and x.shape[1] >= kw)
    out = windows(x, kh, kw, stride)
    g = np.random.default_rng(seed).standard_normal(out.shape)
    back = add_windows(g, x.shape, kh, kw, stride)
    assert (out * g).sum() == pytest.approx((x * back).sum(), abs=1e-10)


paddings = st.sampled_from([None, 1, ((0, 2), (1, 0))])
factors = st.sampled_from([0.2, 1.0, 3.0])


def sees(n, before, after, kernel, stride):
    """Does any window along an axis of n pixels contain one of them, and not padding alone?"""
    starts = range(-before, n + after - kernel + 1, stride)
    return any(start < n and start + kernel > 0 for start in starts)


@given(sizes, sizes, counts, counts, counts, counts, paddings, factors, seeds)
def test_conv_layer_gradient(h, w, inputs, outputs, kernel, stride, padding, c, seed):
    by_default = kernel // 2 if padding is None else padding
    rows, columns = padding if isinstance(padding, tuple) else [(by_default, by_default)] * 2
    assume(h + sum(rows) >= kernel and w + sum(columns) >= kernel)
    # A window of one pixel may step over all of a small image, from padding to padding.
    assume(sees(h, *rows, kernel, stride) and sees(w, *columns, kernel, stride))
    rng = np.random.default_rng(seed)
    layer = Conv2d(inputs, outputs, kernel, stride, padding, c)
    check_module(layer, layer, [rng.standard_normal((h, w, 2, inputs))], rng)


@given(sizes, sizes, st.lists(counts, max_size=3), factors, seeds)
def test_linear_layer_gradient(inputs, outputs, others, c, seed):
    rng = np.random.default_rng(seed)
    layer = Linear(inputs, outputs, c)
    check_module(layer, layer, [rng.standard_normal((*others, inputs))], rng)


# ---- group norm ----------------------------------------------------------------------------------


@given(normed(), st.sampled_from([0.5, 1.0, 2.0]))
def test_group_norm_layer_gradient(drawn, c):
    rng, x, groups = drawn
    layer = GroupNorm(x.shape[3], groups, c)
    check_module(layer, layer, [x / abs(x).max()], rng)


# ---- attention -----------------------------------------------------------------------------------

heads_and_channels = st.sampled_from([(1, 4), (2, 4), (3, 6), (2, 2)])


@few
@given(counts, st.integers(2, 3), st.integers(1, 2), heads_and_channels, multipliers, seeds)
def test_attention_gradient(h, w, n, heads_channels, c, seed):
    """The softmax ignores the key's bias, which adds the same number to a whole row before it."""
    rng, (heads, channels) = np.random.default_rng(seed), heads_channels
    layer = attention(heads, channels, 1 + (channels > 2), c)
    check_module(layer, layer, [rng.standard_normal((h, w, n, channels))], rng, zero=["k.bias"])


# ---- blocks and resolutions ----------------------------------------------------------------------

inputs_and_outputs = st.sampled_from([(2, 2), (2, 4), (6, 4)])
dropouts = st.sampled_from([0.0, 0.5])


@few
@given(
    st.integers(2, 3),
    counts,
    st.integers(1, 2),
    inputs_and_outputs,
    st.booleans(),
    dropouts,
    multipliers,
    seeds,
)
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


@given(sizes, sizes, counts, counts, seeds)
def test_repeat2_makes_each_pixel_2_by_2(h, w, n, c, seed):
    x = np.random.default_rng(seed).standard_normal((h, w, n, c))
    np.testing.assert_array_equal(repeat2(x).data, np.kron(x, np.ones((2, 2, 1, 1))))


# ---- time ----------------------------------------------------------------------------------------


@given(st.sampled_from([2, 4]), st.sampled_from([1.0, 4.0]), seeds)
def test_time_embedding_gradient(channels, c, seed):
    rng = np.random.default_rng(seed)
    layer, t = TimeEmbedding(channels, c), rng.integers(1, 1001, 3)
    check_module(layer, lambda: layer(t), [], rng)


# ---- dtype ---------------------------------------------------------------------------------------

LAYERS = {  # those that take an image
    "linear": lambda: Linear(4, 3, 2.0),
    "conv": lambda: Conv2d(4, 3, c=2.2),
    "norm": lambda: GroupNorm(4, 2, 0.5),
    "attention": lambda: attention(),
    "block": lambda: ResidualBlock(4, 8, 6, 2, 0.5, C),
    "down": lambda: Downsample(4),
    "up": lambda: Upsample(4),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_stays_forward_and_backward(name, dtype):
    layer, rng = LAYERS[name]().initialise(0, dtype), np.random.default_rng(0)
    x, more = leaf(rng.standard_normal((4, 6, 2, 4)).astype(dtype)), []
    if name == "block":
        more = [Tensor(np.ones((2, 6), dtype)), noise.Stream(0, "dropout", 1, np.arange(2))]
    y = layer(x, *more)
    y.backward(np.ones_like(y.data))
    assert y.dtype == layer.grad.dtype == x.grad.dtype == dtype and abs(layer.grad).max() > 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_stays_in_the_embedding_of_t(dtype):
    layer = TimeEmbedding(4, 4.0).initialise(0, dtype)
    y = layer(np.array([1, 1000]))
    y.backward(np.ones_like(y.data))
    assert y.dtype == layer.grad.dtype == dtype and abs(layer.grad).max() > 0
