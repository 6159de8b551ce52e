"""What to say of picture files: those we do not read, and what Pillow remarks of those we do."""

import dataclasses
from collections import Counter

NO_EXIF = "damaged EXIF notes: they are read as stored, which may lie on its side"

# What other files begin with, and what to say of them.
NAMES = {
    b"\x80": "a pickle (.pkl, .pt), which could run code: save the array with np.save",
    b"\x89HDF": "an HDF5 file: save its array with np.save",
    b"MATLAB": "a MATLAB file: save its array with np.save",
    b"PAR1": "a Parquet file: write its pictures to a folder",
    b"Rar!": "a RAR archive: unpack it, or make a .zip",
    b"7z\xbc\xaf": "a 7z archive: unpack it, or make a .zip",
    b"\x28\xb5\x2f\xfd": "a zstd archive: unpack it, or make a .zip",
    b"<svg": "an SVG drawing: convert it to PNG",
    b"<?xml": "an XML file, perhaps an SVG drawing: convert it to PNG",
    b"%PDF": "a PDF file: convert it to PNG",
    b"version https://git-lfs": "a Git LFS pointer: fetch the file itself (git lfs pull)",
}


@dataclasses.dataclass
class Tally:
    """What is seen on the way: kinds of files, remarks with their counts, the 16-bit maximum."""

    kinds: Counter[str] = dataclasses.field(default_factory=Counter)
    remarks: Counter[str] = dataclasses.field(default_factory=Counter)
    sixteen: int = 0

    def notes(self) -> tuple[str, ...]:
        """The remarks in words."""
        notes = [
            f"{count:,} picture{'s' * (count != 1)}: {remark}"
            for remark, count in self.remarks.most_common()
        ]
        if 0 < self.sixteen < 65535 // 4:
            notes.append(
                f"the brightest 16-bit value is {self.sixteen} where white is 65535, so the "
                "pictures are dark: scale them first"
            )
        return tuple(notes)


def in_our_words(warning: str) -> str:
    """What a warning of Pillow's means here."""
    if "EXIF" in warning:
        return NO_EXIF
    if "Truncated" in warning or "Metadata" in warning:
        return "damaged notes in the file, which were ignored"
    return f"Pillow says: {' '.join(warning.split())[:200]}"


def unknown(head: bytes) -> str:
    """What to say of a file that is nothing we read, by its first bytes."""
    what = "expected a picture, an archive of pictures, or an IDX, .npy or .npz file; got "
    for magic, name in NAMES.items():
        if head.startswith(magic):
            return what + name
    if head[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftyphevc"):
        return f"{what}a HEIC picture: convert it to JPEG or PNG"
    return f"{what}one that begins with '{head[:8].hex(' ')}'"
