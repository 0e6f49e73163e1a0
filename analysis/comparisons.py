"""Algorithms (or variants) compared over many tasks: aggregates, performance profiles, sample efficiency, pairs.

::

    runs                 one row per run, from load_runs
      -> score_arrays    by label: seeds x tasks, where a task is what is left: dataset, environment, variant
      -> statistics      rliable's aggregates, with stratified bootstrap intervals over seeds within tasks
      -> a tidy table    one row per label and statistic, which says how many tasks, seeds and episodes are behind it

The functions refuse tables that would be lopsided: every label has to have the same tasks, and every task equally many seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from assay.analysis.runs import load_returns
from assay.analysis.statistics import (
    aggregate_iqm,
    aggregate_mean,
    aggregate_median,
    aggregate_optimality_gap,
    get_interval_estimates,
    probability_of_improvement,
    run_score_profile,
)
from assay.datasets.errors import ConfigError
from assay.datasets.progress import Auto, Progress, counted, reporting

__all__ = [
    "ScoreArrays",
    "aggregate_table",
    "comparison_table",
    "performance_profiles",
    "sample_efficiency",
    "score_arrays",
]

_TASK = ("dataset", "environment", "variant", "label")  # what makes a task, but for the column that is compared


@dataclass(frozen=True)
class ScoreArrays:
    """Scores as the statistics take them.

    Parameters
    ----------
    scores : mapping
        Name to (seeds, tasks) float64 array; the same tasks for all, in the order of `tasks`.
    tasks : tuple of str
    seeds : tuple of tuple of int
        Of every task, in the order of the rows; the same for all names where `paired`.
    episodes : int or None
        Evaluation episodes of each seed; the fewest where they differ, None where that is not known.
    paired : bool
        Whether all names have the same seeds on every task.
    """

    scores: Mapping[str, np.ndarray]
    tasks: tuple[str, ...]
    seeds: tuple[tuple[int, ...], ...]
    episodes: int | None
    paired: bool

    @property
    def counts(self) -> dict[str, int | None]:
        """Tasks, seeds per task and episodes per seed: what every table says."""
        return {"tasks": len(self.tasks), "seeds": len(self.seeds[0]), "episodes": self.episodes}


_COUNTS: dict[str, Any] = {"tasks": pl.Int64, "seeds": pl.Int64, "episodes": pl.Int64}


def score_arrays(runs: pl.DataFrame, metric: str = "score", by: str = "label") -> ScoreArrays:
    """Arrange runs as seeds x tasks for every value of a column.

    Parameters
    ----------
    runs : polars.DataFrame
        From `load_runs`, filtered or not.
    metric : str
        `"score"`, `"return_mean"` or another number per run. Scores along the way (`best_score`) are refused: the best of
        several evaluations is no result.
    by : str
        What is compared: `"label"` or `"algorithm"` over variants, or `"variant"` over algorithms.

    Raises
    ------
    ConfigError
        If no run has the number, if a seed occurs twice, or if tasks or numbers of seeds differ.

    Examples
    --------
    >>> runs = pl.DataFrame({"label": ["BC", "BC", "IQL", "IQL"], "variant": "clean", "seed": [0, 1, 0, 1],
    ...                      "score": [40.0, 44.0, 50.0, 58.0]})
    >>> arrays = score_arrays(runs)
    >>> arrays.tasks, arrays.scores["IQL"].tolist(), arrays.paired
    (('clean',), [[50.0], [58.0]], True)
    """
    if metric == "best_score":
        raise ConfigError(
            "best_score is chosen with hindsight and is not compared with statistics; use score, the final one"
        )
    missing = [name for name in (by, "seed", metric) if name not in runs.columns]
    if missing:
        raise ConfigError(f"the runs have no column {missing[0]!r}; they have {', '.join(runs.columns)}")
    scored = runs.filter(pl.col(metric).is_not_null())
    if scored.is_empty():
        raise ConfigError(f"no run has a {metric}; finished runs with an evaluation have one")
    _refuse_mixed_noise(scored)
    keys = [name for name in _TASK if name in runs.columns and name != by]
    if by == "algorithm":
        keys = [name for name in keys if name != "label"]
    elif by == "label":
        keys = [name for name in keys if name != "algorithm"]
    distinct = [name for name in keys if scored[name].n_unique() > 1]
    task = pl.concat_str([pl.col(name).fill_null("?") for name in distinct or keys[:1]], separator=", ")
    scored = scored.with_columns(task.alias("_task") if keys else pl.lit("all").alias("_task"))
    tasks = scored["_task"].unique(maintain_order=True).to_list()
    scores, seeds_of = {}, {}
    for (name,), group in scored.group_by(by, maintain_order=True):
        scores[str(name)], seeds_of[str(name)] = _array(str(name), group, tasks, metric)
    first = next(iter(seeds_of.values()))
    return ScoreArrays(
        scores, tuple(tasks), first, _episodes(scored), all(seeds == first for seeds in seeds_of.values())
    )


def _array(
    name: str, group: pl.DataFrame, tasks: Sequence[str], metric: str
) -> tuple[np.ndarray, tuple[tuple[int, ...], ...]]:
    """Return seeds x tasks of one name, each task by seed."""
    parts = {str(task): part.sort("seed") for (task,), part in group.group_by("_task")}
    lacking = [task for task in tasks if task not in parts]
    if lacking:
        raise ConfigError(
            f"{name} has no scored run on {lacking[0]!r}, which others have; a mean over other tasks would be lopsided. Filter "
            "the runs to what all of them have"
        )
    for task, part in parts.items():
        if part["seed"].is_duplicated().any():
            seed = part.filter(part["seed"].is_duplicated())["seed"][0]
            raise ConfigError(
                f"{name} on {task}: seed {seed} occurs more than once, so the runs differ in something else (parameters, "
                "budget, data), or a run was read twice; compare by='label', or filter the runs first"
            )
    counts = {task: parts[task].height for task in tasks}
    if len(set(counts.values())) > 1:
        few, many = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
        raise ConfigError(
            f"{name} has {counts[few]} scored runs on {few} and {counts[many]} on {many}; every task needs equally many. "
            "Filter the seeds, or the tasks"
        )
    columns = [parts[task][metric].to_numpy() for task in tasks]
    return np.stack(columns, axis=1).astype(np.float64), tuple(tuple(parts[task]["seed"]) for task in tasks)


def _refuse_mixed_noise(runs: pl.DataFrame) -> None:
    if "noise" in runs.columns and "label" not in runs.columns and runs["noise"].n_unique() > 1:
        raise ConfigError("these runs were evaluated under different noise on the observations; filter them first")


def _episodes(runs: pl.DataFrame) -> int | None:
    found: Any = runs["episodes"].min() if "episodes" in runs.columns else None
    return None if found is None else int(found)


# -------------------------------------------------------------------- aggregates


def aggregate_table(
    runs: pl.DataFrame,
    metric: str = "score",
    by: str = "label",
    *,
    gamma: float = 100.0,
    confidence: float = 0.95,
    reps: int = 2000,
    random_state: int = 0,
) -> pl.DataFrame:
    """Summarize every algorithm over all its tasks: mean, median, interquartile mean and optimality gap.

    Parameters
    ----------
    runs, metric, by
        As for `score_arrays`.
    gamma : float
        The score that counts as solved, for the optimality gap.
    confidence, reps, random_state
        Nominal coverage, replicates and seed of the stratified bootstrap over seeds within tasks; every row is resampled
        on its own. The tasks are taken as given: the interval says nothing about other tasks.

    Returns
    -------
    polars.DataFrame
        One row per name and aggregate: name (called as `by`), aggregate, value, low, high (null with a single seed), tasks,
        seeds (per task), episodes (per seed).

    Raises
    ------
    ConfigError
        As for `score_arrays`.

    Examples
    --------
    >>> runs = pl.DataFrame({"label": "IQL", "variant": ["clean", "clean", "noisy", "noisy"], "seed": [0, 1, 0, 1],
    ...                      "score": [60.0, 64.0, 30.0, 38.0]})
    >>> aggregate_table(runs).select("aggregate", "value", "tasks", "seeds").rows()
    [('mean', 48.0, 2, 2), ('median', 48.0, 2, 2), ('iqm', 49.0, 2, 2), ('optimality_gap', 52.0, 2, 2)]
    """
    arrays = score_arrays(runs, metric, by)
    functions: dict[str, Callable[..., Any]] = {
        "mean": aggregate_mean,
        "median": aggregate_median,
        "iqm": aggregate_iqm,
        "optimality_gap": partial(aggregate_optimality_gap, gamma=gamma),
    }
    rows = []
    for name, scores in arrays.scores.items():
        for called, function in functions.items():
            value, low, high = _estimate(scores, function, confidence, reps, random_state)
            counts = {**arrays.counts, "seeds": len(scores)}
            rows.append({by: name, "aggregate": called, "value": value, "low": low, "high": high, **counts})
    schema = {by: pl.String, "aggregate": pl.String, "value": pl.Float64, "low": pl.Float64, "high": pl.Float64}
    return pl.DataFrame(rows, schema={**schema, **_COUNTS})


def _estimate(
    scores: Any, function: Callable[..., Any], confidence: float, reps: int, seed: int
) -> tuple[float, float | None, float | None]:
    estimates, intervals = get_interval_estimates(
        {"these runs": scores}, function, reps=reps, confidence_interval_size=confidence, random_state=seed
    )
    low, high = (float(end) if np.isfinite(end) else None for end in intervals["these runs"])
    return float(estimates["these runs"]), low, high


def performance_profiles(
    runs: pl.DataFrame,
    metric: str = "score",
    by: str = "label",
    *,
    thresholds: Sequence[float] | None = None,
    confidence: float = 0.95,
    reps: int = 2000,
    random_state: int = 0,
) -> pl.DataFrame:
    """Return which share of the runs scores above each threshold (Agarwal et al. 2021, section 4.2).

    Where one curve lies above another everywhere, the one algorithm is better at every level (stochastic dominance).

    Parameters
    ----------
    runs, metric, by
        As for `score_arrays`.
    thresholds : sequence of float, optional
        Default 101 even steps over the range of all scores.
    confidence, reps, random_state
        As for `aggregate_table`; the intervals hold at each threshold by itself.

    Returns
    -------
    polars.DataFrame
        One row per name and threshold: name (called as `by`), threshold, share, low, high, tasks, seeds, episodes.

    Examples
    --------
    >>> runs = pl.DataFrame({"label": "IQL", "variant": "clean", "seed": [0, 1], "score": [60.0, 64.0]})
    >>> performance_profiles(runs, thresholds=[50.0, 62.0]).select("threshold", "share").rows()
    [(50.0, 1.0), (62.0, 0.5)]
    """
    arrays = score_arrays(runs, metric, by)
    every = np.concatenate([scores.ravel() for scores in arrays.scores.values()])
    at = np.linspace(every.min(), every.max(), 101) if thresholds is None else np.asarray(thresholds, np.float64)
    profile = partial(run_score_profile, thresholds=at)
    curves = {name: _curve(scores, profile, confidence, reps, random_state) for name, scores in arrays.scores.items()}
    return _curve_table(arrays, by, "threshold", at, "share", curves)


def sample_efficiency(
    runs: pl.DataFrame,
    metric: str = "score",
    by: str = "label",
    *,
    confidence: float = 0.95,
    reps: int = 2000,
    random_state: int = 0,
) -> pl.DataFrame:
    """Return the interquartile mean of the scores over tasks and seeds after so many gradient updates.

    Parameters
    ----------
    runs : polars.DataFrame
        From `load_runs`; their evaluations along the way are read from the run folders.
    metric : str
        `"score"`, or `"return"` without references.
    by, confidence, reps, random_state
        As for `aggregate_table`; an interval holds at each number of updates by itself.

    Returns
    -------
    polars.DataFrame
        One row per name and number of updates: name (called as `by`), update, iqm, low, high, tasks, seeds, episodes (of
        each evaluation).

    Raises
    ------
    ConfigError
        If the runs were evaluated after different numbers of updates, or as for `score_arrays`.
    """
    returns = load_returns(runs.with_columns(pl.col("path").alias("run")))  # names of folders may repeat, paths do not
    if metric not in ("score", "return"):
        raise ConfigError(f"metric={metric!r}: the evaluations hold 'score' and 'return'")
    means = returns.group_by("run", "update", maintain_order=True).agg(
        pl.col(metric).mean().alias("_value"), pl.len().alias("episodes")
    )
    ended = runs.filter(pl.col("status").is_in(["finished", "diverged"])) if "status" in runs.columns else runs
    table = ended.drop("episodes", strict=False).join(means, left_on="path", right_on="run", maintain_order="left")
    if table.is_empty():
        raise ConfigError("these runs were not evaluated; see Evaluation(every=...)")
    if table["_value"].is_null().all():
        raise ConfigError(f"no evaluation has a {metric}; without reference returns pass metric='return'")
    wrong = table.filter(~pl.col("_value").is_finite().fill_null(False))
    if wrong.height:
        raise ConfigError(
            f"{wrong['path'][0]} has no finite {metric} after {wrong['update'][0]:,} updates; leave out runs that diverged, and "
            "say so: runs.filter(status='finished')"
        )
    updates = [set(group["update"]) for _, group in table.group_by("path")]
    common = sorted(set.intersection(*updates))
    if any(found != set(common) for found in updates):
        raise ConfigError(
            "these runs were evaluated after different numbers of updates "
            f"({len(common)} are common to all); give them one budget and one Evaluation(every=...), or filter the runs"
        )
    at_update = [score_arrays(table.filter(update=update), "_value", by) for update in common]
    curves = {}
    for name in at_update[-1].scores:
        scores = np.stack([arrays.scores[name] for arrays in at_update])
        values, interval = iqm_by_update(scores, confidence, reps, random_state)
        curves[name] = (scores.shape[1], values, interval)
    return _curve_table(at_update[-1], by, "update", np.array(common), "iqm", curves)


def iqm_by_update(
    scores: np.ndarray, confidence: float = 0.95, reps: int = 2000, random_state: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Return the interquartile means of a learning curve, and their point-wise stratified bootstrap intervals.

    Runs are drawn whole: the scores of a run after different numbers of updates stay together.

    Parameters
    ----------
    scores : (updates, seeds, tasks) array
    confidence, reps, random_state
        As for `get_interval_estimates`.

    Returns
    -------
    values : (updates,) array
    intervals : (2, updates) array
        NaN with a single seed.
    """
    runs = np.arange(scores[0].size).reshape(scores[0].shape)
    _, values, intervals = _curve(runs, partial(_iqm_of_runs, scores), confidence, reps, random_state)
    return values, intervals


def _iqm_of_runs(scores: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Return (..., updates) interquartile means of the (..., seeds, tasks) runs that were drawn."""
    drawn = scores.reshape(len(scores), -1)[:, chosen.astype(np.int64)]  # (updates, ..., seeds, tasks)
    found: np.ndarray = np.moveaxis(np.asarray(aggregate_iqm(drawn)), 0, -1)
    return found


def _curve(
    sample: np.ndarray, function: Callable[..., Any], confidence: float, reps: int, seed: int
) -> tuple[int, np.ndarray, np.ndarray]:
    """Return the number of seeds, a curve and its interval, (n,) and (2, n)."""
    estimates, intervals = get_interval_estimates(
        {"these runs": sample},
        function,
        reps=reps,
        confidence_interval_size=confidence,
        random_state=seed,
        vectorized=True,
    )
    return len(sample), estimates["these runs"], intervals["these runs"]


def _curve_table(
    arrays: ScoreArrays,
    by: str,
    axis: str,
    places: np.ndarray,
    called: str,
    curves: Mapping[str, tuple[int, np.ndarray, np.ndarray]],
) -> pl.DataFrame:
    """Put curves below each other, one row per place."""
    tables = []
    for name, (seeds, values, (low, high)) in curves.items():
        table = pl.DataFrame({axis: places, called: values, "low": low, "high": high})
        counts = {**arrays.counts, "seeds": seeds}
        said = [pl.lit(value, _COUNTS[key]).alias(key) for key, value in counts.items()]
        named = table.with_columns(pl.col("low", "high").fill_nan(None))
        tables.append(named.select(pl.lit(name).alias(by), pl.all(), *said))
    return pl.concat(tables)


# -------------------------------------------------------------------- pairs


def comparison_table(
    runs: pl.DataFrame,
    metric: str = "score",
    by: str = "label",
    *,
    control: str | None = None,
    confidence: float = 0.95,
    reps: int = 2000,
    random_state: int = 0,
    progress: Progress | Auto | None = "auto",
) -> pl.DataFrame:
    """Compare algorithms (or variants) in pairs, run by run: the same task and the same seed on both sides.

    A seed fixes the first states of the evaluation and, for one algorithm on two variants, the initial weights, so
    differences within pairs vary less than those of independent runs. The bootstrap draws pairs within tasks.

    Parameters
    ----------
    runs, metric, by
        As for `score_arrays`; all names need the same seeds.
    control : str, optional
        Compare the others with this name only; default every pair.
    confidence, reps, random_state
        As for `aggregate_table`. The intervals are of one pair each: of twenty pairs of equal algorithms, one 95 %
        interval leaves out 0 by chance.
    progress : callable, optional
        Called with (pairs done, pairs in all); by default a bar is shown where somebody looks; None is silent.

    Returns
    -------
    polars.DataFrame
        One row per pair: first, second, difference (first - second, mean over pairs and tasks), low, high, probability (that
        a run of the first beats one of the second on a task drawn at random, `probability_of_improvement`),
        probability_low, probability_high, tasks, seeds, episodes.

    Raises
    ------
    ConfigError
        If the seeds differ, if there is nothing to compare, or as for `score_arrays`.

    Examples
    --------
    >>> runs = pl.DataFrame({"label": ["BC", "BC", "IQL", "IQL"], "variant": "clean", "seed": [0, 1, 0, 1],
    ...                      "score": [40.0, 44.0, 50.0, 58.0]})
    >>> comparison_table(runs).select("first", "second", "difference", "low", "high", "probability").row(0)
    ('BC', 'IQL', -12.0, -14.0, -10.0, 0.0)
    """
    arrays = score_arrays(runs, metric, by)
    names = list(arrays.scores)
    if control is not None and control not in names:
        raise ConfigError(f"no {by} is called {control!r}; there are {', '.join(names)}")
    if len(names) < 2:
        raise ConfigError(f"there is only one {by}, {names[0]}; a comparison needs two")
    if not arrays.paired:
        raise ConfigError("the seeds differ, so the runs form no pairs; filter them to the seeds that all have")
    pairs = [(first, second) for number, first in enumerate(names) for second in names[number + 1 :]]
    if control is not None:
        pairs = [(name, control) for name in names if name != control]
    options = confidence, reps, random_state
    rows = []
    with reporting(progress, "comparing", counted("comparing")) as report:
        for first, second in pairs:
            x, y = arrays.scores[first], arrays.scores[second]
            difference = _estimate(x - y, aggregate_mean, *options)
            probability = _estimate((x, y), probability_of_improvement, *options)
            rows.append((first, second, *difference, *probability, *arrays.counts.values()))
            if report is not None:
                report(len(rows), len(pairs))
    numbers = ("difference", "low", "high", "probability", "probability_low", "probability_high")
    schema = {"first": pl.String, "second": pl.String, **dict.fromkeys(numbers, pl.Float64), **_COUNTS}
    return pl.DataFrame(rows, schema=schema, orient="row")
