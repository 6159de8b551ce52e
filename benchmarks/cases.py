"""The networks that are timed, ours and PyTorch's, with the same numbers in both."""
import numpy as np

from tinyddpm import schedule
from tinyddpm.diffusion import q_sample
from tinyddpm.fast.premultiplied import layer_of
from tinyddpm.nn import UNet, UNetConfig
from tinyddpm.equivalents import FASTER

# name -> (configuration, batch of the training step, shards that it is cut into)
CASES = {
    "base 32, 32×32": (UNetConfig(image=(1, 32, 32), base=32, levels=(1, 2, 2), attention=(8,)), 64, 4),
    "base 64, 32×32": (UNetConfig(image=(1, 32, 32), base=64, levels=(1, 2, 2), attention=(8,)), 64, 4),
    "base 32, 28×28": (UNetConfig(image=(1, 28, 28), base=32, levels=(1, 2, 2), attention=(7,)), 128, 4),
    "base 32, 8×8": (UNetConfig(image=(1, 8, 8), base=32, levels=(1, 2), attention=(4,)), 128, 2),
    "make train": (UNetConfig(image=(1, 8, 8), base=16, levels=(1, 2), attention=(4,)), 64, 2),
}


class Case:
    """Our network and its peer, a batch for both, and the peer's functions in either memory format."""

    def __init__(self, name, batch=None):
        self.config, self.batch, self.shards = CASES[name]
        self.batch = batch or self.batch
        self.schedule = schedule.linear(1000)
        rng = np.random.default_rng(0)
        self.unet = UNet(self.config).initialise(0)
        for name, value in self.unet.state().items():  # away from the zeros of initialisation, where most gradients are 0
            value += rng.normal(0, 0.05 / layer_of(self.unet, name).c, value.shape).astype(np.float32)
        self.x0 = rng.uniform(-1, 1, (self.batch, *self.config.image)).astype(np.float32)
        self.eps = rng.normal(size=self.x0.shape).astype(np.float32)
        self.t = rng.integers(1, 1001, self.batch)
        self.xt = q_sample(self.schedule, self.x0, self.t, self.eps)

    def peers(self, compiled=False):
        """name -> (network, x0, xt, t) as PyTorch wants them. It is imported here, so that it takes no memory where ours is measured."""
        import torch

        from .peer import Peer
        found = {}
        for name, memory in (("PyTorch eager", torch.contiguous_format), ("PyTorch eager, channels last", torch.channels_last)):
            tensors = [torch.from_numpy(a).contiguous(memory_format=memory) for a in (self.x0, self.xt)]
            found[name] = (Peer(self.unet).to(memory_format=memory), *tensors, torch.from_numpy(self.t))
        if compiled:
            net, *tensors = found["PyTorch eager, channels last"]
            found["torch.compile"] = (torch.compile(Peer(self.unet).to(memory_format=torch.channels_last)), *tensors)
        return found

    def flops(self):
        """Multiplications and additions of all convolutions of a forward pass, as if computed directly; a training step has three times as many."""
        counted = []

        def count(x, w, *, stride=1, padding=1):
            kh, kw, c_in, c_out = w.shape
            h, width, n = x.shape[:3]
            counted.append(2 * (h // stride) * (width // stride) * n * kh * kw * c_in * c_out)
            return False  # not accepted: the definition computes it

        before = dict(FASTER)
        FASTER.clear()
        FASTER["conv2d"] = (count, None)
        try:
            self.unet.denoise(self.xt[:1], self.t[:1])
        finally:
            FASTER.clear()
            FASTER.update(before)
        return sum(counted) * self.batch
