"""A UNet2DModel of diffusers with a learned variance: out_channels = 2·in_channels."""

import json

import numpy as np
import pytest
from diffusers_folders import bound, shapes
from frozen_networks import CONFIGS, weights
from safetensors.numpy import load_file, save_file

from tinyddpm.cli import main
from tinyddpm.interop import diffusers_scheduler
from tinyddpm.interop.diffusers_config import from_options, to_options
from tinyddpm.interop.diffusers_unet import CONFIG, WEIGHTS, DiffusersVarianceUNet, from_config
from tinyddpm.more.variance import VarianceDenoiser, ancestral_learned
from tinyddpm.runs.diffusers import import_folder
from tinyddpm.runs.opening import Run

OPTIONS = CONFIGS["plain"] | {"out_channels": 2 * CONFIGS["plain"]["in_channels"]}
C = CONFIGS["plain"]["in_channels"]
LEARNED = {"num_train_timesteps": 20, "beta_end": 0.1, "variance_type": "learned_range"}


def folder_of(path, scheduler=LEARNED):
    path.mkdir()
    unet = bound(from_config(OPTIONS))
    save_file({n: w.astype(np.float32) for n, w in weights(shapes(unet)).items()}, path / WEIGHTS)
    (path / CONFIG).write_text(json.dumps(OPTIONS))
    if scheduler is not None:
        (path / diffusers_scheduler.CONFIG).write_text(json.dumps(scheduler))
    return path


def test_the_options_come_back():
    config = from_options(OPTIONS)
    assert config.learned_variance and to_options(config)["out_channels"] == 2 * C
    assert from_options(to_options(config)) == config
    assert not from_options(CONFIGS["plain"]).learned_variance
    for wrong in (2 * C + 1, 3 * C):
        with pytest.raises(ValueError, match=f"out_channels: .* or {2 * C}, with a learned vari"):
            from_options(OPTIONS | {"out_channels": wrong})


def test_it_is_drawn_from_with_its_variance(tmp_path):
    unet, scheduler = import_folder(folder_of(tmp_path / "model"), tmp_path / "run")
    assert isinstance(unet, DiffusersVarianceUNet) and scheduler.learned_variance
    opened = Run(tmp_path / "run")
    assert opened.learned
    z = np.random.default_rng(0).standard_normal((21, 2, *opened.config.unet.image))
    z = z.astype(np.float32)
    denoiser = VarianceDenoiser(unet.denoise, scheduler.schedule, "eps")
    *_, (_, own, _) = ancestral_learned(denoiser, scheduler.schedule, z[0], lambda t: z[t])
    with opened.denoiser() as denoise:
        *_, (_, x, _) = ancestral_learned(denoise, opened.schedule, z[0], lambda t: z[t])
    np.testing.assert_allclose(x, own, rtol=1e-3, atol=1e-3)
    *_, (t, x, _) = opened.sample(2, "ddpm", steps=5)
    assert t == 0 and np.isfinite(x).all()


@pytest.mark.parametrize(
    ("scheduler", "learned", "note"),
    [
        (LEARNED, True, "variance: learned; `tinyddpm sample --sampler ddpm` draws with it"),
        (None, True, "variance: learned;"),
        ({"_class_name": "DDIMScheduler"}, True, "variance: learned;"),
        ({"variance_type": "fixed_small"}, False, "which is not used"),
    ],
)
def test_it_says_what_becomes_of_the_variance(scheduler, learned, note, tmp_path, capsys):
    model = folder_of(tmp_path / "model", scheduler)
    assert main(["import", str(model), "--out", str(tmp_path / "run")]) == 0
    assert note in capsys.readouterr().out
    opened = Run(tmp_path / "run")
    assert opened.learned == learned
    drawn = ["--sampler", "ddim", "--steps", "3", "--n", "2", "--out", str(tmp_path / "x.png")]
    assert main(["sample", str(tmp_path / "run"), *drawn]) == 0


def test_it_goes_back_to_diffusers_as_it_came(tmp_path):
    model = folder_of(tmp_path / "model")
    assert main(["import", str(model), "--out", str(tmp_path / "run")]) == 0
    assert main(["export", str(tmp_path / "run"), str(tmp_path / "out")]) == 0
    before, after = load_file(model / WEIGHTS), load_file(tmp_path / "out" / WEIGHTS)
    assert before.keys() == after.keys()
    assert all((before[name] == after[name]).all() for name in before)
    options = json.loads((tmp_path / "out" / CONFIG).read_text())
    assert options["out_channels"] == 2 * options["in_channels"]
    assert diffusers_scheduler.read(tmp_path / "out").learned_variance


def test_a_learned_variance_without_a_network_that_says_it_is_refused(tmp_path, capsys):
    model = folder_of(tmp_path / "model")
    plain = bound(from_config(CONFIGS["plain"]))
    save_file({n: w.astype(np.float32) for n, w in weights(shapes(plain)).items()}, model / WEIGHTS)
    (model / CONFIG).write_text(json.dumps(CONFIGS["plain"]))
    assert main(["import", str(model), "--out", str(tmp_path / "run")]) == 2
    assert "variance_type: expected fixed_small or fixed_large, since" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
