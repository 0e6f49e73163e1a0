"""The worst, the median and the best episode of a dataset: reward so far, and the path of the states.

Where no episode has a return, as in demonstrations, they are the shortest, the median and the longest, and there is the path alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from assay.analysis.figures.dataset_view import DatasetView
from assay.analysis.figures.layout import LINE_HEIGHT, Heading, axes_at, canvas, write_text
from assay.analysis.figures.style import GRID, NARROW_BELOW, SERIES, number_text, thousands

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_trajectories"]

_REWARD, _PATH = "Reward so far, over steps", "Path on the two components; ● start"  # the panels


def plot_trajectories(view: DatasetView, *, width_pixels: int = 720) -> Figure | None:
    """Draw the worst, the median and the best episode: rewards summed up over time, and the path through the plane.

    Of a dataset without finite returns the shortest, the median and the longest, and the path alone.

    Parameters
    ----------
    view : DatasetView
    width_pixels : int
        Width at which the figure is shown.

    Returns
    -------
    matplotlib.figure.Figure or None
        Without the path where the states have no plane; None where there is neither a finite return nor a plane.
    """
    import seaborn

    dataset = view.dataset
    rewarded = bool(np.isfinite(dataset.returns).any())
    measure = dataset.returns if rewarded else dataset.episode_lengths.astype(np.float64)
    chosen = _chosen(measure, ("worst", "median", "best") if rewarded else ("shortest", "median", "longest"))
    drawn = [panel for panel, there in ((_REWARD, rewarded), (_PATH, view.plane is not None)) if there]
    if not chosen or not drawn:
        return None
    narrow = width_pixels < NARROW_BELOW
    of = (
        "the lowest, the median and the highest return"
        if rewarded
        else "the smallest, the median and the largest length"
    )
    heading = Heading(width_pixels, "A few trajectories", f"The episodes of {of}.")
    panels = len(drawn)
    columns = 1 if narrow else panels
    cell, tall = (width_pixels - 16) / columns, 262
    lines = [
        f"{name}: episode {episode:,}, {'return' if rewarded else 'steps'} {number_text(float(measure[episode]))}"
        for episode, name in chosen.items()
    ]
    below = heading.height + LINE_HEIGHT * len(lines) + 10
    figure = canvas(width_pixels, below + tall * (panels // columns))
    heading.write(figure)
    for index, line in enumerate(lines):
        write_text(figure, f"━ {line}", 12, heading.height + LINE_HEIGHT * index, color=SERIES[index])
    for index, panel in enumerate(drawn):
        row, column = divmod(index, columns)
        left, top = 8 + column * cell, below + row * tall
        write_text(figure, panel, left + 42, top, fontweight="bold")
        axes = axes_at(figure, left + 42, top + 22, cell - 58, 196)
        axes.grid(axis="both", color=GRID, linewidth=0.8)
        axes.locator_params(nbins=5)
        for color, episode in zip(SERIES, chosen):
            first, length = int(dataset.episode_starts[episode]), int(dataset.episode_lengths[episode])
            steps = np.arange(first, first + length)
            if panel == _REWARD:
                total = np.cumsum(dataset.rewards[steps])
                seaborn.lineplot(
                    x=np.arange(1, length + 1), y=total, estimator=None, color=color, linewidth=1.7, ax=axes
                )
                axes.xaxis.set_major_formatter(thousands)
                axes.yaxis.set_major_formatter(thousands)
                continue
            assert view.plane is not None
            path = view.plane.project(view.numbers("observations", steps[:: max(1, length // 1000)])[1])
            path = path[np.isfinite(path).all(axis=1)]
            axes.plot(*path.T, color=color, linewidth=1.0, alpha=0.85)
            axes.plot(*path[:1].T, "o", color=color, markersize=5)
        axes.set(xlabel="", ylabel="")
    return figure


def _chosen(measure: np.ndarray, names: tuple[str, str, str]) -> dict[int, str]:
    """Return the episodes of the lowest, the median and the highest finite value, with their names."""
    known = np.flatnonzero(np.isfinite(measure))
    if not len(known):
        return {}
    ranked = known[np.argsort(measure[known], kind="stable")]
    chosen: dict[int, str] = {}
    for name, episode in zip(names, (ranked[0], ranked[len(ranked) // 2], ranked[-1]), strict=True):
        chosen[int(episode)] = name if int(episode) not in chosen else f"{chosen[int(episode)]} and {name}"
    return chosen
