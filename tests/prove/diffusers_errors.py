"""How far a UNet2DModel of diffusers and its double here are apart, in numbers.

Needs the extra `bench`. torch and diffusers are imported where they are used, so that this file can
be imported without them.
"""

import tempfile
from pathlib import Path

import numpy as np

from tests.interop import frozen_networks
from tinyddpm.interop import diffusers_unet
from tinyddpm.interop.torch_random import Generator
from tinyddpm.more.solvers import ddim
from tinyddpm.nn import UNet, UNetConfig
from tinyddpm.sampler import ancestral
from tinyddpm.schedule import Schedule, at, linear

CIFAR = {  # google/ddpm-cifar10-32
    "sample_size": 32,
    "block_out_channels": [128, 256, 256, 256],
    "layers_per_block": 2,
    "dropout": 0.1,
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
    "attention_head_dim": None,
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "norm_eps": 1e-6,
    "norm_num_groups": 32,
}
CONFIGS = {"google/ddpm-cifar10-32": CIFAR, **frozen_networks.CONFIGS}
TIMESTEPS = [1, 2, 501, 1000]  # ours
SCHEDULE = linear(1000)


# ---- two networks that are one function ----------------------------------------------------------


def reference(options, dtype=np.float32, seed=0, everywhere=False):
    """A UNet2DModel with PyTorch's initial weights.

    N(0, 0.05²) is added to all biases, gains and shifts, because some start at zero; or to every
    weight.
    """
    import torch
    from diffusers import UNet2DModel

    torch.manual_seed(seed)
    model = UNet2DModel(**options)
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim == 1 or everywhere:
                p += 0.05 * torch.randn(p.shape)
    return model.to(torch.float64 if dtype == np.float64 else torch.float32).eval()


def pair(options, dtype=np.float32, everywhere=False):
    """diffusers' model, and ours, read from the folder that diffusers' saved."""
    model = reference(options, dtype, everywhere=everywhere)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        unet = diffusers_unet.read(folder, dtype)
    return model, unet.bind(unet.theta, np.zeros_like(unet.theta))


def images(unet, n, dtype, seed=1):
    return np.random.default_rng(seed).standard_normal((n, *unet.config.image)).astype(dtype)


def theirs(model, x, t):
    import torch

    with torch.no_grad():
        return model(torch.from_numpy(x), torch.from_numpy(np.asarray(t)) - 1).sample.numpy()


def relative(found, expected):
    assert found.dtype == expected.dtype and found.shape == expected.shape
    return float(abs(found - expected).max() / abs(expected).max())


def inject_our_waves(model, unet):
    """Let diffusers compute with our table of sines and cosines: float64; its own is float32."""
    import torch

    class Waves(torch.nn.Module):
        def forward(self, t):
            return torch.from_numpy(unet.time.waves(t.numpy() + 1))

    model.time_proj = Waves()


def inject_their_waves(model, unet):
    """Let our network compute with diffusers' table, which is float32."""
    import torch

    def waves(t):
        return model.time_proj(torch.from_numpy(t) - 1).numpy().astype(unet.theta.dtype)

    unet.time.waves = waves


# ---- errors of diffusers' networks here ----------------------------------------------------------


def largest_error(denoise, model, x):
    """The largest relative error of the output, over TIMESTEPS."""
    return max(relative(denoise(x, np.array([t])), theirs(model, x, [t])) for t in TIMESTEPS)


def output_error(options, dtype, inject=None, everywhere=False):
    model, unet = pair(options, dtype, everywhere)
    if inject:
        inject(model, unet)
    return largest_error(unet.denoise, model, images(unet, 1, dtype))


def gradient_error(options, dtype, n=2):
    """The largest relative error of any parameter's gradient of Σ(output − target)².

    The error of a key's bias is relative to the gradient of a value's bias.
    """
    import torch

    model, unet = pair(options, dtype)
    inject_our_waves(model, unet)
    x, target = images(unet, n, dtype), images(unet, n, dtype, seed=2)
    t = np.array([2, 501])[:n]
    output = model(torch.from_numpy(x), torch.from_numpy(t) - 1).sample
    (output - torch.from_numpy(target)).square().sum().backward()
    difference = unet(x, t) - target
    (difference * difference).sum().backward()
    unet.bind(unet.grad)  # so that each tensor's view is one of the gradient
    found = {name: view for name, (_, view) in diffusers_unet.tensors(unet).items()}
    expected = {name: p.grad.numpy() for name, p in model.named_parameters()}
    assert found.keys() == expected.keys()
    worst = 0.0
    for name in found:
        if name.endswith("to_k.bias"):
            # Exactly zero: it adds the same to a whole row before the softmax, which ignores it.
            scale = abs(expected[name.replace("to_k", "to_v")]).max()
            both = max(abs(found[name]).max(), abs(expected[name]).max())
            assert both < 1e-4 * scale, name
        else:
            assert abs(expected[name]).max() > 0, name
            worst = max(worst, relative(found[name], expected[name]))
    return worst


def respaced(visited):
    """The timesteps to visit, rising, and a schedule whose step s leads from one to the next.

    Entry s of the timesteps is the s-th one; entry 0 is 0.
    """
    steps = np.array([0, *visited])
    alpha_bar = SCHEDULE.alpha_bar[steps]
    return steps, Schedule(1 - alpha_bar[1:] / alpha_bar[:-1])


def their_loop(model, x_T, kind):
    """Ten steps of diffusers' sampler: x_0 as a tensor, and the timesteps, as diffusers counts."""
    import diffusers
    import torch

    scheduler = {"ddpm": diffusers.DDPMScheduler, "ddim": diffusers.DDIMScheduler}[kind]()
    scheduler.set_timesteps(10)
    extra = {"ddpm": {}, "ddim": {"use_clipped_model_output": True}}[kind]
    sample, generator = torch.from_numpy(x_T), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for t in scheduler.timesteps:
            out = model(sample, t).sample
            sample = scheduler.step(out, t, sample, generator=generator, **extra).prev_sample
    return sample, scheduler.timesteps.numpy()


def loop_error(options, kind):
    """Ten steps on diffusers' grid from the same x_T, with PyTorch's noise on both sides.

    ε comes from the network, and x̂_0 is clipped.
    """
    model, unet = pair(options)
    x_T, generator = images(unet, 1, np.float32), Generator(0)
    sample, timesteps = their_loop(model, x_T, kind)
    steps, schedule = respaced(timesteps[::-1] + 1)

    def denoiser(xt, s):
        eps = unet.denoise(xt, steps[s])
        signal, noise = np.sqrt(schedule.alpha_bar), np.sqrt(1 - schedule.alpha_bar)
        return (xt - at(noise, s, xt) * eps) / at(signal, s, xt)

    if kind == "ddpm":
        chain = ancestral(denoiser, schedule, x_T, lambda s: generator.normal(x_T.shape))
    else:
        chain = ddim(denoiser, schedule, x_T, steps=10)
    *_, (_, xt, _) = chain
    return relative(xt, sample.numpy())


def export_error(options, folder):
    """The errors of the tensors, and of the output, after diffusers -> here -> diffusers."""
    from diffusers import UNet2DModel

    model, unet = pair(options)
    diffusers_unet.write(unet, folder)
    back = UNet2DModel.from_pretrained(folder)
    before, after = model.state_dict(), back.state_dict()
    assert before.keys() == after.keys()
    assert public(back.config) == public(model.config)
    x = images(unet, 1, np.float32)
    return (
        max(float((before[name] - after[name]).abs().max()) for name in before),
        max(relative(theirs(back, x, [t]), theirs(model, x, [t])) for t in TIMESTEPS),
    )


def public(config):
    return {name: value for name, value in config.items() if not name.startswith("_")}


# ---- errors of our own networks there ------------------------------------------------------------

OURS = {
    "default": UNetConfig(),
    "three levels, many heads": UNetConfig(
        image=(3, 16, 8), base=16, levels=(1, 2, 2), attention=(4,), heads=4
    ),
    "no attention": UNetConfig(
        base=8, levels=(1, 1), attention=(), middle_attention=False, groups=4, blocks=1
    ),
}


def own(config, dtype=np.float32):
    unet = UNet(config).initialise(0, dtype)
    draws = np.random.default_rng(0).standard_normal(unet.theta.shape)
    unet.theta += (0.05 * draws).astype(dtype)
    return unet


def own_error(config, folder):
    """In float32, and in float64 with one table of sines and cosines.

    The multipliers make a difference of these tables large.
    """
    from diffusers import UNet2DModel

    errors = []
    for dtype in (np.float32, np.float64):
        unet = own(config, dtype)
        diffusers_unet.write(unet, folder)
        model, x = UNet2DModel.from_pretrained(folder), images(unet, 1, dtype)
        if dtype == np.float64:
            model = as_written(model.double(), folder)
            inject_our_waves(model, diffusers_unet.converted(unet))
        errors.append(
            max(relative(theirs(model, x, [t]), unet.denoise(x, np.array([t]))) for t in TIMESTEPS)
        )
    return tuple(errors)


def as_written(model, folder):
    """diffusers rounds what it loads to float32: give it the numbers that are in the file."""
    from safetensors.torch import load_file

    model.load_state_dict(load_file(Path(folder) / diffusers_unet.WEIGHTS))
    return model
