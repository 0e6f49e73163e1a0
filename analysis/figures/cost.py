"""Cost against score: what an algorithm's training takes, and what it gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from assay.analysis.comparisons import aggregate_table
from assay.analysis.figures.layout import legend
from assay.analysis.figures.single import series_style, single_panel
from assay.analysis.figures.style import thousands
from assay.analysis.figures.tidy import counts_text
from assay.analysis.figures.variants import axis_label, choose_metric
from assay.datasets.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_cost"]


def plot_cost(runs: pl.DataFrame, metric: str | None = None, *, width_pixels: int = 680) -> Axes:
    """Draw the mean score of every algorithm against the seconds that a run took.

    Parameters
    ----------
    runs : polars.DataFrame
        From `load_runs`; every algorithm on the same tasks, each with equally many seeds.
    metric : str, optional
        `"score"`, `"return_mean"` or another number per run; by default the score where there is one.
    width_pixels : int
        Width at which the figure is shown.

    Returns
    -------
    matplotlib.axes.Axes
        Its figure is `axes.figure`. A marker per algorithm at the median of its runs' seconds (logarithmic) and its mean over
        tasks and seeds; the vertical line is the 95 % interval, the horizontal one reaches from the quickest to the slowest
        run. Runs that were trained as one population took their time together, so compare runs that were trained alike and
        on the same machine.

    Raises
    ------
    ConfigError
        If no run says how long it took, or as for `score_arrays`.
    """
    from matplotlib.ticker import LogLocator, NullLocator

    if runs.is_empty():
        raise ConfigError("there is no run to plot")
    timed = runs.filter(pl.col("seconds") > 0)
    if timed.is_empty():
        raise ConfigError("no run says how long it took (the column seconds)")
    chosen = metric or choose_metric(timed)
    means = aggregate_table(timed, chosen).filter(aggregate="mean")
    axes = single_panel(
        width_pixels,
        "What training costs, and what it gives",
        "Vertical: 95 % interval over seeds. Horizontal: quickest to slowest run, marker at the median. "
        + counts_text(means),
        "Seconds of a run (wall clock, logarithmic)",
        axis_label(timed, chosen),
    )
    axes.set_xscale("log")
    axes.set_xlim(float(timed["seconds"].min()) / 1.6, float(timed["seconds"].max()) * 1.6)  # type: ignore[arg-type]
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(thousands)
    axes.xaxis.set_minor_locator(NullLocator())
    names = []
    for index, row in enumerate(means.iter_rows(named=True)):
        seconds = timed.filter(pl.col("label") == row["label"])["seconds"]
        middle: Any = seconds.median()
        style = series_style(index)
        axes.plot([middle], [row["value"]], linestyle="none", **{**style, "markersize": 8})
        axes.hlines(row["value"], seconds.min(), seconds.max(), color=style["color"], linewidth=1.2)  # type: ignore[arg-type]
        if row["low"] is not None:
            axes.vlines(middle, row["low"], row["high"], color=style["color"], linewidth=2.2, alpha=0.6)
        names.append(row["label"])
    figure: Figure = axes.figure  # type: ignore[assignment]
    legend(figure, names, [{**series_style(index), "linestyle": "none"} for index in range(len(names))], width_pixels)
    return axes
