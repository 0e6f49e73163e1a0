"""The distribution of every single number of the observations or actions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from assay.analysis.figures.dataset_view import DatasetView
from assay.analysis.figures.histogram import draw_histogram
from assay.analysis.figures.layout import Heading, axes_at, canvas, write_text
from assay.analysis.figures.style import NARROW_BELOW, SMALL_POINTS, thousands

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_marginals"]

_MOST_PANELS = 24
_LEAST_PANEL = 118  # pixels
_CHARACTER = 6.6  # pixels of a character of the panels' names


def plot_marginals(
    view: DatasetView, prefix: str, random: DatasetView | None = None, *, width_pixels: int = 720
) -> Figure | None:
    """Draw the distribution of every number of the observations or actions, beside that of random data.

    Parameters
    ----------
    view : DatasetView
    prefix : "observations" or "actions"
    random : DatasetView, optional
        Data of random actions, drawn as a line where it has the same dimensions.
    width_pixels : int
        Width at which the figure is shown.

    Returns
    -------
    matplotlib.figure.Figure or None
        One histogram per dimension, the first 24 at most; None where there is no number to draw.
    """
    names, values = view.states if prefix == "observations" else view.actions
    if not names:
        return None
    others = None
    if random is not None:
        other_names, other_values = random.states if prefix == "observations" else random.actions
        others = other_values if len(other_names) == len(names) else None
    shown = min(len(names), _MOST_PANELS)
    most = 2 if width_pixels < NARROW_BELOW else int((width_pixels - 16) / _LEAST_PANEL)
    rows = math.ceil(shown / most)
    columns = math.ceil(shown / rows)
    key = "Filled: the dataset." + ("" if others is None else " Line: data of random actions.")
    if len(names) > shown:
        key += f" The first {shown} of {len(names)} numbers."
    wrong = int(np.count_nonzero(~np.isfinite(values).all(axis=1)))
    if wrong:
        key += f" {wrong:,} of {len(values):,} drawn steps hold values that are not finite, which are left out."
    heading = Heading(width_pixels, prefix.capitalize() + ", one by one", key)
    cell, tall = (width_pixels - 16) / max(columns, 2), 104
    figure = canvas(width_pixels, heading.height + tall * rows)
    heading.write(figure)
    for index in range(shown):
        row, column = divmod(index, columns)
        left, top = 8 + column * cell, heading.height + row * tall
        name, longest = names[index], max(6, int((cell - 10) / _CHARACTER))
        name = name if len(name) <= longest else "…" + name[-longest + 1 :]
        write_text(figure, name, left + 5, top, fontsize=SMALL_POINTS)
        axes = axes_at(figure, left + 5, top + 18, cell - 16, 56)
        draw_histogram(axes, values[:, index], None if others is None else others[:, index])
        axes.set_yticks([])
        axes.locator_params(nbins=3, axis="x")
        axes.xaxis.set_major_formatter(thousands)
    return figure
