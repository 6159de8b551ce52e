"""Every layer, and a U-Net's gradient: CuPy gives what NumPy gives.

The layers and their inputs are those of tests/nn. Its tests that hand a module to `check_module`
are collected here a second time, with a `check_module` that computes in NumPy and on the GPU, in
float64, and compares.
"""

import types

import numpy as np
import pytest
import test_layers
import test_unet
from on_gpu import assert_same, bound, moved
from oracles import perturb

from autograd import leaf
from autograd.backend import to_device
from tinyddpm import noise, schedule
from tinyddpm.nn import UNet, UNetConfig
from tinyddpm.train import gradient


def check_module(module, forward, inputs, rng, zero=(), directions=3):
    """Output, gradients of θ and of the inputs: the same with NumPy's arrays and with CuPy's."""
    theta = perturb(module.initialise(0, np.float64), rng).theta
    results, g = {}, None
    for device in ("cpu", "cuda"):
        bound(module, theta, device)
        leaves = [leaf(to_device(x, device)) for x in inputs]
        out = on(device, forward)(*leaves)
        g = rng.standard_normal(out.shape) if g is None else g
        out.backward(to_device(g, device))
        results[device] = {"output": out.data, "gradient of θ": module.grad}
        for i, x in enumerate(leaves):
            results[device][f"gradient of input {i}"] = x.grad
    assert abs(results["cpu"]["gradient of θ"]).max() > 0
    for what, cpu in results["cpu"].items():
        # GroupNorm divides by spreads that may be small.
        assert_same(results["cuda"][what], cpu, what, tolerance=1e-10)
    bound(module, theta, "cpu")


def on(device, forward):
    """The same function, with its own arrays (such as t) and the noise it draws on the device."""
    if not isinstance(forward, types.FunctionType):
        return forward

    def stream(seed, purpose, step, index):
        return noise.Stream(seed, purpose, step, to_device(index, device))

    own = [moved(cell.cell_contents, device) for cell in forward.__closure__ or ()]
    return types.FunctionType(
        forward.__code__,
        {**forward.__globals__, "noise": types.SimpleNamespace(Stream=stream)},
        forward.__name__,
        forward.__defaults__,
        tuple(map(types.CellType, own)),
    )


@pytest.fixture(autouse=True, scope="module")
def compare_instead():
    with pytest.MonkeyPatch.context() as patch:
        for module in (test_layers, test_unet):
            patch.setattr(module, "check_module", check_module)
        yield


def uses_check_module(test):
    inner = test.hypothesis.inner_test if hasattr(test, "hypothesis") else test
    return "check_module" in inner.__code__.co_names


COLLECTED = {
    name: test
    for module in (test_layers, test_unet)
    for name, test in vars(module).items()
    if name.startswith("test_") and callable(test) and uses_check_module(test)
}
globals().update(COLLECTED)
EXPECTED = {
    "test_conv_layer_gradient",
    "test_linear_layer_gradient",
    "test_group_norm_layer_gradient",
    "test_attention_gradient",
    "test_residual_block_gradient",
    "test_gradients_of_the_layers_that_change_the_resolution",
    "test_time_embedding_gradient",
    "test_the_gradient_along_random_directions_to_many_digits",
}
CONFIGS = {
    "base 16": UNetConfig(),
    "colour": UNetConfig(image=(3, 8, 4), base=4, groups=2, heads=2, dropout=0.3),
}


def test_the_layers_are_all_there():
    assert EXPECTED <= COLLECTED.keys()


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_gradient_of_a_unet_in_float32(config):
    """`train.gradient`: x_t, x̂_0, J and backward, with everything on the GPU."""
    unet, rng = UNet(config), np.random.default_rng(0)
    theta = perturb(unet.initialise(0), rng).theta
    x0, eps = rng.standard_normal((2, 4, *config.image)).astype(np.float32)
    t, results = np.array([1, 10, 500, 1000]), []
    for device in ("cpu", "cuda"):
        bound(unet, theta, device)
        draws = noise.Stream(0, "dropout", 1, to_device(np.arange(4), device))
        batch = (to_device(a, device) for a in (x0, t, eps))
        J, errors = gradient(unet, schedule.linear(1000), *batch, dropout=draws)
        results.append({"J": J, "errors": errors, "gradient": unet.grad})
    for what in results[0]:
        assert_same(results[1][what], results[0][what], what, tolerance=2e-4)
