"""The networks that we time: ours and PyTorch's, with the same parameters in both."""

import numpy as np

from tinyddpm import schedule
from tinyddpm.diffusion import q_sample
from tinyddpm.equivalents import FASTER
from tinyddpm.fast.premultiplied import layer_of
from tinyddpm.nn import UNet, UNetConfig


def network(side, base, levels, attention):
    """A U-Net for grey images (1, side, side), with attention at one resolution."""
    return UNetConfig(image=(1, side, side), base=base, levels=levels, attention=(attention,))


# name -> (configuration, batch of the training step, number of shards that the batch is cut into)
CASES = {
    "base 32, 32×32": (network(32, 32, (1, 2, 2), 8), 64, 4),
    "base 64, 32×32": (network(32, 64, (1, 2, 2), 8), 64, 4),
    "base 32, 28×28": (network(28, 32, (1, 2, 2), 7), 128, 4),
    "base 32, 8×8": (network(8, 32, (1, 2), 4), 128, 2),
    "make train": (network(8, 16, (1, 2), 4), 64, 2),
}

# One that is quickly done, to see whether a benchmark runs at all.
TINY = "tiny"
TINY_NET = UNetConfig(
    image=(1, 4, 6), base=4, levels=(1, 2), blocks=1, attention=(2,), heads=1, groups=2
)


class Case:
    """Our network, a batch, and the peer with the same parameters and the same batch."""

    def __init__(self, name, batch=None):
        self.config, self.batch, self.shards = (TINY_NET, 2, 1) if name == TINY else CASES[name]
        self.batch = batch or self.batch
        self.schedule = schedule.linear(1000)
        rng = np.random.default_rng(0)
        self.unet = UNet(self.config).initialise(0)
        # Some layers start at 0, where most gradients are 0, so we move θ away from there.
        for parameter, value in self.unet.state().items():
            spread = 0.05 / layer_of(self.unet, parameter).c
            value += rng.normal(0, spread, value.shape).astype(np.float32)
        self.x0 = rng.uniform(-1, 1, (self.batch, *self.config.image)).astype(np.float32)
        self.eps = rng.normal(size=self.x0.shape).astype(np.float32)
        self.t = rng.integers(1, 1001, self.batch)
        self.xt = q_sample(self.schedule, self.x0, self.t, self.eps)

    def peers(self, compiled=False):
        """name -> (network, x0, xt, t), in PyTorch's types.

        PyTorch is imported here, so it takes no memory where we measure ours alone.
        """
        import torch

        from .peer import Peer

        eager, last = "PyTorch eager", "PyTorch eager, channels last"
        found = {}
        for name, memory in ((eager, torch.contiguous_format), (last, torch.channels_last)):
            net = Peer(self.unet).to(memory_format=memory)
            x0, xt, t = (torch.from_numpy(a) for a in (self.x0, self.xt, self.t))
            x0, xt = (x.contiguous(memory_format=memory) for x in (x0, xt))
            found[name] = (net, x0, xt, t)
        if compiled:
            net = Peer(self.unet).to(memory_format=torch.channels_last)
            found["torch.compile"] = (torch.compile(net), *found[last][1:])
        return found

    def flops(self):
        """Multiplications and additions of all convolutions of a forward pass.

        They are counted as if computed directly. A training step has three times as many.
        """
        counted = []

        def count(x, w, *, stride=1, padding=1):
            kh, kw, c_in, c_out = w.shape
            h, width, n = x.shape[:3]
            counted.append(2 * (h // stride) * (width // stride) * n * kh * kw * c_in * c_out)
            return False  # refuse, so that the definition computes it

        before = dict(FASTER)
        FASTER.clear()
        FASTER["conv2d"] = (count, None)
        try:
            self.unet.denoise(self.xt[:1], self.t[:1])
        finally:
            FASTER.clear()
            FASTER.update(before)
        return sum(counted) * self.batch
