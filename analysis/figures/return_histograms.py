"""Returns of a dataset before and after a transform, on the same bins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from assay.analysis.figures.histogram import draw_histogram
from assay.analysis.figures.layout import legend
from assay.analysis.figures.single import single_panel
from assay.analysis.figures.style import INK, SERIES, number_text
from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_return_histograms"]


def plot_return_histograms(before: Dataset, after: Dataset, *, width_pixels: int = 680) -> Axes:
    """Draw how the returns of the episodes are distributed in two datasets.

    Parameters
    ----------
    before, after : Dataset
        Such as a source and a variant of it.
    width_pixels : int
        Width at which the figure is shown.

    Returns
    -------
    matplotlib.axes.Axes
        Its figure is `axes.figure`. Filled: before. Line: after, on the same bins. The vertical lines are the means. Returns
        are those of the recorded rewards, whatever a transform did to them.

    Raises
    ------
    ConfigError
        If a dataset has no finite return.

    Examples
    --------
    >>> import assay
    >>> from assay.corruption import RandomCorruption
    >>> dataset = assay.load("pendulum/random", steps=2000)
    >>> axes = plot_return_histograms(dataset, RandomCorruption(element="rewards", rate=0.3)(dataset))
    >>> axes.get_xlabel()
    'Return of an episode (sum of recorded rewards)'
    """
    named = {name: np.asarray(data.returns, np.float64) for name, data in (("before", before), ("after", after))}
    for name, returns in named.items():
        if not np.isfinite(returns).any():
            raise ConfigError(f"the dataset {name} has no finite return; its rewards may be missing")
    means = {name: float(returns[np.isfinite(returns)].mean()) for name, returns in named.items()}
    told = [f"{name}: {len(named[name]):,} episodes, mean {number_text(mean)}" for name, mean in means.items()]
    axes = single_panel(
        width_pixels,
        "How the returns of the episodes are distributed",
        f"{before.name} (filled) and {after.name} (line), each as shares of its own episodes. Vertical: the means.",
        "Return of an episode (sum of recorded rewards)",
        "Share of the episodes",
    )
    draw_histogram(axes, named["before"], named["after"])
    axes.set_xlabel("Return of an episode (sum of recorded rewards)", loc="left")
    styles: list[dict[str, Any]] = [{"color": SERIES[0]}, {"color": INK}]
    for mean, style, dashes in zip(means.values(), styles, ((0, (3, 2)), (0, (1, 1.5))), strict=True):
        axes.axvline(mean, linewidth=1.6, linestyle=dashes, **style)
        style["linestyle"] = dashes
    figure: Figure = axes.figure  # type: ignore[assignment]
    legend(figure, told, styles, width_pixels)
    return axes
