"""Sensors that stop: the longest time that a dimension keeps exactly one value while others move.

    held     the longest run of equal values in seconds, counting the steps at which another dimension changes
    frozen   the same, for dimensions that otherwise change at nearly all steps at which another one does

What rests at the beginning of an episode is its condition: a run counts if it begins later, or fills the whole episode. A joint
that rests while the other arm moves holds its value too; so only a dimension that hardly ever does so can be frozen. Those that
report now and then (hands, grippers, goals) are not judged.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from assay.datasets.signals import dimension_names, vector_columns
from assay.metrics.robot.checks import Recording, Score, episode_check

__all__ = ["frozen"]

_MOSTLY_CHANGING = 0.9  # share of the steps with motion at which a dimension changes, for it to be judged
_SECONDS, _STEPS = 2.0, 50  # of a run, from which on it is a defect


@episode_check("sensors", order=30)
def frozen(recording: Recording) -> Iterator[Score]:
    """Longest time that each dimension of the observations stands still while others move; and dimensions that never change."""
    for column in vector_columns(recording.dataset, "observations"):
        names = dimension_names(recording.dataset, column)
        width, followed = len(names), recording.followed
        if recording.dataset.column(column).dtype.kind != "f":
            continue
        moving = np.zeros(len(followed), np.int32)
        for index in range(width):
            moving += recording.change(column, index) != 0
        held, share = np.zeros((recording.episodes, width)), np.zeros(width)
        rows, unchanging = np.full((recording.episodes, width), -1), np.zeros(recording.episodes)
        for index in range(width):
            changed = recording.change(column, index) != 0
            unchanging += recording.sum_by_episode(changed) == 0
            others = (moving - changed) > 0
            active = followed & (others if width > 1 else True)
            share[index] = (changed & active).sum() / max(1, active.sum())
            held[:, index], rows[:, index] = _longest(recording, ~changed & followed, active)
        seconds = recording.step_seconds[:, None]
        yield Score(
            "unchanging", unchanging, "dimensions", column=column, definition="dimensions with one value all episode"
        )
        yield Score("held", held * seconds, recording.unit, column=column, dimensions=names, definition=_HELD)
        dead = share == 0
        judged = (share >= _MOSTLY_CHANGING) & ~dead
        limit = _SECONDS if recording.timed else float(_STEPS)
        if judged.any():
            yield Score(
                "frozen",
                held[:, judged] * seconds,
                recording.unit,
                "defect",
                limit,
                "higher",
                f"{_HELD}; dimensions that change at {_MOSTLY_CHANGING:.0%} of such steps or more",
                column,
                tuple(name for name, wanted in zip(names, judged, strict=True) if wanted),
                rows[:, judged],
            )


_HELD = "longest run of one value, counting steps at which another dimension changes"


def _longest(recording: Recording, still: np.ndarray, active: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return of each episode the longest run of stillness in active steps, and the step that it begins at; (E,) each."""
    begins = still.copy()
    begins[1:] &= ~still[:-1]
    firsts = np.flatnonzero(begins)
    longest, rows = np.zeros(recording.episodes), np.full(recording.episodes, -1)
    if not len(firsts):
        return longest, rows
    run = np.cumsum(begins) - 1
    sizes = np.bincount(run[still], weights=active[still], minlength=len(firsts))
    lengths = np.bincount(run[still], minlength=len(firsts))
    episodes = np.searchsorted(recording.dataset.episode_starts, firsts, side="right") - 1
    row = firsts - recording.dataset.episode_starts[episodes]
    counts = (row > 0) | (lengths == recording.lengths[episodes] - 1)
    sizes = np.where(counts, sizes, 0.0)
    order = np.argsort(sizes, kind="stable")
    longest[episodes[order]], rows[episodes[order]] = sizes[order], row[order]  # the largest comes last and stays
    return longest, rows
