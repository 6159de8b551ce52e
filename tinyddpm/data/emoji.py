"""Small colour pictures from a font: the emoji that Unicode lists, with the group of each.

    font = Path("NotoColorEmoji.ttf").read_bytes()
    listed = Path("emoji-test.txt").read_bytes()
    images, labels = pictures(font, listed, side=16)    # uint8 (about 3,600, 16, 16, 3), (3,600,)

The font is Google's Noto Color Emoji, under the SIL Open Font License 1.1. Its table CBDT holds a
picture of 136 × 128 pixels for each glyph, as a PNG. Unicode's list (UTS #51) has every emoji that
keyboards should offer, in nine groups. An emoji is one code point, or several which the font joins
to one glyph: a family, a flag, a skin tone.
"""

from collections.abc import Iterator
from io import BytesIO

import numpy as np
from fontTools.ttLib import TTFont
from PIL import Image

# The first words of Unicode's names of the groups: "Smileys & Emotion", "People & Body", …
GROUPS = (
    *("smileys", "people", "animals", "food", "travel"),
    *("activities", "objects", "symbols", "flags"),
)
LIGATURE = 4  # the type of a lookup of the table GSUB that joins glyphs
LOOK_LIKE_EMOJI = 0xFE0F  # a code point that asks for a picture; the font needs none

Glyphs = tuple[str | None, ...]


def pictures(font: bytes, listed: bytes, side: int) -> tuple[np.ndarray, np.ndarray]:
    """The emoji of a list that the font has a picture of, in the list's order.

    Args:
        font: the bytes of the font file.
        listed: the bytes of Unicode's file emoji-test.txt.
        side: height and width of the pictures, in pixels.

    Returns:
        The pictures, uint8 (n, side, side, 3), and the number of each one's group in GROUPS,
        int64 (n,). Of pictures that are equal at this size, the first stands for all.

    Raises:
        ValueError: if the font has no picture of any emoji in the list.
    """
    found: dict[bytes, tuple[np.ndarray, int]] = {}
    with TTFont(BytesIO(font)) as opened:
        stored = opened["CBDT"].strikeData[0] if "CBDT" in opened else {}
        names, joined = opened.getBestCmap(), _ligatures(opened)
        for code_points, group in _emoji(listed.decode()):
            glyphs = tuple(names.get(point) for point in code_points)
            glyph = glyphs[0] if len(glyphs) == 1 else joined.get(glyphs)
            if glyph in stored:
                with Image.open(BytesIO(stored[glyph].imageData), formats=["PNG"]) as picture:
                    small = _on_white(picture.convert("RGBA"), side)
                found.setdefault(small.tobytes(), (small, group))
    if not found:
        expected = "a font with pictures (PNG, in a table CBDT) of the emoji that are listed"
        raise ValueError(f"expected {expected}, found none")
    images, labels = zip(*found.values())
    return np.stack(images), np.array(labels, np.int64)


def _emoji(listed: str) -> Iterator[tuple[list[int], int]]:
    """The code points of each emoji in the list, and the number of its group.

    A line is "1F600 ; fully-qualified # 😀 E1.0 grinning face". Lines "# group: …" stand between
    them. The group "Component" holds skin tones and hair, which are no emoji by themselves.
    """
    group = ""
    for line in listed.splitlines():
        if line.startswith("# group: "):
            group = line.removeprefix("# group: ").split()[0].lower()
        elif line and not line.startswith("#") and group in GROUPS:
            points = [int(point, 16) for point in line.split(";")[0].split()]
            yield [point for point in points if point != LOOK_LIKE_EMOJI], GROUPS.index(group)


def _ligatures(font: TTFont) -> dict[Glyphs, str]:
    """The names of glyphs that are joined -> the name of the glyph that they become."""
    joined: dict[Glyphs, str] = {}
    lookups = font["GSUB"].table.LookupList.Lookup if "GSUB" in font else []
    for lookup in lookups:
        if lookup.LookupType == LIGATURE:
            for table in lookup.SubTable:
                for first, ligatures in table.ligatures.items():
                    joined |= {(first, *some.Component): some.LigGlyph for some in ligatures}
    return joined


def _on_white(picture: Image.Image, side: int) -> np.ndarray:
    longest = max(picture.size)
    square = Image.new("RGBA", (longest, longest), "white")
    corner = (longest - picture.width) // 2, (longest - picture.height) // 2
    square.alpha_composite(picture, corner)
    return np.asarray(square.convert("RGB").resize((side, side), Image.Resampling.LANCZOS))
