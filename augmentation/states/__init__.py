"""Perturbations of states, for any state space: the menu of S4RL and RAD. One file for each."""

from assay.augmentation.states.dropout import DimensionDropout
from assay.augmentation.states.mix_up import StateMixUp
from assay.augmentation.states.noise import GaussianNoise, UniformNoise
from assay.augmentation.states.scaling import AmplitudeScaling

__all__ = ["AmplitudeScaling", "DimensionDropout", "GaussianNoise", "StateMixUp", "UniformNoise"]
