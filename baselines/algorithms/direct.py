"""Algorithms without a training loop: tables and linear models, solved from the data at once.

What they learn is described as networks are, so that it is saved, restored and acted with in the same way.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from assay.baselines.algorithms.algorithm import Algorithm, Phase
from assay.baselines.engine.data import ActionScale, TrainingData
from assay.baselines.engine.randomness import Draws
from assay.baselines.engine.shapes import CategoryCode
from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError

if TYPE_CHECKING:
    from assay.baselines.engine.learner import Learner, Member

__all__ = ["DirectAlgorithm", "Solution"]


@dataclass(frozen=True)
class Solution:
    """What a direct algorithm found.

    Parameters
    ----------
    networks : mapping
        The content of each network, [P, n] or [P, *shape].
    metrics : mapping
        Numbers [P] worth logging.
    """

    networks: Mapping[str, torch.Tensor]
    metrics: Mapping[str, torch.Tensor] = field(default_factory=dict)


class DirectAlgorithm(Algorithm):
    """Base of algorithms that `solve` their members together instead of descending losses.

    States are numbers by default: observations of a Discrete space stand in `TrainingData` as one column. The `steps` of a
    training have no meaning for them; the first update solves everything.
    """

    category_code: ClassVar[CategoryCode] = "index"
    normalize_observations = False
    batch_size = 0

    @abstractmethod
    def solve(self, members: Sequence[Any], data: Sequence[TrainingData], draws: Draws) -> Solution:
        """Learn for P members at once.

        Parameters
        ----------
        members : sequence of algorithms of this class
            They may differ in float fields.
        data : sequence of TrainingData
            One per member.
        draws : Draws
            Of the members' seeds, at update 0.
        """

    def training_data(self, dataset: Dataset, action_scale: ActionScale) -> TrainingData:
        """Lay a dataset out; each of its steps counts once.

        Raises
        ------
        ConfigError
            If the dataset has weights.
        """
        if dataset.weights is not None:
            raise ConfigError(
                f"{self.label} counts every step once, and the dataset has weights; reweighting.materialize makes a dataset of them, "
                'or dataset.replace({"weights": None}) leaves them out'
            )
        return super().training_data(dataset, action_scale)

    def phases(self) -> tuple[Phase, ...]:
        """Return no phases: nothing is descended."""
        return ()

    @classmethod
    def learner(cls, members: Sequence[Member], data: Sequence[TrainingData], steps: int, **options: Any) -> Learner:
        """Make a `DirectLearner`."""
        from assay.baselines.engine.direct import DirectLearner

        return DirectLearner(members, data, steps)
