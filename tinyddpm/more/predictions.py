"""What the network predicts, and how each t is weighted: x_0 (the lecture's), the noise ε, or v.

    of_v = functools.partial(gradient, predicts="v", weight="truncated_snr")
    for step in train(unet, images, schedule, beta, seed=0, gradient=of_v):
        ...
    *_, (t, image, _) = ddim(denoiser(unet.denoise, schedule, "v"), schedule, x_T)

`Shards(unet, schedule, gradient=of_v)` takes the same gradient. Samplers only ever see x̂_0.

x_t is known, and x_t = √ᾱ_t x_0 + √(1−ᾱ_t) ε. So x_0 follows from ε, and ε from x_0. Either also
follows from the velocity v, another mixture of the two (Salimans & Ho 2022, "Progressive
distillation for fast sampling of diffusion models", section 4):

    v = √ᾱ_t ε − √(1−ᾱ_t) x_0

(x_t, v) is (x_0, ε) turned by an angle, so no formula with v divides by anything small. The three
predictions differ in how an error of the network turns into an error of x̂_0. So one squared error
is a multiple of the other (their section 4):

    ‖ε̂ − ε‖² = SNR_t ‖x̂_0 − x_0‖²        ‖v̂ − v‖² = (SNR_t + 1) ‖x̂_0 − x_0‖²

What to predict and what to minimise are therefore two choices, and here they are two arguments.
`predicts` says what the network's output means. `weight` says by what to multiply ‖x̂_0 − x_0‖²,
whatever the network predicts:

    weight            on ‖x̂_0 − x_0‖²   source
    "none"            1                 the lecture's objective, the default
    "snr"             SNR_t             the ε-loss: L_simple of Ho et al. 2020, equation 14
    "snr_plus_1"      SNR_t + 1         the v-loss (Salimans & Ho 2022)
    "truncated_snr"   max(SNR_t, 1)     larger of the ε-loss and the x_0-loss (Salimans & Ho 2022)
    "min_snr"         min(SNR_t, γ)     Hang et al. 2023, "Efficient diffusion training via min-SNR
                                        weighting strategy"

To predict ε as Ho et al. did, use predicts="eps" and weight="snr". With weight="none" such a
network would train badly. At large t an error of ε̂ is an error of x̂_0 that is 1/√SNR_t times as
large, up to 157 times with `linear(1000)`.

Shapes: xt, x0, eps, v (N, C, H, W), t (N,) in {1..T}. A conversion takes and returns an array or a
Tensor; xt is always an array.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from autograd import Tensor
from autograd.backend import Array, alike

from ..diffusion import predicted_noise, q_sample
from ..nn.unet import UNet
from ..objective import objective
from ..schedule import Schedule, at
from ..types import Draw
from .schedules import snr

WEIGHTS = ("none", "snr", "snr_plus_1", "truncated_snr", "min_snr")

Images = TypeVar("Images", Array, Tensor)


def velocity(schedule: Schedule, x0: Array, t: Array, eps: Array) -> Array:
    """The velocity of an image and its noise: √ᾱ_t ε − √(1−ᾱ_t) x_0.

    (Salimans & Ho 2022, section 4.)
    """
    alike("x0", x0, eps)
    return _signal(schedule, t, eps) * eps - _noise(schedule, t, eps) * x0


def x0_from_eps(schedule: Schedule, eps: Images, xt: Array, t: Array) -> Images:
    """(x_t − √(1−ᾱ_t) ε) / √ᾱ_t  (Ho et al. 2020, equation 15).

    Raises:
        ValueError: with zero terminal SNR, where ᾱ_T = 0.
    """
    alike("eps", eps, xt)
    _refuse_zero_terminal_snr(schedule)
    return (xt - _noise(schedule, t, xt) * eps) / _signal(schedule, t, xt)


def x0_from_v(schedule: Schedule, v: Images, xt: Array, t: Array) -> Images:
    """√ᾱ_t x_t − √(1−ᾱ_t) v  (Salimans & Ho 2022, section 4)."""
    alike("v", v, xt)
    return _signal(schedule, t, xt) * xt - _noise(schedule, t, xt) * v


# (schedule, x0, xt, t): (x_t − √ᾱ_t x_0) / √(1−ᾱ_t), equation 4 of Ho et al. 2020 solved for ε.
eps_from_x0 = predicted_noise


def eps_from_v(schedule: Schedule, v: Images, xt: Array, t: Array) -> Images:
    """√(1−ᾱ_t) x_t + √ᾱ_t v  (Salimans & Ho 2022, appendix D)."""
    alike("v", v, xt)
    return _noise(schedule, t, xt) * xt + _signal(schedule, t, xt) * v


def v_from_x0(schedule: Schedule, x0: Images, xt: Array, t: Array) -> Images:
    """(√ᾱ_t x_t − x_0) / √(1−ᾱ_t): `x0_from_v` solved for v."""
    alike("x0", x0, xt)
    return (_signal(schedule, t, xt) * xt - x0) / _noise(schedule, t, xt)


def v_from_eps(schedule: Schedule, eps: Images, xt: Array, t: Array) -> Images:
    """(ε − √(1−ᾱ_t) x_t) / √ᾱ_t: `eps_from_v` solved for v.

    Raises:
        ValueError: with zero terminal SNR, where ᾱ_T = 0.
    """
    alike("eps", eps, xt)
    _refuse_zero_terminal_snr(schedule)
    return (eps - _noise(schedule, t, xt) * xt) / _signal(schedule, t, xt)


def x0_from_x0(schedule: Schedule, x0: Images, xt: Array, t: Array) -> Images:
    """x_0 itself: the conversion for a network that predicts it."""
    return x0


TO_X0: dict[str, Callable[..., Any]] = {"x0": x0_from_x0, "eps": x0_from_eps, "v": x0_from_v}


def weights(schedule: Schedule, weight: str = "none", gamma: float = 5.0) -> Array:
    """By what the squared error of x̂_0 is multiplied at each t.

    Args:
        schedule: the noise schedule.
        weight: one of WEIGHTS.
        gamma: γ of "min_snr", > 0.

    Returns:
        A table (T+1,); entry 0 is unused and 0.
    """
    ratio = snr(schedule)[1:]
    tables = {
        "none": np.ones_like(ratio),
        "snr": ratio,
        "snr_plus_1": ratio + 1,
        "truncated_snr": np.maximum(ratio, 1),
        "min_snr": np.minimum(ratio, gamma),
    }
    if weight not in tables:
        raise ValueError(f"weight: expected one of {', '.join(WEIGHTS)}, got {weight!r}")
    if not gamma > 0:
        raise ValueError(f"gamma: expected a positive number, got {gamma}")
    return np.concatenate([[0.0], tables[weight]])


def gradient(
    unet: UNet,
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
) -> tuple[Array, Array]:
    """`train.gradient` for a network that predicts x_0, ε or v, with errors of x̂_0 weighted by t.

    It adds ∇_θ J to `unet.grad`.

    Args:
        unet: the network.
        schedule: the noise schedule.
        x0: images (N, C, H, W).
        t: timesteps (N,) in {1..T}.
        eps: standard normal noise of x0's shape.
        form: see `objective`.
        batch_size: see `objective`.
        dropout: see `UNet.forward`.
        cond: see `UNet.forward`.
        predicts: what unet(xt, t) is: "x0", "eps" or "v".
        weight: see `weights`.
        gamma: see `weights`.
        importance: another factor for the squared error of each image, (N,) in x0's dtype.

    Returns:
        J, which is weighted, and ‖x̂_0 − x_0‖² of each sample (N,), which is not. So these errors
        are comparable, whatever is predicted and minimised.

    Raises:
        ValueError: for "eps" with zero terminal SNR.
    """
    xt = q_sample(schedule, x0, t, eps)
    x0_hat = converter(predicts, schedule)(schedule, unet(xt, t, dropout, cond), xt, t)
    root = roots(schedule, t, xt, weight, gamma, importance)
    J, _ = objective(root * x0_hat, root * x0, form, batch_size)
    J.backward()
    return J.data, ((x0_hat.data - x0) ** 2).sum(axis=(1, 2, 3))


def roots(
    schedule: Schedule, t: Array, xt: Array, weight: str, gamma: float, importance: Array | None
) -> Array | int:
    """√w of each image, (N, 1, 1, 1) or 1: w‖x̂_0 − x_0‖² = ‖√w x̂_0 − √w x_0‖²."""
    root: Array | int = 1
    if weight != "none":
        root = at(np.sqrt(weights(schedule, weight, gamma)), t, xt)
    return root if importance is None else root * importance[:, None, None, None] ** 0.5


def denoiser(
    denoise: Callable[..., Array],
    schedule: Schedule,
    predicts: str,
) -> Callable[..., Array]:
    """The denoiser that samplers take, made from a network that predicts "x0", "eps" or "v".

    Args:
        denoise: the network's denoise(xt, t), or denoise(xt, t, cond).
        schedule: the noise schedule.
        predicts: what `denoise` returns: "x0", "eps" or "v".

    Returns:
        A denoiser(xt, t) -> x̂_0. Conditioning, such as a class, may follow t.

    Raises:
        ValueError: at once, for "eps" with zero terminal SNR.
    """
    convert = converter(predicts, schedule)

    def x0_denoiser(xt: Array, t: Array, *cond: Array | None) -> Array:
        return convert(schedule, denoise(xt, t, *cond), xt, t)

    return x0_denoiser


def converter(predicts: str, schedule: Schedule) -> Callable[..., Any]:
    """The function that turns the network's output into x̂_0."""
    if predicts not in TO_X0:
        raise ValueError(f"predicts: expected one of {', '.join(TO_X0)}, got {predicts!r}")
    if predicts == "eps":
        _refuse_zero_terminal_snr(schedule)
    return TO_X0[predicts]


def _refuse_zero_terminal_snr(schedule: Schedule) -> None:
    if schedule.alpha_bar[-1] == 0:
        raise ValueError(
            "eps: a prediction of the noise cannot give x_0 with zero terminal SNR, "
            f"where ᾱ_T = 0 at T = {schedule.T}; predict x0 or v"
        )


def _signal(schedule: Schedule, t: Array, x: Array) -> Array:
    """√ᾱ_t of each sample."""
    return at(np.sqrt(schedule.alpha_bar), t, x)


def _noise(schedule: Schedule, t: Array, x: Array) -> Array:
    """√(1−ᾱ_t) of each sample."""
    return at(np.sqrt(1 - schedule.alpha_bar), t, x)
