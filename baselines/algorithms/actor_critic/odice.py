r"""ODICE: correction of distributions by an orthogonal gradient (Mao et al. 2024, arXiv 2402.00348).

A state value alone, from the dual of a regularized problem over visits, and a policy cloned with its weights: no action outside
the data is ever valued. With the conjugate f* of a divergence, V' the slowly following copy (the smaller of two), and residuals
that pass the gradient through V(s) or through V(s') only,

.. math::
    \delta_f &= r + \gamma (1 - d) V'(s') - V(s), \quad \delta_b = r + \gamma (1 - d) V(s') - V'(s) \\
    g_f &= \nabla E \, \lambda f^*(\delta_f), \quad g_b = \nabla E \, \lambda \eta f^*(\delta_b) \\
    g &= \nabla (1 - \lambda) E \, V(s) + g_f + g_b - \frac{\langle g_f, g_b \rangle}{\langle g_f, g_f \rangle} g_f \\
    L(\pi) &= -E \, \min(w, 100) \log \pi(a | s) .

So of the backward gradient only what is orthogonal to the forward one is kept. The inner products run over all numbers of a
member's value networks. Pearson's chi-square has f*(x) = x w - (w - 1)^2 with w = max(x / 2 + 1, 0); the reverse KL has
f*(x) = w = e^(x - 1). `gradient="true"` takes one residual with the gradient through both values, `"semi"` leaves the backward part out.
All losses see the networks as they were. The policy is a Gaussian with state-independent standard deviation; it acts by its mean,
clipped to [-1, 1].

`variant="released"`, the default, weighs cloning by max(delta_f, 0), as the published numbers of github.com/maoliyuan/ODICE-Pytorch
(8d544c7) do; "paper" by f*'s own optimum w = max(delta_f / 2 + 1, 0), which keeps some weight where the residual is negative. With the
reverse KL both are the same.

Deviations from that code:

- lambda is 0.6, the default of its script; its class has 0.8. Published values per dataset are in the paper's appendix D only.
- Rewards are scaled so that returns of the dataset span `return_range` (1,000 steps there); all episodes count, there only those
  that ended. Where all returns are equal this is an error.
- Imitation from observations is not here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, cast

import numpy as np
import torch
from pydantic import Field

from assay.baselines.algorithms.algorithm import (
    Algorithm,
    Combined,
    DatasetWeights,
    Losses,
    Memory,
    Phase,
    Setting,
)
from assay.baselines.algorithms.distributions import gaussian_log_probability
from assay.baselines.engine.acting import EpisodeDraws
from assay.baselines.engine.data import ActionScale, TrainingData
from assay.baselines.engine.shapes import Shapes
from assay.baselines.networks import MLP, FixedNetwork, Network
from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError
from assay.datasets.registry import Widths, register

__all__ = ["ODICE"]

_LARGEST_WEIGHT = 100.0
_LOG_STD_RANGE = (-5.0, 2.0)
_SMALL = 1e-10  # of <g_f, g_f>, which is 0 where all delta_f are below -2


@register("odice", label="ODICE")
class ODICE(Algorithm):
    """DICE with the orthogonal part of the backward gradient, with the published defaults for locomotion.

    Examples
    --------
    >>> ODICE(gradient="semi").gradient
    'semi'
    """

    dual_weight: float = Field(default=0.6, ge=0, le=1)  # lambda
    backward_weight: float = Field(default=1.0, ge=0)  # eta
    discount: float = Field(default=0.99, ge=0, le=1)
    return_steps: int = Field(default=1, gt=0)  # n of n-step returns
    target_update_rate: float = Field(default=0.005, ge=0, le=1)
    value_learning_rate: float = Field(default=2e-4, gt=0)
    actor_learning_rate: float = Field(default=2e-4, gt=0)
    actor_decay: float = Field(default=1e-4, ge=0)  # L2 of the policy, which Adam sees as a part of the gradient
    batch_size: int = Field(default=256, gt=0)  # transitions per update
    hidden: Widths = (256, 256)  # widths of V's hidden layers
    actor_hidden: Widths = (1024, 1024)
    value_layer_norm: bool = True  # off for AntMaze
    values_in_parallel: int = Field(default=2, gt=0, le=2)  # twin V; one for AntMaze large and umaze-diverse
    gradient: Literal["orthogonal", "true", "semi"] = "orthogonal"
    divergence: Literal["pearson", "reverse_kl"] = "pearson"
    variant: Literal["released", "paper"] = "released"  # weights of cloning
    return_range: float = Field(
        default=1000.0, ge=0
    )  # what returns of the data span once rewards are scaled; 0 leaves rewards
    reward_factor: float = 1.0  # of rewards after that; for AntMaze 3 r - 3
    reward_shift: float = 0.0
    normalize_observations: bool = False  # (s - mean) / (std + 1e-3) over the dataset
    dataset_weights: DatasetWeights = "draws"  # how the dataset's weights count: draws, losses or batch_losses

    def networks(self, shapes: Shapes) -> dict[str, MLP]:  # noqa: D102
        value = MLP(
            shapes.observation_size,
            1,
            self.hidden,
            learning_rate="value_learning_rate",
            ensemble=self.values_in_parallel,
            target=True,
            layer_norm=self.value_layer_norm,
            norm_before_activation=True,
        )
        actor = MLP(
            shapes.observation_size,
            shapes.action_size,
            self.actor_hidden,
            learning_rate="actor_learning_rate",
            state_independent=shapes.action_size,
        )
        return {"value": value, "actor": actor}

    def phases(self) -> tuple[Phase, ...]:  # noqa: D102
        chosen = partial(
            losses, gradient=self.gradient, conjugate=_CONJUGATES[self.divergence], weigh=self._cloning_weight
        )
        return (Phase(chosen, follow=("value",)),)

    def _cloning_weight(self, residuals: torch.Tensor) -> torch.Tensor:
        if self.variant == "released" and self.divergence == "pearson":
            return residuals.clamp(min=0.0)
        return visit_ratio(residuals) if self.divergence == "pearson" else reverse_kl_conjugate(residuals)

    def act(  # noqa: D102
        self, networks: Mapping[str, FixedNetwork], observations: Any, memory: Memory, draws: EpisodeDraws
    ) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        return networks["actor"](observations, weights="frozen").clamp(-1.0, 1.0), {}

    def training_data(self, dataset: Dataset, action_scale: ActionScale) -> TrainingData:  # noqa: D102
        scale = self.reward_factor * (self.return_range / _span_of_returns(dataset) if self.return_range else 1.0)
        return super().training_data(dataset, action_scale).with_rewards(scale, self.reward_shift)

    def data_parameters(self) -> dict[str, Any]:  # noqa: D102
        rewards = {name: getattr(self, name) for name in ("return_range", "reward_factor", "reward_shift")}
        return {**super().data_parameters(), **rewards}


def _span_of_returns(dataset: Dataset) -> float:
    returns = dataset.returns[np.isfinite(dataset.returns)]
    if not len(returns) or not (span := float(returns.max() - returns.min())):
        raise ConfigError(
            f"ODICE scales rewards by the range of the returns, and all {len(returns)} episodes of this dataset have the same: "
            "set return_range=0 to leave its rewards as they are"
        )
    return span


# -------------------------------------------------------------------- the divergence


def visit_ratio(residuals: torch.Tensor) -> torch.Tensor:
    """Return w = max(x / 2 + 1, 0), where Pearson's conjugate takes its maximum: its derivative."""
    return (0.5 * residuals + 1.0).clamp(min=0.0)


def pearson_conjugate(residuals: torch.Tensor) -> torch.Tensor:
    """Return f*(x) = x w - (w - 1)^2.

    Examples
    --------
    >>> pearson_conjugate(torch.tensor([-4.0, 0.0, 2.0])).tolist()
    [-1.0, 0.0, 3.0]
    """
    ratio = visit_ratio(residuals)
    return residuals * ratio - (ratio - 1.0).square()


def reverse_kl_conjugate(residuals: torch.Tensor) -> torch.Tensor:
    """Return f*(x) = e^(x - 1), which is its own derivative."""
    return torch.exp(residuals - 1.0)


_CONJUGATES = {"pearson": pearson_conjugate, "reverse_kl": reverse_kl_conjugate}


# -------------------------------------------------------------------- losses


def losses(
    setting: Setting,
    gradient: str,
    conjugate: Callable[[torch.Tensor], torch.Tensor],
    weigh: Callable[[torch.Tensor], torch.Tensor],
) -> Losses:
    """Compute the parts of the value's gradient and the weighted cloning, on the networks as they are before the update."""
    batch, h = setting.batch, setting.hyperparameters
    value, weight, eta = setting.networks["value"], h.dual_weight[:, 0], h.backward_weight[:, 0]
    rewards, follows = batch.rewards[:, None], (h.discount * batch.bootstraps)[:, None]  # [P, 1, B]
    now, after = _values(value, batch.observations), batch.next_observations  # V(s), [P, K, B]

    anchor = (1.0 - weight) * batch.mean(now, (1, 2))
    if gradient == "true":
        residuals = rewards + follows * _values(value, after) - now
        dual = weight * batch.mean(conjugate(residuals), (1, 2))
        of_value: torch.Tensor | Combined = anchor + dual
    else:
        residuals = rewards + follows * _slow_value(value, after) - now  # delta_f
        dual = weight * batch.mean(conjugate(residuals), (1, 2))
        of_value = anchor + dual
        if gradient == "orthogonal":
            backward = rewards + follows * _values(value, after) - _slow_value(value, batch.observations)
            of_backward = weight * eta * batch.mean(conjugate(backward), (1, 2))
            of_value = Combined((anchor, dual, of_backward), with_orthogonal_part)

    weights = weigh(residuals.detach()).clamp(max=_LARGEST_WEIGHT)  # [P, K, B]
    log_std = setting.networks["actor"].state_independent.clamp(*_LOG_STD_RANGE)
    mean = setting.networks["actor"](batch.observations)  # [P, B, action]
    cloning = -batch.mean(weights * gaussian_log_probability(batch.actions, mean, log_std)[:, None], (1, 2))
    decay = torch.stack([part.square().flatten(1).sum(1) for part in setting.networks["actor"].parameters]).sum(0)

    metrics = {
        "value_mean": now.mean((1, 2)),
        "dual_loss": dual,
        "actor_loss": cloning,
        "residual_mean": residuals.mean((1, 2)),
        "weight_mean": weights.mean((1, 2)),
    }
    return Losses({"value": of_value, "actor": cloning + 0.5 * h.actor_decay[:, 0] * decay}, metrics)


def with_orthogonal_part(gradients: Sequence[torch.Tensor]) -> torch.Tensor:
    """Add the anchor's and the forward gradient and what of the backward one is orthogonal to the forward one, [P, n] each.

    Examples
    --------
    >>> zero, forward, backward = torch.zeros(1, 2), torch.tensor([[2.0, 0.0]]), torch.tensor([[5.0, 1.0]])
    >>> with_orthogonal_part([zero, forward, backward]).tolist()
    [[2.0, 1.0]]
    """
    anchor, forward, backward = gradients
    overlap = (forward * backward).sum(1, keepdim=True) / forward.square().sum(1, keepdim=True).clamp(min=_SMALL)
    return anchor + forward + backward - overlap * forward


def _values(
    value: Network, observations: torch.Tensor, weights: Literal["learned", "target"] = "learned"
) -> torch.Tensor:
    """Return [P, K, B], of one network too."""
    found = value(observations, weights=weights).squeeze(-1)
    return found if cast(MLP, value.spec).ensemble > 1 else found[:, None]


def _slow_value(value: Network, observations: torch.Tensor) -> torch.Tensor:
    """Return the smaller of the slowly following copies, [P, 1, B], without gradient."""
    with torch.no_grad():
        return _values(value, observations, "target").amin(1, keepdim=True)
