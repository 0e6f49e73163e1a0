"""Reading run folders: what runs left on disk, with its hashes checked. Neither torch nor an algorithm is imported.

`Run` adds acting and writing; `assay.analysis` puts many runs into tables.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Container, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.baselines.runs.integrity import read_json, read_verified
from assay.baselines.runs.schema import (
    DESCRIPTION,
    LATER_COLUMNS,
    QUALITY,
    QUALITY_FILE,
    RUN_SCHEMA,
    RUN_VERSION,
    SEARCH_FILE,
    SEARCH_FOLDER,
    SEARCH_SCHEMA,
    SUITE_SCHEMA,
    SUITE_VERSION,
    TABLES,
    check_description,
    looks_like_run,
)
from assay.datasets.errors import DatasetError, DatasetIntegrityError, FormatError
from assay.datasets.info import Record, ReferenceScores
from assay.datasets.naming import is_transform, name_from_history

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

__all__ = [
    "StoredRun",
    "empty_table",
    "final_returns",
    "mean_return",
    "normalized",
    "read_runs",
    "read_search",
    "read_suite",
    "read_table",
    "run_folders",
    "suite_label",
    "suite_order",
]


class StoredRun:
    """A run folder as it is on disk.

    Every file of a finished run is checked against its hash when it is read; `verify` reads them all.

    Parameters
    ----------
    folder : path

    Raises
    ------
    FormatError
        If the folder holds no run, or one of a version that is not known.
    DatasetIntegrityError
        If run.json is damaged; reading other files raises it as well, naming the file.

    Examples
    --------
    >>> StoredRun("no-such-folder")
    Traceback (most recent call last):
    ...
    assay.datasets.errors.FormatError: no-such-folder holds no run: run.json is missing
    """

    description: Mapping[str, Any]

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.description = self.read_description()
        self._tables: dict[str, pl.DataFrame] = {}

    def read_description(self) -> dict[str, Any]:
        """Return run.json as it is now."""
        file = self.folder / DESCRIPTION
        try:
            plain = read_json(file, RUN_SCHEMA, {1: False, RUN_VERSION: True})
        except FileNotFoundError:
            raise FormatError(f"{self.folder} holds no run: {DESCRIPTION} is missing") from None
        check_description(file, plain)
        return plain

    # ---------------------------------------------------------------- what came of it

    @property
    def status(self) -> str:
        """`"finished"`, `"unfinished"`, `"failed"` (with `error`) or `"diverged"` (not finite)."""
        return str(self.description["status"])

    @property
    def ended(self) -> bool:
        """Whether it is finished or diverged: it has a policy, and is never written again."""
        return self.status in ("finished", "diverged")

    @property
    def error(self) -> str | None:
        """What went wrong, if something did."""
        return self.description.get("error")

    @property
    def job(self) -> Mapping[str, Any]:
        """Algorithm, parameters, variant, seed and budget."""
        job: Mapping[str, Any] = self.description["job"]
        return job

    @property
    def dataset(self) -> Mapping[str, Any]:
        """Id, fingerprint, history and summary of the dataset that was trained on."""
        dataset: Mapping[str, Any] = self.description["dataset"]
        return dataset

    @property
    def transforms(self) -> list[Mapping[str, Any]]:
        """Records of the transforms between the source and the variant, in order."""
        return [record for record in self.dataset.get("history") or [] if is_transform(str(record.get("transform")))]

    @property
    def variant(self) -> str:
        """What the dataset is called in tables.

        Before variants had names of their own, one without a name was called by its source; it gets its name here.
        """
        variant, source = str(self.job["variant"]), self.dataset.get("id")
        if variant != source or not self.transforms:
            return variant
        try:
            return name_from_history(source, Record.history_from_plain(self.dataset["history"]))
        except FormatError:
            return variant

    @property
    def label(self) -> str:
        """What the algorithm is called in tables."""
        return str(self.job.get("label") or self.job["algorithm"])

    @cached_property
    def references(self) -> ReferenceScores | None:
        """What the scores are normalized by."""
        stored = self.description.get("references")
        if stored is None:
            return None
        return ReferenceScores(stored["random"], stored["expert"], stored.get("source") or "")

    @property
    def evaluations(self) -> pl.DataFrame:
        """Every evaluation episode: update, episode, seed, return, length, final, the number of its evaluation goal, and cost."""
        return self._table("returns")

    @property
    def curves(self) -> pl.DataFrame:
        """Training losses: update, metric, value."""
        return self._table("curves")

    @property
    def returns(self) -> np.ndarray:
        """(episodes,) float64 undiscounted returns of the final evaluation."""
        values: np.ndarray = final_returns(self.evaluations).to_numpy()
        return values

    @property
    def score(self) -> float | None:
        """Mean final D4RL score, or None without references or evaluation."""
        return normalized(self.references, mean_return(final_returns(self.evaluations)))

    # ---------------------------------------------------------------- files

    def content(self, name: str) -> bytes:
        """Return the content of a file of the run.

        Raises
        ------
        DatasetIntegrityError
            If it is missing or differs from what was written.
        """
        return read_verified(self.folder / name, self._expected_hash(name))

    def verify(self) -> None:
        """Read every file of a finished run and check it.

        Raises
        ------
        DatasetIntegrityError
            Naming the file that is missing, differs from what was written, or cannot be read.
        """
        for name in TABLES:
            self._read_table(name)
        for name in self.description.get("files") or {}:
            self.content(name)

    def _expected_hash(self, name: str) -> str | None:
        """Return the hash that a file has to have; None where none was stored."""
        if not self.ended or self.description["schema_version"] < RUN_VERSION:
            return None
        files: Mapping[str, Any] = self.description.get("files") or {}
        if name not in files:
            raise DatasetIntegrityError(
                f"{self.folder / name} is not among the files of the run; its run.json lists them"
            )
        return str(files[name])

    def _table(self, name: str) -> pl.DataFrame:
        """Return a table; that of a run that has ended is read once, because it never changes."""
        if name in self._tables:
            return self._tables[name]
        frame = self._read_table(name)
        if self.ended:
            self._tables[name] = frame
        return frame

    def _read_table(self, name: str) -> pl.DataFrame:
        file = self.folder / f"{name}.parquet"
        expected = self._expected_hash(file.name)
        if expected is None and not file.exists():
            return self._absent_table(file, name)
        frame = read_table(file, TABLES[name], expected)
        if name == "returns" and self.status == "finished":
            _check_final(file, frame, self._episodes)
        return frame

    def _absent_table(self, file: Path, name: str) -> pl.DataFrame:
        if name == "returns" and self.status == "finished" and self._episodes:
            raise FormatError(f"{file} is missing, though run.json says that the run finished; run it again")
        return empty_table(TABLES[name])

    @property
    def _episodes(self) -> int:
        """Of the final evaluation, as it was asked for."""
        return int((self.job.get("evaluation") or {}).get("episodes") or 0)

    def __repr__(self) -> str:
        score = f", score {self.score:.1f}" if self.status == "finished" and self.score is not None else ""
        return f"<Run {self.label} on {self.variant}, seed {self.job['seed']}: {self.status}{score}>"

    def __fspath__(self) -> str:
        return os.fspath(self.folder)


def final_returns(episodes: pl.DataFrame) -> pl.Series:
    """Return the returns of the final evaluation."""
    return episodes["return"].filter(episodes["final"])


def mean_return(returns: pl.Series) -> float | None:
    """Return the mean of returns; None where there is none."""
    mean: Any = returns.mean()
    return None if mean is None else float(mean)


def normalized(references: ReferenceScores | None, value: float | None) -> float | None:
    """Map a return to a D4RL score; None without references or return."""
    return None if references is None or value is None else float(references.normalize(value))


def _check_final(file: Path, frame: pl.DataFrame, asked: int) -> None:
    final = final_returns(frame).to_numpy()
    if asked and not len(final):
        raise FormatError(f"{file} holds no final evaluation, though run.json says that the run finished")
    if not all(map(math.isfinite, final)):  # null is NaN here
        raise FormatError(f"{file} holds a final return that is not a finite number")


def empty_table(schema: Mapping[str, str]) -> pl.DataFrame:
    """Return a table of these columns without rows."""
    import polars as pl

    return pl.DataFrame(schema=_types(schema))


def _types(schema: Mapping[str, str]) -> dict[str, Any]:
    import polars as pl

    return {column: getattr(pl, kind) for column, kind in schema.items()}


def read_table(file: Path, schema: Mapping[str, str], expected: str | None = None) -> pl.DataFrame:
    """Read the columns of a Parquet file.

    Parameters
    ----------
    file : Path
    schema : mapping of str to str
        Names and Polars types.
    expected : str, optional
        The hash that the file has to have.

    Raises
    ------
    DatasetIntegrityError
        If the file is damaged.
    FormatError
        If a column is missing or of another type.
    """
    import polars as pl

    content = read_verified(file, expected)
    try:
        frame = pl.read_parquet(content)
    except (Exception, pl.exceptions.PanicException) as error:  # polars raises many kinds on damaged files
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DatasetIntegrityError(f"{file} is damaged; it cannot be read as Parquet: {reason}") from error
    if frame.schema == (types := _types(schema)):
        return frame
    later = [name for name in LATER_COLUMNS if name in schema and name not in frame.columns]
    frame = frame.with_columns(pl.lit(None, types[name]).alias(name) for name in later)
    missing = [name for name in schema if name not in frame.columns]
    if missing:
        raise FormatError(f"{file}: the column {missing[0]!r} is missing; found {', '.join(frame.columns) or 'none'}")
    try:
        return frame.select([pl.col(name).cast(kind) for name, kind in types.items()])
    except pl.exceptions.PolarsError as error:
        raise FormatError(f"{file}: a column has the wrong type: {str(error).splitlines()[0]}") from error


# -------------------------------------------------------------------- folders of runs


def read_suite(folder: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Read `suite.json`: name, title, question, budget, variants, algorithms, seeds; None for a folder of free runs.

    Raises
    ------
    FormatError
        If the file is there but is not one of a suite.
    DatasetIntegrityError
        If it is damaged.
    """
    file = Path(folder) / "suite.json"
    if not file.exists():
        return None
    suite = read_json(file, SUITE_SCHEMA, {1: False, SUITE_VERSION: True})
    for name in ("variants", "algorithms"):
        if not isinstance(suite.get(name, []), list) or any(not isinstance(item, str) for item in suite.get(name, [])):
            raise FormatError(f"{file}: the field {name!r} has to be a list of names")
    if not isinstance(suite.get("seeds", []), list):
        raise FormatError(f"{file}: the field 'seeds' has to be a list of integers")
    return suite


def read_search(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Read `search.json` of a suite's results: sampler, seeds, and the searches with their proposals and runs.

    Raises
    ------
    FormatError
        If nothing was searched there, or the file is not one of a search.
    DatasetIntegrityError
        If it is damaged.
    """
    file = Path(folder) / SEARCH_FOLDER / SEARCH_FILE
    if not file.exists():
        raise FormatError(f"{file} is missing: the suite of {folder} has searched nothing yet")
    return read_json(file, SEARCH_SCHEMA, {1: True})


def hashes_of_suite(folder: str | os.PathLike[str]) -> dict[str, str]:
    """Return the hashes that `suite.json` has for the files beside it; empty where there is none, or it is damaged."""
    try:
        files = (read_suite(folder) or {}).get("files")
    except DatasetError:
        return {}
    return dict(files) if isinstance(files, dict) else {}


def read_quality(folder: str | os.PathLike[str]) -> pl.DataFrame:
    """Read what a suite measured of its variants' datasets; empty where it measured nothing, or was not done with it.

    Raises
    ------
    FormatError
        If a column is missing or of another type.
    DatasetIntegrityError
        If suite.json or the table is damaged.
    """
    file = Path(folder) / QUALITY_FILE
    suite = read_suite(folder)
    if suite is None or suite["schema_version"] == 1:  # which has no hashes
        return read_table(file, QUALITY) if file.exists() else empty_table(QUALITY)
    expected = (suite.get("files") or {}).get(QUALITY_FILE)
    return empty_table(QUALITY) if expected is None else read_table(file, QUALITY, str(expected))


def run_folders(folder: str | os.PathLike[str]) -> list[Path]:
    """List the run folders in a folder of runs by name, or the folder itself where it is a run; nothing is read.

    Raises
    ------
    FormatError
        If there is no such folder, it holds nothing that Assay wrote, or a run has lost its run.json.
    """
    root = Path(folder)
    if not root.is_dir():
        raise FormatError(f"{root} is not a folder; pass the folder that the runs were written to, such as runs/name")
    if (root / DESCRIPTION).exists():
        return [root]
    found = []
    for child in sorted(root.iterdir()):
        if child.name.startswith(".") or not child.is_dir():  # hidden ones are being written
            continue
        if (child / DESCRIPTION).exists():
            found.append(child)
        elif looks_like_run(child):
            raise FormatError(
                f"{child / DESCRIPTION} is missing, though the folder looks like a run; remove the folder and run again"
            )
    if not found and read_suite(root) is None:
        raise FormatError(
            f"{root} holds no run folder and no suite.json; pass the folder that the runs were written to"
        )
    return found


def read_runs(folder: str | os.PathLike[str]) -> list[StoredRun]:
    """Read every run.json below a folder of runs (or of one run), in the suite's order.

    Raises
    ------
    FormatError
        If there is no such folder, or it holds nothing that Assay wrote.
    DatasetIntegrityError
        If a file is damaged.
    """
    return sorted(map(StoredRun, run_folders(folder)), key=suite_order(folder))


def suite_label(run: StoredRun, algorithms: Container[str]) -> str:
    """Return what a suite calls the algorithm of a run: the label it gives, or the algorithm's name."""
    return run.label if run.label in algorithms else str(run.job["algorithm"])


def suite_order(folder: str | os.PathLike[str]) -> Callable[[StoredRun], tuple[Any, ...]]:
    """Return the key that sorts the runs of a folder as its suite lists them, else by name, untouched data first."""
    suite = read_suite(folder) or {}
    algorithms = {name: place for place, name in enumerate(suite.get("algorithms", []))}
    variants = {name: place for place, name in enumerate(suite.get("variants", []))}

    def key(run: StoredRun) -> tuple[Any, ...]:
        return (
            algorithms.get(suite_label(run, algorithms), len(algorithms)),
            run.job["algorithm"],
            variants.get(run.job["variant"], len(variants)),
            bool(run.transforms),  # of free runs, those on untouched data come first
            run.variant,
            run.job["seed"],
            run.folder.name,
        )

    return key
