"""Resampling: the steps of every episode on one even clock.

::

    time        0.00  0.04  0.13  0.19     as recorded
    clock       0.00  0.05  0.10  0.15     rate = 20
    previous    row 0 row 1 row 1 row 2    the last value at or before the tick
    nearest     row 0 row 1 row 2 row 2    the closest value, if it lies within the tolerance
    linear      between the values before and after

A number that is NaN is no sample: in a table of several sensors, where each has a value in some rows only, every dimension is
resampled from its own samples. Actions hold until the next one, so they are `previous` whatever `how` says of observations.
Rewards belong to intervals: a tick gets the sum of the rewards from it on until the next tick, so that returns stay what they
were. Flags stay at the end of their episode.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from pydantic import Field

from assay.datasets.dataset import Dataset, is_under
from assay.datasets.errors import DatasetError, UnknownNameError
from assay.datasets.memory import empty
from assay.datasets.transform import Transform, register

__all__ = ["RESAMPLE", "Resample"]

RESAMPLE = "datasets.resample"
How = Literal["previous", "linear", "nearest"]
_MOST_TICKS = 2**31
_SUMMED = ("rewards", "costs")
_ROOTS = ("observations", "actions", "infos")  # which may be spoken of where there are none
_ROUNDING = 1e-6  # of a tick: stamps of an even clock that differ by rounding are on it


@register(RESAMPLE)
class Resample(Transform):
    """Put the steps of every episode on an even clock, from its first time stamp to its last.

    Where no value is near a tick, the number is NaN (0 in whole numbers) and the mask `infos/missing/<column>`, of the shape of
    the column, is True there. The final observation of an episode keeps its values: its time is not recorded.

    Parameters
    ----------
    rate : float
        Ticks a second.
    how : "previous", "linear", "nearest", or a mapping of columns to one of them
        For observations and infos; other keys name what they stand for: `{"observations/camera": "nearest"}`. What cannot be
        interpolated (whole numbers, booleans, texts) takes the nearest value under "linear". Actions and all else are
        `previous` unless named.
    tolerance : float, optional
        Seconds; values further from the tick are not taken. Default: for `nearest` half a tick of the clock, else none.

    Raises
    ------
    DatasetError
        When applied: if there is no column `time`, or time goes back or stands still inside an episode; with the place.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.array([0.0, 4.0, 13.0, 19.0, 20.0]), actions=np.arange(4.0), rewards=np.ones(4),
    ...     terminations=np.arange(4) == 3, truncations=np.zeros(4, bool),
    ...     columns={"time": np.array([0.0, 0.04, 0.13, 0.19])})
    >>> even = Resample(rate=20, how="linear")(dataset)
    >>> even.column("time").tolist(), even.observations.round(6).tolist(), even.actions.tolist(), even.rewards.tolist()
    ([0.0, 0.05, 0.1, 0.15], [0.0, 5.0, 10.0, 15.0, 20.0], [0.0, 1.0, 1.0, 2.0], [2.0, 0.0, 1.0, 1.0])
    """

    rate: float = Field(gt=0, allow_inf_nan=False)
    how: How | dict[str, How] = "previous"
    tolerance: float | None = Field(default=None, gt=0, allow_inf_nan=False)

    def apply(self, dataset: Dataset) -> Dataset:  # noqa: D102
        for name in self.how if isinstance(self.how, Mapping) else ():
            if name not in (*_ROOTS, "infos/missing") and not any(is_under(column, name) for column in dataset.columns):
                raise UnknownNameError("column", name, dataset.columns, f"({self.name}: how)")
            if name in ("time", "terminations", "truncations", *_SUMMED):
                raise DatasetError(f"{self.name}: how speaks of {name}, which has one way only; leave it out")
        clock = _Clock(dataset, self.rate)
        columns: dict[str, np.ndarray | None] = {}
        for name in dataset.columns:
            if name == "time" or is_under(name, "next_observations"):
                continue
            array = dataset.column(name)
            if name in _SUMMED:
                columns[name] = clock.summed(array)
            elif name in ("terminations", "truncations"):
                columns[name] = clock.ended(array)
            else:
                columns[name], missing = clock.taken(array, self._method(name), self._within(name))
                if missing is not None:
                    columns[f"infos/missing/{name}"] = missing
        for name in dataset.columns:
            if is_under(name, "next_observations"):
                columns[name] = None  # they are those of another clock
        columns["time"] = clock.ticks
        return dataset.replace(columns, episode_lengths=clock.lengths)

    def _method(self, name: str) -> How:
        if isinstance(self.how, Mapping):
            chosen = [key for key in self.how if is_under(name, key)]
            return self.how[max(chosen, key=len)] if chosen else "previous"
        sensed = is_under(name, "observations") or (is_under(name, "infos") and not is_under(name, "infos/missing"))
        return self.how if sensed else "previous"

    def _within(self, name: str) -> float:
        if self.tolerance is not None:
            return self.tolerance
        return 0.5 / self.rate if self._method(name) == "nearest" else np.inf


class _Clock:
    """The ticks of all episodes, and where each finds its values."""

    def __init__(self, dataset: Dataset, rate: float) -> None:
        if "time" not in dataset.columns:
            raise DatasetError(
                "the dataset has no column time, so nothing says when its steps were; name it when you load: "
                'columns={"time": "..."}'
            )
        self.dataset = dataset
        self.time = dataset.column("time").astype(np.float64)
        if self.time.ndim != 1:
            raise DatasetError(
                f"column time has shape {list(self.time.shape)}; one number of seconds per step belongs there"
            )
        starts, lengths = dataset.episode_starts, dataset.episode_lengths
        later = np.ones(len(self.time), bool)
        later[starts] = False
        wrong = np.flatnonzero(later & ~(np.diff(self.time, prepend=self.time[:1]) > 0))
        if len(wrong) or not np.isfinite(self.time).all():
            step = int(wrong[0]) if len(wrong) else int(np.flatnonzero(~np.isfinite(self.time))[0])
            episode = int(np.searchsorted(starts, step, side="right")) - 1
            raise DatasetError(
                f"time goes back, stands still or is missing in episode {episode}, step {step - int(starts[episode])} "
                f"({self.time[step]:.6g} s); sort the rows, drop doubled ones, or split the episode there (columns: resets: true)"
            )
        spans = self.time[starts + lengths - 1] - self.time[starts]
        counts = np.floor(spans * rate + _ROUNDING) + 1
        if counts.sum() > _MOST_TICKS:
            raise DatasetError(
                f"{counts.sum():.3g} ticks of {rate:g} a second; is time in seconds? (columns: time_unit)"
            )
        self.lengths = counts.astype(np.int64)
        self.of_tick = np.repeat(np.arange(len(lengths)), self.lengths)
        begin = np.cumsum(self.lengths) - self.lengths
        self.ticks = self.time[starts][self.of_tick] + (np.arange(len(self.of_tick)) - begin[self.of_tick]) / rate
        self._rate, self._slack = rate, _ROUNDING / rate

    def taken(self, array: np.ndarray, how: How, within: float) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the values at the ticks, and which numbers had none; a final observation stays as it is."""
        dataset = self.dataset
        finals = len(array) != dataset.total_steps
        rows = dataset.observation_rows if finals else slice(None)
        flat = array[rows].reshape(dataset.total_steps, -1)
        ticks = len(self.ticks)
        made = empty((ticks, flat.shape[1]), array.dtype)
        missing = np.zeros(made.shape, bool)
        every = self._sample(np.arange(dataset.total_steps), how)
        for dimension in range(flat.shape[1]):
            values = flat[:, dimension]
            known = np.flatnonzero(~np.isnan(values)) if array.dtype.kind == "f" else None
            sampled = every if known is None or len(known) == len(values) else self._sample(known, how)
            made[:, dimension], missing[:, dimension] = self._values(values, sampled, within)
        result = made.reshape(ticks, *array.shape[1:])
        mask = missing.reshape(ticks, *array.shape[1:]) if missing.any() else None
        if not finals:
            return result, mask
        at = np.cumsum(self.lengths)
        of_episodes = array[dataset.observation_rows[dataset.episode_starts + dataset.episode_lengths - 1] + 1]
        known_finals = dataset.final_observations_known.reshape(-1, *[1] * (array.ndim - 1))
        repeated = np.where(known_finals, of_episodes, result[at - 1])  # a placeholder repeats the last row
        return np.insert(result, at, repeated, axis=0), None if mask is None else np.insert(mask, at, False, axis=0)

    def _sample(self, known: np.ndarray, how: How) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return of each tick the steps before and after, or -1, and the share of the one after, by the steps with a value."""
        episode = self.dataset.episode_of_step[known]
        # Stamps of all episodes in one order: the episode first, then the time in it.
        before = np.full(len(self.ticks), -1, np.int64)
        after = before.copy()
        borders = np.searchsorted(episode, np.arange(len(self.lengths) + 1))
        offset = np.cumsum(self.lengths) - self.lengths
        for number, (low, high) in enumerate(zip(borders[:-1].tolist(), borders[1:].tolist(), strict=True)):
            if low == high:
                continue
            mine = slice(int(offset[number]), int(offset[number] + self.lengths[number]))
            stamps = self.time[known[low:high]]
            place = np.searchsorted(stamps, self.ticks[mine] + self._slack, side="right")
            before[mine] = np.where(place > 0, known[low + np.maximum(place - 1, 0)], -1)
            after[mine] = np.where(place < high - low, known[low + np.minimum(place, high - low - 1)], -1)
        if how == "previous":
            return before, np.full_like(after, -1), np.zeros(len(before))
        since = self.ticks - self.time[before]
        until = self.time[after] - self.ticks
        share = np.clip(since / np.where(since + until > 0, since + until, 1.0), 0.0, 1.0)
        share = np.where(before < 0, 1.0, np.where(after < 0, 0.0, share))
        if how == "nearest":
            share = np.round(share)
        return before, after, share

    def _values(
        self, values: np.ndarray, sampled: tuple[np.ndarray, np.ndarray, np.ndarray], within: float
    ) -> tuple[np.ndarray, np.ndarray]:
        before, after, share = sampled
        if values.dtype.kind != "f":
            share = np.round(share)
        one, other = np.where(before < 0, after, before), np.where(after < 0, before, after)
        far = np.where(share < 1, np.abs(self.ticks - self.time[one]), 0.0) > within + self._slack
        far |= np.where(share > 0, np.abs(self.ticks - self.time[other]), 0.0) > within + self._slack
        missing = far | ((one < 0) & (other < 0))
        if values.dtype.kind == "f":
            result = np.where(
                share == 0,
                values[one],
                np.where(share == 1, values[other], (1 - share) * values[one] + share * values[other]),
            )
            result[missing] = np.nan
        else:
            result = np.where(share == 0, values[one], values[other])
            result[missing] = np.zeros(1, values.dtype)[0]
        return result.astype(values.dtype), missing

    def summed(self, array: np.ndarray) -> np.ndarray:
        """Return sums over the steps from each tick on until the next; the last tick takes what is left."""
        starts = self.dataset.episode_starts
        offset = np.cumsum(self.lengths) - self.lengths
        episode = self.dataset.episode_of_step
        passed = (self.time - self.time[starts][episode]) * self._rate
        tick = offset[episode] + np.minimum(np.floor(passed + _ROUNDING).astype(np.int64), self.lengths[episode] - 1)
        result = np.zeros((len(self.ticks), *array.shape[1:]), array.dtype)
        np.add.at(result, tick, array)
        return result

    def ended(self, flags: np.ndarray) -> np.ndarray:
        """Return flags that stand where those of the episodes' last steps stood."""
        lasts = self.dataset.episode_starts + self.dataset.episode_lengths - 1
        result = np.zeros(len(self.ticks), bool)
        result[np.cumsum(self.lengths) - 1] = flags[lasts]
        return result
