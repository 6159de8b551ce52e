"""`tinyddpm eval`: what it prints, writes and finds out."""

import json

import numpy as np
import pytest
from PIL import Image

from tinyddpm import cli, data
from tinyddpm.evaluation.evaluate import COLUMNS, evaluate
from tinyddpm.nn import UNetConfig
from tinyddpm.runs.config import Config
from tinyddpm.runs.opening import Run
from tinyddpm.runs.training import run

SMALL = Config(
    T=12,
    batch_size=8,
    beta=0.5,
    warmup=2,
    every=2,
    steps=4,
    unet=UNetConfig(base=4, groups=2, blocks=1),
)
DIGITS = data.split(data.digits())[0].images


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "x"
    return folder, run(SMALL, folder)


def test_eval_prints_writes_and_draws(trained, capsys):
    folder, _ = trained
    assert cli.main(["eval", str(folder), "--n", "60", "--steps", "3"]) == 0
    said = capsys.readouterr().out
    assert (folder / "eval.md").read_text() in said
    assert "compares 60 images with 60 held-out images" in said and "3 steps of ddim" in said
    with Image.open(folder / "neighbours.png") as picture:
        assert min(picture.size) > 200


@pytest.fixture(scope="module")
def found(trained):
    """What is in eval.json."""
    folder, _ = trained
    evaluate(folder, n=60, steps=3).write()
    return json.loads((folder / "eval.json").read_text())


def test_the_rows(found):
    rows = {row["images"]: row for row in found["rows"]}
    first = ["this model", "real: training images", "real: other held-out images"]
    assert list(rows)[:3] == first and len(rows) == 8
    for row in rows.values():
        assert row.keys() == {"images", *COLUMNS}
    model, real = rows["this model"], rows["real: training images"]
    assert model["Fréchet"] > 5 * real["Fréchet"] and model["1-NN"] > 0.9
    assert model["coverage"] < 0.2 < real["coverage"]
    copies, gaussian = rows["100 memorised images"], rows["one Gaussian"]
    assert max(copies["memorisation"], real["memorisation"]) < 1e-4
    assert gaussian["Fréchet"] > real["Fréchet"] and gaussian["memorisation"] > 0.8


def test_the_bands(found, trained):
    _, summary = trained
    bands = found["bands"]
    singles = [(t, t) for t in (1, 2, 3, 4)] + [(5, 6)] + [(t, t) for t in (7, 8, 9, 10)]
    assert [(b["first t"], b["last t"]) for b in bands] == [*singles, (11, 12)]
    # For the digits these are the held-out draws of the run.
    means = [b["predict-the-mean"] for b in bands]
    assert np.mean(means) == pytest.approx(summary.mean, rel=1e-6)


def test_samples_that_are_the_training_images_are_found_out(trained, monkeypatch):
    def copies(self, n, *_):
        return iter([(0, DIGITS[:n], DIGITS[:n])])

    monkeypatch.setattr(Run, "sample", copies)
    result = evaluate(trained[0], n=60, with_baselines=False)
    assert dict(zip(COLUMNS, result.rows[0][1]))["memorisation"] < 1e-4
    samples, neighbours = result.neighbours
    assert np.array_equal(neighbours[::5], samples)  # the nearest of the five is the image itself


BAD_OPTIONS = {
    "--n 5": "n: expected at least 6 images",
    "--steps 99": "steps: expected 1 to T = 12, got 99",
}


@pytest.mark.parametrize("options, problem", BAD_OPTIONS.items())
def test_bad_options(trained, capsys, options, problem):
    assert cli.main(["eval", str(trained[0]), *options.split()]) == 2
    assert problem in capsys.readouterr().err


def test_a_model_without_a_folder_needs_another_one(trained, capsys):
    assert cli.main(["eval", str(trained[0] / "best.safetensors")]) == 2
    assert "expected a run folder" in capsys.readouterr().err
