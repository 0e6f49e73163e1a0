"""From run folders to statistics, figures and a report."""

if __name__ != "assay.analysis":
    raise ImportError(f"import this package as assay.analysis, not as {__name__}")

from assay.analysis.card import write_card
from assay.analysis.comparisons import (
    aggregate_table,
    comparison_table,
    performance_profiles,
    sample_efficiency,
    score_arrays,
)
from assay.analysis.figures import plot_curves, plot_quality, plot_scores, quality_plane
from assay.analysis.report import write_report
from assay.analysis.runs import (
    load_curves,
    load_quality,
    load_returns,
    load_runs,
    load_suite,
    scan_curves,
    scan_returns,
    with_metrics,
)
from assay.analysis.statistics import (
    aggregate_iqm,
    aggregate_mean,
    aggregate_median,
    aggregate_optimality_gap,
    create_performance_profile,
    get_interval_estimates,
    no_interval_reason,
    probability_of_improvement,
)
from assay.analysis.tables import change_table, pivot, score_table
from assay.datasets.arguments import name_wrong_arguments

__all__ = [
    "aggregate_iqm",
    "aggregate_mean",
    "aggregate_median",
    "aggregate_optimality_gap",
    "aggregate_table",
    "change_table",
    "comparison_table",
    "create_performance_profile",
    "get_interval_estimates",
    "load_curves",
    "load_quality",
    "load_returns",
    "load_runs",
    "load_suite",
    "no_interval_reason",
    "performance_profiles",
    "pivot",
    "plot_curves",
    "plot_quality",
    "plot_scores",
    "probability_of_improvement",
    "quality_plane",
    "sample_efficiency",
    "scan_curves",
    "scan_returns",
    "score_arrays",
    "score_table",
    "with_metrics",
    "write_card",
    "write_report",
]

name_wrong_arguments(__name__, __all__)
