"""Our Momentum and Adam are PyTorch's: one θ after 50 steps with the same gradients, in float64.

Needs the extra `bench`: `make prove` installs it.
"""

import numpy as np
import pytest

from tinyddpm.more.training.optimisers import Adam, Momentum

pytestmark = pytest.mark.prove


class Numbers:
    def __init__(self, theta):
        self.theta, self.grad = theta.copy(), np.zeros_like(theta)


OPTIMISERS = [
    (Momentum(0.9), "SGD", {"momentum": 0.9}),
    (Adam(), "Adam", {}),
    (Adam((0.5, 0.9), 1e-3), "Adam", {"betas": (0.5, 0.9), "eps": 1e-3}),
]


@pytest.mark.parametrize("ours, name, options", OPTIMISERS)
def test_the_theta_of_pytorch(ours, name, options):
    import torch

    rng, beta = np.random.default_rng(0), 0.03
    start = rng.normal(size=7)
    gradients = rng.normal(size=(50, 7)) * 10.0 ** np.arange(-3, 4)
    theirs = torch.tensor(start, requires_grad=True)
    optimiser = getattr(torch.optim, name)([theirs], lr=beta, **options)
    net = Numbers(start)
    for k, g in enumerate(gradients, 1):
        net.grad[...] = g
        ours(net, beta, k)
        theirs.grad = torch.from_numpy(g.copy())
        optimiser.step()
    np.testing.assert_allclose(net.theta, theirs.detach().numpy(), rtol=1e-12)
