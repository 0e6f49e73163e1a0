r"""SAC-N: soft actor-critic with N critics (An et al. 2021, arXiv 2110.01548, section 3.1).

The target and the policy take the smallest of N critics, which penalizes actions on which they disagree. One update
trains the temperature, then the actor, then the critics, each on what the ones before have become:

.. math::
    L(\alpha) &= -\log \alpha \; E \, (\log \pi(\tilde a | s) - |A|), \quad \tilde a \sim \pi(\cdot | s) \\
    L(\pi) &= E \, (\alpha \log \pi(\tilde a | s) - \min_k Q_k(s, \tilde a)) \\
    y &= r + \gamma (1 - d) (\min_k Q'_k(s', a') - \alpha \log \pi(a' | s')), \quad a' \sim \pi(\cdot | s') \\
    L(Q) &= \sum_k E \, (Q_k(s, a) - y)^2

The policy is a tanh-Gaussian with log standard deviations clipped to [-5, 2]; it acts by the tanh of its mean. Hidden
biases begin at 0.1, the last layer of the critics within 3e-3 and that of the actor within 1e-3. `sac_n.json` has CORL's N by
dataset.

Deviations: the order, and a fresh sample for each loss, are those of CORL's `sac_n.py`; the authors' code
(snu-mllab/EDAC) computes all losses on the networks as they were before the update, with one sample for temperature and
actor. Hidden weights begin uniform within 1/sqrt(inputs), as in the authors' code and as PyTorch's Linear does; CORL's
stacked layer reads its fan-in from the wrong axis, so that its first layer begins within 1/sqrt(outputs). The tanh
correction is the exact one (see `policies`). Observations are not normalized, as in both. A truncation bootstraps. The
entropy of the steps between is left out of n-step returns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import Field

from assay.baselines.algorithms.algorithm import Algorithm, Losses, Memory, Phase, Setting
from assay.baselines.algorithms.distributions import TanhGaussian
from assay.baselines.engine.acting import EpisodeDraws
from assay.baselines.engine.shapes import Shapes
from assay.baselines.networks import MLP, FixedNetwork, Scalars, Specification
from assay.datasets.registry import Widths, register

__all__ = ["SACN"]

_LOG_STD_RANGE = (-5.0, 2.0)


@register("sac_n", label="SAC-N")
class SACN(Algorithm):
    """Soft actor-critic with N critics, with CORL's defaults; N by dataset, such as 500 for hopper-medium, is `values_for`'s.

    Examples
    --------
    >>> SACN(critics=20).critics
    20
    """

    valued_by: ClassVar[tuple[str, ...]] = ("critic",)

    discount: float = Field(0.99, ge=0, le=1)
    target_update_rate: float = Field(0.005, ge=0, le=1)
    actor_learning_rate: float = Field(3e-4, gt=0)
    critic_learning_rate: float = Field(3e-4, gt=0)
    temperature_learning_rate: float = Field(3e-4, gt=0)
    critics: int = Field(10, ge=2)  # N
    return_steps: int = Field(1, gt=0)  # n of n-step returns
    batch_size: int = Field(256, gt=0)  # transitions per update
    hidden: Widths = (256, 256, 256)  # widths of the hidden layers
    normalize_observations: bool = False  # (s - mean) / (std + 1e-3) over the dataset

    def networks(self, shapes: Shapes) -> dict[str, Specification]:  # noqa: D102
        return {
            "temperature": Scalars(learning_rate="temperature_learning_rate"),  # log alpha
            "actor": MLP(
                shapes.observation_size,
                2 * shapes.action_size,
                self.hidden,
                learning_rate="actor_learning_rate",
                bias=0.1,
                output_bound=1e-3,
            ),
            "critic": MLP(
                shapes.observation_size + shapes.action_size,
                1,
                self.hidden,
                learning_rate="critic_learning_rate",
                ensemble=self.critics,
                target=True,
                bias=0.1,
                output_bound=3e-3,
            ),
        }

    def phases(self) -> tuple[Phase, ...]:  # noqa: D102
        return Phase(temperature_loss), Phase(actor_loss), Phase(critic_loss, follow=("critic",))

    def act(
        self,
        networks: Mapping[str, FixedNetwork],
        observations: torch.Tensor,
        memory: Memory,
        draws: EpisodeDraws,
    ) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        """Return the tanh of the means."""
        mean, _ = networks["actor"](observations, weights="frozen").chunk(2, -1)
        return torch.tanh(mean), {}


def policy(outputs: torch.Tensor) -> TanhGaussian:
    """Return the distribution that the actor's outputs [P, B, 2 action] stand for."""
    mean, log_std = outputs.chunk(2, -1)
    return TanhGaussian(mean, log_std.clamp(*_LOG_STD_RANGE))


def temperature_loss(setting: Setting) -> Losses:
    """Raise the temperature where the policy's entropy is below -|A|, and lower it where it is above."""
    networks, batch = setting.networks, setting.batch
    with torch.no_grad():
        distribution = policy(networks["actor"](batch.observations, weights="frozen"))
        _, log_probability = distribution.sample(setting.draws, "temperature actions")  # [P, B]
    log_temperature = networks["temperature"].state_independent[:, 0]  # [P, 1]
    loss = -(log_temperature * (log_probability - batch.actions.shape[-1])).mean(-1)
    return Losses(
        {"temperature": loss}, {"temperature": temperature(setting)[:, 0], "entropy": -log_probability.mean(-1)}
    )


def actor_loss(setting: Setting) -> Losses:
    """Smallest critic of the policy's actions, and its entropy."""
    networks, batch = setting.networks, setting.batch
    actions, log_probability = policy(networks["actor"](batch.observations)).sample(setting.draws, "policy actions")
    inputs = torch.cat([batch.observations, actions], -1)
    values = networks["critic"](inputs, weights="frozen").squeeze(-1)  # [P, K, B]
    loss = (temperature(setting) * log_probability - values.amin(1)).mean(-1)
    return Losses({"actor": loss}, {"actor_loss": loss, "q_policy_std": values.detach().std(1).mean(-1)})


def critic_loss(setting: Setting) -> Losses:
    """Squared error of the soft temporal difference, summed over the critics."""
    inputs = torch.cat([setting.batch.observations, setting.batch.actions], -1)
    values = setting.networks["critic"](inputs).squeeze(-1)  # [P, K, B]
    loss = (values - soft_targets(setting)[:, None]).square().mean(-1).sum(1)  # [P]
    return Losses({"critic": loss}, {"critic_loss": loss, "q_mean": values.mean((1, 2))})


@torch.no_grad()
def soft_targets(setting: Setting) -> torch.Tensor:
    """Return what the critics regress, y [P, B]."""
    networks, batch, h = setting.networks, setting.batch, setting.hyperparameters
    distribution = policy(networks["actor"](batch.next_observations, weights="frozen"))
    next_actions, log_probability = distribution.sample(setting.draws, "target actions")
    next_inputs = torch.cat([batch.next_observations, next_actions], -1)
    next_values = networks["critic"](next_inputs, weights="target").squeeze(-1).amin(1)  # [P, K, B] -> [P, B]
    next_values = next_values - temperature(setting) * log_probability
    targets: torch.Tensor = batch.rewards + h.discount * batch.bootstraps * next_values
    return targets


def temperature(setting: Setting) -> torch.Tensor:
    """Return alpha [P, 1], without gradients; at most `highest_temperature`, where an algorithm has that field."""
    alpha = setting.networks["temperature"].state_independent.detach()[:, 0].exp()
    highest = getattr(setting.hyperparameters, "highest_temperature", None)
    return alpha if highest is None else torch.minimum(alpha, highest)
