"""Our Momentum and Adam are PyTorch's: the same θ after 50 steps of the same gradients, in float64.

Needs the extra `bench`: `make prove` installs it.
"""
import numpy as np
import pytest

from tinyddpm.more.optimisers import Adam, Momentum

pytestmark = pytest.mark.prove


class Numbers:
    def __init__(self, theta):
        self.theta, self.grad = theta.copy(), np.zeros_like(theta)


@pytest.mark.parametrize("ours, name, options", [(Momentum(0.9), "SGD", {"momentum": 0.9}), (Adam(), "Adam", {}),
                                                 (Adam((0.5, 0.9), 1e-3), "Adam", {"betas": (0.5, 0.9), "eps": 1e-3})])
def test_the_theta_of_pytorch(ours, name, options):
    import torch
    rng = np.random.default_rng(0)
    start, gradients, beta = rng.normal(size=7), rng.normal(size=(50, 7)) * 10.0 ** np.arange(-3, 4), 0.03
    theirs = torch.tensor(start, requires_grad=True)
    optimiser = getattr(torch.optim, name)([theirs], lr=beta, **options)
    net = Numbers(start)
    for k, g in enumerate(gradients, 1):
        net.grad[...] = g
        ours(net, beta, k)
        theirs.grad = torch.from_numpy(g.copy())
        optimiser.step()
    np.testing.assert_allclose(net.theta, theirs.detach().numpy(), rtol=1e-12)
