"""The examples as pages: copies for sphinx-gallery to run, and the order of what a page shows.

The examples are plain programs, with nothing in them for the site. sphinx-gallery wants a docstring
in reStructuredText that begins with a title, and `# %%` where a section begins: `stage` writes
copies that have them. They run where the copies lie and save their pictures there, and
`saved_pictures` takes those. Then `rearranged` moves the picture and what the program printed to
the top of the page.

The short ones run in full. The long ones run with `--quick`, and say so on their page, unless the
site is built in full (make docs FULL=1).
"""

import ast
import re
import shutil
from pathlib import Path

from docstrings import ROOT, rest

import tinyddpm

STAGE = ROOT / "docs/_build/examples"
RUN = ROOT / "runs/digits_classes"
# The others take 12 seconds at most.
QUICK_UNLESS_FULL = ("05", "06", "07", "08", "09", "10", "11", "14", "15")
FULL = False  # conf.py says
SECTION = re.compile(r"^# ---- (.*?) -{4,}$", re.MULTILINE)
NOTE = """\
.. note::
   This page is a run with ``--quick``: it takes seconds, and its picture is rough.
   {}

"""
WITH_A_RUN = (
    "With a trained run, ``make docs FULL=1`` shows more; :doc:`/samplers` has its pictures."
)
IN_FULL = "``make docs FULL=1`` runs it in full; :doc:`/learn/lecture` says what that finds."
HEADER = """\
The examples
============

One question each. Each is a program that runs as it stands, says in words what it found, and
leaves a picture. Read them in this order, and run those that you doubt, for example
``python examples/01_autodiff.py``. :doc:`/learn/lecture` has what each finds, in a line.
"""


def arguments(name, full):
    """The command line of the example for the site."""
    if name.startswith("09") and full:  # shows more with a trained run
        return [str(RUN)] if (RUN / "best.safetensors").exists() else ["--quick"]
    return ["--quick"] if name.startswith(QUICK_UNLESS_FULL) and not full else []


def staged(path, full):
    """The text of the copy of an example that sphinx-gallery is given."""
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    question, text = titled(ast.get_docstring(tree))
    title = f"{int(path.name[:2])}. {question}"
    options = [option.replace(f"{ROOT}/", "") for option in arguments(path.name, full)]
    note = NOTE.format(WITH_A_RUN if path.name.startswith("09") else IN_FULL)
    command = " ".join(["python", f"examples/{path.name}", *options])

    head = f"{title}\n{underline('=', title)}\n\n{rest(text, tinyddpm)}\n"
    head += note if "--quick" in options else ""
    head += f"The output below is that of ``{command}``.\n"
    code = "".join(source.splitlines(keepends=True)[tree.body[0].end_lineno :])
    code = SECTION.sub(lambda m: f"# %%\n# {m[1]}\n# {underline('-', m[1])}", code)
    return f'r"""\n{head}"""\n{code}'


def titled(docstring):
    """The first sentence, which is the question, and the rest."""
    question, text = re.match(r"(.+?[?.])(?: |\n|$)(.*)$", docstring, re.DOTALL).groups()
    return " ".join(question.rstrip(".").split()), text


def underline(mark, title):
    return 2 * len(title) * mark  # some letters are two columns wide


def stage(full):
    """Write the copies, and remove what runs left there. An unchanged copy does not run again."""
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


def command_line(gallery_conf, script_vars):
    """What an example finds in sys.argv, and in `__doc__`, which sphinx-gallery leaves empty."""
    name = Path(script_vars["src_file"]).name
    source = (ROOT / "examples" / name).read_text(encoding="utf-8")
    script_vars["example_globals"]["__doc__"] = ast.get_docstring(ast.parse(source))
    return arguments(name, FULL)


def saved_pictures(block, block_vars, gallery_conf):
    """The pictures that an example has saved where it runs: sphinx-gallery's image scraper."""
    out = []
    for picture in sorted(STAGE.glob("*.png"), key=lambda path: path.stat().st_mtime):
        path = Path(next(block_vars["image_path_iterator"]))
        shutil.move(picture, path)
        out += [
            f".. figure:: /{path.relative_to(gallery_conf['src_dir']).as_posix()}",
            f"   :alt: the picture {picture.name} that this example saves",
            f"   :target: ../_images/{path.name}",
            "   :class: found\n",
        ]
    return "\n".join(out)


def definitions_again(gallery_conf, fname):
    """Each example starts with the definitions, and enables faster code itself if it wants it."""
    from tinyddpm import fast

    fast.disable()


FIGURE = re.compile(r"^\.\. figure:: /auto_examples.*?\n(?=\n)", re.MULTILINE | re.DOTALL)
PRINTED = re.compile(
    r"^\.\. rst-class:: sphx-glr-script-out\n\n \.\. code-block:: none\n\n(?:    .*\n|\n)+",
    re.MULTILINE,
)
# A note that says where to find the downloads, and a zip file of a single program.
DOWNLOADS = re.compile(
    r"^\.\. only:: html\n\n    \.\. note::\n        :class: sphx-glr-download-link-note\n"
    r"(?:     .*\n|\n)+"
    r"|^    \.\. container:: sphx-glr-download sphx-glr-download-zip\n\n.*\n",
    re.MULTILINE,
)
PARTS = """\
{}

What it finds
-------------

{}
The program
-----------

"""


def rearranged(app, docname, source):
    """The question, the picture, what was found, and then the code."""
    if not re.match(r"auto_examples/\d", docname):
        return
    text = source[0]
    top = PARTS.format("\n".join(FIGURE.findall(text)), "".join(PRINTED.findall(text)))
    for pattern in (FIGURE, PRINTED, DOWNLOADS):
        text = pattern.sub("", text)
    text = re.sub(r"^\|\n", "", text, flags=re.MULTILINE)
    head = text.index("The output below is that of")
    code = text.index(".. GENERATED FROM PYTHON SOURCE LINES", head)
    source[0] = f"{text[:code]}{top}\n{text[code:]}"


def originals(app):
    """What a page offers for download is the example itself."""
    for path in (ROOT / "examples").glob("*.py"):
        shutil.copy(path, Path(app.srcdir) / "auto_examples" / path.name)


def setup(app):
    app.connect("source-read", rearranged)
    # sphinx-gallery has its own copies ready then.
    app.connect("builder-inited", originals, priority=900)
    return {"parallel_read_safe": True}
