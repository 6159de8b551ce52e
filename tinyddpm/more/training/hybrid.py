"""The hybrid loss of a network that learns its variance: L_simple + λ L_vlb.

    hybrid = functools.partial(gradient, predicts="eps", weight="snr", grey_levels=256)
    for step in train(unet, images, schedule, beta, seed=0, gradient=hybrid):
        ...

`unet` is a network of `more/variance.py`. (Nichol & Dhariwal 2021, "Improved denoising diffusion
probabilistic models", equation 16.) λ is .001 there, and L_vlb is a sum over T steps, of which each
image has one. So each image's bits per dimension at its t count T/1000 times: that is RESCALED_MSE
in their code.

Their network predicts ε, and L_simple weights ‖x̂_0 − x_0‖² by SNR_t. An x_0-loss without that
weight leaves x̂_0 less exact at small t. There the bound's term is thousands of bits, and its
gradient would ruin the layers that v shares with x̂_0. So where L_simple has a smaller weight w_t
than theirs, the bound's term is multiplied by w_t/SNR_t. The best v at each t stays the same.
"""

import math

import numpy as np

from autograd import ops
from autograd.backend import expect, kind_of

from ...diffusion import q_sample
from ...objective import factor, objective
from ...schedule import Schedule, at
from ...types import Array, Draw
from ..predictions import converter, roots, weights
from ..schedules import snr
from ..variance import LearnsVariance, log_variance, nats


def gradient(
    unet: LearnsVariance,
    schedule: Schedule,
    x0: Array,
    t: Array,
    eps: Array,
    form: str = "mse",
    batch_size: int | None = None,
    dropout: Draw | None = None,
    cond: Array | None = None,
    *,
    predicts: str = "x0",
    weight: str = "none",
    gamma: float = 5.0,
    importance: Array | None = None,
    grey_levels: int = 256,
    scale: float = 0.001,
) -> tuple[Array, Array]:
    """`predictions.gradient`, and ∇_θ of the variational bound through v alone. Arguments as there.

    Args:
        unet: the network.
        schedule: the noise schedule.
        x0: images (N, C, H, W).
        t: timesteps (N,) in {1..T}.
        eps: standard normal noise of x0's shape.
        form: see `objective`; the bound's term is multiplied by the same factor.
        batch_size: see `objective`.
        dropout: see `UNet.forward`.
        cond: see `UNet.forward`.
        predicts: "x0", "eps" or "v".
        weight: of L_simple, see `predictions.weights`; on the bound's term see `bound_weights`.
        gamma: see `predictions.weights`.
        importance: another factor for both losses of each image, (N,) in x0's dtype.
        grey_levels: how many values a pixel can take, for the term at t = 1.
        scale: λ. L_vlb is in bits per dimension.

    Returns:
        J with both losses in it, and ‖x̂_0 − x_0‖² of each image (N,).
    """
    expect(hasattr(unet, "with_v"), "unet", "a network of more/variance.py", kind_of(unet))
    xt, C, D = q_sample(schedule, x0, t, eps), x0.shape[1], math.prod(x0.shape[1:])
    both = unet.with_v(xt, t, dropout, cond)
    x0_hat = converter(predicts, schedule)(schedule, both[:, :C], xt, t)
    root = roots(schedule, t, xt, weight, gamma, importance)
    J, _ = objective(root * x0_hat, root * x0, form, batch_size)

    log_sigma2 = log_variance(schedule, both[:, C:], t)
    how = {"schedule": schedule, "x0": x0, "x0_hat": x0_hat.data, "t": t}
    each = ops.sum(nats(log_sigma2, grey_levels=grey_levels, **how), axis=(1, 2, 3))
    share = at(bound_weights(schedule, weight, gamma), t, xt)[:, 0, 0, 0]
    each = (share if importance is None else importance * share) * each
    M = len(x0) if batch_size is None else batch_size
    # factor is 1 over M·D for "mse", and then this is λT times the mean of bits per dimension.
    J = J + factor(form, M, D) * scale * schedule.T / math.log(2) * ops.sum(each)
    J.backward()
    return J.data, ((x0_hat.data - x0) ** 2).sum(axis=(1, 2, 3))


def bound_weights(schedule: Schedule, weight: str = "none", gamma: float = 5.0) -> Array:
    """By what the bound's term is multiplied at each t: min(1, w_t/SNR_t). Entry 0 is unused and 0.

    It is 1 for the ε-loss and the v-loss. See the top of this file.
    """
    w, ratio = weights(schedule, weight, gamma)[1:], snr(schedule)[1:]
    return np.concatenate([[0.0], np.minimum(1, w / np.maximum(ratio, 1e-12))])
