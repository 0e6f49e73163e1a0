"""What the perturbations of states share: the state and the next state of a transition change, all else stays.

Sources: Sinha, Mandlekar & Garg, "S4RL: Surprisingly Simple Self-Supervision for Offline Reinforcement Learning", CoRL 2021, arXiv
2103.06326; Laskin et al., "Reinforcement Learning with Augmented Data" (RAD), NeurIPS 2020, arXiv 2004.14990.

S4RL draws a new perturbation for every update. Here the perturbed transitions are added to the dataset, so that any learner can use them
and metrics see them; `ratio` says how many. What holds for all of them:

- Actions, rewards and terminations are those of the source: the assumption is that a state a little further means the same.
- Only floating columns of observations change, and of a goal-conditioned space not the goal's `desired_goal`.
- The result is no transition of the simulator, so there is nothing to check it with.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
import pydantic

from assay.augmentation.proposals import SegmentAugmentation
from assay.augmentation.segments import Segments
from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError, DatasetError

__all__ = ["StatePerturbation"]

_KEPT = "desired_goal"


@pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=pydantic.ConfigDict(extra="forbid"))
class StatePerturbation(SegmentAugmentation):
    """Base of the perturbations.

    Parameters
    ----------
    ratio, length, seed
        See `SegmentAugmentation`.
    """

    @abstractmethod
    def perturb(self, states: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Return perturbed states, (M, L + 1, ...) float64; each segment draws its own numbers."""

    def prepare(self, dataset: Dataset) -> None:  # noqa: D102
        if self.check != "none":
            raise ConfigError(f"{self.name}: perturbed states are no transitions of a simulator; leave out check")
        floating = [
            name
            for name in dataset.columns
            if name.startswith("observations") and dataset.column(name).dtype.kind == "f"
        ]
        if not floating:
            raise DatasetError(f"{self.name}: observations are whole numbers, which have no small perturbations")

    def propose(self, segments: Segments, generator: np.random.Generator) -> tuple[Segments, np.ndarray]:  # noqa: D102
        observations = self._perturbed(segments.observations, generator)
        return segments.with_changes(observations=observations), np.ones(len(segments), bool)

    def _perturbed(self, observations: Any, generator: np.random.Generator) -> Any:
        if isinstance(observations, dict):
            return {
                key: value if key == _KEPT else self._perturbed(value, generator) for key, value in observations.items()
            }
        if observations.dtype.kind != "f":
            return observations
        return self.perturb(observations.astype(np.float64), generator)
