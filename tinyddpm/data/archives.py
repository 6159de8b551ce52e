"""Pictures in a .zip or .tar file (plain, .gz, .bz2 or .xz), read in memory.

    found = pictures(path)         # None: this is no archive of pictures
    found.files                    # place within the archive -> Packed

Nothing is written to the disk, links in archives are not followed, and no size in a header is
believed: what the archive unpacks to has a limit, counted as it comes.
"""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple, Self, cast

from . import image_files
from .folders import LINKS, OTHER, WHOLE, in_order, nothing_found, sifted
from .image_files import Packed, bad, blaming

OPENERS: dict[bytes, Callable[..., object]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
}


class Archive(NamedTuple):
    """What `pictures` found."""

    files: dict[str, Packed]
    passed: Counter[str]


def is_one(path: Path) -> bool:
    """Whether this is an archive of pictures, and not of arrays."""
    with blaming(path):
        return path.is_file() and bool(_kind(path))


def _kind(path: Path) -> str:
    """Which kind of archive a file is: zip, tar or, if it is none of pictures, empty."""
    with path.open("rb") as file:
        zipped = file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")
    if zipped:
        return "" if _holds_arrays(path) else "zip"
    return "tar" if _is_tar(path) else ""


def pictures(path: Path) -> Archive | None:
    """The pictures in an archive, in the order of their places; None if this is no archive.

    Folders around everything are not part of the places.

    Raises:
        DataError: there are no pictures, or they unpack to more than image_files.MAX_BYTES.
    """
    kind = _kind(path)
    if not kind:
        return None
    contents, passed = _of_zip(path) if kind == "zip" else _of_tar(path)
    if not contents:
        inside = any(WHOLE.search(f"x{reason}") for reason in passed)
        fix = ": unpack it, and give the file in it" if inside else ""
        raise bad(path, nothing_found("archive", passed) + fix)
    cut = 0
    while all(place.count("/", cut) > 1 for place in contents):
        tops = {place[cut:].partition("/")[0] for place in contents}
        if len(tops) > 1:
            break
        cut += len(tops.pop()) + 1
    files = {place[cut:]: Packed(path, place, contents[place]) for place in in_order(contents)}
    return Archive(files, passed)


def _holds_arrays(path: Path) -> bool:
    """Whether this zip file is NumPy's or PyTorch's: `read_file` deals with these."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if path.suffix.lower() == ".npz" or any(name.endswith("/data.pkl") for name in names):
        return True
    return any(name.endswith(".npy") for name in names) and not sifted(map(_place, names))[0]


def _of_zip(path: Path) -> tuple[dict[str, bytes], Counter[str]]:
    with zipfile.ZipFile(path) as archive:
        members = {_place(i.filename): i for i in archive.infolist() if not i.is_dir()}
        links = {place for place, i in members.items() if (i.external_attr >> 28) == 0o12}
        kept, passed = sifted(place for place in members if place not in links)
        if links:
            passed[LINKS] += len(links)
        if any(members[place].flag_bits & 1 for place in kept):
            raise bad(path, "expected an archive without a password: unpack it to a folder")
        contents, left = {}, image_files.MAX_BYTES
        for place in kept:
            with archive.open(members[place]) as stream:
                contents[place] = stream.read(left + 1)
            left -= len(contents[place])
            if left < 0:
                raise _too_large(path)
        return contents, passed


def _of_tar(path: Path) -> tuple[dict[str, bytes], Counter[str]]:
    """One pass: to go back in a compressed file means to unpack it again."""
    with _unpacked(path) as stream:
        limited = cast(BinaryIO, _Limited(path, stream))
        contents: dict[str, bytes] = {}
        places, links, others = [], 0, 0
        left = image_files.MAX_BYTES
        with tarfile.open(fileobj=limited, mode="r|", tarinfo=_Strict) as archive:
            for member in archive:
                if member.issym() or member.islnk():
                    links += 1
                elif member.isfile():
                    place = _place(member.name)
                    places.append(place)
                    if sifted([place])[0]:
                        left -= member.size  # a sparse file is larger than what is read for it
                        if left < 0:
                            raise _too_large(path)
                        file = archive.extractfile(member)
                        contents[place] = file.read() if file else b""
                elif not member.isdir():
                    others += 1
        kept, passed = sifted(places)
        passed += Counter({LINKS: links, OTHER: others})  # without those that are zero
        return {place: contents[place] for place in kept}, passed


def _place(name: str) -> str:
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    return "/".join(parts)


def _is_tar(path: Path) -> bool:
    """Whether the file, unpacked, begins as a tar file does."""
    packed = _opener(path) is not None
    named = any(suffix in (".tar", ".tgz", ".tbz2", ".txz") for suffix in path.suffixes[-2:])
    if packed or named:
        try:
            with _unpacked(path) as stream:
                head = stream.read(512)
        except (OSError, EOFError, lzma.LZMAError, zlib.error):
            return named
        return head[257:262] == b"ustar" or (named and len(head) == 512)
    with path.open("rb") as file:
        return file.read(262)[257:] == b"ustar"


def _opener(path: Path) -> Callable[..., object] | None:
    """What unpacks the file; None if it is not packed."""
    with path.open("rb") as file:
        head = file.read(6)
    return next((opener for magic, opener in OPENERS.items() if head.startswith(magic)), None)


def _unpacked(path: Path) -> io.BufferedIOBase:
    opener = _opener(path)
    return cast(io.BufferedIOBase, opener(path) if opener else path.open("rb"))


def _too_large(path: Path) -> image_files.DataError:
    return bad(path, f"unpacks to more than it may: {image_files.how_to_raise()}")


class _Strict(tarfile.TarInfo):
    """A member. Python takes a damaged header, or none, for the end of the archive."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        """The next member. Raises ReadError unless it is there, or the blocks that mark the end."""
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # typeshed lacks it
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"damaged or cut off: {error}") from error


class _Limited:
    """A stream that refuses to give more than MAX_BYTES."""

    def __init__(self, path: Path, stream: io.BufferedIOBase) -> None:
        self.path, self.stream, self.left = path, stream, image_files.MAX_BYTES

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes."""
        content = self.stream.read(min(size, self.left + 1) if size >= 0 else self.left + 1)
        self.left -= len(content)
        if self.left < 0:
            raise _too_large(self.path)
        return content
