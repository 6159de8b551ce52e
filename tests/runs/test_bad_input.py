"""Bad run folders, bad requests and images that teach nothing: one clear line, nothing written."""

import numpy as np
import pytest
from small_runs import LEAST, assert_refused

from tinyddpm import cli, data, schedule
from tinyddpm.runs.config import Config, from_dict
from tinyddpm.runs.folder import CHECKPOINT
from tinyddpm.runs.heldout import Draws, mean_image
from tinyddpm.runs.opening import Run
from tinyddpm.runs.training import run

# What follows `tinyddpm sample RUN`, of a run with T = 12, and what must be said.
REQUESTS = {
    "--n 0": "n: expected at least 1",
    "--n 999999999999": "n: expected at least 1, and at most the 8388608 images",
    "--steps 0": "steps: expected 1 to T = 12, got 0",
    "--steps 13": "got 13",
    "--eta 2": "eta: expected 0 to 1, got 2.0",
    "--eta nan": "eta: expected 0 to 1, got nan",
    "--eta -0.1": "eta: expected 0 to 1",
    "--sampler ddpm --eta 0.5": "eta: ddpm always adds its noise",
    "--sampler ddpm --steps 5": "ddpm takes all T = 12 steps",
    "--class 3": "class: expected a run that was trained with --classes",
    "--guidance 3": "guidance: expected a run that was trained with --classes",
    "--out absent/x.png": "--out: expected a folder that exists",
    "--out x.txt": "expected a name that ends in",
    "--clip maybe": "'maybe' is not one of",
    "--device cuda:x": "device: expected cpu",
}
IMAGES = {
    "grey": np.zeros((9, 1, 4, 4), np.float32),
    "black": np.full((9, 1, 4, 4), -1, np.float32),
    "one white": np.ones((1, 1, 4, 4), np.float32),
    "one pixel": np.zeros((7, 3, 1, 1), np.float32),
}


@pytest.mark.parametrize(
    "out, problem", [("file", "is a file"), ("file/x", "file/x: Not a directory"), ("\0", "")]
)
def test_run_folders(out, problem, place, capsys):
    (place / "file").write_text("x")
    assert_refused(["train", "--out", out], problem, place, capsys)


@pytest.mark.parametrize("command", ["sample", "info", "plot"])
@pytest.mark.parametrize(
    "run, problem",
    [
        ("file", "a file of 1 bytes that is no .safetensors file"),
        ("pipe", "expected a checkpoint file, got a folder, a pipe or a device"),
        ("absent", "there is no such file"),
        (".", "expected a run folder, there is no checkpoint in it"),
    ],
)
def test_runs(command, run, problem, place, capsys):
    (place / "file").write_text("x")
    assert_refused([command, run], problem, place, capsys)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    run(Config(T=12, batch_size=2, every=1, steps=1, workers=1, unet=LEAST), folder)
    return folder


@pytest.mark.parametrize("options", REQUESTS)
def test_requests_for_samples(options, trained, place, capsys):
    assert_refused(["sample", str(trained), *options.split()], REQUESTS[options], place, capsys)


def test_not_enough_memory_is_one_line(trained, place, capsys, monkeypatch):
    def no_room(*args):
        raise MemoryError("Unable to allocate 3 EiB")

    monkeypatch.setattr("tinyddpm.runs.opening.noise.normal", no_room)
    problem = "out of memory: Unable to allocate 3 EiB"
    assert_refused(["sample", str(trained)], problem, place, capsys)


def test_a_run_from_another_data_set_is_named(trained, tmp_path, capsys):
    np.save(tmp_path / "x.npy", np.zeros((7, 8, 8), np.float32))
    before = (trained / CHECKPOINT).read_bytes()
    other = str(tmp_path / "x.npy")
    assert cli.main(["train", "--out", str(trained), "--resume", "--data", other]) == 2
    problem = f"data: {other} does not hold the images that the run to resume was trained on"
    assert f"{problem} (it had data digits)" in capsys.readouterr().err
    assert (trained / CHECKPOINT).read_bytes() == before


def test_many_levels_are_allowed_where_the_images_are_large_enough():
    config = from_dict({"levels": [1] * 5, "size": 32}).for_images((3, 32, 32))
    assert config.unet.levels == (1,) * 5
    with pytest.raises(ValueError, match="height and width divisible by 16, for 5 levels"):
        from_dict({"levels": [1] * 5}).for_images((1, 8, 8))


@pytest.mark.parametrize("name", IMAGES)
def test_images_that_teach_nothing_train_without_a_crash_or_a_nan(name, tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, IMAGES[name])
    config = Config(data=str(path), T=5, batch_size=3, every=2, steps=4, workers=1, unet=LEAST)
    summary = run(config, tmp_path / "run")
    assert summary.step == 4 and np.isfinite(summary.held_out)
    *_, (t, x0, _) = Run(tmp_path / "run").sample(2, "ddim", 3)
    assert t == 0 and np.isfinite(x0).all()
    assert x0.shape == (2, *data.load(path).images.shape[1:])


def test_a_denoiser_of_another_shape_is_noticed():
    images = data.digits().images
    draws = Draws(images[:4], schedule.linear(10))
    with pytest.raises(ValueError):
        draws.evaluate(lambda xt, t: np.zeros((len(xt), 3, 5, 5), np.float32))
    assert draws.evaluate(mean_image(images)).shape == (10,)
