"""Samplers of one pixel of N(m, w) as recursions in plain numbers.

This oracle has no line in common with the samplers. It uses the papers' other forms: ε̂ instead of
x̂_0, λ, σ. The denoiser is x̂_0 = m + gain (x_t − √ᾱ_t m). A step is x ← A x + B, plus noise of
variance C, and each chain yields (A, B, C). Only 2M, which has a memory, yields x_t as a map of
x_T.
"""

import math

import numpy as np


def gain(schedule, t, w):
    a2 = schedule.alpha_bar[t]
    return math.sqrt(a2) * w / (a2 * w + 1 - a2)


def eps_hat(schedule, t, m, w):
    """ε̂ = p x_t + q, as (p, q)."""
    a2 = schedule.alpha_bar[t]
    a, g = math.sqrt(a2), gain(schedule, t, w)
    return (1 - a * g) / math.sqrt(1 - a2), -a * m * (1 - g * a) / math.sqrt(1 - a2)


def chain_ancestral(schedule, m, w, variance):
    """Algorithm 2 of Ho et al., line 4: the mean from ε̂."""
    for t in range(schedule.T, 0, -1):
        p, q = eps_hat(schedule, t, m, w)
        k = (1 - schedule.alpha[t]) / math.sqrt(1 - schedule.alpha_bar[t])
        root = math.sqrt(schedule.alpha[t])
        yield (1 - k * p) / root, -k * q / root, variance[t] if t > 1 else 0.0


def chain_ddim(schedule, m, w, grid, eta):
    """Equation 12 of Song et al., with σ of their equation 16."""
    for now, then in zip(grid, [*grid[1:], 0]):
        p, q = eps_hat(schedule, now, m, w)
        a_now, a_then = schedule.alpha_bar[now], schedule.alpha_bar[then]
        sigma = eta * math.sqrt((1 - a_then) / (1 - a_now)) * math.sqrt(1 - a_now / a_then)
        to_x = math.sqrt(a_then / a_now)
        on_eps = math.sqrt(max(0, 1 - a_then - sigma**2)) - to_x * math.sqrt(1 - a_now)
        yield to_x + on_eps * p, on_eps * q, sigma**2


def chain_heun(schedule, m, w, grid):
    """Karras et al., algorithm 1, for y − m with y = x/√ᾱ.

    The slope of the exact denoiser is (y − m) σ/(w + σ²).
    """
    sigma = [math.sqrt(1 / a2 - 1) for a2 in schedule.alpha_bar]
    for now, then in zip(grid, [*grid[1:], 0]):
        h, slope = sigma[then] - sigma[now], sigma[now] / (w + sigma[now] ** 2)
        if then:
            slope = (slope + (1 + h * slope) * sigma[then] / (w + sigma[then] ** 2)) / 2
        growth = 1 + h * slope
        a_now, a_then = math.sqrt(schedule.alpha_bar[now]), math.sqrt(schedule.alpha_bar[then])
        yield a_then * growth / a_now, a_then * m * (1 - growth), 0.0


def chain_2m(schedule, m, w, grid):
    """Lu et al., algorithm 2, in λ.

    x and the last x̂_0 are both affine in x_T, so this gives the whole map of each step.
    """
    x, before = np.array([1.0, 0.0]), None  # a x_T + b as (a, b)
    lam = [math.inf]
    lam += [math.log(math.sqrt(a2)) - math.log(math.sqrt(1 - a2)) for a2 in schedule.alpha_bar[1:]]
    for i, (now, then) in enumerate(zip(grid, [*grid[1:], 0])):
        a2 = schedule.alpha_bar[now]
        g = gain(schedule, now, w)
        x0_hat = g * x + np.array([0, m - g * math.sqrt(a2) * m])
        D, h = x0_hat, lam[then] - lam[now]
        if i and then:
            r = (lam[now] - lam[grid[i - 1]]) / h
            D = (1 + 1 / (2 * r)) * x0_hat - 1 / (2 * r) * before
        a_then = math.sqrt(schedule.alpha_bar[then])
        to_x = math.sqrt(1 - schedule.alpha_bar[then]) / math.sqrt(1 - a2)
        x = to_x * x - a_then * math.expm1(-h) * D
        before = x0_hat
        yield x


def end_of(chain):
    """The mean and the variance that a chain ends with, from x_T ~ N(0, 1)."""
    mean, variance = 0.0, 1.0
    for A, B, C in chain:
        mean, variance = A * mean + B, A**2 * variance + C
    return mean, variance
