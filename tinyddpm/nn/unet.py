"""The U-Net: from a noisy image and t to a guess at the clean image.

Down: residual blocks, then half the resolution, level by level. Across the bottom. Up again: each block also gets, by a
skip connection, what the block opposite to it on the way down had made. So the output can be sharp (from the skips) and
consistent as a whole (from the bottom). Ronneberger et al. 2015; the details are those of Ho et al. 2020, appendix B.
"""
from dataclasses import dataclass
from typing import Annotated

from autograd import no_grad, ops

from .attention import SelfAttention
from .block import Downsample, NormSiLUConv, ResidualBlock, Upsample
from .conv import Conv2d
from .module import Module
from .multipliers import Multipliers
from .time import TimeEmbedding


@dataclass(frozen=True)
class UNetConfig:
    """Everything that defines a U-Net's shape."""
    image: Annotated[tuple[int, int, int], "channels, height, width"] = (1, 8, 8)
    base: Annotated[int, "channels at full resolution"] = 16
    levels: Annotated[tuple[int, ...], "channels at each level, as multiples of base"] = (1, 2)
    blocks: Annotated[int, "residual blocks a level going down; one more going up"] = 2
    attention: Annotated[tuple[int, ...], "resolutions (shorter side) with attention"] = (4,)
    middle_attention: Annotated[bool, "attention at the bottom"] = True
    heads: Annotated[int, "heads of attention"] = 1
    groups: Annotated[int, "groups of GroupNorm"] = 8
    dropout: Annotated[float, "fraction of features dropped in training"] = 0.0
    time_conditioning: Annotated[bool, "condition on t; without: unconditional in t"] = True

    def __post_init__(self):
        for name in ("base", "blocks", "heads", "groups"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if len(self.image) != 3 or min(self.image) < 1:
            raise ValueError(f"image: expected channels, height and width, got {self.image}")
        if not self.levels or min(self.levels) < 1:
            raise ValueError(f"levels: expected one multiple of base for each level, such as (1, 2), got {self.levels}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout: expected a share from 0 up to, but not including, 1, got {self.dropout}")
        if self.base % 2 and self.time_conditioning:
            raise ValueError(f"base: expected an even number (half sines, half cosines of t), got {self.base}")
        _, height, width = self.image
        factor = 2 ** (len(self.levels) - 1)
        if height % factor or width % factor:
            raise ValueError(f"image: {len(self.levels)} levels need height and width divisible by {factor}, got {height}×{width}")


class UNet(Module):
    """xt (N, C, H, W), t (N,) -> x̂_0, a Tensor (N, C, H, W). Its last convolution starts at zero: a new U-Net answers 0."""

    # What it is built of: a variant of the network is a subclass that names other layers.
    TimeEmbedding, ResidualBlock, SelfAttention, Downsample, Upsample, Last = TimeEmbedding, ResidualBlock, SelfAttention, Downsample, Upsample, NormSiLUConv

    def __init__(self, config=UNetConfig(), c=Multipliers()):
        self.config, self.c = config, c
        time = 4 * config.base if config.time_conditioning else 0
        resolution = min(config.image[1:])

        def stage(inputs, outputs):
            attention = self.SelfAttention(outputs, config.heads, config.groups, c) if resolution in config.attention else None
            return Stage(self.ResidualBlock(inputs, outputs, time, config.groups, config.dropout, c), attention)

        self.time = self.TimeEmbedding(config.base, c.time) if time else None
        self.first = Conv2d(config.image[0], config.base)
        self.down, self.up = [], []
        channels, skips = config.base, [config.base]
        for i, multiple in enumerate(config.levels):
            for _ in range(config.blocks):
                self.down.append(stage(channels, config.base * multiple))
                channels = config.base * multiple
                skips.append(channels)
            if i < len(config.levels) - 1:
                self.down.append(self.Downsample(channels))
                skips.append(channels)
                resolution //= 2

        self.middle1 = self.ResidualBlock(channels, channels, time, config.groups, config.dropout, c)
        self.middle2 = self.SelfAttention(channels, config.heads, config.groups, c) if config.middle_attention else None
        self.middle3 = self.ResidualBlock(channels, channels, time, config.groups, config.dropout, c)

        for i, multiple in reversed(list(enumerate(config.levels))):
            for _ in range(config.blocks + 1):  # each level left so many skips: of its blocks, and of what came before them
                self.up.append(stage(channels + skips.pop(), config.base * multiple))
                channels = config.base * multiple
            if i > 0:
                self.up.append(self.Upsample(channels))
                resolution *= 2
        self.last = self.Last(channels, config.image[0], config.groups, c.norm, c.last, zero=True)

    def forward(self, xt, t, dropout=None, cond=None):
        """x̂_0. `dropout`, given in training only, draws the uniform numbers that decide what is dropped: shape -> (N, *shape).
        `given` (N, …) is what else the network is told of each image: nothing, unless a subclass has a use for it in `embed`."""
        if self.theta is None:
            raise ValueError("UNet: its parameters have no numbers yet: call `initialise` or `bind` first")
        if xt.ndim != 4 or xt.shape[1:] != self.config.image or xt.dtype.kind not in "fc":
            raise ValueError(f"xt: expected images (N, {', '.join(map(str, self.config.image))}) of floats, got {xt.dtype} of shape {xt.shape}")
        if getattr(t, "shape", None) != xt.shape[:1]:
            raise ValueError(f"t: expected one timestep for each of {len(xt)} images, got {t if not hasattr(t, 'shape') else f'shape {t.shape}'}")
        temb = self.embed(t, cond)
        h = self.first(ops.transpose(xt, axes=(2, 3, 0, 1)))  # N C H W -> H W N C
        skips = [h]
        for layer in self.down:
            h = layer(h, temb, dropout) if isinstance(layer, Stage) else layer(h)
            skips.append(h)

        h = self.middle1(h, temb, dropout)
        h = self.middle2(h) if self.middle2 else h
        h = self.middle3(h, temb, dropout)

        for layer in self.up:
            h = layer(ops.concat(h, skips.pop()), temb, dropout) if isinstance(layer, Stage) else layer(h)
        return ops.transpose(self.last(h), axes=(2, 3, 0, 1))  # H W N C -> N C H W

    def embed(self, t, cond):
        """What every residual block is told: (N, ·), or None."""
        if cond is not None:
            raise ValueError("cond: this network is conditioned on t alone")
        return self.time(t) if self.time else None

    def denoise(self, xt, t, cond=None):
        """x̂_0 as an array, with no graph behind it: the denoiser that samplers take."""
        with no_grad():
            return self(xt, t, cond=cond).data


class Stage(Module):
    """A residual block, and attention after it where the config asks for it."""

    def __init__(self, block, attention):
        self.block, self.attention = block, attention

    def forward(self, x, temb, dropout):
        h = self.block(x, temb, dropout)
        return self.attention(h) if self.attention else h
