"""Does every link of the finished site that stays on it lead somewhere? And does a page need anything that is not in it?

    python docs/_ext/check_links.py docs/_build/html

Follows href and src of every page, to the file and to the id behind the #. Prints what leads nowhere and what a page would
fetch from elsewhere (a script, a style, a picture), and ends with status 1 if there is any. Links to other sites are counted only.
"""
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The ids of a page and where it points to: (address, whether a browser fetches it by itself)."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.links = set(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name in ("id", "name") and value:
                self.ids.add(value)
            elif name in ("href", "src") and value:
                self.links.append((value, tag != "a" and (tag, name) != ("link", "href") or ("rel", "stylesheet") in attributes))


@cache
def read(path):
    return Page(path.read_text(encoding="utf-8"))


def check(root):
    """What is wrong, a line each, and how many links lead to other sites."""
    wrong, elsewhere = [], set()
    for path in sorted(root.rglob("*.html")):
        for address, fetched in read(path).links:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                elsewhere.add(address)
                if fetched and parts.scheme != "data":
                    wrong.append(f"{path.relative_to(root)}: fetches {address}")
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file():
                wrong.append(f"{path.relative_to(root)}: no file for {address}")
            elif parts.fragment and target.suffix == ".html" and unquote(parts.fragment) not in read(target).ids | {""}:
                wrong.append(f"{path.relative_to(root)}: no place for {address}")
    return wrong, elsewhere


def main(root):
    wrong, elsewhere = check(root)
    pages = len(list(root.rglob("*.html")))
    print("\n".join(wrong) if wrong else f"{pages} pages: every link on the site leads somewhere, and nothing is fetched from elsewhere. {len(elsewhere)} links lead to other sites.")
    return 1 if wrong or not pages else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve()))
