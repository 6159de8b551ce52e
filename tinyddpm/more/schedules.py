"""More noise schedules, their signal-to-noise ratios, schedules of your own, grids of timesteps.

    schedule = sigmoid(1000)  # the same kind of object as schedule.linear gives
    schedule = zero_terminal_snr(linear(1000))  # x_T is noise and nothing else
    schedule = from_beta(np.geomspace(1e-4, 0.05, 500))
    schedule = from_alpha_bar(my_alpha_bar)  # ᾱ_1..ᾱ_T
    snr(schedule)[t], log_snr(schedule)[t]  # tables (T+1,), indexed by t like the others
    spaced_grid(schedule, 50, "log-snr")  # 50 of its timesteps, for the solvers

The literature uses few names for many things, so each function says whose definition it is. Two
names are often confused:

    name here        in other projects                               the rule
    quadratic        "quad" (Ho et al.'s code, DDIM's)               √β in equal steps, 1e-4 to 0.02
    scaled_linear    "scaled_linear" (latent diffusion, diffusers)   the same rule, 8.5e-4 to 0.012
    sigmoid          "sigmoid" (Chen 2023)                           ᾱ falls like a sigmoid
    sigmoid_beta     "sigmoid" (GeoDiff, diffusers)                  β rises like a sigmoid

**Any T.** The schedules that define β were published for T = 1000. For another T, β is scaled by
1000/T, as in `schedule.linear`. So Σβ stays about the same, and with it what remains of the image
at T. The schedules that define ᾱ as a function of t/T need no scaling.
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import expit

from autograd.backend import Array, expect

from ..schedule import Schedule, _check_T, cosine, linear


def quadratic(T: int = 1000, first: float = 1e-4, last: float = 0.02) -> Schedule:
    """√β from √first to √last in equal steps.

    It is called "quad" in the code of Ho et al. 2020 and of Song et al. 2021 (DDIM).
    """
    _check_T(T)
    _check_ends(first, last)
    return _of_any_length(np.linspace(first**0.5, last**0.5, T) ** 2)


def scaled_linear(T: int = 1000, first: float = 8.5e-4, last: float = 0.012) -> Schedule:
    """The rule of `quadratic` with the ends of Stable Diffusion.

    (Rombach et al. 2022, latent diffusion; their code calls it "linear".)
    """
    return quadratic(T, first, last)


def sigmoid_beta(T: int = 1000, first: float = 1e-4, last: float = 0.02) -> Schedule:
    """β rises from about `first` to about `last` like a sigmoid on [−6, 6].

    (Xu et al. 2022, "GeoDiff"; diffusers' "sigmoid".)
    """
    _check_T(T)
    _check_ends(first, last)
    return _of_any_length(first + (last - first) * expit(np.linspace(-6, 6, T)))


def sigmoid(T: int = 1000, start: float = -3.0, end: float = 3.0, tau: float = 1.0) -> Schedule:
    """ᾱ falls like a sigmoid: the part of it from start/τ to end/τ, stretched to go from 1 to 0.

    (Chen 2023, "On the importance of noise scheduling for diffusion models", algorithm 1; first in
    Jabri et al. 2022, RIN.) As published, ᾱ is held at 1e-9 or more.

    Args:
        T: the number of steps.
        start: where the sigmoid begins. Moving start and end to the left adds noise sooner.
        end: where it ends.
        tau: the temperature τ. A smaller τ makes the middle steeper.
    """
    _check_T(T)
    if not start < end or not tau > 0:
        raise ValueError(
            "sigmoid: expected start < end and tau > 0, "
            f"got start = {start}, end = {end}, tau = {tau}"
        )
    s = expit((start + (end - start) * np.arange(T + 1) / T) / tau)
    alpha_bar = (s[-1] - s[1:]) / (s[-1] - s[0])
    if T > 1 and alpha_bar[-2] <= 1e-9 or alpha_bar[0] == 1:
        raise ValueError(
            "sigmoid: expected start, end and tau with which ᾱ falls from the first step to the "
            f"last, got start = {start}, end = {end}, tau = {tau}"
        )
    return from_alpha_bar(np.maximum(alpha_bar, 1e-9))


def zero_terminal_snr(schedule: Schedule) -> Schedule:
    """A schedule whose x_T has nothing left of the image: ᾱ_T = 0.

    √ᾱ is shifted and stretched so that √ᾱ_1 stays and √ᾱ_T becomes 0 (Lin et al. 2023, "Common
    diffusion noise schedules and sample steps are flawed", algorithm 1).

    Sampling starts from pure noise, so training should have seen it. But then x_T says nothing
    about x_0, and dividing by √ᾱ_T is dividing by zero. So a network cannot predict ε
    (`predictions.py` refuses it); it can predict x_0 or v. The visited steps must include T, as
    those of `solvers.ddim` do.

    Args:
        schedule: the one to change, of T ≥ 2 steps.

    Raises:
        ValueError: for T = 1.
    """
    if schedule.T < 2:
        raise ValueError("zero_terminal_snr: expected a schedule of at least 2 steps, got T = 1")
    root = np.sqrt(schedule.alpha_bar[1:])
    return from_alpha_bar(((root - root[-1]) * root[0] / (root[0] - root[-1])) ** 2)


def from_beta(beta: Sequence[float] | Array) -> Schedule:
    """A schedule of your own, from β_1..β_T.

    Args:
        beta: T numbers in (0, 1). If T > 1, the last one may be 1.

    Raises:
        ValueError: for any other number; the message names the first t at fault.
    """
    beta = _sequence("beta", beta)
    good = (beta > 0) & (beta < 1)
    good[1:][-1:] |= beta[1:][-1:] == 1
    _check_each("beta", beta, good, "a noise variance in (0, 1)")
    return Schedule(beta)


def from_alpha_bar(alpha_bar: Sequence[float] | Array) -> Schedule:
    """A schedule of your own, by what remains of the image: ᾱ_1..ᾱ_T.

    β_t = 1 − ᾱ_t/ᾱ_{t−1} (Ho et al. 2020, section 2).

    Args:
        alpha_bar: T falling numbers below 1 and above 0. If T > 1, the last one may be 0.

    Raises:
        ValueError: for any other number; the message names the first t at fault.
    """
    alpha_bar = _sequence("alpha_bar", alpha_bar)
    before = np.concatenate([[1.0], alpha_bar[:-1]])
    good = (alpha_bar > 0) & (alpha_bar < before)
    good[1:][-1:] |= (alpha_bar[1:][-1:] == 0) & (before[1:][-1:] > 0)
    expected = "a positive number below the one before (1 before the first)"
    _check_each("alpha_bar", alpha_bar, good, expected)
    return from_beta(1 - alpha_bar / before)


# By name, each a function of T.
SCHEDULES: dict[str, Callable[..., Schedule]] = {
    "linear": linear,
    "cosine": cosine,
    "scaled_linear": scaled_linear,
    "quadratic": quadratic,
    "sigmoid": sigmoid,
    "sigmoid_beta": sigmoid_beta,
}


def snr(schedule: Schedule) -> Array:
    """The signal-to-noise ratio of x_t, ᾱ_t/(1−ᾱ_t)  (Kingma et al. 2021, section 3.1).

    Returns:
        A table (T+1,); entry 0, the clean image's, is ∞.
    """
    with np.errstate(divide="ignore"):
        return schedule.alpha_bar / (1 - schedule.alpha_bar)


def log_snr(schedule: Schedule) -> Array:
    """The natural logarithm of `snr`, often called λ_t.

    Returns:
        A table (T+1,); entry 0 is ∞, and entry T is −∞ with zero terminal SNR.
    """
    with np.errstate(divide="ignore"):
        return np.log(snr(schedule))


def fraction_of_steps(schedule: Schedule, edges: Sequence[float] | Array) -> Array:
    """Where a schedule spends its steps: the fraction of t = 1..T in each interval of log-SNR.

    Training draws t uniformly. So this is also how the unweighted objective is spread over noise
    levels: with it, the schedule is the only weighting.

    Args:
        schedule: the noise schedule.
        edges: of the intervals, rising. From −inf to inf, the fractions add up to 1. Each interval
            contains its lower edge, and the last one both.

    Returns:
        An array (len(edges) − 1,).
    """
    return np.histogram(log_snr(schedule)[1:], edges)[0] / schedule.T


def _of_any_length(beta: Array) -> Schedule:
    """β_1..β_T by a rule that was published for T = 1000."""
    return Schedule(np.minimum(beta * (1000 / len(beta)), 0.999))


def _check_ends(first: float, last: float) -> None:
    if not 0 < first <= last < 1:
        raise ValueError(
            f"first, last: expected noise variances, 0 < first ≤ last < 1, got {first} and {last}"
        )


def _sequence(name: str, values: Sequence[float] | Array) -> Array:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or values.size == 0:
        raise ValueError(
            f"{name}: expected a sequence of T numbers, one for each step, got shape {values.shape}"
        )
    return values


def _check_each(name: str, values: Array, good: Array, expected: str) -> None:
    if not good.all():
        first = int(np.argmin(good))
        raise ValueError(
            f"{name}: expected {expected} at every t, "
            f"got {values[first]} at t = {first + 1} of {len(values)}"
        )


# ---- grids of timesteps --------------------------------------------------------------------------

# What the timesteps of a grid are even in: monotone functions of t = 1..T and the log-SNR there.
# "even" goes down to T/steps, log-snr-6 to log-SNR 6, the others to 1.
SPACINGS: dict[str, Callable[[Array, Array], Array]] = {
    "even": lambda t, _: t,
    "log-snr-6": lambda _, log_snr: log_snr,
    "log-snr": lambda _, log_snr: log_snr,
    "quadratic": lambda t, _: np.sqrt(t),  # Song et al. 2021, "DDIM", appendix D.2
    "karras": lambda _, log_snr: np.exp(-log_snr / 14),  # σ^(1/7): Karras et al. 2022, equation 5
}
MOST_LOG_SNR = {"log-snr-6": 6.0}  # where a grid ends; σ = e^(−6/2) = 1/20


def timestep_grid(T: int, steps: int | Sequence[int]) -> list[int]:
    """`steps` timesteps from T down, evenly spaced: T·i/steps, rounded, for i = steps..1.

    A sequence of timesteps, falling, is returned as a list.
    """
    if isinstance(steps, Sequence | np.ndarray) and not isinstance(steps, str):
        visited = [T + 1, *steps, 0]
        whole = all(isinstance(t, int | np.integer) for t in visited)
        good = len(visited) > 2 and whole and all(a > b for a, b in zip(visited, visited[1:]))
        expect(good, "steps", f"timesteps that fall, from at most T = {T} to at least 1", steps)
        return visited[1:-1]
    valid = isinstance(steps, int) and 1 <= steps <= T
    expect(valid, "steps", f"1 to T = {T}", repr(steps))
    return [(2 * T * i + steps) // (2 * steps) for i in range(steps, 0, -1)]


def spaced_grid(schedule: Schedule, steps: int, spacing: str = "even") -> list[int]:
    """`steps` timesteps from T down: those of `timestep_grid`, or others, which go further down.

    The even grid of 50 visits nothing below t = T/50. The others go there more often: they are
    evenly spaced in log-SNR, in √t or in σ^(1/7). Each is rounded to the nearest t. Where several
    fall on one t, they move to its neighbours, so that there are as many as asked for.

    "log-snr-6" ends at log-SNR 6, where the noise is a twentieth of the image (σ = .05). With less
    noise than that, a small network's own error is larger than the noise that it takes away.

    Args:
        schedule: the noise schedule.
        steps: how many, 1 to T.
        spacing: "even", "log-snr-6", "log-snr", "quadratic" or "karras".
    """
    expect(spacing in SPACINGS, "grid", f"one of {', '.join(SPACINGS)}", repr(spacing))
    T, evenly = schedule.T, timestep_grid(schedule.T, steps)
    if spacing == "even" or steps in (1, T):
        return evenly
    lam = np.maximum(log_snr(schedule)[1:], -11.0)  # below it there is nothing to see, or even −∞
    clear = int((lam > MOST_LOG_SNR.get(spacing, np.inf)).sum())  # how many it leaves out
    last = 1 + min(clear, T - steps)
    measure = SPACINGS[spacing](np.arange(1.0, T + 1), lam)
    wanted = np.linspace(measure[last - 1], measure[-1], steps)
    rising = [1 + int(abs(measure - value).argmin()) for value in wanted]
    rising[-1] = T
    for i in range(1, steps):
        rising[i] = max(rising[i], rising[i - 1] + 1)
    for i in range(steps):
        rising[i] = min(rising[i], T - (steps - 1 - i))
    return rising[::-1]
