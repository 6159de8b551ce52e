"""Prints the newest Python of this machine: on PATH, or installed by pyenv.

python tools/newest_python.py
"""

import os
import re
import subprocess
from pathlib import Path

VERSION = "import sys; print(*sys.version_info[:3], sys.version_info.releaselevel)"


def candidates():
    folders = [Path(folder) for folder in os.get_exec_path()]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    folders += pyenv.glob("versions/3.*/bin")
    for folder in folders:
        for path in sorted(folder.glob("python3.*")):
            if re.fullmatch(r"python3\.\d+", path.name):
                yield path


def version(path):
    """(major, minor, micro); () if this is no release, or does not run, as pyenv's stand-ins."""
    asked = subprocess.run([path, "-c", VERSION], capture_output=True, text=True)
    *numbers, level = asked.stdout.split() or [""]
    return tuple(map(int, numbers)) if level == "final" else ()


if __name__ == "__main__":
    print(max(candidates(), key=version))
