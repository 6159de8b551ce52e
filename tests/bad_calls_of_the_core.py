"""Bad calls of the core and of `noise`: see test_bad_arguments.py."""

import numpy as np
from bad_calls import (
    DOUBLE,
    LIKE_X,
    ONE,
    ONE_FOR_TWO,
    OTHER,
    SMALL,
    TWO_DTYPES,
    UNET,
    S,
    T,
    X,
    bad,
    ones,
    same,
    z,
    zeros,
)

from autograd import leaf
from tinyddpm import diffusion, noise, sampler, schedule
from tinyddpm.more import chain, schedules, solvers
from tinyddpm.nn import UNet, attention, block, conv, norm
from tinyddpm.objective import objective
from tinyddpm.train import gradient, train

H = zeros(4, 4, 2, 6)  # H W N C
IMAGES = "images: expected an array (n, C, H, W) of float32"
XT = "xt: expected images (N, 1, 4, 4) of floats"
CLIP, VARIANCE = (
    "clip: expected a positive bound or None",
    "variance: expected a table of T + 1 = 11",
)

ROWS = [
    bad(schedule.Schedule, [[0.1]], says="beta: expected a sequence"),
    bad(schedule.Schedule, [0.1, np.nan], says="beta: expected"),
    bad(schedule.linear, 0, says="T: expected a whole number"),
    bad(schedule.linear, 10.0, says="T: expected"),
    bad(schedule.cosine, -1, says="T: expected"),
    bad(diffusion.q_sample, S, X, T, ONE, says=f"eps: {ONE_FOR_TWO}"),
    bad(diffusion.q_sample, S, X, T, DOUBLE, says=f"eps: {LIKE_X}, got float64"),
    bad(diffusion.q_sample, S, X, T, 0.5, says="got 0.5"),
    bad(chain.q_step, S, X, T, OTHER, says="eps: expected"),
    bad(chain.q_chain, S, X, lambda t: ONE, says="eps: expected"),
    bad(diffusion.posterior_mean, S, ONE, X, T, says="x0: expected"),
    bad(diffusion.predicted_noise, S, OTHER, X, T, says="x0: expected"),
    bad(
        objective,
        leaf(X),
        ONE,
        says="the images' shape (1, 1, 4, 4), got (2, 1, 4, 4)",
    ),
    bad(objective, leaf(X), X, "l1", says="form: expected one of"),
    bad(objective, leaf(X), X, batch_size=0, says="batch_size: expected at least one image, got 0"),
    bad(objective, leaf(X[:0]), X[:0], says="batch_size: expected"),
    bad(objective, leaf(X), DOUBLE, says="sub: an argument is float32"),
    bad(objective, leaf(X[0, 0]), X[0, 0], says="axis 2 is out of bounds"),
    bad(sampler.ancestral, lambda x, t: ONE, S, X, z, says="x0: expected"),
    bad(sampler.ancestral, same, S, X, lambda t: ONE, says=f"noise(10): {ONE_FOR_TWO}"),
    bad(sampler.ancestral, same, S, X, lambda t: DOUBLE, says=f"noise(10): {LIKE_X}, got float64"),
    bad(sampler.ancestral, same, S, X, z, variance=S.beta[1:], says=f"{VARIANCE} numbers, got 10"),
    bad(sampler.ancestral, same, S, X, z, clip=-1, says=f"{CLIP}, got -1"),
    bad(sampler.ancestral, same, S, X, z, clip=np.nan, says="clip: expected"),
    bad(solvers.ddim, lambda x, t: DOUBLE, S, X, steps=3, says="x0_hat: expected"),
    bad(solvers.ddim, same, S, X, steps=11, says="steps: expected 1 to T = 10, got 11"),
    bad(solvers.ddim, same, S, X, steps=2.5, says="got 2.5"),
    bad(solvers.ddim, same, S, X, steps=2, eta=0.5, says="noise: expected a function noise(t)"),
    bad(solvers.ddim, same, S, X, z, steps=2, eta=1.5, says="eta: expected 0 to 1, got 1.5"),
    bad(solvers.ddim, same, S, X, z, steps=2, eta=np.nan, says="eta: expected"),
    bad(
        solvers.ddim, same, S, X, lambda t: 0.0, steps=2, eta=1, says="noise(10): expected float32"
    ),
    bad(solvers.ddim, same, S, X, steps=[5, 7], says="steps: expected timesteps that fall"),
    bad(schedules.timestep_grid, 10, 0, says="steps: expected"),
    bad(schedules.spaced_grid, S, 11, says="steps: expected 1 to T = 10, got 11"),
    bad(schedules.spaced_grid, S, 3, "odd", says="grid: expected one of even, log-snr"),
    bad(gradient, UNET, S, X, T, ONE, says="eps: expected"),
    bad(gradient, UNET, S, OTHER, T, OTHER, says=f"{XT}, got float32 of shape (2, 1, 4, 5)"),
    bad(gradient, UNET, S, DOUBLE, T, DOUBLE, says=TWO_DTYPES),
    bad(gradient, UNET, S, X, T, X, cond=T, says="cond: expected None (this network is"),
    bad(train, UNET, X[0], S, 1.0, seed=0, says=f"{IMAGES}, got float32 of shape (1, 4, 4)"),
    bad(train, UNET, X.astype(np.uint8), S, 1.0, seed=0, says=f"{IMAGES}, got uint8"),
    bad(train, UNET, X, S, 1.0, seed=0, batch_size=0, says="batch_size: expected"),
    bad(train, UNET, X[:0], S, 1.0, seed=0, says="n: expected 1 to"),
    bad(train, UNET, OTHER, S, 1.0, seed=0, says="xt: expected images"),
    bad(train, UNET, np.full_like(X, np.nan), S, 1.0, seed=0, says="J is nan at step 1"),
    bad(train, UNet(SMALL), X, S, 1.0, seed=0, says="grad: expected a vector: `initialise`"),
    bad(train, UNET, X, S, 1.0, seed=0.5, says="seed: expected an integer, got 0.5"),
    bad(UNet, call=lambda: UNET(X.astype(np.uint8), T), says=f"{XT}, got uint8"),
    bad(UNet, call=lambda: UNET(X, 3), says="t: expected one timestep for each of 2 images, got 3"),
    bad(UNet, call=lambda: UNET(X, T[:1]), says="got int64 of shape (1,)"),
    bad(UNet, call=lambda: UNET(X[0], T), says="xt: expected images"),
    bad(UNet, call=lambda: UNet(SMALL)(X, T), says="theta: expected numbers: `initialise`"),
    bad(UNet, call=lambda: UNet(SMALL).bind(zeros(7)), says="theta: expected a vector of"),
    bad(
        UNet,
        call=lambda: UNet(SMALL).bind(UNET.theta.astype(int)),
        says="theta: expected a vector of",
    ),
    bad(
        UNet,
        call=lambda: UNet(SMALL).bind(UNET.theta, UNET.grad.astype(np.float64)),
        says="grad: expected a vector of",
    ),
    bad(conv.conv2d, H, ones(3, 3, 5, 2), says="conv2d: expected x (H, W, N, Cin) and w"),
    bad(conv.conv2d, H, ones(9, 9, 6, 2), says="w: expected a kernel that fits into 6×6 pixels"),
    bad(conv.conv2d, H, np.ones((3, 3, 6, 2)), says="conv2d: an argument is float32"),
    bad(norm.group_norm, H, ones(6), zeros(6), groups=4, says="cannot reshape"),
    bad(norm.group_norm, H, ones(5), zeros(6), groups=2, says="could not be broadcast"),
    bad(attention.attention, *[leaf(H)] * 3, heads=4, says="cannot reshape"),
    bad(
        block.norm_silu_conv,
        H,
        *zeros(2, 6),
        ones(3, 3, 5, 2),
        0.0,
        0.0,
        None,
        groups=2,
        says="conv2d: expected",
    ),
    bad(block.upsample_conv, leaf(H), ones(3, 3, 5, 2), 0.0, says="conv2d: expected"),
    bad(block.repeat2, H[0], says="not enough values to unpack"),
    bad(noise.bits, 0, "a", 0, np.array([0.5]), 1, says="index: expected 1-D integers"),
    bad(noise.uniform, 0, "a", 0, np.array([-1]), says="index: expected 0 to"),
    bad(noise.integers, 0, "a", 0, np.arange(2), 0, says="n: expected"),
    bad(noise.normal, 0, "a", 0, np.arange(2), [3], says="shape: expected a tuple"),
    bad(noise.normal, 0, "a", 0, np.arange(2), (3,), int, says="dtype: expected float32"),
    bad(noise.normal, 0, 7, 0, np.arange(2), says="purpose: expected a string"),
    bad(noise.normal, 0, "a", -1, np.arange(2), says="step: expected"),
    bad(noise.bits, 0, "a", 0, np.arange(2), -1, says="words: expected"),
]
