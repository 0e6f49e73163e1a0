"""Off-policy estimates of finished runs on disk, beside the runs: what stands in for scores where there is no environment.

::

    runs/mine/
        off_policy.parquet      one row per run and method; `assay evaluate runs/mine --dataset NAME` writes it
        iql-...-seed0-1f0c9a2b/

`fitted_q_evaluation` makes the rows. A run and method that is estimated again replaces its former row. The file holds a hash of its rows
as CSV text in its Parquet metadata, which is checked on reading.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import polars as pl

from assay.baselines.runs.reader import empty_table, read_table
from assay.datasets.atomic import atomic_write
from assay.datasets.errors import ConfigError, DatasetIntegrityError, FormatError

__all__ = ["load_values", "refuse_other_values", "save_values"]

FILE = "off_policy.parquet"
_HASH = b"assay_rows_xxh3_128"
_COLUMNS = {
    "run": "String",
    "label": "String",
    "variant": "String",
    "seed": "Int64",
    "method": "String",
    "estimate": "Float64",
    "low": "Float64",
    "high": "Float64",
    "dataset": "String",
    "fingerprint": "String",
    "discount": "Float64",
    "updates": "Int64",
}


def load_values(folder: str | os.PathLike[str]) -> pl.DataFrame:
    """Read the off-policy estimates of a folder of runs; empty where there are none.

    Parameters
    ----------
    folder : path
        That holds the run folders.

    Returns
    -------
    polars.DataFrame
        run, label, variant, seed, method (`fitted_q`, or `own_critic`: the value of the first states under the critic of the run),
        estimate (null where the critic diverged), low, high (95 % bootstrap over the first states: not over seeds), dataset
        and fingerprint of the data whose first states and rewards were used, discount, updates of each critic.

    Raises
    ------
    FormatError
        If there is no such folder, or the file has other columns.
    DatasetIntegrityError
        If the file is damaged.
    """
    root = Path(folder)
    if not root.is_dir():
        raise FormatError(f"{root} is not a folder; pass the folder that the runs were written to, such as runs/name")
    file = root / FILE
    if not file.exists():
        return empty_table(_COLUMNS)
    table = read_table(file, _COLUMNS)
    if _stored_hash(file) != _hash(table):
        raise DatasetIntegrityError(
            f"{file} is damaged or was edited: its rows do not match the hash that was stored for them. Remove it, and "
            "estimate again by `assay evaluate`"
        )
    return table


def _hash(table: pl.DataFrame) -> str:
    import xxhash

    return str(xxhash.xxh3_128_hexdigest(table.write_csv().encode()))


def _stored_hash(file: Path) -> str | None:
    from pyarrow.parquet import read_schema

    return ((read_schema(file).metadata or {}).get(_HASH) or b"").decode() or None


def refuse_other_values(folder: str | os.PathLike[str], fingerprint: str, discount: float) -> pl.DataFrame:
    """Return the estimates that are there, or raise ConfigError where new ones would not compare with them."""
    before, given = load_values(folder), {"fingerprint": fingerprint, "discount": discount}
    for name, value in given.items():
        if not before.is_empty() and before[name].unique().to_list() != [value]:
            raise ConfigError(
                f"{Path(folder) / FILE} holds estimates with another {name} ({before[name][0]}, now {value}), which do not "
                "compare; move it away to estimate anew"
            )
    return before


def save_values(
    folder: str | os.PathLike[str],
    values: pl.DataFrame,
    *,
    dataset: str,
    fingerprint: str,
    discount: float,
    updates: int,
) -> Path:
    """Write the off-policy estimates of runs beside them.

    Parameters
    ----------
    folder : path
        That holds the run folders.
    values : polars.DataFrame
        From `fitted_q_evaluation`.
    dataset, fingerprint : str
        Id and content hash of the dataset that they were estimated from.
    discount : float
    updates : int
        Of each critic.

    Returns
    -------
    pathlib.Path
        The file. It is written whole or not at all.

    Raises
    ------
    ConfigError
        If the file holds estimates from other data or with another discount, which do not compare.
    """
    from pyarrow.parquet import write_table

    before, file = refuse_other_values(folder, fingerprint, discount), Path(folder) / FILE
    said: dict[str, Any] = {"dataset": dataset, "fingerprint": fingerprint, "discount": discount, "updates": updates}
    kept = before.join(values.select("run", "method"), on=["run", "method"], how="anti")
    rows = values.with_columns(pl.lit(value).alias(name) for name, value in said.items())
    table = pl.concat([kept, rows.select([pl.col(name).cast(getattr(pl, kind)) for name, kind in _COLUMNS.items()])])
    content = io.BytesIO()
    write_table(table.to_arrow().replace_schema_metadata({_HASH: _hash(table)}), content)
    atomic_write(file, content.getvalue())
    return file
