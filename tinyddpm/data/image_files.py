"""Reading pictures from files that nobody vouches for: IDX, .npy, .npz, and whatever Pillow decodes.

    array, labels = read_file(path)                  # what an IDX, .npy or .npz file holds, as it is stored
    array = read_pictures(find_pictures(folder))     # uint8 (n, H, W, C)

No size that a header states is believed before the bytes are there, nothing is unpickled or handed to another program,
and whatever is wrong with a file raises DataError: one line with its name, what was expected and what came.
"""

import contextlib
import gzip
import math
import zipfile

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

# What one data set may take in memory, as it is stored and as float32. A gzip file of 2 MB can unpack to 2 GB, so
# compressed files need a limit of their own; raise it if the data really are larger.
MAX_BYTES = 2**31

IMAGE_KEYS = ("images", "x", "arr_0", "x_train")  # what an .npz may call its pictures, first match wins
LABEL_KEYS = ("labels", "y", "y_train")
IDX_TYPES = [b"\x08", b"\x09", b"\x0b", b"\x0c", b"\x0d", b"\x0e"]  # only the first, unsigned bytes, holds pictures

# The picture formats to open. Left out on purpose: EPS, which Pillow hands to Ghostscript to run; formats that need a
# plug-in of the system; and TGA, which has no signature, so that anything may pass for one.
FORMATS = "AVIF BMP DIB GIF ICO JPEG JPEG2000 PCX PNG PPM PSD QOI SGI TIFF WEBP".split()


class DataError(ValueError):
    """A file (or a request about it) that cannot become a data set. The message is one line and names the file."""


# --- errors that name the file ---------------------------------------------------------------------------------------


def bad(path, problem):
    """The DataError for this file. A file's name may hold anything, so what does not print becomes '?': one line."""
    return DataError("".join(c if c.isprintable() else "?" for c in f"{path}: {problem}"))


@contextlib.contextmanager
def blaming(path):
    """Whatever a parser raises inside becomes a DataError that names the file.

    zlib, zipfile, NumPy and Pillow answer hostile bytes with a dozen kinds of exception; the cause stays chained.
    """
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        raise bad(path, f"cannot be read: {type(error).__name__}: {str(error)[:200]}") from error


def within_limit(path, shape, itemsize=4):
    """DataError unless an array of this shape has no empty axis and fits MAX_BYTES, as stored and as float32."""
    if min(shape, default=0) < 1:
        raise bad(path, f"expected at least one element along every axis, got shape {shape}")
    if (need := math.prod(shape) * max(itemsize, 4)) > MAX_BYTES:
        limit = f"the limit is tinyddpm.data.image_files.MAX_BYTES = {MAX_BYTES}"
        raise bad(path, f"shape {shape} would take {need} bytes of memory; {limit}")


# --- files of arrays -------------------------------------------------------------------------------------------------


def read_file(path):
    """(array, labels or None) as an IDX, .npy or .npz file stores them; None if it begins like none of these.

    IDX must hold unsigned bytes, plain or gzipped, with 3 or 4 axes. An .npz must hold one array besides labels, or one
    called images, x, arr_0 or x_train; labels are those called labels, y or y_train.
    """
    with blaming(path):
        with path.open("rb") as file:
            head = file.read(4)
        if not head:
            raise bad(path, "the file is empty")
        if head == b"\x93NUM":
            with path.open("rb") as stream:
                return _read_npy(path, stream, path.stat().st_size), None
        if head == b"PK\x03\x04":
            return _read_npz(path)
        gzipped = head[:2] == b"\x1f\x8b"
        if gzipped or (head[:2] == b"\0\0" and head[2:3] in IDX_TYPES):
            return _read_idx(path, gzipped), None
    return None


def _read_array(path, stream, shape, dtype, available=None):
    """An array from the rest of the stream, which must be exactly that long. `available`: the bytes left, if known."""
    within_limit(path, shape, dtype.itemsize)
    need = math.prod(shape) * dtype.itemsize
    if available not in (None, need):
        raise bad(path, f"the header promises shape {shape}, {need} bytes, but the file holds {available}")
    buffer = np.empty(need, np.uint8)  # the system hands out memory as it is written: a false promise takes none
    view, got = memoryview(buffer), 0
    while got < need and (count := stream.readinto(view[got : got + 2**20])):
        got += count
    if got < need or stream.read(1):
        holds = f"only {got}" if got < need else "more"
        raise bad(path, f"the header promises shape {shape}, {need} bytes, but the file holds {holds}")
    return buffer.view(dtype)  # flat


def read_labels(path):
    """int64 (n,) from an IDX file with one axis, plain or gzipped."""
    with blaming(path):
        with path.open("rb") as file:
            gzipped = file.read(2) == b"\x1f\x8b"
        return _read_idx(path, gzipped, of_labels=True).astype(np.int64)


def _read_idx(path, gzipped, of_labels=False):
    """uint8 (n, H, W) or four axes; labels (n,). IDX: 0 0 type rank, then each axis as a big-endian uint32, then the elements."""
    with gzip.open(path) if gzipped else path.open("rb") as stream:
        magic = stream.read(4)
        if len(magic) < 4 or magic[:2] != b"\0\0":
            raise bad(path, f"expected an IDX file (0 0 type rank), got one that begins with '{magic.hex(' ')}'")
        element, rank = magic[2:]
        if element != 8:
            raise bad(path, f"expected an IDX file of unsigned bytes (type 8), got type {element}")
        if of_labels and rank != 1:
            raise bad(path, f"expected an IDX file of labels (one axis), got {rank} axes")
        if rank == 1 and not of_labels:
            raise bad(path, "this is an IDX file of labels (one axis): expected the file of images (three axes)")
        if rank not in (1, 3, 4):
            raise bad(path, f"expected an IDX file with 3 or 4 axes, got {rank}")
        axes = stream.read(4 * rank)
        if len(axes) < 4 * rank:
            raise bad(path, f"the IDX header ends after {4 + len(axes)} of {4 + 4 * rank} bytes")
        shape = tuple(np.frombuffer(axes, ">u4").tolist())
        available = None if gzipped else path.stat().st_size - 4 - 4 * rank
        return _read_array(path, stream, shape, np.dtype(np.uint8), available).reshape(shape)


def _read_npy(path, stream, length):
    """The array in an .npy stream of `length` bytes. (np.load allocates what the header states.)"""
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):  # np.save writes others only for tables with named columns
        raise bad(path, f"expected version 1.0 of the .npy format, got {version[0]}.{version[1]}")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)  # a literal, parsed and never evaluated
    if dtype.hasobject:
        raise bad(path, "holds Python objects (a pickle), which could run code: expected an array of numbers")
    if dtype.kind not in "fiu":
        raise bad(path, f"expected an array of numbers, got dtype {dtype}")
    flat = _read_array(path, stream, shape, dtype, length - stream.tell())
    return flat.reshape(shape, order="F" if fortran else "C")


def _read_npz(path):
    """(images, labels or None) from a zip file of .npy files."""
    with zipfile.ZipFile(path) as archive:
        members = {name.removesuffix(".npy"): name for name in archive.namelist() if name.endswith(".npy")}
        found = [key for key in IMAGE_KEYS if key in members] or [key for key in members if key not in LABEL_KEYS]
        if not found or (len(found) > 1 and found[0] not in IMAGE_KEYS):
            raise bad(path, f"expected one array, or one called {', '.join(IMAGE_KEYS)}; got {sorted(members)[:9]}")

        def read(key):
            info = archive.getinfo(members[key])
            with archive.open(info) as stream:
                return _read_npy(f"{path}[{key}]", stream, info.file_size)

        labels = [key for key in LABEL_KEYS if key in members][:1]
        return read(found[0]), read(labels[0]) if labels else None


# --- pictures --------------------------------------------------------------------------------------------------------


def find_pictures(folder):
    """The pictures under `folder`, at any depth, known by their suffix, in the order of their relative names.

    Files and folders whose name begins with a dot are passed over: systems leave thumbnails and the like there.
    """
    suffixes = {suffix for suffix, name in Image.registered_extensions().items() if name in FORMATS}
    names = {path.relative_to(folder): path for path in folder.rglob("*") if path.suffix.lower() in suffixes}
    shown = [name for name in names if not any(part.startswith(".") for part in name.parts) and names[name].is_file()]
    if not shown:
        raise bad(folder, f"expected pictures in this folder, found no file named {' '.join(sorted(suffixes))}")
    return [names[name] for name in sorted(shown, key=lambda name: name.as_posix())]


def read_pictures(paths, size=None, channels=None):
    """uint8 (n, H, W, C): the pictures, upright, their first frame, on white where they are transparent.

    size      (H, W): crop to this shape around the centre, then resize (bicubic). None: all must have the same size
    channels  1 or 3; None: 1 if every picture is grey, else 3
    """
    if channels is None:
        channels = 1 if all(_opened(path, _is_grey) for path in paths) else 3
    if size is not None:  # before Pillow makes room for the first one
        within_limit(paths[0], (len(paths), *size, channels))
    for i, path in enumerate(paths):
        picture = _opened(path, lambda image: _eight_bits(image, size, channels))
        if i == 0:
            shape = (len(paths), *picture.shape)
            within_limit(path, shape)
            pictures = np.empty(shape, np.uint8)
        if picture.shape != pictures.shape[1:]:
            (h, w, _), (first_h, first_w, _) = picture.shape, pictures.shape[1:]
            raise bad(path, f"is {h} x {w} pixels, but {paths[0]} is {first_h} x {first_w}: give a size")
        pictures[i] = picture
    return pictures


def _opened(path, use):
    """use(image), for the image at path. Pillow refuses pictures of more than 179 million pixels: bombs."""
    Image.init()
    formats = [name for name in FORMATS if name in Image.OPEN]  # not every Pillow has AVIF
    with blaming(path):
        try:
            with Image.open(path, formats=formats) as image:
                return use(image)
        except UnidentifiedImageError:
            with path.open("rb") as file:
                head = file.read(8).hex(" ")
            raise bad(path, f"expected a picture, or an IDX, .npy or .npz file; this begins with '{head}'") from None


def _is_grey(image):
    if image.mode == "P":
        palette = np.reshape(image.getpalette("RGB"), (-1, 3))
        return bool((palette == palette[:, :1]).all())
    return image.mode in ("1", "L", "LA", "La") or image.mode.startswith("I")


def _eight_bits(image, size, channels):
    """uint8 (H, W, C) of any image that Pillow opens."""
    image = ImageOps.exif_transpose(image)  # cameras store what the sensor saw and note how they were held
    if image.mode.startswith("I"):  # 16-bit grey. Pillow's own conversion clips at 255 instead of scaling
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError(f"expected grey values of 8 or 16 bits, got {values.min()} to {values.max()}")
        image = Image.fromarray(((values + 128) // 257).astype(np.uint8))
    if image.mode == "F":
        raise ValueError("expected grey values of 8 or 16 bits, got floats; an .npy file can hold these")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("RGB")  # from CMYK, palettes, ...; grey stays exactly grey through RGB
    if channels == 1:
        image = image.convert("L")
    if size is not None:
        image = ImageOps.fit(image, size[::-1], Image.Resampling.BICUBIC)  # Pillow says (W, H)
    return np.asarray(image).reshape(image.height, image.width, channels)
