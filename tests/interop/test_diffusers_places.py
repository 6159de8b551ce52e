"""Where a model of diffusers may lie: variants, shards, pipelines, EMA folders, hub names."""

import json
import re
import shutil

import numpy as np
import pytest
from diffusers_folders import folder_of, frozen
from safetensors.numpy import load_file, save_file

from tinyddpm.cli import main
from tinyddpm.interop import diffusers_scheduler
from tinyddpm.interop.diffusers_unet import CONFIG, WEIGHTS, read
from tinyddpm.runs.diffusers import import_notes

STEM = WEIGHTS.removesuffix(".safetensors")
INDEX = f"{WEIGHTS}.index.json"


@pytest.fixture
def model(tmp_path):
    return folder_of(tmp_path / "model")


def theta(case="plain", dtype=np.float32):
    return frozen(case, dtype).theta


def in_shards(folder, index=INDEX, shard="{stem}-{number}"):
    """Replace the file of tensors by two of half of them each, and the index that names them."""
    values = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    numbers = "00001-of-00002", "00002-of-00002"
    files = [f"{shard.format(stem=STEM, number=number)}.safetensors" for number in numbers]
    weight_map = {name: files[i % 2] for i, name in enumerate(sorted(values))}
    for file in files:
        save_file({n: v for n, v in values.items() if weight_map[n] == file}, folder / file)
    content = {"metadata": {"total_size": 1}, "weight_map": weight_map}
    (folder / index).write_text(json.dumps(content))
    return [folder / file for file in files]


def test_shards_are_read_as_one(model):
    in_shards(model)
    np.testing.assert_array_equal(read(model).theta, theta())


@pytest.mark.parametrize("shard", ["{stem}.fp16-{number}", "{stem}-{number}.fp16"])
@pytest.mark.parametrize(
    "index",
    [
        f"{WEIGHTS}.index.fp16.json",
        f"{WEIGHTS}.fp16.index.json",
        f"{STEM}.fp16.safetensors.index.json",
    ],
)
def test_shards_of_a_variant_are_read_as_one(index, shard, model):
    """Versions of diffusers differ in where the name of the variant stands."""
    in_shards(model, index, shard)
    np.testing.assert_array_equal(read(model).theta, theta())


def test_a_shard_that_is_missing_is_named(model):
    first, _ = in_shards(model)
    first.unlink()
    with pytest.raises(ValueError, match=f"^{first}: there is no such file; {INDEX} names it"):
        read(model)
    (model / INDEX).unlink()
    with pytest.raises(ValueError, match=f"{INDEX}: there is no such file"):
        read(model)


BAD_MAPS = [None, {}, {"conv_in.weight": "../other.safetensors"}, {"conv_in.weight": ["a"]}]


@pytest.mark.parametrize("weight_map", BAD_MAPS)
def test_an_index_names_files_beside_it(model, weight_map):
    in_shards(model)
    (model / INDEX).write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(ValueError, match=f"{INDEX}: expected weight_map"):
        read(model)


def test_the_only_variant_is_read(model):
    values = {name: w.astype(np.float16) for name, w in load_file(model / WEIGHTS).items()}
    save_file(values, model / f"{STEM}.fp16.safetensors")
    (model / WEIGHTS).unlink()
    unet = read(model)
    assert unet.theta.dtype == np.float32
    np.testing.assert_allclose(unet.theta, theta(), rtol=1e-3, atol=1e-6)


def test_full_precision_comes_before_a_variant(model):
    save_file({"x": np.zeros(1)}, model / f"{STEM}.fp16.safetensors")
    np.testing.assert_array_equal(read(model).theta, theta())


def test_of_several_variants_none_is_guessed(model):
    for variant in ("fp16", "non_ema"):
        shutil.copy(model / WEIGHTS, model / f"{STEM}.{variant}.safetensors")
    (model / WEIGHTS).unlink()
    with pytest.raises(ValueError, match=f"got {STEM}.fp16.safetensors, {STEM}.non_ema"):
        read(model)


def test_bfloat16_is_read_as_float32(model):
    """It is the upper half of a float32: 8 bits of exponent, 7 after the point."""
    values = load_file(model / WEIGHTS)
    halves = {name: (w.view("<u4") >> 16).astype("<u2") for name, w in values.items()}
    header, content = {}, b""
    for name, w in halves.items():
        place = [len(content), len(content) + w.nbytes]
        header[name] = {"dtype": "BF16", "shape": list(w.shape), "data_offsets": place}
        content += w.tobytes()
    head = json.dumps(header).encode()
    (model / WEIGHTS).write_bytes(len(head).to_bytes(8, "little") + head + content)
    found = read(model).theta
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, theta(), rtol=2**-7, atol=0)


def test_a_pointer_of_git_lfs_is_called_so(model):
    (model / WEIGHTS).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(ValueError, match="pointer of Git LFS: run git lfs pull"):
        read(model)


# ---- folders -------------------------------------------------------------------------------------

NOTES = {  # what EMAModel.save_pretrained adds to config.json
    "decay": 0.9999,
    "inv_gamma": 1.0,
    "min_decay": 0.0,
    "optimization_step": 500,
    "power": 0.75,
    "update_after_step": 0,
    "use_ema_warmup": True,
}


@pytest.fixture
def pipeline(tmp_path):
    """What a training script of diffusers leaves: unet, unet_ema and scheduler."""
    path = tmp_path / "pipeline"
    path.mkdir()
    folder_of(path / "unet")
    folder_of(path / "unet_ema")
    options = json.loads((path / "unet_ema" / CONFIG).read_text())
    (path / "unet_ema" / CONFIG).write_text(json.dumps(options | NOTES))
    (path / "scheduler").mkdir()
    scheduler = {"num_train_timesteps": 40, "prediction_type": "v_prediction"}
    (path / "scheduler" / diffusers_scheduler.CONFIG).write_text(json.dumps(scheduler))
    index = {"unet": ["diffusers", "UNet2DModel"], "scheduler": ["diffusers", "DDPMScheduler"]}
    (path / "model_index.json").write_text(json.dumps({"_class_name": "DDPMPipeline"} | index))
    return path


def test_the_notes_of_an_ema_are_no_options(pipeline):
    np.testing.assert_array_equal(read(pipeline / "unet_ema").theta, theta())


@pytest.mark.parametrize("inner", ["", "unet", "unet_ema"])
def test_the_scheduler_of_the_pipeline_goes_with_its_networks(pipeline, inner):
    """It is that of the pipeline, and not the one of Ho et al. 2020, however one points at it."""
    assert diffusers_scheduler.read(pipeline / inner).predicts == "v"


def test_the_scheduler_beside_a_checkpoint_of_training(pipeline, tmp_path):
    (tmp_path / "pipeline/checkpoint-500").mkdir()
    folder_of(tmp_path / "pipeline/checkpoint-500/unet")
    for inner in ("checkpoint-500", "checkpoint-500/unet"):
        assert diffusers_scheduler.read(pipeline / inner).schedule.T == 40


def test_an_import_says_which_scheduler_it_took_and_where_the_ema_is(pipeline, tmp_path, capsys):
    assert main(["import", str(pipeline), "--out", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().out
    assert "predicts v, T = 40" in said and f"{pipeline / 'unet_ema'} holds the EMA" in said
    assert import_notes(pipeline / "unet_ema") == [
        f"scheduler: {pipeline / 'scheduler' / diffusers_scheduler.CONFIG}"
    ]
    shutil.rmtree(pipeline / "scheduler")
    assert "taken to predict the noise" in import_notes(pipeline)[0]


@pytest.mark.parametrize("depth", ["", "snapshots/0123abcd"])
def test_the_folder_above_a_pipeline_names_it(pipeline, tmp_path, depth):
    above = tmp_path / "above"
    (above / depth / "x").mkdir(parents=True)
    inside = above / depth / "ddpm"
    shutil.move(pipeline, inside)
    with pytest.raises(ValueError, match=f"^{above}: .*import one of those below it: {inside}$"):
        read(above)


def test_a_pipeline_of_latents_is_refused(pipeline):
    """Its network makes latents, which would be taken for images."""
    index = json.loads((pipeline / "model_index.json").read_text())
    index |= {"vqvae": ["diffusers", "VQModel"], "safety_checker": [None, None]}
    (pipeline / "model_index.json").write_text(json.dumps(index))
    for path in (pipeline, pipeline / "unet"):
        with pytest.raises(ValueError, match=r"model_index.json: expected .*, got vqvae too"):
            read(path)


NO_FOLDERS = [
    "google/ddpm-cifar10-32",
    "https://huggingface.co/google/ddpm-cifar10-32",
    "https://huggingface.co/google/ddpm-cifar10-32/",
    "https://huggingface.co/google/ddpm-cifar10-32/tree/main",
    "https://hf.co/google/ddpm-cifar10-32/blob/main/config.json",
]


@pytest.mark.parametrize("name", NO_FOLDERS)
def test_a_name_of_the_hub_says_how_to_download_it(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["import", name, "--out", "run"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "hf download google/ddpm-cifar10-32 --local-dir ddpm-cifar10-32" in said
    assert not (tmp_path / "run").exists()


def test_a_file_in_place_of_its_folder(model):
    with pytest.raises(ValueError, match=f"got a file; import {re.escape(str(model))}$"):
        read(model / WEIGHTS)
