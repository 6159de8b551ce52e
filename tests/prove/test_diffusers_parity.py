"""A UNet2DModel of diffusers and its double here are one function: outputs, gradients, sampling, in both directions.

Needs the extra `bench`. From the repository's root,

    python -m tests.prove.test_diffusers_parity            prints the table of errors
    python -m tests.prove.test_diffusers_parity freeze     makes tests/interop/frozen.json anew
"""
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from tests.interop import frozen_networks
from tinyddpm.interop import diffusers_scheduler, diffusers_unet
from tinyddpm.runs.diffusers import export_run
from tinyddpm.interop.torch_random import Generator
from tinyddpm.nn import UNet, UNetConfig
from tinyddpm.sampler import ancestral, ddim
from tinyddpm.schedule import Schedule, at, linear

pytestmark = [pytest.mark.prove, pytest.mark.filterwarnings("ignore")]

CIFAR = {  # google/ddpm-cifar10-32
    "sample_size": 32, "block_out_channels": [128, 256, 256, 256], "layers_per_block": 2, "dropout": 0.1,
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
    "attention_head_dim": None, "downsample_padding": 0, "flip_sin_to_cos": False, "freq_shift": 1, "norm_eps": 1e-6, "norm_num_groups": 32}
CONFIGS = {"google/ddpm-cifar10-32": CIFAR, **frozen_networks.CONFIGS}
TIMESTEPS = [1, 2, 501, 1000]  # ours
SCHEDULE = linear(1000)


def reference(options, dtype=np.float32, seed=0, everywhere=False):
    """A UNet2DModel with PyTorch's initial weights, and N(0, 0.05²) added to all biases, gains and shifts: some start at zero. Or to every weight."""
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
    """diffusers' model and ours, which was read from the folder that the first one saved."""
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
    """Let diffusers compute with our table of sines and cosines, which is float64 where its own is float32."""
    import torch

    class Waves(torch.nn.Module):
        def forward(self, t):
            return torch.from_numpy(unet.time.waves(t.numpy() + 1))

    model.time_proj = Waves()


def inject_their_waves(model, unet):
    """Let our network compute with diffusers' table, which is float32."""
    import torch
    unet.time.waves = lambda t: model.time_proj(torch.from_numpy(t) - 1).numpy().astype(unet.theta.dtype)


def output_error(options, dtype, inject=None, everywhere=False):
    model, unet = pair(options, dtype, everywhere)
    if inject:
        inject(model, unet)
    x = images(unet, 1, dtype)
    return max(relative(unet.denoise(x, np.array([t])), theirs(model, x, [t])) for t in TIMESTEPS)


def gradient_error(options, dtype, n=2):
    """The largest relative error of any parameter's gradient of Σ(output − target)², and that of a key bias, relative to a value bias."""
    import torch
    model, unet = pair(options, dtype)
    inject_our_waves(model, unet)
    x, target, t = images(unet, n, dtype), images(unet, n, dtype, seed=2), np.array([2, 501])[:n]
    (model(torch.from_numpy(x), torch.from_numpy(t) - 1).sample - torch.from_numpy(target)).square().sum().backward()
    difference = unet(x, t) - target
    (difference * difference).sum().backward()
    unet.bind(unet.grad)  # so that each tensor's view is one of the gradient
    found = {name: view for name, (_, view) in diffusers_unet.tensors(unet).items()}
    expected = {name: p.grad.numpy() for name, p in model.named_parameters()}
    assert found.keys() == expected.keys()
    worst = 0.0
    for name in found:
        if name.endswith("to_k.bias"):  # adds the same to a whole row before the softmax, which ignores it: exactly zero
            scale = abs(expected[name.replace("to_k", "to_v")]).max()
            assert max(abs(found[name]).max(), abs(expected[name]).max()) < 1e-4 * scale, name
        else:
            assert abs(expected[name]).max() > 0, name
            worst = max(worst, relative(found[name], expected[name]))
    return worst


def respaced(visited):
    """Of the timesteps to visit, rising: an array in which entry s is the s-th, and the schedule whose step s leads from one to the next."""
    steps = np.array([0, *visited])
    alpha_bar = SCHEDULE.alpha_bar[steps]
    return steps, Schedule(1 - alpha_bar[1:] / alpha_bar[:-1])


def loop_error(options, kind):
    """Ten steps on diffusers' grid from the same x_T, with PyTorch's noise on both sides; ε from the network, x̂_0 clipped."""
    import diffusers
    import torch
    model, unet = pair(options)
    x_T, generator = images(unet, 1, np.float32), Generator(0)
    scheduler = {"ddpm": diffusers.DDPMScheduler, "ddim": diffusers.DDIMScheduler}[kind]()
    scheduler.set_timesteps(10)
    sample, torch_generator = torch.from_numpy(x_T), torch.Generator().manual_seed(0)
    extra = {"ddpm": {}, "ddim": {"use_clipped_model_output": True}}[kind]
    with torch.no_grad():
        for t in scheduler.timesteps:
            sample = scheduler.step(model(sample, t).sample, t, sample, generator=torch_generator, **extra).prev_sample

    steps, schedule = respaced(scheduler.timesteps.numpy()[::-1] + 1)

    def denoiser(xt, s):
        eps = unet.denoise(xt, steps[s])
        return (xt - at(np.sqrt(1 - schedule.alpha_bar), s, xt) * eps) / at(np.sqrt(schedule.alpha_bar), s, xt)

    if kind == "ddpm":
        *_, (_, xt, _) = ancestral(denoiser, schedule, x_T, lambda s: generator.normal(x_T.shape))
    else:
        *_, (_, xt, _) = ddim(denoiser, schedule, x_T, steps=10)
    return relative(xt, sample.numpy())


def export_error(options, folder):
    """How far the tensors, and the output, are from the original after diffusers -> here -> diffusers."""
    from diffusers import UNet2DModel
    model, unet = pair(options)
    diffusers_unet.write(unet, folder)
    back = UNet2DModel.from_pretrained(folder)
    before, after = model.state_dict(), back.state_dict()
    assert before.keys() == after.keys()
    assert {k: v for k, v in back.config.items() if not k.startswith("_")} == {
        k: v for k, v in model.config.items() if not k.startswith("_")}
    x = images(unet, 1, np.float32)
    return (max(float((before[name] - after[name]).abs().max()) for name in before),
            max(relative(theirs(back, x, [t]), theirs(model, x, [t])) for t in TIMESTEPS))


@pytest.mark.parametrize("name", CONFIGS)
class TestOneFunction:
    def test_the_output(self, name):
        assert output_error(CONFIGS[name], np.float32) < 1e-5

    def test_the_output_in_float64(self, name):
        """Two tables of sines and cosines, one float32, are all that parts the two: with either table in both nothing is left. What the
        two make of the output depends on how much a network makes of t: less than 1e-6 as PyTorch starts, more with larger weights."""
        assert output_error(CONFIGS[name], np.float64) < 1e-6
        for everywhere in (False, True):
            assert output_error(CONFIGS[name], np.float64, inject_our_waves, everywhere) < 1e-12
            assert output_error(CONFIGS[name], np.float64, inject_their_waves, everywhere) < 1e-12

    def test_every_gradient(self, name):
        assert gradient_error(CONFIGS[name], np.float32) < 1e-4
        assert gradient_error(CONFIGS[name], np.float64, n=1) < 1e-10

    @pytest.mark.parametrize("kind", ["ddpm", "ddim"])
    def test_ten_steps_of_sampling(self, name, kind):
        assert loop_error(CONFIGS[name], kind) < 1e-4

    def test_the_way_back(self, name, tmp_path):
        tensors, output = export_error(CONFIGS[name], tmp_path / "out")
        assert tensors == 0 and output < 1e-5  # PyTorch chooses its convolution by where the memory lies, too


def test_with_the_faster_equivalents_too():
    from tinyddpm import fast
    fast.enable()
    try:
        for options in CONFIGS.values():
            assert output_error(options, np.float32) < 1e-5
            assert gradient_error(options, np.float32) < 1e-4
    finally:
        fast.disable()


# ---- our own networks, there ---------------------------------------------------------------------

OURS = {
    "default": UNetConfig(),
    "three levels, many heads": UNetConfig(image=(3, 16, 8), base=16, levels=(1, 2, 2), attention=(4,), heads=4),
    "no attention": UNetConfig(image=(1, 8, 8), base=8, levels=(1, 1), attention=(), middle_attention=False, groups=4, blocks=1),
}


def own(config, dtype=np.float32):
    unet = UNet(config).initialise(0, dtype)
    unet.theta += (0.05 * np.random.default_rng(0).standard_normal(unet.theta.shape)).astype(dtype)
    return unet


def own_error(config, folder):
    """In float32; and in float64 with one table of sines and cosines, of which the multipliers make much."""
    from diffusers import UNet2DModel
    errors = []
    for dtype in (np.float32, np.float64):
        unet = own(config, dtype)
        diffusers_unet.write(unet, folder)
        model, x = UNet2DModel.from_pretrained(folder), images(unet, 1, dtype)
        if dtype == np.float64:
            model = as_written(model.double(), folder)
            inject_our_waves(model, diffusers_unet.converted(unet))
        errors.append(max(relative(theirs(model, x, [t]), unet.denoise(x, np.array([t]))) for t in TIMESTEPS))
    return tuple(errors)


def as_written(model, folder):
    """diffusers rounds what it loads to float32: give it the numbers that are in the file."""
    from safetensors.torch import load_file
    model.load_state_dict(load_file(Path(folder) / diffusers_unet.WEIGHTS))
    return model


@pytest.mark.parametrize("name", OURS)
def test_our_own_network_there(name, tmp_path):
    in_float32, in_float64 = own_error(OURS[name], tmp_path)
    assert in_float32 < 1e-3 and in_float64 < 1e-11


def test_a_run_becomes_a_pipeline(tmp_path):
    from diffusers import DDPMPipeline

    from tinyddpm.runs import checkpoint
    from tinyddpm.runs.config import Config
    unet = own(UNetConfig())
    progress = {"progress": {"best": 0.5, "best_step": 1}}
    (tmp_path / "run").mkdir()
    checkpoint.save(tmp_path / "run/checkpoint.safetensors", checkpoint.Checkpoint(Config(), 1, unet.state(), unet.state(), progress))
    export_run(tmp_path / "run", tmp_path / "out")
    pipeline = DDPMPipeline.from_pretrained(tmp_path / "out")
    assert pipeline.scheduler.config.prediction_type == "sample"
    import torch
    image = pipeline(num_inference_steps=2, output_type="np", generator=torch.Generator().manual_seed(0)).images

    generator, (steps, schedule) = Generator(0), respaced(np.array([1, 501]))
    *_, (_, xt, _) = ancestral(lambda xt, s: unet.denoise(xt, steps[s]), schedule, generator.normal((1, 1, 8, 8)), lambda s: generator.normal((1, 1, 8, 8)))
    np.testing.assert_allclose(image[..., 0], (xt[:, 0] / 2 + 0.5).clip(0, 1), atol=1e-4)


def schedulers():
    import diffusers
    yield diffusers.DDPMScheduler()
    yield diffusers.DDPMScheduler(beta_schedule="scaled_linear", prediction_type="v_prediction", clip_sample=False, num_train_timesteps=50)
    yield diffusers.DDPMScheduler(beta_schedule="squaredcos_cap_v2", variance_type="fixed_large", clip_sample_range=2.0)
    yield diffusers.DDIMScheduler(trained_betas=[0.1, 0.2, 0.3], num_train_timesteps=3, prediction_type="sample")
    yield diffusers.DDPMScheduler(beta_schedule="sigmoid")


def test_schedulers_both_ways(tmp_path):
    from diffusers import DDPMScheduler
    for i, scheduler in enumerate(schedulers()):
        scheduler.save_pretrained(tmp_path / f"{i}")
        found = diffusers_scheduler.read(tmp_path / f"{i}")
        np.testing.assert_allclose(found.schedule.beta[1:], scheduler.betas.numpy(), rtol=3e-6, atol=1e-8)
        diffusers_scheduler.write(found, tmp_path / f"{i}")
        back = DDPMScheduler.from_pretrained(tmp_path / f"{i}")
        np.testing.assert_allclose(back.betas.numpy(), scheduler.betas.numpy(), rtol=3e-6, atol=1e-8)
        for name in ("prediction_type", "clip_sample", "clip_sample_range", "num_train_timesteps"):
            assert back.config[name] == scheduler.config[name] or name == "clip_sample_range" and not scheduler.config.clip_sample


# ---- the frozen case of the default tests --------------------------------------------------------


def frozen():
    """What frozen.json holds, from PyTorch, in float64."""
    import torch
    from diffusers import UNet2DModel
    found = {}
    for case, options in frozen_networks.CONFIGS.items():
        model = UNet2DModel(**options).double().eval()
        state = {name: torch.from_numpy(w) for name, w in frozen_networks.weights({n: p.shape for n, p in model.named_parameters()}).items()}
        model.load_state_dict(state)
        x, target = map(torch.from_numpy, frozen_networks.batch(options))
        out = model(x, torch.tensor(frozen_networks.T_ZERO_BASED)).sample
        (out - target).square().sum().backward()
        slopes = {name: float((p.grad.numpy() * frozen_networks.direction(name, p.shape)).sum()) for name, p in model.named_parameters()}
        assert all(abs(s) > 1e-6 or name.endswith("to_k.bias") for name, s in slopes.items())
        found[case] = {"output": out.detach().numpy().round(9).tolist(), "slopes": {n: float(f"{s:.9g}") for n, s in slopes.items()}}
    return found


def test_the_frozen_values_are_what_diffusers_says():
    stored = frozen_networks.load()
    for case, values in frozen().items():
        np.testing.assert_allclose(stored[case]["output"], values["output"], rtol=0, atol=2e-9 * np.abs(values["output"]).max())
        assert stored[case]["slopes"].keys() == values["slopes"].keys()
        scale = max(map(abs, values["slopes"].values()))
        for name, slope in values["slopes"].items():
            assert abs(stored[case]["slopes"][name] - slope) <= 1e-8 * abs(slope) + 1e-10 * scale, name


COLUMNS = {  # of the table: what is measured, for a network of diffusers read here
    "output": lambda options, folder: output_error(options, np.float32),
    "gradients": lambda options, folder: gradient_error(options, np.float32),
    "10 steps, DDPM": lambda options, folder: loop_error(options, "ddpm"),
    "10 steps, DDIM": lambda options, folder: loop_error(options, "ddim"),
    "written and read again: tensors, output": export_error,
    "float64: output": lambda options, folder: output_error(options, np.float64),
    "their table": lambda options, folder: output_error(options, np.float64, inject_their_waves),
    "our table": lambda options, folder: output_error(options, np.float64, inject_our_waves),
    "gradients, our table": lambda options, folder: gradient_error(options, np.float64, n=1),
    "larger weights: output": lambda options, folder: output_error(options, np.float64, everywhere=True),
    "our table ": lambda options, folder: output_error(options, np.float64, inject_our_waves, everywhere=True),
}


def table():
    """The errors of every configuration, as the tests measure them, relative to the largest value: a Markdown table."""
    import diffusers
    diffusers.logging.set_verbosity_error()
    print("| configuration |", *(f"{name} |" for name in COLUMNS), "\n|" + "---|" * (1 + len(COLUMNS)))
    for name, options in CONFIGS.items():
        print(f"| {name} |", end="")
        for measure in COLUMNS.values():
            with tempfile.TemporaryDirectory() as folder:
                found = measure(options, Path(folder) / "out")
            print(" " + ", ".join(f"{e:.1e}" for e in np.atleast_1d(found)), end=" |", flush=True)
        print()
    print("\n| our own network, read by diffusers | output, float32 | float64, our table |\n|---|---|---|")
    for name, config in OURS.items():
        with tempfile.TemporaryDirectory() as folder:
            print(f"| {name} |", *(f"{e:.1e} |" for e in own_error(config, Path(folder) / "out")), flush=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["freeze"]:
        frozen_networks.FILE.write_text(json.dumps(frozen(), separators=(",", ":")) + "\n")
    else:
        table()
