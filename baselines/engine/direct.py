"""The direct learner: members of one algorithm without a loop, solved together in their first update."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch

from assay.baselines.algorithms.algorithm import describe_networks
from assay.baselines.algorithms.direct import DirectAlgorithm
from assay.baselines.engine.acting import Acting, Actor, actor_of
from assay.baselines.engine.data import TrainingData
from assay.baselines.engine.learner import Member, State
from assay.baselines.engine.randomness import Draws
from assay.baselines.networks.network import FixedNetwork
from assay.datasets.errors import ConfigError

__all__ = ["DirectLearner"]

_ALIVE = -1  # in `State.frozen_at`


class DirectLearner:
    """Solves members of one algorithm; a `Learner`.

    Parameters
    ----------
    members : sequence of Member
    data : sequence of TrainingData
        Each dataset once.
    steps : int
        Updates that the training is said to have; all but the first do nothing.
    """

    def __init__(self, members: Sequence[Member], data: Sequence[TrainingData], steps: int) -> None:
        self.members, self.data, self.steps = tuple(members), tuple(data), steps
        self.algorithm = cast(DirectAlgorithm, self.members[0].algorithm)
        self.shapes = self.data[0].shapes
        if any(item.shapes != self.shapes for item in self.data):
            raise ConfigError("datasets of different shapes cannot be solved together")
        self.networks = {
            name: FixedNetwork(
                name, spec, torch.zeros(len(self.members) * spec.ensemble, spec.size, dtype=torch.float64)
            )
            for name, spec in describe_networks(self.algorithm, self.shapes).items()
        }
        self.completed = 0
        self._metrics: dict[str, np.ndarray] = {}
        self._finite = np.ones(len(self.members), bool)

    def advance(self, updates: int) -> None:
        """Solve, if that was not done, and count the updates."""
        if self.completed == 0 and updates:
            draws = Draws([member.seed for member in self.members], torch.zeros(1, dtype=torch.int64), torch.float64)
            algorithms = [member.algorithm for member in self.members]
            solution = self.algorithm.solve(algorithms, [self.data[member.data] for member in self.members], draws)
            for name, content in solution.networks.items():
                self.networks[name].buffer.copy_(content.reshape(self.networks[name].buffer.shape))
            self._metrics = {name: value.double().numpy() for name, value in solution.metrics.items()}
            buffers = [network.buffer.view(len(self.members), -1) for network in self.networks.values()]
            self._finite = torch.isfinite(torch.cat(buffers, 1)).all(1).numpy()
        self.completed += updates

    def metrics(self) -> dict[str, np.ndarray]:
        """Return what the solution logged, once."""
        found, self._metrics = self._metrics, {}
        return found

    @property
    def frozen_at(self) -> list[int | None]:
        """0 for members whose solution is not finite, else None."""
        return [None if finite else 0 for finite in self._finite]

    def actor(self) -> Actor:
        """Return a snapshot of what every member acts with."""
        acting = [
            Acting(member.algorithm, data.observation_scale, data.action_scale, data.best_return, self.shapes)
            for member, data in ((member, self.data[member.data]) for member in self.members)
        ]
        return actor_of(acting, self.networks)

    def state(self, member: int | None = None) -> State:
        """Copy the solution of one member or of all."""
        chosen = range(len(self.members)) if member is None else range(member, member + 1)
        tensors = {}
        for name, network in self.networks.items():
            rows = slice(None) if member is None else network.rows(member)
            tensors[f"{name}/parameters"] = network.buffer[rows].clone()
        frozen_at = [_ALIVE if self._finite[index] else 0 for index in chosen]
        return State(self.completed, {}, tensors, [], frozen_at)

    def restore(self, state: State, member: int | None = None) -> None:
        """Set what `state` returned."""
        for name, network in self.networks.items():
            rows = slice(None) if member is None else network.rows(member)
            network.buffer[rows] = state.tensors[f"{name}/parameters"]
        chosen = slice(None) if member is None else slice(member, member + 1)
        self._finite[chosen] = [update == _ALIVE for update in state.frozen_at]
        self.completed = state.update
