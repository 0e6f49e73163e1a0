"""Comparing segments with the step of a simulator: its state is set from an observation, it steps, and the outcome is compared."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from assay.augmentation.segments import Segments, flat
from assay.datasets.dataset import map_nested

__all__ = ["Deviations", "Simulator", "deviations"]


class Simulator(ABC):
    """A simulator whose state can be read off an observation."""

    @abstractmethod
    def step(self, observation: Any, action: Any) -> tuple[Any, float, bool]:
        """Step once from the state that an observation shows.

        Returns
        -------
        observation
            After the step, of the same structure.
        reward : float
        terminated : bool
        """


@dataclass(frozen=True)
class Deviations:
    """How far segments are from what the simulator does.

    Parameters
    ----------
    observations : dict of name -> (M, L, ...) float64
        Absolute difference of each number of each next observation.
    rewards : (M, L) float64
    terminations : (M, L) bool
        Whether they differ.
    """

    observations: dict[str, np.ndarray]
    rewards: np.ndarray
    terminations: np.ndarray

    @property
    def largest(self) -> np.ndarray:
        """Largest difference within each segment, (M,); infinite where a termination differs."""
        count = len(self.rewards)
        parts = [self.rewards, *self.observations.values()]
        largest = np.max([part.reshape(count, -1).max(axis=1) for part in parts], axis=0)
        return np.where(self.terminations.any(axis=1), np.inf, largest)

    def worst(self) -> str:
        """Name the number that is furthest off, such as `"observations/observation[2]"`, and by how much."""
        found = [(float(self.rewards.max()), "rewards")]
        for name, array in self.observations.items():
            by_number = array.reshape(-1, *array.shape[2:]).max(axis=0)
            place = np.unravel_index(int(by_number.argmax()), by_number.shape)
            found.append((float(by_number.max()), f"{name}{[int(index) for index in place]}"))
        largest, name = max(found)
        if self.terminations.any():
            return f"a termination that the simulator does not give (beside {name}, off by {largest:.3g})"
        return f"{name} is off by {largest:.3g}"


def deviations(segments: Segments, simulator: Simulator) -> Deviations:
    """Step the simulator from every observation of every segment, and compare.

    Parameters
    ----------
    segments : Segments
    simulator : Simulator
    """
    count, length = segments.rewards.shape
    after: list[dict[str, np.ndarray]] = []
    rewards, terminations = np.empty((count, length)), np.empty((count, length), bool)
    for row in range(count):
        for step in range(length):

            def at(array: np.ndarray, row: int = row, step: int = step) -> np.ndarray:
                picked: np.ndarray = array[row, step]
                return picked

            observation, rewards[row, step], terminations[row, step] = simulator.step(
                map_nested(at, segments.observations), map_nested(at, segments.actions)
            )
            after.append(flat("observations", observation))
    expected = {
        name: np.stack([each[name] for each in after]).reshape(count, length, *array.shape[2:])
        for name, array in flat("observations", segments.observations).items()
    }
    return Deviations(
        observations={
            name: np.abs(array[:, 1:].astype(np.float64) - expected[name])
            for name, array in flat("observations", segments.observations).items()
        },
        rewards=np.abs(segments.rewards.astype(np.float64) - rewards),
        terminations=segments.terminations != terminations,
    )
