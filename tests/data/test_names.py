"""Names as people see them: in any normal form, in bytes that are no UTF-8, in a poor locale."""

import dataclasses
import os
import subprocess
import sys
import unicodedata
import zipfile

import numpy as np
import pytest
from data_files import noise
from PIL import Image

from tinyddpm import cli
from tinyddpm.data import labels
from tinyddpm.data.folders import as_path, as_seen, in_order
from tinyddpm.nn import UNetConfig
from tinyddpm.runs import config as configuration
from tinyddpm.runs.config import Config
from tinyddpm.runs.folder import CONFIG, LOCK, RunFolder
from tinyddpm.runs.training import run

SEEN = ("müller", "zoo", "école")  # in their order
DECOMPOSED = tuple(unicodedata.normalize("NFD", name) for name in SEEN)
LATIN_1 = tuple(os.fsdecode(name.encode("latin-1")) for name in SEEN)
POOR = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
LEAST = UNetConfig(base=4, levels=(1,), attention=(), groups=2, blocks=1)
TINY = Config(T=12, batch_size=4, every=2, steps=2, workers=1, classes=True, unet=LEAST)
PICTURES = noise(9, 8, 8)


def folder(path, names):
    """Three pictures in each folder; the folders of all names hold the same."""
    for c, name in enumerate(names):
        (path / name).mkdir(parents=True, exist_ok=True)
        for i in range(3):
            file = path / name / f"{'bé'[i % 2]}{i}-{c}.png"
            Image.fromarray(PICTURES[3 * c + i]).save(file, "PNG")
    return path


@pytest.mark.parametrize(
    "name, seen",
    [
        ("cat", "cat"),
        ("e\u0301cole", "école"),
        ("\u212bngstro\u0308m", "Ångström"),
        ("\u1100\u1161", "가"),
        ("m\udcfcller", "müller"),
        ("m\udcc3\udcbcller", "müller"),  # UTF-8, read where the locale is C
        ("\udc82\udca0", "\x82\xa0"),  # Shift-JIS: no letters, but printable, and no other's name
        ("ﬁ", "ﬁ"),  # it looks different
        ("\ud800", "?"),
    ],
)
def test_a_name_as_people_see_it(name, seen):
    assert as_seen(name) == seen == as_seen(seen) and seen.encode()


@pytest.mark.parametrize("names", [SEEN, DECOMPOSED, LATIN_1])
def test_the_classes_of_a_folder_are_those_that_people_see(names, tmp_path):
    expected = labels.load(folder(tmp_path / "expected", SEEN), classes=True)
    dataset, found = labels.load(folder(tmp_path / "x", names), classes=True)
    assert found == expected[1] == SEEN
    assert labels.fingerprint(dataset) == labels.fingerprint(expected[0])
    for form in (SEEN, DECOMPOSED, LATIN_1):
        assert [labels.number(name, form) for name in names] == [0, 1, 2]


def test_folders_whose_names_look_the_same_are_one_class(tmp_path):
    for names in (SEEN, DECOMPOSED, LATIN_1):
        folder(tmp_path, names)
    dataset, found = labels.load(tmp_path, classes=True)
    assert found == SEEN and np.bincount(dataset.labels).tolist() == [9, 3, 9]


def test_an_archive_from_a_mac_has_the_classes_and_the_order_of_its_folder(tmp_path):
    place = folder(tmp_path / "x", SEEN)
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for file in place.rglob("*.png"):
            inside = unicodedata.normalize("NFD", str(file.relative_to(tmp_path)))
            archive.write(file, inside)
    (of_folder, names), (of_archive, found) = (
        labels.load(path, classes=True) for path in (place, tmp_path / "x.zip")
    )
    assert found == names and labels.fingerprint(of_archive) == labels.fingerprint(of_folder)


def test_places_are_in_the_order_in_which_ascii_always_was():
    places = ["b/1", "a.b/1", "a/2", "a/1", "a b/1", "B/1"]
    assert in_order(places) == sorted(places)


@pytest.mark.parametrize("given", [list(DECOMPOSED), [name.encode() for name in DECOMPOSED]])
def test_labels_that_are_texts_are_compared_as_seen(given, tmp_path):
    np.savez(tmp_path / "x.npz", images=PICTURES[:6], labels=np.array([*given, *given]))
    dataset, names = labels.load(tmp_path / "x.npz", classes=True)
    assert names == SEEN and dataset.labels.tolist() == [0, 1, 2, 0, 1, 2]


def test_a_run_of_decomposed_names_keeps_the_order_of_its_classes(tmp_path):
    """Sorted as they are stored, école came first."""
    path = folder(tmp_path / "x", DECOMPOSED)
    stored = {"data": str(path), "split": "every_sixth", "classes": True}
    config = configuration.from_dict(stored | {"class_names": sorted(DECOMPOSED)})
    assert config.class_names == ("école", "müller", "zoo") != SEEN
    dataset, names = config.load_data()
    assert names == config.class_names and dataset.labels.tolist() == [1, 1, 1, 2, 2, 2, 0, 0, 0]


def test_a_run_on_names_that_are_no_utf_8_can_be_made_resumed_and_sampled(tmp_path, capsys):
    path = folder(tmp_path / LATIN_1[2], LATIN_1)
    config, out = dataclasses.replace(TINY, data=str(path)), tmp_path / LATIN_1[0]
    run(config, out)
    saved = configuration.from_dict(configuration.read(out / CONFIG))
    assert saved.data == str(path) and saved.class_names == SEEN
    run(dataclasses.replace(saved, steps=4), out, resume=True)
    for name in (SEEN[0], DECOMPOSED[0], LATIN_1[0]):
        arguments = ["--n", "1", "--steps", "2", "--class", name, "--out", str(tmp_path / "s.npz")]
        assert cli.main(["sample", str(out), *arguments]) == 0
    assert cli.main(["info", str(out)]) == 0 and cli.main(["data", str(path)]) == 0
    assert "3 classes: müller 3, zoo 3, école 3" in capsys.readouterr().out


def test_a_run_goes_on_in_a_locale_that_knows_ascii_alone(tmp_path):
    path, out = folder(tmp_path / SEEN[0], SEEN), tmp_path / SEEN[2]
    run(dataclasses.replace(TINY, data=str(path)), out)
    command = [sys.executable, "-W", "error", "-m", "tinyddpm", "train", "--no-pictures"]
    command += ["--resume", "--out", str(out), "--steps", "4"]
    done = subprocess.run(command, env=os.environ | POOR, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    config = configuration.from_dict(configuration.read(out / CONFIG))
    assert config.data == str(path) and config.class_names == SEEN
    run(dataclasses.replace(config, steps=6), out, resume=True)


def test_a_path_is_the_same_in_every_locale():
    for path in ("pics", "müller", "m\udcfcller"):
        assert as_path(path) == path
    assert as_path("m\udcc3\udcbcller") == "müller"  # as the locale C has it


@pytest.mark.parametrize("there", [False, True])
def test_a_run_that_comes_to_nothing_leaves_no_lock_behind(there, tmp_path, monkeypatch):
    def fail(*_):
        raise ValueError("a codec cannot encode this")

    monkeypatch.setattr(RunFolder, "write_config", fail)
    np.save(tmp_path / "x.npy", PICTURES)
    out = tmp_path / "x"
    if there:
        out.mkdir()
    with pytest.raises(ValueError, match="codec"):
        run(dataclasses.replace(TINY, data=str(tmp_path / "x.npy"), classes=False), out)
    assert out.exists() == there and not (out / LOCK).exists()
