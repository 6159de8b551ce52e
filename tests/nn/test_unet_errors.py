"""What a U-Net says to a bad config and to a bad call; and it never writes into its input."""

from dataclasses import replace

import numpy as np
import pytest
from oracles import SMALL, batch, new, shaken

from autograd import Tensor
from tinyddpm.nn import UNet

BAD_CONFIGS = [
    ({"base": 0}, "base: expected at least 1, got 0"),
    ({"base": 5}, "base: expected an even number.*got 5"),
    ({"blocks": 0}, "blocks: expected at least 1, got 0"),
    ({"heads": 0}, "heads: expected at least 1, got 0"),
    ({"heads": 3}, "heads: expected a divisor of .* channels, got 3"),
    ({"groups": 0}, "groups: expected at least 1, got 0"),
    ({"groups": 3}, "groups: expected a divisor of 4 channels, got 3"),
    ({"image": (1, 4)}, r"image: expected channels, height and width, got \(1, 4\)"),
    ({"image": (0, 4, 4)}, r"image: expected channels, height and width, got \(0, 4, 4\)"),
    ({"image": (1, 5, 4)}, r"image: .* divisible by 2, for 2 levels, got \(1, 5, 4\)"),
    ({"image": (1, 4, 6), "levels": (1, 1, 1)}, "image: .* divisible by 4, for 3 levels"),
    ({"levels": ()}, r"levels: expected multiples of base.*got \(\)"),
    ({"levels": (1, 0)}, r"levels: expected multiples of base.*got \(1, 0\)"),
    ({"dropout": 1.0}, "dropout: expected a fraction from 0 to below 1, got 1.0"),
    ({"dropout": -0.1}, "dropout: expected a fraction from 0 to below 1, got -0.1"),
]


@pytest.mark.parametrize("changes, message", BAD_CONFIGS)
def test_a_bad_config_is_named(changes, message):
    with pytest.raises(ValueError, match=message):
        UNet(replace(SMALL, **changes))


IMAGES = r"xt: expected images \(N, 1, 4, 6\) of floats"
TIMESTEPS = "t: expected one timestep for each of 2 images"
BAD_CALLS = [
    ((2, 1, 6, 4), (2,), IMAGES + r", got float64 of shape \(2, 1, 6, 4\)"),
    ((2, 3, 4, 6), (2,), "xt: expected images"),
    ((1, 4, 6), (1,), "xt: expected images"),
    ((2, 1, 4, 6), (3,), TIMESTEPS + r", got int64 of shape \(3,\)"),
    ((2, 1, 4, 6), (), TIMESTEPS + r", got int64 of shape \(\)"),
]


@pytest.mark.parametrize("shape, t, message", BAD_CALLS)
def test_a_bad_call_is_named(shape, t, message):
    with pytest.raises(ValueError, match=message):
        new()(np.zeros(shape), np.ones(t, int))


def test_the_input_is_not_written_to():
    unet = shaken()
    xt, t = batch(unet)
    before = xt.tobytes(), t.tobytes()
    y = unet(Tensor(xt), t)
    y.backward(np.ones_like(y.data))
    assert (xt.tobytes(), t.tobytes()) == before
