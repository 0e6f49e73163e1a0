"""One episode of a dataset: views of its rows, which cost nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from assay.datasets.dataset import Dataset

__all__ = ["Episode", "episodes_of"]


@dataclass(frozen=True, eq=False)
class Episode:
    """T steps that follow each other; `for episode in dataset` and `dataset[3]` give them.

    Parameters
    ----------
    number : int
        Place in the dataset.
    columns : mapping of str to array
        By full name; observations have T+1 rows, everything else T (or, below infos, T+1).
    table : mapping of str to object
        Its row of the episode columns, such as `seed`, `id` and `final_observation`.
    """

    number: int
    columns: Mapping[str, np.ndarray]
    table: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.columns["terminations"])

    def nested(self, prefix: str) -> Any:
        """Return the column of this name, or a nested dict of those below it."""
        if prefix in self.columns:
            return self.columns[prefix]
        inside = {name[len(prefix) + 1 :].split("/")[0] for name in self.columns if name.startswith(f"{prefix}/")}
        if not inside:
            raise KeyError(f"there is no column {prefix}; there are {', '.join(self.columns)}")
        return {name: self.nested(f"{prefix}/{name}") for name in sorted(inside)}

    @property
    def observations(self) -> Any:
        """(T+1, ...) array, or a nested dict of them; the last is a placeholder where `final_observation` is False."""
        return self.nested("observations")

    @property
    def actions(self) -> Any:
        """(T, ...) array, or a nested dict of them."""
        return self.nested("actions")

    @property
    def rewards(self) -> np.ndarray:
        """(T,) rewards."""
        return np.asarray(self.nested("rewards"))

    @property
    def terminated(self) -> bool:
        """Whether the MDP ended after the last step."""
        return bool(self.columns["terminations"][-1])

    @property
    def truncated(self) -> bool:
        """Whether something else stopped the episode."""
        return bool(self.columns["truncations"][-1])

    def __repr__(self) -> str:
        end = "terminated" if self.terminated else "truncated" if self.truncated else "without an end flag"
        total = f", return {self.rewards.sum():g}" if "rewards" in self.columns else ""
        return f"<Episode {self.number}: {len(self):,} steps, {end}{total}>"


def episodes_of(dataset: Dataset, numbers: Iterator[int] | range) -> Iterator[Episode]:
    """Yield episodes by their numbers."""
    starts, lengths = dataset.episode_starts, dataset.episode_lengths
    columns = {name: dataset.column(name) for name in dataset.columns}
    table = dataset.episode_columns
    steps = dataset.total_steps
    for number in numbers:
        start, length = int(starts[number]), int(lengths[number])
        rows = slice(start, start + length), slice(start + number, start + number + length + 1)
        yield Episode(
            number,
            {name: array[rows[len(array) != steps]] for name, array in columns.items()},
            {name: array[number].item() for name, array in table.items()},
        )
