"""A run that is killed and resumed is bit for bit the run that was never killed.

Each kill is a SIGKILL of a real process: after a random time; at a random one of the moments at
which it opens, renames, links or removes a file of the run folder; or half way through the writing
of a checkpoint.
"""

import json
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tinyddpm import data
from tinyddpm.runs.checkpoint import load
from tinyddpm.runs.folder import BEST, CHECKPOINT, METRICS, RunFolder

STEPS, EVERY = 60, 2
TRAIN = f"""
import os, random, signal, sys
from tinyddpm.runs import checkpoint, training
from tinyddpm.runs.config import Config
from tinyddpm.nn import UNetConfig

folder, images, kind, number = *sys.argv[1:4], int(sys.argv[4])
unet = UNetConfig(
    base=4, levels=(1,), attention=(), middle_attention=False, groups=2, blocks=1, dropout=0.1
)
config = Config(
    data=images, T=20, batch_size=4, beta=1.0, ema_decay=0.3, warmup=3, patience=0,
    split="every_sixth",
    workers=1, shards=2, keep=3, every={EVERY}, steps={STEPS}, unet=unet,
)
events = "open", "os.rename", "os.link", "os.remove", "os.truncate"
moments, written = 0, 0

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def note(event, args):
    global moments
    if event in events and str(args[0]).startswith(folder):
        moments += 1
        if kind == "moment" and moments == number:
            die()

def torn(tensors, path, metadata, save=checkpoint.save_file):
    global written
    written += 1
    save(tensors, path, metadata)
    if kind == "torn" and written == number:
        os.truncate(path, random.Random(number).randrange(os.path.getsize(path)))
        die()

sys.addaudithook(note)
checkpoint.save_file = torn
print("ready", flush=True)
training.run(config, folder, resume="if there")
print(moments, flush=True)
"""


def train(folder, images, kind="", number=0):
    """Train in a process of its own, which is killed as `kind` and `number` say.

    Returns its exit status and what it printed last.
    """
    command = [sys.executable, "-c", TRAIN, folder, images, kind, str(number)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:
        if kind == "time":
            process.stdout.readline()
            time.sleep(number / 1000)
            process.kill()
        out, err = process.communicate(timeout=120)
    assert process.returncode in (0, -signal.SIGKILL), err
    return process.returncode, out.splitlines()[-1] if out else ""


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "digits.npy"
    np.save(path, data.digits().images[:18, 0, ::2, ::2])
    return str(path)


@pytest.fixture(scope="module")
def unbroken(images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    assert train(str(folder), images)[0] == 0
    return folder


def records(folder):
    """The lines of the metrics without wall-clock fields. Raises if one is not whole."""
    text = (folder / METRICS).read_text()
    assert not text or text.endswith("\n")
    return [
        {name: v for name, v in json.loads(line).items() if name != "seconds"}
        for line in text.splitlines()
    ]


def survives(kills, folder, unbroken, images):
    """Kill a run in all these ways, one after another, then let it finish, and compare."""
    step = 0
    for kind, number in kills:
        status, _ = train(str(folder), images, kind, number)
        assert status == -signal.SIGKILL, f"done before it could be killed: {kind} {number}"
        found = RunFolder(folder).newest()
        assert found is None and step == 0 or found.checkpoint.step >= step and not found.damaged
        step = found.checkpoint.step if found else 0
        if (folder / METRICS).exists():
            assert {r["k"] for r in records(folder) if "J" in r} >= set(range(1, step + 1))
    assert train(str(folder), images)[0] == 0
    assert records(folder) == records(unbroken)
    assert [r["k"] for r in records(folder) if "J" in r] == list(range(1, STEPS + 1))
    files = {p.name: p.read_bytes() for p in folder.glob("*.safetensors")}
    # θ, its EMA, the progress, the step: every byte.
    assert files == {p.name: p.read_bytes() for p in unbroken.glob("*.safetensors")}
    earlier = {f"checkpoint-{STEPS - back * EVERY:06d}.safetensors" for back in (1, 2)}
    assert files.keys() == {CHECKPOINT, BEST} | earlier
    assert not list(folder.glob("*.writing"))
    # Earlier or later, it would not show if the progress were forgotten.
    assert 10 < load(folder / BEST).step < STEPS - 10


def draw_kills(draw, n):
    """n kinds of kill, each with its number; half as many torn checkpoints as of the others."""
    below = {"time": (0, 400), "moment": (1, 60), "torn": (1, 5)}
    kills = []
    for _ in range(n):
        kind = draw.choice(["time", "time", "moment", "moment", "torn"])
        kills.append((kind, draw.randrange(*below[kind])))
    return kills


def test_five_kills(images, unbroken, tmp_path):
    kills = [("moment", 7), ("torn", 2), ("moment", 150), ("moment", 29), ("time", 60)]
    survives(kills, tmp_path / "run", unbroken, images)


@pytest.mark.prove
@pytest.mark.parametrize("chain", range(10))
def test_fifty_kills_at_random(images, unbroken, tmp_path, chain):
    survives(draw_kills(random.Random(chain), 5), tmp_path / "run", unbroken, images)


@pytest.mark.prove
@pytest.mark.parametrize("first", range(1, 61, 5))
def test_a_kill_at_every_moment_of_the_first_three_checkpoints(images, unbroken, tmp_path, first):
    """And at each moment of going on from what the kill before left."""
    kills = [("moment", number) for number in range(first, first + 5)]
    survives(kills, tmp_path / "run", unbroken, images)
