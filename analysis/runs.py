"""Read run folders into tables: one row per run, per evaluation episode, or per logged value.

::

    runs/quickstart-small/                        load_runs, load_suite
        suite.json                                what was to be run (absent for free runs)
        quality.parquet                           load_quality (may be absent)
        iql-clean-seed0-1f0c9a2b/
            run.json                              one row of load_runs
            returns.parquet                       load_returns, scan_returns: every evaluation episode
            curves.parquet                        load_curves, scan_curves: losses and other logged values

Everything is read from disk, so runs of another process, machine or day are read the same way. What is damaged or is
not a run is refused by name; what is merely unfinished is listed, with null scores. The folders are read by
`assay.baselines.runs.reader`, which needs no torch.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import polars as pl

from assay.analysis.run_labels import RunFacts, algorithm_labels, noise_text, parameter_columns, variant_labels
from assay.analysis.superseded import Listed, current_runs, in_use, runs_in_use
from assay.baselines.runs.reader import (
    StoredRun,
    final_returns,
    mean_return,
    normalized,
    read_quality,
    read_runs,
    read_suite,
    run_folders,
    suite_order,
)
from assay.baselines.runs.schema import CURVES
from assay.datasets.errors import ConfigError, FormatError
from assay.datasets.progress import Auto, Progress, counted, reporting

__all__ = [
    "load_curves",
    "load_quality",
    "load_returns",
    "load_runs",
    "load_suite",
    "read_folders",
    "scan_curves",
    "scan_returns",
    "with_metrics",
]

Folders: TypeAlias = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]  # runs read before are taken, too

_RUNS: dict[str, Any] = {
    "run": pl.String,
    "algorithm": pl.String,
    "label": pl.String,
    "variant": pl.String,
    "dataset": pl.String,
    "environment": pl.String,
    "seed": pl.Int64,
    "status": pl.String,
    "updates": pl.Int64,
    "updates_planned": pl.Int64,
    "return_mean": pl.Float64,
    "score": pl.Float64,
    "episodes": pl.Int64,
    "noise": pl.String,
    "best_score": pl.Float64,
    "cost_return": pl.Float64,
    "normalized_cost": pl.Float64,
    "over_limit": pl.Float64,
    "behaviour_return": pl.Float64,
    "behaviour_score": pl.Float64,
    "seconds": pl.Float64,
    "references": pl.String,
    "parameters": pl.String,
    "transforms": pl.Int64,
    "fingerprint": pl.String,
    "error": pl.String,
    "path": pl.String,
}
_KEYS: dict[str, Any] = {name: _RUNS[name] for name in ("run", "algorithm", "label", "variant", "seed")}
_RETURNS: dict[str, Any] = {
    **_KEYS,
    "update": pl.Int64,
    "episode": pl.Int64,
    "episode_seed": pl.Int64,
    "return": pl.Float64,
    "score": pl.Float64,
    "length": pl.Int64,
    "final": pl.Boolean,
    "goal": pl.Int64,
    "cost": pl.Float64,
}
_COSTS = ("cost_return", "normalized_cost", "over_limit")
_OUTCOME = (
    "updates",
    "return_mean",
    "score",
    "episodes",
    "best_score",
    *_COSTS,
)  # what is read from the tables of a run
_RUNS_AT_A_TIME = 1000  # of a lazy frame
_CURVES: dict[str, Any] = {**_KEYS, **{name: getattr(pl, kind) for name, kind in CURVES.items()}}


def read_folders(paths: Folders) -> list[StoredRun]:
    """Read every run.json below one or several folders of runs, folder by folder, each in its suite's order.

    Runs that the folder's suite has replaced are left out (`assay.analysis.superseded`), here and in every table.
    """
    if isinstance(paths, str | os.PathLike):
        return runs_in_use(read_runs(paths), current_runs(paths))
    known = isinstance(paths, Sequence) and all(isinstance(item, str | os.PathLike | StoredRun) for item in paths)
    if not known:
        raise ConfigError(f"runs={paths!r}: expected a folder of runs, or a sequence of them")
    return [run for path in paths for run in ([path] if isinstance(path, StoredRun) else read_folders(path))]


def load_suite(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Read `suite.json`: name, title, question, budget, variants, algorithms, seeds; None for a folder of free runs.

    Raises
    ------
    FormatError
        If the file is there but cannot be read.
    """
    return read_suite(path)


# -------------------------------------------------------------------- tables


def _number(value: Any) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def _identity(run: StoredRun) -> dict[str, Any]:
    """Return what run.json says of a run; the tables of the run are not read."""
    job, dataset, references = run.job, run.dataset, run.references
    noise = (job.get("evaluation") or {}).get("observation_noise")
    behaviour = _number(dataset.get("behaviour_return", dataset.get("return_mean")))
    return {
        "run": run.folder.name,
        "algorithm": job["algorithm"],
        "dataset": dataset.get("id"),
        "environment": dataset.get("environment_id"),
        "seed": job["seed"],
        "status": run.status,
        "updates_planned": job["steps"],
        "noise": None if noise is None else noise_text(noise),
        "behaviour_return": behaviour,
        "behaviour_score": normalized(references, behaviour),
        "seconds": _number(run.description.get("seconds")),
        "references": None if references is None else references.source or "source not recorded",
        "parameters": sys.intern(json.dumps(job.get("parameters") or {}, sort_keys=True)),
        "transforms": len(run.transforms),
        "fingerprint": dataset.get("fingerprint"),
        "error": run.error,
        "path": str(run.folder),
    }


def _outcome(run: StoredRun) -> dict[str, Any]:
    """Return what the tables of a run say of it."""
    episodes = run.evaluations
    mean = best = None
    count = 0
    if run.ended:
        final = final_returns(episodes)
        count = len(final)
        mean = mean_return(final)
        if count < episodes.height:
            best = _best_mean(episodes)
        if mean is not None and not math.isfinite(mean):  # only a diverged run can hold such returns
            mean = best = None
    return {
        "updates": run.job["steps"] if run.status == "finished" else _last_update(run, episodes),
        "return_mean": mean,
        "score": normalized(run.references, mean),
        "episodes": count,
        "best_score": normalized(run.references, best),
        **_costs(run, episodes),
    }


def _costs(run: StoredRun, episodes: pl.DataFrame) -> dict[str, float | None]:
    """Return what the episodes of the final evaluation cost, and how that is to the limit; all None where it is not known."""
    costs = episodes["cost"].filter(episodes["final"]) if run.ended else episodes["cost"].clear()
    if not len(costs) or not costs.is_finite().fill_null(value=False).all():
        return dict.fromkeys(_COSTS)
    mean = mean_return(costs)
    limit = (run.job.get("evaluation") or {}).get("cost_limit")
    if mean is None or limit is None:
        return {**dict.fromkeys(_COSTS), "cost_return": mean}
    return {"cost_return": mean, "normalized_cost": mean / limit, "over_limit": float((costs > limit).mean() or 0.0)}


def _best_mean(episodes: pl.DataFrame) -> float | None:
    """Return the largest finite mean return of several evaluations; None where there is but one."""
    updates, which = np.unique(episodes["update"].to_numpy(), return_inverse=True)
    if len(updates) < 2:
        return None
    with np.errstate(invalid="ignore"):
        means = np.bincount(which, episodes["return"].to_numpy()) / np.bincount(which)
    finite = means[np.isfinite(means)]
    return float(finite.max()) if len(finite) else None


def _last_update(run: StoredRun, episodes: pl.DataFrame) -> int:
    found: list[Any] = [table["update"].max() for table in (episodes, run.curves)]
    return max(int(update or 0) for update in found)


def load_runs(
    paths: Folders, *, where: pl.Expr | None = None, progress: Progress | Auto | None = "auto"
) -> pl.DataFrame:
    """Read a folder of runs into one row per run.

    Parameters
    ----------
    paths : path or sequence of paths
        The folder that holds the run folders (`runs/quickstart-small`), or one run folder; or several of these.
    where : polars.Expr, optional
        Which runs to read the results of. It sees every column but those that come from results: `updates`, `return_mean`,
        `score`, `episodes`, `best_score` and the costs. The other runs are left out, though labels still tell all of them apart.
    progress : callable, optional
        Called with (runs read, runs in all); by default a bar is shown where somebody looks; None is silent.

    Returns
    -------
    polars.DataFrame
        In the order of the suite, else by name (untouched data first). `.to_pandas()` makes a pandas frame of it. Runs that
        the folder's suite has replaced, such as what a search found before it was grown, are left out.

        ==================  ===========================================================================
        run                 name of the run folder
        algorithm, label    registered and displayed name; where runs of one algorithm differ in
                            parameters or budget, the difference is part of the label, and noise on the
                            observations of the evaluation always is
        variant, seed       what was trained on, and the training seed; where different data has one name, the
                            difference is part of the variant's name
        dataset             id of the dataset; `environment` is where the policy was evaluated
        status              finished, unfinished, failed or diverged
        updates             gradient updates done; `updates_planned` were asked for
        return_mean         mean return of the final evaluation's `episodes` (sum of rewards)
        noise               what disturbed the observations of the evaluation; null where nothing did
        score               the same on D4RL's scale, 0 = random and 100 = expert; null without references
        best_score          mean score of the best evaluation along the way: a diagnostic, chosen with
                            hindsight, never to be reported as a result; null when only the final one exists
        cost_return         mean cost of the final evaluation's episodes (sum of `info["cost"]`); null where one has none
        normalized_cost     the same over the evaluation's `cost_limit`; above 1 is too much. Null without a limit
        over_limit          share of the final evaluation's episodes that cost more than the limit
        behaviour_return    mean true return of the policies behind the data (null where corrupted rewards hide it);
                            `behaviour_score` on D4RL's scale
        seconds             wall-clock time of the run
        references          where the two reference returns come from; null without references
        parameters          the algorithm's parameters as JSON
        transforms          number of transforms between the source and the variant
        fingerprint         content hash of the dataset
        error               what went wrong, if anything
        path                the run folder
        algorithm/...       every parameter of an algorithm: `algorithm/expectile`
        transform/...       every parameter of a transform: `transform/corruption.random/rate`; of the same transform
                            applied again `transform/corruption.random#2/rate`
        evaluation/...      every setting of the evaluation: `evaluation/episodes`
        ==================  ===========================================================================

        A parameter is null for runs that have none of its name. Lists are JSON text, and long ones (episodes that were
        selected) their length and a hash. Runs that did not finish are listed with null returns and scores. A diverged
        run keeps its final evaluation where it has one, because leaving divergence out of a mean would flatter the
        algorithm.

    Raises
    ------
    FormatError
        If a file is damaged, missing or not Assay's; the message names it.
    ConfigError
        If `where` names a column that is not there.

    Examples
    --------
    >>> import assay, tempfile
    >>> from assay.baselines import BC, Job, train
    >>> folder = tempfile.mkdtemp()
    >>> dataset = assay.load("pendulum/random", steps=400)
    >>> jobs = [Job(BC(hidden=(size,)), dataset) for size in (4, 8)]
    >>> _ = train(jobs, steps=5, runs=folder, evaluation=None)
    >>> load_runs(folder, where=pl.col("algorithm/hidden") == "[8]")["label"].to_list()
    ['BC (hidden=[8])']
    """
    if where is None:
        return _read(paths, scored=True, progress=progress)
    chosen = _chosen(_read(paths, scored=False, progress=progress).drop(_OUTCOME), where)
    known = _open_runs(paths)
    with reporting(progress, "reading results", counted("reading results")) as report:
        rows = []
        for number, path in enumerate(chosen["path"]):
            rows.append(_outcome(known.get(path) or StoredRun(path)))
            if report is not None:
                report(number + 1, chosen.height)
    results = pl.DataFrame(rows, schema={name: _RUNS[name] for name in _OUTCOME})
    parameters = [name for name in chosen.columns if "/" in name]
    return pl.concat([chosen, results], how="horizontal").select([*_RUNS, *parameters])


def _chosen(runs: pl.DataFrame, where: pl.Expr) -> pl.DataFrame:
    try:
        return runs.filter(where)
    except pl.exceptions.ColumnNotFoundError as error:
        raise ConfigError(
            f"where: the runs have no column {str(error).splitlines()[0]} before their results are read; they have "
            f"{', '.join(runs.columns)}. Results (score, ...) are filtered afterwards: load_runs(...).filter(...)"
        ) from None


def table_of_runs(runs: Sequence[StoredRun]) -> pl.DataFrame:
    """Return the table of `load_runs` of runs that were read before."""
    return _read(runs, scored=True)


def _open_runs(paths: Folders) -> dict[str, StoredRun]:
    """Return the runs that were read before by their paths."""
    if isinstance(paths, str | os.PathLike):
        return {}
    return {str(run.folder): run for run in paths if isinstance(run, StoredRun)}


def _read(paths: Folders, *, scored: bool, progress: Progress | Auto | None = None) -> pl.DataFrame:
    """Read one row per run; of each run only its row is kept. Without `scored` the results are null and not read."""
    places = _places(paths)
    columns: dict[str, list[Any]] = {name: [] for name in _RUNS if name not in ("label", "variant")}
    facts: list[RunFacts] = []
    keys: list[tuple[Any, ...]] = []
    shared: dict[str, Mapping[str, Any]] = {}
    nothing = dict.fromkeys(_OUTCOME)
    with reporting(progress, "reading runs", counted("reading runs")) as report:
        for number, (key, place) in enumerate(places):
            run = place if isinstance(place, StoredRun) else StoredRun(place)
            row = {**_identity(run), **(_outcome(run) if scored else nothing)}
            for name, values in columns.items():
                values.append(row[name])
            facts.append(RunFacts.of(run, shared))
            keys.append(key(run))
            if report is not None:
                report(number + 1, len(places))
    used = _in_use(paths, [key[0] for key in keys], [*zip(columns["run"], columns["seed"], facts)])
    order = sorted(used, key=keys.__getitem__)
    facts = [facts[index] for index in order]
    table = pl.DataFrame(columns, schema={name: _RUNS[name] for name in columns})[order]
    named = table.with_columns(
        pl.Series("label", algorithm_labels(facts), pl.String), pl.Series("variant", variant_labels(facts), pl.String)
    )
    return pl.concat([named.select(list(_RUNS)), parameter_columns(facts)], how="horizontal")


def _places(paths: Folders) -> list[tuple[Callable[[StoredRun], tuple[Any, ...]], Path | StoredRun]]:
    """List the runs of one or several folders, each with the key that it is sorted by."""
    found: list[tuple[Callable[[StoredRun], tuple[Any, ...]], Path | StoredRun]] = []
    for number, path in enumerate([paths] if isinstance(paths, str | os.PathLike) else paths):
        if isinstance(path, StoredRun):
            found.append((partial(_place, number, None), path))
        else:
            order = suite_order(path) if Path(path).is_dir() else None
            found += [(partial(_place, number, order), folder) for folder in run_folders(path)]
    return found


def _in_use(paths: Folders, numbers: Sequence[int], runs: Sequence[Listed]) -> list[int]:
    """Return the places of the runs that their folders' suites have not replaced; `numbers` are those of the folders."""
    listed = [paths] if isinstance(paths, str | os.PathLike) else paths
    current = {
        n: names for n, path in enumerate(listed) if not isinstance(path, StoredRun) and (names := current_runs(path))
    }
    replaced: set[int] = set()
    for number, names in current.items():
        places = [place for place, of_folder in enumerate(numbers) if of_folder == number]
        used = in_use([runs[place] for place in places], names)
        replaced |= {place for place, kept in zip(places, used) if not kept}
    return [place for place in range(len(runs)) if place not in replaced]


def _place(number: int, order: Callable[[StoredRun], tuple[Any, ...]] | None, run: StoredRun) -> tuple[Any, ...]:
    return (number, *(() if order is None else order(run)))


# -------------------------------------------------------------------- long tables


def _long(
    runs: pl.DataFrame,
    read: Callable[[StoredRun], pl.DataFrame],
    schema: Any,
    known: Mapping[str, StoredRun],
    report: Progress | None = None,
) -> pl.DataFrame:
    """Put the tables of runs below each other, with the keys of the run in every row."""
    frames = []
    for number, path in enumerate(runs["path"]):
        frames.append(read(known.get(path) or StoredRun(path)))
        if report is not None:
            report(number + 1, runs.height)
    if not frames:
        return pl.DataFrame(schema=schema)
    heights = pl.Series([frame.height for frame in frames])
    which = pl.Series(range(len(frames)), dtype=pl.UInt32).repeat_by(heights).explode(empty_as_null=False)
    return pl.concat([runs.select(list(_KEYS))[which], pl.concat(frames)], how="horizontal").select(list(schema))


def _load(
    runs: Folders | pl.DataFrame, read: Callable[[StoredRun], pl.DataFrame], schema: Any, title: str
) -> pl.DataFrame:
    if not isinstance(runs, pl.DataFrame):
        table, known = _read(runs, scored=False, progress="auto"), _open_runs(runs)
    else:
        table, known = _table_of_paths(runs), {}
    with reporting("auto", title, counted(title)) as report:
        return _long(table, read, schema, known, report)


def _table_of_paths(runs: pl.DataFrame) -> pl.DataFrame:
    missing = [name for name in (*_KEYS, "path") if name not in runs.columns]
    if missing:
        raise ConfigError(
            f"the table of runs has no column {missing[0]!r}; pass what load_runs returned, filtered or not"
        )
    return runs


def _scan(runs: Folders | pl.DataFrame, read: Callable[[StoredRun], pl.DataFrame], schema: Any) -> pl.LazyFrame:
    from polars.io.plugins import register_io_source

    table = _table_of_paths(runs) if isinstance(runs, pl.DataFrame) else _read(runs, scored=False, progress="auto")
    table = table.select([*_KEYS, "path"])

    def source(
        with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        chosen, left = table, n_rows
        if predicate is not None and set(predicate.meta.root_names()) <= set(_KEYS):
            chosen = table.filter(predicate)  # the files of other runs are not opened
        for start in range(0, chosen.height, _RUNS_AT_A_TIME):
            frame = _long(chosen[start : start + _RUNS_AT_A_TIME], read, schema, {})
            frame = frame if predicate is None else frame.filter(predicate)
            frame = frame if with_columns is None else frame.select(with_columns)
            frame = frame if left is None else frame.head(left)
            yield frame
            if left is not None and (left := left - frame.height) <= 0:
                return

    return register_io_source(source, schema=schema)


def _returns(run: StoredRun) -> pl.DataFrame:
    frame = run.evaluations.rename({"seed": "episode_seed"})
    score = pl.lit(None, dtype=pl.Float64) if run.references is None else run.references.normalize(pl.col("return"))
    return frame.with_columns(score.alias("score"))


def _curves(run: StoredRun) -> pl.DataFrame:
    return run.curves


def load_returns(runs: Folders | pl.DataFrame) -> pl.DataFrame:
    """Read every evaluation episode of every run: the keys of the run, update, episode, return, score, length, final, goal, cost.

    Parameters
    ----------
    runs : path, sequence of paths, or polars.DataFrame
        The folder that holds the run folders, or one run folder; or several of these; or what `load_runs` returned,
        filtered or not: then only the runs in it are read, and called as there.

    Returns
    -------
    polars.DataFrame
        `update` is the number of gradient updates before the evaluation, `final` marks the one after the last update,
        `episode_seed` is what the environment was reset with, `score` is null without references, `goal` is the number of the
        evaluation goal, null where the environment has none, and `cost` null where it says none.

    See Also
    --------
    scan_returns : the same without holding it in memory.
    """
    return _load(runs, _returns, _RETURNS, "reading returns")


def load_curves(runs: Folders | pl.DataFrame) -> pl.DataFrame:
    """Read what every run logged while it trained: the keys of the run, update, metric, value.

    Parameters
    ----------
    runs : path, sequence of paths, or polars.DataFrame
        As for `load_returns`. Runs without curves contribute no rows.

    See Also
    --------
    scan_curves : the same without holding it in memory.
    """
    return _load(runs, _curves, _CURVES, "reading curves")


def scan_returns(runs: Folders | pl.DataFrame) -> pl.LazyFrame:
    """Return what `load_returns` reads as a lazy frame: files are opened when it is collected, 1,000 runs at a time.

    A filter on the keys alone (run, algorithm, label, variant, seed) leaves the files of other runs unopened.

    Examples
    --------
    >>> import assay, tempfile
    >>> from assay.baselines import BC, Evaluation, Job, train
    >>> folder = tempfile.mkdtemp()
    >>> jobs = [Job(BC(hidden=(4,)), assay.load("pendulum/random", steps=400), seed) for seed in range(2)]
    >>> _ = train(jobs, steps=5, runs=folder, evaluation=Evaluation(episodes=3), workers=0)
    >>> scan_returns(folder).filter(pl.col("seed") == 1).select(pl.len()).collect().item()
    3
    """
    return _scan(runs, _returns, _RETURNS)


def scan_curves(runs: Folders | pl.DataFrame) -> pl.LazyFrame:
    """Return what `load_curves` reads as a lazy frame; see `scan_returns`."""
    return _scan(runs, _curves, _CURVES)


# -------------------------------------------------------------------- metrics of the data


def load_quality(path: str | os.PathLike[str]) -> pl.DataFrame:
    """Read the quality of every variant's dataset: variant, metric, value, low, high, unit, source.

    Parameters
    ----------
    path : path
        The folder that holds the run folders.

    Returns
    -------
    polars.DataFrame
        Empty when the suite measured no quality, or has not done so yet.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise FormatError(f"{folder} is not a folder; pass the folder that the runs were written to, such as runs/name")
    return read_quality(folder)


def with_metrics(
    runs: pl.DataFrame, quality: pl.DataFrame | None = None, metrics: Sequence[str] | None = None
) -> pl.DataFrame:
    """Add what is known of each run's dataset: a column `metric/<name>` for every metric, joined by fingerprint.

    Parameters
    ----------
    runs : polars.DataFrame
        From `load_runs`.
    quality : polars.DataFrame, optional
        Columns fingerprint, metric, value: what `assess(dataset)` returns, with the dataset's fingerprint added. By
        default what the suites measured that the runs belong to.
    metrics : sequence of str, optional
        Default all.

    Returns
    -------
    polars.DataFrame
        Null where a metric is not known of a dataset.

    Raises
    ------
    ConfigError
        If nothing is known of any of the datasets, a metric is not known of any, or has two values for one of them.

    Examples
    --------
    >>> runs = pl.DataFrame({"run": ["a", "b"], "fingerprint": ["f1", "f2"]})
    >>> quality = pl.DataFrame({"fingerprint": ["f1", "f2"], "metric": "tq", "value": [0.3, 0.9]})
    >>> with_metrics(runs, quality)["metric/tq"].to_list()
    [0.3, 0.9]
    """
    known = _measured_by_suites(runs) if quality is None else quality
    missing = [name for name in ("fingerprint", "metric", "value") if name not in known.columns]
    if missing:
        raise ConfigError(
            f"the metrics have no column {missing[0]!r}; add the dataset's fingerprint to what assess returns: "
            "assess(dataset).with_columns(fingerprint=pl.lit(dataset.fingerprint))"
        )
    known = known.select("fingerprint", "metric", "value").unique(maintain_order=True)
    known = known.join(runs.select("fingerprint").unique(), on="fingerprint", how="semi")
    names = known["metric"].unique(maintain_order=True).to_list() if metrics is None else list(metrics)
    known = known.filter(pl.col("metric").is_in(names))
    for name in names:
        if name not in known["metric"]:
            raise ConfigError(f"the metric {name!r} is not known of any dataset of these runs")
    if not names:
        raise ConfigError(
            "nothing is known of the datasets of these runs; measure them: "
            "assess(dataset).with_columns(fingerprint=pl.lit(dataset.fingerprint))"
        )
    twice = known.filter(known.select("fingerprint", "metric").is_duplicated())
    if twice.height:
        raise ConfigError(
            f"the metric {twice['metric'][0]!r} has two values for the dataset {str(twice['fingerprint'][0])[:8]}; keep one"
        )
    wide = known.pivot(on="metric", index="fingerprint", values="value").select("fingerprint", *names)
    wide = wide.rename({name: f"metric/{name}" for name in names})
    return runs.join(wide, on="fingerprint", how="left", maintain_order="left")


def _measured_by_suites(runs: pl.DataFrame) -> pl.DataFrame:
    """Return what the suites of the runs measured, by fingerprint."""
    tables = [pl.DataFrame(schema={"fingerprint": pl.String, "metric": pl.String, "value": pl.Float64})]
    with_folder = runs.with_columns(pl.col("path").map_elements(_parent, pl.String).alias("folder"))
    for (folder,), group in with_folder.group_by("folder", maintain_order=True):
        quality = load_quality(str(folder))
        if quality.is_empty():
            continue
        datasets = group.unique("fingerprint", maintain_order=True)
        called = [str(StoredRun(path).job["variant"]) for path in datasets["path"]]  # in the suite's own words
        marks = pl.DataFrame({"variant": called, "fingerprint": datasets["fingerprint"]})
        tables.append(quality.join(marks, on="variant").select("fingerprint", "metric", "value"))
    return pl.concat(tables)


def _parent(path: str) -> str:
    return str(Path(path).parent)
