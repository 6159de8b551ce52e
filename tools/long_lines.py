"""Lists every tracked line that is too long: `python tools/long_lines.py`; status 1 if any is.

It looks at Python, C++ and CUDA, and Markdown, and counts characters: x̂ is two. Excepted are rows
of Markdown tables, and lines that a URL or a link makes long.
"""

import re
import subprocess
import sys
from pathlib import Path

MOST = 100
ROOT = Path(__file__).resolve().parents[1]
KINDS = ("*.py", "*.cpp", "*.h", "*.cu", "*.md", "*.rst", "Makefile", "*.toml")
LINK = re.compile(r"https?://\S+|!?\[[^\]]*\]\([^)]*\)")


def too_long(line: str, markdown: bool) -> bool:
    if len(line) <= MOST or (markdown and line.startswith("|")):
        return False
    return len(LINK.sub("", line)) > MOST


def main() -> int:
    tracked = subprocess.run(
        ["git", "ls-files", *KINDS], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    found = 0
    for name in tracked:
        lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines, 1):
            if too_long(line, name.endswith(".md")):
                found += 1
                print(f"{name}:{number}: {len(line)} characters")
    if found:
        print(f"{found} lines over {MOST} characters")
    return found > 0


if __name__ == "__main__":
    sys.exit(main())
