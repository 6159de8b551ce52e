"""One picture from a file that nobody vouches for; the errors and the limit of all data files.

    opened(path, use, most=180e6)           # use(image), for Pillow's image of the file

No size in a header is believed before the bytes are there, and no other program is run. Whatever is
wrong with a file raises DataError: one line with the file's name, what was expected and what came.
"""

import contextlib
import dataclasses
import io
import math
import os
import re
import statistics
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from PIL import Image, UnidentifiedImageError

from .converting import Tally, in_our_words, unknown

T = TypeVar("T")


def limit(gigabytes: str | float, name: str = "TINYDDPM_MAX_GB") -> int:
    """Bytes, from what a user set. ValueError, with the name, if it is no positive number."""
    try:
        found = float(gigabytes)
    except ValueError:
        found = 0
    if not 0 < found < 2**20:
        raise ValueError(f"{name}: expected a positive number of gigabytes, got {gigabytes!r}")
    return int(found * 2**30)


# The most memory that one data set may take, as it is stored. A gzip file of 2 MB can unpack to
# 2 GB, so compressed files need a limit of their own. Raise it if the data are larger.
LIMIT = "TINYDDPM_MAX_GB"
MAX_BYTES = limit(os.environ.get(LIMIT) or "2")

# A small file can unpack to any number of pixels: pictures of more are refused.
MEGAPIXELS = 180.0

# The picture formats that we open. Left out on purpose: EPS, which Pillow hands to Ghostscript to
# run; formats that need a plug-in of the system; and TGA, which has no signature, so that any bytes
# may pass for one.
FORMATS = [
    *("AVIF", "BMP", "DIB", "GIF", "ICO", "JPEG", "JPEG2000", "PCX", "PNG", "PPM", "PSD", "QOI"),
    *("SGI", "TIFF", "WEBP"),
]


class DataError(ValueError):
    """A file, or a request about it, that cannot become a data set.

    The message is one line and names the file.
    """


class DifferentSizes(DataError):
    """Pictures have several sizes, and none was asked for.

    Attributes:
        found: in words, how many have which.
    """

    def __init__(self, file: object, first: object, sizes: Mapping[Any, tuple[int, int]]) -> None:
        (h, w), (first_h, first_w) = sizes[file], sizes[first]
        side = min(map(min, sizes.values()))
        usual = statistics.median_low(map(min, sizes.values()))
        fix = f"give a size, such as --size {min(64, 2 ** (usual.bit_length() - 1))}"
        problem = f"is {h} x {w} pixels, but {first} is {first_h} x {first_w}: {fix}"
        super().__init__(str(bad(str(file), problem)))
        counts = Counter(sizes.values()).most_common()
        rows = ", ".join(f"{count:,} of {h} x {w}" for (h, w), count in counts[:6])
        more = f", and {len(counts) - 6} more sizes" if len(counts) > 6 else ""
        self.found = (
            f"{len(sizes):,} images of {len(counts)} sizes (H x W): {rows}{more}; "
            f"the shortest side of all is {side}"
        )


# ---- errors that name the file -------------------------------------------------------------------


def bad(path: str | Path, problem: str) -> DataError:
    """The DataError for this file, in one line.

    A file's name may hold anything: what does not print becomes '?'.
    """
    return DataError(printable(f"{path}: {problem}"))


def printable(text: str) -> str:
    """The text, with ? for whatever does not print."""
    return "".join(c if c.isprintable() else "?" for c in text)


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
        if isinstance(error, OSError) and error.strerror:
            what = error.strerror
        raise bad(path, f"cannot be read: {what}") from error


def within_limit(path: str | Path, shape: Sequence[int], itemsize: int) -> None:
    """DataError unless an array of this shape has elements and fits MAX_BYTES.

    Elements of more than 4 bytes become float32 once they are read, so there is need of both.
    """
    if min(shape, default=0) < 1:
        raise bad(path, f"expected at least one element along every axis, got shape {shape}")
    if (need := math.prod(shape) * (itemsize + 4 * (itemsize > 4))) > MAX_BYTES:
        raise bad(path, f"shape {shape} would take {need} bytes of memory; {how_to_raise()}")


def how_to_raise() -> str:
    """What the limit is, and how to raise it."""
    return (
        f"the limit is {MAX_BYTES} bytes ({MAX_BYTES / 2**30:.3g} GB): raise it with --max-memory "
        f"(or {LIMIT}), in gigabytes, or take fewer or smaller images"
    )


@contextlib.contextmanager
def at_most(gigabytes: float | None) -> Iterator[None]:
    """Within the block this is the limit; None: it stays what it is."""
    global MAX_BYTES
    before = MAX_BYTES
    MAX_BYTES = before if gigabytes is None else limit(gigabytes, "max_memory")
    try:
        yield
    finally:
        MAX_BYTES = before


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


File = str | Path | Packed  # 200,000 paths of a folder are texts: a Path takes as long as its stat


def opened(
    file: File,
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


def _stream(file: File) -> BinaryIO:
    return io.BytesIO(file.content) if isinstance(file, Packed) else open(file, "rb")


@contextlib.contextmanager
def _pixels(most: float) -> Iterator[None]:
    """Within the block Pillow warns of pictures of more than this many pixels."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = int(most)
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before
