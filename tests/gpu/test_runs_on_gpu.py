"""Training for some time on the GPU.

NumPy's loss curve, the same bits each time, no memory that grows, TF32, and what the message says
when J is not finite.
"""

import itertools
import os
from contextlib import nullcontext
from dataclasses import replace

import cupy
import numpy as np
import pytest
from on_gpu import assert_same, bound
from oracles import SMALL, perturb

from autograd import backend
from autograd.backend import to_device
from tinyddpm import fast, schedule
from tinyddpm.nn import UNet, UNetConfig
from tinyddpm.runs.divergence import Watched
from tinyddpm.train import gradient, train

S = schedule.linear(100)
IMAGES = np.random.default_rng(0).uniform(-1, 1, (20, 1, 8, 8)).astype(np.float32)
STEPS = 5 if os.environ.get("TINYDDPM_GPU") == "simulated" else 50
PATHS = pytest.mark.parametrize("path", [fast.disable, fast.enable], ids=["definitions", "fast"])
CONFIG = UNetConfig(base=8, groups=4, heads=2)


def trained(device, steps=STEPS, beta=0.2):
    """θ and all J of a training on the device."""
    unet = UNet(CONFIG).initialise(0)
    bound(unet, unet.theta, device)
    endless = train(unet, to_device(IMAGES, device), S, beta, seed=0, batch_size=4)
    J = [step.J for step in itertools.islice(endless, steps)]
    return unet.theta, J


@PATHS
def test_the_loss_curve_is_that_of_numpy(path):
    path()
    J = trained("cuda")[1]
    fast.disable()
    # Differences in the last digit grow with the steps.
    np.testing.assert_allclose(J, trained("cpu")[1], rtol=2e-3)


@PATHS
def test_a_run_repeats_bit_for_bit(path):
    path()
    (theta, J), (again, J_again) = (trained("cuda", 3) for _ in range(2))
    assert J == J_again and bool((theta == again).all())


@PATHS
def test_after_the_first_steps_no_memory_is_asked_for(path):
    """CuPy's pool does not grow, and everything that a step takes out of it is back at its end."""
    path()
    pool, before = cupy.cuda.MemoryPool(), cupy.cuda.get_allocator()
    cupy.cuda.set_allocator(pool.malloc)
    try:
        unet = UNet(CONFIG).initialise(0)
        bound(unet, unet.theta, "cuda")
        endless = train(unet, to_device(IMAGES, "cuda"), S, 0.1, seed=0, batch_size=4)
        six = itertools.islice(endless, 6)
        sizes = [(pool.total_bytes(), pool.used_bytes()) for _ in six]
    finally:
        cupy.cuda.set_allocator(before)
    assert sizes[0][0] > 0 and len(set(sizes[2:])) == 1, sizes


@PATHS
@pytest.mark.parametrize("tf32", [False, True], ids=["float32", "TF32"])
def test_gradient_of_a_unet(path, tf32):
    unet, rng = UNet(CONFIG), np.random.default_rng(0)
    theta = perturb(unet.initialise(0), rng).theta
    x0, t = IMAGES[:4], np.array([1, 10, 50, 100])
    eps = rng.standard_normal((4, 1, 8, 8)).astype(np.float32)
    found = {}
    tolerance = 2e-2 if tf32 else 2e-4  # TF32 rounds factors to 10 bits after the point
    for device in ("cpu", "cuda"):
        fast.disable() if device == "cpu" else path()
        bound(unet, theta, device)
        with backend.tf32() if tf32 and device == "cuda" else nullcontext():
            J, errors = gradient(unet, S, *(to_device(a, device) for a in (x0, t, eps)))
        found[device] = {"J": J, "errors": errors, "gradient": unet.grad}
    for what, cpu in found["cpu"].items():
        assert_same(found["cuda"][what], cpu, what, tolerance)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_a_J_that_is_not_finite_stops_before_the_update_and_is_accounted_for(dropout):
    config = replace(SMALL, dropout=dropout)
    some = np.random.default_rng(0).uniform(-1, 1, (9, *SMALL.image)).astype(np.float32)
    accounts = []
    for device in ("cuda", "cpu"):
        unet = UNet(config).initialise(0)
        bound(unet, unet.theta, device)
        unet.parameters()["first.weight"].data[...] = 3e38
        before, watched = unet.theta.copy(), Watched(gradient)
        options = {"seed": 0, "batch_size": 4, "gradient": watched}
        steps = train(unet, to_device(some, device), S, 0.1, **options)
        with pytest.raises(FloatingPointError, match="at step 1"), np.errstate(all="ignore"):
            next(steps)
        assert bool((unet.theta == before).all())
        accounts.append(watched.account(unet, S))
    assert accounts[0] == accounts[1]
    assert "the first layer whose output is not finite is first" in accounts[0]
