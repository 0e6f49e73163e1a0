"""Supervised training on the population engine, with the best weights on held-out rows kept.

All members of a model (seeds x splits x numbers of past states) are one population. Every so often the host stops, scores
each member on the rows that were held out from it, and copies the weights of those that are better than ever.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from assay.baselines.algorithms.algorithm import Algorithm
from assay.baselines.engine.data import ActionScale, ObservationScale, TrainingData
from assay.baselines.engine.population import Member, Population
from assay.baselines.networks import FixedNetwork
from assay.datasets.errors import ConfigError, DatasetError
from assay.datasets.generators import block_generator

__all__ = ["Rows", "Trained", "member_seeds", "train_best"]

_CHECKS = 40  # of the held-out rows, in a training
_MOST_CHECKED = 4096  # rows of each member, in a check

Networks = Mapping[str, FixedNetwork]
Score = Callable[[Networks, torch.Tensor, torch.Tensor], torch.Tensor]
"""(networks, inputs [P, V, in], targets [P, V, out]) -> [P, V], lower is better."""


@dataclass(frozen=True)
class Rows:
    """What one member is fitted to, or what is held out from it.

    Parameters
    ----------
    inputs : (M, in) float32
    targets : (M, out) float32
    """

    inputs: np.ndarray
    targets: np.ndarray


@dataclass(frozen=True)
class Trained:
    """The best networks of all members, and how good they were.

    Parameters
    ----------
    networks : mapping
        Fixed, of all members.
    losses : (P,) float64
        The least score on the held-out rows.
    updates : (P,) int64
        Updates after which it was reached.
    last_losses : (P,) float64
        The score after the last update.
    device : torch.device
    """

    networks: Networks
    losses: np.ndarray
    updates: np.ndarray
    last_losses: np.ndarray
    device: torch.device

    def of(self, members: np.ndarray) -> Networks:
        """Return the networks of some members."""
        chosen = torch.as_tensor(np.asarray(members, np.int64), device=self.device)
        return {
            name: FixedNetwork(name, network.spec, network.buffer[chosen]) for name, network in self.networks.items()
        }


def member_seeds(seed: int, purpose: str, count: int) -> list[int]:
    """Return the seeds of so many members; the first of them do not depend on the count.

    Examples
    --------
    >>> member_seeds(0, "example", 3)[:2] == member_seeds(0, "example", 2)
    True
    """
    found: list[int] = block_generator(seed, purpose, "members", 0).integers(2**62, size=count).tolist()
    return found


def train_best(
    algorithm: Algorithm,
    fitted_to: Sequence[Rows],
    held_out: Sequence[Rows],
    data_of: Sequence[int],
    seeds: Sequence[int],
    score: Score,
    *,
    steps: int,
    device: str = "cpu",
    progress: Callable[[int], None] | None = None,
) -> Trained:
    """Train members together and return, of each, the weights that were best on the rows held out from it.

    Parameters
    ----------
    algorithm : Algorithm
        Of batches with `observations` (the inputs) and `actions` (the targets).
    fitted_to, held_out : sequence of Rows
        One entry per data set.
    data_of : sequence of int
        The data set of each member.
    seeds : sequence of int
        One per member.
    score : callable
    steps : int
        Updates.
    device : str
    progress : callable, optional
        Called with the updates done.

    Raises
    ------
    DatasetError
        If a member's loss was not finite from the first check on.
    """
    if steps < 1:
        raise ConfigError(f"steps={steps}: a model needs at least one update")
    population = Population(
        [Member(algorithm, seed, number) for seed, number in zip(seeds, data_of)],
        [_training_data(rows) for rows in fitted_to],
        steps,
        device=device,
    )
    checked = [_thinned(held_out[number]) for number in data_of]
    longest = max(len(rows.inputs) for rows in checked)
    inputs = torch.from_numpy(np.stack([np.resize(rows.inputs, (longest, rows.inputs.shape[1])) for rows in checked]))
    targets = torch.from_numpy(
        np.stack([np.resize(rows.targets, (longest, rows.targets.shape[1])) for rows in checked])
    )
    counts = torch.tensor([len(rows.inputs) for rows in checked])
    real = (torch.arange(longest) < counts[:, None]).to(device)  # the rows behind are repetitions
    inputs, targets = inputs.to(device), targets.to(device)

    best = {name: network.buffer.clone() for name, network in population.networks.items()}
    losses = torch.full((len(seeds),), torch.inf, dtype=torch.float64, device=device)
    updates = torch.zeros(len(seeds), dtype=torch.int64, device=device)
    last = losses
    while population.completed < steps:
        population.advance(min(max(1, steps // _CHECKS), steps - population.completed))
        with torch.no_grad():
            scores = score(population.networks, inputs, targets).double()
        last = (scores * real).sum(1) / real.sum(1)
        better = last < losses  # False for NaN
        losses, updates = torch.where(better, last, losses), torch.where(better, population.update, updates)
        for name, network in population.networks.items():
            best[name][better] = network.buffer[better]
        if progress is not None:
            progress(population.completed)
    if not torch.isfinite(losses).all():
        raise DatasetError(
            f"the model of member {int((~torch.isfinite(losses)).nonzero()[0])} diverged before its first check; "
            "lower the learning rate"
        )
    networks = {name: FixedNetwork(name, item.spec, best[name]) for name, item in population.networks.items()}
    return Trained(networks, losses.cpu().numpy(), updates.cpu().numpy(), last.cpu().numpy(), torch.device(device))


def _training_data(rows: Rows) -> TrainingData:
    width, size = rows.inputs.shape[1], rows.targets.shape[1]
    return TrainingData(
        np.concatenate([rows.inputs, rows.targets], axis=1, dtype=np.float32),
        (("observations", width), ("actions", size)),
        np.ones(len(rows.inputs), np.int32),
        ObservationScale(np.zeros(width), np.ones(width)),
        ActionScale(np.zeros(size), np.ones(size)),
        best_return=0.0,
        scalars=(),
    )


def _thinned(rows: Rows) -> Rows:
    """Take rows evenly where there are many, so that a check stays cheap beside the updates."""
    count = len(rows.inputs)
    chosen = np.linspace(0, count - 1, min(count, _MOST_CHECKED)).round().astype(np.int64)
    return Rows(rows.inputs[chosen], rows.targets[chosen])
