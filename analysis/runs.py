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
not a run is refused by name; what is merely unfinished is listed, with null scores.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from assay.datasets.errors import FormatError

__all__ = ["load_curves", "load_quality", "load_returns", "load_runs", "load_suite"]

STATUSES = ("finished", "unfinished", "failed", "diverged")

_RUN_FILES = ("returns.parquet", "curves.parquet", "policy.safetensors", "checkpoint")
_RUN_NAME = re.compile(r".+-seed\d+-[0-9a-f]{8}")
_SUPPORTED_VERSION = 1

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
_RETURNS_FILE: dict[str, Any] = {
    "update": pl.Int64,
    "episode": pl.Int64,
    "seed": pl.Int64,
    "return": pl.Float64,
    "length": pl.Int64,
    "final": pl.Boolean,
}
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
_CURVES_FILE: dict[str, Any] = {"update": pl.Int64, "metric": pl.String, "value": pl.Float64}
_QUALITY: dict[str, Any] = {
    "variant": pl.String,
    "metric": pl.String,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "unit": pl.String,
    "source": pl.String,
}


@dataclass(frozen=True)
class RunRecord:
    """One run folder: where it is, and its run.json after checking."""

    path: Path
    plain: Mapping[str, Any]

    @property
    def job(self) -> Mapping[str, Any]:
        """Algorithm, parameters, variant, seed and budget of the run."""
        job: Mapping[str, Any] = self.plain["job"]
        return job

    @property
    def dataset(self) -> Mapping[str, Any]:
        """Id, fingerprint, history and summary of the dataset that was trained on."""
        dataset: Mapping[str, Any] = self.plain["dataset"]
        return dataset

    @property
    def references(self) -> Mapping[str, Any] | None:
        """Returns that map to the scores 0 and 100, and their source, or None."""
        references: Mapping[str, Any] | None = self.plain.get("references")
        return references

    @property
    def transforms(self) -> list[Mapping[str, Any]]:
        """Transforms between the source and the variant, in order."""
        no_transforms = ("source", "datasets.info")
        return [record for record in self.dataset.get("history") or [] if record.get("transform") not in no_transforms]

    def normalize(self, value: float | None) -> float | None:
        """Map a return to a D4RL score, or to None without references."""
        if value is None or self.references is None:
            return None
        random, expert = self.references["random"], self.references["expert"]
        return float(100.0 * (value - random) / (expert - random))


def read_json(path: Path, schema: str) -> dict[str, Any]:
    """Read a JSON object and check which schema it declares."""
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FormatError(f"{path} is missing; the folder is not one that Assay wrote, or it is incomplete") from None
    except (OSError, ValueError) as error:
        raise FormatError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(plain, dict) or plain.get("schema") != schema:
        found = plain.get("schema") if isinstance(plain, dict) else type(plain).__name__
        raise FormatError(f"{path} does not declare the schema {schema!r} (found {found!r}); Assay did not write it")
    version = plain.get("schema_version")
    if version != _SUPPORTED_VERSION:
        raise FormatError(
            f"{path} has schema version {version!r}, this Assay reads {_SUPPORTED_VERSION}; read it with the version "
            "of Assay that wrote it, or run again"
        )
    return plain


def _field(path: Path, plain: Mapping[str, Any], name: str, kind: type | tuple[type, ...], *, optional: bool) -> None:
    value: Any = plain
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    if value is None:
        if not optional:
            raise FormatError(f"{path}: the field {name!r} is missing")
        return
    wrong = isinstance(value, bool) or not isinstance(value, kind)
    if wrong or (isinstance(value, float) and not math.isfinite(value)):
        raise FormatError(f"{path}: the field {name!r} is {value!r}, which is impossible")


_NUMBER = (int, float)
_REQUIRED_FIELDS: dict[str, Any] = {
    "status": str,
    "job": dict,
    "job.algorithm": str,
    "job.variant": str,
    "job.seed": int,
    "job.steps": int,
    "dataset": dict,
}
_OPTIONAL_FIELDS: dict[str, Any] = {
    "job.label": str,
    "job.parameters": dict,
    "job.by_variant": list,
    "job.evaluation": dict,
    "job.evaluation.episodes": int,
    "job.evaluation.observation_noise": dict,
    "dataset.id": str,
    "dataset.fingerprint": str,
    "dataset.history": list,
    "dataset.total_steps": int,
    "dataset.total_episodes": int,
    "dataset.return_mean": _NUMBER,
    "dataset.behaviour_return": _NUMBER,
    "dataset.environment_id": str,
    "references": dict,
    "versions": dict,
    "hardware": dict,
    "seconds": _NUMBER,
    "started": str,
    "error": str,
}


def _read_run(folder: Path) -> RunRecord:
    path = folder / "run.json"
    plain = read_json(path, "assay-run")
    for name, kind in _REQUIRED_FIELDS.items():
        _field(path, plain, name, kind, optional=False)
    for name, kind in _OPTIONAL_FIELDS.items():
        _field(path, plain, name, kind, optional=True)
    if plain["status"] not in STATUSES:
        raise FormatError(f"{path}: the status is {plain['status']!r}; it can be {', '.join(STATUSES)}")
    if any(not isinstance(record, Mapping) for record in plain["dataset"].get("history") or []):
        raise FormatError(f"{path}: the field 'dataset.history' holds something that is not a record")
    if plain.get("references") is not None:
        for name in ("references.random", "references.expert"):
            _field(path, plain, name, _NUMBER, optional=False)
        _field(path, plain, "references.source", str, optional=True)
        if plain["references"]["random"] == plain["references"]["expert"]:
            raise FormatError(f"{path}: the references for random and expert are equal, so no score is defined")
    return RunRecord(folder, plain)


def read_records(path: str | os.PathLike[str]) -> list[RunRecord]:
    """Read every run.json below a folder of runs (or of one run), in the suite's order."""
    folder = Path(path)
    if not folder.is_dir():
        raise FormatError(f"{folder} is not a folder; pass the folder that the runs were written to, such as runs/name")
    if (folder / "run.json").exists():
        return [_read_run(folder)]
    records = []
    for child in sorted(folder.iterdir()):
        if not child.is_dir() or child.name.startswith("."):  # hidden ones are folders that are being written
            continue
        if (child / "run.json").exists():
            records.append(_read_run(child))
        elif _RUN_NAME.fullmatch(child.name) or any((child / name).exists() for name in _RUN_FILES):
            raise FormatError(
                f"{child / 'run.json'} is missing, though the folder looks like a run; remove the folder and run again"
            )
    if not records and not (folder / "suite.json").exists():
        raise FormatError(
            f"{folder} holds no run folder and no suite.json; pass the folder that the runs were written to"
        )
    suite = load_suite(folder) or {}
    return sorted(records, key=_suite_order(suite))


def _suite_order(suite: Mapping[str, Any]) -> Callable[[RunRecord], tuple[Any, ...]]:
    algorithms, variants = list(suite.get("algorithms", [])), list(suite.get("variants", []))

    def key(record: RunRecord) -> tuple[Any, ...]:
        algorithm, variant = record.job["algorithm"], record.job["variant"]
        return (
            algorithms.index(algorithm) if algorithm in algorithms else len(algorithms),
            algorithm,
            variants.index(variant) if variant in variants else len(variants),
            bool(record.transforms),  # of free runs, those on untouched data come first
            variant,
            record.job["seed"],
            record.path.name,
        )

    return key


def load_suite(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Read `suite.json`: name, title, question, budget, variants, algorithms, seeds; None for a folder of free runs.

    Raises
    ------
    FormatError
        If the file is there but cannot be read.
    """
    file = Path(path) / "suite.json"
    if not file.exists():
        return None
    suite = read_json(file, "assay-suite")
    for name in ("variants", "algorithms"):
        if not isinstance(suite.get(name, []), list) or any(not isinstance(item, str) for item in suite.get(name, [])):
            raise FormatError(f"{file}: the field {name!r} has to be a list of names")
    if not isinstance(suite.get("seeds", []), list):
        raise FormatError(f"{file}: the field 'seeds' has to be a list of integers")
    return suite


def _read_parquet(path: Path, schema: Mapping[str, Any]) -> pl.DataFrame:
    try:
        frame = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FormatError(f"{path} cannot be read as Parquet: {reason}") from error
    missing = [name for name in schema if name not in frame.columns]
    if missing:
        raise FormatError(f"{path}: the column {missing[0]!r} is missing; found {', '.join(frame.columns) or 'none'}")
    try:
        return frame.select([pl.col(name).cast(kind) for name, kind in schema.items()])
    except pl.exceptions.PolarsError as error:
        raise FormatError(f"{path}: a column has the wrong type: {str(error).splitlines()[0]}") from error


def _read_returns(record: RunRecord) -> pl.DataFrame:
    path = record.path / "returns.parquet"
    asked = (record.job.get("evaluation") or {}).get("episodes") or 0
    if not path.exists():
        if record.plain["status"] == "finished" and asked:
            raise FormatError(f"{path} is missing, though run.json says that the run finished; run it again")
        return pl.DataFrame(schema=_RETURNS_FILE)
    frame = _read_parquet(path, _RETURNS_FILE)
    if record.plain["status"] == "finished":
        final = frame.filter("final")
        if asked and final.is_empty():
            raise FormatError(f"{path} holds no final evaluation, though run.json says that the run finished")
        if not final["return"].is_finite().fill_null(False).all():
            raise FormatError(f"{path} holds a final return that is not a finite number")
    return frame


def _labels(records: list[RunRecord]) -> list[str]:
    """Display names, with the difference where runs of one algorithm differ in parameters or budget, and any noise.

    What was chosen for the variant (`by_variant`) is not told: the choosing is part of the algorithm.
    """
    settings: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        settings.setdefault(record.job["algorithm"], []).append(_setting(record))
    differing = {}
    for algorithm, group in settings.items():
        names = list(dict.fromkeys(name for setting in group for name in setting))
        differing[algorithm] = [
            name for name in names if len({json.dumps(setting.get(name), sort_keys=True) for setting in group}) > 1
        ]
    labels = []
    for record in records:
        algorithm = record.job["algorithm"]
        setting = _setting(record)
        text = ", ".join(f"{name}={setting.get(name)}" for name in differing[algorithm] if name in setting)
        label = record.job.get("label") or algorithm
        label = f"{label} ({text})" if text else label
        noise = (record.job.get("evaluation") or {}).get("observation_noise")
        labels.append(f"{label} under {_noise_text(noise)}" if noise else label)
    return labels


def _setting(record: RunRecord) -> dict[str, Any]:
    """Return what a run was trained with, apart from what was chosen for its variant."""
    parameters = record.job.get("parameters") or {}
    chosen = record.job.get("by_variant") or []
    return {**{name: value for name, value in parameters.items() if name not in chosen}, "updates": record.job["steps"]}


def _noise_text(noise: Mapping[str, Any]) -> str:
    """Describe test-time noise, so that its returns never pass for clean ones."""
    attack = "action-difference attack, " if noise.get("attack") == "action_difference" else ""
    unit = "" if noise.get("unit") == "absolute" else " std"
    return f"{attack}{noise.get('distribution', 'uniform')} noise of {noise.get('scale', 0):g}{unit}"


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _row(record: RunRecord, label: str) -> dict[str, Any]:
    plain, job, dataset = record.plain, record.job, record.dataset
    returns = _read_returns(record)
    status = plain["status"]
    mean = best = None
    episodes = 0
    if status in ("finished", "diverged"):
        final = returns.filter("final")
        episodes = final.height
        mean = _number(final["return"].mean()) if episodes else None
        by_update = returns.group_by("update").agg(pl.col("return").mean())
        if by_update.height > 1:
            best = _number(by_update.filter(pl.col("return").is_finite())["return"].max())
        if mean is not None and not math.isfinite(mean):  # only a diverged run can hold such returns
            mean = best = None
    updates = job["steps"] if status == "finished" else _last_update(record, returns)
    references = record.references
    noise = (job.get("evaluation") or {}).get("observation_noise")
    behaviour = _number(dataset.get("behaviour_return", dataset.get("return_mean")))
    return {
        "run": record.path.name,
        "algorithm": job["algorithm"],
        "label": label,
        "variant": job["variant"],
        "dataset": dataset.get("id"),
        "environment": dataset.get("environment_id"),
        "seed": job["seed"],
        "status": status,
        "updates": updates,
        "updates_planned": job["steps"],
        "return_mean": mean,
        "score": record.normalize(mean),
        "episodes": episodes,
        "noise": None if noise is None else _noise_text(noise),
        "best_score": record.normalize(best),
        "behaviour_return": behaviour,
        "behaviour_score": record.normalize(behaviour),
        "seconds": _number(plain.get("seconds")),
        "references": None if references is None else references.get("source") or "source not recorded",
        "parameters": json.dumps(job.get("parameters") or {}, sort_keys=True),
        "transforms": len(record.transforms),
        "fingerprint": dataset.get("fingerprint"),
        "error": plain.get("error"),
        "path": str(record.path),
    }


def _last_update(record: RunRecord, returns: pl.DataFrame) -> int:
    seen = [0]
    if not returns.is_empty():
        seen.append(int(returns["update"].max() or 0))  # type: ignore[arg-type]
    if (record.path / "curves.parquet").exists():
        curves = _read_parquet(record.path / "curves.parquet", _CURVES_FILE)
        if not curves.is_empty():
            seen.append(int(curves["update"].max() or 0))  # type: ignore[arg-type]
    return max(seen)


def load_runs(path: str | os.PathLike[str]) -> pl.DataFrame:
    """Read a folder of runs into one row per run.

    Parameters
    ----------
    path : path
        The folder that holds the run folders (`runs/quickstart-small`), or one run folder.

    Returns
    -------
    polars.DataFrame
        In the order of the suite, else by name (untouched data first):

        ==================  ===========================================================================
        run                 name of the run folder
        algorithm, label    registered and displayed name; where runs of one algorithm differ in
                            parameters or budget, the difference is part of the label, and noise on the
                            observations of the evaluation always is
        variant, seed       what was trained on, and the training seed
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
    records = read_records(path)
    rows = [_row(record, label) for record, label in zip(records, _labels(records), strict=True)]
    return pl.DataFrame(rows, schema=_RUNS)


def _long(path: str | os.PathLike[str], read: Callable[[RunRecord], pl.DataFrame], schema: Any) -> pl.DataFrame:
    records = read_records(path)
    frames = [pl.DataFrame(schema=schema)]
    for record, label in zip(records, _labels(records), strict=True):
        keys = [record.path.name, record.job["algorithm"], label, record.job["variant"], record.job["seed"]]
        frame = read(record).with_columns(
            [pl.lit(value, dtype=kind).alias(name) for (name, kind), value in zip(_KEYS.items(), keys, strict=True)]
        )
        frames.append(frame.select(list(schema)))
    return pl.concat(frames)


def load_returns(path: str | os.PathLike[str]) -> pl.DataFrame:
    """Read every evaluation episode of every run: the keys of the run, update, episode, return, score, length, final.

    Parameters
    ----------
    path : path
        The folder that holds the run folders, or one run folder.

    Returns
    -------
    polars.DataFrame
        `update` is the number of gradient updates before the evaluation, `final` marks the one after the last update,
        `episode_seed` is what the environment was reset with, `score` is null without references.
    """

    def read(record: RunRecord) -> pl.DataFrame:
        frame = _read_returns(record).rename({"seed": "episode_seed"})
        if record.references is None:
            return frame.with_columns(pl.lit(None, dtype=pl.Float64).alias("score"))
        random, expert = float(record.references["random"]), float(record.references["expert"])
        return frame.with_columns((100.0 * (pl.col("return") - random) / (expert - random)).alias("score"))

    return _long(path, read, _RETURNS)


def load_curves(path: str | os.PathLike[str]) -> pl.DataFrame:
    """Read what every run logged while it trained: the keys of the run, update, metric, value.

    Parameters
    ----------
    path : path
        The folder that holds the run folders, or one run folder. Runs without curves contribute no rows.
    """

    def read(record: RunRecord) -> pl.DataFrame:
        file = record.path / "curves.parquet"
        return _read_parquet(file, _CURVES_FILE) if file.exists() else pl.DataFrame(schema=_CURVES_FILE)

    return _long(path, read, {**_KEYS, **_CURVES_FILE})


def load_quality(path: str | os.PathLike[str]) -> pl.DataFrame:
    """Read the quality of every variant's dataset: variant, metric, value, low, high, unit, source.

    Parameters
    ----------
    path : path
        The folder that holds the run folders.

    Returns
    -------
    polars.DataFrame
        Empty when the suite measured no quality (there is no `quality.parquet`).
    """
    folder = Path(path)
    if not folder.is_dir():
        raise FormatError(f"{folder} is not a folder; pass the folder that the runs were written to, such as runs/name")
    file = folder / "quality.parquet"
    return _read_parquet(file, _QUALITY) if file.exists() else pl.DataFrame(schema=_QUALITY)
