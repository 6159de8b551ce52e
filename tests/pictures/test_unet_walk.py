"""The walk through the U-Net: it shows what a training step computes, and leaves no trace."""

from dataclasses import replace

import numpy as np
import pytest
from picture_files import only
from PIL import Image

from tinyddpm import noise, schedule
from tinyddpm.nn import UNet, UNetConfig
from tinyddpm.nn.attention import SelfAttention
from tinyddpm.nn.block import Upsample
from tinyddpm.nn.conv import Conv2d
from tinyddpm.pictures import overhearing
from tinyddpm.pictures.overhearing import top_layers
from tinyddpm.pictures.unet_walk import unet_walk
from tinyddpm.train import gradient

S = schedule.linear(20)
TINY = UNetConfig(image=(1, 4, 8), base=4, levels=(1, 2), blocks=1, attention=(2,), groups=2)
LARGER = UNetConfig(image=(3, 8, 8), base=4, levels=(1, 1, 2), blocks=2, attention=(), groups=2)
ONE_LEVEL = UNetConfig(image=(1, 4, 4), base=4, levels=(1,), blocks=1, attention=(), groups=2)
CONFIGS = [
    TINY,
    replace(LARGER, time_conditioning=False),
    replace(ONE_LEVEL, middle_attention=False),
]


def perturbed(config):
    unet = UNet(config).initialise(0)
    for name, p in unet.parameters().items():
        p.data += 0.05 * noise.normal(0, f"perturbation of {name}", 0, [0], p.shape)[0]
    return unet


def batch(config, n=2):
    x0 = noise.uniform(0, "x0", 0, range(n), config.image) * 2 - 1
    eps = noise.normal(0, "eps", 0, range(n), config.image)
    return x0, np.arange(1, n + 1), eps


@pytest.mark.parametrize("config", CONFIGS)
def test_the_walk_shows_shapes_and_gradients_and_leaves_the_net_as_it_was(tmp_path, config):
    unet, (x0, t, eps) = perturbed(config), batch(config)
    unet.grad[...] = 7
    theta, grad = unet.theta.copy(), unet.grad.copy()
    unet_walk(tmp_path / "walk.png", unet, S, x0, t, eps)
    with Image.open(only(tmp_path / "walk.png")) as picture:
        assert picture.width > 900
    np.testing.assert_array_equal(unet.theta, theta)
    np.testing.assert_array_equal(unet.grad, grad)
    assert not any("forward" in vars(layer) for layer in top_layers(unet).values())
    unet.grad[...] = 0
    gradient(unet, S, x0, t, eps)  # it can still learn
    assert all(unet.grad[s].any() for s in unet.slices().values())


def test_what_is_overheard_is_true():
    unet, (x0, t, eps) = perturbed(TINY), batch(TINY)
    with overhearing.overheard(unet) as (outputs, gradients):
        J = overhearing.walk_gradient(unet, S, x0, t, eps)
    shapes = {name: (h.shape[3], *h.shape[:2]) for name, h in outputs.items()}
    norms = {name: overhearing.norm(g) for name, g in gradients.items()}
    assert all(gradients[name].shape == h.shape for name, h in outputs.items())
    down, middle, up = ([f"{part}{i}" for i in range(9)] for part in ("down.", "middle", "up."))
    assert list(shapes) == ["first", *down[:3], *middle[1:4], *up[:5], "last"]
    assert shapes["first"] == (4, 4, 8) and shapes["down.1"] == (4, 2, 4)
    assert shapes["middle2"] == (8, 2, 4)
    assert shapes["up.2"] == (8, 4, 8) and shapes["last"] == (1, 4, 8)
    assert all(norm > 0 for norm in norms.values()) and list(norms) == list(shapes)[::-1]
    x0_hat = outputs["last"].transpose(2, 3, 0, 1)
    assert J == pytest.approx(np.square(x0_hat - x0).mean(), rel=1e-5)
    assert norms["last"] == pytest.approx(np.linalg.norm(2 * (x0_hat - x0) / x0.size), rel=1e-5)
    unet.grad[...] = 0
    gradient(unet, S, x0, t, eps)
    # The gradient of first's bias is the sum of its output's gradient over all pixels.
    assert norms["first"] * np.sqrt(4 * 8 * 2) >= np.linalg.norm(unet.first.bias.grad) > 0


def test_a_layer_that_had_its_own_forward_gets_it_back(tmp_path):
    unet, (x0, t, eps) = perturbed(TINY), batch(TINY)
    own, calls = unet.first.forward, []
    unet.first.forward = lambda x: calls.append(1) or own(x)
    mine = unet.first.forward
    unet_walk(tmp_path / "walk.png", unet, S, x0, t, eps)
    assert unet.first.forward is mine and calls == [1]


def test_a_walk_that_fails_restores_everything(tmp_path, monkeypatch):
    unet, (x0, t, eps) = perturbed(TINY), batch(TINY)
    monkeypatch.setattr(type(unet.middle2), "forward", lambda self, x: 1 / 0)
    grad = unet.grad
    with pytest.raises(ZeroDivisionError):
        unet_walk(tmp_path / "walk.png", unet, S, x0, t, eps)
    assert not any("forward" in vars(layer) for layer in top_layers(unet).values())
    assert unet.grad is grad
    assert not list(tmp_path.iterdir())


def test_the_walk_of_a_new_net_and_of_one_without_gradient(tmp_path):
    unet, (x0, t, eps) = UNet(TINY).initialise(0), batch(TINY)
    unet_walk(tmp_path / "walk.png", unet, S, x0, t, eps)
    unet.bind(unet.theta)
    unet_walk(tmp_path / "walk.png", unet, S, x0, t, eps)
    assert unet.grad is None and only(tmp_path / "walk.png")


def test_the_kinds_are_true_of_a_network_built_of_other_layers():
    class Pooled(Conv2d):
        def __init__(self, channels):
            super().__init__(channels, channels, stride=2)

    class Doubled(Upsample):
        pass

    class Attended(SelfAttention):
        pass

    class Variant(UNet):
        Downsample, Upsample, SelfAttention = Pooled, Doubled, Attended

    kinds = overhearing.kinds_of(Variant(TINY))
    assert kinds == overhearing.kinds_of(UNet(TINY))
    assert kinds == {
        "first": "convolution",
        "down.0": "residual block",
        "down.1": "half the resolution",
        "down.2": "residual block + attention",
        "middle1": "residual block",
        "middle2": "attention",
        "middle3": "residual block",
        "up.0": "residual block + attention",
        "up.1": "residual block + attention",
        "up.2": "twice the resolution",
        "up.3": "residual block",
        "up.4": "residual block",
        "last": "convolution",
    }
