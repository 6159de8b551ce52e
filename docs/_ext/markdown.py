"""Pages in Markdown are read in two places: in the repository, where links lead to files, and here.

- a link to a module, an example or a page of docs/ leads to its page here; to another file, it is
  a download
- `tinyddpm.train:train` in backticks, as in equations.md, becomes a link to the function
- a line `<!-- README from "…" to "…" -->` stands for that part of README.md
- a line `<!-- HTML of one_page.html -->` stands for that file of docs/, in which `<m>√ᾱ_t x_0</m>`
  is a formula in the notation of `formulas.py`
"""

import re
from pathlib import Path

from docstrings import PACKAGES, ROOT, dotted
from formulas import mathml

LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]+)\]\((?P<to>[^)#:\s]+)\)")
FUNCTION = re.compile(r"`((?:autograd|tinyddpm)[\w.]*):([\w.]+)`")
PART = re.compile(r'^<!-- README from "(.*?)" to "(.*?)" -->$', re.MULTILINE)
HTML = re.compile(r"^<!-- HTML of (\S+) -->$", re.MULTILINE)
FORMULA = re.compile(r"<m>(.*?)</m>")


def readme(start, end):
    """README.md from the first line that begins with `start` to the next that begins with `end`."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    begin = re.search(rf"^{re.escape(start)}", text, re.MULTILINE).start()
    stop = re.search(rf"^{re.escape(end)}", text[begin:], re.MULTILINE).start()
    return text[begin : begin + stop]


def html(name):
    """A file of docs/ written in HTML, with its formulas as MathML."""
    text = (ROOT / "docs" / name).read_text(encoding="utf-8")
    return FORMULA.sub(lambda match: mathml(match[1]), text)


def linked(text, folder):
    """The text with its links to files of the repository, relative to `folder`, made links here."""

    def link(match):
        path = (folder / match["to"]).resolve()
        ours = path.exists() and path.is_relative_to(ROOT)
        return target(match["text"], path.relative_to(ROOT)) if ours else match.group()

    return LINK.sub(link, text)


def target(label, path):
    """A link in MyST's notation to a file, whose path is relative to the repository."""
    plain, top = label.strip("`"), path.parts[0]
    if (ROOT / path).is_dir():
        return label
    if path.suffix == ".py" and top in PACKAGES:
        return f"{{py:mod}}`{plain} <{dotted(ROOT / path)}>`"
    if path.suffix == ".py" and top == "examples":
        return f"{{doc}}`{plain} </auto_examples/{path.stem}>`"
    if top != "docs":
        return f"{{download}}`{plain} </../{path}>`"
    path = path.relative_to("docs")
    if path.suffix == ".md":
        return f"{{doc}}`{plain} </{path.with_suffix('')}>`"
    return f"{{download}}`{plain} </{path}>`"


def for_site(app, docname, source):
    path = Path(app.env.doc2path(docname))
    if path.suffix != ".md":
        return
    text = linked(source[0], path.parent)
    if PART.search(text):
        app.env.note_dependency(str(ROOT / "README.md"), docname=docname)
    text = PART.sub(lambda m: linked(readme(m[1], m[2]), ROOT).replace("](docs/", "](/"), text)
    text = FUNCTION.sub(r"{py:obj}`\2 <\1.\2>`", text)
    for name in HTML.findall(text):
        app.env.note_dependency(str(ROOT / "docs" / name), docname=docname)
    source[0] = HTML.sub(lambda m: f"```{{raw}} html\n{html(m[1])}```", text)


def setup(app):
    app.connect("source-read", for_site)
    return {"parallel_read_safe": True}
