"""Data sets by name: found, downloaded or copied, and refused unless their sha256 is right."""

import gzip
import hashlib
import io
import struct
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from data_files import change

from tinyddpm import cli, data
from tinyddpm.data import DataError, datasets

RNG = np.random.default_rng(0)
IMAGES = {
    "train": RNG.integers(0, 256, (13, 28, 28), np.uint8),
    "t10k": RNG.integers(0, 256, (5, 28, 28), np.uint8),
}
LABELS = {
    part: RNG.integers(0, 10, len(images)).astype(np.uint8) for part, images in IMAGES.items()
}
FILES = {
    f"{part}-images-idx3-ubyte": struct.pack(">4I", 0x803, len(x), 28, 28) + x.tobytes()
    for part, x in IMAGES.items()
} | {
    f"{part}-labels-idx1-ubyte": struct.pack(">2I", 0x801, len(y)) + y.tobytes()
    for part, y in LABELS.items()
}


def put(folder, packed=True):
    folder.mkdir(exist_ok=True)
    for name, content in FILES.items():
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A data set of 13 and 5 images, called tiny, whose address is a folder of this machine.

    The user's cache is empty.
    """
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    put(tmp_path / "far")
    mnist = datasets.SOURCES["mnist"]
    sums = {name: hashlib.sha256(FILES[name]).hexdigest() for name in mnist.files}
    source = replace(mnist, address=f"file://{tmp_path}/far/{{}}.gz", files=sums)
    monkeypatch.setitem(datasets.SOURCES, "tiny", source)
    return tmp_path


def check(name="tiny"):
    train, test = data.load(name), data.load_test(name)
    for dataset, part in ((train, "train"), (test, "t10k")):
        np.testing.assert_allclose(dataset.images, IMAGES[part][:, None] / 127.5 - 1, atol=2e-7)
        assert dataset.labels.tolist() == LABELS[part].tolist()
        assert dataset.name == name and dataset.grey_levels == 256


# ---- finding and fetching ------------------------------------------------------------------------

NOT_HERE = (
    "^tiny: not on this machine yet: get it with `tinyddpm data tiny`; "
    "or give the folder that holds train-images"
)


def test_reading_never_downloads_and_says_what_to_do(tiny):
    for load in data.load, data.load_test:
        with pytest.raises(DataError, match=NOT_HERE):
            load("tiny")
    assert not (tiny / "cache").exists()


def test_a_download_is_kept(tiny):
    paths = datasets.fetch("tiny")
    assert [path.parent for path in paths] == [datasets.cache("tiny")] * 4
    check()
    for path in (tiny / "far").iterdir():
        path.unlink()
    assert datasets.fetch("tiny") == paths  # found: the address is not asked again


class CutShort(io.BytesIO):
    headers = {"Content-Length": "100_000"}


def test_a_download_that_ends_too_soon_is_not_kept(tiny, monkeypatch):
    sums = dict.fromkeys(datasets.SOURCES["tiny"].files)  # nobody knows what it should be
    change(monkeypatch, "tiny", files=sums)
    monkeypatch.setattr(datasets.urllib.request, "urlopen", lambda *_, **__: CutShort(b"x" * 3000))
    said = r"the connection ended after 3,000 of 100,000 bytes: try again"
    with pytest.raises(DataError, match=said):
        datasets.fetch("tiny")
    assert not datasets.cache("tiny").exists()


@pytest.mark.parametrize("packed", [True, False])
def test_a_folder_of_the_system_is_found_and_not_copied(tiny, monkeypatch, packed):
    folder = put(tiny / "system", packed)
    change(monkeypatch, "tiny", places=(str(folder),))
    check()
    assert {path.parent for path in datasets.fetch("tiny")} == {folder}
    assert not (tiny / "cache").exists()


@pytest.mark.parametrize("packed", [True, False])
def test_a_folder_that_is_given_is_copied_into_the_cache(tiny, packed):
    datasets.fetch("tiny", put(tiny / "mine", packed))
    for path in (tiny / "mine").iterdir():
        path.unlink()
    check()


def test_what_has_another_sum_is_refused_wherever_it_comes_from(tiny):
    name = "t10k-labels-idx1-ubyte"
    for folder in (tiny / "far", put(tiny / "mine")):
        (folder / f"{name}.gz").write_bytes(gzip.compress(FILES[name][:-1] + b"\xff"))
    sha256 = hashlib.sha256(FILES[name]).hexdigest()
    for folder in (None, tiny / "mine"):
        with pytest.raises(DataError, match=f"{name}.*expected sha256 {sha256}, got"):
            datasets.fetch("tiny", folder)
        assert not list(datasets.cache("tiny").glob(f"{name}*"))
    (datasets.cache("tiny") / name).write_bytes(b"damaged later")
    with pytest.raises(DataError, match=f"{name}: expected sha256.*remove it"):
        data.load_test("tiny")


DAMAGES = [lambda b: b[:100], lambda b: b[:40] + b"\0\0\0" + b[43:], lambda b: b""]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_gzip_file_is_one_line(tiny, damage):
    path = tiny / "far" / "train-images-idx3-ubyte.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError) as caught:
        datasets.fetch("tiny")
    assert "train-images-idx3-ubyte" in str(caught.value) and "\n" not in str(caught.value)


UNREACHABLE = (
    "^tiny: cannot be downloaded from file://.*train-labels-idx1-ubyte.gz "
    ".*tinyddpm data tiny --folder PATH$"
)


def test_no_way_to_the_address_says_what_else_to_do(tiny):
    (tiny / "far" / "train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match=UNREACHABLE):
        datasets.fetch("tiny")


def test_a_folder_without_the_files_is_named(tiny):
    with pytest.raises(DataError, match="mine: expected the file train-images-idx3-ubyte"):
        datasets.fetch("tiny", tiny / "mine")


def test_the_command(tiny, capsys):
    assert cli.main(["data", "tiny"]) == 0
    said = capsys.readouterr().out
    assert "13 images to train on, 5 to test with, (C, H, W) = (1, 28, 28)" in said
    assert cli.main(["data", "nist"]) == 2
    assert "nist'. Did you mean mnist?" in capsys.readouterr().err


def test_a_known_data_set_is_not_resized(tiny):
    datasets.fetch("tiny")
    for load in data.load, data.load_test:
        with pytest.raises(DataError, match="holds 28 x 28 pictures and is not resized"):
            load("tiny", size=32)


def test_what_a_data_set_without_a_test_set_holds_out():
    held_out = data.split(data.digits())[1]
    assert data.load_test("digits").fingerprint() == held_out.fingerprint()


# ---- the data sets -------------------------------------------------------------------------------


def cifar_archive(path, pixels, labels):
    """An archive of six files with two images each: the test batch first, the others shuffled."""
    names = ["test_batch", *(f"data_batch_{k}" for k in (2, 1, 3, 4, 5))]
    with tarfile.open(path, "w:gz") as archive:
        for i, name in enumerate(names):
            two = range(2 * i, 2 * i + 2)
            records = b"".join(bytes([labels[j]]) + pixels[j].tobytes() for j in two)
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}.bin")
            info.size = len(records)
            archive.addfile(info, io.BytesIO(records))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_cifar_is_read_from_its_binary_archive(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    pixels = RNG.integers(0, 256, (12, 3, 32, 32), np.uint8)
    labels = np.arange(12, dtype=np.uint8) % 10
    name = "cifar-10-binary.tar.gz"
    sha256 = cifar_archive(tmp_path / name, pixels, labels)
    change(monkeypatch, "cifar-10", files={name: sha256})
    datasets.fetch("cifar-10", tmp_path)
    train, test = data.load("cifar-10"), data.load_test("cifar-10")
    in_order = (4, 5, 2, 3, 6, 7, 8, 9, 10, 11)
    assert train.labels.tolist() == [labels[i] for i in in_order] and test.labels.tolist() == [0, 1]
    np.testing.assert_allclose(test.images, pixels[:2] / 127.5 - 1, atol=2e-7)
    np.testing.assert_allclose(train.images[:2], pixels[4:6] / 127.5 - 1, atol=2e-7)


FASHION_IS_HERE = any(Path(p).is_dir() for p in datasets.SOURCES["fashion-mnist"].places)


@pytest.mark.skipif(not FASHION_IS_HERE, reason="dataset-fashion-mnist (Debian) is not installed")
def test_fashion_mnist_itself():
    test = data.load_test("fashion-mnist")
    assert test.images.shape == (10000, 1, 28, 28)
    assert np.bincount(test.labels).tolist() == [1000] * 10
    shown = [test.class_names[label] for label in test.labels[:5]]
    assert shown == ["ankle boot", "pullover", "trouser", "trouser", "shirt"]
