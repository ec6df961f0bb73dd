"""Take the picture of the page in serve.md: `python docs/make_page_picture.py MODEL [MODEL]`; needs Chromium."""

import sys
import tempfile
from pathlib import Path
from urllib.parse import urlencode

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.views.browser import driver  # noqa: E402
from tests.views.browser.serving import serving  # noqa: E402
from unrolled.notation import has_cell_state  # noqa: E402
from unrolled.views.page.models import load  # noqa: E402
from unrolled.views.traces import trace  # noqa: E402
from unrolled.views.units import ranked  # noqa: E402

TEXT = "Shall I compare thee to a summer's day?\nThou art more lovely and more temperate:\n"


def main():
    models = load(map(Path, sys.argv[1:]))
    names = dict(zip("ab", models, strict=False))
    view = {"text": TEXT, "at": 39}
    for side, model in zip("ab", models.values(), strict=False):
        array = "c" if has_cell_state(model.config.kind) else "h"
        best = [each.unit for each in ranked(trace(model, TEXT), "line-length", signals=(array,)) if not each.layer]
        view |= {f"{side}.array": array, f"{side}.units": ",".join(map(str, best[:2]))}
    with serving(models) as server, tempfile.TemporaryDirectory() as profile, driver.browser(Path(profile)) as window:
        page = driver.Page(window, server.address).open(f"#{urlencode(view | names)}", width=1100)
        page.until("[...document.querySelectorAll('.pane')].every((p) => p.hidden || p.dataset.gradients)")
        page.run("document.querySelectorAll('#write, footer').forEach((e) => { e.hidden = true; })")
        page.size(1100, page.run("return document.documentElement.scrollHeight"))
        page.run("return new Promise((shown) => requestAnimationFrame(() => requestAnimationFrame(shown)))")
        page.picture(ROOT / "docs" / "images" / "page.png")


if __name__ == "__main__":
    main()
