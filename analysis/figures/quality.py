"""What the data of every variant is like: a bar per metric and variant, and trajectory quality against coverage."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from assay.analysis.figures.coverage import draw_coverage, quality_and_coverage
from assay.analysis.figures.layout import BOLD, Heading, axes_at, canvas, line_count, text_width, wrapped, write_text
from assay.analysis.figures.style import INK, LITERAL, MUTED, NARROW_BELOW, SERIES, SMALL_POINTS, number_text, thousands
from assay.datasets.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_quality"]

_METRICS = ("score", "return_mean", "tq", "saco", "fraction_terminated", "length_mean", "unique_state_actions")
_METRIC_NAMES = {
    "score": "Behaviour score (0–100)",
    "return_mean": "Mean return per episode",
    "return_std": "Standard deviation of returns",
    "return_median": "Median return per episode",
    "return_max": "Largest return",
    "tq": "Trajectory quality TQ",
    "saco": "State-action coverage SACo",
    "lsaco": "Log coverage lSACo",
    "fraction_terminated": "Fraction terminated",
    "length_mean": "Mean episode length (steps)",
    "unique_state_actions": "Unique state-action bins",
    "steps": "Steps",
    "episodes": "Episodes",
}
_BAR = 12.0  # pixels, the height of a bar
_LEAST_PANEL = 205  # pixels, the least width of a panel with its numbers
_SCATTER = 300  # pixels, the height of the scatter


def plot_quality(quality: pl.DataFrame, metrics: Sequence[str] | None = None, *, width_pixels: int = 680) -> Figure:
    """Draw what the data of every variant is like: a bar per metric, and trajectory quality against coverage.

    Parameters
    ----------
    quality : polars.DataFrame
        From `load_quality`, or from `assay.metrics.assess`, whose rows are taken as one variant, "this dataset".
    metrics : sequence of str, optional
        Which bars to draw; by default up to four of behaviour score (or mean return), TQ, SACo and the like.
    width_pixels : int
        Width at which the figure is shown.

    Returns
    -------
    matplotlib.figure.Figure
        One panel per metric: a bar at the value, a line over the 95 % interval where it is an estimate, and the value
        in digits in a column on the right. With two variants or more that have both TQ and SACo, the scatter of
        Schweighofer et al. 2021 (arXiv 2111.04714) stands below: how good the data is against how much of the
        state-action space it covers, both relative to a reference dataset.

    Raises
    ------
    ConfigError
        If the table is empty, lacks a column, or has no finite value for a metric that is asked for.
    """
    if quality.is_empty():
        raise ConfigError("there is no quality to plot; the suite measured none")
    quality = _by_variant(quality)
    chosen = _chosen(quality, metrics)
    variants = quality["variant"].unique(maintain_order=True).to_list()
    narrow = width_pixels < NARROW_BELOW
    left = text_width(variants, 130 if narrow else 185) + 16
    columns = 1 if narrow else max(1, min(len(chosen), int((width_pixels - left) / _LEAST_PANEL)))
    names = [wrapped(variant, left - 12) for variant in variants]
    heights = np.array([max(_BAR + 7, 13 * line_count(name) + 5) for name in names])
    centres = np.cumsum(heights) - heights / 2 + 6
    tall = float(heights.sum()) + 12
    cell = (width_pixels - 8 - left) / columns
    titles = [
        wrapped(_name(quality.filter(metric=metric)), (width_pixels if narrow else cell) / BOLD) for metric in chosen
    ]
    above = 15 * max(map(line_count, titles)) + 8
    pitch = above + tall + 30  # pixels from one row of panels to the next
    heading = Heading(width_pixels, "What the data of every variant is like")
    rows = math.ceil(len(chosen) / columns)
    points = quality_and_coverage(quality)
    below = Heading(
        width_pixels,
        "Trajectory quality against coverage",
        "TQ: 0 = random policy, 1 = best known. SACo: 1 = as many bins as the reference.",
    )
    end = heading.height + rows * pitch
    figure = canvas(width_pixels, end + (below.height + _SCATTER + 48 if len(points) > 1 else 0))
    heading.write(figure)
    for index, metric in enumerate(chosen):
        row, column = divmod(index, columns)
        start, top = left + column * cell, heading.height + row * pitch
        measured = quality.filter(metric=metric)
        write_text(figure, titles[index], 12 if narrow else start, top + above - 5, fontweight="bold", va="bottom")
        values = [measured.filter(variant=variant).to_dicts() for variant in variants]
        texts = [_value_text(found) for found in values]
        numbers = text_width(texts) + 10
        axes = axes_at(figure, start, top + above, cell - numbers - 10, tall)
        _bars(axes, values, centres)
        axes.set_ylim(tall, 0)
        axes.set_yticks(centres if column == 0 else [], labels=names if column == 0 else [])
        axes.tick_params(axis="y", length=0, labelcolor=INK, labelsize=SMALL_POINTS)
        for label in axes.get_yticklabels():
            label.set(**LITERAL)
        for text, at in zip(texts, centres, strict=True):
            axes.annotate(
                text,
                (1, at),
                xycoords=("axes fraction", "data"),
                xytext=(0.72 * numbers, 0),
                textcoords="offset points",
                ha="right",
                va="center",
                fontsize=SMALL_POINTS,
                color=INK,
                **LITERAL,
            )
    if len(points) > 1:
        below.write(figure, end)
        draw_coverage(axes_at(figure, 68, end + below.height, width_pixels - 84, _SCATTER), points)
    return figure


def _by_variant(quality: pl.DataFrame) -> pl.DataFrame:
    """Return a table with the columns variant, metric, value, low, high, unit, whichever of both kinds it comes from."""
    if "interval" in quality.columns and "low" not in quality.columns:
        quality = quality.unnest("interval")
    if "variant" not in quality.columns:
        quality = quality.with_columns(pl.lit("this dataset").alias("variant"))
    missing = [name for name in ("metric", "value", "low", "high", "unit") if name not in quality.columns]
    if missing:
        raise ConfigError(
            f"the quality table has no column {missing[0]!r}; pass what load_quality or assay.metrics.assess returned"
        )
    return quality


def _chosen(quality: pl.DataFrame, metrics: Sequence[str] | None) -> list[str]:
    """Return the metrics to draw: those asked for, else up to four that are known or that vary between the variants."""
    available = quality.filter(pl.col("value").is_finite())["metric"].unique(maintain_order=True).to_list()
    if metrics is not None:
        unknown = [item for item in metrics if item not in available]
        if unknown:
            raise ConfigError(f"the quality table has no metric {unknown[0]!r}; it has {', '.join(available)}")
        return list(metrics)
    spread = quality.group_by("metric").agg(pl.col("value").n_unique())
    varying = spread.filter(pl.col("value") > 1)["metric"].to_list()
    always = ("score" if "score" in available else "return_mean", "tq", "saco")
    chosen = [item for item in _METRICS if item in available and (item in always or item in varying)]
    if "score" in chosen and "return_mean" in chosen:
        chosen.remove("return_mean")  # the same on another scale
    return (chosen or available)[:4]


def _name(measured: pl.DataFrame) -> str:
    metric = measured["metric"][0]
    if metric in _METRIC_NAMES:
        return _METRIC_NAMES[metric]
    unit = measured["unit"].drop_nulls().to_list()
    return f"{metric} ({unit[0]})" if unit and unit[0] else str(metric)


def _finite(found: list[dict[str, float | None]]) -> float | None:
    value = found[0]["value"] if found else None
    return value if value is not None and math.isfinite(value) else None


def _value_text(found: list[dict[str, float | None]]) -> str:
    value = _finite(found)
    return "–" if value is None else number_text(value)


def _bars(axes: Axes, values: list[list[dict[str, float | None]]], centres: np.ndarray) -> None:
    """Draw a bar from 0 to each value, and a line over its interval; the axis holds both."""
    import seaborn

    known = [(found[0], at) for found, at in zip(values, centres, strict=True) if _finite(found) is not None]
    lengths = np.array([row["value"] for row, _ in known], np.float64)
    places = np.array([at for _, at in known])
    if len(known):
        spacing = float(np.diff(places).min()) if len(places) > 1 else 1.0
        seaborn.barplot(
            x=lengths,
            y=places,
            orient="h",
            native_scale=True,
            width=_BAR / spacing,
            color=SERIES[0],
            saturation=1.0,
            alpha=0.8,
            linewidth=0,
            errorbar=None,
            ax=axes,
        )
    ends = [0.0, *lengths.tolist()]
    for row, at in known:
        if row["low"] is not None and row["high"] is not None:
            axes.plot([row["low"], row["high"]], [at, at], color=INK, linewidth=1.4)
            ends += [row["low"], row["high"]]
    low, high = min(ends), max(ends)
    margin = 0.03 * ((high - low) or 1.0)
    axes.set_xlim(low - (margin if low < 0 else 0), high + margin)
    axes.axvline(0.0, color=MUTED, linewidth=0.8)
    axes.locator_params(axis="x", nbins=4)
    axes.xaxis.set_major_formatter(thousands)
    axes.set(xlabel="", ylabel="")
