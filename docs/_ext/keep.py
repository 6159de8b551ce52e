"""Run examples in full and keep what they printed and drew. The site shows that.

    python docs/_ext/keep.py 05 07     # these two: make keep EXAMPLES="05 07"
    python docs/_ext/keep.py           # those whose code has changed since: make keep

docs/kept/05/ then holds output.txt, the pictures (of 256 colours, so that they are small), and
`code`, a hash of the example's lines. A test fails while that is not the present one. What changes
in tinyddpm itself, it does not see.
"""

import ast
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "docs/kept"
ARGUMENTS = {"09": ["digits"]}  # a model that ships


def examples():
    """The programs, in the order of their numbers."""
    return sorted((ROOT / "examples").glob("[0-9][0-9]_*.py"))


def folder(path):
    """Where the output of an example is kept: docs/kept/05."""
    return KEPT / path.name[:2]


def command(path):
    """What to type to see the same: python examples/09_samplers.py digits."""
    return shlex.join(["python", f"examples/{path.name}", *ARGUMENTS.get(path.name[:2], [])])


def code(path):
    """A hash of what an example does: of its lines, without docstring, comments and blank lines."""
    source = path.read_text(encoding="utf-8")
    lines = source.splitlines()[ast.parse(source).body[0].end_lineno :]
    said = [line.rstrip() for line in lines if line.strip() and line.lstrip()[0] != "#"]
    return hashlib.sha256("\n".join(said).encode()).hexdigest()[:16]


def up_to_date(path):
    """Was the kept output made by the present code?"""
    made_by = folder(path) / "code"
    return made_by.exists() and made_by.read_text(encoding="utf-8").strip() == code(path)


def pictures(path):
    """The kept pictures of an example, in the order in which it names them."""
    source = path.read_text(encoding="utf-8")
    return sorted(folder(path).glob("*.png"), key=lambda picture: source.find(picture.name))


def keep(path):
    """Run an example in full, and put what it leaves in place of what is kept."""
    made_by = code(path)  # before it runs: somebody may edit it meanwhile
    with tempfile.TemporaryDirectory() as here:
        here = Path(here)
        run = [sys.executable, str(path), *ARGUMENTS.get(path.name[:2], [])]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
        done = subprocess.run(run, cwd=here, env=environment, stdout=subprocess.PIPE, check=True)
        shutil.rmtree(folder(path), ignore_errors=True)
        folder(path).mkdir(parents=True)
        for picture in here.glob("*.png"):
            few_colours(picture, folder(path) / picture.name)
    (folder(path) / "output.txt").write_bytes(done.stdout)
    (folder(path) / "code").write_text(made_by + "\n")


def few_colours(picture, smaller):
    """A copy of a picture with 256 colours: no eye sees it, and it takes half the bytes."""
    with Image.open(picture) as image:
        image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(smaller, optimize=True)


def main(numbers):
    chosen = [path for path in examples() if path.name[:2] in numbers]
    if len(chosen) != len(set(numbers)):
        there = ", ".join(path.name[:2] for path in examples())
        raise SystemExit(f"keep: expected numbers of {there}, got {' '.join(numbers)}")
    for path in chosen if numbers else [path for path in examples() if not up_to_date(path)]:
        print(f"{command(path)} …", flush=True)
        start = time.monotonic()
        keep(path)
        print(f"   {time.monotonic() - start:.0f} s, kept in {folder(path).relative_to(ROOT)}")


if __name__ == "__main__":
    main(sys.argv[1:])
