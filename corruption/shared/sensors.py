"""Base of the faults of sensors: they change chosen dimensions of chosen steps, in every copy of a reading.

::

    step                    0   1   2   3   4   5   final
    observations            s0  s1  s2  s3  s4  s5  sT
    touched                     x   x           x
    element="states"        s0  .   .   s3  s4  .   .      the s' of steps 0, 1 and 4 change with s1, s2 and s5;
                                                           the final observation changes with the last step
    element="observations"  s0  .   .   s3  s4  .   sT     every s' stays clean (stored as next_observations)
    element="dynamics"      the same, for the column of the next observations

A sensor reads each state once. So `states` is the default, and the trajectory stays continuous. A stored next
observation that differs from the following observation already stays as it is. A final observation that was never
recorded keeps repeating the row before it. All other entries are bit-identical.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import pydantic
from pydantic import Field

from assay.corruption.shared import elements
from assay.corruption.shared.elements import open_element
from assay.corruption.shared.steps import StepCorruption, with_mask
from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError, DatasetError, UnknownNameError
from assay.datasets.generators import blocks
from assay.datasets.memory import copy
from assay.datasets.streaming import StepReader

__all__ = ["Chunk", "Fault", "HoldLast", "SensorCorruption"]


@dataclass(frozen=True)
class Chunk:
    """Readings of c steps in a row, d numbers each.

    Parameters
    ----------
    steps : slice
    values : (c, d) array
        Readings before the fault.
    entries : (c, d) bool
        Which numbers are touched.
    firsts : (c,) bool
        First steps of episodes.
    """

    steps: slice
    values: np.ndarray
    entries: np.ndarray
    firsts: np.ndarray


class Fault(Protocol):
    """The change of one column. It is given chunks in the order of the steps."""

    def change(self, chunk: Chunk) -> np.ndarray:
        """Return the changed readings, (c, d); only touched entries are used."""

    def final(self, finals: np.ndarray, last: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """Return the changed final observations, (m, d), given the changed readings of the last steps."""


@pydantic.dataclasses.dataclass(frozen=True, config=pydantic.ConfigDict(extra="forbid"))
class SensorCorruption(StepCorruption):
    """Base of the transforms that change readings of sensors.

    Parameters
    ----------
    element : "states", "observations", "dynamics", "actions" or "rewards"
        Element that is read wrongly; the module's text draws them.
    rate : float in [0, 1]
        Probability that a step (a window, a trajectory) is touched.
    seed : int >= 0
    dimensions : tuple of int, optional
        Positions of the touched numbers in the flattened reading; negative ones count from the end. Default: all.
    column : str, optional
        Column of a structured (Dict, Tuple) element to touch, such as `"observations/goal"`. Default: every column that
        can hold the fault.
    """

    element: Literal["states", "observations", "dynamics", "actions", "rewards"] = "states"
    rate: float = Field(default=0.3, ge=0, le=1)
    seed: int = Field(default=0, ge=0)
    dimensions: tuple[int, ...] | None = None
    column: str | None = None

    needs_floats = True

    @abstractmethod
    def fault(self, reader: StepReader, name: str, dimensions: np.ndarray) -> Fault:
        """Return the fault of one column."""

    def entries_of(self, name: str, block: int, width: int) -> Callable[[np.ndarray], np.ndarray]:
        """Return a function from touched steps, (c,) bool, to touched entries, (c, width) bool; default: all entries.

        It is called for the chunks of a block in order.
        """
        return lambda touched: np.broadcast_to(touched[:, None], (len(touched), width))

    def apply(self, dataset: Dataset) -> Dataset:
        """Return the corrupted dataset; columns that do not change are shared."""
        reader, element, changed = open_element(dataset, self.element)
        mask = self.touched_steps(dataset, self.element, self.rate, self.seed)
        for name in self._names(reader, element):
            column = copy(reader.dataset.column(name))
            self._write(reader, name, mask, column, changed)
            changed[name] = column
            if self.element == "states" and dataset.has_next_observations:
                changed[f"next_{name}"] = _follow(reader, name, column)
        return dataset.replace(changed | with_mask(dataset, self.element, mask))

    def _names(self, reader: StepReader, prefix: str) -> list[str]:
        names = reader.leaves(prefix)
        if self.column is not None:
            if self.column not in names:
                raise UnknownNameError(f"column of the {self.element}", self.column, names)
            names = [self.column]
        if self.needs_floats:
            kinds = {name: reader.dataset.column(name).dtype for name in names}
            names = [name for name in names if kinds[name].kind == "f"]
            if not names:
                found = ", ".join(f"{name} {kind}" for name, kind in kinds.items())
                raise DatasetError(f"{self.name} needs real numbers, and {self.element} holds none ({found})")
        return names

    def _chosen(self, name: str, width: int) -> np.ndarray:
        if self.dimensions is None:
            return np.arange(width)
        for dimension in self.dimensions:
            if not -width <= dimension < width:
                raise ConfigError(
                    f"{self.name}: dimensions={self.dimensions}: column {name} has {width} numbers a row, so "
                    f"{dimension} is not one of them"
                )
        return np.array(self.dimensions, np.int64).reshape(-1) % max(1, width)

    def _write(
        self, reader: StepReader, name: str, mask: np.ndarray, column: np.ndarray, further: dict[str, np.ndarray]
    ) -> None:
        """Change the touched entries of a column in place, final observations included."""
        dataset = reader.dataset
        width = int(np.prod(column.shape[1:], dtype=np.int64))
        flat = column.reshape(len(column), width)
        chosen = self._chosen(name, width)
        of_observations = name.partition("/")[0] == "observations"
        firsts, lasts = _borders(dataset)
        fault, note = self.fault(reader, name, chosen), self.note(reader, name, further)
        for block, rows in blocks(dataset.total_steps):
            draw = self.entries_of(name, block, len(chosen))
            for steps in reader.chunks(name, elements.CHUNK_BYTES, rows):
                entries = np.zeros((steps.stop - steps.start, width), bool)
                entries[:, chosen] = draw(mask[steps])
                places = reader.observation_rows(steps) if of_observations else np.arange(steps.start, steps.stop)
                values = reader.read(name, steps).reshape(len(places), width)
                changed = np.where(entries, fault.change(Chunk(steps, values, entries, firsts[steps])), values)
                flat[places] = changed
                note(places, entries)
                ending = np.flatnonzero(lasts[steps] & entries.any(axis=1))
                if self.element == "states" and len(ending):
                    finals = places[ending] + 1
                    flat[finals] = self._finals(
                        reader, fault, ending + steps.start, flat[finals], changed[ending], entries[ending]
                    )
                    note(finals, entries[ending])

    @staticmethod
    def _finals(
        reader: StepReader, fault: Fault, steps: np.ndarray, finals: np.ndarray, last: np.ndarray, entries: np.ndarray
    ) -> np.ndarray:
        """Return the final observations after touched last steps; unrecorded ones repeat the row before."""
        recorded = reader.dataset.final_observations_known[reader.episodes_of(steps)][:, None]
        changed = np.where(recorded, fault.final(finals, last, steps), last)
        return np.where(entries, changed, finals)

    def note(
        self, reader: StepReader, name: str, further: dict[str, np.ndarray]
    ) -> Callable[[np.ndarray, np.ndarray], None]:
        """Return a function (rows, entries) that records touched entries; by default it does nothing."""
        return lambda rows, entries: None


def _borders(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Return which steps are the first and the last of their episodes, (N,) bool each."""
    firsts, lasts = np.zeros(dataset.total_steps, bool), np.zeros(dataset.total_steps, bool)
    firsts[dataset.episode_starts] = True
    lasts[dataset.episode_starts + dataset.episode_lengths - 1] = True
    return firsts, lasts


def _follow(reader: StepReader, name: str, observations: np.ndarray) -> np.ndarray:
    """Return the stored next observations; those that were equal to a changed observation change with it."""
    following = copy(reader.dataset.column(f"next_{name}"))
    before = reader.dataset.column(name)
    for steps in reader.chunks(name, elements.CHUNK_BYTES):
        rows = reader.observation_rows(steps) + 1
        old, new, stored = before[rows], observations[rows], following[steps]
        same = ((old == stored) | ((old != old) & (stored != stored))).reshape(len(rows), -1).all(axis=1)
        differs = ~((old == new) | ((old != old) & (new != new))).reshape(len(rows), -1).all(axis=1)
        following[steps][same & differs] = new[same & differs]
    return following


class HoldLast:
    """A fault that repeats the last reading that was not touched; chunks have to come in order.

    Parameters
    ----------
    at_start : callable, optional
        Function (c, d) -> (c, d) that gives the readings at the touched first step of an episode; default: the readings
        themselves.

    Examples
    --------
    >>> values, entries = np.arange(5.0)[:, None], np.array([0, 1, 1, 0, 1], bool)[:, None]
    >>> hold = HoldLast()
    >>> hold.change(Chunk(slice(0, 5), values, entries, np.arange(5) == 4)).ravel().tolist()
    [0.0, 0.0, 0.0, 3.0, 4.0]
    """

    def __init__(self, at_start: Callable[[np.ndarray], np.ndarray] | None = None) -> None:
        self.at_start = at_start
        self.carried: np.ndarray | None = None

    def change(self, chunk: Chunk) -> np.ndarray:
        """Return the readings; a touched entry repeats the one before it."""
        values = chunk.values
        opening = chunk.firsts[:, None] & chunk.entries
        if self.at_start is not None and opening.any():
            values = np.where(opening, self.at_start(values), values)
        good = ~chunk.entries | chunk.firsts[:, None]
        index = np.where(good, np.arange(len(values))[:, None], -1)
        np.maximum.accumulate(index, axis=0, out=index)
        held: np.ndarray = np.take_along_axis(values, np.maximum(index, 0), axis=0)
        if self.carried is not None:
            held = np.where(index < 0, self.carried, held)
        self.carried = held[-1]
        return held

    def final(self, finals: np.ndarray, last: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """Return the readings of the last steps."""
        return last
