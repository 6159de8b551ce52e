"""`tinyddpm import` and `tinyddpm export` lose nothing of a network.

If anything is wrong, they write nothing.
"""

import json

import numpy as np
import pytest
from diffusers_folders import folder_of
from safetensors.numpy import load_file

from tinyddpm import noise
from tinyddpm.cli import main
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
    assert not (tmp_path / "out").exists()


def test_the_command_line_imports_samples_and_exports(model, tmp_path, capsys):
    """The samples are those of the network read directly, its v turned into x̂_0.

    Their variance is the one that it asks for, large or small.
    """
    out, samples = tmp_path / "run", tmp_path / "samples.npz"
    assert main(["import", str(model), "--out", str(out)]) == 0
    assert main(["sample", str(out), "--n", "2", "--sampler", "ddpm", "--out", str(samples)]) == 0
    assert main(["export", str(out), str(tmp_path / "again")]) == 0
    assert "predicts v, T = 40" in capsys.readouterr().out

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


def test_an_import_from_nowhere_makes_no_folder(tmp_path):
    assert main(["import", str(tmp_path / "nowhere"), "--out", str(tmp_path / "x")]) == 2
    assert not (tmp_path / "x").exists()
