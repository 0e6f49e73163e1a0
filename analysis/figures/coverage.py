"""The scatter of trajectory quality against coverage (Schweighofer et al. 2021, arXiv 2111.04714), with its labels."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl

from assay.analysis.figures.layout import CHARACTER, line_count
from assay.analysis.figures.style import FONT_POINTS, GRID, INK, LITERAL, MUTED, NARROW_BELOW, SERIES, SMALL_POINTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["QualityPoint", "draw_coverage", "quality_and_coverage"]

_TOGETHER = 9  # pixels within which points count as one
_POINTS_PER_PIXEL = 0.72


class QualityPoint(NamedTuple):
    """One variant in the scatter."""

    variant: str
    tq: float
    saco: float


def quality_and_coverage(quality: pl.DataFrame) -> list[QualityPoint]:
    """Return the variants of which both TQ and SACo are known and finite."""
    tq, saco = (dict(quality.filter(metric=name).select("variant", "value").iter_rows()) for name in ("tq", "saco"))
    points = [QualityPoint(name, tq[name], saco[name]) for name in tq if name in saco]
    return [point for point in points if all(value is not None and math.isfinite(value) for value in point[1:])]


def draw_coverage(axes: Axes, points: list[QualityPoint]) -> None:
    """Draw the points and name each of them."""
    import seaborn

    x, y = np.array([point.tq for point in points]), np.array([point.saco for point in points])
    for values, limits in ((x, axes.set_xlim), (y, axes.set_ylim)):
        low, high = float(values.min()), float(values.max())
        span = max(high - low, 0.2 * max(abs(low), abs(high)), 1e-6)
        limits(low - 0.15 * span, high + 0.15 * span)
    axes.grid(axis="both", color=GRID, linewidth=0.8)
    seaborn.scatterplot(x=x, y=y, color=SERIES[0], s=40, alpha=0.8, linewidth=0, legend=False, ax=axes)
    axes.set_xlabel("Trajectory quality TQ", color=INK, fontsize=FONT_POINTS)
    axes.set_ylabel("State-action coverage SACo", color=INK, fontsize=FONT_POINTS)
    axes.locator_params(nbins=5)
    width, height = axes.bbox.width, axes.bbox.height
    span_x, span_y = np.diff(axes.get_xlim())[0], np.diff(axes.get_ylim())[0]
    at = np.column_stack([(x - axes.get_xlim()[0]) / span_x * width, (y - axes.get_ylim()[0]) / span_y * height])
    _label(axes, points, at, wrap=26 if width < NARROW_BELOW else 44)


def _clusters(at: np.ndarray) -> list[list[int]]:
    """Group points that lie within a few pixels of the first of their group."""
    clusters: list[list[int]] = []
    for index, place in enumerate(at):
        near = [cluster for cluster in clusters if np.hypot(*(place - at[cluster[0]])) < _TOGETHER]
        if near:
            near[0].append(index)
        else:
            clusters.append([index])
    return clusters


def _label(axes: Axes, points: list[QualityPoint], at: np.ndarray, wrap: int) -> None:
    """Name every point; points that (nearly) coincide share one label, and labels are moved apart vertically."""
    taken: list[tuple[float, float, float, float]] = []  # left, right, bottom, top of labels in pixels
    width, height = axes.bbox.width, axes.bbox.height
    for cluster in sorted(_clusters(at), key=lambda items: -at[items[0]][1]):
        text = "\n".join(textwrap.wrap(", ".join(points[index].variant for index in cluster), wrap))
        x, y = at[cluster].mean(axis=0)
        long = max(map(len, text.split("\n"))) * CHARACTER
        tall = line_count(text) * 16
        to_left = x + 10 + long > width + 12
        left = max(x - 10 - long if to_left else x + 10, 0.0)
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
        arrow = {"arrowstyle": "-", "color": MUTED, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 3}
        axes.annotate(
            text,
            points[cluster[0]][1:],
            xytext=((left - x + (long if to_left else 0)) * _POINTS_PER_PIXEL, (best - y) * _POINTS_PER_PIXEL),
            textcoords="offset points",
            ha="right" if to_left else "left",
            va="center",
            fontsize=SMALL_POINTS,
            color=INK,
            arrowprops=arrow if abs(best - y) > 7 else None,
            **LITERAL,
        )
