"""The readers of files from outside, as functions of bytes.

Each returns if the bytes were read or refused as they should be, and raises if not. `test_fuzz.py`
feeds them what hypothesis makes of the `seeds`, and what atheris makes of them, guided by coverage:

    python tests/prove/fuzz_targets.py pictures -runs=50000
"""

import contextlib
import gzip
import io
import json
import os
import struct
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

READERS = ["tinyddpm.data", "tinyddpm.runs", "tomllib", "PIL", "zipfile", "gzip"]
if __name__ == "__main__":
    import atheris

    instrumented = atheris.instrument_imports(include=READERS)
else:
    instrumented = contextlib.nullcontext()

with instrumented:  # what is imported here counts for the coverage
    import numpy as np
    from PIL import Image

    from tinyddpm import data
    from tinyddpm.data import image_files
    from tinyddpm.nn import UNetConfig
    from tinyddpm.runs import checkpoint, config

PLACE = tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
FILE = Path(PLACE.name, "x")
CONFIG = config.Config(unet=UNetConfig(base=2, levels=(1,), groups=1, blocks=1))
RECIPES = Path(config.__file__).parents[1] / "recipes"


# ---- the targets ---------------------------------------------------------------------------------


def images(content):
    """IDX, gzipped IDX, .npy, .npz and pictures: `data.load` tells them apart by content."""
    FILE.write_bytes(content)
    # A fuzzer likes large claims: let them be refused sooner.
    image_files.MAX_BYTES = 2**22
    try:
        found = data.load(FILE, megapixels=0.5)
    except data.DataError as error:
        assert str(FILE) in str(error) and str(error).isprintable(), error
        return
    x, labels = found.images, found.labels
    assert x.dtype == np.float32 and x.ndim == 4 and x.shape[1] in (1, 3)
    assert x.size and x.nbytes <= 2**22
    assert np.abs(x).max() <= 1  # and so no NaN
    assert labels is None or (labels.shape == x.shape[:1] and labels.dtype == np.int64)


def safetensors(content):
    """A checkpoint."""
    FILE.write_bytes(content)
    try:
        found = checkpoint.load(FILE)
    except checkpoint.CheckpointError as error:
        assert str(FILE) in str(error)
        return
    assert found.step >= 0 and isinstance(found.config, config.Config)
    assert isinstance(found.state["progress"], dict)


def metadata(content):
    """The text under our key of a sound checkpoint, with the right sum if it can have one."""
    tensors = {"theta.a": np.ones(2, np.float32), "ema.a": np.ones(2, np.float32)}
    text = content.decode("utf-8", "replace")
    with contextlib.suppress(ValueError, TypeError, AttributeError, RecursionError):
        text = with_the_right_sum(text, tensors)
    checkpoint.save_file(tensors, FILE, {checkpoint.KEY: text})
    safetensors(FILE.read_bytes())


def with_the_right_sum(text, tensors):
    values = json.loads(text)
    signed = {name: value for name, value in values.items() if name != "sha256"}
    values["sha256"] = checkpoint._digest(signed, tensors)
    text = json.dumps(values)
    text.encode()  # raises if it is no UTF-8
    return text


def toml(content):
    """A configuration."""
    FILE.write_bytes(content)
    try:
        found = config.from_dict(config.read(FILE))
    except ValueError:
        return
    config.write(found, FILE)
    assert config.from_dict(config.read(FILE)) == found


TARGETS = {
    "idx": images,
    "arrays": images,
    "pictures": images,
    "safetensors": safetensors,
    "metadata": metadata,
    "toml": toml,
}


# ---- sound files to start from -------------------------------------------------------------------

PIXELS = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


def seeds(target):
    """Sound files for this target: a list of bytes."""
    return {
        "idx": idx_seeds,
        "arrays": array_seeds,
        "pictures": picture_seeds,
        "safetensors": lambda: [sound_checkpoint()],
        "metadata": lambda: [its_metadata(sound_checkpoint())],
        "toml": toml_seeds,
    }[target]()


def written(write, *args, **options):
    file = io.BytesIO()
    write(file, *args, **options)
    return file.getvalue()


def idx_seeds():
    idx = struct.pack(">4B3I", 0, 0, 8, 3, 2, 3, 4) + PIXELS.tobytes()
    four_axes = struct.pack(">4B4I", 0, 0, 8, 4, 1, 2, 4, 3) + PIXELS.tobytes()
    return [idx, gzip.compress(idx, mtime=0), four_axes]


def array_seeds():
    return [
        written(np.save, PIXELS),
        written(np.save, PIXELS / 255),
        written(np.savez, PIXELS),
        written(np.savez_compressed, x=PIXELS, y=np.arange(2)),
        written(np.save, np.asfortranarray(PIXELS.astype(">u2"))),
    ]


def picture_seeds():
    colour = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
    grey = Image.fromarray(PIXELS[0])
    sixteen_bits = Image.fromarray(PIXELS[0].astype(np.uint16) * 257)
    names = "PNG BMP GIF JPEG TIFF WEBP PPM PCX SGI ICO DIB QOI"
    # Pillow before 13 leaves a picture below 16×16 out of an ICO file, unless its size is named.
    options = {"ICO": {"sizes": [(4, 4)]}}
    formats = [(colour, name, options.get(name, {})) for name in names.split()]
    formats += [
        (grey, "PNG", {}),
        (grey.convert("P"), "PNG", {"transparency": 3}),
        (colour.convert("CMYK"), "TIFF", {}),
        (colour.convert("RGBA"), "PNG", {}),
        (sixteen_bits, "PNG", {}),
        (grey, "GIF", {"save_all": True, "append_images": [grey, grey]}),
        (grey.convert("1"), "TIFF", {"compression": "group4"}),
        (grey, "TIFF", {"compression": "tiff_lzw"}),
    ]
    made = []
    for picture, name, options in formats:
        with contextlib.suppress(KeyError, OSError):  # not every Pillow writes every format
            made.append(written(picture.save, name, **options))
    return made


def sound_checkpoint():
    ones = np.ones(2, np.float32)
    theta = {"a": ones, "b": np.zeros((1, 2), np.float32)}
    state = {"progress": {"best": 0.5}}
    checkpoint.save(FILE, checkpoint.Checkpoint(CONFIG, 7, theta, {"a": ones}, state))
    return FILE.read_bytes()


def its_metadata(content):
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    return header["__metadata__"][checkpoint.KEY].encode()


def toml_seeds():
    config.write(CONFIG, FILE)
    recipes = [recipe.read_bytes() for recipe in sorted(RECIPES.glob("*.toml"))]
    return [FILE.read_bytes(), b'data = "digits"\nlevels = [1, 2]\n', *recipes]


# ---- guided by coverage --------------------------------------------------------------------------

WORDS = "best step config state progress sha256 nan inf -1 1e999"


def main():
    target, *options = sys.argv[1:]
    folder = Path(PLACE.name, "corpus")
    folder.mkdir()
    for i, content in enumerate(seeds(target)):
        (folder / str(i)).write_bytes(content)
    words = sorted({*WORDS.split(), *config.option_types()})
    dictionary = folder.parent / "words"
    dictionary.write_text("".join(f'"{word}"\n' for word in words))
    options += [
        f"-dict={dictionary}",
        f"-artifact_prefix={tempfile.gettempdir()}/fuzz-",
        "-seed=1",
        "-timeout=60",
        "-rss_limit_mb=2048",
        "-max_len=8192",
        str(folder),
    ]
    atheris.Setup([sys.argv[0], *options], TARGETS[target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
