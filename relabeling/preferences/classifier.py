"""The network of a reward model as a classifier of single steps, on the engine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch.nn import functional

from assay.baselines.algorithms.algorithm import Losses, Phase, Setting
from assay.baselines.engine.population import Member, Population
from assay.datasets.errors import DatasetError
from assay.datasets.generators import uniform_numbers
from assay.datasets.progress import Progress
from assay.relabeling.frames.views import Views
from assay.relabeling.preferences.agreement import Agreement, agreement
from assay.relabeling.preferences.pairs import StepPairs
from assay.relabeling.preferences.reward_model import (
    BradleyTerry,
    member_rewards,
    pairs_as_rows,
    segment_returns,
    sigmoid,
)

__all__ = ["Classifier", "fit_classifier"]

_LARGEST_LOGIT = 8.0  # what an output of 1 stands for
_UPDATES_PER_REPORT = 50
_MOST_TRAINED = 20_000  # steps of each kind, spread evenly
_MOST_HELD_OUT = 2_000  # steps of each kind that quality is measured on


@dataclass(frozen=True)
class Classifier(BradleyTerry):
    """P(success) = sigma(8 r), r in [-1, 1] the network; a row of its data is a step, with its class as the reward."""

    name = "success_classifier"
    label = "success classifier"

    def phases(self) -> tuple[Phase, ...]:  # noqa: D102
        return (Phase(classification_loss),)


def classification_loss(setting: Setting) -> Losses:
    """Cross-entropy of the classes."""
    networks, batch = setting.networks, setting.batch
    logits = _LARGEST_LOGIT * segment_returns(networks, batch.seen, 1)  # [P, B]
    loss = functional.binary_cross_entropy_with_logits(logits, batch.rewards, reduction="none").mean(-1)
    return Losses({name: loss for name in ("encoder", "reward") if name in networks}, {"classification_loss": loss})


def fit_classifier(
    views: Views,
    positive: np.ndarray,
    episodes: np.ndarray,
    algorithm: BradleyTerry,
    *,
    ensemble: int,
    updates: int,
    held_out: float,
    seed: int,
    device: str,
    progress: Progress | None,
    known: np.ndarray | None = None,
) -> tuple[np.ndarray, dict[str, Agreement]]:
    """Train an ensemble, and return P(success) of every step, (K, N), and how well held-out episodes are classified.

    Parameters
    ----------
    views : Views
    positive : (N,) bool
    episodes : (N,) int
        Of each step; whole episodes are held out.
    known : (N,) bool, optional
        Steps whose class is known; the others are neither trained on nor counted.

    Raises
    ------
    DatasetError
        If no step of one of the kinds is left to train on.
    """
    numbers = uniform_numbers(int(episodes.max()) + 1, seed, "relabeling.success", "held out")
    apart = (numbers < held_out)[episodes]
    told = np.ones(len(positive), bool) if known is None else known
    trained = _balanced(np.flatnonzero(~apart & told), positive)
    pairs = StepPairs(trained, trained)
    data = pairs_as_rows(views, pairs, positive[trained].astype(np.float64))
    settings = vars(algorithm)
    members = [Member(Classifier(**settings), 1_000_003 * seed + number, 0) for number in range(ensemble)]
    population = Population(members, [data], updates, device=device)
    while population.completed < updates:
        population.advance(min(_UPDATES_PER_REPORT, updates - population.completed))
        if progress is not None:
            progress(population.completed, updates)
    if any(update is not None for update in population.frozen_at):
        raise DatasetError("the classifier diverged: choose a smaller learning rate")
    logits = _LARGEST_LOGIT * member_rewards(population, views, np.arange(len(positive)))
    probabilities = sigmoid(logits)
    quality = {}
    for name, rows in (("training", trained), ("held_out", np.flatnonzero(apart & told))):
        kinds = [rows[positive[rows]], rows[~positive[rows]]]
        each = min(*map(len, kinds), _MOST_HELD_OUT)
        even = np.concatenate([kind[np.linspace(0, len(kind) - 1, each).astype(int)] for kind in kinds])
        quality[name] = agreement(probabilities.mean(0)[even], positive[even])
    return probabilities, quality


def _balanced(steps: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Return as many positive steps as negative ones: the rarer kind is repeated."""
    kinds = [steps[positive[steps]], steps[~positive[steps]]]
    if not all(map(len, kinds)):
        raise DatasetError("no successful step is left to train on once episodes are held out; hold fewer out")
    kinds = [kind[:: -(-len(kind) // _MOST_TRAINED)] for kind in kinds]
    count = max(map(len, kinds))
    return np.concatenate([np.resize(kind, count) for kind in kinds])
