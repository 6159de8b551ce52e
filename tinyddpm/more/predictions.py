"""What the network predicts, and how each t is weighted: x_0 (the lecture's), the noise ε, or the velocity v.

    of_v = functools.partial(gradient, predicts="v", weight="truncated_snr")
    for step in train(unet, images, schedule, beta, seed=0, gradient=of_v):          # or Shards(unet, schedule, gradient=of_v)
        ...
    *_, (t, image, _) = ddim(denoiser(unet.denoise, schedule, "v"), schedule, x_T)   # samplers only ever see x̂_0

x_t is known and x_t = √ᾱ_t x_0 + √(1−ᾱ_t) ε, so one of x_0 and ε tells the other. So does another mixture of the two:

    v = √ᾱ_t ε − √(1−ᾱ_t) x_0        (Salimans & Ho 2022, "Progressive distillation for fast sampling of diffusion models", section 4)

(x_t, v) is (x_0, ε) turned by an angle, which is why v never has to be divided by anything small. The three differ in how
an error of the network turns into an error of x̂_0, so one squared error is a multiple of the other:

    ‖ε̂ − ε‖² = SNR_t ‖x̂_0 − x_0‖²        ‖v̂ − v‖² = (SNR_t + 1) ‖x̂_0 − x_0‖²        (their section 4)

What is predicted and what is minimised are therefore two choices, and here they are two arguments. `predicts` says what the network's
output means. `weight` says by what ‖x̂_0 − x_0‖² is multiplied, whatever the network predicts:

    weight            on ‖x̂_0 − x_0‖²   where it is from
    "none"            1                 the lecture's objective, the default
    "snr"             SNR_t             the ε-loss: L_simple of Ho et al. 2020, equation 14
    "snr_plus_1"      SNR_t + 1         the v-loss (Salimans & Ho 2022)
    "truncated_snr"   max(SNR_t, 1)     the larger of the ε-loss and the x_0-loss (Salimans & Ho 2022)
    "min_snr"         min(SNR_t, γ)     Hang et al. 2023, "Efficient diffusion training via min-SNR weighting strategy"

A network that predicts ε, trained as Ho et al. did: predicts="eps", weight="snr". With weight="none" it would train badly: at large
t an error of ε̂ is an error of x̂_0 that is 1/√SNR_t times as large, up to 157 times with `linear(1000)`.

Shapes: xt, x0, eps, v (N, C, H, W), t (N,) in {1..T}. In a conversion, what is converted may be an array or a Tensor; xt is an array.
"""
import numpy as np

from autograd.backend import alike

from ..diffusion import predicted_noise, q_sample
from ..objective import objective
from ..schedule import at
from .schedules import snr

WEIGHTS = ("none", "snr", "snr_plus_1", "truncated_snr", "min_snr")


def velocity(schedule, x0, t, eps):
    """v of an image and the noise that was added to it: √ᾱ_t ε − √(1−ᾱ_t) x_0  (Salimans & Ho 2022, section 4)."""
    alike("x0", x0, eps)
    return _signal(schedule, t, eps) * eps - _noise(schedule, t, eps) * x0


def x0_from_eps(schedule, eps, xt, t):
    """(x_t − √(1−ᾱ_t) ε) / √ᾱ_t  (Ho et al. 2020, equation 15). Raises ValueError if ᾱ_T = 0."""
    alike("eps", eps, xt)
    _refuse_zero_terminal_snr(schedule)
    return (xt - _noise(schedule, t, xt) * eps) / _signal(schedule, t, xt)


def x0_from_v(schedule, v, xt, t):
    """√ᾱ_t x_t − √(1−ᾱ_t) v  (Salimans & Ho 2022, section 4)."""
    alike("v", v, xt)
    return _signal(schedule, t, xt) * xt - _noise(schedule, t, xt) * v


eps_from_x0 = predicted_noise  # (schedule, x0, xt, t): (x_t − √ᾱ_t x_0) / √(1−ᾱ_t), equation 4 of Ho et al. 2020 solved for ε


def eps_from_v(schedule, v, xt, t):
    """√(1−ᾱ_t) x_t + √ᾱ_t v  (Salimans & Ho 2022, appendix D)."""
    alike("v", v, xt)
    return _noise(schedule, t, xt) * xt + _signal(schedule, t, xt) * v


def v_from_x0(schedule, x0, xt, t):
    """(√ᾱ_t x_t − x_0) / √(1−ᾱ_t): `x0_from_v` solved for v."""
    alike("x0", x0, xt)
    return (_signal(schedule, t, xt) * xt - x0) / _noise(schedule, t, xt)


def v_from_eps(schedule, eps, xt, t):
    """(ε − √(1−ᾱ_t) x_t) / √ᾱ_t: `eps_from_v` solved for v. Raises ValueError if ᾱ_T = 0."""
    alike("eps", eps, xt)
    _refuse_zero_terminal_snr(schedule)
    return (eps - _noise(schedule, t, xt) * xt) / _signal(schedule, t, xt)


def x0_from_x0(schedule, x0, xt, t):
    """x_0 itself: what there is to do for a network that predicts it."""
    return x0


TO_X0 = {"x0": x0_from_x0, "eps": x0_from_eps, "v": x0_from_v}


def weights(schedule, weight="none", gamma=5.0):
    """By what the squared error of x̂_0 is multiplied at each t: a table (T+1,); entry 0 is unused and 0.

    weight  one of WEIGHTS;  gamma  γ of "min_snr", > 0
    """
    ratio = snr(schedule)[1:]
    tables = {"none": np.ones_like(ratio), "snr": ratio, "snr_plus_1": ratio + 1, "truncated_snr": np.maximum(ratio, 1), "min_snr": np.minimum(ratio, gamma)}
    if weight not in tables:
        raise ValueError(f"weight: expected one of {', '.join(WEIGHTS)}, got {weight!r}")
    if not gamma > 0:
        raise ValueError(f"gamma: expected a positive number, got {gamma}")
    return np.concatenate([[0.0], tables[weight]])


def gradient(unet, schedule, x0, t, eps, form="mse", batch_size=None, dropout=None, cond=None, *, predicts="x0", weight="none", gamma=5.0):
    """`train.gradient` for a network that predicts x_0, ε or v, with the errors of x̂_0 weighted by t: add ∇_θ J to `unet.grad`.

    predicts  "x0", "eps" or "v": what unet(xt, t) is;  weight, gamma  see `weights`;  the others are those of `train.gradient`

    Returns J, which is weighted, and ‖x̂_0 − x_0‖² of each sample (N,), which is not: whatever is predicted and minimised, these
    errors are comparable. Raises ValueError for "eps" with zero terminal SNR.
    """
    xt = q_sample(schedule, x0, t, eps)
    x0_hat = _converter(predicts, schedule)(schedule, unet(xt, t, dropout, cond), xt, t)
    root = 1
    if weight != "none":
        root = at(np.sqrt(weights(schedule, weight, gamma)), t, xt)  # w‖x̂_0 − x_0‖² = ‖√w x̂_0 − √w x_0‖²
    J, _ = objective(root * x0_hat, root * x0, form, batch_size)
    J.backward()
    return J.data, ((x0_hat.data - x0) ** 2).sum(axis=(1, 2, 3))


def denoiser(denoise, schedule, predicts):
    """The denoiser(xt, t) -> x̂_0 that samplers take, made of a network's denoise(xt, t) that predicts "x0", "eps" or "v".

    What else the network is to be told, such as a class, may follow t. Raises ValueError, at once, for "eps" with zero terminal SNR.
    """
    convert = _converter(predicts, schedule)

    def x0_denoiser(xt, t, *cond):
        return convert(schedule, denoise(xt, t, *cond), xt, t)

    return x0_denoiser


def _converter(predicts, schedule):
    """What turns the network's output into x̂_0."""
    if predicts not in TO_X0:
        raise ValueError(f"predicts: expected one of {', '.join(TO_X0)}, got {predicts!r}")
    if predicts == "eps":
        _refuse_zero_terminal_snr(schedule)
    return TO_X0[predicts]


def _refuse_zero_terminal_snr(schedule):
    if schedule.alpha_bar[-1] == 0:
        raise ValueError(f"eps: a prediction of the noise cannot give x_0 with zero terminal SNR, where ᾱ_T = 0 at T = {schedule.T}; predict x0 or v")


def _signal(schedule, t, x):
    """√ᾱ_t of each sample."""
    return at(np.sqrt(schedule.alpha_bar), t, x)


def _noise(schedule, t, x):
    """√(1−ᾱ_t) of each sample."""
    return at(np.sqrt(1 - schedule.alpha_bar), t, x)
