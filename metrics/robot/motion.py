"""Rest and jumps: how much of an episode nothing moves, and where the state leaps.

    idle    v_t <= idle_speed x (95th percentile of v over the dataset)
    head    idle steps before the first motion;  tail: after the last;  middle: the others; shares of all steps with a speed
    jump    s_t = norm(x_(t+1) - x_t) > median(s) + jump_factor x median(|s - median(s)|), both over the steps that move,
            and s_t > jump_isolation x the median of the six steps around it

A teleport or a glitch is one step among ordinary ones; a fast motion is fast in its neighbours too. Dimensions that hold
still at more than half of the steps while others move (hands that report now and then, grippers) step by nature and do not
count. An angle that wraps does not jump. Where more than 1 % of all steps leap, the state does so by nature, as velocities do at
contacts: that is a risk, not a defect.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from assay.metrics.robot.checks import Kind, Recording, Score, episode_check

__all__ = ["idle", "jumps"]

_AROUND = (-3, -2, -1, 1, 2, 3)
_RARE = (
    0.01  # share of the steps up to which a leap is an accident, and not how the state moves (velocities at contacts)
)
_LEAST_SPREAD = 0.05  # of the median: steps that are all equal have no deviation


@episode_check("idle", order=40)
def idle(recording: Recording) -> Iterator[Score]:
    """Shares of the steps at rest: in all, at the head, at the tail, in the middle."""
    steps = np.maximum(recording.lengths - 1, 1)
    known = recording.sum_by_episode(np.isfinite(recording.speed))
    head, tail = recording.idle_ends(recording.settings.idle_speed)
    resting = recording.sum_by_episode(recording.idle(recording.settings.idle_speed))
    text = f"speed up to {recording.settings.idle_speed:g} of the dataset's 95th percentile"
    shares = {
        "idle": (resting, None, text),
        "idle_head": (head, 0.25, f"{text}, before the first motion"),
        "idle_middle": (resting - head - tail, 0.5, f"{text}, between first and last motion"),
        "idle_tail": (tail, 0.25, f"{text}, after the last motion"),
    }
    for name, (count, limit, definition) in shares.items():
        values = np.where(known > 0, count / steps, np.nan)
        kind: Kind | None = None if limit is None else "risk"
        yield Score(name, values, "share of steps", kind, limit, "higher", definition, recording.state_column)


@episode_check("jumps", order=35)
def jumps(recording: Recording) -> Iterator[Score]:
    """Count steps that leap."""
    found = _jumps(recording)
    factor = recording.settings.jump_factor
    rare = found.sum() <= _RARE * len(found)
    text = f"changes of the state beyond median + {factor:g} median absolute deviations that stand alone"
    if not rare:
        text += f"; more than {_RARE:.0%} of the steps, so this state leaps by nature: name its positions (dimensions)"
    yield Score(
        "jumps",
        recording.sum_by_episode(found),
        "jumps",
        "defect" if rare else "risk",
        0.0,
        "higher",
        text,
        recording.state_column,
        rows=recording.first_by_episode(found),
    )


def _jumps(recording: Recording) -> np.ndarray:
    column, followed = recording.state_column, recording.followed
    changes = [recording.change(column, index) for index in recording.chosen]
    moving = np.zeros(len(followed), bool)
    for change in changes:
        moving |= change != 0
    total = max(1, int(moving.sum()))
    squares = np.zeros(len(followed))
    for change in changes:
        if 2 * np.count_nonzero(change) > total:
            squares += np.square(change)
    sizes = np.sqrt(squares)
    measured = sizes[followed & (sizes > 0) & np.isfinite(sizes)]
    if len(measured) < len(_AROUND):
        return np.zeros(len(followed), bool)
    middle = np.median(measured)
    spread = max(np.median(np.abs(measured - middle)), _LEAST_SPREAD * middle)
    suspects = np.flatnonzero(followed & (sizes > middle + recording.settings.jump_factor * spread))
    result = np.zeros(len(followed), bool)
    if len(suspects):
        starts, lengths = recording.dataset.episode_starts, recording.lengths
        episodes = np.searchsorted(starts, suspects, side="right") - 1
        around = suspects[:, None] + np.array(_AROUND)
        outside = (around < starts[episodes][:, None]) | (around >= (starts + lengths - 1)[episodes][:, None])
        near = np.where(outside, np.nan, sizes[np.clip(around, 0, len(sizes) - 1)])
        there = ~outside.all(axis=1)
        usual = np.full(len(suspects), np.inf)
        usual[there] = np.nanmedian(near[there], axis=1)
        usual = np.maximum(usual, middle)
        result[suspects] = sizes[suspects] > recording.settings.jump_isolation * usual
    return result
