"""Reading a dataset step by step in blocks, so that memory-mapped columns never come into memory whole.

Rows of `observations` are numbered differently from those of all other columns (see `assay.datasets.dataset`). Code that
walks over steps converts between the two numberings here and nowhere else.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from assay.datasets.dataset import Dataset
from assay.datasets.errors import DatasetError
from assay.datasets.missing import LABELS, require_labels

__all__ = ["StepReader"]


class StepReader:
    """Reads the rows that belong to a range of steps.

    Parameters
    ----------
    dataset : Dataset

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.array([0.0, 1.0, 2.0, 5.0, 6.0]), actions=np.zeros(3), rewards=np.zeros(3),
    ...     terminations=[False, True, False], truncations=[False, False, True])
    >>> reader = StepReader(dataset)
    >>> reader.read("observations", slice(1, 3)).tolist(), reader.read_following("observations", slice(1, 3)).tolist()
    ([1.0, 5.0], [2.0, 6.0])
    >>> reader.place(2)
    'episode 1, step 0'
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self._starts = dataset.episode_starts

    def leaves(self, prefix: str) -> list[str]:
        """Return the column of this name, or the columns nested below it.

        Raises
        ------
        MissingLabelsError
            If these are actions or rewards, and a step has none.
        """
        if prefix in LABELS:
            require_labels(self.dataset, prefix, by="this")
        return [name for name in self.dataset.columns if name == prefix or name.startswith(prefix + "/")]

    def read(self, name: str, steps: slice) -> np.ndarray:
        """Return the rows of column `name` for these steps; for observations those that the steps start from."""
        array = self.dataset.column(name)
        if name.partition("/")[0] != "observations":
            return array[steps]
        return np.take(array, self.observation_rows(steps), axis=0)

    def read_following(self, name: str, steps: slice) -> np.ndarray:
        """Return the observation after each of these steps: row i+1 of the observation column `name`."""
        return np.take(self.dataset.column(name), self.observation_rows(steps) + 1, axis=0)

    def chunks(self, name: str, chunk_bytes: int, steps: slice | None = None) -> Iterator[slice]:
        """Split the steps into ranges whose rows of column `name` take about `chunk_bytes` as float64."""
        width = max(1, math.prod(self.dataset.column(name).shape[1:]))
        # a power of two, and a function of the width alone: sums over chunks do not depend on anything else
        rows = 1 << max(0, (chunk_bytes // (8 * width)).bit_length() - 1)
        first, last = (0, self.dataset.total_steps) if steps is None else (steps.start, steps.stop)
        for start in range(first, last, rows):
            yield slice(start, min(start + rows, last))

    def place(self, step: int) -> str:
        """Say which episode and which step in it the step `step` of the dataset is."""
        episode = int(np.searchsorted(self._starts, step, side="right")) - 1
        return f"episode {episode}, step {step - int(self._starts[episode])}"

    def require_finite(self, name: str, steps: slice, values: np.ndarray, *, allow_infinity: bool = False) -> None:
        """Raise DatasetError, naming the column, episode and step, where a value is NaN (or infinite)."""
        wrong = np.isnan(values) if allow_infinity else ~np.isfinite(values)
        if wrong.any():
            row, *entry = (int(index) for index in np.argwhere(wrong)[0])
            shown = f"{name}{entry or ''}"
            raise DatasetError(
                f"column {shown} is {values[(row, *entry)]} at {self.place(steps.start + row)}; "
                "repair or leave out that episode (dataset.validate() lists all such places)"
            )

    def episodes_of(self, steps: np.ndarray) -> np.ndarray:
        """Return the episode of each of these steps."""
        result: np.ndarray = np.searchsorted(self._starts, steps, side="right") - 1
        return result

    def observation_rows(self, steps: slice) -> np.ndarray:
        """Return the row of the observation columns that each of these steps starts from."""
        if steps.stop <= steps.start:
            return np.zeros(0, np.int64)
        first = int(np.searchsorted(self._starts, steps.start, side="right")) - 1
        last = int(np.searchsorted(self._starts, steps.stop - 1, side="right"))
        borders = np.append(self._starts[first:last], steps.stop)
        borders[0] = steps.start
        rows: np.ndarray = np.repeat(np.arange(first, last), np.diff(borders))
        rows += np.arange(steps.start, steps.stop)
        return rows
