"""What a dataset is, how it is read, written, checked, sampled and collected."""

if __name__ != "assay.datasets":
    raise ImportError(f"import this package as assay.datasets, not as {__name__}")

from assay.datasets.arguments import name_wrong_arguments
from assay.datasets.dataset import Dataset, concatenate
from assay.datasets.history import replay
from assay.datasets.info import DatasetInfo, Record, ReferenceScores, reference_scores
from assay.datasets.loading import load, save
from assay.datasets.minari_exchange import from_minari, to_minari
from assay.datasets.recipe import Recipe
from assay.datasets.transform import Transform, make_transform, register
from assay.datasets.transitions import Transitions

__all__ = [
    "Dataset",
    "DatasetInfo",
    "Recipe",
    "Record",
    "ReferenceScores",
    "Transform",
    "Transitions",
    "concatenate",
    "from_minari",
    "load",
    "make_transform",
    "reference_scores",
    "register",
    "replay",
    "save",
    "to_minari",
]

name_wrong_arguments(__name__, __all__)
