"""The network of the one-step deterministic model, its loss for a whole population, and what it says once trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from assay.baselines.algorithms.algorithm import Algorithm, Losses, Phase, Setting
from assay.baselines.engine.held_out import Networks, Rows, member_seeds, train_best
from assay.baselines.engine.shapes import Shapes
from assay.baselines.networks import MLP
from assay.relabeling.shared.inverse_model import categorical_scores
from assay.relabeling.shared.labelling import Labelled
from assay.relabeling.shared.predictors import Prediction, Predictor

__all__ = ["OneStep", "fit_one_step"]


@dataclass(frozen=True)
class OneStep(Algorithm):
    """What the network is and how it is trained."""

    learning_rate: float = 3e-4
    batch_size: int = 256
    hidden: tuple[int, ...] = (256, 256)
    discrete: bool = False
    normalize_observations: bool = False

    name = "one_step_actions"
    label = "one-step inverse dynamics"

    def networks(self, shapes: Shapes) -> dict[str, MLP]:  # noqa: D102
        sizes = shapes.observation_size, shapes.action_size
        output: Literal["linear", "tanh"] = "linear" if self.discrete else "tanh"
        return {"actions": MLP(*sizes, self.hidden, learning_rate="learning_rate", output=output)}

    def phases(self) -> tuple[Phase, ...]:  # noqa: D102
        return (Phase(categorical_loss if self.discrete else squared_loss),)


def squared_loss(setting: Setting) -> Losses:
    """Mean squared error of the actions."""
    loss = squared_scores(setting.networks["actions"](setting.batch.observations), setting.batch.actions).mean(1)
    return Losses({"actions": loss}, {"loss": loss})


def categorical_loss(setting: Setting) -> Losses:
    """Cross-entropy of the actions."""
    loss = categorical_scores(setting.networks["actions"](setting.batch.observations), setting.batch.actions).mean(1)
    return Losses({"actions": loss}, {"loss": loss})


def squared_scores(predicted: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
    """Squared error [P, B], summed over the entries."""
    return (predicted - actions).square().sum(-1)


def fit_one_step(
    algorithm: OneStep,
    labelled: Labelled,
    *,
    steps: int,
    seed: int,
    purpose: str,
    device: str,
    progress: Callable[[int], None] | None,
) -> tuple[list[Predictor], None, dict[str, Any]]:
    """Train one network per split, together; return a predictor for each."""
    inputs, splits = labelled.inputs(0), labelled.splits
    scores = categorical_scores if algorithm.discrete else squared_scores

    def score(networks: Networks, some: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return scores(networks["actions"](some, weights="frozen"), targets)

    trained = train_best(
        algorithm,
        [Rows(inputs[split.fitted], labelled.targets[split.fitted]) for split in splits],
        [Rows(inputs[split.held_out], labelled.targets[split.held_out]) for split in splits],
        range(len(splits)),
        member_seeds(seed, purpose, 1) * len(splits),
        score,
        steps=steps,
        device=device,
        progress=progress,
    )
    predictors: list[Predictor] = []
    for number, split in enumerate(splits):
        networks, held_out = trained.of(np.array([number])), inputs[split.held_out]
        model = _Deterministic(networks, algorithm.discrete, np.ones(labelled.targets.shape[1]), trained.device)
        if not algorithm.discrete:
            errors = model(held_out).mean - labelled.targets[split.held_out]
            model.deviation = np.sqrt(np.square(errors).mean(0))
        predictors.append(model)
    return (
        predictors,
        None,
        {"best_updates": trained.updates.tolist(), "loss_of_last": float(trained.last_losses.mean())},
    )


class _Deterministic:
    """One action for each window, with the same spread everywhere."""

    past_states = 0

    def __init__(self, networks: Networks, discrete: bool, deviation: np.ndarray, device: torch.device) -> None:
        self.networks, self.discrete, self.deviation, self.device = networks, discrete, deviation, device

    def __call__(self, inputs: np.ndarray) -> Prediction:
        with torch.no_grad():
            found = self.networks["actions"](torch.from_numpy(inputs).to(self.device)[None], weights="frozen")[0]
        if self.discrete:
            return Prediction(torch.softmax(found, -1).double().cpu().numpy())
        mean = found.double().cpu().numpy()
        return Prediction(mean, np.broadcast_to(self.deviation, mean.shape))
