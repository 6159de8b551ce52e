"""PyTorch's random numbers without PyTorch. torch 2.13.0 printed the expected ones, on a CPU."""

import numpy as np
import pytest

from tinyddpm.interop.torch_random import Generator, initial_weights

# torch.manual_seed(seed); torch.rand(4)
UNIFORM = {
    0: [0.49625658988952637, 0.7682217955589294, 0.08847743272781372, 0.13203048706054688],
    2**32 - 1: [0.9937993884086609, 0.5713063478469849, 0.5700080394744873, 0.04950374364852905],
}
# torch.manual_seed(0); torch.randn(20): two blocks of 16. The second lies over the last 12 of the
# first.
NORMAL = [
    *[-1.12584, -1.15236, -0.250579, -0.433879, 0.598839, -1.555095, -0.34136, 1.853006],
    *[0.468096, -0.157712, 1.44366, 0.266049, 1.389366, 1.586334, 0.946298, -0.843677],
    *[0.931827, 1.259009, 2.004981, 0.053737],
]
# torch.manual_seed(3); Linear(2, 2), GroupNorm(1, 2), Conv2d(1, 1, 2)
LAYERS = {
    "linear.weight": [
        [-0.7010772228240967, -0.5578091740608215],
        [-0.3028644621372223, -0.6689868569374084],
    ],
    "linear.bias": [-0.04014335572719574, -0.6220895051956177],
    "norm.weight": [1.0, 1.0],
    "norm.bias": [0.0, 0.0],
    "conv.weight": [
        [
            [
                [0.2718658447265625, 0.24369937181472778],
                [0.09442120790481567, 0.387856662273407],
            ]
        ]
    ],
    "conv.bias": [-0.04896867275238037],
}


@pytest.mark.parametrize("seed", UNIFORM)
def test_uniform_numbers_to_the_bit(seed):
    found = Generator(seed).uniform((2, 2))
    assert found.dtype == np.float32 and found.shape == (2, 2)
    assert found.ravel().tolist() == UNIFORM[seed]


def test_normal_numbers_with_a_last_block_that_is_drawn_again():
    found = Generator(0).normal((4, 5))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.ravel(), NORMAL, atol=1e-6)


def test_draws_go_on_where_the_last_one_ended():
    generator = Generator(0)
    first = generator.uniform((1,)), generator.uniform((3,))
    assert np.concatenate(first).tolist() == UNIFORM[0]


def test_the_initial_weights_of_layers():
    shapes = {name: np.shape(value) for name, value in LAYERS.items()}
    weights = initial_weights(Generator(3), shapes)
    assert list(weights) == list(LAYERS)
    for name, value in LAYERS.items():
        np.testing.assert_allclose(weights[name], value, rtol=2e-7, atol=3e-8, err_msg=name)


def test_errors():
    with pytest.raises(ValueError, match="seed: expected .* got -1"):
        Generator(-1)
    with pytest.raises(ValueError, match=r"shape: .* fewer than 16 .* got \(3, 5\)"):
        Generator(0).normal((3, 5))
