"""The options of a UNet2DModel and its config say the same; what we cannot express is named."""

import dataclasses
import json

import pytest
from diffusers_folders import CIFAR
from frozen_networks import CONFIGS
from hypothesis import given, strategies as st

from tinyddpm.interop.diffusers_config import OPTIONS, DiffusersConfig, from_options, to_options

LEVELS = st.sampled_from([(1,), (1, 2), (1, 1, 3)])


@st.composite
def configs(draw):
    levels = draw(LEVELS)
    resolutions = [8 // 2**level for level in range(len(levels))]
    attentive = draw(st.sets(st.sampled_from(resolutions)))
    return DiffusersConfig(
        image=(draw(st.integers(1, 3)), *draw(st.sampled_from([(8, 8), (16, 8), (8, 16)]))),
        base=draw(st.sampled_from([4, 8])),
        levels=levels,
        blocks=draw(st.integers(1, 3)),
        attention=tuple(sorted(attentive, reverse=True)),
        middle_attention=draw(st.booleans()),
        groups=2,
        eps=draw(st.floats(1e-8, 1e-2)),
        frequency_shift=draw(st.integers(0, 1)),
        cosine_first=draw(st.booleans()),
        pad_end_only=draw(st.booleans()),
        head_channels=draw(st.sampled_from([None, 2, 4])),
    )


@given(configs())
def test_options_and_config_say_the_same(config):
    options = json.loads(json.dumps(to_options(config)))
    assert from_options(options) == config
    assert to_options(from_options(options)) == to_options(config)


def test_a_config_survives_the_way_to_a_worker_process():
    config = from_options(CONFIGS["attention"])
    values = json.loads(json.dumps(dataclasses.asdict(config)))
    tuples = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
    assert DiffusersConfig(**tuples) == config


# ---- what we cannot express ----------------------------------------------------------------------

OTHER = {
    "sample_size": None,
    "in_channels": 0,
    "out_channels": 5,
    "center_input_sample": True,
    "time_embedding_type": "fourier",
    "time_embedding_dim": 64,
    "freq_shift": 2,
    "flip_sin_to_cos": 1,
    "down_block_types": ["DownBlock2D", "SkipDownBlock2D", "DownBlock2D"],
    "mid_block_type": None,
    "up_block_types": ["UpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
    "block_out_channels": [4, 6, 8],
    "layers_per_block": 1.5,
    "mid_block_scale_factor": 2,
    "downsample_padding": 2,
    "downsample_type": "resnet",
    "upsample_type": "resnet",
    "dropout": "0.1",
    "act_fn": "gelu",
    "attention_head_dim": 3,
    "norm_num_groups": 3,
    "attn_norm_num_groups": 1,
    "norm_eps": 0,
    "resnet_time_scale_shift": "scale_shift",
    "add_attention": None,
    "class_embed_type": "timestep",
    "num_class_embeds": 10,
    "num_train_timesteps": -1,
    "_class_name": "UNet2DConditionModel",
    "cross_attention_dim": 8,
}


@pytest.mark.parametrize("name", OTHER)
def test_an_option_that_cannot_be_expressed_is_named(name):
    options = CONFIGS["plain"] | {"add_attention": True, "attention_head_dim": None}
    from_options(options)
    with pytest.raises(ValueError, match=f"^{name}: .*(got|known here|does not divide)"):
        from_options(options | {name: OTHER[name]})


def test_every_option_is_checked():
    assert OTHER.keys() - {"_class_name", "cross_attention_dim"} == OPTIONS.keys()


BAD_BLOCKS = [
    (
        {"down_block_types": OTHER["down_block_types"]},
        "down_block_types: expected DownBlock2D or AttnDownBlock2D, got 'SkipDownBlock2D'",
    ),
    ({"up_block_types": ["UpBlock2D"]}, "up_block_types: expected 3 of them"),
]


@pytest.mark.parametrize("changes, problem", BAD_BLOCKS)
def test_the_type_of_block_is_named(changes, problem):
    with pytest.raises(ValueError, match=problem):
        from_options(CONFIGS["plain"] | changes)


def test_missing_heads_are_not_guessed():
    """The first published files lack the option and mean one head.

    diffusers would now take heads of 8 channels.
    """
    early = {name: value for name, value in CIFAR.items() if name != "attention_head_dim"}
    with pytest.raises(ValueError, match="attention_head_dim: this option is missing"):
        from_options(early)
    # With 8 channels both mean the same: one head of 8.
    same_either_way = CONFIGS["plain"] | {"add_attention": True}
    assert from_options(same_either_way).head_channels == 8
