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
        command = command.replace(".venv/bin/tinyddpm", f"{sys.executable} -c 'import sys; from tinyddpm.app.cli import main; sys.exit(main())'").replace(".venv/bin/python", sys.executable)
        if "-m pytest" in command:
            command = f"cd {ROOT} && {command}"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")} | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
        result = subprocess.run(command, shell=True, cwd=self.folder, env=environment, capture_output=True, text=True)
        self.said[command] = (result.returncode, result.stdout + result.stderr)


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


def test_every_command_does_what_it_is_there_for(shell):
    for command, (status, said) in shell.said.items():
        if "-m pytest" in command:
            assert status == 0 or "pytest -m gpu: device cuda" in said, said
        else:
            assert status == 0, said
    assert len(shell.said) == 4


def test_the_pictures_are_there(shell):
    for name in ("drawn", "loss"):
        assert Image.open(shell.folder / "runs" / "notebook" / f"{name}.png").width > 50


def test_what_is_installed_exists(shell):
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    asked = [extra for command in shell.skipped for found in re.findall(r"\.\[(.*?)\]", command) for extra in found.split(",")]
    assert {"test", "cuda12"} <= set(asked) <= extras.keys()


def test_no_outputs_are_kept():
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in NOTEBOOK["cells"])
