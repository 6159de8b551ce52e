"""`tinyddpm explore` on a run of its own, and a browser.

The browser is the system's Chromium or Chrome, or the one that CHROMIUM names.
"""

import contextlib
import os
import shutil
import sys
from pathlib import Path

import pytest

# The tiny runs of tests/explore are used here too.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "explore"))

from driving import Page, Served
from tiny_runs import DIGITS, a_run

BROWSERS = "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"


@pytest.fixture(scope="session")
def serve():
    """Serve a run folder on any free port; returns the Served."""
    served = []
    with contextlib.ExitStack() as stack:

        def start(run):
            served.append(stack.enter_context(Served(run, "--port", "0")))
            return served[-1]

        yield start
    errors = "".join(one.errors for one in served)
    # Nothing that a browser did went wrong unseen.
    assert "Traceback" not in errors, errors


@pytest.fixture(scope="session")
def digits(serve, tmp_path_factory):
    """The page of a run that is conditioned on the digits' classes, T = 1000."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    return serve(a_run(folder, names=DIGITS, data="digits", T=1000))


@pytest.fixture(scope="session")
def browser():
    try:
        # Here, as other test runs collect this folder too.
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        pytest.fail(
            "Playwright is not installed: make test-browser installs it, "
            "or pip install -e '.[browser]'"
        )
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if not path:
        pytest.fail(
            "no Chromium was found: install chromium or Google Chrome, "
            "or name one: CHROMIUM=/path/to/it"
        )
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def window(browser):
    """Opens a page in a window of its own.

    By the end it must have asked nobody but the server, and met no error.
    """
    contexts, problems = [], []

    def opened(served, width=1280, colours="light", motion="reduce"):
        context = browser.new_context(
            viewport={"width": width, "height": 860},
            color_scheme=colours,
            has_touch=width < 500,
            reduced_motion=motion,
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(90_000)

        def on_request(request):
            if not request.url.startswith((served.url + "/", "data:")):
                problems.append(request.url)

        page.on("request", on_request)
        page.on(
            "console", lambda message: message.type == "error" and problems.append(message.text)
        )
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(served.url)
        page.wait_for_selector("[data-testid=look-xt] img[src^=data]")
        return Page(page)

    yield opened
    for context in contexts:
        context.close()
    assert not problems
