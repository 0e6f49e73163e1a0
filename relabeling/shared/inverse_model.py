"""The networks of inverse dynamics: their loss for a whole population, and what they say once they are trained.

`assay.relabeling.inverse_dynamics` has the equations and the published settings. This module needs torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Literal

import numpy as np
import torch
from torch.nn import functional

from assay.baselines.algorithms.algorithm import Algorithm, Losses, Phase, Setting
from assay.baselines.engine.held_out import Networks, Rows, member_seeds, train_best
from assay.baselines.engine.shapes import Shapes
from assay.baselines.networks import MLP
from assay.baselines.networks.network import Dropout
from assay.relabeling.shared.labelling import Labelled
from assay.relabeling.shared.predictors import Prediction, Predictor

__all__ = ["Inverse", "SquashedGaussians", "fit_inverse", "squashed_moments"]

_LOG_STD = (-5.0, 2.0)  # as published
_LARGEST_ACTION = 0.999  # where tanh is inverted
_NODES = 7  # of the quadrature
_TOGETHER = 1 << 11  # rows that the networks are given at once, so that activations stay in the cache


@dataclass(frozen=True)
class Inverse(Algorithm):
    """What the networks are and how they are trained; the "actions" of a batch are the labels of its windows."""

    learning_rate: float = 1e-4
    dropout: float = 0.1
    batch_size: int = 1024
    hidden: tuple[int, ...] = (1024, 1024)
    schedule: Literal["cosine", "constant"] = "cosine"
    discrete: bool = False
    normalize_observations: bool = False

    name = "inverse_dynamics"
    label = "inverse dynamics"

    def networks(self, shapes: Shapes) -> dict[str, MLP]:  # noqa: D102
        network = MLP(
            shapes.observation_size,
            shapes.action_size,
            self.hidden,
            learning_rate="learning_rate",
            orthogonal=1.0,
            schedule=self.schedule,
        )
        return {"logits": network} if self.discrete else {"mean": network, "log_std": network}

    def phases(self) -> tuple[Phase, ...]:  # noqa: D102
        loss = categorical_loss if self.discrete else gaussian_loss
        return (Phase(partial(loss, with_dropout=self.dropout > 0)),)


def _dropout(setting: Setting, network: str) -> Dropout:
    keep = 1.0 - setting.hyperparameters.dropout  # [P, 1]

    def drop(activations: torch.Tensor, layer: str) -> torch.Tensor:
        kept = setting.draws.events(f"dropout/{network}/{layer}", keep, *activations.shape[1:])
        scale: torch.Tensor = kept / keep[..., None]
        return activations * scale

    return drop


def _applied(setting: Setting, network: str, with_dropout: bool) -> torch.Tensor:
    """Return [P, B, out] what a network says of the batch."""
    dropout = _dropout(setting, network) if with_dropout else None
    return setting.networks[network](setting.batch.observations, dropout=dropout)


def gaussian_loss(setting: Setting, *, with_dropout: bool) -> Losses:
    """Negative log likelihood of the actions, without what the weights do not change."""
    mean, raw = (_applied(setting, name, with_dropout) for name in ("mean", "log_std"))  # [P, B, action]
    loss = gaussian_scores(mean, bounded(raw), setting.batch.actions).mean(1)
    return Losses({"mean": loss, "log_std": loss}, {"loss": loss})


def categorical_loss(setting: Setting, *, with_dropout: bool) -> Losses:
    """Cross-entropy of the actions."""
    loss = categorical_scores(_applied(setting, "logits", with_dropout), setting.batch.actions).mean(1)
    return Losses({"logits": loss}, {"loss": loss})


def bounded(raw: torch.Tensor) -> torch.Tensor:
    """Map any number into the range of log sigma."""
    low, high = _LOG_STD
    return low + 0.5 * (high - low) * (torch.tanh(raw) + 1.0)


def gaussian_scores(mean: torch.Tensor, log_std: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
    """Negative log likelihood [P, B], up to a constant."""
    unbounded = torch.atanh(actions.clamp(-_LARGEST_ACTION, _LARGEST_ACTION))
    standardized = (unbounded - mean) * torch.exp(-log_std)
    return (0.5 * standardized.square() + log_std).sum(-1)


def categorical_scores(logits: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
    """Cross-entropy [P, B]; actions are 1 in their entry and 0 in the others."""
    return -(functional.log_softmax(logits, -1) * actions).sum(-1)


def score(networks: Networks, inputs: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
    """Return [P, V] the loss of every row, without dropout."""
    if "logits" in networks:
        return categorical_scores(networks["logits"](inputs, weights="frozen"), actions)
    mean, raw = (networks[name](inputs, weights="frozen") for name in ("mean", "log_std"))
    return gaussian_scores(mean, bounded(raw), actions)


# -------------------------------------------------------------------- fitting


def fit_inverse(
    algorithm: Inverse,
    labelled: Labelled,
    past_states: Sequence[int],
    *,
    members: int,
    steps: int,
    seed: int,
    purpose: str,
    device: str,
    progress: Callable[[int], None] | None,
) -> tuple[list[Predictor], None, dict[str, Any]]:
    """Train members x splits x numbers of past states together; return a predictor per split, of the best number."""
    width = (max(past_states) + 2) * labelled.windows.size
    inputs = [labelled.inputs(past, width) for past in past_states]
    cells = [(past, split) for past in range(len(past_states)) for split in range(len(labelled.splits))]
    fitted_to, held_out = [], []
    for past, number in cells:
        split = labelled.splits[number]
        fitted_to.append(Rows(inputs[past][split.fitted], labelled.targets[split.fitted]))
        held_out.append(Rows(inputs[past][split.held_out], labelled.targets[split.held_out]))
    data_of = np.repeat(np.arange(len(cells)), members)
    # Members of equal number begin with equal weights, whatever their split and their past states.
    seeds = member_seeds(seed, purpose, members) * len(cells)
    trained = train_best(
        algorithm, fitted_to, held_out, data_of.tolist(), seeds, score, steps=steps, device=device, progress=progress
    )
    losses = trained.losses.reshape(len(past_states), -1)
    best = int(losses.mean(1).argmin())
    chosen = np.arange(len(seeds)).reshape(len(past_states), len(labelled.splits), members)[best]
    predictors: list[Predictor] = [
        SquashedGaussians(trained.of(of_split), past_states[best], trained.device) for of_split in chosen
    ]
    report = {
        "past_states": past_states[best],
        "members": members,
        "held_out_losses": {str(past): float(loss) for past, loss in zip(past_states, losses.mean(1))},
        "best_updates": trained.updates[chosen].ravel().tolist(),
        "loss_of_last": float(trained.last_losses[chosen].mean()),
    }
    return predictors, None, report


# -------------------------------------------------------------------- predicting


class SquashedGaussians:
    """The mixture of several members' distributions; of discrete actions the mean of their probabilities."""

    def __init__(self, networks: Networks, past_states: int, device: torch.device) -> None:
        self.networks, self.past_states, self.device = networks, past_states, device

    def __call__(self, inputs: np.ndarray) -> Prediction:
        """Predict the actions of windows."""
        with torch.no_grad():
            parts = [self._predict(torch.from_numpy(inputs[rows])) for rows in self._batches(len(inputs))]
        if "logits" in self.networks:
            return Prediction(np.concatenate([mean for mean, _ in parts]))
        return Prediction(*(np.concatenate(item) for item in zip(*parts)))

    def _batches(self, count: int) -> list[slice]:
        return [slice(start, start + _TOGETHER) for start in range(0, count, _TOGETHER)] or [slice(0, 0)]

    def _predict(self, inputs: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        first = next(iter(self.networks.values()))
        padded = functional.pad(inputs, (0, first.spec.inputs - inputs.shape[1]))  # type: ignore[attr-defined]
        shared = padded.to(self.device).expand(first.members, -1, -1)
        if "logits" in self.networks:
            probabilities = torch.softmax(self.networks["logits"](shared, weights="frozen"), -1).double().mean(0)
            return probabilities.cpu().numpy(), probabilities.cpu().numpy()
        mean, raw = (self.networks[name](shared, weights="frozen") for name in ("mean", "log_std"))
        means, variances = squashed_moments(mean, bounded(raw).exp())
        middle = means.mean(0)
        spread = (variances.mean(0) + (means - middle).square().mean(0)).sqrt()
        return middle.double().cpu().numpy(), spread.double().cpu().numpy()


@cache
def _quadrature() -> tuple[np.ndarray, np.ndarray]:
    """Return nodes and weights for means over a standard normal number."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    return nodes, weights / math.sqrt(2.0 * math.pi)


def squashed_moments(mean: torch.Tensor, std: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean and the variance of tanh(mean + std z), z standard normal, entry by entry.

    Examples
    --------
    >>> middle, variance = squashed_moments(torch.tensor([0.5]), torch.tensor([0.01]))
    >>> round(middle.item(), 3), round(variance.sqrt().item() / 0.01, 2)  # tanh(0.5), and its slope there
    (0.462, 0.79)
    """
    first, second = torch.zeros_like(mean), torch.zeros_like(mean)
    center = torch.tanh(mean)  # so that a small variance is no difference of large numbers
    for node, weight in zip(*_quadrature()):
        moved = torch.tanh(torch.add(mean, std, alpha=float(node))).sub_(center)
        first.add_(moved, alpha=float(weight))
        second.addcmul_(moved, moved, value=float(weight))
    return center + first, (second - first.square()).clamp(min=0.0)
