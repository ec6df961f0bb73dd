"""Seconds to learn 8,000 byte-pair symbols from a text (the aim: 10) and to encode it, beside `tokenizers`.

python bench/byte_pairs.py [TEXT] [--size 8000]     by default the 5 MB of works of bench/fetch_corpus.py
"""

import argparse
import time
from pathlib import Path

from fetch_corpus import fetch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from unrolled.saved.vocabulary import Vocabulary

#: Aim for learning from 5 MB, s.
GOAL = 10.0


def main() -> None:
    """Print both."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("text", nargs="?", type=Path)
    options.add_argument("--size", type=int, default=8000)
    given = options.parse_args()
    path = given.text or Path(fetch("works"))
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    text = "\n".join(file.read_text(encoding="utf-8") for file in files)
    print(f"{len(text.encode()) / 1e6:.1f} MB, V {given.size:,}")

    began = time.perf_counter()
    vocabulary = Vocabulary.build(text, "bpe", size=given.size)
    learned = time.perf_counter()
    ids = vocabulary.encode(text)
    encoded = time.perf_counter()
    seconds = f"learned in {learned - began:5.1f} s (aim {GOAL:g}), encoded in {encoded - learned:5.1f} s"
    print(f"unrolled    {seconds}: {len(ids):,} symbols")
    assert vocabulary.decode(ids) == text

    library = Tokenizer(models.BPE())
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=given.size - 2, min_frequency=2, initial_alphabet=alphabet, show_progress=False
    )
    began = time.perf_counter()
    library.train_from_iterator([text], trainer)
    learned = time.perf_counter()
    found = library.encode(text).ids
    encoded = time.perf_counter()
    seconds = f"learned in {learned - began:5.1f} s, encoded in {encoded - learned:5.1f} s"
    print(f"tokenizers  {seconds}: {len(found):,} symbols")


if __name__ == "__main__":
    main()
