"""The colours of every picture: terminal, PNG, SVG, notebook, report, plots; webpage/static/colours.js repeats them.

They keep apart for every kind of colour vision: viridis from 0 to 1, PuOr for signed values, and for lines hues in an
order in which neighbours differ in brightness too.
"""

from __future__ import annotations

from collections.abc import Sequence

from unrolled.notation import CELLS

RGB = tuple[int, int, int]


def rgb(code: str) -> RGB:
    """Return a colour written as #rrggbb as red, green and blue from 0 to 255.

    >>> rgb("#440154")
    (68, 1, 84)
    """
    return int(code[1:3], 16), int(code[3:5], 16), int(code[5:7], 16)


def _scale(codes: str) -> tuple[RGB, ...]:
    return tuple(map(rgb, codes.split()))


#: Evenly spaced colours of the scales that matplotlib calls viridis and PuOr.
VIRIDIS = _scale("#440154 #482878 #3e4989 #31688e #26828e #1f9e89 #35b779 #6ece58 #b5de2b #fde725")
PUOR = _scale("#7f3b08 #b35806 #e08214 #fdb863 #fee0b6 #f7f7f7 #d8daeb #b2abd2 #8073ac #542788 #2d004b")

#: From expected to surprising, darker step by step, so that brightness alone tells; black or white can be read on each.
SURPRISE = _scale("#ffffff #fdf0d5 #fbd9a0 #f6b56a #e98a3c #cf5f1a #a83c0b")
#: Bits per symbol that have the last of these colours.
SURPRISING = 10.0

#: For lines and groups: Okabe and Ito's set, its orange and black in shades that can be read on white; purple of PuOr.
HUES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b07800", "#333333", "#3390c4", "#542788")
#: The hue of each cell, in every picture that compares them.
CELL_HUES = dict(zip(CELLS, (HUES[0], HUES[7], HUES[1], HUES[2], HUES[4]), strict=True))
#: The first two hues on white paper, for areas.
TINTS = ("#cfe5f2", "#fbe3c9")
#: Greys, from that of wires and writing to that of a background: what only gives scale, and what only explains.
INK, SCALE, FAINT, SHADE, PAPER = HUES[5], "#666666", "#bbbbbb", "#dddddd", "#ffffff"

#: The gates whose values lie in (0, 1), of every kind of cell.
SIGMOIDS = frozenset(gate for cell in CELLS.values() for gate in cell.sigmoids)
#: Luminance on which black and white stand out alike: (1 + 0.05) / (x + 0.05) = (x + 0.05) / 0.05.
EVEN = (1.05 * 0.05) ** 0.5 - 0.05


def colour(share: float, scale: Sequence[RGB]) -> RGB:
    """Return the colour at a share in [0, 1] of a scale.

    >>> colour(0.0, VIRIDIS), colour(0.05, VIRIDIS), colour(2.0, VIRIDIS)
    ((68, 1, 84), (70, 19, 100), (253, 231, 37))
    """
    place = min(max(share, 0.0), 1.0) * (len(scale) - 1)
    low = min(int(place), len(scale) - 2)
    red, green, blue = (round(a + (place - low) * (b - a)) for a, b in zip(scale[low], scale[low + 1], strict=True))
    return red, green, blue


def luminance(of: RGB) -> float:
    """Return the relative luminance of a colour, 0 for black and 1 for white.

    Source: WCAG 2.1, relative luminance.

    >>> luminance((255, 255, 255)), luminance((0, 0, 0))
    (1.0, 0.0)
    """
    red, green, blue = (v / 255 / 12.92 if v <= 10 else ((v / 255 + 0.055) / 1.055) ** 2.4 for v in of)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: RGB, other: RGB) -> float:
    """Return the contrast ratio of two colours, 1 to 21; text needs 4.5, and lines 3.

    Source: WCAG 2.1, contrast ratio.

    >>> contrast((255, 255, 255), (0, 0, 0))
    21.0
    """
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def ink(background: RGB) -> str:
    """Return black or white, whichever stands out more on a colour.

    >>> ink((253, 231, 37)), ink((68, 1, 84))
    ('black', 'white')
    """
    return "black" if luminance(background) > EVEN else "white"


def on(background: RGB) -> str:
    """Return the style of text on a colour in a terminal, whose own colours nobody knows.

    >>> on((255, 231, 37))
    'rgb(0,0,0) on rgb(255,231,37)'
    """
    written = (0, 0, 0) if ink(background) == "black" else (255, 255, 255)
    return " on ".join(f"rgb({','.join(map(str, each))})" for each in (written, background))


def surprise(bits: float) -> RGB:
    """Return the colour of what a symbol cost.

    >>> surprise(0.0), surprise(99.0)
    ((255, 255, 255), (168, 60, 11))
    """
    return colour(bits / SURPRISING, SURPRISE)


def signal_scale(name: str, reach: float) -> tuple[float, float, tuple[RGB, ...]]:
    """Return the range of a gate or state, and its colours; reach is the largest value of one that has no bounds.

    >>> signal_scale("f", 3.0)[:2], signal_scale("c", 3.0)[:2], signal_scale("h", 0.5)[:2]
    ((0.0, 1.0), (-3.0, 3.0), (-1.0, 1.0))
    """
    reach = max(1.0, reach)
    return (0.0, 1.0, VIRIDIS) if name in SIGMOIDS else (-reach, reach, PUOR)
