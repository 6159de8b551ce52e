"""The page "The whole thing on one page" in a browser, read from the file system, with no server.

Without the site's theme around it: `make docs` adds that.
"""

import re
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "docs/_ext"))
import markdown
from docstrings import ROOT

pytestmark = pytest.mark.browser
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>x</title>
<meta name="viewport" content="width=device-width,initial-scale=1">
<body style="margin: 1rem">{}</body></html>"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with both pages, as the site has them."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(ROOT / "docs/_static", folder / "_static")
    for name in ("one_page.html", "landing.html"):
        (folder / name).write_text(PAGE.format(markdown.html(name)), encoding="utf-8")
    return folder


@pytest.fixture
def opened(browser, site):
    """Opens a page of the site. By the end it must have fetched files alone, and met no error."""
    contexts, problems = [], []

    def open_page(name="one_page", width=1280, motion="no-preference"):
        size = {"width": width, "height": 860}
        context = browser.new_context(viewport=size, reduced_motion=motion)
        contexts.append(context)
        page = context.new_page()
        page.on(
            "request",
            lambda request: request.url.startswith("file:") or problems.append(request.url),
        )
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda said: said.type == "error" and problems.append(said.text))
        page.goto((site / f"{name}.html").as_uri())
        if name == "one_page":
            page.wait_for_selector("#op-training[data-ready=fashion]")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not problems


def picture(page, name):
    """What a canvas shows, as a browser's own picture of it: from files, it cannot be read."""
    return page.locator(f"#op-{name}").screenshot()


def lit(page, lane):
    """Which step of a lane is lit, and the weight of each of its lit terms."""
    steps = page.locator(f"#op-{lane} li.op-lit")
    assert steps.count() == 1
    terms = steps.locator(".op-lit").evaluate_all(
        "all => all.map(e => [e.dataset.term, Number(e.style.getPropertyValue('--weight'))])"
    )
    return steps.get_attribute("data-step"), dict(terms)


def test_the_slider_of_t_changes_images_numbers_and_what_is_lit(opened):
    page = opened()
    names = ("xt", "in", "guess", "guess2", "wrong", "bars")
    page.locator("#op-t").press("Home")
    first, (step, low) = {name: picture(page, name) for name in names}, lit(page, "training")
    clean, noise = picture(page, "x0"), picture(page, "eps")
    assert step == "noise" and low["signal"] > 0.99 and low["noise"] < 0.02
    page.locator("#op-t").press("End")
    step, high = lit(page, "training")
    assert step == "noise" and high["signal"] < 0.01 and high["noise"] > 0.99
    assert all(picture(page, name) != first[name] for name in names)
    assert (picture(page, "x0"), picture(page, "eps")) == (clean, noise)
    assert page.locator("#op-t-value").inner_text() == "t = 1000"
    assert "At t = 1000" in page.locator("#op-training-caption").inner_text()
    page.locator("#op-t").press("ArrowLeft")
    assert page.locator("#op-t-value").inner_text() == "t = 975"


def test_a_larger_step_lowers_J_and_a_far_too_large_one_raises_it(opened):
    page = opened()

    def J():
        return [float(page.locator(f"#op-{name}").inner_text()) for name in ("before", "after")]

    before, after = J()
    assert after < before and lit(page, "training")[0] == "noise"
    page.locator("#op-beta").press("Home")
    assert J() == [before, before] and lit(page, "training")[0] == "update"
    page.locator("#op-beta").press("End")
    assert J()[1] > before and "rises" in page.locator("#op-training-caption").inner_text()


def test_the_slider_of_the_chain_leads_to_an_image(opened):
    page = opened()
    page.locator("#op-stride").press("Home")
    seen = []
    for _ in range(4):
        step, terms = lit(page, "chain")
        assert step == "mix"
        seen.append((picture(page, "c-xt"), picture(page, "xs"), terms["c1"]))
        page.locator("#op-stride").press("ArrowRight")
    # each x_s is the next x_t
    assert [xs for _, xs, _ in seen[:-1]] == [xt for xt, _, _ in seen[1:]]
    assert seen[0][2] < seen[1][2] < seen[3][2]
    page.locator("#op-stride").press("End")
    assert picture(page, "xs") == picture(page, "c-guess2")  # x_0 is x̂_0
    assert "s = 0" in page.locator("#op-stride-value").inner_text()
    page.locator("#op-film button").nth(2).click()
    assert "t = 723" in page.locator("#op-stride-value").inner_text()


@pytest.mark.parametrize("motion", ["no-preference", "reduce"])
def test_it_plays_every_step_of_the_algorithm(opened, motion):
    page = opened(motion=motion)
    page.evaluate("setTimeout = ((f) => (act, ms) => f(act, ms / 20))(setTimeout)")
    page.evaluate(
        """() => {
            window.seen = { training: [], chain: [] };
            for (const lane of ["training", "chain"])
                new MutationObserver(() => {
                    const step = document.querySelector(`#op-${lane} li.op-lit`).dataset.step;
                    if (seen[lane].at(-1) !== step) seen[lane].push(step);
                }).observe(document.getElementById(`op-${lane}`), {
                    attributes: true, subtree: true, attributeFilter: ["class"],
                });
        }"""
    )
    page.locator("#op-stride").press("Home")
    page.locator("#op-training-play").click()
    page.locator("#op-chain-play").click()
    assert page.locator("#op-chain-play").inner_text() == "Pause"
    page.wait_for_function("document.getElementById('op-chain-play').textContent === 'Play'")
    page.wait_for_function("document.querySelectorAll('[name=op-example]')[1].checked")
    page.locator("#op-training-play").click()
    seen = page.evaluate("seen")
    order = ["noise", "guess", "error", "back", "update"]
    assert re.search(",".join(order), ",".join(seen["training"]))
    assert re.search("guess,mix,repeat,guess,mix,repeat", ",".join(seen["chain"]))
    assert "s = 0" in page.locator("#op-stride-value").inner_text()
    assert page.locator(".op-later").count() == 0  # paused: nothing is dim


def test_another_model_and_other_images(opened):
    page = opened()
    learned, end = picture(page, "x0"), picture(page, "film")
    page.locator("#op-example input").nth(2).check()
    assert picture(page, "x0") != learned
    page.locator("#op-sample input").nth(1).check()
    assert picture(page, "film") != end
    assert page.locator("#op-unet rect").count() == 24
    page.locator("#op-model input[value=digits]").check()
    page.wait_for_selector("#op-training[data-ready=digits]")
    page.locator("#op-training").get_by_role("img", name="The U-Net").wait_for()
    assert page.locator("#op-unet rect").count() == 17  # two levels, not three
    assert page.locator("#op-x0").evaluate("canvas => canvas.width") == 8


@pytest.mark.parametrize("name", ["one_page", "landing"])
@pytest.mark.parametrize("width", [1280, 390])
def test_it_fits_the_window(opened, name, width):
    page = opened(name, width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_landing_page_draws_once_and_again_when_asked(opened):
    page = opened("landing")
    value = page.locator("#landing-t")
    assert value.inner_text() != "t = 0"
    page.wait_for_function("document.getElementById('landing-t').textContent === 't = 0'")
    images = page.locator("#landing-row").screenshot()
    page.locator("#landing-again").click()
    page.wait_for_function("document.getElementById('landing-t').textContent !== 't = 0'")
    assert page.locator("#landing-row").screenshot() != images


SEEN = """
    window.seen = [];
    new MutationObserver(() => {
        const said = document.getElementById("landing-t")?.textContent;
        if (said && seen.at(-1) !== said) seen.push(said);
    }).observe(document, { childList: true, subtree: true });
"""


def test_the_landing_page_does_not_move_where_less_motion_is_wanted(opened):
    page = opened("landing", motion="reduce")
    page.add_init_script(SEEN)
    page.reload()
    page.wait_for_function("document.getElementById('landing-t').textContent === 't = 0'")
    assert set(page.evaluate("seen")) <= {"t = 1000", "t = 0"}  # as in the file, and at the end
    before = page.locator("#landing-row").screenshot()
    page.wait_for_timeout(800)
    assert page.locator("#landing-row").screenshot() == before
