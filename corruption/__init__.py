"""Transforms that harm a dataset, with the ground truth of what they touched."""

if __name__ != "assay.corruption":
    raise ImportError(f"import this package as assay.corruption, not as {__name__}")

from assay.corruption.adversarial import AdversarialCorruption
from assay.corruption.random import RandomCorruption
from assay.corruption.victim import LayeredVictim, Victim

__all__ = ["AdversarialCorruption", "LayeredVictim", "RandomCorruption", "Victim"]
