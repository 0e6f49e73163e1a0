"""Robustness: scores against how much of the data was changed, or by how much."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from assay.analysis.figures.layout import legend
from assay.analysis.figures.single import draw_band, series_style, single_panel
from assay.analysis.figures.variants import axis_label, choose_metric
from assay.analysis.tables import range_text, score_table
from assay.datasets.errors import ConfigError, UnknownNameError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_robustness"]


def plot_robustness(
    runs: pl.DataFrame,
    over: str = "transform/corruption.random/rate",
    metric: str | None = None,
    *,
    width_pixels: int = 680,
) -> Axes:
    """Draw scores against a parameter of a transform, such as the rate or the scale of a corruption.

    Parameters
    ----------
    runs : polars.DataFrame
        From `load_runs`: one dataset, untouched and changed in one way. For a figure of each element, filter first:
        `runs.filter((pl.col("transforms") == 0) | (pl.col("transform/corruption.random/element") == "rewards"))`.
    over : str
        Column of the parameter. Untouched data stand at 0.
    metric : str, optional
        `"score"`, `"return_mean"` or another number per run; by default the score where there is one.
    width_pixels : int
        Width at which the figure is shown.

    Returns
    -------
    matplotlib.axes.Axes
        Its figure is `axes.figure`. A line per algorithm through the means over seeds; the band is the point-wise 95 % stratified
        bootstrap interval.

    Raises
    ------
    UnknownNameError
        If there is no such column.
    ConfigError
        If no run has the parameter, or runs of one seed and value differ in something else, as for `score_table`.
    """
    if over not in runs.columns:
        raise UnknownNameError("parameter of a transform", over, [name for name in runs.columns if "/" in name])
    if not runs.schema[over].is_numeric():
        raise ConfigError(f"{over} holds {runs.schema[over]}, not numbers; a curve needs a rate, a scale or the like")
    untouched = pl.col("transforms") == 0
    placed = runs.with_columns(pl.when(untouched).then(0.0).otherwise(pl.col(over).cast(pl.Float64)).alias("place"))
    placed = placed.filter(pl.col("place").is_not_null())
    if placed.filter(~untouched).is_empty():
        raise ConfigError(f"no run has {over}; `load_runs(folder).columns` lists the parameters that runs have")
    metric = metric or choose_metric(placed)
    # One value is one column of the table, whatever its variants are called.
    table = score_table(placed.with_columns(variant=pl.col("place").cast(pl.String)), metric, ["label"])
    table = table.with_columns(place=pl.col("variant").cast(pl.Float64)).sort("place")
    parts = over.split("/")
    axes = single_panel(
        width_pixels,
        "How much change of the data the scores survive",
        f"Band: point-wise 95 % interval over seeds. 0: untouched data. Seeds: {range_text(table['seeds'])}.",
        f"{parts[-1]} of {parts[-2]}" if len(parts) > 1 else over,
        axis_label(placed, metric),
    )
    labels = placed["label"].unique(maintain_order=True).to_list()
    for index, label in enumerate(labels):
        line = table.filter((pl.col("label") == label) & pl.col("mean").is_not_null())
        bounds = line.with_columns(pl.col("low").fill_null(pl.col("mean")), pl.col("high").fill_null(pl.col("mean")))
        none = line["low"].null_count() == line.height
        low, high = (None, None) if none else (bounds["low"].to_numpy(), bounds["high"].to_numpy())
        draw_band(axes, line["place"].to_numpy(), np.asarray(line["mean"].to_numpy(), float), low, high, index)
    axes.set_xlim(left=min(0.0, float(table["place"].min())))  # type: ignore[arg-type]
    figure: Figure = axes.figure  # type: ignore[assignment]
    legend(figure, labels, [series_style(index) for index in range(len(labels))], width_pixels)
    return axes
