"""Histograms of shares, with one set of bins for all that is compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from assay.analysis.figures.style import INK, MUTED, SERIES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["bin_edges", "draw_histogram"]


def bin_edges(values: np.ndarray, low: float, high: float, bins: int = 30) -> np.ndarray:
    """Return the edges of bins from low to high; a few whole numbers get a bin each.

    Examples
    --------
    >>> bin_edges(np.array([0.0, 1.0, 1.0]), 0.0, 1.0)
    array([-0.5,  0.5,  1.5])
    """
    distinct = np.unique(values)
    if len(distinct) <= 12 and (distinct == np.round(distinct)).all() and high - low <= 30:
        return np.arange(low, high + 2) - 0.5
    margin = 0.5 * max(1e-9, abs(low) * 1e-6) if low == high else 0.0
    return np.linspace(low - margin, high + margin, bins + 1)


def draw_histogram(axes: Axes, values: np.ndarray, other: np.ndarray | None = None) -> None:
    """Fill a histogram of the share of the values in each bin; `other` is drawn over it as a line, on the same bins.

    Values that are not finite are left out.
    """
    import seaborn

    values = values[np.isfinite(values)]
    other = None if other is None else other[np.isfinite(other)]
    if not len(values):
        axes.text(0.5, 0.5, "no finite value", ha="center", color=MUTED, fontsize=8, transform=axes.transAxes)
        return
    both = values if other is None else np.concatenate([values, other])
    edges = bin_edges(values, float(both.min()), float(both.max()))
    shared = {"bins": edges, "stat": "probability", "element": "step", "ax": axes}
    seaborn.histplot(x=values, fill=True, color=SERIES[0], alpha=0.75, linewidth=0, **shared)
    if other is not None and len(other):
        seaborn.histplot(x=other, fill=False, color=INK, linewidth=1.1, **shared)
    axes.set(xlabel="", ylabel="")
    axes.set_ylim(bottom=0)
    axes.set_xlim(edges[0] - 0.02 * (edges[-1] - edges[0]), edges[-1] + 0.02 * (edges[-1] - edges[0]))
