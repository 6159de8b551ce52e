"""Momentum and Adam, to compare with the lecture's update. Neither is part of the lecture.

    for step in train(unet, images, schedule, beta=0.02, seed=0, update=Momentum(0.9)):
    for step in train(unet, images, schedule, beta=2e-3, seed=0, update=Adam()):

An optimiser is an `update`. `train` computes ∇J and then calls the optimiser with the network and
the step size β, in place of θ ← θ − β∇J. Each optimiser remembers what it needs of the steps
before. So it belongs to one run, and θ alone is not enough to resume that run.
"""

from autograd.backend import Array

from ...nn.module import Module


class Momentum:
    """Gradient descent with momentum: m ← μm + ∇J, θ ← θ − βm.

    (Polyak 1964, the "heavy ball"; torch.optim.SGD has this form.) Where ∇J hardly changes, m tends
    to ∇J/(1−μ). So β must be smaller, by about that factor, than without momentum.

    Attributes:
        momentum: μ, 0 ≤ μ < 1.
        m: the sum so far, like θ.
    """

    m: Array | float

    def __init__(self, momentum: float = 0.9) -> None:
        _check_fraction("momentum", momentum)
        self.momentum, self.m = momentum, 0.0

    def __call__(self, unet: Module, beta: float, k: int) -> None:
        """Change θ in place, by step size β."""
        self.m = self.momentum * self.m + unet.grad
        unet.theta -= beta * self.m


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
        m: the running mean of ∇J, like θ.
        v: the running mean of (∇J)², like θ.
        steps: how many steps this optimiser has made; train's k also counts those before a resume.
    """

    m: Array | float
    v: Array | float

    def __init__(self, decay: tuple[float, float] = (0.9, 0.999), tiny: float = 1e-8) -> None:
        for name, fraction in zip(("decay[0]", "decay[1]"), decay, strict=True):
            _check_fraction(name, fraction)
        if not tiny > 0:
            raise ValueError(f"tiny: expected a positive number, got {tiny}")
        self.decay, self.tiny = decay, tiny
        self.m, self.v, self.steps = 0.0, 0.0, 0

    def __call__(self, unet: Module, beta: float, k: int) -> None:
        """Change θ in place, by step size β."""
        (b1, b2), grad = self.decay, unet.grad
        self.steps += 1
        self.m = b1 * self.m + (1 - b1) * grad
        self.v = b2 * self.v + (1 - b2) * grad * grad
        root = (self.v / (1 - b2**self.steps)) ** 0.5
        direction = self.m / (1 - b1**self.steps) / (root + self.tiny)
        unet.theta -= beta * direction


def _check_fraction(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise ValueError(f"{name}: expected 0 up to, but not including, 1, got {value}")
