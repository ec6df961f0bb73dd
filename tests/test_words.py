"""Counts and numbers in texts for people: the noun agrees with its count, and no number is longer than it means."""

import ast
import math
import re
from pathlib import Path

import pytest

from unrolled.words import counted, duration, perplexity, rounded

PACKAGE = Path(__file__).parents[1] / "src" / "unrolled"
#: Nouns that follow a count.
NOUNS = "symbol|step|unit|string|sequence|model|line|column|file|byte|seed|number|time|character|word"
PLURAL = re.compile(rf" (?:{NOUNS})s\b(?!/)")


def plurals(source):
    """Texts in which a noun in the plural follows a number that may be 1; a constant is more than that."""
    for text in ast.walk(ast.parse(source)):
        if isinstance(text, ast.JoinedStr):
            for value, after in zip(text.values, text.values[1:], strict=False):
                if isinstance(value, ast.FormattedValue) and isinstance(after, ast.Constant):
                    count, found = ast.unparse(value.value), PLURAL.match(after.value)
                    if found and not count.isupper():
                        yield count + found[0]


def test_every_count_goes_through_counted():
    assert [*plurals("f'{count:,} symbols'"), *plurals("f'{MOST} symbols'")] == ["count symbols"]
    found = {str(path.relative_to(PACKAGE)): [*plurals(path.read_text("utf-8"))] for path in PACKAGE.rglob("*.py")}
    assert {path: texts for path, texts in found.items() if texts and not path.startswith("nn/")} == {}


@pytest.mark.parametrize("noun", ["symbol", "batch", "predicted symbol", "box", "loss"])
def test_counted_has_the_singular_for_one_alone(noun):
    assert counted(1, noun) == f"1 {noun}"
    assert counted(0, noun).startswith(f"0 {noun}")
    assert counted(2, noun) in (f"2 {noun}s", f"2 {noun}es")


@pytest.mark.parametrize("decimals", [1, 2, 4])
def test_rounded_has_the_decimals_asked_for_and_no_text_is_long(decimals):
    for exponent in range(-300, 300):
        for value in (10.0**exponent, -(10.0**exponent)):
            text = rounded(value, decimals)
            assert len(text) <= 13
            assert float(text.replace(",", "")) == pytest.approx(value, rel=5e-3, abs=10.0**-decimals)
            assert not re.fullmatch(r"-0\.?0*", text)
    assert [rounded(value, decimals) for value in (math.inf, math.nan)] == ["inf", "nan"]


def test_perplexity_of_any_loss_is_short():
    for bits in (0, 1, 20, 29.9, 31, 500, 999.9, 1000, 1e30, math.inf):
        assert len(perplexity(bits)) <= 13


@pytest.mark.parametrize(("seconds", "text"), [(0, "0 s"), (59.9, "59 s"), (61, "1 min 1 s"), (7261, "2 h 1 min")])
def test_duration_is_given_in_words(seconds, text):
    assert duration(seconds) == text
