"""Transforms that change how often a step is drawn in training."""

if __name__ != "assay.reweighting":
    raise ImportError(f"import this package as assay.reweighting, not as {__name__}")

from assay.datasets.arguments import name_wrong_arguments
from assay.reweighting.column import ColumnWeighting
from assay.reweighting.coverage import CoverageWeighting
from assay.reweighting.density_ratio import DensityRatioWeighting
from assay.reweighting.experience import ExperienceSelection
from assay.reweighting.materialize import Materialize, materialize
from assay.reweighting.mixture import MixtureWeighting
from assay.reweighting.tags import TagWeighting
from assay.reweighting.trajectory import TrajectoryWeighting
from assay.reweighting.weighting import Weighting, effective_sample_size

__all__ = [
    "ColumnWeighting",
    "CoverageWeighting",
    "DensityRatioWeighting",
    "ExperienceSelection",
    "Materialize",
    "MixtureWeighting",
    "TagWeighting",
    "TrajectoryWeighting",
    "Weighting",
    "effective_sample_size",
    "materialize",
]

name_wrong_arguments(__name__, __all__)
