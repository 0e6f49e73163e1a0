"""What figures of tidy tables share: which column names the series, their order, their intervals, and what is behind them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from assay.analysis.tables import range_text
from assay.datasets.errors import ConfigError

__all__ = ["counts_text", "ends_of", "name_column", "of_names"]


def name_column(table: pl.DataFrame, needed: Sequence[str], source: str) -> str:
    """Return the column that names the series, the first one; raises ConfigError where the table is not that of `source`."""
    missing = [name for name in needed if name not in table.columns]
    if missing:
        raise ConfigError(f"the table has no column {missing[0]!r}; pass what {source} returns")
    if table.is_empty():
        raise ConfigError("there is nothing to plot: the table has no row")
    return table.columns[0]


def of_names(table: pl.DataFrame, by: str) -> tuple[list[str], list[pl.DataFrame]]:
    """Return the names of the series in their order, and the rows of each."""
    parts = table.partition_by(by, maintain_order=True)
    return [str(part[by][0]) for part in parts], parts


def ends_of(part: pl.DataFrame) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return the ends of the intervals, or None twice where there are none."""
    if part["low"].null_count():
        return None, None
    return part["low"].to_numpy(), part["high"].to_numpy()


def counts_text(table: pl.DataFrame) -> str:
    """Say how many tasks, seeds and episodes are behind a table."""
    counts = {name: range_text(table[name]) for name in ("tasks", "seeds", "episodes") if name in table.columns}
    known = [
        f"{text} {name.removesuffix('s') if text == '1' else name}" for name, text in counts.items() if text != "–"
    ]
    return f"{', '.join(known)}." if known else ""
