"""Numbers that describe a dataset: plain functions, and one that runs them all."""

if __name__ != "assay.metrics":
    raise ImportError(f"import this package as assay.metrics, not as {__name__}")

from assay.metrics.assess import assess
from assay.metrics.entropy import knn_entropy
from assay.metrics.returns import (
    fraction_terminated,
    fraction_truncated,
    length_summary,
    normalized_score,
    return_summary,
)
from assay.metrics.saco import Grid, lsaco, saco, saturation, unique_state_actions
from assay.metrics.spectrum import effective_rank, spectrum
from assay.metrics.trajectory_quality import tq

__all__ = [
    "Grid",
    "assess",
    "effective_rank",
    "fraction_terminated",
    "fraction_truncated",
    "knn_entropy",
    "length_summary",
    "lsaco",
    "normalized_score",
    "return_summary",
    "saco",
    "saturation",
    "spectrum",
    "tq",
    "unique_state_actions",
]
