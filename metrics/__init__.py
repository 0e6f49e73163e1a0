"""Numbers that describe a dataset: plain functions, and one that runs them all."""

if __name__ != "assay.metrics":
    raise ImportError(f"import this package as assay.metrics, not as {__name__}")

from assay.datasets.arguments import name_wrong_arguments
from assay.metrics.assess import assess, metric_names
from assay.metrics.behaviour import action_variance, mixture_modes, multimodality
from assay.metrics.columns import EpisodeMetrics
from assay.metrics.coverage import coverage, inside
from assay.metrics.dip import dip
from assay.metrics.distance import kl_divergence, ks_distances, mmd, sliced_wasserstein
from assay.metrics.diversity import episode_diversity
from assay.metrics.entropy import knn_entropy
from assay.metrics.grid import Grid
from assay.metrics.hyperloglog import HyperLogLog
from assay.metrics.labels import dead_dimensions, duplicate_rate, reward_sparsity, time_limit
from assay.metrics.measures import NotMeasurable, register_metric
from assay.metrics.mixture import mixture_gain
from assay.metrics.noise import noise_ratio
from assay.metrics.return_structure import (
    fraction_above_mean,
    potential_for_improvement,
    psv,
    return_histogram,
    return_quantiles,
)
from assay.metrics.returns import (
    fraction_terminated,
    fraction_truncated,
    length_summary,
    normalized_score,
    return_summary,
)
from assay.metrics.saco import (
    lsaco,
    saco,
    saturation,
    sketch_state_actions,
    unique_counts,
    unique_state_actions,
    unique_states,
)
from assay.metrics.smoothness import autocorrelation, discontinuities
from assay.metrics.spectrum import effective_rank, spectrum
from assay.metrics.stitching import stitched_return
from assay.metrics.trajectory_quality import tq

__all__ = [
    "EpisodeMetrics",
    "Grid",
    "HyperLogLog",
    "NotMeasurable",
    "action_variance",
    "assess",
    "autocorrelation",
    "coverage",
    "dead_dimensions",
    "dip",
    "discontinuities",
    "duplicate_rate",
    "effective_rank",
    "episode_diversity",
    "fraction_above_mean",
    "fraction_terminated",
    "fraction_truncated",
    "inside",
    "kl_divergence",
    "knn_entropy",
    "ks_distances",
    "length_summary",
    "lsaco",
    "metric_names",
    "mixture_gain",
    "mixture_modes",
    "mmd",
    "multimodality",
    "noise_ratio",
    "normalized_score",
    "potential_for_improvement",
    "psv",
    "register_metric",
    "return_histogram",
    "return_quantiles",
    "return_summary",
    "reward_sparsity",
    "saco",
    "saturation",
    "sketch_state_actions",
    "sliced_wasserstein",
    "spectrum",
    "stitched_return",
    "time_limit",
    "tq",
    "unique_counts",
    "unique_state_actions",
    "unique_states",
]

name_wrong_arguments(__name__, __all__)
