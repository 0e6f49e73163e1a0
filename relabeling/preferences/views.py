"""What a reward model sees of a step: the observation after it, as a vector or as a frame."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError
from assay.relabeling.frames import FrameSource

__all__ = ["FrameViews", "StateViews", "Views"]

_STD_OFFSET = 1e-3
_FRAMES_OF_MEAN = 256


class Views(ABC):
    """What is seen of each step of a dataset."""

    shape: tuple[int, ...]  # of one step
    rows_at_once: int  # that are held in memory together

    @abstractmethod
    def take(self, steps: np.ndarray) -> np.ndarray:
        """Return what is seen of some steps, (n, *shape)."""


class StateViews(Views):
    """The vector of the observation after each step, normalized to mean 0 and deviation 1 over the dataset.

    Parameters
    ----------
    vectors : (N, n) float32
    """

    rows_at_once = 65_536

    def __init__(self, vectors: np.ndarray) -> None:
        self._vectors, self.shape = vectors, vectors.shape[1:]

    @classmethod
    def of(cls, dataset: Dataset) -> StateViews:
        """Take all numbers of the observations that are no images, the parts of nested ones side by side.

        Raises
        ------
        ConfigError
            If there are none.
        """
        parts = _flat_parts(dataset.next_observations)
        if not parts:
            raise ConfigError("the observations hold images alone: let the reward model see frames (inputs='frames')")
        vectors = np.concatenate(parts, 1, dtype=np.float64)
        normalized = (vectors - vectors.mean(0)) / (vectors.std(0) + _STD_OFFSET)
        return cls(normalized.astype(np.float32))

    def take(self, steps: np.ndarray) -> np.ndarray:  # noqa: D102
        taken: np.ndarray = self._vectors[steps]
        return taken


def _flat_parts(observations: Any) -> list[np.ndarray]:
    if isinstance(observations, dict):
        return [part for name in sorted(observations) for part in _flat_parts(observations[name])]
    if observations.dtype == np.uint8 and observations.ndim > 2:
        return []
    if observations.dtype.kind not in "biuf":
        raise ConfigError(f"a reward model sees numbers or images; an observation is {observations.dtype}")
    return [observations.reshape(len(observations), -1)]


class FrameViews(Views):
    """The frame after each step, as half its difference from the mean frame of the dataset, plus 128.

    What never changes, such as the background, becomes 128 everywhere, so a network sees what does.

    Parameters
    ----------
    source : FrameSource
    observation_rows : (N,) int array
        As of the dataset.
    """

    rows_at_once = 1_024

    def __init__(self, source: FrameSource, observation_rows: np.ndarray) -> None:
        self.source, self._rows, self.shape = source, observation_rows + 1, source.shape
        sample = self._rows[:: max(1, len(self._rows) // _FRAMES_OF_MEAN)]
        self._mean = source.take(sample).mean(0).round().astype(np.int16)

    def take(self, steps: np.ndarray) -> np.ndarray:  # noqa: D102
        differences = self.source.take(self._rows[steps]).astype(np.int16) - self._mean
        return (differences // 2 + 128).astype(np.uint8)
