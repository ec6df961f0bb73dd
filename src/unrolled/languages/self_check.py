"""Whether a language says the same thing twice: machine against recogniser, on every string and on every edit."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, product
from typing import Any

import numpy as np

from unrolled.languages.language import Language, String
from unrolled.saved.vocabulary import EOS


def self_check(language: Language, up_to: int = 12, most: int = 100_000, seed: int = 0) -> list[str]:
    """Look for a string on which the parts of a language disagree.

    Three searches, each through at most `most` strings of at most `up_to` symbols: every string over the alphabet must
    be in the language for the machine if and only if it is for the recogniser; every string that the machine walks to
    must be recognised, have a size, and be counted; every drawn string, and every edit of it, must be judged alike.
    And every state that the machine reaches must lead to an end: a legal symbol after which no string goes on is wrong.

    Args:
        language: to check.
        up_to: symbols of the longest string.
        most: strings that each search looks at.
        seed: of the drawn strings.

    Returns: one sentence for each fault found, with its string; empty if all agree.

    >>> from unrolled.languages import get
    >>> self_check(get("anbn"))
    []
    >>> language = get("parity")
    >>> language.test = lambda text: text.count("1") != 3
    >>> self_check(language, 3)[0]
    "parity: the recogniser takes '1', the machine does not"
    """
    searches = (_every_string, _walked, _drawn)
    return [
        f"{language.name}: {fault}" for search in searches for fault in islice(search(language, up_to, most, seed), 3)
    ]


def _every_string(language: Language, up_to: int, most: int, seed: int) -> Iterator[str]:
    sizes = {language.length(n): n for n in range(up_to + 1)}
    looked_at = 0
    for length in range(up_to + 1):
        looked_at += len(language.alphabet) ** length
        strings = product(language.alphabet, repeat=length)
        found = 0
        for string in islice(strings, max(0, most - looked_at + len(language.alphabet) ** length)):
            yield from _disagreement(language, string)
            found += language.recognises(string)
        if looked_at > most:
            return
        if length not in sizes and found:
            yield f"the recogniser takes {found} strings of {length} symbols, and no size n has that length"
        elif length in sizes and language.count(sizes[length]) != found:
            n = sizes[length]
            yield f"count({n}) is {language.count(n)}, the recogniser takes {found} strings of that size"


def _walked(language: Language, up_to: int, most: int, seed: int) -> Iterator[str]:
    for string in islice(language.strings(up_to), most):
        if not language.recognises(string):
            yield f"the machine walks to {_shown(string)}, the recogniser does not take it"
    yield from _dead_ends(language, up_to, most)


def _dead_ends(language: Language, up_to: int, most: int) -> Iterator[str]:
    """Find prefixes that the machine lets pass, but that no string goes on with for all of 4 `up_to` symbols."""
    layer: list[tuple[String, Any]] = [((), language.start())]
    for _ in range(up_to // 2):
        layer = [
            ((*prefix, symbol), language.step(state, symbol))
            for prefix, state in layer
            for symbol in sorted(language.legal(state) - {EOS})
        ][: max(1, most // 1000)]
        for prefix, state in layer:
            if not leads_to_an_end(language, state, 4 * up_to):
                yield f"the machine lets {_shown(prefix)} pass, but no string goes on from it"


def leads_to_an_end(language: Language, state: Any, within: int) -> bool:
    """Return whether some string goes on from a state and ends after at most so many symbols."""
    layer = {language.key(state): state}
    seen = {*layer}
    for _ in range(within + 1):
        if any(EOS in language.legal(state) for state in layer.values()):
            return True
        after = [language.step(s, symbol) for s in layer.values() for symbol in language.legal(s)]
        layer = {language.key(s): s for s in after if language.key(s) not in seen}
        seen |= {*layer}
    return False


def _drawn(language: Language, up_to: int, most: int, seed: int) -> Iterator[str]:
    rng = np.random.default_rng(seed)
    sizes = [n for n in range(1, up_to + 1) if language.length(n) <= up_to and language.has(n)]
    for n in sizes * max(1, min(10, most // 1000)):
        string = language.draw(rng, n)
        if len(string) != language.length(n):
            yield f"a string of size {n} was drawn with {len(string)} symbols, expected {language.length(n)}"
        if not language.recognises(string):
            yield f"{_shown(string)} was drawn, but the recogniser does not take it"
        for _ in range(10):
            yield from _disagreement(language, language.edited(rng, string))


def _disagreement(language: Language, string: String) -> Iterator[str]:
    recognised = language.recognises(string)
    if recognised != language.accepts(string):
        takes, refuses = ("recogniser", "machine") if recognised else ("machine", "recogniser")
        yield f"the {takes} takes {_shown(string)}, the {refuses} does not"


def _shown(string: String) -> str:
    return repr(" ".join(string)) if string else "the empty string"
