"""Tables of final scores: tidy for programs, pivoted for people.

Every number is a mean over training seeds (and over datasets, where a row covers several), with a stratified bootstrap
interval over the seeds. Runs that did not finish are counted, never silently dropped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import polars as pl

from assay.analysis.statistics import (
    aggregate_mean,
    check_confidence,
    difference_of_means,
    get_interval_estimates,
    no_interval_reason,
)
from assay.datasets.errors import ConfigError
from assay.datasets.wording import count_of

__all__ = [
    "change_table",
    "clean_variant",
    "cost_table",
    "counts_text",
    "format_interval",
    "goal_table",
    "joined",
    "pivot",
    "range_text",
    "score_table",
    "statuses_text",
]

_MOST_DIGITS = 15  # a float64 has no more
_WITH_COSTS = ("return_mean", "score", "cost_return", "normalized_cost", "over_limit")
_BEHAVIOUR = {"score": "behaviour_score", "best_score": "behaviour_score", "return_mean": "behaviour_return"}


def need_columns(frame: pl.DataFrame, columns: Iterable[str]) -> None:
    """Raise ConfigError where a column is missing."""
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise ConfigError(f"the runs have no column {missing[0]!r}; they have {', '.join(frame.columns)}")


def _numbers_of(runs: pl.DataFrame) -> str:
    return ", ".join(name for name, kind in runs.schema.items() if kind.is_numeric() and name != "seed")


def check_digits(digits: int) -> None:
    """Raise ConfigError where numbers cannot be written with so many decimals."""
    if isinstance(digits, bool) or not isinstance(digits, int) or not 0 <= digits <= _MOST_DIGITS:
        raise ConfigError(f"digits={digits!r}: decimals are a whole number from 0 to {_MOST_DIGITS}")


def clean_variant(runs: pl.DataFrame) -> str | None:
    """Return the variant that the others are compared with: "clean", else the only one without transforms, else None.

    Examples
    --------
    >>> clean_variant(pl.DataFrame({"variant": ["noisy", "clean"], "transforms": [1, 0]}))
    'clean'
    """
    variants = runs["variant"].unique(maintain_order=True).to_list()
    if "clean" in variants:
        return "clean"
    if "transforms" not in runs.columns:
        return None
    untouched = runs.filter(pl.col("transforms") == 0)["variant"].unique().to_list()
    return str(untouched[0]) if len(untouched) == 1 else None


def _tasks(group: pl.DataFrame, metric: str, where: str) -> np.ndarray:
    """Return the scores of a group as runs x tasks, where a task is a dataset."""
    scored = group.filter(pl.col(metric).is_not_null())
    keys = [name for name in ("dataset", "environment") if name in scored.columns]
    if "fingerprint" in group.columns:
        for task in group.partition_by([*keys, "variant"]):
            marks = task["fingerprint"].drop_nulls().unique().sort().to_list()
            if len(marks) > 1:
                raise ConfigError(
                    f"{where}: these runs were trained on {len(marks)} datasets of one name with different content "
                    f"(fingerprints {', '.join(mark[:8] for mark in marks)}); read the folders together, "
                    "load_runs([...]), which tells them apart, or drop the column 'fingerprint' to average them on purpose"
                )
    same = [*keys, "variant", "seed"]
    repeated = group.filter(group.select(same).is_duplicated())
    if not repeated.is_empty():
        alike = repeated.join(repeated.select(same).head(1), on=same, nulls_equal=True)
        which = f" ({', '.join(alike['run'])})" if "run" in alike.columns else ""
        raise ConfigError(
            f"{where}: seed {repeated['seed'][0]} occurs {alike.height} times{which}, so the runs differ in something else (parameters, "
            f"budget), or a run was read twice; {_tell_apart(group)}"
        )
    if "noise" in scored.columns and scored["noise"].n_unique() > 1:
        kinds = ", ".join(sorted(kind or "no noise" for kind in scored["noise"].unique()))
        raise ConfigError(
            f"{where}: these runs were evaluated under different noise on the observations ({kinds}); {_tell_apart(group)}"
        )
    columns = [task[metric].to_numpy() for task in scored.partition_by(keys, maintain_order=True)] if keys else []
    if not keys and scored.height:
        columns = [scored[metric].to_numpy()]
    if not columns:
        return np.empty((0, 1))
    if len({len(column) for column in columns}) > 1:
        counts = ", ".join(str(len(column)) for column in columns)
        raise ConfigError(
            f"{where}: its datasets have different numbers of scored runs ({counts}), so their mean would be lopsided; "
            "pass rows=['dataset', ...], or filter the runs first"
        )
    return np.stack(columns, axis=1)


def _tell_apart(group: pl.DataFrame) -> str:
    """Say what to do where runs that differ would be averaged."""
    if "label" in group.columns and group["label"].n_unique() == 1:  # which is what would tell them apart
        return "read fewer folders at once, or leave some of the runs out"
    return "pass rows=['label'], or filter the runs first"


def _mean(column: pl.Series) -> float | None:
    values = column.drop_nulls().to_numpy()
    return float(values.mean()) if len(values) else None


def _fewest_episodes(group: pl.DataFrame, metric: str) -> int | None:
    if "episodes" not in group.columns:
        return None
    fewest: Any = group.filter(pl.col(metric).is_not_null())["episodes"].min()
    return None if fewest is None else int(fewest)


def one_run_per_seed(group: pl.DataFrame, told: str) -> None:
    """Raise ConfigError where a seed occurs in two runs of what `told` names."""
    if group["run"].n_unique() != group["seed"].n_unique():
        raise ConfigError(f"{told}: a seed occurs in several runs, which differ in something else; filter them first")


def interval_of_seeds(
    scores: np.ndarray, confidence: float, reps: int, seed: int
) -> tuple[float | None, float | None, Any]:
    """Return low and high of the mean of scores [seeds, tasks], or None twice and why."""
    reason = no_interval_reason(scores)
    if reason is not None:
        return None, None, "a single seed" if reason.startswith("a single") else "no scored run"
    _, intervals = get_interval_estimates(
        {0: scores}, aggregate_mean, reps=reps, confidence_interval_size=confidence, random_state=seed
    )
    return float(intervals[0][0]), float(intervals[0][1]), None


def score_table(
    runs: pl.DataFrame,
    metric: str = "score",
    rows: Sequence[str] = ("algorithm",),
    *,
    confidence: float = 0.95,
    reps: int = 2000,
    random_state: int = 0,
) -> pl.DataFrame:
    """Summarize runs: the mean over seeds with its interval, for every row and variant.

    Parameters
    ----------
    runs : polars.DataFrame
        From `load_runs`, filtered or not.
    metric : str
        `"score"`, `"return_mean"` (no references needed) or any other number per run.
    rows : sequence of str
        Columns of `runs` that tell the rows apart, besides the variant. A row that covers several datasets is the
        mean over them.
    confidence, reps, random_state
        Nominal coverage, replicates and seed of the bootstrap; every cell is resampled on its own, so it does not
        depend on which other rows are there. Three seeds give coarse intervals: the 95 % interval is the range of the
        three, and covers the true mean about three times in four (see `get_interval_estimates`).

    Returns
    -------
    polars.DataFrame
        The `rows`, variant, runs (listed), seeds (with a score), episodes (of the final evaluation of each seed; the fewest
        where they differ), mean, low, high (null with fewer than two seeds, and `no_interval` says why), behaviour (the
        dataset's own mean on the same scale, null where there is none).

    Raises
    ------
    ConfigError
        If a seed occurs twice in a cell (the runs differ in something that `rows` does not name), or if the datasets
        of a cell have different numbers of runs.

    Examples
    --------
    >>> runs = pl.DataFrame({"algorithm": "bc", "variant": "clean", "seed": [0, 1, 2], "score": [40.0, 50.0, None]})
    >>> score_table(runs).select("algorithm", "variant", "runs", "seeds", "mean", "low", "high").row(0)
    ('bc', 'clean', 3, 2, 45.0, 40.0, 50.0)
    """
    rows = [name for name in ([rows] if isinstance(rows, str) else list(rows)) if name != "variant"]
    need_columns(runs, [*rows, "variant", "seed", metric])
    if not runs.schema[metric].is_numeric() and runs[metric].is_not_null().any():
        raise ConfigError(f"metric={metric!r} is no number of a run; {_numbers_of(runs)} are")
    check_confidence(confidence, reps)
    table = []
    schema: dict[str, Any] = {
        **{name: runs.schema[name] for name in [*rows, "variant"]},
        "runs": pl.Int64,
        "seeds": pl.Int64,
        "episodes": pl.Int64,
        "mean": pl.Float64,
        "low": pl.Float64,
        "high": pl.Float64,
        "behaviour": pl.Float64,
        "no_interval": pl.String,
    }
    for group in runs.partition_by([*rows, "variant"], maintain_order=True):
        names = group.select([*rows, "variant"]).row(0, named=True)
        scores = _tasks(group, metric, ", ".join(f"{key} {value}" for key, value in names.items()))
        low, high, reason = interval_of_seeds(scores, confidence, reps, random_state)
        behaviour = _BEHAVIOUR.get(metric)
        table.append(
            {
                **names,
                "runs": group.height,
                "seeds": len(scores),
                "episodes": _fewest_episodes(group, metric),
                "mean": float(aggregate_mean(scores)) if len(scores) else None,
                "low": low,
                "high": high,
                "behaviour": _mean(group[behaviour]) if behaviour in group.columns else None,
                "no_interval": reason,
            }
        )
    return pl.DataFrame(table, schema=schema)


def change_table(
    runs: pl.DataFrame,
    metric: str = "score",
    rows: Sequence[str] = ("algorithm",),
    *,
    clean: str | None = None,
    confidence: float = 0.95,
    reps: int = 2000,
    random_state: int = 0,
) -> pl.DataFrame:
    """Compare every variant with the clean one, row by row.

    Parameters
    ----------
    runs, metric, rows, confidence, reps, random_state
        As for `score_table`.
    clean : str, optional
        The variant to compare with; by default "clean", else the only variant without transforms.

    Returns
    -------
    polars.DataFrame
        The `rows`, variant, seeds and episodes (the smaller of both sides), clean (its mean), mean, change = mean - clean with low
        and high (bootstrap over the seeds of both sides, independently), percent = 100 change / clean (null unless the
        clean mean is positive) and verdict: "lower" or "higher" where there are three seeds or more on both sides and
        the two intervals of `score_table` do not overlap, otherwise "no clear difference", "too few seeds" or
        "no score".

    Raises
    ------
    ConfigError
        If there is no such variant, or as for `score_table`.

    Examples
    --------
    >>> runs = pl.DataFrame({"algorithm": "bc", "variant": ["clean"] * 3 + ["noisy"] * 3, "seed": [0, 1, 2] * 2,
    ...                      "score": [40.0, 42.0, 44.0, 20.0, 21.0, 22.0]})
    >>> change_table(runs).select("variant", "change", "percent", "verdict").row(0)
    ('noisy', -21.0, -50.0, 'lower')
    """
    rows = [name for name in ([rows] if isinstance(rows, str) else list(rows)) if name != "variant"]
    name = clean if clean is not None else clean_variant(runs)
    if name is None or name not in runs["variant"].to_list():
        raise ConfigError(
            f"no variant {clean!r} among the runs"
            if clean
            else "no variant is recognizably clean; pass clean=<variant>"
        )
    scores = score_table(runs, metric, rows, confidence=confidence, reps=reps, random_state=random_state)
    table = []
    for row in scores.filter(pl.col("variant") != name).iter_rows(named=True):
        keys = [pl.col(key).eq_missing(pl.lit(row[key])) for key in rows]
        reference = scores.filter(pl.col("variant") == name, *keys).to_dicts()
        absent = {"mean": None, "low": None, "high": None, "seeds": 0, "episodes": None}
        base: dict[str, Any] = reference[0] if reference else absent
        change = low = high = None
        if row["mean"] is not None and base["mean"] is not None:
            change = row["mean"] - base["mean"]
        if row["low"] is not None and base["low"] is not None:
            sides = tuple(
                _tasks(runs.filter(pl.col("variant") == side, *keys), metric, side) for side in (row["variant"], name)
            )
            if sides[0].shape[1] == sides[1].shape[1]:
                _, intervals = get_interval_estimates(
                    {0: sides},
                    difference_of_means,
                    reps=reps,
                    confidence_interval_size=confidence,
                    random_state=random_state,
                )
                low, high = float(intervals[0][0]), float(intervals[0][1])
        table.append(
            {
                **{key: row[key] for key in [*rows, "variant"]},
                "seeds": min(row["seeds"], base["seeds"]),
                "episodes": min(
                    (count for count in (row["episodes"], base["episodes"]) if count is not None), default=None
                ),
                "clean": base["mean"],
                "mean": row["mean"],
                "change": change,
                "low": low,
                "high": high,
                "percent": 100 * change / base["mean"] if change is not None and base["mean"] > 0 else None,
                "verdict": verdict(row, base),
            }
        )
    schema: dict[str, Any] = {key: runs.schema[key] for key in [*rows, "variant"]} | {
        "seeds": pl.Int64,
        "episodes": pl.Int64,
    }
    schema |= dict.fromkeys(("clean", "mean", "change", "low", "high", "percent"), pl.Float64) | {"verdict": pl.String}
    return pl.DataFrame(table, schema=schema)


def cost_table(runs: pl.DataFrame, rows: Sequence[str] = ("algorithm",), **options: Any) -> pl.DataFrame:
    """Put what runs earned beside what they cost, for every row and variant; the two are never made one number.

    Parameters
    ----------
    runs : polars.DataFrame
        From `load_runs`, filtered or not.
    rows : sequence of str
        As for `score_table`.
    **options
        `confidence`, `reps` and `random_state`, as for `score_table`.

    Returns
    -------
    polars.DataFrame
        The `rows`, variant, and of each of `return_mean`, `score`, `cost_return`, `normalized_cost` (1 is the limit) and
        `over_limit` (share of episodes above the limit, 0 to 1) its mean over the seeds, and as `.../low` and `.../high` its
        interval; `seeds` and `episodes` with a cost. Rows without costs are left out.

    Raises
    ------
    ConfigError
        If no run has costs, or as for `score_table`.

    Examples
    --------
    >>> runs = pl.DataFrame({"algorithm": "bc", "variant": "clean", "seed": [0, 1], "return_mean": [9.0, 11.0],
    ...     "score": None, "cost_return": [4.0, 8.0], "normalized_cost": [0.4, 0.8], "over_limit": [0.0, 0.1]})
    >>> cost_table(runs).select("algorithm", "return_mean", "cost_return", "normalized_cost", "over_limit").row(0)
    ('bc', 10.0, 6.0, 0.6000000000000001, 0.05)
    """
    rows = [name for name in ([rows] if isinstance(rows, str) else list(rows)) if name != "variant"]
    need_columns(runs, [*rows, *_WITH_COSTS])
    if runs["cost_return"].is_null().all():
        raise ConfigError(
            "no run has costs: they are what a final evaluation adds up of info['cost'], which environments with a constraint give"
        )
    table = score_table(runs, "cost_return", rows, **options).select([*rows, "variant", "seeds", "episodes"])
    for metric in _WITH_COSTS:
        found = score_table(runs.with_columns(pl.col(metric).cast(pl.Float64)), metric, rows, **options)
        table = table.with_columns(
            found["mean"].alias(metric), found["low"].alias(f"{metric}/low"), found["high"].alias(f"{metric}/high")
        )
    return table.filter(pl.col("cost_return").is_not_null())


def goal_table(
    returns: pl.DataFrame,
    rows: Sequence[str] = ("label", "variant"),
    *,
    confidence: float = 0.95,
    reps: int = 2000,
    random_state: int = 0,
) -> pl.DataFrame:
    """Summarize success by evaluation goal: the mean over seeds with its interval, for each goal and for all of them.

    In environments with evaluation goals (`assay.datasets.environments.goals`) the return of an episode is its success. An evaluation
    of fewer episodes than there are goals tries the first ones only: the others have no row, and no part in the mean.

    Parameters
    ----------
    returns : polars.DataFrame
        From `load_returns`; the final episodes that have a goal count.
    rows : sequence of str
        Columns that tell the rows apart.
    confidence, reps, random_state
        As for `score_table`.

    Returns
    -------
    polars.DataFrame
        The `rows`, goal (null: the mean of the goals that were tried, each of which counts alike), seeds, episodes (of each seed; the fewest), success
        with low and high (null with fewer than two seeds).

    Raises
    ------
    ConfigError
        If no final episode has an evaluation goal, or a seed occurs in two runs of a row.

    Examples
    --------
    >>> returns = pl.DataFrame({"label": "SMORe", "variant": "maze", "run": ["a", "a", "b", "b"], "seed": [0, 0, 1, 1],
    ...                         "goal": [0, 1, 0, 1], "final": True, "return": [1.0, 0.0, 1.0, 1.0]})
    >>> goal_table(returns).select("goal", "seeds", "success", "low", "high").rows()
    [(0, 2, 1.0, 1.0, 1.0), (1, 2, 0.5, 0.0, 1.0), (None, 2, 0.75, 0.5, 1.0)]
    """
    need_columns(returns, [*rows, "run", "seed", "goal", "final", "return"])
    check_confidence(confidence, reps)
    final = returns.filter(pl.col("final") & pl.col("goal").is_not_null())
    if final.is_empty():
        raise ConfigError(
            "no final episode has an evaluation goal; environments such as assay/PointMaze-Medium-MultiGoal-v0 have some"
        )
    table = []
    for group in final.partition_by(list(rows), maintain_order=True):
        names = group.select(rows).row(0, named=True)
        one_run_per_seed(group, ", ".join(f"{key} {value}" for key, value in names.items()))
        each = group.group_by("seed", "goal").agg(pl.col("return").mean(), pl.len()).sort("seed", "goal")
        for goal in [*each["goal"].unique().sort(), None]:
            chosen = each if goal is None else each.filter(pl.col("goal") == goal)
            of_seeds = chosen.group_by("seed").agg(pl.col("return").mean(), pl.col("len").sum()).sort("seed")
            successes = of_seeds["return"].to_numpy()[:, None]
            low, high, _ = interval_of_seeds(successes, confidence, reps, random_state)
            counts: Any = of_seeds["len"].min()
            table.append(
                {
                    **names,
                    "goal": goal,
                    "seeds": len(successes),
                    "episodes": int(counts),
                    "success": float(successes.mean()),
                    "low": low,
                    "high": high,
                }
            )
    numbers: dict[str, Any] = {"goal": pl.Int64, "seeds": pl.Int64, "episodes": pl.Int64}
    numbers |= dict.fromkeys(("success", "low", "high"), pl.Float64)
    return pl.DataFrame(table, schema={**{name: returns.schema[name] for name in rows}, **numbers})


def verdict(row: dict[str, Any], other: dict[str, Any]) -> str:
    """Compare two rows of a score table in words that the seeds can carry."""
    if row["mean"] is None or other["mean"] is None:
        return "no score"
    if min(row["seeds"], other["seeds"]) < 3:
        return "too few seeds"
    if row["high"] < other["low"]:
        return "lower"
    return "higher" if row["low"] > other["high"] else "no clear difference"


def format_interval(mean: float | None, low: float | None, high: float | None, digits: int = 1) -> str:
    """Write a mean and its interval as text.

    Examples
    --------
    >>> format_interval(52.14, 48.0, 55.9), format_interval(52.14, None, None), format_interval(None, None, None)
    ('52.1 [48.0, 55.9]', '52.1', '–')
    """
    check_digits(digits)
    if mean is None:
        return "–"
    if low is None or high is None:
        return f"{mean:.{digits}f}"
    return f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def pivot(
    table: pl.DataFrame,
    index: str = "variant",
    columns: str = "algorithm",
    *,
    digits: int = 1,
    behaviour: bool = True,
) -> pl.DataFrame:
    """Turn a score table into text for people: one row per `index`, one column per value of `columns`.

    Parameters
    ----------
    table : polars.DataFrame
        From `score_table`.
    index, columns : str
        What becomes the rows and the columns.
    digits : int
        Decimals.
    behaviour : bool
        Whether to add the dataset's own mean as a column; needs `index="variant"`.

    Returns
    -------
    polars.DataFrame
        Cells are `mean [low, high]`, or the mean alone with fewer than two seeds, or a dash without a score. The last columns
        are the seeds of the row's cells, and the episodes of each seed where they are known: a number, or the range.

    Examples
    --------
    >>> runs = pl.DataFrame({"algorithm": ["bc", "bc", "iql"], "variant": "clean", "seed": [0, 1, 0],
    ...                      "score": [40.0, 50.0, 48.0], "behaviour_score": 43.0})
    >>> pivot(score_table(runs)).row(0, named=True)
    {'variant': 'clean', 'bc': '45.0 [40.0, 50.0]', 'iql': '48.0', 'behaviour': '43.0', 'seeds': '1–2'}
    """
    check_digits(digits)
    need_columns(table, [index, columns, "mean", "low", "high"])
    if table.select(index, columns).is_duplicated().any():
        raise ConfigError(f"several rows share one {index} and {columns}; filter the table, or pivot other columns")
    names = table[columns].unique(maintain_order=True).to_list()
    cells = {
        (row[index], row[columns]): format_interval(row["mean"], row["low"], row["high"], digits)
        for row in table.iter_rows(named=True)
    }
    rows = table[index].unique(maintain_order=True).to_list()
    text: dict[str, list[Any]] = {index: rows}
    for name in names:
        text[str(name)] = [cells.get((row, name), "–") for row in rows]
    if behaviour and index == "variant" and "behaviour" in table.columns and "behaviour" not in text:
        means = {row: _mean(table.filter(pl.col(index) == row)["behaviour"]) for row in rows}
        if any(value is not None for value in means.values()):
            text["behaviour"] = [format_interval(means[row], None, None, digits) for row in rows]
    for name in ("seeds", "episodes"):
        if name in table.columns and name not in text and table[name].is_not_null().any():
            scored = table.filter(pl.col("mean").is_not_null())
            text[name] = [range_text(scored.filter(pl.col(index) == row)[name]) for row in rows]
    return pl.DataFrame(text)


def range_text(counts: pl.Series) -> str:
    """Write counts as one number, or as a range where they differ.

    Examples
    --------
    >>> range_text(pl.Series([3, 5, 3])), range_text(pl.Series([10, 10])), range_text(pl.Series([], dtype=pl.Int64))
    ('3–5', '10', '–')
    """
    known = counts.drop_nulls().unique().sort().to_list()
    if not known:
        return "–"
    return str(known[0]) if len(known) == 1 else f"{known[0]}–{known[-1]}"


def counts_text(seeds: pl.Series, episodes: pl.Series) -> str:
    """Say how many seeds are behind a table, and how many episodes of each where that is known.

    Examples
    --------
    >>> counts_text(pl.Series([3, 5]), pl.Series([1, 1])), counts_text(pl.Series([1]), pl.Series([None], dtype=pl.Int64))
    ('3–5 seeds, 1 episode each', '1 seed')
    """
    said = []
    for counts, noun, each in ((seeds, "seed", ""), (episodes, "episode", " each")):
        if (text := range_text(counts)) not in ("–", "0"):
            said.append(f"{text} {noun}{'' if text == '1' else 's'}{each}")
    return ", ".join(said)


def statuses_text(statuses: Iterable[str], absent: int = 0) -> str:
    """Return a sentence with the number of runs by status, and of those that were not started.

    Examples
    --------
    >>> statuses_text(["finished", "failed", "unfinished"])
    '1 of 3 runs finished; 1 failed and 1 unfinished.'
    """
    counts = Counter(statuses)
    total, finished = counts.total() + absent, counts["finished"]
    if total == 0:
        return "There is no run yet."
    if finished == total:
        return "The only run finished." if total == 1 else f"All {total} runs finished."
    others = [f"{counts[status]} {status}" for status in ("diverged", "failed", "unfinished") if counts[status]]
    others += [f"{absent} not started"] if absent else []
    return f"{finished} of {count_of(total, 'run')} finished; {joined(others)}."


def joined(items: Sequence[str], word: str = "and") -> str:
    """Write a list as people do.

    Examples
    --------
    >>> joined(["a", "b", "c"], "or")
    'a, b or c'
    """
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {word} {items[-1]}"
