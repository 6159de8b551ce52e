"""Folders and archives are decoded by all cores, once, with the words of one process."""

import errno
import os
import zipfile

import numpy as np
import pytest
from data_files import as_float, check, folder_of, noise
from PIL import Image

from tinyddpm import data
from tinyddpm.data import DataError
from tinyddpm.data.image_files import DifferentSizes
from tinyddpm.data.stored import cached, decoding, facts, kept, mapped

PIXELS = noise(40, 6, 5, 3)


@pytest.fixture(autouse=True)
def everything_is_long(monkeypatch):
    monkeypatch.setattr(kept, "WORTH", -1)
    monkeypatch.setattr(kept, "SPARE", 0)
    monkeypatch.setattr(facts, "SETTLED", -1)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    return folder_of(tmp_path / "in", **{f"p{i:02}": picture for i, picture in enumerate(PIXELS)})


@pytest.fixture
def four_at_a_time(monkeypatch):
    """Else those who begin with the first picture get one at a time."""
    by_all = decoding._by_all
    monkeypatch.setattr(decoding, "_by_all", lambda *args: by_all(*args[:3], 4))


@pytest.fixture(params=["one", "all"])
def processes(request, monkeypatch, four_at_a_time):
    """Whether other processes decode from the first picture on, four at a time."""
    monkeypatch.setattr(decoding, "ALONE", -1 if request.param == "all" else 1e9)
    monkeypatch.setattr(decoding, "cores", lambda: 2)
    return request.param


@pytest.fixture(params=["mapped", "in memory"])
def large(request, monkeypatch):
    monkeypatch.setattr(mapped, "MAPPED_FROM", 0 if request.param == "mapped" else 2**30)
    return request.param == "mapped"


@pytest.fixture
def not_decoded(monkeypatch):
    """From now on nothing can be decoded."""
    return lambda: monkeypatch.setattr("tinyddpm.data.stored.kept.read_pictures", None)


def test_what_comes_out_does_not_depend_on_who_decodes(folder, processes, large, not_decoded):
    first = data.load(folder)
    check(first, as_float(PIXELS.transpose(0, 3, 1, 2)), 256)
    assert "PNG RGB 40" in first.origin.stored
    assert isinstance(first.images.array, np.memmap) == large
    first.fingerprint()
    not_decoded()
    again = data.load(folder)
    assert again.origin == first.origin and again.fingerprint() == first.fingerprint()
    assert isinstance(again.images.array, np.memmap) == large
    assert again.images.facts.known["fingerprint"] == first.fingerprint()


def test_archives_too(folder, processes, large, tmp_path, not_decoded):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, f"{path.stem[-1]}/{path.name}")
    first = data.load(tmp_path / "x.zip")
    not_decoded()
    again = data.load(tmp_path / "x.zip")
    assert again.origin == first.origin and len(first.origin.sub_folders()) == 10
    assert again.images[:].tobytes() == first.images[:].tobytes()


def test_the_remarks_are_the_same_in_the_same_order(folder, monkeypatch, four_at_a_time):
    for i in range(0, 40, 3):
        Image.fromarray(PIXELS[i]).save(folder / f"p{i:02}.png", icc_profile=b"x Display P3")
        Image.fromarray(np.full((5, 6), 900 + i, np.uint16)).save(folder / f"q{i:02}.png")
    said = []
    for alone in (1e9, -1):
        monkeypatch.setattr(decoding, "ALONE", alone)
        monkeypatch.setattr(decoding, "cores", lambda: 2)
        said.append(data.load(folder, size=4).origin)
        cached.clear()
    assert said[0] == said[1] and "scaled to 8" in str(said[0]) and "Display P3" in str(said[0])


def test_errors_are_those_of_one_process(folder, monkeypatch, four_at_a_time):
    def errors():
        found = []
        for alone in (1e9, -1):
            monkeypatch.setattr(decoding, "ALONE", alone)
            monkeypatch.setattr(decoding, "cores", lambda: 2)
            with pytest.raises(DataError) as caught:
                data.load(folder)
            found.append((type(caught.value), str(caught.value), vars(caught.value)))
        assert found[0] == found[1]
        return found[0]

    for name in ("p07.png", "p31.png"):
        (folder / name).write_bytes((folder / name).read_bytes()[:60])
    kind, text, _ = errors()
    assert kind is DataError and "p07.png: cannot be read" in text and "1 more cannot be" in text
    monkeypatch.setattr(decoding, "MOST_UNUSABLE", 2)
    assert "at least 1 more" in errors()[1]
    Image.fromarray(PIXELS[0][:4]).save(folder / "p03.png")
    assert errors()[0] is DifferentSizes
    assert not list(cached.folder().glob("*"))


def test_a_decoder_that_ends_is_an_error_and_no_wait(folder, monkeypatch):
    start = decoding._start

    def ended():
        process = start()
        process.kill()
        process.wait()
        return process

    monkeypatch.setattr(decoding, "ALONE", -1)
    monkeypatch.setattr(decoding, "CHUNK", 1)  # so that there are more requests than processes
    monkeypatch.setattr(decoding, "cores", lambda: 2)
    monkeypatch.setattr(decoding, "_start", ended)
    with pytest.raises(DataError, match=r"p00.png: cannot be read: the process that decoded it"):
        data.load(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: {"size": 3},
        lambda folder: {"channels": 1},
        lambda folder: os.utime(folder / "p01.png", (1, 1)),
        lambda folder: (folder / "p01.png").unlink(),
        lambda folder: (folder / "p01.png").rename(folder / "p01b.png"),
        lambda folder: Image.fromarray(PIXELS[0]).save(folder / "z.png"),
    ],
)
def test_whatever_may_change_the_pictures_makes_them_new(folder, change, not_decoded):
    data.load(folder)
    asked = change(folder)
    not_decoded()
    with pytest.raises(DataError, match="NoneType"):
        data.load(folder, **(asked if isinstance(asked, dict) else {}))


@pytest.mark.parametrize("ending", [".npy", ".json"])
@pytest.mark.parametrize("large", [True, False])
def test_a_damaged_cache_is_made_again(folder, ending, large, cache, monkeypatch):
    monkeypatch.setattr(mapped, "MAPPED_FROM", 0 if large else 2**30)
    expected = data.load(folder).fingerprint()
    (path,) = cache.glob(f"*{ending}")
    path.write_bytes(path.read_bytes()[:100])
    assert data.load(folder).fingerprint() == expected
    monkeypatch.setattr(kept, "read_pictures", None)
    assert data.load(folder).fingerprint() == expected


def test_what_is_decoded_soon_is_not_kept(folder, cache, monkeypatch):
    monkeypatch.setattr(kept, "WORTH", 100)
    data.load(folder)
    assert not cache.exists()


def test_a_cache_that_cannot_be_written_is_said_once(folder, tmp_path, large, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    found = data.load(folder)
    check(found, as_float(PIXELS.transpose(0, 3, 1, 2)), 256)
    assert [note for note in found.origin.notes if "cannot be kept" in note] == [
        f"the decoded pictures cannot be kept in {tmp_path}/file/tinyddpm/stored "
        "(Not a directory): the next start decodes them again"
    ]


@pytest.mark.parametrize("after", [0, 1, 300, 3599])
def test_a_disk_that_fills_up_loses_no_picture(folder, after, large, cache, monkeypatch):
    """The device has room for so many bytes after the header."""
    open_ = type(cache).open

    class Full:
        def __init__(self, file):
            self.file, self.left = file, after + 128

        def write(self, data):
            if not self.left:
                raise OSError(errno.ENOSPC, "No space left on device")
            written = self.file.write(bytes(data)[: self.left])
            self.left -= written
            return written

        def __getattr__(self, name):
            return getattr(self.file, name)

    def opened(path, mode="r", *rest, **how):
        file = open_(path, mode, *rest, **how)
        return Full(file) if mode == "w+b" else file

    monkeypatch.setattr(type(cache), "open", opened)
    found = data.load(folder)
    check(found, as_float(PIXELS.transpose(0, 3, 1, 2)), 256)
    assert sum("No space left on device" in note for note in found.origin.notes) == 1
    assert not list(cache.glob("*"))


def test_a_disk_without_room_is_not_filled(folder, cache, monkeypatch):
    monkeypatch.setattr(kept, "SPARE", 2**70)
    assert "not enough room on the disk" in str(data.load(folder).origin.notes)
    assert not list(cache.glob("*"))


def test_an_interrupt_leaves_nothing_behind(folder, cache, monkeypatch):
    monkeypatch.setattr(mapped, "MAPPED_FROM", 0)

    def interrupted(self, i, picture):
        raise KeyboardInterrupt

    monkeypatch.setattr(kept.InCache, "put", interrupted)
    with pytest.raises(KeyboardInterrupt):
        data.load(folder)
    assert not list(cache.glob("*"))


def test_pictures_just_written_are_not_kept(folder, cache, large, monkeypatch):
    monkeypatch.setattr(facts, "SETTLED", 100)
    check(data.load(folder), as_float(PIXELS.transpose(0, 3, 1, 2)), 256)
    assert not list(cache.glob("*.json"))
