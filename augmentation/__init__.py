"""Transforms that add data: moved as a domain allows, guided or at random, perturbed, mirrored, rolled out in a learned model or generated."""

if __name__ != "assay.augmentation":
    raise ImportError(f"import this package as assay.augmentation, not as {__name__}")

from assay.augmentation.domain import Domain
from assay.augmentation.generative import GenerativeAugmentation
from assay.augmentation.guided import GuidedAugmentation
from assay.augmentation.guides import Guide, PotentialGuide, RewardGuide
from assay.augmentation.model_based import ModelBasedAugmentation
from assay.augmentation.random import RandomAugmentation
from assay.augmentation.states import AmplitudeScaling, DimensionDropout, GaussianNoise, StateMixUp, UniformNoise
from assay.augmentation.symmetry import Symmetry
from assay.datasets.arguments import name_wrong_arguments

__all__ = [
    "AmplitudeScaling",
    "DimensionDropout",
    "Domain",
    "GaussianNoise",
    "GenerativeAugmentation",
    "Guide",
    "GuidedAugmentation",
    "ModelBasedAugmentation",
    "PotentialGuide",
    "RandomAugmentation",
    "RewardGuide",
    "StateMixUp",
    "Symmetry",
    "UniformNoise",
]

name_wrong_arguments(__name__, __all__)
