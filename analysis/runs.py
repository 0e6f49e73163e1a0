"""Read run folders into tables: one row per run, per evaluation episode, or per logged value.

::

    runs/quickstart-small/                        load_runs, load_suite
        suite.json                                what was to be run (absent for free runs)
        quality.parquet                           load_quality (may be absent)
        iql-clean-seed0-1f0c9a2b/
            run.json                              one row of load_runs
            returns.parquet                       load_returns: every evaluation episode
            curves.parquet                        load_curves: losses and other logged values

Everything is read from disk, so runs of another process, machine or day are read the same way. What is damaged or is
not a run is refused by name; what is merely unfinished is listed, with null scores. The folders are read by
`assay.baselines.runs.reader`, which needs no torch.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import polars as pl

from assay.baselines.runs.reader import (
    StoredRun,
    final_returns,
    mean_return,
    normalized,
    read_quality,
    read_runs,
    read_suite,
)
from assay.baselines.runs.schema import CURVES
from assay.datasets.errors import FormatError

__all__ = ["load_curves", "load_quality", "load_returns", "load_runs", "load_suite", "read_folders"]

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
}
_CURVES: dict[str, Any] = {**_KEYS, **{name: getattr(pl, kind) for name, kind in CURVES.items()}}


def read_folders(paths: Folders) -> list[StoredRun]:
    """Read every run.json below one or several folders of runs, folder by folder, each in its suite's order."""
    if isinstance(paths, str | os.PathLike):
        return read_runs(paths)
    return [run for path in paths for run in ([path] if isinstance(path, StoredRun) else read_runs(path))]


def load_suite(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Read `suite.json`: name, title, question, budget, variants, algorithms, seeds; None for a folder of free runs.

    Raises
    ------
    FormatError
        If the file is there but cannot be read.
    """
    return read_suite(path)


# -------------------------------------------------------------------- names


def algorithm_labels(runs: Sequence[StoredRun]) -> list[str]:
    """Return display names, with the difference where runs of one algorithm differ in parameters or budget, and any noise.

    What was chosen for the variant (`by_variant`) is not told: the choosing is part of the algorithm.
    """
    settings = [_setting(run) for run in runs]
    told = _differences([str(run.job["algorithm"]) for run in runs], settings)
    labels = []
    for run, text in zip(runs, told, strict=True):
        label = f"{run.label} ({text})" if text else run.label
        noise = (run.job.get("evaluation") or {}).get("observation_noise")
        labels.append(f"{label} under {_noise_text(noise)}" if noise else label)
    return labels


def variant_labels(runs: Sequence[StoredRun]) -> list[str]:
    """Return the names of the variants, with the difference where different data has one name.

    The difference is that of the transforms' parameters, else of the fingerprints. One name for the same recipe on several
    datasets is what suites do; the column `dataset` tells those apart.
    """
    names = [(run.variant, run.dataset.get("id"), run.dataset.get("environment_id")) for run in runs]
    marks = [run.dataset.get("fingerprint") for run in runs]
    told = _differences(names, [_recipe(run) for run in runs])
    several: dict[Any, set[Any]] = {}
    by_text: dict[Any, set[Any]] = {}
    for name, mark, text in zip(names, marks, told, strict=True):
        several.setdefault(name, set()).add(mark)
        by_text.setdefault((name, text), set()).add(mark)
    labels = []
    for name, mark, text in zip(names, marks, told, strict=True):
        if len(several[name]) < 2:
            labels.append(name[0])
        elif text and all(len(by_text[other]) == 1 for other in by_text if other[0] == name):
            labels.append(f"{name[0]} ({text})")
        else:
            labels.append(f"{name[0]} (data {str(mark or 'unknown')[:8]})")
    return labels


def _differences(groups: Sequence[Any], settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say for each item, as `name=value, ...`, what of its settings differs within its group."""
    values: dict[Any, dict[str, set[str]]] = {}
    sizes: dict[Any, int] = {}
    for group, setting in zip(groups, settings, strict=True):
        sizes[group] = sizes.get(group, 0) + 1
        for name, value in setting.items():
            values.setdefault(group, {}).setdefault(name, set()).add(json.dumps(value, sort_keys=True))
    for group, setting in zip(groups, settings, strict=True):
        for name in values.get(group, {}).keys() - setting.keys():
            values[group][name].add("null")  # as if it had been None
    differing = {group: [name for name, found in named.items() if len(found) > 1] for group, named in values.items()}
    return [
        ", ".join(f"{name}={setting[name]}" for name in differing.get(group, ()) if name in setting)
        for group, setting in zip(groups, settings, strict=True)
    ]


def _setting(run: StoredRun) -> dict[str, Any]:
    """Return what a run was trained with, apart from what was chosen for its variant."""
    parameters = run.job.get("parameters") or {}
    chosen = run.job.get("by_variant") or []
    return {**{name: value for name, value in parameters.items() if name not in chosen}, "updates": run.job["steps"]}


def _recipe(run: StoredRun) -> dict[str, Any]:
    """Return the parameters of what was done to the data of a run."""
    found = {}
    for number, record in enumerate(run.transforms):
        for name, value in dict(record.get("parameters") or {}).items():
            key = name if len(run.transforms) == 1 else f"{number + 1}.{name}"
            found[key] = value
    return found


def _noise_text(noise: Mapping[str, Any]) -> str:
    """Describe test-time noise, so that its returns never pass for clean ones."""
    attack = "action-difference attack, " if noise.get("attack") == "action_difference" else ""
    unit = "" if noise.get("unit") == "absolute" else " std"
    return f"{attack}{noise.get('distribution', 'uniform')} noise of {noise.get('scale', 0):g}{unit}"


# -------------------------------------------------------------------- tables


def _number(value: Any) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def _row(run: StoredRun, label: str, variant: str) -> dict[str, Any]:
    job, dataset, references = run.job, run.dataset, run.references
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
    noise = (job.get("evaluation") or {}).get("observation_noise")
    behaviour = _number(dataset.get("behaviour_return", dataset.get("return_mean")))
    return {
        "run": run.folder.name,
        "algorithm": job["algorithm"],
        "label": label,
        "variant": variant,
        "dataset": dataset.get("id"),
        "environment": dataset.get("environment_id"),
        "seed": job["seed"],
        "status": run.status,
        "updates": job["steps"] if run.status == "finished" else _last_update(run, episodes),
        "updates_planned": job["steps"],
        "return_mean": mean,
        "score": normalized(references, mean),
        "episodes": count,
        "noise": None if noise is None else _noise_text(noise),
        "best_score": normalized(references, best),
        "behaviour_return": behaviour,
        "behaviour_score": normalized(references, behaviour),
        "seconds": _number(run.description.get("seconds")),
        "references": None if references is None else references.source or "source not recorded",
        "parameters": json.dumps(job.get("parameters") or {}, sort_keys=True),
        "transforms": len(run.transforms),
        "fingerprint": dataset.get("fingerprint"),
        "error": run.error,
        "path": str(run.folder),
    }


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


def load_runs(paths: Folders) -> pl.DataFrame:
    """Read a folder of runs into one row per run.

    Parameters
    ----------
    paths : path or sequence of paths
        The folder that holds the run folders (`runs/quickstart-small`), or one run folder; or several of these.

    Returns
    -------
    polars.DataFrame
        In the order of the suite, else by name (untouched data first):

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
        behaviour_return    mean true return of the policies behind the data (null where corrupted rewards hide it);
                            `behaviour_score` on D4RL's scale
        seconds             wall-clock time of the run
        references          where the two reference returns come from; null without references
        parameters          the algorithm's parameters as JSON
        transforms          number of transforms between the source and the variant
        fingerprint         content hash of the dataset
        error               what went wrong, if anything
        path                the run folder
        ==================  ===========================================================================

        Runs that did not finish are listed with null returns and scores. A diverged run keeps its final evaluation
        where it has one, because leaving divergence out of a mean would flatter the algorithm.

    Raises
    ------
    FormatError
        If a file is damaged, missing or not Assay's; the message names it.
    """
    runs = read_folders(paths)
    return table_of_runs(runs)


def table_of_runs(runs: Sequence[StoredRun]) -> pl.DataFrame:
    """Return the table of `load_runs` of runs that were read before."""
    labels = zip(runs, algorithm_labels(runs), variant_labels(runs), strict=True)
    return pl.DataFrame([_row(*item) for item in labels], schema=_RUNS)


def _long(paths: Folders, read: Callable[[StoredRun], pl.DataFrame], schema: Any) -> pl.DataFrame:
    runs = read_folders(paths)
    keys: dict[str, list[Any]] = {name: [] for name in _KEYS}
    frames, heights = [], []
    for run, label, variant in zip(runs, algorithm_labels(runs), variant_labels(runs), strict=True):
        frame = read(run)
        frames.append(frame)
        heights.append(frame.height)
        for name, value in zip(_KEYS, (run.folder.name, run.job["algorithm"], label, variant, run.job["seed"])):
            keys[name].append(value)
    if not frames:
        return pl.DataFrame(schema=schema)
    of_runs = pl.DataFrame(keys, schema=_KEYS)
    which = pl.Series(range(len(frames)), dtype=pl.UInt32).repeat_by(pl.Series(heights)).explode(empty_as_null=False)
    return pl.concat([of_runs[which], pl.concat(frames)], how="horizontal").select(list(schema))


def load_returns(paths: Folders) -> pl.DataFrame:
    """Read every evaluation episode of every run: the keys of the run, update, episode, return, score, length, final.

    Parameters
    ----------
    paths : path or sequence of paths
        The folder that holds the run folders, or one run folder; or several of these.

    Returns
    -------
    polars.DataFrame
        `update` is the number of gradient updates before the evaluation, `final` marks the one after the last update,
        `episode_seed` is what the environment was reset with, `score` is null without references.
    """

    def read(run: StoredRun) -> pl.DataFrame:
        frame = run.evaluations.rename({"seed": "episode_seed"})
        score = pl.lit(None, dtype=pl.Float64) if run.references is None else run.references.normalize(pl.col("return"))
        return frame.with_columns(score.alias("score"))

    return _long(paths, read, _RETURNS)


def load_curves(paths: Folders) -> pl.DataFrame:
    """Read what every run logged while it trained: the keys of the run, update, metric, value.

    Parameters
    ----------
    paths : path or sequence of paths
        The folder that holds the run folders, or one run folder; or several of these. Runs without curves contribute no
        rows.
    """
    return _long(paths, lambda run: run.curves, _CURVES)


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
