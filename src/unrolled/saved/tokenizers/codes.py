"""Code points by their general category, for patterns: Python's `re` has no names for them."""

from __future__ import annotations

import unicodedata
from functools import cache
from itertools import chain, groupby

#: The code points among which letters, marks and digits are looked for.
_ASSIGNED = (range(0x32400), range(0xE0100, 0xE01F0))


@cache
def codes_of(categories: str) -> str:
    """Return the inside of a character class: the code points whose general category begins with one of these letters.

    >>> import re
    >>> re.findall(f"[{codes_of('LM')}]+", "naïve 42 नमस्ते")
    ['naïve', 'नमस्ते']
    """
    found = ""
    for inside, codes in groupby(chain(*_ASSIGNED), lambda code: unicodedata.category(chr(code))[0] in categories):
        if inside:
            first, *rest = codes
            found += f"\\U{first:08x}-\\U{rest[-1] if rest else first:08x}"
    return found
