"""A learned variance is diffusers' `variance_type="learned_range"`, and its networks are ours.

Needs the extra `bench`: `make prove` installs it. diffusers' DDPM leaves out the noise of the step
from its t = 0, and not of the last step. So on a strided grid the last step is not compared.
"""

import json

import numpy as np
import pytest

from tests.prove.test_diffusers_samplers import (
    SCHEDULE,
    SHAPE,
    T,
    assert_close,
    output,
    scheduler,
    torch_noise,
    x_T,
)
from tinyddpm.more.variance import VarianceDenoiser, VarianceUNet, ancestral_learned
from tinyddpm.nn import UNetConfig
from tinyddpm.runs import checkpoint
from tinyddpm.runs.config import from_dict
from tinyddpm.runs.diffusers import export_run, import_folder
from tinyddpm.runs.opening import Run

pytestmark = [pytest.mark.prove, pytest.mark.filterwarnings("ignore")]
C = SHAPE[1]
PREDICTS = {"sample": "x0", "epsilon": "eps", "v_prediction": "v"}


def v_of(xt):
    """A v that leaves [−1, 1] here and there."""
    return 1.2 * np.cos(2 * xt)


@pytest.mark.parametrize("predicts", PREDICTS)
@pytest.mark.parametrize("clip", [None, 1.0], ids=["free", "clipped"])
@pytest.mark.parametrize("steps", [1000, 50])
def test_every_step_of_ddpm(predicts, clip, steps):
    import torch

    def network(xt, t):
        said = output(predicts, xt[:, :C], int(t[0])).numpy()
        return np.concatenate([said, v_of(xt[:, :C])], axis=1)

    generator, noise = torch_noise(1)
    how = {"variance_type": "learned_range", "clip_sample": clip is not None}
    theirs = scheduler("DDPMScheduler", prediction_type=predicts, **how)
    theirs.set_timesteps(steps)
    denoiser = VarianceDenoiser(network, SCHEDULE, PREDICTS[predicts])
    xt, compared = x_T(), 0
    ours = ancestral_learned(denoiser, SCHEDULE, xt, noise, steps, clip)
    for zero_based, (then, after, x0_hat) in zip(theirs.timesteps.tolist(), ours, strict=True):
        t, sample = int(zero_based) + 1, torch.from_numpy(xt)
        said = torch.from_numpy(network(xt, np.full(len(xt), t)))
        result = theirs.step(said, int(zero_based), sample, generator=generator(t))
        if then or steps == T:
            assert_close(result.prev_sample, after)
            compared += 1
        assert_close(result.pred_original_sample, x0_hat)
        xt = after
    assert compared >= steps - 1


def model(**options):
    import torch
    from diffusers import UNet2DModel

    torch.manual_seed(0)
    options = {
        "sample_size": 8,
        "in_channels": 2,
        "out_channels": 4,
        "block_out_channels": (8, 16),
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
        "norm_num_groups": 4,
        "attention_head_dim": 8,
    } | options
    return UNet2DModel(**options).eval()


def test_their_network_here(tmp_path):
    import torch
    from diffusers import DDPMScheduler

    theirs = model()
    theirs.save_pretrained(tmp_path / "model")
    how = {"variance_type": "learned_range", "num_train_timesteps": 40, "beta_end": 0.1}
    DDPMScheduler(**how).save_pretrained(tmp_path / "model")
    unet, found = import_folder(tmp_path / "model", tmp_path / "run")
    assert found.learned_variance and Run(tmp_path / "run").learned
    x = np.random.default_rng(0).standard_normal((3, 2, 8, 8)).astype(np.float32)
    t = np.array([1, 20, 40])
    with torch.no_grad():
        said = theirs(torch.from_numpy(x), torch.from_numpy(t - 1)).sample.numpy()
    np.testing.assert_allclose(unet.with_v(x, t).data, said, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(unet.denoise(x, t), said[:, :2], rtol=1e-4, atol=1e-5)


def test_our_network_there(tmp_path):
    """A run's export is a pipeline that draws, with our network's output and v in it."""
    import torch
    from diffusers import DDPMPipeline

    config = from_dict({"learn_sigma": True, "predicts": "eps", "T": 30, "optimiser": "adam"})
    unet = VarianceUNet(UNetConfig(), config.make_unet().c).initialise(0)
    rng = np.random.default_rng(0)
    unet.theta += 0.05 * rng.standard_normal(unet.theta.shape).astype(np.float32)
    (tmp_path / "run").mkdir()
    progress = {"progress": {"best": 0.5, "best_step": 1}}
    saved = checkpoint.Checkpoint(config, 1, unet.state(), unet.state(), progress)
    checkpoint.save(tmp_path / "run/checkpoint.safetensors", saved)
    export_run(tmp_path / "run", tmp_path / "out")
    options = json.loads((tmp_path / "out/scheduler_config.json").read_text())
    assert options["variance_type"] == "learned_range"

    pipeline = DDPMPipeline.from_pretrained(tmp_path / "out")
    assert pipeline.unet.config.out_channels == 2 * pipeline.unet.config.in_channels
    x = rng.standard_normal((3, 1, 8, 8)).astype(np.float32)
    t = np.array([1, 15, 30])
    with torch.no_grad():
        said = pipeline.unet(torch.from_numpy(x), torch.from_numpy(t - 1)).sample.numpy()
    np.testing.assert_allclose(said, unet.with_v(x, t).data, rtol=1e-3, atol=1e-4)
    seed = torch.Generator().manual_seed(0)
    images = pipeline(num_inference_steps=30, output_type="np", generator=seed).images
    assert images.shape == (1, 8, 8, 1) and np.isfinite(images).all()
