"""Reading arrays from files that nobody vouches for: IDX, .npy and .npz.

    images, labels, unused = read_file(path)     # as the file stores them; labels may be None

No size in a header is believed before the bytes are there, and nothing is unpickled. Whatever is
wrong with a file raises DataError. A large array that lies in its file as it would in memory is
mapped (mapped.py) and not read.
"""

import gzip
import math
import zipfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from io import BufferedIOBase
from pathlib import Path
from typing import cast

import numpy as np

from ..image_files import DataError, bad, blaming, within_limit
from . import mapped
from .facts import facts_of

# Names of the pictures in an .npz, and of their labels, best first. Capitals do not matter.
IMAGE_KEYS = ("images", "x", "arr_0", "x_train", "train_images", "train_x")
LABEL_KEYS = ("labels", "y", "y_train", "label", "targets", "target", "train_labels", "train_y")
MAYBE = ("arr_1", "classes")  # of labels too, if there are as many as pictures
# The types of IDX elements. Only the first, unsigned bytes, holds pictures.
IDX_TYPES = [b"\x08", b"\x09", b"\x0b", b"\x0c", b"\x0d", b"\x0e"]


# The kinds of dtype that pixels, and labels, may have.
NUMBERS, LABELS = "fiub", "fiubUS"

Unused = tuple[str, ...]
Place = tuple[Path, int]  # a file, and where in it a stream begins: it could be mapped
Labels = np.ndarray | DataError | None  # the error says why the labels cannot be read


def read_file(path: Path) -> tuple[np.ndarray, Labels, Unused] | None:
    """(array, labels or None, names of unused arrays) as an IDX, .npy or .npz file stores them.

    An IDX file must hold unsigned bytes, plain or gzipped, with 3 or 4 axes. An .npz must hold one
    array besides labels, or one of IMAGE_KEYS, or one alone with three or four axes. Its labels are
    the first of LABEL_KEYS and MAYBE.

    Returns:
        None if the file begins like none of these formats. What is wrong with labels comes in their
        place: not everyone asks for them.

    Raises:
        DataError: if the file is damaged or holds something else.
    """
    with blaming(path):
        with path.open("rb") as file:
            head = file.read(4)
        if not head:
            raise bad(path, "the file is empty")
        if head == b"\x93NUM":
            with path.open("rb") as stream:
                place = path, 0
                return _read_npy(path, stream, path.stat().st_size, place=place), None, ()
        if head in (b"PK\x03\x04", b"PK\x05\x06"):
            return _read_npz(path)
        gzipped = head[:2] == b"\x1f\x8b"
        if gzipped or (head[:2] == b"\0\0" and head[2:3] in IDX_TYPES):
            return _read_idx(path, gzipped), None, ()
    return None


def read_labels(path: Path) -> np.ndarray:
    """As stored in an .npy file, or int64 (n,) from an IDX file with one axis, perhaps gzipped."""
    with blaming(path):
        with path.open("rb") as file:
            head = file.read(4)
        if head == b"\x93NUM":
            with path.open("rb") as stream:
                return _read_npy(path, stream, path.stat().st_size, LABELS)
        return _read_idx(path, head[:2] == b"\x1f\x8b", of_labels=True).astype(np.int64)


def _read_array(
    path: str | Path,
    stream: BufferedIOBase,
    shape: Sequence[int],
    dtype: np.dtype,
    available: int | None = None,
    place: Place | None = None,
) -> np.ndarray:
    """A flat array from the rest of the stream, which must have exactly its length.

    Args:
        path: what to call the file in an error.
        stream: the file, after its header.
        shape: as the header states it.
        dtype: as the header states it.
        available: the bytes left in the stream, if known.
        place: of the stream; None: the array cannot be mapped.
    """
    need = math.prod(shape) * dtype.itemsize
    if place and available == need >= mapped.MAPPED_FROM and min(shape) > 0:
        return mapped.mapped(place[0], dtype, place[1] + stream.tell(), (math.prod(shape),))
    within_limit(path, shape, dtype.itemsize)
    promise = f"the header promises shape {shape}, {need} bytes, but the file holds"
    if available not in (None, need):
        raise bad(path, f"{promise} {available}")
    # The system hands out memory only as we write to it: a false promise takes none.
    buffer = np.empty(need, np.uint8)
    got = 0
    while got < need and (count := stream.readinto(buffer.data[got : got + 2**20])):
        got += count
    if got < need or stream.read(1):
        raise bad(path, f"{promise} {f'only {got}' if got < need else 'more'}")
    return buffer.view(dtype)


def _read_idx(path: Path, gzipped: bool, of_labels: bool = False) -> np.ndarray:
    """uint8 (n, H, W) or four axes, or labels (n,)."""
    with gzip.open(path) if gzipped else path.open("rb") as stream:
        shape = _idx_shape(path, stream, of_labels)
        header = 4 + 4 * len(shape)
        available = None if gzipped else path.stat().st_size - header
        place = None if gzipped else (path, 0)
        flat = _read_array(path, stream, shape, np.dtype(np.uint8), available, place)
        return flat.reshape(shape)


def _idx_shape(path: Path, stream: BufferedIOBase, of_labels: bool) -> tuple[int, ...]:
    """The shape in the header: 0 0 type rank, then each axis as a big-endian uint32."""
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0":
        begins = f"one that begins with '{magic.hex(' ')}'"
        fix = f": unpack it with gunzip {path}" if isinstance(stream, gzip.GzipFile) else ""
        raise bad(path, f"expected an IDX file (0 0 type rank), got {begins}{fix}")
    element, rank = magic[2:]
    if element != 8:
        raise bad(path, f"expected an IDX file of unsigned bytes (type 8), got type {element}")
    if of_labels and rank != 1:
        raise bad(path, f"expected an IDX file of labels (one axis), got {rank} axes")
    if rank == 1 and not of_labels:
        raise bad(path, "expected an IDX file of images (three axes), got one of labels (one axis)")
    if rank not in (1, 3, 4):
        raise bad(path, f"expected an IDX file with 3 or 4 axes, got {rank}")
    axes = stream.read(4 * rank)
    if len(axes) < 4 * rank:
        raise bad(path, f"the IDX header ends after {4 + len(axes)} of {4 + 4 * rank} bytes")
    return tuple(np.frombuffer(axes, ">u4").tolist())


def _read_npy(
    path: str | Path,
    stream: BufferedIOBase,
    length: int,
    kinds: str = NUMBERS,
    place: Place | None = None,
) -> np.ndarray:
    """The array in an .npy stream of `length` bytes. (np.load allocates what the header states.)"""
    version = np.lib.format.read_magic(stream)
    # np.save writes other versions only for tables with named columns.
    if version != (1, 0):
        got = f"{version[0]}.{version[1]}"
        raise bad(path, f"expected version 1.0 of the .npy format, got {got}")
    # The header is a Python literal; NumPy parses it and never evaluates it.
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype.hasobject:
        pickled = "Python objects (a pickle), which could run code"
        fix = "save np.array(labels, dtype=str)" if kinds == LABELS else "save one array of numbers"
        raise bad(path, f"expected an array of numbers, got {pickled}: {fix}")
    if dtype.kind not in kinds:
        raise bad(path, f"expected an array of numbers, got dtype {dtype}")
    place = None if fortran else place
    flat = _read_array(path, stream, shape, dtype, length - stream.tell(), place)
    return flat.reshape(shape, order="F" if fortran else "C")


def _read_npz(path: Path) -> tuple[np.ndarray, Labels, Unused]:
    """(images, labels or None, names of unused arrays) from a zip file of .npy files."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if any(name.endswith("/data.pkl") for name in names):
            pickled = "a PyTorch file: it holds pickles, which could run code"
            raise bad(path, f"expected arrays, got {pickled}; save the array with np.save")
        files = [name for name in names if name.endswith(".npy")]
        members = {name.removesuffix(".npy"): name for name in files}

        def read(key: str, kinds: str = NUMBERS, may_map: bool = False) -> np.ndarray:
            info = archive.getinfo(members[key])
            with archive.open(info) as stream:
                # Types call it IO[bytes]; it is a ZipExtFile, which is buffered.
                buffered = cast(BufferedIOBase, stream)
                place = _place(path, info) if may_map else None
                return _read_npy(f"{path}[{key}]", buffered, info.file_size, kinds, place)

        def shape(key: str) -> tuple[int, ...]:
            with archive.open(members[key]) as stream:
                if np.lib.format.read_magic(stream) != (1, 0):
                    return ()
                return np.lib.format.read_array_header_1_0(stream)[0]

        name = _images_key(path, list(members), shape)
        images = read(name, may_map=True)
        keys = [key for known in LABEL_KEYS for key in _called(known, members)]
        if not keys:
            maybe = [key for known in MAYBE for key in _called(known, members) if key != name]
            fitting = (len(images),), (len(images), 1)
            keys = [key for key in maybe if shape(key) in fitting]
        keys = keys[:1]
        unused = tuple(sorted(members.keys() - {name, *keys}))
        try:
            with blaming(f"{path}[{', '.join(keys)}]"):
                return images, read(keys[0], LABELS) if keys else None, unused
        except DataError as error:
            return images, error, unused


def _place(path: Path, info: zipfile.ZipInfo) -> Place | None:
    """Where a member's bytes lie, if they are large and stored as they are, and have their sum."""
    if info.compress_type != zipfile.ZIP_STORED or info.file_size < mapped.MAPPED_FROM:
        return None
    with path.open("rb") as file:
        file.seek(info.header_offset + 26)  # of 30 bytes: the last two are the lengths of …
        name, extra = np.frombuffer(file.read(4), "<u2").tolist()  # … what stands between
    start = info.header_offset + 30 + name + extra

    def crc() -> int:
        found = 0
        for piece in mapped.pieces(mapped.mapped(path, "u1", start, (info.file_size,)), "checking"):
            found = zlib.crc32(piece.data, found)
        return found

    if facts_of(path).get(f"crc {info.filename}", crc) != info.CRC:
        raise zipfile.BadZipFile(f"Bad CRC-32 for file {info.filename!r}")
    return path, start


def _images_key(path: Path, members: list[str], shape: Callable[[str], tuple[int, ...]]) -> str:
    """The name of the pictures among the arrays of an .npz file; shape(name): its header's."""
    known = [key for name in IMAGE_KEYS for key in _called(name, members)]
    if known:
        return known[0]
    others = [key for key in members if key.lower() not in LABEL_KEYS]
    if len(others) > 1:  # others describe the pictures
        others = [key for key in others if len(shape(key)) in (3, 4)]
    if len(others) != 1:
        names = f"one named {', '.join(IMAGE_KEYS)}"
        raise bad(path, f"expected a single array, or {names}; got {sorted(members)[:9]}")
    return others[0]


def _called(name: str, members: Iterable[str]) -> list[str]:
    """The members of this name, whatever their capitals; the exact one first."""
    return sorted((key for key in members if key.lower() == name), key=lambda key: key != name)
