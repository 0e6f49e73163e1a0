"""`Dataset.from_frame`: a dataset of a frame that is in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assay.datasets.dataset import Dataset, is_under
from assay.datasets.errors import ConfigError
from assay.datasets.info import DatasetInfo
from assay.datasets.tables.assembly import dataset_from_table
from assay.datasets.tables.column_mapping import COLUMNS, ColumnMapping, as_mapping
from assay.datasets.tables.table import arrow_table

__all__ = ["dataset_from_frame"]


def dataset_from_frame(frame: Any, columns: Any, said: Mapping[str, Any], info: DatasetInfo | None) -> Dataset:
    """Make a dataset of a frame; see `Dataset.from_frame`.

    Parameters
    ----------
    frame : pandas, polars or pyarrow frame
    columns : mapping, path or None
        A whole mapping.
    said : mapping of str to object
        Its keys one by one; None says nothing.
    info : DatasetInfo, optional
    """
    given = {name: value for name, value in said.items() if value is not None}
    if columns is not None and given:
        raise ConfigError(
            f"columns is a whole mapping; put {', '.join(given)} into it, or give every key as an argument of its own"
        )
    mapping: ColumnMapping = as_mapping(given if columns is None else columns, "frame")

    def is_needed(name: str) -> bool:
        return name.split("/")[0] in COLUMNS or any(is_under(asked, name) for asked in mapping.names)

    return dataset_from_table(arrow_table(frame, "frame", is_needed), mapping, where="frame", info=info)
