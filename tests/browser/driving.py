"""The command as a process, and the page with words for it."""
import re
import signal
import subprocess
import sys


class Served:
    """The command, running, until the end of a `with` block. Attributes: url, port, process; and errors, what it said there, once it has ended."""

    def __init__(self, run, *options):
        self.process = subprocess.Popen([sys.executable, "-c", "import sys; from tinyddpm.cli import main; sys.exit(main())", "explore", str(run),
                                         "--no-open", *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
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

    def slide(self, name, share):
        """Move a slider to a share of its length, as a mouse does; 0 and 1 are its very ends. Again, if the page moved under the mouse meanwhile."""
        for _ in range(20):
            self._slide(name, share)
            lowest, now, highest = (float(self.at(name).get_attribute(f"aria-value{which}", timeout=2000)) for which in ("min", "now", "max"))
            if abs((now - lowest) / ((highest - lowest) or 1) - share) < 0.1:
                return
            self.page.wait_for_timeout(200)
        raise AssertionError(f"{name}: it is at {now}, not at {share:.0%}")

    def _slide(self, name, share):
        track, mouse = self.at(name).locator(".q-slider__track-container"), self.page.mouse
        track.scroll_into_view_if_needed()
        box = track.bounding_box()
        y = box["y"] + box["height"] / 2
        mouse.move(box["x"] + 0.5 * box["width"], y)
        mouse.down()
        mouse.move(box["x"] + (1.04 * share - 0.02 if share in (0, 1) else share) * box["width"], y, steps=3)
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
