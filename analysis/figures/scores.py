"""Final scores: every seed, mean and interval of every algorithm on every variant."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from assay.analysis.figures.layout import (
    BOLD,
    LINE_HEIGHT,
    Heading,
    axes_at,
    canvas,
    line_count,
    shorten,
    text_width,
    wrapped,
)
from assay.analysis.figures.style import (
    FONT_POINTS,
    GRID,
    INK,
    LITERAL,
    MARKERS,
    MUTED,
    NARROW_BELOW,
    SERIES,
    SMALL_POINTS,
)
from assay.analysis.figures.variants import axis_label, choose_metric, distinct_variants, variants_in_order
from assay.analysis.tables import score_table
from assay.datasets.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_scores"]

_ROW = 18  # pixels of one algorithm on one variant


def plot_scores(runs: pl.DataFrame, metric: str | None = None, *, width_pixels: int = 680) -> Figure:
    """Draw the final score of every algorithm on every variant: seeds, mean, interval, and the data's own score.

    Parameters
    ----------
    runs : polars.DataFrame
        From `load_runs`.
    metric : str, optional
        `"score"`, `"return_mean"` or another number per run; by default the score where there is one.
    width_pixels : int
        Width at which the figure is shown; its height follows from the number of rows.

    Returns
    -------
    matplotlib.figure.Figure
        One block per variant, one row per algorithm: an open marker per seed, a bar at the mean, a line over the
        95 % stratified bootstrap interval. The dashed line is the mean of the dataset itself.

    Raises
    ------
    ConfigError
        If there is no run, or as for `score_table`.
    """
    if runs.is_empty():
        raise ConfigError("there is no run to plot")
    runs = distinct_variants(runs)
    metric = metric or choose_metric(runs)
    name = "label" if "label" in runs.columns else "algorithm"
    table = score_table(runs, metric, [name])
    known = name == "label" and "algorithm" in runs.columns
    variants = variants_in_order(runs) if known else runs["variant"].unique(maintain_order=True).to_list()
    labels = runs[name].unique(maintain_order=True).to_list()
    narrow = width_pixels < NARROW_BELOW
    right = 1.1 * text_width(labels, 140) + 14
    left = 12.0 if narrow else text_width(variants, 180) * BOLD + 18
    width = width_pixels - left - right

    what = {"score": "Final score", "return_mean": "Final return"}.get(metric, metric)
    key = "Open markers: single seeds. Bar: their mean. Line: 95 % interval. Dashed: mean return in the data."
    heading = Heading(width_pixels, f"{what} of every algorithm on every variant of the data", key)
    label = wrapped(axis_label(runs, metric), width_pixels - 24 if narrow else width + right)
    above = 30 if narrow else 14
    cells = {(cell["variant"], cell[name]): cell for cell in table.iter_rows(named=True)}
    rows = {variant: [item for item in labels if (variant, item) in cells] for variant in variants}
    height = sum(above + _ROW * len(items) for items in rows.values()) + 10
    figure = canvas(width_pixels, heading.height + height + 34 + line_count(label) * LINE_HEIGHT)
    heading.write(figure)
    axes = axes_at(figure, left, heading.height, width, height)
    axes.set_ylim(height, 0)
    axes.set_yticks([])
    axes.set_xlim(*_limits(runs, table, metric))

    at: dict[tuple[str, str], float] = {}  # where each row stands, in pixels below the upper edge of the axes
    top = 0.0
    for variant, items in rows.items():
        top += above
        bottom = top + _ROW * len(items)
        _block(axes, variant, top, bottom, above, None if narrow else left)
        behaviour = table.filter(variant=variant)["behaviour"].drop_nulls().to_list()
        if behaviour:
            axes.plot([behaviour[0]] * 2, [top - 2, bottom + 2], color=INK, linewidth=1.3, linestyle=(0, (3, 2)))
        at |= {(variant, item): top + _ROW * (index + 0.5) for index, item in enumerate(items)}
        top = bottom
    for index, item in enumerate(labels):
        places = {variant: at[variant, item] for variant in variants if (variant, item) in at}
        _series(axes, runs.filter(pl.col(name) == item), metric, places, index)
    for (variant, item), y in at.items():
        _row(axes, cells[variant, item], y, shorten(item, right), SERIES[labels.index(item) % len(SERIES)])
    axes.set_xlabel(label, color=INK, fontsize=FONT_POINTS, linespacing=1.3, loc="left", **LITERAL)
    axes.set_ylabel("")
    return figure


def _block(axes: Axes, variant: str, top: float, bottom: float, above: float, left: float | None) -> None:
    """Name the rows of a variant: on their left, or above them where `left` is None, and draw a line between blocks."""
    axes.axhline(top - above / 2 if left is not None else top - above + 3, color=GRID, linewidth=0.8)
    beside = left is not None
    axes.annotate(
        variant if left is None else wrapped(variant, (left - 12) / BOLD),
        (0, (top + bottom) / 2 if beside else top - 4),
        xytext=(-8.0 if beside else 0.0, 0),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        ha="right" if beside else "left",
        va="center" if beside else "bottom",
        fontsize=FONT_POINTS,
        fontweight="bold",
        color=INK,
        **LITERAL,
    )


def _series(axes: Axes, runs: pl.DataFrame, metric: str, places: dict[str, float], index: int) -> None:
    """Draw the seeds of one algorithm as open markers in its colour."""
    import seaborn

    scored = runs.filter(pl.col(metric).is_not_null())
    if scored.is_empty():
        return
    seaborn.scatterplot(
        x=scored[metric].to_numpy(),
        y=np.array([places[variant] for variant in scored["variant"]]),
        marker=MARKERS[index % len(MARKERS)],
        s=26,
        facecolor="none",
        edgecolor=SERIES[index % len(SERIES)],
        linewidth=1.1,
        zorder=3,
        legend=False,
        ax=axes,
    )


def _row(axes: Axes, cell: dict[str, float | None], y: float, name: str, color: str) -> None:
    """Name a row on its right, and draw its mean and interval."""
    axes.annotate(
        name,
        (1, y),
        xytext=(6, 0),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        ha="left",
        va="center",
        fontsize=SMALL_POINTS,
        color=color,
        **LITERAL,
    )
    if cell["mean"] is None:
        low, high = axes.get_xlim()
        axes.text(low + 0.02 * (high - low), y, "no score", va="center", color=MUTED, fontsize=8)
        return
    if cell["low"] is not None and cell["high"] is not None:
        axes.plot([cell["low"], cell["high"]], [y, y], color=color, linewidth=2.2, alpha=0.55)
    axes.plot([cell["mean"]] * 2, [y - 7, y + 7], color=color, linewidth=2.6, solid_capstyle="butt", zorder=4)


def _limits(runs: pl.DataFrame, table: pl.DataFrame, metric: str) -> tuple[float, float]:
    columns = [runs[metric], *(table[name] for name in ("low", "high", "behaviour"))]
    values = np.concatenate([column.drop_nulls().to_numpy() for column in columns])
    if not len(values):
        return 0.0, 100.0
    low, high = float(values.min()), float(values.max())
    if metric != "return_mean":
        low, high = min(low, 0.0), max(high, 1.0)
    margin = 0.04 * (high - low) or max(1.0, abs(high) * 0.05)
    return low - margin, high + margin
