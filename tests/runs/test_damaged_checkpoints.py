"""A checkpoint that is cut, flipped, forged or hostile: one clear error, no code run, no memory taken, and never wrong numbers."""
import hashlib
import json
import pickle
import random
import resource
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from safetensors.numpy import save_file

from tinyddpm.runs import checkpoint
from tinyddpm.runs.checkpoint import FORMAT, KEY, Checkpoint, CheckpointError, load, save
from tinyddpm.runs.config import Config, to_dict
from tinyddpm.runs.opening import Run
from tinyddpm.nn import UNetConfig

CONFIG = Config(unet=UNetConfig(base=2, levels=(1,), groups=1, blocks=1))
ARRAYS = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.float32([-0.5])}
WHOLE = Checkpoint(CONFIG, 7, ARRAYS, {name: 2 * a for name, a in ARRAYS.items()}, {"progress": {"best": 0.25}, "data": "00"})


def same(a, b):
    return (a.config, a.step, a.state) == (b.config, b.step, b.state) and all(
        getattr(a, part).keys() == getattr(b, part).keys()
        and all(x.tobytes() == getattr(b, part)[name].tobytes() and x.shape == getattr(b, part)[name].shape for name, x in getattr(a, part).items())
        for part in ("theta", "ema"))


def refused(path, *words):
    with pytest.raises(CheckpointError) as caught:
        load(path)
    assert all(word in str(caught.value) for word in (str(path), *words)), str(caught.value)


@pytest.fixture
def whole(tmp_path):
    save(tmp_path / "whole", WHOLE)
    return (tmp_path / "whole").read_bytes()


def test_the_same_checkpoint_is_the_same_bytes_in_any_process(tmp_path, whole):
    save(tmp_path / "again", WHOLE)
    assert (tmp_path / "again").read_bytes() == whole and same(load(tmp_path / "again"), WHOLE)
    program = "import sys; from tinyddpm.runs.checkpoint import load, save; save(sys.argv[2], load(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", program, tmp_path / "again", tmp_path / "copy"], check=True)
    assert (tmp_path / "copy").read_bytes() == whole


def test_the_sum_in_the_file_is_that_of_hashlib(tmp_path, whole):
    """Computed here once more, from the bytes of the file."""
    header = json.loads(whole[8:8 + int.from_bytes(whole[:8], "little")])
    content = json.loads(header.pop("__metadata__")[KEY])
    claimed, body = content.pop("sha256"), whole[8 + int.from_bytes(whole[:8], "little"):]
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    for name, entry in sorted(header.items()):
        digest.update(f"\n{name} <f4 {tuple(entry['shape'])}\n".encode() + body[slice(*entry["data_offsets"])])
    assert claimed == digest.hexdigest() and content["step"] == 7 and content["version"]


def test_cut_at_every_byte(tmp_path, whole):
    path = tmp_path / "cut"
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        refused(path)
    path.write_bytes(whole + b"\0")
    refused(path)


def test_a_bit_flipped_in_any_byte_is_noticed_or_means_nothing(tmp_path, whole):
    path, draw, noticed = tmp_path / "flipped", random.Random(0), 0
    body = 8 + int.from_bytes(whole[:8], "little")
    for i in range(len(whole)):
        damaged = bytearray(whole)
        damaged[i] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        try:
            assert same(load(path), WHOLE) and i < body, i  # white space in the header
        except CheckpointError:
            noticed += 1
    assert noticed > 0.95 * len(whole)


def test_a_flipped_bit_in_the_numbers_is_a_wrong_sum(tmp_path, whole):
    (tmp_path / "x").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    refused(tmp_path / "x", "checksum does not match")


# ---- forged: the sum is right, the content is not ------------------------------------------------


def forge(path, arrays=ARRAYS, **changes):
    """A file with a valid sum over whatever is asked for."""
    tensors = {f"{part}.{name}": a for part in ("theta", "ema") for name, a in arrays.items()}
    content = {"format": FORMAT, "version": "0", "config": to_dict(CONFIG), "step": 1, "state": {"progress": {}}} | changes
    content = {name: v for name, v in content.items() if v is not None}
    content["sha256"] = checkpoint._digest(content, tensors)
    save_file(tensors, path, {KEY: json.dumps(content)})
    return path


@pytest.mark.parametrize("changes, problem", [
    ({"format": "tinyddpm 9"}, "expected the format"), ({"format": None}, "'format'"), ({"config": None}, "'config'"),
    ({"config": 3}, ""), ({"config": {"bse": 1}}, "no such option"), ({"config": {"T": 10**12}}, "T: expected at most 1000000"),
    ({"config": {"blocks": 90}}, "90 blocks at each of 2 levels, but only 2 arrays"), ({"config": {"blocks": 10**9}}, "at most 100"),
    ({"config": {"beta": float("nan")}}, "beta"), ({"config": {"image": [1, 2**40, 2**40]}}, "batch_size"), ({"config": {"seed": 2**70}}, "63 bits"),
    ({"step": -1}, "expected a step"), ({"step": "7"}, "expected a step"), ({"step": 1.5}, "expected a step"), ({"step": True}, "expected a step"),
    ({"state": []}, "a state with the progress"), ({"state": {}}, "a state with the progress"), ({"state": {"progress": 3}}, "a state with the progress"),
    ({"arrays": {"a": np.zeros(2, np.int64)}}, "expected arrays of F32"), ({"arrays": {"a": np.zeros(2, bool)}}, "expected arrays of F32"),
])
def test_a_right_sum_proves_no_good_intentions(tmp_path, changes, problem):
    refused(forge(tmp_path / "x", **changes), problem)


@pytest.mark.parametrize("text", ["", "null", "[]", "3", "{", "[" * 100_000, '{"a":' * 100_000, "9" * 5000, "\"text\"", '{"sha256": NaN, "format": NaN}', "\ud7ff"])
def test_metadata_that_is_no_object(tmp_path, text):
    save_file({"theta.a": ARRAYS["b"]}, tmp_path / "x", {KEY: text})
    refused(tmp_path / "x")


def test_a_network_gets_no_memory_before_its_shapes_are_those_in_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr("numpy.zeros", None)
    with pytest.raises(CheckpointError, match="missing"):
        Run(forge(tmp_path / "x", config={"base": 1 << 10, "levels": [1], "blocks": 1}))


def test_progress_is_numbers(tmp_path):
    from tinyddpm.runs.training import Progress
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


def hostile(folder):
    """name -> bytes of files that nobody means well with."""
    with zipfile.ZipFile(folder / "bomb.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("data.pkl", bytes(10**8))
    bomb = (folder / "bomb.zip").read_bytes()
    (folder / "bomb.zip").unlink()
    bits60, many = 2**60, {f"a{i}": entry([0], [0, 0]) for i in range(40_000)}
    return {
        "empty": b"", "seven bytes": b"\1" * 7, "no header": struct.pack("<Q", 0), "pickle": pickle.dumps(Trap()), "old pickle": b"cos\nsystem\n(S'touch sprung'\ntR.", "zip bomb": bomb,
        "header of 2^60": struct.pack("<Q", bits60) + bytes(100), "header of 2^64 - 1": b"\xff" * 100, "header of 90 MB": headed({"__metadata__": {KEY: " " * 90_000_000}}),
        "header cut": headed({"a": entry([1], [0, 4])})[:20], "not JSON": headed(b"{]"), "not UTF-8": headed(b'{"\xff": 1}'), "a list": headed([1]), "deep": headed(b"[" * 10**6),
        "tensor of 2^60": headed({"a": entry([bits60], [0, 4 * bits60])}), "2^60 in four bytes": headed({"a": entry([bits60], [0, 4])}, bytes(4)),
        "product overflows": headed({"a": entry([2**32, 2**32], [0, 0])}), "overlap": headed({"a": entry([2], [0, 8]), "b": entry([2], [4, 12])}, bytes(12)),
        "same bytes twice": headed({"a": entry([2], [0, 8]), "b": entry([2], [0, 8])}, bytes(8)), "hole": headed({"a": entry([1], [0, 4]), "b": entry([1], [8, 12])}, bytes(12)),
        "backwards": headed({"a": entry([1], [4, 0])}, bytes(4)), "negative shape": headed({"a": entry([-1, -1], [0, 4])}, bytes(4)), "negative offset": headed({"a": entry([1], [-4, 0])}, bytes(4)),
        "NaN for a shape": headed(b'{"a": {"dtype": "F32", "shape": [NaN], "data_offsets": [0, 4]}}', bytes(4)), "NaN for metadata": headed(b'{"__metadata__": {"step": NaN}}'),
        "unknown dtype": headed({"a": entry([1], [0, 4], "F33")}, bytes(4)), "bfloat16": headed({"__metadata__": {KEY: "{}"}, "a": entry([2], [0, 4], "BF16")}, bytes(4)),
        "4 bits": headed({"__metadata__": {KEY: "{}"}, "a": entry([2], [0, 1], "F4")}, bytes(1)), "twice the name": headed(b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "a": {}}', bytes(4)),
        "40,000 arrays of nothing": headed({"__metadata__": {KEY: "{}"}} | many), "long metadata": headed({"__metadata__": {KEY: " " * 4_000_000}}), "spare bytes": headed({}, bytes(10**6)),
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
    files = hostile(tmp_path)
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    done = subprocess.run([sys.executable, "-c", LOAD_ALL, *files], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert len(said) == len(files) and all(line.startswith(f"{name}: ") for name, line in zip(files, said))
    assert not (tmp_path / "sprung").exists()


def test_what_is_no_file_is_not_read(tmp_path):
    import os
    os.mkfifo(tmp_path / "pipe")  # to open it would wait for ever
    refused(tmp_path / "pipe", "this is no file")
    refused(tmp_path, "this is no file")
    refused("/dev/zero", "this is no file")


def test_a_limit_on_the_size_of_files_leaves_the_one_before(tmp_path, whole):
    """What a full disk looks like to a program: the writing fails half way. (In this process only the soft limit is lowered.)"""
    path = tmp_path / "whole"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    big = Checkpoint(CONFIG, 8, {"a": np.zeros(10**6, np.float32)}, {}, WHOLE.state)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, hard))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            save(path, big)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.filename == str(path)
    assert path.read_bytes() == whole and [p.name for p in tmp_path.iterdir()] == ["whole"]
