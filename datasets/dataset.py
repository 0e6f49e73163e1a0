"""The dataset: immutable columns over steps, with the final observation of every episode kept.

::

    one episode of length T      observations  s0 s1 s2 ... s(T-1) sT        T+1 rows
                                 actions       a0 a1 a2 ... a(T-1)            T rows
                                 rewards, terminations, truncations           T rows
    the whole dataset            observations  (N+E, ...)   everything else  (N, ...)

    episode        0  0  0  0  1  1  1          step i of episode e reads its observation
    observations   s0 s1 s2 s3 s0 s1 s2         in row i + e, and the next one in row i + e + 1
    step           0  1  2  -  3  4  -

So s' costs nothing. A stored `next_observations` column exists only where it differs from that view.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from assay.datasets.column_checks import (
    FLAGS,
    LABELS,
    as_array,
    as_lengths,
    check_episode,
    check_roles,
    check_rows,
    flatten,
    floating_dtype,
    freeze,
    is_under,
)
from assay.datasets.dimensions import check_names
from assay.datasets.endings import Ends, steps_of_episode, with_ended_episodes, with_final_rows
from assay.datasets.errors import AssayWarning, ConfigError, DatasetError, UnknownNameError
from assay.datasets.info import BY_HAND, CONCATENATE, INFO, SELECT, DatasetInfo, Record, assay_version, json_value
from assay.datasets.memory import empty, take_ranges
from assay.datasets.missing import (
    blank,
    check_masks,
    describe_missing,
    missing_masks,
    no_labels,
    require_labels,
    without_labels,
)
from assay.datasets.recording import recording
from assay.datasets.transitions import Transitions
from assay.datasets.wording import count_of

if TYPE_CHECKING:
    import os

    import minari
    import pandas as pd
    import polars as pl
    import torch
    from matplotlib.figure import Figure

    from assay.datasets.episode import Episode
    from assay.datasets.frames import StepsFrame
    from assay.datasets.torch_dataset import TransitionBatches, TransitionDataset
    from assay.datasets.validation import ValidationReport

__all__ = ["Dataset", "check_episode", "concatenate", "is_under", "map_nested"]

RESERVED_EPISODE_COLUMNS = ("episode", "start", "length", "return", "terminated", "truncated")
_HASH_BLOCK_BYTES = 1 << 24
_TAGS = "tags/"


def hash_array(array: np.ndarray) -> str:
    """Return the xxh3-128 hash of an array's values in row order, streamed so that memory maps stay on disk."""
    import xxhash  # not with the module: what trains without reading or writing files does without

    state = xxhash.xxh3_128()
    if array.size:
        rows = max(1, _HASH_BLOCK_BYTES // max(1, array[:1].nbytes))
        for start in range(0, len(array), rows):
            state.update(np.ascontiguousarray(array[start : start + rows]).data.cast("B"))
    return state.hexdigest()


class Dataset:
    """An offline-RL dataset of N steps in E episodes.

    Use `from_arrays`, `from_episodes`, `assay.load` or a transform to make one. The arrays cannot be written to, and
    everything that changes a dataset returns a new one that shares the unchanged columns.

    Parameters
    ----------
    columns : mapping of str to array
        Flat names; a slash nests (`observations/goal`, `infos/qpos`). Columns under `observations` have N+E rows;
        `terminations` and `truncations` are needed and have N rows, as does every other column except `infos/...`, which
        may have either. `actions` and `rewards` may be absent, or missing for the steps of `missing/actions` and
        `missing/rewards`; see `missing`.
    episode_lengths : (E,) integers
        Steps in each episode, in the order of the rows; each at least 1.
    info : DatasetInfo, optional
        Spaces, environment, references, origin.
    history : iterable of Record, optional
        How the dataset came to be.
    episode_columns : mapping of str to (E,) array, optional
        Further columns of the episodes table, such as `seed`. `final_observation` (bool) marks the episodes whose
        final observation was stored; where it is False the final row repeats the one before it, see `transitions`.

    Raises
    ------
    DatasetError
        If a column is missing, has the wrong number of rows, or a dtype that holds Python objects.
    """

    __slots__ = ("_columns", "_episode_columns", "_hashes", "_lengths", "history", "info")

    info: DatasetInfo
    history: tuple[Record, ...]
    _columns: dict[str, np.ndarray]
    _lengths: np.ndarray
    _episode_columns: dict[str, np.ndarray]
    _hashes: dict[str, str]

    def __init__(
        self,
        columns: Mapping[str, np.ndarray],
        episode_lengths: np.ndarray | Sequence[int],
        *,
        info: DatasetInfo | None = None,
        history: Iterable[Record] = (),
        episode_columns: Mapping[str, np.ndarray] | None = None,
        _hashes: Mapping[str, str] | None = None,
    ) -> None:
        for what, value in (("columns", columns), ("episode_columns", episode_columns or {})):
            if not isinstance(value, Mapping):
                raise DatasetError(f"{what} must be a mapping of names to arrays, not {type(value).__name__}")
        if not isinstance(info, DatasetInfo | None):
            raise DatasetError(f"info must be a DatasetInfo, not {type(info).__name__}")
        lengths = as_lengths(episode_lengths)
        steps, episodes = int(lengths.sum()), len(lengths)
        frozen = {name: freeze(name, array) for name, array in columns.items()}
        check_roles(frozen)
        for name, array in frozen.items():
            if name.rpartition("/")[0] in frozen:
                raise DatasetError(f"column {name} lies inside column {name.rpartition('/')[0]}; rename one of them")
            check_rows(name, array, steps, episodes)
        extra = {name: freeze(name, array) for name, array in (episode_columns or {}).items()}
        for name, array in extra.items():
            if name in RESERVED_EPISODE_COLUMNS:
                raise DatasetError(f"episode column {name} is computed from the steps; choose another name")
            if array.shape != (episodes,):
                raise DatasetError(
                    f"episode column {name} has shape {array.shape}; expected one row per episode, ({episodes},)"
                )
        lengths.setflags(write=False)
        set_field = object.__setattr__
        set_field(self, "_columns", dict(sorted(frozen.items())))
        set_field(self, "_lengths", lengths)
        set_field(self, "_episode_columns", extra)
        set_field(self, "_hashes", dict(_hashes or {}))
        set_field(self, "info", info or DatasetInfo())
        set_field(self, "history", tuple(history))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Dataset cannot be changed; use replace() to make a new one with another {name}")

    # ---------------------------------------------------------------- making

    @classmethod
    def from_arrays(
        cls,
        *,
        observations: Any,
        actions: Any = None,
        rewards: Any = None,
        terminations: Any = None,
        truncations: Any = None,
        episode_lengths: Any = None,
        ends: Ends = "truncated",
        info: DatasetInfo | None = None,
        columns: Mapping[str, Any] | None = None,
        episode_columns: Mapping[str, Any] | None = None,
        missing: Mapping[str, Any] | None = None,
    ) -> Dataset:
        """Make a dataset from whole columns, which are copied.

        Parameters
        ----------
        observations : (N+E, ...) array, or a nested dict or tuple of them
            A row more for each episode, its final observation; or (N, ...) where these are not known.
        actions : (N, ...) array, or a nested dict or tuple of them, optional
            None where there are none.
        rewards : (N,) array, optional
            None where there are none.
        terminations, truncations : (N,) arrays, optional
            One of them, both, or `episode_lengths` say where episodes end.
        episode_lengths : (E,) integers, optional
            Taken from the flags when absent: an episode ends where either flag is set.
        ends : "truncated" or "terminated"
            What the end of an episode means that no flag says, where not both flags are given.
        info, columns, episode_columns : optional
            As in `Dataset`; `columns` holds any further ones.
        missing : mapping of "actions" or "rewards" to (N,) bool, optional
            The steps that have no label. Whatever stands there is blanked (NaN, or 0 in integers).

        Examples
        --------
        >>> dataset = Dataset.from_arrays(
        ...     observations=np.array([[0.0], [1.0], [2.0], [5.0], [6.0]]),  # two episodes: 2 + 1 steps, 3 + 2 rows
        ...     actions=np.zeros((3, 1)), rewards=[1.0, 1.0, 4.0],
        ...     terminations=[False, True, False], truncations=[False, False, True])
        >>> dataset.total_steps, dataset.returns.tolist(), dataset.next_observations.ravel().tolist()
        (3, [2.0, 4.0], [1.0, 2.0, 6.0])

        The least that has to be said; the final observations of the two episodes are not known:

        >>> Dataset.from_arrays(observations=np.zeros((5, 3)), actions=np.zeros((5, 1)), episode_lengths=[2, 3]).total_episodes
        2
        """
        flat = {
            **flatten("observations", observations),
            **({} if actions is None else flatten("actions", actions)),
            **({} if rewards is None else {"rewards": as_array("rewards", rewards, copy=True)}),
            **({} if terminations is None else {"terminations": as_array("terminations", terminations, copy=True)}),
            **({} if truncations is None else {"truncations": as_array("truncations", truncations, copy=True)}),
            **_copied("columns", columns),
        }
        no_flags = {name: np.zeros(0, bool) for name in FLAGS if name not in flat}
        check_roles({name: freeze(name, array) for name, array in {**no_flags, **flat}.items()})
        given_lengths = None if episode_lengths is None else as_lengths(episode_lengths)
        flat, episode_lengths = with_ended_episodes(flat, given_lengths, ends)
        if not len(episode_lengths):
            raise DatasetError("a dataset needs at least one episode of one step; there is none")
        if missing is not None:
            for name in (name for name in flat if any(is_under(name, element) for element in LABELS)):
                check_rows(name, flat[name], int(episode_lengths.sum()), len(episode_lengths))
            flat = without_labels(flat, check_masks(missing, int(episode_lengths.sum())))
        further = _copied("episode_columns", episode_columns)
        steps = int(episode_lengths.sum())
        if all(len(array) == steps for name, array in flat.items() if is_under(name, "observations") and array.ndim):
            from assay.datasets.formats.rows import dataset_from_rows

            made = dataset_from_rows(flat, lengths=episode_lengths, info=info, episode_columns=further)
        else:
            made = cls(flat, episode_lengths, info=info, episode_columns=further)
        check_names(made)
        return made

    @classmethod
    def from_episodes(
        cls, episodes: Iterable[Mapping[str, Any]], *, ends: Ends = "truncated", info: DatasetInfo | None = None
    ) -> Dataset:
        """Make a dataset from episodes: mappings with T+1 observations and T of everything else.

        An episode may lack `actions` or `rewards`, or have a mask `missing/actions` or `missing/rewards`, (T,) bool, of the
        steps that do; see `Dataset.missing`. With T observations, its final one is not known. All may lack `terminations`
        or `truncations`; then `ends` says what the end of an episode means that no flag says.

        Raises
        ------
        DatasetError
            Naming the episode and the column whose length is wrong.
        """
        if isinstance(episodes, Mapping | str | bytes) or not isinstance(episodes, Iterable):
            raise DatasetError(
                f"episodes must be a list of mappings, one per episode, not {type(episodes).__name__}; whole columns go "
                "to Dataset.from_arrays"
            )
        flat = []
        for number, episode in enumerate(episodes):
            if not isinstance(episode, Mapping):
                raise DatasetError(
                    f"episode {number} must be a mapping of column names to arrays, not {type(episode).__name__}"
                )
            try:
                parts = [flatten(str(key), value) for key, value in episode.items()]
            except DatasetError as error:
                raise DatasetError(f"episode {number}: {error}") from error
            flat.append({name: array for part in parts for name, array in part.items()})
            if not any(is_under(name, "observations") for name in flat[-1]):
                raise DatasetError(f"episode {number} has no observations; it has {', '.join(flat[-1]) or 'nothing'}")
        if not flat:
            raise DatasetError("a dataset needs at least one episode")
        told = [name for name in FLAGS if any(name in arrays for arrays in flat)]
        for number, arrays in enumerate(flat):
            if absent := [name for name in told if name not in arrays]:
                raise DatasetError(
                    f"episode {number} has no column {absent[0]}, and others have; give it to all or to none"
                )
        lengths = [steps_of_episode(arrays) for arrays in flat]
        for number, length in enumerate(lengths):
            if not length:
                raise DatasetError(f"episode {number} has no step; leave it out")
        final_known = with_final_rows(flat, lengths)
        complete_labels(flat, lengths)
        for number, arrays in enumerate(flat):
            if arrays.keys() != flat[0].keys():
                different = sorted(arrays.keys() ^ flat[0].keys())
                raise DatasetError(f"episode {number} and episode 0 differ in their columns: {', '.join(different)}")
            _check_same_rows(arrays, flat[0], number)
            check_episode(arrays, lengths[number], f"episode {number}")
        columns = {name: np.concatenate([arrays[name] for arrays in flat]) for name in flat[0]}
        columns, episode_lengths = with_ended_episodes(columns, np.array(lengths, np.int64), ends)
        further = {} if final_known.all() else {"final_observation": final_known}
        made = cls(columns, episode_lengths, info=info, episode_columns=further)
        check_names(made)
        return made

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        observations: Any = None,
        actions: Any = None,
        rewards: str | None = None,
        episode: str | Sequence[str] | None = None,
        time: str | None = None,
        terminations: str | None = None,
        truncations: str | None = None,
        extra: Sequence[str] | Mapping[str, Any] | None = None,
        *,
        ends: str | None = None,
        columns: Any = None,
        info: DatasetInfo | None = None,
        **further: Any,
    ) -> Dataset:
        """Make a dataset of a frame of pandas, polars or pyarrow, one row per step; numbers are copied once.

        An episode of T rows has T observations for T steps: its final observation is unknown, unless its last row has no
        action. Missing numbers of observations are NaN.

        Parameters
        ----------
        frame : pandas.DataFrame, polars.DataFrame, polars.LazyFrame, pyarrow.Table or pyarrow.RecordBatch
        observations, actions : str, list of str, or mapping of names to those
            One column, several side by side in a row, or nested observations.
        rewards, terminations, truncations : str, optional
        episode : str or list of str, optional
            Columns whose values tell episodes apart. Without, flags end episodes.
        time : str, optional
            Time stamps, kept as the column `time` in seconds.
        extra : list of str, or mapping of columns to str, optional
            Kept beside, as `infos/<name>`; or under other names, such as `{"costs": "damage"}`.
        ends : "truncated", "terminated" or str, optional
            What the end of an episode means where no flag says it; or the column whose value in the last row says whether it
            terminated.
        columns : mapping or path of a YAML file, optional
            All of this as one mapping, in place of the arguments.
        info : DatasetInfo, optional
        **further
            Other keys of such a mapping: `gap`, `resets`, `time_unit`, `episode_lengths`, `units`, `categories`, `name`, ...;
            see `assay.datasets.tables.column_mapping`.

        Raises
        ------
        ConfigError, FormatError
            If a name is not there, or not enough is said.
        DatasetError
            If the rows do not fit together; with the column and the row.

        Examples
        --------
        >>> import polars as pl
        >>> frame = pl.DataFrame({
        ...     "run": ["a", "a", "b"], "x": [0.0, 0.1, 5.0], "y": [1.0, 1.1, 6.0], "u": [1.0, 1.0, -1.0], "r": [0.0, 1.0, 2.0]})
        >>> dataset = Dataset.from_frame(
        ...     frame, observations=["x", "y"], actions=["u"], rewards="r", episode="run", ends="truncated")
        >>> dataset.total_episodes, dataset.returns.tolist(), dataset.info.names["observations"]
        (2, [1.0, 2.0], ('x', 'y'))
        """
        from assay.datasets.tables.frames import dataset_from_frame

        said = {"observations": observations, "actions": actions, "rewards": rewards, "episode": episode, "time": time}
        said |= {"terminations": terminations, "truncations": truncations, "extra": extra, "ends": ends, **further}
        return dataset_from_frame(frame, columns, said, info)

    def replace(
        self,
        columns: Mapping[str, np.ndarray | None] | None = None,
        *,
        info: DatasetInfo | None = None,
        record: Record | None = None,
        episode_columns: Mapping[str, np.ndarray | None] | None = None,
        episode_lengths: np.ndarray | Sequence[int] | None = None,
    ) -> Dataset:
        """Return a dataset with some columns replaced or added (None removes one); all others are shared.

        A change of the content is recorded in the history as one by hand (`datasets.replace`): the names of the columns,
        and the fingerprints before and after. `assay.replay` refuses to rebuild it. A change of the info alone is
        recorded with its values (`datasets.info`), and can be replayed. What changes nothing is not recorded. Inside
        `Transform.apply` nothing is recorded here, because the transform itself is.

        Parameters
        ----------
        columns, episode_columns : mapping of str to array or None, optional
        info : DatasetInfo, optional
        record : Record, optional
            Appended to the history in place of the records above.
        episode_lengths : (E,) integers, optional
            Another division into episodes. Columns whose number of rows changes with it must be given.

        Examples
        --------
        >>> dataset = Dataset.from_arrays(
        ...     observations=np.arange(5.0), actions=np.zeros(3), rewards=[1.0, 1.0, 4.0],
        ...     terminations=[False, True, True], truncations=[False, False, False])
        >>> changed = dataset.replace({"rewards": dataset.rewards * 2})
        >>> changed.rewards.tolist(), [record.transform for record in changed.history]
        ([2.0, 2.0, 8.0], ['datasets.replace'])
        """
        for what, given in (("columns", columns), ("episode_columns", episode_columns)):
            if not isinstance(given, Mapping | None):
                raise DatasetError(f"{what} must be a mapping of names to arrays, not {type(given).__name__}")
        changed = dict(columns or {})
        merged = {name: array for name, array in self._columns.items() if name not in changed}
        merged |= {name: array for name, array in changed.items() if array is not None}
        of_episodes = {**self._episode_columns, **(episode_columns or {})}
        result = Dataset(
            merged,
            self._lengths if episode_lengths is None else episode_lengths,
            info=self.info if info is None else info,
            history=self.history,
            episode_columns={name: array for name, array in of_episodes.items() if array is not None},
            _hashes={
                name: value for name, value in self._hashes.items() if merged.get(name) is self._columns.get(name)
            },
        )
        if record is not None:
            return result.with_history((*self.history, record))
        return result.with_history((*self.history, *self._changes(result))) if recording() else result

    def with_history(self, history: Iterable[Record]) -> Dataset:
        """Return the same content with another history; for whoever changes datasets and records it."""
        result = object.__new__(Dataset)
        for name in Dataset.__slots__:
            object.__setattr__(result, name, getattr(self, name))
        object.__setattr__(result, "history", tuple(history))
        return result

    def _recorded(self, transform: str, parameters: Mapping[str, Any], parent: Dataset | None) -> Dataset:
        """Return this dataset with a record of how it was made of another, or of several."""
        before = () if parent is None else parent.history
        if not recording():
            return self.with_history(before)
        fingerprint = None if parent is None else parent.fingerprint
        # Without a fingerprint of the result: it would read every column, and the parameters decide the result alone.
        return self.with_history((*before, Record(transform, parameters, None, fingerprint, assay_version())))

    def _changes(self, after: Dataset) -> list[Record]:
        """Return the records of a change by hand: of the content, of the info, of both or of neither."""
        records = []
        if self.fingerprint != after.fingerprint:
            changed: dict[str, Any] = {
                "columns": _differing(
                    {name: self._column_identity(name) for name in self._columns},
                    {name: after._column_identity(name) for name in after._columns},
                ),
                "episode_columns": _differing(
                    {name: json_value(array) for name, array in self._episode_columns.items()},
                    {name: json_value(array) for name, array in after._episode_columns.items()},
                ),
            }
            if not np.array_equal(self._lengths, after._lengths):
                changed["episode_lengths"] = True
            records.append(Record(BY_HAND, changed, None, self.fingerprint, assay_version(), after.fingerprint))
        before, now = self.info.to_plain(), after.info.to_plain()
        if fields := {name: now[name] for name in _differing(before, now)}:
            records.append(Record(INFO, fields, None, after.fingerprint, assay_version(), after.fingerprint))
        return records

    def _column_identity(self, name: str) -> tuple[Any, ...]:
        array = self._columns[name]
        return array.dtype.str, array.shape, self.column_hash(name)

    @property
    def name(self) -> str:
        """What tables and figures call it: the name it was given, else its id and last transforms."""
        from assay.datasets.naming import variant_name

        return variant_name(self)

    def named(self, variant: str) -> Dataset:
        """Return the same data under a name of its own; see `assay.datasets.naming`."""
        from assay.datasets.naming import Named

        return Named(variant=variant)(self)

    # ---------------------------------------------------------------- columns

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of all columns, sorted."""
        return tuple(self._columns)

    def column(self, name: str) -> np.ndarray:
        """Return one column by its full name, such as `"corrupted/rewards"`.

        Raises
        ------
        UnknownNameError
            If there is no such column; the nearest names are given.
        """
        try:
            return self._columns[name]
        except (KeyError, TypeError):
            pass
        if isinstance(name, str) and name in LABELS and not any(is_under(key, name) for key in self._columns):
            raise no_labels(name)
        raise UnknownNameError("column", str(name), self._columns)

    def nested(self, prefix: str) -> Any:
        """Return the column of this name, or a nested dict of the columns below it."""
        prefix = str(prefix)
        if prefix in self._columns:
            return self._columns[prefix]
        children = dict.fromkeys(
            name[len(prefix) + 1 :].split("/")[0] for name in self._columns if name.startswith(prefix + "/")
        )
        if not children:
            raise no_labels(prefix) if prefix in LABELS else UnknownNameError("column", prefix, self._columns)
        return {child: self.nested(f"{prefix}/{child}") for child in children}

    @property
    def observations(self) -> Any:
        """(N+E, ...) array, or a nested dict of them for structured spaces."""
        return self.nested("observations")

    @property
    def actions(self) -> Any:
        """(N, ...) array, or a nested dict of them for structured spaces; see `missing` before trusting every row.

        Raises
        ------
        MissingLabelsError
            If the dataset has none at all.
        """
        return self.nested("actions")

    @property
    def rewards(self) -> np.ndarray:
        """(N,) rewards; see `missing` before trusting every row.

        Raises
        ------
        MissingLabelsError
            If the dataset has none at all.
        """
        return self.column("rewards")

    @property
    def missing(self) -> dict[str, np.ndarray]:
        """Which steps have no label: "actions" and "rewards" -> (N,) bool.

        Where it is True the column holds NaN (0 in integers), which nobody should read; where it is True everywhere there may be no
        column at all. NaN elsewhere is a defect of the data, not a missing label.

        Examples
        --------
        >>> dataset = Dataset.from_arrays(
        ...     observations=np.arange(4.0), actions=np.ones(3), terminations=[False, False, True], truncations=[False] * 3,
        ...     missing={"actions": [True, False, False]})
        >>> dataset.missing["actions"].tolist(), dataset.missing["rewards"].tolist()
        ([True, False, False], [True, True, True])
        """
        return missing_masks(self._columns, self.total_steps)

    @property
    def terminations(self) -> np.ndarray:
        """(N,) bool: the MDP ended after this step."""
        return self._columns["terminations"]

    @property
    def truncations(self) -> np.ndarray:
        """(N,) bool: something else stopped the episode after this step."""
        return self._columns["truncations"]

    @property
    def next_observations(self) -> Any:
        """(N, ...) observation after each step: the stored column where there is one, else row i+1 (gathered)."""
        if self.has_next_observations:
            return self.nested("next_observations")
        return map_nested(lambda array: array[self.observation_rows + 1], self.observations)

    @property
    def has_next_observations(self) -> bool:
        """Whether next observations are stored because they differ from the following observation."""
        return any(is_under(name, "next_observations") for name in self._columns)

    @property
    def weights(self) -> np.ndarray | None:
        """(N,) unnormalized sampling weights, or None where every step counts the same."""
        return self._columns.get("weights")

    @property
    def masks(self) -> dict[str, np.ndarray]:
        """Ground truth of what transforms touched: element -> (N,) bool."""
        prefix = "corrupted/"
        return {name[len(prefix) :]: array for name, array in self._columns.items() if name.startswith(prefix)}

    # ---------------------------------------------------------------- structure

    @property
    def total_steps(self) -> int:
        """N."""
        return len(self._columns["terminations"])

    @property
    def total_episodes(self) -> int:
        """E."""
        return len(self._lengths)

    @property
    def episode_lengths(self) -> np.ndarray:
        """(E,) int64 steps in each episode."""
        return self._lengths

    @property
    def episode_starts(self) -> np.ndarray:
        """(E,) int64 index of the first step of each episode."""
        result: np.ndarray = np.cumsum(self._lengths) - self._lengths
        return result

    @property
    def episode_of_step(self) -> np.ndarray:
        """(N,) int64 episode that each step belongs to."""
        return np.repeat(np.arange(self.total_episodes), self._lengths)

    @property
    def observation_rows(self) -> np.ndarray:
        """(N,) int64 row of `observations` that each step starts from; the next observation is one row further."""
        result: np.ndarray = np.arange(self.total_steps) + self.episode_of_step
        return result

    @property
    def returns(self) -> np.ndarray:
        """(E,) float64 undiscounted sum of rewards of each episode; NaN where one of its rewards is missing."""
        if not self.total_episodes:
            return np.zeros(0)
        if "rewards" not in self._columns:
            return np.full(self.total_episodes, np.nan)
        if (mask := self._columns.get("missing/rewards")) is not None:
            rewards = blank(self.rewards.astype(np.float64), mask)
            return np.add.reduceat(rewards, self.episode_starts, dtype=np.float64)
        return np.add.reduceat(self.rewards, self.episode_starts, dtype=np.float64)

    @property
    def final_observations_known(self) -> np.ndarray:
        """(E,) bool: whether what followed the last step of each episode was recorded."""
        known = self._episode_columns.get("final_observation")
        return np.ones(self.total_episodes, bool) if known is None else known.astype(bool)

    @property
    def usable_steps(self) -> np.ndarray:
        """(M,) int64 steps with a next observation: all but the last of an episode whose final one is unknown."""
        return self.transition_steps(keep_terminal=False)

    def transition_steps(self, *, keep_terminal: bool = True) -> np.ndarray:
        """Return the steps that a learner sees, (M,) int64 in order.

        Parameters
        ----------
        keep_terminal : bool
            As in `transitions`.
        """
        keep = np.ones(self.total_steps, bool)
        lasts = (self.episode_starts + self._lengths - 1)[~self.final_observations_known]
        keep[lasts] = self.terminations[lasts] if keep_terminal else False
        return np.flatnonzero(keep)

    @property
    def tags(self) -> tuple[str, ...]:
        """Names of the episode tags, sorted: the boolean episode columns `tags/<name>`."""
        return tuple(sorted(name[len(_TAGS) :] for name in self._episode_columns if name.startswith(_TAGS)))

    def tagged(self, tag: str) -> np.ndarray:
        """Return which episodes have a tag, (E,) bool.

        Raises
        ------
        UnknownNameError
            If there is no such tag.
        """
        if not isinstance(tag, str) or tag not in self.tags:
            raise UnknownNameError(
                "tag", str(tag), self.tags, "" if self.tags else "(no episode of this dataset is tagged)"
            )
        return self._episode_columns[_TAGS + tag].astype(bool)

    @property
    def episode_columns(self) -> Mapping[str, np.ndarray]:
        """Further columns of the episodes table, such as `seed`."""
        return dict(self._episode_columns)

    @property
    def episodes(self) -> pl.DataFrame:
        """Table of the episodes: episode, start, length, return, terminated, truncated, and what the source added.

        A polars frame; `episodes.to_pandas()` serves pandas users.
        """
        return self._episode_table((*RESERVED_EPISODE_COLUMNS, *self._episode_columns))

    def _episode_table(self, names: Iterable[str]) -> pl.DataFrame:
        import polars as pl

        lasts = self.episode_starts + self._lengths - 1
        computed: dict[str, Callable[[], np.ndarray]] = {
            "episode": lambda: np.arange(self.total_episodes),
            "start": lambda: self.episode_starts,
            "length": lambda: self._lengths,
            "return": lambda: self.returns,
            "terminated": lambda: self.terminations[lasts],
            "truncated": lambda: self.truncations[lasts],
        }
        return pl.DataFrame(
            {name: computed[name]() if name in computed else self._episode_columns[name] for name in names}
        )

    def steps(self) -> StepsFrame:
        """Return the flat columns as a polars LazyFrame, one row per step; vectors become Array columns.

        Observations are those that the step starts from. `steps().to_pandas()`, also after a filter, is a pandas frame.
        """
        from assay.datasets.frames import steps_frame

        return steps_frame(self)

    def to_polars(self) -> pl.DataFrame:
        """Return the steps as a polars frame, one row per step; vectors become Array columns."""
        return self.steps().collect()

    def to_pandas(self) -> pd.DataFrame:
        """Return the steps as a pandas frame with one column per number (`observations_0`, `observations_1`, ...).

        The table of the episodes is `episodes.to_pandas()`.
        """
        from assay.datasets.frames import pandas_steps

        return pandas_steps(self)

    def to_minari(
        self,
        dataset_id: str,
        *,
        path: str | os.PathLike[str] | None = None,
        overwrite: bool = False,
        **options: Any,
    ) -> minari.MinariDataset:
        """Write the dataset into Minari's folder of datasets and return it as a live Minari object.

        Parameters
        ----------
        dataset_id : str
            Such as `"own/hopper-v0"`; `minari.load_dataset` finds it by this id.
        path : path, optional
            Another folder for it.
        overwrite : bool
            Replace the dataset of this id.
        **options
            What `assay.save` takes for the format `"minari"`, such as `data_format="arrow"`.

        Raises
        ------
        DatasetError
            If there is a dataset of this id, or Minari cannot hold this one.
        """
        from assay.datasets.minari_exchange import to_minari

        return to_minari(self, dataset_id, path=path, overwrite=overwrite, **options)

    def returns_to_go(self, discount: float = 1.0) -> np.ndarray:
        """Return the discounted sum of the rewards from each step to the end of its episode.

        Parameters
        ----------
        discount : float in [0, 1]

        Returns
        -------
        (N,) float64 array
            At `episode_starts` it holds the discounted return of each episode.

        Examples
        --------
        >>> dataset = Dataset.from_arrays(
        ...     observations=np.arange(5.0), actions=np.zeros(3), rewards=[1.0, 1.0, 4.0],
        ...     terminations=[False, True, True], truncations=[False, False, False])
        >>> dataset.returns_to_go(0.5).tolist()
        [1.5, 1.0, 4.0]
        """
        if not isinstance(discount, int | float | np.number) or not 0 <= discount <= 1:
            raise ConfigError(f"discount must lie in [0, 1], not {discount}")
        result = np.empty(self.total_steps)
        starts = self.episode_starts.tolist()
        require_labels(self, "rewards", by="a return to go")
        for start, length in zip(starts, self._lengths.tolist(), strict=True):
            backwards = self.rewards[start : start + length][::-1].tolist()
            totals = itertools.accumulate(backwards, lambda later, reward: reward + discount * later)
            result[start : start + length] = np.fromiter(totals, np.float64, length)[::-1]
        return result

    # ---------------------------------------------------------------- learning

    def transitions(
        self, dtype: Any = np.float32, *, keep_terminal: bool = True, labels: Sequence[str] = LABELS
    ) -> Transitions[np.ndarray]:
        """Lay the dataset out for learning: contiguous arrays, one row per step.

        Some formats do not store the final observation of an episode. The last step of such an episode is kept where the
        MDP terminated: its reward is often the only one of a sparse task, and a learner must not bootstrap there
        anyway. Its next observation is a placeholder, the last observation repeated; use it only where `terminations`
        is False. The last step is left out where the episode was truncated: its value would need the missing
        observation.

        Parameters
        ----------
        dtype : numpy dtype or None
            Floating columns are cast to it, integers keep their type. None casts nothing.
        keep_terminal : bool
            Keep terminations whose final observation was not stored; False leaves out every step without a real next
            observation, as for a model of the dynamics.
        labels : sequence of str
            Which of "actions" and "rewards" have to be there; without "rewards", those that are missing are NaN, and without
            "actions" they are None where the dataset has none at all.

        Returns
        -------
        Transitions
            All N steps, except those that are left out as said above.

        Raises
        ------
        MissingLabelsError
            If a step has no action or no reward; `relabeling.labelled_only` leaves such steps out.
        """
        dtype = floating_dtype(dtype)
        require_labels(self, *labels, by="learning from transitions")
        steps = self.transition_steps(keep_terminal=keep_terminal)

        def take(array: np.ndarray, rows: np.ndarray) -> np.ndarray:
            taken = array if len(rows) == len(array) else array[rows]
            floating = np.issubdtype(taken.dtype, np.floating)
            return np.ascontiguousarray(taken, dtype=dtype if floating else taken.dtype)

        rows = self.observation_rows[steps]
        acted = "actions" in labels or any(is_under(name, "actions") for name in self._columns)
        if self.has_next_observations:
            following = map_nested(lambda array: take(array, steps), self.nested("next_observations"))
        else:
            following = map_nested(lambda array: take(array, rows + 1), self.observations)
        return Transitions(
            observations=map_nested(lambda array: take(array, rows), self.observations),
            actions=map_nested(lambda array: take(array, steps), self.actions) if acted else None,
            rewards=take(self._rewards_or_nan(), steps),
            next_observations=following,
            terminations=take(self.terminations, steps),
            truncations=take(self.truncations, steps),
            steps=steps,
            weights=None if self.weights is None else take(self.weights, steps),
            episodes=np.repeat(np.arange(self.total_episodes), self._lengths)[steps],
        )

    def _rewards_or_nan(self) -> np.ndarray:
        return self._columns.get("rewards", np.broadcast_to(np.float32(np.nan), (self.total_steps,)))

    def to_torch(
        self, device: str | torch.device = "cpu", dtype: Any = np.float32, *, keep_terminal: bool = True
    ) -> Transitions[torch.Tensor]:
        """Return `transitions(dtype, keep_terminal=keep_terminal)` as tensors on a device."""
        return self.transitions(dtype, keep_terminal=keep_terminal).to_torch(device)

    def to_torch_dataset(
        self,
        batch_size: int | None = None,
        dtype: Any = np.float32,
        *,
        keep_terminal: bool = True,
        shuffle: bool = True,
        seed: int = 0,
    ) -> TransitionDataset | TransitionBatches:
        """Return the transitions for a training loop of your own, for torch's `DataLoader` and its workers.

        Parameters
        ----------
        batch_size : int, optional
            With it, an `IterableDataset` of whole batches, for `DataLoader(batches, batch_size=None)`; it is much faster.
            Without, a `Dataset` of single transitions.
        dtype, keep_terminal
            As in `transitions`.
        shuffle : bool
        seed : int
            Of the order of batches.
        """
        from assay.datasets.torch_dataset import TransitionBatches, TransitionDataset

        if batch_size is None:
            return TransitionDataset(self, dtype, keep_terminal=keep_terminal)
        return TransitionBatches(self, batch_size, dtype, keep_terminal=keep_terminal, shuffle=shuffle, seed=seed)

    def plot(self, kind: str = "episodes", *, width_pixels: int = 720) -> Figure:
        """Draw the dataset.

        Parameters
        ----------
        kind : "episodes", "trajectories", "projection", "frames", "observations" or "actions"
            Returns and lengths; the worst, the median and the best episode; states on two components; a few images; the
            distribution of every number.
        width_pixels : int

        Raises
        ------
        DatasetError
            If there is nothing of this kind to draw.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from assay.datasets.plotting import plot

        return plot(self, kind, width_pixels=width_pixels)

    # ---------------------------------------------------------------- subsets

    def select(self, episodes: Any) -> Dataset:
        """Return the dataset of some episodes, in the order given.

        Parameters
        ----------
        episodes : sequence of int, bool mask of length E, tag, or polars expression on the episodes table
            Such as `[3, 1]`, `dataset.returns > 100`, `"better"` or `pl.col("length") < 20`. Only what the
            expression names is computed, and consecutive episodes are shared, not copied. A polars or pandas Series
            serves as a list or a mask.

        Examples
        --------
        >>> import polars as pl
        >>> dataset = Dataset.from_arrays(
        ...     observations=np.arange(5.0), actions=np.zeros(3), rewards=[1.0, 1.0, 4.0],
        ...     terminations=[False, True, True], truncations=[False, False, False])
        >>> dataset.select(pl.col("return") > 3).rewards.tolist()
        [4.0]
        """
        chosen = self._episode_indices(episodes)
        lengths = self._lengths[chosen]
        starts = self.episode_starts[chosen]
        columns = {
            name: take_ranges(array, starts, lengths)
            if len(array) == self.total_steps
            else take_ranges(array, starts + chosen, lengths + 1)
            for name, array in self._columns.items()
        }
        result = Dataset(
            columns,
            lengths,
            info=self.info,
            episode_columns={name: array[chosen] for name, array in self._episode_columns.items()},
        )
        return result._recorded(SELECT, {"episodes": chosen.tolist()}, self)

    def _episode_indices(self, episodes: Any) -> np.ndarray:
        if isinstance(episodes, str):
            return np.flatnonzero(self.tagged(episodes))
        if type(episodes).__module__.split(".")[0] == "polars" and hasattr(episodes, "meta"):  # an expression
            known = (*RESERVED_EPISODE_COLUMNS, *self._episode_columns)
            named = episodes.meta.root_names()
            for name in named:
                if name not in known:
                    raise UnknownNameError("column of the episodes table", name, known)
            patterns = episodes.meta.has_multiple_outputs()  # such as pl.all(), which may name any column
            table = self._episode_table(known if patterns else dict.fromkeys(["episode", *named]))
            episodes = table.select(episodes).to_series().to_numpy()
        try:
            indices = np.asarray(episodes)
        except ValueError as error:
            raise DatasetError(f"episodes to select must be a flat list or mask: {error}") from error
        if indices.ndim != 1:
            raise DatasetError(f"episodes to select must be a flat list or mask, not of shape {indices.shape}")
        if indices.dtype == bool:
            if len(indices) != self.total_episodes:
                raise DatasetError(f"the mask has {len(indices)} entries for {self.total_episodes} episodes")
            return np.flatnonzero(indices)
        if not len(indices):
            return np.zeros(0, np.int64)
        if not np.issubdtype(indices.dtype, np.integer):
            raise DatasetError(f"episodes to select must be integers or a bool mask, not {indices.dtype}")
        outside = indices[(indices < -self.total_episodes) | (indices >= self.total_episodes)]
        if len(outside):
            raise DatasetError(f"episode {outside[0]} does not exist; there are {self.total_episodes}")
        return indices.astype(np.int64) % self.total_episodes

    def split(
        self,
        fractions: Sequence[float] | None = None,
        seed: int = 0,
        *,
        by: Literal["episode", "return", "tag"] = "episode",
    ) -> tuple[Dataset, ...]:
        """Split by whole episodes.

        Parameters
        ----------
        fractions : sequence of float
            Shares of the episodes, non-negative, adding up to 1; not for `by="tag"`.
        seed : int
            Of the random order, for `by="episode"`.
        by : "episode", "return" or "tag"
            At random; from the lowest returns to the highest, so that `[0.5, 0.5]` cuts at the median; or one part for
            each of `tags`, in their order, which may overlap.

        Returns
        -------
        tuple of Dataset
            Disjoint and together all episodes, except for tags; within a part the original order is kept. A part whose share of
            the episodes is less than half of one is empty, with a warning unless the share is 0.

        Examples
        --------
        >>> dataset = Dataset.from_arrays(
        ...     observations=np.arange(5.0), actions=np.zeros(3), rewards=[1.0, 1.0, 4.0],
        ...     terminations=[False, True, True], truncations=[False, False, False])
        >>> [part.returns.tolist() for part in dataset.split([0.5, 0.5], by="return")]
        [[2.0], [4.0]]
        """
        if by == "tag":
            if fractions is not None:
                raise DatasetError('split(by="tag") takes no fractions: every tag is a part')
            if not self.tags:
                raise DatasetError("no episode of this dataset is tagged; tags are boolean episode columns tags/<name>")
            return tuple(self.select(tag) for tag in self.tags)
        if by not in ("episode", "return"):
            raise UnknownNameError("kind of split", by, ("episode", "return", "tag"))
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
            raise ConfigError(f"seed must be an integer of 0 or more, not {seed!r}")
        try:
            shares = np.asarray([] if fractions is None else fractions, np.float64)
        except (TypeError, ValueError) as error:
            raise DatasetError(f"fractions must be numbers that add up to 1, not {fractions!r}") from error
        if shares.ndim != 1 or not len(shares) or not (shares >= 0).all() or not np.isclose(shares.sum(), 1.0):
            raise DatasetError(f"fractions must be non-negative and add up to 1, not {fractions}")
        if by == "return":
            order = np.argsort(self.returns, kind="stable")
        else:
            order = np.random.Generator(np.random.PCG64(seed)).permutation(self.total_episodes)
        borders = np.rint(np.cumsum(shares)[:-1] * self.total_episodes).astype(int)
        parts = np.split(order, borders)
        if empty := [f"{share:g}" for share, part in zip(shares, parts) if share and not len(part)]:
            warnings.warn(
                f"split: {count_of(len(empty), 'part')} of {len(parts)} without any of {count_of(self.total_episodes, 'episode')}: the share "
                f"is too small ({', '.join(empty)})",
                AssayWarning,
                stacklevel=2,
            )
        return tuple(self.select(np.sort(part)) for part in parts)

    # ---------------------------------------------------------------- identity

    def column_hash(self, name: str) -> str:
        """Return the xxh3-128 hash of a column's bytes (computed once, shared by datasets that share the column)."""
        if name not in self._hashes:
            self._hashes[name] = hash_array(self.column(name))
        return self._hashes[name]

    @property
    def fingerprint(self) -> str:
        """Hash of the content: names, dtypes, shapes and bytes of all columns, and the episodes; not the history."""
        import xxhash

        state = xxhash.xxh3_128()
        for name, array in self._columns.items():
            state.update(f"{name}|{array.dtype.str}|{array.shape}|{self.column_hash(name)}\n".encode())
        state.update(self._lengths.astype("<i8").tobytes())
        for name, array in sorted(self._episode_columns.items()):
            state.update(f"{name}|{array.dtype.kind}|{json_value(array)}\n".encode())
        return state.hexdigest()

    def validate(self) -> ValidationReport:
        """Check shapes, flags, finiteness, bounds, continuity and duplicates; see `assay.datasets.validation`."""
        from assay.datasets.validation import validate

        return validate(self)

    def __len__(self) -> int:
        """N, the number of steps."""
        return self.total_steps

    def __iter__(self) -> Iterator[Episode]:
        from assay.datasets.episode import episodes_of

        return episodes_of(self, range(self.total_episodes))

    def __getitem__(self, episodes: Any) -> Any:
        """Return an episode by its number, or the dataset of some: a slice, or what `select` takes."""
        from assay.datasets.episode import episodes_of

        if isinstance(episodes, slice):
            return self.select(range(*episodes.indices(self.total_episodes)))
        if isinstance(episodes, int | np.integer) and not isinstance(episodes, bool):
            if not -self.total_episodes <= episodes < self.total_episodes:
                raise IndexError(f"episode {episodes} does not exist; there are {self.total_episodes}")
            return next(episodes_of(self, iter([int(episodes) % self.total_episodes])))
        return self.select(episodes)

    def __array__(self, *arguments: Any, **options: Any) -> np.ndarray:
        raise TypeError("a Dataset is no array; take one of its columns, or transitions()")

    def _repr_html_(self) -> str:
        from assay.datasets.notebook_view import notebook_view

        return notebook_view(self)

    def __repr__(self) -> str:
        name = self.info.id or self.info.environment_id or "dataset"
        columns = ", ".join(f"{key} {array.dtype}{list(array.shape[1:])}" for key, array in self._columns.items())
        lacking = "".join(f"{clause}; " for clause in describe_missing(self))
        return f"<Dataset {name}: {count_of(self.total_steps, 'step')} in {count_of(self.total_episodes, 'episode')}; {lacking}{columns}>"

    def __eq__(self, other: object) -> bool:
        return self.fingerprint == other.fingerprint if isinstance(other, Dataset) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __reduce__(self) -> Any:
        raise TypeError("a Dataset is not pickled; save it with assay.save and load it where it is needed")


def concatenate(datasets: Sequence[Dataset], *, info: DatasetInfo | None = None) -> Dataset:
    """Join datasets of the same columns one after another.

    Parameters
    ----------
    datasets : sequence of Dataset
        Columns, dtypes and shapes must agree. A `next_observations`, `weights`, `augmented`, `corrupted/...` or `filled/...`
        column that only some have is completed for the others (the next row, 1, False, False, False). So are the episode columns
        `corrupted/...`, `filled/...` and `tags/augmented` (False) and `final_observation` (True). Other episode columns stay where all
        datasets have them. Actions or rewards that only some have are missing in the others: `missing/actions`,
        `missing/rewards`.
    info : DatasetInfo, optional
        Default: that of the first.

    Raises
    ------
    DatasetError
        If there is nothing to join, or a column is missing, of another dtype or of another shape in one of them.
    """
    if isinstance(datasets, Dataset) or not isinstance(datasets, Iterable):
        raise DatasetError(f"concatenate needs a list of datasets, not {type(datasets).__name__}")
    datasets = list(datasets)
    for number, dataset in enumerate(datasets):
        if not isinstance(dataset, Dataset):
            raise DatasetError(f"concatenate: item {number} is no Dataset but {type(dataset).__name__}")
    if not datasets:
        raise DatasetError("concatenate needs at least one dataset")
    names = sorted({name for dataset in datasets for name in dataset.columns} | _lacked_by_some(datasets))
    columns = {}
    for name in names:
        model = next((dataset for dataset in datasets if name in dataset.columns), datasets[0])
        parts = [_column_or_default(dataset, name, number, model) for number, dataset in enumerate(datasets)]
        for number, part in enumerate(parts):
            if part.dtype != parts[0].dtype or part.shape[1:] != parts[0].shape[1:]:
                raise DatasetError(
                    f"column {name} is {part.dtype}{list(part.shape[1:])} in dataset {number} "
                    f"but {parts[0].dtype}{list(parts[0].shape[1:])} in dataset 0"
                )
        columns[name] = np.concatenate(parts, out=empty((sum(map(len, parts)), *parts[0].shape[1:]), parts[0].dtype))
    shared = set.intersection(*(set(dataset.episode_columns) for dataset in datasets))
    every = {name for dataset in datasets for name in dataset.episode_columns}
    completed = ("corrupted/", "filled/", "tags/augmented")
    shared |= {name for name in every if name == "final_observation" or name.startswith(completed)}
    episode_columns = {
        name: np.concatenate(
            [
                dataset.episode_columns.get(name, np.full(dataset.total_episodes, name == "final_observation"))
                for dataset in datasets
            ]
        )
        for name in sorted(shared)
    }
    joined = Dataset(
        columns,
        np.concatenate([dataset.episode_lengths for dataset in datasets]),
        info=replace(datasets[0].info, id=" + ".join(d.info.id for d in datasets if d.info.id)),
        episode_columns=episode_columns,
    )
    histories = [[item.to_plain() for item in dataset.history] for dataset in datasets]
    joined = joined._recorded(CONCATENATE, {"histories": histories}, None)
    return joined if info is None else joined.replace(info=info)


def _differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return the names of which only one has a value, or whose values differ, sorted."""
    missing = object()
    names = before.keys() | after.keys()
    return sorted(name for name in names if before.get(name, missing) != after.get(name, missing))


def complete_labels(episodes: list[dict[str, np.ndarray]], lengths: Sequence[int]) -> None:
    """Give episodes without actions or rewards blank ones with a mask, where other episodes have them."""
    for element in LABELS:
        having = [arrays for arrays in episodes if any(is_under(name, element) for name in arrays)]
        masked = any(f"missing/{element}" in arrays for arrays in episodes)
        if not having or (len(having) == len(episodes) and not masked):
            continue
        models = {name: array for name, array in having[0].items() if is_under(name, element)}
        for arrays, length in zip(episodes, lengths, strict=True):
            absent = not any(is_under(name, element) for name in arrays)
            mask = arrays.setdefault(f"missing/{element}", np.full(length, absent))
            for name, model in models.items():
                if absent:
                    arrays[name] = np.zeros((length, *model.shape[1:]), model.dtype)
                if name in arrays and mask.shape == arrays[name].shape[:1] and mask.dtype == bool:
                    arrays[name] = blank(arrays[name], mask)


def _lacked_by_some(datasets: Sequence[Dataset]) -> set[str]:
    """Return the masks that joining datasets with and without labels needs."""
    return {
        f"missing/{element}"
        for element in LABELS
        if len({any(is_under(name, element) for name in dataset.columns) for dataset in datasets}) == 2
    }


def _column_or_default(dataset: Dataset, name: str, number: int, model: Dataset) -> np.ndarray:
    if name in dataset.columns:
        return dataset.column(name)
    if is_under(name, "next_observations"):
        result: np.ndarray = dataset.column(name.removeprefix("next_"))[dataset.observation_rows + 1]
        return result
    if name == "weights":
        return np.ones(dataset.total_steps)
    if name == "augmented" or name.startswith(("corrupted/", "filled/")):
        return np.zeros(dataset.total_steps, bool)
    if name.startswith("missing/"):
        return dataset.missing[name.removeprefix("missing/")]
    element = name.split("/")[0]
    if element in LABELS and dataset.missing[element].all() and dataset.total_steps:
        like = model.column(name)
        return blank(empty((dataset.total_steps, *like.shape[1:]), like.dtype), np.ones(dataset.total_steps, bool))
    raise DatasetError(f"column {name} is missing in dataset {number}; drop it from the others with replace()")


def _copied(what: str, columns: Any) -> dict[str, np.ndarray]:
    if columns is not None and not isinstance(columns, Mapping):
        raise DatasetError(f"{what} must be a mapping of names to arrays, not {type(columns).__name__}")
    return {name: as_array(str(name), array, copy=True) for name, array in (columns or {}).items()}


def _check_same_rows(arrays: Mapping[str, np.ndarray], first: Mapping[str, np.ndarray], number: int) -> None:
    for name, array in arrays.items():
        if not array.ndim:
            raise DatasetError(f"episode {number}: column {name} is a single value; one row per step is needed")
        if array.shape[1:] != first[name].shape[1:]:
            raise DatasetError(
                f"episode {number}: a row of column {name} has shape {array.shape[1:]}, in episode 0 {first[name].shape[1:]}"
            )
        if array.dtype != first[name].dtype and (
            array.dtype.kind not in "biufc" or first[name].dtype.kind not in "biufc"
        ):
            raise DatasetError(f"episode {number}: column {name} is {array.dtype}, in episode 0 {first[name].dtype}")


def map_nested(function: Any, value: Any) -> Any:
    """Apply a function to an array, or to each array of a nested dict."""
    if isinstance(value, dict):
        return {key: map_nested(function, child) for key, child in value.items()}
    return function(value)
