"""Multipliers that are measured once, while β rises, and then stay: plain gradient descent again.

    measured = Measured(steps=300)  # as many as the warm-up has
    for step in train(unet, images, schedule, beta, seed=0, update=measured):
        ...
    by_kind(unet, measured.c2)      # {"conv1": (low, median, high), …}

The U-Net should have no multipliers of its own (`ONES`). Write θ as c·v with a constant c for each
number of θ. A step of v by −β∇_v J moves θ by −βc²∇J (nn/multipliers.py). There c is one number for
each kind of layer, found by hand. Here c² = 1/√E[(∇J)²], measured for each number of θ.

**What it is.** While it measures, it changes with every step, like Adam without momentum. From then
on it is plain gradient descent θ ← θ − βc²∇J in coordinates that no longer change. In the words of
optimisation, c² is a diagonal preconditioner, and it is Adam's second moment, frozen. Tang et al.
2021, "1-bit Adam: communication efficient large-scale training with Adam's convergence speed",
freeze it in the same way and go on with momentum.

**What it is not.** It is not one step size for all of θ, as on the blackboard. It does not follow
∇J when that changes later, as Adam does. And unless you ask for momentum, a step follows the
gradient of its own mini-batch, not a mean of past ones.

**Gradients of zero.** A new U-Net answers 0, because its last layers start at 0. So at step 1 most
gradients are 0, and 1/√E[(∇J)²] would be infinite. Later they grow from tiny numbers. Two things
keep this harmless. E[(∇J)²] counts the step itself, one of k. So c²|∇J| ≤ √k, and while it measures
no number of θ moves by more than β√k, however small its gradient was before. (β is small there: it
rises.) And the gradients of some arrays stay 0 but for rounding, such as the bias of attention's
keys: softmax ignores it. Their c² would make rounding as large as the signal. So an array whose
gradient is less than `SILENT` times the largest, both as root mean squares, has c² = 0: it rests.
"""

from collections.abc import Mapping

import numpy as np

from autograd.backend import Array, array_module, expect, kind_of, to_device

from ...nn.module import Module
from ...nn.unet import UNet
from ..curvature import kinds
from .optimisers import blocks
from .state import check_names

SILENT = 1e-7  # about float32's rounding of a number


class Measured:
    """θ ← θ − βc²∇J, with c² = 1/√(E[(∇J)²] + damping · its mean over the array), then frozen.

    E is the mean over the first steps of the run. An array is a parameter such as a convolution's
    weight. The damping limits c² where a number's own gradient is far below that of its array.

    Attributes:
        steps: how many steps to measure. Afterwards c² stays as it is.
        damping: > 0.
        momentum: μ, 0 ≤ μ < 1. With μ > 0 a mean of past gradients, m ← μm + (1−μ)∇J, stands in
            place of ∇J. That is Adam with a second moment that freezes.
        c2: c², like θ. It is 0 for arrays without a gradient; None before the first step.
        squares: the sum of (∇J)² over the steps measured, like θ.
        m: the mean of past gradients, like θ; None without momentum.
        done: the steps measured so far.
    """

    c2: Array | None
    squares: Array | None
    m: Array | None

    def __init__(self, steps: int, damping: float = 0.1, momentum: float = 0.0) -> None:
        expect(steps >= 1, "steps", "a positive number", steps)
        expect(damping > 0, "damping", "a positive number", damping)
        expect(0 <= momentum < 1, "momentum", "0 up to, but not including, 1", momentum)
        self.steps, self.damping, self.momentum = steps, damping, momentum
        self.c2, self.squares, self.m, self.done = None, None, None, 0
        self._slices: Mapping[str, slice] = {}

    def __call__(self, unet: Module, beta: float, k: int) -> None:
        """Change θ in place, by step size β."""
        measuring = self.done < self.steps
        if self.squares is None:
            self.squares = array_module(unet.grad).zeros_like(unet.grad)
        self.squares = _like(unet.grad, "squares", self.squares)
        if measuring:
            for squares, grad, room in blocks(self.squares, unet.grad):
                room[...] = grad
                room *= grad
                squares += room
            self.done += 1
        if measuring or self.c2 is None:
            self.c2 = self.measured(unet, self.c2)
        along = self._mean(unet.grad) if self.momentum else unet.grad
        for theta, c2, g, room in blocks(unet.theta, self.c2, along):
            room[...] = c2
            room *= g
            room *= float(beta)
            theta -= room

    def _mean(self, grad: Array) -> Array:
        """m, after this gradient."""
        if self.m is None:
            self.m = array_module(grad).zeros_like(grad)
        self.m = _like(grad, "m", self.m)
        for m, g, room in blocks(self.m, grad):
            room[...] = g
            room *= 1 - self.momentum
            m *= self.momentum
            m += room
        return self.m

    def measured(self, unet: Module, out: Array | None = None) -> Array:
        """c² of each number of the network's θ, from the gradients so far: at least one.

        Args:
            unet: the network.
            out: a vector like θ to write them into; without it, a new one.
        """
        if self.squares is None:
            raise ValueError("measured: expected a step or a state before it")
        squares = _like(unet.theta, "squares", self.squares)
        out = array_module(squares).empty_like(squares) if out is None else out
        self._slices = self._slices or unet.slices()  # which takes as long as the rest
        _invert(squares, self.done, self._slices, self.damping, out)
        return out

    def state(self) -> dict[str, Array]:
        """What a run needs to go on with the same bits: arrays by name, {} before the first step.

        They are the ones in use, not copies.
        """
        if self.squares is None:
            return {}
        found = {"squares": self.squares, "steps": np.array([self.done], self.squares.dtype)}
        return found if self.m is None else found | {"m": self.m}

    def load(self, state: Mapping[str, Array]) -> None:
        """Go on from what `state` returned, on whatever device: before the first step.

        Raises:
            ValueError: it is no state of an update with these options.
        """
        check_names(state, *["m"] * bool(self.momentum), "squares", "steps")
        if not state:
            return
        squares, steps = state["squares"], state["steps"]
        fine = squares.ndim == 1 and bool((squares >= 0).all())  # NaN is not
        expect(fine, "squares", "a vector of numbers ≥ 0", kind_of(squares))
        fine = steps.shape == (1,) and 1 <= steps[0] < np.inf and steps[0] % 1 == 0
        expect(fine, "steps", "a positive whole number in a vector of one", steps)
        self.squares, self.done, self.c2 = squares.copy(), int(steps[0]), None
        self.m = state["m"].copy() if self.momentum else None


def _like(theta: Array, name: str, vector: Array) -> Array:
    """The vector, where θ is. It may come from a file."""
    fits = (vector.shape, vector.dtype) == (theta.shape, theta.dtype)
    expect(fits, name, f"a vector like θ, {kind_of(theta)}", kind_of(vector))
    xp = array_module(theta)
    return vector if array_module(vector) is xp else xp.asarray(vector)


def _invert(
    squares: Array, k: int, slices: Mapping[str, slice], damping: float, out: Array
) -> None:
    """Write c² into out, from the sum of k squares: √k/√(sum + damping · its mean)."""
    xp, arrays = array_module(squares), slices.values()
    rooms = np.diff([*(where.start for where in arrays), len(squares)])  # with the padding
    sizes = xp.asarray([where.stop - where.start for where in arrays], squares.dtype)
    # (add.reduceat would be one call. But CuPy's subtracts two sums over all of θ: too inexact.)
    means = xp.asarray([xp.add.reduce(squares[where]) for where in arrays]) / sizes
    heard = means > SILENT**2 * means.max()
    added = xp.where(heard, damping * means, xp.inf).astype(squares.dtype)
    xp.add(squares, xp.repeat(added, rooms.tolist()), out=out)
    xp.sqrt(out, out=out)
    xp.divide(k**0.5, out, out=out)


def by_kind(unet: UNet, c2: Array) -> dict[str, tuple[float, float, float]]:
    """How large c² is for each kind of layer: a tenth lies below, half, nine tenths.

    The kinds are those of `curvature.kinds`. Numbers that rest, with c² = 0, are left out, and a
    kind that rests as a whole has zeros.
    """
    host = to_device(c2, "cpu")
    found = {}
    for kind, where in kinds(unet).items():
        moving = host[where & (host > 0)]
        low, middle, high = np.quantile(moving, (0.1, 0.5, 0.9)) if moving.size else (0, 0, 0)
        found[kind] = float(low), float(middle), float(high)
    return found
