"""The tab "The chain" in a real browser: what its controls do to a chain that runs."""

import re

import pytest
from driving import t_of
from PIL import Image

pytestmark = pytest.mark.browser


def test_a_chain_runs_to_its_end_and_its_images_depend_on_the_seed_alone(digits, window):
    page = window(digits).tab("chain")
    assert t_of(page) == 1000
    start = page.picture("chain-xt-0")
    results = []
    for seed in (0, 1, 0):
        page.number("chain-seed", seed)
        page.until(lambda: t_of(page) == 1000)
        page.slide("chain-steps", 0.01)
        page.at("chain-play").click()
        page.until(lambda: t_of(page) == 0, "t = 0")
        results.append([page.picture(f"chain-xt-{i}") for i in range(8)])
        assert page.picture("chain-x0-0") == page.picture("chain-xt-0") != start
        assert page.at("chain-play").inner_text() == "Again"
        assert "is now" in page.at("chain-caption").inner_text()
    assert results[0] == results[2] != results[1]


def test_everything_can_be_changed_while_the_chain_runs(digits, window):
    page = window(digits).tab("chain")
    # Slow enough for this test to keep up. A page that has only just opened may miss the first try.
    pace = page.page.get_by_text("seconds for a whole chain: 60")
    page.until(lambda: page.slide("chain-seconds", 1.0) or pace.is_visible(), "the pace")
    page.choose("chain-sampler", "DDPM, all steps")
    page.at("chain-play").click()
    page.until(lambda: t_of(page) < 950)
    assert "1000, " in page.at("chain-t").inner_text()
    assert page.at("chain-play").inner_text() == "Pause"

    page.choose("chain-sampler", "Heun")  # another sampler: it goes on from where it is
    page.until(lambda: "Heun" in page.at("chain-caption").inner_text())
    assert 0 < t_of(page) < 950

    page.slide("chain-steps", 0.9)  # more steps: more of them are left
    where = page.at("chain-t")
    page.until(lambda: re.search(r"\d\d\d steps to go", where.inner_text()), "more steps to go")
    t = t_of(page)
    page.choose("chain-class", "3")
    page.slide("chain-guidance", 0.5)
    page.until(lambda: t_of(page) < t, "the chain to go on")
    assert page.at("chain-play").inner_text() == "Pause"

    page.number("chain-seed", 5)  # another seed: other noise at T, and it runs on
    page.until(lambda: t_of(page) > t)
    page.until(lambda: t_of(page) < 990)
    page.at("chain-play").click()
    page.until(lambda: page.at("chain-play").inner_text() == "Go on")

    def stands():
        t = t_of(page)
        page.page.wait_for_timeout(1500)
        return t_of(page) == t

    page.until(stands, "the chain to stand still")
    t = t_of(page)
    page.at("chain-one").click()
    page.until(lambda: t_of(page) < t)


def test_the_class_that_is_chosen_on_the_way_changes_the_images(digits, window):
    ends = []
    for label in (None, "8"):
        page = window(digits).tab("chain")
        page.slide("chain-steps", 0.02)
        for _ in range(5):
            t = t_of(page)
            page.at("chain-one").click()
            page.until(lambda: t_of(page) < t)
        if label:
            page.choose("chain-class", label)
        page.at("chain-play").click()
        page.until(lambda: t_of(page) == 0)
        ends.append([page.picture(f"chain-xt-{i}") for i in range(8)])
    assert ends[0] != ends[1]


def scale(page):
    """How far the bar is, as it is drawn."""
    bar = page.at("chain-bar").locator(".q-linear-progress__model")
    return bar.evaluate("e => e.getBoundingClientRect().width / e.parentElement.clientWidth")


def test_the_bar_shows_the_fraction_of_the_steps_that_are_done(digits, window):
    page = window(digits).tab("chain")
    page.slide("chain-steps", 0.01)
    steps = re.compile(r"(\d+) steps? done(?:, (\d+) steps? to go)?")
    for _ in range(4):
        t = t_of(page)
        page.at("chain-one").click()
        page.until(lambda: t_of(page) < t)
        done, left = (int(n or 0) for n in steps.search(page.at("chain-t").inner_text()).groups())
        assert scale(page) == pytest.approx(done / (done + left), abs=0.02)


def test_the_chain_can_be_looked_at_back_and_forth_and_goes_on_from_its_end(digits, window):
    page = window(digits).tab("chain")
    page.slide("chain-steps", 0.01)
    pictures = [page.picture("chain-xt-0")]
    for _ in range(4):
        t = t_of(page)
        page.at("chain-one").click()
        page.until(lambda: t_of(page) < t)
        pictures.append(page.picture("chain-xt-0"))
    last = t_of(page)
    for place in (0, 2, 4, 2):
        page.slide("chain-back", place / 4)
        page.until(lambda: page.picture("chain-xt-0") == pictures[place], f"frame {place}")
    assert t_of(page) > last
    page.at("chain-one").click()
    page.until(lambda: t_of(page) < last)
    assert page.picture("chain-xt-0") not in pictures


def test_two_samplers_side_by_side_and_the_film_of_them(digits, window):
    page = window(digits).tab("chain")
    page.slide("chain-steps", 0.01)
    assert not page.at("chain-other-xt-0").is_visible()
    page.choose("chain-against", "Heun")
    page.until(lambda: page.at("chain-other-xt-0").is_visible())
    assert page.picture("chain-other-xt-0") == page.picture("chain-xt-0")  # the same noise
    page.at("chain-play").click()
    page.until(lambda: t_of(page) == 0)
    assert "t = 0" in page.at("chain-other-title").inner_text()
    assert page.picture("chain-other-xt-0") != page.picture("chain-xt-0")
    assert "with noise and Heun began from the same noise" in page.at("chain-caption").inner_text()
    with page.page.expect_download() as waiting:
        page.at("chain-gif").click()
    with Image.open(waiting.value.path()) as film:
        assert film.format == "GIF" and film.n_frames > 3


def test_two_windows_have_chains_of_their_own(digits, window):
    one, other = window(digits).tab("chain"), window(digits).tab("chain")
    one.at("chain-one").click()
    one.until(lambda: t_of(one) < 1000)
    assert t_of(other) == 1000
