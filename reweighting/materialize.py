"""Weights turned into data: a resampled dataset, for learners that draw uniformly.

Systematic resampling: with c_i the number of copies that a piece is to have on average, it has floor(c_i) or floor(c_i) + 1 of them,
which is the least variance that whole copies can have. Where all steps of each episode weigh the same, pieces are episodes, and stay
whole. Else they are single steps, each an episode of its own that is truncated, or terminated where the step is.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError, DatasetError
from assay.datasets.generators import block_generator
from assay.datasets.pieces import take_pieces
from assay.datasets.registry import Integer, Seed
from assay.datasets.transform import Transform, register

__all__ = ["Materialize", "materialize"]


@register("reweighting.materialize")
class Materialize(Transform):
    """Resample a dataset by its weights, and leave the weights out.

    Parameters
    ----------
    by : "auto", "episode" or "step"
        What is copied whole; "auto" takes episodes where the weights allow it.
    steps : int, optional
        About how many steps the result has; default as many as there are.
    seed : int
        Of which pieces have one copy more.

    Raises
    ------
    DatasetError
        When applied: if there are no weights, or nothing is drawn.
    ConfigError
        When applied: if episodes are to stay whole and their steps have different weights.

    Notes
    -----
    Copies follow each other in the order of the dataset. The episode columns `origin/episode` and `origin/step` say where each comes
    from. Masks, labels that are missing and all other columns come along.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(6.0), actions=np.zeros(4), rewards=[0.0, 1.0, 2.0, 3.0], episode_lengths=[2, 2],
    ...     columns={"weights": [0.5, 0.5, 1.5, 1.5]})
    >>> Materialize(steps=8)(dataset).rewards.tolist()
    [0.0, 1.0, 2.0, 3.0, 2.0, 3.0, 2.0, 3.0]
    """

    by: Literal["auto", "episode", "step"] = "auto"
    steps: Integer | None = Field(default=None, gt=0)
    seed: Seed = 0

    def apply(self, dataset: Dataset) -> Dataset:  # noqa: D102
        weights = dataset.weights
        if weights is None:
            raise DatasetError("the dataset has no weights to resample by; reweighting.trajectory and others make them")
        weights = weights.astype(np.float64)
        if not weights.sum() > 0:
            raise DatasetError("no step has a weight above 0, so nothing would be drawn")
        of_episodes = weights[dataset.episode_starts]
        whole = bool((weights == np.repeat(of_episodes, dataset.episode_lengths)).all())
        if self.by == "episode" and not whole:
            step = int(np.flatnonzero(weights != np.repeat(of_episodes, dataset.episode_lengths))[0])
            raise ConfigError(
                f'step {step} weighs other than the first of its episode, which cannot stay whole: by="step"'
            )
        wanted = dataset.total_steps if self.steps is None else self.steps
        if whole and self.by != "step":
            firsts, lengths, expected = dataset.episode_starts, dataset.episode_lengths, of_episodes
        else:
            firsts, lengths, expected = np.arange(dataset.total_steps), np.ones(dataset.total_steps, np.int64), weights
        copies = systematic(expected * (wanted / (expected * lengths).sum()), self.seed)
        if not copies.sum():
            raise DatasetError(f"{wanted:,} steps are fewer than the shortest episode that is drawn has; ask for more")
        return take_pieces(dataset, np.repeat(firsts, copies), np.repeat(lengths, copies)).replace({"weights": None})


def systematic(expected: np.ndarray, seed: int) -> np.ndarray:
    """Return whole numbers of copies whose means are `expected`, each the number below or above.

    Examples
    --------
    >>> int(systematic(np.array([0.5, 2.0, 0.5]), seed=0).sum())
    3
    """
    start = block_generator(seed, "reweighting.materialize", "start", 0).random()
    # a bound that is a whole number but for rounding is one
    bounds = np.round(np.concatenate([[0.0], np.cumsum(expected)]), 9) + start
    return np.diff(np.floor(bounds).astype(np.int64))


def materialize(
    dataset: Dataset, *, by: Literal["auto", "episode", "step"] = "auto", steps: int | None = None, seed: int = 0
) -> Dataset:
    """Resample a dataset by its weights; see `Materialize`.

    Examples
    --------
    >>> from assay.reweighting import TrajectoryWeighting
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(6.0), actions=np.zeros(4), rewards=[0.0, 0.0, 0.0, 1.0], episode_lengths=[3, 1])
    >>> best = materialize(TrajectoryWeighting(score="top", fraction=0.5)(dataset))
    >>> best.rewards.tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    return Materialize(by=by, steps=steps, seed=seed)(dataset)
