"""The signals of a recorded robot: which column is its state, how fast it moves, how much time passes between two steps.

::

    step        0     1     2     3   | 0     1        T = 4 steps, then 2
    state       x0    x1    x2    x3  | x0    x1       one row per step; a final observation is not looked at
    speed       v0    v1    v2    -   | v0    -        v_t = norm(x_(t+1) - x_t) / dt, NaN at the last step
    time        t0    t1    t2    t3  | t0    t1       the column `time`, or `infos/timestamp`

dt is the median of the steps of time of an episode; without stamps it is 1 / rate, and without a rate one step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from assay.datasets.dataset import Dataset, is_under
from assay.datasets.errors import ConfigError, DatasetError, UnknownNameError

__all__ = ["Signals", "declared_rate", "dimension_names", "episode_quantiles", "time_stamps", "vector_columns"]

_STATE_WORDS = ("state", "qpos", "joint", "position", "proprio", "pose", "eef")  # the first that occurs decides
_WIDEST = 512  # numbers of a row; wider ones are no state of joints, but an image or an embedding
_CIRCLE = 2 * np.pi


def dimension_names(dataset: Dataset, column: str) -> tuple[str, ...]:
    """Return what the numbers of a row of a column are called: their names, else `[0]`, `[1]`, ...

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.zeros((3, 2)), actions=np.zeros(2), rewards=np.zeros(2),
    ...     terminations=[False, True], truncations=[False, False])
    >>> dimension_names(dataset, "observations"), dimension_names(dataset, "actions")
    (('[0]', '[1]'), ('actions',))
    """
    array = dataset.column(column)
    width = int(np.prod(array.shape[1:], dtype=np.int64))
    known = dataset.info.names.get(column, ())
    if len(known) == width:
        return tuple(known)
    return (column.rpartition("/")[2],) if array.ndim == 1 else tuple(f"[{index}]" for index in range(width))


def vector_columns(dataset: Dataset, prefix: str) -> list[str]:
    """Return the columns under a prefix that hold a vector of numbers per row: no images, no text.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations={"joints": np.zeros((3, 2)), "camera": np.zeros((3, 4, 4, 3), np.uint8)},
    ...     actions=np.zeros((2, 1)), rewards=np.zeros(2), terminations=[False, True], truncations=[False, False])
    >>> vector_columns(dataset, "observations")
    ['observations/joints']
    """
    found = []
    for name in dataset.columns:
        array = dataset.column(name)
        if is_under(name, prefix) and array.dtype.kind in "iufb" and array.ndim <= 2:
            width = 1 if array.ndim == 1 else array.shape[1]
            found += [name] if 0 < width <= _WIDEST else []
    return found


def declared_rate(dataset: Dataset) -> float | None:
    """Return the steps per second that the source of a dataset states (`fps`), or None."""
    for source in dataset.info.extra.values():
        rate = source.get("fps") if isinstance(source, Mapping) else None
        if isinstance(rate, int | float) and not isinstance(rate, bool) and rate > 0:
            return float(rate)
    return None


def time_stamps(dataset: Dataset) -> np.ndarray | None:
    """Return the time of each step in seconds, (N,) float64, or None where none is recorded."""
    for name in ("time", "infos/timestamp"):
        if name in dataset.columns:
            stamps = dataset.column(name)
            if stamps.ndim == 1 and stamps.dtype.kind in "iuf" and len(stamps) == dataset.total_steps:
                return stamps.astype(np.float64)
    return None


def episode_quantiles(values: np.ndarray, lengths: np.ndarray, shares: tuple[float, ...]) -> np.ndarray:
    """Return quantiles of each run of values, linear between neighbours; (shares, E), NaN for a run without values.

    Parameters
    ----------
    values : (n,) floats, finite
    lengths : (E,) int64
        Adding up to n.
    shares : tuple of float in [0, 1]

    Examples
    --------
    >>> episode_quantiles(np.array([3.0, 1.0, 2.0, 10.0]), np.array([3, 1]), (0.5,)).tolist()
    [[2.0, 10.0]]
    """
    order = np.lexsort((values, np.repeat(np.arange(len(lengths)), lengths)))
    ordered, starts = np.append(values[order], np.nan), np.cumsum(lengths) - lengths
    result = np.empty((len(shares), len(lengths)))
    for row, share in enumerate(shares):
        place = share * np.maximum(lengths - 1, 0)
        below = np.floor(place).astype(np.int64)
        above = np.minimum(below + 1, np.maximum(lengths - 1, 0))
        low, high = ordered[starts + below], ordered[starts + above]
        result[row] = low + (place - below) * (high - low)
    result[:, lengths == 0] = np.nan
    return result


@dataclass(frozen=True)
class Signals:
    """What moves, and when.

    Parameters
    ----------
    dataset : Dataset
    state : str, optional
        Column of the state. By default the only vector under `observations`; among several the first whose name says state,
        qpos, joint, position, proprio, pose or eef, else the first.
    dimensions : tuple of str, optional
        Numbers of the state that count: positions or joints, not both, because speeds are norms. By name, or by number as
        `"[3]"`. Default: all.
    rate : float, optional
        Steps per second, where neither stamps nor the source say it.

    Raises
    ------
    DatasetError
        If there is no step, or no observation is a vector of numbers.
    UnknownNameError
        If a named column or dimension does not exist.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.array([0.0, 1.0, 3.0, 3.0]), actions=np.zeros(3), rewards=np.zeros(3),
    ...     terminations=[False, False, True], truncations=[False] * 3)
    >>> Signals(dataset, rate=10.0).speed.tolist()
    [10.0, 20.0, nan]
    """

    dataset: Dataset
    state: str | None = None
    dimensions: tuple[str, ...] | None = None
    rate: float | None = None
    _results: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.dataset.total_steps:
            raise DatasetError("a dataset without steps has no signals")
        if self.rate is not None and not 0 < self.rate < np.inf:
            raise ConfigError(f"rate={self.rate}: expected steps per second, a positive number")

    def cache(self, name: str, function: Any) -> Any:
        """Return the result of the function, which is called once per name and kept."""
        if name not in self._results:
            self._results[name] = function()
        return self._results[name]

    # ---------------------------------------------------------------- the columns

    @property
    def state_column(self) -> str:
        """Name of the column that holds the state."""
        found = vector_columns(self.dataset, "observations")
        if not found:
            raise DatasetError(
                "no observation is a vector of numbers, so there is no state to follow; name one with map"
            )
        if self.state is not None:
            for name in (self.state, f"observations/{self.state}"):
                if name in found:
                    return name
            raise UnknownNameError("column of a state", self.state, found)
        named = [name for word in _STATE_WORDS for name in found if word in name.partition("/")[2].lower()]
        return (named or found)[0]

    @property
    def chosen(self) -> list[int]:
        """Indices of the dimensions of the state that count."""
        names = dimension_names(self.dataset, self.state_column)
        if self.dimensions is None:
            return list(range(len(names)))
        known = {name: index for index, name in enumerate(names)} | {f"[{i}]": i for i in range(len(names))}
        for name in self.dimensions:
            if name not in known:
                raise UnknownNameError(f"dimension of {self.state_column}", name, known)
        return [known[name] for name in self.dimensions]

    def values(self, column: str, index: int) -> np.ndarray:
        """Return one number of a column at every step, (N,) float64."""
        array = self.dataset.column(column)
        part = array if array.ndim == 1 else array.reshape(len(array), -1)[:, index]
        taken = part if len(part) == self.dataset.total_steps else part[self.rows]
        return np.asarray(taken, np.float64)

    @property
    def rows(self) -> np.ndarray:
        """(N,) row of the observations at each step."""
        result: np.ndarray = self.cache("rows", lambda: self.dataset.observation_rows)
        return result

    # ---------------------------------------------------------------- the clock

    @property
    def time(self) -> np.ndarray | None:
        """(N,) seconds, or None."""
        stamps: np.ndarray | None = self.cache("time", lambda: time_stamps(self.dataset))
        return stamps

    @property
    def timed(self) -> bool:
        """Whether seconds are known; otherwise durations are counted in steps."""
        return self.time is not None or (self.rate or declared_rate(self.dataset)) is not None

    @property
    def unit(self) -> str:
        """Unit of durations: "s" or "steps"."""
        return "s" if self.timed else "steps"

    @property
    def step_seconds(self) -> np.ndarray:
        """(E,) seconds between two steps of each episode; 1 where only steps are known."""
        result: np.ndarray = self.cache("step_seconds", self._step_seconds)
        return result

    def _step_seconds(self) -> np.ndarray:
        rate = self.rate or declared_rate(self.dataset)
        fallback = 1.0 if rate is None else 1.0 / rate
        seconds = np.full(self.dataset.total_episodes, fallback)
        if self.time is None or self.rate is not None:
            return seconds
        steps, lengths = self.time_steps
        medians = episode_quantiles(steps, lengths, (0.5,))[0]
        usable = np.isfinite(medians) & (medians > 0)
        seconds[usable] = medians[usable]
        if usable.any() and rate is None:
            seconds[~usable] = np.median(medians[usable])
        return seconds

    @property
    def time_steps(self) -> tuple[np.ndarray, np.ndarray]:
        """Differences of the time inside the episodes, and how many each episode has: one fewer than steps."""
        assert self.time is not None
        return np.diff(self.time)[self.followed[:-1]], self.dataset.episode_lengths - 1

    # ---------------------------------------------------------------- motion

    @property
    def followed(self) -> np.ndarray:
        """(N,) bool: another step of the episode follows."""
        result: np.ndarray = self.cache("followed", self._followed)
        return result

    def _followed(self) -> np.ndarray:
        result = np.ones(self.dataset.total_steps, bool)
        result[self.dataset.episode_starts + self.dataset.episode_lengths - 1] = False
        return result

    def change(self, column: str, index: int) -> np.ndarray:
        """Return x_(t+1) - x_t of one dimension, (N,); 0 at the last step. Angles between -pi and pi, or 0 and 2 pi, are taken around the circle."""
        values = self.values(column, index)
        change = np.zeros(len(values))
        np.subtract(values[1:], values[:-1], out=change[:-1], where=self.followed[:-1])
        if (np.abs(change) > np.pi).any() and _is_angle(values):
            change -= _CIRCLE * np.rint(change / _CIRCLE)
        return change

    @property
    def speed(self) -> np.ndarray:
        """(N,) norm of the change of the state per second, NaN at the last step of each episode."""
        result: np.ndarray = self.cache("speed", lambda: self.speed_of(self.state_column, self.chosen))
        return result

    def speed_of(self, column: str, indices: list[int] | None = None) -> np.ndarray:
        """Return the speed of another column, as `speed` is that of the state."""
        names = dimension_names(self.dataset, column)
        squares = np.zeros(self.dataset.total_steps)
        for index in range(len(names)) if indices is None else indices:
            squares += np.square(self.change(column, index))
        speed: np.ndarray = np.sqrt(squares) / np.repeat(self.step_seconds, self.dataset.episode_lengths)
        speed[~self.followed] = np.nan
        return speed

    def idle(self, threshold: float = 0.01) -> np.ndarray:
        """Return the steps at which hardly anything moves, (N,) bool; False at the last step of each episode.

        Parameters
        ----------
        threshold : float
            Share of the 95th percentile of the speed over the dataset.
        """
        known = self.speed[np.isfinite(self.speed)]
        if not len(known):
            return np.zeros(len(self.speed), bool)
        with np.errstate(invalid="ignore"):
            result: np.ndarray = self.speed <= threshold * np.quantile(known, 0.95)
        return result

    def sum_by_episode(self, values: np.ndarray) -> np.ndarray:
        """Return the sum over each episode of a value per step, (E,)."""
        result: np.ndarray = np.add.reduceat(values, self.dataset.episode_starts, dtype=np.float64)
        return result

    def first_by_episode(self, marked: np.ndarray) -> np.ndarray:
        """Return the first marked step of each episode, counted from its beginning, (E,) int64; -1 where there is none."""
        firsts = np.full(self.dataset.total_episodes, -1)
        places = np.flatnonzero(marked)[::-1]
        episodes = np.searchsorted(self.dataset.episode_starts, places, side="right") - 1
        firsts[episodes] = places - self.dataset.episode_starts[episodes]
        return firsts

    def idle_ends(self, threshold: float = 0.01) -> tuple[np.ndarray, np.ndarray]:
        """Return how many steps each episode rests before its first motion and after its last; (E,) int64 each.

        An episode that never moves rests before its first motion only.
        """
        moving = self.followed & ~self.idle(threshold)
        last = self.dataset.episode_lengths - 1  # steps that another one follows
        head = self.first_by_episode(moving)
        head = np.where(head < 0, last, head)
        final = self.dataset.total_steps - 1 - _first_from_the_end(moving, self.dataset)
        tail = self.dataset.episode_starts + last - 1 - final
        return head, np.where(head == last, 0, np.clip(tail, 0, None))


def _first_from_the_end(marked: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Return the distance from the dataset's last step of each episode's last marked step, (E,); -1 where there is none."""
    found = np.full(dataset.total_episodes, -1)
    places = np.flatnonzero(marked)
    found[np.searchsorted(dataset.episode_starts, places, side="right") - 1] = len(marked) - 1 - places
    return found


def _is_angle(values: np.ndarray) -> bool:
    """Tell whether values look like an angle that wraps: they stay on one circle and reach both of its ends."""
    low, high = np.nanmin(values), np.nanmax(values)
    tolerance = 1e-3
    around_zero = low >= -np.pi - tolerance and high <= np.pi + tolerance and low < -2.8 and high > 2.8
    from_zero = low >= -tolerance and high <= _CIRCLE + tolerance and low < 0.3 and high > 6.0
    return bool(around_zero or from_zero)
