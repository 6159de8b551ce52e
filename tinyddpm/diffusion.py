"""The two processes of diffusion in closed form: q adds noise, and its posterior removes it.

Everything here is an equation of Ho et al. 2020, "Denoising diffusion probabilistic models", and
knows no network. Shapes, everywhere: images x0, xt and noise eps (N, C, H, W), all of one dtype;
timesteps t (N,), integers in {1..T}. Anything else raises ValueError.
"""

import numpy as np

from autograd.backend import alike

from .schedule import Schedule, at
from .types import Array


def q_sample(schedule: Schedule, x0: Array, t: Array, eps: Array) -> Array:
    """x_t given x_0, for any t at once: √ᾱ_t x_0 + √(1−ᾱ_t) ε  (equation 4).

    Here t may be 0 too: x_0 itself comes out.
    """
    alike("eps", eps, x0)
    alpha_bar = schedule.alpha_bar
    signal = at(np.sqrt(alpha_bar), t, x0, first=0)
    noise = at(np.sqrt(1 - alpha_bar), t, x0, first=0)
    return signal * x0 + noise * eps


def posterior_mean(schedule: Schedule, x0: Array, xt: Array, t: Array) -> Array:
    """The mean of x_{t−1} given x_t and x_0: c_1 x_0 + c_2 x_t  (equation 7). x_0 at t = 1."""
    alike("x0", x0, xt)
    c1, c2 = posterior_coefficients(schedule)
    return at(c1, t, xt) * x0 + at(c2, t, xt) * xt


def posterior_coefficients(schedule: Schedule) -> tuple[Array, Array]:
    """c_1 and c_2 of equation 7 for every t: two tables (T+1,). Entry 0 is unused and 0."""
    alpha, alpha_bar, beta = schedule.alpha[1:], schedule.alpha_bar[1:], schedule.beta[1:]
    before = schedule.alpha_bar[:-1]
    c1 = np.sqrt(before) * beta / (1 - alpha_bar)
    c2 = np.sqrt(alpha) * (1 - before) / (1 - alpha_bar)
    return np.concatenate([[0.0], c1]), np.concatenate([[0.0], c2])


def posterior_variance(schedule: Schedule) -> Array:
    """β̃_t, the variance of x_{t−1} given x_t and x_0 (equation 7), for every t: (T+1,)."""
    before, alpha_bar = schedule.alpha_bar[:-1], schedule.alpha_bar[1:]
    return np.concatenate([[0.0], (1 - before) / (1 - alpha_bar) * schedule.beta[1:]])


def predicted_noise(schedule: Schedule, x0: Array, xt: Array, t: Array) -> Array:
    """The ε that leads from x_0 to x_t: equation 4 solved for it."""
    alike("x0", x0, xt)
    alpha_bar = schedule.alpha_bar
    return (xt - at(np.sqrt(alpha_bar), t, xt) * x0) / at(np.sqrt(1 - alpha_bar), t, xt)
