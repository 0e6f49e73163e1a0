"""`Dataset.plot`: the figures of the dataset card, one by one.

The figures live in `assay.analysis`, which this room must not import. So they are opened by name when somebody draws.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from assay.datasets.errors import DatasetError, UnknownNameError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from assay.datasets.dataset import Dataset

__all__ = ["plot"]

_KINDS = ("episodes", "trajectories", "projection", "frames", "observations", "actions")
_LACKING = {
    "frames": "no observation is an image; cameras are decoded where that is asked for at loading (images, videos)",
    "trajectories": "no episode has a finite return, and the observations lie in no plane",
}


def plot(dataset: Dataset, kind: str, *, width_pixels: int) -> Figure:
    """Draw a dataset; see `Dataset.plot`.

    Examples
    --------
    >>> import assay
    >>> len(plot(assay.load("pendulum/random", steps=400), "actions", width_pixels=720).axes)
    1
    """
    if kind not in _KINDS:
        raise UnknownNameError("kind of plot", str(kind), _KINDS)
    if not dataset.total_steps:
        raise DatasetError("a dataset without steps cannot be drawn")
    figures: Any = import_module("assay.analysis.figures")
    view = figures.DatasetView(dataset)
    if kind in ("observations", "actions"):
        drawn = figures.plot_marginals(view, kind, width_pixels=width_pixels)
    else:
        drawn = getattr(figures, f"plot_{kind}")(view, width_pixels=width_pixels)
    if drawn is None:
        raise DatasetError(
            f"there is nothing to draw as {kind}: {_LACKING.get(kind, 'the dataset holds no such numbers')}"
        )
    result: Figure = drawn
    return result
