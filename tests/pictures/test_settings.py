"""Figures look the same whatever matplotlib is told by its environment, its files or a program."""

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import every_figure
import matplotlib
import pytest
from every_figure import FIGURES

import autograd
import tinyddpm
from tinyddpm.pictures.settings import own_settings

# Each of these breaks a picture, or changes it.
RC = {
    "text.usetex": True,
    "font.size": 30,
    "savefig.bbox": "tight",
    "savefig.dpi": 300,
    "figure.facecolor": "black",
    "figure.autolayout": True,
    "lines.linewidth": 9,
    "axes.grid": True,
    "axes.unicode_minus": False,
    "path.sketch": (2, 100, 2),
    "savefig.transparent": True,
}
SAYS_ITS_BACKEND = """
import os, tinyddpm.pictures, matplotlib
print(os.environ.get("MPLBACKEND"), dict.__getitem__(matplotlib.rcParams, "backend"))
"""


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The bytes of every figure, drawn with matplotlib's own settings."""
    folder = tmp_path_factory.mktemp("plain")
    for name, draw in FIGURES.items():
        draw(folder / f"{name}.png")
    return {name: (folder / f"{name}.png").read_bytes() for name in FIGURES}


@pytest.mark.parametrize("name", FIGURES)
def test_a_program_s_settings_reach_no_figure_and_stay_as_they_are(name, plain, tmp_path):
    with matplotlib.rc_context(RC):
        before = dict(matplotlib.rcParams)
        FIGURES[name](tmp_path / "set.png")
        assert dict(matplotlib.rcParams) == before
    assert (tmp_path / "set.png").read_bytes() == plain[name]


def test_the_figures_tried_are_all_that_there_are():
    places = [Path(tinyddpm.__file__).parent, Path(autograd.__file__).parent]
    made = [
        re.findall(r"\bFigure\(", f.read_text("utf-8")) for p in places for f in p.rglob("*.py")
    ]
    assert sum(map(len, made)) == len(FIGURES)


def test_neither_a_backend_nor_a_matplotlibrc_reaches_a_figure(plain, tmp_path):
    lines = [f"{key}: {str(value).strip('()')}" for key, value in RC.items()]
    rc = "\n".join([*lines, "backend: nothing", "no_such_key: 1"])
    (tmp_path / "matplotlibrc").write_text(rc, "utf-8")
    environment = os.environ | {"MPLBACKEND": "module://nobody.has.this"}
    command = [sys.executable, "-W", "error", every_figure.__file__, "."]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {name: (tmp_path / f"{name}.png").read_bytes() for name in FIGURES} == plain


@pytest.mark.parametrize(
    "backend, said",
    [("svg", "svg svg"), ("no such backend", "no such backend <object"), (None, "None ")],
)
def test_a_notebook_keeps_its_own_backend(backend, said):
    """The variable is as it was, and so is what matplotlib makes of it, if it knows the name."""
    environment = {key: value for key, value in os.environ.items() if key != "MPLBACKEND"}
    environment |= {"MPLBACKEND": backend} if backend else {}
    command = [sys.executable, "-c", SAYS_ITS_BACKEND]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.stdout.startswith(said), done.stderr


def test_a_matplotlibrc_that_is_no_text_is_named(tmp_path):
    (tmp_path / "matplotlibrc").write_bytes(b"font.family: m\xfcller")
    command = [sys.executable, "-m", "tinyddpm", "sample", "digits", "--n", "1", "--steps", "1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and "matplotlibrc: expected a file in UTF-8" in done.stderr
    assert "Traceback" not in done.stderr


def test_threads_that_draw_at_once_leave_the_program_s_settings_as_they_were():
    """Unless they wait for each other, one restores what the other has set."""
    here, there, seen = threading.Event(), threading.Event(), []

    def draw():
        here.wait(5)
        with own_settings():
            seen.append(matplotlib.rcParams["font.size"])
            there.set()

    with matplotlib.rc_context({"font.size": 30}):
        second = threading.Thread(target=draw)
        second.start()
        with own_settings():
            here.set()
            assert not there.wait(0.1)
        second.join(5)
        assert seen == [10.0] and matplotlib.rcParams["font.size"] == 30
