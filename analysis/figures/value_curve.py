"""The curve of values: scores against the share of the episodes that is kept, by value and by simpler orders."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from assay.analysis.figures.layout import legend
from assay.analysis.figures.single import draw_band, series_style, single_panel
from assay.analysis.figures.style import MUTED
from assay.analysis.figures.tidy import ends_of, name_column, of_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_value_curve"]

_NAMES = {"value": "by value", "random": "at random", "return": "by return", "length": "by length"}


def plot_value_curve(table: pl.DataFrame, *, unit: str = "score points", width_pixels: int = 680) -> Axes:
    """Draw scores against the share that is kept, one line per order.

    Parameters
    ----------
    table : polars.DataFrame
        `ValueCurve.table`.
    unit : str
        Of the scores.
    width_pixels : int
        Width at which the figure is shown.

    Returns
    -------
    matplotlib.axes.Axes
        Its figure is `axes.figure`. A line per order with its point-wise interval as a band; a dashed line is the score of all data.

    Raises
    ------
    ConfigError
        If the table is empty or not one of a curve.

    Examples
    --------
    >>> rows = {"ranking": ["value", "value", "all"], "share": [0.5, 0.75, 1.0], "score": [60.0, 62.0, 55.0],
    ...         "low": [58.0, 60.0, 52.0], "high": [62.0, 64.0, 58.0], "seeds": [8, 8, 8]}
    >>> axes = plot_value_curve(pl.DataFrame(rows))
    >>> len(axes.lines)
    2
    """
    by = name_column(table, ["share", "score", "low", "high", "seeds"], "ValueCurve.table")
    orders, whole = table.filter(pl.col(by) != "all"), table.filter(pl.col(by) == "all")
    axes = single_panel(
        width_pixels,
        "What is learned from the episodes that are kept",
        f"Line: mean. Band: its interval at each share by itself, {table['seeds'][0]} seeds that made no value. Dashed: all data.",
        "Share that is kept",
        f"Score ({unit})",
    )
    names, parts = of_names(orders, by)
    for index, part in enumerate(parts):
        part = part.sort("share")
        draw_band(axes, part["share"].to_numpy(), part["score"].to_numpy(), *ends_of(part), index)
    if not whole.is_empty():
        axes.axhline(whole["score"][0], color=MUTED, linestyle="--", linewidth=1.4, zorder=2)
    figure: Figure = axes.figure  # type: ignore[assignment]
    legend(
        figure, [_NAMES.get(name, name) for name in names], [series_style(i) for i in range(len(names))], width_pixels
    )
    return axes
