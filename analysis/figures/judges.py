"""How good judges are: every measured rate with its interval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import polars as pl

from assay.analysis.figures.layout import legend
from assay.analysis.figures.single import series_style, single_panel
from assay.analysis.figures.style import FONT_POINTS, INK, LITERAL
from assay.analysis.figures.tidy import name_column
from assay.datasets.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_judge_quality"]


def plot_judge_quality(judges: Mapping[str, pl.DataFrame], *, width_pixels: int = 680) -> Axes:
    """Draw what was measured of judges, side by side.

    Parameters
    ----------
    judges : mapping of names to polars.DataFrame
        The tables of `assay.relabeling.judge_quality`: `{"teacher": quality.table}`.
    width_pixels : int
        Width at which the figure is shown.

    Returns
    -------
    matplotlib.axes.Axes
        Its figure is `axes.figure`. A row per measure between -1 and 1, a marker per judge, a line over its interval. What is no rate,
        such as "trials for one", stays in the table.

    Raises
    ------
    ConfigError
        If there is no judge, or a table is not one of `judge_quality`.
    """
    if not judges:
        raise ConfigError("there is no judge to plot")
    for table in judges.values():
        name_column(table, ["measure", "value", "low", "high"], "judge_quality, its table")
    together = pl.concat([table.select("measure", "value", "low", "high") for table in judges.values()])
    beyond = together.filter((pl.col("value").abs() > 1) | (pl.col("high") > 1) | (pl.col("low") < -1))["measure"]
    known = together.filter(pl.col("value").is_finite() & ~pl.col("measure").is_in(beyond.to_list()))
    measures = known["measure"].unique(maintain_order=True).to_list()
    if not measures:
        raise ConfigError("no rate was measured; judge_quality needs pairs whose better side is known, or repeats")
    axes = single_panel(
        width_pixels,
        "How good a judge is",
        "Marker: what was measured. Line: its interval.",
        "Rate",
        "A row per measure, a marker per judge",
    )
    names = list(judges)
    for index, name in enumerate(names):
        shift = 0.5 * ((index + 0.5) / len(names) - 0.5)
        style = series_style(index)
        for row in judges[name].filter(pl.col("measure").is_in(measures)).iter_rows(named=True):
            place = measures.index(row["measure"]) + shift
            axes.plot([row["value"]], [place], linestyle="none", **{**style, "markersize": 7})
            axes.hlines(place, row["low"], row["high"], color=style["color"], linewidth=1.8, alpha=0.7)
    axes.set_ylim(len(measures) - 0.5, -0.5)
    axes.set_yticks([])
    for place, measure in enumerate(measures):
        axes.text(
            0.01,
            place - 0.36,
            measure,
            transform=axes.get_yaxis_transform(),
            fontsize=FONT_POINTS,
            color=INK,
            va="center",
            **LITERAL,
        )
    axes.set_xlim(min(0.0, float(known["low"].min())) - 0.02, 1.02)  # type: ignore[arg-type]
    figure: Figure = axes.figure  # type: ignore[assignment]
    legend(figure, names, [{**series_style(index), "linestyle": "none"} for index in range(len(names))], width_pixels)
    return axes
