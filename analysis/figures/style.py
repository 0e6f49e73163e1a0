"""Colours, markers, type sizes and number formats that all figures share.

The colours are distinguishable for colour-blind readers, and series differ in their marker as well. A page replaces the
same colours by CSS variables, so that one drawing serves light and dark pages.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "FONT_POINTS",
    "GRID",
    "INK",
    "LITERAL",
    "MARKERS",
    "MUTED",
    "NARROW_BELOW",
    "SERIES",
    "SMALL_POINTS",
    "number_text",
    "thousands",
]

INK = "#1b1f24"
MUTED = "#59636e"
GRID = "#d8dee4"
SERIES = ("#0067a6", "#c2470a", "#007a5a", "#a23b7b", "#7d6200", "#3f51b5", "#5d6b78", "#b02a37")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")

NARROW_BELOW = 500  # below this width, names stand above what they name instead of beside it
FONT_POINTS = 9.0  # 12.5 CSS pixels at 100 dots per inch
SMALL_POINTS = FONT_POINTS - 0.5
LITERAL: dict[str, Any] = {"parse_math": False}  # names come from files, and a dollar sign is not mathematics there


def number_text(value: float) -> str:
    """Write a number with three significant digits, large ones whole.

    Examples
    --------
    >>> number_text(0.06543), number_text(4230632.0), number_text(1.0)
    ('0.0654', '4,230,632', '1')
    """
    if value == int(value) and abs(value) < 1e6:
        return f"{int(value):,}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def thousands(value: float, position: float | None = None) -> str:
    """Write the label of a tick.

    Examples
    --------
    >>> thousands(2000), thousands(2.5e6), thousands(0.5)
    ('2k', '2.5M', '0.5')
    """
    if abs(value) >= 1e6:
        return f"{value / 1e6:g}M"
    return f"{value / 1e3:g}k" if abs(value) >= 1e3 else f"{value:g}"
