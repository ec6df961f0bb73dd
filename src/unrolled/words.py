"""How texts for people write counts, numbers and times."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable

#: From here a number has no decimals, and from there only three digits and an exponent.
WHOLE, HUGE = 1e6, 1e9
#: Bits from which a perplexity is no number of a computer.
MOST_BITS = 1000
#: Characters of the beginning and of the end of a message, which may quote a file, that are shown.
BEGINNING, END = 600, 300


def one_line(said: str) -> str:
    """Return a message in one line, its middle left out where it is long: the end says what to do.

    >>> one_line("x.npz:\\nfoo"), len(one_line("a" * 10**6))
    ('x.npz: foo', 905)
    """
    line = said.replace("\n", " ")
    return line if len(line) <= BEGINNING + END else f"{line[:BEGINNING]} ... {line[-END:]}"


def counted(count: int, noun: str) -> str:
    """Return a count with its noun.

    Args: count; the noun in the singular, perhaps with words before it.

    >>> counted(1, "symbol"), counted(0, "predicted symbol"), counted(86156, "batch")
    ('1 symbol', '0 predicted symbols', '86,156 batches')
    """
    ending = "" if count == 1 else "es" if noun.endswith(("ch", "s", "x")) else "s"
    return f"{count:,} {noun}{ending}"


def rounded(value: float, decimals: int) -> str:
    """Return a loss or another number as it is printed: with no more digits than mean something.

    >>> rounded(1.38629, 4), rounded(-1e-9, 4), rounded(1234567.8, 1), rounded(6.02e30, 3), rounded(float("inf"), 3)
    ('1.3863', '0.0000', '1,234,568', '6.02e+30', 'inf')
    """
    value = round(float(value), decimals) + 0.0  # no minus before a zero
    if abs(value) < WHOLE:
        return f"{value:,.{decimals}f}"
    return f"{value:,.0f}" if abs(value) < HUGE else f"{value:.2e}"


def told_apart(names: Iterable[str]) -> list[str]:
    """Return names of which no two are the same: one that was there before gets the next free number.

    >>> told_apart(["gru", "gru", "lstm"]), told_apart(["m-2", "m", "m"])
    (['gru', 'gru-2', 'lstm'], ['m-2', 'm', 'm-3'])
    """
    given = [*names]
    told: list[str] = []
    for k, name in enumerate(given):
        free = (f"{name}-{number}" for number in itertools.count(2))
        told.append(name if name not in told else next(each for each in free if each not in {*told, *given[k:]}))
    return told


def about(count: float) -> str:
    """Return an estimate, rounded up to two digits that count, so that no count on the way there is larger.

    >>> about(7.2), about(1201), about(79_136_640)
    ('about 8', 'about 1,300', 'about 80,000,000')
    """
    whole = math.ceil(count)
    unit = 10 ** max(0, len(str(whole)) - 2)
    return f"about {math.ceil(whole / unit) * unit:,}"


def sized(size: int) -> str:
    """Return a number of bytes in words.

    >>> sized(999), sized(412_345), sized(4_000_000), sized(16 * 10**12)
    ('999 bytes', '412 kB', '4.0 MB', '16,000.0 GB')
    """
    if size < 1000:
        return counted(size, "byte")
    if size < 999_500:
        return f"{size / 1e3:.0f} kB"
    return f"{size / 1e6:.1f} MB" if size < 999_950_000 else f"{size / 1e9:,.1f} GB"


def duration(seconds: float) -> str:
    """Return a time span in words.

    >>> duration(7.4), duration(200), duration(7300)
    ('7 s', '3 min 20 s', '2 h 1 min')
    """
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def perplexity(bits: float) -> str:
    """Return the perplexity at these bits per symbol, as it is printed.

    >>> perplexity(6), perplexity(40), perplexity(3e7)
    ('64.00', '1.10e+12', 'over 1e300')
    """
    return rounded(2.0**bits, 2) if bits < MOST_BITS else "over 1e300"
