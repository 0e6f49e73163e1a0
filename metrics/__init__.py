"""Numbers that describe a dataset: plain functions, and one that runs them all."""

if __name__ != "assay.metrics":
    raise ImportError(f"import this package as assay.metrics, not as {__name__}")

from assay.metrics.assess import assess
from assay.metrics.grid import Grid
from assay.metrics.hyperloglog import HyperLogLog
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
from assay.metrics.stitching import stitched_return
from assay.metrics.trajectory_quality import tq

__all__ = [
    "Grid",
    "HyperLogLog",
    "assess",
    "fraction_above_mean",
    "fraction_terminated",
    "fraction_truncated",
    "length_summary",
    "lsaco",
    "normalized_score",
    "potential_for_improvement",
    "psv",
    "return_histogram",
    "return_quantiles",
    "return_summary",
    "saco",
    "saturation",
    "sketch_state_actions",
    "stitched_return",
    "tq",
    "unique_counts",
    "unique_state_actions",
    "unique_states",
]
