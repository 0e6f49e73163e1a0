"""Trains policies on random subsets of the episodes, and estimates what each episode, or group of episodes, is worth."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl

from assay.analysis.values.estimates import (
    banzhaf_values,
    check_subsets,
    draw_subsets,
    fit_datamodel,
    held_out_predictions,
    noise_ceiling,
    validate,
)
from assay.analysis.values.plan import ValuePlan
from assay.analysis.values.result import ValueResult
from assay.analysis.values.training import Training
from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError, UnknownNameError
from assay.datasets.progress import Auto
from assay.datasets.registry import check_seed
from assay.datasets.wording import count_of

__all__ = ["groups_of", "plan_values", "value"]


def value(
    dataset: Dataset,
    *,
    algorithm: Any,
    steps: int,
    subsets: int = 512,
    by: str | Sequence[Any] = "episode",
    seeds: int = 2,
    seed: int = 0,
    evaluation: Any = "final",
    runs: str | os.PathLike[str] = "runs",
    progress: Callable[[Any], None] | Auto | None = "auto",
    options: Any = None,
    **changes: Any,
) -> ValueResult:
    """Estimate what each episode is worth for what is learned, and say whether the estimate can be relied on.

    An algorithm is trained on random subsets of the episodes, all subsets as one population. A group's value is the mean score with
    it minus that without it. The estimate is validated on held-out subsets first; without that there are no values.

    Parameters
    ----------
    dataset : Dataset
    algorithm : Algorithm or str
    steps : int
        Updates of each training.
    subsets : int
        Random subsets. The standard error of a value is about `2 sd / sqrt(subsets)`, with sd that of the subsets' scores.
    by : str or sequence
        `"episode"`; a column of `dataset.episodes`; or one label per episode. Fewer groups need fewer subsets.
    seeds : int
        Trainings of each subset; their mean is its score, and two or more tell how much of it is noise.
    seed : int
        Of the subsets; the first training seed.
    evaluation : Evaluation or str
        As in `assay.trial`: by default 10 episodes after the last update.
    runs : path
        Folder for the run folders; what is finished there is not trained again.
    progress, options, **changes
        As in `assay.baselines.train`.

    Returns
    -------
    ValueResult

    Raises
    ------
    ConfigError
        If there are too few groups or subsets, or nothing says which environment to evaluate in; before anything is trained.
    AssayError
        If a training failed.

    Examples
    --------
    >>> import assay, tempfile
    >>> from assay.baselines import BC, Evaluation
    >>> dataset = assay.load("pendulum/random", steps=1_000)
    >>> result = assay.value(
    ...     dataset, algorithm=BC(hidden=(4,)), steps=2, subsets=24, seeds=1, evaluation=Evaluation(episodes=1),
    ...     runs=tempfile.mkdtemp(), workers=0)
    >>> result.table.columns[:3], len(result.table)
    (['group', 'episodes', 'steps'], 5)
    """
    _check_seeds(seeds)
    first = check_seed(seed)
    training = Training.of(dataset, algorithm, steps, evaluation, runs, options, **changes)
    names, groups = groups_of(dataset, by)
    members = draw_subsets(len(groups), subsets, first)
    jobs = []
    for number, inside in enumerate(members):
        part = sorted(episode for group in np.flatnonzero(inside) for episode in groups[group])
        jobs += [(part, first + number * seeds + repetition, f"subset-{number}") for repetition in range(seeds)]
    scores = training.scores(jobs, progress).reshape(subsets, seeds)
    return _result(training, names, groups, members, scores, first)


def plan_values(
    dataset: Dataset,
    *,
    subsets: int = 512,
    by: str | Sequence[Any] = "episode",
    seeds: int = 2,
    deviation: float | None = None,
) -> ValuePlan:
    """Say what `assay.value` with these settings will cost, and how exact its values will be; trains nothing.

    Parameters
    ----------
    dataset, subsets, by, seeds
        As for `assay.value`.
    deviation : float, optional
        Standard deviation of the subsets' scores, such as that of a pilot with few subsets (`ValueResult.deviation`).

    Returns
    -------
    ValuePlan

    Raises
    ------
    ConfigError
        If there are too few groups or subsets.

    Examples
    --------
    >>> import assay
    >>> plan_values(assay.load("pendulum/random", steps=1_000), subsets=100, deviation=4.0).standard_error
    0.8
    """
    _check_seeds(seeds)
    groups = len(groups_of(dataset, by)[1])
    check_subsets(groups, subsets)
    return ValuePlan(groups, subsets, seeds, deviation)


def _check_seeds(seeds: object) -> None:
    if isinstance(seeds, bool) or not isinstance(seeds, int) or seeds < 1:
        raise ConfigError(f"seeds={seeds!r} must be a whole number of at least 1")


def _result(
    training: Training,
    names: Sequence[str],
    groups: Sequence[tuple[int, ...]],
    members: np.ndarray,
    scores: np.ndarray,
    first_seed: int,
) -> ValueResult:
    """Validate the values of groups, and put them into a table."""
    dataset, means = training.dataset, scores.mean(1)
    steps = np.array([dataset.episode_lengths[list(group)].sum() for group in groups], np.float64)
    returns = np.array([dataset.returns[list(group)].mean() for group in groups])
    counts = np.array([len(group) for group in groups], np.float64)
    simple = {
        "mean return": members @ (counts * returns) / (members @ counts),
        "number of steps": members @ steps,
        "random": members @ np.random.default_rng(0x5EED).normal(size=len(groups)),
    }
    validation = validate(means, held_out_predictions(means, members), simple, noise_ceiling(scores))
    values, errors = banzhaf_values(means, members)
    _, weights = fit_datamodel(means, members)
    numbers = {"value": values, "low": values - 1.96 * errors, "high": values + 1.96 * errors, "weight": weights}
    table = pl.DataFrame(
        {"group": names, "episodes": counts.astype(np.int64), "steps": steps.astype(np.int64), "return_mean": returns}
    ).with_columns(
        pl.Series(name, column if validation.passed else [None] * len(groups), dtype=pl.Float64).fill_nan(None)
        for name, column in numbers.items()
    )
    return ValueResult(
        table,
        validation,
        tuple(groups),
        len(members),
        scores.shape[1],
        training.unit,
        float(means.std(ddof=1)),
        first_seed,
        training,
    )


def groups_of(dataset: Dataset, by: str | Sequence[Any]) -> tuple[list[str], list[tuple[int, ...]]]:
    """Return the names of the groups and their episodes."""
    if isinstance(by, str) and by == "episode":
        return [str(episode) for episode in range(dataset.total_episodes)], [
            (episode,) for episode in range(dataset.total_episodes)
        ]
    if isinstance(by, str):
        known = dataset.episodes.columns
        if by not in known:
            raise UnknownNameError("column of episodes", by, known)
        labels = dataset.episodes[by].to_list()
    else:
        labels = list(by)
    if len(labels) != dataset.total_episodes:
        raise ConfigError(
            f"by holds {count_of(len(labels), 'label')}, and the dataset {count_of(dataset.total_episodes, 'episode')}"
        )
    groups: dict[str, list[int]] = {}
    for episode, label in enumerate(labels):
        groups.setdefault(str(label), []).append(episode)
    return list(groups), [tuple(found) for found in groups.values()]
