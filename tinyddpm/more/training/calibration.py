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

    def __call__(self, unet: Module, beta: float, k: int) -> None:
        """Change θ in place, by step size β."""
        g = unet.grad
        if self.squares is None:
            self.squares = array_module(g).zeros_like(g)
        if self.done < self.steps:
            self.squares = _like(g, "squares", self.squares)
            self.squares += g * g
            self.done += 1
            self.c2 = None
        if self.c2 is None:
            self.c2 = self.measured(unet)
        if self.momentum:
            past = 0.0 if self.m is None else _like(g, "m", self.m)
            g = self.m = self.momentum * past + (1 - self.momentum) * g
        unet.theta -= beta * (self.c2 * g)

    def measured(self, unet: Module) -> Array:
        """c² of each number of the network's θ, from the gradients so far: at least one."""
        if self.squares is None:
            raise ValueError("measured: expected a step or a state before it")
        squares = _like(unet.theta, "squares", self.squares)
        return _multipliers(squares / self.done, unet.slices(), self.damping)

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


def _multipliers(squares: Array, slices: Mapping[str, slice], damping: float) -> Array:
    """c², from E[(∇J)²]."""
    xp, arrays = array_module(squares), slices.values()
    rooms = np.diff([*(where.start for where in arrays), len(squares)])  # with the padding
    means = xp.stack([squares[where].sum() / (where.stop - where.start) for where in arrays])
    heard = means > SILENT**2 * means.max()
    added = xp.where(heard, damping * means, xp.inf).astype(squares.dtype)
    return 1 / xp.sqrt(squares + xp.repeat(added, rooms.tolist()))


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
