"""The examples as pages: the question, the pictures, what was printed, and then the program.

An example is a plain program, with nothing in it for the site. Its page is written from its text
and from what `keep.py` has kept of a full run: nothing runs when the site is built. What begins
with `# ---- title ----` in the program is a section of the page.

    write()                            # docs/auto_examples/*.rst, from examples/*.py
    page(Path("examples/05_….py"))     # one of them, as reStructuredText
"""

import ast
import re
from textwrap import dedent, indent

import keep
from docstrings import MARKUP, ROOT, rest
from formulas import Formula, formulas

import tinyddpm

PAGES = ROOT / "docs/auto_examples"
SECTION = re.compile(r"^# ---- (.*?) -{4,}$")
BLOCK = re.compile(r"^\.\. code-block:: none\n\n((?:   .*\n|\n)+)", re.MULTILINE)
WORDS = {"ddpm": "DDPM", "gan": "GAN", "gpu": "GPU", "unet": "U-Net"}
INDEX = """\
Examples
========

One question each. Each is a program that runs as it stands, says in words what it found, and
leaves a picture. Read them in this order, and run those that you doubt, for example
``python examples/01_autodiff.py``. :doc:`/learn/lecture` has what each finds, in a line.

.. toctree::
   :hidden:

"""
CARD = """\
   .. figure:: /{picture}
      :target: {page}.html
      :alt: {title}

      **{title}.** {question}

"""
BARE_CARD = """\
   :doc:`{title} <{page}>`. {question}

"""
HEAD = """\
{title}
{underline}

{text}
{pictures}
What it finds
-------------

{found}

The program
-----------

:download:`examples/{name} </../examples/{name}>`

"""
FOUND = """\
This is what a full run prints, by ``{command}``.

.. literalinclude:: /{folder}/output.txt
   :language: none
   :class: printed
"""
NOTHING = "Nothing is kept of it yet: ``make keep EXAMPLES={number}`` runs it."
FIGURE = """\
.. figure:: /{path}
   :alt: the picture {name} that this example saves
   :target: ../_images/{name}

"""
CODE = """\
.. literalinclude:: /../examples/{name}
   :language: python
   :lines: {first}-{last}

"""


def write():
    """Write all pages. One that has not changed keeps its date, so that Sphinx passes it by."""
    pages = {path.stem: page(path) for path in keep.examples()} | {"index": index()}
    PAGES.mkdir(exist_ok=True)
    for left in set(PAGES.glob("*.rst")) - {PAGES / f"{name}.rst" for name in pages}:
        left.unlink()
    for name, text in pages.items():
        path = PAGES / f"{name}.rst"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def title(path):
    """05_training_loop.py is "5. Training loop"."""
    words = " ".join(WORDS.get(word, word) for word in path.stem[3:].split("_"))
    return f"{int(path.name[:2])}. {words[0].upper()}{words[1:]}"


def question(docstring):
    """The first sentence of a docstring."""
    return " ".join(re.match(r".+?[?.](?= |\n|$)", docstring, re.DOTALL)[0].split())


def page(path):
    """The page of an example as reStructuredText."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    folder = keep.folder(path).relative_to(ROOT / "docs").as_posix()
    figures = [FIGURE.format(path=f"{folder}/{p.name}", name=p.name) for p in keep.pictures(path)]
    head = HEAD.format(
        title=title(path),
        underline=2 * len(title(path)) * "=",
        text=BLOCK.sub(algorithm, rest(docstring, tinyddpm)),
        pictures="".join(figures),
        found=(FOUND if figures else NOTHING).format(
            command=keep.command(path), folder=folder, number=path.name[:2]
        ),
        name=path.name,
    )
    return head + "".join(program(path))


def algorithm(block):
    """Lines of formulas, to be set as such. Others that are no Python, commands, stay as they are.

    A block is taken in parts, where blank lines are.
    """
    out = ""
    for part in dedent(block[1]).strip("\n").split("\n\n"):
        lines = MARKUP.sub(r"\\\g<0>", part).splitlines()
        if any(isinstance(piece, Formula) for piece in formulas(part)):
            out += "".join(f"| {line}\n" for line in lines) + "\n"
        else:
            out += f".. code-block:: none\n\n{indent(part, '   ')}\n\n"
    return out


def program(path):
    """The code, section by section, without the docstring, which the page begins with."""
    source = path.read_text(encoding="utf-8")
    lines, first = source.splitlines(), ast.parse(source).body[0].end_lineno
    starts = [i for i in range(first, len(lines)) if SECTION.match(lines[i])]
    for start, end in zip([first, *starts], [*starts, len(lines)]):
        code = start
        if heading := SECTION.match(lines[start]):
            words = heading[1][0].upper() + heading[1][1:]
            code, words = start + 1, MARKUP.sub(r"\\\g<0>", words).replace("`", "``")
            yield f"{words}\n{2 * len(words) * '~'}\n\n"
        while not lines[code].strip():
            code += 1
        while not lines[end - 1].strip():
            end -= 1
        yield CODE.format(name=path.name, first=code + 1, last=end)


def index():
    """The page that shows them all: a picture and the question of each."""
    cards = []
    for path in keep.examples():
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        picture = [p.relative_to(ROOT / "docs").as_posix() for p in keep.pictures(path)[:1]]
        card = {"page": path.stem, "title": title(path)}
        card["question"] = rest(question(docstring), tinyddpm).strip()
        cards += [CARD.format(picture=p, **card) for p in picture] or [BARE_CARD.format(**card)]
    names = "".join(f"   {path.stem}\n" for path in keep.examples())
    return f"{INDEX}{names}\n.. container:: pictures\n\n" + "".join(cards)
