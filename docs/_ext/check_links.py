"""Does every link within the finished site lead somewhere? And does the site hold all it needs?

    python docs/_ext/check_links.py docs/_build/html

Follows href and src of every page, to the file and to the id behind the #. Prints what leads
nowhere and what a page would fetch from elsewhere (a script, a style, a picture), and ends with
status 1 if there is any. Links to other sites are only counted.
"""

import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The ids of a page and where it points to: (address, does a browser fetch it by itself?)."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.links = set(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        stylesheet = ("rel", "stylesheet") in attributes
        for name, value in attributes:
            if name in ("id", "name") and value:
                self.ids.add(value)
            elif name in ("href", "src") and value:
                fetched = stylesheet if (tag, name) == ("link", "href") else tag != "a"
                self.links.append((value, fetched))


@cache
def read(path):
    return Page(path.read_text(encoding="utf-8"))


def check(root):
    """What is wrong, a line each, and the links to other sites."""
    wrong, elsewhere = [], set()
    for path in sorted(root.rglob("*.html")):
        for address, fetched in read(path).links:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                elsewhere.add(address)
                problem = f"fetches {address}" if fetched and parts.scheme != "data" else None
            else:
                problem = missing(path, parts)
            if problem:
                wrong.append(f"{path.relative_to(root)}: {problem}")
    return wrong, elsewhere


def missing(path, parts):
    """What a link from the page at `path` does not find, or None."""
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    target = target / "index.html" if target.is_dir() else target
    if not target.is_file():
        return f"no file for {parts.geturl()}"
    fragment = unquote(parts.fragment)
    if fragment and target.suffix == ".html" and fragment not in read(target).ids:
        return f"no place for {parts.geturl()}"
    return None


def main(root):
    wrong, elsewhere = check(root)
    pages = len(list(root.rglob("*.html")))
    if wrong:
        print("\n".join(wrong))
    else:
        print(
            f"{pages} pages: every link on the site leads somewhere; nothing comes from elsewhere."
        )
        print(f"{len(elsewhere)} links lead to other sites.")
    return 1 if wrong or not pages else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve()))
