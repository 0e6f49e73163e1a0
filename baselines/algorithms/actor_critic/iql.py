r"""IQL: implicit Q-learning (Kostrikov, Nair & Levine 2021, arXiv 2110.06169).

A state value follows an upper expectile of the critics (equation 5), the critics bootstrap on it (equation 6), and the
policy is regressed on the data with exponential advantage weights (equation 7):

.. math::
    L(V) &= E \, |\tau - 1[u < 0]| \, u^2, \quad u = \min_k Q'_k(s, a) - V(s) \\
    L(Q) &= E \, \tfrac{1}{K} \sum_k (r + \gamma (1 - d) V(s') - Q_k(s, a))^2 \\
    L(\pi) &= -E \, \min(e^{\beta u}, 100) \log \pi(a | s)

The policy is a Gaussian with tanh mean and state-independent log standard deviations clipped to [-20, 2], and acts by
its mean; with `deterministic` it is that mean alone, and :math:`\lVert \pi(s) - a \rVert^2` stands for -log pi(a | s).
The actor's learning rate follows a cosine to zero. Of discrete actions, the critics see the action as an entry each, and the
policy is a softmax, trained by the same weights on log pi(a | s), that takes the likeliest one.

The defaults are those of CORL's `iql.py` and of its configurations for HalfCheetah, Walker2d and three of the six Hopper datasets.
The other three have their own: medium and medium-replay a deterministic policy, rewards in units of the return range and
a target update rate of 0.001, medium-expert temperature 6 and expectile 0.5. `iql.json` has them and those of AntMaze, Maze2D and
the hands; `IQL.values_for(dataset)`, or `preset: variant` in a suite, looks them up.

CORL differs from the original JAX code in that observations are normalized and rewards mostly are not
(github.com/tinkoff-ai/CORL/issues/33), and all three losses use the networks as they were before the update.

Deviations from CORL's `iql.py`:

- The range of returns, for `reward_scale="return_range"`, is that of the dataset's episodes. CORL finds episodes again in a flat
  table by terminations and by counting 1,000 steps; as its loader drops the step of a time limit, the count runs over into the
  next episode.
- Its dropout, 0.1 in the configurations of the hands, is not offered. It reaches CORL's deterministic policy only, which those
  configurations do not use.
- A truncation bootstraps, where CORL's loader leaves the step of a time limit out; a termination does not.

`IQL.values_for(dataset, study="robomimic")` has the settings of robomimic's code (Mandlekar et al. 2021, arXiv 2108.03298;
github.com/ARISE-Initiative/robomimic, commit d309eae). Its `beta` divides the advantages, so that 3, which it takes for locomotion from
the paper, is a temperature of 1/3 here. Beyond its settings, its policy's standard deviations depend on the state and its
learning rate is constant.
"""

from __future__ import annotations

from typing import Any, ClassVar, cast

import torch
from pydantic import Field

from assay.baselines.algorithms.algorithm import Algorithm, DatasetWeights, Losses, Phase, Setting
from assay.baselines.algorithms.distributions import gaussian_log_probability
from assay.baselines.engine.data import RewardScale
from assay.baselines.engine.shapes import Shapes
from assay.baselines.networks import MLP, Specification
from assay.baselines.networks.network import Network
from assay.datasets.errors import ConfigError
from assay.datasets.registry import Widths, register

__all__ = ["IQL"]

_LARGEST_WEIGHT = 100.0
_LOG_STD_RANGE = (-20.0, 2.0)


@register("iql", label="IQL")
class IQL(Algorithm):
    """Implicit Q-learning, with CORL's defaults; `values_for` gives the settings that it has for single datasets.

    Examples
    --------
    >>> IQL(expectile=0.9).expectile
    0.9
    >>> import assay
    >>> IQL.values_for(assay.load("hopper/medium-expert", steps=2_000))
    {'temperature': 6.0, 'expectile': 0.5}
    """

    valued_by: ClassVar[tuple[str, ...]] = ("critic",)
    discrete_actions: ClassVar[bool] = True
    later_fields: ClassVar[tuple[str, ...]] = ("deterministic", "reward_scale")

    expectile: float = Field(0.7, gt=0, lt=1)  # tau; nearer to 1 is nearer to the best action in the data
    temperature: float = Field(3.0, ge=0)  # beta, inverse temperature of the advantage weights; 0 is cloning
    discount: float = Field(0.99, ge=0, le=1)
    return_steps: int = Field(1, gt=0)  # n of n-step returns
    target_update_rate: float = Field(0.005, ge=0, le=1)
    actor_learning_rate: float = Field(3e-4, gt=0)  # at the start of its cosine
    critic_learning_rate: float = Field(3e-4, gt=0)
    value_learning_rate: float = Field(3e-4, gt=0)
    batch_size: int = Field(256, gt=0)  # transitions per update
    hidden: Widths = (256, 256)  # widths of the hidden layers
    deterministic: bool = False  # the policy, of continuous actions
    reward_scale: RewardScale = "recorded"  # what rewards are learned from: recorded, return_range or minus_one
    normalize_observations: bool = True  # (s - mean) / (std + 1e-3) over the dataset
    dataset_weights: DatasetWeights = "draws"  # how the dataset's weights count: draws, losses or batch_losses

    def networks(self, shapes: Shapes) -> dict[str, Specification]:  # noqa: D102
        if self.deterministic and shapes.discrete_actions:
            raise ConfigError(
                "deterministic=True is a policy of continuous actions; the dataset's actions are discrete"
            )
        sizes = self.hidden
        spread = 0 if self.deterministic else shapes.action_size
        policy: dict[str, Any] = {"output": "tanh", "state_independent": spread}
        return {
            "value": MLP(shapes.observation_size, 1, sizes, learning_rate="value_learning_rate"),
            "critic": MLP(
                shapes.observation_size + shapes.action_size,
                1,
                sizes,
                learning_rate="critic_learning_rate",
                ensemble=2,
                target=True,
            ),
            "actor": MLP(
                shapes.observation_size,
                shapes.action_size,
                sizes,
                learning_rate="actor_learning_rate",
                schedule="cosine",
                **({} if shapes.discrete_actions else policy),
            ),
        }

    def phases(self) -> tuple[Phase, ...]:  # noqa: D102
        return (Phase(losses, follow=("critic",)),)


def losses(setting: Setting) -> Losses:
    """Compute the three losses on the networks as they are before the update."""
    networks, batch, h = setting.networks, setting.batch, setting.hyperparameters
    inputs = torch.cat([batch.observations, batch.actions], -1)
    with torch.no_grad():
        target_values = networks["critic"](inputs, weights="target").squeeze(-1).amin(1)  # [P, B]
        next_values = networks["value"](batch.next_observations, weights="frozen").squeeze(-1)  # [P, B]
        targets = batch.rewards + h.discount * batch.bootstraps * next_values

    values = networks["value"](batch.observations).squeeze(-1)  # [P, B]
    advantages = target_values - values
    asymmetry = torch.where(advantages < 0, 1.0 - h.expectile, h.expectile)
    value_loss = batch.mean(asymmetry * advantages.square())

    critics = networks["critic"](inputs).squeeze(-1)  # [P, K, B]
    critic_loss = batch.mean((critics - targets[:, None]).square(), (1, 2))

    weights = torch.exp(h.temperature * advantages.detach()).clamp(max=_LARGEST_WEIGHT)  # [P, B]
    actor_loss = batch.mean(weights * imitation_loss(networks["actor"], batch.observations, batch.actions))

    metrics = {
        "value_loss": value_loss,
        "critic_loss": critic_loss,
        "actor_loss": actor_loss,
        "q_mean": critics.mean((1, 2)),
        "advantage_mean": advantages.mean(-1),
    }
    return Losses({"value": value_loss, "critic": critic_loss, "actor": actor_loss}, metrics)


def imitation_loss(actor: Network, observations: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
    """Return how far the policy is from the data, [P, B]: -log pi(a | s), or the squared distance of a deterministic policy."""
    answers, spec = actor(observations), cast(MLP, actor.spec)  # [P, B, action]
    if spec.state_independent:
        return -gaussian_log_probability(actions, answers, actor.state_independent.clamp(*_LOG_STD_RANGE))
    if spec.output == "tanh":
        return (answers - actions).square().sum(-1)
    return -(torch.log_softmax(answers, -1) * (actions > 0)).sum(-1)
