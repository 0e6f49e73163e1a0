"""Evidence on the quality plane, with the place of a dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from assay.analysis.advice.advice import Place
from assay.analysis.figures import quality_plane

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["evidence_plane"]


def evidence_plane(evidence: pl.DataFrame, place: Place | None = None, *, width_pixels: int = 680) -> Figure:
    """Draw the quality plane of evidence, a panel for each algorithm.

    Parameters
    ----------
    evidence : polars.DataFrame
        From `load_evidence` or `evidence_of`.
    place : Place, optional
        Of a dataset, such as `advice.place`; it is drawn as a cross in every panel where it lies within.
    width_pixels : int
        Width at which the figure is shown.

    Examples
    --------
    >>> from assay.analysis.advice import load_evidence
    >>> evidence_plane(load_evidence()).axes[0].get_title()
    'BC'
    """
    datasets = pl.concat_str("suite", "dataset", separator=": ").alias("variant")
    runs = evidence.select("label", datasets, (100 * pl.col("performance")).alias("score"))
    measured = evidence.select(datasets, "tq", "saco").unique()
    figure = quality_plane(
        runs, measured.unpivot(["tq", "saco"], index="variant", variable_name="metric"), width_pixels=width_pixels
    )
    if place is not None and place.tq is not None and place.saco is not None:
        for axes in figure.axes:
            if axes.get_title():
                axes.plot(
                    place.tq,
                    place.saco,
                    "x",
                    color="#c1121f",
                    markersize=10,
                    markeredgewidth=2.5,
                    scalex=False,
                    scaley=False,
                )
    return figure
