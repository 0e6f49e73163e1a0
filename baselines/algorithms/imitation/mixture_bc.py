r"""BC-GMM: behaviour cloning by the likelihood of a mixture of Gaussians (Mandlekar et al. 2021, arXiv 2108.03298).

Where several people, or one on several days, solve a task in different ways, the mean of their actions may be none of them. The policy
says M means, standard deviations and shares, and maximizes the likelihood of the data:

.. math::
    \pi(a | s) &= \sum_{m=1}^M w_m(s) \, N(a; \tanh \mu_m(s), \sigma_m(s)^2), \quad
    \sigma_m = \sigma_0 \, \mathrm{softplus}(x_m) / \log 2 + \sigma_{min} \\
    L(\pi) &= -E_{(s,a) \sim D} \log \pi(a | s)

It acts by one mode, drawn by its share at every step, with a standard deviation of 1e-4 (`low_noise`), or with the learned one.
`modes=1` is BC-Gaussian, for which robomimic has `initial_deviation=0.1` and `minimum_deviation=0.01`.

The defaults are those of robomimic's code for demonstrations of people (github.com/ARISE-Initiative/robomimic, commit d309eae), where
sigma_0 = log 2. Deviations:

- Its BC-Gaussian acts by the mean, limits standard deviations to at least 0.01 where it is added here, and to at most 7.5.
- Actions are limited to the action space.
- For machine-generated data its study clones by least squares: `BC.values_for(dataset, study="robomimic")`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch.nn import functional

from assay.baselines.algorithms.algorithm import Losses, Memory, Phase, Setting
from assay.baselines.algorithms.distributions import mixture_log_probability
from assay.baselines.algorithms.imitation.bc import BC
from assay.baselines.engine.acting import EpisodeDraws
from assay.baselines.engine.shapes import Shapes
from assay.baselines.networks import MLP, FixedNetwork
from assay.datasets.registry import Widths, register

__all__ = ["MixtureBC"]

_LOW_NOISE = 1e-4
_SMALLEST_UNIFORM = 2.0**-25


@register("mixture_bc", label="BC-GMM")
class MixtureBC(BC):
    """Behaviour cloning with a mixture of Gaussians, with robomimic's defaults.

    Examples
    --------
    >>> gaussian = MixtureBC(modes=1, initial_deviation=0.1, minimum_deviation=0.01)
    >>> gaussian.low_noise
    True
    """

    discrete_actions: ClassVar[bool] = False

    initial_deviation: float = Field(default=math.log(2.0), gt=0)  # sigma_0, about the standard deviations at first
    minimum_deviation: float = Field(default=1e-4, gt=0)  # sigma_min
    modes: int = Field(default=5, gt=0)  # M
    low_noise: bool = True  # whether the policy acts by a mode, and not with the learned standard deviation around it
    learning_rate: float = Field(default=1e-4, gt=0)  # of Adam
    batch_size: int = Field(default=100, gt=0)  # transitions per update
    hidden: Widths = (1024, 1024)  # widths of the hidden layers
    normalize_observations: bool = False  # (s - mean) / (std + 1e-3) over the dataset

    def networks(self, shapes: Shapes) -> dict[str, MLP]:  # noqa: D102
        outputs = self.modes * (2 * shapes.action_size + 1)
        return {"actor": MLP(shapes.observation_size, outputs, self.hidden, learning_rate="learning_rate")}

    def phases(self) -> tuple[Phase, ...]:  # noqa: D102
        return (Phase(self.loss),)

    def act(
        self, networks: Mapping[str, FixedNetwork], observations: torch.Tensor, memory: Memory, draws: EpisodeDraws
    ) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        """Return an action of one mode, drawn by its share."""
        h = memory.hyperparameters
        means, log_std, logits = self.mixture(networks["actor"], observations, h)
        uniform = draws.uniform("mode", self.modes).clamp(min=_SMALLEST_UNIFORM)
        mode = (logits - torch.log(-torch.log(uniform))).argmax(-1)[..., None, None]  # of the shares, by Gumbel noise
        mode = mode.expand(-1, -1, 1, means.shape[-1])
        mean, deviation = (tensor.gather(2, mode).squeeze(2) for tensor in (means, log_std.exp()))
        noise = draws.normal("around the mode", means.shape[-1])
        return (mean + (_LOW_NOISE if self.low_noise else deviation) * noise).clamp(-1.0, 1.0), {}

    def mixture(
        self, actor: FixedNetwork, observations: torch.Tensor, hyperparameters: Any, *, learned: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return means and log standard deviations [P, B, M, action] and logits [P, B, M]."""
        outputs = actor(observations, weights="learned" if learned else "frozen")
        logits, outputs = torch.split(outputs, [self.modes, outputs.shape[-1] - self.modes], -1)
        means, widths = outputs.reshape(*outputs.shape[:-1], self.modes, -1).chunk(2, -1)
        first, least = (
            tensor[..., None, None] for tensor in (hyperparameters.initial_deviation, hyperparameters.minimum_deviation)
        )
        deviations = first * functional.softplus(widths) / math.log(2.0) + least
        return torch.tanh(means), torch.log(deviations), logits

    def loss(self, setting: Setting) -> Losses:
        """Negative log likelihood of the data's actions."""
        batch = setting.batch
        mixture = self.mixture(setting.networks["actor"], batch.observations, setting.hyperparameters, learned=True)
        loss = -batch.mean(mixture_log_probability(batch.actions, *mixture))
        return Losses({"actor": loss}, {"actor_loss": loss})
