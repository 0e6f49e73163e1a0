"""One dataset laid out for training: a contiguous row per transition, normalization folded in.

::

    row of a transition   | s (normalized) | a (in [-1, 1]) | r | s' (normalized) | bootstrap | what the algorithm adds |

`bootstrap` is 0 where the MDP ended and 1 elsewhere, at truncations too. Rows of one episode follow one another, and
`remaining` says how many of them are left, so that n-step returns and sequences are neighbouring rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from assay.datasets.errors import ConfigError
from assay.datasets.transitions import Transitions

__all__ = ["ActionScale", "ObservationScale", "TrainingData", "check_learnable"]

_STD_OFFSET = 1e-3  # the published normalization divides by std + 1e-3


@dataclass(frozen=True)
class ObservationScale:
    """Observations are given to networks as (s - mean) / scale."""

    mean: np.ndarray  # [observation]
    scale: np.ndarray
    deviation: np.ndarray | None = None  # standard deviation of the observations trained on, whatever the scale

    @classmethod
    def of(cls, observations: np.ndarray, normalize: bool) -> ObservationScale:
        """Measure a dataset's observations (M, d), or leave them as they are."""
        if not normalize:
            return cls(np.zeros(observations.shape[1]), np.ones(observations.shape[1]))
        return cls(observations.mean(0, dtype=np.float64), observations.std(0, dtype=np.float64) + _STD_OFFSET)


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


def check_learnable(*, discrete: bool = False, **columns: object) -> None:
    """Raise ConfigError unless every column is an array of flat vectors of floats; or actions integers, if discrete."""
    for name, array in columns.items():
        if discrete and name == "actions" and isinstance(array, np.ndarray) and array.size == len(array):
            continue
        if not isinstance(array, np.ndarray):
            raise ConfigError(f"these algorithms learn from flat vectors; the dataset's {name} are nested")
        if array.ndim != 2 or not np.issubdtype(array.dtype, np.floating):
            raise ConfigError(
                f"these algorithms learn from flat vectors of floats; the dataset's {name} are "
                f"{array.dtype}{list(array.shape[1:])}"
            )


def _check_finite(transitions: Transitions[np.ndarray]) -> None:
    """Raise ConfigError where a number is missing, with its column, dimension and step, before anything spreads it."""
    found, first, total = [], "", np.zeros(len(transitions), bool)
    for name in ("observations", "actions", "rewards", "next_observations"):
        array = getattr(transitions, name)
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
            dimensions = ", ".join(map(str, np.flatnonzero(wrong[row])[:8]))
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

    @classmethod
    def of(
        cls,
        transitions: Transitions[np.ndarray],
        action_scale: ActionScale,
        *,
        normalize: bool,
        scale: ObservationScale | None = None,
        extra: Sequence[str] = (),
    ) -> TrainingData:
        """Lay out transitions with flat observations and actions.

        Parameters
        ----------
        transitions : Transitions
        action_scale : ActionScale
        normalize : bool
            Whether observations are normalized by their own mean and standard deviation.
        scale : ObservationScale, optional
            What to normalize by instead.
        extra : sequence of str
            `"next_actions"` (zeros where the episode has no next row, with the column `has_next_actions`),
            `"returns_to_go"` (undiscounted) and `"timesteps"` (rows since the episode's first).

        Raises
        ------
        ConfigError
            If there is nothing to learn from, or a row or a weight is not finite; the row is named by its step.
        """
        observations, actions = transitions.observations, transitions.actions
        check_learnable(observations=observations, actions=actions, discrete=action_scale.first is not None)
        if not len(transitions):
            raise ConfigError("the dataset has no transition to learn from")
        if action_scale.first is None and actions.shape[1] != len(action_scale.center):
            raise ConfigError(f"actions have {actions.shape[1]} entries, the action space {len(action_scale.center)}")
        _check_finite(transitions)
        scale = scale or ObservationScale.of(observations, normalize)
        with np.errstate(invalid="ignore", over="ignore"):  # rows that are not finite are reported below
            scale = replace(scale, deviation=observations.std(0, dtype=np.float64))
        remaining = rows_remaining(transitions)
        scaled_actions = action_scale.encode(actions)
        parts = {
            "observations": (observations - scale.mean) / scale.scale,
            "actions": scaled_actions,
            "rewards": transitions.rewards[:, None],
            "next_observations": (transitions.next_observations - scale.mean) / scale.scale,
            "bootstraps": ~transitions.terminations[:, None],
        }
        for name in extra:
            parts |= _EXTRA[name](transitions.rewards, scaled_actions, remaining)
        dtype = np.float32 if observations.dtype == np.float32 else np.float64
        rows = np.concatenate(list(parts.values()), axis=1, dtype=dtype)
        bad = np.flatnonzero(~np.isfinite(rows).all(1))
        if len(bad):
            raise ConfigError(
                f"step {int(transitions.steps[bad[0]])} is not finite once observations are normalized and actions scaled "
                f"({len(bad)} steps in all): its numbers are too large; `assay validate` and `assay card` show their range"
            )
        weights = transitions.weights
        if weights is not None and (not np.isfinite(weights).all() or (weights < 0).any() or not weights.sum() > 0):
            raise ConfigError("weights must be finite and non-negative, and some of them positive")
        columns = tuple((name, part.shape[1]) for name, part in parts.items())
        best_return = float(np.add.reduceat(transitions.rewards, episode_starts(remaining), dtype=np.float64).max())
        return cls(rows, columns, remaining, scale, action_scale, best_return, weights)

    @property
    def observation_size(self) -> int:
        """Entries of an observation."""
        return dict(self.columns)["observations"]

    @property
    def action_size(self) -> int:
        """Entries of an action."""
        return dict(self.columns)["actions"]


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


def episode_starts(remaining: np.ndarray) -> np.ndarray:
    """Return the first row of each episode."""
    return np.flatnonzero(np.r_[True, remaining[:-1] == 1])


def _next_actions(rewards: np.ndarray, actions: np.ndarray, remaining: np.ndarray) -> dict[str, np.ndarray]:
    following = np.zeros_like(actions)
    following[:-1] = actions[1:]
    exists = (remaining > 1)[:, None]
    return {"next_actions": np.where(exists, following, 0.0), "has_next_actions": exists}


def _returns_to_go(rewards: np.ndarray, actions: np.ndarray, remaining: np.ndarray) -> dict[str, np.ndarray]:
    # Sums from the back, less what lies behind the end of the row's own episode.
    totals = np.append(np.cumsum(rewards[::-1].astype(np.float64))[::-1], 0.0)
    rows = np.arange(len(rewards))
    return {"returns_to_go": (totals[rows] - totals[rows + remaining])[:, None]}


def _timesteps(rewards: np.ndarray, actions: np.ndarray, remaining: np.ndarray) -> dict[str, np.ndarray]:
    starts = episode_starts(remaining)
    lengths = np.diff(starts, append=len(rewards))
    return {"timesteps": (np.arange(len(rewards)) - np.repeat(starts, lengths))[:, None]}


_EXTRA = {"next_actions": _next_actions, "returns_to_go": _returns_to_go, "timesteps": _timesteps}
