"""One dataset laid out for training: a contiguous row per transition, normalization folded in.

::

    row of a transition   | s (normalized) | a (in [-1, 1]) | r | s' (normalized) | bootstrap | what the algorithm adds |
    frames of an image    | uint8 (F, ...), each once; two row numbers per transition: of s and of s'                  |

`bootstrap` is 0 where the MDP ended and 1 elsewhere, at truncations too. Rows of one episode follow one another, and
`remaining` says how many of them are left, so that n-step returns and sequences are neighbouring rows. What an algorithm
adds are columns of the dataset, such as `costs`, or derivations (`assay.baselines.engine.derivations`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, TypeAlias

import numpy as np

from assay.baselines.engine.derivations import DERIVATIONS, Derivation, Rows, episode_starts
from assay.baselines.engine.shapes import CategoryCode, Shapes, named_arrays
from assay.datasets.dataset import Dataset, map_nested
from assay.datasets.errors import ConfigError, UnknownNameError
from assay.datasets.missing import LABELS, require_labels
from assay.datasets.transitions import Transitions

__all__ = [
    "ActionScale",
    "Frames",
    "ObservationScale",
    "RewardScale",
    "TrainingData",
    "check_columns",
    "check_learnable",
    "row_columns",
    "rows_of_episodes",
    "transitions_of",
]

RewardScale: TypeAlias = Literal["recorded", "return_range", "minus_one"]
"""What an algorithm learns from in place of rewards r: r itself; 1000 r / (largest - smallest return of an episode), as IQL's authors
do for locomotion; or r - 1, as they do for AntMaze."""

_STD_OFFSET = 1e-3  # the published normalization divides by std + 1e-3
COSTS = "costs"  # a number for each step, like rewards
_RETURN_RANGE = 1_000.0  # of the returns after `return_range`


@dataclass(frozen=True)
class ObservationScale:
    """Observations are given to networks as (s - mean) / scale."""

    mean: np.ndarray  # [observation]
    scale: np.ndarray
    deviation: np.ndarray | None = None  # standard deviation of the observations trained on, whatever the scale

    @classmethod
    def of(cls, observations: np.ndarray, normalize: bool, measured: np.ndarray | None = None) -> ObservationScale:
        """Measure a dataset's observations (M, d), or leave them as they are; so are entries not `measured`, (d,) bool."""
        mean, scale = np.zeros(observations.shape[1]), np.ones(observations.shape[1])
        if normalize:
            mean = observations.mean(0, dtype=np.float64)
            scale = observations.std(0, dtype=np.float64) + _STD_OFFSET
            if measured is not None:
                mean[~measured], scale[~measured] = 0.0, 1.0
        return cls(mean, scale)


@dataclass(frozen=True)
class ActionScale:
    """Networks see actions in [-1, 1]; the environment's are center + half_range times that.

    The n discrete actions from `first` on are seen as n entries, 1 for the action taken and -1 for the others; of what a
    network answers the largest entry is the action.
    """

    center: np.ndarray  # [action]
    half_range: np.ndarray
    first: int | None = None  # of discrete actions

    @classmethod
    def of(cls, low: np.ndarray, high: np.ndarray) -> ActionScale:
        """Take the scale from the bounds of an action space."""
        low, high = np.asarray(low, np.float64).ravel(), np.asarray(high, np.float64).ravel()
        if not (np.isfinite(low).all() and np.isfinite(high).all() and (high > low).all()):
            raise ConfigError("the action space is unbounded; a tanh policy needs finite bounds on every entry")
        return cls((high + low) / 2, (high - low) / 2)

    @classmethod
    def of_discrete(cls, count: int, first: int) -> ActionScale:
        """Make the scale of `count` discrete actions."""
        return cls(np.zeros(count), np.ones(count), first)

    def encode(self, actions: np.ndarray) -> np.ndarray:
        """Return (M, action) what networks see of a dataset's actions."""
        if self.first is None:
            scaled: np.ndarray = (actions - self.center) / self.half_range
            return scaled
        places = actions.reshape(len(actions)) - self.first
        wrong = np.flatnonzero((places < 0) | (places >= len(self.center)))
        if len(wrong):
            raise ConfigError(f"action {actions[wrong[0]]} is none of the {len(self.center)} from {self.first} on")
        encoded = np.full((len(actions), len(self.center)), -1.0)
        encoded[np.arange(len(actions)), places] = 1.0
        return encoded

    def decode(self, outputs: np.ndarray) -> np.ndarray:
        """Return (..., action) actions in the environment's units, or (..., 1) discrete ones, of networks' answers."""
        if self.first is None:
            actions: np.ndarray = self.center + self.half_range * np.clip(outputs, -1.0, 1.0)
            return actions
        numbers: np.ndarray = self.first + outputs.argmax(-1, keepdims=True)
        return numbers.astype(np.float64)


def check_learnable(shapes: Shapes, actions: Any, *, images: bool = False) -> None:
    """Raise ConfigError where an algorithm cannot learn from a dataset.

    Parameters
    ----------
    shapes : Shapes
    actions : array, or a nested dict of them
    images : bool
        Whether the algorithm has an encoder for images.
    """
    if shapes.images and not images:
        part = shapes.images[0]
        where = f"observations/{part.name}" if part.name else "observations"
        raise ConfigError(
            f"this algorithm learns from vectors; {where} is an image of uint8{list(part.shape)}: choose an algorithm with "
            "an encoder, such as discrete_cql or discrete_bc"
        )
    if not isinstance(actions, np.ndarray):
        raise ConfigError("these algorithms learn from flat vectors; the dataset's actions are nested")
    if shapes.discrete_actions and actions.size == len(actions):
        return
    if actions.ndim != 2 or not np.issubdtype(actions.dtype, np.floating):
        raise ConfigError(
            "these algorithms learn from flat vectors of floats; the dataset's actions are "
            f"{actions.dtype}{list(actions.shape[1:])}"
        )


@dataclass(frozen=True)
class Frames:
    """The images of one part of the observations, each once.

    Parameters
    ----------
    frames : (F, *shape) uint8
    rows, next_rows : (M,) int64
        The frame of s and that of s' of each transition.
    """

    frames: np.ndarray
    rows: np.ndarray
    next_rows: np.ndarray


def _check_finite(
    transitions: Transitions[np.ndarray],
    labels: Sequence[str],
    names: Mapping[str, Sequence[str]],
    extra: Sequence[str] = (),
) -> None:
    """Raise ConfigError where a number is missing, with its column, dimension and step, before anything spreads it."""
    found, first, total = [], "", np.zeros(len(transitions), bool)
    columns = {
        "/".join(filter(None, (name, path))): array
        for name in ("observations", *labels, "next_observations")
        for path, array in named_arrays(getattr(transitions, name))
    }
    columns |= {name: transitions.columns[name] for name in extra}
    for name, array in columns.items():
        if array.dtype.kind != "f":
            continue
        wrong = ~np.isfinite(array.reshape(len(array), -1))
        rows = wrong.any(1)
        if not rows.any():
            continue
        found.append(f"{name} at {int(rows.sum()):,}")
        total |= rows
        if not first:
            row = int(rows.argmax())
            places = np.flatnonzero(wrong[row])[:8].tolist()
            called = names.get(name.removeprefix("next_"), ())
            dimensions = ", ".join(called[place] if len(called) == wrong.shape[1] else str(place) for place in places)
            within = f"[{dimensions}]" if array.ndim > 1 else ""
            episode = "" if transitions.episodes is None else f" of episode {int(transitions.episodes[row])}"
            first = f"step {int(transitions.steps[row])}{episode}, column {name}{within}"
    if found:
        raise ConfigError(
            f"{first} holds NaN or infinity, or a number beyond float32 ({int(total.sum()):,} steps in all: "
            f"{', '.join(found)}); fill them by corruption.repair.fill, or leave them out by its method split or by "
            "corruption.repair.outliers; `assay validate` lists them"
        )


@dataclass(frozen=True)
class TrainingData:
    """The rows of one dataset, the names and sizes of their columns, and what was folded in."""

    rows: np.ndarray  # (M, width) float64 or float32
    columns: tuple[tuple[str, int], ...]
    remaining: np.ndarray  # (M,) int32, rows left in the episode, this one included
    observation_scale: ObservationScale
    action_scale: ActionScale
    best_return: float  # largest sum of rewards of the rows of an episode
    weights: np.ndarray | None = None  # (M,)
    shapes: Shapes = None  # type: ignore[assignment]  # those of the columns, where none are given
    scalars: tuple[str, ...] = ("rewards", "bootstraps")  # columns of one number, which batches hold as [P, B]
    frames: Mapping[str, Frames] = field(default_factory=dict)  # of the images, by part
    environment: str | None = None  # its specification, JSON, where the dataset has one

    def __post_init__(self) -> None:
        if self.shapes is None:
            sizes, discrete = dict(self.columns), self.action_scale.first is not None
            object.__setattr__(self, "shapes", Shapes.flat(sizes["observations"], sizes["actions"], discrete))

    @classmethod
    def of(
        cls,
        transitions: Transitions[np.ndarray],
        action_scale: ActionScale,
        *,
        normalize: bool,
        scale: ObservationScale | None = None,
        extra: Sequence[str] = (),
        shapes: Shapes | None = None,
        frames: Mapping[str, Frames] | None = None,
        labels: Sequence[str] = LABELS,
        names: Mapping[str, Sequence[str]] = {},
        reward_scale: RewardScale = "recorded",
    ) -> TrainingData:
        """Lay out transitions.

        Parameters
        ----------
        transitions : Transitions
        action_scale : ActionScale
        normalize : bool
            Whether observations are normalized by their own mean and standard deviation.
        scale : ObservationScale, optional
            What to normalize by instead.
        extra : sequence of str
            Names of `transitions.columns`, or of derivations, such as `"next_actions"`, `"returns_to_go"`, `"timesteps"`.
        shapes : Shapes, optional
            Of the observations; default those of flat vectors.
        frames : mapping, optional
            The images, by part.
        labels : sequence of str
            What is learned from: "actions", "rewards". Rewards that are not stay as they are, NaN where there are none, so that
            a loss which reads them all the same is NaN too.
        names : mapping of column to names
            Of the numbers of a row, for messages.
        reward_scale : RewardScale
            What the rewards of the rows are in; `best_return` is that of the recorded ones.

        Raises
        ------
        ConfigError
            If there is nothing to learn from, or a row or a weight is not finite; the row is named by its step. If rewards are to
            be divided by the range of the returns and all episodes have the same.
        """
        discrete = action_scale.first is not None
        if shapes is None:
            if not isinstance(transitions.observations, np.ndarray):
                raise ConfigError("nested observations are laid out with their shapes; see TrainingData.of_dataset")
            shapes = Shapes.flat(transitions.observations.shape[1], len(action_scale.center), discrete)
        observations, actions = shapes.vector(transitions.observations), transitions.actions
        check_learnable(shapes, actions, images=frames is not None)
        _require_some(transitions)
        if not discrete and actions.shape[1] != len(action_scale.center):
            raise ConfigError(f"actions have {actions.shape[1]} entries, the action space {len(action_scale.center)}")
        _check_finite(transitions, labels, names, [name for name in extra if name in transitions.columns])
        weights = transitions.weights
        if weights is not None and (not np.isfinite(weights).all() or (weights < 0).any() or not weights.sum() > 0):
            raise ConfigError("weights must be finite and non-negative, and some of them positive")
        scale = scale or ObservationScale.of(observations, normalize, None if shapes.is_one_vector else shapes.measured)
        with np.errstate(invalid="ignore", over="ignore"):  # rows that are not finite are reported below
            scale = replace(scale, deviation=observations.std(0, dtype=np.float64))
        remaining = rows_remaining(transitions)
        returns = np.add.reduceat(transitions.rewards, episode_starts(remaining), dtype=np.float64)
        transitions = replace(transitions, rewards=_scaled(transitions.rewards, returns, reward_scale))
        scaled_actions = action_scale.encode(actions)
        parts = {
            "observations": (observations - scale.mean) / scale.scale,
            "actions": scaled_actions,
            "rewards": transitions.rewards,
            "next_observations": (shapes.vector(transitions.next_observations) - scale.mean) / scale.scale,
            "bootstraps": ~transitions.terminations,
        }
        rows_so_far = Rows(transitions, scaled_actions, remaining)
        for name in extra:
            if name in transitions.columns:
                stored = _numbers(name, transitions.columns[name])
                parts[name] = stored[:, 0] if stored.shape[1:] == (1,) else stored  # one number per row is [P, B]
            else:
                parts |= _derivation(name, transitions)(rows_so_far)
        scalars = tuple(name for name, part in parts.items() if part.ndim == 1)
        dtype = np.float32 if observations.dtype == np.float32 else np.float64
        matrices = [part.reshape(len(part), -1) for part in parts.values()]
        rows = np.concatenate(matrices, axis=1, dtype=dtype)
        finite = np.isfinite(rows)
        if "rewards" not in labels:
            finite[:, sum(part.shape[1] for part in matrices[: list(parts).index("rewards")])] = True
        bad = np.flatnonzero(~finite.all(1))
        if len(bad):
            raise ConfigError(
                f"step {int(transitions.steps[bad[0]])} is not finite once observations are normalized and actions scaled "
                f"({len(bad)} steps in all): its numbers are too large; `assay validate` and `assay card` show their range"
            )
        columns = tuple((name, part.shape[1]) for name, part in zip(parts, matrices))
        best = float(returns.max())
        return cls(rows, columns, remaining, scale, action_scale, best, weights, shapes, scalars, dict(frames or {}))

    @classmethod
    def of_dataset(
        cls,
        dataset: Dataset,
        action_scale: ActionScale,
        *,
        normalize: bool,
        extra: Sequence[str] = (),
        category_code: CategoryCode = "one_hot",
        images: bool = False,
        episodes: np.ndarray | None = None,
        measure_next: bool = False,
        labels: Sequence[str] = LABELS,
        reward_scale: RewardScale = "recorded",
        scaled_as: Mapping[str, str] = {},
    ) -> TrainingData:
        """Lay a dataset out: its usable transitions, the extra columns it has, and its images.

        Parameters
        ----------
        dataset : Dataset
        action_scale : ActionScale
        normalize : bool
        extra : sequence of str
            Columns of the dataset, such as `"costs"` or `"infos/progress"`, or derivations.
        category_code : "one_hot" or "index"
        images : bool
            Whether the algorithm has an encoder for images.
        episodes : (n,) int array, optional
            Only these episodes.
        measure_next : bool
            Normalize by the mean and standard deviation of s and s' together.
        labels : sequence of str
            What is learned from: "actions", "rewards".
        reward_scale : RewardScale
        scaled_as : mapping
            Parts of the observations that are normalized as another one is, such as desired goals as achieved ones.

        Raises
        ------
        UnknownNameError
            If an extra column is neither in the dataset nor a derivation.
        MissingLabelsError
            If a label that is learned from is missing.
        """
        shapes = Shapes.of(dataset, len(action_scale.center), action_scale.first is not None, category_code)
        check_learnable(shapes, dataset.actions, images=images)
        transitions = transitions_of(dataset, shapes, extra, labels)
        _require_some(transitions)
        if episodes is not None:
            transitions = _take(transitions, np.isin(dataset.episode_of_step[transitions.steps], episodes))
        frames = _frames_of(dataset, shapes, transitions.steps) if shapes.images else None
        scale = None
        if measure_next or (scaled_as and normalize):
            measured = [shapes.vector(transitions.observations)]
            measured += [shapes.vector(transitions.next_observations)] if measure_next else []
            measurable = None if shapes.is_one_vector else shapes.measured
            scale = ObservationScale.of(np.concatenate(measured), normalize, measurable)
            for part, other in scaled_as.items():
                for numbers in (scale.mean, scale.scale):
                    numbers[shapes.place(part)] = numbers[shapes.place(other)]
        made = cls.of(
            transitions,
            action_scale,
            normalize=normalize,
            scale=scale,
            extra=extra,
            shapes=shapes,
            frames=frames,
            labels=labels,
            names=dataset.info.names,
            reward_scale=reward_scale,
        )
        return replace(made, environment=dataset.info.env_spec)

    def with_rewards(self, scale: float, shift: float = 0.0) -> TrainingData:
        """Return the same rows with rewards scale * r + shift; `best_return` stays in the dataset's units."""
        if scale == 1.0 and shift == 0.0:
            return self
        rows, place = self.rows.copy(), [name for name, size in self.columns for _ in range(size)].index("rewards")
        rows[:, place] = scale * rows[:, place] + shift
        return replace(self, rows=rows)

    @property
    def observation_size(self) -> int:
        """Entries of an observation."""
        return self.shapes.observation_size

    @property
    def action_size(self) -> int:
        """Entries of an action."""
        return dict(self.columns)["actions"]


def _scaled(rewards: np.ndarray, returns: np.ndarray, scale: RewardScale) -> np.ndarray:
    """Return the rewards (M,) that are learned from, given those recorded and the returns of their episodes."""
    if scale == "recorded":
        return rewards
    if scale == "minus_one":
        return rewards - 1.0
    low, high = returns.min(), returns.max()
    if not high > low:
        raise ConfigError(
            f"all {len(returns)} episodes have the return {high:g}, so rewards cannot be divided by the range of returns; "
            'leave reward_scale at "recorded"'
        )
    scaled: np.ndarray = rewards * (_RETURN_RANGE / (high - low))
    return scaled


def row_columns(
    observation_size: int, action_size: int, extra: Sequence[str] = (), stored: Mapping[str, int] | None = None
) -> tuple[tuple[str, int], ...]:
    """Return the names and sizes of the columns of a row, in order.

    Parameters
    ----------
    observation_size, action_size : int
    extra : sequence of str
        As in `TrainingData.of`.
    stored : mapping, optional
        Entries of those extra columns that the dataset has.

    Examples
    --------
    >>> sum(size for _, size in row_columns(17, 6, ("returns_to_go", "timesteps")))
    44
    """
    columns = {"observations": observation_size, "actions": action_size, "rewards": 1}
    columns |= {"next_observations": observation_size, "bootstraps": 1}
    for name in extra:
        if stored is not None and name in stored:
            columns[name] = stored[name]
        else:
            columns |= {key: value.reshape(2, -1).shape[1] for key, value in _derived_of_two(name, columns).items()}
    return tuple(columns.items())


def _derived_of_two(name: str, columns: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Derive a column of an episode of two rows of zeros, to see what it gives."""
    states, numbers = np.zeros((2, columns["observations"])), np.zeros(2)
    actions, flags = np.zeros((2, columns["actions"])), np.array([False, True])
    transitions = Transitions(states, actions, numbers, states, flags, np.zeros(2, bool), np.arange(2))
    return DERIVATIONS.find(name)(Rows(transitions, actions, np.array([2, 1], np.int32)))


def rows_of_episodes(dataset: Dataset) -> np.ndarray:
    """Return (E,) int64: how many rows each episode gives, all steps but a last one whose next observation is needed.

    It counts what `dataset.transitions(keep_terminal=True)` holds.
    """
    lasts = dataset.episode_starts + dataset.episode_lengths - 1
    dropped = ~dataset.final_observations_known & ~dataset.terminations[lasts]
    rows: np.ndarray = dataset.episode_lengths - dropped
    return rows


def rows_remaining(transitions: Transitions[np.ndarray]) -> np.ndarray:
    """Return (M,) int32: how many rows of the same episode follow without a gap, the row itself included."""
    count = len(transitions)
    ends = transitions.terminations | transitions.truncations
    ends[:-1] |= np.diff(transitions.steps) != 1
    if transitions.episodes is not None:
        ends[:-1] |= np.diff(transitions.episodes) != 0  # an episode may end without a flag
    ends[-1:] = True
    last = np.flatnonzero(ends)
    found: np.ndarray = np.repeat(last, np.diff(last, prepend=-1)) - np.arange(count) + 1
    return found.astype(np.int32)


def transitions_of(
    dataset: Dataset, shapes: Shapes, extra: Sequence[str] = (), labels: Sequence[str] = LABELS
) -> Transitions[np.ndarray]:
    """Return the transitions of a dataset that are learned from, with the extra columns that it has, and without images.

    Raises
    ------
    UnknownNameError
        If an extra column is neither in the dataset nor a derivation.
    """
    derived = DERIVATIONS.all()
    stored = [name for name in extra if name in dataset.columns]
    for name in extra:
        if name not in derived and name not in stored:
            raise UnknownNameError("column", name, [*dataset.columns, *derived])
    transitions = _without_images(dataset, shapes, labels) if shapes.images else dataset.transitions(labels=labels)
    columns = {name: dataset.column(name)[transitions.steps] for name in stored}
    return replace(transitions, columns={**transitions.columns, **columns})


def _without_images(dataset: Dataset, shapes: Shapes, labels: Sequence[str]) -> Transitions[np.ndarray]:
    """Return `dataset.transitions()` without the images, which would be copied twice; they come as columns of width 0."""
    require_labels(dataset, *labels, by="learning from transitions")
    steps = dataset.transition_steps()
    rows = dataset.observation_rows[steps]
    rewards = dataset.rewards if "rewards" in dataset.columns else np.full(dataset.total_steps, np.nan)

    def parts(prefix: str, at: np.ndarray) -> dict[str, np.ndarray]:
        found = {part.name: np.zeros((len(steps), 0), np.float32) for part in shapes.images}
        for part in shapes.in_vector:
            array = dataset.column(f"{prefix}/{part.name}")[at]
            found[part.name] = array.astype(np.float32) if array.dtype.kind == "f" else array
        return found

    following = parts("next_observations", steps) if dataset.has_next_observations else parts("observations", rows + 1)
    return Transitions(
        observations=parts("observations", rows),
        actions=dataset.actions[steps],
        rewards=rewards[steps].astype(np.float32),
        next_observations=following,
        terminations=dataset.terminations[steps],
        truncations=dataset.truncations[steps],
        steps=steps,
        weights=None if dataset.weights is None else dataset.weights[steps].astype(np.float32),
        episodes=dataset.episode_of_step[steps],
    )


def _take(transitions: Transitions[np.ndarray], rows: np.ndarray) -> Transitions[np.ndarray]:
    """Return some of the transitions, by a mask."""
    values = {item.name: getattr(transitions, item.name) for item in fields(transitions)}
    return replace(
        transitions,
        **{name: map_nested(lambda array: array[rows], value) for name, value in values.items() if value is not None},
    )


def _derivation(name: str, transitions: Transitions[np.ndarray]) -> Derivation:
    """Return what makes a column that the data does not hold."""
    try:
        return DERIVATIONS.find(name)
    except UnknownNameError as error:
        held = ", ".join(sorted(transitions.columns)) or "none besides the usual ones"
        raise ConfigError(
            f"the dataset has no column {name!r}, which this algorithm learns from (columns: {held}); record it, or take another algorithm"
        ) from error


def _require_some(transitions: Transitions[np.ndarray]) -> None:
    if not len(transitions):
        raise ConfigError("the dataset has no transition to learn from")


def _numbers(name: str, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind not in "biuf":
        raise ConfigError(f"column {name} is {array.dtype}; algorithms learn from numbers")
    return array


def check_columns(dataset: Dataset, names: Sequence[str]) -> None:
    """Raise ConfigError where a column that is learned from holds no numbers, or `costs` more than one for each step."""
    for name in (name for name in names if name in dataset.columns):
        column = _numbers(name, dataset.column(name))
        if name == COSTS and math.prod(column.shape[1:]) != 1:
            raise ConfigError(
                f"column {name} has {list(column.shape[1:])} numbers for each step, and one is learned from"
            )


def _frames_of(dataset: Dataset, shapes: Shapes, steps: np.ndarray) -> dict[str, Frames]:
    """Share the stored frames between s and s': the next one is one row further, or in a column of its own."""
    found, rows = {}, dataset.observation_rows[steps]
    for part in shapes.images:
        name = f"/{part.name}" if part.name else ""
        frames, next_rows = dataset.column(f"observations{name}"), rows + 1
        if dataset.has_next_observations:
            stored = dataset.column(f"next_observations{name}")
            frames, next_rows = np.concatenate([frames, stored]), len(frames) + steps
        found[part.key] = Frames(np.asarray(frames), rows, next_rows)
    return found
