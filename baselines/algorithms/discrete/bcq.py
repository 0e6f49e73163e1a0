r"""Discrete BCQ: Q-learning among the actions that the data shows (Fujimoto et al. 2019, arXiv 1910.01708).

A model G of the behaviour policy, a softmax over logits i(s), decides which actions may be chosen: those whose probability
is at least the share tau of the likeliest one's (equation 14). Q-learning and acting maximize over these alone:

.. math::
    A(s) &= \{a : G(a | s) \ge \tau \max_{a'} G(a' | s)\} \\
    y &= r + \gamma (1 - d) \, Q'(s', \arg\max_{a' \in A(s')} Q(s', a')) \\
    L(Q) &= E \, \rho(Q(s, a) - y), \quad L(G) = E \, [-\log G(a | s) + \lambda \lVert i(s) \rVert^2 / |A|]

rho is the Huber loss. Threshold 0 is double Q-learning; threshold 1 leaves the likeliest action only, which is behaviour
cloning. With images, Q and G share an encoder, which descends the sum of both losses.

The defaults are those of the generalization-gap study (Mediratta et al. 2024, arXiv 2312.05742): threshold 0.5, Adam 5e-4,
batch 512. The Dataset Perspective study (Schweighofer et al. 2022, arXiv 2111.04714) has threshold 0.3, Adam 1e-4, batch 128
and three layers of 256 with SELU: `DiscreteBCQ.dataset_perspective()`.

Deviations: the authors' code asks for a probability above the share, by which threshold 1 would leave no action; without
images, Q and G share no layers; the encoder is that of `networks.encoder`, not the ResNet of the generalization-gap study.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field

from assay.baselines.algorithms.algorithm import Losses, Memory, Phase, Setting
from assay.baselines.algorithms.discrete.action_values import (
    BootstrappedActionValues,
    action_values,
    huber,
    of_taken,
    outputs_of,
    with_encoders,
)
from assay.baselines.engine.acting import EpisodeDraws
from assay.baselines.engine.shapes import Shapes
from assay.baselines.networks import FixedNetwork, Specification
from assay.datasets.registry import Widths, register

__all__ = ["DiscreteBCQ", "among_likely"]


@register("discrete_bcq", label="BCQ (discrete)")
class DiscreteBCQ(BootstrappedActionValues):
    """Q-learning that chooses among the actions of the data.

    Examples
    --------
    >>> DiscreteBCQ.dataset_perspective().threshold
    0.3
    """

    acting: ClassVar[tuple[str, ...]] = ("critic", "behaviour", "encoder")

    threshold: float = Field(0.5, ge=0, le=1)  # tau, share of the likeliest action's probability
    logit_penalty: float = Field(1e-2, ge=0)  # lambda
    learning_rate: float = Field(default=5e-4, gt=0, kw_only=True)  # of Adam, for every network
    batch_size: int = Field(default=512, gt=0, kw_only=True)  # transitions per update
    hidden: Widths = Field(default=(256, 256), kw_only=True)  # widths of the hidden layers
    activation: Literal["relu", "selu"] = Field(default="relu", kw_only=True)

    def networks(self, shapes: Shapes) -> dict[str, Specification]:  # noqa: D102
        behaviour = self.network(shapes, "behaviour", shapes.action_size, shared=True)
        return super().networks(shapes) | behaviour

    def phases(self) -> tuple[Phase, ...]:  # noqa: D102
        return (Phase(losses, follow="trained"),)

    def act(
        self, networks: Mapping[str, FixedNetwork], observations: Any, memory: Memory, draws: EpisodeDraws
    ) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        """Return the values of the likely actions; the largest is taken."""
        logits = outputs_of(networks, "behaviour", observations, "frozen")
        values = action_values(networks, observations, "frozen")
        return among_likely(values, logits, memory.hyperparameters.threshold), {}


def losses(setting: Setting) -> Losses:
    """Huber loss of Q-learning among likely actions, and the cross-entropy of the behaviour model."""
    networks, batch, h = setting.networks, setting.batch, setting.hyperparameters
    with torch.no_grad():
        next_logits = outputs_of(networks, "behaviour", batch.next_seen, "frozen")
        choosing = among_likely(action_values(networks, batch.next_seen, "frozen"), next_logits, h.threshold)
        later = action_values(networks, batch.next_seen, "target")
        next_values = later.gather(-1, choosing.argmax(-1, keepdim=True)).squeeze(-1)  # [P, B]
        targets = batch.rewards + h.discount * batch.bootstraps * next_values
    values = of_taken(action_values(networks, batch.seen, "learned"), batch.actions)
    errors = huber(values, targets)

    logits = outputs_of(networks, "behaviour", batch.seen, "learned")  # [P, B, actions]
    entropy = -of_taken(torch.log_softmax(logits, -1), batch.actions).mean(-1)
    cloning = entropy + h.logit_penalty[:, 0] * logits.square().mean((1, 2))

    metrics = {"critic_loss": errors, "behaviour_loss": cloning, "q_mean": values.mean(-1)}
    return Losses(with_encoders(setting, {"critic": errors, "behaviour": cloning}), metrics)


def among_likely(values: torch.Tensor, logits: torch.Tensor, threshold: torch.Tensor) -> torch.Tensor:
    """Return values [P, n, actions], the smallest number where an action is not likely enough; threshold is [P, 1].

    Examples
    --------
    >>> logits = torch.log(torch.tensor([[[0.6, 0.3, 0.1]]]))
    >>> among_likely(torch.tensor([[[1.0, 2.0, 3.0]]]), logits, torch.tensor([[0.4]])).argmax().item()
    1
    """
    shares = torch.exp(logits - logits.amax(-1, keepdim=True))  # of the likeliest action's probability
    return values.masked_fill(shares < threshold[..., None], torch.finfo(values.dtype).min)
