"""Forest plots: differences with their intervals, one row per comparison of a trial."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from assay.analysis.figures.layout import Heading, axes_at, canvas, shorten, text_width, wrapped
from assay.analysis.figures.style import FONT_POINTS, INK, LITERAL, MUTED, NARROW_BELOW, SERIES, SMALL_POINTS
from assay.datasets.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_forest"]

_ROW = 30  # pixels of a comparison
_NEEDED = ("algorithm", "after", "verdict", "difference", "low", "high", "smallest_difference", "unit", "alpha")
_LOOKS = {
    "better": (SERIES[2], "^"),
    "worse": (SERIES[1], "v"),
    "equivalent": (SERIES[0], "s"),
    "undecided": (MUTED, "o"),
}


def plot_forest(table: pl.DataFrame, *, margin: float | None = None, width_pixels: int = 680) -> Figure:
    """Draw the differences of a trial with their intervals, in one panel per unit.

    Parameters
    ----------
    table : polars.DataFrame
        `TrialResult.table`, or several of them one below the other.
    margin : float, optional
        Shade the differences that do not matter, in units of the score.
    width_pixels : int
        Width at which the figure is shown; its height follows from the number of rows.

    Returns
    -------
    matplotlib.figure.Figure
        A row per comparison: the difference as a marker of its verdict's shape and colour, its interval as a line, and the
        smallest difference that the seeds could have shown as a thin band around 0. Comparisons without an interval have no
        line.

    Raises
    ------
    ConfigError
        If the table has no row, or lacks a column.

    Examples
    --------
    >>> import polars as pl
    >>> row = {"algorithm": "iql", "after": "noisy", "verdict": "worse", "difference": -5.0, "low": -8.0, "high": -2.0,
    ...        "smallest_difference": 4.0, "unit": "score points", "alpha": 0.05}
    >>> figure = plot_forest(pl.DataFrame([row]))
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['iql', 'worse']
    """
    missing = [name for name in _NEEDED if name not in table.columns]
    if missing or table.is_empty():
        raise ConfigError(f"a forest plot needs the table of a trial; {missing[0] if missing else 'a row'} is missing")
    narrow = width_pixels < NARROW_BELOW
    several = table["after"].n_unique() > 1
    names = [
        f"{row['algorithm']}, {row['after']}" if several else row["algorithm"] for row in table.iter_rows(named=True)
    ]
    table = table.with_columns(pl.Series("name", names))
    left = min(text_width(names) + 24, width_pixels * (0.3 if narrow else 0.4))
    right = text_width(["undecided"]) + 16
    heading = Heading(
        width_pixels,
        "After the change minus before it",
        "Marker: difference. Line: its interval, at the level of the verdict. Band: what these seeds could not show.",
    )
    panels = table.partition_by("unit", maintain_order=True)
    below = 52  # pixels of an axis with its label
    height = heading.height + sum(_ROW * len(panel) + below for panel in panels)
    figure = canvas(width_pixels, height + 8)
    heading.write(figure)
    top = heading.height
    for panel in panels:
        axes = axes_at(figure, left, top, width_pixels - left - right, _ROW * len(panel))
        _panel(axes, panel, left, margin if panel["unit"][0] != "standard deviations" else None)
        label = wrapped(f"Difference ({panel['unit'][0].removeprefix('of ')})", width_pixels - left)
        axes.set_xlabel(label, color=INK, fontsize=FONT_POINTS, **LITERAL)
        top += _ROW * len(panel) + below
    return figure


def _panel(axes: Axes, panel: pl.DataFrame, left: float, margin: float | None) -> None:
    axes.set_ylim(len(panel), 0)
    axes.set_yticks([])
    axes.set_ylabel("")
    axes.set_xlim(*_limits(panel, margin))
    axes.axvline(0, color=INK, linewidth=1.0, zorder=1)
    if margin is not None:
        axes.axvspan(-margin, margin, color=SERIES[0], alpha=0.08, linewidth=0, zorder=0)
    for index, row in enumerate(panel.iter_rows(named=True)):
        _row(axes, row, index + 0.5, left)


def _row(axes: Axes, row: dict[str, Any], y: float, left: float) -> None:
    color, marker = _LOOKS[row["verdict"]]
    if row["smallest_difference"] is not None:
        axes.fill_betweenx(
            [y - 0.22, y + 0.22], -row["smallest_difference"], row["smallest_difference"], color=MUTED, alpha=0.15
        )
    if row["low"] is not None:
        axes.plot([row["low"], row["high"]], [y, y], color=color, linewidth=2.0, zorder=3)
    axes.plot([row["difference"]], [y], marker=marker, markersize=6, color=color, linestyle="none", zorder=4)
    beside: dict[str, Any] = {
        "xycoords": ("axes fraction", "data"),
        "textcoords": "offset points",
        "va": "center",
        **LITERAL,
    }
    named = shorten(row["name"], left - 16)
    axes.annotate(named, (0, y), xytext=(-8, 0), ha="right", fontsize=FONT_POINTS, color=INK, **beside)
    axes.annotate(row["verdict"], (1, y), xytext=(6, 0), ha="left", fontsize=SMALL_POINTS, color=color, **beside)


def _limits(panel: pl.DataFrame, margin: float | None) -> tuple[float, float]:
    """Return limits that hold differences, intervals and the margin; bands may be cut."""
    columns = [panel[name].drop_nulls().to_numpy() for name in ("difference", "low", "high")]
    values = np.concatenate([*columns, [0.0], [] if margin is None else [-margin, margin]])
    low, high = float(values.min()), float(values.max())
    room = 0.08 * (high - low) or 1.0
    return low - room, high + room
