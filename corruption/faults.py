"""Faults of sensors: readings that are missing, stuck, late, coarse, saturated or on the wrong wire.

::

    reading                 3.1  3.4  3.9  4.2  4.8
    touched                       x    x
    missing                 3.1  nan  nan  4.2  4.8     fill="last": 3.1 3.1 3.1 4.2 4.8
    freeze                  3.1  3.1  3.1  4.2  4.8     as long as the steps in a row are touched
    delay, steps=1          3.1  3.1  3.4  4.2  4.8     what was read so many steps earlier
    quantize                3.1  3.0  4.0  4.2  4.8     the nearest of few levels
    clip                    3.1  3.4  3.5  4.2  4.8     never beyond a limit
    swap_dimensions         numbers of a row trade places, the same ones at every touched step

Robotics and industrial logs have all of these (Kober et al., "Reinforcement Learning in Robotics: A Survey", 2013,
names delay, noise and partial observation); offline-RL benchmarks of corruption have noise only. `SensorCorruption` and
`StepCorruption` say which steps, dimensions and copies of a reading are touched. Sensors fail for a while, so windows
and trajectories are the default where that matters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from assay.corruption.shared.elements import extremes, moments
from assay.corruption.shared.sensors import Chunk, Fault, HoldLast, SensorCorruption
from assay.datasets.errors import ConfigError
from assay.datasets.generators import block_generator
from assay.datasets.memory import empty
from assay.datasets.streaming import StepReader
from assay.datasets.transform import register

__all__ = [
    "ClippedSensors",
    "DelayedSensors",
    "FrozenSensors",
    "MissingValues",
    "QuantizedSensors",
    "SwappedDimensions",
]


class _Pointwise:
    """A fault that depends on the reading alone."""

    def __init__(self, function: Callable[[np.ndarray], np.ndarray]) -> None:
        self.function = function

    def change(self, chunk: Chunk) -> np.ndarray:
        return self.function(chunk.values)

    def final(self, finals: np.ndarray, last: np.ndarray, steps: np.ndarray) -> np.ndarray:
        return self.function(finals)


@register("corruption.missing")
class MissingValues(SensorCorruption):
    """Lose readings: they become NaN, or keep the last value.

    Besides the ground truth in `corrupted/<element>`, the column `infos/missing/<column>` (bool, of the shape of the
    column) marks the missing numbers. Who records data knows them, so a learner may use this column.

    Parameters
    ----------
    element, rate, seed, dimensions, column
        See `SensorCorruption`.
    fill : "nan" or "last"
        Value of a missing number. With `"last"`, numbers that are missing at the first step of an episode are the means
        of their columns.
    dimension_rate : float in [0, 1]
        Probability that each of the dimensions is missing at a touched step.
    granularity, window, count, tag, mask, shared
        Which steps; see `StepCorruption`.

    Examples
    --------
    >>> from assay.datasets import Dataset
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(4.0)[:, None], actions=np.zeros(3), rewards=np.zeros(3),
    ...     terminations=np.arange(3) == 2, truncations=np.zeros(3, bool), columns={"infos/off": [False, True, False]})
    >>> MissingValues(mask="infos/off")(dataset).observations.ravel().tolist()
    [0.0, nan, 2.0, 3.0]
    >>> MissingValues(mask="infos/off", fill="last")(dataset).observations.ravel().tolist()
    [0.0, 0.0, 2.0, 3.0]
    """

    fill: Literal["nan", "last"] = "nan"
    dimension_rate: float = Field(default=1.0, ge=0, le=1)

    def fault(self, reader: StepReader, name: str, dimensions: np.ndarray) -> Fault:
        """Return NaN, or the last value."""
        if self.fill == "nan":
            return _Pointwise(lambda values: np.full_like(values, np.nan))
        mean = moments(reader, name)[0].reshape(1, -1).astype(reader.dataset.column(name).dtype)
        return HoldLast(lambda values: np.broadcast_to(mean, values.shape))

    def entries_of(self, name: str, block: int, width: int) -> Callable[[np.ndarray], np.ndarray]:
        """Draw which dimensions are missing."""
        if self.dimension_rate == 1:
            return super().entries_of(name, block, width)
        generator = block_generator(self.seed, self.name, f"{self.element}:{name}:dimensions", block)

        def draw(touched: np.ndarray) -> np.ndarray:
            numbers = generator.random((len(touched), width), dtype=np.float32)
            entries: np.ndarray = touched[:, None] & (numbers < self.dimension_rate)
            return entries

        return draw

    def note(
        self, reader: StepReader, name: str, further: dict[str, np.ndarray]
    ) -> Callable[[np.ndarray, np.ndarray], None]:
        """Write down which numbers are missing."""
        known, source = f"infos/missing/{name}", reader.dataset.column(name)
        missing = empty(source.shape, np.bool_)
        before = reader.dataset.column(known) if known in reader.dataset.columns else None
        missing[...] = False if before is None else before
        flat = missing.reshape(len(missing), -1)

        def write(rows: np.ndarray, entries: np.ndarray) -> None:
            flat[rows] |= entries

        further[known] = missing
        return write


@register("corruption.freeze")
class FrozenSensors(SensorCorruption):
    """Let sensors stop: while they are touched, they repeat the last reading before.

    Where an episode begins with touched steps, its first reading is repeated.

    Parameters
    ----------
    element, rate, seed, dimensions, column
        See `SensorCorruption`.
    granularity : "transition", "window" or "trajectory"
        Default windows, of `window` steps.
    window, count, tag, mask, shared
        Which steps; see `StepCorruption`.
    """

    _: KW_ONLY
    granularity: Literal["transition", "window", "trajectory"] = "window"

    needs_floats = False

    def fault(self, reader: StepReader, name: str, dimensions: np.ndarray) -> Fault:
        """Return what holds the last reading."""
        return HoldLast()


@register("corruption.delay")
class DelayedSensors(SensorCorruption):
    """Let readings arrive late: a touched step has those of some steps earlier, at most back to the episode's first.

    Parameters
    ----------
    element, rate, seed, dimensions, column
        See `SensorCorruption`.
    steps : int >= 1
        Number of steps by which a reading is late.
    granularity : "transition", "window" or "trajectory"
        Default trajectories: a delay lasts.
    window, count, tag, mask, shared
        Which steps; see `StepCorruption`.
    """

    steps: int = Field(default=1, ge=1)
    _: KW_ONLY
    granularity: Literal["transition", "window", "trajectory"] = "trajectory"

    needs_floats = False

    def fault(self, reader: StepReader, name: str, dimensions: np.ndarray) -> Fault:
        """Return what reads earlier rows."""
        return _Late(reader, name, self.steps)


class _Late:
    def __init__(self, reader: StepReader, name: str, delay: int) -> None:
        self.reader, self.delay = reader, delay
        self.starts = reader.dataset.episode_starts
        column = reader.dataset.column(name)
        self.column = column.reshape(len(column), -1)
        self.of_observations = name.partition("/")[0] == "observations"

    def _read(self, steps: np.ndarray, delay: int) -> np.ndarray:
        episodes = self.reader.episodes_of(steps)
        earlier = np.maximum(steps - delay, self.starts[episodes])
        result: np.ndarray = self.column[earlier + episodes if self.of_observations else earlier]
        return result

    def change(self, chunk: Chunk) -> np.ndarray:
        return self._read(np.arange(chunk.steps.start, chunk.steps.stop), self.delay)

    def final(self, finals: np.ndarray, last: np.ndarray, steps: np.ndarray) -> np.ndarray:
        return self._read(steps, self.delay - 1)


@register("corruption.quantize")
class QuantizedSensors(SensorCorruption):
    """Round readings to the nearest of evenly spaced levels, from the least to the largest value of their dimension.

    Parameters
    ----------
    element, rate, seed, dimensions, column
        See `SensorCorruption`. By default every step is touched: a coarse sensor is coarse throughout.
    levels : int >= 2
    granularity, window, count, tag, mask, shared
        Which steps; see `StepCorruption`.

    Raises
    ------
    DatasetError
        When applied: if a reading is NaN or infinite.

    Examples
    --------
    >>> from assay.datasets import Dataset
    >>> dataset = Dataset.from_arrays(
    ...     observations=[[0.0], [0.3], [0.9], [1.0]], actions=np.zeros(3), rewards=[0.0, 0.4, 1.0],
    ...     terminations=np.arange(3) == 2, truncations=np.zeros(3, bool))
    >>> QuantizedSensors("rewards", levels=3)(dataset).rewards.tolist()
    [0.0, 0.5, 1.0]
    """

    rate: float = Field(default=1.0, ge=0, le=1)
    levels: int = Field(default=16, ge=2)

    def fault(self, reader: StepReader, name: str, dimensions: np.ndarray) -> Fault:
        """Return the rounding."""
        low, high = (bound.reshape(1, -1).astype(np.float64) for bound in extremes(reader, name))
        step = (high - low) / (self.levels - 1)
        dtype = reader.dataset.column(name).dtype

        def rounded(values: np.ndarray) -> np.ndarray:
            numbers = np.rint((np.clip(values, low, high) - low) / np.where(step > 0, step, 1.0))
            result: np.ndarray = (low + numbers * step).astype(dtype)
            return result

        return _Pointwise(rounded)


@register("corruption.clip")
class ClippedSensors(SensorCorruption):
    """Let sensors saturate: readings beyond a limit become the limit.

    Parameters
    ----------
    element, rate, seed, dimensions, column
        See `SensorCorruption`. By default every step is touched.
    scale : float >= 0
        The limits are mean - scale std and mean + scale std of each dimension over the steps.
    low, high : float, optional
        Limits in the column's own unit, instead; either or both.
    granularity, window, count, tag, mask, shared
        Which steps; see `StepCorruption`.

    Raises
    ------
    DatasetError
        When applied: if a reading is NaN or infinite, unless both limits are given.
    """

    rate: float = Field(default=1.0, ge=0, le=1)
    scale: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    low: float | None = Field(default=None, allow_inf_nan=False)
    high: float | None = Field(default=None, allow_inf_nan=False)

    @model_validator(mode="after")
    def _ordered(self) -> ClippedSensors:
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low={self.low:g} is more than high={self.high:g}")
        return self

    def fault(self, reader: StepReader, name: str, dimensions: np.ndarray) -> Fault:
        """Return the clipping."""
        if self.low is None and self.high is None:
            mean, deviation = (part.reshape(1, -1) for part in moments(reader, name))
            low, high = mean - self.scale * deviation, mean + self.scale * deviation
        else:
            low = np.array([[-np.inf if self.low is None else self.low]])
            high = np.array([[np.inf if self.high is None else self.high]])
        dtype = reader.dataset.column(name).dtype
        return _Pointwise(lambda values: np.clip(values, low.astype(dtype), high.astype(dtype)))


@register("corruption.swap_dimensions")
class SwappedDimensions(SensorCorruption):
    """Let numbers of a row trade places, as when cables are swapped: the same ones at every touched step.

    Parameters
    ----------
    element, rate, seed, column
        See `SensorCorruption`. By default every step is touched.
    dimensions : tuple of int, optional
        Each gets the number of the next one in the list, the last that of the first; `(2, 5)` swaps two. Default all,
        in an order drawn from the seed that moves every one of them.
    granularity, window, count, tag, mask, shared
        Which steps; see `StepCorruption`.

    Examples
    --------
    >>> from assay.datasets import Dataset
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.zeros((2, 1)), actions=[[1.0, 2.0, 3.0]], rewards=[0.0],
    ...     terminations=[True], truncations=[False])
    >>> SwappedDimensions("actions", dimensions=(0, 2))(dataset).actions.tolist()
    [[3.0, 2.0, 1.0]]
    """

    rate: float = Field(default=1.0, ge=0, le=1)

    needs_floats = False

    @model_validator(mode="after")
    def _distinct(self) -> SwappedDimensions:
        if self.dimensions is not None and (
            len(self.dimensions) < 2 or len(set(self.dimensions)) < len(self.dimensions)
        ):
            raise ValueError(f"dimensions={self.dimensions}: at least two different ones can trade places")
        return self

    def fault(self, reader: StepReader, name: str, dimensions: np.ndarray) -> Fault:
        """Return the permutation."""
        column = reader.dataset.column(name)
        width = int(np.prod(column.shape[1:], dtype=np.int64))
        ring = dimensions
        if self.dimensions is None:
            generator = block_generator(self.seed, self.name, f"{self.element}:{name}:order", 0)
            ring = np.argsort(generator.random(width), kind="stable")
        if width < 2 or len(np.unique(ring)) < 2:
            raise ConfigError(f"{self.name}: column {name} has {width} number(s) a row; there is nothing to swap")
        order = np.arange(width)
        order[ring] = np.roll(ring, -1)
        return _Pointwise(lambda values: values[:, order])
