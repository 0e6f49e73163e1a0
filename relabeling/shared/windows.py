"""Windows: the states around a step, which a model of its action sees.

::

    an episode of 3 steps            s0  s1  s2  s3
    step 0, one past state           s0  s0 | s1        before the first state there is none: it is repeated
    step 1                           s0  s1 | s2
    step 2                           s1  s2 | s3        the final observation is kept, so the last step is complete

    changes, as networks see them    s_t   s_(t+1) - s_t   s_t - s_(t-1)   s_(t-1) - s_(t-2) ...

Nothing is padded with zeros and no window reaches into another episode. The changes hold what the states hold, and their
scale does not drown in that of the states. They stand from the near to the far, so that the window of fewer past states
is the beginning of a longer one. A step whose next state was never recorded has no window.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from assay.baselines.engine.shapes import Shapes
from assay.datasets.dataset import Dataset, map_nested
from assay.datasets.errors import ConfigError, DatasetError
from assay.datasets.streaming import StepReader

__all__ = ["StateScale", "Windows"]

_ROWS = 1 << 16  # looked at together
_STD_OFFSET = 1e-6  # as published


@dataclass(frozen=True)
class StateScale:
    """Means and standard deviations of states and of their changes from one step to the next, (state,) each."""

    mean: np.ndarray
    deviation: np.ndarray
    change_mean: np.ndarray
    change_deviation: np.ndarray


class Windows:
    """The windows of a dataset's steps.

    Parameters
    ----------
    dataset : Dataset
        Observations are vectors or categories, also nested; images are refused.
    scale : StateScale, optional
        Measured on another dataset; by default on all states of this one, whether their steps have labels or not.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.array([[0.0], [1.0], [3.0], [6.0]]), actions=np.zeros((3, 1)), rewards=np.zeros(3),
    ...     terminations=np.zeros(3, bool), truncations=np.array([False, False, True]))
    >>> Windows(dataset).states(np.arange(3), past=1)[..., 0].tolist()
    [[0.0, 0.0, 1.0], [0.0, 1.0, 3.0], [1.0, 3.0, 6.0]]
    """

    def __init__(self, dataset: Dataset, scale: StateScale | None = None) -> None:
        self.dataset = dataset
        self.shapes = Shapes.of(dataset, 1, False)
        if self.shapes.images:
            part = self.shapes.images[0]
            raise ConfigError(
                f"{'observations/' + part.name if part.name else 'observations'} is an image of {list(part.shape)}; "
                "models of the actions see vectors: add the state, or an embedding of the frames, as observations"
            )
        self._check_finite()
        self._starts = dataset.episode_starts
        self.scale = scale or self._measured()
        if len(self.scale.mean) != self.size:
            raise ConfigError(f"states have {self.size} entries; the model was fitted to {len(self.scale.mean)}")

    @property
    def size(self) -> int:
        """Entries of a state."""
        return self.shapes.observation_size

    @property
    def complete(self) -> np.ndarray:
        """(N,) bool: steps whose next state was recorded."""
        found = np.zeros(self.dataset.total_steps, bool)
        found[slice(None) if self.dataset.has_next_observations else self.dataset.usable_steps] = True
        return found

    def states(self, steps: np.ndarray, past: int) -> np.ndarray:
        """Return the windows s_(t-past), ..., s_t, s_(t+1) of some steps: (n, past + 2, state), in the dataset's units."""
        steps = np.asarray(steps, np.int64)
        rows, first = self._place(steps)
        earlier = [self._rows(np.maximum(rows - back, first)) for back in range(past, 0, -1)]
        return np.stack([*earlier, self._rows(rows), self._next(steps, rows)], axis=1)

    def inputs(self, steps: np.ndarray, past: int, width: int | None = None) -> np.ndarray:
        """Return what networks see: (n, (past + 2) state) float32, normalized; with a width, zeros behind it."""
        steps, size, scale = np.asarray(steps, np.int64), self.size, self.scale
        rows, first = self._place(steps)
        found = np.empty((len(steps), width or (past + 2) * size), np.float32)
        found[:, (past + 2) * size :] = 0.0
        now = self._rows(rows)
        _normalize(now, scale.mean, scale.deviation, found[:, :size])
        later = self._next(steps, rows)
        for back in range(past + 1):
            # Subtracted as stored, so that in float64 a small change of a large number is not rounded away.
            change = np.subtract(later, now, dtype=np.result_type(now, np.float32))
            part = found[:, (back + 1) * size : (back + 2) * size]
            _normalize(change, scale.change_mean, scale.change_deviation, part)
            if back < past:
                later, now = now, self._rows(np.maximum(rows - back - 1, first))
        return found

    def chunks(self, steps: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Cut some steps into parts that fit into memory whatever the dataset's size; yields (place, steps)."""
        for start in range(0, len(steps), _ROWS):
            yield start, steps[start : start + _ROWS]

    def _place(self, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the row of each step's observation, and that of the first one of its episode."""
        episodes = np.searchsorted(self._starts, steps, side="right") - 1
        return steps + episodes, self._starts[episodes] + episodes

    def _rows(self, rows: np.ndarray) -> np.ndarray:
        return self.shapes.vector(map_nested(lambda array: np.take(array, rows, axis=0), self.dataset.observations))

    def _next(self, steps: np.ndarray, rows: np.ndarray) -> np.ndarray:
        if not self.dataset.has_next_observations:
            return self._rows(rows + 1)
        stored = self.dataset.nested("next_observations")
        return self.shapes.vector(map_nested(lambda array: np.take(array, steps, axis=0), stored))

    def _check_finite(self) -> None:
        reader = StepReader(self.dataset)
        for name in [*reader.leaves("observations"), *reader.leaves("next_observations")]:
            array = self.dataset.column(name)
            if array.dtype.kind != "f":
                continue
            for start in range(0, len(array), _ROWS):
                wrong = np.argwhere(~np.isfinite(array[start : start + _ROWS]))
                if len(wrong):
                    row = start + int(wrong[0][0])
                    raise DatasetError(
                        f"column {name} is {array[row].ravel()[:4]}... in row {row}; repair it first, by "
                        "corruption.repair.fill or corruption.repair.outliers (dataset.validate() lists all such places)"
                    )

    def _measured(self) -> StateScale:
        """Measure all states, and the changes of all steps that have a next state; codes of categories stay as they are."""
        states, changes = _Moments(self.size), _Moments(self.size)
        steps = np.flatnonzero(self.complete)
        for start in range(0, self.dataset.total_steps + self.dataset.total_episodes, _ROWS):
            stop = min(start + _ROWS, self.dataset.total_steps + self.dataset.total_episodes)
            states.add(self._rows(np.arange(start, stop)))
        for _, part in self.chunks(steps):
            changes.add(np.diff(self.states(part, 0).astype(np.float64), axis=1)[:, 0])
        measured = np.ones(self.size, bool) if self.shapes.is_one_vector else self.shapes.measured
        means = (np.where(measured, item.mean, 0.0) for item in (states, changes))
        deviations = (np.where(measured, item.deviation + _STD_OFFSET, 1.0) for item in (states, changes))
        (mean, change_mean), (deviation, change_deviation) = means, deviations
        return StateScale(mean, deviation, change_mean, change_deviation)


def _normalize(values: np.ndarray, mean: np.ndarray, deviation: np.ndarray, out: np.ndarray) -> None:
    """Write (values - mean) / deviation as float32."""
    kind = np.result_type(values, np.float32)
    centred = np.subtract(values, mean.astype(kind), dtype=kind)
    np.divide(centred, deviation.astype(kind), out=out, casting="same_kind")


class _Moments:
    """Mean and standard deviation of rows that come in parts."""

    def __init__(self, size: int) -> None:
        self.count, self.mean, self._squares = 0, np.zeros(size), np.zeros(size)

    def add(self, rows: np.ndarray) -> None:
        if not len(rows):
            return
        mean = rows.mean(0, dtype=np.float64)
        shift = mean - self.mean
        self._squares += np.square(rows - mean).sum(0) + np.square(shift) * (
            self.count * len(rows) / (self.count + len(rows))
        )
        self.mean = self.mean + shift * (len(rows) / (self.count + len(rows)))
        self.count += len(rows)

    @property
    def deviation(self) -> np.ndarray:
        result: np.ndarray = np.sqrt(self._squares / max(1, self.count))
        return result
