"""The files of a network of diffusers: read, written, and refused by name where they do not fit."""

import json
import re

import numpy as np
import pytest
from diffusers_folders import folder_of, frozen, shapes
from frozen_networks import CONFIGS, weights
from safetensors.numpy import load_file

from tinyddpm.interop.diffusers_tensors import tensors
from tinyddpm.interop.diffusers_unet import CONFIG, WEIGHTS, read, write

OLD = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def old(name):
    for new, before in OLD.items():
        name = name.replace(f".{new}.", f".{before}.")
    return name


@pytest.mark.parametrize("rename", [lambda name: name, old], ids=["names of today", "old names"])
def test_reading_a_folder(tmp_path, rename):
    unet = read(folder_of(tmp_path / "model", "attention", rename))
    assert unet.theta.dtype == np.float32 and unet.grad is None
    assert unet.config.eps == 1e-3 and unet.first.weight.dtype == np.float32
    np.testing.assert_array_equal(unet.theta, frozen("attention", np.float32).theta)
    if rename is old:
        names = load_file(tmp_path / "model" / WEIGHTS)
        assert any(".proj_attn." in name for name in names)


def test_reading_the_folder_of_a_pipeline(tmp_path):
    (tmp_path / "pipeline").mkdir()
    folder_of(tmp_path / "pipeline/unet")
    expected = frozen("plain", np.float32).theta
    np.testing.assert_array_equal(read(tmp_path / "pipeline").theta, expected)


def test_half_precision_is_read_as_float32(tmp_path):
    half = weights(shapes(frozen("plain")))["conv_in.weight"].astype(np.float16)
    unet = read(folder_of(tmp_path / "model", **{"conv_in.weight": half}))
    assert unet.theta.dtype == np.float32
    np.testing.assert_array_equal(tensors(unet)["conv_in.weight"][1], half.astype(np.float32))


@pytest.mark.parametrize("case", CONFIGS)
def test_what_is_written_is_what_was_read(tmp_path, case):
    unet = frozen(case, np.float32)
    write(unet, tmp_path / "out")
    again = read(tmp_path / "out")
    np.testing.assert_array_equal(again.theta, unet.theta)
    assert again.config == unet.config
    written = load_file(tmp_path / "out" / WEIGHTS)
    for name, w in weights(shapes(unet)).items():
        assert (written[name] == w.astype(np.float32)).all()
    options = json.loads((tmp_path / "out" / CONFIG).read_text())
    assert {name: options[name] for name in CONFIGS[case]} == CONFIGS[case]


# ---- tensors that do not fit ---------------------------------------------------------------------

WRONG_SHAPE = np.zeros((3, 3, 1, 4), np.float32)
DO_NOT_FIT = [
    ({"conv_in.weight": None}, "conv_in.weight is missing"),
    ({"extra.weight": np.zeros(2, np.float32)}, "extra.weight is not of this network"),
    (
        {"conv_out.bias": np.zeros(3, np.float32)},
        r"conv_out.bias has shape \(3,\), expected \(1,\)",
    ),
    (
        {"conv_in.weight": WRONG_SHAPE},
        r"conv_in.weight has shape \(3, 3, 1, 4\), expected \(4, 1, 3, 3\)",
    ),
    ({"conv_out.bias": np.zeros(1, np.int64)}, "conv_out.bias has dtype int64"),
    ({f"conv_{i}.weight": np.zeros(2, np.float32) for i in range(5)}, "and 2 more"),
]


@pytest.mark.parametrize("changes, problem", DO_NOT_FIT)
def test_tensors_that_do_not_fit_are_named(tmp_path, changes, problem):
    path = folder_of(tmp_path / "model", **changes)
    with pytest.raises(ValueError, match=f"^{re.escape(str(path / WEIGHTS))}: .*{problem}"):
        read(path)


def test_a_tensor_under_both_its_names(tmp_path):
    layer = "mid_block.attentions.0"
    both = {f"{layer}.query.weight": np.zeros((16, 16), np.float32)}
    path = folder_of(tmp_path / "model", "attention", **both)
    with pytest.raises(ValueError, match=f"{layer}.*new name, {layer}.to_q.weight"):
        read(path)


# ---- files that are missing or damaged -----------------------------------------------------------


def test_a_folder_without_a_config(tmp_path):
    with pytest.raises(ValueError, match="config.json: cannot be read"):
        read(tmp_path)


def test_weights_that_are_cut_missing_or_pickled(tmp_path):
    path = folder_of(tmp_path / "model")
    whole = (path / WEIGHTS).read_bytes()
    (path / WEIGHTS).write_bytes(whole[:-1])
    with pytest.raises(ValueError, match=WEIGHTS):
        read(path)
    (path / WEIGHTS).unlink()
    with pytest.raises(ValueError, match="there is no such file"):
        read(path)
    (path / "diffusion_pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ValueError, match=r"\.bin is a pickle, which may run code, and is not read"):
        read(path)


NO_OPTIONS = {
    "{": "not a JSON file",
    "[]": "expected an object of options, got list",
    '{"dropout": "x"}': "sample_size|dropout",
}


@pytest.mark.parametrize("text, problem", NO_OPTIONS.items())
def test_a_config_that_holds_no_options(tmp_path, text, problem):
    path = folder_of(tmp_path / "model")
    (path / CONFIG).write_text(text)
    with pytest.raises(ValueError, match=f"^{re.escape(str(path / CONFIG))}: .*({problem})"):
        read(path)
