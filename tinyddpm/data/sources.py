"""The data sets with a name: the address, the checksums and the format of each.

`datasets.py` finds their files, or downloads them.
"""

import dataclasses
import tarfile
from collections.abc import Callable
from functools import partial
from io import BytesIO

import numpy as np

from . import emoji

CIFAR = "cifar-10-binary.tar.gz"
FONT, LIST = "NotoColorEmoji.ttf", "emoji-test.txt"

# content(name): the bytes of a file, checked.
Content = Callable[[str], bytes]


@dataclasses.dataclass(frozen=True)
class Source:
    """A data set with a name.

    Attributes:
        address: where to download a file, with {} for its name.
        files: file name -> sha256 (hex) of the unpacked file; None where any version will do.
        parse: (part, content) -> the uint8 images, and the labels or None, of the "train" or
            "test" part.
        places: folders where a system's package puts the files.
        advice: another way to get the files.
        has_test_set: whether there is a "test" part.
        class_names: of the labels 0, 1, …; () where they are called by their numbers.
        elsewhere: file name -> its address, where that is another one.
    """

    address: str
    files: dict[str, str | None]
    parse: Callable[[str, Content], tuple[np.ndarray, np.ndarray | None]]
    places: tuple[str, ...] = ()
    advice: str = ""
    has_test_set: bool = True
    class_names: tuple[str, ...] = ()
    elsewhere: dict[str, str] = dataclasses.field(default_factory=dict)

    def address_of(self, file: str) -> str:
        """Where to download this file."""
        return self.elsewhere.get(file) or self.address.format(file)


# ---- the formats ---------------------------------------------------------------------------------


def _idx(part: str, content: Content) -> tuple[np.ndarray, np.ndarray]:
    """The MNIST format: a header of 16 bytes before the pixels, one of 8 before the labels.

    Nothing in the headers needs to be read: the sha256 has vouched for them.
    """
    stem = {"train": "train", "test": "t10k"}[part]
    pixels = np.frombuffer(content(f"{stem}-images-idx3-ubyte"), np.uint8, offset=16)
    labels = np.frombuffer(content(f"{stem}-labels-idx1-ubyte"), np.uint8, offset=8)
    return pixels.reshape(-1, 28, 28), labels


def _cifar(part: str, content: Content) -> tuple[np.ndarray, np.ndarray]:
    """CIFAR-10's binary version: records of one label and 3·32·32 pixels, plane by plane.

    (The Python version consists of pickles, which may run code.)
    """
    batches = [f"data_batch_{i}" for i in range(1, 6)] if part == "train" else ["test_batch"]
    # The archive is read in memory: nothing is unpacked to the disk.
    with tarfile.open(fileobj=BytesIO(content(CIFAR))) as archive:
        data = b"".join(_member(archive, f"cifar-10-batches-bin/{name}.bin") for name in batches)
    records = np.frombuffer(data, np.uint8).reshape(-1, 1 + 3 * 32 * 32)
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0]


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    if file is None:
        raise ValueError(f"expected {name} to be a file, got a folder or a link")
    return file.read()


def _emoji(side: int, part: str, content: Content) -> tuple[np.ndarray, np.ndarray]:
    return emoji.pictures(content(FONT), content(LIST), side)


# ---- the data sets -------------------------------------------------------------------------------


def _emoji_source(side: int) -> Source:
    return Source(
        "https://github.com/googlefonts/noto-emoji/raw/v2.042/fonts/{}",
        # Other versions have a few more or fewer pictures. The checkpoint of a run notes which
        # pictures it saw.
        {FONT: None, LIST: None},
        partial(_emoji, side),
        places=(
            "/usr/share/fonts/truetype/noto",
            "/usr/share/fonts/noto",
            "/usr/share/fonts/google-noto-emoji-fonts",
            "/usr/share/unicode/emoji",
        ),
        advice="on Debian and Ubuntu install the packages fonts-noto-color-emoji and unicode-data",
        has_test_set=False,
        class_names=emoji.GROUPS,
        elsewhere={LIST: "https://unicode.org/Public/emoji/15.0/emoji-test.txt"},
    )


def _mnist_files(
    *, train_images: str, train_labels: str, test_images: str, test_labels: str
) -> dict[str, str | None]:
    """The files of a data set in the MNIST format, from the sha256 of each one unpacked."""
    return {
        "train-images-idx3-ubyte": train_images,
        "train-labels-idx1-ubyte": train_labels,
        "t10k-images-idx3-ubyte": test_images,
        "t10k-labels-idx1-ubyte": test_labels,
    }


SOURCES = {
    # Xiao et al. 2017.
    "fashion-mnist": Source(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/{}.gz",
        _mnist_files(
            train_images="c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            train_labels="bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            test_images="5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            test_labels="0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
        _idx,
        places=("/usr/share/datasets/fashion-mnist",),
        advice="on Debian and Ubuntu install the package dataset-fashion-mnist",
        class_names=(
            *("t-shirt", "trouser", "pullover", "dress", "coat"),
            *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
        ),
    ),
    # LeCun et al. 1998, from torchvision's mirror: the original address no longer serves it.
    "mnist": Source(
        "https://ossci-datasets.s3.amazonaws.com/mnist/{}.gz",
        _mnist_files(
            train_images="ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            train_labels="65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            test_images="0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            test_labels="ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
        _idx,
    ),
    # Krizhevsky 2009.
    "cifar-10": Source(
        "https://www.cs.toronto.edu/~kriz/{}",
        {CIFAR: "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"},
        _cifar,
        class_names=(
            *("airplane", "automobile", "bird", "cat", "deer"),
            *("dog", "frog", "horse", "ship", "truck"),
        ),
    ),
    "emoji-16": _emoji_source(16),
    "emoji-32": _emoji_source(32),
}
