"""Reading pictures from files that nobody vouches for; the errors and the limit of all data files.

    images = read_pictures(find_pictures(folder))     # uint8 (n, H, W, C)

No size in a header is believed before the bytes are there, and no other program is run. Whatever is
wrong with a file raises DataError: one line with the file's name, what was expected and what came.
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

T = TypeVar("T")

# The most memory that one data set may take, as stored and as float32. A gzip file of 2 MB can
# unpack to 2 GB, so compressed files need a limit of their own. Raise it if the data are larger.
MAX_BYTES = 2**31

# The picture formats that we open. Left out on purpose: EPS, which Pillow hands to Ghostscript to
# run; formats that need a plug-in of the system; and TGA, which has no signature, so that any bytes
# may pass for one.
FORMATS = [
    "AVIF",
    "BMP",
    "DIB",
    "GIF",
    "ICO",
    "JPEG",
    "JPEG2000",
    "PCX",
    "PNG",
    "PPM",
    "PSD",
    "QOI",
    "SGI",
    "TIFF",
    "WEBP",
]


class DataError(ValueError):
    """A file, or a request about it, that cannot become a data set.

    The message is one line and names the file.
    """


# ---- errors that name the file -------------------------------------------------------------------


def bad(path: str | Path, problem: str) -> DataError:
    """The DataError for this file, in one line.

    A file's name may hold anything: what does not print becomes '?'.
    """
    return DataError("".join(c if c.isprintable() else "?" for c in f"{path}: {problem}"))


@contextlib.contextmanager
def blaming(path: str | Path) -> Iterator[None]:
    """Whatever a parser raises inside becomes a DataError that names the file.

    zlib, zipfile, NumPy and Pillow answer hostile bytes with a dozen kinds of exception. The cause
    stays chained.
    """
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        what = f"{type(error).__name__}: {str(error)[:200]}"
        raise bad(path, f"cannot be read: {what}") from error


def within_limit(path: str | Path, shape: Sequence[int], itemsize: int = 4) -> None:
    """DataError unless an array of this shape has elements and fits MAX_BYTES.

    It must fit both as stored (`itemsize` bytes per element) and as float32.
    """
    if min(shape, default=0) < 1:
        raise bad(path, f"expected at least one element along every axis, got shape {shape}")
    if (need := math.prod(shape) * max(itemsize, 4)) > MAX_BYTES:
        limit = f"the limit is tinyddpm.data.image_files.MAX_BYTES = {MAX_BYTES}"
        raise bad(path, f"shape {shape} would take {need} bytes of memory; {limit}")


# ---- pictures ------------------------------------------------------------------------------------


def find_pictures(folder: Path) -> list[Path]:
    """The pictures under `folder`, at any depth, in the order of their relative names.

    They are recognised by their suffix. Files and folders whose name begins with a dot are skipped:
    systems keep thumbnails and the like there.

    Raises:
        DataError: if there are none.
    """
    known = Image.registered_extensions().items()
    suffixes = {suffix for suffix, name in known if name in FORMATS}
    paths = [path for path in folder.rglob("*") if path.suffix.lower() in suffixes]
    names = {path.relative_to(folder): path for path in paths}
    shown = [name for name in names if not _hidden(name) and names[name].is_file()]
    if not shown:
        named = " ".join(sorted(suffixes))
        raise bad(folder, f"expected pictures in this folder, found no file named {named}")
    return [names[name] for name in sorted(shown, key=lambda name: name.as_posix())]


def _hidden(name: Path) -> bool:
    return any(part.startswith(".") for part in name.parts)


def read_pictures(
    paths: Sequence[Path],
    size: tuple[int, int] | None = None,
    channels: int | None = None,
) -> np.ndarray:
    """The pictures, upright, their first frame, on white where they are transparent.

    Args:
        paths: at least one.
        size: (H, W): each picture is cropped to this aspect ratio around its centre, then resized
            (bicubic). None: all must have the same size.
        channels: 1 or 3. None: 1 if every picture is grey, else 3.

    Returns:
        uint8 (n, H, W, C).

    Raises:
        DataError: naming the first picture that cannot be used.
    """
    if channels is None:
        channels = 1 if all(_opened(path, _is_grey) for path in paths) else 3
    if size is not None:  # refuse it before Pillow makes room for the first one
        within_limit(paths[0], (len(paths), *size, channels))
    convert = partial(_eight_bits, size=size, channels=channels)
    first = _opened(paths[0], convert)
    shape = (len(paths), *first.shape)
    within_limit(paths[0], shape)
    pictures = np.empty(shape, np.uint8)
    pictures[0] = first
    for i, path in enumerate(paths[1:], 1):
        picture = _opened(path, convert)
        if picture.shape != first.shape:
            (h, w, _), (first_h, first_w, _) = picture.shape, first.shape
            other = f"{paths[0]} is {first_h} x {first_w}"
            raise bad(path, f"is {h} x {w} pixels, but {other}: give a size")
        pictures[i] = picture
    return pictures


def _opened(path: Path, use: Callable[[Image.Image], T]) -> T:
    """use(image), for the image at path.

    Pillow refuses pictures of more than 179 million pixels: decompression bombs.
    """
    Image.init()
    formats = [name for name in FORMATS if name in Image.OPEN]  # not every Pillow has AVIF
    with blaming(path):
        try:
            with Image.open(path, formats=formats) as image:
                return use(image)
        except UnidentifiedImageError:
            with path.open("rb") as file:
                begins = f"this begins with '{file.read(8).hex(' ')}'"
            what = "expected a picture, or an IDX, .npy or .npz file"
            raise bad(path, f"{what}; {begins}") from None


def _is_grey(image: Image.Image) -> bool:
    if image.mode == "P":
        palette = np.array(image.getpalette("RGB")).reshape(-1, 3)
        return bool((palette == palette[:, :1]).all())
    return image.mode in ("1", "L", "LA", "La") or image.mode.startswith("I")


def _eight_bits(image: Image.Image, size: tuple[int, int] | None, channels: int) -> np.ndarray:
    """uint8 (H, W, C) of any image that Pillow opens."""
    # Cameras store what the sensor saw, and note how they were held.
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        image = _from_sixteen_bits(image)
    if image.mode == "F":
        raise ValueError(
            "expected grey values of 8 or 16 bits, got floats (an .npy file may hold them)"
        )
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("RGB")  # from CMYK, palettes, …; grey stays exactly grey through RGB
    if channels == 1:
        image = image.convert("L")
    if size is not None:
        width_height = size[::-1]  # Pillow's order
        image = ImageOps.fit(image, width_height, Image.Resampling.BICUBIC)
    return np.asarray(image).reshape(image.height, image.width, channels)


def _from_sixteen_bits(image: Image.Image) -> Image.Image:
    """16-bit grey to 8 bits. (Pillow's own conversion clips at 255 instead of scaling.)"""
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        got = f"{values.min()} to {values.max()}"
        raise ValueError(f"expected grey values of 8 or 16 bits, got {got}")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))
