r"""Discrete CQL: conservative Q-learning with one value per action (Kumar et al. 2020, arXiv 2006.04779).

Double Q-learning with a hard target copy, and the gap between the log-sum-exp over all actions and the action in the data:

.. math::
    L(Q) = E \, \rho(Q(s, a) - r - \gamma (1 - d) Q'(s', \arg\max_{a'} Q(s', a')))
        + \alpha \, E \, [\log \sum_{a'} e^{Q(s, a')} - Q(s, a)]

where rho is the Huber loss, quadratic within 1. The defaults are those of the generalization-gap study (Mediratta et al.
2024, arXiv 2312.05742; `facebookresearch/gen_dgrl`): Adam 5e-4, batch 256, alpha 4. The Dataset Perspective study
(Schweighofer et al. 2022, arXiv 2111.04714) has alpha 0.1, three layers of 256 with SELU, Adam 1e-4, batch 128 and a copy
every 100 updates: `DiscreteCQL.dataset_perspective()`.

Images pass through an encoder that the loss trains too. Deviations: the encoder is DQN's, not the ResNet of either study;
gen_dgrl's copy every 100 updates stands in for its `tau`, which that code does not use.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch.nn import functional

from assay.baselines.algorithms.algorithm import Algorithm, Losses, Memory, Phase, Setting
from assay.baselines.engine.acting import EpisodeDraws
from assay.baselines.engine.shapes import Observations, Shapes, split_observations
from assay.baselines.networks import MLP, ConvolutionalEncoder, FixedNetwork, Specification
from assay.datasets.registry import register

__all__ = ["DiscreteCQL"]


@register("discrete_cql", label="CQL (discrete)")
class DiscreteCQL(Algorithm):
    """Conservative Q-learning of discrete actions, from vectors and images.

    Examples
    --------
    >>> DiscreteCQL.dataset_perspective().alpha
    0.1
    """

    acting: ClassVar[tuple[str, ...]] = ("encoder", "critic")
    valued_by: ClassVar[tuple[str, ...]] = ("critic", "encoder")
    discrete_actions: ClassVar[bool] = True
    continuous_actions: ClassVar[bool] = False
    image_observations: ClassVar[bool] = True

    alpha: float = Field(4.0, ge=0)  # weight of the conservative term
    discount: float = Field(0.99, ge=0, le=1)
    return_steps: int = Field(1, gt=0)  # n of n-step returns
    learning_rate: float = Field(5e-4, gt=0)  # of Adam
    target_update_rate: float = Field(1.0, ge=0, le=1)  # of the target copy, each time that it moves
    target_update_every: int = Field(100, gt=0)  # updates between its moves
    batch_size: int = Field(256, gt=0)  # transitions per update
    hidden: tuple[int, ...] = (256, 256)  # widths of the hidden layers
    activation: Literal["relu", "selu"] = "relu"
    filters: tuple[tuple[int, int, int], ...] = ((32, 8, 4), (64, 4, 2), (64, 3, 1))  # (channels, kernel, stride)
    normalize_observations: bool = False  # (s - mean) / (std + 1e-3) over the dataset

    @classmethod
    def dataset_perspective(cls, **changes: Any) -> DiscreteCQL:
        """Return the settings of the Dataset Perspective study."""
        settings = {"alpha": 0.1, "learning_rate": 1e-4, "batch_size": 128, "hidden": (256, 256, 256)}
        return cls(**{**settings, "activation": "selu", **changes})

    def networks(self, shapes: Shapes) -> dict[str, Specification]:  # noqa: D102
        target: dict[str, Any] = {"target": True, "follow_every": self.target_update_every}
        encoder = ConvolutionalEncoder(
            shapes.observation_size,
            tuple(part.shape for part in shapes.images),
            self.filters,
            learning_rate="learning_rate",
            **target,
        )
        critic = MLP(
            encoder.outputs,
            shapes.action_size,
            self.hidden,
            activation=self.activation,
            learning_rate="learning_rate",
            **target,
        )
        return {"encoder": encoder, "critic": critic} if shapes.images else {"critic": critic}

    def phases(self) -> tuple[Phase, ...]:  # noqa: D102
        return (Phase(loss, follow="trained"),)

    def act(
        self, networks: Mapping[str, FixedNetwork], observations: Any, memory: Memory, draws: EpisodeDraws
    ) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        """Return the values of all actions; the largest is taken."""
        return action_values(networks, observations, "frozen"), {}

    def values(self, networks: Mapping[str, FixedNetwork], observations: Any, actions: torch.Tensor) -> torch.Tensor:
        """Return the values [P, 1, n] of the actions, whose entry is 1."""
        return (action_values(networks, observations, "frozen") * (actions > 0)).sum(-1)[:, None]


def action_values(
    networks: Mapping[str, FixedNetwork], observations: Observations, weights: Literal["learned", "frozen", "target"]
) -> torch.Tensor:
    """Return the values of all actions, [P, n, actions]."""
    features = observations
    if "encoder" in networks:
        features = networks["encoder"](*split_observations(observations), weights=weights)
    assert isinstance(features, torch.Tensor)
    return networks["critic"](features, weights=weights)


def loss(setting: Setting) -> Losses:
    """Huber loss of double Q-learning, plus the conservative gap."""
    networks, batch, h = setting.networks, setting.batch, setting.hyperparameters
    taken = batch.actions > 0  # [P, B, actions]
    with torch.no_grad():
        best = action_values(networks, batch.next_seen, "frozen").argmax(-1, keepdim=True)
        next_values = action_values(networks, batch.next_seen, "target").gather(-1, best).squeeze(-1)  # [P, B]
        targets = batch.rewards + h.discount * batch.bootstraps * next_values
    all_values = action_values(networks, batch.seen, "learned")
    values = (all_values * taken).sum(-1)  # [P, B]
    errors = functional.smooth_l1_loss(values, targets, reduction="none").mean(-1)
    gap = (torch.logsumexp(all_values, -1) - values).mean(-1)
    total = errors + h.alpha[:, 0] * gap
    metrics = {"critic_loss": errors, "conservative_gap": gap, "q_mean": values.mean(-1)}
    return Losses({name: total for name in ("encoder", "critic") if name in networks}, metrics)
