"""With `fast` enabled every result stays what the definitions say: op by op in float64, whole networks in float32."""
import threading
import tracemalloc

import numpy as np
import pytest

from autograd import Tensor, backward, leaf, no_grad
from autograd.check import check_pullback
from tinyddpm import fast, noise, schedule
from tinyddpm.fast import buffers, ops
from tinyddpm.nn import UNet, UNetConfig, attention, block, conv, linear, norm
from tinyddpm.equivalents import FASTER
from tinyddpm.nn.multipliers import ONES
from tinyddpm.train import gradient


@pytest.fixture(autouse=True)
def leave_no_trace():
    """Each test begins and ends with the definitions."""
    before = dict(FASTER)
    fast.disable()
    yield
    FASTER.clear()
    FASTER.update(before)


def draw(*shapes, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def norm_silu_conv(height, width, c_in, c_out, added):
    """Arguments: nothing, a row or an image to be added."""
    n = 3
    shapes = {"nothing": (), "row": (n, c_out), "image": (height, width, n, c_out)}
    x, gain, shift, w, b, added = draw((height, width, n, c_in), (c_in,), (c_in,), (3, 3, c_in, c_out), (c_out,), shapes[added])
    return block.norm_silu_conv, ops.norm_silu_conv, (x, gain, shift, w, b, added if added.shape else 0.0, None), {"groups": 2}


CASES = {
    **{f"norm_silu_conv-{added}-{c_out}": norm_silu_conv(7, 8, 6, c_out, added)
       for added in ("nothing", "row", "image") for c_out in (1, 3, 6)},
    "upsample_conv": (block.upsample_conv, ops.upsample_conv, draw((3, 4, 2, 5), (3, 3, 5, 6), (6,)), {}),
    "conv2d-3": (conv.conv2d, ops.conv2d, draw((5, 8, 2, 5), (3, 3, 5, 6)), {}),
    "conv2d-1": (conv.conv2d, ops.conv2d, draw((4, 8, 2, 5), (1, 1, 5, 6)), {"padding": 0}),
    "linear": (linear.linear, ops.linear, draw((4, 3, 7), (7, 5), (5,)), {}),
    "linear-in-blocks": (linear.linear, ops.linear, draw((64, 7), (7, 5), (5,)), {}),
    "group_norm": (norm.group_norm, ops.group_norm, draw((4, 3, 2, 6), (6,), (6,)), {"groups": 3}),
    "attention": (attention.attention, ops.attention, draw(*[(4, 3, 2, 6)] * 3), {"heads": 2}),
}


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
    """Numerical gradients; and that neither g nor an input nor the output is written into."""
    _, equivalent, arrays, options = CASES[case]
    check_pullback(equivalent, *arrays, options=options)


@pytest.mark.parametrize("case", CASES)
def test_a_gradient_does_not_depend_on_what_else_is_asked_for(case):
    """Each argument alone: the others' gradients are not computed, its own is the same to the bit. And with none at all."""
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
def test_results_are_nobodys_scratch_memory(case):
    """Two calls alive at once, then the first one's pullback: as if it had been alone. And no result lies in scratch memory."""
    _, equivalent, arrays, options = CASES[case]

    def forward(factor):
        return equivalent.__wrapped__(*[factor * a if isinstance(a, np.ndarray) else a for a in arrays], **options)

    def finish(y, pullback):
        g = np.random.default_rng(1).standard_normal(y.shape)
        return [a for a in (y, *pullback(g)) if isinstance(a, np.ndarray)]

    alone = [a.copy() for a in finish(*forward(1))]
    first, second = forward(1), forward(2)
    others = finish(*second)
    kept = [a.copy() for a in others]
    found = finish(*first)
    assert all(np.array_equal(a, b) for a, b in zip([*found, *others], [*alone, *kept], strict=True))
    for memory in buffers._own.memory.values():
        assert not any(np.shares_memory(memory, a) for a in found)


@pytest.mark.parametrize("case", CASES)
def test_only_float32_arrays_are_accepted(case):
    definition, _, arrays, options = CASES[case]
    accepts, _ = fast.EQUIVALENTS[definition.__name__]
    single = [a.astype(np.float32) if isinstance(a, np.ndarray) else a for a in arrays]
    assert accepts(*single, **options)
    assert accepts(*[Tensor(a) if isinstance(a, np.ndarray) else a for a in single], **options)
    for i, a in enumerate(arrays):
        if isinstance(a, np.ndarray):
            class OnGpu(np.ndarray):
                pass
            for other in (a, single[i].view(OnGpu), np.zeros(0, np.float32)):
                assert not accepts(*single[:i], other, *single[i + 1:], **options)


def test_attention_to_large_values():
    """Weights of e^1000 would overflow; any warning is an error in these tests."""
    q, k, v = draw(*[(4, 3, 2, 6)] * 3)
    expected = attention.attention(30 * q, 30 * k, v, heads=2).data
    assert np.allclose(ops.attention(30 * q, 30 * k, v, heads=2).data, expected, rtol=1e-12, atol=0)


def test_what_is_left_to_the_definition():
    x, w, w5, thin = draw((4, 4, 2, 8), (3, 3, 8, 8), (5, 5, 8, 8), (3, 3, 8, 2), dtype=np.float32)
    assert ops.accepts_conv2d(x, w)
    others = [((x, w), option) for option in ({"padding": ((1, 1), (1, 1))}, {"padding": 0}, {"stride": 2})]
    for arguments, options in ((x, w5), {}), ((x, thin), {}), ((x, w[:, :, :7]), {}), ((x[0], w), {}), *others:
        assert not ops.accepts_conv2d(*arguments, **options)
    (gain,) = draw((8,), dtype=np.float32)
    arguments = x, gain, gain, w, gain
    assert ops.accepts_norm_silu_conv(*arguments, 0.0, None, groups=2)
    for added, kept, groups in ((1.0, None, 2), (gain, None, 2), (x[:1], None, 2), (0.0, x, 2), (0.0, None, 3)):
        assert not ops.accepts_norm_silu_conv(*arguments, added, kept, groups=groups)


CONFIGS = {
    "default": UNetConfig(),
    "28 to 14 to 7": UNetConfig(image=(1, 28, 28), base=8, levels=(1, 2, 2), attention=(7,), blocks=1, groups=4),
    "not square, RGB, heads": UNetConfig(image=(3, 8, 12), base=8, attention=(4, 8), heads=2, groups=4),
    "odd": UNetConfig(image=(1, 7, 5), base=8, levels=(1,), attention=(5,), groups=2),
    "three levels to 2×2": UNetConfig(image=(2, 8, 8), base=8, levels=(1, 2, 3), attention=(2,), blocks=1, groups=8),
    "not told t, one pixel": UNetConfig(image=(1, 2, 2), base=8, levels=(1, 2), attention=(), middle_attention=False, groups=1, time_conditioning=False),  # more groups would normalise two numbers
}


def network_and_batch(config, n=5):
    """A U-Net whose θ is perturbed, so that nothing is hidden behind a zero, and the arguments of `gradient`."""
    rng = np.random.default_rng(0)
    unet = UNet(config, ONES).initialise(0)
    for p in unet.parameters().values():
        p.data[...] += 0.05 * rng.standard_normal(p.shape)
    x0, eps = rng.standard_normal((2, n, *config.image)).astype(np.float32)
    return unet, (schedule.linear(100), x0, rng.integers(1, 101, n), eps)


def gradient_of(unet, batch, **options):
    unet.grad[...] = 0
    J, errors = gradient(unet, *batch, **options)
    return float(J), errors, unet.grad.copy()


@pytest.mark.parametrize("name", CONFIGS)
def test_a_whole_network(name):
    unet, batch = network_and_batch(CONFIGS[name])
    J, errors, expected = gradient_of(unet, batch)
    fast.enable()
    J_fast, errors_fast, found = gradient_of(unet, batch)
    assert found.dtype == errors_fast.dtype == np.float32
    assert abs(J_fast - J) <= 1e-5 * abs(J) and np.allclose(errors_fast, errors, rtol=1e-4, atol=0)
    for parameter, where in unet.slices().items():
        size = max(abs(expected[where]).max(), 1e-2 * abs(expected).max())  # a key's bias has no effect: its gradient is all rounding
        assert abs(found[where] - expected[where]).max() <= 1e-4 * size, parameter
    assert (found != expected).any(), "the equivalents were not used"


@pytest.mark.parametrize("name", ["default", "odd"])
def test_sampling_computes_what_training_does(name):
    unet, (_, xt, t, _) = network_and_batch(CONFIGS[name])
    fast.enable()
    trained = unet(xt, t).data
    assert np.array_equal(unet.denoise(xt, t), trained)
    unet.bind(unet.theta)  # constants, without no_grad
    assert np.array_equal(unet(xt, t).data, trained)


def test_dropout_is_left_to_the_definition():
    config = UNetConfig(base=8, groups=4, dropout=0.5)
    unet, batch = network_and_batch(config)

    def dropped():
        return noise.Stream(0, "dropout", 1, np.arange(5))

    _, _, expected = gradient_of(unet, batch, dropout=dropped())
    fast.enable()
    _, _, found = gradient_of(unet, batch, dropout=dropped())
    assert abs(found - expected).max() <= 1e-4 * abs(expected).max()


def test_networks_interleaved_and_in_threads():
    """Two graphs alive at once, and four threads at once: each the bits that it has alone."""
    fast.enable()
    networks = [network_and_batch(CONFIGS[name]) for name in ("default", "odd", "not square, RGB, heads", "three levels to 2×2")]
    alone = [gradient_of(*each)[2] for each in networks]

    graphs = []
    for unet, (_, xt, t, _) in networks[:2]:
        unet.grad[...] = 0
        graphs.append(unet(xt, t))
    for (unet, (_, xt, t, _)), graph in zip(networks, graphs):
        graph.backward(np.ones(graph.shape, np.float32))
    interleaved = [unet.grad.copy() for unet, _ in networks[:2]]
    for (unet, (_, xt, t, _)), expected in zip(networks, interleaved):
        unet.grad[...] = 0
        unet(xt, t).backward(np.ones(xt.shape, np.float32))
        assert np.array_equal(unet.grad, expected)

    found = {}

    def work(i):
        for _ in range(3):
            found[i] = gradient_of(*networks[i])[2]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(found[i], alone[i]) for i in range(4))


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


def test_enable_and_disable():
    fast.enable()
    assert FASTER.keys() >= fast.EQUIVALENTS.keys()
    fast.disable()
    assert not FASTER.keys() & fast.EQUIVALENTS.keys()


def test_scratch_memory():
    buffers.drop_scratch()
    a = buffers.scratch("test", (3, 4), np.dtype("f"))
    assert a.shape == (3, 4) and a.dtype == np.float32 and a.ctypes.data % 64 == 0
    assert buffers.scratch("test", (3, 4), np.dtype("f")) is a
    assert np.shares_memory(a, buffers.scratch("test", (12,), np.dtype("f")))
    assert not np.shares_memory(a, buffers.scratch("other", (3, 4), np.dtype("f")))
    larger = buffers.scratch("test", (50, 40), np.dtype("d"))
    assert larger.nbytes == 16_000 and not np.shares_memory(larger, a)
    assert np.shares_memory(larger, buffers.scratch("test", (3, 4), np.dtype("f"))), "two memories under one name"
    buffers.scratch("test", (buffers.LARGEST + 1,), np.dtype("b"))
    for n in range(buffers.MOST_VIEWS + 100, 0, -1):
        buffers.scratch("many", (n,), np.dtype("b"))
    assert sum(map(len, buffers._own.memory.values())) < 10**6 and len(buffers._own.views) <= buffers.MOST_VIEWS
    buffers.drop_scratch()
    assert not buffers._own.memory
