"""`tinyddpm import` and `tinyddpm export` lose nothing of a network.

If anything is wrong, they write nothing.
"""

import json
from itertools import pairwise

import numpy as np
import pytest
from diffusers_folders import folder_of
from safetensors.numpy import load_file

from tinyddpm import noise
from tinyddpm.cli import main
from tinyddpm.explore.chain import Chain, Settings
from tinyddpm.explore.explorer import Explorer
from tinyddpm.interop import diffusers_scheduler, diffusers_unet
from tinyddpm.interop.diffusers_unet import WEIGHTS
from tinyddpm.interop.imported import network
from tinyddpm.more.predictions import denoiser
from tinyddpm.nn import UNetConfig
from tinyddpm.runs import checkpoint
from tinyddpm.runs.config import Config
from tinyddpm.runs.diffusers import export_run, import_folder
from tinyddpm.runs.opening import Run
from tinyddpm.sampler import ancestral


def imported_network(saved):
    return network(saved.state, saved.ema)


@pytest.fixture
def model(tmp_path):
    """A folder as diffusers writes it, with a schedule of 40 steps and v-prediction."""
    folder = folder_of(tmp_path / "model")
    options = {"num_train_timesteps": 40, "prediction_type": "v_prediction", "beta_end": 0.1}
    (folder / "scheduler_config.json").write_text(json.dumps(options))
    return folder


def test_there_and_back(model, tmp_path):
    unet, scheduler = import_folder(model, tmp_path / "run")
    assert (scheduler.schedule.T, scheduler.predicts) == (40, "v")
    again, found = imported_network(checkpoint.load(tmp_path / "run/checkpoint.safetensors"))
    np.testing.assert_array_equal(again.theta, unet.theta)
    assert again.config == unet.config and found[1:] == scheduler[1:]
    assert (found.schedule.beta == scheduler.schedule.beta).all()

    out = tmp_path / "out"
    export_run(tmp_path / "run", out)
    before, after = load_file(model / WEIGHTS), load_file(out / WEIGHTS)
    assert before.keys() == after.keys()
    assert all((before[name] == after[name]).all() for name in before)
    assert diffusers_scheduler.read(out).predicts == "v"
    names = ["config.json", WEIGHTS, "model_index.json", "scheduler_config.json"]
    assert sorted(path.name for path in out.iterdir()) == names
    assert not list(tmp_path.glob("*.writing"))


def test_without_a_scheduler_it_is_taken_for_one_of_ho_et_al(model, tmp_path):
    (model / "scheduler_config.json").unlink()
    _, scheduler = import_folder(model, tmp_path / "run")
    assert (scheduler.schedule.T, scheduler.predicts, scheduler.clip) == (1000, "eps", 1.0)


def test_a_run_of_our_own_is_exported_with_its_ema(tmp_path):
    config = Config(T=30, noise_schedule="cosine", unet=UNetConfig(base=4, groups=2, blocks=1))
    theta, ema = (config.make_unet().initialise(seed) for seed in (1, 2))
    for unet in (theta, ema):
        draws = np.random.default_rng(0).standard_normal(unet.theta.shape)
        unet.theta += 0.05 * draws.astype(np.float32)
    (tmp_path / "run").mkdir()
    progress = {"progress": {"best": 0.5, "best_step": 3}}
    saved = checkpoint.Checkpoint(config, 3, theta.state(), ema.state(), progress)
    checkpoint.save(tmp_path / "run/checkpoint.safetensors", saved)
    export_run(tmp_path / "run", tmp_path / "out")

    again = diffusers_unet.read(tmp_path / "out")
    x = np.random.default_rng(1).standard_normal((2, 1, 8, 8)).astype(np.float32)
    t = np.array([1, 30])
    expected = ema.denoise(x, t)
    error = abs(again.denoise(x, t) - expected).max()
    without_ema = abs(theta.denoise(x, t) - expected).max()
    assert error < 1e-4 * abs(expected).max() < without_ema
    found = diffusers_scheduler.read(tmp_path / "out")
    assert found.predicts == "x0"
    np.testing.assert_allclose(found.schedule.beta, config.make_schedule().beta, rtol=1e-12)
    assert imported_network(Run(tmp_path / "run").saved) is None


def test_an_imported_run_is_not_taken_for_one_of_our_own(model, tmp_path):
    """Its numbers would fit into a plain U-Net, which would compute something else with them."""
    import_folder(model, tmp_path / "run")
    saved = checkpoint.load(tmp_path / "run/checkpoint.safetensors")
    with pytest.raises(checkpoint.CheckpointError, match="conv_in.bias is not of this network"):
        checkpoint.fill(saved.config.make_unet().initialise(0), saved.ema)


NOT_EMPTY = "run: expected a folder that is new or empty"


@pytest.fixture
def occupied(tmp_path):
    """A folder that holds something already."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "note.txt").write_text("mine")
    yield folder
    assert [path.name for path in folder.iterdir()] == ["note.txt"]


def test_no_import_if_anything_is_wrong(model, occupied, tmp_path):
    with pytest.raises(ValueError, match=NOT_EMPTY):
        import_folder(model, occupied)
    (model / "scheduler_config.json").write_text('{"thresholding": true}')
    with pytest.raises(ValueError, match="thresholding"):
        import_folder(model, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_no_export_if_anything_is_wrong(occupied, tmp_path):
    config = Config(unet=UNetConfig(base=4, groups=2, blocks=1, time_conditioning=False))
    values = config.make_unet().initialise(0).state()
    saved = checkpoint.Checkpoint(config, 1, values, values, {"progress": {}})
    checkpoint.save(tmp_path / "c.safetensors", saved)
    with pytest.raises(ValueError, match="time_conditioning"):
        export_run(tmp_path / "c.safetensors", tmp_path / "out")
    with pytest.raises(ValueError, match=NOT_EMPTY):
        export_run(tmp_path / "c.safetensors", occupied)
    with pytest.raises(ValueError, match="expected the name of a folder that is new or empty"):
        export_run(tmp_path / "c.safetensors", ".")
    assert not (tmp_path / "out").exists()


def test_the_command_line_imports_samples_and_exports(model, tmp_path, capsys):
    """The samples are those of the network read directly, its v turned into x̂_0.

    Their variance is the one that it asks for, large or small.
    """
    out, samples = tmp_path / "run", tmp_path / "samples.npz"
    assert main(["import", str(model), "--out", str(out)]) == 0
    assert main(["sample", str(out), "--n", "2", "--sampler", "ddpm", "--out", str(samples)]) == 0
    assert main(["export", str(out), str(tmp_path / "again")]) == 0
    said = capsys.readouterr().out
    assert "predicts v, T = 40" in said and "call that with num_inference_steps=40" in said
    file = out / "checkpoint.safetensors"
    assert main(["export", str(file), str(tmp_path / "of the file")]) == 0
    for path in (path for path in (tmp_path / "again").rglob("*") if path.is_file()):
        same = tmp_path / "of the file" / path.relative_to(tmp_path / "again")
        assert same.read_bytes() == path.read_bytes(), path

    unet, scheduler = diffusers_unet.read(model), diffusers_scheduler.read(model)
    schedule = scheduler.schedule
    run = Run(out)
    assert run.predicts == "v" and (run.variance is not None) == scheduler.large_variance

    def draw(step):
        return noise.normal(0, "sampling", step, np.arange(2), unet.config.image)

    variance = schedule.beta if scheduler.large_variance else None
    denoise = denoiser(unet.denoise, schedule, "v")
    *_, (_, expected, _) = ancestral(denoise, schedule, draw(0), draw, variance=variance)
    *_, (_, found, _) = run.sample(2, "ddpm")
    np.testing.assert_allclose(found, expected, atol=1e-4)


# An imported model is sampled as its scheduler says. What the scheduler says, by hand.
AS_THE_SCHEDULER_SAYS = [
    ({}, 1.0, [30, 24, 18, 12, 6, 0]),
    ({"clip_sample_range": 2.0}, 2.0, [30, 24, 18, 12, 6, 0]),
    ({"clip_sample": False, "timestep_spacing": "trailing"}, np.inf, [39, 32, 26, 19, 12, 6]),
    ({"clip_sample": False, "timestep_spacing": "linspace"}, np.inf, [39, 31, 23, 16, 8, 0]),
    ({"variance_type": "fixed_large"}, 1.0, None),
    ({"variance_type": "fixed_large", "clip_sample_range": 1.5}, 1.5, None),
    ({"clip_sample": False}, np.inf, None),
]


@pytest.mark.parametrize("options, bound, grid", AS_THE_SCHEDULER_SAYS)
def test_an_imported_model_is_sampled_as_its_scheduler_says(model, tmp_path, options, bound, grid):
    """The chain of DDPM (grid None) or DDIM, from diffusers' formulas, t counted from 0."""
    beta = np.linspace(1e-4, 0.1, 40)
    common = {"num_train_timesteps": 40, "beta_end": 0.1, "prediction_type": "sample"}
    (model / "scheduler_config.json").write_text(json.dumps(common | options))
    import_folder(model, tmp_path / "run")
    unet = diffusers_unet.read(model)

    def draw(step):
        return noise.normal(0, "sampling", step, np.arange(2), unet.config.image)

    alpha_bar = np.append(np.cumprod(1 - beta), 1.0)  # the last is the clean image, at −1
    x, largest = draw(0).astype(np.float64), 0.0
    for t, before in pairwise([*(range(39, -1, -1) if grid is None else grid), -1]):
        x0 = unet.denoise(x.astype(np.float32), np.full(2, t + 1)).clip(-bound, bound)
        largest = max(largest, abs(x0).max())
        a, b = alpha_bar[t], alpha_bar[before]
        if grid is None:
            small = beta[t] * (1 - b) / (1 - a)
            variance = beta[t] if options.get("variance_type") == "fixed_large" else small
            x = (b**0.5 * beta[t] * x0 + (1 - beta[t]) ** 0.5 * (1 - b) * x) / (1 - a)
            x += variance**0.5 * draw(t + 1) if t > 0 else 0
        else:
            eps = (x - a**0.5 * x0) / (1 - a) ** 0.5
            x = b**0.5 * x0 + (1 - b) ** 0.5 * eps
    assert largest == bound or (bound == np.inf and largest > 1)

    run = Run(tmp_path / "run")
    *_, (_, found, _) = run.sample(2, "ddpm") if grid is None else run.sample(2, "ddim", 6)
    np.testing.assert_allclose(found, x, atol=1e-4 * abs(x).max())


def test_without_a_sampler_an_imported_model_draws_as_ddim_of_diffusers_does(model, tmp_path):
    """Its own timesteps, its own bound, no noise: by whatever steps are asked for."""
    options = {"num_train_timesteps": 40, "prediction_type": "sample", "clip_sample_range": 1.5}
    (model / "scheduler_config.json").write_text(json.dumps(options))
    import_folder(model, tmp_path / "run")
    run, out = Run(tmp_path / "run"), tmp_path / "samples.npz"
    assert run.chain() == {"sampler": "ddim", "steps": 40, "clip": 1.5}
    command = ["sample", str(tmp_path / "run"), "--n", "2", "--steps", "6", "--out", str(out)]
    assert main(command) == 0
    *_, (_, expected, _) = run.sample(2, "ddim", 6)
    with np.load(out) as found:
        np.testing.assert_array_equal(found["images"], expected)


def test_the_command_lines_clip_goes_before_the_models_own(model, tmp_path):
    options = {"num_train_timesteps": 4, "prediction_type": "sample", "clip_sample_range": 1.5}
    (model / "scheduler_config.json").write_text(json.dumps(options))
    import_folder(model, tmp_path / "run")
    largest = []
    for clip in ([], ["--clip", "yes"], ["--clip", "no"]):
        out = tmp_path / "samples.npz"
        assert (
            main(["sample", str(tmp_path / "run"), "--steps", "4", *clip, "--out", str(out)]) == 0
        )
        with np.load(out) as found:
            largest.append(abs(found["images"]).max())
    assert largest[0] == largest[1] == 1.5 < largest[2]


@pytest.mark.parametrize("sampler", ["ddpm", "ddim"])
def test_the_explorer_draws_what_the_model_does(model, tmp_path, sampler):
    options = {"num_train_timesteps": 8, "prediction_type": "sample", "clip_sample_range": 2.0}
    options |= {"timestep_spacing": "trailing", "variance_type": "fixed_large"}
    (model / "scheduler_config.json").write_text(json.dumps(options))
    import_folder(model, tmp_path / "run")
    explorer = Explorer(tmp_path / "run")
    *_, (_, _, found) = Chain(explorer, seed=0, n=2).rest(Settings(sampler, 8))
    *_, (_, _, expected) = explorer.run.sample(2, sampler, 8)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert abs(expected).max() > 1.01


def test_a_checkpoint_from_before_the_spacing_was_read_visits_the_steps_that_it_did(
    model, tmp_path
):
    import_folder(model, tmp_path / "run")
    saved = checkpoint.load(tmp_path / "run/checkpoint.safetensors")
    for name in ("timestep_spacing", "steps_offset"):
        del saved.state["diffusers"]["scheduler"][name]
    _, scheduler = imported_network(saved)
    assert scheduler.timesteps(4) == [40, 30, 20, 10]


def test_an_import_from_nowhere_makes_no_folder(tmp_path):
    assert main(["import", str(tmp_path / "nowhere"), "--out", str(tmp_path / "x")]) == 2
    assert not (tmp_path / "x").exists()
