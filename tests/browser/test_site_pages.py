"""The finished site in a real browser: nothing on a page is wider than the window.

`make test-browser` builds the site first.
"""

import pytest
from test_architecture import ROOT

pytestmark = pytest.mark.browser
SITE = ROOT / "docs/_build/html"
# By how many pixels the page, and each block of code, is wider than its place.
WIDER = """() => {
  const wider = e => e.scrollWidth - e.clientWidth;
  const code = [...document.querySelectorAll("pre")].filter(e => wider(e) > 0);
  return {
    page: wider(document.documentElement),
    code: code.map(e => `${wider(e)} px: ${e.textContent.trim().split("\\n")[0]}`),
  };
}"""


@pytest.fixture(scope="module")
def pages():
    found = sorted(SITE.rglob("*.html"))
    assert len(found) > 50, "the site is not built: make docs"
    return found


@pytest.fixture
def at_width(browser):
    """Opens a page of the site in a window of this width; returns what is too wide there."""
    contexts = []

    def opened(width):
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}))
        page = contexts[-1].new_page()

        def wider(path):
            page.goto(path.as_uri())
            return page.evaluate(WIDER)

        return wider

    yield opened
    for context in contexts:
        context.close()


def test_code_fits_into_a_window_of_1280_pixels(pages, at_width):
    wider = at_width(1280)
    found = {path.relative_to(SITE).as_posix(): wider(path) for path in pages}
    assert not {name: one for name, one in found.items() if one["page"] > 0 or one["code"]}


def test_a_page_fits_on_a_phone(pages, at_width):
    wider = at_width(390)
    found = {path.relative_to(SITE).as_posix(): wider(path)["page"] for path in pages}
    assert not {name: pixels for name, pixels in found.items() if pixels > 0}
