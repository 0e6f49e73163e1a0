"""Batches for a learner of one's own: seeded, vectorized, on CPU arrays or device tensors, resumable."""

from assay.datasets.sampling.episode_batches import EpisodeBatch, EpisodeSampler
from assay.datasets.sampling.sequence_batches import SequenceBatch, SequenceSampler
from assay.datasets.sampling.transition_batches import TransitionSampler

__all__ = ["EpisodeBatch", "EpisodeSampler", "SequenceBatch", "SequenceSampler", "TransitionSampler"]
