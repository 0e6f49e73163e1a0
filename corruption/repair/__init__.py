"""Repairs: filters that find spoilt steps and keep a learner from them, and a transform that fills missing numbers."""

from assay.corruption.repair.column import ColumnFilter
from assay.corruption.repair.detection import Detection, detection
from assay.corruption.repair.fill import FillMissing
from assay.corruption.repair.oracle import OracleFilter
from assay.corruption.repair.outliers import OutlierFilter
from assay.corruption.repair.residuals import DynamicsFilter, RewardFilter

__all__ = [
    "ColumnFilter",
    "Detection",
    "DynamicsFilter",
    "FillMissing",
    "OracleFilter",
    "OutlierFilter",
    "RewardFilter",
    "detection",
]
