r"""CRR: critic-regularized regression (Wang et al. 2020, arXiv 2006.15134), for discrete actions.

The critic values the policy (equation 3, with target copies of both), and the policy is regressed on the data's actions
that the critic finds better than the policy's own (equation 1):

.. math::
    y &= r + \gamma (1 - d) \, E_{a' \sim \pi'(s')} Q'(s', a'), \quad L(Q) = E \, \rho(Q(s, a) - y) \\
    A(s, a) &= Q(s, a) - E_{\hat a \sim \pi(s)} Q(s, \hat a), \quad L(\pi) = -E \, f(A(s, a)) \log \pi(a | s) \\
    f &= 1[A > 0] \text{ (binary)} \quad \text{or} \quad f = \min(e^{A / \beta}, 20) \text{ (exponential)}

rho is the Huber loss, and the policy takes its likeliest action. Both losses see the networks as they were.

**The baseline.** For continuous actions the paper estimates the expectation of A by 4 samples of the policy. Of discrete
actions it is a sum, which is the default here: it has no variance, where few samples let some actions pass the filter by
chance. `baseline_samples=4` draws them, as the Dataset Perspective study does (Schweighofer et al. 2022, arXiv 2111.04714),
whose other settings are the defaults: binary, beta 1, a policy with a network of its own, three layers of 256 with SELU.

Actions that the data lacks keep the values that they began with, and count in the baseline as much as the policy takes them.
Where rewards are negative and the data narrow, these are the largest, and few actions pass the binary filter: the metric
`weight_mean` is the share that does.

Deviations: the critic is not distributional, and the Huber loss stands for its divergence, as in the study; the
expectation in y is a sum too; the policy does not sample from its softmax when it acts (the paper's CWP resamples actions
by their values).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
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
from assay.baselines.engine.randomness import Draws
from assay.baselines.engine.shapes import Shapes
from assay.baselines.networks import FixedNetwork, Specification
from assay.datasets.registry import register

__all__ = ["CRR"]

_LARGEST_WEIGHT = 20.0


@register("crr", label="CRR")
class CRR(BootstrappedActionValues):
    """Cloning of the actions that a critic finds better than the policy's.

    Examples
    --------
    >>> CRR(weighting="exponential", temperature=0.5).baseline_samples
    0
    """

    acting: ClassVar[tuple[str, ...]] = ("actor", "actor_encoder")

    weighting: Literal["binary", "exponential"] = "binary"  # f
    temperature: float = Field(default=1.0, gt=0)  # beta of the exponential f
    baseline_samples: int = Field(default=0, ge=0)  # of the policy, in the baseline; 0 is all actions, by probability

    def networks(self, shapes: Shapes) -> dict[str, Specification]:  # noqa: D102
        return super().networks(shapes) | self.network(shapes, "actor", shapes.action_size, **self.followed)

    def phases(self) -> tuple[Phase, ...]:  # noqa: D102
        return (Phase(partial(losses, weighting=self.weighting, samples=self.baseline_samples), follow="trained"),)

    def act(
        self, networks: Mapping[str, FixedNetwork], observations: Any, memory: Memory, draws: EpisodeDraws
    ) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        """Return the policy's logits; the largest is taken."""
        return outputs_of(networks, "actor", observations, "frozen"), {}


def losses(setting: Setting, *, weighting: Literal["binary", "exponential"], samples: int) -> Losses:
    """Huber loss of the policy's value, and the cross-entropy of the actions that pass the filter."""
    networks, batch, h = setting.networks, setting.batch, setting.hyperparameters
    with torch.no_grad():
        later = torch.softmax(outputs_of(networks, "actor", batch.next_seen, "target"), -1)
        next_values = (later * action_values(networks, batch.next_seen, "target")).sum(-1)  # [P, B]
        targets = batch.rewards + h.discount * batch.bootstraps * next_values
    all_values = action_values(networks, batch.seen, "learned")  # [P, B, actions]
    values = of_taken(all_values, batch.actions)
    errors = huber(values, targets)

    log_policy = torch.log_softmax(outputs_of(networks, "actor", batch.seen, "learned"), -1)
    with torch.no_grad():
        advantages = values - baseline(all_values, log_policy, samples, setting.draws)
        if weighting == "binary":
            weights = (advantages > 0).to(values.dtype)
        else:
            weights = torch.exp(advantages / h.temperature).clamp(max=_LARGEST_WEIGHT)
    cloning = -(weights * of_taken(log_policy, batch.actions)).mean(-1)

    metrics = {"critic_loss": errors, "actor_loss": cloning, "q_mean": values.mean(-1), "weight_mean": weights.mean(-1)}
    return Losses(with_encoders(setting, {"critic": errors, "actor": cloning}), metrics)


def baseline(values: torch.Tensor, log_policy: torch.Tensor, samples: int, draws: Draws) -> torch.Tensor:
    """Return what the policy expects of values [P, B, actions]: [P, B], by probability or over so many samples."""
    if not samples:
        return (log_policy.exp() * values).sum(-1)
    uniform = draws.uniform("actions of the baseline", values.shape[1], samples)  # [P, B, m]
    cumulative = log_policy.exp().cumsum(-1).contiguous()
    chosen = torch.searchsorted(cumulative, uniform, right=True).clamp(max=values.shape[-1] - 1)
    return values.gather(-1, chosen).mean(-1)
