"""Which files of a folder, or of an archive, are pictures to train on, and why others are not.

found = listing(folder)
found.files                  # place within the folder -> path, in the order of places
found.passed                 # Counter({".heic": 10, "hidden or system folders": 1})
"""

import errno
import functools
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from PIL import Image

from .image_files import FORMATS, bad

# Folders in which systems keep thumbnails, snapshots and what was deleted (in lower case). Those
# whose names begin with a dot are passed over too.
SYSTEM = {
    *("@eadir", "@recycle", "#recycle", "#snapshot", "@__thumb", "@tmp", "@synoresource"),
    *("$recycle.bin", "recycler", "recycled", "system volume information", "lost+found"),
    *("@recently-snapshot", "~snapshot", "found.000", "lost.dir", "ipod photo cache"),
    *("__macosx", "__pycache__", "node_modules"),
}
MOST_FOLDERS = 10**6  # links to folders of links can make more of them than a disk holds
FOLDERS, FILES = "hidden or system folders", "hidden files"
LOOPS, BROKEN, RUNS = "links back to a folder above", "broken links", "run folders"
LINKS, OTHER = "links", "neither file nor folder"
NO_SUFFIX = "without a suffix"
# Files that hold many pictures: they are given by their own path.
WHOLE = re.compile(r"\.(npy|npz|zip|tar|tgz|tbz2|txz|tar\.\w+)$|-ubyte(\.gz)?$", re.IGNORECASE)


class Listing(NamedTuple):
    """What `listing` found."""

    files: dict[str, str]
    passed: Counter[str]


def listing(folder: Path) -> Listing:
    """The pictures under `folder`, at any depth, in the order of their relative names.

    Pictures are recognised by their suffix. Links are followed, but not back to a folder above.
    Passed over and counted are: other files, by suffix; hidden and system files and folders; run
    folders, which hold charts of their own.

    Raises:
        DataError: there are no pictures; `folder` is a run folder; or a folder in it cannot be
            read.
    """
    if is_run(_names(folder)):
        raise bad(folder, "expected a folder of pictures, got a run folder: its charts are no data")
    passed: Counter[str] = Counter()
    suffixes = picture_suffixes()
    files, whole = {}, []
    for place, path in _walk(folder, passed):
        if reason := _why_not(place, suffixes):
            passed[reason] += 1
            whole += [path] if WHOLE.search(place) else []
        else:
            files[place] = path
    if not files:
        fix = f": give the file, such as {min(whole)}" if whole else ""
        raise bad(folder, nothing_found("folder", passed) + fix)
    return Listing({place: files[place] for place in in_order(files)}, passed)


def sifted(places: Iterable[str]) -> tuple[list[str], Counter[str]]:
    """The places of an archive that hold pictures, sorted, and the rest counted by reason."""
    places, passed, kept = list(places), Counter[str](), []
    inside: dict[str, list[str]] = {}
    for place in places:
        parent, _, name = place.rpartition("/")
        inside.setdefault(parent, []).append(name)
    runs = {parent for parent, names in inside.items() if is_run(names)}
    gone: dict[str, str] = {}  # a folder that is passed over -> why
    suffixes = picture_suffixes()
    for place in places:
        parents = [str(parent) for parent in PurePosixPath(place).parents][:-1]
        above = [(p, FOLDERS) for p in parents if _hidden(p.rpartition("/")[2])]
        above += [(p, RUNS) for p in parents if p in runs]
        if above:
            topmost, why = min(above, key=lambda entry: len(entry[0]))
            gone[topmost] = why
        elif reason := _why_not(place, suffixes):
            passed[reason] += 1
        else:
            kept.append(place)
    return in_order(kept), passed + Counter(gone.values())


def as_seen(name: str) -> str:
    """A name as people see it, whatever system wrote it: in Unicode's composed form (NFC).

    Bytes that are not text in UTF-8 are read as Latin-1, so that every name can be printed.
    """
    if name.isascii():
        return name
    try:
        name.encode()
    except UnicodeEncodeError:
        try:
            stored = name.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:  # half a character, which no file's name can hold
            stored = name.encode("utf-8", "replace")
        try:
            name = stored.decode()  # where the locale knows no UTF-8, Python could not read it
        except UnicodeDecodeError:
            name = stored.decode("latin-1")
    return unicodedata.normalize("NFC", name)


def as_path(name: str) -> str:
    """A path that another process may have read in another locale, as this one's has it."""
    try:
        stored = os.fsencode(name)
    except UnicodeEncodeError:  # this locale cannot say what that one could
        stored = name.encode("utf-8", "surrogateescape")
    return os.fsdecode(stored)


def in_order(places: Iterable[str]) -> list[str]:
    """The places, sorted as they are seen: a Mac's names have another form than those of Linux."""

    def seen(place: str) -> str:
        return place if place.isascii() else "/".join(map(as_seen, place.split("/")))

    return sorted(places, key=lambda place: (seen(place), place))


def is_run(names: Collection[str]) -> bool:
    """Whether a folder with files of these names is a run folder."""
    saved = any(name.endswith(".safetensors") for name in names)
    return "config.toml" in names and (saved or "metrics.jsonl" in names)


def is_run_folder(path: Path) -> bool:
    """Whether there is a run folder at `path`."""
    return path.is_dir() and is_run(_names(path))


def visible_folders(path: Path) -> set[str]:
    """The names, as seen, of the folders in `path`, but for hidden, system and run folders."""
    with _scan(path) as entries:
        names = {entry.name for entry in entries if _kind(entry) == "folder"}
    visible = (name for name in names if not _hidden(name) and not is_run_folder(path / name))
    return {as_seen(name) for name in visible}


@functools.cache
def picture_suffixes() -> frozenset[str]:
    """The suffixes of the formats that we open, such as ".png"."""
    known = Image.registered_extensions().items()
    return frozenset(end for end, name in known if name in FORMATS)


def nothing_found(kind: str, passed: Mapping[str, int]) -> str:
    """What to say of a folder or archive without pictures."""
    what = f"found only {counted(passed)}" if passed else "it is empty"
    named = " ".join(sorted(picture_suffixes()))
    return f"expected pictures in this {kind}, found no file named {named}; {what}"


def counted(passed: Mapping[str, int], most: int = 8) -> str:
    """Counts by reason in words, the largest first: "10 .heic, 3 .svg"."""
    rows = sorted(passed.items(), key=lambda row: (-row[1], row[0]))
    words = []
    for reason, count in rows[:most]:
        one = re.sub(r"\b(folder|file|link)s\b", r"\1", reason)
        words.append(f"{count:,} {one if count == 1 else reason}")
    if rest := sum(count for _, count in rows[most:]):
        words.append(f"{rest:,} others")
    return ", ".join(words)


def _names(folder: Path) -> list[str]:
    with _scan(folder) as entries:
        return [entry.name for entry in entries]


def _scan(folder: str | Path) -> "os._ScandirIterator[str]":
    try:
        return os.scandir(str(folder))
    except OSError as error:
        raise bad(folder, f"this folder cannot be read: {error.strerror}") from error


def _walk(folder: Path, passed: Counter[str]) -> Iterator[tuple[str, str]]:
    """(place, path) of each file that is not hidden. Counts what it does not enter."""
    waiting: list[tuple[str, tuple[tuple[int, int], ...]]] = [("", ())]
    visited = 0
    while waiting:
        inside, above = waiting.pop()
        here = folder / inside
        visited += 1
        if visited > MOST_FOLDERS:
            raise bad(
                folder, f"expected at most {MOST_FOLDERS:,} folders in it: links in a circle?"
            )
        status = here.stat()
        identity = status.st_dev, status.st_ino
        if identity in above:
            passed[LOOPS] += 1
            continue
        with _scan(here) as scanned:
            entries = list(scanned)
        if inside and is_run([entry.name for entry in entries]):
            passed[RUNS] += 1
            continue
        for entry in entries:
            place, kind = inside + entry.name, _kind(entry)
            if kind == "folder":
                if _hidden(entry.name):
                    passed[FOLDERS] += 1
                else:
                    waiting.append((f"{place}/", (*above, identity)))
            elif kind == "file":
                yield place, entry.path.removeprefix("./")
            else:
                passed[kind] += 1


def _kind(entry: "os.DirEntry[str]") -> str:
    """Either "folder", or "file", or a reason to pass it over."""
    try:
        if entry.is_dir():
            return "folder"
        if entry.is_file():
            return "file"
    except OSError as error:
        if not entry.is_symlink():
            raise bad(entry.path, f"cannot be read: {error.strerror}") from error
        loop = error.errno == errno.ELOOP  # a link that leads to itself
        if not loop:
            raise bad(entry.path, f"this link cannot be followed: {error.strerror}") from error
    return BROKEN if entry.is_symlink() else OTHER


def _hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in SYSTEM


def _why_not(place: str, suffixes: Collection[str]) -> str | None:
    """Why the file at this place, in folders that are not hidden, is passed over; None: a picture.

    Files whose names begin with a dot are hidden.
    """
    name = place.rpartition("/")[2]
    if name.startswith("."):
        return FILES
    dot = name.rfind(".")  # as pathlib has it, which takes ten times as long
    suffix = name[dot:].lower() if 0 < dot < len(name) - 1 else ""
    return None if suffix in suffixes else suffix or NO_SUFFIX
