"""Observations and actions as flat vectors, which is how networks see them, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import xxhash

from assay.augmentation.segments import flat
from assay.datasets.dataset import Dataset
from assay.datasets.errors import DatasetError

__all__ = ["ActionVectors", "ObservationVectors"]


class ObservationVectors:
    """Observations as flat vectors, whether they are one array or a nest of them, and back.

    Numbers that the data holds twice stand in the vectors once, so that a model cannot tell them apart: the position of a maze
    that is also its achieved goal, for one.

    Examples
    --------
    >>> maze = Dataset.from_arrays(
    ...     observations={"achieved": np.array([[1.0], [2.0], [3.0]]), "observation": np.array([[1.0, 7], [2.0, 8], [3.0, 9]])},
    ...     actions=np.zeros((2, 1)), rewards=np.zeros(2), terminations=np.zeros(2, bool), truncations=np.array([False, True]))
    >>> vectors = ObservationVectors(maze)
    >>> vectors.states(maze).tolist()
    [[1.0, 7.0], [2.0, 8.0]]
    >>> vectors.apart(np.array([[4.0, 5.0]]))
    {'achieved': array([[4.]]), 'observation': array([[4., 5.]])}
    """

    def __init__(self, dataset: Dataset) -> None:
        leaves = flat("observations", dataset.observations)
        for name, array in leaves.items():
            if array.dtype.kind not in "fiub" or array.ndim > 2:
                raise DatasetError(
                    f"column {name!r} is {array.dtype} of shape {list(array.shape[1:])}; a model of the dynamics sees vectors of "
                    "numbers, not images or texts"
                )
        self._leaves = {name: (array.shape[1:], array.dtype) for name, array in leaves.items()}
        self.is_vector = list(leaves) == ["observations"]
        rows = self._side_by_side(dataset.observations, slice(None))
        if dataset.has_next_observations:
            rows = np.concatenate([rows, self._side_by_side(dataset.nested("next_observations"), slice(None))])
        self._first, self._taken = _different(rows.T)

    def vectors(self, observations: Any, rows: Any) -> np.ndarray:
        """Return some rows of observations, one for each."""
        together = self._side_by_side(observations, rows)
        return together if len(self._first) == together.shape[1] else together[:, self._first]

    @staticmethod
    def _side_by_side(observations: Any, rows: Any) -> np.ndarray:
        chosen = [np.asarray(array, np.float64)[rows] for array in flat("observations", observations).values()]
        together: np.ndarray = np.concatenate([array.reshape(len(array), -1) for array in chosen], axis=1)
        return together

    def whole(self, states: Any) -> Any:
        """Return rows of vectors, an array or a tensor, with every number of an observation where the data has it."""
        return states if len(self._first) == len(self._taken) else states[:, self._taken]

    def states(self, dataset: Dataset) -> np.ndarray:
        """Return the states of all steps, (N, observation)."""
        found: np.ndarray = self.vectors(dataset.observations, slice(None))[dataset.observation_rows]
        return found

    def pairs(self, dataset: Dataset, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return states and next states of some steps."""
        everything = self.vectors(dataset.observations, slice(None))
        places = dataset.observation_rows[rows]
        if dataset.has_next_observations:
            return everything[places], self.vectors(dataset.nested("next_observations"), slice(None))[rows]
        return everything[places], everything[places + 1]

    def apart(self, states: np.ndarray) -> Any:
        """Return rows (n, observation) as the dataset has them."""
        made: dict[str, Any] = {}
        states, start = self.whole(states), 0
        for name, (shape, dtype) in self._leaves.items():
            width = int(np.prod(shape))
            part = states[:, start : start + width].reshape(len(states), *shape)
            start += width
            made[name] = np.rint(part).astype(dtype) if dtype.kind in "iub" else part.astype(dtype)
        if self.is_vector:
            return made["observations"]
        nest: dict[str, Any] = {}
        for name, array in made.items():
            *above, last = name.split("/")[1:]
            place = nest
            for key in above:
                place = place.setdefault(key, {})
            place[last] = array
        return nest


def _different(columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which columns (D, rows) are the first of their kind, and for all D which of these they equal.

    Examples
    --------
    >>> _different(np.array([[1, 2], [3, 4], [1, 2]]))
    (array([0, 1]), array([0, 1, 0]))
    """
    places: dict[bytes, int] = {}
    hashes = [xxhash.xxh3_128_digest(np.ascontiguousarray(column).data) for column in columns]
    taken = [places.setdefault(found, len(places)) for found in hashes]
    return np.unique(taken, return_index=True)[1], np.array(taken)


class ActionVectors:
    """Actions as the networks see them: as they are, or one-hot where they are categories."""

    def __init__(self, dataset: Dataset) -> None:
        actions = dataset.actions
        if not isinstance(actions, np.ndarray) or actions.dtype.kind not in "fiu" or actions.ndim > 2:
            raise DatasetError(
                "actions are nested or no vectors; a model of the dynamics sees flat vectors or categories"
            )
        self.shape, self.dtype = actions.shape[1:], actions.dtype
        self.count: int | None = None
        space = dataset.info.action_space
        if actions.dtype.kind in "iu":
            if actions.size != len(actions):
                raise DatasetError(
                    f"actions are {actions.dtype} of shape {list(self.shape)}: floats or one category are seen"
                )
            self.first = int(getattr(space, "start", actions.min()))
            self.count = int(getattr(space, "n", int(actions.max()) - self.first + 1))
            return
        low, high = getattr(space, "low", None), getattr(space, "high", None)
        flat_actions = np.asarray(actions, np.float64).reshape(len(actions), -1)
        bounds = [
            np.asarray(found, np.float64).ravel() if found is not None else own
            for found, own in ((low, flat_actions.min(0)), (high, flat_actions.max(0)))
        ]
        finite = np.isfinite(bounds[0]) & np.isfinite(bounds[1])
        self.bounds = (
            np.where(finite, bounds[0], flat_actions.min(0)),
            np.where(finite, bounds[1], flat_actions.max(0)),
        )

    def seen(self, actions: np.ndarray) -> np.ndarray:
        """Return (n, action) floats."""
        if self.count is None:
            return np.asarray(actions, np.float64).reshape(len(actions), -1)
        one_hot: np.ndarray = np.eye(self.count)[np.asarray(actions).reshape(-1).astype(np.int64) - self.first]
        return one_hot

    def random(self, count: int, generator: np.random.Generator) -> np.ndarray:
        """Return uniform actions, as the networks see them."""
        if self.count is None:
            return generator.uniform(*self.bounds, (count, len(self.bounds[0])))
        one_hot: np.ndarray = np.eye(self.count)[generator.integers(self.count, size=count)]
        return one_hot

    def stored(self, seen: np.ndarray) -> np.ndarray:
        """Return rows as the dataset has them."""
        stored: np.ndarray = seen if self.count is None else seen.argmax(1) + self.first
        return stored.astype(self.dtype).reshape(len(seen), *self.shape)
