"""The pictures in docs/ that a command draws are what this command draws now.

Image i is a function of the seed and i alone. So a few images, drawn again, are the first ones.
"""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tinyddpm import cli
from tinyddpm.pictures.images import pixels

DOCS = Path(__file__).parents[2] / "docs"
GRIDS = {"fashion.png": ("fashion_classes", 28, 2), "samples.png": ("digits", 8, 7)}  # side, zoom
FILM = "sample fashion_classes --n 9 --out docs/garments.gif"
LEVELS = 3  # of 255, by which a picture may differ on another machine


def test_the_commands_stand_in_the_text():
    text = (DOCS / "samplers.md").read_text(encoding="utf-8")
    for name, (model, _, _) in GRIDS.items():
        assert f"tinyddpm sample {model} --out docs/{name}\n" in text
    assert f"tinyddpm {FILM}\n" in text


@pytest.mark.parametrize("name", GRIDS)
def test_a_grid_is_what_its_command_draws(name, tmp_path):
    model, side, zoom = GRIDS[name]
    out = tmp_path / "x.npz"
    assert cli.main(["sample", model, "--n", "4", "--out", str(out)]) == 0
    with np.load(out) as arrays:
        expected = pixels(arrays["images"])[..., 0].astype(int)
    with Image.open(DOCS / name) as picture:
        sheet = np.asarray(picture).astype(int)
    tile = side * zoom + 4  # with the gap
    assert sheet.shape == (8 * tile - 4, 8 * tile - 4)
    for i, image in enumerate(expected):
        found = sheet[: side * zoom : zoom, i * tile : i * tile + side * zoom : zoom]
        assert abs(found - image).max() <= LEVELS


def test_the_film_is_what_its_command_draws(tmp_path):
    """It shows nine images, so nine make the same film."""
    out = tmp_path / "x.gif"
    assert cli.main(["sample", "fashion_classes", "--n", "9", "--out", str(out)]) == 0
    assert (DOCS / "garments.gif").stat().st_size < 1.5e6
    with Image.open(out) as drawn, Image.open(DOCS / "garments.gif") as kept:
        assert kept.n_frames == drawn.n_frames > 10
        for i in (0, kept.n_frames // 2, kept.n_frames - 1):
            kept.seek(i), drawn.seek(i)
            found, expected = (np.asarray(x.convert("L")).astype(int) for x in (kept, drawn))
            # Greys are rounded to 33 levels, so a pixel may fall into the next one.
            off = abs(found - expected)
            assert off.max() <= 9 and (off > 0).mean() < 0.01
        assert kept.info["duration"] == 2000  # it rests at the end
