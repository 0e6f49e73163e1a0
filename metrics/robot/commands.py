"""Commands: how often an action is at a bound, and how often it is taken back.

    saturation    share of the steps at which a dimension lies within `saturation_margin` x span of a bound
    chatter       discrete dimensions: changes that return to the value before within `chatter_seconds`, per second
                  continuous ones: changes of sign of a_(t+1) - a_t, where both are above the noise floor, per second

Bounds are those of the action space; where it has none, the least and the greatest action of the dataset, and the definition
says so. A discrete dimension (few different values, such as a gripper's) is always at a bound and has no saturation. Steps
below the floor, `chatter_floor` x the standard deviation of the dimension, are passed over: a reversal may lie on both sides
of them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from assay.datasets.signals import dimension_names, vector_columns
from assay.datasets.spaces import Box, Dict
from assay.metrics.robot.checks import Recording, Score, episode_check

__all__ = ["chatter", "saturation"]

_MOSTLY_AT_ITS_ENDS = 0.9  # share of the steps, for a command to be open or closed


@episode_check("saturation", order=60)
def saturation(recording: Recording) -> Iterator[Score]:
    """Share of the steps at which each dimension of the actions is at a bound."""
    margin = recording.settings.saturation_margin
    for column in vector_columns(recording.dataset, "actions"):
        names = dimension_names(recording.dataset, column)
        shares = np.full((recording.episodes, len(names)), np.nan)
        low, high, given = _bounds(recording, column, len(names))
        for index in range(len(names)):
            if _is_discrete(recording, column, index):
                continue
            values = recording.values(column, index)
            near = margin * (high[index] - low[index])
            with np.errstate(invalid="ignore"):
                at_bound = (values <= low[index] + near) | (values >= high[index] - near)
                known = np.isfinite(values)
            with np.errstate(invalid="ignore", divide="ignore"):
                shares[:, index] = recording.sum_by_episode(at_bound & known) / recording.sum_by_episode(known)
        whose = "the action space" if given else "the dataset's own range, because the action space has no bounds"
        text = f"within {margin:.0%} of the span from a bound of {whose}"
        yield Score("saturation", shares, "share of steps", "risk", 0.5, "higher", text, column, names)


def _bounds(recording: Recording, column: str, width: int) -> tuple[np.ndarray, np.ndarray, bool]:
    space = recording.dataset.info.action_space
    for part in column.split("/")[1:]:
        space = space.subspaces.get(part) if isinstance(space, Dict) else None
    if isinstance(space, Box):
        low, high = (np.ravel(bound).astype(np.float64) for bound in space.bounds())
        if len(low) == width and np.isfinite(low).all() and np.isfinite(high).all():
            return low, high, True
    array = recording.dataset.column(column).reshape(recording.dataset.total_steps, width)
    with np.errstate(invalid="ignore"):
        return np.nanmin(array, axis=0).astype(np.float64), np.nanmax(array, axis=0).astype(np.float64), False


@episode_check("chatter", order=65)
def chatter(recording: Recording) -> Iterator[Score]:
    """Commands that are taken back, per second and dimension of the actions."""
    duration = (recording.lengths - 1) * recording.step_seconds
    unit = "per second" if recording.timed else "per step"
    for column in vector_columns(recording.dataset, "actions"):
        names = dimension_names(recording.dataset, column)
        for name, discrete, limit in (("chatter", False, 10.0), ("gripper_chatter", True, 1.0)):
            rates = np.full((recording.episodes, len(names)), np.nan)
            for index in range(len(names)):
                if _is_discrete(recording, column, index) is discrete:
                    count = _returns if discrete else _reversals
                    with np.errstate(invalid="ignore", divide="ignore"):
                        rates[:, index] = np.where(duration > 0, count(recording, column, index) / duration, np.nan)
            if np.isnan(rates).all():
                continue
            text = (
                f"changes of a discrete command that are taken back within {recording.settings.chatter_seconds:g} s"
                if discrete
                else f"reversals of a command by more than {recording.settings.chatter_floor:g} standard deviations"
            )
            applies = limit if recording.timed else None
            yield Score(name, rates, unit, "risk", applies, "higher", text, column, names)


def _is_discrete(recording: Recording, column: str, index: int) -> bool:
    return recording.cache(f"discrete {column} {index}", lambda: _few_values(recording, column, index))  # type: ignore[no-any-return]


def _few_values(recording: Recording, column: str, index: int) -> bool:
    """Tell whether a dimension has few different values, or lies at its own two ends nearly always, as a gripper's does."""
    values = recording.values(column, index)
    values = values[np.isfinite(values)]
    if not len(values):
        return False
    most = recording.settings.discrete_values
    if len(np.unique(values[:1000])) <= most and len(np.unique(values)) <= most:
        return True
    low, high = values.min(), values.max()
    near = recording.settings.saturation_margin * (high - low)
    ends = np.mean(values <= low + near), np.mean(values >= high - near)
    return bool(min(ends) > 0.05 and sum(ends) > _MOSTLY_AT_ITS_ENDS)


def _changes(recording: Recording, column: str, index: int, floor: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the steps at which an action changes by more than the floor, the changes, and which follows one of its episode."""
    values = recording.values(column, index)
    change = np.diff(values, append=values[-1:])
    with np.errstate(invalid="ignore"):
        places = np.flatnonzero(recording.followed & (np.abs(change) > floor))
    episodes = np.searchsorted(recording.dataset.episode_starts, places, side="right") - 1
    return places, change[places], np.diff(episodes, prepend=-1) == 0


def _reversals(recording: Recording, column: str, index: int) -> np.ndarray:
    values = recording.values(column, index)
    floor = recording.settings.chatter_floor * float(np.nanstd(values))
    places, changes, follows = _changes(recording, column, index, floor)
    reversed_ = np.zeros(len(recording.followed), bool)
    reversed_[places[1:]] = follows[1:] & (changes[1:] * changes[:-1] < 0)
    return recording.sum_by_episode(reversed_)


def _returns(recording: Recording, column: str, index: int) -> np.ndarray:
    places, _, follows = _changes(recording, column, index, 0.0)
    values = recording.values(column, index)
    seconds = np.repeat(recording.step_seconds, recording.lengths)[places[1:]]
    soon = np.diff(places) * seconds <= recording.settings.chatter_seconds * (1 + 1e-9)
    returned = np.zeros(len(recording.followed), bool)
    back = values[places[1:] + 1] == values[places[:-1]]
    returned[places[1:]] = follows[1:] & soon & back
    return recording.sum_by_episode(returned)
