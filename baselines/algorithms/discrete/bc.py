r"""Behaviour cloning of discrete actions: the cross-entropy of a softmax (Pomerleau 1991).

.. math:: L(\pi) = -E_{(s,a) \sim D} \log \pi(a | s)

The policy takes its likeliest action, or with `sampled` one at random by its probabilities, as in the Dataset Perspective
study (Schweighofer et al. 2022, arXiv 2111.04714), whose networks and settings are the defaults: three layers of 256 with
SELU, Adam 1e-4, batches of 128. (`BC` takes discrete actions too, from vectors: there they are classified by least squares.)

Deviations: the study samples; the default here does not, so that evaluation adds no noise to what was learned.
`DiscreteBC.dataset_perspective()` samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from assay.baselines.algorithms.algorithm import Losses, Memory, Phase, Setting
from assay.baselines.algorithms.discrete.action_values import DiscreteActions, of_taken, outputs_of, with_encoders
from assay.baselines.engine.acting import EpisodeDraws
from assay.baselines.engine.shapes import Shapes
from assay.baselines.networks import FixedNetwork, Specification
from assay.datasets.registry import register

__all__ = ["DiscreteBC"]


@register("discrete_bc", label="BC (discrete)")
class DiscreteBC(DiscreteActions):
    """Classification of the dataset's actions, from vectors and images.

    Examples
    --------
    >>> DiscreteBC.dataset_perspective().sampled
    True
    """

    acting: ClassVar[tuple[str, ...]] = ("actor", "actor_encoder")
    labels: ClassVar[tuple[str, ...]] = ("actions",)

    sampled: bool = False  # whether the policy acts by its probabilities

    def networks(self, shapes: Shapes) -> dict[str, Specification]:  # noqa: D102
        return self.network(shapes, "actor", shapes.action_size)

    def phases(self) -> tuple[Phase, ...]:  # noqa: D102
        return (Phase(loss),)

    def act(
        self, networks: Mapping[str, FixedNetwork], observations: Any, memory: Memory, draws: EpisodeDraws
    ) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        """Return the logits, with Gumbel noise where actions are sampled; the largest is taken."""
        logits = outputs_of(networks, "actor", observations, "frozen")
        if self.sampled:
            uniform = draws.uniform("action", logits.shape[-1]).clamp(min=2.0**-25)
            logits = logits - torch.log(-torch.log(uniform))
        return logits, {}


def loss(setting: Setting) -> Losses:
    """Cross-entropy of the actions taken."""
    logits = outputs_of(setting.networks, "actor", setting.batch.seen, "learned")  # [P, B, actions]
    entropy = -of_taken(torch.log_softmax(logits, -1), setting.batch.actions).mean(-1)
    return Losses(with_encoders(setting, {"actor": entropy}), {"actor_loss": entropy})
