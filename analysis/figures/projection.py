"""Where the states of a dataset lie: a projection on two principal components, coloured by return."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from assay.analysis.figures.dataset_view import DatasetView
from assay.analysis.figures.layout import Heading, axes_at, canvas, write_text
from assay.analysis.figures.style import GRID, MUTED, NARROW_BELOW, SERIES, SMALL_POINTS, thousands
from assay.datasets.streaming import StepReader

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_projection"]

_RETURN_COLORS = ("#4a7fd0", "#9f62b8", "#d4577b", "#e07f2f")  # readable on white and on black, low to high
_RANDOM_COLOR, _DATA_COLOR = "#8a949e", "#3d8fd1"  # as readable; clouds of points are pictures and keep their colours


def plot_projection(view: DatasetView, random: DatasetView | None = None, *, width_pixels: int = 720) -> Figure | None:
    """Draw the states on their first two principal components, coloured by return, and against random data.

    Parameters
    ----------
    view : DatasetView
    random : DatasetView, optional
        Data of random actions in the same environment.
    width_pixels : int
        Width at which the figure is shown.

    Returns
    -------
    matplotlib.figure.Figure or None
        None where fewer than two numbers vary.
    """
    plane = view.plane
    if plane is None:
        return None
    names, values = view.states
    dataset = view.dataset
    returns = dataset.returns[StepReader(dataset).episodes_of(view.steps)]
    rated = bool(np.isfinite(returns).any())
    keep = np.isfinite(values).all(axis=1) & (np.isfinite(returns) if rated else True)
    points, returns = plane.project(values[keep]), returns[keep]
    if not len(points):
        return None
    others = None
    if random is not None and len(random.states[0]) == len(names):
        finite = random.states[1][np.isfinite(random.states[1]).all(axis=1)]
        others = plane.project(finite)
    narrow = width_pixels < NARROW_BELOW
    drawn = f"{len(points):,} of {dataset.total_steps:,} steps" if len(points) < dataset.total_steps else "All steps"
    key = f"{drawn} on the first two principal components of the standardized observations, "
    key += f"which hold {sum(plane.shares):.0%} of their variance."
    heading = Heading(width_pixels, "Where the states lie", key)
    panels = 1 if others is None else 2
    columns = 1 if narrow else panels
    cell = (width_pixels - 16) / columns
    tall = 320
    figure = canvas(width_pixels, heading.height + tall * (panels // columns))
    heading.write(figure)
    limits = _limits(points if others is None else np.concatenate([points, others]))
    for index in range(panels):
        row, column = divmod(index, columns)
        left, top = 8 + column * cell, heading.height + row * tall
        axes = axes_at(figure, left + 34, top + 40, cell - 52, 230)
        axes.grid(axis="both", color=GRID, linewidth=0.8)
        axes.set(xlim=limits[0], ylim=limits[1])
        axes.locator_params(nbins=5)
        if others is None or index == 0:
            text = "By return of the episode" if rated else "States (no return is known)"
            write_text(figure, text, left + 34, top, fontweight="bold")
            if rated:
                _by_return(figure, axes, points, returns, (left + 34, top + 19, cell - 52))
            else:
                _scatter(axes, points, color=_DATA_COLOR, alpha=0.6)
        else:
            write_text(figure, "Against data of random actions", left + 34, top, fontweight="bold")
            for at, (name, color) in enumerate((("random", SERIES[6]), ("this dataset", SERIES[0]))):
                write_text(figure, f"● {name}", left + 34 + 84 * at, top + 18, color=color)
            _scatter(axes, others, color=_RANDOM_COLOR, alpha=0.6)
            _scatter(axes, points, color=_DATA_COLOR, alpha=0.6)
        axes.set_xlabel("component 1; vertical: component 2", color=MUTED, fontsize=SMALL_POINTS)
        axes.set_ylabel("")
    return figure


def _scatter(axes: Axes, points: np.ndarray, **style: Any) -> None:
    """Draw a cloud of points as a picture: thousands of vector circles would make a page slow."""
    import seaborn

    seaborn.scatterplot(
        x=points[:, 0], y=points[:, 1], s=5, linewidth=0, rasterized=True, legend=False, ax=axes, **style
    )


def _limits(points: np.ndarray) -> list[tuple[float, float]]:
    """Return the ranges that hold all but the outermost half per mille on each side."""
    result = []
    for values in points.T:
        low, high = (float(value) for value in np.quantile(values, (0.0005, 0.9995)))
        margin = 0.05 * (high - low) or 1.0
        result.append((low - margin, high + margin))
    return result


def _by_return(
    figure: Figure, axes: Axes, points: np.ndarray, returns: np.ndarray, bar: tuple[float, float, float]
) -> None:
    """Draw points in the colour of their return, with a bar of the colours at (left, top, width)."""
    from matplotlib.colors import LinearSegmentedColormap

    colors = LinearSegmentedColormap.from_list("returns", _RETURN_COLORS)
    low, high = float(returns.min()), float(returns.max())
    order = np.argsort(returns, kind="stable")
    _scatter(axes, points[order], hue=returns[order], hue_norm=(low, high), palette=colors, alpha=0.75)
    left, top, width = bar
    labels = [thousands(round(value, 1 if abs(value) < 100 else 0)) for value in (low, high)]
    write_text(figure, labels[0], left, top, color=MUTED, fontsize=SMALL_POINTS)
    write_text(figure, labels[1], left + width, top, color=MUTED, fontsize=SMALL_POINTS, ha="right")
    beside = 7.0 * max(map(len, labels)) + 6
    strip = axes_at(figure, left + beside, top + 4, width - 2 * beside, 8)
    strip.imshow(np.linspace(0, 1, 64)[None], aspect="auto", cmap=colors)
    strip.axis("off")
