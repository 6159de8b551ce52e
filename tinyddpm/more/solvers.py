"""Samplers for few steps: DDIM and its inverse, and two of second order.

    *_, (_, x0, _) = ddim(denoiser, schedule, x_T, noise, steps=50, eta=1.0)
    *_, (_, x_T, _) = ddim_inversion(denoiser, schedule, images, steps=50)  # encode
    *_, (_, again, _) = ddim(denoiser, schedule, x_T, steps=50)  # decode: almost the images
    *_, (_, x0, _) = dpm_solver(denoiser, schedule, x_T, steps=20)  # DPM-Solver++(2M)
    *_, (_, x0, _) = heun(denoiser, schedule, x_T, steps=10)  # 19 calls of the denoiser
    visited = spaced_grid(schedule, 50, "log-snr")  # other timesteps than every twentieth
    *_, (_, x0, _) = ddim(denoiser, schedule, x_T, noise, steps=visited, eta=1.0)

They have the interface of `sampler.py`. Each yields (t, x_t, x̂_0) after each step, fresh arrays,
the last with t = 0. (Inversion runs the other way: its last has t = T.) Only `ddim` and
`dpm_solver` with η > 0 draw noise; otherwise the image is a function of x_T.

Why they belong together. DDIM with η = 0 follows the curve of an ordinary differential equation in
straight strides. The equation is the probability flow (Song et al. 2021, "Score-based generative
modeling through stochastic differential equations", section 4.3). In the image's own units,
y = x_t/√ᾱ_t and σ = √((1−ᾱ_t)/ᾱ_t), it is

    dy/dσ = (y − x̂_0(y, σ)) / σ            (Karras et al. 2022, section 2)

DDIM is Euler's method for it: halve the stride, and the error halves. Heun's method and 2M are of
second order: halve the stride, and the error is a quarter. Heun looks at the slope at both ends of
a stride, which costs two calls of the denoiser. 2M remembers the last x̂_0 and extrapolates, which
costs nothing. In all of them the last stride, to σ = 0, is one of Euler, and ends at x̂_0.

The table shows the standard deviation that they give one pixel of N(0, 0.5²) with `linear(1000)`,
computed exactly (`gaussian.py`). 0.5 would be right:

    steps             10      20      100
    ddim              0.370   0.431   0.485
    dpm_solver        0.405   0.478   0.501
    heun              0.435   0.480   0.498      (nearly twice the calls)
"""

from collections.abc import Iterator, Sequence

import numpy as np

from autograd.backend import Array, alike, array_module, expect

from ..diffusion import predicted_noise
from ..schedule import Schedule
from ..types import Denoiser, Noise
from .schedules import log_snr, timestep_grid


def ddim(
    denoiser: Denoiser,
    schedule: Schedule,
    x_T: Array,
    noise: Noise | None = None,
    steps: int | Sequence[int] = 50,
    eta: float = 0.0,
    clip: float | None = 1.0,
) -> Iterator[tuple[int, Array, Array]]:
    """The same model in fewer steps, with less noise.

    Song et al. 2021, "Denoising diffusion implicit models", equation 12.

    Args:
        denoiser: denoiser(xt, t) -> x̂_0.
        schedule: the noise schedule.
        x_T: standard normal noise (N, C, H, W), where the chain starts.
        noise: the noise of each step, as for `ancestral`. It may be None if eta is 0.
        steps: how many of the T steps to visit, evenly spaced, T among them; or the t themselves,
            falling, such as those of `spaced_grid`.
        eta: 0: no noise, the image is a function of x_T. 1: the noise of `ancestral`, and its
            result if steps == T.
        clip: x̂_0 is held within [−clip, clip]. None leaves it free.
    """
    _check_noise(eta, noise)
    xt = x_T
    for now, then in _strides(schedule, steps):
        t, x0_hat = _denoised(denoiser, xt, now, clip)
        xt = _onward(schedule, x0_hat, xt, t, now, then, eta, noise)
        yield then, xt, x0_hat


def _onward(
    schedule: Schedule,
    x0_hat: Array,
    xt: Array,
    t: Array,
    now: int,
    then: int,
    eta: float,
    noise: Noise | None,
) -> Array:
    """x_then from x_now: their equation 12, with the σ of their equation 16."""
    alpha_bar = schedule.alpha_bar
    eps_hat = predicted_noise(schedule, x0_hat, xt, t)  # of the x̂_0 used, after clipping
    sigma2 = eta**2 * (1 - alpha_bar[then]) / (1 - alpha_bar[now])
    sigma2 = sigma2 * (1 - alpha_bar[now] / alpha_bar[then])
    signal, direction = np.sqrt(alpha_bar[then]), np.sqrt(1 - alpha_bar[then] - sigma2)
    x = float(signal) * x0_hat + float(direction) * eps_hat
    if noise is None or sigma2 == 0:
        return x
    return x + float(np.sqrt(sigma2)) * alike(f"noise({now})", noise(now), x)


def _check_noise(eta: float, noise: Noise | None) -> None:
    expect(0 <= eta <= 1, "eta", "0 to 1", eta)
    expect(not eta or noise is not None, "noise", f"a function noise(t), for eta = {eta}", noise)


def ddim_inversion(
    denoiser: Denoiser,
    schedule: Schedule,
    x0: Array,
    steps: int | Sequence[int] = 50,
    rounds: int = 1,
    clip: float | None = 1.0,
) -> Iterator[tuple[int, Array, Array]]:
    """From images to the x_T from which `ddim` makes them (Song et al. 2021, "DDIM", section 5.4).

    To undo a step of DDIM from t we need ε̂(x_t, t), but x_t is what we are looking for. So ε̂ is
    taken at the x before it and, in each further round, at the x_t found so far. One round is the
    usual inversion (their section 4.3), exact in the limit of small strides. More rounds invert the
    very steps that `ddim` takes, where the iteration converges (Pan et al. 2023, "Effective real
    image editing with accelerated iterative diffusion inversion"). For the exact denoiser of
    Gaussian data it converges.

    Args:
        denoiser: denoiser(xt, t) -> x̂_0.
        schedule: the noise schedule.
        x0: images (N, C, H, W).
        steps: those of the `ddim` to invert, which has η = 0.
        rounds: how often to compute each step.
        clip: that of the `ddim` to invert.

    Yields:
        (t, x_t, x̂_0) for t up to T.

    Raises:
        ValueError: with zero terminal SNR, where x_T has nothing of x_0.
    """
    _refuse_zero_terminal_snr(schedule, "ddim_inversion")
    if rounds < 1:
        raise ValueError(f"rounds: expected at least 1, got {rounds}")
    signal, noise = _amplitudes(schedule)
    grid = timestep_grid(schedule.T, steps)[::-1]
    xt = x0
    for now, then in zip([0, *grid], grid):
        guess = xt
        for _ in range(rounds):
            t, x0_hat = _denoised(denoiser, guess, then, clip)
            eps_hat = predicted_noise(schedule, x0_hat, guess, t)
            x0_part = signal[then] / signal[now] * (xt - noise[now] * eps_hat)
            guess = x0_part + noise[then] * eps_hat
        xt = guess
        yield then, xt, x0_hat


def dpm_solver(
    denoiser: Denoiser,
    schedule: Schedule,
    x_T: Array,
    steps: int | Sequence[int] = 20,
    clip: float | None = 1.0,
    noise: Noise | None = None,
    eta: float = 0.0,
) -> Iterator[tuple[int, Array, Array]]:
    """DPM-Solver++(2M): a step of DDIM with x̂_0 extrapolated to the middle of the stride.

    (Lu et al. 2022, "DPM-Solver++: fast solver for guided sampling of diffusion probabilistic
    models", algorithm 2.) x̂_0 is extrapolated to D along a line in λ = log(√ᾱ/√(1−ᾱ)). Their
    formula, σ_i/σ_{i−1} x − α_i (e^{−h} − 1) D, is the step √ᾱ_then D + √(1−ᾱ_then) ε̂ with the ε̂
    of D. With η = 1, the step of `ddim` with noise, it is their SDE-DPM-Solver++(2M).

    Two steps are plain DDIM: the first, which has nothing to extrapolate from, and the last, which
    ends at λ = ∞.

    Args:
        denoiser: denoiser(xt, t) -> x̂_0.
        schedule: the noise schedule.
        x_T: standard normal noise (N, C, H, W).
        steps, clip, noise, eta: as for `ddim`.

    Yields:
        (t, x_t, x̂_0) after each step.
    """
    _check_noise(eta, noise)
    lam = log_snr(schedule)  # 2λ: only ratios are needed
    xt, before, x0_before = x_T, None, None
    for now, then in _strides(schedule, steps):
        t, x0_hat = _denoised(denoiser, xt, now, clip)
        D = x0_hat
        if before is not None and then > 0:
            # r is the length of the stride before, in units of this one
            r = float((lam[now] - lam[before]) / (lam[then] - lam[now]))
            D = x0_hat + (x0_hat - x0_before) / (2 * r)
        xt = _onward(schedule, D, xt, t, now, then, eta, noise)
        before, x0_before = now, x0_hat
        yield then, xt, x0_hat


def heun(
    denoiser: Denoiser,
    schedule: Schedule,
    x_T: Array,
    steps: int | Sequence[int] = 20,
    clip: float | None = 1.0,
) -> Iterator[tuple[int, Array, Array]]:
    """Heun's method for the probability flow, without added noise.

    (Karras et al. 2022, "Elucidating the design space of diffusion-based generative models",
    algorithm 1.) It visits the timesteps of `ddim`, for which the denoiser was trained, and calls
    the denoiser 2·steps − 1 times.

    Args:
        denoiser: denoiser(xt, t) -> x̂_0.
        schedule: the noise schedule.
        x_T: standard normal noise (N, C, H, W).
        steps, clip: as for `ddim`.

    Yields:
        (t, x_t, x̂_0) after each step, with the x̂_0 at the start of the stride.

    Raises:
        ValueError: with zero terminal SNR, where σ_T is infinite.
    """
    _refuse_zero_terminal_snr(schedule, "heun")
    signal, noise = _amplitudes(schedule)
    sigma = [n / s for n, s in zip(noise, signal)]
    xt = x_T
    for now, then in _strides(schedule, steps):
        y, stride = xt / signal[now], sigma[then] - sigma[now]
        _, x0_hat = _denoised(denoiser, xt, now, clip)
        slope = (y - x0_hat) / sigma[now]
        ahead = y + stride * slope
        if then > 0:
            _, x0_ahead = _denoised(denoiser, signal[then] * ahead, then, clip)
            ahead = y + stride * (slope + (ahead - x0_ahead) / sigma[then]) / 2
        xt = signal[then] * ahead
        yield then, xt, x0_hat


def _strides(schedule: Schedule, steps: int | Sequence[int]) -> Iterator[tuple[int, int]]:
    """(from, to) for each stride through `steps`, down to t = 0."""
    visited = timestep_grid(schedule.T, steps)
    yield from zip(visited, [*visited[1:], 0])


def _denoised(
    denoiser: Denoiser,
    xt: Array,
    step: int,
    clip: float | None,
) -> tuple[Array, Array]:
    """The timestep of each sample (N,) and its x̂_0, within [−clip, clip] unless that is None."""
    expect(clip is None or clip > 0, "clip", "a positive bound or None", clip)
    t = array_module(xt).full(len(xt), step)
    x0_hat = alike("x0_hat", denoiser(xt, t), xt)
    return t, x0_hat if clip is None else x0_hat.clip(-clip, clip)


def _amplitudes(schedule: Schedule) -> tuple[list[float], list[float]]:
    """√ᾱ_t and √(1−ᾱ_t) for t = 0..T: Python floats, which leave an array's dtype as it is."""
    return np.sqrt(schedule.alpha_bar).tolist(), np.sqrt(1 - schedule.alpha_bar).tolist()


def _refuse_zero_terminal_snr(schedule: Schedule, name: str) -> None:
    if schedule.alpha_bar[-1] == 0:
        raise ValueError(
            f"{name}: expected ᾱ_T > 0, got a schedule with zero terminal SNR at T = {schedule.T}; "
            "`ddim` and `dpm_solver` take it"
        )
