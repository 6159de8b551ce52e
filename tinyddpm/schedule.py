"""The noise schedule: how much noise each step adds, and what remains of the image.

Tables have length T+1 and are indexed by t itself: `beta[t]` is the variance that step t adds, for t = 1..T, and
`alpha_bar[0] == 1` is the clean image. So t - 1 is always a valid index, and none wraps around.

    schedule = linear(1000)
    schedule.alpha_bar[1000]     # 4.0e-5: almost nothing of the image is left
    at(schedule.alpha_bar, t, x) # one value for each sample of a batch, ready to multiply x

All arithmetic on the tables is float64, and `at` casts only the finished table to the dtype of x: in float32, 1 - alpha_bar
would keep only three or four of its seven digits at small t.
"""
import math

import numpy as np

from autograd.backend import constant, kind_of, within


class Schedule:
    """Tables of a variance schedule beta_1..beta_T, T numbers in (0, 1); beta_T alone may be 1, if T > 1 (Ho et al. 2020, section 2).

    T          number of steps
    beta       (T+1,) variance added by step t; beta[0] = 0
    alpha      (T+1,) 1 - beta
    alpha_bar  (T+1,) product of alpha[1..t]: the share of the image's variance left in x_t
    """

    def __init__(self, beta):
        beta = np.asarray(beta, dtype=np.float64)
        if beta.ndim != 1 or beta.size == 0 or not np.all((beta > 0) & (beta <= 1)) or np.any(beta[:max(1, beta.size - 1)] == 1):
            raise ValueError(f"beta: expected a sequence of noise variances between 0 and 1 (1 itself only at its end), got {beta}")
        self.T = len(beta)
        self.beta = np.concatenate([[0.0], beta])
        self.alpha = 1 - self.beta
        self.alpha_bar = np.cumprod(self.alpha)


def linear(T=1000):
    """From 1e-4 to 0.02 in equal steps (Ho et al. 2020, section 4); for another T, β is scaled by 1000/T.

    So Σβ stays about 10, and ᾱ_T small, whatever T is (below T = 20 a cap of 0.999 lowers it).
    """
    _check_T(T)
    scale = 1000 / T
    return Schedule(np.minimum(np.linspace(1e-4 * scale, 0.02 * scale, T), 0.999))


def cosine(T=1000, s=0.008):
    """alpha_bar falls like a squared cosine; beta at most 0.999 (Nichol & Dhariwal 2021, equation 17)."""
    _check_T(T)
    f = np.cos((np.arange(T + 1) / T + s) / (1 + s) * math.pi / 2) ** 2
    return Schedule(np.minimum(1 - f[1:] / f[:-1], 0.999))


def at(table, t, x, first=1):
    """table[t] for each sample: (T+1,) float64 and (N,) integers in {first..T} -> (N, 1, 1, 1), of the dtype and on the device of x (N, C, H, W).

    Raises ValueError for any other t; one on a GPU, which is not waited for, gives NaN. A GPU keeps the table: only the first call copies it.
    """
    if getattr(t, "shape", None) != x.shape[:1] or t.dtype.kind not in "iu":
        raise ValueError(f"t: expected an integer for each of {len(x)} images, got {kind_of(t)}")
    padded = np.append(table, math.nan)  # the last entry, also −1, and those before `first`: what a wrong t on a GPU comes to
    padded[:first] = math.nan
    return constant(padded, x)[within("t", t, first, len(table) - 1)].reshape(-1, *[1] * (x.ndim - 1))


def _check_T(T):
    if not isinstance(T, int) or T < 1:
        raise ValueError(f"T: expected a whole number of steps, at least 1, got {T!r}")
