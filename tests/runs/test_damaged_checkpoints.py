"""A checkpoint that is cut or flipped: one clear error, and never wrong numbers."""

import hashlib
import json
import os
import random
import subprocess
import sys

import numpy as np
import pytest
from small_runs import ARRAYS, LEAST_CONFIG, assert_unreadable, limited

from tinyddpm.runs.checkpoint import KEY, Checkpoint, CheckpointError, load, save

STATE = {"progress": {"best": 0.25}, "data": "00"}
WHOLE = Checkpoint(LEAST_CONFIG, 7, ARRAYS, {name: 2 * a for name, a in ARRAYS.items()}, STATE)
COPY = """
import sys
from tinyddpm.runs.checkpoint import load, save
save(sys.argv[2], load(sys.argv[1]))
"""


def same(a, b):
    """Whether two Checkpoints are equal, bit for bit."""
    return described(a) == described(b)


def described(saved):
    parts = [
        {name: (array.shape, array.tobytes()) for name, array in part.items()}
        for part in (saved.theta, saved.ema)
    ]
    return saved.config, saved.step, saved.state, parts


@pytest.fixture
def whole(tmp_path):
    save(tmp_path / "whole", WHOLE)
    return (tmp_path / "whole").read_bytes()


def test_the_same_checkpoint_is_the_same_bytes_in_any_process(tmp_path, whole):
    save(tmp_path / "again", WHOLE)
    assert (tmp_path / "again").read_bytes() == whole and same(load(tmp_path / "again"), WHOLE)
    paths = [tmp_path / "again", tmp_path / "copy"]
    subprocess.run([sys.executable, "-c", COPY, *paths], check=True)
    assert (tmp_path / "copy").read_bytes() == whole


def test_the_sum_in_the_file_is_that_of_hashlib(tmp_path, whole):
    """Computed here once more, from the bytes of the file."""
    end = 8 + int.from_bytes(whole[:8], "little")
    header, body = json.loads(whole[8:end]), whole[end:]
    content = json.loads(header.pop("__metadata__")[KEY])
    claimed = content.pop("sha256")
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    for name, entry in sorted(header.items()):
        digest.update(f"\n{name} <f4 {tuple(entry['shape'])}\n".encode())
        digest.update(body[slice(*entry["data_offsets"])])
    assert claimed == digest.hexdigest() and content["step"] == 7 and content["version"]


def test_cut_at_every_byte(tmp_path, whole):
    path = tmp_path / "cut"
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        assert_unreadable(path)
    path.write_bytes(whole + b"\0")
    assert_unreadable(path)


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
    assert_unreadable(tmp_path / "x", "checksum does not match")


def test_what_is_no_file_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")  # to open it would wait for ever
    assert_unreadable(tmp_path / "pipe", "got a folder, a pipe or a device")
    assert_unreadable(tmp_path, "got a folder, a pipe or a device")
    assert_unreadable("/dev/zero", "got a folder, a pipe or a device")


def test_a_limit_on_the_size_of_files_leaves_the_one_before(tmp_path, whole):
    """What a full disk looks like to a program: the writing fails half way."""
    path = tmp_path / "whole"
    big = Checkpoint(LEAST_CONFIG, 8, {"a": np.zeros(10**6, np.float32)}, {}, STATE)
    with limited(10**6), pytest.raises(OSError, match="File too large") as caught:
        save(path, big)
    assert caught.value.filename == str(path)
    assert path.read_bytes() == whole and [p.name for p in tmp_path.iterdir()] == ["whole"]
