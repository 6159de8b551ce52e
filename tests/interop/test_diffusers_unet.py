"""A network of diffusers as one of ours: its outputs and gradients as PyTorch computed them, and every way in which it may not fit."""
import dataclasses
import json
import re

import numpy as np
import pytest
from frozen_networks import CONFIGS, T_ZERO_BASED, batch, direction, load, weights
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from tinyddpm import fast
from tinyddpm.interop import diffusers_unet
from tinyddpm.interop.diffusers_config import DiffusersConfig, from_options, to_options
from tinyddpm.interop.diffusers_unet import CONFIG, WEIGHTS, DiffusersUNet, converted, fill, from_config, read, tensors, write
from tinyddpm.nn import UNet, UNetConfig
from tinyddpm.nn.multipliers import ONES, Multipliers

T = np.array(T_ZERO_BASED) + 1
CIFAR = {  # config.json of google/ddpm-cifar10-32
    "_class_name": "UNet2DModel", "_diffusers_version": "0.0.4", "act_fn": "silu", "attention_head_dim": None, "block_out_channels": [128, 256, 256, 256],
    "center_input_sample": False, "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"], "downsample_padding": 0,
    "flip_sin_to_cos": False, "freq_shift": 1, "in_channels": 3, "layers_per_block": 2, "mid_block_scale_factor": 1, "norm_eps": 1e-06,
    "norm_num_groups": 32, "out_channels": 3, "sample_size": 32, "time_embedding_type": "positional",
    "up_block_types": ["UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"]}


def bound(unet, dtype=np.float64):
    return unet.bind(np.zeros(unet.theta_size(), dtype), np.zeros(unet.theta_size(), dtype))


def frozen(case, dtype=np.float64):
    """The network of a case, with its weights."""
    unet = bound(from_config(CONFIGS[case]), dtype)
    fill(unet, {name: w.astype(dtype) for name, w in weights(shapes(unet)).items()})
    return unet


def shapes(unet):
    return {name: view.shape for name, (_, view) in tensors(unet).items()}


def folder_of(path, case="plain", rename=lambda name: name, options=None, **changes):
    """A folder as diffusers writes it, of float32, whose tensors may be renamed, replaced or (None) left out."""
    path.mkdir()
    options = options or CONFIGS[case]
    values = {rename(n): w.astype(np.float32) for n, w in weights(shapes(bound(from_config(CONFIGS[case])))).items()} | changes
    save_file({n: w for n, w in values.items() if w is not None}, path / WEIGHTS)
    (path / CONFIG).write_text(json.dumps(options))
    return path


def relative(found, expected):
    return abs(found - expected).max() / abs(expected).max()


# ---- what PyTorch computed -----------------------------------------------------------------------


@pytest.mark.parametrize("case", CONFIGS)
def test_the_output(case):
    expected = np.array(load()[case]["output"])
    x, _ = batch(CONFIGS[case])
    assert relative(frozen(case).denoise(x, T), expected) < 1e-6  # PyTorch's sines and cosines were float32
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
        if name.endswith("to_k.bias"):  # adds the same to a whole row before the softmax, which ignores it
            assert size < 1e-9 and abs(expected[name]) < 1e-9
        else:
            assert expected[name] != 0 and abs(slope - expected[name]) < 1e-5 * size, name


def test_dropout_is_drawn_in_training_only():
    unet, (x, _) = frozen("attention"), batch(CONFIGS["attention"])
    assert unet.config.dropout == 0.1
    dropped = unet(x, T, lambda shape: np.random.default_rng(0).random((len(x), *shape))).data
    assert relative(dropped, unet.denoise(x, T)) > 0.01


# ---- the published architecture ------------------------------------------------------------------


def test_the_network_of_ho_et_al_has_its_328_tensors():
    unet = from_config(CIFAR)
    found = shapes(unet.bind(np.zeros(unet.theta_size(), np.float32)))
    assert len(found) == 328 and sum(np.prod(s) for s in found.values()) == 35_746_307
    assert found["conv_in.weight"] == (128, 3, 3, 3) and found["time_embedding.linear_1.weight"] == (512, 128)
    assert found["up_blocks.3.resnets.0.conv1.weight"] == (128, 384, 3, 3) and found["up_blocks.0.upsamplers.0.conv.bias"] == (256,)
    attention = {name.split(".to_q")[0] for name in found if ".to_q" in name}
    assert attention == {*(f"down_blocks.1.attentions.{i}" for i in range(2)), "mid_block.attentions.0", *(f"up_blocks.2.attentions.{i}" for i in range(3))}
    shortcuts = {name.split(".conv_shortcut")[0] for name in found if ".conv_shortcut" in name}
    assert shortcuts == {"down_blocks.1.resnets.0", *(f"up_blocks.{level}.resnets.{i}" for level in range(4) for i in range(3))}
    heads = {layer.heads for layer in (unet.middle2, *(s.attention for s in unet.down + unet.up if getattr(s, "attention", None)))}
    assert heads == {1}


def test_the_waves_by_hand():
    """base 8: four frequencies. Our t = 1 is their 0."""
    def waves(**changes):
        unet = bound(from_config(CONFIGS["attention"] | changes))
        return unet.time.waves(np.array([1, 11]))

    shifted = 10 * 1e4 ** (-np.arange(4) / 3)
    np.testing.assert_allclose(waves()[0], [0, 0, 0, 0, 1, 1, 1, 1])
    np.testing.assert_allclose(waves()[1], [*np.sin(shifted), *np.cos(shifted)], rtol=1e-12)
    plain = 10 * 1e4 ** (-np.arange(4) / 4)
    np.testing.assert_allclose(waves(flip_sin_to_cos=True, freq_shift=0)[1], [*np.cos(plain), *np.sin(plain)], rtol=1e-12)


def test_heads_have_the_same_width_at_every_level():
    unet = from_config(CONFIGS["attention"])
    assert {(s.attention.q.bias.initial_shape[0], s.attention.heads) for s in unet.down + unet.up if hasattr(s, "attention")} == {(8, 2), (16, 4)}


# ---- files ---------------------------------------------------------------------------------------

OLD = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def old(name):
    for new, before in OLD.items():
        name = name.replace(f".{new}.", f".{before}.")
    return name


@pytest.mark.parametrize("rename", [lambda name: name, old], ids=["names of today", "old names"])
def test_reading_a_folder(tmp_path, rename):
    unet = read(folder_of(tmp_path / "model", "attention", rename))
    assert unet.theta.dtype == np.float32 and unet.grad is None
    assert unet.config.eps == 1e-3 and unet.first.weight.dtype == np.float32
    np.testing.assert_array_equal(unet.theta, frozen("attention", np.float32).theta)
    if rename is old:
        assert any(".proj_attn." in name for name in load_file(tmp_path / "model" / WEIGHTS))


def test_reading_the_folder_of_a_pipeline(tmp_path):
    (tmp_path / "pipeline").mkdir()
    folder_of(tmp_path / "pipeline/unet")
    np.testing.assert_array_equal(read(tmp_path / "pipeline").theta, frozen("plain", np.float32).theta)


def test_half_precision_is_read_as_float32(tmp_path):
    half = weights(shapes(frozen("plain")))["conv_in.weight"].astype(np.float16)
    unet = read(folder_of(tmp_path / "model", **{"conv_in.weight": half}))
    assert unet.theta.dtype == np.float32
    np.testing.assert_array_equal(tensors(unet)["conv_in.weight"][1], half.astype(np.float32))


@pytest.mark.parametrize("case", CONFIGS)
def test_what_is_written_is_what_was_read(tmp_path, case):
    unet = frozen(case, np.float32)
    write(unet, tmp_path / "out")
    again = read(tmp_path / "out")
    np.testing.assert_array_equal(again.theta, unet.theta)
    assert again.config == unet.config
    written = load_file(tmp_path / "out" / WEIGHTS)
    assert all((written[n] == w.astype(np.float32)).all() for n, w in weights(shapes(unet)).items())
    assert {n: v for n, v in json.loads((tmp_path / "out" / CONFIG).read_text()).items() if n in CONFIGS[case]} == CONFIGS[case]


def test_multipliers_are_folded_into_what_is_written(tmp_path):
    unet = DiffusersUNet(from_options(CONFIGS["plain"]), Multipliers()).initialise(0)
    unet.theta += 0.02 * np.random.default_rng(0).standard_normal(unet.theta.shape).astype(np.float32)
    write(unet, tmp_path)
    again, (x, _) = read(tmp_path), batch(CONFIGS["plain"])
    x = x.astype(np.float32)
    assert again.c == ONES and relative(again.denoise(x, T), unet.denoise(x, T)) < 1e-5

    twin = DiffusersUNet(unet.config, Multipliers())  # and divided out again on the way in
    fill(twin.bind(np.zeros_like(unet.theta)), load_file(tmp_path / WEIGHTS))
    for name, value in unet.state().items():
        np.testing.assert_allclose(twin.state()[name], value, rtol=1e-6, err_msg=name)


@given(channels=st.integers(1, 3), side=st.sampled_from([(8, 8), (16, 8), (8, 16)]), base=st.sampled_from([4, 8]), levels=st.sampled_from([(1,), (1, 2), (2, 1, 3)]),
       blocks=st.integers(1, 3), attention=st.sets(st.sampled_from([8, 4, 2])), middle=st.booleans(), eps=st.floats(1e-8, 1e-2), shift=st.integers(0, 1),
       cosine_first=st.booleans(), pad=st.booleans(), head_channels=st.sampled_from([None, 2, 4]))
def test_options_and_config_say_the_same(channels, side, base, levels, blocks, attention, middle, eps, shift, cosine_first, pad, head_channels):
    here = {8 // 2**i for i in range(len(levels))}
    config = DiffusersConfig(image=(channels, *side), base=base, levels=(1, *levels[1:]), blocks=blocks, attention=tuple(sorted(attention & here, reverse=True)),
                             middle_attention=middle, groups=2, eps=eps, frequency_shift=shift, cosine_first=cosine_first, pad_end_only=pad, head_channels=head_channels)
    options = json.loads(json.dumps(to_options(config)))
    assert from_options(options) == config
    assert to_options(from_options(options)) == to_options(config)


def test_a_config_survives_the_way_to_a_worker_process():
    config = from_options(CONFIGS["attention"])
    values = json.loads(json.dumps(dataclasses.asdict(config)))
    assert DiffusersConfig(**{n: tuple(v) if isinstance(v, list) else v for n, v in values.items()}) == config


# ---- our own networks ----------------------------------------------------------------------------


@pytest.mark.parametrize("config", [
    UNetConfig(), UNetConfig(image=(3, 16, 8), base=16, levels=(1, 2, 2), attention=(4,), heads=4),
    UNetConfig(base=8, levels=(1, 1), attention=(), middle_attention=False, groups=4, blocks=1)], ids=["default", "three levels", "no attention"])
def test_our_own_network_is_written_as_the_same_function(tmp_path, config):
    """Multipliers folded in, and the time embedding turned, for it will be told t − 1."""
    unet, rng = UNet(config).initialise(0, np.float64), np.random.default_rng(0)
    unet.theta += 0.05 * rng.standard_normal(unet.theta.shape)
    write(unet, tmp_path)
    again, x = read(tmp_path, np.float64), rng.standard_normal((4, *config.image))
    assert relative(again.denoise(x, T), unet.denoise(x, T)) < 1e-11
    assert (again.config.eps, again.config.cosine_first, again.config.pad_end_only) == (1e-5, False, False)


@pytest.mark.parametrize("config, problem", [
    (UNetConfig(time_conditioning=False), "time_conditioning"),
    (UNetConfig(heads=2, attention=(8, 4)), r"heads: 2 heads .* here \[8, 16\]"),
])
def test_what_of_ours_has_no_equivalent(config, problem):
    with pytest.raises(ValueError, match=problem):
        converted(UNet(config).initialise(0))


def test_a_variant_of_our_network_is_refused_by_name():
    class Variant(UNet):
        pass

    with pytest.raises(ValueError, match="a Variant has no equivalent"):
        converted(Variant().initialise(0))


# ---- what does not fit ---------------------------------------------------------------------------

OTHER = {
    "sample_size": None, "in_channels": 0, "out_channels": 2, "center_input_sample": True, "time_embedding_type": "fourier", "time_embedding_dim": 64,
    "freq_shift": 2, "flip_sin_to_cos": 1, "down_block_types": ["DownBlock2D", "SkipDownBlock2D", "DownBlock2D"], "mid_block_type": None,
    "up_block_types": ["UpBlock2D", "AttnUpBlock2D", "UpBlock2D"], "block_out_channels": [4, 6, 8], "layers_per_block": 1.5, "mid_block_scale_factor": 2,
    "downsample_padding": 2, "downsample_type": "resnet", "upsample_type": "resnet", "dropout": "0.1", "act_fn": "gelu", "attention_head_dim": 3,
    "norm_num_groups": 3, "attn_norm_num_groups": 1, "norm_eps": 0, "resnet_time_scale_shift": "scale_shift", "add_attention": None, "class_embed_type": "timestep",
    "num_class_embeds": 10, "num_train_timesteps": -1, "_class_name": "UNet2DConditionModel", "cross_attention_dim": 8,
}


@pytest.mark.parametrize("name", OTHER)
def test_an_option_that_cannot_be_expressed_is_named(name):
    options = CONFIGS["plain"] | {"add_attention": True, "attention_head_dim": None}
    from_options(options)
    with pytest.raises(ValueError, match=f"^{name}: .*(got|known here|does not divide)"):
        from_options(options | {name: OTHER[name]})


def test_every_option_is_checked():
    from tinyddpm.interop.diffusers_config import OPTIONS
    assert OTHER.keys() - {"_class_name", "cross_attention_dim"} == OPTIONS.keys()


def test_the_type_of_block_is_named():
    with pytest.raises(ValueError, match="down_block_types: expected DownBlock2D or AttnDownBlock2D, got 'SkipDownBlock2D'"):
        from_options(CONFIGS["plain"] | {"down_block_types": OTHER["down_block_types"]})
    with pytest.raises(ValueError, match="up_block_types: expected 3 of them"):
        from_options(CONFIGS["plain"] | {"up_block_types": ["UpBlock2D"]})


def test_missing_heads_are_not_guessed():
    """The first published files lack the option and mean one head; diffusers would now take heads of 8 channels."""
    early = {name: value for name, value in CIFAR.items() if name != "attention_head_dim"}
    with pytest.raises(ValueError, match="attention_head_dim: it is missing"):
        from_options(early)
    same_either_way = {n: v for n, v in CONFIGS["plain"].items()} | {"add_attention": True}  # 8 channels: one head of 8
    assert from_options(same_either_way).head_channels == 8


@pytest.mark.parametrize("changes, problem", [
    ({"conv_in.weight": None}, "conv_in.weight is missing"),
    ({"extra.weight": np.zeros(2, np.float32)}, "extra.weight is not of this network"),
    ({"conv_out.bias": np.zeros(3, np.float32)}, r"conv_out.bias has shape \(3,\), expected \(1,\)"),
    ({"conv_in.weight": np.zeros((3, 3, 1, 4), np.float32)}, r"conv_in.weight has shape \(3, 3, 1, 4\), expected \(4, 1, 3, 3\)"),
    ({"conv_out.bias": np.zeros(1, np.int64)}, "conv_out.bias has dtype int64"),
    ({f"conv_{i}.weight": np.zeros(2, np.float32) for i in range(5)}, "and 2 more"),
])
def test_tensors_that_do_not_fit_are_named(tmp_path, changes, problem):
    path = folder_of(tmp_path / "model", **changes)
    with pytest.raises(ValueError, match=f"^{re.escape(str(path / WEIGHTS))}: .*{problem}"):
        read(path)


def test_a_tensor_under_both_its_names(tmp_path):
    path = folder_of(tmp_path / "model", "attention", **{"mid_block.attentions.0.query.weight": np.zeros((16, 16), np.float32)})
    with pytest.raises(ValueError, match="mid_block.attentions.0.*new name, mid_block.attentions.0.to_q.weight"):
        read(path)


def test_files_that_are_not_there_or_not_whole(tmp_path):
    with pytest.raises(ValueError, match="config.json: cannot be read"):
        read(tmp_path)
    path = folder_of(tmp_path / "model")
    whole = (path / WEIGHTS).read_bytes()
    (path / WEIGHTS).write_bytes(whole[:-1])
    with pytest.raises(ValueError, match=WEIGHTS):
        read(path)
    (path / WEIGHTS).unlink()
    with pytest.raises(ValueError, match="there is no such file"):
        read(path)
    (path / "diffusion_pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ValueError, match=r"\.bin is a pickle, which may run code, and is not read"):
        read(path)
    for text, problem in (("{", "not a JSON file"), ("[]", "expected an object of options, got list"), ('{"dropout": "x"}', "sample_size|dropout")):
        (path / CONFIG).write_text(text)
        (path / WEIGHTS).write_bytes(whole)
        with pytest.raises(ValueError, match=f"^{re.escape(str(path / CONFIG))}: .*({problem})"):
            read(path)


def test_the_name_map_is_one_to_one():
    """Every parameter of ours is exactly one tensor of theirs."""
    unet = bound(from_config(CONFIGS["attention"]))
    unet.theta[...] = np.arange(len(unet.theta))
    seen = np.concatenate([view.ravel() for _, view in diffusers_unet.tensors(unet).values()])
    own = np.concatenate([p.data.ravel() for p in unet.parameters().values()])
    assert len(seen) == len(np.unique(seen)) and set(seen) == set(own)
