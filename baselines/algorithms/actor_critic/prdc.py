r"""PRDC: policy regularization with dataset constraint (Ran et al. 2023, arXiv 2306.06569).

TD3+BC whose actor is pulled towards the action of the nearest pair (state, action) in the whole dataset, not towards the action
that was taken in this state: a bad action binds the policy less where a neighbouring state shows a better one. The critics are
TD3's (`td3_bc`), the actor minimizes

.. math::
    (\hat s, \hat a) &= \arg\min_{(\hat s, \hat a) \in D}
        \lVert (\beta \hat s, \hat a) - (\beta s, \pi(s)) \rVert^2 \\
    L(\pi) &= -\lambda \, E \, Q_1(s, \pi(s)) + E \, \lVert \pi(s) - \hat a \rVert^2 / d_a, \quad
    \lambda = \alpha / E \, |Q_1(s, \pi(s))|

without a gradient through the neighbour. Neighbours are looked for among what the networks see, normalized states and actions in
[-1, 1], and in the member's own dataset.

Deviations from the paper and from github.com/LAMDA-RL/PRDC:

- The search is exact as there, by products instead of a k-d tree (`assay.baselines.engine.neighbours`); of equally near rows
  it takes another one.
- One neighbour, as published; the code can average several.
- The settings are those of the README, in `prdc.json`; the code's own default of beta is 1 on the command line and 2 in the class.
- Rewards become `reward_factor` r + `reward_shift` in training only (for AntMaze 10,000 r - 1): scores and returns stay those of
  the environment, values are of the changed rewards.
- Weights of a dataset change which rows are drawn, not which are neighbours: a row of weight zero can be one.
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field

from assay.baselines.algorithms.actor_critic.td3_bc import TD3BC, critic_loss
from assay.baselines.algorithms.algorithm import Losses, Phase, Setting
from assay.baselines.engine.data import ActionScale, TrainingData
from assay.baselines.engine.neighbours import nearest_rows
from assay.datasets.dataset import Dataset
from assay.datasets.registry import register

__all__ = ["PRDC"]


@register("prdc", label="PRDC")
class PRDC(TD3BC):
    """TD3 constrained to the dataset's nearest action, with the published settings for hopper and walker2d.

    Examples
    --------
    >>> PRDC(beta=7.5).beta
    7.5
    """

    beta: float = Field(default=2.0, ge=0)  # weight of states in distances; large is TD3+BC, 0 forgets the state
    reward_factor: float = 1.0
    reward_shift: float = 0.0

    def phases(self) -> tuple[Phase, ...]:  # noqa: D102
        return Phase(critic_loss), Phase(actor_loss, every=self.policy_delay, follow=("actor", "critic"))

    def training_data(self, dataset: Dataset, action_scale: ActionScale) -> TrainingData:  # noqa: D102
        return super().training_data(dataset, action_scale).with_rewards(self.reward_factor, self.reward_shift)

    def data_parameters(self) -> dict[str, Any]:  # noqa: D102
        return {**super().data_parameters(), "reward_factor": self.reward_factor, "reward_shift": self.reward_shift}


def actor_loss(setting: Setting) -> Losses:
    """Normalized value of the policy's actions, plus their squared distance to the nearest action of the data."""
    networks, batch, h = setting.networks, setting.batch, setting.hyperparameters
    actions = networks["actor"](batch.observations)  # [P, B, action]
    inputs = torch.cat([batch.observations, actions], -1)
    values = networks["critic"](inputs, weights="frozen", first=True).squeeze(-1)  # [P, B]
    scale = h.alpha.squeeze(-1) / batch.mean(values.detach().abs())  # lambda, [P]
    nearest = nearest_actions(setting, actions)
    constraint = batch.mean((actions - nearest).square(), (1, 2), rows=1)
    loss = -scale * batch.mean(values) + constraint
    cloning = batch.mean((actions - batch.actions).square(), (1, 2), rows=1)
    return Losses({"actor": loss}, {"actor_loss": loss, "constraint_loss": constraint, "cloning_loss": cloning})


def nearest_actions(setting: Setting, actions: torch.Tensor) -> torch.Tensor:
    """Return the actions [P, B, action] of the rows that are nearest to (beta s, actions), without gradient."""
    rows = nearest_rows(setting.data, setting.batch.observations, actions.detach(), setting.hyperparameters.beta)
    assert setting.data is not None
    return setting.data.column("actions", rows).to(actions.dtype)
