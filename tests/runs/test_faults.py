"""What goes wrong around a run: full disk, read-only or vanished folder, damaged checkpoints, a second process. No step is lost or done twice."""

import contextlib
import dataclasses
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from tinyddpm import cli, data
from tinyddpm.files import replacing
from tinyddpm.nn import UNetConfig
from tinyddpm.runs import checkpoint, ema
from tinyddpm.runs.config import Config
from tinyddpm.runs.folder import BEST, CHECKPOINT, CONFIG, LOCK, METRICS, InUse, Record, RunFolder
from tinyddpm.runs.opening import Run
from tinyddpm.runs.training import run


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "digits.npy"
    np.save(path, data.digits().images[:18, 0, ::2, ::2])
    path.parent.chmod(0o755)
    return Config(
        data=str(path),
        T=20,
        batch_size=4,
        beta=0.5,
        warmup=3,
        every=4,
        steps=22,
        patience=0,
        workers=1,
        shards=2,
        unet=UNetConfig(
            base=4,
            levels=(1,),
            attention=(),
            middle_attention=False,
            groups=2,
            blocks=1,
            dropout=0.1,
        ),
    )


@pytest.fixture(scope="module")
def unbroken(config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    run(config, folder)
    return folder


def records(folder):
    lines = (folder / METRICS).read_text().splitlines(keepends=True)
    assert all(line.endswith("\n") for line in lines)
    return [
        {name: v for name, v in json.loads(line).items() if name != "seconds"} for line in lines
    ]


def same(folder, unbroken):
    """Metrics but for the clock, and every byte of the last checkpoint and of the best."""
    assert records(folder) == records(unbroken)
    for name in (CHECKPOINT, BEST):
        assert (folder / name).read_bytes() == (unbroken / name).read_bytes(), name


def at_step(monkeypatch, number, act):
    """Do something at the end of a step of whatever run comes next, once."""

    def update(ema, theta, decay, k, update=ema.update):
        update(ema, theta, decay, k)
        if k == number:
            monkeypatch.setattr(ema, "update", update)
            act()

    monkeypatch.setattr(ema, "update", update)


# ---- what is kept --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "keep, steps", [(1, []), (2, [20]), (3, [20, 16]), (9, [20, 16, 12, 8, 4])]
)
def test_the_last_few_checkpoints_are_kept_and_the_best(config, unbroken, tmp_path, keep, steps):
    run(dataclasses.replace(config, keep=keep), tmp_path / "x")
    paths = RunFolder(tmp_path / "x").checkpoints()
    assert [p.name for p in paths] == [
        CHECKPOINT,
        *(f"checkpoint-{step:06d}.safetensors" for step in steps),
        BEST,
    ]
    assert [checkpoint.load(p).step for p in paths[:-1]] == [22, *steps]
    best = checkpoint.load(tmp_path / "x" / BEST)
    held_out = {r["k"]: r["held_out"] for r in records(unbroken) if "held_out" in r}
    assert held_out[best.step] == min(held_out.values()) == best.state["progress"]["best"]


def test_keep_may_change_when_a_run_is_resumed(config, unbroken, tmp_path):
    run(dataclasses.replace(config, steps=16, keep=4), tmp_path / "x")
    run(dataclasses.replace(config, keep=2), tmp_path / "x", resume=True)
    same_but_for_keep = [
        checkpoint.load(folder / CHECKPOINT).theta for folder in (tmp_path / "x", unbroken)
    ]
    assert all(
        (same_but_for_keep[0][n] == same_but_for_keep[1][n]).all() for n in same_but_for_keep[0]
    )
    assert len(RunFolder(tmp_path / "x").checkpoints()) == 3


# ---- damaged checkpoints -------------------------------------------------------------------------


def damage(path):
    content = bytearray(path.read_bytes())
    content[-3] ^= 16
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damaged, step",
    [
        ([CHECKPOINT], 8),
        ([CHECKPOINT, "checkpoint-000008.safetensors"], 4),
        ([CHECKPOINT, "checkpoint-000008.safetensors", "checkpoint-000004.safetensors"], None),
    ],
)
def test_resuming_falls_back_to_the_newest_whole_checkpoint_and_says_so(
    config, unbroken, tmp_path, capsys, damaged, step
):
    folder = tmp_path / "x"
    run(dataclasses.replace(config, steps=12), folder)
    step = step or checkpoint.load(folder / BEST).step
    for name in damaged:
        damage(folder / name)
    started = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            ema,
            "update",
            lambda a, theta, d, k, update=ema.update: (started.append(k), update(a, theta, d, k)),
        )
        run(config, folder, resume=True)
    assert started == list(range(step + 1, 23))
    same(folder, unbroken)
    said = capsys.readouterr().err
    for name in damaged:
        assert (
            f"{folder / name}: not a whole checkpoint: its checksum" in said
            and f"called {name}.damaged" in said
        )
        assert (folder / f"{name}.damaged").exists()
    assert f", step {step}" in said


def test_no_whole_checkpoint_is_an_error_and_nothing_is_overwritten(config, tmp_path):
    folder = tmp_path / "x"
    run(config, folder)
    for path in RunFolder(folder).checkpoints():
        damage(path)
    before = {p.name: p.read_bytes() for p in folder.iterdir() if p.name != LOCK}
    with pytest.raises(checkpoint.CheckpointError, match="holds no checkpoint that is whole"):
        run(config, folder, resume=True)
    assert {p.name: p.read_bytes() for p in folder.iterdir() if p.name != LOCK} == before


@pytest.mark.parametrize("harm", [damage, os.unlink])
def test_a_lost_best_is_taken_from_a_kept_checkpoint(config, tmp_path, harm):
    folder, config = tmp_path / "x", dataclasses.replace(config, steps=12, keep=9)
    run(config, folder)
    whole = (folder / BEST).read_bytes()
    for _ in range(2):  # a copy: what harms the one leaves the other
        harm(folder / BEST)
        run(config, folder, resume=True)
        assert (folder / BEST).read_bytes() == whole


def test_a_best_that_is_lost_for_good_is_told_and_the_next_takes_its_place(
    config, tmp_path, monkeypatch, capsys
):
    config, Js = (
        dataclasses.replace(config, keep=1, every=1, ema_decay=0.0),
        iter([0.5, 0.4, 0.3, 0.8, 0.7, 0.9]),
    )
    monkeypatch.setattr(
        training.Progress,
        "see",
        lambda self, J, step, see=training.Progress.see: see(self, next(Js), step),
    )
    run(dataclasses.replace(config, steps=4), tmp_path / "x")
    damage(tmp_path / "x" / BEST)
    run(dataclasses.replace(config, steps=6), tmp_path / "x", resume=True)
    assert (
        checkpoint.load(tmp_path / "x" / BEST).step == 5
        and f"{BEST} is not whole" in capsys.readouterr().err
    )


def test_sampling_from_a_damaged_best_names_what_to_use_instead(config, tmp_path):
    run(config, tmp_path / "x")
    damage(tmp_path / "x" / BEST)
    with pytest.raises(
        checkpoint.CheckpointError,
        match=f"{BEST}: not a whole .*; .*{CHECKPOINT} can be given instead",
    ):
        Run(tmp_path / "x")
    assert Run(tmp_path / "x" / CHECKPOINT).step == 22
    (tmp_path / "x" / BEST).unlink()
    assert Run(tmp_path / "x").step == 22


# ---- the disk ------------------------------------------------------------------------------------


@contextlib.contextmanager
def limited(size):
    """No file may grow beyond `size` bytes: what a full disk looks like to a program. Only the soft limit, which can be undone."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    "number, size, what",
    [(1, 50, METRICS), (3, 2000, BEST), (6, 450, METRICS), (7, 2000, "safetensors")],
)
def test_a_full_disk_stops_the_run_and_no_step_is_lost(
    config, unbroken, tmp_path, monkeypatch, number, size, what
):
    folder, before = tmp_path / "x", resource.getrlimit(resource.RLIMIT_FSIZE)
    at_step(
        monkeypatch, number, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    )
    try:
        with pytest.raises(OSError, match="File too large|No space left") as caught:
            run(config, folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert what in str(caught.value) and "The run stopped at step" in str(caught.value)
    assert (
        "the checkpoint of step 4 is whole" if number > 4 else "no checkpoint was written yet"
    ) in str(caught.value)
    records(folder)  # raises for half a line
    assert not list(folder.glob("*.writing"))
    run(config, folder, resume=True)
    same(folder, unbroken)


@pytest.mark.skipif(
    os.geteuid() != 0 or sys.platform != "linux", reason="only root can mount a file system"
)
@pytest.mark.parametrize("kib", [16, 64, 96])
def test_a_disk_that_is_really_full(config, unbroken, tmp_path, kib):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", disk], capture_output=True
    ).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        with pytest.raises(OSError, match="No space left on device"):
            run(dataclasses.replace(config, steps=400, keep=9), disk / "x")
        shutil.copytree(disk / "x", tmp_path / "x")
    finally:
        subprocess.run(["umount", disk], check=True)
    found = RunFolder(tmp_path / "x").newest()
    assert found is None or not found.damaged
    assert not list((tmp_path / "x").glob("*.writing"))
    if found is None or found.checkpoint.step <= 22:
        run(dataclasses.replace(config, keep=9), tmp_path / "x", resume=True)
        assert records(tmp_path / "x") == records(unbroken)


def test_a_line_is_written_whole_or_not_at_all(tmp_path):
    with (tmp_path / "m").open("ab", buffering=0) as file:
        record = Record(file)
        record({"k": 1})
        with limited(14), pytest.raises(OSError, match="m"):
            record({"k": 2})
        assert (tmp_path / "m").read_bytes() == b'{"k": 1}\n'
        record({"k": 3})
    assert (tmp_path / "m").read_bytes() == b'{"k": 1}\n{"k": 3}\n'


@contextlib.contextmanager
def unprivileged():
    """As a user whom permissions stop: root may write everywhere."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_read_only_folder_is_named_and_nothing_is_written(config, capsys):
    with tempfile.TemporaryDirectory() as place:  # tmp_path lies where only its owner may look
        folder = Path(place, "runs")
        folder.mkdir()
        np.save(Path(place, "x.npy"), np.load(config.data))
        Path(place).chmod(0o755), folder.chmod(0o555)
        with unprivileged():
            assert (
                cli.main(
                    [
                        "train",
                        "--out",
                        str(folder / "x"),
                        "--data",
                        f"{place}/x.npy",
                        "--levels",
                        "1",
                        "--workers",
                        "1",
                        "--no-pictures",
                    ]
                )
                == 2
            )
            assert (
                cli.main(
                    [
                        "train",
                        "--out",
                        str(folder),
                        "--data",
                        f"{place}/x.npy",
                        "--levels",
                        "1",
                        "--workers",
                        "1",
                        "--no-pictures",
                    ]
                )
                == 2
            )
        said = capsys.readouterr().err.splitlines()
        assert [
            line.startswith(f"tinyddpm: {folder}") and line.endswith("Permission denied")
            for line in said
        ] == [True, True], said
        assert not list(folder.iterdir())


def test_a_folder_that_turns_read_only_costs_no_step(config, unbroken, monkeypatch):
    with tempfile.TemporaryDirectory() as place:
        np.save(Path(place, "x.npy"), np.load(config.data))
        Path(place).chmod(0o777)
        config, folder = dataclasses.replace(config, data=f"{place}/x.npy"), Path(place, "x")
        with unprivileged():
            at_step(monkeypatch, 7, lambda: folder.chmod(0o555))
            with pytest.raises(
                OSError, match="Permission denied.*step 8; the checkpoint of step 4 is whole"
            ):
                run(config, folder)
            folder.chmod(0o755)
            run(config, folder, resume=True)
        assert records(folder) == records(unbroken)


def test_a_folder_that_vanishes_is_named(config, tmp_path, monkeypatch):
    at_step(monkeypatch, 6, lambda: shutil.rmtree(tmp_path / "x"))
    with pytest.raises(OSError, match="x: the run folder has vanished. The run stopped at step 8"):
        run(config, tmp_path / "x")
    assert not (tmp_path / "x").exists()


# ---- two processes -------------------------------------------------------------------------------


HOLD = "import sys, time; from tinyddpm.runs.folder import RunFolder\nwith RunFolder(sys.argv[1]).locked(): print('held', flush=True); time.sleep(60)"


def test_a_second_process_is_told_which_is_the_first_and_a_dead_one_is_no_obstacle(
    config, tmp_path, capsys
):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path / "x"], stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout.readline() == "held\n"
        for resume in (False, True):
            with pytest.raises(
                InUse,
                match=rf"x: process {first.pid} on .*, started \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d is training here",
            ):
                run(config, tmp_path / "x", resume)
        assert (
            cli.main(
                ["train", "--out", str(tmp_path / "x"), "--data", config.data, "--levels", "1"]
            )
            == 2
        )
        assert f"process {first.pid} " in capsys.readouterr().err
        assert [p.name for p in (tmp_path / "x").iterdir()] == [LOCK]
        first.send_signal(signal.SIGKILL)
        first.wait()
    assert str(first.pid) in (tmp_path / "x" / LOCK).read_text()  # it is left, and means nothing
    assert run(dataclasses.replace(config, steps=1), tmp_path / "x").step == 1
    assert str(os.getpid()) in (tmp_path / "x" / LOCK).read_text()


def test_the_lock_is_let_go_of_when_a_run_ends_in_whatever_way(config, tmp_path, monkeypatch):
    at_step(monkeypatch, 2, lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(config, tmp_path / "x")
    with (
        RunFolder(tmp_path / "x").locked(),
        pytest.raises(InUse),
        RunFolder(tmp_path / "x").locked(),
    ):
        pass
    run(config, tmp_path / "x")


# ---- the record ----------------------------------------------------------------------------------


def test_lines_of_steps_that_will_be_done_again_are_cut_and_others_stay(tmp_path):
    lines = [
        b'{"k": 1}\n',
        b'{"k": 2, "J": NaN}\n',
        b"not ours\n",
        b"[" * 9999 + b"\n",
        b'{"k": "x"}\n',
        b'{"k": 2}\n',
        b'{"k": 3}\n',
        b'{"k": 2',
    ]
    (tmp_path / METRICS).write_bytes(b"".join(lines))
    with RunFolder(tmp_path).metrics(2) as record:
        assert (tmp_path / METRICS).read_bytes() == b"".join([*lines[:2], lines[5]])
        record({"k": 3})
    assert (tmp_path / METRICS).read_bytes().endswith(b'{"k": 2}\n{"k": 3}\n')


def test_the_configuration_is_whole_or_absent(config, tmp_path, monkeypatch):
    monkeypatch.setattr("tomli_w.dumps", lambda values: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        RunFolder(tmp_path).write_config(config)
    assert not (tmp_path / CONFIG).exists() and not list(tmp_path.iterdir())


def test_what_a_killed_process_left_unfinished_is_removed_and_never_written_through(tmp_path):
    """It may be a second name of a file that is wanted, and to write to it would spoil that one."""
    wanted, name = tmp_path / "wanted", tmp_path / "name"
    wanted.write_text("precious")
    for _ in range(2):
        os.link(wanted, tmp_path / "name.writing")
        with replacing(name) as beside:
            beside.write_text("new")
        assert (wanted.read_text(), name.read_text()) == ("precious", "new")
    os.link(wanted, tmp_path / "other.writing")
    with RunFolder(tmp_path).locked():
        assert not list(tmp_path.glob("*.writing")) and wanted.read_text() == "precious"
