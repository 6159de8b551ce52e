"""Op by op, each equivalent is what its definition says, in float64."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import strategies as st
from image_draws import attentions, group_norms, linears, norm_silu_convs, of_kernel
from op_cases import CASES, draw, norm_silu_conv

from autograd import Tensor, leaf, no_grad
from autograd.testing import gradient_test
from tinyddpm import fast
from tinyddpm.fast import ops
from tinyddpm.nn import attention, block, conv, linear, norm

EQUIVALENTS = {
    "conv2d-3": (conv.conv2d, ops.conv2d, of_kernel(3)),
    "conv2d-1": (conv.conv2d, ops.conv2d, of_kernel(1, padding=st.just(0))),
    "conv2d_bias": (
        conv.conv2d_bias,
        ops.conv2d_bias,
        of_kernel(3, bias=True, stride=st.just(1), padding=st.just(1)),
    ),
    "linear": (linear.linear, ops.linear, linears()),
    "group_norm": (norm.group_norm, ops.group_norm, group_norms()),
    "attention": (attention.attention, ops.attention, attentions()),
    "norm_silu_conv": (block.norm_silu_conv, ops.norm_silu_conv, norm_silu_convs()),
    "upsample_conv": (block.upsample_conv, ops.upsample_conv, of_kernel(3, bias=True)),
}


def test_each_equivalent_is_tried():
    tried = {name.partition("-")[0] for name in EQUIVALENTS}
    assert tried == fast.EQUIVALENTS.keys() - {"rows"}  # which takes GPU arrays alone


@pytest.mark.parametrize("name", EQUIVALENTS)
def test_each_is_its_definition_and_keeps_every_rule(name):
    """Output and gradients to 1e-12 in float64, float32 near that, slopes, scratch memory."""
    definition, equivalent, drawn = EQUIVALENTS[name]
    gradient_test(equivalent, draw=drawn, reference=definition, analytic=False)()


@pytest.mark.parametrize("case", CASES)
def test_only_float32_arrays_are_accepted(case):
    class OnGpu(np.ndarray):
        pass

    definition, _, arrays, options = CASES[case]
    accepts, _ = fast.EQUIVALENTS[definition.__name__]
    single = [a.astype(np.float32) if isinstance(a, np.ndarray) else a for a in arrays]
    tensors = [Tensor(a) if isinstance(a, np.ndarray) else a for a in single]
    assert accepts(*single, **options)
    assert accepts(*tensors, **options)
    for i, a in enumerate(arrays):
        if isinstance(a, np.ndarray):
            for other in (a, single[i].view(OnGpu), np.zeros(0, np.float32)):
                assert not accepts(*single[:i], other, *single[i + 1 :], **options)


def test_attention_to_large_values():
    """Weights of e^1000 would overflow; any warning is an error in these tests."""
    q, k, v = draw(*[(4, 3, 2, 6)] * 3)
    found = ops.attention(30 * q, 30 * k, v, heads=2).data
    expected = attention.attention(30 * q, 30 * k, v, heads=2).data
    assert np.allclose(found, expected, rtol=1e-12, atol=0)


def test_attention_to_what_is_far_apart():
    """Weights of e^−1000 are 0, in the definition as here."""
    q, k, v = draw(*[(4, 3, 2, 6)] * 3)
    with np.errstate(under="raise"):
        expected = attention.attention(300 * q, 300 * k, v, heads=2).data
        assert np.allclose(ops.attention(300 * q, 300 * k, v, heads=2).data, expected)


def test_what_is_left_to_the_definition():
    x, w, w5, thin = draw((4, 4, 2, 8), (3, 3, 8, 8), (5, 5, 8, 8), (3, 3, 8, 2), dtype=np.float32)
    assert ops.accepts_conv2d(x, w)
    for options in ({"padding": ((1, 1), (1, 1))}, {"padding": 0}, {"stride": 2}):
        assert not ops.accepts_conv2d(x, w, **options)
    for arguments in ((x, w5), (x, thin), (x, w[:, :, :7]), (x[0], w)):
        assert not ops.accepts_conv2d(*arguments)
    (gain,) = draw((8,), dtype=np.float32)
    arguments = x, gain, gain, w, gain
    assert ops.accepts_norm_silu_conv(*arguments, 0.0, None, groups=2)
    refused = ((1.0, None, 2), (gain, None, 2), (x[:1], None, 2), (0.0, x, 2), (0.0, None, 3))
    for added, mask, groups in refused:
        assert not ops.accepts_norm_silu_conv(*arguments, added, mask, groups=groups)


def test_no_grad_allocates_little_but_the_output():
    """Where nobody will ask for a gradient, the large intermediates are scratch memory."""
    _, equivalent, arrays, options = norm_silu_conv(32, 32, 8, 8, "row")

    def allocated():
        tracemalloc.start()
        out = equivalent(*tensors, **options)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak / out.data.nbytes

    tensors = [leaf(a) if isinstance(a, np.ndarray) else a for a in arrays]
    with no_grad():
        allocated()  # the scratch memory itself
        assert allocated() < 1.3
    assert allocated() > 2.5
