"""Data sets known by name: where their files lie, where they come from, and whether they are what they should be.

    fetch("fashion-mnist")                           # finds the files, or downloads them: paths
    images, labels = read("fashion-mnist", "test")   # uint8 (10000, 28, 28) and (10000,)

Only `fetch` (the command `tinyddpm data`) ever goes to the network; `read` finds what is there. Both check the files' sha256
each time, so what a run is trained on is what its recipe means, wherever the files were found. Errors are DataError.
"""
import dataclasses
import gzip
import hashlib
import os
import tarfile
import urllib.request
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
from tqdm import tqdm

from . import emoji
from ..files import in_words, replacing
from .image_files import bad, blaming

LARGEST = 2**28  # bytes of one file: more than any of these has


@dataclasses.dataclass(frozen=True)
class Source:
    """A data set that can be had by name.

    address  where a file is downloaded from, with {} for its name
    files    name -> sha256 (hex) of what is in it; None where any version will do
    parse    (part, content) -> uint8 images, and labels or None, of the "train" or "test" part; content(name) is a file's bytes, checked
    places   folders in which a system's package puts the files
    advice   how else to come by them
    tested   whether it has a test part
    """

    address: str
    files: dict[str, str | None]
    parse: Callable
    places: tuple[str, ...] = ()
    advice: str = ""
    tested: bool = True


def _idx(part, content):
    """The MNIST format: a header of 16 bytes before the pixels and of 8 before the labels (the sha256 vouches for what it says)."""
    stem = {"train": "train", "test": "t10k"}[part]
    pixels = np.frombuffer(content(f"{stem}-images-idx3-ubyte"), np.uint8, offset=16)
    return pixels.reshape(-1, 28, 28), np.frombuffer(content(f"{stem}-labels-idx1-ubyte"), np.uint8, offset=8)


def _cifar(part, content):
    """CIFAR-10's binary version: records of one label and 3·32·32 pixels, plane by plane. (The Python version would be pickles.)"""
    names = [f"data_batch_{i}" for i in range(1, 6)] if part == "train" else ["test_batch"]
    with tarfile.open(fileobj=BytesIO(content("cifar-10-binary.tar.gz"))) as archive:  # read in memory: nothing is unpacked to the disk
        data = b"".join(archive.extractfile(f"cifar-10-batches-bin/{name}.bin").read() for name in names)
    records = np.frombuffer(data, np.uint8).reshape(-1, 1 + 3 * 32 * 32)
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0]


def _emoji(side):
    return Source("https://github.com/googlefonts/noto-emoji/raw/v2.042/fonts/{}", {"NotoColorEmoji.ttf": None},
                  lambda part, content: (emoji.pictures(content("NotoColorEmoji.ttf"), side), None), tested=False,
                  places=("/usr/share/fonts/truetype/noto", "/usr/share/fonts/noto", "/usr/share/fonts/google-noto-emoji-fonts"),
                  advice="on Debian and Ubuntu install the package fonts-noto-color-emoji")


def _mnist_like(address, places=(), advice="", **sha256):
    names = "train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
    return Source(address, dict(zip(names, sha256.values(), strict=True)), _idx, places, advice)


SOURCES = {
    "fashion-mnist": _mnist_like(  # Xiao et al. 2017; the sums are of the unpacked files
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/{}.gz",
        places=("/usr/share/datasets/fashion-mnist",), advice="on Debian and Ubuntu install the package dataset-fashion-mnist",
        train_images="c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        train_labels="bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        test_images="5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        test_labels="0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
    "mnist": _mnist_like(  # LeCun et al. 1998, from the mirror that torchvision uses: the original address no longer serves it
        "https://ossci-datasets.s3.amazonaws.com/mnist/{}.gz",
        train_images="ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        train_labels="65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        test_images="0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        test_labels="ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
    "cifar-10": Source(  # Krizhevsky 2009
        "https://www.cs.toronto.edu/~kriz/{}",
        {"cifar-10-binary.tar.gz": "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"}, _cifar),
    "emoji-16": _emoji(16),  # another version of the font has some more or fewer pictures; the checkpoint of a run notes which it saw
    "emoji-32": _emoji(32),
}


def cache(name):
    """The folder of the user's in which `fetch` keeps this data set."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tinyddpm" / name


def read(name, part):
    """(images, labels or None), uint8, of the "train" or "test" part of SOURCES[name]. DataError, saying what to do, if it is not here."""
    source = SOURCES[name]
    folders = [*map(Path, source.places), cache(name)]

    def content(file):
        path = _find(file, folders)
        if path is None:
            raise bad(name, f"not on this machine yet: get it with `tinyddpm data {name}`{_else(name)}")
        return _checked(path, source.files[file])

    with blaming(name):
        return source.parse(part, content)


def fetch(name, folder=None):
    """The paths of the files of SOURCES[name], each checked: found on this machine, or downloaded into `cache(name)`.

    folder  where the files lie already, packed (.gz) or not: they are copied into `cache(name)`
    Raises DataError if they are not there or not right, OSError if they cannot be written.
    """
    source, found = SOURCES[name], []
    folders = [*map(Path, source.places), cache(name)] if folder is None else [Path(folder)]
    for file, sha256 in source.files.items():
        path = _find(file, folders)
        if path is None and folder is not None:
            raise bad(folder, f"expected the file {file} (or {file}.gz) in this folder, and it is not there")
        if path is None or folder is not None:
            address = source.address.format(file)
            target = cache(name) / (path.name if path else address.rsplit("/", 1)[1])
            stored = path.read_bytes() if path else _download(address, name)
            _content(path or address, stored, sha256)
            target.parent.mkdir(parents=True, exist_ok=True)
            with replacing(target) as beside:
                beside.write_bytes(stored)
            path = target
        else:
            _checked(path, sha256)
        found.append(path)
    return found


def _find(file, folders):
    candidates = [folder / f"{file}{packed}" for folder in folders for packed in ("", ".gz")]
    return next((path for path in candidates if path.is_file()), None)


def _checked(path, sha256):
    """What is in the file, if it has this sum."""
    with blaming(path), path.open("rb") as file:
        return _content(path, file.read(LARGEST), sha256)


def _content(called, stored, sha256):
    """The bytes with this sum: those stored or, if they are gzipped, what is packed in them. DataError that names the file if neither has it."""
    if sha256 is None:
        return stored
    got = hashlib.sha256(stored).hexdigest()
    if got != sha256 and stored[:2] == b"\x1f\x8b":
        with blaming(called), gzip.open(BytesIO(stored)) as file:
            stored = file.read(LARGEST)
        got = hashlib.sha256(stored).hexdigest()
    if got != sha256:
        raise bad(called, f"expected sha256 {sha256}, got {got}: another file or a damaged one; remove it, then try again")
    return stored


def _download(address, name):
    """The bytes at the address, with a bar. DataError that says what else to do where there is no way to it."""
    try:
        with urllib.request.urlopen(address, timeout=30) as answer:
            total = int(answer.headers.get("Content-Length") or 0)
            with tqdm(total=total or None, unit="B", unit_scale=True, desc=address.rsplit("/", 1)[1], leave=False, disable=None) as bar:
                parts = []
                while bar.n < LARGEST and (part := answer.read(2**16)):
                    parts.append(part)
                    bar.update(len(part))
        return b"".join(parts)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise bad(name, f"cannot be downloaded from {address} ({in_words(reason) if isinstance(reason, OSError) else reason}){_else(name)}") from error


def _else(name):
    """The other ways to the data, at the end of a sentence."""
    advice = f"; {SOURCES[name].advice}" if SOURCES[name].advice else ""
    return f"{advice}; or give the folder that holds {', '.join(SOURCES[name].files)}: tinyddpm data {name} --folder PATH"
