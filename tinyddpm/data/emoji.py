"""Small colour pictures from a font: every emoji of Noto Color Emoji (the font is Google's, under the SIL Open Font License 1.1).

    images = pictures(Path("NotoColorEmoji.ttf").read_bytes(), side=16)     # uint8 (about 3,900, 16, 16, 3)

Such a font holds, in its table CBDT, a picture of 136 × 128 pixels for each glyph, as a whole PNG file. So nothing needs to be laid
out or drawn: the PNGs are found by their first bytes, put on white, and made smaller.
"""
import struct
from io import BytesIO

import numpy as np
from PIL import Image

PNG = b"\x89PNG\r\n\x1a\n"


def pictures(font, side):
    """The pictures in the font (bytes): uint8 (n, side, side, 3), in the order of the font, each once and none that is blank.

    Raises ValueError if there are none in it.
    """
    table, found = _table(font, b"CBDT"), {}
    start = table.find(PNG)
    while start >= 0:
        end = table.find(PNG, start + 1)
        with Image.open(BytesIO(table[start:end if end >= 0 else None]), formats=["PNG"]) as picture:
            small = _on_white(picture.convert("RGBA"), side)
        if small.min() < 255:
            found.setdefault(small.tobytes(), small)  # what cannot be told apart at this size counts once
        start = end
    if not found:
        raise ValueError("expected a font with pictures in it (PNG, table CBDT), found none")
    return np.stack(list(found.values()))


def _on_white(picture, side):
    longest = max(picture.size)
    square = Image.new("RGBA", (longest, longest), "white")
    square.alpha_composite(picture, ((longest - picture.width) // 2, (longest - picture.height) // 2))
    return np.asarray(square.convert("RGB").resize((side, side), Image.Resampling.LANCZOS))


def _table(font, name):
    """The bytes of a table of an OpenType font; none if it has no such table. Its directory: tag, checksum, offset, length."""
    (count,) = struct.unpack_from(">H", font, 4)
    for i in range(count):
        tag, _, offset, length = struct.unpack_from(">4s3I", font, 12 + 16 * i)
        if tag == name:
            return font[offset:offset + length]
    return b""
