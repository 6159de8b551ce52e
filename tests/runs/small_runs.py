"""What tests of runs share: tiny configurations, a run's record without its clock, and harm."""

import contextlib
import json
import resource

import numpy as np
import pytest
from few_digits import FEW

from tinyddpm import cli
from tinyddpm.nn import UNetConfig
from tinyddpm.runs import ema
from tinyddpm.runs.checkpoint import CheckpointError, load
from tinyddpm.runs.config import Config
from tinyddpm.runs.folder import BEST, CHECKPOINT, METRICS

# The smallest network that has every kind of layer, and the smallest that there is.
WHOLE = UNetConfig(base=4, groups=2, blocks=1)
LEAST = UNetConfig(base=4, levels=(1,), attention=(), groups=2, blocks=1)
TINY = Config(
    data=FEW, T=12, batch_size=8, beta=0.5, warmup=2, every=2, steps=4, shards=2, unet=WHOLE
)

# A checkpoint's configuration and arrays, as few as may be.
LEAST_CONFIG = Config(unet=UNetConfig(base=2, levels=(1,), groups=1, blocks=1))
ARRAYS = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.float32([-0.5])}


def later(rows, *further):
    """The rows of a table; those with these numbers are for `make prove`."""
    prove = pytest.mark.prove
    return [pytest.param(row, marks=[prove] * (i in further)) for i, row in enumerate(rows)]


def records(folder):
    """The lines of metrics.jsonl without wall-clock fields. Each must be whole."""
    lines = (folder / METRICS).read_text().splitlines(keepends=True)
    assert all(line.endswith("\n") for line in lines)
    return [
        {name: value for name, value in json.loads(line).items() if name != "seconds"}
        for line in lines
    ]


def assert_same_run(folder, unbroken):
    """The same metrics but for the clock, and every byte of the last checkpoint and of the best."""
    assert records(folder) == records(unbroken)
    for name in (CHECKPOINT, BEST):
        assert (folder / name).read_bytes() == (unbroken / name).read_bytes(), name


def at_step(monkeypatch, number, act):
    """Do something at the end of a step of the next run, once."""
    update = ema.update

    def acting(average, theta, decay, k):
        update(average, theta, decay, k)
        if k == number:
            monkeypatch.setattr(ema, "update", update)
            act()

    monkeypatch.setattr(ema, "update", acting)


def damage(path):
    """Flip one bit of the numbers in a checkpoint."""
    content = bytearray(path.read_bytes())
    content[-3] ^= 16
    path.write_bytes(content)


@contextlib.contextmanager
def limited(size):
    """No file may grow beyond `size` bytes: what a full disk looks like to a program.

    Only the soft limit is lowered, so it can be raised again.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def assert_refused(arguments, problem, place, capsys):
    """The line that it says: with `problem`, exit status 2, no new file in the folder `place`."""
    before = {p.name for p in place.iterdir()}
    assert cli.main(arguments) == 2
    said = capsys.readouterr()
    assert problem in said.err, said.err
    assert said.err.startswith("tinyddpm: ") and said.err.count("\n") == 1, said.err
    assert len(said.err) < 9000 and not said.out
    assert {p.name for p in place.iterdir()} == before
    return said.err


def assert_unreadable(path, *words):
    """`load` raises one line that names the file and has all the words."""
    with pytest.raises(CheckpointError) as caught:
        load(path)
    said = str(caught.value)
    assert all(word in said for word in (str(path), *words)) and "\n" not in said, said
