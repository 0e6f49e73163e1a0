"""What the numbers of a row are called: names and units from `info.names` and `info.units`, else their places."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from assay.datasets.errors import DatasetError, UnknownNameError

if TYPE_CHECKING:
    from assay.datasets.dataset import Dataset

__all__ = ["check_names", "dimension_label", "dimension_labels"]


def dimension_label(dataset: Dataset, column: str, number: int) -> str:
    """Return the name and unit of one number of a row, or its place.

    Parameters
    ----------
    dataset : Dataset
    column : str
    number : int
        Place in the row, counted through all its axes.

    Examples
    --------
    >>> from assay.datasets import Dataset, DatasetInfo
    >>> info = DatasetInfo(names={"observations": ["angle", "speed"]}, units={"observations": ["rad", ""]})
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.zeros((2, 2)), actions=np.zeros(1), rewards=[0.0], terminations=[True], truncations=[False],
    ...     info=info)
    >>> [dimension_label(dataset, "observations", number) for number in range(2)], dimension_label(dataset, "actions", 0)
    (['angle (rad)', 'speed'], '0')
    """
    shape = dataset.column(column).shape[1:]
    width = int(np.prod(shape, dtype=np.int64))
    names, units = dataset.info.names.get(column, ()), dataset.info.units.get(column, ())
    label = names[number] if len(names) == width else ", ".join(map(str, np.unravel_index(number, shape))) or "0"
    unit = units[number] if len(units) == width else ""
    return f"{label} ({unit})" if unit else label


def dimension_labels(dataset: Dataset, column: str, numbers: Iterable[int], most: int = 10) -> str:
    """Return the labels of some numbers of a row, in words: the first `most` of them."""
    numbers = list(numbers)
    listed = ", ".join(dimension_label(dataset, column, int(number)) for number in numbers[:most])
    return listed + (", ..." if len(numbers) > most else "")


def check_names(dataset: Dataset) -> None:
    """Raise where names or units are given for a column that is not there, or are more or fewer than its numbers.

    Raises
    ------
    UnknownNameError
        If there is no such column.
    DatasetError
        If their number differs; with both.
    """
    for key, texts in (("names", dataset.info.names), ("units", dataset.info.units)):
        for column, found in texts.items():
            if column not in dataset.columns:
                raise UnknownNameError(f"column of info.{key}", column, dataset.columns)
            width = int(np.prod(dataset.column(column).shape[1:], dtype=np.int64))
            if len(found) != width:
                raise DatasetError(f"info.{key} has {len(found)} texts for {column}, whose rows have {width} numbers")
