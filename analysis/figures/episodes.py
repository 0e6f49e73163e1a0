"""How many episodes of a dataset have which return, and which length."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from assay.analysis.figures.dataset_view import DatasetView
from assay.analysis.figures.histogram import draw_histogram
from assay.analysis.figures.layout import Heading, axes_at, canvas, write_text
from assay.analysis.figures.style import GRID, INK, NARROW_BELOW, thousands
from assay.datasets.missing import complete_episodes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_episodes"]


def plot_episodes(view: DatasetView, *, width_pixels: int = 720) -> Figure:
    """Draw how many episodes have which return, and which length.

    Parameters
    ----------
    view : DatasetView
    width_pixels : int
        Width at which the figure is shown.

    Returns
    -------
    matplotlib.figure.Figure
        Two histograms of shares of the episodes, with dashed lines at the means. Returns that are not finite are left
        out and counted; without rewards there are lengths only.
    """
    dataset = view.dataset
    narrow = width_pixels < NARROW_BELOW
    rated = complete_episodes(dataset, ("rewards",))
    panels = [("Return of an episode", dataset.returns[rated])] if rated.any() else []
    panels.append(("Length of an episode, steps", dataset.episode_lengths))
    wrong = int(np.count_nonzero(~np.isfinite(dataset.returns[rated])))
    key = "Share of the episodes. Dashed: the mean."
    key += f" {wrong:,} returns are not finite and left out." if wrong else ""
    key += "" if rated.all() else f" Rewards are missing in {np.count_nonzero(~rated):,} episodes."
    heading = Heading(width_pixels, "Episodes", key)
    columns = 1 if narrow else len(panels)
    tall, left = 196, 46
    cell = (width_pixels - 16) / columns
    figure = canvas(width_pixels, heading.height + tall * (len(panels) // columns))
    heading.write(figure)
    for index, (name, values) in enumerate(panels):
        row, column = divmod(index, columns)
        top = heading.height + row * tall
        write_text(figure, name, column * cell + left, top, fontweight="bold")
        axes = axes_at(figure, column * cell + left, top + 22, cell - left - 12, 136)
        axes.grid(axis="y", color=GRID, linewidth=0.8)
        draw_histogram(axes, values.astype(np.float64))
        finite = values[np.isfinite(values)]
        if len(finite):
            axes.axvline(float(finite.mean()), color=INK, linewidth=1.3, linestyle=(0, (3, 2)))
        axes.xaxis.set_major_formatter(thousands)
        axes.yaxis.set_major_formatter(lambda value, position: f"{value:.0%}")
        axes.locator_params(nbins=4 if narrow else 5)
    return figure
