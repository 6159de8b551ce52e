"""What the site shows of the examples: kept output of full runs, which the text agrees with."""

import ast
import re
import sys

import numpy as np
import pytest
from PIL import Image
from test_architecture import ROOT

sys.path.insert(0, str(ROOT / "docs/_ext"))
import docstrings
import gallery
import keep

LECTURE = (ROOT / "docs/learn/lecture.md").read_text(encoding="utf-8")
example = pytest.mark.parametrize("path", keep.examples(), ids=lambda path: path.stem)

# ---- what is kept --------------------------------------------------------------------------------


@example
def test_the_kept_output_is_that_of_the_present_code(path):
    assert keep.up_to_date(path), f"{path.name} has changed: run make keep"
    assert keep.pictures(path)
    printed = (keep.folder(path) / "output.txt").read_text(encoding="utf-8")
    assert len(printed.splitlines()) > 3 and "Traceback" not in printed


def test_what_is_kept_is_small():
    kept = [*(ROOT / "docs/kept").rglob("*"), *(ROOT / "docs/learn/tour").rglob("*")]
    assert sum(path.stat().st_size for path in kept if path.is_file()) < 3e6
    assert {path.name for path in keep.KEPT.iterdir()} <= {p.name[:2] for p in keep.examples()}


PROGRAM = """\
\"\"\"Is this an example? Yes.\"\"\"

import sys
from PIL import Image

# It draws a picture.
print("drawn with", sys.argv[1:])
Image.effect_noise((64, 64), 50).convert("RGB").save("noise.png")
"""


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A small example, in a repository of its own."""
    monkeypatch.setattr(keep, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(keep, "ARGUMENTS", {"03": ["full"]})
    path = tmp_path / "03_small.py"
    path.write_text(PROGRAM)
    return path


def test_keep_runs_an_example_and_keeps_what_it_prints_and_draws(small):
    assert not keep.up_to_date(small)
    keep.keep(small)
    assert keep.up_to_date(small)
    assert (keep.folder(small) / "output.txt").read_text() == "drawn with ['full']\n"
    [picture] = keep.pictures(small)
    with Image.open(picture) as image:
        assert image.mode == "P" and image.size == (64, 64)
    assert keep.command(small) == "python examples/03_small.py full"


def test_code_is_what_counts(small):
    keep.keep(small)
    small.write_text(PROGRAM.replace("a picture", "noise").replace("Yes.", "Perhaps."))
    assert keep.up_to_date(small)
    small.write_text(PROGRAM.replace("50", "51"))
    assert not keep.up_to_date(small)


def test_a_run_that_fails_leaves_what_was_kept(small):
    keep.keep(small)
    small.write_text(PROGRAM + "raise SystemExit(3)\n")
    with pytest.raises(keep.subprocess.CalledProcessError):
        keep.keep(small)
    assert len(keep.pictures(small)) == 1 and not keep.up_to_date(small)


# ---- the text agrees with it ---------------------------------------------------------------------

NUMBER = re.compile(
    r"(?<![\w.,^_/≤·−⁻₀-₉])"  # not within a name, a formula or a longer number
    r"(?P<digits>\d{1,3}(?:,\d{3})+|\d+(?:\.\d+)?|\.\d+)"
    r"(?:·10(?P<power>[⁻⁰¹²³⁴-⁹]+)|[eE](?P<e>[-+]?\d+))?(?P<percent> ?%)?(?![\wⁿ²]|\.\d)"
)
DIGITS = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
# Figures that follow from what an example prints: its number, what it prints, and how.
FOLLOWS = (
    ("13", r"Step 1: the gradient reaches (\d+)% of the (\d+)", lambda part, n: part * n / 100),
)


def numbers(text):
    """Each number of a text: (as it is written, its value, half a unit of its last digit)."""
    for found in NUMBER.finditer(text):
        digits = found["digits"].replace(",", "")
        power = int((found["power"] or "0").translate(DIGITS)) + int(found["e"] or 0)
        percent = -2 if found["percent"] else 0
        scale = 10.0 ** (power + percent)
        half = 0.5 * 10.0 ** -len(digits.partition(".")[2])
        yield found[0].strip(), float(digits) * scale, half * scale


def kept(number):
    """The numbers that an example printed, and those that follow from them."""
    output = (keep.KEPT / number / "output.txt").read_text(encoding="utf-8")
    output = re.sub(r"^\d+\. ", "", output, flags=re.MULTILINE)  # "2." is no finding
    follow = [
        how(*map(float, re.search(pattern, output).groups()))
        for example, pattern, how in FOLLOWS
        if example == number
    ]
    return [value for _, value, _ in numbers(output)] + follow


def unexplained(text, found):
    """The numbers of a text that are not among those found, rounded as the text rounds them."""
    near = lambda value, half: any(abs(value - one) <= half * 1.000001 for one in found)
    return [written for written, value, half in numbers(text) if not near(value, half)]


def statements():
    """What the lecture's page says that examples find: (the examples' numbers, the text)."""
    for row in re.findall(r"^\|.*/auto_examples/.*\|$", LECTURE, re.MULTILINE):
        cells = row.split(" | ")
        yield re.findall(r"/auto_examples/(\d\d)", cells[1]), cells[2]
    for answer in re.findall(r"\*\*A run that shows it(.*?)</details>", LECTURE, re.DOTALL):
        text = re.sub(r"\{doc\}`[^`]*`", "", answer)
        yield re.findall(r"/auto_examples/(\d\d)", answer), text


@pytest.mark.parametrize("numbers_of, text", [*statements()])
def test_each_figure_of_the_lecture_is_one_that_was_kept(numbers_of, text):
    """It sees a figure that no run printed. One that stands in another's place, it does not see."""
    if missing := [number for number in numbers_of if not (keep.KEPT / number).is_dir()]:
        pytest.skip(f"nothing is kept yet: make keep EXAMPLES={missing[0]}")
    assert not unexplained(text, [value for number in numbers_of for value in kept(number)])


def test_numbers_are_read_as_they_are_meant():
    text = "x_0 after 1,300 steps is .72, 40 %, 8·10⁻⁷ or 2ⁿ (t = 5, 7e-13), 12.5% of 5·x."
    read = [value for _, value, _ in numbers(text)]
    np.testing.assert_allclose(read, [1300, 0.72, 0.4, 8e-7, 5, 7e-13, 0.125, 5])
    assert unexplained("J is .72 of it after 1,300", [1300, 0.7189]) == []
    assert unexplained("J is .73 of it after 1,200", [1300, 0.7189]) == [".73", "1,200"]


# ---- the pages -----------------------------------------------------------------------------------


@example
def test_the_page_of_an_example_shows_all_of_the_program_and_what_it_found(path):
    page = gallery.page(path)
    source = path.read_text(encoding="utf-8").splitlines()
    parts = [range(int(a) - 1, int(b)) for a, b in re.findall(r":lines: (\d+)-(\d+)", page)]
    shown = [line for part in parts for line in part]
    assert shown == sorted(set(shown))
    docstring = range(ast.parse("\n".join(source)).body[0].end_lineno)
    for i in {*range(len(source))} - {*shown} - {*docstring}:
        assert not source[i] or gallery.SECTION.match(source[i]), source[i]
    for picture in keep.pictures(path):
        assert f".. figure:: /kept/{path.name[:2]}/{picture.name}\n" in page
    finds = page[page.index("What it finds") : page.index("The program")]
    assert ("output.txt" if keep.pictures(path) else "make keep EXAMPLES=") in finds


def test_formulas_of_an_example_are_set_and_commands_are_not():
    block = "    x_t = √ᾱ_t x_0\n        θ ← θ − β ∇_θ J\n"
    asked = f"How?\n\n    python x.py   # seconds\n\n{block}\nWhy?"
    text = gallery.BLOCK.sub(gallery.algorithm, docstrings.rest(asked, gallery.tinyddpm))
    assert "| x_t = √ᾱ_t x_0\n|     θ ← θ − β ∇_θ J\n" in text
    assert ".. code-block:: none\n\n   python x.py   # seconds" in text
