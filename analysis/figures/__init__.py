"""Figures of runs and datasets, one file per family.

Every function returns a `matplotlib.figure.Figure`, or the Axes where there is one panel (`axes.figure` is the figure); none adds
a figure to pyplot or changes a setting of matplotlib.
Seaborn draws points, bars, lines and histograms; positions of text and panels are given in pixels (`layout`), because a
figure is drawn for the width at which it is shown.
"""

from __future__ import annotations

import warnings
from typing import Any

from assay.analysis.figures.cost import plot_cost
from assay.analysis.figures.curves import plot_curves
from assay.analysis.figures.dataset_view import DatasetView, Plane
from assay.analysis.figures.detection import detection_against_benefit
from assay.analysis.figures.efficiency import plot_sample_efficiency, plot_tuning_curve
from assay.analysis.figures.episodes import plot_episodes
from assay.analysis.figures.forest import plot_forest
from assay.analysis.figures.frames import plot_frames
from assay.analysis.figures.judges import plot_judge_quality
from assay.analysis.figures.layout import LINE_HEIGHT, axes_at, canvas, line_count, wrapped, write_text
from assay.analysis.figures.marginals import plot_marginals
from assay.analysis.figures.profiles import plot_performance_profiles
from assay.analysis.figures.projection import plot_projection
from assay.analysis.figures.quality import plot_quality
from assay.analysis.figures.quality_plane import quality_plane
from assay.analysis.figures.return_histograms import plot_return_histograms
from assay.analysis.figures.robustness import plot_robustness
from assay.analysis.figures.score_map import plot_score_map
from assay.analysis.figures.scores import plot_scores
from assay.analysis.figures.style import (
    FONT_POINTS,
    GRID,
    INK,
    LITERAL,
    MARKERS,
    MUTED,
    NARROW_BELOW,
    SERIES,
    number_text,
    thousands,
)
from assay.analysis.figures.trajectories import plot_trajectories
from assay.analysis.figures.value_curve import plot_value_curve
from assay.analysis.figures.variants import axis_label, choose_metric, distinct_variants, variants_in_order

__all__ = [
    "FONT_POINTS",
    "GRID",
    "INK",
    "LINE_HEIGHT",
    "LITERAL",
    "MARKERS",
    "MUTED",
    "NARROW_BELOW",
    "SERIES",
    "DatasetView",
    "Plane",
    "axes_at",
    "axis_label",
    "canvas",
    "choose_metric",
    "detection_against_benefit",
    "distinct_variants",
    "line_count",
    "number_text",
    "plot_cost",
    "plot_curves",
    "plot_episodes",
    "plot_forest",
    "plot_frames",
    "plot_judge_quality",
    "plot_marginals",
    "plot_performance_profiles",
    "plot_projection",
    "plot_quality",
    "plot_return_histograms",
    "plot_robustness",
    "plot_sample_efficiency",
    "plot_score_map",
    "plot_scores",
    "plot_trajectories",
    "plot_tuning_curve",
    "plot_value_curve",
    "quality_plane",
    "thousands",
    "variants_in_order",
    "wrapped",
    "write_text",
]


def __getattr__(name: str) -> Any:
    if name == "Sample":
        warnings.warn("Sample is now DatasetView; the former name goes with the next release", DeprecationWarning, 2)
        return DatasetView
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
