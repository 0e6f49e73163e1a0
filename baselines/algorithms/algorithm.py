"""What an algorithm is: a frozen configuration, its networks, and one pure loss per network.

Losses are written once for a whole population. Tensors are [P, B, ...] (members, batch, ...), an ensemble of critics
gives [P, K, B], a loss is [P], and every float field of the configuration arrives as a [P, 1] tensor, so that members
may differ in it. All other fields (sizes, switches) are the same for a whole population.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from types import SimpleNamespace
from typing import Any, ClassVar, TypeAlias, cast

import torch

from assay.baselines.algorithms.presets import presets_of
from assay.baselines.algorithms.registry import REGISTRY
from assay.baselines.engine.data import ActionScale, TrainingData
from assay.baselines.engine.randomness import Draws
from assay.baselines.networks import FixedNetwork, Network, Specification
from assay.datasets.dataset import Dataset
from assay.datasets.registry import Registry

__all__ = ["Algorithm", "Batch", "Losses", "Phase", "Setting"]


@dataclass(frozen=True)
class Batch:
    """One batch per member, drawn from its dataset.

    Observations are normalized and actions scaled to [-1, 1] as the algorithm asks for; `bootstraps` is 0 where the
    MDP ended and 1 elsewhere, at truncations too. With n-step returns, `rewards` are discounted sums, and
    `next_observations` and `bootstraps` (times the discount of the steps between) those of the last step. A sequence
    algorithm gets [P, B, T, ...] instead, padded with zeros behind the episode's end, where `valid` is False.
    """

    observations: torch.Tensor  # [P, B, observation]
    actions: torch.Tensor  # [P, B, action]
    rewards: torch.Tensor  # [P, B]
    next_observations: torch.Tensor  # [P, B, observation]
    bootstraps: torch.Tensor  # [P, B]
    next_actions: torch.Tensor | None = None  # [P, B, action], with extra_columns = ("next_actions",)
    has_next_actions: torch.Tensor | None = None  # [P, B], 1 where the episode goes on in the data
    returns_to_go: torch.Tensor | None = None  # [P, B, T], with extra_columns = ("returns_to_go",)
    timesteps: torch.Tensor | None = None  # [P, B, T], since the episode's first, with extra_columns = ("timesteps",)
    valid: torch.Tensor | None = None  # [P, B, T] bool


@dataclass(frozen=True)
class Losses:
    """What a phase computes: a loss [P] per network that it trains, and numbers [P] worth logging."""

    of: Mapping[str, torch.Tensor]
    metrics: Mapping[str, torch.Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Setting:
    """What a loss sees: the networks, the batch, the hyperparameters as [P, 1] tensors, and random draws."""

    networks: Mapping[str, Network]
    batch: Batch
    hyperparameters: Any
    draws: Draws


LossFunction: TypeAlias = Callable[[Setting], Losses]


@dataclass(frozen=True)
class Phase:
    """Losses computed together, then one optimizer step for each of their networks, then target updates.

    Parameters
    ----------
    losses : callable
    every : int
        Take part in each `every`-th update only (delayed actors).
    follow : tuple of str
        Networks whose target copies move afterwards, at the rate `target_update_rate`.
    """

    losses: LossFunction
    every: int = 1
    follow: tuple[str, ...] = ()


class Algorithm(ABC):
    """Base of all algorithms. Every subclass is a frozen pydantic dataclass with the published defaults.

    A subclass has the fields `batch_size` (int) and `normalize_observations` (bool). It may have `return_steps` (int),
    the n of n-step returns, or `sequence_length` (int), the T of its batches of sequences.
    """

    registry: ClassVar[Registry[type[Algorithm]]] = REGISTRY
    name: ClassVar[str]  # how configurations name it
    label: ClassVar[str]  # how papers write it
    extra_columns: ClassVar[tuple[str, ...]] = ()  # of TrainingData.of
    acting: ClassVar[tuple[str, ...]] = ("actor",)  # the networks that `act` uses
    discrete_actions: ClassVar[bool] = False  # whether it learns them, one entry for each

    batch_size: int
    normalize_observations: bool
    return_steps: int = 1
    sequence_length: int = 0

    @abstractmethod
    def networks(self, observation_size: int, action_size: int) -> Mapping[str, Specification]:
        """Describe the networks; the one that acts is called `actor`, critics (of s and a) `critic`."""

    @abstractmethod
    def phases(self) -> tuple[Phase, ...]:
        """List the parts of one update, in order."""

    def act(
        self, networks: Mapping[str, FixedNetwork], observations: torch.Tensor, **history: torch.Tensor
    ) -> torch.Tensor:
        """Return the actions [P, n, action] in [-1, 1] taken in evaluation, for normalized observations [P, n, ...].

        An algorithm with a `sequence_length` is given the last steps, [P, n, t, ...], and what else was in them.
        """
        return networks["actor"](observations, weights="frozen")

    def training_data(self, dataset: Dataset, action_scale: ActionScale) -> TrainingData:
        """Lay a dataset out for training."""
        return TrainingData.of(
            dataset.transitions(keep_terminal=True),
            action_scale,
            normalize=self.normalize_observations,
            extra=self.extra_columns,
        )

    def data_parameters(self) -> dict[str, Any]:
        """Return what `training_data` depends on; jobs that agree in it share the laid out dataset."""
        return {"normalize_observations": self.normalize_observations}

    @classmethod
    def values_for(cls, dataset: Dataset) -> dict[str, Any]:
        """Return the fields that the authors chose for a dataset like this one.

        Raises
        ------
        ConfigError
            If there is no table of presets beside the algorithm's file, or it has nothing for the dataset.
        """
        return presets_of(cls).values_for(dataset)

    def parameters(self) -> dict[str, Any]:
        """Return the configuration as JSON values."""
        values = {item.name: getattr(self, item.name) for item in fields(cast(Any, self))}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}

    @classmethod
    def member_fields(cls) -> tuple[str, ...]:
        """Names of the float fields: those in which members of a population may differ."""
        return tuple(item.name for item in fields(cast(Any, cls)) if item.type in ("float", float))

    def static_parameters(self) -> dict[str, Any]:
        """Return the fields that all members of a population share."""
        return {key: value for key, value in self.parameters().items() if key not in self.member_fields()}


def stack_hyperparameters(members: list[Algorithm], like: torch.Tensor) -> Any:
    """Return a namespace of [P, 1] tensors, one per float field, with `like`'s dtype and device."""
    names = members[0].member_fields()
    values = {name: like.new_tensor([[getattr(member, name)] for member in members]) for name in names}
    return SimpleNamespace(**values)
