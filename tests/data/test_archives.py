"""Archives of pictures: the same data as the folder they were made from, read in memory."""

import gzip
import io
import tarfile
import zipfile

import numpy as np
import pytest
from data_files import noise, refused
from PIL import Image

from tinyddpm import data
from tinyddpm.data import image_files, labels

MODES = {".tar": "w", ".tar.gz": "w:gz", ".tgz": "w:gz", ".tar.bz2": "w:bz2", ".tar.xz": "w:xz"}


def png(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


FILES = {
    "cat/1.png": png(noise(8, 8)),
    "cat/2.PNG": png(noise(8, 8) // 2),
    "dog/1.png": png(noise(8, 8) // 3),
    "dog/notes.txt": b"notes",
    "__MACOSX/dog/._1.png": b"not a picture",
    "dog/.DS_Store": b"",
}


def zipped(path, files, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def tarred(path, files, mode):
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def made(path, files):
    if path.name.endswith(".zip"):
        return zipped(path, files)
    return tarred(path, files, MODES[path.name.removeprefix("pets")])


@pytest.mark.parametrize("suffix", [".zip", *MODES])
@pytest.mark.parametrize("around", ["", "pets/", "a/b/"])
def test_an_archive_is_the_folder_it_was_made_from(around, suffix, tmp_path):
    folder = tmp_path / "folder"
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    path = made(tmp_path / f"pets{suffix}", {around + name: b for name, b in FILES.items()})
    before = sorted(tmp_path.rglob("*"))
    own, classes = labels.labelled(data.load(path), path)
    expected, names = labels.labelled(data.load(folder), folder)
    assert own.fingerprint() == expected.fingerprint() and classes == names == ("cat", "dog")
    assert own.labels.tolist() == expected.labels.tolist()
    passed = dict(own.origin.passed)
    assert passed == {".txt": 1, "hidden or system folders": 1, "hidden files": 1}
    assert sorted(tmp_path.rglob("*")) == before  # nothing is unpacked to the disk


def test_names_that_lead_out_and_links_lead_nowhere(tmp_path):
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as archive:
        for name in ("../../out.png", "/abs.png"):
            member = tarfile.TarInfo(name)
            member.size = len(FILES["cat/1.png"])
            archive.addfile(member, io.BytesIO(FILES["cat/1.png"]))
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    found = data.load(path)
    assert found.origin.places == ("abs.png", "out.png") and found.origin.passed == {"links": 1}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.tar"]


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz", ".tar.xz"])
def test_what_an_archive_unpacks_to_has_a_limit(suffix, tmp_path, monkeypatch):
    bomb = {f"{i}.png": bytes(2**20) for i in range(3)}
    path = made(tmp_path / f"pets{suffix}", bomb)
    assert path.stat().st_size < 2**16
    monkeypatch.setattr(image_files, "MAX_BYTES", 2**21)
    refused(path, "unpacks to more than it may", "the limit is 2097152 bytes")


@pytest.mark.parametrize("size", [2**22, 2**43])
def test_a_sparse_file_in_a_tar_counts_with_its_holes(size, tmp_path, monkeypatch):
    """Its zeros are not in the archive, so nothing is counted as it comes."""
    sparse = tarfile.TarInfo("a.png")
    sparse.size = 1024
    sparse.pax_headers = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.realsize": str(size),
    }
    monkeypatch.setattr(image_files, "MAX_BYTES", 2**21)
    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(sparse, io.BytesIO(f"1\n0\n512\n{size}\n0\n".encode().ljust(1024, b"\0")))
    refused(tmp_path / "x.tar", "unpacks to more than it may")


def test_devices_in_a_tar_are_counted(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        picture = tarfile.TarInfo("a.png")
        picture.size = len(FILES["cat/1.png"])
        archive.addfile(picture, io.BytesIO(FILES["cat/1.png"]))
        for name, kind in {"b.png": tarfile.FIFOTYPE, "c.png": tarfile.CHRTYPE}.items():
            other = tarfile.TarInfo(name)
            other.type = kind
            archive.addfile(other)
    assert data.load(tmp_path / "x.tar").origin.passed == {"neither file nor folder": 2}


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
def test_one_without_pictures_says_what_is_in_it(suffix, tmp_path):
    path = made(tmp_path / f"pets{suffix}", {"a.txt": b"", "b.heic": b""})
    refused(path, "expected pictures in this archive", "1 .heic, 1 .txt")
    refused(made(tmp_path / f"pets{suffix}", {}), "it is empty")


@pytest.mark.parametrize("suffix", [".tar.gz", ".tar.bz2", ".tar.xz"])
def test_what_it_holds_decides_and_not_its_name(suffix, tmp_path):
    path = made(tmp_path / f"pets{suffix}", FILES).rename(tmp_path / "pets.data")
    assert len(data.load(path).images) == 3


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz", ".tar"])
def test_a_damaged_one_is_one_line(suffix, tmp_path):
    path = made(tmp_path / f"pets{suffix}", FILES)
    content = path.read_bytes()
    for fraction in (0.02, 0.2, 0.5, 0.9):
        path.write_bytes(content[: int(fraction * len(content))])
        try:
            found = data.load(path)
        except data.DataError as error:
            assert str(path) in str(error) and "\n" not in str(error)
        else:  # only what comes after the pictures was cut off
            assert len(found.images) == 3


def test_one_with_a_password_says_so(tmp_path):
    path = zipped(tmp_path / "x.zip", {"a.png": FILES["cat/1.png"]})
    content = bytearray(path.read_bytes())
    content[content.rindex(b"PK\x01\x02") + 8] |= 1  # the flag of encryption
    path.write_bytes(content)
    refused(path, "without a password")


def test_a_picture_that_cannot_be_read_is_named_with_its_archive(tmp_path):
    path = zipped(tmp_path / "x.zip", {"a.png": FILES["cat/1.png"], "b.png": b"no picture"})
    refused(path, f"{path}[b.png]", "expected a picture")
    many = zipped(tmp_path / "y.zip", {"a.png": png(noise(4, 4)), "b.png": png(noise(5, 4))})
    refused(many, f"{many}[b.png]", "give a size")
    assert len(data.load(many, size=4).images) == 2


def test_a_run_folder_in_an_archive_is_no_data(tmp_path):
    files = {"1.png": FILES["cat/1.png"], "run/loss.png": FILES["cat/1.png"]}
    files |= {"run/config.toml": b"", "run/metrics.jsonl": b"", "run/deep/x.png": b""}
    found = data.load(zipped(tmp_path / "x.zip", files))
    assert found.origin.places == ("1.png",) and found.origin.passed == {"run folders": 1}


def test_files_of_pytorch_are_refused_by_name(tmp_path):
    path = zipped(tmp_path / "x.pt", {"archive/data.pkl": b"", "archive/data/0": b""})
    refused(path, "a PyTorch file: it holds pickles, which could run code")


def test_an_array_among_pictures_does_not_hide_them(tmp_path):
    found = data.load(zipped(tmp_path / "x.zip", FILES | {"features.npy": b"no array"}))
    assert len(found.images) == 3 and found.origin.passed[".npy"] == 1


@pytest.mark.parametrize(
    "inner", ["x.npz", "photos.zip", "photos.tar.gz", "train-images-idx3-ubyte"]
)
def test_what_holds_many_pictures_is_given_by_its_own_path(inner, tmp_path):
    (tmp_path / inner).touch()
    refused(tmp_path, f"give the file, such as {tmp_path / inner}")


def test_an_archive_in_an_archive_is_to_be_unpacked(tmp_path):
    refused(zipped(tmp_path / "x.zip", {"a/photos.zip": b""}), "1 .zip: unpack it")


def test_another_file_packed_with_gzip_says_what_to_do(tmp_path):
    (tmp_path / "x.npy.gz").write_bytes(gzip.compress(b"\x93NUMPY"))
    refused(tmp_path / "x.npy.gz", f"unpack it with gunzip {tmp_path / 'x.npy.gz'}")


def test_arrays_named_zip_are_still_arrays(tmp_path):
    np.savez(tmp_path / "x.npz", noise(2, 8, 8))
    (tmp_path / "x.npz").rename(tmp_path / "x.zip")
    assert data.load(tmp_path / "x.zip").images.shape == (2, 1, 8, 8)
