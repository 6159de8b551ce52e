"""Pages in Markdown that are read in two places: in the repository, where links lead to files, and here, where they lead to pages.

- a link to a module, an example or a page of docs/ becomes one to its page here; one to another file, a download
- `tinyddpm.train:train` in backticks, as in equations.md, becomes a link to the function
- a line `<!-- README from "…" to "…" -->` stands for that part of README.md
"""
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]+)\]\((?P<to>[^)#:\s]+)\)")
FUNCTION = re.compile(r"`((?:autograd|tinyddpm)[\w.]*):([\w.]+)`")
PART = re.compile(r'^<!-- README from "(.*?)" to "(.*?)" -->$', re.MULTILINE)


def readme(start, end):
    """README.md from the first line that begins with `start` up to the next one that begins with `end`."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    begin = re.search(rf"^{re.escape(start)}", text, re.MULTILINE).start()
    return text[begin:begin + re.search(rf"^{re.escape(end)}", text[begin:], re.MULTILINE).start()]


def linked(text, folder, srcdir):
    """The text with its links to files of the repository, which are relative to `folder`, made links of the site."""

    def link(match):
        path = (folder / match["to"]).resolve()
        if not path.exists() or not path.is_relative_to(ROOT):
            return match.group()
        return target(match["text"], path.relative_to(ROOT))

    def target(label, path):
        plain = label.strip("`")
        if path.suffix == ".py" and path.parts[0] in ("autograd", "tinyddpm"):
            parts = path.with_suffix("").parts
            return f"{{py:mod}}`{plain} <{'.'.join(parts[:-1] if parts[-1] == '__init__' else parts)}>`"
        if path.suffix == ".py" and path.parts[0] == "examples":
            return f"{{doc}}`{plain} </auto_examples/{path.stem}>`"
        if path.parts[0] == "docs" and path.suffix == ".md":
            return f"{{doc}}`{plain} </{path.relative_to('docs').with_suffix('')}>`"
        if (ROOT / path).is_dir():
            return label
        return f"{{download}}`{plain} </{'../' if path.parts[0] != 'docs' else ''}{path if path.parts[0] != 'docs' else path.relative_to('docs')}>`"

    return LINK.sub(link, text)


def for_site(app, docname, source):
    path = Path(app.env.doc2path(docname))
    if path.suffix != ".md":
        return
    srcdir = Path(app.srcdir)
    text = linked(source[0], path.parent, srcdir)
    text = PART.sub(lambda m: linked(readme(m[1], m[2]), ROOT, srcdir).replace("](docs/", "](/"), text)
    source[0] = FUNCTION.sub(r"{py:obj}`\2 <\1.\2>`", text)
    if PART.search(source[0]) is None and "README" in source[0]:
        app.env.note_dependency(str(ROOT / "README.md"), docname=docname)


def setup(app):
    app.connect("source-read", for_site)
    return {"parallel_read_safe": True}
