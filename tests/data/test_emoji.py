"""The emoji: pictures from a font, groups from Unicode's list."""

import io
from pathlib import Path

import numpy as np
import pytest
from data_files import change
from fontTools.fontBuilder import FontBuilder
from fontTools.ttLib import newTable
from fontTools.ttLib.tables import C_B_D_T_, E_B_L_C_
from fontTools.ttLib.tables.BitmapGlyphMetrics import SmallGlyphMetrics
from PIL import Image

from tinyddpm import data
from tinyddpm.data import datasets, emoji
from tinyddpm.data.image_files import DataError

LIST = """\
# group: Smileys & Emotion
# subgroup: face-smiling
1F600 ; fully-qualified # 😀 E1.0 grinning face
2639 FE0F ; fully-qualified # ☹️ E0.7 frowning face
1F970 ; fully-qualified # 🥰 E11.0 a face that the font has not
# group: Component
1F3FB ; component # 🏻 E1.0 light skin tone
# group: Flags
1F1E8 1F1ED ; fully-qualified # 🇨🇭 E2.0 flag: Switzerland
1F1ED 1F1E8 ; fully-qualified # no flag: the letters are in the wrong order
1F3C1 ; fully-qualified # 🏁 E0.6 the same picture as the first
"""
RED = Image.new("RGBA", (136, 128), (255, 0, 0, 255))
HALF_BLUE = Image.new("RGBA", (136, 128), (0, 0, 255, 128))
GREEN = Image.new("RGBA", (136, 128), (0, 255, 0, 255))
BLACK = Image.new("RGBA", (136, 128), (0, 0, 0, 255))
GLYPHS = {  # name -> code point, picture
    "grin": (0x1F600, RED),
    "frown": (0x2639, HALF_BLUE),
    "tone": (0x1F3FB, BLACK),
    "letterC": (0x1F1E8, BLACK),
    "letterH": (0x1F1ED, BLACK),
    "finish": (0x1F3C1, RED.copy()),
    "swiss": (None, GREEN),
}


def font(with_pictures=True):
    """The bytes of a font that has these glyphs, and joins the letters C and H to a flag."""
    builder = FontBuilder(unitsPerEm=2048, isTTF=True)
    builder.setupGlyphOrder([".notdef", *GLYPHS])
    builder.setupCharacterMap({point: name for name, (point, _) in GLYPHS.items() if point})
    builder.setupHorizontalMetrics(dict.fromkeys([".notdef", *GLYPHS], (2048, 0)))
    builder.setupHorizontalHeader()
    builder.setupPost()
    builder.addOpenTypeFeatures("feature ccmp { sub letterC letterH by swiss; } ccmp;")
    if with_pictures:
        builder.font["CBDT"], builder.font["CBLC"] = bitmaps()
    stream = io.BytesIO()
    builder.save(stream)
    return stream.getvalue()


def bitmaps():
    """The tables of pictures, one for each glyph, and of where each lies."""
    stored, places = newTable("CBDT"), newTable("CBLC")
    stored.version = places.version = 3.0
    stored.strikeData, places.strikes = [{}], [E_B_L_C_.Strike()]
    for name, (_, picture) in GLYPHS.items():
        stream = io.BytesIO()
        picture.save(stream, format="PNG")
        glyph = C_B_D_T_.cbdt_bitmap_format_17(b"", None)
        glyph.imageData, glyph.metrics = stream.getvalue(), SmallGlyphMetrics()
        for value in ("height", "width", "BearingX", "BearingY", "Advance"):
            setattr(glyph.metrics, value, 0)
        stored.strikeData[0][name] = glyph
    index = E_B_L_C_.eblc_index_sub_table_1(b"", None)
    index.names, index.indexFormat, index.imageFormat = list(GLYPHS), 1, 17
    index.firstGlyphIndex, index.lastGlyphIndex = 1, len(GLYPHS)
    places.strikes[0].indexSubTables = [index]
    size = places.strikes[0].bitmapSizeTable = E_B_L_C_.BitmapSizeTable()
    size.startGlyphIndex, size.endGlyphIndex = 1, len(GLYPHS)
    size.colorRef, size.ppemX, size.ppemY, size.bitDepth, size.flags = 0, 109, 109, 32, 1
    for direction in ("hori", "vert"):
        line = E_B_L_C_.SbitLineMetrics()
        for value in E_B_L_C_.sstruct.getformat(E_B_L_C_.sbitLineMetricsFormat)[1]:
            setattr(line, value, 0)
        setattr(size, direction, line)
    return stored, places


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A folder with a font and a list, the only place where they are looked for."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "NotoColorEmoji.ttf").write_bytes(font())
    (tmp_path / "emoji-test.txt").write_text(LIST, encoding="utf8")
    for name in "emoji-16", "emoji-32":
        change(monkeypatch, name, places=(str(tmp_path),))
    return tmp_path


def test_emoji_are_pictures_of_the_font_with_the_groups_of_the_list(files):
    read = data.load("emoji-16")
    images = read.images
    # Not the tone, nor the letters by themselves, nor the second of two that are equal.
    assert images.shape == (3, 3, 16, 16)
    np.testing.assert_allclose(images[:, :, 8, 8], [[1, -1, -1], [0, 0, 1], [-1, 1, -1]], atol=0.02)
    assert [read.class_names[label] for label in read.labels] == ["smileys", "smileys", "flags"]
    # They are wider than high: there is white above.
    assert (images[:, :, 8, 0] == images[:, :, 8, 8]).all()
    assert not np.allclose(images[0, 1, 0, 8], -1, atol=0.2)
    assert data.load("emoji-32").images.shape == (3, 3, 32, 32)


def test_emoji_have_no_test_set_but_held_out_images(files):
    assert not data.has_test_set("emoji-16")
    held_out = data.split(data.load("emoji-16"))[1]
    assert data.load_test("emoji-16").fingerprint() == held_out.fingerprint()


def test_each_file_has_its_own_address(files, monkeypatch):
    asked = []
    monkeypatch.setattr(datasets, "_download", lambda address, name: asked.append(address) or b"x")
    (files / "NotoColorEmoji.ttf").unlink()
    (files / "emoji-test.txt").unlink()
    datasets.fetch("emoji-16")
    assert [address.split("/")[2] for address in asked] == ["github.com", "unicode.org"]
    kept = sorted(path.name for path in datasets.cache("emoji-16").iterdir())
    assert kept == ["NotoColorEmoji.ttf", "emoji-test.txt"]


DAMAGED = {
    "empty": b"",
    "zeros": b"\0" * 100,
    "cut off": font()[:-60],
    "without pictures": font(with_pictures=False),
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_font_without_pictures_or_a_damaged_one_is_one_line(files, content):
    (files / "NotoColorEmoji.ttf").write_bytes(content)
    with pytest.raises(DataError, match="^emoji-32: cannot be read: [^\n]*$"):
        data.load("emoji-32")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"# group: Flags\nred ; flag\n"])
def test_a_list_of_something_else_is_one_line(files, content):
    (files / "emoji-test.txt").write_bytes(content)
    with pytest.raises(DataError, match="^emoji-16: cannot be read: [^\n]*$"):
        data.load("emoji-16")


NOTO, UNICODE = (Path("/usr/share") / place for place in ("fonts/truetype/noto", "unicode/emoji"))
ARE_HERE = (NOTO / "NotoColorEmoji.ttf").exists() and (UNICODE / "emoji-test.txt").exists()


@pytest.mark.skipif(not ARE_HERE, reason="no fonts-noto-color-emoji and unicode-data (Debian)")
def test_the_font_itself_has_nearly_all_that_unicode_lists():
    files = NOTO / "NotoColorEmoji.ttf", UNICODE / "emoji-test.txt"
    images, labels = emoji.pictures(*(path.read_bytes() for path in files), 16)
    assert 3_500 < len(images) < 4_500
    counts = dict(zip(emoji.GROUPS, np.bincount(labels).tolist()))
    assert 1_800 < counts["people"] < 2_800 and 240 < counts["flags"] < 300
    # Most smileys are yellow in the middle.
    r, g, b = np.median(images[labels == 0][:, 8, 8], axis=0)
    assert r > 200 and g > 150 and b < 100
