"""Scores as a map: a cell per algorithm and variant, coloured by its mean, with its interval written in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from assay.analysis.figures.layout import Heading, axes_at, canvas, text_width, wrapped
from assay.analysis.figures.style import FONT_POINTS, INK, LITERAL, SMALL_POINTS, number_text
from assay.analysis.figures.variants import axis_label, choose_metric, distinct_variants, variants_in_order
from assay.analysis.tables import score_table
from assay.datasets.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_score_map"]

_ROW, _LEAST_COLUMN, _ABOVE, _BELOW = 40, 74, 26, 30  # pixels


def plot_score_map(runs: pl.DataFrame, metric: str | None = None, *, width_pixels: int = 680) -> Axes:
    """Draw the mean score of every algorithm on every variant as a map, with the interval in every cell.

    Parameters
    ----------
    runs : polars.DataFrame
        From `load_runs`.
    metric : str, optional
        `"score"`, `"return_mean"` or another number per run; by default the score where there is one.
    width_pixels : int
        Width at which the figure is shown; it is made wider where so many algorithms would not be legible.

    Returns
    -------
    matplotlib.axes.Axes
        Its figure is `axes.figure`. A row per variant, a column per algorithm. A cell holds the mean over seeds and its 95 %
        stratified bootstrap interval; it is blank where nothing was scored.

    Raises
    ------
    ConfigError
        If there is no run, or as for `score_table`.
    """
    import seaborn

    if runs.is_empty():
        raise ConfigError("there is no run to plot")
    runs = distinct_variants(runs)
    metric = metric or choose_metric(runs)
    table = score_table(runs, metric, ["label"])
    variants, labels = variants_in_order(runs), runs["label"].unique(maintain_order=True).to_list()
    cells = {(row["variant"], row["label"]): row for row in table.iter_rows(named=True)}
    means = np.full((len(variants), len(labels)), np.nan)
    texts = np.full(means.shape, "", dtype=object)
    for (variant, label), row in cells.items():
        if row["mean"] is not None:
            place = variants.index(variant), labels.index(label)
            means[place] = row["mean"]
            between = "" if row["low"] is None else f"\n{number_text(row['low'])} to {number_text(row['high'])}"
            texts[place] = number_text(row["mean"]) + between
    left = min(1.1 * text_width(variants, 180), 0.4 * width_pixels) + 20
    width = max(width_pixels, left + len(labels) * _LEAST_COLUMN + 14)
    key = f"In a cell: mean over seeds, 95 % interval. Blank: no score. {axis_label(runs, metric)}."
    heading = Heading(width, "Every algorithm on every variant of the data", key)
    height = _ROW * len(variants)
    figure = canvas(width, heading.height + _ABOVE + height + _BELOW)
    heading.write(figure)
    axes = axes_at(figure, left, heading.height + _ABOVE, width - left - 14, height)
    seaborn.heatmap(
        means,
        mask=np.isnan(means),
        annot=texts,
        fmt="",
        cmap="viridis",
        cbar=False,
        linewidths=1.0,
        linecolor="white",
        annot_kws={"fontsize": SMALL_POINTS},
        ax=axes,
    )
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.set_xticks(np.arange(len(labels)) + 0.5, labels, rotation=0, fontsize=FONT_POINTS, color=INK, **LITERAL)
    names = [wrapped(variant, left - 20) for variant in variants]
    axes.set_yticks(np.arange(len(variants)) + 0.5, names, rotation=0, fontsize=FONT_POINTS, color=INK, **LITERAL)
    return axes
