"""Classes in the app: where labels are found, a run that is told them, and samples of a class that is asked for."""
import dataclasses
import gzip
import struct

import numpy as np
import pytest
from PIL import Image

from tinyddpm.runs import checkpoint
from tinyddpm import cli, data
from tinyddpm.data import labels
from tinyddpm.runs.config import Config, from_dict
from tinyddpm.runs.heldout import Draws
from tinyddpm.runs.folder import BEST, CHECKPOINT, CONFIG, METRICS
from tinyddpm.runs.opening import Run
from tinyddpm.runs.training import run
from tinyddpm.more.classes import ClassUNet, guided
from tinyddpm.nn import UNetConfig
from tinyddpm.schedule import linear

SMALL = Config(classes=True, class_dropout=0.3, T=20, batch_size=8, beta=1.0, warmup=3, ema_decay=0.5, every=20, steps=40, unet=UNetConfig(base=4, groups=2, blocks=1))
DIGITS = data.digits()
IMAGES, LABELS = np.rint((DIGITS.images[:60, 0] + 1) * 127.5).astype(np.uint8), DIGITS.labels[:60].astype(np.uint8)


def labelled(source):
    return labels.labelled(data.load(source), source)


def idx(array):
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def pictures(folder, *places):
    """A picture at each place; its shade is its number."""
    for i, place in enumerate(places):
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), 20 * i, np.uint8)).save(folder / place)


@pytest.fixture(scope="module")
def few_digits(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "few.npz"
    np.savez(path, images=IMAGES, labels=LABELS)
    return dataclasses.replace(SMALL, data=str(path))


@pytest.fixture(scope="module")
def trained(few_digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    run(few_digits, folder)
    return folder


# ---- where labels are found ----------------------------------------------------------------------


def test_the_digits_have_theirs():
    dataset, names = labelled("digits")
    assert (dataset.labels == DIGITS.labels).all() and names == tuple("0123456789")


@pytest.mark.parametrize("images, beside", [("train-images-idx3-ubyte", "train-labels-idx1-ubyte"), ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
                                            ("train-images.idx3-ubyte", "train-labels.idx1-ubyte")])
def test_the_file_of_labels_beside_an_idx_file_of_images(images, beside, tmp_path):
    for name, array in ((images, IMAGES), (beside, LABELS)):
        (tmp_path / name).write_bytes(gzip.compress(idx(array)) if name.endswith("gz") else idx(array))
    dataset, names = labelled(tmp_path / images)
    assert (dataset.labels == LABELS).all() and dataset.labels.dtype == np.int64 and names == tuple("0123456789")


def test_a_sub_folder_is_a_class_and_deeper_ones_belong_to_it(tmp_path):
    pictures(tmp_path, "dog/a.png", "cat/b.png", "cat/young/c.png", "ant/z.png")
    dataset, names = labelled(tmp_path)
    assert names == ("ant", "cat", "dog")
    shades = np.rint((dataset.images[:, 0, 0, 0] + 1) * 127.5).astype(int) // 20
    assert dict(zip(shades.tolist(), dataset.labels.tolist())) == {0: 2, 1: 1, 2: 1, 3: 0}


def test_a_class_has_a_name_and_a_number():
    assert labels.number("dog", ("cat", "dog")) == 1 == labels.number("1", ("cat", "dog"))
    assert labels.number("1", ("1", "0")) == 0  # a name counts more than a number
    for wrong in ("cow", "2", "-1", "²", ""):
        with pytest.raises(ValueError, match="^class: expected one of cat, dog, got "):
            labels.number(wrong, ("cat", "dog"))


def broken(folder, what):
    """A data set with something wrong about its labels."""
    if what == "loose":
        pictures(folder, "cat/a.png", "b.png")
        return folder
    path, beside = folder / "train-images-idx3-ubyte", folder / "train-labels-idx1-ubyte"
    path.write_bytes(idx(IMAGES))
    if what == "negative":
        np.savez(folder / "x.npz", images=IMAGES, labels=LABELS.astype(int) - 1)
        return folder / "x.npz"
    if what == "large":
        np.savez(folder / "x.npz", images=IMAGES, labels=LABELS.astype(int) + 2**40)
        return folder / "x.npz"
    if what != "none":
        beside.write_bytes({"few": idx(LABELS[:59]), "images": idx(IMAGES), "cut": idx(LABELS)[:-1], "text": b"cat, dog"}[what])
    return path


@pytest.mark.parametrize("what, problem", [
    ("none", "expected images with labels"), ("loose", "no picture outside them, got b.png"), ("few", "expected a label for each of the 60 images in train-images-idx3-ubyte, got 59"),
    ("images", "expected an IDX file of labels (one axis), got 3 axes"), ("cut", "the header promises shape (60,)"), ("text", "expected an IDX file"),
    ("negative", "labels: expected numbers from 0 to at most 9999, got -1 to 8"), ("large", "labels: expected numbers from 0"),
])
def test_labels_that_are_not_there_or_wrong_are_one_line_and_nothing_is_written(what, problem, tmp_path, capsys):
    source = broken(tmp_path, what)
    before = {p.name for p in tmp_path.iterdir()}
    assert cli.main(["train", "--out", str(tmp_path / "run"), "--classes", "--data", str(source)]) == 2
    said = capsys.readouterr().err
    assert problem in said and said.startswith(f"tinyddpm: {tmp_path}") and said.count("\n") == 1, said
    assert {p.name for p in tmp_path.iterdir()} == before


def test_what_labels_are_wrong_matters_to_no_one_who_does_not_ask(tmp_path):
    assert data.load(broken(tmp_path, "few")).labels is None


# ---- a run ---------------------------------------------------------------------------------------


def test_the_folder_says_what_the_classes_are_and_the_network_is_time_conditioninghem(trained):
    loaded = Run(trained)
    assert loaded.config.class_names == tuple("0123456789") and type(loaded.unet) is ClassUNet and loaded.unet.config.classes == 10
    assert 'class_names = [\n    "0",' in (trained / CONFIG).read_text() and "classes = true" in (trained / CONFIG).read_text()
    table = checkpoint.load(trained / CHECKPOINT).theta["classes.table"]
    assert table.shape == (11, 16) and abs(table).max(axis=1).all()  # it starts as zeros: each class was trained, and so was "not told"


def test_the_held_out_J_is_that_of_a_network_which_is_time_conditioninghe_class(trained, few_digits):
    import json
    dataset, _ = labelled(few_digits.data)
    held = data.split(dataset)[1]
    loaded = Run(trained)
    recorded = [line["held_out"] for line in map(json.loads, (trained / METRICS).read_text().splitlines()) if line.get("k") == loaded.step and "held_out" in line]
    told = Draws(held.images, loaded.schedule, labels=held.labels).evaluate(loaded.unet.denoise).mean()
    other = Draws(held.images, loaded.schedule, labels=9 - held.labels).evaluate(loaded.unet.denoise).mean()
    assert recorded == [pytest.approx(told, rel=1e-7)] and abs(other - told) > 1e-5 * told  # so short a run tells classes apart a little


def test_resumed_is_bit_identical_to_unbroken(few_digits, trained, tmp_path):
    run(dataclasses.replace(few_digits, steps=25), tmp_path)
    run(few_digits, tmp_path, resume=True)
    whole, broken = (checkpoint.load(folder / CHECKPOINT) for folder in (trained, tmp_path))
    assert whole.step == broken.step == 40
    assert all(whole.theta[name].tobytes() == broken.theta[name].tobytes() for name in whole.theta)


def test_with_other_labels_it_is_another_run(few_digits, tmp_path):
    copy = tmp_path / "copy.npz"
    np.savez(copy, images=IMAGES, labels=LABELS)
    config = dataclasses.replace(few_digits, data=str(copy))
    run(config, tmp_path / "x")
    np.savez(copy, images=IMAGES, labels=LABELS[::-1])
    with pytest.raises(ValueError, match="no longer holds the images and labels"):
        run(dataclasses.replace(config, steps=60), tmp_path / "x", resume=True)
    with pytest.raises(ValueError, match="class_names: the run to resume has .*, not \\[\\]"):
        run(dataclasses.replace(config, classes=False), tmp_path / "x", resume=True)
    with pytest.raises(ValueError, match="class_dropout: the run to resume has 0.3, not 0.5"):
        run(dataclasses.replace(config, class_dropout=0.5), tmp_path / "x", resume=True)


def test_without_classes_nothing_is_told_and_nothing_changes(few_digits, tmp_path):
    run(dataclasses.replace(few_digits, classes=False), tmp_path)
    assert "classes.table" not in checkpoint.load(tmp_path / BEST).theta


# ---- samples -------------------------------------------------------------------------------------


def test_guidance_is_that_of_the_weight_and_the_class_asked_for(trained):
    loaded = Run(trained)
    xt, t, threes = np.ones((4, 1, 8, 8), np.float32), np.full(4, 15), np.full(4, 3)
    for weight in (0.0, 1.0, 2.5):
        with loaded.denoiser(threes, weight) as denoise:
            np.testing.assert_allclose(denoise(xt, t), guided(loaded.unet.denoise, threes, 10, weight)(xt, t), atol=1e-5)

    def draw(**options):
        return [x for *_, (t, x, _) in [loaded.sample(12, steps=3, sampler="ddim", **options)]][0]

    each, three = draw(), draw(label="3")
    np.testing.assert_allclose(each[3], three[3], atol=1e-5)  # in turn: image 3 is a 3 in both, image 2 is not
    assert abs(each[2] - three[2]).max() > 1e-4
    np.testing.assert_allclose(draw(label=3, guidance=0), draw(label=5, guidance=0), atol=1e-6)
    assert abs(draw(label=3, guidance=4.0) - three).max() > 1e-4


def test_the_command_line(trained, tmp_path, capsys):
    out = tmp_path / "x.npz"
    assert cli.main(f"sample {trained} --class 3 --guidance 3 --n 4 --steps 3 --out {out}".split()) == 0
    assert "4 images, 3 steps of ddim, seed 0, class 3" in capsys.readouterr().out
    with np.load(out) as found:
        np.testing.assert_allclose(found["images"], list(Run(trained).sample(4, "ddim", 3, label="3", guidance=3.0))[-1][1], atol=1e-5)


def test_the_curves_compare_it_with_denoisers_that_are_time_conditioninghe_class_too(trained, monkeypatch):
    from tinyddpm.pictures import report
    seen = {}
    monkeypatch.setattr(report.plots, "loss", lambda *args, **names: seen.update(names))
    list(report.draw(trained))
    assert (trained / "samples.png").exists() and seen["note"] == ", all told the class"
    training, held = data.split(data.load(Run(trained).config.data))
    of_class = [training.images[training.labels == c].mean(axis=0) for c in held.labels]
    assert seen["mean_J"] == pytest.approx(np.square(held.images - of_class).mean(), rel=1e-5)
    assert seen["floor_J"] < seen["mean_J"]


@pytest.mark.parametrize("options, problem", [("--class 10", "class: expected one of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, got '10'"), ("--class cat", "got 'cat'"),
                                              ("--guidance nan", "guidance: expected a finite number, got nan"), ("--guidance much", "'much' is not a valid float")])
def test_a_class_that_is_not_there(options, problem, trained, tmp_path, capsys):
    assert cli.main(["sample", str(trained), "--out", str(tmp_path / "x.png"), *options.split()]) == 2
    said = capsys.readouterr().err
    assert problem in said and said.count("\n") == 1 and not list(tmp_path.iterdir())


def test_a_run_that_has_no_classes_or_no_dropped_ones(few_digits, tmp_path, capsys):
    run(dataclasses.replace(few_digits, classes=False, steps=1), tmp_path / "plain")
    run(dataclasses.replace(few_digits, class_dropout=0.0, steps=1), tmp_path / "told")
    for name, options, problem in (("plain", "--class 3", "expected a run that was trained with --classes"), ("plain", "--guidance 2", "expected a run that was trained with --classes"),
                                   ("told", "--guidance 2", "trained with class_dropout = 0")):
        assert cli.main(["sample", str(tmp_path / name), "--out", str(tmp_path / "x.png"), *options.split()]) == 2
        assert problem in capsys.readouterr().err


@pytest.mark.parametrize("values, problem", [
    ({"classes": 10}, "classes: expected true or false, got 10"), ({"class_dropout": 1.0}, "class_dropout: expected a fraction from 0"), ({"class_dropout": float("nan")}, "class_dropout: expected a fraction"),
    ({"class_names": [1, 2]}, "class_names: expected a list of texts, got [1, 2]"), ({"class_names": "cat"}, "class_names: expected a list of texts"),
    ({"classes": True, "time_conditioning": False}, "classes: expected a network conditioned on t"),
])
def test_a_wrong_configuration_is_named(values, problem):
    with pytest.raises(ValueError) as error:
        from_dict(values)
    assert problem in str(error.value)


def test_a_file_that_claims_classes_without_names_is_refused():
    with pytest.raises(ValueError, match="classes: expected at least 1, got 0"):
        from_dict({"classes": True}).make_unet()


def test_the_schedule_of_a_held_out_set_is_that_of_one_without_labels():
    images = DIGITS.images[:20]
    plain, told = Draws(images, linear(20)), Draws(images, linear(20), labels=DIGITS.labels[:20])
    assert (plain.xt == told.xt).all() and (told.cond[0] == np.repeat(DIGITS.labels[:20], 10)).all()
