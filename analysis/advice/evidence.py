"""Evidence for advice: one row per run, with the place of its dataset on the quality plane and what was learned from it.

The table that comes with Assay is made from the folders of runs by

::

    python -m assay.analysis.advice.make_evidence runs/dataset-perspective-small runs/dataset-perspective-small-minatar \\
        --output analysis/advice/evidence.parquet

and every row holds the command that trained it. Evidence of one's own is made in the same way, and given to `assay.advise`.
"""

from __future__ import annotations

import io
import os
import re
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Literal

import polars as pl

from assay.analysis.runs import load_quality, load_runs, load_suite
from assay.datasets.errors import ConfigError, FormatError

__all__ = ["COLUMNS", "Actions", "evidence_of", "load_evidence"]

Actions = Literal["discrete", "continuous"]

COLUMNS: dict[str, Any] = {
    "suite": pl.String,  # and its budget
    "environment": pl.String,
    "actions": pl.String,  # discrete or continuous
    "scheme": pl.String,  # of the data: random, expert, mixed, noisy, replay; null where the dataset's name does not say it
    "data_run": pl.Int64,  # the online run that the data comes from, likewise
    "dataset": pl.String,
    "steps": pl.Int64,
    "tq": pl.Float64,
    "saco": pl.Float64,
    "saturation": pl.Float64,
    "algorithm": pl.String,
    "label": pl.String,
    "seed": pl.Int64,
    "updates": pl.Int64,
    "episodes": pl.Int64,  # of the final evaluation
    "return_mean": pl.Float64,  # of these
    "performance": pl.Float64,  # relative to the best online policy: 0 is a random policy, 1 that one
    "command": pl.String,
}
"""Columns of a table of evidence with their types."""

_NAME = re.compile(r"^.* run(?P<data_run>\d+) (?P<scheme>\w+)$")
_SHIPPED = "evidence.parquet"


def evidence_of(folder: str | os.PathLike[str], actions: Actions = "discrete") -> pl.DataFrame:
    """Return the evidence of a suite's runs.

    Parameters
    ----------
    folder : path
        Of a suite's runs, whose datasets have TQ and SACo.
    actions : "discrete" or "continuous"
        Of the environments.

    Returns
    -------
    polars.DataFrame
        Columns `COLUMNS`, a row for every run that has a score.

    Raises
    ------
    ConfigError
        If no run has a score, or no dataset both TQ and SACo.
    """
    suite = load_suite(folder) or {}
    runs = load_runs(folder).filter(pl.col("score").is_not_null())
    if runs.is_empty():
        raise ConfigError(f"{folder}: no run has a score, so it is no evidence for advice")
    measured = (
        load_quality(folder)
        .filter(pl.col("metric").is_in(["tq", "saco", "saturation", "steps"]) & pl.col("value").is_finite())
        .pivot("metric", index="variant", values="value")
    )
    for name in ("tq", "saco", "saturation", "steps"):
        if name not in measured.columns:
            raise ConfigError(f"{folder}: no dataset has a value of {name}; measure quality, state_actions and size")
    joined = runs.join(measured.drop_nulls(["tq", "saco"]), on="variant")
    names = [_NAME.match(name) for name in joined["variant"]]
    return joined.select(
        pl.lit(" ".join(str(suite[key]) for key in ("name", "budget") if key in suite)).alias("suite"),
        "environment",
        pl.lit(actions).alias("actions"),
        pl.Series("scheme", [found and found["scheme"] for found in names], pl.String),
        pl.Series("data_run", [found and int(found["data_run"]) for found in names], pl.Int64),
        pl.col("variant").alias("dataset"),
        pl.col("steps").cast(pl.Int64),
        "tq",
        "saco",
        "saturation",
        "algorithm",
        "label",
        "seed",
        "updates",
        "episodes",
        "return_mean",
        (pl.col("score") / 100.0).alias("performance"),
        pl.lit(suite.get("command")).cast(pl.String).alias("command"),
    )


def load_evidence(path: str | os.PathLike[str] | None = None) -> pl.DataFrame:
    """Read a table of evidence.

    Parameters
    ----------
    path : path, optional
        Parquet file; by default the one that comes with Assay.

    Raises
    ------
    FormatError
        If the file is not such a table.

    Examples
    --------
    >>> sorted(load_evidence()["scheme"].unique())
    ['expert', 'mixed', 'noisy', 'random', 'replay']
    """
    if path is None:
        with as_file(files("assay.analysis.advice") / _SHIPPED) as shipped:
            return load_evidence(shipped)
    try:
        table = pl.read_parquet(io.BytesIO(Path(path).read_bytes()))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise FormatError(f"{os.fspath(path)} is no table of evidence: {' '.join(str(error).split())}") from error
    if lacking := [name for name in COLUMNS if name not in table.columns]:
        raise FormatError(f"{os.fspath(path)} is no table of evidence: it lacks the columns {', '.join(lacking)}")
    return table.select(list(COLUMNS)).cast(pl.Schema(COLUMNS))
