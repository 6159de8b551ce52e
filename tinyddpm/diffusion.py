"""The two processes of diffusion in closed form: noise is added by q, and removed by its posterior.

Everything here is an equation of Ho et al. 2020, "Denoising diffusion probabilistic models", and knows no network.
Shapes: images x0, xt and noise eps (N, C, H, W), all of one dtype; timesteps t (N,) integers in {1..T}. ValueError for others.
"""
import numpy as np

from autograd.backend import alike

from .schedule import at


def q_sample(schedule, x0, t, eps):
    """x_t given x_0, for any t at once: √ᾱ_t x_0 + √(1−ᾱ_t) ε  (equation 4). Here t may be 0: that is x_0 itself."""
    alike("eps", eps, x0)
    alpha_bar = schedule.alpha_bar
    return at(np.sqrt(alpha_bar), t, x0, first=0) * x0 + at(np.sqrt(1 - alpha_bar), t, x0, first=0) * eps


def q_step(schedule, x_before, t, eps):
    """x_t given x_{t−1}, one step of the chain: √(1−β_t) x_{t−1} + √β_t ε  (equation 2)."""
    alike("eps", eps, x_before)
    return at(np.sqrt(schedule.alpha), t, x_before) * x_before + at(np.sqrt(schedule.beta), t, x_before) * eps


def q_chain(schedule, x0, noise):
    """The same process the long way round: yields (t, x_t) for t = 1..T. `noise(t)` gives ε of x0's shape.

    Nobody needs it to train; it is here to compare `q_sample` with.
    """
    xt = x0
    for t in range(1, schedule.T + 1):
        xt = q_step(schedule, xt, np.full(len(x0), t), noise(t))
        yield t, xt


def posterior_mean(schedule, x0, xt, t):
    """The mean of x_{t−1} given x_t and x_0: c_1 x_0 + c_2 x_t  (equation 7). At t = 1 it is x_0 itself."""
    alike("x0", x0, xt)
    c1, c2 = posterior_coefficients(schedule)
    return at(c1, t, xt) * x0 + at(c2, t, xt) * xt


def posterior_coefficients(schedule):
    """c_1 and c_2 of equation 7 for every t: two tables (T+1,); entry 0 is unused and 0."""
    alpha, alpha_bar, beta = schedule.alpha[1:], schedule.alpha_bar[1:], schedule.beta[1:]
    before = schedule.alpha_bar[:-1]
    c1 = np.sqrt(before) * beta / (1 - alpha_bar)
    c2 = np.sqrt(alpha) * (1 - before) / (1 - alpha_bar)
    return np.concatenate([[0.0], c1]), np.concatenate([[0.0], c2])


def posterior_variance(schedule):
    """β̃_t, the variance of x_{t−1} given x_t and x_0 (equation 7): a table (T+1,); β̃_1 = 0, entry 0 is unused and 0."""
    before, alpha_bar = schedule.alpha_bar[:-1], schedule.alpha_bar[1:]
    return np.concatenate([[0.0], (1 - before) / (1 - alpha_bar) * schedule.beta[1:]])


def predicted_noise(schedule, x0, xt, t):
    """The ε that leads from x_0 to x_t: equation 4 solved for it."""
    alike("x0", x0, xt)
    alpha_bar = schedule.alpha_bar
    return (xt - at(np.sqrt(alpha_bar), t, xt) * x0) / at(np.sqrt(1 - alpha_bar), t, xt)
