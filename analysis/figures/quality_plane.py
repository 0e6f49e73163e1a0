r"""The quality plane: where in trajectory quality and coverage which algorithm does well (Schweighofer et al. 2022, arXiv 2111.04714).

A panel for each algorithm; a point is a dataset, at its TQ and its SACo, and its colour is what was learned from it, relative to the best
online policy: 0 is a random policy, 1 the policy that the scores call 100. Between the points the colour is a local linear regression with a
Gaussian kernel,

.. math:: \hat f(x) = e_1^\top (X^\top W X)^{-1} X^\top W y, \quad W_{ii} = e^{-\lVert (x_i - x) / h \rVert^2 / 2}

on both measures scaled to the spread of the points. Where a bootstrap over datasets says that its standard error is above 0.15, or where no
dataset is near, nothing is drawn: what was not measured has no colour.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from assay.analysis.figures.layout import Heading, axes_at, canvas, write_text
from assay.analysis.figures.style import FONT_POINTS, INK, NARROW_BELOW, SMALL_POINTS
from assay.analysis.runs import load_quality
from assay.datasets.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["local_regression", "plane_points", "quality_plane"]

_BANDWIDTH = 0.6  # of the spread of the points
_MOST_ERROR = 0.15  # of the regression, where it is drawn
_RESAMPLES, _CELLS, _NEAR = 200, 40, 1.5  # bootstrap; of the grid; bandwidths within which a dataset must lie
_PANEL, _GAP = 190, 64  # pixels
_FEWEST = 4  # datasets for a regression on two measures


def plane_points(runs: pl.DataFrame, quality: pl.DataFrame | None = None) -> pl.DataFrame:
    """Return one row per algorithm and dataset: label, variant, tq, saco, performance, seeds.

    Parameters
    ----------
    runs : polars.DataFrame
        From `load_runs`.
    quality : polars.DataFrame, optional
        From `load_quality`; by default read from the folders of the runs.

    Raises
    ------
    ConfigError
        If no run has a score, or no variant both TQ and SACo.
    """
    scored = runs.filter(pl.col("score").is_not_null())
    if scored.is_empty():
        raise ConfigError("no run has a score; the plane needs finished runs in an environment with reference scores")
    if quality is None:
        folders = sorted({Path(path).parent for path in runs["path"]})
        quality = pl.concat([load_quality(folder) for folder in folders])
    measured = {
        name: quality.filter((pl.col("metric") == name) & pl.col("value").is_finite())
        .select("variant", pl.col("value").alias(name))
        .unique("variant")
        for name in ("tq", "saco")
    }
    for name, table in measured.items():
        if table.is_empty():
            raise ConfigError(
                f"no variant has a value of {name}; measure it in the suite (quality: {{metrics: [quality, ...], reference: ...}})"
            )
    points = (
        scored.group_by("label", "variant", maintain_order=True)
        .agg((pl.col("score").mean() / 100.0).alias("performance"), pl.len().alias("seeds"))
        .join(measured["tq"], on="variant")
        .join(measured["saco"], on="variant")
        .select("label", "variant", "tq", "saco", "performance", "seeds")
    )
    if points.is_empty():
        raise ConfigError("the variants of the runs are not those whose TQ and SACo are known")
    return points


def local_regression(places: np.ndarray, values: np.ndarray, asked: np.ndarray, bandwidth: float) -> np.ndarray:
    """Return the local linear regression at some places.

    Parameters
    ----------
    places : (n, 2) array
    values : (n,) array
    asked : (m, 2) array
    bandwidth : float
        Of the Gaussian kernel, in the units of the places.

    Returns
    -------
    (m,) array

    Examples
    --------
    >>> places = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    >>> local_regression(places, places @ [2.0, -1.0], np.array([[0.5, 0.25]]), 1.0).round(6).tolist()
    [0.75]
    """
    apart = asked[:, None] - places[None]  # (m, n, 2)
    weights = np.exp(-0.5 * np.square(apart / bandwidth).sum(-1)) + 1e-12
    design = np.concatenate([np.ones((*apart.shape[:2], 1)), -apart], axis=2)  # (m, n, 3)
    left = np.einsum("mni,mn,mnj->mij", design, weights, design) + 1e-9 * np.eye(3)
    right = np.einsum("mni,mn,n->mi", design, weights, values)
    found: np.ndarray = np.linalg.solve(left, right[..., None])[:, 0, 0]
    return found


def quality_plane(runs: pl.DataFrame, quality: pl.DataFrame | None = None, *, width_pixels: int = 680) -> Figure:
    """Draw which algorithm does well where in trajectory quality and coverage.

    Parameters
    ----------
    runs : polars.DataFrame
        From `load_runs`.
    quality : polars.DataFrame, optional
        From `load_quality`; by default read from the folders of the runs.
    width_pixels : int
        Width at which the figure is shown.

    Returns
    -------
    matplotlib.figure.Figure
        A panel for each algorithm, in the order of the runs.

    Raises
    ------
    ConfigError
        If no run has a score, or no variant both TQ and SACo.
    """
    points = plane_points(runs, quality)
    labels = points["label"].unique(maintain_order=True).to_list()
    across = 2 if width_pixels < NARROW_BELOW else min(3, len(labels))
    heading = Heading(
        width_pixels,
        "Where in trajectory quality and coverage which algorithm does well",
        "A point is a dataset. Colour: 0 = random policy, 1 = best online policy; blank where too little is known.",
    )
    rows = math.ceil(len(labels) / across)
    figure = canvas(width_pixels, heading.height + rows * (_PANEL + _GAP) + 56)
    heading.write(figure)
    wide = (width_pixels - 24) / across
    low, high = (points.select(pl.col("tq", "saco").min()).row(0), points.select(pl.col("tq", "saco").max()).row(0))
    spans = [(a - 0.08 * max(b - a, 1e-3), b + 0.08 * max(b - a, 1e-3)) for a, b in zip(low, high, strict=True)]
    shown = None
    for number, label in enumerate(labels):
        row, column = divmod(number, across)
        axes = axes_at(figure, 62 + column * wide, heading.height + row * (_PANEL + _GAP) + 18, wide - 70, _PANEL - 18)
        own = points.filter(pl.col("label") == label)
        places, values = own.select("tq", "saco").to_numpy(), own["performance"].to_numpy()
        background, extent = _surface(places, values, spans)
        if background is not None:
            axes.imshow(
                background,
                origin="lower",
                extent=extent,
                aspect="auto",
                cmap="viridis",
                vmin=0,
                vmax=1,
                alpha=0.55,
                zorder=0,
            )
        shown = axes.scatter(
            places[:, 0], places[:, 1], c=values, cmap="viridis", vmin=0, vmax=1, s=34, edgecolors=INK, linewidths=0.7
        )
        axes.set(xlim=spans[0], ylim=spans[1])
        axes.grid(visible=False)
        axes.locator_params(nbins=4)
        axes.tick_params(labelsize=SMALL_POINTS)
        axes.set_title(label, fontsize=FONT_POINTS, color=INK)
        if row == rows - 1 or number + across >= len(labels):
            axes.set_xlabel("TQ", fontsize=FONT_POINTS, color=INK)
        if column == 0:
            axes.set_ylabel("SACo", fontsize=FONT_POINTS, color=INK)
    bottom = heading.height + rows * (_PANEL + _GAP)
    scale = axes_at(figure, 62, bottom + 14, min(260, width_pixels - 100), 10)
    assert shown is not None
    figure.colorbar(shown, cax=scale, orientation="horizontal")
    scale.tick_params(labelsize=SMALL_POINTS)
    write_text(
        figure,
        "performance relative to the best online policy",
        62,
        bottom + 9,
        fontsize=SMALL_POINTS,
        color=INK,
        va="bottom",
    )
    return figure


def _surface(
    places: np.ndarray, values: np.ndarray, spans: list[tuple[float, float]]
) -> tuple[np.ndarray | None, tuple[float, float, float, float]]:
    """Return the regression on a grid, NaN where it is not known, and where the grid lies."""
    extent = (*spans[0], *spans[1])
    if len(np.unique(places, axis=0)) < _FEWEST:
        return None, extent
    spread = np.maximum(places.std(0), 1e-6)
    grid = np.stack(np.meshgrid(*(np.linspace(*span, _CELLS) for span in spans)), -1).reshape(-1, 2)
    scaled, asked = places / spread, grid / spread
    found = local_regression(scaled, values, asked, _BANDWIDTH)
    rng = np.random.default_rng(0)
    drawn = np.stack(
        [
            local_regression(scaled[rows], values[rows], asked, _BANDWIDTH)
            for rows in rng.integers(len(values), size=(_RESAMPLES, len(values)))
        ]
    )
    nearest = np.linalg.norm(asked[:, None] - scaled[None], axis=-1).min(1)
    unknown = (drawn.std(0) > _MOST_ERROR) | (nearest > _NEAR * _BANDWIDTH)
    return np.where(unknown, np.nan, found).reshape(_CELLS, _CELLS), extent
