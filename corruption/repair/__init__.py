"""Filters that find spoilt steps and keep a learner from them: the baseline that robust algorithms have to beat."""

from assay.corruption.repair.detection import Detection, detection
from assay.corruption.repair.oracle import OracleFilter
from assay.corruption.repair.outliers import OutlierFilter
from assay.corruption.repair.residuals import DynamicsFilter, RewardFilter

__all__ = ["Detection", "DynamicsFilter", "OracleFilter", "OutlierFilter", "RewardFilter", "detection"]
