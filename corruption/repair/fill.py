"""Filling: a way from logs with missing numbers to a dataset that can be learned from.

A number is missing where it is NaN or infinite. With x the rows of one dimension inside one episode::

    x                          1   -   -   4   -
    method="previous"          1   1   1   4   4        at the front, the next number is carried back
    method="interpolate"       1   2   3   4   4        linear in the row; at the ends, the nearest number
    method="constant"          1   v   v   4   v
    method="drop"              s0  s3 ...                steps with a missing number are removed, the episode goes on
    method="split"             | s0 ... | s3 ... |       they are removed, and the episode is split there

`drop` lets the step before lead to the step after, a transition that never happened. It suits learners of single steps or
of sequences. `split` invents nothing, and suits learners that bootstrap.

Actions and rewards that a dataset says it lacks, `Dataset.missing`, are no gaps: they stay missing, and nothing is filled
from them. `assay.relabeling` fills those in.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from pydantic import Field

from assay.corruption.repair.filters import drop_steps
from assay.datasets.dataset import Dataset, is_under
from assay.datasets.errors import DatasetError
from assay.datasets.memory import copy
from assay.datasets.missing import LABELS
from assay.datasets.transform import Transform, register

__all__ = ["FillMissing"]

Element = Literal["observations", "actions", "rewards"]


@register("corruption.repair.fill")
class FillMissing(Transform):
    """Fill NaN and infinite numbers, or leave out the steps that hold them.

    What was filled is marked: in the mask `filled/<element>`, (N,) bool, and for final observations in the episode column
    `filled/final_observation`. After `drop`, `filled/joined` marks the steps whose next observation is not the one that
    followed them.

    Parameters
    ----------
    method : "previous", "interpolate", "constant", "drop" or "split"
        See above.
    value : float
        For `constant`.
    elements : tuple of "observations", "actions" and "rewards"
        Where to look. Stored next observations belong to the observations.
    hopeless : "error" or "drop"
        What to do where a whole episode has no number to fill from, for `previous` and `interpolate`: raise, or leave it out.

    Raises
    ------
    DatasetError
        When applied: if a dimension has no number in a whole episode to fill from, with the column and the episode, unless such
        episodes are left out; or if no step would be left.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.array([1.0, np.nan, np.nan, 4.0, np.nan]), actions=np.zeros(4), rewards=np.zeros(4),
    ...     terminations=np.arange(4) == 3, truncations=np.zeros(4, bool))
    >>> filled = FillMissing(method="interpolate")(dataset)
    >>> filled.observations.tolist(), filled.column("filled/observations").tolist()
    ([1.0, 2.0, 3.0, 4.0, 4.0], [False, True, True, False])
    >>> FillMissing(method="split")(dataset).observations.tolist()  # s3 terminates; what followed is not known
    [4.0, 4.0]
    """

    method: Literal["previous", "interpolate", "constant", "drop", "split"] = "previous"
    value: float = Field(default=0.0, allow_inf_nan=False)
    elements: tuple[Element, ...] = ("observations", "actions", "rewards")
    hopeless: Literal["error", "drop"] = "error"

    def apply(self, dataset: Dataset) -> Dataset:  # noqa: D102
        if self.hopeless == "drop" and self.method in ("previous", "interpolate"):
            lost = self._without_numbers(dataset)
            if lost.all() and len(lost):
                raise DatasetError("no episode has a number to fill every gap from; nothing is left to learn from")
            dataset = dataset.select(~lost) if lost.any() else dataset
        if self.method == "split":
            return drop_steps(dataset, *self._missing_steps(dataset))
        if self.method == "drop":
            return _join_without(dataset, *self._missing_steps(dataset))
        columns: dict[str, np.ndarray | None] = {}
        episode_columns: dict[str, np.ndarray | None] = {}
        for element, name, missing in self._missing(dataset):
            columns[name] = self._filled(dataset, name, missing)
            steps, finals = _of_steps(dataset, missing)
            mask = f"filled/{element}"
            columns[mask] = steps | _column_or_false(dataset, columns, mask)
            if finals is not None:
                before = dataset.episode_columns.get("filled/final_observation", np.zeros(len(finals), bool))
                episode_columns["filled/final_observation"] = (
                    finals | before | episode_columns.get("filled/final_observation", False)
                )
        return dataset.replace(columns, episode_columns=episode_columns)

    def _missing(self, dataset: Dataset) -> Iterator[tuple[str, str, np.ndarray]]:
        """Yield (element, column, which of its numbers are missing) of every column that lacks some."""
        for element in self.elements:
            prefixes = ("observations", "next_observations") if element == "observations" else (element,)
            for name in (name for name in dataset.columns if any(is_under(name, prefix) for prefix in prefixes)):
                array = dataset.column(name)
                if array.dtype.kind == "f":
                    missing = ~np.isfinite(array)
                    missing[_without_label(dataset, name)] = False
                    if missing.any():
                        yield element, name, missing

    def _missing_steps(self, dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
        """Return the steps with a missing number, (N,) bool, and the rows of the observations, (N+E,) bool."""
        steps = np.zeros(dataset.total_steps, bool)
        rows = np.zeros(dataset.total_steps + dataset.total_episodes, bool)
        for _, name, missing in self._missing(dataset):
            of_rows = missing.reshape(len(missing), -1).any(axis=1)
            if is_under(name, "observations"):
                rows |= of_rows
            else:
                steps |= of_rows
        return steps | rows[dataset.observation_rows], rows

    def _without_numbers(self, dataset: Dataset) -> np.ndarray:
        """Return the episodes that have no number at all in some dimension with gaps, (E,) bool."""
        found = np.zeros(dataset.total_episodes, bool)
        for _, name, missing in self._missing(dataset):
            gaps = missing.reshape(len(missing), -1)
            unknown = gaps | _without_label(dataset, name)[:, None]
            lengths = dataset.episode_lengths + (len(missing) != dataset.total_steps)
            starts = np.cumsum(lengths) - lengths
            nothing, gap = np.logical_and.reduceat(unknown, starts), np.logical_or.reduceat(gaps, starts)
            found |= (nothing & gap).any(axis=1)
        return found

    def _filled(self, dataset: Dataset, name: str, missing: np.ndarray) -> np.ndarray:
        result = copy(dataset.column(name))
        if self.method == "constant":
            result[missing] = self.value
            return result
        lengths = dataset.episode_lengths + (len(result) != dataset.total_steps)
        starts = np.cumsum(lengths) - lengths
        first, last = np.repeat(starts, lengths), np.repeat(starts + lengths - 1, lengths)
        values, gaps = result.reshape(len(result), -1), missing.reshape(len(missing), -1)
        rows, unlabelled = np.arange(len(result)), _without_label(dataset, name)
        for dimension in np.flatnonzero(gaps.any(axis=0)):
            gap = gaps[:, dimension]
            unknown = gap | unlabelled
            before = np.maximum.accumulate(np.where(unknown, -1, rows))
            after = np.minimum.accumulate(np.where(unknown, len(rows), rows)[::-1])[::-1]
            none_before, none_after = before < first, after > last
            hopeless = np.flatnonzero(gap & none_before & none_after)
            if len(hopeless):
                episode = int(np.searchsorted(starts, hopeless[0], side="right")) - 1
                raise DatasetError(
                    f"column {name}, dimension {dimension}: episode {episode} has no number to fill from; use "
                    'method="constant", or leave the episode out'
                )
            before, after = np.where(none_before, after, before)[gap], np.where(none_after, before, after)[gap]
            column = values[:, dimension]
            share = np.zeros(len(before))
            if self.method == "interpolate":
                share = (rows[gap] - before) / np.maximum(1, after - before)
            column[gap] = np.where(share > 0, (1 - share) * column[before] + share * column[after], column[before])
        return result


def _without_label(dataset: Dataset, name: str) -> np.ndarray:
    """Return which rows of a column have no label, and are said to have none."""
    element = name.partition("/")[0]
    return dataset.missing[element] if element in LABELS else np.zeros(len(dataset.column(name)), bool)


def _column_or_false(dataset: Dataset, columns: dict[str, np.ndarray | None], name: str) -> np.ndarray:
    found = columns.get(name)
    if found is None:
        found = dataset.column(name) if name in dataset.columns else np.zeros(dataset.total_steps, bool)
    return found


def _of_steps(dataset: Dataset, missing: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Return which steps, (N,), and which final observations, (E,), lack a number."""
    rows = np.asarray(missing.reshape(len(missing), -1).any(axis=1))
    if len(rows) == dataset.total_steps:
        return rows, None
    lasts = dataset.episode_starts + dataset.episode_lengths - 1
    return rows[dataset.observation_rows], rows[dataset.observation_rows[lasts] + 1]


def _join_without(dataset: Dataset, dropped: np.ndarray, wrong_rows: np.ndarray) -> Dataset:
    """Return the dataset without some steps; what is left of an episode is one episode.

    The end of an episode stays its end: flags of a last step that is dropped go to the last step that is left. A final
    observation that is wrong is replaced by a placeholder and marked as unknown.
    """
    if not dropped.any() and not wrong_rows.any():
        return dataset
    kept, episodes = np.flatnonzero(~dropped), dataset.episode_of_step
    if not len(kept):
        raise DatasetError(f"all of the {len(dropped):,} steps would be dropped; nothing is left to learn from")
    lengths = np.bincount(episodes[kept], minlength=dataset.total_episodes)
    remaining = np.flatnonzero(lengths)
    lasts = (dataset.episode_starts + dataset.episode_lengths - 1)[remaining]
    finals, rows = dataset.observation_rows[lasts] + 1, dataset.observation_rows[kept]
    ends = np.cumsum(lengths[remaining])  # of each episode, in kept steps
    known = ~wrong_rows[finals]
    source = np.insert(rows, ends, np.where(known, finals, rows[ends - 1]))
    columns: dict[str, np.ndarray | None] = {
        name: dataset.column(name)[kept if len(dataset.column(name)) == dataset.total_steps else source]
        for name in dataset.columns
    }
    for name in ("terminations", "truncations"):
        flags = dataset.column(name)[kept]
        flags[ends - 1] = dataset.column(name)[lasts]
        columns[name] = flags
    joined = np.append(np.diff(kept) != 1, False)
    joined[ends - 1] = (kept[ends - 1] != lasts) & known
    columns["filled/joined"] = joined | _column_or_false(dataset, {}, "filled/joined")[kept]
    table: dict[str, np.ndarray | None] = {name: array[remaining] for name, array in dataset.episode_columns.items()}
    if not known.all() or "final_observation" in table:
        table["final_observation"] = dataset.final_observations_known[remaining] & known
    return dataset.replace(columns, episode_lengths=lengths[remaining], episode_columns=table)
