"""What run folders look like on disk: names, versions and fields of run.json, and the columns of the tables.

The writer (`run.py`) and every reader (`reader.py`, `assay.analysis`) take them from here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from assay.datasets.errors import FormatError

__all__ = [
    "CURVES",
    "JOB_VERSION",
    "LATER_COLUMNS",
    "OMITTED_COLUMNS",
    "POLICY",
    "QUALITY",
    "QUALITY_FILE",
    "RETURNS",
    "RUN_SCHEMA",
    "RUN_VERSION",
    "SEARCH_FILE",
    "SEARCH_FOLDER",
    "SEARCH_SCHEMA",
    "STATUSES",
    "SUITE_SCHEMA",
    "SUITE_VERSION",
    "TABLES",
    "check_description",
    "complete_row",
    "looks_like_run",
]

RUN_SCHEMA, SUITE_SCHEMA = "assay-run", "assay-suite"
RUN_VERSION, SUITE_VERSION = 2, 2  # version 1 of either has no hashes
QUALITY_FILE = "quality.parquet"
SEARCH_SCHEMA, SEARCH_FOLDER, SEARCH_FILE = (
    "assay-search",
    "search",
    "search.json",
)  # proposals of a suite and their runs
JOB_VERSION = 1  # of what the hash of a job covers
STATUSES = ("finished", "unfinished", "failed", "diverged")

DESCRIPTION, POLICY, CHECKPOINTS = "run.json", "policy.safetensors", "checkpoint"
CURVES = {"update": "Int64", "metric": "String", "value": "Float64"}
RETURNS = {
    "update": "Int64",
    "episode": "Int64",
    "seed": "Int64",
    "return": "Float64",
    "length": "Int64",
    "final": "Boolean",
    "goal": "Int64",  # number of the evaluation goal, null where the environment has none
    "cost": "Float64",  # null where the environment says none
}
LATER_COLUMNS = ("goal", "cost")  # null where a table was written before there were any
OMITTED_COLUMNS = ("cost",)  # left out of a table that has nothing in them
TABLES: Mapping[str, Mapping[str, str]] = {"curves": CURVES, "returns": RETURNS}  # <name>.parquet
QUALITY = {
    "variant": "String",
    "metric": "String",
    "value": "Float64",
    "low": "Float64",
    "high": "Float64",
    "unit": "String",
    "source": "String",
}

_RUN_NAME = re.compile(r".+-seed-?\d+-[0-9a-f]{8}")
_NUMBER = (int, float)
_REQUIRED: Mapping[str, Any] = {
    "status": str,
    "job": dict,
    "job.algorithm": str,
    "job.variant": str,
    "job.seed": int,
    "job.steps": int,
    "dataset": dict,
}
_OPTIONAL: Mapping[str, Any] = {
    "job.label": str,
    "job.parameters": dict,
    "job.by_variant": list,
    "job.evaluation": dict,
    "job.evaluation.episodes": int,
    "job.evaluation.observation_noise": dict,
    "job.evaluation.cost_limit": _NUMBER,
    "dataset.id": str,
    "dataset.fingerprint": str,
    "dataset.history": list,
    "dataset.total_steps": int,
    "dataset.total_episodes": int,
    "dataset.environment_id": str,
    "references": dict,
    "versions": dict,
    "hardware": dict,
    "files": dict,
    "imports": list,
    "population": str,
    "seconds": _NUMBER,
    "started": str,
    "error": str,
}
_NOT_FINITE_ALLOWED = ("dataset.return_mean", "dataset.behaviour_return")  # of data that cannot be learned from
_REFERENCES: Mapping[str, Any] = {"references.random": _NUMBER, "references.expert": _NUMBER}


def complete_row(table: str, row: Sequence[Any]) -> tuple[Any, ...]:
    """Return a row of a checkpoint with the columns that it was written without.

    Examples
    --------
    >>> complete_row("returns", [100, 0, 7, 1.0, 50, True])
    (100, 0, 7, 1.0, 50, True, None, None)
    """
    return (*row, *[None] * (len(TABLES[table]) - len(row)))


def looks_like_run(folder: Path) -> bool:
    """Tell whether a folder without run.json is what is left of a run; one that is still empty is not."""
    names = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    files = {POLICY, CHECKPOINTS, *(f"{name}.parquet" for name in TABLES)}
    return bool(names & files or (names and _RUN_NAME.fullmatch(folder.name)))


def check_description(file: Path, plain: Mapping[str, Any]) -> None:
    """Check the fields of a run.json.

    Raises
    ------
    FormatError
        Naming the file and the field that is missing or impossible.
    """
    for name, kind in _REQUIRED.items():
        _check_field(file, plain, name, kind, optional=False)
    for name, kind in _OPTIONAL.items():
        _check_field(file, plain, name, kind, optional=True)
    for name in _NOT_FINITE_ALLOWED:
        _check_field(file, plain, name, _NUMBER, optional=True, finite=False)
    if plain["status"] not in STATUSES:
        raise FormatError(f"{file}: the status is {plain['status']!r}; it can be {', '.join(STATUSES)}")
    if any(not isinstance(record, Mapping) for record in plain["dataset"].get("history") or []):
        raise FormatError(f"{file}: the field 'dataset.history' holds something that is not a record")
    if plain.get("references") is not None:
        for name, kind in _REFERENCES.items():
            _check_field(file, plain, name, kind, optional=False)
        _check_field(file, plain, "references.source", str, optional=True)
        if plain["references"]["random"] == plain["references"]["expert"]:
            raise FormatError(f"{file}: the references for random and expert are equal, so no score is defined")


def _check_field(
    file: Path, plain: Mapping[str, Any], name: str, kind: Any, *, optional: bool, finite: bool = True
) -> None:
    value: Any = plain
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    if value is None:
        if not optional:
            raise FormatError(f"{file}: the field {name!r} is missing")
        return
    wrong = isinstance(value, bool) or not isinstance(value, kind)
    if wrong or (finite and isinstance(value, float) and not math.isfinite(value)):
        raise FormatError(f"{file}: the field {name!r} is {value!r}, which is impossible")
