"""The options of diffusers' UNet2DModel, as its config.json has them, and what they say about a U-Net of ours.

    config = from_options(json.load(open("config.json")))     # a DiffusersConfig
    to_options(config)                                        # the options again, every one of them

An option that is not given has diffusers' own default (0.42), which for several is not what Ho et al. 2020 had. One whose
value cannot be expressed, or that is not known here, is a ValueError that names it.
"""
from dataclasses import dataclass

from ..nn.unet import UNetConfig

KIND = "UNet2DModel"


@dataclass(frozen=True)
class DiffusersConfig(UNetConfig):
    """A UNetConfig, and where a UNet2DModel may differ from it. Its `heads` is not used: `head_channels` is."""
    eps: float = 1e-5                 # of GroupNorm
    frequency_shift: int = 0          # 1: the time embedding's lowest frequency is 1/10000
    cosine_first: bool = True         # the time embedding is cos ‖ sin, not sin ‖ cos
    pad_end_only: bool = False        # zeros below and to the right of the image alone, where the resolution is halved
    head_channels: int | None = None  # channels of one head of attention; None: one head has them all


def whole(value):
    return type(value) is int and value >= 1


def optional_whole(value):
    return value is None or whole(value)


def flag(value):
    return type(value) is bool


def number(value):
    return type(value) in (int, float)


def list_of_whole(value):
    return isinstance(value, (list, tuple)) and len(value) > 0 and all(map(whole, value))


def size(value):
    return whole(value) or list_of_whole(value) and len(value) == 2


def list_of_text(value):
    return isinstance(value, (list, tuple)) and all(type(v) is str for v in value)


def only(*values):
    """Accepts these values alone: others mean something that is not here."""
    return lambda value: any(value == v and type(value) in (type(v), int) for v in values)


# option: (diffusers' default, what is accepted, that in words)
OPTIONS = {
    "sample_size": (None, size, "the side of the images, or [height, width]"),
    "in_channels": (3, whole, "a whole number"),
    "out_channels": (3, whole, "a whole number"),
    "center_input_sample": (False, only(False), "false"),
    "time_embedding_type": ("positional", only("positional"), "positional"),
    "time_embedding_dim": (None, optional_whole, "a whole number or null"),
    "freq_shift": (0, only(0, 1), "0 or 1"),
    "flip_sin_to_cos": (True, flag, "true or false"),
    "down_block_types": (("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"), list_of_text, "a list of names"),
    "mid_block_type": ("UNetMidBlock2D", only("UNetMidBlock2D"), "UNetMidBlock2D"),
    "up_block_types": (("AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"), list_of_text, "a list of names"),
    "block_out_channels": ((224, 448, 672, 896), list_of_whole, "a list of whole numbers"),
    "layers_per_block": (2, whole, "a whole number"),
    "mid_block_scale_factor": (1, only(1, 1.0), "1"),
    "downsample_padding": (1, only(0, 1), "0 or 1"),
    "downsample_type": ("conv", only("conv"), "conv"),
    "upsample_type": ("conv", only("conv"), "conv"),
    "dropout": (0.0, number, "a number"),
    "act_fn": ("silu", only("silu", "swish"), "silu"),
    "attention_head_dim": (8, optional_whole, "a whole number or null"),
    "norm_num_groups": (32, whole, "a whole number"),
    "attn_norm_num_groups": (None, optional_whole, "a whole number or null"),
    "norm_eps": (1e-5, lambda v: number(v) and v > 0, "a positive number"),
    "resnet_time_scale_shift": ("default", only("default"), "default"),
    "add_attention": (True, flag, "true or false"),
    "class_embed_type": (None, only(None), "null"),
    "num_class_embeds": (None, only(None), "null"),
    "num_train_timesteps": (None, optional_whole, "a whole number or null"),
}


def from_options(options):
    """A DiffusersConfig from a dict of options. Names that begin with _ are diffusers' notes to itself."""
    o = checked(options, OPTIONS, (KIND,))
    channels = list(o["block_out_channels"])
    base, deepest = channels[0], len(channels) - 1
    height, width = (o["sample_size"],) * 2 if whole(o["sample_size"]) else o["sample_size"]

    if o["out_channels"] != o["in_channels"]:
        raise ValueError(f"out_channels: expected {o['in_channels']}, as in_channels, got {o['out_channels']}")
    if any(c % base for c in channels):
        raise ValueError(f"block_out_channels: expected multiples of the first, got {list(channels)}")
    if any(c % o["norm_num_groups"] for c in channels):
        raise ValueError(f"norm_num_groups: {o['norm_num_groups']} does not divide all of the channels {list(channels)}")
    if o["attn_norm_num_groups"] not in (None, o["norm_num_groups"]):
        raise ValueError(f"attn_norm_num_groups: expected {o['norm_num_groups']}, as norm_num_groups, got {o['attn_norm_num_groups']}")
    if o["time_embedding_dim"] not in (None, 4 * base):
        raise ValueError(f"time_embedding_dim: expected {4 * base}, four times the first of block_out_channels, got {o['time_embedding_dim']}")
    if base // 2 <= o["freq_shift"]:
        raise ValueError(f"freq_shift: {o['freq_shift']} leaves no frequencies with {base} channels")

    attentive = _with_attention("down_block_types", "Down", o)
    if list(reversed(_with_attention("up_block_types", "Up", o))) != attentive:
        raise ValueError(f"up_block_types: expected attention at the levels at which down_block_types has it, got {list(o['up_block_types'])}")
    attended = [c for c, yes in zip(channels, attentive) if yes] + channels[deepest:] * o["add_attention"]
    _check_heads(options, o["attention_head_dim"], attended)
    return DiffusersConfig(
        image=(o["in_channels"], height, width), base=base, levels=tuple(c // base for c in channels), blocks=o["layers_per_block"],
        attention=tuple(min(height, width) // 2**level for level, yes in enumerate(attentive) if yes),
        middle_attention=o["add_attention"], groups=o["norm_num_groups"], dropout=float(o["dropout"]), eps=float(o["norm_eps"]),
        frequency_shift=o["freq_shift"], cosine_first=o["flip_sin_to_cos"], pad_end_only=o["downsample_padding"] == 0,
        head_channels=o["attention_head_dim"])


def to_options(config):
    """Every option of a DiffusersConfig, for config.json. `from_options` takes it back."""
    channels, height, width = config.image
    side = min(height, width)
    attentive = ["Attn" * (side // 2**level in config.attention) for level in range(len(config.levels))]
    return {name: default for name, (default, _, _) in OPTIONS.items()} | {
        "_class_name": KIND,
        "sample_size": height if height == width else [height, width], "in_channels": channels, "out_channels": channels,
        "block_out_channels": [config.base * multiple for multiple in config.levels], "layers_per_block": config.blocks,
        "down_block_types": [f"{a}DownBlock2D" for a in attentive],
        "up_block_types": [f"{a}UpBlock2D" for a in reversed(attentive)],
        "add_attention": config.middle_attention, "attention_head_dim": config.head_channels,
        "norm_num_groups": config.groups, "norm_eps": config.eps, "dropout": config.dropout,
        "freq_shift": config.frequency_shift, "flip_sin_to_cos": config.cosine_first,
        "downsample_padding": 0 if config.pad_end_only else 1,
    }


def checked(options, table, kinds):
    """All options of a table such as OPTIONS: those given, if they are accepted, and the defaults of the others. `kinds`: whose they may be."""
    if not isinstance(options, dict):
        raise ValueError(f"expected the options of a {kinds[0]}, got {options!r}")
    if options.get("_class_name", kinds[0]) not in kinds:
        raise ValueError(f"_class_name: expected {' or '.join(kinds)}, got {options['_class_name']!r}")
    for name in options:
        if name not in table and not name.startswith("_"):
            raise ValueError(f"{name}: this option of a {kinds[0]} is not known here")
    found = {name: options.get(name, default) for name, (default, _, _) in table.items()}
    for name, value in found.items():
        _, accepts, words = table[name]
        if not accepts(value):
            raise ValueError(f"{name}: expected {words}, got {value!r}")
    return found


def _with_attention(name, direction, options):
    """Which levels have attention, from the names of the blocks."""
    plain, attentive = f"{direction}Block2D", f"Attn{direction}Block2D"
    blocks, levels = options[name], len(options["block_out_channels"])
    for block in blocks:
        if block not in (plain, attentive):
            raise ValueError(f"{name}: expected {plain} or {attentive}, got {block!r}")
    if len(blocks) != levels:
        raise ValueError(f"{name}: expected {levels} of them, one for each of block_out_channels, got {len(blocks)}")
    return [block == attentive for block in blocks]


def _check_heads(options, head_channels, attended):
    """Is it known, and the same in every layer with so many channels, how they are shared among heads?"""
    if head_channels is not None and any(c % head_channels for c in attended):
        raise ValueError(f"attention_head_dim: {head_channels} does not divide all of the channels with attention, {attended}")
    if "attention_head_dim" not in options and any(c != head_channels for c in attended):
        raise ValueError(f"attention_head_dim: it is missing; some early files mean one head (null) by that, diffusers now takes "
                         f"heads of {head_channels} channels: add to the options what is right")
