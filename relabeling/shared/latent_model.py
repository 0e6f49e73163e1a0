"""The networks of latent actions, their loss for a whole population, and the linear probe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from assay.baselines.algorithms.algorithm import Algorithm, Losses, Phase, Setting
from assay.baselines.engine.held_out import Networks, Rows, member_seeds, train_best
from assay.baselines.engine.shapes import Shapes
from assay.baselines.networks import MLP
from assay.relabeling.shared.labelling import Labelled
from assay.relabeling.shared.predictors import Prediction, Predictor

__all__ = ["Latent", "fit_latent"]


@dataclass(frozen=True)
class Latent(Algorithm):
    """What the networks are and how they are trained; the "actions" of a batch are the changes of the state."""

    learning_rate: float = 3e-4
    noise: float = 0.1
    batch_size: int = 256
    hidden: tuple[int, ...] = (256, 256)
    latent_size: int = 1
    normalize_observations: bool = False

    name = "latent_actions"
    label = "latent actions"

    def networks(self, shapes: Shapes) -> dict[str, MLP]:  # noqa: D102
        state = shapes.action_size
        rate = "learning_rate"
        return {
            "inverse": MLP(shapes.observation_size, self.latent_size, self.hidden, learning_rate=rate, output="tanh"),
            "forward": MLP(state + self.latent_size, state, self.hidden, learning_rate=rate),
        }

    def phases(self) -> tuple[Phase, ...]:  # noqa: D102
        return (Phase(change_loss),)


def change_loss(setting: Setting) -> Losses:
    """Mean squared error of the change that the forward model predicts from the latent action."""
    batch, networks = setting.batch, setting.networks
    latent = networks["inverse"](batch.observations)
    noise = setting.draws.normal("noise", *latent.shape[1:]) * setting.hyperparameters.noise[..., None]
    states = batch.observations[..., : batch.actions.shape[-1]]
    predicted = networks["forward"](torch.cat([states, latent + noise], -1))
    loss = (predicted - batch.actions).square().mean((1, 2))
    return Losses({"inverse": loss, "forward": loss}, {"loss": loss})


def score(networks: Networks, inputs: torch.Tensor, changes: torch.Tensor) -> torch.Tensor:
    """Return [P, V] the squared error of every row, without noise."""
    latent = networks["inverse"](inputs, weights="frozen")
    states = inputs[..., : changes.shape[-1]]
    return (networks["forward"](torch.cat([states, latent], -1), weights="frozen") - changes).square().mean(-1)


def fit_latent(
    algorithm: Latent,
    labelled: Labelled,
    *,
    ridge: float,
    steps: int,
    seed: int,
    purpose: str,
    device: str,
    progress: Callable[[int], None] | None,
) -> tuple[list[Predictor], None, dict[str, Any]]:
    """Train the latent actions of every split together, then a probe for each."""
    windows, size = labelled.windows, labelled.windows.size
    every = np.flatnonzero(windows.complete)
    inputs = windows.inputs(every, 0)  # s_t and its change, which is also what is predicted
    place = np.searchsorted(every, labelled.steps)
    fitted_to, held_out = [], []
    for split in labelled.splits:
        outside = np.zeros(len(every), bool)
        outside[place[split.held_out]] = True
        fitted_to.append(Rows(inputs[~outside], inputs[~outside, size:]))
        held_out.append(Rows(inputs[outside], inputs[outside, size:]))
    trained = train_best(
        algorithm,
        fitted_to,
        held_out,
        range(len(labelled.splits)),
        member_seeds(seed, purpose, 1) * len(labelled.splits),
        score,
        steps=steps,
        device=device,
        progress=progress,
    )
    predictors: list[Predictor] = []
    for number, split in enumerate(labelled.splits):
        encoder = _Encoder(trained.of(np.array([number])), trained.device)
        probe = _DiscreteProbe if labelled.discrete else _Probe
        targets = labelled.targets[split.fitted].astype(np.float64)
        predictors.append(probe(encoder, encoder(inputs[place[split.fitted]]), targets, ridge))
    changes = np.mean([np.square(rows.targets).mean() for rows in held_out])
    return (
        predictors,
        None,
        {
            "latent_size": algorithm.latent_size,
            "change_explained": float(1.0 - trained.losses.mean() / changes),  # by the forward model, of its variance
            "best_updates": trained.updates.tolist(),
        },
    )


class _Encoder:
    """Windows -> latent actions."""

    def __init__(self, networks: Networks, device: torch.device) -> None:
        self.networks, self.device = networks, device

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            found = self.networks["inverse"](torch.from_numpy(inputs).to(self.device)[None], weights="frozen")[0]
        return found.double().cpu().numpy()


class _Probe:
    """A linear function of the latent action, by ridge regression; its residuals on the fitted steps are the spread."""

    past_states = 0

    def __init__(self, encoder: _Encoder, latents: np.ndarray, targets: np.ndarray, ridge: float) -> None:
        self.encoder = encoder
        self.mean, self.middle = latents.mean(0), targets.mean(0)
        centred = latents - self.mean
        products = centred.T @ centred + ridge * len(latents) * np.eye(latents.shape[1])
        self.weights = np.linalg.solve(products, centred.T @ (targets - self.middle))
        self.deviation = (targets - self.middle - centred @ self.weights).std(0)

    def __call__(self, inputs: np.ndarray) -> Prediction:
        mean = self.middle + (self.encoder(inputs) - self.mean) @ self.weights
        return Prediction(np.clip(mean, -1.0, 1.0), np.broadcast_to(self.deviation, mean.shape))


class _DiscreteProbe:
    """Logistic regression on the latent action, of all actions at once."""

    past_states = 0

    def __init__(self, encoder: _Encoder, latents: np.ndarray, targets: np.ndarray, ridge: float) -> None:
        from scipy.optimize import minimize

        self.encoder = encoder
        inputs, shape = _with_one(latents), (latents.shape[1] + 1, targets.shape[1])

        def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
            weights = flat.reshape(shape)
            logits = inputs @ weights
            logits -= logits.max(1, keepdims=True)
            logarithms = logits - np.log(np.exp(logits).sum(1, keepdims=True))
            gradient = inputs.T @ (np.exp(logarithms) - targets) / len(inputs) + 2.0 * ridge * weights
            return float(ridge * np.square(weights).sum() - (targets * logarithms).sum(1).mean()), gradient.ravel()

        self.weights = minimize(loss, np.zeros(shape).ravel(), jac=True, method="L-BFGS-B").x.reshape(shape)

    def __call__(self, inputs: np.ndarray) -> Prediction:
        logits = _with_one(self.encoder(inputs)) @ self.weights
        powers = np.exp(logits - logits.max(1, keepdims=True))
        return Prediction(powers / powers.sum(1, keepdims=True))


def _with_one(latents: np.ndarray) -> np.ndarray:
    return np.concatenate([latents, np.ones((len(latents), 1))], axis=1)
