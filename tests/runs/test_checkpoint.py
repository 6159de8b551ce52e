"""Checkpoints: what is saved is loaded again, and anything else is an error naming the file."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from tinyddpm.nn import UNetConfig
from tinyddpm.runs import checkpoint
from tinyddpm.runs.checkpoint import Checkpoint, CheckpointError, fill, load, save
from tinyddpm.runs.config import Config

CONFIG = Config(unet=UNetConfig(base=4, groups=2, blocks=1))


def some_checkpoint():
    theta, ema = (CONFIG.make_unet().initialise(seed).state() for seed in (1, 2))
    return Checkpoint(CONFIG, 7, theta, ema, {"progress": {"best": 0.25}})


def test_round_trip(tmp_path):
    before = some_checkpoint()
    save(tmp_path / "c.safetensors", before)
    after = load(tmp_path / "c.safetensors")
    assert (after.config, after.step, after.state) == (before.config, 7, before.state)
    for part in ("theta", "ema"):
        a, b = getattr(before, part), getattr(after, part)
        assert a.keys() == b.keys()
        assert all((a[n] == b[n]).all() and b[n].dtype == np.float32 for n in a)
    assert [p.name for p in tmp_path.iterdir()] == ["c.safetensors"]


def test_filling_a_network_reaches_its_theta(tmp_path):
    unet, found = CONFIG.make_unet().initialise(0), some_checkpoint()
    fill(unet, found.theta)
    assert (unet.theta == CONFIG.make_unet().initialise(1).theta).all()


@pytest.mark.parametrize(
    "name, value, problem",
    [
        ("first.weight", None, "is missing"),
        ("extra", np.zeros(4, np.float32), "is not of this network"),
        ("first.bias", np.zeros(5, np.float32), r"has shape \(5,\), expected \(4,\)"),
    ],
)
def test_a_network_takes_only_its_own_parameters(name, value, problem):
    unet, values = CONFIG.make_unet().initialise(0), dict(some_checkpoint().theta)
    before = unet.theta.copy()
    values[name] = value
    if value is None:
        del values[name]
    with pytest.raises(CheckpointError, match=f"c.safetensors: {name} {problem}"):
        fill(unet, values, "c.safetensors")
    assert (unet.theta == before).all()


def test_every_truncation_is_noticed(tmp_path):
    save(tmp_path / "c.safetensors", some_checkpoint())
    whole = (tmp_path / "c.safetensors").read_bytes()
    for size in [0, 1, 7, 8, 9, 100, len(whole) // 2, len(whole) - 1]:
        (tmp_path / "cut.safetensors").write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match="cut.safetensors"):
            load(tmp_path / "cut.safetensors")


def test_foreign_files_are_refused(tmp_path):
    expected = "expected a file of the format 'tinyddpm 3', got"
    save_file({"w": np.zeros(3)}, tmp_path / "foreign.safetensors")
    with pytest.raises(CheckpointError, match=f"foreign.safetensors: {expected} None"):
        load(tmp_path / "foreign.safetensors")
    first = {"format": "tinyddpm 1", "config": "{}", "step": "3"}
    save_file({"theta.w": np.zeros(3)}, tmp_path / "old.safetensors", first)
    with pytest.raises(CheckpointError, match=f"old.safetensors: {expected} 'tinyddpm 1'"):
        load(tmp_path / "old.safetensors")
    (tmp_path / "pickle").write_bytes(b"\x80\x04cos\nsystem\n(S'exit'\ntR.")
    with pytest.raises(CheckpointError, match="pickle: not a whole checkpoint"):
        load(tmp_path / "pickle")
    with pytest.raises(CheckpointError, match="there is no such file"):
        load(tmp_path / "absent")


def test_the_file_before_stays_whole_if_writing_fails(tmp_path, monkeypatch):
    save(tmp_path / "c.safetensors", some_checkpoint())
    before = (tmp_path / "c.safetensors").read_bytes()

    def broken(tensors, path, metadata):
        path.write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(checkpoint, "save_file", broken)
    with pytest.raises(OSError):
        save(tmp_path / "c.safetensors", some_checkpoint())
    assert (tmp_path / "c.safetensors").read_bytes() == before
