"""Batches for a learner of one's own: seeded, vectorized, on CPU arrays or device tensors, resumable."""

from assay.datasets.sampling.episodes import EpisodeBatch, EpisodeSampler
from assay.datasets.sampling.sequences import SequenceBatch, SequenceSampler
from assay.datasets.sampling.transitions import TransitionSampler

__all__ = ["EpisodeBatch", "EpisodeSampler", "SequenceBatch", "SequenceSampler", "TransitionSampler"]
