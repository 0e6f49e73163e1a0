"""One value per action: the fields, the networks and the way to act that the algorithms of this room share.

::

    s -> encoder (where there are images) -> critic -> one output per action [P, B, actions]

The defaults are those of the Dataset Perspective study (Schweighofer et al. 2022, arXiv 2111.04714): three layers of 256
with SELU, Adam 1e-4, batches of 128, observations as they are, a Huber loss that is quadratic within 1 and, where there is a
target copy, a hard one every 100 updates. Its discounts are 0.95 for CartPole and MiniGrid and 0.99 for MountainCar and
MinAtar: the JSON file beside each algorithm has them by environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import pydantic
import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch.nn import functional

from assay.baselines.algorithms.algorithm import Algorithm, Memory, Setting
from assay.baselines.algorithms.presets import presets_of
from assay.baselines.engine.acting import EpisodeDraws
from assay.baselines.engine.shapes import Observations, Shapes, split_observations
from assay.baselines.networks import MLP, ConvolutionalEncoder, FixedNetwork, Specification
from assay.datasets.registry import Filters, Widths

__all__ = [
    "ActionValues",
    "BootstrappedActionValues",
    "DiscreteActions",
    "action_values",
    "huber",
    "of_taken",
    "outputs_of",
    "per_action",
    "with_encoders",
]

Weights = Literal["learned", "frozen", "target"]


@dataclass(frozen=True, config=pydantic.ConfigDict(extra="forbid"))
class DiscreteActions(Algorithm):
    """Base of algorithms whose networks have outputs for every action."""

    discrete_actions: ClassVar[bool] = True
    continuous_actions: ClassVar[bool] = False
    image_observations: ClassVar[bool] = True

    learning_rate: float = Field(default=1e-4, gt=0, kw_only=True)  # of Adam, for every network
    batch_size: int = Field(default=128, gt=0, kw_only=True)  # transitions per update
    hidden: Widths = Field(default=(256, 256, 256), kw_only=True)  # widths of the hidden layers
    activation: Literal["relu", "selu"] = Field(default="selu", kw_only=True)
    # (channels, kernel, stride); None goes by the image's size
    filters: Filters | None = Field(default=None, kw_only=True)
    normalize_observations: bool = Field(default=False, kw_only=True)  # (s - mean) / (std + 1e-3) over the dataset

    @classmethod
    def dataset_perspective(cls, **changes: Any) -> Self:
        """Return the settings of the Dataset Perspective study; `values_for(dataset)` has its discounts too."""
        return cls(**{**(presets_of(cls).otherwise or {}), **changes})

    def network(
        self, shapes: Shapes, name: str, outputs: int, *, shared: bool = False, **options: Any
    ) -> dict[str, Specification]:
        """Describe a perceptron of the observations, and its encoder where there are images.

        Parameters
        ----------
        shapes : Shapes
        name : str
            Of the perceptron; its encoder is `encoder_of(name)`.
        outputs : int
        shared : bool
            Whether it uses the critic's encoder, and brings none.
        **options
            Of both specifications, such as a target copy.
        """
        options = {"learning_rate": "learning_rate", **options}
        encoder = ConvolutionalEncoder(
            shapes.observation_size,
            tuple(part.shape for part in shapes.images),
            self.filters,
            largest=tuple(part.largest for part in shapes.images),
            **options,
        )
        head = MLP(encoder.outputs, outputs, self.hidden, activation=self.activation, **options)
        found: dict[str, Specification] = {}
        if shapes.images and not shared:
            found[encoder_of(name)] = encoder
        return found | {name: head}


@dataclass(frozen=True, config=pydantic.ConfigDict(extra="forbid"))
class ActionValues(DiscreteActions):
    """Base of algorithms whose critic has one output per action."""

    acting: ClassVar[tuple[str, ...]] = ("critic", "encoder")
    valued_by: ClassVar[tuple[str, ...]] = ("critic", "encoder")

    discount: float = Field(default=0.99, ge=0, le=1, kw_only=True)

    def networks(self, shapes: Shapes) -> dict[str, Specification]:  # noqa: D102
        return self.network(shapes, "critic", shapes.action_size)

    def act(
        self, networks: Mapping[str, FixedNetwork], observations: Any, memory: Memory, draws: EpisodeDraws
    ) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        """Return the values of all actions; the largest is taken."""
        return self.all_values(networks, observations).mean(1), {}

    def values(self, networks: Mapping[str, FixedNetwork], observations: Any, actions: torch.Tensor) -> torch.Tensor:
        """Return the values [P, K, n] of the actions, whose entry is 1."""
        return of_taken(self.all_values(networks, observations), actions[:, None])

    def all_values(self, networks: Mapping[str, FixedNetwork], observations: Any) -> torch.Tensor:
        """Return the values [P, K, n, actions] of all actions, one per critic of the ensemble."""
        return action_values(networks, observations, "frozen")[:, None]


@dataclass(frozen=True, config=pydantic.ConfigDict(extra="forbid"))
class BootstrappedActionValues(ActionValues):
    """Base of those that bootstrap on a hard target copy."""

    return_steps: int = Field(default=1, gt=0, kw_only=True)  # n of n-step returns
    target_update_rate: float = Field(default=1.0, ge=0, le=1, kw_only=True)  # of the target copy when it moves
    target_update_every: int = Field(default=100, gt=0, kw_only=True)  # updates between its moves

    @property
    def followed(self) -> dict[str, Any]:
        """Options of a network with a target copy."""
        return {"target": True, "follow_every": self.target_update_every}

    def networks(self, shapes: Shapes) -> dict[str, Specification]:  # noqa: D102
        return self.network(shapes, "critic", shapes.action_size, **self.followed)


def encoder_of(name: str) -> str:
    """Name the encoder of a network."""
    return "encoder" if name == "critic" else f"{name}_encoder"


def outputs_of(
    networks: Mapping[str, FixedNetwork], name: str, observations: Observations, weights: Weights
) -> torch.Tensor:
    """Return what a network says of observations, [P, n, outputs], or [P, K, n, outputs] of an ensemble.

    Images pass through the network's own encoder, or the critic's where it has none.
    """
    if isinstance(observations, torch.Tensor):
        return networks[name](observations, weights=weights)
    encoder = networks[encoder_of(name) if encoder_of(name) in networks else "encoder"]
    features = encoder(*split_observations(observations), weights=weights)
    return networks[name](features, weights=weights, repeated=encoder.spec.ensemble > 1)


def action_values(networks: Mapping[str, FixedNetwork], observations: Observations, weights: Weights) -> torch.Tensor:
    """Return what the critic says of observations, [P, n, outputs]."""
    return outputs_of(networks, "critic", observations, weights)


def per_action(outputs: torch.Tensor, count: int) -> torch.Tensor:
    """Return outputs [..., actions * count] of a critic with so many per action as [..., actions, count]."""
    return outputs.view(*outputs.shape[:-1], -1, count)


def with_encoders(setting: Setting, losses: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the losses of networks with those of their encoders: an encoder descends the sum of all that it serves."""
    found = dict(losses)
    for name, loss in losses.items():
        encoder = encoder_of(name) if encoder_of(name) in setting.networks else "encoder"
        if encoder in setting.networks:
            found[encoder] = found[encoder] + loss if encoder in found else loss
    return found


def of_taken(values: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
    """Return the entries [...] of values [..., actions] at actions [..., actions], which are 1 in one entry."""
    return (values * (actions > 0)).sum(-1)


def huber(values: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean over the batch of x^2 / 2 where |x| < 1, and |x| - 1/2 elsewhere: [P] for [P, B]."""
    assert values.shape == targets.shape
    return functional.smooth_l1_loss(values, targets, reduction="none").mean(-1)
