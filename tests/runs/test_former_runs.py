"""Run folders of the former version ("tinyddpm 2") load, and go on as if made by this one.

The folders in former/ were made by that version: 60 steps on the digits, one with classes. Their
checkpoints call the EMA "average.<name>", and two options had other names.
"""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from small_runs import records

from tinyddpm import cli
from tinyddpm.runs import checkpoint, config as configuration
from tinyddpm.runs.folder import BEST, CHECKPOINT, CONFIG
from tinyddpm.runs.opening import Run
from tinyddpm.runs.training import run

FORMER = Path(__file__).parent / "former"
STEPS = 80


@pytest.fixture(params=["small", "small_classes"])
def former(request):
    return FORMER / request.param


@pytest.fixture
def copy(former, tmp_path):
    return shutil.copytree(former, tmp_path / "run")


def metadata(path):
    with safe_open(path, framework="numpy") as file:
        return json.loads(file.metadata()[checkpoint.KEY]), set(file.keys())


def test_the_files_are_of_the_former_version(former):
    content, names = metadata(former / CHECKPOINT)
    assert content["format"] == checkpoint.FORMER and {"average", "told_t"} <= set(
        content["config"]
    )
    assert any(name.startswith("average.") for name in names)
    assert "average = 0.995" in (former / CONFIG).read_text()


@pytest.mark.parametrize("name", [CHECKPOINT, BEST])
def test_a_checkpoint_loads_with_every_number_under_its_new_name(former, name):
    saved, (content, names) = checkpoint.load(former / name), metadata(former / name)
    assert saved.step == content["step"] and saved.state == content["state"]
    assert saved.config.ema_decay == 0.995 and saved.config.unet.time_conditioning
    assert saved.config == configuration.from_dict(configuration.read(former / CONFIG))
    with safe_open(former / name, framework="numpy") as file:
        for part, arrays in (("theta", saved.theta), ("average", saved.ema)):
            assert {f"{part}.{n}" for n in arrays} == {n for n in names if n.startswith(part)}
            for n, array in arrays.items():
                np.testing.assert_array_equal(array, file.get_tensor(f"{part}.{n}"))


def test_a_changed_number_is_noticed(copy):
    content = bytearray((copy / CHECKPOINT).read_bytes())
    content[-3] ^= 1
    (copy / CHECKPOINT).write_bytes(content)
    with pytest.raises(checkpoint.CheckpointError, match="its checksum does not match"):
        checkpoint.load(copy / CHECKPOINT)


def test_info_and_sample(copy, capsys, tmp_path):
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    assert cli.main(["info", str(copy)]) == 0
    said = capsys.readouterr().out
    assert f"step {Run(copy).step}," in said
    assert "ema_decay = 0.995" in said and "time_conditioning = true" in said
    out = tmp_path / "x.npz"
    assert cli.main(["sample", str(copy), "--n", "3", "--steps", "2", "--out", str(out)]) == 0
    with np.load(out) as arrays:
        assert arrays["images"].shape == (3, 1, 8, 8) and np.isfinite(arrays["images"]).all()
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before


@pytest.mark.parametrize(
    "former", ["small_classes", pytest.param("small", marks=pytest.mark.prove)], indirect=True
)
def test_it_is_resumed_as_if_this_version_had_made_it(copy, former, tmp_path):
    """J of every step is that of an unbroken run, bit for bit.

    On another kind of processor the last digits of the stored 60 steps may be others already. Then
    those of the next ones are, too.
    """
    options = ["--resume", "--steps", str(STEPS), "--no-pictures"]
    assert cli.main(["train", "--out", str(copy), *options]) == 0
    config = configuration.from_dict(configuration.read(former / CONFIG))
    run(dataclasses.replace(config, steps=STEPS), tmp_path / "new")

    resumed, unbroken, stored = (records(folder) for folder in (copy, tmp_path / "new", former))
    assert resumed[: len(stored)] == stored
    assert [r["k"] for r in resumed if "J" in r] == list(range(1, STEPS + 1))
    if unbroken[: len(stored)] == stored:
        assert resumed == unbroken
    for a, b in zip(resumed, unbroken, strict=True):
        assert a["k"] == b["k"] and a.keys() == b.keys()
        np.testing.assert_allclose(a.get("J", 0), b.get("J", 0), rtol=1e-4)

    for name in (CHECKPOINT, BEST):
        content, names = metadata(copy / name)
        assert content["format"] == checkpoint.FORMAT
        assert not any(name.startswith("average.") for name in names)
    written = (copy / CONFIG).read_text()
    assert "ema_decay = 0.995" in written and "average" not in written and "told_t" not in written
