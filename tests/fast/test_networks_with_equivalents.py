"""With `fast` enabled a whole network computes in float32 what the definitions say."""

import threading

import numpy as np
import pytest

from tinyddpm import fast, noise, schedule
from tinyddpm.equivalents import FASTER
from tinyddpm.nn import UNet, UNetConfig
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


CONFIGS = {
    "default": UNetConfig(),
    "28 to 14 to 7": UNetConfig(
        image=(1, 28, 28), base=8, levels=(1, 2, 2), attention=(7,), blocks=1, groups=4
    ),
    "not square, RGB, heads": UNetConfig(
        image=(3, 8, 12), base=8, attention=(4, 8), heads=2, groups=4
    ),
    "odd": UNetConfig(image=(1, 7, 5), base=8, levels=(1,), attention=(5,), groups=2),
    "three levels to 2×2": UNetConfig(
        image=(2, 8, 8), base=8, levels=(1, 2, 3), attention=(2,), blocks=1, groups=8
    ),
    "unconditional in t, one pixel": UNetConfig(
        image=(1, 2, 2),
        base=8,
        levels=(1, 2),
        attention=(),
        middle_attention=False,
        groups=1,  # more would normalise two numbers
        time_conditioning=False,
    ),
}
TOGETHER = ("default", "odd", "not square, RGB, heads", "three levels to 2×2")


def network_and_batch(config, n=5):
    """A U-Net and the arguments of `gradient`.

    θ is perturbed, so that nothing is hidden behind a zero.
    """
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
    assert abs(J_fast - J) <= 1e-5 * abs(J)
    assert np.allclose(errors_fast, errors, rtol=1e-4, atol=0)
    for parameter, where in unet.slices().items():
        # A key's bias has no effect: its gradient is all rounding.
        size = max(abs(expected[where]).max(), 1e-2 * abs(expected).max())
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


def backward_of(unet, xt, t):
    unet.grad[...] = 0
    graph = unet(xt, t)
    return lambda: graph.backward(np.ones(graph.shape, np.float32))


def test_networks_interleaved():
    """Two graphs alive at once: each the bits that it has alone."""
    fast.enable()
    networks = [network_and_batch(CONFIGS[name]) for name in TOGETHER[:2]]
    graphs = [backward_of(unet, xt, t) for unet, (_, xt, t, _) in networks]
    for graph in graphs:
        graph()
    interleaved = [unet.grad.copy() for unet, _ in networks]
    for (unet, (_, xt, t, _)), expected in zip(networks, interleaved):
        backward_of(unet, xt, t)()
        assert np.array_equal(unet.grad, expected)


def test_networks_in_threads():
    """Four threads at once: each the bits that it has alone."""
    fast.enable()
    networks = [network_and_batch(CONFIGS[name]) for name in TOGETHER]
    alone = [gradient_of(*each)[2] for each in networks]
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


def test_enable_and_disable():
    fast.enable()
    assert FASTER.keys() >= fast.EQUIVALENTS.keys()
    fast.disable()
    assert not FASTER.keys() & fast.EQUIVALENTS.keys()


def test_blocks_may_end_in_any_order():
    before = dict(FASTER)
    first, second = fast.enabled(), fast.enabled()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert FASTER.keys() >= fast.EQUIVALENTS.keys()
    second.__exit__(None, None, None)
    assert before == FASTER
