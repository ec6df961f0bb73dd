"""From a keystroke until every picture of the page shows it: `python bench/keystrokes.py`; needs Chromium."""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.views.browser import driver
from tests.views.browser.serving import serving
from unrolled.config.model import ModelConfig
from unrolled.lm.model import SequenceModel
from unrolled.saved.vocabulary import Vocabulary

TEXT = "shall i compare thee to a summer's day? " * 5


def main():
    torch.set_num_threads(1)  # as the command does
    sizes = {"hidden_size": 256}
    models = {cell: SequenceModel(ModelConfig(cell=cell, **sizes), Vocabulary.build(TEXT)) for cell in ("lstm", "gru")}
    with serving(models) as server, tempfile.TemporaryDirectory() as profile, driver.browser(Path(profile)) as window:
        for cell in models:
            page = driver.Page(window, server.address).open(f"#a={cell}&a.units=3&text={TEXT.replace(' ', '+')}")
            call = f'keystrokes("{TEXT}")'
            page.looks(call)  # once without counting, so that everything is loaded
            times = page.looks(call)
            middle, worst = statistics.median(times), max(times)
            print(f"{cell}, H 256, 180 to 200 symbols: median {middle:.0f} ms, worst of {len(times)} {worst:.0f} ms")


if __name__ == "__main__":
    main()
