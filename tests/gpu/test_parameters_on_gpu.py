"""The gradient and the denoiser in few launches: those of the definitions, for each kind of net."""

from dataclasses import replace

import numpy as np
import pytest
from on_gpu import assert_same, bound
from oracles import SMALL, perturb

from autograd.backend import to_device
from tinyddpm import fast, noise, schedule, train
from tinyddpm.more.classes import ClassConfig, ClassUNet
from tinyddpm.nn import UNet
from tinyddpm.runs.computing import computing

S = schedule.linear(100)
RNG = np.random.default_rng(0)
X0, EPS = (RNG.standard_normal((3, *SMALL.image)).astype(np.float32) for _ in range(2))
T = np.array([1, 50, 100])
CLASSES = ClassConfig(**vars(SMALL), classes=4)
NETS = {
    "plain": (UNet, SMALL, None),
    "dropout": (UNet, replace(SMALL, dropout=0.3), None),
    "unconditional in t": (UNet, replace(SMALL, time_conditioning=False), None),
    "classes": (ClassUNet, CLASSES, np.array([0, 3, 1])),
}


def on(device, name):
    """The network on the device with θ away from its zeros, and all that `gradient` takes."""
    kind, config, cond = NETS[name]
    net = kind(config)
    theta = perturb(net.initialise(0), np.random.default_rng(1)).theta.astype(np.float32)
    bound(net, theta, device)
    arrays = [to_device(a, device) for a in (X0, T, EPS)]
    stream = noise.Stream(0, "dropout", 1, to_device(np.arange(3), device))
    cond = None if cond is None else to_device(cond, device)
    return net, (net, S, *arrays), {"dropout": stream, "cond": cond}


@pytest.mark.parametrize("gpu_shards", [1, 2])
@pytest.mark.parametrize("name", NETS)
def test_J_and_gradient(name, gpu_shards):
    cpu, arguments, options = on("cpu", name)
    J, errors = train.gradient(*arguments, **options)
    gpu, arguments, options = on("cuda", name)
    gpu.grad += 1  # what is there is added to
    with computing(gpu, gpu, S, "cuda", gpu_shards=gpu_shards) as (gradient, _):
        found, found_errors = gradient(*arguments, **options)
    assert_same(to_device(found, "cuda"), J, "J")  # that of shards is added up on the host
    assert_same(found_errors, errors, "errors")
    assert_same(gpu.grad - 1, cpu.grad, "gradient", tolerance=2e-4)


@pytest.mark.parametrize("gpu_shards", [1, 2])
@pytest.mark.parametrize("name", NETS)
def test_what_the_ema_denoises_now(name, gpu_shards):
    """θ of the network that denoises counts when it is called, not when it was given."""
    found = {}
    for device in ("cpu", "cuda"):
        net, (_, _, xt, t, _), options = on(device, name)
        cond = [] if options["cond"] is None else [options["cond"]]
        ema = type(net)(net.config).bind(net.theta.copy())
        if device == "cpu":
            ema.theta *= 0.5
            found[device] = ema.denoise(xt, t, *cond)
            continue
        with computing(net, ema, S, device, gpu_shards=gpu_shards) as (_, denoise):
            ema.theta *= 0.5
            found[device] = denoise(xt, t, *cond)
    assert_same(found["cuda"], found["cpu"], "x̂_0", tolerance=1e-4)


def test_float64_is_left_to_the_definitions():
    net = UNet(SMALL).initialise(0, np.float64)
    net.bind(to_device(net.theta, "cuda"), to_device(net.grad, "cuda"))
    assert fast.on_gpu(net, net)[0] is train.gradient
