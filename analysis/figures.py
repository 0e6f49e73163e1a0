"""Figures of runs and datasets: final scores, dataset quality, learning curves.

Every function returns a `matplotlib.figure.Figure` and touches no pyplot state. A figure is laid out in CSS pixels for
the width it is shown at (680 on a page, about 350 on a phone), so that its text is readable there without scaling. All
colours come from the few names below, which are distinguishable for colour-blind readers; series differ in their marker
as well. The report replaces the same names by CSS variables, so that one drawing serves light and dark pages.
"""

from __future__ import annotations

import math
import os
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from assay.analysis.runs import load_curves, load_returns, load_runs
from assay.analysis.tables import clean_variant, score_table
from assay.datasets.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_curves", "plot_quality", "plot_scores"]

INK = "#1b1f24"
MUTED = "#59636e"
GRID = "#d8dee4"
SERIES = ("#0067a6", "#c2470a", "#007a5a", "#a23b7b", "#7d6200", "#3f51b5", "#5d6b78", "#b02a37")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")

NARROW_BELOW = 500  # below this width, names stand above what they name instead of beside it
FONT_POINTS = 9.0  # 12.5 CSS pixels at 100 dots per inch
_CHARACTER = 7.4  # pixels, the mean width of a character of that size in a wide sans-serif face
_BOLD = 1.15  # how much wider bold characters are
LINE_HEIGHT = 17  # pixels from one line of text to the next
LITERAL: dict[str, Any] = {"parse_math": False}  # names come from files, and a dollar sign is not mathematics there
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


def _text_width(texts: Sequence[str], longest: int = 1000) -> float:
    return min(longest, max((len(text) for text in texts), default=0) * _CHARACTER)


def canvas(width: float, height: float) -> Figure:
    """Return an empty figure of a size in pixels."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width / 100, height / 100), dpi=100, facecolor="white")


def axes_at(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Add axes at a place given in pixels from the upper left corner."""
    total_width, total_height = figure.get_size_inches() * 100
    bottom = 1 - (top + height) / total_height
    axes = figure.add_axes((left / total_width, bottom, width / total_width, height / total_height))
    axes.set_facecolor("none")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(MUTED)
    axes.tick_params(colors=MUTED, labelsize=FONT_POINTS - 0.5, length=3)
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    return axes


def write_text(figure: Figure, text: str, left: float, top: float, **options: Any) -> None:
    """Write text with its upper left corner at a place given in pixels."""
    width, height = figure.get_size_inches() * 100
    style: dict[str, Any] = {
        "fontsize": FONT_POINTS,
        "color": INK,
        "ha": "left",
        "va": "top",
        "linespacing": 1.3,
        **LITERAL,
    }
    figure.text(left / width, 1 - top / height, text, **{**style, **options})


def wrapped(text: str, pixels: float) -> str:
    """Break a text into lines of about this width."""
    return "\n".join(textwrap.wrap(text, max(10, int(pixels / _CHARACTER)), break_long_words=True))


def line_count(text: str) -> int:
    """Return how many lines a text has."""
    return text.count("\n") + 1


def distinct_variants(runs: pl.DataFrame) -> pl.DataFrame:
    """Name the dataset in the variant where one variant name stands for several datasets."""
    if "dataset" not in runs.columns:
        return runs
    several = pl.col("dataset").n_unique().over("variant") > 1
    named = pl.format("{}: {}", pl.col("dataset").fill_null("?"), pl.col("variant"))
    return runs.with_columns(pl.when(several).then(named).otherwise(pl.col("variant")).alias("variant"))


def choose_metric(runs: pl.DataFrame) -> str:
    """Return "score" where any run has one, else "return_mean"."""
    return "score" if runs["score"].is_not_null().any() else "return_mean"


def axis_label(runs: pl.DataFrame, metric: str) -> str:
    """Say what a metric is, in which unit, and with which references."""
    if metric == "return_mean":
        return "Mean final return (sum of rewards per episode)"
    if metric not in ("score", "best_score"):
        return metric
    sources = runs["references"].drop_nulls().unique(maintain_order=True).to_list() if "references" in runs else []
    what = "Final score" if metric == "score" else "Best score along the way"
    return f"{what} (0 = random, 100 = expert" + (f"; {'; '.join(sources)})" if sources else ")")


def _row_name(runs: pl.DataFrame) -> str:
    return "label" if "label" in runs.columns else "algorithm"


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
    """
    if runs.is_empty():
        raise ConfigError("there is no run to plot")
    runs = distinct_variants(runs)
    metric = metric or choose_metric(runs)
    name = _row_name(runs)
    table = score_table(runs, metric, [name])
    variants = runs["variant"].unique(maintain_order=True).to_list()
    if name == "label" and "algorithm" in runs.columns:
        variants = variants_in_order(runs)
    labels = runs[name].unique(maintain_order=True).to_list()
    narrow = width_pixels < NARROW_BELOW
    right = 1.1 * _text_width(labels, 140) + 14
    left = 12.0 if narrow else _text_width(variants, 180) * _BOLD + 18
    plot_width = width_pixels - left - right

    title = wrapped(
        ("Final score" if metric == "score" else "Final return" if metric == "return_mean" else metric)
        + " of every algorithm on every variant of the data",
        width_pixels / 1.42,
    )
    key = wrapped(
        "Open markers: single seeds. Bar: their mean. Line: 95 % interval. Dashed: mean return in the data.",
        width_pixels - 16,
    )
    label = wrapped(axis_label(runs, metric), width_pixels - 24 if narrow else plot_width + right)
    head = 10 + line_count(title) * 19 + 4 + line_count(key) * LINE_HEIGHT + 8

    row, gap = 18, 30 if narrow else 14
    places: list[tuple[float, str, str]] = []  # y in pixels below the top of the axes
    blocks: list[tuple[str, float, float]] = []
    y = 0.0
    for variant in variants:
        present = [item for item in labels if not table.filter(pl.col(name) == item, variant=variant).is_empty()]
        y += gap
        blocks.append((variant, y, y + row * len(present)))
        for item in present:
            places.append((y + row / 2, item, variant))
            y += row
    height = y + 10
    figure = canvas(width_pixels, head + height + 34 + line_count(label) * LINE_HEIGHT)
    write_text(figure, title, 12, 10, fontsize=FONT_POINTS + 1.5, fontweight="bold")
    write_text(figure, key, 12, 10 + line_count(title) * 19 + 4, color=MUTED)
    axes = axes_at(figure, left, head, plot_width, height)
    axes.set_ylim(height, 0)
    axes.set_yticks([])
    axes.set_xlim(*_limits(runs, table, metric))
    low_edge, high_edge = axes.get_xlim()

    for variant, top, bottom in blocks:
        axes.axhline(top - gap / 2 if not narrow else top - gap + 3, color=GRID, linewidth=0.8)
        text = variant if narrow else wrapped(variant, (left - 12) / _BOLD)
        x, ha, at, va = (0.0, "left", top - 4, "bottom") if narrow else (-8.0, "right", (top + bottom) / 2, "center")
        axes.annotate(
            text,
            (0, at),
            xytext=(x, 0),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            ha=ha,
            va=va,
            fontsize=FONT_POINTS,
            fontweight="bold",
            color=INK,
            **LITERAL,
        )
        behaviour = table.filter(variant=variant)["behaviour"].drop_nulls().to_list()
        if behaviour:
            axes.plot([behaviour[0]] * 2, [top - 2, bottom + 2], color=INK, linewidth=1.3, linestyle=(0, (3, 2)))

    for at, item, variant in places:
        which = labels.index(item)
        color, marker = SERIES[which % len(SERIES)], MARKERS[which % len(MARKERS)]
        cell = table.filter(pl.col(name) == item, variant=variant).to_dicts()[0]
        axes.annotate(
            _shorten(item, right),
            (1, at),
            xytext=(6, 0),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            ha="left",
            va="center",
            fontsize=FONT_POINTS - 0.5,
            color=color,
            **LITERAL,
        )
        if cell["mean"] is None:
            axes.text(low_edge + 0.02 * (high_edge - low_edge), at, "no score", va="center", color=MUTED, fontsize=8)
            continue
        seeds = runs.filter(pl.col(name) == item, variant=variant)[metric].drop_nulls().to_list()
        if cell["low"] is not None:
            axes.plot([cell["low"], cell["high"]], [at, at], color=color, linewidth=2.2, alpha=0.55)
        axes.plot(
            seeds, [at] * len(seeds), marker, color="none", markeredgecolor=color, markersize=5.0, markeredgewidth=1.1
        )
        axes.plot([cell["mean"]] * 2, [at - 7, at + 7], color=color, linewidth=2.6, solid_capstyle="butt")
    axes.set_xlabel(label, color=INK, fontsize=FONT_POINTS, linespacing=1.3, loc="left", **LITERAL)
    return figure


def _shorten(text: str, pixels: float) -> str:
    longest = max(4, int((pixels - 6) / _CHARACTER))
    return text if len(text) <= longest else text[: longest - 1] + "…"


def variants_in_order(runs: pl.DataFrame) -> list[str]:
    """Return the variants in the suite's order, also where the first algorithm lacks some of them."""
    sequences = [group["variant"].unique(maintain_order=True).to_list() for group in runs.partition_by("algorithm")]
    order: list[str] = []
    for sequence in sorted(sequences, key=len, reverse=True):
        order.extend(variant for variant in sequence if variant not in order)
    return order


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


def plot_quality(quality: pl.DataFrame, metrics: Sequence[str] | None = None, *, width_pixels: int = 680) -> Figure:
    """Draw what the data of every variant is like: a bar per metric, and trajectory quality against coverage.

    Parameters
    ----------
    quality : polars.DataFrame
        From `load_quality`.
    metrics : sequence of str, optional
        Which bars to draw; by default up to four of behaviour score (or mean return), TQ, SACo and the like.
    width_pixels : int
        Width at which the figure is shown.

    Returns
    -------
    matplotlib.figure.Figure
        The scatter is that of Schweighofer et al. 2021 (arXiv 2111.04714): how good the data is against how much of
        the state-action space it covers, both relative to a reference dataset.
    """
    if quality.is_empty():
        raise ConfigError("there is no quality to plot; the suite measured none")
    available = quality.filter(pl.col("value").is_finite())["metric"].unique(maintain_order=True).to_list()
    if metrics is None:
        spread = quality.group_by("metric").agg(pl.col("value").n_unique())
        varying = spread.filter(pl.col("value") > 1)["metric"].to_list()
        always = ("score" if "score" in available else "return_mean", "tq", "saco")
        chosen = [item for item in _METRICS if item in available and (item in always or item in varying)]
        if "score" in chosen and "return_mean" in chosen:
            chosen.remove("return_mean")  # the same on another scale
        chosen = (chosen or available)[:4]
    else:
        chosen = list(metrics)
        unknown = [item for item in chosen if item not in available]
        if unknown:
            raise ConfigError(f"the quality table has no metric {unknown[0]!r}; it has {', '.join(available)}")
    variants = quality["variant"].unique(maintain_order=True).to_list()
    narrow = width_pixels < NARROW_BELOW
    columns = 1 if narrow else min(2, max(1, len(chosen)))
    left = _text_width(variants, 130 if narrow else 185) + 16
    row = 19
    names = [wrapped(variant, left - 12) for variant in variants]
    heights = [max(row, 13 * line_count(name) + 5) for name in names]
    panel = sum(heights) + 12
    cell_width = (width_pixels - 12 - (left if columns == 2 else 0)) / columns
    title = wrapped("What the data of every variant is like", width_pixels / 1.42)
    head = 14 + line_count(title) * 19
    rows = math.ceil(len(chosen) / columns)
    scatter = _scatter_points(quality)
    scatter_height = 0 if len(scatter) < 2 else 300
    heading = wrapped("Trajectory quality against coverage", width_pixels / 1.42)
    note = wrapped("TQ: 0 = random policy, 1 = best known. SACo: 1 = as many bins as the reference.", width_pixels - 16)
    offset = 11 + 19 * line_count(heading) + LINE_HEIGHT * line_count(note)
    figure = canvas(width_pixels, head + rows * (panel + 52) + (scatter_height + offset + 58 if scatter_height else 0))
    write_text(figure, title, 12, 10, fontsize=FONT_POINTS + 1.5, fontweight="bold")
    centres = np.cumsum([0.0, *heights[:-1]]) + np.asarray(heights) / 2 + 6

    for index, metric in enumerate(chosen):
        line, column = divmod(index, columns)
        top = head + line * (panel + 52)
        start = left + column * cell_width
        unit = quality.filter(metric=metric)["unit"].drop_nulls().to_list()
        name_of = _METRIC_NAMES.get(metric, metric)
        if metric not in _METRIC_NAMES and unit and unit[0]:
            name_of += f" ({unit[0]})"
        write_text(figure, name_of, 12 if narrow else start, top + 2, fontweight="bold")
        width = (width_pixels - left if columns == 1 else cell_width) - 70
        axes = axes_at(figure, start, top + 22, width, panel)
        _bars(axes, quality.filter(metric=metric), variants, centres, [0.62 * row] * len(variants))
        axes.set_ylim(panel, 0)
        axes.set_yticks([])
        if column == 0:
            for name, at in zip(names, centres, strict=True):
                axes.annotate(
                    name,
                    (0, at),
                    xytext=(-6, 0),
                    xycoords=("axes fraction", "data"),
                    textcoords="offset points",
                    ha="right",
                    va="center",
                    fontsize=FONT_POINTS - 0.5,
                    color=INK,
                    **LITERAL,
                )
    if scatter_height:
        top = head + rows * (panel + 52) + 8
        write_text(figure, heading, 12, top, fontsize=FONT_POINTS + 1.5, fontweight="bold")
        write_text(figure, note, 12, top + 3 + 19 * line_count(heading), color=MUTED)
        axes = axes_at(figure, 68, top + offset, width_pixels - 84, scatter_height)
        _scatter(axes, scatter)
    return figure


def _bars(axes: Axes, rows: pl.DataFrame, variants: list[str], centres: Any, heights: list[float]) -> None:
    values = {row["variant"]: row for row in rows.iter_rows(named=True)}
    known = [row["value"] for row in values.values() if row["value"] is not None and math.isfinite(row["value"])]
    low, high = min([0.0, *known]), max([0.0, *known])
    span = (high - low) or 1.0
    axes.set_xlim(low - (0.02 * span if low < 0 else 0), high + (0.02 * span if high > 0 else 0))
    axes.axvline(0.0, color=MUTED, linewidth=0.8)
    axes.locator_params(axis="x", nbins=4)
    axes.xaxis.set_major_formatter(thousands)
    for variant, at, height in zip(variants, centres, heights, strict=True):
        row = values.get(variant)
        if row is None or row["value"] is None or not math.isfinite(row["value"]):
            text, end = "–", 0.0
        else:
            text, end = number_text(row["value"]), row["value"]
            axes.barh(at, end, height, color=SERIES[0], alpha=0.8, linewidth=0)
            if row["low"] is not None and row["high"] is not None:
                axes.plot([row["low"], row["high"]], [at, at], color=INK, linewidth=1.4, clip_on=False)
                end = max(end, row["high"])
        axes.annotate(
            text,
            (max(end, 0.0), at),
            xytext=(4, 0),
            textcoords="offset points",
            ha="left",
            va="center",
            fontsize=FONT_POINTS - 0.5,
            color=INK,
            annotation_clip=False,
            **LITERAL,
        )


def number_text(value: float) -> str:
    """Write a number with three significant digits, large ones whole."""
    if value == int(value) and abs(value) < 1e6:
        return f"{int(value):,}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _scatter_points(quality: pl.DataFrame) -> list[tuple[str, float, float]]:
    tq = {row["variant"]: row["value"] for row in quality.filter(metric="tq").iter_rows(named=True)}
    saco = {row["variant"]: row["value"] for row in quality.filter(metric="saco").iter_rows(named=True)}
    points = [(name, tq[name], saco[name]) for name in tq if name in saco]
    return [point for point in points if all(value is not None and math.isfinite(value) for value in point[1:])]


def _scatter(axes: Axes, points: list[tuple[str, float, float]]) -> None:
    x, y = np.array([point[1] for point in points]), np.array([point[2] for point in points])
    for values, limits in ((x, axes.set_xlim), (y, axes.set_ylim)):
        low, high = float(values.min()), float(values.max())
        span = max(high - low, 0.2 * max(abs(low), abs(high)), 1e-6)
        limits(low - 0.15 * span, high + 0.15 * span)
    axes.grid(axis="both", color=GRID, linewidth=0.8)
    axes.plot(x, y, "o", color=SERIES[0], markersize=6, alpha=0.8, linestyle="none")
    axes.set_xlabel("Trajectory quality TQ", color=INK, fontsize=FONT_POINTS)
    axes.set_ylabel("State-action coverage SACo", color=INK, fontsize=FONT_POINTS)
    axes.locator_params(nbins=5)
    width, height = axes.bbox.width, axes.bbox.height
    span_x, span_y = np.diff(axes.get_xlim())[0], np.diff(axes.get_ylim())[0]
    at = np.column_stack([(x - axes.get_xlim()[0]) / span_x * width, (y - axes.get_ylim()[0]) / span_y * height])
    _label_clusters(axes, points, at, wrap=26 if width < NARROW_BELOW else 44)


def _label_clusters(axes: Axes, points: list[tuple[str, float, float]], at: np.ndarray, wrap: int) -> None:
    """Name every point; points that (nearly) coincide share one label, and labels are moved apart vertically."""
    clusters: list[list[int]] = []
    for index in range(len(points)):
        for cluster in clusters:
            if np.hypot(*(at[index] - at[cluster[0]])) < 9:
                cluster.append(index)
                break
        else:
            clusters.append([index])
    taken: list[tuple[float, float, float, float]] = []  # left, right, bottom, top of labels in pixels
    width, height = axes.bbox.width, axes.bbox.height
    for cluster in sorted(clusters, key=lambda items: -at[items[0]][1]):
        text = "\n".join(textwrap.wrap(", ".join(points[index][0] for index in cluster), wrap))
        x, y = at[cluster].mean(axis=0)
        long = max(map(len, text.split("\n"))) * _CHARACTER
        tall = line_count(text) * 16
        to_left = x + 10 + long > width + 12
        left = x - 10 - long if to_left else x + 10
        left = max(left, 0.0)
        best = y
        others = np.delete(at, cluster, axis=0)
        dots = [(float(a) - 5, float(a) + 5, float(b) - 5, float(b) + 5) for a, b in others]
        for shift in sorted(np.arange(-height, height, 6.0), key=abs):
            bottom, top = y + shift - tall / 2, y + shift + tall / 2
            free = all(left + long < a or left > b or top < c or bottom > d for a, b, c, d in taken + dots)
            if free and bottom > 0 and top < height:
                best = y + shift
                break
        taken.append((left, left + long, best - tall / 2, best + tall / 2))
        moved = abs(best - y) > 7
        axes.annotate(
            text,
            points[cluster[0]][1:],
            xytext=((left - x + (long if to_left else 0)) * 0.72, (best - y) * 0.72),
            textcoords="offset points",
            ha="right" if to_left else "left",
            va="center",
            fontsize=FONT_POINTS - 0.5,
            color=INK,
            arrowprops={"arrowstyle": "-", "color": MUTED, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 3}
            if moved
            else None,
            **LITERAL,
        )


def plot_curves(path: str | os.PathLike[str], *, width_pixels: int = 680) -> Figure | None:
    """Draw how learning went: the score over updates, or the training losses where only the end was evaluated.

    Parameters
    ----------
    path : path
        The folder that holds the run folders, or one run folder.
    width_pixels : int
        Width at which the figure is shown.

    Returns
    -------
    matplotlib.figure.Figure or None
        With intermediate evaluations: one panel per variant, one line per algorithm (mean over seeds) with the seeds
        as thin lines. Without: one panel per algorithm and loss, one line per variant. None where nothing was logged.
    """
    runs = distinct_variants(load_runs(path))
    variant_of = dict(runs.select("run", "variant").iter_rows())
    returns = load_returns(path).with_columns(pl.col("run").replace_strict(variant_of, default=None).alias("variant"))
    evaluations = returns.group_by("run").agg(pl.col("update").n_unique())
    if evaluations.filter(pl.col("update") > 1).height:
        return _score_curves(runs, returns, width_pixels)
    curves = load_curves(path).with_columns(pl.col("run").replace_strict(variant_of, default=None).alias("variant"))
    curves = curves.filter(pl.col("metric").str.contains("loss"), pl.col("value").is_finite())
    return None if curves.is_empty() else _loss_curves(runs, curves, width_pixels)


def _panels(
    names: list[str], width: float, columns: int, title: str, key: str, label: str, *, shared: bool
) -> tuple[Figure, list[Axes]]:
    title, key, label = wrapped(title, width / 1.42), wrapped(key, width - 16), wrapped(label, width - 16)
    head = 10 + line_count(title) * 19 + 4 + line_count(key) * LINE_HEIGHT + 6
    left, gap = 46, 14 if shared else 50
    cell = (width - left - 12 - gap * (columns - 1)) / columns
    names = [wrapped(name, cell / _BOLD) for name in names]
    heading = max(map(line_count, names)) * 15 + 6
    rows = math.ceil(len(names) / columns)
    tall = 118 + heading + 32
    figure = canvas(width, head + rows * tall + 4 + LINE_HEIGHT * line_count(label))
    write_text(figure, title, 12, 10, fontsize=FONT_POINTS + 1.5, fontweight="bold")
    write_text(figure, key, 12, 10 + line_count(title) * 19 + 4, color=MUTED)
    write_text(figure, label, 12, head + rows * tall - 2, color=INK)
    axes = []
    for index, name in enumerate(names):
        line, column = divmod(index, columns)
        start, top = left + column * (cell + gap), head + line * tall
        write_text(figure, name, start, top + heading - 4, fontweight="bold", fontsize=FONT_POINTS - 0.5, va="bottom")
        panel = axes_at(figure, start, top + heading, cell, 118)
        panel.grid(axis="both", color=GRID, linewidth=0.8)
        panel.locator_params(nbins=4, axis="x")
        panel.locator_params(nbins=5, axis="y")
        panel.xaxis.set_major_formatter(thousands)
        panel.tick_params(labelleft=column == 0 or not shared)
        axes.append(panel)
    return figure, axes


def thousands(value: float, position: float | None = None) -> str:
    """Write the label of a tick, 2000 as 2k."""
    if abs(value) >= 1e6:
        return f"{value / 1e6:g}M"
    return f"{value / 1e3:g}k" if abs(value) >= 1e3 else f"{value:g}"


def _legend(figure: Figure, names: list[str], styles: list[dict[str, Any]], width: float) -> None:
    """Write the names of the series below the panels, as many to a line as fit."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], linewidth=2.0, **style) for style in styles]
    columns = max(1, int((width - 24) / (_text_width(names) + 56)))
    total_width, total_height = figure.get_size_inches() * 100
    lines = math.ceil(len(names) / columns)
    extra = lines * 19 + 12
    _grow(figure, extra)
    legend = figure.legend(
        handles,
        names,
        loc="lower left",
        bbox_to_anchor=(12 / total_width, 4 / (total_height + extra)),
        ncols=columns,
        frameon=False,
        fontsize=FONT_POINTS,
        labelcolor=INK,
        handlelength=2.0,
        borderpad=0.0,
        borderaxespad=0.0,
        columnspacing=1.4,
    )
    for text in legend.get_texts():
        text.set(**LITERAL)


def _grow(figure: Figure, pixels: float) -> None:
    """Add room below everything that is drawn already."""
    width, height = figure.get_size_inches() * 100
    scale = height / (height + pixels)
    figure.set_size_inches(width / 100, (height + pixels) / 100)
    for axes in figure.axes:
        box = axes.get_position()
        axes.set_position((box.x0, 1 - (1 - box.y0) * scale, box.width, box.height * scale))
    for text in figure.texts:
        x, y = text.get_position()
        text.set_position((x, 1 - (1 - y) * scale))


def _marked(index: int) -> dict[str, Any]:
    """Return the style of an algorithm: the colour and the marker that it has in every figure."""
    return {"color": SERIES[index % len(SERIES)], "marker": MARKERS[index % len(MARKERS)], "markersize": 4.5}


def _dashed(index: int) -> dict[str, Any]:
    """Return the style of a variant, for lines of too many points to be marked."""
    styles: tuple[Any, ...] = ("-", (0, (4, 2)), (0, (1, 1.5)), (0, (5, 1, 1, 1)))
    style = styles[(index // len(SERIES) + index) % len(styles)]
    return {"color": SERIES[index % len(SERIES)], "linestyle": style}


def _score_curves(runs: pl.DataFrame, returns: pl.DataFrame, width: int) -> Figure:
    metric = "score" if returns["score"].is_not_null().any() else "return"
    means = returns.filter(pl.col(metric).is_finite()).group_by("run", "update").agg(pl.col(metric).mean())
    means = means.join(runs.select("run", "label", "variant"), on="run").sort("update")
    variants, labels = variants_in_order(runs), runs["label"].unique(maintain_order=True).to_list()
    label = axis_label(runs, "score" if metric == "score" else "return_mean").replace("Final score", "Score")
    figure, panels = _panels(
        variants,
        width,
        min(len(variants), 2 if width < NARROW_BELOW else 3),
        f"{'Score' if metric == 'score' else 'Return'} over gradient updates, by variant of the data",
        "Thick: mean over seeds. Thin: single seeds. Dashed: mean return in the data.",
        "Horizontal: gradient updates. Vertical: " + label[0].lower() + label[1:].replace("final ", "") + ".",
        shared=True,
    )
    column = "behaviour_score" if metric == "score" else "behaviour_return"
    for panel, variant in zip(panels, variants, strict=True):
        behaviour = runs.filter(variant=variant)[column].drop_nulls().to_list()
        if behaviour:
            panel.axhline(behaviour[0], color=INK, linewidth=1.1, linestyle=(0, (3, 2)))
        for index, item in enumerate(labels):
            style = _marked(index)
            rows = means.filter(variant=variant, label=item)
            for run in rows.partition_by("run", maintain_order=True):
                panel.plot(run["update"], run[metric], color=style["color"], linewidth=0.8, alpha=0.45)
            # seeds that stopped early must not move the mean where they are missing
            mean = rows.group_by("update").agg(pl.col(metric).mean(), pl.len().alias("count")).sort("update")
            mean = mean.filter(pl.col("count") == pl.col("count").max())
            panel.plot(mean["update"], mean[metric], linewidth=2.0, **style)
    _share_limits(panels)
    _legend(figure, labels, [_marked(index) for index in range(len(labels))], width)
    return figure


def _share_limits(panels: list[Axes]) -> None:
    low = min(panel.get_ylim()[0] for panel in panels)
    high = max(panel.get_ylim()[1] for panel in panels)
    for panel in panels:
        panel.set_ylim(low, high)


def _loss_curves(runs: pl.DataFrame, curves: pl.DataFrame, width: int) -> Figure:
    pairs = curves.select("label", "metric").unique(maintain_order=True).rows()
    variants = variants_in_order(runs)
    clean = clean_variant(runs)
    columns = min(len(pairs), 1 if width < NARROW_BELOW else 2)
    figure, panels = _panels(
        [f"{label}: {metric.replace('_', ' ')}" for label, metric in pairs],
        width,
        columns,
        "Training losses over gradient updates, by variant of the data",
        "Lines: means over seeds. The policies were evaluated after the last update only.",
        "Horizontal: gradient updates. Vertical: the loss as the algorithm defines it; not comparable between panels.",
        shared=False,
    )
    for panel, (label, metric) in zip(panels, pairs, strict=True):
        shown = curves.filter(label=label, metric=metric)
        values = shown["value"]
        if values.min() > 0 and values.max() > 100 * values.min():  # type: ignore[operator]
            panel.set_yscale("log")
        for index, variant in enumerate(variants):
            mean = shown.filter(variant=variant).group_by("update").agg(pl.col("value").mean()).sort("update")
            thick = 2.4 if variant == clean else 1.4
            panel.plot(mean["update"], mean["value"], linewidth=thick, **_dashed(index))
    _legend(figure, variants, [_dashed(index) for index in range(len(variants))], width)
    return figure
