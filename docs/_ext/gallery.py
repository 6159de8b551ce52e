"""The examples as pages: copies for sphinx-gallery to run, the picture that each saves, and the order of what a page shows.

The examples are plain programs, and nothing in them is there for the site. So what sphinx-gallery wants is put into copies of them (`stage`):
a docstring in reStructuredText that begins with a title, and `# %%` where a section begins. They run where the copies lie, save their pictures
there, and `PictureScraper` takes those. At last `rearranged` brings the picture and what the program printed to the top of the page.

The short ones run in full. The long ones run with `--quick`, and say so on their page, unless the site is built in full (make docs FULL=1).
"""
import ast
import re
import shutil
from pathlib import Path

from docstrings import linker, rest

import tinyddpm

ROOT = Path(__file__).parents[2]
STAGE = ROOT / "docs/_build/examples"
RUN = ROOT / "runs/digits_classes"
QUICK_UNLESS_FULL = ("05", "06", "07", "08", "09", "10", "11", "14")  # the others take 12 seconds at most
FULL = False  # conf.py says
SECTION = re.compile(r"^# ---- (.*?) -{4,}$", re.MULTILINE)


def arguments(name, full):
    """The command line of the example for the site."""
    if name.startswith("09"):  # needs a trained model: with one it shows that, without one what it does without
        return [str(RUN)] if full and (RUN / "best.safetensors").exists() else ["--quick"]
    return ["--quick"] if name.startswith(QUICK_UNLESS_FULL) and not full else []


def staged(path, full):
    """The text of the copy of an example that sphinx-gallery is given."""
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    docstring = ast.get_docstring(tree)
    code = "".join(source.splitlines(keepends=True)[tree.body[0].end_lineno:])
    title, text = titled(docstring)
    command = " ".join(["python", f"examples/{path.name}", *(str(a).replace(f"{ROOT}/", "") for a in arguments(path.name, full))])
    note = ("\n.. note::\n   This page is a run with ``--quick``: it takes seconds, its picture is rough, and what it finds is found only half."
            + ("\n   With a trained run, ``make docs FULL=1`` shows that instead; its pictures stand in :doc:`/samplers`, too." if path.name.startswith("09") else
               "\n   ``make docs FULL=1`` builds it in full, and :doc:`/learn/lecture` says what is found then.") + "\n" if "--quick" in command else "")
    title = f"{int(path.name[:2])}. {title}"
    head = f"{title}\n{'=' * 2 * len(title)}\n\n{rest(text, linker(tinyddpm))}{note}\nThe output below is that of ``{command}``.\n"
    code = SECTION.sub(lambda m: f"# %%\n# {m[1]}\n# {'-' * 2 * len(m[1])}", code)
    return f'r"""\n{head}"""\n{code}'


def titled(docstring):
    """The first sentence, which is the question, and the rest."""
    question, text = re.match(r"(.+?[?.])(?: |\n|$)(.*)$", docstring, re.DOTALL).groups()
    return question.rstrip("."), text


def stage(full):
    """Write the copies, and take away what was left there by runs. A copy that has not changed sphinx-gallery does not run again."""
    global FULL
    FULL = full
    STAGE.mkdir(parents=True, exist_ok=True)
    for left in STAGE.iterdir():
        if left.is_dir():
            shutil.rmtree(left)
        elif left.suffix == ".png":
            left.unlink()
    for path in sorted((ROOT / "examples").glob("*.py")):
        (STAGE / path.name).write_text(staged(path, full), encoding="utf-8")
    (STAGE / "GALLERY_HEADER.rst").write_text(HEADER, encoding="utf-8")


HEADER = """\
The examples
============

One question each. Each is a program that runs as it stands, says in words what it found, and leaves a picture. Read them in this order,
and run those that you doubt: ``python examples/01_autodiff.py``. :doc:`/learn/lecture` has what each finds, in a line.
"""


def command_line(gallery_conf, script_vars):
    """What an example finds in sys.argv: sphinx-gallery's `reset_argv`. And in `__doc__`, which sphinx-gallery leaves empty."""
    name = Path(script_vars["src_file"]).name
    script_vars["example_globals"]["__doc__"] = ast.get_docstring(ast.parse((ROOT / "examples" / name).read_text(encoding="utf-8")))
    return arguments(name, FULL)


def saved_pictures(block, block_vars, gallery_conf):
    """The pictures that an example has saved where it runs: an image scraper of sphinx-gallery."""
    out = []
    for picture in sorted(STAGE.glob("*.png"), key=lambda path: path.stat().st_mtime):
        path = Path(next(block_vars["image_path_iterator"]))
        shutil.move(picture, path)
        address = path.relative_to(gallery_conf["src_dir"]).as_posix()
        out.append(f".. figure:: /{address}\n   :alt: the picture {picture.name} that this example saves\n   :target: ../_images/{path.name}\n   :class: found\n")
    return "\n".join(out)


def definitions_again(gallery_conf, fname):
    """Each example starts with the definitions, and enables faster code itself if it wants it."""
    from tinyddpm import fast

    fast.disable()


FIGURE = re.compile(r"^\.\. figure:: /auto_examples.*?\n(?=\n)", re.MULTILINE | re.DOTALL)
DOWNLOADS = re.compile(r"^\.\. only:: html\n\n    \.\. note::\n        :class: sphx-glr-download-link-note\n(?:     .*\n|\n)+"
                       r"|^    \.\. container:: sphx-glr-download sphx-glr-download-zip\n\n.*\n", re.MULTILINE)  # the first says where to find the others; the second packs one file
PRINTED = re.compile(r"^\.\. rst-class:: sphx-glr-script-out\n\n \.\. code-block:: none\n\n(?:    .*\n|\n)+", re.MULTILINE)


def rearranged(app, docname, source):
    """The question, the picture, what was found, and then the code."""
    if not re.match(r"auto_examples/\d", docname):
        return
    text = source[0]
    pictures, printed = FIGURE.findall(text), PRINTED.findall(text)
    text = re.sub(r"^\|\n", "", DOWNLOADS.sub("", PRINTED.sub("", FIGURE.sub("", text))), flags=re.MULTILINE)
    found = "".join(printed)
    top = "\n".join([*pictures, "", "What it finds", "-------------", "", found, "", "The program", "-----------", ""])
    code = text.index(".. GENERATED FROM PYTHON SOURCE LINES", text.index("The output below is that of"))
    source[0] = f"{text[:code]}{top}\n{text[code:]}"


def originals(app):
    """What a page offers for download is the example itself."""
    for path in (ROOT / "examples").glob("*.py"):
        shutil.copy(path, Path(app.srcdir) / "auto_examples" / path.name)


def setup(app):
    app.connect("source-read", rearranged)
    app.connect("builder-inited", originals, priority=900)  # sphinx-gallery has its own copies ready then
    return {"parallel_read_safe": True}
