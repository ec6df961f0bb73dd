"""Line charts as SVG, to stand inside a page."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.views.colours import HUES

WIDTH, HEIGHT, LEFT, BELOW, ABOVE = 640, 260, 62, 38, 12


def log_lines(lines: Mapping[str, NDArray[Any]], *, across: str, up: str, floor: float) -> str:
    """Return lines over 0, 1, 2 ... with a logarithmic vertical axis, which ends at the floor and says so.

    Args: name -> values (N,), all of one length; labels of the horizontal and the vertical axis; the floor, above 0.

    >>> log_lines({"h": np.array([1.0, 0.1])}, across="lag", up="norm", floor=1e-3).count("<polyline")
    1
    """
    logs = {name: np.log10(np.maximum(values, 1e-300)) for name, values in lines.items()}
    least = min(float(each.min()) for each in logs.values())
    below = least < math.log10(floor)
    low = round(math.log10(floor)) if below else math.floor(least)
    high = max(low + 1, math.ceil(max(float(each.max()) for each in logs.values()) + 1e-9))
    last = max(1, max(len(each) for each in logs.values()) - 1)
    width, height = WIDTH - LEFT - 8, HEIGHT - BELOW - ABOVE

    def x(at: float) -> float:
        return LEFT + width * at / last

    def y(at: float) -> float:
        return ABOVE + height * (high - at) / (high - low)

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(up)} against {across}">']
    for power in range(low, high + 1, max(1, (high - low) // 6)):
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - 8}" y1="{y(power):.1f}" y2="{y(power):.1f}"/>')
        exponent = f'<tspan dy="-5" font-size="9">{power}</tspan>'
        parts.append(f'<text x="{LEFT - 8}" y="{y(power) + 4:.1f}" text-anchor="end">10{exponent}</text>')
    ticks, under = sorted({round(k * last / 5) for k in range(6)}), HEIGHT - BELOW + 16
    parts += [f'<text x="{x(at):.1f}" y="{under}" text-anchor="middle">{at}</text>' for at in ticks]
    if below:
        said = f"values below {floor:g} are not shown"
        parts.append(f'<text x="{WIDTH - 10}" y="{y(low) - 5:.1f}" text-anchor="end">{said}</text>')
    box = f'x="{LEFT}" y="{ABOVE}" width="{width}" height="{height}"'
    parts.append(f'<svg {box} viewBox="{LEFT} {ABOVE} {width} {height}" overflow="hidden">')
    for hue, values in zip(HUES, logs.values(), strict=False):
        points = " ".join(f"{x(at):.1f},{y(float(each)):.1f}" for at, each in enumerate(values))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{hue}" stroke-width="2"/>')
    parts.append("</svg>")
    parts.append(f'<text x="{LEFT + width / 2}" y="{HEIGHT - 4}" text-anchor="middle">{html.escape(across)}</text>')
    middle = ABOVE + height / 2
    turn = f'transform="rotate(-90 12 {middle})"'
    parts.append(f'<text x="12" y="{middle}" text-anchor="middle" {turn}>{html.escape(up)}</text></svg>')
    keys = (
        f'<span><i style="background:{hue}"></i>{html.escape(name)}</span>'
        for hue, name in zip(HUES, logs, strict=False)
    )
    return "".join(parts) + f'<p class="key">{"".join(keys)}</p>'
