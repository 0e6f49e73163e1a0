r"""Choosing among trained policies: with a few episodes in the environment, or with none.

**Online tuning** (Jackson et al. 2025, Unifloral, arXiv 2504.11453, `evaluation.py`). Somebody who deploys an algorithm tunes
its hyperparameters with episodes of the real environment, and papers rarely say how many. The protocol makes that cost an axis:
K policies of different settings are the arms of a bandit, a pull is one episode, and the curve is the true mean score of
the arm that looks best so far. Arms are pulled by their upper confidence bounds (UCB1, Auer et al. 2002),

.. math:: \hat\mu_k + c \sqrt{\alpha \ln t / n_k}, \quad \alpha = 2

which is derived for rewards in [0, 1]. Deliberate deviations from Unifloral's code:

- There c = 1 while scores run to 100, so that the bonus is lost in the noise and the bandit is greedy: an arm whose first
  episode is bad is never tried again. Here c is the range of the scores that this bandit has seen, so that the curve of scores in
  other units is the same curve.
- Fewer policies than arms are refused; there the check comes after the minimum was taken and never fires.
- The interval is over training seeds, each of which has a bandit of its own, not over repetitions of the bandit on the
  same policies, which could be made as narrow as one likes.
- Episodes are drawn with replacement.

**Without an environment** the choice goes by estimates, such as those of `assay evaluate` (fitted Q evaluation, the value of the
first states under the policy's own critic; Paine et al. 2020, arXiv 2007.09055). The regret is what the choice costs against
the best one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from assay.analysis.associations import spearman
from assay.analysis.runs import load_returns
from assay.datasets.bootstrap import percentile_interval
from assay.datasets.errors import ConfigError
from assay.datasets.progress import Auto, Progress, counted, reporting

__all__ = ["bandit_tuning", "rank_stability", "selection_regret", "tuning_curve"]

_TASK = ("dataset", "environment", "variant")


# -------------------------------------------------------------------- online tuning


def bandit_tuning(
    returns: Sequence[np.ndarray] | np.ndarray,
    *,
    arms: int = 8,
    pulls: int = 200,
    repeats: int = 1000,
    exploration: float = 2.0,
    random_state: int | np.random.Generator = 0,
) -> np.ndarray:
    """Return the true mean of the policy that a bandit holds for the best after 0, 1, ... episodes.

    Parameters
    ----------
    returns : (policies, episodes) array, or a sequence of arrays of different lengths
        Scores of final evaluation episodes of every policy; their means are the true ones.
    arms : int
        Policies drawn for each repetition.
    pulls : int
        Episodes spent.
    repeats : int
        Repetitions, all at once; the curve is their mean.
    exploration : float
        Alpha of the upper confidence bound.
    random_state : int or numpy.random.Generator

    Returns
    -------
    (pulls + 1,) array
        Its first entry is what choosing blindly gives, the mean over the policies.

    Raises
    ------
    ConfigError
        If there are fewer policies than arms, or a policy has no episode.

    Examples
    --------
    >>> curve = bandit_tuning(np.array([[10.0, 10.0], [50.0, 50.0]]), arms=2, pulls=2, repeats=10)
    >>> curve[[0, 2]].tolist()
    [30.0, 50.0]
    """
    rows = [np.asarray(row, np.float64) for row in returns]
    if arms < 1 or pulls < 1 or repeats < 1:
        raise ConfigError(f"arms={arms}, pulls={pulls}, repeats={repeats}: each has to be at least 1")
    if len(rows) < arms:
        raise ConfigError(
            f"{len(rows)} policies are too few for {arms} arms; train more settings, or pass arms={len(rows)}"
        )
    if any(row.ndim != 1 or not row.size or not np.isfinite(row).all() for row in rows):
        raise ConfigError("every policy needs at least one finite return")
    generator = np.random.default_rng(random_state)
    lengths = np.array([len(row) for row in rows])
    padded = np.zeros((len(rows), lengths.max()))
    for number, row in enumerate(rows):
        padded[number, : len(row)] = row
    truth = np.array([row.mean() for row in rows])
    drawn = generator.permuted(np.tile(np.arange(len(rows)), (repeats, 1)), axis=1)[:, :arms]
    which = np.arange(repeats)
    counts, sums = np.zeros((repeats, arms)), np.zeros((repeats, arms))
    low, high = np.full(repeats, np.inf), np.full(repeats, -np.inf)
    curve = np.empty(pulls + 1)
    curve[0] = truth.mean()
    for pull in range(1, pulls + 1):
        if pull <= arms:
            arm = np.full(repeats, pull - 1)  # each once; their order is random
        else:
            width = (high - low)[:, None] * np.sqrt(exploration * np.log(pull - 1) / counts)
            arm = np.argmax(sums / counts + width, axis=1)
        policy = drawn[which, arm]
        reward = padded[policy, generator.integers(0, lengths[policy])]
        sums[which, arm] += reward
        counts[which, arm] += 1
        low, high = np.minimum(low, reward), np.maximum(high, reward)
        means = np.where(counts > 0, sums / np.maximum(counts, 1), -np.inf)  # of arms that were not tried yet, nothing
        held = drawn[which, np.argmax(means, axis=1)]
        curve[pull] = truth[held].mean()
    return curve


def tuning_curve(
    runs: pl.DataFrame,
    metric: str = "score",
    *,
    arms: int = 8,
    pulls: int = 200,
    repeats: int = 1000,
    confidence: float = 0.95,
    reps: int = 2000,
    random_state: int = 0,
    progress: Progress | Auto | None = "auto",
) -> pl.DataFrame:
    """Return what an algorithm reaches after so many episodes of online tuning.

    Parameters
    ----------
    runs : polars.DataFrame
        From `load_runs`: of each algorithm and task (dataset, environment, variant) the same settings with the same seeds.
        Their final returns are read from the run folders.
    metric : str
        `"score"`, or `"return"` without references.
    arms, pulls, repeats
        As for `bandit_tuning`.
    confidence, reps, random_state
        Nominal coverage, replicates and seed of the bootstrap over training seeds within tasks.
    progress : callable, optional
        Called with (bandits done, bandits in all); by default a bar is shown where somebody looks; None is silent.

    Returns
    -------
    polars.DataFrame
        One row per algorithm and number of episodes: algorithm, pulls, mean (over tasks and seeds), low, high (null with a
        single seed), updates (gradient updates that the arms cost), settings, tasks, seeds, episodes (stored of each policy).

    Raises
    ------
    ConfigError
        If there are fewer settings than arms, or settings lack seeds.
    """
    if metric not in ("score", "return"):
        raise ConfigError(f"metric={metric!r}: the evaluations hold 'score' and 'return'")
    keys = [name for name in _TASK if name in runs.columns]
    returns = load_returns(runs.with_columns(pl.col("path").alias("run"))).filter(pl.col("final"))
    returns = returns.filter(pl.col(metric).is_finite())
    policies = returns.group_by("run", maintain_order=True).agg(pl.col(metric).alias("_returns"))
    found = runs.join(policies, left_on="path", right_on="run", maintain_order="left")
    if found.is_empty():
        raise ConfigError(f"no run has a final {metric}")
    cells = found.sort(["algorithm", *keys, "seed"]).partition_by(["algorithm", *keys, "seed"], maintain_order=True)
    curves: dict[str, dict[Any, list[np.ndarray]]] = {}
    settings: dict[str, set[int]] = {}
    with reporting(progress, "tuning", counted("tuning")) as report:
        for number, cell in enumerate(cells):
            algorithm, *task, seed = cell.select("algorithm", *keys, "seed").row(0)
            if cell["label"].is_duplicated().any():
                twice = cell.filter(cell["label"].is_duplicated())["label"][0]
                raise ConfigError(f"{twice}: seed {seed} occurs more than once; filter the runs first")
            settings.setdefault(algorithm, set()).add(cell.height)
            of_tasks = curves.setdefault(algorithm, {})
            of_seeds = of_tasks.setdefault(tuple(task), [])
            draws = np.random.default_rng([random_state, list(of_tasks).index(tuple(task)), len(of_seeds)])
            policies_of_cell = cell["_returns"].to_list()
            of_seeds.append(
                bandit_tuning(policies_of_cell, arms=arms, pulls=pulls, repeats=repeats, random_state=draws)
            )
            if report is not None:
                report(number + 1, len(cells))
    tables = []
    for algorithm, of_tasks in curves.items():
        if len(settings[algorithm]) > 1 or len({len(of_seeds) for of_seeds in of_tasks.values()}) > 1:
            raise ConfigError(f"{algorithm}: every task and seed needs the same settings; some runs are missing")
        stacked = np.stack([np.stack(of_seeds) for of_seeds in of_tasks.values()], axis=1)  # (seeds, tasks, pulls + 1)
        group = found.filter(algorithm=algorithm)
        counts = {
            "updates": arms * int(group["updates_planned"].max()),  # type: ignore[arg-type]
            "settings": settings[algorithm].pop(),
            "tasks": stacked.shape[1],
            "seeds": stacked.shape[0],
            "episodes": int(group["_returns"].list.len().min()),  # type: ignore[arg-type]
        }
        low, high = _interval_over_seeds(stacked, confidence, reps, random_state)
        table = pl.DataFrame({"pulls": np.arange(pulls + 1), "mean": stacked.mean((0, 1)), "low": low, "high": high})
        said = [pl.lit(value, pl.Int64).alias(name) for name, value in counts.items()]
        named = table.with_columns(pl.col("low", "high").fill_nan(None))
        tables.append(named.select(pl.lit(algorithm).alias("algorithm"), pl.all(), *said))
    return pl.concat(tables)


def _interval_over_seeds(curves: np.ndarray, confidence: float, reps: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of the interval of (seeds, tasks, n) curves, seeds drawn within tasks; NaN with a single seed."""
    seeds, tasks, length = curves.shape
    if seeds < 2:
        return np.full(length, np.nan), np.full(length, np.nan)
    generator = np.random.default_rng(seed)
    # the mean of drawn seeds, by how often each is drawn: (reps, seeds, tasks) weights times the curves
    weights = generator.multinomial(seeds, np.full(seeds, 1 / seeds), (reps, tasks)).transpose(0, 2, 1) / (
        seeds * tasks
    )
    replicates = weights.reshape(reps, -1) @ curves.reshape(-1, length)
    tail = (1 - confidence) / 2
    low, high = percentile_interval(replicates, tail, 1 - tail)
    return low, high


# -------------------------------------------------------------------- without an environment


def selection_regret(
    runs: pl.DataFrame,
    values: pl.DataFrame,
    metric: str = "score",
    *,
    confidence: float = 0.95,
    reps: int = 2000,
    random_state: int = 0,
) -> pl.DataFrame:
    """Return what it costs to choose by estimates in place of the environment.

    On each task (dataset, environment, variant) the labels are candidates. The one with the highest mean estimate over seeds is
    chosen, and its regret is the highest mean score minus its own. The candidates' mean scores are themselves noisy, so the best
    of them is a little too good, and regrets of few seeds are a little too large.

    Parameters
    ----------
    runs : polars.DataFrame
        From `load_runs`.
    values : polars.DataFrame
        From `fitted_q_evaluation` or `load_values`: run, method, estimate.
    metric : str
        `"score"`, `"return_mean"` or another number per run.
    confidence, reps, random_state
        Nominal coverage, replicates and seed of the bootstrap over seeds; estimate and score of a run stay together, and the
        choice is made anew in every replicate.

    Returns
    -------
    polars.DataFrame
        One row per task and method: dataset, environment, variant, method, chosen, best, regret, low, high (null with a single
        seed), random_regret (of choosing blindly), correlation (Spearman, between estimates and scores of the candidates),
        candidates, left_out (labels without an estimate for every seed), seeds, episodes.

    Raises
    ------
    ConfigError
        If no run has both a number and an estimate, or names of runs repeat.

    Examples
    --------
    >>> runs = pl.DataFrame({"run": list("abcd"), "label": ["BC", "BC", "IQL", "IQL"], "variant": "clean",
    ...                      "seed": [0, 1, 0, 1], "score": [40.0, 44.0, 50.0, 58.0]})
    >>> values = pl.DataFrame({"run": list("abcd"), "method": "fitted_q", "estimate": [9.0, 9.0, 5.0, 6.0]})
    >>> selection_regret(runs, values).select("chosen", "best", "regret", "random_regret").row(0)
    ('BC', 'IQL', 12.0, 6.0)
    """
    if runs["run"].is_duplicated().any():
        raise ConfigError(
            f"two runs are called {runs.filter(runs['run'].is_duplicated())['run'][0]}; take one folder at a time"
        )
    scored = runs.filter(pl.col(metric).is_finite())
    keys = [name for name in _TASK if name in runs.columns]
    joined = scored.join(values.select("run", "method", "estimate"), on="run", maintain_order="left")
    if joined.is_empty():
        raise ConfigError(f"no run has both a {metric} and an estimate; are these the values of these runs?")
    rows = []
    for key, group in joined.group_by([*keys, "method"], maintain_order=True):
        names, estimates, scores, left_out = _candidates(group, metric)
        counts: tuple[int | None, ...] = (len(names), left_out, None if not len(names) else estimates.shape[1])
        episodes = group["episodes"].min() if "episodes" in group.columns else None
        if not len(names):
            rows.append((*key, *(None,) * 7, *counts, episodes))
            continue
        e, s = estimates.mean(1), scores.mean(1)
        chosen, best = int(e.argmax()), int(s.argmax())
        low = high = None
        if estimates.shape[1] > 1:
            drawn = np.random.default_rng(random_state).integers(0, estimates.shape[1], (reps, estimates.shape[1]))
            es, ss = estimates[:, drawn].mean(-1), scores[:, drawn].mean(-1)  # (candidates, reps)
            regrets = ss.max(0) - ss[es.argmax(0), np.arange(reps)]
            tail = (1 - confidence) / 2
            low, high = map(float, np.quantile(regrets, (tail, 1 - tail)))
        together = float(spearman(e, s)) if len(names) > 1 else None
        together = together if together is None or np.isfinite(together) else None
        regret, blind = float(s.max() - s[chosen]), float(s.max() - s.mean())
        rows.append((*key, names[chosen], names[best], regret, low, high, blind, together, *counts, episodes))
    schema: dict[str, Any] = {**dict.fromkeys([*keys, "method", "chosen", "best"], pl.String)}
    schema |= dict.fromkeys(("regret", "low", "high", "random_regret", "correlation"), pl.Float64)
    schema |= dict.fromkeys(("candidates", "left_out", "seeds", "episodes"), pl.Int64)
    return pl.DataFrame(rows, schema=schema, orient="row")


def _candidates(group: pl.DataFrame, metric: str) -> tuple[list[str], np.ndarray, np.ndarray, int]:
    """Return labels with an estimate and a number for every seed: (candidates, seeds) estimates and numbers, and the rest."""
    seeds = group["seed"].unique().sort()
    names, estimates, numbers, left_out = [], [], [], 0
    for (label,), part in group.group_by("label", maintain_order=True):
        part = part.filter(pl.col("estimate").is_finite()).sort("seed")
        if part["seed"].to_list() != seeds.to_list():
            left_out += 1
            continue
        names.append(str(label))
        estimates.append(part["estimate"].to_numpy())
        numbers.append(part[metric].to_numpy())
    return names, np.array(estimates), np.array(numbers), left_out


def rank_stability(values: pl.DataFrame) -> pl.DataFrame:
    """Tell whether estimates rank the algorithms alike from seed to seed, which is all that is known without an environment.

    Parameters
    ----------
    values : polars.DataFrame
        From `fitted_q_evaluation` or `load_values`: label, variant, seed, method, estimate.

    Returns
    -------
    polars.DataFrame
        One row per variant and method: variant, method, first (the label with the highest mean estimate), agreement (mean
        Spearman correlation between the rankings of two seeds: 1 where all seeds agree, about 0 where the order is chance;
        null with a single seed or candidate), first_share (of the seeds in which the first is first), candidates, left_out
        (labels without an estimate for every seed), seeds.

    Examples
    --------
    >>> values = pl.DataFrame({"label": ["BC", "IQL"] * 2, "variant": "clean", "seed": [0, 0, 1, 1],
    ...                        "method": "fitted_q", "estimate": [1.0, 2.0, 1.5, 3.0]})
    >>> rank_stability(values).select("first", "agreement", "first_share").row(0)
    ('IQL', 1.0, 1.0)
    """
    rows = []
    for key, group in values.group_by(["variant", "method"], maintain_order=True):
        if group.select("label", "seed").is_duplicated().any():
            raise ConfigError(f"{key[0]}, {key[1]}: a label and seed occur more than once; take one dataset at a time")
        names, estimates, _, left_out = _candidates(group, "estimate")
        if not names:
            rows.append((*key, None, None, None, 0, left_out, None))
            continue
        first = int(estimates.mean(1).argmax())
        share = float((estimates.argmax(0) == first).mean())
        seeds = estimates.shape[1]
        agreement = None
        if seeds > 1 and len(names) > 1:
            pairs = np.array([(i, j) for i in range(seeds) for j in range(i + 1, seeds)])
            correlations = spearman(estimates.T[pairs[:, 0]], estimates.T[pairs[:, 1]])
            agreement = float(np.nanmean(correlations)) if np.isfinite(correlations).any() else None
        rows.append((*key, names[first], agreement, share, len(names), left_out, seeds))
    schema: dict[str, Any] = dict.fromkeys(("variant", "method", "first"), pl.String)
    schema |= dict.fromkeys(("agreement", "first_share"), pl.Float64)
    schema |= dict.fromkeys(("candidates", "left_out", "seeds"), pl.Int64)
    return pl.DataFrame(rows, schema=schema, orient="row")
