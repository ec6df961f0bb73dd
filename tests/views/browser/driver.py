"""A real browser without a window, and what the tests want to know of a page in it."""

from __future__ import annotations

import base64
import shutil
import time
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

BROWSER = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
WHY_NOT = "" if BROWSER and DRIVER else "needs chromium and chromedriver"

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
LOOKS = (Path(__file__).parent / "looks.js").read_text()
PATIENCE = 120  # seconds until a test gives up; no test is about how long anything takes


@contextmanager
def browser(profile: Path):
    """A browser with a profile of its own."""
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


class Page:
    """One page in a browser."""

    def __init__(self, driver, address):
        self.driver, self.address = driver, address

    def open(self, fragment="", *, width=1440, height=1000, dark=False):
        """Load the page at a size and in a theme; wait until it shows its text."""
        self.size(width, height)
        self.theme(dark)
        self.driver.get("about:blank")
        self.driver.get(f"{self.address}{fragment}")
        self.until("document.documentElement.dataset.ready === 'yes'")
        return self

    def size(self, width, height):
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def theme(self, dark):
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def run(self, script, *arguments):
        """Run JavaScript; return what it returns."""
        return self.driver.execute_script(script, *arguments)

    def looks(self, call):
        """Return what a function of looks.js returns."""
        return self.run(f"{LOOKS} return {call}")

    def until(self, condition):
        """Wait until a JavaScript expression is true; return its value."""
        end = time.monotonic() + PATIENCE
        while not (value := self.run(f"return {condition}")):
            assert time.monotonic() < end, f"never came true: {condition}; the log: {self.log()}"
            time.sleep(0.02)
        return value

    def find(self, selector):
        return self.driver.find_element("css selector", selector)

    def all(self, selector):
        return self.driver.find_elements("css selector", selector)

    def log(self):
        """What the browser complained about since it was last asked."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def picture(self, path: Path):
        """Keep a picture of the whole page."""
        path.parent.mkdir(parents=True, exist_ok=True)
        shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
        path.write_bytes(base64.b64decode(shot["data"]))
