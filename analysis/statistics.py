"""rliable's statistics, vectorized: aggregates over runs and tasks, and stratified bootstrap intervals.

Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice", arXiv 2108.13264.

::

    scores    task 0  task 1  task 2         one column per task, one row per run (seed)
    run 0       x       x       x
    run 1       x       x       x            the bootstrap draws runs with replacement within each column (task),
    run 2       x       x       x            independently of the other columns

The names and defaults are rliable's (https://github.com/google-research/rliable). Deliberate deviations: every
aggregate takes leading axes, so that all bootstrap replicates are computed at once; `reps` is 2,000 instead of
50,000, which moves the ends of a 95 % interval by about 2 % of its width; a task with a single run yields NaN instead
of an interval of width zero, because one run says nothing about the next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from inspect import unwrap
from typing import Any

import numpy as np

from assay.datasets.bootstrap import bootstrap, percentile_interval
from assay.datasets.errors import ConfigError

__all__ = [
    "aggregate_iqm",
    "aggregate_mean",
    "aggregate_median",
    "aggregate_optimality_gap",
    "create_performance_profile",
    "get_interval_estimates",
    "mean_score_profile",
    "no_interval_reason",
    "probability_of_improvement",
    "run_score_profile",
]


_DRAWS_IN_CACHE = 1 << 15  # numbers that are resampled at once


def aggregate_mean(scores: np.ndarray) -> Any:
    """Return the mean over tasks of the mean over runs.

    Parameters
    ----------
    scores : array, shape (..., runs, tasks)

    Examples
    --------
    >>> float(aggregate_mean(np.array([[1.0, 10.0], [3.0, 30.0]])))
    11.0
    """
    return np.mean(_table(scores), axis=(-2, -1))


def aggregate_median(scores: np.ndarray) -> Any:
    """Return the median over tasks of the mean over runs.

    Parameters
    ----------
    scores : array, shape (..., runs, tasks)

    Examples
    --------
    >>> float(aggregate_median(np.array([[1.0, 10.0, 5.0], [3.0, 30.0, 5.0]])))
    5.0
    """
    return np.median(np.mean(_table(scores), axis=-2), axis=-1)


def aggregate_iqm(scores: np.ndarray) -> Any:
    """Return the interquartile mean: the mean of the middle half of all runs of all tasks together.

    Parameters
    ----------
    scores : array, shape (..., runs, tasks)
        The lowest and the highest `floor(runs x tasks / 4)` scores are left out, as `scipy.stats.trim_mean` does.

    Examples
    --------
    >>> float(aggregate_iqm(np.array([[0.0, 10.0], [20.0, 900.0]])))
    15.0
    """
    table = _table(scores)
    values = np.sort(np.reshape(table, (*table.shape[:-2], -1)), axis=-1)
    cut = values.shape[-1] // 4
    return np.mean(values[..., cut : values.shape[-1] - cut], axis=-1)


def aggregate_optimality_gap(scores: np.ndarray, gamma: float = 1.0) -> Any:
    """Return by how much the scores fall short of `gamma` on average, scores above `gamma` counting as `gamma`.

    Parameters
    ----------
    scores : array, shape (..., runs, tasks)
    gamma : float
        The score that counts as solved, on the scale of the scores. rliable's default of 1 is for scores in [0, 1];
        Assay's D4RL scores take `gamma=100`.

    Examples
    --------
    >>> float(aggregate_optimality_gap(np.array([[50.0], [120.0]]), gamma=100))
    25.0
    """
    return gamma - np.mean(np.minimum(_table(scores), gamma), axis=(-2, -1))


def probability_of_improvement(scores_x: np.ndarray, scores_y: np.ndarray) -> Any:
    """Return the probability that a run of x beats a run of y on a task drawn at random; a tie counts half.

    Per task this is Mann and Whitney's U over the number of pairs (Agarwal et al. 2021, section 4.3).

    Parameters
    ----------
    scores_x : array, shape (..., runs_x, tasks)
    scores_y : array, shape (..., runs_y, tasks)

    Examples
    --------
    >>> float(probability_of_improvement(np.array([[2.0], [3.0]]), np.array([[1.0], [2.0]])))
    0.875
    """
    x, y = _table(scores_x)[..., :, None, :], _table(scores_y)[..., None, :, :]
    return np.mean((x > y) + 0.5 * (x == y), axis=(-3, -2, -1))


def difference_of_means(scores_x: np.ndarray, scores_y: np.ndarray) -> Any:
    """Return the aggregate mean of x minus that of y, for arrays of shape (..., runs, tasks)."""
    return aggregate_mean(scores_x) - aggregate_mean(scores_y)


def run_score_profile(scores: np.ndarray, thresholds: np.ndarray) -> Any:
    """Return for each threshold the share of the runs of all tasks whose score is above it.

    Agarwal et al. 2021, section 4.2, the "run score distribution". On tasks of one weight it estimates the probability that
    a run on a task drawn at random beats the threshold.

    Parameters
    ----------
    scores : array, shape (..., runs, tasks)
    thresholds : array, shape (n,)

    Returns
    -------
    array, shape (..., n)

    Examples
    --------
    >>> run_score_profile(np.array([[10.0, 30.0], [20.0, 40.0]]), np.array([0.0, 20.0, 35.0])).tolist()
    [1.0, 0.5, 0.25]
    """
    table = _table(scores)
    return np.stack([np.mean(table > threshold, axis=(-2, -1)) for threshold in _thresholds(thresholds)], axis=-1)


def mean_score_profile(scores: np.ndarray, thresholds: np.ndarray) -> Any:
    """Return for each threshold the share of the tasks whose mean over runs is above it.

    Agarwal et al. 2021, section 4.2, the "average score distribution": it hides the spread between runs.

    Parameters
    ----------
    scores : array, shape (..., runs, tasks)
    thresholds : array, shape (n,)

    Returns
    -------
    array, shape (..., n)

    Examples
    --------
    >>> mean_score_profile(np.array([[10.0, 30.0], [20.0, 40.0]]), np.array([0.0, 20.0, 40.0])).tolist()
    [1.0, 0.5, 0.0]
    """
    means = np.mean(_table(scores), axis=-2)
    return np.stack([np.mean(means > threshold, axis=-1) for threshold in _thresholds(thresholds)], axis=-1)


def _thresholds(thresholds: Any) -> np.ndarray:
    array = np.asarray(thresholds, dtype=np.float64)
    if array.ndim != 1 or not array.size or not np.isfinite(array).all():
        raise ConfigError("the thresholds have to be a list of finite numbers, with at least one of them")
    return array


_BATCHED: tuple[Any, ...] = (
    aggregate_mean,
    aggregate_median,
    aggregate_iqm,
    aggregate_optimality_gap,
    probability_of_improvement,
    difference_of_means,
    run_score_profile,
    mean_score_profile,
)


def no_interval_reason(*scores: np.ndarray) -> str | None:
    """Say why runs x tasks allow no interval, or return None when they do.

    Examples
    --------
    >>> no_interval_reason(np.ones((1, 3)))
    'a single run per task'
    >>> no_interval_reason(np.ones((5, 3))) is None
    True
    """
    shapes = [_numbers(item, "the scores").shape for item in scores]
    if any(len(shape) != 2 for shape in shapes):
        raise ConfigError(f"the scores have shape {shapes[0]}; they have to be runs x tasks")
    runs = min(shape[0] for shape in shapes)
    if min(shape[1] for shape in shapes) == 0:
        return "no task"
    return {0: "no run", 1: "a single run per task"}.get(runs)


def _numbers(scores: Any, what: str) -> np.ndarray:
    try:
        return np.asarray(scores, dtype=np.float64)
    except (TypeError, ValueError):
        pass
    try:
        lengths = [str(len(row)) for row in scores]
    except TypeError:
        raise ConfigError(f"{what} are {type(scores).__name__}; they have to be numbers, runs x tasks") from None
    raise ConfigError(
        f"{what} are no table of numbers: its rows have {', '.join(lengths)} entries. Every task needs equally many runs; "
        "leave out runs that others lack, or compare the tasks one by one"
    )


def _table(scores: Any) -> np.ndarray:
    """Return scores as an array of shape (..., runs, tasks)."""
    array = _numbers(scores, "the scores")
    if array.ndim < 2 or not array.shape[-1] or not array.shape[-2]:
        raise ConfigError(
            f"the scores have shape {array.shape}; they have to be runs x tasks, with at least one of each (for one task: "
            "scores[:, None])"
        )
    return array


def _checked(name: object, scores: Any) -> tuple[np.ndarray, ...]:
    arrays = []
    for item in scores if isinstance(scores, tuple) else (scores,):
        array = _numbers(item, f"the scores of {name!r}")
        if array.ndim != 2:
            raise ConfigError(
                f"the scores of {name!r} have shape {array.shape}; they have to be runs x tasks "
                "(for one task: scores[:, None])"
            )
        if not np.isfinite(array).all():
            run, task = np.argwhere(~np.isfinite(array))[0]
            raise ConfigError(
                f"the scores of {name!r} hold {array[run, task]} at run {run}, task {task}; leave unfinished runs out"
            )
        arrays.append(array)
    if len({array.shape[1] for array in arrays}) > 1:
        raise ConfigError(f"the scores of {name!r} differ in their number of tasks")
    return tuple(arrays)


def check_confidence(size: float, reps: int) -> None:
    """Raise ConfigError where a bootstrap interval has no such coverage, or number of replicates."""
    if reps < 1:
        raise ConfigError(f"reps is {reps}; it has to be at least 1")
    if not 0 < size < 1:
        raise ConfigError(f"the confidence of an interval is {size}; it has to lie between 0 and 1")


def get_interval_estimates(
    score_dict: Mapping[Any, Any],
    func: Callable[..., Any],
    method: str = "percentile",
    reps: int = 2000,
    confidence_interval_size: float = 0.95,
    random_state: int | np.random.Generator = 0,
    *,
    vectorized: bool = False,
) -> tuple[dict[Any, Any], dict[Any, np.ndarray]]:
    """Estimate a statistic and its stratified bootstrap interval for every entry of `score_dict`.

    Parameters
    ----------
    score_dict : mapping
        Name to scores of shape (runs, tasks), or to a tuple of such arrays for a `func` of several
        (`probability_of_improvement`).
    func : callable
        Takes the arrays, returns a number or an array of numbers. Assay's own aggregates, also as
        `functools.partial`, are computed for all replicates at once; anything else is called once per replicate.
    method : {"percentile"}
        How the interval is read off the replicates.
    reps : int
        Number of bootstrap replicates.
    confidence_interval_size : float
        Nominal coverage, which a percentile interval approaches from below. On normal scores of one task a 95 %
        interval covers the true mean in about 90 % of the cases with ten runs, 85 % with five, and 75 % with three,
        where it is simply the range of the three (each end of the range is drawn with probability 1/27 > 2.5 %).
    random_state : int or numpy.random.Generator
        Seed of the resampling; entries do not share draws.
    vectorized : bool
        Whether `func` takes arrays with a leading axis of replicates, as Assay's own aggregates do.

    Returns
    -------
    estimates : dict
        Name to `func` of the scores.
    intervals : dict
        Name to an array of shape (2, ...): lower and upper end. NaN where a task has a single run
        (`no_interval_reason` says so in words).

    Raises
    ------
    ConfigError
        If scores are not runs x tasks or not finite.

    Examples
    --------
    >>> scores = {"IQL": np.array([[50.0], [54.0], [58.0]]), "BC": np.array([[41.0]])}
    >>> estimates, intervals = get_interval_estimates(scores, aggregate_mean)
    >>> float(estimates["IQL"]), intervals["IQL"].tolist(), intervals["BC"].tolist()
    (54.0, [50.0, 58.0], [nan, nan])
    """
    if method != "percentile":
        raise ConfigError(f"unknown bootstrap method {method!r}; known: 'percentile'")
    check_confidence(confidence_interval_size, reps)
    generator = np.random.default_rng(random_state)
    tail = (1 - confidence_interval_size) / 2
    estimates: dict[Any, Any] = {}
    intervals: dict[Any, np.ndarray] = {}
    for name, scores in score_dict.items():
        arrays = _checked(name, scores)
        reason = no_interval_reason(*arrays)
        if reason in ("no run", "no task"):
            raise ConfigError(f"the scores of {name!r} hold {reason}")
        estimates[name] = func(*arrays)
        if reason is None:
            batched = vectorized or unwrap(func.func if isinstance(func, partial) else func) in _BATCHED
            if batched and len(arrays) == 1:
                replicates = _replicates(arrays[0], func, reps, generator)
            else:
                replicates = bootstrap(arrays, func, reps, generator, one_by_one=not batched)
            intervals[name] = percentile_interval(replicates, tail, 1 - tail)
        else:
            intervals[name] = np.full((2, *np.shape(estimates[name])), np.nan)
    return estimates, intervals


def _replicates(scores: np.ndarray, func: Callable[..., Any], reps: int, generator: np.random.Generator) -> np.ndarray:
    """Return what `bootstrap` does, with the same draws, a few replicates at a time so that they stay in the cache."""
    runs, tasks = scores.shape
    flat, columns = np.ascontiguousarray(scores).ravel(), np.arange(tasks)
    at_a_time = max(1, _DRAWS_IN_CACHE // scores.size)
    found = []
    for start in range(0, reps, at_a_time):
        chosen = generator.integers(0, runs, (min(at_a_time, reps - start), runs, tasks))
        chosen *= tasks
        chosen += columns
        found.append(np.asarray(func(flat.take(chosen, mode="clip"))))
    return np.concatenate(found)


def create_performance_profile(
    score_dict: Mapping[Any, Any],
    tau_list: np.ndarray | Sequence[float],
    use_score_distribution: bool = True,
    method: str = "percentile",
    reps: int = 2000,
    confidence_interval_size: float = 0.95,
    random_state: int | np.random.Generator = 0,
) -> tuple[dict[Any, Any], dict[Any, np.ndarray]]:
    """Estimate the performance profile of every entry of `score_dict`, with point-wise stratified bootstrap intervals.

    Parameters
    ----------
    score_dict : mapping
        Name to scores of shape (runs, tasks).
    tau_list : array, shape (n,)
        Thresholds, on the scale of the scores.
    use_score_distribution : bool
        `run_score_profile`, else `mean_score_profile`.
    method, reps, confidence_interval_size, random_state
        As for `get_interval_estimates`.

    Returns
    -------
    profiles : dict
        Name to array of shape (n,).
    intervals : dict
        Name to array of shape (2, n); they hold at each threshold by itself, not for the whole curve.

    Examples
    --------
    >>> profiles, _ = create_performance_profile({"IQL": np.array([[50.0], [60.0]])}, [40.0, 55.0])
    >>> profiles["IQL"].tolist()
    [1.0, 0.5]
    """
    profile = run_score_profile if use_score_distribution else mean_score_profile
    at_thresholds = partial(profile, thresholds=_thresholds(tau_list))
    return get_interval_estimates(score_dict, at_thresholds, method, reps, confidence_interval_size, random_state)
