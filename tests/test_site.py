"""The site cannot rot: what its pages name is there, and what is there they name.

Needs nothing of the docs extra; `make docs` itself is the other half.
"""

import re
import sys

import pytest
from test_architecture import ROOMS, ROOT

sys.path.insert(0, str(ROOT / "docs/_ext"))
import architecture
import check_links
import docstrings
import gallery
import keep
import markdown
from formulas import Formula, formulas, mathml


def cells(page):
    """The rows of a page's tables, without heads and rules."""
    lines = [line for line in page.splitlines() if line.startswith("|") and "|---" not in line]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines][1:]


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


def test_titles_are_short():
    pages = [*(ROOT / "docs").glob("*.md"), *(ROOT / "docs/learn").glob("*.md")]
    firsts = [page.read_text(encoding="utf-8").splitlines()[0] for page in pages]
    titles = [line[2:] for line in firsts if line.startswith("# ")]
    assert len(titles) > 10
    titles += map(gallery.title, keep.examples())
    assert not [title for title in titles if len(title) > 30]
    assert gallery.title(ROOT / "examples/07_ddpm_and_gan.py") == "7. DDPM and GAN"


def test_navigation_begins_with_the_command_line_and_ends_with_the_gpu():
    index = (ROOT / "docs/index.md").read_text(encoding="utf-8")
    trees = re.findall(r"```\{toctree\}\n:caption: (.*)\n:hidden:\n\n([^`]*)```", index)
    listed = {caption: pages.split() for caption, pages in trees}
    assert listed["Use"][0] == "guide" and listed["Use"][-1] == "gpu"
    pages = {page for pages in listed.values() for page in pages} | {"index"}
    for folder, start in (("docs", ""), ("docs/learn", "learn/")):
        assert {f"{start}{path.stem}" for path in (ROOT / folder).glob("*.md")} <= pages


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
