"""Reading pictures from files that nobody vouches for; the errors and the limit of all data files.

    images = read_pictures(paths).array     # uint8 (n, H, W, C)

No size in a header is believed before the bytes are there, and no other program is run. Whatever is
wrong with a file raises DataError: one line with the file's name, what was expected and what came.
"""

import contextlib
import dataclasses
import io
import math
import re
import struct
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from .remarks import Tally, in_our_words, unknown

T = TypeVar("T")

# The most memory that one data set may take, as stored and as float32. A gzip file of 2 MB can
# unpack to 2 GB, so compressed files need a limit of their own. Raise it if the data are larger.
MAX_BYTES = 2**31

# A small file can unpack to any number of pixels: pictures of more are refused.
MEGAPIXELS = 180.0

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


@dataclasses.dataclass(frozen=True)
class Packed:
    """A picture in an archive.

    Attributes:
        archive: the path of the archive.
        place: where in it the picture lies.
        content: its bytes.
    """

    archive: Path
    place: str
    content: bytes

    def __str__(self) -> str:
        return f"{self.archive}[{self.place}]"


class Pictures(NamedTuple):
    """What `read_pictures` gives.

    Attributes:
        array: uint8 (n, H, W, C).
        stored: how the files store them, such as "PNG L 3, JPEG RGB 200".
        notes: what the user should know of them.
    """

    array: np.ndarray
    stored: str
    notes: tuple[str, ...]


def read_pictures(
    files: Sequence[Path | Packed],
    size: tuple[int, int] | None = None,
    channels: int | None = None,
    megapixels: float = MEGAPIXELS,
) -> Pictures:
    """The pictures, upright, their first frame, on white where they are transparent.

    Args:
        files: at least one.
        size: (H, W): each picture is cropped to this aspect ratio around its centre, then resized
            (bicubic). None: all must have the same size.
        channels: 1 or 3. None: 1 if every picture is grey, else 3.
        megapixels: larger pictures are refused, before they are unpacked.

    Raises:
        DataError: naming the first picture that cannot be used.
    """
    tally = Tally()
    opened = partial(_opened, most=megapixels * 1e6)
    if channels is None:
        channels = 1 if all(opened(file, _is_grey) for file in files) else 3
    if size is not None:  # refuse it before Pillow makes room for the first one
        within_limit(str(files[0]), (len(files), *size, channels))
    convert = partial(_eight_bits, size=size, channels=channels, tally=tally)
    first = opened(files[0], convert, tally=tally)
    shape = (len(files), *first.shape)
    within_limit(str(files[0]), shape)
    pictures = np.empty(shape, np.uint8)
    pictures[0] = first
    for i, file in enumerate(files[1:], 1):
        picture = opened(file, convert, tally=tally)
        if picture.shape != first.shape:
            (h, w, _), (first_h, first_w, _) = picture.shape, first.shape
            other = f"{files[0]} is {first_h} x {first_w}"
            raise bad(str(file), f"is {h} x {w} pixels, but {other}: give a size")
        pictures[i] = picture
    stored = ", ".join(f"{kind} {count:,}" for kind, count in tally.kinds.most_common())
    return Pictures(pictures, stored, tally.notes())


def _opened(
    file: Path | Packed,
    use: Callable[[Image.Image], T],
    most: float,
    tally: Tally | None = None,
) -> T:
    """use(image), for the image in the file.

    Pillow's warnings become remarks in the tally, but for the one of too many pixels, which is an
    error: a small file may unpack to more than the memory holds.
    """
    Image.init()
    formats = [name for name in FORMATS if name in Image.OPEN]  # not every Pillow has AVIF
    with blaming(str(file)), warnings.catch_warnings(record=True) as warned, _pixels(most):
        warnings.simplefilter("always")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with _stream(file) as stream, Image.open(stream, formats=formats) as image:
                result = use(image)
        except UnidentifiedImageError:
            with _stream(file) as stream:
                raise bad(str(file), unknown(stream.read(512))) from None
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            found = re.search(r"(\d+) pixels", str(error))
            got = f"{int(found[1]) / 1e6:g}" if found else "more"
            limit = f"expected at most {most / 1e6:g} megapixels, got {got}"
            fix = "if you trust this picture, raise --megapixels"
            raise bad(str(file), f"{limit}: {fix}") from None
    if tally is not None:
        tally.remarks.update({in_our_words(str(warning.message)) for warning in warned})
    return result


def _stream(file: Path | Packed) -> BinaryIO:
    return io.BytesIO(file.content) if isinstance(file, Packed) else file.open("rb")


@contextlib.contextmanager
def _pixels(most: float) -> Iterator[None]:
    """Within the block Pillow warns of pictures of more than this many pixels."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = int(most)
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _is_grey(image: Image.Image) -> bool:
    if image.mode == "P":
        palette = np.array(image.getpalette("RGB")).reshape(-1, 3)
        return bool((palette == palette[:, :1]).all())
    return image.mode in ("1", "L", "LA", "La") or image.mode.startswith("I")


def _eight_bits(
    image: Image.Image, size: tuple[int, int] | None, channels: int, tally: Tally
) -> np.ndarray:
    """uint8 (H, W, C) of any image that Pillow opens."""
    tally.kinds[f"{image.format} {image.mode}"] += 1
    if getattr(image, "is_animated", False):
        tally.remarks["several frames, of which the first is used"] += 1
        image.seek(0)  # to ask may have moved on
    image.load()  # what is wrong with the pixels is not the EXIF's fault
    with contextlib.suppress(ValueError, OSError, SyntaxError, struct.error, TypeError, KeyError):
        # Cameras store what the sensor saw, and note how they were held.
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        image = _from_sixteen_bits(image, tally)
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
        scales = size[0] / image.height, size[1] / image.width
        if max(scales) > 1:
            tally.remarks["smaller than the size, and enlarged"] += 1
        if min(scales) < 0.9 * max(scales):
            tally.remarks["more than a tenth is cut off, to fit the shape"] += 1
        image = ImageOps.fit(image, width_height, Image.Resampling.BICUBIC)
    return np.asarray(image).reshape(image.height, image.width, channels)


def _from_sixteen_bits(image: Image.Image, tally: Tally) -> Image.Image:
    """16-bit grey to 8 bits. (Pillow's own conversion clips at 255 instead of scaling.)"""
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        got = f"{values.min()} to {values.max()}"
        raise ValueError(f"expected grey values of 8 or 16 bits, got {got}")
    tally.remarks["16 bits, scaled to 8"] += 1
    tally.sixteen = max(tally.sixteen, int(values.max()))
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))
