"""From the way this project writes its docstrings to reStructuredText, which Sphinx reads.

    rest("x0, eps  (N, C, H, W)\\nt        (N,) in {1..T}")    # a list of two entries

The docstrings are written to be read in an editor. Their layout says what is what:

- an indented block is code, or, if it holds a formula, lines of formulas;
- `name  what it is`, with two spaces or more between, is an entry of a list, such as a parameter;
- lines that begin with `- ` or `1. ` are a list;
- `single backticks` are code, and a link where the name is one of the project's.

Formulas stay as they are here: `formulas.py` sets them, in the finished page.
"""
import ast
import importlib
import inspect
import re
from pathlib import Path
from textwrap import dedent

from formulas import Formula, formulas

ROOT = Path(__file__).parents[2]
ENTRY = re.compile(r"(?!\d|- )(?P<names>[\w.`\"…–⁰]+(?:, [\w.`\"…]+)*) {2,}(?P<text>\S.*)$")
ITEM = re.compile(r"(?:- |\d+\. )")


def rest(docstring, link=lambda name: None):
    """A docstring, cleaned as `inspect.cleandoc` does it, as reStructuredText. `link(name)` is the full name to link to, or None."""
    return "\n\n".join(_block(block, link) for block in _blocks(inspect.cleandoc(docstring))) + "\n"


def _blocks(text):
    """The parts of a docstring: a blank line ends one, but within indented ones; so do lists, code and entries that begin without one."""
    block, kind = [], None
    for line in text.splitlines():
        if not line.strip():
            now = kind if kind == "code" else None
        elif kind in ("entries", "items") and line.startswith(" "):
            now = kind
        elif line.startswith("  ") and not (kind is None and ITEM.match(line.strip())):
            now = "code"
        elif ITEM.match(line.strip()) and (kind in (None, "items") or line.startswith("- ")):
            now = "items"
        elif ENTRY.match(line) and len(ENTRY.match(line)["names"]) < 30:
            now = "entries"
        else:
            now = "text"
        if now != kind and any(block):
            yield kind, _trimmed(block)
            block = []
        block, kind = [*block, line], now
    if any(block):
        yield kind, _trimmed(block)


def _trimmed(block):
    while block and not block[-1].strip():
        block = block[:-1]
    while block and not block[0].strip():
        block = block[1:]
    return block


def _block(kind_and_lines, link):
    kind, lines = kind_and_lines
    if kind == "code":
        return _table(lines, link) if _holds_formulas(lines) else "\n".join([f".. code-block:: {_language(lines)}", "", *_indented(lines)])
    if kind == "items":
        return _inline("\n".join(_hanging(dedent("\n".join(lines)).splitlines())), link)
    if kind == "entries":
        return "\n".join(_entries(lines, link))
    if lines[0].startswith(">>> "):
        return "\n".join(lines)
    return _inline("\n".join(lines), link)


def _hanging(lines):
    """Each item with its further lines under its first word, as reStructuredText wants them."""
    for line in lines:
        if mark := ITEM.match(line):
            width = mark.end()
            yield line
        else:
            yield " " * width + line.strip()


def _entries(lines, link):
    """A definition list. What an entry's line says of further names, after a semicolon and two spaces, become entries of their own."""
    joined = []
    for line in lines:
        match = ENTRY.match(line)
        if match and not line.startswith(" "):
            joined.append([match["names"], match["text"]])
        else:
            joined[-1][1] += " " + line.strip()
    for names, text in joined:
        first, *others = re.split(r"; {2}(?=[\w, ]+? {2})", text)
        for name, said in [(names, first), *(other.split("  ", 1) for other in others)]:
            yield f"{', '.join(f'``{part}``' for part in name.replace('`', '').split(', '))}"
            yield f"   {_inline(said.strip(), link)}"
            yield ""


def _table(lines, link):
    """Lines of formulas as a table without rules: a column where two spaces or more stand between, the indentation kept."""
    rows = [re.split(r" {3,}| {2}(?=\S)", line.strip()) for line in lines if line.strip()]
    indent = [len(line) - len(line.lstrip()) for line in lines if line.strip()]
    width = max(map(len, rows))
    out = [".. list-table::", "   :class: formulas", "   :header-rows: 0", ""]
    for row, spaces in zip(rows, indent):
        cells = [_inline(cell, link) if _formula(cell) or not re.fullmatch(r"\"?[a-z_]\w*\"?", cell) else _code(cell.strip('"'), link) for cell in row] + [""] * (width - len(row))
        cells[0] = "\u2003" * ((spaces - min(indent)) // 2) + cells[0]
        out += [f"   {'* -' if i == 0 else '  -'} {cell}" for i, cell in enumerate(cells)]
    return "\n".join(out)


def _formula(text):
    return any(isinstance(piece, Formula) for piece in formulas(text))


def _holds_formulas(lines):
    """Formulas, and not a line of code that has one in a comment."""
    text = [line for line in lines if line.strip()]
    return any(_formula(line) for line in text) and not any(re.search(r"#|(?<![\w-])[a-z]\w+\(\w+, |^\s*(for \w+ in|from|import|return|@)\b| = [a-z]\w+\(", line) for line in text)


def _language(lines):
    try:
        compile(dedent("\n".join(lines)), "", "exec")
        return "python"
    except (SyntaxError, ValueError):  # commands, formulas, and code that leaves something out
        return "none"


def _indented(lines):
    least = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
    return ["   " + line[least:] for line in lines]


def _inline(text, link):
    """Backticks become code or links; what reStructuredText would take for markup is escaped. **Bold** is what it is there too."""
    out = []
    for i, piece in enumerate(re.split(r"``?([^`]+)``?", text)):
        if i % 2:
            out.append(_code(piece, link))
        else:
            piece = re.sub(r"\\|(?<![*])[*](?![*]|\w[^*\n]*\w[*])(?<!\w[*])|\|(?=\S)|(?<=\w)_(?!\w|\{)", lambda m: "\\" + m.group(), piece)
            if out and piece[:1].isalnum():
                piece = "\\ " + piece
            out.append(piece)
    return "".join(out)


def _code(name, link):
    target = link(name)
    return f":py:obj:`{name} <{target}>`" if target else f"``{name}``"


# ---- the Sphinx extension ------------------------------------------------------------------------


def linker(module):
    """A function that finds a name as code in `module` would: its own names and imports, files of the package, and full names."""

    def link(name):
        for find in (_by_path, _by_value):
            if target := find(module, name.removesuffix("()")):
                return target

    return link


def _by_path(module, name):
    """`nn/module.py` and `schedule.py` are modules, from the package of `module` or from the top."""
    if not name.endswith(".py"):
        return None
    dotted = name.removesuffix(".py").replace("/", ".")
    package = module.__name__ if hasattr(module, "__path__") else module.__name__.rpartition(".")[0]
    for prefix in (package + ".", package.partition(".")[0] + ".", ""):
        if importlib.util.find_spec(prefix.partition(".")[0] or dotted.partition(".")[0]) and _is_module(prefix + dotted):
            return prefix + dotted
    return None


def _is_module(name):
    try:
        return name.startswith(("autograd.", "tinyddpm.")) and importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _by_value(module, name):
    """The full name of what `name` stands for in the module, if it is public and a class, a function or a module of the project."""
    try:
        value = vars(module).get(name.partition(".")[0])
        for part in name.split(".")[1:]:
            value = getattr(value, part)
    except (AttributeError, TypeError):
        return None
    if inspect.ismodule(value):
        full = value.__name__
    elif inspect.isclass(value) or inspect.isfunction(value):
        full = f"{value.__module__}.{value.__qualname__}"
    else:
        return None
    if not full.startswith(("autograd.", "tinyddpm.")) or any(part.startswith("_") and not part.startswith("__") or part == "<locals>" for part in full.split(".")):
        return None
    return full


def process_docstring(app, what, name, obj, options, lines):
    module = next(m for m in (inspect.getmodule(obj), importlib.import_module(name) if what == "module" else None, importlib.import_module(name.split(".")[0])) if m)
    lines[:] = rest("\n".join(lines), linker(module)).splitlines()


def skip_member(app, what, name, obj, skip, options):
    """What a module or class has from elsewhere under a name of its own is described where it is defined. The fields of a named tuple say nothing."""
    if str(getattr(obj, "__doc__", "")).startswith("Alias for field number") or inspect.isclass(obj) and what == "class" or inspect.isfunction(obj) and not obj.__module__.startswith(("autograd", "tinyddpm")):
        return True
    return None


MODULES = re.compile(r"^\.\. modules:: (\S+)(.*)$", re.MULTILINE)


def modules(folder, first):
    """The public modules of a folder by full name: those named first, then the others by name, then those of its folders. A package counts if it says something."""
    package = folder.replace("/", ".")
    named = [path.stem for path in sorted((ROOT / folder).glob("*.py")) if not path.stem.startswith("_")]
    said = [package] if ast.get_docstring(ast.parse((ROOT / folder / "__init__.py").read_text(encoding="utf-8"))) else []
    below = [path.parent.relative_to(ROOT).as_posix() for path in sorted((ROOT / folder).glob("*/__init__.py"))] if "/" in folder else []  # the folders of tinyddpm have pages of their own
    return said + [f"{package}.{name}" for name in dict.fromkeys([*first, *named])] + [name for path in below for name in modules(path, ())]


def list_modules(app, docname, source):
    """`.. modules:: tinyddpm/nn unet block` in a page: a section for each module of the folder, unet and block first."""
    def sections(match):
        return "\n".join(f"``{name}``\n{'-' * (len(name) + 4)}\n\n.. automodule:: {name}\n" for name in modules(match[1], match[2].split()))

    source[0] = MODULES.sub(sections, source[0])


def setup(app):
    app.connect("source-read", list_modules)
    app.connect("autodoc-process-docstring", process_docstring)
    app.connect("autodoc-skip-member", skip_member)
    return {"parallel_read_safe": True}
