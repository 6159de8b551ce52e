"""What Sphinx and napoleon leave to do for our docstrings, written to be read in an editor.

napoleon makes lists of the sections (Args, Returns, Raises, Attributes). Sphinx has nothing for
these, so they are here:

- an indented block is shown as it stands, without `::` before it;
- a list needs no blank line before it;
- `single backticks` are code, and a link where they hold one of the project's names;
- the `*`, `|` and `x_` of a formula are no markup (`formulas.py` sets it, in the finished page);
- `.. modules:: tinyddpm/nn unet block` on an API page stands for the modules of a room.

    rest("the mean of `q_sample`\\n\\n    x * x", diffusion)   # reStructuredText
"""

import ast
import inspect
import re
import sys
from dataclasses import is_dataclass
from operator import attrgetter
from pathlib import Path
from textwrap import dedent, indent

ROOT = Path(__file__).parents[2]
PACKAGES = ("autograd", "tinyddpm")
SECTION = re.compile(r"(Args|Attributes|Raises|Returns|Yields):$")
ITEM = re.compile(r"(- |\d+\. )")
# What reStructuredText would take for markup: \, a * that is not *emphasis* or **bold**, | and x_.
MARKUP = re.compile(r"\\|(?<![*])[*](?![*]|\w[^*\n]*\w[*])(?<!\w[*])|\|(?=\S)|(?<=\w)_(?!\w|\{)")


def rest(docstring, module):
    """A docstring as reStructuredText, with links from names as code in `module` would find them.

    The sections are left to napoleon.
    """
    blocks = _blocks(inspect.cleandoc(docstring).splitlines())
    return "\n\n".join(_set(kind, lines, module) for kind, lines in blocks) + "\n"


def _blocks(lines):
    """The docstring in parts, (kind, lines): "text", "items", "section" and "indented"."""
    kind, block, after_blank = None, [], True
    for line in lines:
        now = _kind(line, kind, after_blank) if line.strip() else kind
        if block and (now != kind or SECTION.match(line)):
            yield kind, block
            block = []
        kind, after_blank = now, not line.strip()
        block.append(line)
    yield kind, block


def _kind(line, before, after_blank):
    """What a line that follows one of kind `before` belongs to."""
    if line.startswith(" "):
        if before == "section" or before == "items" and not after_blank:
            return before
        return "items" if before != "indented" and ITEM.match(line.strip()) else "indented"
    if SECTION.match(line):
        return "section"
    if ITEM.match(line) and (line.startswith("- ") or before == "items" or after_blank):
        return "items"
    return "text"


def _set(kind, lines, module):
    text = "\n".join(lines).rstrip()
    if kind == "indented":
        code = dedent(text)
        return f".. code-block:: {_language(code)}\n\n{indent(code, '   ')}"
    if kind == "items":
        text = "\n".join(_hanging(dedent(text).splitlines()))
    return _inline(text, module)


def _language(code):
    """A command, a table, a formula, or code that leaves something out is no Python."""
    try:
        compile(code, "", "exec")
    except (SyntaxError, ValueError):
        return "none"
    return "python"


def _hanging(lines):
    """Each item with its further lines under its first word, as reStructuredText wants them."""
    for line in lines:
        if mark := ITEM.match(line):
            width = mark.end()
        yield line if mark else " " * width + line.strip()


def _inline(text, module):
    """Backticks become code or links, and what is not meant as markup is escaped."""
    out = []
    for i, piece in enumerate(re.split(r"``?([^`]+)``?", text)):
        if i % 2:
            name = full_name(piece, module)
            out.append(f":py:obj:`{piece} <{name}>`" if name else f"``{piece}``")
        else:
            joint = "\\ " if i and piece[:1].isalnum() else ""  # as in `Tensor`s
            out.append(joint + MARKUP.sub(r"\\\g<0>", piece))
    return "".join(out)


# ---- names ---------------------------------------------------------------------------------------


def full_name(name, module):
    """What `name` means in `module`, to link to: a module, or a public class or function of ours.

    `nn/module.py` is a file, from the folder of `module` or from one above it. None: no such thing.
    """
    if name.endswith(".py"):
        paths = [folder / name for folder in Path(module.__file__).parents]
        full = next((dotted(path) for path in paths if path.is_file()), "")
    else:
        full = _defined_as(name.removesuffix("()"), module)
    public = not any(part.startswith(("_", "<")) for part in full.split("."))
    return full if public and full.startswith(PACKAGES) else None


def _defined_as(name, module):
    """The full name of the module, class or function that `name` stands for in `module`, or ""."""
    try:
        value = attrgetter(name)(module)
    except AttributeError:
        return ""
    if inspect.ismodule(value):
        return value.__name__
    if inspect.isclass(value) or inspect.isfunction(value):
        return f"{value.__module__}.{value.__qualname__}"
    return ""


def dotted(path):
    """The module in a file: tinyddpm/nn/__init__.py is tinyddpm.nn."""
    parts = path.with_suffix("").parts[len(ROOT.parts) :]
    return ".".join(parts).removesuffix(".__init__")


MODULES = re.compile(r"^\.\. modules:: (\S+)(.*)$", re.MULTILINE)


def modules(folder, first):
    """The public modules of a folder that say something: those named `first`, then by name.

    The folders in it follow, but not those of tinyddpm itself: they have pages of their own.
    """
    paths = (ROOT / folder).rglob("*.py") if "/" in folder else (ROOT / folder).glob("*.py")
    order = {name: i for i, name in enumerate(["__init__", *first])}

    def place(path):
        return path.parent, order.get(path.stem, len(order)), path.stem

    return [dotted(path) for path in sorted(paths, key=place) if _says_something(path)]


def _says_something(path):
    private = path.stem.startswith("_") and path.stem != "__init__"
    return not private and bool(ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))))


# ---- the Sphinx extension ------------------------------------------------------------------------


def process_docstring(app, what, name, obj, options, lines):
    while name not in sys.modules:
        name = name.rpartition(".")[0]
    lines[:] = rest("\n".join(lines), sys.modules[name]).splitlines()


def process_signature(app, what, name, obj, options, signature, returns):
    """A dataclass needs no signature: its fields follow, with types and defaults."""
    if inspect.isclass(obj) and is_dataclass(obj):
        return "", None
    return tuple(part and with_aliases(part) for part in (signature, returns))


def process_attributes(app, doctree, docname):
    """The types of attributes, which autodoc passes to nobody before they are set."""
    from docutils.nodes import Text
    from sphinx.addnodes import desc_annotation

    for node in doctree.findall(desc_annotation):
        text = with_aliases(node.astext(), set_already=True)
        if text != node.astext():
            node[:] = [Text(text)]


def with_aliases(text, set_already=False):
    """A type, in words, with the name of an alias where Python has put in what that stands for."""
    from numpy.typing import ArrayLike, DTypeLike
    from sphinx.util.typing import stringify_annotation

    from autograd.backend import Array, Forward, Pullback

    aliases = {"Forward": Forward, "Pullback": Pullback, "Array": Array}  # each holds the next
    for alias, meaning in {**aliases, "ArrayLike": ArrayLike, "DTypeLike": DTypeLike}.items():
        long = stringify_annotation(meaning, mode="smart")  # ~numpy.ndarray[…], set as ndarray[…]
        text = text.replace(re.sub(r"~[\w.]+\.", "", long) if set_already else long, alias)
    return text


def skip_member(app, what, name, obj, skip, options):
    """Leave out a class or a function under a second name: it is described where it is defined.

    And the fields of a named tuple, of which Sphinx knows only that they are fields.
    """
    alias = what == "class" and inspect.isclass(obj)
    foreign = inspect.isfunction(obj) and not obj.__module__.startswith(PACKAGES)
    field = str(getattr(obj, "__doc__", "")).startswith("Alias for field number")
    return True if alias or foreign or field else None


def list_modules(app, docname, source):
    def sections(match):
        names = modules(match[1], match[2].split())
        parts = [f"``{n}``\n{'-' * (len(n) + 4)}\n\n.. automodule:: {n}\n" for n in names]
        return "\n".join(parts)

    source[0] = MODULES.sub(sections, source[0])


def setup(app):
    app.connect("source-read", list_modules)
    app.connect("autodoc-process-docstring", process_docstring, priority=400)  # before napoleon
    app.connect("autodoc-process-signature", process_signature)
    app.connect("doctree-resolved", process_attributes)
    app.connect("autodoc-skip-member", skip_member)
    return {"parallel_read_safe": True}
