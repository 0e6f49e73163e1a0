"""A few images of a dataset whose observations are images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from assay.analysis.figures.dataset_view import DatasetView
from assay.analysis.figures.layout import Heading, axes_at, canvas, write_text
from assay.analysis.figures.style import NARROW_BELOW, SMALL_POINTS
from assay.datasets.streaming import StepReader

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_frames"]


def plot_frames(view: DatasetView, *, width_pixels: int = 720) -> Figure | None:
    """Draw a few frames of each column of images, evenly spaced over the dataset.

    Parameters
    ----------
    view : DatasetView
    width_pixels : int
        Width at which the figure is shown.

    Returns
    -------
    matplotlib.figure.Figure or None
        None where there are no images.
    """
    if not view.images:
        return None
    count = 4 if width_pixels < NARROW_BELOW else 8
    steps = np.linspace(0, view.dataset.total_steps - 1, count).astype(np.int64)
    heading = Heading(width_pixels, "Frames", "Evenly spaced over the steps, from the first to the last.")
    cell = (width_pixels - 16) / count
    tall = cell + 26
    figure = canvas(width_pixels, heading.height + tall * len(view.images))
    heading.write(figure)
    reader = StepReader(view.dataset)
    for row, name in enumerate(view.images):
        write_text(figure, name, 12, heading.height + row * tall, fontsize=SMALL_POINTS)
        for column, step in enumerate(steps):
            frame: Any = reader.read(name, slice(int(step), int(step) + 1))[0]
            axes = axes_at(figure, 8 + column * cell + 3, heading.height + row * tall + 20, cell - 6, cell - 6)
            axes.axis("off")
            axes.imshow(_drawable(frame), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    return figure


def _drawable(frame: np.ndarray) -> np.ndarray:
    """Return (height, width) grey or (height, width, 3) colour of a frame."""
    if frame.ndim == 2:
        return frame
    if frame.ndim > 3:
        return _drawable(frame[0])
    if frame.shape[-1] > 4 and frame.shape[0] <= 4:
        frame = np.moveaxis(frame, 0, -1)
    return frame[..., :3] if frame.shape[-1] in (3, 4) else frame[..., 0]
