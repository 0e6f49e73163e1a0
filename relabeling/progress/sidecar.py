"""The sidecar file of progress, `*_progress.parquet`, as LeRobot's reward models (SARM, TOPReward, Robometer) write it.

=================  ========  ============================================================
index              int64     step of the whole dataset, from 0
episode_index      int64     its episode
progress_sparse    float32   progress in [0, 1] over the few stages of the whole task
progress_dense     float32   progress in [0, 1] over the finer stages
=================  ========  ============================================================

One of the two progress columns may be absent, and other columns are left alone. Steps may be in any order, and a step without a row
has no progress.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from assay.datasets.atomic import atomic_file
from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError, FormatError

__all__ = ["Progress", "read_progress", "write_progress"]

_SUFFIX = "_progress.parquet"
_HEADS = ("sparse", "dense")
_TOLERANCE = 1e-3  # by which a model's answer may leave [0, 1]


@dataclass(frozen=True)
class Progress:
    """Progress of the steps of a dataset.

    Parameters
    ----------
    sparse, dense : (N,) float32 in [0, 1], or None
        NaN in steps that the file has no row for.
    """

    sparse: np.ndarray | None = None
    dense: np.ndarray | None = None

    def head(self, name: str) -> np.ndarray:
        """Return `"sparse"` or `"dense"`, or raise ConfigError where there is none of it."""
        found = {"sparse": self.sparse, "dense": self.dense}.get(name)
        if found is None:
            raise ConfigError(f"there is no progress_{name}; the file has the other one alone")
        return found


def read_progress(path: str | os.PathLike[str], dataset: Dataset) -> Progress:
    """Read the sidecar of a dataset.

    Parameters
    ----------
    path : path
    dataset : Dataset
        The one that it belongs to.

    Raises
    ------
    FormatError
        If the file is none, names steps or episodes that the dataset does not have, names a step twice, or holds what is no progress;
        with the row.
    """
    import polars as pl
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = Path(path)
    if not file.is_file():
        raise FormatError(f"{file} does not exist, or is not a file")
    try:
        frame = pl.DataFrame(pq.read_table(file, page_checksum_verification=True))
    except (OSError, ValueError, KeyError, pa.ArrowException, pl.exceptions.PolarsError) as error:
        raise FormatError(f"{file} is no parquet file, or damaged: {error}") from error
    heads = [name for name in _HEADS if f"progress_{name}" in frame.columns]
    missing = [name for name in ("index", "episode_index") if name not in frame.columns]
    if missing or not heads:
        wanted = missing[0] if missing else "progress_sparse or progress_dense"
        raise FormatError(f"{file} has no column {wanted}; it has {', '.join(frame.columns)}")
    steps = _steps(frame, dataset, file)
    return Progress(**{name: _values(frame, f"progress_{name}", steps, dataset.total_steps, file) for name in heads})


def write_progress(
    path: str | os.PathLike[str],
    dataset: Dataset,
    *,
    sparse: np.ndarray | None = None,
    dense: np.ndarray | None = None,
    overwrite: bool = False,
) -> None:
    """Write the sidecar of a dataset.

    Parameters
    ----------
    path : path
        Its name ends in `_progress.parquet`, which is how others find it.
    dataset : Dataset
    sparse, dense : (N,) array in [0, 1], optional
        At least one; steps where both are NaN get no row.
    overwrite : bool

    Raises
    ------
    ConfigError
        If the name has another ending, or an array has another length or leaves [0, 1].

    Examples
    --------
    >>> import tempfile
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(4.0), actions=np.zeros(3), rewards=np.zeros(3),
    ...     terminations=[False, False, True], truncations=[False] * 3)
    >>> path = tempfile.mkdtemp() + "/mine_progress.parquet"
    >>> write_progress(path, dataset, dense=np.array([0.0, 0.5, 1.0]))
    >>> read_progress(path, dataset).dense.tolist()
    [0.0, 0.5, 1.0]
    """
    import polars as pl
    import pyarrow.parquet as pq

    file = Path(path)
    if not file.name.endswith(_SUFFIX):
        raise ConfigError(f"{file.name}: the name of a file of progress ends in {_SUFFIX}")
    given = {name: values for name, values in (("sparse", sparse), ("dense", dense)) if values is not None}
    if not given:
        raise ConfigError("give sparse or dense progress, or both")
    columns = {"index": np.arange(dataset.total_steps), "episode_index": dataset.episode_of_step}
    known = np.zeros(dataset.total_steps, bool)
    for name, values in given.items():
        values = np.asarray(values, np.float32)
        if values.shape != (dataset.total_steps,):
            raise ConfigError(
                f"{name} progress has shape {values.shape}; the dataset has {dataset.total_steps:,} steps"
            )
        if (wrong := _outside(values)) is not None:
            raise ConfigError(f"{name} progress of step {wrong} is {values[wrong]:g}; it lies in [0, 1]")
        columns[f"progress_{name}"] = values
        known |= ~np.isnan(values)
    frame = pl.DataFrame({name: values[known] for name, values in columns.items()})
    with atomic_file(file, overwrite=overwrite) as temporary:
        pq.write_table(frame.to_arrow(), temporary, write_page_checksum=True)


def _steps(frame: object, dataset: Dataset, file: Path) -> np.ndarray:
    """Return the steps of the rows, checked."""
    import polars as pl

    assert isinstance(frame, pl.DataFrame)
    for name in ("index", "episode_index"):
        if not frame[name].dtype.is_integer() or frame[name].null_count():
            raise FormatError(f"{file}: column {name} is {frame[name].dtype}; expected integers without nulls")
    steps, episodes = frame["index"].to_numpy(), frame["episode_index"].to_numpy()
    if len(wrong := np.flatnonzero((steps < 0) | (steps >= dataset.total_steps))):
        raise FormatError(
            f"{file}: row {wrong[0]} is about step {steps[wrong[0]]}, and the dataset has {dataset.total_steps:,}: it belongs "
            "to another dataset"
        )
    if len(wrong := np.flatnonzero(episodes != dataset.episode_of_step[steps])):
        row = wrong[0]
        raise FormatError(
            f"{file}: row {row} says that step {steps[row]} is of episode {episodes[row]}; in this dataset it is of episode "
            f"{dataset.episode_of_step[steps[row]]}: it belongs to another dataset"
        )
    order = np.argsort(steps, kind="stable")
    if len(twice := np.flatnonzero(np.diff(steps[order]) == 0)):
        raise FormatError(f"{file}: step {steps[order][twice[0]]} has more than one row")
    return np.asarray(steps)


def _values(frame: object, column: str, steps: np.ndarray, count: int, file: Path) -> np.ndarray:
    import polars as pl

    assert isinstance(frame, pl.DataFrame)
    if not frame[column].dtype.is_numeric():
        raise FormatError(f"{file}: column {column} is {frame[column].dtype}; expected numbers")
    values = frame[column].cast(pl.Float32).fill_null(float("nan")).to_numpy()
    if (wrong := _outside(values)) is not None:
        raise FormatError(f"{file}: {column} is {values[wrong]:g} in row {wrong}; progress lies in [0, 1]")
    found = np.full(count, np.nan, np.float32)
    found[steps] = np.clip(values, 0.0, 1.0)
    return found


def _outside(values: np.ndarray) -> int | None:
    """Return the first row that is outside of [0, 1], or None; NaN is no progress, and inside."""
    wrong = np.flatnonzero((values < -_TOLERANCE) | (values > 1.0 + _TOLERANCE))
    return int(wrong[0]) if len(wrong) else None
