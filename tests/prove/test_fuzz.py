"""Files from outside, fuzzed: whatever the bytes, a loader gives a sound result or one clear error.

In `make test` hypothesis makes a few hundred files for each loader. In `make prove` it makes
20,000, and atheris, which is guided by coverage, as many as RUNS says. What was found is kept below
and in the tests of the loaders.
"""

import importlib.util
import subprocess
import sys
from pathlib import Path

import fuzz_targets
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

RUNS = {
    "idx": 200_000,
    "arrays": 100_000,
    "pictures": 100_000,
    "safetensors": 200_000,
    "metadata": 100_000,
    "toml": 50_000,
}
quiet = [
    HealthCheck.too_slow,
    HealthCheck.data_too_large,
    HealthCheck.filter_too_much,
    HealthCheck.large_base_example,
]


def edited(content, edits):
    """The content after these edits: (kind, place, length, new bytes, bytes of another file)."""
    content = bytearray(content)
    for kind, at, length, new, other in edits:
        at %= len(content) + 1
        if kind == "set":
            content[at : at + len(new)] = new
        elif kind == "cut":
            del content[at : at + length]
        elif kind == "put":
            content[at:at] = new
        elif kind == "twice":
            content[at:at] = content[at : at + length]
        elif kind == "from":
            content[at : at + length] = other[at : at + length]
        else:
            del content[at:]
    return bytes(content)


def damaged(target):
    """Sound files with bytes changed, cut out, put in or repeated, or with pieces of another."""
    sound = st.sampled_from(fuzz_targets.seeds(target))
    kinds = st.sampled_from(["set", "cut", "put", "twice", "end", "from"])
    edit = st.tuples(kinds, st.integers(0, 2**16), st.integers(0, 64), st.binary(max_size=8), sound)
    return st.builds(edited, sound, st.lists(edit, max_size=5)) | st.binary(max_size=64)


def fuzz(target, examples):
    @settings(max_examples=examples, deadline=None, suppress_health_check=quiet)
    @given(damaged(target))
    def run(content):
        fuzz_targets.TARGETS[target](content)

    run()


@pytest.mark.parametrize("target", RUNS)
def test_the_seeds_are_sound(target):
    """Or else the fuzzing would only see how rubbish is refused."""
    for content in fuzz_targets.seeds(target):
        fuzz_targets.FILE.write_bytes(content)
        if target in ("idx", "arrays", "pictures"):
            assert fuzz_targets.data.load(fuzz_targets.FILE).images.size
        elif target == "safetensors":
            assert fuzz_targets.checkpoint.load(fuzz_targets.FILE).step == 7
        elif target == "toml":
            assert fuzz_targets.config.from_dict(fuzz_targets.config.read(fuzz_targets.FILE))


@pytest.fixture
def limits(monkeypatch):
    """The limits that a target lowers come back after the test."""
    image_files, Image = fuzz_targets.image_files, fuzz_targets.Image
    monkeypatch.setattr(image_files, "MAX_BYTES", image_files.MAX_BYTES)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)


@pytest.mark.parametrize("target", RUNS)
def test_some_hundred_files(target, limits):
    fuzz(target, 250)


@pytest.mark.prove
@pytest.mark.parametrize("target", RUNS)
def test_twenty_thousand_files(target, limits):
    fuzz(target, 20_000)


@pytest.mark.prove
@pytest.mark.parametrize("target", RUNS)
def test_guided_by_coverage(target):
    if not importlib.util.find_spec("atheris"):
        pytest.skip("atheris is not installed: pip install 'tinyddpm[fuzz]' (Linux on x86-64)")
    command = [sys.executable, Path(fuzz_targets.__file__), target, f"-runs={RUNS[target]}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"Done {RUNS[target]} runs" in done.stderr


# ---- what was found, and mended ------------------------------------------------------------------

FOUND = [
    ("toml", b"beta = 1" + b"0" * 400),
    ("toml", b"x = " + b"[" * 5000),
    ("toml", b"T = 0x" + b"f" * 9000),
    ("toml", b"T = " + b"9" * 5000),
    ("metadata", b"null"),
    ("metadata", b"[" * 50_000),
    ("metadata", b'{"format": "tinyddpm 2", "config": 3, "step": 1, "state": {}}'),
]


@pytest.mark.parametrize("target, content", FOUND)
def test_what_was_found_stays_mended(target, content):
    fuzz_targets.TARGETS[target](content)
