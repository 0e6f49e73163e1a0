"""Performance profiles: which share of the runs is above each score."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from assay.analysis.figures.layout import legend
from assay.analysis.figures.single import draw_band, series_style, single_panel
from assay.analysis.figures.tidy import counts_text, ends_of, name_column, of_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_performance_profiles"]


def plot_performance_profiles(profiles: pl.DataFrame, *, width_pixels: int = 680) -> Axes:
    """Draw the share of runs above each threshold, one line per algorithm.

    Parameters
    ----------
    profiles : polars.DataFrame
        From `performance_profiles`.
    width_pixels : int
        Width at which the figure is shown.

    Returns
    -------
    matplotlib.axes.Axes
        Its figure is `axes.figure`. A line per algorithm, the band is the point-wise 95 % interval.

    Raises
    ------
    ConfigError
        If the table is empty or not one of profiles.
    """
    by = name_column(profiles, ["threshold", "share"], "performance_profiles")
    axes = single_panel(
        width_pixels,
        "Which share of the runs is above each score",
        f"A higher line is better. Band: point-wise 95 % interval over seeds. {counts_text(profiles)}",
        "Score",
        "Share of runs with a higher score",
    )
    names, parts = of_names(profiles, by)
    for index, part in enumerate(parts):
        part = part.sort("threshold")
        every = max(1, part.height // 12)
        draw_band(
            axes,
            part["threshold"].to_numpy(),
            part["share"].to_numpy(),
            *ends_of(part),
            index,
            marks=slice(index % every, None, every),
        )
    axes.set_ylim(-0.02, 1.02)
    figure: Figure = axes.figure  # type: ignore[assignment]
    legend(figure, names, [series_style(index) for index in range(len(names))], width_pixels)
    return axes
