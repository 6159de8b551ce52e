"""The options of diffusers' UNet2DModel, as in its config.json, and the U-Net that they describe.

    config = from_options(json.load(open("config.json")))     # a DiffusersConfig
    to_options(config)                                        # the options again, every one of them

A missing option has diffusers' own default (version 0.42). Several of these are not what Ho et al.
2020 used. An unknown option, or one whose value we cannot express, is a ValueError that names it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..nn.unet import UNetConfig

KIND = "UNet2DModel"


@dataclass(frozen=True)
class DiffusersConfig(UNetConfig):
    """A UNetConfig, and the ways in which a UNet2DModel may differ from it.

    Attributes:
        eps: of GroupNorm.
        frequency_shift: 1 if the time embedding's lowest frequency is 1/10000.
        cosine_first: whether the time embedding is cos ‖ sin, and not sin ‖ cos.
        pad_end_only: whether halving the resolution pads zeros only below and to the right.
        head_channels: channels of each head of attention; None: one head has them all. It replaces
            `heads`, which is not used.
        learned_variance: whether it has twice as many output channels as input channels: what it
            predicts, and v (more/variance.py).
    """

    eps: float = 1e-5
    frequency_shift: int = 0
    cosine_first: bool = True
    pad_end_only: bool = False
    head_channels: int | None = None
    learned_variance: bool = False


# ---- what a value may be -------------------------------------------------------------------------


def is_whole(value: object) -> bool:
    """Whether it is an integer, at least 1."""
    return type(value) is int and value >= 1


def is_whole_or_none(value: object) -> bool:
    """Whether it is an integer, at least 1, or null."""
    return value is None or is_whole(value)


def is_flag(value: object) -> bool:
    """Whether it is true or false."""
    return type(value) is bool


def is_number(value: object) -> bool:
    """Whether it is an integer or a float."""
    return type(value) in (int, float)


def is_list_of_whole(value: object) -> bool:
    """Whether it is a list of integers, at least 1, and not empty."""
    return isinstance(value, (list, tuple)) and len(value) > 0 and all(map(is_whole, value))


def is_size(value: object) -> bool:
    """Whether it is a side, or [height, width]."""
    pair = isinstance(value, (list, tuple)) and len(value) == 2
    return is_whole(value) or (pair and is_list_of_whole(value))


def is_list_of_text(value: object) -> bool:
    """Whether it is a list of strings."""
    return isinstance(value, (list, tuple)) and all(type(v) is str for v in value)


def is_one_of(*values: object) -> Callable[[object], bool]:
    """Accepts these values alone: we cannot express others. (1 and 1.0 are two values.)"""
    return lambda value: any(value == v and type(value) in (type(v), int) for v in values)


class Option(NamedTuple):
    """What diffusers takes if it is missing, what we accept, and how to say that in an error."""

    default: Any
    accepts: Callable[[Any], bool]
    words: str


WHOLE = is_whole, "a whole number"
WHOLE_OR_NONE = is_whole_or_none, "a whole number or null"
FLAG = is_flag, "true or false"
NUMBER = is_number, "a number"
NAMES = is_list_of_text, "a list of names"
ZERO_OR_ONE = is_one_of(0, 1), "0 or 1"
FALSE = is_one_of(False), "false"
NULL = is_one_of(None), "null"

PLAIN_DOWN, DOWN = "DownBlock2D", "AttnDownBlock2D"
PLAIN_UP, UP = "UpBlock2D", "AttnUpBlock2D"

OPTIONS = {
    "sample_size": Option(None, is_size, "the side of the images, or [height, width]"),
    "in_channels": Option(3, *WHOLE),
    "out_channels": Option(3, *WHOLE),
    "center_input_sample": Option(False, *FALSE),
    "time_embedding_type": Option("positional", is_one_of("positional"), "positional"),
    "time_embedding_dim": Option(None, *WHOLE_OR_NONE),
    "freq_shift": Option(0, *ZERO_OR_ONE),
    "flip_sin_to_cos": Option(True, *FLAG),
    "down_block_types": Option((PLAIN_DOWN, DOWN, DOWN, DOWN), *NAMES),
    "mid_block_type": Option("UNetMidBlock2D", is_one_of("UNetMidBlock2D"), "UNetMidBlock2D"),
    "up_block_types": Option((UP, UP, UP, PLAIN_UP), *NAMES),
    "block_out_channels": Option((224, 448, 672, 896), is_list_of_whole, "a list of whole numbers"),
    "layers_per_block": Option(2, *WHOLE),
    "mid_block_scale_factor": Option(1, is_one_of(1, 1.0), "1"),
    "downsample_padding": Option(1, *ZERO_OR_ONE),
    "downsample_type": Option("conv", is_one_of("conv"), "conv"),
    "upsample_type": Option("conv", is_one_of("conv"), "conv"),
    "dropout": Option(0.0, *NUMBER),
    "act_fn": Option("silu", is_one_of("silu", "swish"), "silu"),
    "attention_head_dim": Option(8, *WHOLE_OR_NONE),
    "norm_num_groups": Option(32, *WHOLE),
    "attn_norm_num_groups": Option(None, *WHOLE_OR_NONE),
    "norm_eps": Option(1e-5, lambda v: is_number(v) and v > 0, "a positive number"),
    "resnet_time_scale_shift": Option("default", is_one_of("default"), "default"),
    "add_attention": Option(True, *FLAG),
    "class_embed_type": Option(None, *NULL),
    "num_class_embeds": Option(None, *NULL),
    "num_train_timesteps": Option(None, *WHOLE_OR_NONE),
}


# ---- options to a config, and back ---------------------------------------------------------------


def from_options(options: Mapping[str, Any]) -> DiffusersConfig:
    """A DiffusersConfig from the options in a config.json.

    Names that begin with _ are diffusers' notes to itself.

    Raises:
        ValueError: naming the option that is unknown or that we cannot express.
    """
    o = checked(options, OPTIONS, (KIND,))
    _check_channels(o)
    channels, attentive = o["block_out_channels"], _levels_with_attention(o)
    attended = [c for c, yes in zip(channels, attentive) if yes]
    attended += [channels[-1]] * o["add_attention"]
    _check_heads(options, o["attention_head_dim"], attended)

    side = o["sample_size"]
    height, width = (side, side) if is_whole(side) else side
    resolutions = [min(height, width) // 2**level for level in range(len(channels))]
    return DiffusersConfig(
        image=(o["in_channels"], height, width),
        base=channels[0],
        levels=tuple(c // channels[0] for c in channels),
        blocks=o["layers_per_block"],
        attention=tuple(side for side, yes in zip(resolutions, attentive) if yes),
        middle_attention=o["add_attention"],
        groups=o["norm_num_groups"],
        dropout=float(o["dropout"]),
        eps=float(o["norm_eps"]),
        frequency_shift=o["freq_shift"],
        cosine_first=o["flip_sin_to_cos"],
        pad_end_only=o["downsample_padding"] == 0,
        head_channels=o["attention_head_dim"],
        learned_variance=o["out_channels"] == 2 * o["in_channels"],
    )


def to_options(config: DiffusersConfig) -> dict[str, Any]:
    """Every option of a DiffusersConfig, for config.json. `from_options` reads it back."""
    channels, height, width = config.image
    side = min(height, width)
    levels = range(len(config.levels))
    attentive = ["Attn" * (side // 2**level in config.attention) for level in levels]
    return {name: option.default for name, option in OPTIONS.items()} | {
        "_class_name": KIND,
        "sample_size": height if height == width else [height, width],
        "in_channels": channels,
        "out_channels": channels * (2 if config.learned_variance else 1),
        "block_out_channels": [config.base * multiple for multiple in config.levels],
        "layers_per_block": config.blocks,
        "down_block_types": [f"{attention}{PLAIN_DOWN}" for attention in attentive],
        "up_block_types": [f"{attention}{PLAIN_UP}" for attention in reversed(attentive)],
        "add_attention": config.middle_attention,
        "attention_head_dim": config.head_channels,
        "norm_num_groups": config.groups,
        "norm_eps": config.eps,
        "dropout": config.dropout,
        "freq_shift": config.frequency_shift,
        "flip_sin_to_cos": config.cosine_first,
        "downsample_padding": 0 if config.pad_end_only else 1,
    }


def checked(
    options: Mapping[str, Any], table: Mapping[str, Option], kinds: Sequence[str]
) -> dict[str, Any]:
    """All options of a table: those given, if they are accepted, and the others' defaults.

    Args:
        options: as the file has them.
        table: every option that is known.
        kinds: the classes of diffusers whose options these may be.
    """
    if not isinstance(options, dict):
        raise ValueError(f"expected the options of a {kinds[0]}, got {options!r}")
    if options.get("_class_name", kinds[0]) not in kinds:
        got = repr(options["_class_name"])
        raise ValueError(f"_class_name: expected {' or '.join(kinds)}, got {got}")
    for name in options:
        if name not in table and not name.startswith("_"):
            raise ValueError(f"{name}: this option of a {kinds[0]} is not known here")
    found = {name: options.get(name, option.default) for name, option in table.items()}
    for name, value in found.items():
        if not table[name].accepts(value):
            raise ValueError(f"{name}: expected {table[name].words}, got {value!r}")
    return found


def _check_channels(o: dict[str, Any]) -> None:
    """Are the numbers of channels such as we can have them?"""
    channels, groups = list(o["block_out_channels"]), o["norm_num_groups"]
    base, inputs = channels[0], o["in_channels"]
    if o["out_channels"] not in (inputs, 2 * inputs):
        expected = f"{inputs}, as in_channels, or {2 * inputs}, with a learned variance"
        raise ValueError(f"out_channels: expected {expected}, got {o['out_channels']}")
    if any(c % base for c in channels):
        raise ValueError(f"block_out_channels: expected multiples of the first, got {channels}")
    if any(c % groups for c in channels):
        raise ValueError(
            f"norm_num_groups: {groups} does not divide all of the channels {channels}"
        )
    if o["attn_norm_num_groups"] not in (None, groups):
        expected, got = f"{groups}, as norm_num_groups", o["attn_norm_num_groups"]
        raise ValueError(f"attn_norm_num_groups: expected {expected}, got {got}")
    if o["time_embedding_dim"] not in (None, 4 * base):
        expected = f"{4 * base}, four times the first of block_out_channels"
        raise ValueError(f"time_embedding_dim: expected {expected}, got {o['time_embedding_dim']}")
    if base // 2 <= o["freq_shift"]:
        left = f"{o['freq_shift']} leaves no frequencies with {base} channels"
        raise ValueError(f"freq_shift: {left}")


def _levels_with_attention(o: dict[str, Any]) -> list[bool]:
    """Which levels have attention, on the way down and up alike."""
    down = _with_attention("down_block_types", (PLAIN_DOWN, DOWN), o)
    up = _with_attention("up_block_types", (PLAIN_UP, UP), o)
    if up[::-1] != down:
        expected = "attention at the same levels as in down_block_types"
        got = list(o["up_block_types"])
        raise ValueError(f"up_block_types: expected {expected}, got {got}")
    return down


def _with_attention(name: str, kinds: tuple[str, str], o: dict[str, Any]) -> list[bool]:
    """Which of these blocks have attention, from their names. kinds: without it, with it."""
    plain, attentive = kinds
    blocks, levels = o[name], len(o["block_out_channels"])
    for block in blocks:
        if block not in kinds:
            raise ValueError(f"{name}: expected {plain} or {attentive}, got {block!r}")
    if len(blocks) != levels:
        expected = f"{levels} of them, one for each of block_out_channels"
        raise ValueError(f"{name}: expected {expected}, got {len(blocks)}")
    return [block == attentive for block in blocks]


def _check_heads(
    options: Mapping[str, Any], head_channels: int | None, attended: list[int]
) -> None:
    """Is it known how the channels of each layer with attention are divided among heads?"""
    if head_channels is not None and any(c % head_channels for c in attended):
        layers = f"all of the channels with attention, {attended}"
        raise ValueError(f"attention_head_dim: {head_channels} does not divide {layers}")
    if "attention_head_dim" not in options and any(c != head_channels for c in attended):
        raise ValueError(
            "attention_head_dim: this option is missing. Some early files mean one head (null) by "
            f"that; diffusers now takes heads of {head_channels} channels. Add the option"
        )
