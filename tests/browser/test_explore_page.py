"""The interactive page in a real browser: what each control changes on it.

At the width of a desktop and of a phone, light and dark.
"""

import re

import pytest
from driving import t_of
from tiny_runs import a_run, data_of

pytestmark = pytest.mark.browser
TABS = "look", "chain", "draw", "step"


def stroke(page, points):
    box, mouse = page.at("draw-pad").bounding_box(), page.page.mouse
    at = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    mouse.move(*at[0])
    mouse.down()
    for x, y in at[1:]:
        mouse.move(x, y, steps=4)
        page.page.wait_for_timeout(30)
    mouse.up()


# ---- one image at every t ------------------------------------------------------------------------


def test_the_slider_over_t_changes_x_t_and_the_guesses_and_not_x_0(digits, window):
    page = window(digits)
    page.at("look-image-0").click()  # a training image
    page.until(lambda: "trained on" in note(page, "look-x0"))
    names = ["look-x0", "look-xt", "look-network", "look-ideal", "look-mean"]
    before = [page.picture(name) for name in names]
    page.slide("look-t", 1.0)
    caption = page.at("look-caption")
    page.until(lambda: "At t = 1000" in caption.inner_text(), "the caption of t = T")
    after = [page.picture(name) for name in names]
    assert [a == b for a, b in zip(before, after)] == [True, False, False, False, True]
    page.slide("look-t", 0.0)
    page.until(lambda: "At t = 1," in caption.inner_text())
    assert "one training image, x₀ itself" in caption.inner_text()
    assert page.picture("look-ideal") == page.picture("look-x0")


def test_the_image_the_seed_and_the_class_change_what_they_should(digits, window):
    page = window(digits)
    x0, xt, ideal = (page.picture(f"look-{name}") for name in ("x0", "xt", "ideal"))
    page.number("look-seed", 7)
    page.until(lambda: page.picture("look-xt") != xt)
    assert page.picture("look-x0") == x0
    page.at("look-class").click()
    page.until(lambda: page.picture("look-ideal") != ideal)
    curve = page.at("look-curves").inner_html()
    thumbnail = page.at("look-image-57")
    thumbnail.click()
    page.until(lambda: page.picture("look-x0") != x0)
    assert page.picture("look-x0") == thumbnail.locator("img").get_attribute("src")
    assert thumbnail.get_attribute("aria-pressed") == "true"
    page.until(lambda: page.at("look-curves").inner_html() != curve)


def test_one_choice_has_one_error_on_both_tabs_and_both_say_whether_the_class_is_given(
    digits, window
):
    page = window(digits)

    def error(name, what):
        page.until(lambda: what in note(page, name), name)
        found = re.search(r"(?:error|J =) (\d\.\d+), (.*)", note(page, name))
        return found[1], found[2]

    page.at("look-image-21").click()
    page.number("look-seed", 3)
    page.slide("look-t", 0.3)
    page.until(lambda: "At t = 1," not in page.at("look-caption").inner_text())
    page.page.wait_for_timeout(800)
    one = error("look-network", "conditioned on class")
    assert error("look-ideal", "conditioned on class")[1] == one[1]
    x0 = page.picture("look-x0")
    page.tab("step")
    page.until(lambda: page.picture("step-x0") == x0)
    assert error("step-guess", "conditioned on class") == one
    page.at("step-class").click()
    other = error("step-guess", "not conditioned on the class")
    assert other[0] != one[0]
    page.tab("look")
    assert error("look-network", "not conditioned") == other


def note(page, name):
    """What stands under a tile."""
    return page.page.locator(".tile", has=page.at(name)).last.inner_text()


def test_t_falls_when_the_page_opens_and_stops_for_whoever_moves_it(digits, window):
    page = window(digits, motion="no-preference")
    seen = set()
    page.until(lambda: seen.add(page.picture("look-xt")) or len(seen) > 3, "some motion")
    page.until(lambda: page.at("look-play").inner_text() == "Play from T to 1", "its end")
    start = page.at("look-caption").inner_text()
    page.page.wait_for_timeout(600)
    assert page.at("look-caption").inner_text() == start
    page.at("look-play").click()
    page.until(lambda: page.at("look-play").inner_text() == "Stop")
    page.slide("look-t", 0.5)
    page.until(lambda: page.at("look-play").inner_text() == "Play from T to 1", "to stop")
    page.tab("chain").until(lambda: t_of(page) < 1000, "a chain that runs by itself")


# ---- draw ----------------------------------------------------------------------------------------


def test_a_stroke_is_drawn_seen_by_the_network_and_denoised(digits, window):
    page = window(digits).tab("draw")
    page.until(lambda: page.picture("draw-x0"))
    blank = page.picture("draw-x0")
    assert "empty sheet" in page.at("draw-caption").inner_text()
    stroke(page, [(0.3, 0.2), (0.7, 0.2), (0.4, 0.8)])
    page.until(lambda: page.picture("draw-x0") != blank, "the drawing")
    assert "empty sheet" not in page.at("draw-caption").inner_text()
    one = page.picture("draw-x0")
    stroke(page, [(0.3, 0.5), (0.6, 0.5)])
    page.until(lambda: page.picture("draw-x0") != one, "the second stroke")
    assert page.at("draw-pad").locator("polyline").count() == 2

    noised = [page.picture(f"draw-result-{i}") for i in range(4)]
    assert len(set(noised)) == 4 and noised[0] == page.picture("draw-xt")
    page.at("draw-play").click()
    page.until(lambda: t_of(page, "draw-where") == 0, "t = 0")
    assert not set(noised) & {page.picture(f"draw-result-{i}") for i in range(4)}

    xt = page.picture("draw-xt")
    page.slide("draw-t", 1.0)
    page.until(lambda: page.picture("draw-xt") != xt and t_of(page, "draw-where") == 1000)
    page.at("draw-clear").click()
    page.until(lambda: page.picture("draw-x0") == blank)
    assert page.at("draw-pad").locator("polyline").count() == 0


def test_a_finger_draws_on_a_phone(digits, window):
    page = window(digits, 390).tab("draw")
    page.until(lambda: page.picture("draw-x0"))
    blank, box = page.picture("draw-x0"), page.at("draw-pad").bounding_box()
    fingers = page.page.context.new_cdp_session(page.page)

    def touch(kind, *places):
        at = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in places]
        points = [{"x": x, "y": y} for x, y in at]
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        page.page.wait_for_timeout(60)

    touch("touchStart", (0.5, 0.2))
    for y in (0.4, 0.6, 0.8):
        touch("touchMove", (0.5, y))
    touch("touchEnd")
    page.until(lambda: page.picture("draw-x0") != blank)
    line = page.at("draw-pad").locator("polyline")
    # The page did not scroll instead.
    assert line.count() == 1 and len(line.get_attribute("points").split()) >= 4
    assert page.page.evaluate("window.scrollY") == 0


def test_an_empty_drawing_can_be_denoised(digits, window):
    page = window(digits).tab("draw")
    page.until(lambda: page.picture("draw-x0"))
    page.slide("draw-t", 0.0)
    page.until(lambda: t_of(page, "draw-where") == 1)
    page.at("draw-play").click()
    page.until(lambda: t_of(page, "draw-where") == 0)


# ---- one training step ---------------------------------------------------------------------------


def test_the_graph_and_each_layers_output_and_gradient(digits, window):
    page = window(digits).tab("step")
    boxes = page.at("step-graph").locator("rect[id^=layer-]")
    page.until(lambda: boxes.count() > 10)
    names = [boxes.nth(i).get_attribute("id").removeprefix("layer-") for i in range(boxes.count())]
    assert {"first", "down.0", "middle1", "up.0", "last"} <= set(names)
    assert not page.at("step-gradient").is_visible()

    seen = set()
    for name in ("down.1", "middle1", "up.0"):
        page.page.locator(f"[id='layer-{name}']").click()
        page.until(lambda: f"Forward, {name}" in page.at("step-caption").inner_text())
        seen.add(page.picture("step-output"))
    assert len(seen) == 3

    page.slide("step-place", 1.0)  # all the way back
    page.until(lambda: "Back, first" in page.at("step-caption").inner_text())
    page.at("step-gradient").wait_for(state="visible")
    gradient = page.picture("step-gradient")
    bars = page.at("step-graph").locator("rect[fill='#c2362b']")
    assert bars.count() == len(names)  # every layer has its bar
    page.page.locator("[id='layer-up.0']").click()
    page.until(lambda: "Back, up.0" in page.at("step-caption").inner_text())
    assert page.picture("step-gradient") != gradient
    assert re.search(r"norm \d", page.at("step-gradient-title").inner_text())

    output, graph = page.picture("step-output"), page.at("step-graph").inner_html()
    page.slide("step-t", 0.9)
    page.until(lambda: page.picture("step-output") != output)
    assert page.at("step-graph").inner_html() != graph


def test_the_walk_goes_by_itself(digits, window):
    page = window(digits).tab("step")
    page.until(lambda: "Forward, first" in page.at("step-caption").inner_text())
    page.at("step-play").click()
    page.until(lambda: "Forward, down.1" in page.at("step-caption").inner_text())
    page.at("step-play").click()
    page.until(lambda: page.at("step-play").inner_text() == "Walk through it")


# ---- the page as a whole -------------------------------------------------------------------------


def test_on_a_phone_the_slider_of_t_is_seen_with_what_it_changes(digits, window):
    page = window(digits, 390)
    for name in ("look-play", "look-t", "look-xt", "look-network", "look-ideal"):
        box = page.at(name).bounding_box()
        assert 0 <= box["y"] and box["y"] + box["height"] < 860, name


def luminance(page, name):
    """Of the text of an element: WCAG 2, relative luminance."""
    colour = page.at(name).evaluate("e => getComputedStyle(e).color")
    values = [int(n) / 255 for n in re.findall(r"\d+", colour)[:3]]
    linear = [v / 12.92 if v <= 0.04 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
    return sum(w * v for w, v in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_the_small_buttons_can_be_read_in_the_dark(digits, window):
    page = window(digits, colours="dark").tab("chain")
    page.at("chain-one").wait_for()
    sheet = 0.0144  # the luminance of #1c2027
    assert (luminance(page, "chain-one") + 0.05) / (sheet + 0.05) > 4.5


@pytest.mark.parametrize("width", [1280, 390])
def test_it_fits_the_window_and_takes_the_systems_colours(digits, window, width):
    shades = []
    for colours in ("light", "dark"):
        page = window(digits, width, colours)
        for tab in TABS:
            page.tab(tab)
            page.page.wait_for_timeout(300)
            assert page.page.evaluate("document.documentElement.scrollWidth") <= width, tab
            assert page.at(f"tab-{tab}").is_visible()
        shade = page.page.evaluate("getComputedStyle(document.body).backgroundColor")
        shades.append(sum(map(int, re.findall(r"\d+", shade)[:3])) / 3)
    assert shades[0] > 200 > 60 > shades[1]
    page.at("dark").get_by_text("light").click()
    page.until(lambda: not page.page.evaluate("document.body.classList.contains('body--dark')"))


@pytest.mark.parametrize("image", [(3, 16, 16), (1, 28, 28)])
def test_runs_of_other_images_without_classes(serve, window, tmp_path, image):
    served = serve(a_run(tmp_path / "run", image, data=data_of(tmp_path / "x.npy", image)))
    page = window(served)
    assert page.at("look-class").count() == 0
    page.tab("chain")
    assert page.at("chain-class").count() == 0
    page.at("chain-play").click()
    page.until(lambda: t_of(page) == 0)
    page.tab("draw").until(lambda: page.picture("draw-x0"))
    blank = page.picture("draw-x0")
    if image[0] == 3:
        page.at("draw-more").click()
        page.choose("draw-ink", "red")
    stroke(page, [(0.2, 0.2), (0.8, 0.8)])
    page.until(lambda: page.picture("draw-x0") != blank)
    page.tab("step").until(lambda: page.at("step-graph").locator("rect[id^=layer-]").count() > 5)


def test_a_run_without_its_data_says_so_and_works(serve, window, tmp_path):
    page = window(serve(a_run(tmp_path / "run", data=str(tmp_path / "gone.npy"))))
    assert "own samples" in page.at("note").inner_text() and page.at("look-ideal").count() == 0
    xt = page.picture("look-xt")
    page.slide("look-t", 0.9)
    page.until(lambda: page.picture("look-xt") != xt)
    page.tab("draw").until(lambda: page.picture("draw-x0"))
