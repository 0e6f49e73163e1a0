r"""A reward learned from preferences: Bradley-Terry over an ensemble (Christiano et al. 2017, arXiv 1706.03741).

With r the network and s(1), s(2) what is seen of two segments of L steps,

.. math::
    P(2 \succ 1) = \sigma\Big(\sum_t r(s^{(2)}_t) - \sum_t r(s^{(1)}_t)\Big), \quad
    L(r) = -E \, [y \log P + (1 - y) \log (1 - P)]

with y = 1 where the second is better. Settings are those of RL-VLM-F (Wang et al. 2024, arXiv 2402.03681): three members, Adam
3e-4, batches of 64, tanh at the output, convolutions of 16, 32, 64 and 128 channels with kernels 5, 3, 3, 3 and strides 3, 2, 2, 2 for
frames, three layers of 256 for states (as in B-Pref, Lee et al. 2021, arXiv 2111.03026). Training stops when the mean accuracy of the
members on the training pairs is above 0.97, or after `passes` passes.

All members are one population of the engine: they share the pairs, and differ in their initial weights and batches.

Deviations from the published code: batches are drawn with replacement, where each member there goes through its own permutation;
every member has its own optimizer state, where one Adam serves all; no batch normalization between the convolutions, ReLU
everywhere, and frames less the mean frame. `stop="validation"` is ours: with wrong answers among the pairs, accuracy on them is no aim, so the weights of the pass
with the lowest loss on a tenth of the pairs are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch.nn import functional

from assay.baselines.algorithms.algorithm import Algorithm, Losses, Phase, Setting
from assay.baselines.engine.data import ActionScale, Frames, ObservationScale, TrainingData
from assay.baselines.engine.population import Member, Population
from assay.baselines.engine.shapes import Observations, Part, Shapes
from assay.baselines.networks import MLP, ConvolutionalEncoder, FixedNetwork, Specification
from assay.datasets.errors import ConfigError, DatasetError
from assay.datasets.generators import uniform_numbers
from assay.datasets.progress import Progress
from assay.relabeling.preferences.agreement import Agreement, agreement
from assay.relabeling.preferences.pairs import StepPairs
from assay.relabeling.preferences.views import FrameViews, Views

__all__ = ["BradleyTerry", "RewardModel", "Training", "fit_reward_model"]

_LEAST_ANSWERS = 10
_SHARE_OF_VALIDATION = 0.1


@dataclass(frozen=True)
class BradleyTerry(Algorithm):
    """The reward network and its loss. A row of its data is a pair: the first segment as s, the second as s', y as the reward."""

    learning_rate: float = 3e-4  # of Adam
    batch_size: int = 64  # pairs per update
    hidden: tuple[int, ...] = (256, 256, 256)  # of states
    filters: tuple[tuple[int, int, int], ...] = ((16, 5, 3), (32, 3, 2), (64, 3, 2), (128, 3, 2))  # of frames
    features: int = 128  # that a frame becomes
    length: int = 1  # steps of a segment
    normalize_observations: bool = False

    name = "bradley_terry"
    label = "Bradley-Terry reward"

    def networks(self, shapes: Shapes) -> dict[str, Specification]:  # noqa: D102
        options: dict[str, Any] = {"learning_rate": "learning_rate"}
        if not shapes.images:
            size = shapes.observation_size // self.length
            return {"reward": MLP(size, 1, self.hidden, output="tanh", **options)}
        frame = shapes.images[0].shape[1:]  # without the axis of the segment
        encoder = ConvolutionalEncoder(0, (frame,), self.filters, self.features, **options)
        return {"encoder": encoder, "reward": MLP(encoder.outputs, 1, (), output="tanh", **options)}

    def phases(self) -> tuple[Phase, ...]:  # noqa: D102
        return (Phase(partial(loss, length=self.length)),)


def segment_returns(
    networks: Mapping[str, FixedNetwork],
    seen: Observations,
    length: int,
    weights: Literal["learned", "frozen"] = "learned",
) -> torch.Tensor:
    """Return the sums [P, B] of rewards of segments, vectors [P, B, L n] or frames [P, B, L, height, width, channels]."""
    if isinstance(seen, torch.Tensor):
        steps = seen.unflatten(-1, (length, -1)).flatten(1, 2)  # [P, B L, n]
    else:
        frames = seen["image"].flatten(1, 2)  # [P, B L, height, width, channels]
        no_vector = torch.zeros((*frames.shape[:2], 0), dtype=networks["reward"].buffer.dtype, device=frames.device)
        centred = (frames.to(no_vector.dtype) - 128.0) / 64.0
        steps = networks["encoder"](no_vector, centred, weights=weights)
    rewards = networks["reward"](steps, weights=weights).squeeze(-1)  # [P, B L]
    return rewards.unflatten(1, (-1, length)).sum(-1)


def loss(setting: Setting, length: int) -> Losses:
    """Cross-entropy of the answers under the Bradley-Terry model."""
    networks, batch = setting.networks, setting.batch
    margin = segment_returns(networks, batch.next_seen, length) - segment_returns(networks, batch.seen, length)
    per_pair = functional.binary_cross_entropy_with_logits(margin, batch.rewards, reduction="none")  # [P, B]
    mean = per_pair.mean(-1)
    right = ((margin > 0) == (batch.rewards > 0.5)).to(mean.dtype).mean(-1)
    metrics = {"preference_loss": mean, "preference_accuracy": right}
    return Losses({name: mean for name in ("encoder", "reward") if name in networks}, metrics)


@dataclass(frozen=True)
class Training:
    """How a reward model is trained.

    Parameters
    ----------
    algorithm : BradleyTerry
    ensemble : int
        Members.
    passes : int
        Most passes over the training pairs.
    stop : "training_accuracy" or "validation"
        As published, or by a tenth of the training pairs that are set apart.
    target_accuracy : float
        Mean accuracy on the training pairs at which training stops.
    held_out : float
        Share of the pairs that is never trained on; what is reported is measured there.
    seed : int
    device : str
    """

    algorithm: BradleyTerry = field(default_factory=BradleyTerry)
    ensemble: int = 3
    passes: int = 50
    stop: Literal["training_accuracy", "validation"] = "training_accuracy"
    target_accuracy: float = 0.97
    held_out: float = 0.1
    seed: int = 0
    device: str = "cpu"


@dataclass(frozen=True)
class RewardModel:
    """A trained ensemble.

    Parameters
    ----------
    population : Population
    views : Views
    training, held_out : Agreement
        Of the ensemble with the answers that it was trained on, and with those that it has not seen.
    passes : int
        Passes over the training pairs.
    """

    population: Population
    views: Views
    training: Agreement
    held_out: Agreement
    passes: int

    def rewards(self, steps: np.ndarray, progress: Progress | None = None) -> np.ndarray:
        """Return the members' rewards of steps, (K, n) float64 in [-1, 1]."""
        return member_rewards(self.population, self.views, steps, progress)

    def disagreement(self, pairs: StepPairs) -> np.ndarray:
        """Return the standard deviation (n,) over the members of P(2 > 1)."""
        spread: np.ndarray = _sigmoid(margins(self.population, self.views, pairs)).std(0)
        return spread

    def report(self) -> dict[str, Any]:
        """Return what is known of its quality, as JSON values."""
        return {"passes": self.passes, "held_out": self.held_out.to_plain(), "training": self.training.to_plain()}


def fit_reward_model(
    views: Views, pairs: StepPairs, answers: np.ndarray, training: Training, progress: Progress | None = None
) -> RewardModel:
    """Train the ensemble on answered pairs.

    Parameters
    ----------
    views : Views
    pairs : StepPairs
    answers : (n,) integers
        0 where the first segment is better, 1 where the second is; pairs with -1 are left out.
    training : Training
    progress : callable, optional
        Called with (passes done, most passes).

    Raises
    ------
    DatasetError
        If fewer than ten pairs have an answer, or the training diverges.
    """
    answers = np.asarray(answers)
    decided = np.flatnonzero(answers >= 0)
    if len(decided) < _LEAST_ANSWERS:
        raise DatasetError(
            f"{len(decided)} of {len(answers)} pairs have an answer: a reward model needs at least {_LEAST_ANSWERS}"
        )
    pairs, answers = pairs.take(decided), answers[decided].astype(np.float64)
    order = uniform_numbers(len(pairs), training.seed, "relabeling.preferences", "held out")
    held_out = order < np.quantile(order, training.held_out)
    apart = np.zeros(len(pairs), bool)
    if training.stop == "validation":
        apart = ~held_out & (order > np.quantile(order, 1.0 - _SHARE_OF_VALIDATION))
    trained = np.flatnonzero(~held_out & ~apart)
    data = _training_data(views, pairs.take(trained), answers[trained])
    updates = -(-len(trained) // training.algorithm.batch_size)  # of a pass
    members = [Member(training.algorithm, 1_000_003 * training.seed + number, 0) for number in range(training.ensemble)]
    population = Population(members, [data], updates * training.passes, device=training.device)
    judged, wanted = pairs.take(np.flatnonzero(apart)), answers[apart]

    def validate() -> float:
        margin = margins(population, views, judged)
        return float((np.logaddexp(0.0, margin) - wanted * margin).mean())

    passes = _train(population, updates, training, validate, progress)
    if any(update is not None for update in population.frozen_at):
        raise DatasetError("the reward model diverged: choose a smaller learning rate")

    def agree(chosen: np.ndarray) -> Agreement:
        return agreement(_sigmoid(margins(population, views, pairs.take(chosen))).mean(0), answers[chosen])

    return RewardModel(population, views, agree(trained), agree(np.flatnonzero(held_out)), passes)


def _train(
    population: Population, updates: int, training: Training, validate: Callable[[], float], progress: Progress | None
) -> int:
    """Train pass by pass until the rule of stopping holds; returns the passes whose weights are kept."""
    best_loss, best_state, best = np.inf, None, training.passes
    for done in range(1, training.passes + 1):
        population.advance(updates)
        if progress is not None:
            progress(done, training.passes)
        if training.stop == "validation":
            if (mean := validate()) < best_loss:
                best_loss, best_state, best = mean, population.state(), done
        elif float(population.metrics()["preference_accuracy"].mean()) > training.target_accuracy:
            return done
    if best_state is not None:
        population.restore(best_state)
    return best


# -------------------------------------------------------------------- data and predictions


def _training_data(views: Views, pairs: StepPairs, answers: np.ndarray) -> TrainingData:
    """Lay pairs out as rows of the engine."""
    count, length = len(pairs), pairs.length
    sides = {"observations": np.zeros((count, 0), np.float32), "next_observations": np.zeros((count, 0), np.float32)}
    frames: dict[str, Frames] = {}
    if isinstance(views, FrameViews):
        segments, places = np.unique(np.concatenate([pairs.first, pairs.second]), return_inverse=True)
        seen = views.take((segments[:, None] + np.arange(length)).ravel()).reshape(len(segments), length, *views.shape)
        frames["image"] = Frames(seen, places[:count].astype(np.int64), places[count:].astype(np.int64))
        shapes = Shapes((Part("", (length, *views.shape), "image"),), 1)
    else:
        sides["observations"] = views.take(pairs.steps("first").ravel()).reshape(count, -1)
        sides["next_observations"] = views.take(pairs.steps("second").ravel()).reshape(count, -1)
        shapes = Shapes.flat(sides["observations"].shape[1], 1)
    zeros = np.zeros((count, 1), np.float32)
    parts = {
        "observations": sides["observations"],
        "actions": zeros,
        "rewards": answers[:, None],
        "next_observations": sides["next_observations"],
        "bootstraps": zeros,
    }
    size = shapes.observation_size
    return TrainingData(
        np.concatenate(list(parts.values()), 1, dtype=np.float32),
        tuple((name, part.shape[1]) for name, part in parts.items()),
        np.ones(count, np.int32),
        ObservationScale(np.zeros(size), np.ones(size)),
        ActionScale(np.zeros(1), np.ones(1)),
        0.0,
        shapes=shapes,
        frames=frames,
    )


@torch.no_grad()
def member_rewards(
    population: Population, views: Views, steps: np.ndarray, progress: Progress | None = None
) -> np.ndarray:
    """Return the members' rewards of steps, (K, n) float64."""
    members = len(population.members)
    found = np.empty((members, len(steps)))
    for start in range(0, len(steps), views.rows_at_once):
        chosen = steps[start : start + views.rows_at_once]
        seen = torch.from_numpy(views.take(chosen)).to(population.device)[None, :, None]  # [1, n, L = 1, ...]
        seen = seen.expand(members, *seen.shape[1:])
        given: Observations = {"image": seen} if isinstance(views, FrameViews) else seen.flatten(2)
        rewards = segment_returns(population.networks, given, 1, "frozen")
        found[:, start : start + len(chosen)] = rewards.double().cpu().numpy()
        if progress is not None:
            progress(start + len(chosen), len(steps))
    return found


def margins(population: Population, views: Views, pairs: StepPairs) -> np.ndarray:
    """Return what each member thinks the second segments have more than the first, (K, n) float64."""
    steps, places = np.unique(
        np.concatenate([pairs.steps("first"), pairs.steps("second")]).ravel(), return_inverse=True
    )
    rewards = member_rewards(population, views, steps)[:, places].reshape(len(population.members), 2, -1, pairs.length)
    returns = rewards.sum(-1)
    found: np.ndarray = returns[:, 1] - returns[:, 0]
    return found


def _sigmoid(margin: np.ndarray) -> np.ndarray:
    probability: np.ndarray = 1.0 / (1.0 + np.exp(-margin))
    return probability


def check_fits(algorithm: BradleyTerry, views: Views) -> None:
    """Raise ConfigError where frames are too small for the filters, before a judge is asked."""
    if isinstance(views, FrameViews):
        shapes = Shapes((Part("", (algorithm.length, *views.shape), "image"),), 1)
        for network in algorithm.networks(shapes).values():
            network.parameters()
    elif not views.shape[0]:
        raise ConfigError("the observations have no entry that a reward model could see")
