"""Samplers besides the core's two: DDIM backwards, from an image to its noise, and two of second order, for few steps.

    *_, (_, x_T, _) = ddim_inversion(denoiser, schedule, images, steps=50)       # encode
    *_, (_, again, _) = ddim(denoiser, schedule, x_T, steps=50)                  # decode: almost the images
    *_, (_, x0, _) = dpm_solver(denoiser, schedule, x_T, steps=20)               # DPM-Solver++(2M)
    *_, (_, x0, _) = heun(denoiser, schedule, x_T, steps=10)                     # 19 calls of the denoiser

They have the interface of `sampler.py`: each yields (t, x_t, x̂_0) after each step, fresh arrays, the last with t = 0 (inversion goes
the other way: the last has t = T). None draws noise, so the image is a function of x_T.

Why they belong together. DDIM with η = 0 follows, in straight strides, the curve of an ordinary differential equation, the
probability flow (Song et al. 2021, "Score-based generative modeling through stochastic differential equations", section 4.3). With
y = x_t/√ᾱ_t and σ = √((1−ᾱ_t)/ᾱ_t), the image's own units, it is

    dy/dσ = (y − x̂_0(y, σ)) / σ            (Karras et al. 2022, section 2)

and DDIM is Euler's method for it: halve the stride and the error halves. Heun's method and 2M are of second order: halve the stride
and the error is a quarter. Heun looks at the slope at both ends of a stride, which costs two calls of the denoiser. 2M
remembers the last x̂_0 and extrapolates, which costs nothing. The last stride, to σ = 0, is one of Euler in all of them: it ends at
x̂_0. The standard deviation that they give one pixel of N(0, 0.5²) with `linear(1000)`, exactly (`gaussian.py`); 0.5 would be right:

    steps             10      20      100
    ddim              0.370   0.431   0.485
    dpm_solver        0.405   0.478   0.501
    heun              0.435   0.480   0.498      (nearly twice the calls)
"""
import numpy as np

from autograd.backend import alike, array_module

from ..diffusion import predicted_noise
from ..sampler import timestep_grid
from .schedules import log_snr


def ddim_inversion(denoiser, schedule, x0, steps=50, rounds=1, clip=1.0):
    """From images to the x_T that `ddim` with the same `steps` and `clip` and η = 0 makes them from (Song et al. 2021, "DDIM",
    sections 4.3 and 5.4). Yields (t, x_t, x̂_0) for t up to T.

    Undoing a step of DDIM from t needs ε̂(x_t, t), and x_t is what is looked for. So ε̂ is taken at the x before it, and, in each
    further one of `rounds`, at the x_t found so far. One round is the usual inversion, exact in the limit of small strides; more make
    it the inverse of the very steps that `ddim` takes (Pan et al. 2023, "Effective real image editing with accelerated iterative
    diffusion inversion"), where the iteration converges. It does for the exact denoiser of Gaussian data. Raises ValueError
    with zero terminal SNR, where x_T has nothing of x_0.
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
            guess = signal[then] / signal[now] * (xt - noise[now] * eps_hat) + noise[then] * eps_hat
        xt = guess
        yield then, xt, x0_hat


def dpm_solver(denoiser, schedule, x_T, steps=20, clip=1.0):
    """DPM-Solver++(2M) (Lu et al. 2022, "DPM-Solver++: fast solver for guided sampling of diffusion probabilistic models", algorithm 2).

    A step of DDIM with x̂_0 extrapolated along a line in λ = log(√ᾱ/√(1−ᾱ)) to the middle of the stride. Their formula,
    σ_i/σ_{i−1} x − α_i (e^{−h} − 1) D, is that step: √ᾱ_then D + √(1−ᾱ_then) ε̂ with the ε̂ of D. The first step
    has nothing to extrapolate from, the last ends at λ = ∞: both are plain DDIM. steps, clip: as for `ddim`.
    """
    signal, noise = _amplitudes(schedule)
    lam = log_snr(schedule)  # 2λ: only ratios are needed
    grid = timestep_grid(schedule.T, steps)
    xt, before, x0_before = x_T, None, None
    for now, then in zip(grid, [*grid[1:], 0]):
        t, x0_hat = _denoised(denoiser, xt, now, clip)
        D = x0_hat
        if before is not None and then > 0:
            r = float((lam[now] - lam[before]) / (lam[then] - lam[now]))  # the stride before, in strides of now
            D = x0_hat + (x0_hat - x0_before) / (2 * r)
        xt = signal[then] * D + noise[then] * predicted_noise(schedule, D, xt, t)
        before, x0_before = now, x0_hat
        yield then, xt, x0_hat


def heun(denoiser, schedule, x_T, steps=20, clip=1.0):
    """Heun's method for the probability flow, without added noise (Karras et al. 2022, "Elucidating the design space of
    diffusion-based generative models", algorithm 1), on the timesteps of `ddim`, for which the denoiser was trained.

    Calls the denoiser 2·steps − 1 times. The x̂_0 that is yielded is the one at the start of the stride. Raises
    ValueError with zero terminal SNR, where σ_T is infinite.
    """
    _refuse_zero_terminal_snr(schedule, "heun")
    signal, noise = _amplitudes(schedule)
    sigma = [n / s for n, s in zip(noise, signal)]
    grid = timestep_grid(schedule.T, steps)
    xt = x_T
    for now, then in zip(grid, [*grid[1:], 0]):
        y, stride = xt / signal[now], sigma[then] - sigma[now]
        _, x0_hat = _denoised(denoiser, xt, now, clip)
        slope = (y - x0_hat) / sigma[now]
        ahead = y + stride * slope
        if then > 0:
            _, x0_ahead = _denoised(denoiser, signal[then] * ahead, then, clip)
            ahead = y + stride * (slope + (ahead - x0_ahead) / sigma[then]) / 2
        xt = signal[then] * ahead
        yield then, xt, x0_hat


def _denoised(denoiser, xt, step, clip):
    """The timestep of each sample (N,) and its x̂_0, within [−clip, clip] unless that is None."""
    t = array_module(xt).full(len(xt), step)
    x0_hat = alike("x0_hat", denoiser(xt, t), xt)
    return t, x0_hat if clip is None else x0_hat.clip(-clip, clip)


def _amplitudes(schedule):
    """√ᾱ_t and √(1−ᾱ_t) for t = 0..T: Python floats, which leave an array's dtype as it is."""
    return np.sqrt(schedule.alpha_bar).tolist(), np.sqrt(1 - schedule.alpha_bar).tolist()


def _refuse_zero_terminal_snr(schedule, name):
    if schedule.alpha_bar[-1] == 0:
        raise ValueError(f"{name}: expected ᾱ_T > 0, got a schedule with zero terminal SNR at T = {schedule.T}; `ddim` and `dpm_solver` take it")
