"""Momentum and Adam, to compare the lecture's update with. Neither is part of the lecture.

    for step in train(unet, images, schedule, beta=0.02, seed=0, gradient=Momentum(0.9)):
    for step in train(unet, images, schedule, beta=2e-3, seed=0, gradient=Adam()):

`train` updates θ ← θ − β∇J, whatever its argument `gradient` leaves in `unet.grad`. An optimiser here is such a `gradient`: it
lets another one compute ∇J, and then puts its own direction in its place. So each remembers what it needs of the steps before,
belongs to one run, and a run with it cannot be resumed from θ alone.
"""
from ..train import gradient as plain


class Momentum:
    """Gradient descent with momentum: m ← μm + ∇J, θ ← θ − βm (Polyak 1964, the "heavy ball"; torch.optim.SGD has this form).

    momentum  μ, 0 ≤ μ < 1. Where ∇J hardly changes m comes to ∇J/(1−μ): β must be smaller by about that factor than without
    gradient  what computes ∇J: `train.gradient`, or anything that can take its place there
    """

    def __init__(self, momentum=0.9, gradient=plain):
        _check_share("momentum", momentum)
        self.momentum, self.gradient, self.m = momentum, gradient, 0.0

    def __call__(self, unet, *batch, **options):
        result = self.gradient(unet, *batch, **options)
        self.m = self.momentum * self.m + unet.grad
        unet.grad[...] = self.m
        return result


class Adam:
    """Adam (Kingma & Ba 2015, "Adam: a method for stochastic optimization", algorithm 1), bias correction included.

        m ← b₁m + (1−b₁)∇J        v ← b₂v + (1−b₂)(∇J)²        θ ← θ − β (m/(1−b₁ᵏ)) / (√(v/(1−b₂ᵏ)) + tiny)

    So a parameter moves by about β at most, however large its gradient is: each finds its own step size.

    decay     (b₁, b₂), the paper's β₁ and β₂, each in [0, 1);  tiny  the paper's ε, > 0
    gradient  as for `Momentum`
    """

    def __init__(self, decay=(0.9, 0.999), tiny=1e-8, gradient=plain):
        for name, share in zip(("decay[0]", "decay[1]"), decay, strict=True):
            _check_share(name, share)
        if not tiny > 0:
            raise ValueError(f"tiny: expected a positive number, got {tiny}")
        self.decay, self.tiny, self.gradient = decay, tiny, gradient
        self.m, self.v, self.k = 0.0, 0.0, 0

    def __call__(self, unet, *batch, **options):
        result = self.gradient(unet, *batch, **options)
        (b1, b2), grad = self.decay, unet.grad
        self.k += 1
        self.m = b1 * self.m + (1 - b1) * grad
        self.v = b2 * self.v + (1 - b2) * grad * grad
        grad[...] = self.m / (1 - b1**self.k) / ((self.v / (1 - b2**self.k)) ** 0.5 + self.tiny)
        return result


def _check_share(name, value):
    if not 0 <= value < 1:
        raise ValueError(f"{name}: expected 0 up to, but not including, 1, got {value}")
