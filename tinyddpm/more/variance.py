"""A variance that the network learns: for each pixel, between β̃_t and β_t.

    unet = VarianceUNet(UNetConfig(image=(1, 8, 8))).initialise(seed=0)
    hybrid = functools.partial(gradient, grey_levels=17)  # that of more/training/hybrid.py
    for step in train(unet, images, schedule, beta, seed=0, gradient=hybrid):
        ...
    denoiser = VarianceDenoiser(unet.denoise, schedule)
    *_, (t, image, _) = ancestral_learned(denoiser, schedule, x_T, noise, steps=50)
    measured = Bound(terms(denoiser, schedule, images, noise, grey_levels=17))

Ho et al. 2020 fix the variance of x_{t−1} given x_t: β_t is right if x_0 is N(0, I), and β̃_t if it
is a single image. Any other data lie between. Here the network has twice as many output channels,
and the second half is v (Nichol & Dhariwal 2021, "Improved denoising diffusion probabilistic
models", equation 15, as in their code, where the output −1 means β̃_t and 1 means β_t):

    log σ_t² = v' log β_t + (1 − v') log β̃_t,   v' = (v + 1)/2

Nothing holds v within [−1, 1]. A network whose x̂_0 is far off says a larger variance than β_t.

L_simple says nothing of the variance, so v is trained on the variational bound. The paper's hybrid
loss is L_simple + λ L_vlb. The bound's term does not change the prediction: x̂_0 counts as a
constant in it. (The layers below feel both.)

DDPM draws its noise with this variance, in T steps or fewer. Every other sampler ignores v:
`denoiser(xt, t)` is x̂_0 alone, and so is `unet(xt, t)`.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from autograd import Tensor, no_grad, primitive
from autograd.backend import Array, Forward, alike, array_module, expect, kind_of

from ..diffusion import posterior_coefficients, posterior_mean, q_sample
from ..nn.block import NormSiLUConv
from ..nn.unet import UNet
from ..schedule import Schedule, at
from ..types import Draw, Noise
from .classes import ClassUNet
from .likelihood import (
    bits_per_dimension,
    grey_numbers,
    log_probability,
    model_variance,
    nearest_levels,
    prior_term,
    standard_bin,
)
from .predictions import converter
from .reverse import respaced
from .schedules import timestep_grid

Images = TypeVar("Images", Array, Tensor)


def log_variance(schedule: Schedule, v: Images, t: Array) -> Images:
    """log σ_t² for the network's v (N, C, H, W) at t (N,), of the same shape and dtype.

    β̃_1 = 0 has no logarithm. As in `model_variance`, β̃_2 stands in its place.
    """
    low, high = _log_tables(schedule)
    like = v.data if isinstance(v, Tensor) else v
    return at((high + low) / 2, t, like) + at((high - low) / 2, t, like) * v


def _log_tables(schedule: Schedule) -> tuple[Array, Array]:
    """log β̃_t and log β_t for every t, (T+1,). Entry 0 is unused and 0."""
    low, high = model_variance(schedule).copy(), schedule.beta.copy()
    low[0] = high[0] = 1
    return np.log(low), np.log(high)


# ---- the network ---------------------------------------------------------------------------------


def twice_as_wide(inputs: int, outputs: int, *args: Any, **options: Any) -> NormSiLUConv:
    """A network's end with room for v beside the prediction."""
    return NormSiLUConv(inputs, 2 * outputs, *args, **options)


class LearnsVariance(UNet):
    """A U-Net whose last layer has 2C channels: the prediction, and v. As it starts, v is 0."""

    Last: Any = staticmethod(twice_as_wide)

    def with_v(
        self, xt: Array, t: Array, dropout: Draw | None = None, cond: Array | None = None
    ) -> Tensor:
        """The prediction and v, (N, 2C, H, W)."""
        return super().forward(xt, t, dropout, cond)

    def forward(
        self, xt: Array, t: Array, dropout: Draw | None = None, cond: Array | None = None
    ) -> Tensor:
        """The prediction alone, (N, C, H, W), as of any other network."""
        return self.with_v(xt, t, dropout, cond)[:, : self.config.image[0]]

    def denoise(self, xt: Array, t: Array, cond: Array | None = None) -> Array:
        """The prediction (N, C, H, W), as an array.

        If xt is (N, 2C, H, W), so is the answer: the prediction and v. Then the second half of xt
        is only room. Whatever runs `denoise` on many cores can so be asked for both.
        """
        C = self.config.image[0]
        if xt.ndim != 4 or xt.shape[1] != 2 * C:
            return super().denoise(xt, t, cond)
        with no_grad():
            return self.with_v(xt[:, :C], t, cond=cond).data


class VarianceUNet(LearnsVariance):
    """`UNet` with v."""


class VarianceClassUNet(LearnsVariance, ClassUNet):
    """`ClassUNet` with v."""


class VarianceDenoiser:
    """A denoiser(xt, t) -> x̂_0 for any sampler, which can also be asked for v.

    Args:
        denoise: the network's denoise(xt, t), or denoise(xt, t, cond), of a `LearnsVariance`.
        schedule: the noise schedule.
        predicts: what the network predicts: "x0", "eps" or "v".
        guide: makes a denoiser(xt, t) of a denoise(xt, t, labels), such as `guided` does. v is
            then the one for the class, without guidance.
    """

    def __init__(
        self,
        denoise: Callable[..., Array],
        schedule: Schedule,
        predicts: str = "x0",
        guide: Callable[..., Any] | None = None,
    ) -> None:
        self.denoise, self.schedule, self.guide = denoise, schedule, guide
        self.convert = converter(predicts, schedule)

    def __call__(self, xt: Array, t: Array, *cond: Array | None) -> Array:
        """x̂_0 (N, C, H, W)."""

        def to_x0(xt: Array, t: Array, *cond: Array | None) -> Array:
            x0_hat: Array = self.convert(self.schedule, self.denoise(xt, t, *cond), xt, t)
            return x0_hat

        return (self.guide(to_x0) if self.guide else to_x0)(xt, t, *cond)

    def with_v(self, xt: Array, t: Array, *cond: Array | None) -> tuple[Array, Array]:
        """x̂_0 and v, each (N, C, H, W)."""
        C, seen = xt.shape[1], []

        def to_x0(xt: Array, t: Array, *cond: Array | None) -> Array:
            xp = array_module(xt)
            both = self.denoise(xp.concatenate([xt, xp.zeros_like(xt)], axis=1), t, *cond)
            seen.append(both[:, C:])
            x0_hat: Array = self.convert(self.schedule, both[:, :C], xt, t)
            return x0_hat

        x0_hat = (self.guide(to_x0) if self.guide else to_x0)(xt, t, *cond)
        return x0_hat, seen[-1][-len(xt) :]  # `guided` asks for no class first, for the class last


# ---- the bound -----------------------------------------------------------------------------------


@primitive
def nats(
    log_variance: Array, *, schedule: Schedule, x0: Array, x0_hat: Array, t: Array, grey_levels: int
) -> Forward:
    """The bound's term of each pixel for the model's log σ_t², (N, C, H, W), in nats.

    At t > 1 it is the KL of two Gaussians whose means differ by c_1 (x_0 − x̂_0), at t = 1 the
    −log of the probability of x_0's grey level (`likelihood.py`). Computed in float64.

    Args:
        log_variance: log σ_t²; the gradient is with respect to it alone.
        schedule: the noise schedule.
        x0: images. At t = 1 each value counts as the nearest grey level.
        x0_hat: the denoiser's x̂_0.
        t: (N,) in {1..T}.
        grey_levels: how many values a pixel can take.
    """
    alike("x0_hat", x0_hat, x0)
    expect(log_variance.shape == x0.shape, "log_variance", f"{x0.shape}", log_variance.shape)
    dtype, log_variance = log_variance.dtype, log_variance.astype(np.float64)
    xp, (c1, _) = array_module(x0), posterior_coefficients(schedule)
    squares = xp.square(x0.astype(np.float64) - x0_hat)
    excess = at(_log_tables(schedule)[0], t, squares) - log_variance  # log β̃_t/σ_t²
    ratio = xp.exp(excess)
    distance = at(c1**2, t, squares) * squares * xp.exp(-log_variance)
    out, slope = (ratio - 1 - excess + distance) / 2, (1 - ratio - distance) / 2
    if (first := t == 1).any():
        of_first = x0[first], x0_hat[first], log_variance[first], grey_levels
        out[first], slope[first] = _decoder(*of_first)
    slope = slope.astype(dtype)
    return out.astype(dtype), lambda g: (g * slope,)


def _decoder(
    x0: Array, x0_hat: Array, log_variance: Array, grey_levels: int
) -> tuple[Array, Array]:
    """−log P of each pixel's grey level, and its derivative with respect to log σ².

    P = Φ(h) − Φ(l), where h and l fall as 1/σ. So dP/d log σ² = −(h φ(h) − l φ(l))/2.
    """
    xp, variance = array_module(x0), array_module(x0).exp(log_variance)
    how = nearest_levels(x0, grey_levels), x0_hat, variance, grey_levels
    log_p, slope = log_probability(*how), xp.zeros_like(variance)
    for sign, bound in zip((-1, 1), standard_bin(*how)):
        log_density = -(bound**2) / 2 - math.log(2 * math.pi) / 2 - log_p
        finite = xp.where(xp.isfinite(bound), bound, 0.0)  # ±∞ φ(±∞) is 0
        slope = slope + sign * finite * xp.exp(log_density) / 2
    return -log_p, slope


def terms(
    denoiser: VarianceDenoiser,
    schedule: Schedule,
    x0: Array,
    noise: Noise,
    grey_levels: int,
    clip: float | None = 1.0,
) -> Iterator[tuple[int, Array]]:
    """`likelihood.terms` with the variance that the network learned. Arguments as there."""
    grey_numbers(x0, grey_levels)  # raises now, not after T − 1 steps
    yield schedule.T, prior_term(schedule, x0)
    for step in range(schedule.T, 0, -1):
        t = array_module(x0).full(len(x0), step)
        x0_hat, v = denoiser.with_v(q_sample(schedule, x0, t, noise(step)), t)
        x0_hat = x0_hat if clip is None else x0_hat.clip(-clip, clip)
        log_sigma2 = log_variance(schedule, v.astype(np.float64), t)
        how = {"schedule": schedule, "x0": x0, "x0_hat": x0_hat, "t": t}
        yield step - 1, bits_per_dimension(nats(log_sigma2, grey_levels=grey_levels, **how).data)


# ---- sampling ------------------------------------------------------------------------------------


def ancestral_learned(
    denoiser: VarianceDenoiser,
    schedule: Schedule,
    x_T: Array,
    noise: Noise,
    steps: int | Sequence[int] | None = None,
    clip: float | None = 1.0,
) -> Iterator[tuple[int, Array, Array]]:
    """`sampler.ancestral` with the variance that the network learned, in T steps or fewer.

    (Nichol & Dhariwal 2021, section 4: with learned variances few steps cost little.)

    Args:
        denoiser: a VarianceDenoiser.
        schedule: the noise schedule.
        x_T: standard normal noise (N, C, H, W).
        noise: noise(t) is standard normal noise of x_T's shape.
        steps: how many of the T steps to visit, or the t themselves, falling; None: all.
        clip: x̂_0 is held within [−clip, clip]. None leaves it free.

    Yields:
        (t, x_t, x̂_0) after each step, the last with t = 0.
    """
    expect(hasattr(denoiser, "with_v"), "denoiser", "a VarianceDenoiser", kind_of(denoiser))
    expect(clip is None or clip > 0, "clip", "a positive bound or None", clip)
    visited = timestep_grid(schedule.T, schedule.T if steps is None else steps)
    short = respaced(schedule, visited) if len(visited) > 1 else schedule
    xt = x_T
    for i, step in zip(range(len(visited), 0, -1), visited):
        xp = array_module(xt)
        x0_hat, v = denoiser.with_v(xt, xp.full(len(xt), step))
        x0_hat = x0_hat if clip is None else x0_hat.clip(-clip, clip)
        if i == 1:  # the last step adds no noise: its result is the image
            yield 0, x0_hat.copy(), x0_hat
            return
        place = xp.full(len(xt), i)
        sigma = xp.exp(log_variance(short, v, place) / 2)
        z = alike(f"noise({step})", noise(step), xt)
        xt = posterior_mean(short, x0_hat, xt, place) + sigma * z
        yield visited[len(visited) - i + 1], xt, x0_hat
