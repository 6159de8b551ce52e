"""The cells of examples/gpu_colab.ipynb, executed in order, on a CPU and in a small setting.

Lines that begin with "!" are the shell's, with {variables} filled in, as a notebook does it. We do
not execute those that install or ask for the card. We do run `pytest -m gpu`, which must say what
is missing.
"""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = json.loads((ROOT / "examples" / "gpu_colab.ipynb").read_text(encoding="utf-8"))
SMALL = "--base 8 --levels 1 --attention= --blocks 1 --T 20 --batch-size 8 --workers 1"
SETTINGS = {"DEVICE": "cpu", "STEPS": 2, "OPTIONS": SMALL}
NOT_HERE = ("git clone", "pip install", "nvidia-smi")


COMMAND_LINE = "import sys; from tinyddpm.cli import main; sys.exit(main())"
HERE = {  # what stands for programs of the notebook's environment
    "python": sys.executable,
    "tinyddpm": f"{sys.executable} -c '{COMMAND_LINE}'",
}


def environment():
    """That of a fresh shell: nothing of this pytest, and this tree first."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    return clean | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}


class Shell:
    def __init__(self, folder):
        self.folder, self.skipped, self.said = folder, [], {}

    def __call__(self, command):
        if any(words in command for words in NOT_HERE):
            self.skipped.append(command)
            return
        command = re.sub(r"\.venv/bin/(\w+)", lambda m: HERE[m[1]], command)
        if "-m pytest" in command:
            command = f"cd {ROOT} && {command}"
        where = {"cwd": self.folder, "env": environment()}
        result = subprocess.run(command, shell=True, capture_output=True, text=True, **where)
        self.said[command] = said = result.stdout + result.stderr
        assert result.returncode == 0 or "pytest -m gpu: device cuda" in said, said


def as_python(source):
    """Lines of the shell as calls of `shell`."""
    call = lambda m: f"{m[1]}shell({m[2]!r}.format(**globals()))"
    return re.sub(r"^( *)!(.*)$", call, source, flags=re.MULTILINE)


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    """What the shell was asked for and said, once all cells are executed."""
    folder = tmp_path_factory.mktemp("notebook")
    (folder / "pyproject.toml").touch()
    shell, before = Shell(folder), Path.cwd()
    names = {"shell": shell}
    os.chdir(folder)
    try:
        for cell in NOTEBOOK["cells"]:
            if cell["cell_type"] == "code":
                exec(as_python("".join(cell["source"])), names)
                names |= {name: value for name, value in SETTINGS.items() if name in names}
    finally:
        os.chdir(before)
    assert SETTINGS.keys() <= names.keys()
    return shell


def test_every_command_was_there(shell):
    """`Shell` asserts that each ended well, or said what is missing."""
    commands = ["to_device", "pytest", " train ", " sample "]
    found = [words for command in shell.said for words in commands if words in command]
    assert found == commands


def test_the_pictures_are_there(shell):
    for name in ("drawn", "loss"):
        with Image.open(shell.folder / "runs" / "notebook" / f"{name}.png") as image:
            assert image.width > 50


def test_what_is_installed_exists(shell):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = set()
    for command in shell.skipped:
        for extras in re.findall(r"\.\[(.*?)\]", command):
            asked.update(extras.split(","))
    assert {"test", "cuda12"} <= asked <= project["optional-dependencies"].keys()


def test_no_outputs_are_kept():
    for cell in NOTEBOOK["cells"]:
        assert not cell.get("outputs") and cell.get("execution_count") is None
