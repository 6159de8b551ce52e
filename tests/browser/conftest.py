"""`tinyddpm explore` on a run of its own, and a browser: Chromium or Chrome, as the system has it, or what CHROMIUM names."""
import contextlib
import os
import shutil
import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).resolve().parent.parent / "explore")]  # whose tiny runs are used again here

from driving import Page, Served  # noqa: E402
from test_explore import a_run  # noqa: E402

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
    assert "Traceback" not in errors, errors  # nothing that a browser did went wrong behind its back


@pytest.fixture(scope="session")
def digits(serve, tmp_path_factory):
    """The page of a run that is told the digits' classes, T = 1000."""
    return serve(a_run(tmp_path_factory.mktemp("runs") / "digits", names=map(str, range(10)), data="digits", T=1000))


@pytest.fixture(scope="session")
def browser():
    try:
        from playwright.sync_api import sync_playwright  # here, as other test runs collect this folder too
    except ModuleNotFoundError:
        pytest.fail("Playwright is not installed: make test-browser installs it, or pip install -e '.[browser]'")
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if not path:
        pytest.fail("no Chromium was found: install chromium or Google Chrome, or name one: CHROMIUM=/path/to/it")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def window(browser):
    """Opens a page in a window of its own. At the end it must have asked nobody but the server, and met with no error."""
    contexts, amiss = [], []

    def opened(served, width=1280, colours="light"):
        context = browser.new_context(viewport={"width": width, "height": 860}, color_scheme=colours, has_touch=width < 500)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(90_000)
        page.on("request", lambda request: request.url.startswith((served.url + "/", "data:")) or amiss.append(request.url))
        page.on("console", lambda message: message.type == "error" and amiss.append(message.text))
        page.on("pageerror", lambda error: amiss.append(str(error)))
        page.goto(served.url)
        page.wait_for_selector("[data-testid=look-xt] img[src^=data]")
        return Page(page)

    yield opened
    for context in contexts:
        context.close()
    assert not amiss
