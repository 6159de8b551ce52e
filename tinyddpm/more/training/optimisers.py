"""Momentum and Adam, to compare with the lecture's update. Neither is part of the lecture.

    for step in train(unet, images, schedule, beta=0.02, seed=0, update=Momentum(0.9)):
    for step in train(unet, images, schedule, beta=2e-3, seed=0, update=Adam()):

An optimiser is an `update`. `train` computes ∇J and then calls the optimiser with the network and
the step size β, in place of θ ← θ − β∇J. Each optimiser remembers what it needs of the steps
before. So it belongs to one run, and θ alone is not enough to resume that run: `state.py`.

Both work in place, and on a CPU block by block. So a step reads and writes each number once, and
all between happens in the cache.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from autograd.backend import Array, alike, array_module, expect

from ...nn.module import Module
from .state import check_names

BLOCK = 16384  # numbers: five vectors of so many fit into the cache of a core


class Momentum:
    """Gradient descent with momentum: m ← μm + ∇J, θ ← θ − βm.

    (Polyak 1964, the "heavy ball"; torch.optim.SGD has this form.) Where ∇J hardly changes, m tends
    to ∇J/(1−μ). So β must be smaller, by about that factor, than without momentum.

    Attributes:
        momentum: μ, 0 ≤ μ < 1.
        m: the sum so far, like θ. None before the first step.
    """

    m: Array | None

    def __init__(self, momentum: float = 0.9) -> None:
        _check_fraction("momentum", momentum)
        self.momentum, self.m = momentum, None

    def __call__(self, unet: Module, beta: float, k: int) -> None:
        """Change θ in place, by step size β."""
        if self.m is None:
            self.m = array_module(unet.theta).zeros_like(unet.theta)
        alike("m", self.m, unet.theta)  # it may come from a file
        for theta, grad, m, room in blocks(unet.theta, unet.grad, self.m):
            m *= self.momentum
            m += grad
            room[...] = m
            room *= float(beta)
            theta -= room

    def state(self) -> dict[str, Array]:
        """m, after the first step."""
        return {} if self.m is None else {"m": self.m}

    def load(self, state: Mapping[str, Array]) -> None:
        """Go on with another one's m."""
        check_names(state, "m")
        self.m = state.get("m")


class Adam:
    """Adam (Kingma & Ba 2015, algorithm 1), bias correction included.

        m ← b₁m + (1−b₁)∇J
        v ← b₂v + (1−b₂)(∇J)²
        θ ← θ − β (m/(1−b₁ᵏ)) / (√(v/(1−b₂ᵏ)) + tiny)

    So a parameter moves by about β at most, however large its gradient is: each finds its own step
    size. The paper is "Adam: a method for stochastic optimization".

    Attributes:
        decay: (b₁, b₂), the paper's β₁ and β₂, each in [0, 1).
        tiny: the paper's ε, > 0.
        m: the running mean of ∇J, like θ. None before the first step.
        v: the running mean of (∇J)², like θ. None before the first step.
        steps: how many steps this optimiser has made, which need not be train's k.
    """

    m: Array | None
    v: Array | None

    def __init__(self, decay: tuple[float, float] = (0.9, 0.999), tiny: float = 1e-8) -> None:
        for name, fraction in zip(("decay[0]", "decay[1]"), decay, strict=True):
            _check_fraction(name, fraction)
        if not tiny > 0:
            raise ValueError(f"tiny: expected a positive number, got {tiny}")
        self.decay, self.tiny = decay, tiny
        self.m, self.v, self.steps = None, None, 0

    def __call__(self, unet: Module, beta: float, k: int) -> None:
        """Change θ in place, by step size β."""
        if self.m is None or self.v is None:
            zeros_like = array_module(unet.theta).zeros_like
            self.m, self.v = zeros_like(unet.theta), zeros_like(unet.theta)
        for name, vector in (("m", self.m), ("v", self.v)):
            alike(name, vector, unet.theta)  # they may come from a file
        self.steps += 1
        (b1, b2), xp = self.decay, array_module(unet.theta)
        unbias_m, unbias_v = 1 / (1 - b1**self.steps), 1 / (1 - b2**self.steps)
        for theta, grad, m, v, room in blocks(unet.theta, unet.grad, self.m, self.v):
            xp.multiply(grad, 1 - b1, out=room)
            m *= b1
            m += room
            xp.multiply(grad, grad, out=room)
            room *= 1 - b2
            v *= b2
            v += room
            xp.multiply(v, unbias_v, out=room)
            xp.sqrt(room, out=room)
            room += self.tiny
            xp.divide(m, room, out=room)
            room *= float(beta) * unbias_m
            theta -= room

    def state(self) -> dict[str, Array]:
        """m, v and the number of steps (1,), after the first."""
        if self.m is None or self.v is None:
            return {}
        return {"m": self.m, "v": self.v, "steps": np.array([self.steps], np.float64)}

    def load(self, state: Mapping[str, Array]) -> None:
        """Go on with another one's m, v and number of steps."""
        check_names(state, "m", "v", "steps")
        steps = float(state["steps"].sum()) if state else 0.0
        whole = steps >= 0 and steps.is_integer() and (not state or state["steps"].size == 1)
        expect(whole, "state", "a number of steps", steps)
        self.m, self.v, self.steps = state.get("m"), state.get("v"), int(steps)


def blocks(*vectors: Array) -> Iterator[list[Array]]:
    """The vectors block by block, with room for one more block. On a GPU it is one block."""
    size = vectors[0].size
    length = max(1, min(BLOCK, size) if isinstance(vectors[0], np.ndarray) else size)
    room = array_module(vectors[0]).empty(length, vectors[0].dtype)
    for start in range(0, size, length):
        parts = [vector[start : start + length] for vector in vectors]
        yield [*parts, room[: len(parts[0])]]


def _check_fraction(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise ValueError(f"{name}: expected 0 up to, but not including, 1, got {value}")
