"""Where diffusers keeps what: the folder of a network, its tensors, its scheduler.

    folder = model_folder("ddpm-cifar10-32")   # of a model, or unet/ of a pipeline
    values = tensors_in(folder)                # one file, shards, or a variant such as .fp16
    scheduler_file("ddpm-cifar10-32")          # None if there is none

Whatever is not there is a ValueError that says what lies there instead, and what to do.
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import safetensors

CONFIG, WEIGHTS = "config.json", "diffusion_pytorch_model.safetensors"
SCHEDULER, PIPELINE = "scheduler_config.json", "model_index.json"
STEM = WEIGHTS.removesuffix(".safetensors")
HUB = r"(?:https?:/+(?:www\.)?(?:huggingface\.co|hf\.co)/)?"
HUB_NAME = re.compile(HUB + r"([\w-][\w.-]*/[\w-][\w.-]*)(?:/(?:tree|blob|resolve)/.*)?/?")
# Of a variant, diffusers before 0.31 writes NAME.fp16-00001-of-00002.safetensors, later versions
# NAME-00001-of-00002.fp16.safetensors.
SHARD = re.compile(r"-(\d{5})-of-(\d{5})(\.[\w-]+)?\.safetensors$")
DEEPEST, MOST_FOLDERS = 4, 1000  # of the search for a model below a folder: hub caches have 3

Values = dict[str, np.ndarray]


def read_json(path: str | Path) -> dict[str, Any]:
    """The object in a JSON file. ValueError, naming the file, if there is none."""
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not a JSON file: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path}: expected an object of options, got {type(found).__name__}")
    return found


# ---- the folder of the network -------------------------------------------------------------------


def model_folder(path: str | Path) -> Path:
    """The folder with a network's config.json: the path itself, or unet/ of a pipeline.

    Raises:
        ValueError: there is none, or the pipeline has parts that we lack.
    """
    path = Path(path)
    if not path.exists():
        raise ValueError(f"{path}: there is no such folder{_download(path)}")
    if not path.is_dir():
        raise ValueError(f"{path}: expected a folder, got a file; import {path.parent}")
    _check_pipeline(path)
    if (path / "unet").is_dir():
        return path / "unet"
    if not (path / CONFIG).exists():
        below = sorted(_models_below(path))
        if below:
            names = ", ".join(map(str, below[:5])) + (" and more" if below[5:] else "")
            raise ValueError(
                f"{path}: expected the folder of a model or of a pipeline, found none; "
                f"import one of those below it: {names}"
            )
    return path


def _download(path: Path) -> str:
    """How to get it, if the path could be a name on the Hugging Face hub."""
    name = HUB_NAME.fullmatch(path.as_posix())
    if not name:
        return ""
    target = name[1].split("/")[1]
    return (
        f". A name on the Hugging Face hub is not downloaded here: run "
        f"hf download {name[1]} --local-dir {target}, then import {target}"
    )


def _check_pipeline(path: Path) -> None:
    """Is this a pipeline of a network and a scheduler alone, or no pipeline?"""
    for folder in (path, *_pipeline_around(path)):
        if not (folder / PIPELINE).exists():
            continue
        index = read_json(folder / PIPELINE)
        parts = {name for name, kind in index.items() if isinstance(kind, list) and any(kind)}
        others = sorted(parts - {"unet", "scheduler"})
        if others:
            raise ValueError(
                f"{folder / PIPELINE}: expected a pipeline of unet and scheduler alone, got "
                f"{', '.join(others)} too; without these its network makes no images"
            )


def _pipeline_around(path: Path) -> Iterator[Path]:
    """The folder of the pipeline whose network this is, going by the name: unet, unet_ema."""
    if path.absolute().name.startswith("unet"):
        yield path.absolute().parent


def _models_below(path: Path) -> Iterator[Path]:
    """Folders of models and pipelines below a path that is none itself."""
    base = len(path.parts)
    for count, (name, folders, files) in enumerate(os.walk(path)):
        folder = Path(name)
        if count == MOST_FOLDERS:
            return
        if PIPELINE in files or (folder != path and "unet" in folders) or CONFIG in files:
            yield folder
            folders.clear()
        if len(folder.parts) - base >= DEEPEST:
            folders.clear()
        folders.sort()


def scheduler_file(path: str | Path) -> Path | None:
    """The scheduler_config.json that goes with the folder of a model or of a pipeline, if any.

    It lies in the folder, in scheduler/ of the pipeline, or, where diffusers' training scripts
    write checkpoint-500/unet, in scheduler/ beside checkpoint-500.
    """
    path = Path(path)
    pipelines = [path, *_pipeline_around(path)]
    pipelines += [
        p.absolute().parent for p in pipelines if p.absolute().name.startswith("checkpoint-")
    ]
    places = [folder / inner for folder in pipelines for inner in ("", "scheduler")]
    return next((place / SCHEDULER for place in places if (place / SCHEDULER).exists()), None)


# ---- the tensors ---------------------------------------------------------------------------------


def tensors_in(folder: Path) -> Values:
    """Name -> array of the network in a folder.

    The tensors lie in one file or in shards, of full precision or, where that is not there, in the
    only variant that is: diffusion_pytorch_model.fp16.safetensors.

    Raises:
        ValueError: naming the file that is missing or damaged.
    """
    values: Values = {}
    for path in _weight_files(folder):
        values |= _load(path)
    return values


def _weight_files(folder: Path) -> list[Path]:
    """The safetensors files that make up one network."""
    names = sorted(p.name for p in folder.glob(f"{STEM}*") if p.is_file())
    index = f"{WEIGHTS}.index.json"
    if WEIGHTS in names:
        return [folder / WEIGHTS]
    if index in names:
        return _shards(folder / index)
    variants = [name for name in names if _is_variant(name)]
    if len(variants) > 1:
        raise ValueError(
            f"{folder}: expected {WEIGHTS} or one variant of it, got {', '.join(variants)}; "
            f"give the one that you want the name {WEIGHTS}"
        )
    if variants:
        path = folder / variants[0]
        return _shards(path) if path.suffix == ".json" else [path]
    shards = [name for name in names if SHARD.search(name)]
    if shards:
        raise ValueError(
            f"{folder / index}: there is no such file, which names the shards' tensors"
        )
    pickled = [name for name in names if name.endswith(".bin")]
    note = f"; {pickled[0]} is a pickle, which may run code, and is not read" if pickled else ""
    fix = "; write it again with save_pretrained(folder, safe_serialization=True)"
    raise ValueError(f"{folder / WEIGHTS}: there is no such file{note}{fix if note else ''}")


def _is_variant(name: str) -> bool:
    """Whether it is the file of a variant, or the index of its shards."""
    one = name.endswith(".safetensors") and not SHARD.search(name)
    index = ".safetensors." in name and ".index." in name and name.endswith(".json")
    return one or index  # where in the index's name the variant stands has changed, too


def _shards(index: Path) -> list[Path]:
    """The files that an index names, all of which lie beside it."""
    found = read_json(index).get("weight_map")
    names = list(found.values()) if isinstance(found, dict) else []
    if not names or not all(isinstance(name, str) and Path(name).name == name for name in names):
        raise ValueError(f"{index}: expected weight_map, the file beside it for each tensor")
    paths = [index.parent / name for name in sorted(set(names))]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise ValueError(f"{missing[0]}: there is no such file; {index.name} names it")
    return paths


def _load(path: Path) -> Values:
    """The arrays in a safetensors file. bfloat16, which NumPy lacks, comes as float32."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from None
    if content.startswith(b"version https://git-lfs"):
        raise ValueError(f"{path}: expected tensors, got a pointer of Git LFS: run git lfs pull")
    try:
        tensors = safetensors.deserialize(content)
        return {name: _array(name, tensor) for name, tensor in tensors}
    except (safetensors.SafetensorError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None


# How safetensors calls the dtypes that we read. Others are no numbers of a network.
DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
DTYPES |= {"I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1", "BOOL": "?"}


def _array(name: str, tensor: dict[str, Any]) -> np.ndarray:
    kind = tensor["dtype"]
    if kind not in DTYPES:
        raise ValueError(f"{name} has dtype {kind}, expected F32, F16, BF16 or F64")
    array = np.frombuffer(tensor["data"], DTYPES[kind]).reshape(tensor["shape"])
    return (array.astype("<u4") << 16).view("<f4") if kind == "BF16" else array
