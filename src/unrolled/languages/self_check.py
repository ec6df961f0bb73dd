"""Compare the two definitions of a language, machine and recogniser, on every string and on random edits."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Set
from itertools import islice, product
from typing import Any

import numpy as np

from unrolled.config.checks import Count, PositiveInt, Seed, check_value
from unrolled.config.options import brief
from unrolled.languages.language import Language, String
from unrolled.saved.vocabulary import EOS
from unrolled.words import counted


def self_check(language: Language, up_to: int = 12, most: int = 100_000, seed: int = 0) -> list[str]:
    """Look for strings on which the parts of a language disagree.

    The machine alone comes first: what it gives must be keys and sets of symbols of the alphabet.  Three searches
    follow, each through at most `most` strings of at most `up_to` symbols: machine and recogniser must agree on every
    string over the alphabet, and the recognised strings must be as many as counted; every string that the machine lists
    must be recognised, and every legal symbol must lead to the end of some string; machine and recogniser must agree on
    every drawn string and on edits of it.

    Args:
        language: what to check.
        up_to: symbols of the longest string.
        most: strings that each search reads.
        seed: of the draws.

    Returns: one sentence for each fault found, with its string; empty if all agree.

    >>> from unrolled.languages import get
    >>> self_check(get("anbn"))
    []
    >>> language = get("parity")
    >>> language.test = lambda text: text.count("1") != 3
    >>> self_check(language, 3)[0]
    "parity: the recogniser accepts '1', the machine does not"
    """
    check_value("up_to", up_to, Count)
    check_value("most", most, PositiveInt)
    check_value("seed", seed, Seed)
    if fault := unsound(language, up_to, most):
        return [f"{language.name}: {fault}"]
    searches = (_every_string, _listed, _drawn)
    return [
        f"{language.name}: {fault}" for search in searches for fault in islice(search(language, up_to, most, seed), 3)
    ]


def unsound(language: Language, up_to: int, most: int) -> str | None:
    """Return what the machine gives that no other part can work with; None if it gives keys and sets of symbols.

    Args: language; symbols of the longest prefix that is read, and how many prefixes.
    """
    symbols = {*language.alphabet, EOS}
    waiting: deque[tuple[String, Any]] = deque([((), language.start())])
    for _ in range(most):
        if not waiting:
            return None
        prefix, state = waiting.popleft()
        after, key = f"after {_shown(prefix)}", language.key(state)
        legal: Any = language.legal(state)
        try:
            hash(key)
        except TypeError:
            return f"{after}, key(state) is {brief(key)}, expected a key of a dict"
        if not isinstance(legal, Set):
            return f"{after}, legal(state) is {brief(legal)}, expected a frozenset of symbols"
        if strange := legal - symbols:
            return f"{after}, legal(state) has {brief(min(strange, key=repr))}, which the alphabet lacks"
        if len(prefix) < up_to:
            waiting += (((*prefix, symbol), language.step(state, symbol)) for symbol in sorted(legal - {EOS}))
    return None


def _every_string(language: Language, up_to: int, most: int, seed: int) -> Iterator[str]:
    sizes = {language.length(n): n for n in range(up_to + 1)}
    left = most
    for length in range(up_to + 1):
        found = 0
        for string in islice(product(language.alphabet, repeat=length), left):
            yield from _disagreement(language, string)
            found += language.recognises(string)
        left -= len(language.alphabet) ** length
        if left < 0:
            return
        if length not in sizes and found:
            strings = f"{counted(found, 'string')} of {counted(length, 'symbol')}"
            yield f"the recogniser accepts {strings}, but no size n has that length"
        elif length in sizes and language.count(sizes[length]) != found:
            n = sizes[length]
            strings = counted(found, "string")
            yield f"count({n}) is {language.count(n)}, but the recogniser accepts {strings} of that size"


def _listed(language: Language, up_to: int, most: int, seed: int) -> Iterator[str]:
    for string in islice(language.strings(up_to), most):
        if not language.recognises(string):
            yield f"the machine lists {_shown(string)}, the recogniser does not accept it"
    yield from _dead_ends(language, up_to, most)


def _dead_ends(language: Language, up_to: int, most: int) -> Iterator[str]:
    """Find prefixes that the machine accepts but no string continues to an end within 4 `up_to` symbols."""
    layer: list[tuple[String, Any]] = [((), language.start())]
    for _ in range(up_to // 2):
        layer = [
            ((*prefix, symbol), language.step(state, symbol))
            for prefix, state in layer
            for symbol in sorted(language.legal(state) - {EOS})
        ][: max(1, most // 1000)]
        for prefix, state in layer:
            if not leads_to_an_end(language, state, 4 * up_to):
                yield f"the machine accepts the prefix {_shown(prefix)}, but no string continues it"


def leads_to_an_end(language: Language, state: Any, within: int) -> bool:
    """Return whether some string ends at most `within` symbols after a state."""
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
            yield f"a string of size {n} was drawn with {counted(len(string), 'symbol')}, expected {language.length(n)}"
        if not language.recognises(string):
            yield f"{_shown(string)} was drawn, but the recogniser does not accept it"
        for _ in range(10):
            yield from _disagreement(language, language.edited(rng, string))


def _disagreement(language: Language, string: String) -> Iterator[str]:
    recognised = language.recognises(string)
    if recognised != language.accepts(string):
        accepts, refuses = ("recogniser", "machine") if recognised else ("machine", "recogniser")
        yield f"the {accepts} accepts {_shown(string)}, the {refuses} does not"


def _shown(string: String) -> str:
    return repr(" ".join(string)) if string else "the empty string"
