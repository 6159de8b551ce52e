"""The command as a process, and the page with words for it."""

import re
import signal
import subprocess
import sys


class Served:
    """The command, running, until the end of a `with` block.

    Attributes: url, port, process; and errors, what it wrote to stderr, once it has ended.
    """

    def __init__(self, run, *options):
        main = "import sys; from tinyddpm.cli import main; sys.exit(main())"
        command = [sys.executable, "-c", main, "explore", str(run), "--no-open", *options]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True)
        found = re.search(r"http://127\.0\.0\.1:(\d+)", self.process.stdout.readline())
        if not found:
            raise RuntimeError(self.process.communicate(timeout=60)[1])
        self.url, self.port = found[0], int(found[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end(signal.SIGTERM)

    def end(self, how):
        """Send it a signal and wait for its end, if it has not ended."""
        if self.process.returncode is None:
            self.process.send_signal(how)
            self.errors = self.process.communicate(timeout=60)[1]


class Page:
    """A Playwright page, with words for this one: elements go by their names (data-testid)."""

    def __init__(self, page):
        self.page = page

    def at(self, name):
        return self.page.get_by_test_id(name)

    def tab(self, name):
        self.at(f"tab-{name}").click()
        return self

    def picture(self, name):
        """The data URI that an image shows."""
        return self.at(name).locator("img").get_attribute("src")

    def slide(self, name, fraction):
        """Move a slider to a fraction of its length, as a mouse does; 0 and 1 are its very ends.

        Again, if the page moved under the mouse meanwhile.
        """
        for _ in range(20):
            self._slide(name, fraction)
            values = [f"aria-value{which}" for which in ("min", "now", "max")]
            control = self.at(name)
            low, now, high = (float(control.get_attribute(v, timeout=2000)) for v in values)
            if abs((now - low) / ((high - low) or 1) - fraction) < 0.1:
                return
            self.page.wait_for_timeout(200)
        raise AssertionError(f"{name}: it is at {now}, not at {fraction:.0%}")

    def _slide(self, name, fraction):
        track, mouse = self.at(name).locator(".q-slider__track-container"), self.page.mouse
        track.scroll_into_view_if_needed()
        box = track.bounding_box()
        y = box["y"] + box["height"] / 2
        mouse.move(box["x"] + 0.5 * box["width"], y)
        mouse.down()
        if fraction in (0, 1):  # a little beyond the end
            fraction = 1.04 * fraction - 0.02
        mouse.move(box["x"] + fraction * box["width"], y, steps=3)
        mouse.up()

    def choose(self, name, option):
        self.page.locator(".q-field", has=self.at(name)).click()
        self.page.get_by_role("option", name=option, exact=True).click()

    def number(self, name, value):
        self.page.locator(".q-field", has=self.at(name)).locator("input").fill(str(value))

    def until(self, condition, what="it"):
        """Wait until condition() holds."""
        for _ in range(900):
            if condition():
                return
            self.page.wait_for_timeout(100)
        raise AssertionError(f"waited for {what} in vain")


def t_of(page, name="chain-t"):
    """The t that an element says."""
    return int(re.search(r"t = (\d+)", page.at(name).inner_text())[1])
