"""Small colour pictures from a font: every emoji of Noto Color Emoji.

    font = Path("NotoColorEmoji.ttf").read_bytes()
    images = pictures(font, side=16)     # uint8 (about 3,900, 16, 16, 3)

The font is Google's, under the SIL Open Font License 1.1. Its table CBDT holds a picture of
136 × 128 pixels for each glyph, as a whole PNG file. So nothing has to be laid out or drawn: we
find the PNGs by their first bytes, put them on white, and make them smaller.
"""

import struct
from io import BytesIO

import numpy as np
from PIL import Image

PNG = b"\x89PNG\r\n\x1a\n"


def pictures(font: bytes, side: int) -> np.ndarray:
    """The pictures in the font, in its order, without blank ones and duplicates.

    Args:
        font: the bytes of the font file.
        side: height and width of the pictures, in pixels.

    Returns:
        uint8 (n, side, side, 3). Pictures that are equal at this size are duplicates.

    Raises:
        ValueError: if the font has no pictures.
    """
    table = _table(font, b"CBDT")
    found: dict[bytes, np.ndarray] = {}
    start = table.find(PNG)
    while start >= 0:
        end = table.find(PNG, start + 1)
        png = table[start : end if end >= 0 else None]
        with Image.open(BytesIO(png), formats=["PNG"]) as picture:
            small = _on_white(picture.convert("RGBA"), side)
        if small.min() < 255:
            found.setdefault(small.tobytes(), small)
        start = end
    if not found:
        raise ValueError("expected a font with pictures in it (PNG, table CBDT), found none")
    return np.stack(list(found.values()))


def _on_white(picture: Image.Image, side: int) -> np.ndarray:
    longest = max(picture.size)
    square = Image.new("RGBA", (longest, longest), "white")
    corner = (longest - picture.width) // 2, (longest - picture.height) // 2
    square.alpha_composite(picture, corner)
    return np.asarray(square.convert("RGB").resize((side, side), Image.Resampling.LANCZOS))


def _table(font: bytes, name: bytes) -> bytes:
    """The bytes of a table of an OpenType font, or none if it has no such table.

    Each entry of the font's directory is a tag, a checksum, an offset and a length.
    """
    (count,) = struct.unpack_from(">H", font, 4)
    for i in range(count):
        tag, _, offset, length = struct.unpack_from(">4s3I", font, 12 + 16 * i)
        if tag == name:
            return font[offset : offset + length]
    return b""
