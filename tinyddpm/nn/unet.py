"""The U-Net: from a noisy image and t to a guess at the clean image.

Down: residual blocks, then half the resolution, level by level. Across the bottom. Up again: each
block also gets, by a skip connection, what the block opposite to it on the way down had made. So
the output can be sharp (from the skips) and consistent as a whole (from the bottom). Ronneberger et
al. 2015; the details are those of Ho et al. 2020, appendix B.
"""

from dataclasses import dataclass
from typing import Annotated

from autograd import Tensor, no_grad, ops
from autograd.backend import expect, kind_of

from ..types import Array, Draw
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
    time_conditioning: Annotated[bool, "condition on t; if not, it is unconditional in t"] = True

    def __post_init__(self) -> None:
        for name in ("base", "blocks", "heads", "groups"):
            expect(getattr(self, name) >= 1, name, "at least 1", getattr(self, name))
        image, levels = self.image, self.levels
        expect(len(image) == 3 and min(image) > 0, "image", "channels, height and width", image)
        expect(min(levels, default=0) > 0, "levels", "multiples of base, as in (1, 2)", levels)
        expect(0 <= self.dropout < 1, "dropout", "a fraction from 0 to below 1", self.dropout)
        even = self.base % 2 == 0 or not self.time_conditioning
        expect(even, "base", "an even number (half sines, half cosines of t)", self.base)
        factor = 2 ** (len(levels) - 1)
        needed = f"height and width divisible by {factor}, for {len(levels)} levels"
        expect(not (image[1] % factor or image[2] % factor), "image", needed, image)


class UNet(Module):
    """xt (N, C, H, W), t (N,) -> x̂_0, a Tensor (N, C, H, W).

    Its last convolution starts at zero: a new U-Net answers 0. For c see `multipliers.py`.
    """

    # What it is built of: a variant of the network is a subclass that names other layers.
    TimeEmbedding, ResidualBlock, SelfAttention = TimeEmbedding, ResidualBlock, SelfAttention
    Downsample, Upsample, Last = Downsample, Upsample, NormSiLUConv

    def __init__(self, config: UNetConfig = UNetConfig(), c: Multipliers = Multipliers()) -> None:
        self.config, self.c = config, c
        time = 4 * config.base if config.time_conditioning else 0
        resolution = min(config.image[1:])

        def block(inputs: int, outputs: int) -> Module:
            return self.ResidualBlock(inputs, outputs, time, config.groups, config.dropout, c)

        def stage(inputs: int, outputs: int) -> Stage:
            attention = None
            if resolution in config.attention:  # as the loops below have left it
                attention = self.SelfAttention(outputs, config.heads, config.groups, c)
            return Stage(block(inputs, outputs), attention)

        self.time = self.TimeEmbedding(config.base, c.time) if time else None
        self.first = Conv2d(config.image[0], config.base)
        self.down: list[Module] = []
        self.up: list[Module] = []
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

        self.middle1 = block(channels, channels)
        self.middle2 = None
        if config.middle_attention:
            self.middle2 = self.SelfAttention(channels, config.heads, config.groups, c)
        self.middle3 = block(channels, channels)

        for i, multiple in reversed(list(enumerate(config.levels))):
            # A level left blocks + 1 skips: one of each block, one of the layer that led to it.
            for _ in range(config.blocks + 1):
                self.up.append(stage(channels + skips.pop(), config.base * multiple))
                channels = config.base * multiple
            if i > 0:
                self.up.append(self.Upsample(channels))
                resolution *= 2
        self.last = self.Last(channels, config.image[0], config.groups, c.norm, c.last, zero=True)

    def forward(
        self, xt: Array, t: Array, dropout: Draw | None = None, cond: Array | None = None
    ) -> Tensor:
        """x̂_0 (N, C, H, W).

        In training, `dropout` draws the uniform numbers that decide what is dropped. `cond` (N, …)
        is what else to condition on: only a subclass has a use for it, in `embed`.
        """
        expect(self.theta is not None, "theta", "numbers: `initialise` or `bind` first", None)
        floats = xt.dtype.kind in "fc" and xt.ndim == 4
        images = f"images (N, {str(self.config.image)[1:-1]}) of floats"
        expect(floats and xt.shape[1:] == self.config.image, "xt", images, kind_of(xt))
        fits = getattr(t, "shape", None) == xt.shape[:1]
        expect(fits, "t", f"one timestep for each of {len(xt)} images", kind_of(t))
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
            if isinstance(layer, Stage):
                h = layer(ops.concat(h, skips.pop()), temb, dropout)
            else:
                h = layer(h)
        return ops.transpose(self.last(h), axes=(2, 3, 0, 1))  # H W N C -> N C H W

    def embed(self, t: Array, cond: Array | None) -> Tensor | None:
        """What every residual block is conditioned on: (N, ·), or None."""
        expect(cond is None, "cond", "None (this network is conditioned on t alone)", kind_of(cond))
        return self.time(t) if self.time else None

    def denoise(self, xt: Array, t: Array, cond: Array | None = None) -> Array:
        """x̂_0 as an array, with no graph behind it: the denoiser that samplers take."""
        with no_grad():
            return self(xt, t, cond=cond).data


class Stage(Module):
    """A residual block, and attention after it where the config asks for it."""

    def __init__(self, block: Module, attention: Module | None) -> None:
        self.block, self.attention = block, attention

    def forward(self, x: Tensor, temb: Tensor | None, dropout: Draw | None) -> Tensor:
        h = self.block(x, temb, dropout)
        return self.attention(h) if self.attention else h
