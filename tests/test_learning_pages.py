"""The pages to learn from, tour, lecture and glossary: what they show and name is there."""

import importlib
import inspect
import re
import sys

import matplotlib
import numpy as np
import pytest
from PIL import Image
from test_architecture import CORE, ROOT
from test_site import cells

sys.path.insert(0, str(ROOT / "docs/_ext"))
import docstrings
import tour

LEARN = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "docs/learn").glob("*.md")}
EXAMPLES = sorted(path.stem for path in (ROOT / "examples").glob("*.py"))

# ---- the tour ------------------------------------------------------------------------------------


def test_the_tour_has_twelve_stops_and_leads_past_the_whole_core():
    stops = re.split(r"^## \d+\. ", LEARN["tour"], flags=re.MULTILINE)[1:]
    assert len(stops) == 12
    for i, stop in enumerate(stops, 1):
        assert "**Notice**" in stop and "```{literalinclude}" in stop
        assert f"```{{figure}} tour/{i:02d}.png\n:alt: " in stop
        assert (tour.OUT / f"{i:02d}.png").is_file()
    named = set(re.findall(r"\{py:mod\}`[^`<]*<([\w.]+)>`", LEARN["tour"]))
    assert named == {docstrings.dotted(path) for path in CORE}


EXCERPTS = re.findall(r"```\{literalinclude\} (\S+)\n((?:: ?.*\n|:.*\n)+)", LEARN["tour"])


def excerpt(path, options):
    """The lines that an excerpt of the tour shows."""
    text = (ROOT / "docs/learn" / path).read_text(encoding="utf-8")
    found = re.findall(r"^:([\w-]+): ?(.*)$", options, re.MULTILINE)
    options = {name: value.strip('"') for name, value in found}
    if "pyobject" in options:
        return re.search(rf"^def {options['pyobject']}\(.*?(?=^\S|\Z)", text, re.M | re.S)[0]
    start = text.index(options["start-at"])
    return text[start : text.index("\n", text.index(options["end-at"], start))]


@pytest.mark.parametrize("path, options", EXCERPTS)
def test_an_excerpt_of_the_tour_is_in_its_file(path, options):
    assert len(excerpt(path, options).splitlines()) > 1


def test_the_tour_shows_the_algorithm_uncut():
    shown = "\n".join(excerpt(*one) for one in EXCERPTS if one[0].endswith("/train.py"))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = readme[readme.index("## Training") : readme.index("## Sampling")]
    lines = re.findall(r"^\|.*\| `(.*)` \|$", table, re.MULTILINE)
    assert len(lines) == 8 and not [line for line in lines if line not in shown]


@pytest.mark.skipif(
    tuple(map(int, matplotlib.__version__.split(".")[:2])) < (3, 10),
    reason="an older Matplotlib sets text in another way",
)
@pytest.mark.parametrize("number", [2, 6, 10, 11])
def test_a_picture_of_the_tour_is_what_its_functions_draw(number, tmp_path):
    tour.draw(number, tmp_path / "now.png")
    now, kept = (
        np.asarray(Image.open(path).convert("RGB")).astype(int)
        for path in (tmp_path / "now.png", tour.OUT / f"{number:02d}.png")
    )
    # A little may differ with the version of matplotlib.
    assert now.shape == kept.shape and abs(now - kept).mean() < 2


# ---- the lecture ---------------------------------------------------------------------------------


def test_every_example_is_in_the_table_and_every_point_of_the_lecture_has_one():
    rows = cells(LEARN["lecture"])
    assert {re.search(r"/auto_examples/(\w+)>", row[1])[1] for row in rows} == set(EXAMPLES)
    points = [match[1] for row in rows if (match := re.match(r"\*\*(.*?)\*\*", row[0]))]
    kinds = (("Objective", 6), ("Question", 4), ("Take-away", 4))
    assert points == [f"{kind} {i}" for kind, n in kinds for i in range(1, n + 1)]
    for row in rows:
        assert len(row) == 4 and len(row[2]) > 20 and re.search(r"\d", row[3]), row


def test_the_questions_stand_before_the_findings():
    assert LEARN["lecture"].index("## Test yourself") < LEARN["lecture"].index("{.cards}")


def test_each_question_has_its_answer_and_a_run():
    for question in re.split(r"^### ", LEARN["lecture"], flags=re.MULTILINE)[1:]:
        assert "<details><summary>Answer</summary>" in question
        assert "**A run that shows it" in question and "/auto_examples/" in question


# ---- the glossary --------------------------------------------------------------------------------

SYMBOLS = (
    *("x_0", "x_t", "ε", "ᾱ_t", "t", "T", "x̂_0", "x̂_θ(x_t, t)"),
    *("J", "θ", "β", "∇_θ J", "U-Net", "skip", "M"),
)


def test_the_glossary_has_the_lecture_s_symbols():
    symbols = " ".join(row[0] for row in cells(LEARN["glossary"]))
    for symbol in SYMBOLS:
        assert symbol in symbols, symbol


@pytest.mark.parametrize("row", cells(LEARN["glossary"]), ids=lambda row: row[2])
def test_a_name_of_the_glossary_is_where_it_says(row):
    name = re.fullmatch(r"`(\w+)`", row[2])[1]
    module, path = re.fullmatch(r"`([\w.]+):([\w.]+)`", row[3]).groups()
    found = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    assert re.search(rf"\b{name}\b", inspect.getsource(found))
    assert docstrings.full_name(path, importlib.import_module(module)), "the site links no _name"
