"""Is <gradient, v> the slope along v? Three ways to measure a slope, each with what it can see.

**Extrapolated central differences** serve every smooth function, to about 1e-6.

**The complex step** sees 1e-12, but only analytic functions. With `analytic=None` it is trusted
where it agrees with the differences: |z| and max fail that, and nobody has to say so.

**One-sided slopes** judge what the differences reject. At a kink or a tie the slopes to the left
and to the right differ, and any subgradient lies between them. So the kit may try x = 0 for |x|,
and equal numbers for a maximum. It does not call a right op wrong there, but finds a pullback that
gives a tie's gradient to everyone.
"""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..backend import Array
from ..check import EPS, _complex_step, _extrapolated, _unit

ONE_SIDED = 1e-7  # the step: between its rounding and its curvature, errors are about 1e-7


class Found(NamedTuple):
    """How far apart the slopes along a direction are: above 1 is too far."""

    excess: float
    claimed: float
    low: float  # the measured slope lies between low and high, which differ only at a kink
    high: float
    method: str


class Slopes(NamedTuple):
    """The slopes of <g, forward(x)>, for one argument x."""

    forward: Callable[[Any], Any]
    x: Array
    g: Array
    out: Array
    gradient: Array
    analytic: bool | None

    def along(self, v: Array) -> Found:
        """Compare the slopes along v."""
        claimed, size = float((self.gradient * v).sum()), float(abs(self.gradient * v).sum())
        exact = None if self.analytic is False else self._complex(v)
        if self.analytic:
            if exact is None:
                raise TypeError("it does not take complex numbers; leave out analytic=True")
            return self._judge(claimed, size, exact, 1e-12, 100 * EPS, "the complex step")

        slope = self.g * _extrapolated(self.forward, self.x, v)
        name = "differences" if self.analytic is False else "numerical differences"
        found = self._judge(claimed, size, slope, 1e-6, 100 * EPS ** (4 / 5), name)
        if not found.excess <= 1:
            return self._one_sided(v, claimed, size, name)
        if exact is not None:
            allowed = 1e-6 * float(abs(slope).sum()) + 1e-10 * float(abs(self.g).sum())
            if float(abs(exact - slope).sum()) <= allowed:  # it is analytic here: look closer
                return self._judge(claimed, size, exact, 1e-9, 1e-12, "the complex step")
        return found

    def _complex(self, v: Array) -> Array | None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", np.exceptions.ComplexWarning)
                slope: Array = self.g * _complex_step(self.forward, self.x, v)
                return slope
        except (TypeError, np.exceptions.ComplexWarning):
            return None

    def _judge(
        self, claimed: float, size: float, slope: Array, tolerance: float, floor: float, name: str
    ) -> Found:
        measured = float(slope.sum())
        noise = floor * float(abs(self.g).sum() + abs(self.g * self.out).sum())
        allowed = tolerance * (size + float(abs(slope).sum())) + noise
        return Found(_ratio(abs(claimed - measured), allowed), claimed, measured, measured, name)

    def _one_sided(self, v: Array, claimed: float, size: float, name: str) -> Found:
        h = ONE_SIDED
        here = self.forward(self.x)
        right = self.g * ((self.forward(self.x + h * v) - here) / h)
        left = self.g * ((here - self.forward(self.x - h * v)) / h)
        low, high = float(np.minimum(left, right).sum()), float(np.maximum(left, right).sum())
        scale = size + float(abs(left).sum() + abs(right).sum())
        noise = 100 * EPS / h * float(abs(self.g).sum() + abs(self.g * self.out).sum())
        allowed = 1e-5 * scale + noise + 16 * self._rounding() / h
        if high - low <= allowed:
            low = high = (low + high) / 2
        else:
            name = "the slopes to the left and to the right"
        outside = max(low - claimed, claimed - high, 0.0)
        outside = outside if np.isfinite(claimed + low + high) else np.inf
        return Found(_ratio(outside, allowed), claimed, low, high, name)

    def _rounding(self) -> float:
        """How much <g, output> changes if each x is another in its last digit.

        An op may enlarge that, as a norm does where all numbers are nearly equal. What x + hv loses
        by rounding is enlarged as much, and then divided by h.
        """
        signs = np.random.default_rng(0).choice([-1, 1], self.x.shape)
        change = float(abs(self.g * (self.forward(self.x * (1 + EPS * signs)) - self.out)).sum())
        return change if np.isfinite(change) else 0.0

    def numerical(self) -> Array:
        """The whole gradient by differences."""
        slopes = [
            float((self.g * _extrapolated(self.forward, self.x, _unit(self.x, k))).sum())
            for k in range(self.x.size)
        ]
        return np.array(slopes).reshape(self.x.shape)


def _ratio(error: float, allowed: float) -> float:
    if not error < np.inf:  # a NaN is as wrong as can be
        return float(np.inf)
    return error / allowed if error else 0.0
