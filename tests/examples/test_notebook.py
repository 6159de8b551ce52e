"""The cells of examples/gpu_colab.ipynb, executed in order, on a CPU and in a small setting.

Lines that begin with "!" are the shell's, with {variables} filled in, as a notebook does it. Those that install or ask for the card
are not executed, only looked at; `pytest -m gpu` is, and must say what is missing.
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
SETTINGS = {"DEVICE": "cpu", "STEPS": 2, "OPTIONS": "--base 8 --T 20 --batch-size 8 --workers 1"}
NOT_HERE = ("git clone", "pip install", "nvidia-smi")


class Shell:
    def __init__(self, folder):
        self.folder, self.skipped, self.said = folder, [], {}

    def __call__(self, command):
        if any(words in command for words in NOT_HERE):
            self.skipped.append(command)
            return
        here = {"tinyddpm": f"{sys.executable} -c 'import sys; from tinyddpm.cli import main; sys.exit(main())'", "python": sys.executable}
        command = re.sub(r"\.venv/bin/(\w+)", lambda m: here[m[1]], command)
        if "-m pytest" in command:
            command = f"cd {ROOT} && {command}"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")} | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
        result = subprocess.run(command, shell=True, cwd=self.folder, env=environment, capture_output=True, text=True)
        self.said[command] = said = result.stdout + result.stderr
        assert result.returncode == 0 or "pytest -m gpu: device cuda" in said, said


def as_python(source):
    """Lines of the shell as calls of `shell`."""
    return re.sub(r"^( *)!(.*)$", lambda m: f"{m[1]}shell({m[2]!r}.format(**globals()))", source, flags=re.MULTILINE)


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
    """That each ended well, or said what is missing, is asserted as they go."""
    assert [words for command in shell.said for words in ("to_device", "pytest", " train ", " sample ") if words in command] == ["to_device", "pytest", " train ", " sample "]


def test_the_pictures_are_there(shell):
    for name in ("drawn", "loss"):
        with Image.open(shell.folder / "runs" / "notebook" / f"{name}.png") as image:
            assert image.width > 50


def test_what_is_installed_exists(shell):
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    asked = [extra for command in shell.skipped for found in re.findall(r"\.\[(.*?)\]", command) for extra in found.split(",")]
    assert {"test", "cuda12"} <= set(asked) <= extras.keys()


def test_no_outputs_are_kept():
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in NOTEBOOK["cells"])
