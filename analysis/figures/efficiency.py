"""Sample efficiency: the interquartile mean over tasks and seeds after so many gradient updates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from assay.analysis.figures.layout import legend
from assay.analysis.figures.single import draw_band, series_style, single_panel
from assay.analysis.figures.style import thousands
from assay.analysis.figures.tidy import counts_text, ends_of, name_column, of_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_sample_efficiency", "plot_tuning_curve"]


def plot_sample_efficiency(curves: pl.DataFrame, *, width_pixels: int = 680) -> Axes:
    """Draw scores over gradient updates, one line per algorithm.

    Parameters
    ----------
    curves : polars.DataFrame
        From `sample_efficiency`.
    width_pixels : int
        Width at which the figure is shown.

    Returns
    -------
    matplotlib.axes.Axes
        Its figure is `axes.figure`. A line per algorithm, the band is the point-wise 95 % interval.

    Raises
    ------
    ConfigError
        If the table is empty or not one of curves.
    """
    name_column(curves, ["update", "iqm"], "sample_efficiency")
    text = "Interquartile mean of the scores over tasks and seeds"
    return _lines(curves, "update", "iqm", "How fast it learns", text, "Gradient updates", width_pixels)


def plot_tuning_curve(curves: pl.DataFrame, *, width_pixels: int = 680) -> Axes:
    """Draw what algorithms reach after so many episodes of online tuning.

    Parameters
    ----------
    curves : polars.DataFrame
        From `tuning_curve`.
    width_pixels : int
        Width at which the figure is shown.

    Returns
    -------
    matplotlib.axes.Axes
        Its figure is `axes.figure`. The line begins at 0 episodes, where a setting is chosen blindly.

    Raises
    ------
    ConfigError
        If the table is empty or not one of curves.
    """
    name_column(curves, ["pulls", "mean"], "tuning_curve")
    text = "True mean score of the setting that looks best so far"
    title = "What tuning with episodes of the environment buys"
    return _lines(curves, "pulls", "mean", title, text, "Episodes spent on tuning", width_pixels)


def _lines(table: pl.DataFrame, across: str, up: str, title: str, up_text: str, across_text: str, width: int) -> Axes:
    names, parts = of_names(table, table.columns[0])
    key = f"Band: point-wise 95 % interval over seeds. {counts_text(table)}"
    axes = single_panel(width, title, key, across_text, up_text)
    for index, part in enumerate(parts):
        part = part.sort(across)
        every = max(1, part.height // 12)
        draw_band(
            axes, part[across].to_numpy(), part[up].to_numpy(), *ends_of(part), index, marks=slice(0, None, every)
        )
    axes.xaxis.set_major_formatter(thousands)
    axes.set_xlim(left=0)
    figure: Figure = axes.figure  # type: ignore[assignment]
    legend(figure, names, [series_style(index) for index in range(len(names))], width)
    return axes
