"""Figures of one panel: a heading, axes whose labels say what is drawn, and lines with bands that all such figures share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.analysis.figures.layout import Heading, axes_at, canvas, wrapped, write_text
from assay.analysis.figures.style import FONT_POINTS, GRID, INK, LITERAL, MARKERS, SERIES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_band", "series_style", "single_panel"]

_HEIGHT, _LEFT, _BELOW = 260, 52, 46  # pixels


def single_panel(width: float, title: str, key: str, across: str, up: str) -> Axes:
    """Start a figure of one panel; `up` stands above the axes, because a turned label is hard to read.

    Parameters
    ----------
    width : float
        Pixels of the figure.
    title, key : str
        Heading.
    across, up : str
        What the axes mean.
    """
    heading, up = Heading(width, title, key), wrapped(up, width - 24)
    lines = up.count("\n") + 1
    top = heading.height + 17 * lines + 6
    figure = canvas(width, top + _HEIGHT + _BELOW)
    heading.write(figure)
    write_text(figure, up, 12, heading.height, color=INK)
    axes = axes_at(figure, _LEFT, top, width - _LEFT - 16, _HEIGHT)
    axes.grid(axis="both", color=GRID, linewidth=0.8)
    axes.set_xlabel(across, color=INK, fontsize=FONT_POINTS, loc="left", **LITERAL)
    return axes


def series_style(index: int) -> dict[str, Any]:
    """Return the colour and the marker of the series with this number, the same ones in every figure."""
    return {"color": SERIES[index % len(SERIES)], "marker": MARKERS[index % len(MARKERS)], "markersize": 4.5}


def draw_band(
    axes: Axes,
    places: np.ndarray,
    values: np.ndarray,
    low: np.ndarray | None,
    high: np.ndarray | None,
    index: int,
    *,
    marks: Sequence[int] | slice | None = None,
    steps: bool = False,
) -> None:
    """Draw a line, and its interval as a band where there is one.

    Parameters
    ----------
    axes : Axes
    places, values : (n,) arrays
    low, high : (n,) arrays or None
        Ends of the intervals.
    index : int
        Number of the series.
    marks : sequence of int or slice, optional
        Which points have a marker; default all.
    steps : bool
        Whether a value holds up to the next place.
    """
    style = series_style(index)
    how: dict[str, Any] = {"drawstyle": "steps-post"} if steps else {}
    axes.plot(places, values, linewidth=2.0, markevery=marks, zorder=3, **how, **style)
    if low is not None and high is not None:
        step: dict[str, Any] = {"step": "post"} if steps else {}
        axes.fill_between(places, low, high, color=style["color"], alpha=0.18, linewidth=0, **step)
