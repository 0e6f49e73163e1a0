"""The two networks of `reweighting.density_ratio`, whose module's text has the equations, and their loss, on the engine."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from assay.baselines.algorithms.algorithm import Algorithm, Losses, Phase, Setting
from assay.baselines.engine.data import ActionScale, TrainingData
from assay.baselines.engine.population import Population
from assay.baselines.engine.shapes import Shapes
from assay.baselines.networks import MLP, FixedNetwork, Specification
from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError

__all__ = ["DensityRatio", "action_scale", "scores"]

_ROWS_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class DensityRatio(Algorithm):
    """The two networks and their loss, trained on the engine."""

    learning_rate: float = 1e-4  # of Adam
    batch_size: int = 256
    hidden: tuple[int, ...] = (256, 256)
    clip: float = 0.2  # C
    temperature: float = 1.0  # T
    flow_weight: float = 1.0  # F
    flow_discount: float = 1.0  # gamma_f
    entropy_weight: float = 0.2  # K
    lowest_reward: float = 0.0  # what r-bar is scaled by
    reward_range: float = 1.0
    normalize_observations: bool = True

    name = "density_ratio"
    label = "density ratio"
    discrete_actions = True

    def networks(self, shapes: Shapes) -> dict[str, Specification]:  # noqa: D102
        both = shapes.observation_size + shapes.action_size
        rate = "learning_rate"
        return {
            "pair": MLP(both, 1, self.hidden, learning_rate=rate),
            "state": MLP(shapes.observation_size, 1, self.hidden, learning_rate=rate),
        }

    def phases(self) -> tuple[Phase, ...]:  # noqa: D102
        return (Phase(loss),)


def logits(
    networks: Mapping[str, FixedNetwork], observations: torch.Tensor, actions: torch.Tensor, clip: float | torch.Tensor
) -> torch.Tensor:
    """Return l of steps, [P, B]."""
    pair = networks["pair"](torch.cat([observations, actions], -1)).squeeze(-1)
    state = networks["state"](observations).squeeze(-1)
    return clipped(pair, clip) + clipped(state, clip)


def clipped(values: torch.Tensor, clip: float | torch.Tensor) -> torch.Tensor:
    """Return the values between -(1 + C) and 1 + C."""
    bound = 1.0 + torch.as_tensor(clip, dtype=values.dtype, device=values.device)
    return torch.clamp(values, -bound, bound)


def loss(setting: Setting) -> Losses:
    """Reward, flow and entropy of the weights of a batch."""
    networks, batch, h = setting.networks, setting.batch, setting.hyperparameters
    scores = logits(networks, batch.observations, batch.actions, h.clip) / h.temperature
    log_weights = torch.log_softmax(scores, -1)  # [P, B]
    weights = log_weights.exp()
    rewards = (batch.rewards - h.lowest_reward) / h.reward_range
    gained = (weights * rewards).sum(-1)

    following = clipped(networks["state"](batch.next_observations).squeeze(-1), h.clip) / h.temperature
    scale = torch.logsumexp(scores, -1, keepdim=True) - math.log(scores.shape[-1])  # log of the mean of exp(l / T)
    residual = h.flow_discount * torch.exp(scores - scale) - torch.exp(following - scale)
    flow = (batch.bootstraps * residual.square()).mean(-1)

    negative_entropy = (weights * log_weights).sum(-1)
    total = -gained + (h.flow_weight * flow[:, None] + h.entropy_weight * negative_entropy[:, None]).squeeze(-1)
    return Losses(
        {"pair": total, "state": total}, {"reward": gained, "flow": flow, "negative_entropy": negative_entropy}
    )


def action_scale(dataset: Dataset) -> ActionScale:
    """Return how the networks see actions: as categories, or from -1 to 1 over the range of the data."""
    actions = dataset.actions
    if not isinstance(actions, np.ndarray):
        raise ConfigError("actions are nested; a density ratio sees flat vectors or categories")
    if actions.dtype.kind in "iu":
        if actions.size != len(actions):
            raise ConfigError(
                f"actions are {actions.dtype} of shape {list(actions.shape[1:])}; a density ratio sees floats or one category"
            )
        return ActionScale.of_discrete(int(actions.max()) - int(actions.min()) + 1, int(actions.min()))
    low, high = (bound.astype(np.float64).ravel() for bound in (actions.min(0), actions.max(0)))
    return ActionScale.of(low, np.where(high > low, high, low + 1.0))


@torch.no_grad()
def scores(population: Population, data: TrainingData, clip: float) -> np.ndarray:
    """Return l of every row, (M,) float64."""
    ends = np.cumsum([width for _, width in data.columns])
    starts = dict(
        zip(
            [name for name, _ in data.columns],
            zip(ends - [width for _, width in data.columns], ends, strict=True),
            strict=True,
        )
    )
    found = []
    for first in range(0, len(data.rows), _ROWS_AT_ONCE):
        rows = torch.as_tensor(
            np.asarray(data.rows[first : first + _ROWS_AT_ONCE], np.float32), device=population.device
        )[None]
        observations, actions = (rows[..., slice(*starts[name])] for name in ("observations", "actions"))
        found.append(logits(population.networks, observations, actions, clip)[0].double().cpu().numpy())
    return np.concatenate(found)
