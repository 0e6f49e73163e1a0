"""Transforms that harm a dataset, with the ground truth of what they touched."""

if __name__ != "assay.corruption":
    raise ImportError(f"import this package as assay.corruption, not as {__name__}")

from assay.corruption.adversarial import AdversarialCorruption
from assay.corruption.attacks.victim import LayeredVictim, Victim
from assay.corruption.curation import curation
from assay.corruption.episodes import DownsampleEpisodes, DropEpisodes, DuplicateEpisodes, ReorderEpisodes
from assay.corruption.faults import (
    ClippedSensors,
    DelayedSensors,
    FrozenSensors,
    MissingValues,
    QuantizedSensors,
    SwappedDimensions,
)
from assay.corruption.presets import grid, preset
from assay.corruption.random import RandomCorruption
from assay.corruption.repair import (
    ColumnFilter,
    DynamicsFilter,
    OracleFilter,
    OutlierFilter,
    RewardFilter,
    detection,
)
from assay.corruption.segments import FlipTerminations, MergeEpisodes, SegmentEpisodes, TruncateEpisodes
from assay.datasets.arguments import name_wrong_arguments

__all__ = [
    "AdversarialCorruption",
    "ClippedSensors",
    "ColumnFilter",
    "DelayedSensors",
    "DownsampleEpisodes",
    "DropEpisodes",
    "DuplicateEpisodes",
    "DynamicsFilter",
    "FlipTerminations",
    "FrozenSensors",
    "LayeredVictim",
    "MergeEpisodes",
    "MissingValues",
    "OracleFilter",
    "OutlierFilter",
    "QuantizedSensors",
    "RandomCorruption",
    "ReorderEpisodes",
    "RewardFilter",
    "SegmentEpisodes",
    "SwappedDimensions",
    "TruncateEpisodes",
    "Victim",
    "curation",
    "detection",
    "grid",
    "preset",
]

name_wrong_arguments(__name__, __all__)
