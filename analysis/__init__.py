"""From run folders to statistics, figures and a report."""

if __name__ != "assay.analysis":
    raise ImportError(f"import this package as assay.analysis, not as {__name__}")

from assay.analysis.associations import mixed_regression, rank_correlations
from assay.analysis.bibliography import bibliography, uncited
from assay.analysis.card import write_card
from assay.analysis.comparisons import (
    aggregate_table,
    comparison_table,
    performance_profiles,
    sample_efficiency,
    score_arrays,
)
from assay.analysis.export import format_table
from assay.analysis.figures import (
    detection_against_benefit,
    plot_cost,
    plot_curves,
    plot_judge_quality,
    plot_performance_profiles,
    plot_quality,
    plot_return_histograms,
    plot_robustness,
    plot_sample_efficiency,
    plot_score_map,
    plot_scores,
    plot_tuning_curve,
    quality_plane,
)
from assay.analysis.off_policy import load_values, save_values
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
from assay.analysis.searches import load_search, search_table
from assay.analysis.selection import bandit_tuning, rank_stability, selection_regret, tuning_curve
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
from assay.analysis.tables import change_table, cost_table, goal_table, pivot, score_table
from assay.analysis.transfer import transfer_table
from assay.datasets.arguments import name_wrong_arguments

__all__ = [
    "aggregate_iqm",
    "aggregate_mean",
    "aggregate_median",
    "aggregate_optimality_gap",
    "aggregate_table",
    "bandit_tuning",
    "bibliography",
    "change_table",
    "comparison_table",
    "cost_table",
    "create_performance_profile",
    "detection_against_benefit",
    "format_table",
    "get_interval_estimates",
    "goal_table",
    "load_curves",
    "load_quality",
    "load_returns",
    "load_runs",
    "load_search",
    "load_suite",
    "load_values",
    "mixed_regression",
    "no_interval_reason",
    "performance_profiles",
    "pivot",
    "plot_cost",
    "plot_curves",
    "plot_judge_quality",
    "plot_performance_profiles",
    "plot_quality",
    "plot_return_histograms",
    "plot_robustness",
    "plot_sample_efficiency",
    "plot_score_map",
    "plot_scores",
    "plot_tuning_curve",
    "probability_of_improvement",
    "quality_plane",
    "rank_correlations",
    "rank_stability",
    "sample_efficiency",
    "save_values",
    "scan_curves",
    "scan_returns",
    "score_arrays",
    "score_table",
    "search_table",
    "selection_regret",
    "transfer_table",
    "tuning_curve",
    "uncited",
    "with_metrics",
    "write_card",
    "write_report",
]

name_wrong_arguments(__name__, __all__)
