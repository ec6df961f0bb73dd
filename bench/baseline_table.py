"""Baselines of the test splits of the corpora of bench/fetch_corpus.py: bits per symbol, and seconds on one processor.

python bench/baseline_table.py [NAME...]      prints a row for each corpus; by default the Sonnets and all others
"""

import sys
import time

from fetch_corpus import CORPORA, fetch

from unrolled.corpus import baselines
from unrolled.corpus.corpus import Corpus
from unrolled.corpus.sonnets import sonnets

NAMED = ("5-gram", "mixture", "xz", "bz2")


def main() -> None:
    print(f"| corpus | counted | scored | {' | '.join(NAMED)} | best order | seconds |")
    print("| --- |" + " ---: |" * (len(NAMED) + 4))
    for name in sys.argv[1:] or ["sonnets", *CORPORA]:
        text = name == "sonnets"
        corpus = Corpus.from_text(sonnets()) if text else Corpus.read(fetch(name), **CORPORA[name].options)
        started = time.process_time()
        table = baselines.table(corpus)
        seconds = time.process_time() - started
        found = {each.name: each.bits_per_symbol for each in table}
        [best] = [each for each in found if each.endswith("-gram") and each != "5-gram"] or ["5-gram"]
        sizes = " | ".join(f"{len(part.ids):,}" for part in (corpus.train, corpus.test))
        bits = " | ".join(f"{found[each]:.3f}" if each in found else "" for each in NAMED)
        print(f"| {name} | {sizes} | {bits} | {best} {found[best]:.3f} | {seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main()
