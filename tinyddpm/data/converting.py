"""One picture as 8 bits, and what to say of pictures and of files that are none.

tally = Tally()
eight_bits(image, (32, 32), 3, tally)     # uint8 (32, 32, 3) of any image that Pillow opens
tally.notes()                             # what the user should know of those so far
"""

import contextlib
import dataclasses
import struct
from collections import Counter

import numpy as np
from PIL import Image, ImageOps

DAMAGED_EXIF = ValueError, OSError, SyntaxError, struct.error, TypeError, KeyError
ORIENTATION = 0x0112  # the tag of EXIF
NO_EXIF = "damaged EXIF notes: they are read as stored, which may lie on its side"

FILM = "a film: write its frames to a folder"

# What other files begin with (capitals do not matter), and what to say of them.
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
    b"<!doctype": "a web page, perhaps in place of a download that failed",
    b"<html": "a web page, perhaps in place of a download that failed",
    b"%pdf": "a PDF file: convert it to PNG",
    b"v/1\x01": "an OpenEXR picture: save its array with np.save",
    b"SIMPLE  =": "a FITS picture: save its array with np.save",
    b"\xff\x0a": "a JPEG XL picture: convert it to PNG",
    b"\0\0\0\x0cJXL ": "a JPEG XL picture: convert it to PNG",
    b"gimp xcf": "a GIMP picture: export it as PNG",
    b"\x1a\x45\xdf\xa3": FILM,
    b"ARROW1": "an Arrow file: write its pictures to a folder",
    b"SQLite format 3": "a database: write its pictures to a folder",
    b"version https://git-lfs": "a Git LFS pointer: fetch the file itself (git lfs pull)",
}

# Colour spaces that are much wider than sRGB, as their profiles call them.
WIDE = (b"Display P3", b"Adobe RGB", b"ProPhoto", b"ROMM RGB", b"Rec. 2020", b"BT.2020", b"DCI-P3")

HEIC = "a HEIC picture: convert it to JPEG or PNG"
HEIF = dict.fromkeys((b"heic", b"heix", b"mif1", b"msf1", b"hevc", b"hevx", b"heim", b"heis"), HEIC)
HEIF |= dict.fromkeys((b"avif", b"avis"), "an AVIF picture that is damaged, or that Pillow lacks")


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


# ---- one picture ---------------------------------------------------------------------------------


def is_grey(image: Image.Image) -> bool:
    """Whether it is stored as grey."""
    if image.mode == "P":
        palette = np.array(image.getpalette("RGB")).reshape(-1, 3)
        return bool((palette == palette[:, :1]).all())
    return image.mode in ("1", "L", "LA", "La") or image.mode.startswith("I")


def eight_bits(
    image: Image.Image, size: tuple[int, int] | None, channels: int, tally: Tally
) -> np.ndarray:
    """uint8 (H, W, C) of any image that Pillow opens."""
    tally.kinds[f"{image.format} {image.mode}"] += 1
    if wide := not_srgb(image.info.get("icc_profile")):
        tally.remarks[wide] += 1
    if getattr(image, "is_animated", False):
        tally.remarks["several frames, of which the first is used"] += 1
        image.seek(0)  # to ask may have moved on
    image.load()  # what is wrong with the pixels is not the EXIF's fault
    with contextlib.suppress(*DAMAGED_EXIF):
        # Cameras store what the sensor saw, and note how they were held.
        if image.getexif().get(ORIENTATION, 1) != 1:  # or it would copy the picture
            image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        image = _from_sixteen_bits(image, tally)
    if image.mode == "F":
        raise ValueError(
            "expected grey values of 8 or 16 bits, got floats (an .npy file may hold them)"
        )
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    if image.mode != "RGB":
        image = image.convert("RGB")  # from CMYK, palettes, …; grey stays exactly grey through RGB
    if channels == 1:
        image = image.convert("L")
    if size is not None:
        width_height = size[::-1]  # Pillow's order
        scales = size[0] / image.height, size[1] / image.width
        if max(scales) > 1:
            tally.remarks["smaller than the size, and enlarged"] += 1
        if min(scales) < 0.9 * max(scales):
            tally.remarks["more than a tenth is cut off, to fit the shape"] += 1
        image = ImageOps.fit(image, width_height, Image.Resampling.BICUBIC)
    return np.asarray(image).reshape(image.height, image.width, channels)


def _from_sixteen_bits(image: Image.Image, tally: Tally) -> Image.Image:
    """16-bit grey to 8 bits. (Pillow's own conversion clips at 255 instead of scaling.)"""
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        got = f"{values.min()} to {values.max()}"
        raise ValueError(f"expected grey values of 8 or 16 bits, got {got}")
    tally.remarks["16 bits, scaled to 8"] += 1
    tally.sixteen = max(tally.sixteen, int(values.max()))
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


def height_and_width(image: Image.Image) -> tuple[int, int]:
    """Of the upright picture, without unpacking it."""
    turned = False
    with contextlib.suppress(*DAMAGED_EXIF):
        turned = image.getexif().get(ORIENTATION) in (5, 6, 7, 8)
    return (image.width, image.height) if turned else (image.height, image.width)


# ---- what to say ---------------------------------------------------------------------------------


def in_our_words(warning: str) -> str:
    """What a warning of Pillow's means here."""
    if "EXIF" in warning:
        return NO_EXIF
    if "Truncated" in warning or "Metadata" in warning:
        return "damaged notes in the file, which were ignored"
    return f"Pillow says: {' '.join(warning.split())[:200]}"


def not_srgb(profile: object) -> str:
    """What to say of a colour profile: nothing, unless it is known to change the colours much."""
    if not isinstance(profile, bytes):
        return ""
    text = profile[:4096].replace(b"\0", b"")  # names are stored with one byte or two a letter
    if name := next((name for name in WIDE if name in text), b""):
        return f"colours are {name.decode()} and read as sRGB, which makes them paler"
    if profile[16:20] == b"CMYK":
        return "CMYK with a colour profile, which is not applied: colours will differ"
    return ""


def unknown(head: bytes) -> str:
    """What to say of a file that is nothing we read, by its first bytes (at least 132)."""
    what = "expected a picture, an archive of pictures, or an IDX, .npy or .npz file; got "
    for magic, name in NAMES.items():
        if head.lower().startswith(magic.lower()):
            return what + name
    if head[4:8] == b"ftyp":  # a container of pictures or films; what follows says which
        return what + (HEIF.get(head[8:12]) or FILM)
    if head[128:132] == b"DICM":
        return f"{what}a DICOM picture: save its array with np.save"
    if head[16:20] == b"\xde\xc0\xef\xbe":
        return f"{what}an LMDB database: write its pictures to a folder"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return what + FILM
    if head[8:10] == b'{"':
        return f"{what}a safetensors file: save the array with np.save"
    if not head:
        return f"{what}an empty file"
    if text := _as_text(head):
        table = "the numbers of a table can be saved with np.save"
        return f"{what}a text that begins with {' '.join(text.split())[:12]!r}; {table}"
    return f"{what}one that begins with '{head[:8].hex(' ')}'"


def _as_text(head: bytes) -> str:
    """The text that begins with these bytes; "" if they are none."""
    text = head.decode("utf-8", "ignore")
    whole = len(text.encode()) > len(head) - 4  # the last letter may be cut
    return text if whole and all(c.isprintable() or c.isspace() for c in text) else ""
