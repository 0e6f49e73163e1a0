"""Detection against benefit: does the detector that finds bad data best also bring back most?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from assay.analysis.figures.layout import Heading, axes_at, canvas, legend
from assay.analysis.figures.style import FONT_POINTS, GRID, INK, MARKERS, MUTED, SERIES, SMALL_POINTS
from assay.datasets.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["detection_against_benefit"]

_PANEL, _ACROSS, _GAP = 200, 3, 62  # pixels; panels side by side; pixels below a panel
_CONTROLS = {"oracle": (INK, "*"), "random": (MUTED, "x")}
_NEEDED = ("task", "defect", "detector", "action", "recovered", "recovered_low", "recovered_high")


def detection_against_benefit(
    table: pl.DataFrame, *, detection: str = "auroc_beyond_length", width_pixels: int = 680
) -> Figure:
    """Draw the recovered share of every detector against how well it detects, in one panel per defect.

    Parameters
    ----------
    table : polars.DataFrame
        `CurationResult.table`.
    detection : str
        Column of the detection; AUROC with the length of episodes taken out by default.
    width_pixels : int
        Width at which the figure is shown; its height follows from the number of defects.

    Returns
    -------
    matplotlib.figure.Figure
        A point per task, detector and action with the interval of its recovered share, in colour and shape of its detector, hollow
        where the action does not drop. Each panel has limits of its own, and longer intervals are cut there. The controls are a star (the ground truth) and crosses (as much at random). Points whose gap
        is not shown to be above 0 have no recovered share, and are counted in the panel's corner.

    Raises
    ------
    ConfigError
        If the table lacks a column, or no point has both numbers.

    Examples
    --------
    >>> import polars as pl
    >>> row = {"task": "pendulum", "defect": "noise", "detector": "jerk", "action": "drop", "auroc_beyond_length": 0.8,
    ...        "recovered": 0.5, "recovered_low": 0.3, "recovered_high": 0.7}
    >>> figure = detection_against_benefit(pl.DataFrame([row]))
    >>> figure.axes[0].get_title(), figure.axes[0].get_xlabel()
    ('noise', 'AUROC beyond length')
    """
    if missing := [name for name in (*_NEEDED, detection) if name not in table.columns]:
        raise ConfigError(f"this figure needs the table of an audit; the column {missing[0]!r} is missing")
    known = table.drop_nulls([detection, "recovered"])
    if known.is_empty():
        raise ConfigError("no detector has both a detection and a recovered share; see the gaps in the table")
    looks = _looks(table["detector"].unique(maintain_order=True).to_list())
    defects = table["defect"].unique(maintain_order=True).to_list()
    heading = Heading(
        width_pixels,
        "What detectors find, and what acting on it brings back",
        "A point is a task, a detector and an action; hollow: not dropped. Line: interval of the recovered share, cut at the panel.",
    )
    across = min(_ACROSS, max(1, width_pixels // 220), len(defects))
    rows, wide = math.ceil(len(defects) / across), (width_pixels - 46) / across
    figure = canvas(width_pixels, heading.height + rows * (_PANEL + _GAP))
    heading.write(figure)
    for number, defect in enumerate(defects):
        row, column = divmod(number, across)
        axes = axes_at(figure, 62 + column * wide, heading.height + 22 + row * (_PANEL + _GAP), wide - 50, _PANEL - 22)
        own = table.filter(pl.col("defect") == defect)
        _panel(axes, own, detection, looks)
        axes.set_title(defect, fontsize=FONT_POINTS, color=INK)
        axes.set_xlabel(detection.replace("_", " ").replace("auroc", "AUROC"), fontsize=SMALL_POINTS, color=INK)
        if column == 0:
            axes.set_ylabel("recovered share", fontsize=SMALL_POINTS, color=INK)
    styles = [{"color": color, "marker": marker, "linestyle": "none"} for color, marker in looks.values()]
    legend(figure, list(looks), styles, width_pixels)
    return figure


def _looks(detectors: list[str]) -> dict[str, tuple[str, str]]:
    """Return colour and marker of every detector, the controls last."""
    own = [name for name in detectors if name not in _CONTROLS]
    found = {name: (SERIES[i % len(SERIES)], MARKERS[i % len(MARKERS)]) for i, name in enumerate(own)}
    return found | {name: look for name, look in _CONTROLS.items() if name in detectors}


def _panel(axes: Axes, own: pl.DataFrame, detection: str, looks: dict[str, tuple[str, str]]) -> None:
    axes.grid(axis="both", color=GRID, linewidth=0.8)
    known = own.drop_nulls([detection, "recovered"])
    axes.set(xlim=(-0.04, 1.04), ylim=_limits(known["recovered"].to_numpy()))
    axes.tick_params(labelsize=SMALL_POINTS)
    axes.axhline(0.0, color=MUTED, linewidth=0.8)
    axes.axhline(1.0, color=MUTED, linewidth=0.8, linestyle=":")
    axes.axvline(0.5, color=MUTED, linewidth=0.8, linestyle=":")
    for row in known.iter_rows(named=True):
        color, marker = looks[row["detector"]]
        low, high = (
            row[name] if row[name] is not None else row["recovered"] for name in ("recovered_low", "recovered_high")
        )
        point: dict[str, Any] = {"color": color, "marker": marker, "markersize": 5.5, "zorder": 3}
        if row["action"] != "drop":
            point["markerfacecolor"] = "white"
        axes.plot([row[detection]] * 2, [low, high], color=color, linewidth=1.0, alpha=0.55, zorder=2)
        axes.plot([row[detection]], [row["recovered"]], linestyle="none", **point)
    if unknown := own.height - known.height:
        axes.annotate(
            f"no gap: {unknown}",
            (0.03, 0.03),
            xycoords="axes fraction",
            fontsize=SMALL_POINTS,
            color=MUTED,
        )


def _limits(values: np.ndarray) -> tuple[float, float]:
    """Return limits that hold all points of a panel; intervals much longer than the points are apart are cut."""
    low, high = float(values.min(initial=0.0)), float(values.max(initial=1.0))
    room = 0.25 * (high - low)
    return low - room, high + room
