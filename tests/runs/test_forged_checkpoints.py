"""A checkpoint that is forged or hostile: one clear error, no code run, no memory taken."""

import io
import json
import pickle
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from safetensors.numpy import save_file
from small_runs import ARRAYS, LEAST_CONFIG, assert_unreadable

from tinyddpm.runs import checkpoint
from tinyddpm.runs.checkpoint import FORMAT, KEY, CheckpointError, load
from tinyddpm.runs.config import to_dict
from tinyddpm.runs.opening import Run
from tinyddpm.runs.training import Progress

# ---- forged: the sum is right, the content is not ------------------------------------------------


def forge(path, arrays=ARRAYS, **changes):
    """A file with a valid sum over whatever is asked for."""
    tensors = {f"{part}.{name}": a for part in ("theta", "ema") for name, a in arrays.items()}
    content = {
        "format": FORMAT,
        "version": "0",
        "config": to_dict(LEAST_CONFIG),
        "step": 1,
        "state": {"progress": {}},
    } | changes
    content = {name: v for name, v in content.items() if v is not None}
    content["sha256"] = checkpoint._digest(content, tensors)
    save_file(tensors, path, {KEY: json.dumps(content)})
    return path


FORGED = [
    ({"format": "tinyddpm 9"}, "expected the format"),
    ({"format": None}, "'format'"),
    ({"config": None}, "'config'"),
    ({"config": 3}, ""),
    ({"config": {"bse": 1}}, "no such option"),
    ({"config": {"T": 10**12}}, "T: expected at most 1000000"),
    ({"config": {"blocks": 90}}, "90 blocks at each of 2 levels, but only 2 arrays"),
    ({"config": {"blocks": 10**9}}, "at most 100"),
    ({"config": {"beta": float("nan")}}, "beta"),
    ({"config": {"image": [1, 2**40, 2**40]}}, "batch_size"),
    ({"config": {"seed": 2**70}}, "63 bits"),
    ({"step": -1}, "expected a step"),
    ({"step": "7"}, "expected a step"),
    ({"step": 1.5}, "expected a step"),
    ({"step": True}, "expected a step"),
    ({"state": []}, "a state with the progress"),
    ({"state": {}}, "a state with the progress"),
    ({"state": {"progress": 3}}, "a state with the progress"),
    ({"arrays": {"a": np.zeros(2, np.int64)}}, "expected arrays of F32"),
    ({"arrays": {"a": np.zeros(2, bool)}}, "expected arrays of F32"),
]


@pytest.mark.parametrize("changes, problem", FORGED)
def test_a_right_sum_proves_no_good_intentions(tmp_path, changes, problem):
    assert_unreadable(forge(tmp_path / "x", **changes), problem)


NO_OBJECTS = [
    "",
    "null",
    "[]",
    "3",
    "{",
    "[" * 100_000,
    '{"a":' * 100_000,
    "9" * 5000,
    '"text"',
    '{"sha256": NaN, "format": NaN}',
    "\ud7ff",
]


@pytest.mark.parametrize("text", NO_OBJECTS)
def test_metadata_that_is_no_object(tmp_path, text):
    save_file({"theta.a": ARRAYS["b"]}, tmp_path / "x", {KEY: text})
    assert_unreadable(tmp_path / "x")


def test_a_network_gets_no_memory_before_its_shapes_are_those_in_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr("numpy.zeros", None)
    with pytest.raises(CheckpointError, match="missing"):
        Run(forge(tmp_path / "x", config={"base": 1 << 10, "levels": [1], "blocks": 1}))


def test_progress_is_numbers(tmp_path):
    for progress in ({"best": "0"}, {"worst": 1}, {"best": None}):
        saved = load(forge(tmp_path / "x", state={"progress": progress}))
        with pytest.raises(CheckpointError, match="expected a progress of numbers"):
            Progress.of(saved, tmp_path / "x")


# ---- foreign and hostile -------------------------------------------------------------------------


def headed(header, body=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def entry(shape, offsets, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


class Trap:
    def __reduce__(self):
        return open, ("sprung", "w")


def zip_bomb():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("data.pkl", bytes(10**8))
    return file.getvalue()


def hostile():
    """Files that are meant to do harm: name -> bytes."""
    bits60, many = 2**60, {f"a{i}": entry([0], [0, 0]) for i in range(40_000)}
    return {
        "empty": b"",
        "seven bytes": b"\1" * 7,
        "no header": struct.pack("<Q", 0),
        "pickle": pickle.dumps(Trap()),
        "old pickle": b"cos\nsystem\n(S'touch sprung'\ntR.",
        "zip bomb": zip_bomb(),
        "header of 2^60": struct.pack("<Q", bits60) + bytes(100),
        "header of 2^64 - 1": b"\xff" * 100,
        "header of 90 MB": headed({"__metadata__": {KEY: " " * 90_000_000}}),
        "header cut": headed({"a": entry([1], [0, 4])})[:20],
        "not JSON": headed(b"{]"),
        "not UTF-8": headed(b'{"\xff": 1}'),
        "a list": headed([1]),
        "deep": headed(b"[" * 10**6),
        "tensor of 2^60": headed({"a": entry([bits60], [0, 4 * bits60])}),
        "2^60 in four bytes": headed({"a": entry([bits60], [0, 4])}, bytes(4)),
        "product overflows": headed({"a": entry([2**32, 2**32], [0, 0])}),
        "overlap": headed({"a": entry([2], [0, 8]), "b": entry([2], [4, 12])}, bytes(12)),
        "same bytes twice": headed({"a": entry([2], [0, 8]), "b": entry([2], [0, 8])}, bytes(8)),
        "hole": headed({"a": entry([1], [0, 4]), "b": entry([1], [8, 12])}, bytes(12)),
        "backwards": headed({"a": entry([1], [4, 0])}, bytes(4)),
        "negative shape": headed({"a": entry([-1, -1], [0, 4])}, bytes(4)),
        "negative offset": headed({"a": entry([1], [-4, 0])}, bytes(4)),
        "NaN for a shape": headed(
            b'{"a": {"dtype": "F32", "shape": [NaN], "data_offsets": [0, 4]}}', bytes(4)
        ),
        "NaN for metadata": headed(b'{"__metadata__": {"step": NaN}}'),
        "unknown dtype": headed({"a": entry([1], [0, 4], "F33")}, bytes(4)),
        "bfloat16": headed(
            {"__metadata__": {KEY: "{}"}, "a": entry([2], [0, 4], "BF16")}, bytes(4)
        ),
        "4 bits": headed({"__metadata__": {KEY: "{}"}, "a": entry([2], [0, 1], "F4")}, bytes(1)),
        "twice the name": headed(
            b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "a": {}}', bytes(4)
        ),
        "40,000 arrays of nothing": headed({"__metadata__": {KEY: "{}"}} | many),
        "long metadata": headed({"__metadata__": {KEY: " " * 4_000_000}}),
        "spare bytes": headed({}, bytes(10**6)),
    }


LOAD_ALL = """
import resource, sys
from tinyddpm.runs.checkpoint import CheckpointError, load
import numpy as np
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**27,) * 2)  # 128 MiB more than there is now
for path in sys.argv[1:]:
    try:
        load(path)
    except CheckpointError as error:
        assert "\\n" not in str(error), error
        print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit on memory is counted from /proc")
def test_hostile_files_are_refused_in_little_memory_and_run_no_code(tmp_path):
    files = hostile()
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    command, options = [sys.executable, "-c", LOAD_ALL, *files], {"text": True, "timeout": 60}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, **options)
    assert done.returncode == 0, done.stderr
    for name, line in zip(files, done.stdout.splitlines(), strict=True):
        assert line.startswith(f"{name}: ")
    assert not (tmp_path / "sprung").exists()
