"""Configurations as TOML files: flat names and values. Those of older versions get today's names.

values = read("runs/x/config.toml")          # unchecked: `from_dict` checks them
"""

import errno
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# What names were called in files of older versions.
FORMER_NAMES = {"average": "ema_decay", "told_t": "time_conditioning"}
FORMER_MULTIPLIERS = {True: "hand", False: "none"}
LONGEST_FILE = 2**20  # bytes


def renamed(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values from an older version's file, under the names of today.

    A run of an older version, whose file always has the image's shape, held out every sixth image.
    """
    found = {FORMER_NAMES.get(name, name): value for name, value in dict(values).items()}
    if isinstance(had := found.get("multipliers"), bool):
        found["multipliers"] = FORMER_MULTIPLIERS[had]
    return {"split": "every_sixth"} | found if "image" in found else found


def read(path: str | Path) -> dict[str, Any]:
    """The flat names and values in a TOML file, unchecked.

    Raises:
        ValueError: the file cannot be read or is not TOML. The message begins with its path.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():  # to read a pipe or a device may never end
            raise OSError(errno.EINVAL, "expected a file, got a folder, a pipe or a device")
        if path.stat().st_size > LONGEST_FILE:
            raise OSError(errno.EFBIG, f"expected at most {LONGEST_FILE} bytes")
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
        return renamed(tomllib.loads(text))
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from None
    # Its syntax, its encoding, a number of too many digits, too many brackets within brackets.
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not a TOML file: {error}") from None
