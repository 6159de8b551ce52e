"""Several ranks, each with a simulated GPU: the bits of one GPU without MPI, and few copies."""

import hashlib
import json
import re
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from mpi import launch, needs_mpi, records
from test_ranks import FakeComm

from autograd.backend import to_device, to_numpy
from tinyddpm.distributed.links import link_of
from tinyddpm.distributed.ranks import Ranks
from tinyddpm.nn import UNet, UNetConfig
from tinyddpm.runs.checkpoint import load
from tinyddpm.schedule import linear

pytestmark = needs_mpi
PROGRAM = Path(__file__).with_name("on_cards.py")
TINY = (
    "train --T 12 --base 4 --levels 1 --attention= --groups 2 --blocks 1 --batch-size 8 --every 2 "
    "--warmup 2 --beta 0.5 --patience 0 --no-pictures --device cuda"
).split()


def run(ranks, *arguments, environment=None):
    """What each rank prints, from JSON. 0 ranks: without mpiexec."""
    done = launch(ranks, PROGRAM, *arguments, environment=environment, timeout=600)
    assert not done.returncode, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def alone():
    (found,) = run(0, "train")
    return {case: bits for case, (bits, _) in found["cases"].items()}


@pytest.mark.parametrize("way", ["memory", "nccl"])
def test_the_bits_of_one_gpu_without_mpi_and_only_gradients_and_J_are_copied(way, alone):
    """With "nccl", a stand-in of its calls: the ranks' calls fit each other, on any machine."""
    of_ranks = run(2, "train", way, environment={"TINYDDPM_GRADIENTS": way})
    assert sorted(found["device"] for found in of_ranks) == ["cuda", "cuda:1"]
    assert len(set(alone.values())) == 5
    for found in of_ranks:
        assert {case: bits for case, (bits, _) in found["cases"].items()} == alone
        for case, (_, copies) in found["cases"].items():
            up, down = copies.get("copy host to device", 0), copies["copy device to host"]
            if way == "nccl":
                assert (up, down) == (0, 1)  # J
                continue
            # Besides J, down: the sum on rank 0, what rank 1 sends. Up: what they receive.
            sent = 2 if case == "three shards" else 1  # the second of two ranks has two of them
            assert (up, down) == ((sent, 2) if found["rank"] == 0 else (1, 1 + sent)), case


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "images.npy"
    np.save(path, np.random.default_rng(0).integers(0, 256, (12, 4, 4), np.uint8))
    return path


def command(ranks, data, out, *arguments, what="command"):
    given = [*TINY, "--data", data, "--out", out, *arguments]
    return launch(ranks, PROGRAM, what, *given, timeout=600)


def test_the_command_goes_on_with_other_ranks_bit_for_bit(data, tmp_path):
    unbroken = command(0, data, tmp_path / "alone", "--gpu-shards", "4", "--steps", "5")
    assert not unbroken.returncode, unbroken.stderr
    assert "trains on cuda in 4 parts of a batch" in unbroken.stderr
    first = command(2, data, tmp_path / "ranks", "--steps", "3", "--graph")
    assert not first.returncode, first.stderr
    assert "trains on 2 ranks with a GPU each" in first.stderr
    then = command(0, data, tmp_path / "ranks", "--resume", "--steps", "5", "--no-graph")
    assert not then.returncode, then.stderr
    for name in ("checkpoint", "best"):
        found, expected = (
            (tmp_path / folder / f"{name}.safetensors").read_bytes()
            for folder in ("ranks", "alone")
        )
        assert found == expected, name
    assert records(tmp_path / "ranks") == records(tmp_path / "alone")


def test_gpus_draw_together_what_one_draws(tmp_path):
    data = tmp_path / "x.npy"
    np.save(data, np.random.default_rng(0).integers(0, 256, (48, 4, 4), np.uint8))
    done = command(0, data, tmp_path / "run", "--steps", "2")
    assert not done.returncode, done.stderr
    images, tables = [], []
    for ranks in (0, 2):
        out = tmp_path / str(ranks)
        out.mkdir()
        words = "sample {0}/run --n 9 --out {1}/x.npz", "eval {0}/run --n 6 --steps 2 --out {1}"
        for each in words:
            given = [*each.format(tmp_path, out).split(), "--device", "cuda"]
            done = launch(ranks, PROGRAM, "command", *given, timeout=600)
            assert not done.returncode, done.stderr
            assert "have work" not in done.stderr
        images.append(np.load(out / "x.npz")["images"])
        tables.append((out / "eval.md").read_text())
    assert len(images[0]) == 9 and np.ptp(images[0]) > 0
    np.testing.assert_allclose(*images, rtol=0, atol=1e-5)
    assert tables[0] == tables[1]  # with as many digits as there are


@pytest.mark.parametrize(
    "ranks, arguments, problem",
    [
        (3, [], r"device: expected at most one rank for each GPU, got 3 ranks .* with 2; mpiexec"),
        (2, ["--device", "cuda:1"], r"device: .* ranks 0 and 1 have the same one, cuda:1; --dev"),
        (2, ["--device", "cuda:7"], r"this machine has 2 GPUs, cuda:0 to cuda:1"),
        (2, ["--gpu-shards", "1"], r"gpu_shards: expected one for each of 2 ranks, got 1"),
    ],
)
def test_bad_input_is_one_line(ranks, arguments, problem, data, tmp_path):
    done = command(ranks, data, tmp_path / "x", "--steps", "1", *arguments)
    assert done.returncode == 2 and re.search(problem, done.stderr), done.stderr
    assert done.stderr.count("tinyddpm: ") == 1 and not (tmp_path / "x").exists()


def test_a_J_that_is_not_finite_is_accounted_for_as_on_one_gpu(data, tmp_path):
    said = []
    for ranks in (0, 2):
        options = ["--gpu-shards", "4", "--steps", "9", "--beta", "1e30", "--dropout", "0.1"]
        done = command(ranks, data, tmp_path / str(ranks), *options)
        assert done.returncode, done.stdout
        said += re.findall(r"J is .*?; .*? is kept", done.stderr)
    assert len(said) == 2 and said[0] == said[1], said


def test_a_theta_that_differs_between_gpus_is_named_and_not_saved(data, tmp_path):
    done = command(2, data, tmp_path, "--steps", "6", what="differ")
    names = "theta: expected the same on all ranks, but rank 0 has '.*', and rank 1 has '.*'"
    kept = f"{names}, after step 4. The checkpoint of step 2 is kept"
    assert done.returncode == 2 and re.search(kept, done.stderr), done.stderr
    assert load(tmp_path / "checkpoint.safetensors").step == 2


def test_ranks_whose_theta_differs_do_not_begin():
    unet = UNet(UNetConfig(image=(1, 4, 4), base=4, levels=(1,), groups=2)).initialise(0)
    unet.bind(to_device(unet.theta, "cuda"), to_device(unet.grad, "cuda"))
    for theta in ("other", hashlib.sha256(to_numpy(unet.theta)).hexdigest()[:12]):
        other = {"theta": theta, "batch_size": 8, "shards": 4, "TINYDDPM_GRADIENTS": "memory"}
        ranks = Ranks(FakeComm(0, 2, [other]), unet, linear(9), batch_size=8)
        differs = pytest.raises(ValueError, match="theta: expected the same on all ranks")
        with differs if theta == "other" else nullcontext(), ranks:
            assert ranks.own.partials[0] is unet.grad


@pytest.mark.parametrize(
    "way, problem", [("post", "expected memory or nccl"), ("nccl", "to be in")]
)
def test_a_way_for_gradients_that_is_not_there(way, problem, monkeypatch):
    monkeypatch.setenv("TINYDDPM_GRADIENTS", way)
    comm = FakeComm(0, 2, [{"TINYDDPM_GRADIENTS": way}])
    with pytest.raises((ValueError, RuntimeError), match=f"TINYDDPM_GRADIENTS: .*{problem}"):
        link_of(comm, to_device(np.ones(3, np.float32), "cuda"))
