"""A UNet2DModel of diffusers and its double here are one function, in both directions.

Outputs, gradients and sampling agree. Needs the extra `bench`: `make prove` installs it.
`python -m tests.prove.diffusers_table` prints the errors.
"""

import numpy as np
import pytest

from tests.interop import frozen_networks
from tests.prove.diffusers_errors import (
    CONFIGS,
    OURS,
    export_error,
    gradient_error,
    inject_our_waves,
    inject_their_waves,
    loop_error,
    output_error,
    own,
    own_error,
    respaced,
)
from tests.prove.diffusers_table import frozen
from tinyddpm.interop import diffusers_scheduler
from tinyddpm.interop.torch_random import Generator
from tinyddpm.nn import UNetConfig
from tinyddpm.runs.diffusers import export_run
from tinyddpm.sampler import ancestral

pytestmark = [pytest.mark.prove, pytest.mark.filterwarnings("ignore")]


@pytest.mark.parametrize("name", CONFIGS)
class TestOneFunction:
    def test_the_output(self, name):
        assert output_error(CONFIGS[name], np.float32) < 1e-5

    def test_the_output_in_float64(self, name):
        """The two differ only in their tables of sines and cosines: diffusers' is float32.

        With either table in both, nothing is left. How much the tables change the output depends on
        the weight that a network gives to t: less than 1e-6 with PyTorch's initial weights, more
        with larger ones.
        """
        assert output_error(CONFIGS[name], np.float64) < 1e-6
        for everywhere in (False, True):
            for inject in (inject_our_waves, inject_their_waves):
                assert output_error(CONFIGS[name], np.float64, inject, everywhere) < 1e-12

    def test_every_gradient(self, name):
        assert gradient_error(CONFIGS[name], np.float32) < 1e-4
        assert gradient_error(CONFIGS[name], np.float64, n=1) < 1e-10

    @pytest.mark.parametrize("kind", ["ddpm", "ddim"])
    def test_ten_steps_of_sampling(self, name, kind):
        assert loop_error(CONFIGS[name], kind) < 1e-4

    def test_the_way_back(self, name, tmp_path):
        tensors, output = export_error(CONFIGS[name], tmp_path / "out")
        # PyTorch chooses its convolution by where the memory lies, too.
        assert tensors == 0 and output < 1e-5


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


@pytest.mark.parametrize("name", OURS)
def test_our_own_network_there(name, tmp_path):
    in_float32, in_float64 = own_error(OURS[name], tmp_path)
    assert in_float32 < 1e-3 and in_float64 < 1e-11


def test_a_run_becomes_a_pipeline(tmp_path):
    import torch
    from diffusers import DDPMPipeline

    from tinyddpm.runs import checkpoint
    from tinyddpm.runs.config import Config

    unet = own(UNetConfig())
    progress = {"progress": {"best": 0.5, "best_step": 1}}
    (tmp_path / "run").mkdir()
    saved = checkpoint.Checkpoint(Config(), 1, unet.state(), unet.state(), progress)
    checkpoint.save(tmp_path / "run/checkpoint.safetensors", saved)
    export_run(tmp_path / "run", tmp_path / "out")
    pipeline = DDPMPipeline.from_pretrained(tmp_path / "out")
    assert pipeline.scheduler.config.prediction_type == "sample"
    seed = torch.Generator().manual_seed(0)
    image = pipeline(num_inference_steps=2, output_type="np", generator=seed).images

    # an export says "trailing": diffusers then visits the timesteps that we would visit
    generator, (steps, schedule) = Generator(0), respaced(np.array([500, 1000]))

    def denoise(xt, s):
        return unet.denoise(xt, steps[s])

    def noise(s):
        return generator.normal((1, 1, 8, 8))

    *_, (_, xt, _) = ancestral(denoise, schedule, noise(schedule.T), noise)
    np.testing.assert_allclose(image[..., 0], (xt[:, 0] / 2 + 0.5).clip(0, 1), atol=1e-4)


# ---- schedulers ----------------------------------------------------------------------------------

# Name of the class, and its options.
SCHEDULERS = [
    ("DDPMScheduler", {}),
    (
        "DDPMScheduler",
        {
            "beta_schedule": "scaled_linear",
            "prediction_type": "v_prediction",
            "clip_sample": False,
            "num_train_timesteps": 50,
        },
    ),
    (
        "DDPMScheduler",
        {
            "beta_schedule": "squaredcos_cap_v2",
            "variance_type": "fixed_large",
            "clip_sample_range": 2.0,
        },
    ),
    (
        "DDIMScheduler",
        {
            "trained_betas": [0.1, 0.2, 0.3],
            "num_train_timesteps": 3,
            "prediction_type": "sample",
        },
    ),
    ("DDPMScheduler", {"beta_schedule": "sigmoid"}),
]


@pytest.mark.parametrize("name, options", SCHEDULERS)
def test_schedulers_both_ways(name, options, tmp_path):
    import diffusers

    scheduler = getattr(diffusers, name)(**options)
    betas = scheduler.betas.numpy()
    scheduler.save_pretrained(tmp_path)
    found = diffusers_scheduler.read(tmp_path)
    np.testing.assert_allclose(found.schedule.beta[1:], betas, rtol=3e-6, atol=1e-8)
    diffusers_scheduler.write(found, tmp_path)
    back = diffusers.DDPMScheduler.from_pretrained(tmp_path)
    np.testing.assert_allclose(back.betas.numpy(), betas, rtol=3e-6, atol=1e-8)
    compared = ["prediction_type", "clip_sample", "num_train_timesteps"]
    compared += ["clip_sample_range"] * scheduler.config.clip_sample
    for option in compared:
        assert back.config[option] == scheduler.config[option]


# ---- the frozen case of the default tests --------------------------------------------------------


def test_the_frozen_values_are_what_diffusers_says():
    stored = frozen_networks.load()
    for case, values in frozen().items():
        atol = 2e-9 * np.abs(values["output"]).max()
        np.testing.assert_allclose(stored[case]["output"], values["output"], rtol=0, atol=atol)
        slopes = stored[case]["slopes"]
        assert slopes.keys() == values["slopes"].keys()
        scale = max(map(abs, values["slopes"].values()))
        for name, slope in values["slopes"].items():
            assert abs(slopes[name] - slope) <= 1e-8 * abs(slope) + 1e-10 * scale, name
