"""Transforms that change how often a step is drawn in training."""

if __name__ != "assay.reweighting":
    raise ImportError(f"import this package as assay.reweighting, not as {__name__}")

from assay.datasets.arguments import name_wrong_arguments
from assay.reweighting.trajectory import TrajectoryWeighting

__all__ = ["TrajectoryWeighting"]

name_wrong_arguments(__name__, __all__)
