"""The same U-Net in PyTorch, with the same parameters: what we measure ours against.

peer = Peer(unet)                         # takes over the effective weights of our network
difference(unet, peer, ours, theirs)      # worst relative difference of J and each gradient
"""

import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from autograd.backend import to_numpy
from tinyddpm.fast.premultiplied import layer_of


class Half(nn.Module):
    def __init__(self, inputs, outputs, groups):
        super().__init__()
        self.norm, self.conv = (
            nn.GroupNorm(groups, inputs),
            nn.Conv2d(inputs, outputs, 3, padding=1),
        )

    def forward(self, x):
        return self.conv(F.silu(self.norm(x)))


class Block(nn.Module):
    def __init__(self, inputs, outputs, time, groups):
        super().__init__()
        self.half1 = Half(inputs, outputs, groups)
        self.half2 = Half(outputs, outputs, groups)
        self.time = nn.Linear(time, outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x, temb):
        h = self.half1(x) + self.time(temb)[:, :, None, None]
        return self.half2(h) + self.shortcut(x)


class Attention(nn.Module):
    def __init__(self, channels, groups):
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels)
        self.q, self.k, self.v, self.out = (nn.Linear(channels, channels) for _ in range(4))

    def forward(self, x):
        n, c, height, width = x.shape
        h = self.norm(x).permute(0, 2, 3, 1).reshape(n, height * width, c)
        h = F.scaled_dot_product_attention(self.q(h), self.k(h), self.v(h))
        return x + self.out(h).reshape(n, height, width, c).permute(0, 3, 1, 2)


class Stage(nn.Module):
    def __init__(self, inputs, outputs, time, groups, attend):
        super().__init__()
        self.block = Block(inputs, outputs, time, groups)
        self.attention = Attention(outputs, groups) if attend else nn.Identity()

    def forward(self, x, temb):
        return self.attention(self.block(x, temb))


class Peer(nn.Module):
    """Our `UNet` (one head, conditioned on t, no dropout), written as a user of PyTorch would.

    Images are N C H W.
    """

    def __init__(self, unet):
        super().__init__()
        c = unet.config
        time, resolution, channels = 4 * c.base, min(c.image[1:]), c.base
        self.base = c.base
        self.time1, self.time2 = nn.Linear(c.base, time), nn.Linear(time, time)
        self.first = nn.Conv2d(c.image[0], c.base, 3, padding=1)
        self.down, self.up, skips = nn.ModuleList(), nn.ModuleList(), [channels]

        def stage(inputs, outputs):
            return Stage(inputs, outputs, time, c.groups, resolution in c.attention)

        for i, multiple in enumerate(c.levels):
            for _ in range(c.blocks):
                self.down.append(stage(channels, c.base * multiple))
                channels = c.base * multiple
                skips.append(channels)
            if i < len(c.levels) - 1:
                self.down.append(nn.Conv2d(channels, channels, 3, stride=2, padding=1))
                skips.append(channels)
                resolution //= 2
        self.middle1 = Block(channels, channels, time, c.groups)
        self.middle3 = Block(channels, channels, time, c.groups)
        self.middle2 = Attention(channels, c.groups)
        for i, multiple in reversed(list(enumerate(c.levels))):
            for _ in range(c.blocks + 1):
                self.up.append(stage(channels + skips.pop(), c.base * multiple))
                channels = c.base * multiple
            if i > 0:
                self.up.append(nn.Conv2d(channels, channels, 3, padding=1))
                resolution *= 2
        self.last = Half(channels, c.image[0], c.groups)
        take_over(self, unet)

    def forward(self, x, t):
        temb = self.embed(t)
        h = self.first(x)
        skips = [h]
        for layer in self.down:
            h = layer(h, temb) if isinstance(layer, Stage) else layer(h)
            skips.append(h)
        h = self.middle3(self.middle2(self.middle1(h, temb)), temb)
        for layer in self.up:
            if isinstance(layer, Stage):
                h = layer(torch.cat([h, skips.pop()], 1), temb)
            else:
                h = layer(F.interpolate(h, scale_factor=2, mode="nearest"))
        return self.last(h)

    def embed(self, t):
        half = self.base // 2
        i = torch.arange(half, device=t.device)
        angles = t[:, None].float() * torch.exp(-math.log(10_000) * i / half)
        waves = torch.cat([angles.sin(), angles.cos()], 1)
        return F.silu(self.time2(F.silu(self.time1(waves))))


def name_in_peer(name):
    """Our parameter's name in the peer."""
    name = name.replace("time.linear1.", "time1.").replace("time.linear2.", "time2.")
    return name.replace(".gain", ".weight")


def in_peer_layout(array):
    """kh kw Cin Cout -> Cout Cin kh kw; inputs, outputs -> outputs, inputs."""
    if array.ndim == 4:
        return array.transpose(3, 2, 0, 1)
    return array.T  # a vector stays as it is


def take_over(peer, unet):
    own = dict(peer.named_parameters())
    for name, value in unet.state().items():
        effective = in_peer_layout(layer_of(unet, name).c * value)
        target = own.pop(name_in_peer(name))
        assert target.shape == effective.shape, name
        with torch.no_grad():
            target.copy_(torch.from_numpy(np.ascontiguousarray(effective)))
    assert not own, f"parameters that our network lacks: {list(own)}"


def difference(unet, peer, ours, theirs):
    """The worst relative difference of J and of any parameter's gradient.

    `ours` and `theirs` compute J and leave gradients.
    """
    unet.grad[...] = 0
    peer.zero_grad()
    J, J_peer = float(ours()), theirs().item()
    worst = abs(J - J_peer) / abs(J_peer)
    grads = {name: p.grad.cpu().numpy() for name, p in peer.named_parameters()}
    slices, grad = unet.slices(), to_numpy(unet.grad)
    for name, value in unet.state().items():
        # The same number added to all keys changes no softmax: the gradient is rounding alone.
        if name.endswith(".k.bias"):
            continue
        reference = grads[name_in_peer(name)]
        largest = np.abs(reference).max()
        assert largest > 0, f"{name}: the reference gradient is zero, so nothing is compared"
        g = in_peer_layout(grad[slices[name]].reshape(value.shape)) / layer_of(unet, name).c
        worst = max(worst, np.abs(g - reference).max() / largest)
    return worst
