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
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from assay.datasets.errors import ConfigError, DatasetError, UnknownNameError
from assay.datasets.info import DatasetInfo, Record, assay_version, json_value
from assay.datasets.memory import empty, take_ranges
from assay.datasets.transitions import Transitions

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import torch

    from assay.datasets.validation import ValidationReport

__all__ = ["Dataset", "concatenate"]

_COLUMN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\- ]*(/[A-Za-z0-9_][A-Za-z0-9_.\- ]*)*")
_REQUIRED = ("actions", "rewards", "terminations", "truncations")
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
        `actions`, `rewards`, `terminations` and `truncations` are needed and have N rows, as does every other column
        except `infos/...`, which may have either.
    episode_lengths : (E,) integers
        Steps in each episode, in the order of the rows; each at least 1.
    info : DatasetInfo, optional
        Spaces, environment, references, origin.
    history : iterable of Record, optional
        How the dataset came to be.
    episode_columns : mapping of str to (E,) array, optional
        Further columns of the episodes table, such as `seed`. `final_observation` (bool) marks the episodes whose
        final observation is real; where it is False the row repeats the one before and no transition is made of it.

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
        lengths = np.array(episode_lengths, dtype=np.int64)
        if lengths.ndim != 1 or (lengths < 1).any():
            raise DatasetError("episode_lengths must be a list of lengths of at least 1 step each")
        steps, episodes = int(lengths.sum()), len(lengths)
        frozen = {name: _freeze(name, array) for name, array in columns.items()}
        if not any(is_under(name, "observations") for name in frozen):
            raise DatasetError("column observations is missing")
        for name in _REQUIRED:
            if name not in frozen and not (name == "actions" and any(is_under(key, name) for key in frozen)):
                raise DatasetError(f"column {name} is missing")
        for name, array in frozen.items():
            if name.rpartition("/")[0] in frozen:
                raise DatasetError(f"column {name} lies inside column {name.rpartition('/')[0]}; rename one of them")
            _check_rows(name, array, steps, episodes)
        for name in ("terminations", "truncations"):
            if frozen[name].dtype != bool or frozen[name].ndim != 1:
                raise DatasetError(
                    f"column {name} must be flat booleans, not {frozen[name].dtype} {frozen[name].shape}"
                )
        if frozen["rewards"].ndim != 1:
            raise DatasetError(f"column rewards must be flat, not of shape {frozen['rewards'].shape}")
        extra = {name: _freeze(name, array) for name, array in (episode_columns or {}).items()}
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
        actions: Any,
        rewards: Any,
        terminations: Any,
        truncations: Any,
        episode_lengths: Any = None,
        info: DatasetInfo | None = None,
        columns: Mapping[str, Any] | None = None,
        episode_columns: Mapping[str, Any] | None = None,
    ) -> Dataset:
        """Make a dataset from whole columns, which are copied.

        Parameters
        ----------
        observations : (N+E, ...) array, or a nested dict or tuple of them
        actions : (N, ...) array, or a nested dict or tuple of them
        rewards, terminations, truncations : (N,) arrays
        episode_lengths : (E,) integers, optional
            Taken from the flags when absent: an episode ends where either flag is set.
        info, columns, episode_columns : optional
            As in `Dataset`; `columns` holds any further ones.

        Examples
        --------
        >>> dataset = Dataset.from_arrays(
        ...     observations=np.array([[0.0], [1.0], [2.0], [5.0], [6.0]]),  # two episodes: 2 + 1 steps, 3 + 2 rows
        ...     actions=np.zeros((3, 1)), rewards=[1.0, 1.0, 4.0],
        ...     terminations=[False, True, False], truncations=[False, False, True])
        >>> dataset.total_steps, dataset.returns.tolist(), dataset.next_observations.ravel().tolist()
        (3, [2.0, 4.0], [1.0, 2.0, 6.0])
        """
        terminations, truncations = np.array(terminations), np.array(truncations)
        if episode_lengths is None:
            if terminations.shape != truncations.shape or terminations.ndim != 1:
                raise DatasetError(
                    f"terminations {terminations.shape} and truncations {truncations.shape} must be flat and equal"
                )
            ends = np.flatnonzero(terminations.astype(bool) | truncations.astype(bool))
            if len(terminations) and (not len(ends) or ends[-1] != len(terminations) - 1):
                raise DatasetError(
                    f"the last step ({len(terminations) - 1}) has neither a termination nor a truncation; "
                    "set its truncation flag, or pass episode_lengths"
                )
            episode_lengths = np.diff(ends, prepend=-1)
        flat = {
            **_flatten("observations", observations),
            **_flatten("actions", actions),
            "rewards": np.array(rewards),
            "terminations": terminations,
            "truncations": truncations,
            **{name: np.array(array) for name, array in (columns or {}).items()},
        }
        return cls(
            flat,
            episode_lengths,
            info=info,
            episode_columns={name: np.array(array) for name, array in (episode_columns or {}).items()},
        )

    @classmethod
    def from_episodes(cls, episodes: Iterable[Mapping[str, Any]], *, info: DatasetInfo | None = None) -> Dataset:
        """Make a dataset from episodes: mappings with T+1 observations and T of everything else.

        Raises
        ------
        DatasetError
            Naming the episode and the column whose length is wrong.
        """
        flat = [
            {name: array for key, value in episode.items() for name, array in _flatten(key, value).items()}
            for episode in episodes
        ]
        if not flat:
            raise DatasetError("a dataset needs at least one episode")
        lengths = []
        for number, episode in enumerate(flat):
            if missing := [name for name in _REQUIRED if not any(is_under(key, name) for key in episode)]:
                raise DatasetError(f"episode {number} has no column {missing[0]}")
            if episode.keys() != flat[0].keys():
                different = sorted(episode.keys() ^ flat[0].keys())
                raise DatasetError(f"episode {number} and episode 0 differ in their columns: {', '.join(different)}")
            lengths.append(len(episode["rewards"]))
            check_episode(episode, lengths[-1], f"episode {number}")
        columns = {name: np.concatenate([episode[name] for episode in flat]) for name in flat[0]}
        return cls(columns, lengths, info=info)

    def replace(
        self,
        columns: Mapping[str, np.ndarray | None] | None = None,
        *,
        info: DatasetInfo | None = None,
        record: Record | None = None,
        episode_columns: Mapping[str, np.ndarray | None] | None = None,
    ) -> Dataset:
        """Return a dataset with some columns replaced or added (None removes one); all others are shared.

        Parameters
        ----------
        columns, episode_columns : mapping of str to array or None, optional
        info : DatasetInfo, optional
        record : Record, optional
            Appended to the history.
        """
        changed = dict(columns or {})
        merged = {name: array for name, array in self._columns.items() if name not in changed}
        merged |= {name: array for name, array in changed.items() if array is not None}
        of_episodes = {**self._episode_columns, **(episode_columns or {})}
        return Dataset(
            merged,
            self._lengths,
            info=info or self.info,
            history=self.history if record is None else (*self.history, record),
            episode_columns={name: array for name, array in of_episodes.items() if array is not None},
            _hashes={name: value for name, value in self._hashes.items() if name not in changed},
        )

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
        except KeyError:
            raise UnknownNameError("column", name, self._columns) from None

    def nested(self, prefix: str) -> Any:
        """Return the column of this name, or a nested dict of the columns below it."""
        if prefix in self._columns:
            return self._columns[prefix]
        children = dict.fromkeys(
            name[len(prefix) + 1 :].split("/")[0] for name in self._columns if name.startswith(prefix + "/")
        )
        if not children:
            raise UnknownNameError("column", prefix, self._columns)
        return {child: self.nested(f"{prefix}/{child}") for child in children}

    @property
    def observations(self) -> Any:
        """(N+E, ...) array, or a nested dict of them for structured spaces."""
        return self.nested("observations")

    @property
    def actions(self) -> Any:
        """(N, ...) array, or a nested dict of them for structured spaces."""
        return self.nested("actions")

    @property
    def rewards(self) -> np.ndarray:
        """(N,) rewards."""
        return self._columns["rewards"]

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
        return len(self.rewards)

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
        """(E,) float64 undiscounted sum of rewards of each episode."""
        if not self.total_episodes:
            return np.zeros(0)
        return np.add.reduceat(self.rewards, self.episode_starts, dtype=np.float64)

    @property
    def final_observations_known(self) -> np.ndarray:
        """(E,) bool: whether what followed the last step of each episode was recorded."""
        known = self._episode_columns.get("final_observation")
        return np.ones(self.total_episodes, bool) if known is None else known.astype(bool)

    @property
    def usable_steps(self) -> np.ndarray:
        """(M,) int64 steps with a next observation: all but the last of an episode whose final one is unknown."""
        keep = np.ones(self.total_steps, bool)
        keep[(self.episode_starts + self._lengths - 1)[~self.final_observations_known]] = False
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
        if tag not in self.tags:
            raise UnknownNameError("tag", tag, self.tags, "" if self.tags else "(no episode of this dataset is tagged)")
        return self._episode_columns[_TAGS + tag].astype(bool)

    @property
    def episode_columns(self) -> Mapping[str, np.ndarray]:
        """Further columns of the episodes table, such as `seed`."""
        return dict(self._episode_columns)

    @property
    def episodes(self) -> pl.DataFrame:
        """Table of the episodes: episode, start, length, return, terminated, truncated, and what the source added."""
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

    def steps(self) -> pl.LazyFrame:
        """Return the flat columns as a polars LazyFrame, one row per step; vectors become Array columns.

        Observations are those that the step starts from; `steps().collect().to_pandas()` serves pandas users.
        """
        import polars as pl

        data: dict[str, Any] = {"episode": self.episode_of_step, "step": self._step_in_episode()}
        for name, array in self._columns.items():
            rows = array if len(array) == self.total_steps else array[self.observation_rows]
            data[name] = rows
        return pl.DataFrame(data).lazy()

    def to_pandas(self) -> pd.DataFrame:
        """Return the steps as a pandas frame with one column per number (`observations_0`, `observations_1`, ...)."""
        import pandas as pd

        data: dict[str, np.ndarray] = {"episode": self.episode_of_step, "step": self._step_in_episode()}
        for name, array in self._columns.items():
            rows = array if len(array) == self.total_steps else array[self.observation_rows]
            if rows.ndim == 1:
                data[name] = rows
            else:
                flat = rows.reshape(len(rows), -1)
                data |= {f"{name}_{i}": flat[:, i] for i in range(flat.shape[1])}
        return pd.DataFrame(data)

    def _step_in_episode(self) -> np.ndarray:
        result: np.ndarray = np.arange(self.total_steps) - np.repeat(self.episode_starts, self._lengths)
        return result

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
        if not 0 <= discount <= 1:
            raise ConfigError(f"discount must lie in [0, 1], not {discount}")
        result = np.empty(self.total_steps)
        starts = self.episode_starts.tolist()
        for start, length in zip(starts, self._lengths.tolist(), strict=True):
            backwards = self.rewards[start : start + length][::-1].tolist()
            totals = itertools.accumulate(backwards, lambda later, reward: reward + discount * later)
            result[start : start + length] = np.fromiter(totals, np.float64, length)[::-1]
        return result

    # ---------------------------------------------------------------- learning

    def transitions(self, dtype: Any = np.float32, *, keep_terminal: bool = False) -> Transitions[np.ndarray]:
        """Lay the dataset out for learning: contiguous arrays, one row per step that has a next observation.

        Parameters
        ----------
        dtype : numpy dtype
            Floating columns are cast to it; integers keep their type.
        keep_terminal : bool
            Keep the last step of an episode whose final observation was never recorded where it is a termination. What
            it has for a next observation, the last one repeated, is for learners that never look at it there, as those
            do that bootstrap; in sparse tasks its reward may be the only one.

        Returns
        -------
        Transitions
            All N steps, except the last one of an episode whose final observation was never recorded.
        """
        steps = self.usable_steps
        if keep_terminal:
            lasts = (self.episode_starts + self._lengths - 1)[~self.final_observations_known]
            steps = np.union1d(steps, lasts[self.terminations[lasts]])

        def take(array: np.ndarray, rows: np.ndarray) -> np.ndarray:
            taken = array if len(rows) == len(array) else array[rows]
            floating = np.issubdtype(taken.dtype, np.floating)
            return np.ascontiguousarray(taken, dtype=dtype if floating else taken.dtype)

        rows = self.observation_rows[steps]
        if self.has_next_observations:
            following = map_nested(lambda array: take(array, steps), self.nested("next_observations"))
        else:
            following = map_nested(lambda array: take(array, rows + 1), self.observations)
        return Transitions(
            observations=map_nested(lambda array: take(array, rows), self.observations),
            actions=map_nested(lambda array: take(array, steps), self.actions),
            rewards=take(self.rewards, steps),
            next_observations=following,
            terminations=take(self.terminations, steps),
            truncations=take(self.truncations, steps),
            steps=steps,
            weights=None if self.weights is None else take(self.weights, steps),
            episodes=np.repeat(np.arange(self.total_episodes), self._lengths)[steps],
        )

    def to_torch(self, device: str | torch.device = "cpu", dtype: Any = np.float32) -> Transitions[torch.Tensor]:
        """Return `transitions(dtype)` as tensors on a device."""
        return self.transitions(dtype).to_torch(device)

    # ---------------------------------------------------------------- subsets

    def select(self, episodes: Any) -> Dataset:
        """Return the dataset of some episodes, in the order given.

        Parameters
        ----------
        episodes : sequence of int, bool mask of length E, tag, or polars expression on the episodes table
            Such as `[3, 1]`, `dataset.returns > 100`, `"better"` or `pl.col("length") < 20`. Only what the
            expression names is computed, and consecutive episodes are shared, not copied. A polars Series is as good
            as a list or a mask.

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
        record = Record(
            "datasets.select", {"episodes": chosen.tolist()}, parent=self.fingerprint, version=assay_version()
        )
        lengths = self._lengths[chosen]
        starts = self.episode_starts[chosen]
        columns = {
            name: take_ranges(array, starts, lengths)
            if len(array) == self.total_steps
            else take_ranges(array, starts + chosen, lengths + 1)
            for name, array in self._columns.items()
        }
        return Dataset(
            columns,
            lengths,
            info=self.info,
            history=(*self.history, record),
            episode_columns={name: array[chosen] for name, array in self._episode_columns.items()},
        )

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
        indices = np.asarray(episodes)
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
            Disjoint and together all episodes, except for tags; within a part the original order is kept.

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
        shares = np.asarray([] if fractions is None else fractions, np.float64)
        if shares.ndim != 1 or not len(shares) or not (shares >= 0).all() or not np.isclose(shares.sum(), 1.0):
            raise DatasetError(f"fractions must be non-negative and add up to 1, not {fractions}")
        if by == "return":
            order = np.argsort(self.returns, kind="stable")
        else:
            order = np.random.Generator(np.random.PCG64(seed)).permutation(self.total_episodes)
        borders = np.rint(np.cumsum(shares)[:-1] * self.total_episodes).astype(int)
        return tuple(self.select(np.sort(part)) for part in np.split(order, borders))

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
        return self.total_steps

    def __repr__(self) -> str:
        name = self.info.id or self.info.environment_id or "dataset"
        columns = ", ".join(f"{key} {array.dtype}{list(array.shape[1:])}" for key, array in self._columns.items())
        return f"<Dataset {name}: {self.total_steps:,} steps in {self.total_episodes:,} episodes; {columns}>"

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
        Columns, dtypes and shapes must agree. A `next_observations`, `weights` or `corrupted/...` column that only
        some have is completed for the others (the next row, 1, False); so are the episode columns `corrupted/...`
        (False) and `final_observation` (True), while other episode columns are kept where all datasets have them.
    info : DatasetInfo, optional
        Default: that of the first.

    Raises
    ------
    DatasetError
        If there is nothing to join, or a column is missing, of another dtype or of another shape in one of them.
    """
    if not datasets:
        raise DatasetError("concatenate needs at least one dataset")
    names = sorted({name for dataset in datasets for name in dataset.columns})
    columns = {}
    for name in names:
        parts = [_column_or_default(dataset, name, number) for number, dataset in enumerate(datasets)]
        for number, part in enumerate(parts):
            if part.dtype != parts[0].dtype or part.shape[1:] != parts[0].shape[1:]:
                raise DatasetError(
                    f"column {name} is {part.dtype}{list(part.shape[1:])} in dataset {number} "
                    f"but {parts[0].dtype}{list(parts[0].shape[1:])} in dataset 0"
                )
        columns[name] = np.concatenate(parts, out=empty((sum(map(len, parts)), *parts[0].shape[1:]), parts[0].dtype))
    shared = set.intersection(*(set(dataset.episode_columns) for dataset in datasets))
    every = {name for dataset in datasets for name in dataset.episode_columns}
    shared |= {name for name in every if name == "final_observation" or name.startswith("corrupted/")}
    episode_columns = {
        name: np.concatenate(
            [
                dataset.episode_columns.get(name, np.full(dataset.total_episodes, name == "final_observation"))
                for dataset in datasets
            ]
        )
        for name in sorted(shared)
    }
    record = Record(
        "datasets.concatenate",
        {"histories": [[item.to_plain() for item in dataset.history] for dataset in datasets]},
        version=assay_version(),
    )
    return Dataset(
        columns,
        np.concatenate([dataset.episode_lengths for dataset in datasets]),
        info=info or replace(datasets[0].info, id=" + ".join(d.info.id for d in datasets if d.info.id)),
        history=(record,),
        episode_columns=episode_columns,
    )


def _column_or_default(dataset: Dataset, name: str, number: int) -> np.ndarray:
    if name in dataset.columns:
        return dataset.column(name)
    if is_under(name, "next_observations"):
        result: np.ndarray = dataset.column(name.removeprefix("next_"))[dataset.observation_rows + 1]
        return result
    if name == "weights":
        return np.ones(dataset.total_steps)
    if name.startswith("corrupted/"):
        return np.zeros(dataset.total_steps, bool)
    raise DatasetError(f"column {name} is missing in dataset {number}; drop it from the others with replace()")


def check_episode(episode: Mapping[str, np.ndarray], length: int, where: str) -> None:
    """Raise DatasetError where a column of one episode of `length` steps has the wrong number of rows."""
    for name, array in episode.items():
        rows = len(array)
        if is_under(name, "observations") and rows == length:
            raise DatasetError(
                f"{where}: column {name} has {rows} rows for {length} steps; {length + 1} belong there, the final "
                "observation included. Without it, repeat the last row and mark the episode in final_observation"
            )
        expected = length + 1 if is_under(name, "observations") else length
        if rows != expected and not (is_under(name, "infos") and rows == length + 1):
            raise DatasetError(f"{where}: column {name} has {rows} rows for {length} steps; expected {expected}")


def _check_rows(name: str, array: np.ndarray, steps: int, episodes: int) -> None:
    rows = len(array)
    if is_under(name, "observations"):
        if rows == steps and episodes:
            raise DatasetError(
                f"column {name} has {rows} rows, one per step; {steps + episodes} belong there, one more per episode "
                "for its final observation"
            )
        if rows != steps + episodes:
            raise DatasetError(
                f"column {name} has {rows} rows; {steps} steps in {episodes} episodes need {steps + episodes}"
            )
    elif rows != steps and not (is_under(name, "infos") and rows == steps + episodes):
        raise DatasetError(f"column {name} has {rows} rows; the dataset has {steps} steps")


def _freeze(name: str, array: Any) -> np.ndarray:
    if not _COLUMN_NAME.fullmatch(name) or ".." in name:
        raise DatasetError(f"{name!r} is not a column name: letters, digits, _ . - and space, nested by /")
    array = np.asarray(array)
    if array.dtype.hasobject or array.dtype.kind == "V":
        raise DatasetError(
            f"column {name} has dtype {array.dtype}; columns hold numbers, booleans or fixed-length text"
        )
    if array.ndim == 0:
        raise DatasetError(f"column {name} is a single value; one row per step is needed")
    view = array.view()
    view.setflags(write=False)
    result: np.ndarray = view
    return result


def is_under(name: str, prefix: str) -> bool:
    """Tell whether a column is `prefix` itself or nested below it."""
    return name == prefix or name.startswith(prefix + "/")


def _flatten(prefix: str, value: Any) -> dict[str, np.ndarray]:
    if isinstance(value, Mapping):
        children = [(str(key), child) for key, child in value.items()]
    elif isinstance(value, tuple):
        children = [(f"_index_{i}", child) for i, child in enumerate(value)]
    else:
        return {prefix: np.array(value)}
    return {name: array for key, child in children for name, array in _flatten(f"{prefix}/{key}", child).items()}


def map_nested(function: Any, value: Any) -> Any:
    """Apply a function to an array, or to each array of a nested dict."""
    if isinstance(value, dict):
        return {key: map_nested(function, child) for key, child in value.items()}
    return function(value)
