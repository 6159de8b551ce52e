"""Op by op, each equivalent is what its definition says, in float64."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import strategies as st
from op_cases import CASES, draw, norm_silu_conv

from autograd import Tensor, backward, leaf, no_grad
from autograd.testing import gradient_test
from tinyddpm import fast
from tinyddpm.fast import buffers, ops
from tinyddpm.nn import attention


@pytest.mark.parametrize("case", CASES)
def test_each_op_is_its_definition(case):
    definition, equivalent, arrays, options = CASES[case]
    results = []
    for op in (definition, equivalent):
        leaves = [leaf(a) if isinstance(a, np.ndarray) else a for a in arrays]
        out = op(*leaves, **options)
        backward(out, np.random.default_rng(1).standard_normal(out.shape))
        results.append([out.data, *(a.grad for a in leaves if isinstance(a, Tensor))])
    for expected, found in zip(*results, strict=True):
        assert found.shape == expected.shape
        assert abs(found - expected).max() <= 1e-12 * max(1, abs(expected).max())


@pytest.mark.parametrize("case", CASES)
def test_each_op_keeps_the_rules_of_the_engine(case):
    """Every rule of autograd.testing: slopes, memory, layouts, float32 and more."""
    definition, equivalent, arrays, options = CASES[case]

    def reference(*xs, **how):
        return definition(*xs, **how).data

    drawn = st.just((tuple(arrays), options))
    gradient_test(equivalent, draw=drawn, reference=reference, analytic=False, examples=5)()


@pytest.mark.parametrize("case", CASES)
def test_a_gradient_does_not_depend_on_what_else_is_asked_for(case):
    """Each argument alone: its gradient is the same to the bit, and the others' are not computed.

    And with none at all.
    """
    _, equivalent, arrays, options = CASES[case]
    positions = [i for i, a in enumerate(arrays) if isinstance(a, np.ndarray)]

    def run(wanted):
        leaves = [leaf(a) if i in wanted else a for i, a in enumerate(arrays)]
        out = equivalent(*leaves, **options)
        backward(out, np.random.default_rng(1).standard_normal(out.shape))
        return out.data, {i: leaves[i].grad for i in wanted}

    y, together = run(positions)
    for i in positions:
        assert np.array_equal(run([i])[1][i], together[i]), f"argument {i}"
    assert np.array_equal(equivalent(*arrays, **options).data, y)


@pytest.mark.parametrize("case", CASES)
def test_no_result_is_scratch_memory(case):
    """Two calls alive at once, then the first one's pullback: as if it had been alone."""
    _, equivalent, arrays, options = CASES[case]

    def forward(factor):
        arguments = [factor * a if isinstance(a, np.ndarray) else a for a in arrays]
        return equivalent.__wrapped__(*arguments, **options)

    def finish(y, pullback):
        g = np.random.default_rng(1).standard_normal(y.shape)
        return [a for a in (y, *pullback(g)) if isinstance(a, np.ndarray)]

    alone = [a.copy() for a in finish(*forward(1))]
    first, second = forward(1), forward(2)
    others = finish(*second)
    kept = [a.copy() for a in others]
    found = finish(*first)
    for a, b in zip([*found, *others], [*alone, *kept], strict=True):
        assert np.array_equal(a, b)
    for memory in buffers._own.memory.values():
        assert not any(np.shares_memory(memory, a) for a in found)


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
