"""The site cannot rot: what its pages name is there, and what is there they name.

Needs nothing of the docs extra; `make docs` itself is the other half.
"""

import ast
import importlib
import inspect
import re
import sys

import pytest
from test_architecture import CORE, ROOMS, ROOT

sys.path.insert(0, str(ROOT / "docs/_ext"))
import architecture
import check_links
import docstrings
import gallery
import markdown
from formulas import Formula, formulas, mathml

LEARN = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "docs/learn").glob("*.md")}
EXAMPLES = sorted(path.stem for path in (ROOT / "examples").glob("*.py"))


def cells(page):
    """The rows of a page's tables, without heads and rules."""
    lines = [line for line in page.splitlines() if line.startswith("|") and "|---" not in line]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines][1:]


# ---- the tour ------------------------------------------------------------------------------------


def test_the_tour_has_twelve_stops_and_leads_past_the_whole_core():
    stops = re.split(r"^## \d+\. ", LEARN["tour"], flags=re.MULTILINE)[1:]
    assert len(stops) == 12
    for stop in stops:
        assert "**Notice**" in stop and "```{literalinclude}" in stop
    named = set(re.findall(r"\{py:mod\}`[^`<]*<([\w.]+)>`", LEARN["tour"]))
    assert named == {docstrings.dotted(path) for path in CORE}


@pytest.mark.parametrize(
    "path, options",
    re.findall(r"```\{literalinclude\} (\S+)\n((?:: ?.*\n|:.*\n)+)", LEARN["tour"]),
)
def test_an_excerpt_of_the_tour_is_in_its_file(path, options):
    text = (ROOT / "docs/learn" / path).read_text(encoding="utf-8")
    found = re.findall(r"^:([\w-]+): ?(.*)$", options, re.MULTILINE)
    options = {name: value.strip('"') for name, value in found}
    if "pyobject" in options:
        assert f"def {options['pyobject']}(" in text
    else:
        start = text.index(options["start-at"])
        assert 0 < start < text.index(options["end-at"], start)


# ---- the lecture ---------------------------------------------------------------------------------


def test_every_example_is_in_the_table_and_every_point_of_the_lecture_has_one():
    rows = cells(LEARN["lecture"])
    assert {re.search(r"/auto_examples/(\w+)>", row[1])[1] for row in rows} == set(EXAMPLES)
    points = [match[1] for row in rows if (match := re.match(r"\*\*(.*?)\*\*", row[0]))]
    kinds = (("Objective", 6), ("Question", 4), ("Take-away", 4))
    assert points == [f"{kind} {i}" for kind, n in kinds for i in range(1, n + 1)]
    for row in rows:
        assert len(row) == 4 and len(row[2]) > 20 and re.search(r"\d", row[3]), row


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


# ---- the reference -------------------------------------------------------------------------------


def test_the_reference_has_every_module_that_says_something():
    pages = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs/api").glob("*.rst"))
    parts = docstrings.MODULES.findall(pages)
    listed = [name for folder, first in parts for name in docstrings.modules(folder, first.split())]
    assert len(listed) == len(set(listed))
    paths = [*(ROOT / "autograd").rglob("*.py"), *(ROOT / "tinyddpm").rglob("*.py")]
    said = [path for path in paths if path.read_text(encoding="utf-8").startswith('"""')]
    public = [path for path in said if path.name != "__main__.py"]  # to import it would run it
    assert set(listed) == {docstrings.dotted(path) for path in public}


DOCSTRING = """\
What it does: a * b, *so*, |x| and x_ or `y`, as in `at` and `schedule.py`.

    for t, xt, x0_hat in ancestral(denoiser, schedule, x_T, noise):
        pass
and
    x_t = √ᾱ_t x_0
Rules:
- one, which goes
  on
- two
Then:
  1. indented
     or not

Args:
    x0, eps: images (N, C, H, W), `ancestral`
        and more.

    t: x * y.
"""
REST = """\
What it does: a \\* b, *so*, \\|x| and x\\_ or ``y``, as in \
:py:obj:`at <tinyddpm.schedule.at>` and :py:obj:`schedule.py <tinyddpm.schedule>`.

.. code-block:: python

   for t, xt, x0_hat in ancestral(denoiser, schedule, x_T, noise):
       pass

and

.. code-block:: none

   x_t = √ᾱ_t x_0

Rules:

- one, which goes
  on
- two

Then:

1. indented
   or not

Args:
    x0, eps: images (N, C, H, W), :py:obj:`ancestral <tinyddpm.sampler.ancestral>`
        and more.

    t: x \\* y.
"""


def test_a_docstring_keeps_its_layout_and_gets_links():
    from tinyddpm import sampler

    assert docstrings.rest(DOCSTRING, sampler) == REST


def test_a_name_leads_to_where_it_is_defined():
    from tinyddpm import nn, sampler
    from tinyddpm.nn import unet

    assert docstrings.full_name("unet.py", nn) == "tinyddpm.nn.unet"
    assert docstrings.full_name("nn/module.py", sampler) == "tinyddpm.nn.module"
    assert docstrings.full_name("autograd/engine.py", unet) == "autograd.engine"
    assert docstrings.full_name("UNet.denoise()", unet) == "tinyddpm.nn.unet.UNet.denoise"
    for name in ("unet.denoise", "_clipped", "np.sqrt", "none.py", "x * y", "tests/test_site.py"):
        assert docstrings.full_name(name, sampler) is None


# ---- the architecture ----------------------------------------------------------------------------


def test_the_picture_of_the_architecture_is_that_of_the_imports():
    drawn = re.search(
        r"<!--\n(.*?)-->", architecture.PICTURE.read_text(encoding="utf-8"), re.DOTALL
    )
    assert drawn[1] == architecture.described(), "the imports have changed: run make architecture"


def test_the_page_of_the_architecture_has_every_room():
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    named = [re.sub(r"[\[`]|\.py|\].*", "", row[0]) for row in cells(page)]
    assert sorted(named) == sorted(architecture.ROOMS) and set(ROOMS) < set(named)


def test_an_arrow_that_follows_from_others_is_not_drawn():
    arrows = {"a": {"b", "c", "d"}, "b": {"c"}, "c": {"d"}, "d": set()}
    assert architecture.reduced(arrows) == {"a": {"b"}, "b": {"c"}, "c": {"d"}, "d": set()}


# ---- formulas ------------------------------------------------------------------------------------

PROSE = "x0_hat and alpha_bar of shape (N, C, H, W), t = 1 to T, a - b, 1e-4 or U-Net"
FOUND = [
    ("x_t = √ᾱ_t x_0 + √(1−ᾱ_t) ε, at once", ["x_t = √α\u0304_t x_0 + √(1−α\u0304_t) ε"]),
    ("θ − β∇J", ["θ − β∇J"]),
    ("2σ_t², c₁²/2β̃ and sin ω", ["2σ_t²", "c₁²/2β\u0303", "sin ω"]),
    ("a x_0 or I, after 2ⁿ visits of the ε-loss", ["x_0", "2ⁿ"]),
    ("q(x_{t−1} | x_t, x_0).", ["q(x_{t−1} | x_t, x_0)"]),
    (PROSE, []),
]


@pytest.mark.parametrize("text, found", FOUND)
def test_formulas_are_found_in_prose(text, found):
    assert [piece.text for piece in formulas(text) if isinstance(piece, Formula)] == found


@pytest.mark.parametrize("text", ["a (b x_t] c", "‖x_t", "√", "f(x_0, "])
def test_what_is_no_whole_formula_stays_as_it_is(text):
    assert "".join(p if isinstance(p, str) else p.text for p in formulas(text)) == text


def test_a_formula_is_set_as_it_is_meant():
    alpha_bar = '<mover><mi>α</mi><mo stretchy="false">¯</mo></mover>'
    root = f"<msqrt><msub>{alpha_bar}<mrow><mi>t</mi></mrow></msub></msqrt>"
    assert mathml("√ᾱ_t") == f"<math>{root}</math>"
    assert mathml("√(1−x₀)").startswith("<math><msqrt><mn>1") and "(" not in mathml("√(1−x₀)")
    below, above = "<mrow><mi>t</mi><mo>−</mo><mn>1</mn></mrow>", "<mrow><mn>2</mn></mrow>"
    both = f"<msubsup><mi>x</mi>{below}{above}</msubsup>"
    assert mathml("x_{t−1}²") == f"<math>{both}</math>"
    with pytest.raises(ValueError, match="expected a formula"):
        mathml("no formula")


# ---- pages ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("name", EXAMPLES)
def test_the_copy_of_an_example_is_the_same_program(name, full):
    path = ROOT / "examples" / f"{name}.py"
    copy = gallery.staged(path, full)
    before, after = ast.parse(path.read_text(encoding="utf-8")), ast.parse(copy)
    assert list(map(ast.dump, before.body[1:])) == list(map(ast.dump, after.body[1:]))
    docstring = ast.get_docstring(after)
    title, line = docstring.splitlines()[:2]
    assert title.startswith(f"{int(name[:2])}. ") and set(line) == {"="} and len(title) > 20
    quick = "--quick" in docstring.split("The output below")[1]
    assert quick == bool("--quick" in gallery.arguments(name, full))


def test_the_parts_of_the_readme_that_pages_show_are_there():
    pages = [(ROOT / f"docs/{page}.md").read_text(encoding="utf-8") for page in ("index", "guide")]
    parts = [part for page in pages for part in markdown.PART.findall(page)]
    assert len(parts) == 2
    for start, end in parts:
        assert markdown.readme(start, end).startswith(start)


LINKS = [
    ("docs", "[`t.py`](../tinyddpm/fast/tiles.py)", "{py:mod}`t.py <tinyddpm.fast.tiles>`"),
    ("docs", "[`nn`](../tinyddpm/nn/__init__.py)", "{py:mod}`nn <tinyddpm.nn>`"),
    (".", "[x](examples/01_autodiff.py)", "{doc}`x </auto_examples/01_autodiff>`"),
    (".", "[`docs/runs.md`](docs/runs.md)", "{doc}`docs/runs.md </runs>`"),
    (".", "[licence](LICENSE)", "{download}`licence </../LICENSE>`"),
    *((".", other, other) for other in ("![p](docs/a.png)", "[b](https://a.org/)", "[c](#here)")),
]


@pytest.mark.parametrize("folder, link, expected", LINKS)
def test_links_of_the_repository_become_links_of_the_site(folder, link, expected):
    assert markdown.linked(link, ROOT / folder) == expected


def test_a_link_that_leads_nowhere_is_found(tmp_path):
    script = "https://example.org/x.js"
    addresses = ("b.html#here", "b.html#there", "c.html", "https://example.org")
    (tmp_path / "a.html").write_text("".join(f'<a href="{to}">here</a>' for to in addresses))
    (tmp_path / "b.html").write_text(f'<p id="here"><script src="{script}"></script>')
    wrong, elsewhere = check_links.check(tmp_path)
    assert wrong == [
        "a.html: no place for b.html#there",
        "a.html: no file for c.html",
        f"b.html: fetches {script}",
    ]
    assert elsewhere == {"https://example.org", script}
