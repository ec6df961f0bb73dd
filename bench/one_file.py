"""The page as one file: its size, how fast it reads and writes, the time of a keystroke: `python bench/one_file.py`.

Needs Chromium.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.views.browser import driver
from tests.views.browser.serving import endless
from tests.webpage.alone import opened
from unrolled.config.model import ModelConfig
from unrolled.lm.model import SequenceModel
from unrolled.saved.vocabulary import Vocabulary

TEXT = "shall i compare thee to a summer's day? " * 5
SYMBOLS = 4_000


def main():
    with tempfile.TemporaryDirectory() as folder, driver.browser(Path(folder) / "profile") as window:
        for cell in ("lstm", "gru"):
            model = endless(
                SequenceModel(ModelConfig(cell=cell, hidden_size=128), Vocabulary.build(TEXT), framed=False)
            )
            page = opened(window, Path(folder), model)
            size, weights = (Path(folder) / "network.html").stat().st_size, sum(p.numel() for p in model.parameters())
            print(f"{cell}, H 128: {weights * 4 / 1e3:,.0f} kB of weights in a file of {size / 1e3:,.0f} kB")
            for work, call in {
                "reads": lambda page=page: page.ask("view", text=(TEXT * 20)[:SYMBOLS]),
                "writes": lambda page=page: page.generate(max_length=SYMBOLS),
            }.items():
                begin = time.perf_counter()
                call()
                print(f"  {work} {SYMBOLS / (time.perf_counter() - begin):,.0f} symbols/s")
            times = page.looks(f'keystrokes("{TEXT}")')
            print(
                f"  keystroke, 180 to 200 symbols: median {statistics.median(times):.0f} ms, worst {max(times):.0f} ms"
            )


if __name__ == "__main__":
    main()
