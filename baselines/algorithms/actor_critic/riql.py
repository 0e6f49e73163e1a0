r"""RIQL: robust implicit Q-learning (Yang et al. 2024, arXiv 2310.12955).

Implicit Q-learning with three changes against corrupted data: normalized observations, a Huber loss for the
critics with a clipped target, and the alpha-quantile over an ensemble of K critics in place of the smaller of two:

.. math::
    Q_\alpha(s, a) &= \mathrm{quantile}_\alpha \{Q'_k(s, a)\}_{k=1}^K, \quad u = Q_\alpha(s, a) - V(s) \\
    L(V) &= E \, |\tau - 1[u < 0]| \, u^2 \\
    y &= \mathrm{clip}(r + \gamma (1 - d) V(s'), l, h), \quad
    L(Q) = E \, \tfrac{1}{K} \sum_k H_\delta(y - Q_k(s, a)), \quad \delta = 1 / \sigma^2 \\
    H_\delta(x) &= x^2 / (2 \delta) \text{ where } |x| < \delta \text{, else } |x| - \delta / 2 \\
    L(\pi) &= E \, \min(e^{\beta u}, 100) \, \lVert \pi(s) - a \rVert^2

The quantile interpolates linearly between the ordered critics: 0 is their minimum, 1 their maximum. A large sigma is
nearly the absolute error, under which critics far from their values approach them slowly; at sigma = 0.1 the loss is almost
the squared error divided by 200. Short trainings want the small one. The policy is deterministic with a tanh; its learning
rate follows a cosine to zero over the training (3 million updates in the paper). All three losses use the networks as they
were before the update. A truncation bootstraps; a termination does not.

Deviations from the authors' code (github.com/YangRui2015/RIQL):

- Its Gaussian policy, a variant that the authors found slightly worse, is not offered.
- Its stacked critics take the bound of their initial weights from the layer's outputs, by the layout of the tensor; here
  it is 1 / sqrt(inputs), as EDAC says. Biases 0.1 and the last layer in +-3e-3 are the same.

Followed: observations are normalized by the mean and std + 1e-3 of the corrupted observations and next observations
together (other algorithms here: observations only). Sigma, alpha and K were chosen per environment and kind of corruption;
`riql.json` has that table. For several elements corrupted at once the authors' code falls through to their values for
observations, while TRACER (NeurIPS 2024) ran RIQL with sigma 0.1, alpha 0.25, K 5.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import Field

from assay.baselines.algorithms.algorithm import Algorithm, Losses, Phase, Setting
from assay.baselines.algorithms.presets import presets_of
from assay.baselines.engine.data import ActionScale, TrainingData
from assay.baselines.engine.shapes import Shapes
from assay.baselines.networks import MLP
from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError
from assay.datasets.registry import Widths, register

__all__ = ["RIQL"]

_LARGEST_WEIGHT = 100.0
_HIDDEN_BIAS, _LAST_CRITIC_LAYER = 0.1, 3e-3  # initial values, as in EDAC


@register("riql", label="RIQL")
class RIQL(Algorithm):
    """Robust implicit Q-learning, with the defaults of the authors' code.

    Examples
    --------
    >>> RIQL.preset("hopper", "random", "observations").critics
    3
    >>> import assay
    >>> RIQL.values_for(assay.load("pendulum/random", steps=400))  # not in the table: what TRACER ran RIQL with
    {'sigma': 0.1, 'quantile': 0.25, 'critics': 5}
    """

    valued_by: ClassVar[tuple[str, ...]] = ("critic",)

    sigma: float = Field(1.0, gt=0)  # of the Huber loss, which is quadratic within 1 / sigma^2
    quantile: float = Field(0.25, ge=0, le=1)  # alpha; 0 is the smallest critic
    critics: int = Field(5, gt=0)  # K
    expectile: float = Field(0.7, gt=0, lt=1)  # tau
    temperature: float = Field(3.0, ge=0)  # beta, inverse temperature of the advantage weights; 0 is cloning
    discount: float = Field(0.99, ge=0, le=1)
    return_steps: int = Field(1, gt=0)  # n of n-step returns
    target_update_rate: float = Field(0.005, ge=0, le=1)
    learning_rate: float = Field(3e-4, gt=0)  # of all networks; the actor's at the start of its cosine
    batch_size: int = Field(256, gt=0)  # transitions per update
    lowest_target: float = -100.0  # l
    highest_target: float = 1000.0  # h; both in the rewards' units
    hidden: Widths = (256, 256)  # widths of the hidden layers
    normalize_observations: bool = True  # (s - mean) / (std + 1e-3) over observations and next observations

    def __post_init__(self) -> None:
        if self.lowest_target >= self.highest_target:
            raise ConfigError(
                f"lowest_target={self.lowest_target:g} has to be below highest_target={self.highest_target:g}"
            )

    @classmethod
    def preset(cls, environment: str, mode: str, element: str, **changes: Any) -> RIQL:
        """Return the published sigma, quantile and number of critics for one corrupted element.

        Parameters
        ----------
        environment : "halfcheetah", "hopper" or "walker2d"
        mode : "random" or "adversarial"
        element : "observations", "actions", "rewards" or "dynamics"
        **changes
            Other fields, or these.

        Raises
        ------
        UnknownNameError
            If there is no such preset.
        """
        return cls(**{**presets_of(cls).find(environment, mode, element), **changes})

    def networks(self, shapes: Shapes) -> dict[str, MLP]:  # noqa: D102
        critic = MLP(
            shapes.observation_size + shapes.action_size,
            1,
            self.hidden,
            learning_rate="learning_rate",
            ensemble=self.critics,
            target=True,
            bias=_HIDDEN_BIAS,
            output_bound=_LAST_CRITIC_LAYER,
        )
        actor = MLP(
            shapes.observation_size,
            shapes.action_size,
            self.hidden,
            learning_rate="learning_rate",
            output="tanh",
            schedule="cosine",
        )
        return {
            "value": MLP(shapes.observation_size, 1, self.hidden, learning_rate="learning_rate"),
            "critic": critic,
            "actor": actor,
        }

    def phases(self) -> tuple[Phase, ...]:  # noqa: D102
        return (Phase(losses, follow=("critic",)),)

    def training_data(self, dataset: Dataset, action_scale: ActionScale) -> TrainingData:  # noqa: D102
        return TrainingData.of_dataset(dataset, action_scale, normalize=self.normalize_observations, measure_next=True)


def losses(setting: Setting) -> Losses:
    """Compute the three losses on the networks as they are before the update."""
    networks, batch, h = setting.networks, setting.batch, setting.hyperparameters
    inputs = torch.cat([batch.observations, batch.actions], -1)
    with torch.no_grad():
        target_values = over_critics(networks["critic"](inputs, weights="target"), h.quantile)  # [P, B]
        next_values = networks["value"](batch.next_observations, weights="frozen").squeeze(-1)  # [P, B]
        targets = batch.rewards + h.discount * batch.bootstraps * next_values
        targets = torch.clamp(targets, h.lowest_target, h.highest_target)

    values = networks["value"](batch.observations).squeeze(-1)  # [P, B]
    advantages = target_values - values
    asymmetry = torch.where(advantages < 0, 1.0 - h.expectile, h.expectile)
    value_loss = (asymmetry * advantages.square()).mean(-1)

    critics = networks["critic"](inputs).squeeze(-1)  # [P, K, B]
    critic_loss = huber(targets[:, None] - critics, 1.0 / h.sigma.square()[..., None]).mean((1, 2))

    weights = torch.exp(h.temperature * advantages.detach()).clamp(max=_LARGEST_WEIGHT)  # [P, B]
    distances = (networks["actor"](batch.observations) - batch.actions).square().sum(-1)  # [P, B]
    actor_loss = (weights * distances).mean(-1)

    metrics = {
        "value_loss": value_loss,
        "critic_loss": critic_loss,
        "actor_loss": actor_loss,
        "q_mean": critics.mean((1, 2)),
        "advantage_mean": advantages.mean(-1),
    }
    return Losses({"value": value_loss, "critic": critic_loss, "actor": actor_loss}, metrics)


def over_critics(values: torch.Tensor, quantile: torch.Tensor) -> torch.Tensor:
    """Return the quantile [P, B] over the critics of [P, K, B, 1], each member's at its own level [P, 1]."""
    ordered = values.squeeze(-1).sort(1).values  # [P, K, B]
    ranks = torch.arange(ordered.shape[1], dtype=ordered.dtype, device=ordered.device)
    position = quantile * (len(ranks) - 1)  # [P, 1], between two ranks, whose weights sum to 1
    weights = (1.0 - (position - ranks).abs()).clamp(min=0.0)  # [P, K]
    return (ordered * weights[..., None]).sum(1)


def huber(errors: torch.Tensor, delta: torch.Tensor) -> torch.Tensor:
    """Return x^2 / (2 delta) within delta, |x| - delta / 2 beyond."""
    size = errors.abs()
    return torch.where(size < delta, 0.5 * size.square() / delta, size - 0.5 * delta)
