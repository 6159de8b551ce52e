"""The noise schedule: how much noise each step adds, and what remains of the image.

Tables have length T+1 and are indexed by t itself: `beta[t]` is the variance that step t adds, for
t = 1..T, and `alpha_bar[0] == 1` is the clean image. So t - 1 is a valid index, and none wraps.

    schedule = linear(1000)
    schedule.alpha_bar[1000]      # 4.0e-5: almost nothing of the image is left
    at(schedule.alpha_bar, t, x)  # one value for each image of a batch, ready to multiply x

All arithmetic on the tables is float64, and `at` casts only the finished table to the dtype of x:
in float32, 1 - alpha_bar would keep only three or four of its seven digits at small t.
"""

import math
from collections.abc import Sequence

import numpy as np

from autograd.backend import constant, expect, kind_of, within

from .types import Array


class Schedule:
    """Tables of a variance schedule β_1..β_T (Ho et al. 2020, section 2).

    Made of T numbers in (0, 1); β_T alone may be 1, if T > 1.

    Attributes:
        T: number of steps.
        beta: variance added by step t (T+1,); beta[0] = 0.
        alpha: 1 - beta (T+1,).
        alpha_bar: product of alpha[1..t] (T+1,), the fraction of the image's variance left in x_t.
    """

    def __init__(self, beta: Array | Sequence[float]) -> None:
        beta = np.asarray(beta, dtype=np.float64)
        inside = beta.ndim == 1 and beta.size > 0 and bool(np.all((beta > 0) & (beta <= 1)))
        needed = "a sequence of noise variances between 0 and 1 (1 itself only at its end)"
        expect(inside and not np.any(beta[: max(1, beta.size - 1)] == 1), "beta", needed, beta)
        self.T = len(beta)
        self.beta = np.concatenate([[0.0], beta])
        self.alpha = 1 - self.beta
        self.alpha_bar = np.cumprod(self.alpha)


def linear(T: int = 1000) -> Schedule:
    """From 1e-4 to 0.02 in equal steps (Ho et al. 2020, section 4).

    For another T, β is scaled by 1000/T, so that Σβ stays about 10, and ᾱ_T small.
    Up to T = 20 a cap of 0.999 lowers it.
    """
    _check_T(T)
    scale = 1000 / T
    return Schedule(np.minimum(np.linspace(1e-4 * scale, 0.02 * scale, T), 0.999))


def cosine(T: int = 1000, s: float = 0.008) -> Schedule:
    """ᾱ falls like a squared cosine, β is at most 0.999 (Nichol & Dhariwal 2021, equation 17)."""
    _check_T(T)
    f = np.cos((np.arange(T + 1) / T + s) / (1 + s) * math.pi / 2) ** 2
    return Schedule(np.minimum(1 - f[1:] / f[:-1], 0.999))


def at(table: Array, t: Array, x: Array, first: int = 1) -> Array:
    """table[t] for each image: (N, 1, 1, 1), of the dtype and on the device of x (N, C, H, W).

    `table` is (T+1,) float64, in main memory; a GPU keeps a copy, made at the first call. t is (N,)
    integers in {first..T}. Others raise ValueError; on a GPU, which is not waited for, give NaN.
    """
    fits = getattr(t, "shape", None) == x.shape[:1] and t.dtype.kind in "iu"
    expect(fits, "t", f"an integer for each of {len(x)} images", kind_of(t))
    # A wrong t on a GPU reads the last entry, which is also number −1, or one before `first`.
    padded = np.append(table, math.nan)
    padded[:first] = math.nan
    values = constant(padded, x)[within("t", t, first, len(table) - 1)]
    return values.reshape(-1, *[1] * (x.ndim - 1))


def _check_T(T: int) -> None:
    valid = isinstance(T, int) and T >= 1
    expect(valid, "T", "a whole number of steps, at least 1", repr(T))
