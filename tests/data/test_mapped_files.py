"""Mapped files: they may not change unnoticed, and what was computed of them is found again."""

import json
import os
import re
import time
import zipfile

import numpy as np
import pytest
from data_files import noise

from tinyddpm import data
from tinyddpm.data import DataError
from tinyddpm.data.stored import Facts, cached, facts, images, mapped

LONG_AGO = time.time() - 1000


@pytest.fixture(autouse=True)
def everything_is_large(monkeypatch):
    monkeypatch.setattr(mapped, "MAPPED_FROM", 0)
    monkeypatch.setattr(facts, "FACTS_FROM", 0)
    monkeypatch.setattr(facts, "SETTLED", -1)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, noise(9, 4, 5))
    return path


@pytest.fixture
def looked(monkeypatch):
    """Which passes over all images were made, by their titles."""
    made, pieces = [], mapped.pieces

    def noted(array, title=""):
        made.append(title)
        return pieces(array, title)

    def noted_too(self, title=""):
        made.append(title)
        return whole(self, title)

    whole = images.Stored.pieces
    monkeypatch.setattr(images.Stored, "pieces", noted_too)
    for module in ("values", "stored.doubles"):
        monkeypatch.setattr(f"tinyddpm.data.{module}.pieces", noted)
    monkeypatch.setattr(mapped, "pieces", noted)
    return made


def test_a_file_that_changes_in_use_is_noticed(path):
    found = data.load(path).images
    assert found[[3]].size
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"?")
    os.utime(path, (LONG_AGO, LONG_AGO))
    with pytest.raises(DataError, match=f"^{re.escape(str(path))}: has changed while it was in"):
        found[[3]]


def test_a_file_that_is_cut_in_use_does_not_end_the_process(path):
    found = data.load(path).images
    os.truncate(path, 100)
    with pytest.raises(DataError, match="has changed while it was in use"):
        found[:]


def test_a_file_that_is_replaced_or_removed_in_use_is_still_there(path, tmp_path):
    found = data.load(path).images
    before = found[:].tobytes()
    np.save(tmp_path / "y.npy", noise(9, 4, 5)[::-1])
    os.replace(tmp_path / "y.npy", path)
    assert found[:].tobytes() == before != data.load(path).images[:].tobytes()
    path.unlink()
    assert found[:].tobytes() == before


def test_without_preadv_the_map_is_looked_at(path, monkeypatch):
    expected = data.load(path).images[[4, 0]]
    monkeypatch.delattr(os, "preadv")
    assert data.load(path).images[[4, 0]].tobytes() == expected.tobytes()


def test_short_reads_are_gone_on_with(path, monkeypatch):
    expected, preadv = data.load(path).images[:], os.preadv
    monkeypatch.setattr(os, "preadv", lambda fd, to, at: preadv(fd, [to[0][:7]], at))
    assert data.load(path).images[:].tobytes() == expected.tobytes()


def test_a_file_is_closed_with_the_last_of_its_images(path):
    before = len(os.listdir("/dev/fd"))
    whole = data.load(path)
    parts = data.split(whole)
    assert len(os.listdir("/dev/fd")) > before
    del whole, parts
    assert len(os.listdir("/dev/fd")) == before


def test_a_second_start_looks_at_nothing(path, looked, cache):
    first = data.load(path)
    first.fingerprint()
    mean = data.split(first)[0].images.mean(axis=0)
    assert looked == ["reading values", "looking for equal images", "fingerprint", "mean image"]
    looked.clear()
    second = data.load(path)
    assert second.fingerprint() == first.fingerprint() and not looked
    assert second.origin == first.origin and len(list(cache.iterdir())) == 1
    assert np.array_equal(data.split(second)[0].images.mean(axis=0), mean) and not looked
    assert not np.array_equal(data.split(second)[1].images.mean(axis=0), mean)
    looked.clear()
    os.utime(path, (LONG_AGO, LONG_AGO))
    assert data.load(path).fingerprint() == first.fingerprint() and len(looked) == 3


def test_of_a_part_nothing_is_kept(path):
    whole = data.load(path)
    prints = {whole.fingerprint(), *(part.fingerprint() for part in data.split(whole))}
    assert len(prints) == 3


@pytest.mark.parametrize("damage", [b"", b"[1]", b"{", b"\xff"])
def test_a_damaged_cache_is_no_cache(path, cache, damage):
    expected = data.load(path).fingerprint()
    (kept,) = cache.iterdir()
    kept.write_bytes(damage)
    assert data.load(path).fingerprint() == expected
    assert json.loads(kept.read_bytes())["fingerprint"] == expected


def test_without_a_place_for_the_cache_all_works(path, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert data.load(path).fingerprint() == data.load(path).fingerprint()


def test_nothing_is_kept_of_a_file_just_written_or_small(path, cache, monkeypatch):
    monkeypatch.setattr(facts, "SETTLED", 100)
    data.load(path)
    monkeypatch.setattr(facts, "SETTLED", -1)
    monkeypatch.setattr(facts, "FACTS_FROM", 10**6)
    data.load(path)
    assert not cache.exists()


def test_facts_are_computed_once():
    known, asked = Facts(), []
    assert [known.get("a", lambda: asked.append(1) or 7) for _ in range(3)] == [7] * 3
    assert len(asked) == 1


def test_the_sum_of_a_mapped_member_is_checked(tmp_path, looked):
    path = tmp_path / "x.npz"
    np.savez(path, images=noise(9, 4, 5))
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo("images.npy").header_offset
    assert isinstance(data.load(path).images.array, np.memmap)
    assert looked.count("checking") == 1
    data.load(path)
    assert looked.count("checking") == 1
    with path.open("r+b") as file:
        file.seek(start + 200)
        byte = file.read(1)
        file.seek(start + 200)
        file.write(bytes([byte[0] ^ 1]))
    with pytest.raises(DataError, match=r"cannot be read: BadZipFile: Bad CRC-32 for file 'images"):
        data.load(path)


def test_a_member_may_begin_anywhere(tmp_path):
    """And numbers of four bytes may then lie at any place."""
    array = np.linspace(0, 1, 60, dtype=np.float32).reshape(3, 4, 5)
    for length in range(1, 5):
        with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
            archive.writestr("n" * length, b"?")
            with archive.open("x.npy", "w", force_zip64=length % 2 == 0) as file:
                np.save(file, array)
        found = data.load(tmp_path / "x.npz").images
        assert isinstance(found.array, np.memmap)
        assert found[:].tobytes() == (array[:, None] / np.float32(0.5) - 1).tobytes()


def test_clearing_the_cache(path, cache):
    assert cached.clear() == (0, 0)
    data.load(path)
    count, size = cached.clear()
    assert count == 1 and size > 10 and not list(cache.iterdir())
