"""The site cannot rot: what its pages name is there, and what is there they name. Needs nothing of the docs extra; `make docs` itself is the other half."""
import importlib
import inspect
import re
import sys
from pathlib import Path

import pytest
from test_architecture import CORE, ROOT

sys.path.insert(0, str(ROOT / "docs/_ext"))
import check_links  # noqa: E402
import docstrings  # noqa: E402
import gallery  # noqa: E402
import markdown  # noqa: E402
from formulas import Formula, formulas, mathml  # noqa: E402

LEARN = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "docs/learn").glob("*.md")}
EXAMPLES = sorted(path.stem for path in (ROOT / "examples").glob("*.py"))


def cells(page):
    """The rows of a page's tables, without heads and rules."""
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in page.splitlines() if re.match(r"\| ?(?!---|\|---)", line) and "|---" not in line][1:]


# ---- the tour ------------------------------------------------------------------------------------


def test_the_tour_has_twelve_stops_and_leads_past_the_whole_core():
    stops = re.split(r"^## \d+\. ", LEARN["tour"], flags=re.MULTILINE)[1:]
    assert len(stops) == 12
    for stop in stops:
        assert "**Notice**" in stop and "```{literalinclude}" in stop
    named = set(re.findall(r"\{py:mod\}`[^`<]*<([\w.]+)>`", LEARN["tour"]))
    assert named == {re.sub(r"\.__init__$", "", ".".join(path.relative_to(ROOT).with_suffix("").parts)) for path in CORE}


@pytest.mark.parametrize("path, options", re.findall(r"```\{literalinclude\} (\S+)\n((?:: ?.*\n|:.*\n)+)", LEARN["tour"]))
def test_an_excerpt_of_the_tour_is_in_its_file(path, options):
    text = (ROOT / "docs/learn" / path).read_text(encoding="utf-8")
    options = {name: value.strip('"') for name, value in re.findall(r"^:([\w-]+): ?(.*)$", options, re.MULTILINE)}
    if "pyobject" in options:
        assert f"def {options['pyobject']}(" in text
    else:
        assert 0 < text.index(options["start-at"]) < text.index(options["end-at"], text.index(options["start-at"]))


# ---- the lecture ---------------------------------------------------------------------------------


def test_every_example_is_in_the_table_and_every_point_of_the_lecture_has_one():
    rows = cells(LEARN["lecture"])
    assert {re.search(r"/auto_examples/(\w+)>", row[1])[1] for row in rows} == set(EXAMPLES)
    points = [match[1] for row in rows if (match := re.match(r"\*\*(.*?)\*\*", row[0]))]
    assert points == [f"{kind} {i}" for kind, n in (("Objective", 6), ("Question", 4), ("Take-away", 4)) for i in range(1, n + 1)]
    for row in rows:
        assert len(row) == 4 and len(row[2]) > 20 and re.search(r"\d", row[3]), row


def test_each_question_has_its_answer_and_a_run():
    for question in re.split(r"^### ", LEARN["lecture"], flags=re.MULTILINE)[1:]:
        assert "<details><summary>Answer</summary>" in question and "**A run that shows it" in question and "/auto_examples/" in question


# ---- the glossary --------------------------------------------------------------------------------


def test_the_glossary_has_the_lecture_s_symbols():
    symbols = " ".join(row[0] for row in cells(LEARN["glossary"]))
    for symbol in ("x_0", "x_t", "ε", "ᾱ_t", "t", "T", "x̂_0", "x̂_θ(x_t, t)", "J", "θ", "β", "∇_θ J", "U-Net", "skip", "M"):
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
    pages = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs/api").glob("*.rst"))
    listed = [name for folder, first in docstrings.MODULES.findall(pages) for name in docstrings.modules(folder, first.split())]
    assert len(listed) == len(set(listed))
    there = {path.relative_to(ROOT) for package in ("autograd", "tinyddpm") for path in (ROOT / package).rglob("*.py")}
    assert set(listed) == {re.sub(r"\.__init__$", "", ".".join(path.with_suffix("").parts)) for path in there if (ROOT / path).read_text(encoding="utf-8").startswith('"""')}


def test_a_docstring_becomes_lists_code_and_links():
    from tinyddpm import sampler

    text = docstrings.rest(inspect.getdoc(sampler.ddim), docstrings.linker(sampler))
    assert "``steps``\n   how many" in text and ":py:obj:`ancestral <tinyddpm.sampler.ancestral>`" in text
    module = docstrings.rest(sampler.__doc__, docstrings.linker(sampler))
    assert ".. code-block:: python\n\n   for t, xt, x0_hat in ancestral(" in module and "``unet.denoise``" in module
    assert "   * - \u2003\u2003J = ‖x̂_0 − x_0‖²\n     - :py:obj:`objective" in docstrings.rest(importlib.import_module("tinyddpm.train").__doc__, docstrings.linker(importlib.import_module("tinyddpm.train")))
    assert docstrings.rest("a * b, *so*, |x| and x_ or `y`") == "a \\* b, *so*, \\|x| and x\\_ or ``y``\n"


# ---- formulas ------------------------------------------------------------------------------------


def test_formulas_are_found_in_prose():
    def found(text):
        return [piece.text for piece in formulas(text) if isinstance(piece, Formula)]

    assert found("the image is x_t = √ᾱ_t x_0 + √(1−ᾱ_t) ε, at once") == ["x_t = √ᾱ_t x_0 + √(1−ᾱ_t) ε".replace("ᾱ", "α\u0304")]
    assert found("θ − β∇J") == ["θ − β∇J"]
    assert found("2σ_t², c₁²/2β̃ and sin ω") == ["2σ_t²", "c₁²/2β̃".replace("β̃", "β\u0303"), "sin ω"]
    assert found("a x_0 or I, after 2ⁿ visits of the ε-loss, q(x_{t−1} | x_t, x_0).") == ["x_0", "2ⁿ", "q(x_{t−1} | x_t, x_0)"]
    assert found("x0_hat and alpha_bar of shape (N, C, H, W), t = 1 to T, a - b, 1e-4 or U-Net") == []
    for text in ("a (b x_t] c", "‖x_t", "√", "f(x_0, "):
        assert "".join(piece if isinstance(piece, str) else piece.text for piece in formulas(text)) == text


def test_a_formula_is_set_as_it_is_meant():
    assert mathml("√ᾱ_t") == '<math><msqrt><msub><mover><mi>α</mi><mo stretchy="false">¯</mo></mover><mrow><mi>t</mi></mrow></msub></msqrt></math>'
    assert mathml("√(1−x₀)").startswith("<math><msqrt><mn>1") and "(" not in mathml("√(1−x₀)")
    assert mathml("x_{t−1}²") == "<math><msubsup><mi>x</mi><mrow><mi>t</mi><mo>−</mo><mn>1</mn></mrow><mrow><mn>2</mn></mrow></msubsup></math>"
    with pytest.raises(ValueError, match="expected a formula"):
        mathml("no formula")


# ---- pages ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("name", EXAMPLES)
def test_the_copy_of_an_example_is_the_same_program(name, full):
    import ast

    path = ROOT / "examples" / f"{name}.py"
    copy = gallery.staged(path, full)
    before, after = ast.parse(path.read_text(encoding="utf-8")), ast.parse(copy)
    assert [ast.dump(node) for node in before.body[1:]] == [ast.dump(node) for node in after.body[1:]]
    title, line = ast.get_docstring(after).splitlines()[:2]
    assert title.startswith(f"{int(name[:2])}. ") and set(line) == {"="} and len(title) > 20
    assert ("--quick" in ast.get_docstring(after).split("The output below")[1]) == bool("--quick" in gallery.arguments(name, full))


def test_the_parts_of_the_readme_that_pages_show_are_there():
    parts = [(page, *part) for page in ("index", "guide") for part in markdown.PART.findall((ROOT / f"docs/{page}.md").read_text(encoding="utf-8"))]
    assert len(parts) == 3
    for _, start, end in parts:
        assert markdown.readme(start, end).startswith(start)


def test_links_of_the_repository_become_links_of_the_site():
    assert markdown.linked("[`tiles.py`](../tinyddpm/fast/tiles.py)", ROOT / "docs", ROOT / "docs") == "{py:mod}`tiles.py <tinyddpm.fast.tiles>`"
    assert markdown.linked("[x](examples/01_autodiff.py)", ROOT, ROOT / "docs") == "{doc}`x </auto_examples/01_autodiff>`"
    assert markdown.linked("[`docs/runs.md`](docs/runs.md)", ROOT, ROOT / "docs") == "{doc}`docs/runs.md </runs>`"
    assert markdown.linked("![a picture](docs/samples.png) [b](https://example.org/) [c](#here)", ROOT, ROOT / "docs") == "![a picture](docs/samples.png) [b](https://example.org/) [c](#here)"


def test_a_link_that_leads_nowhere_is_found(tmp_path):
    (tmp_path / "a.html").write_text('<a href="b.html#here">1</a> <a href="b.html#there">2</a> <a href="c.html">3</a> <a href="https://example.org">4</a>')
    (tmp_path / "b.html").write_text('<p id="here"><script src="https://example.org/x.js"></script>')
    wrong, elsewhere = check_links.check(tmp_path)
    assert wrong == ["a.html: no place for b.html#there", "a.html: no file for c.html", "b.html: fetches https://example.org/x.js"]
    assert elsewhere == {"https://example.org", "https://example.org/x.js"}
