"""A network of diffusers as one of ours, with the outputs and gradients of PyTorch; and back."""

import numpy as np
import pytest
from diffusers_folders import CIFAR, T, bound, frozen, relative, shapes
from frozen_networks import CONFIGS, batch, direction, load
from safetensors.numpy import load_file

from tinyddpm import fast
from tinyddpm.interop.diffusers_config import from_options
from tinyddpm.interop.diffusers_tensors import fill, tensors
from tinyddpm.interop.diffusers_unet import (
    WEIGHTS,
    DiffusersUNet,
    converted,
    from_config,
    read,
    write,
)
from tinyddpm.nn import UNet, UNetConfig
from tinyddpm.nn.multipliers import ONES, Multipliers

# ---- what PyTorch computed -----------------------------------------------------------------------


@pytest.mark.parametrize("case", CONFIGS)
def test_the_output(case):
    expected = np.array(load()[case]["output"])
    x, _ = batch(CONFIGS[case])
    # PyTorch's sines and cosines were float32.
    assert relative(frozen(case).denoise(x, T), expected) < 1e-6
    single = frozen(case, np.float32).denoise(x.astype(np.float32), T)
    assert single.dtype == np.float32 and relative(single, expected) < 1e-5


@pytest.mark.parametrize("case", CONFIGS)
def test_the_output_with_the_faster_equivalents(case):
    x, _ = batch(CONFIGS[case])
    fast.enable()
    try:
        found = frozen(case, np.float32).denoise(x.astype(np.float32), T)
    finally:
        fast.disable()
    assert relative(found, np.array(load()[case]["output"])) < 1e-5


@pytest.mark.parametrize("case", CONFIGS)
def test_the_gradient_of_every_parameter(case):
    unet, (x, target) = frozen(case), batch(CONFIGS[case])
    difference = unet(x, T) - target
    (difference * difference).sum().backward()
    unet.bind(unet.grad)  # a tensor's view is now one of the gradient
    expected = load()[case]["slopes"]
    found = {name: view for name, (_, view) in tensors(unet).items()}
    assert found.keys() == expected.keys()
    for name, g in found.items():
        slope, size = (g * direction(name, g.shape)).sum(), np.linalg.norm(g)
        if name.endswith("to_k.bias"):
            # It adds the same to a whole row before the softmax, which ignores it.
            assert size < 1e-9 and abs(expected[name]) < 1e-9
        else:
            assert expected[name] != 0 and abs(slope - expected[name]) < 1e-5 * size, name


def test_dropout_is_drawn_in_training_only():
    unet, (x, _) = frozen("attention"), batch(CONFIGS["attention"])
    assert unet.config.dropout == 0.1
    dropped = unet(x, T, lambda shape: np.random.default_rng(0).random((len(x), *shape))).data
    assert relative(dropped, unet.denoise(x, T)) > 0.01


# ---- the published architecture ------------------------------------------------------------------


def layers_with(name, found):
    return {tensor.split(f".{name}")[0] for tensor in found if f".{name}" in tensor}


def test_the_network_of_ho_et_al_has_its_328_tensors():
    unet = from_config(CIFAR)
    found = shapes(unet.bind(np.zeros(unet.theta_size(), np.float32)))
    assert len(found) == 328 and sum(np.prod(s) for s in found.values()) == 35_746_307
    assert found["conv_in.weight"] == (128, 3, 3, 3)
    assert found["time_embedding.linear_1.weight"] == (512, 128)
    assert found["up_blocks.3.resnets.0.conv1.weight"] == (128, 384, 3, 3)
    assert found["up_blocks.0.upsamplers.0.conv.bias"] == (256,)
    assert layers_with("to_q", found) == {
        *(f"down_blocks.1.attentions.{i}" for i in range(2)),
        "mid_block.attentions.0",
        *(f"up_blocks.2.attentions.{i}" for i in range(3)),
    }
    assert layers_with("conv_shortcut", found) == {
        "down_blocks.1.resnets.0",
        *(f"up_blocks.{level}.resnets.{i}" for level in range(4) for i in range(3)),
    }
    attentions = [getattr(stage, "attention", None) for stage in unet.down + unet.up]
    assert {layer.heads for layer in (unet.middle2, *attentions) if layer} == {1}


def test_the_waves_by_hand():
    """base 8: four frequencies. Our t = 1 is their 0."""

    def waves(**changes):
        unet = bound(from_config(CONFIGS["attention"] | changes))
        return unet.time.waves(np.array([1, 11]))

    shifted = 10 * 1e4 ** (-np.arange(4) / 3)
    np.testing.assert_allclose(waves()[0], [0, 0, 0, 0, 1, 1, 1, 1])
    np.testing.assert_allclose(waves()[1], [*np.sin(shifted), *np.cos(shifted)], rtol=1e-12)
    plain = 10 * 1e4 ** (-np.arange(4) / 4)
    found = waves(flip_sin_to_cos=True, freq_shift=0)[1]
    np.testing.assert_allclose(found, [*np.cos(plain), *np.sin(plain)], rtol=1e-12)


def test_heads_have_the_same_width_at_every_level():
    unet = from_config(CONFIGS["attention"])
    attentions = [stage.attention for stage in unet.down + unet.up if hasattr(stage, "attention")]
    widths = {(layer.q.bias.initial_shape[0], layer.heads) for layer in attentions}
    assert widths == {(8, 2), (16, 4)}


def test_the_name_map_is_one_to_one():
    """Every parameter of ours is exactly one tensor of theirs."""
    unet = bound(from_config(CONFIGS["attention"]))
    unet.theta[...] = np.arange(len(unet.theta))
    seen = np.concatenate([view.ravel() for _, view in tensors(unet).values()])
    own = np.concatenate([p.data.ravel() for p in unet.parameters().values()])
    assert len(seen) == len(np.unique(seen)) and set(seen) == set(own)


# ---- our own networks ----------------------------------------------------------------------------


def test_multipliers_are_folded_into_what_is_written(tmp_path):
    unet = DiffusersUNet(from_options(CONFIGS["plain"]), Multipliers()).initialise(0)
    draws = np.random.default_rng(0).standard_normal(unet.theta.shape)
    unet.theta += 0.02 * draws.astype(np.float32)
    write(unet, tmp_path)
    again, (x, _) = read(tmp_path), batch(CONFIGS["plain"])
    x = x.astype(np.float32)
    assert again.c == ONES and relative(again.denoise(x, T), unet.denoise(x, T)) < 1e-5

    # On the way in they are divided out again.
    twin = DiffusersUNet(unet.config, Multipliers())
    fill(twin.bind(np.zeros_like(unet.theta)), load_file(tmp_path / WEIGHTS))
    for name, value in unet.state().items():
        np.testing.assert_allclose(twin.state()[name], value, rtol=1e-6, err_msg=name)


OURS = {
    "default": UNetConfig(),
    "three levels": UNetConfig(
        image=(3, 16, 8), base=16, levels=(1, 2, 2), attention=(4,), heads=4
    ),
    "no attention": UNetConfig(
        base=8, levels=(1, 1), attention=(), middle_attention=False, groups=4, blocks=1
    ),
}


@pytest.mark.parametrize("config", OURS.values(), ids=OURS)
def test_our_own_network_is_written_as_the_same_function(tmp_path, config):
    """Multipliers are folded in, and the time embedding is rotated, for it will see t − 1."""
    unet, rng = UNet(config).initialise(0, np.float64), np.random.default_rng(0)
    unet.theta += 0.05 * rng.standard_normal(unet.theta.shape)
    write(unet, tmp_path)
    again, x = read(tmp_path, np.float64), rng.standard_normal((4, *config.image))
    assert relative(again.denoise(x, T), unet.denoise(x, T)) < 1e-11
    found = again.config
    assert (found.eps, found.cosine_first, found.pad_end_only) == (1e-5, False, False)


NO_EQUIVALENT = [
    (UNetConfig(time_conditioning=False), "time_conditioning"),
    (UNetConfig(heads=2, attention=(8, 4)), r"heads: 2 heads .* here \[8, 16\]"),
]


@pytest.mark.parametrize("config, problem", NO_EQUIVALENT)
def test_a_network_of_ours_without_an_equivalent_is_refused(config, problem):
    with pytest.raises(ValueError, match=problem):
        converted(UNet(config).initialise(0))


def test_a_variant_of_our_network_is_refused_by_name():
    class Variant(UNet):
        pass

    with pytest.raises(ValueError, match="no equivalent of a Variant"):
        converted(Variant().initialise(0))
