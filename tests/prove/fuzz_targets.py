"""What reads files from outside, as functions of bytes: each returns if the bytes were read or refused as they should be, and raises if not.

`test_fuzz.py` feeds them what hypothesis makes of the SEEDS, and, guided by coverage, what atheris makes of them:

    python tests/prove/fuzz_targets.py pictures -runs=50000
"""
import gzip
import io
import json
import os
import struct
import sys
import tempfile
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

if __name__ == "__main__":
    import atheris
    with atheris.instrument_imports(include=["tinyddpm.data", "tinyddpm.runs", "tomllib", "PIL", "zipfile", "gzip"]):
        import PIL.Image
        from tinyddpm.runs import checkpoint, config
        from tinyddpm import data
        from tinyddpm.data import image_files
else:
    from tinyddpm.runs import checkpoint, config
    from tinyddpm import data
    from tinyddpm.data import image_files

import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402

from tinyddpm.nn import UNetConfig  # noqa: E402

PLACE = tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
FILE = Path(PLACE.name, "x")
CONFIG = config.Config(unet=UNetConfig(base=2, levels=(1,), groups=1, blocks=1))


def images(content):
    """IDX, gzipped IDX, .npy, .npz and pictures: `data.load` tells them apart by content."""
    FILE.write_bytes(content)
    image_files.MAX_BYTES, Image.MAX_IMAGE_PIXELS = 2**22, 2**19  # a fuzzer likes large claims: let them be refused sooner
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, about what it forgives
            found = data.load(FILE)
    except data.DataError as error:
        assert str(FILE) in str(error) and str(error).isprintable(), error
        return
    x = found.images
    assert x.dtype == np.float32 and x.ndim == 4 and x.shape[1] in (1, 3) and x.size and x.nbytes <= 2**22
    assert np.abs(x).max() <= 1  # and so no NaN
    assert found.labels is None or found.labels.shape == x.shape[:1] and found.labels.dtype == np.int64


def safetensors(content):
    FILE.write_bytes(content)
    try:
        found = checkpoint.load(FILE)
    except checkpoint.CheckpointError as error:
        assert str(FILE) in str(error)
        return
    assert found.step >= 0 and isinstance(found.config, config.Config) and isinstance(found.state["progress"], dict)


def metadata(content):
    """The text under our key of a file that is otherwise in order, and has the right sum if it can have one."""
    tensors = {"theta.a": np.ones(2, np.float32), "ema.a": np.ones(2, np.float32)}
    text = content.decode("utf-8", "replace")
    try:
        values = json.loads(text)
        values["sha256"] = checkpoint._digest({name: v for name, v in values.items() if name != "sha256"}, tensors)
        text = json.dumps(values)
        text.encode()
    except (ValueError, TypeError, AttributeError, RecursionError):
        text = content.decode("utf-8", "replace")
    checkpoint.save_file(tensors, FILE, {checkpoint.KEY: text})
    safetensors(FILE.read_bytes())


def toml(content):
    FILE.write_bytes(content)
    try:
        found = config.from_dict(config.read(FILE))
    except ValueError:
        return
    config.write(found, FILE)
    assert config.from_dict(config.read(FILE)) == found


def seeds(target):
    """Files that are in order, to start from: a list of bytes."""
    pixels, stream = np.arange(24, dtype=np.uint8).reshape(2, 3, 4), io.BytesIO

    def written(write, *args, **options):
        file = stream()
        write(file, *args, **options)
        return file.getvalue()

    if target == "idx":
        idx = struct.pack(">4B3I", 0, 0, 8, 3, 2, 3, 4) + pixels.tobytes()
        return [idx, gzip.compress(idx, mtime=0), struct.pack(">4B4I", 0, 0, 8, 4, 1, 2, 4, 3) + pixels.tobytes()]
    if target == "arrays":
        return [written(np.save, pixels), written(np.save, pixels / 255), written(np.savez, pixels), written(np.savez_compressed, x=pixels, y=np.arange(2)), written(np.save, np.asfortranarray(pixels.astype(">u2")))]
    if target == "pictures":
        colour, grey = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3)), Image.fromarray(pixels[0])
        formats = [(colour, name, {}) for name in ("PNG", "BMP", "GIF", "JPEG", "TIFF", "WEBP", "PPM", "PCX", "SGI", "ICO", "DIB", "QOI")]
        formats += [(grey, "PNG", {}), (grey.convert("P"), "PNG", {"transparency": 3}), (colour.convert("CMYK"), "TIFF", {}), (colour.convert("RGBA"), "PNG", {}), (Image.fromarray(pixels[0].astype(np.uint16) * 257), "PNG", {}),
                    (grey, "GIF", {"save_all": True, "append_images": [grey, grey]}), (grey.convert("1"), "TIFF", {"compression": "group4"}), (grey, "TIFF", {"compression": "tiff_lzw"})]
        made = []
        for picture, name, options in formats:
            try:
                made.append(written(picture.save, name, **options))
            except (KeyError, OSError):  # not every Pillow writes every format
                pass
        return made
    whole = checkpoint.Checkpoint(CONFIG, 7, {"a": np.ones(2, np.float32), "b": np.zeros((1, 2), np.float32)}, {"a": np.ones(2, np.float32)}, {"progress": {"best": 0.5}})
    checkpoint.save(FILE, whole)
    content = FILE.read_bytes()
    if target == "safetensors":
        return [content]
    if target == "metadata":
        header = json.loads(content[8:8 + int.from_bytes(content[:8], "little")])
        return [header["__metadata__"][checkpoint.KEY].encode()]
    config.write(CONFIG, FILE)
    return [FILE.read_bytes(), b'data = "digits"\nlevels = [1, 2]\n', *(recipe.read_bytes() for recipe in sorted(Path(config.__file__).parents[1].glob("recipes/*.toml")))]


TARGETS = {"idx": images, "arrays": images, "pictures": images, "safetensors": safetensors, "metadata": metadata, "toml": toml}


def main():
    target, *options = sys.argv[1:]
    folder = Path(PLACE.name, "corpus")
    folder.mkdir()
    for i, content in enumerate(seeds(target)):
        (folder / str(i)).write_bytes(content)
    words = {b"best", b"step", b"config", b"state", b"progress", b"sha256", b"nan", b"inf", b"-1", b"1e999", *(name.encode() for name in config.option_types())}
    (folder.parent / "words").write_text("".join(f'"{word.decode()}"\n' for word in sorted(words)))
    atheris.Setup([sys.argv[0], *options, f"-dict={folder.parent / 'words'}", f"-artifact_prefix={tempfile.gettempdir()}/fuzz-", "-seed=1", "-timeout=60", "-rss_limit_mb=2048", "-max_len=8192", str(folder)],
                  TARGETS[target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
