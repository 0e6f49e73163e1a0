r"""FISOR: feasibility-guided safe offline reinforcement learning (Zheng et al. 2024, arXiv 2401.10700).

Which states can be kept safe is learned first, from the data alone: h > 0 is a violation, and a state is feasible where some
policy keeps h at 0 or below for good (Hamilton-Jacobi reachability). Inside that region the policy maximizes reward, outside it
goes back in, by weighted cloning; there is no multiplier to tune. With the asymmetric square
:math:`L_\tau(u) = |\tau - 1[u < 0]| \, u^2`,

.. math::
    L(V_h) &= E \, L_{1 - \tau}(\max_k Q'_{h,k}(s, a) - V_h(s)) \\
    L(Q_h) &= E \, \tfrac{1}{K} \sum_k (y_h - Q_{h,k}(s, a))^2, \quad
        y_h = (1 - \gamma) h + \gamma \max(h, V_h(s')), \text{ and } h \text{ where the episode ended} \\
    L(V) &= E \, L_\tau(\min_k Q'_k(s, a) - V(s)) \\
    L(Q) &= E \, \tfrac{1}{K} \sum_k (r + \gamma (1 - d) V(s') - Q_k(s, a))^2 \\
    L(\pi) &= E \, w \, \lVert \epsilon - \epsilon_\theta(s, a_t, t) \rVert^2 \\
    w &= 1[V_h > 0] \min(e^{\beta_h (V_h - Q_h)}, 150) + 1[V_h \le 0] \, 1[Q_h \le 0] \min(e^{\beta (Q - V)}, 100)

V_h follows a lower expectile, nearly the least over actions: its weight is on negative differences. The policy is a diffusion model of
T = 5 steps (`generative.ddpm`); of N = 16 actions, drawn by its slowly following copy, it takes the one of the least
:math:`\max_k Q_{h,k}`.

h is a column of the dataset that is signed (`violation="infos/..."`), as a distance to what must not be touched is, or it is made of costs:
`cost_scale` where there is one and -1 elsewhere. The zero level, and with it the region, depends on that scale: prefer a signed column.

The defaults are those of github.com/ZhengYinan-AIR/FISOR, the same for all tasks. Deviations from that code, and what it leaves open:

- Time-outs are no ends: both critics bootstrap at truncations, where its loader merges them with terminations.
- A limit on costs belongs to the evaluation (`Evaluation.cost_limit`). The code's mode "qc", which thresholds discounted costs, is not offered.
- All losses see the networks as they were before the update, as in `iql`: so the actor comes before the critics, with their target
  copies and the learned values, as there.
- One step of the actor in an update, on all `batch_size` rows, where the code takes two, each on half of 2,048. The critics and values
  learn from the first `critic_batch_size` of them, as there.
- The actor's learning rate is constant. The code's cosine over 3,000,000 steps falls to three quarters in its 1,000,000.
- Rewards are scaled by 1,000 over the range of returns (`reward_scale`), where the code takes the longest episode of the environment.
- PointRobot's `info["cost"]` is inverted there (1 where h <= 0); a cost here is 1 where h > 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, cast

import torch
from pydantic import Field

from assay.baselines.algorithms.algorithm import Algorithm, Losses, Memory, Phase, Setting
from assay.baselines.algorithms.generative.ddpm import diffused_actions, diffusion_errors
from assay.baselines.engine.acting import EpisodeDraws
from assay.baselines.engine.data import RewardScale
from assay.baselines.engine.shapes import Shapes
from assay.baselines.networks import MLP, FixedNetwork, Specification
from assay.baselines.networks.noise import NoiseNetwork
from assay.datasets.registry import Widths, register

__all__ = ["FISOR"]

_LARGEST_SAFETY_WEIGHT, _LARGEST_REWARD_WEIGHT = 150.0, 100.0


@register("fisor", label="FISOR")
class FISOR(Algorithm):
    """Feasibility by reachability, reward inside, with the published defaults; the data needs a column `costs`.

    Examples
    --------
    >>> FISOR(samples=8, reward_temperature=2.0, safety_temperature=5.0).diffusion_steps
    5
    """

    extra_columns: ClassVar[tuple[str, ...]] = ("costs",)
    acting: ClassVar[tuple[str, ...]] = ("policy", "safety_critic")
    valued_by: ClassVar[tuple[str, ...]] = ("critic",)

    expectile: float = Field(
        default=0.9, gt=0, lt=1
    )  # tau; nearer to 1 is nearer to the best, and safest, action in the data
    safety_temperature: float = Field(
        default=5.0, ge=0
    )  # beta_h, inverse temperature of the weights outside the region
    reward_temperature: float = Field(default=3.0, ge=0)  # beta, of the weights inside it
    cost_scale: float = Field(default=25.0, gt=0)  # h of a step with a cost, where there is no signed column
    discount: float = Field(default=0.99, ge=0, le=1)
    target_update_rate: float = Field(default=0.005, ge=0, le=1)
    policy_update_rate: float = Field(default=0.001, ge=0, le=1)  # of the copy of the policy that acts
    learning_rate: float = Field(default=3e-4, gt=0)  # of Adam, for all networks
    weight_decay: float = Field(default=1e-4, ge=0)  # of the policy
    dropout: float = Field(default=0.1, ge=0, lt=1)  # of the policy
    batch_size: int = Field(default=1024, gt=0)  # transitions per update
    critic_batch_size: int = Field(default=256, gt=0)  # of them, the first that critics and values learn from
    hidden: Widths = (256, 256)  # widths of the hidden layers of critics and values
    width: int = Field(default=256, gt=0)  # of the policy's stream
    blocks: int = Field(default=3, gt=0)  # of the policy
    diffusion_steps: int = Field(default=5, gt=0)  # T
    samples: int = Field(default=16, gt=0)  # N, actions of which the safest is taken
    violation: str | None = (
        None  # column with a signed h, above 0 where the constraint is broken; None makes h of costs
    )
    reward_scale: RewardScale = "return_range"  # what rewards are learned from: recorded, return_range or minus_one
    normalize_observations: bool = False  # (s - mean) / (std + 1e-3) over the dataset

    @property
    def batch_columns(self) -> tuple[str, ...]:  # noqa: D102
        return (*super().batch_columns, *(() if self.violation is None else (self.violation,)))

    def data_parameters(self) -> dict[str, Any]:  # noqa: D102
        return {**super().data_parameters(), "violation": self.violation}

    def networks(self, shapes: Shapes) -> dict[str, Specification]:  # noqa: D102
        observation, action = shapes.observation_size, shapes.action_size
        network = partial(MLP, hidden=self.hidden, learning_rate="learning_rate")
        return {
            "safety_value": network(observation, 1),
            "safety_critic": network(observation + action, 1, ensemble=2, target=True),
            "value": network(observation, 1),
            "critic": network(observation + action, 1, ensemble=2, target=True),
            "policy": NoiseNetwork(
                observation,
                action,
                self.width,
                self.blocks,
                learning_rate="learning_rate",
                weight_decay="weight_decay",
                target=True,
                target_update_rate="policy_update_rate",
                acts_by="target",
            ),
        }

    def phases(self) -> tuple[Phase, ...]:  # noqa: D102
        return (Phase(self.losses, follow=("safety_critic", "critic", "policy")),)

    def act(
        self,
        networks: Mapping[str, FixedNetwork],
        observations: torch.Tensor,
        memory: Memory,
        draws: EpisodeDraws,
    ) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        """Return the safest of N drawn actions."""
        members, n = observations.shape[:2]
        size = cast(NoiseNetwork, networks["policy"].spec).vector

        def draw(purpose: str) -> torch.Tensor:
            return draws.normal(purpose, self.samples, size).reshape(members, n * self.samples, size)

        states = observations.repeat_interleave(self.samples, 1)
        candidates = diffused_actions(networks["policy"], states, draw, self.diffusion_steps)
        inputs = torch.cat([states, candidates], -1)
        danger = networks["safety_critic"](inputs, weights="frozen").squeeze(-1).amax(1).view(members, n, self.samples)
        safest = danger.argmin(-1)[..., None, None].expand(-1, -1, 1, size)
        return candidates.view(members, n, self.samples, size).gather(2, safest).squeeze(2), {}

    def losses(self, setting: Setting) -> Losses:
        """Compute the five losses on the networks as they are before the update."""
        safety, metrics = safety_losses(setting, self.violation, self.critic_batch_size)
        reward = reward_losses(setting, self.critic_batch_size)
        weights = policy_weights(setting)
        dropped = setting.hyperparameters.dropout

        def dropout(activations: torch.Tensor, purpose: str) -> torch.Tensor:
            kept = setting.draws.events(f"dropout/{purpose}", 1.0 - dropped, *activations.shape[1:])
            scaled: torch.Tensor = activations * (kept / (1.0 - dropped[..., None]))
            return scaled

        errors = diffusion_errors(setting, "policy", self.diffusion_steps, dropout)
        policy_loss = (weights * errors).mean(-1)
        of = {**safety, **reward, "policy": policy_loss}
        named = {f"{name}_loss": loss for name, loss in of.items()}
        return Losses(of, {**named, **metrics, "weight_mean": weights.mean(-1)})


def violations(setting: Setting, column: str | None) -> torch.Tensor:
    """Return h [P, B]: the signed column, or `cost_scale` where there is a cost and -1 elsewhere."""
    if column is not None:
        return setting.batch[column]
    return torch.where(setting.batch["costs"] > 0, setting.hyperparameters.cost_scale, -1.0)


def asymmetric(differences: torch.Tensor, expectile: torch.Tensor) -> torch.Tensor:
    """Return the expectile loss of differences."""
    return torch.where(differences < 0, 1.0 - expectile, expectile) * differences.square()


def backup(
    h: torch.Tensor, next_values: torch.Tensor, bootstraps: torch.Tensor, discount: torch.Tensor
) -> torch.Tensor:
    """Return y_h, the discounted Hamilton-Jacobi backup (Fisac et al. 2019, arXiv 1907.03423); h where the episode ended.

    Examples
    --------
    >>> round(backup(*(torch.tensor(number) for number in (-1.0, 2.0, 1.0, 0.9))).item(), 3)
    1.7
    """
    ahead = (1.0 - discount) * h + discount * torch.maximum(h, next_values)
    return bootstraps * ahead + (1.0 - bootstraps) * h


def safety_losses(
    setting: Setting, column: str | None, rows: int
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Return the losses of V_h and Q_h on the first rows of the batch, and what is worth logging."""
    networks, batch, h = setting.networks, setting.batch, setting.hyperparameters
    states, actions, following = (
        item[:, :rows] for item in (batch.observations, batch.actions, batch.next_observations)
    )
    inputs, violation = torch.cat([states, actions], -1), violations(setting, column)[:, :rows]
    with torch.no_grad():
        target_values = networks["safety_critic"](inputs, weights="target").squeeze(-1).amax(1)
        next_values = networks["safety_value"](following, weights="frozen").squeeze(-1)
        targets = backup(violation, next_values, batch.bootstraps[:, :rows], h.discount)
    values = networks["safety_value"](states).squeeze(-1)
    value_loss = asymmetric(target_values - values, 1.0 - h.expectile).mean(-1)
    critics = networks["safety_critic"](inputs).squeeze(-1)
    critic_loss = (critics - targets[:, None]).square().mean((1, 2))
    feasible = (values <= 0).to(values.dtype).mean(-1)
    return {"safety_value": value_loss, "safety_critic": critic_loss}, {"feasible_share": feasible.detach()}


def reward_losses(setting: Setting, rows: int) -> dict[str, torch.Tensor]:
    """Return the losses of V and Q, which are IQL's, on the first rows of the batch."""
    networks, batch, h = setting.networks, setting.batch, setting.hyperparameters
    states, actions, following = (
        item[:, :rows] for item in (batch.observations, batch.actions, batch.next_observations)
    )
    inputs = torch.cat([states, actions], -1)
    with torch.no_grad():
        target_values = networks["critic"](inputs, weights="target").squeeze(-1).amin(1)
        next_values = networks["value"](following, weights="frozen").squeeze(-1)
        targets = batch.rewards[:, :rows] + h.discount * batch.bootstraps[:, :rows] * next_values
    values = networks["value"](states).squeeze(-1)
    critics = networks["critic"](inputs).squeeze(-1)
    return {
        "value": asymmetric(target_values - values, h.expectile).mean(-1),
        "critic": (critics - targets[:, None]).square().mean((1, 2)),
    }


@torch.no_grad()
def policy_weights(setting: Setting) -> torch.Tensor:
    """Return w [P, B]: how much each row counts in the cloning."""
    networks, batch, h = setting.networks, setting.batch, setting.hyperparameters
    inputs = torch.cat([batch.observations, batch.actions], -1)
    danger = networks["safety_critic"](inputs, weights="target").squeeze(-1).amax(1)
    least_danger = networks["safety_value"](batch.observations, weights="frozen").squeeze(-1)
    worth = networks["critic"](inputs, weights="target").squeeze(-1).amin(1)
    value = networks["value"](batch.observations, weights="frozen").squeeze(-1)
    back = torch.exp(h.safety_temperature * (least_danger - danger)).clamp(max=_LARGEST_SAFETY_WEIGHT)
    onward = torch.exp(h.reward_temperature * (worth - value)).clamp(max=_LARGEST_REWARD_WEIGHT)
    return torch.where(least_danger > 0, back, torch.where(danger <= 0, onward, 0.0))
