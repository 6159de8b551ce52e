"""What was found where the data come from, and how it was read: for the user to check.

    dataset = load("pets/", size=32)
    print(report(dataset, "pets/").text())

    pets/: 212 files used; passed over: 10 .heic, 3 .svg, 2 hidden or system folders
    212 images, (C, H, W) = (3, 32, 32); stored as uint8 from 0 to 255 (JPEG RGB 212), read as …
    2 classes: cat 100, dog 112; 176 to train on, 36 held out (stratified)

`tinyddpm data`, `train` and `info` print this.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from .folders import as_seen, counted
from .image_files import printable

SHOWN_CLASSES, SHOWN_NOTES = 12, 6


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where a data set comes from.

    Attributes:
        files: how many files were used; 0: the data come with tinyddpm.
        passed: how many files or folders were passed over, by reason.
        places: of each picture, relative to its folder or archive; () for arrays.
        stored: the stored type and range, such as "uint8 from 0 to 255".
        how: how they were read, such as "x / 127.5 - 1".
        notes: what the user should know besides.
        label_problem: why the labels that are there cannot be used; "" if they can.
    """

    files: int = 0
    passed: Mapping[str, int] = dataclasses.field(default_factory=dict)
    places: tuple[str, ...] = ()
    stored: str = ""
    how: str = ""
    notes: tuple[str, ...] = ()
    label_problem: str = ""

    def sub_folders(self) -> list[str]:
        """The top folders' names, as seen, if every picture lies in one: perhaps they are classes.

        Folders whose names look the same are one.
        """
        tops = {as_seen(place.partition("/")[0]) for place in self.places}
        return sorted(tops) if all("/" in place for place in self.places) else []


def first_line(source: str | Path, files: int, passed: Mapping[str, int]) -> str:
    """Which files are used, and which are passed over."""
    used = f"{files:,} file{'s' * (files != 1)} used" if files else "comes with tinyddpm"
    return f"{source}: {used}" + (f"; passed over: {counted(passed)}" if passed else "")


@dataclasses.dataclass(frozen=True)
class Report:
    """What a run trains on.

    Attributes:
        source: what was asked for.
        origin: where it comes from.
        shape: (n, C, H, W) of all images.
        classes: how many images each class has, by name; {} without classes.
        unused_labels: whether there are labels that were not asked for.
        training, held_out: how many images each part has.
        how: the way of the split.
    """

    source: str | Path
    origin: Origin
    shape: tuple[int, ...]
    classes: Mapping[str, int]
    unused_labels: bool
    training: int
    held_out: int
    how: str

    def text(self) -> str:
        """Two to four lines."""
        origin, (n, *shape) = self.origin, self.shape
        lines = [first_line(self.source, origin.files, origin.passed)]
        lines.append(
            f"{n:,} image{'s' * (n != 1)}, (C, H, W) = {tuple(shape)}; "
            f"stored as {origin.stored}, read as {origin.how}"
        )
        lines.append(f"{self._classes()}; {self._split()}")
        if notes := origin.notes:
            more = f"; and {len(notes) - SHOWN_NOTES} more" if len(notes) > SHOWN_NOTES else ""
            lines.append(f"note: {'; '.join(notes[:SHOWN_NOTES])}{more}")
        # The names of files may hold anything.
        return "\n".join(map(printable, lines))

    def _classes(self) -> str:
        if not self.classes:
            unused = "; their labels are not used (--classes uses them)"
            return "no classes" + unused * self.unused_labels
        rows = [f"{name} {count:,}" for name, count in self.classes.items()]
        more = f", and {len(rows) - SHOWN_CLASSES} more" if len(rows) > SHOWN_CLASSES else ""
        count = f"{len(rows)} class{'es' * (len(rows) != 1)}"
        return f"{count}: {', '.join(rows[:SHOWN_CLASSES])}{more}"

    def _split(self) -> str:
        if self.training + self.held_out > self.shape[0]:
            return f"all {self.training:,} to train on, and held out too: none can be spared"
        return f"{self.training:,} to train on, {self.held_out:,} held out ({self.how})"
