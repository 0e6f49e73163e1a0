"""The clock of a recording: steps back, repeated stamps, gaps, jitter, and the rate that the source declares.

jitter       (95th - 5th percentile of dt) / median of dt
gap          dt > gap x median of dt
rate error   |declared rate x median of dt - 1|
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from assay.datasets.signals import declared_rate, episode_quantiles
from assay.metrics.robot.checks import Recording, Score, episode_check

__all__ = ["clock"]

_DIGITS = 9  # what stamps of float64 hold; what is beyond is rounding, and grows with the time


@episode_check("clock", order=20)
def clock(recording: Recording) -> Iterator[Score]:
    """Regularity of the time stamps; nothing where none are recorded."""
    if recording.time is None:
        return
    steps, lengths = recording.time_steps
    low, middle, high = episode_quantiles(steps, lengths, (0.05, 0.5, 0.95))
    median = np.where(middle > 0, middle, np.nan)
    passed = np.zeros(len(recording.followed))
    passed[recording.followed] = steps
    column = "time" if "time" in recording.dataset.columns else "infos/timestamp"
    threshold = np.repeat(np.nan_to_num(recording.settings.gap * median, nan=np.inf), recording.lengths)
    counted = {
        "steps_back": (recording.followed & (passed < 0), "defect", "the time goes back inside an episode"),
        "repeated_stamps": (recording.followed & (passed == 0), "defect", "the time stands still between two steps"),
        "gaps": (passed > threshold, "risk", f"more than {recording.settings.gap:g} median steps of time pass"),
    }
    for name, (found, kind, text) in counted.items():
        values, rows = recording.sum_by_episode(found), recording.first_by_episode(found)
        yield Score(name, values, "steps", kind, 0.0, "higher", text, column, rows=rows)  # type: ignore[arg-type]
    text = "(95th - 5th percentile) / median of the steps of time"
    jitter = np.round((high - low) / median, _DIGITS)
    yield Score("jitter", jitter, "share of a step", "risk", 0.5, "higher", text, column)
    if (rate := declared_rate(recording.dataset)) is not None:
        error = np.round(np.abs(rate * median - 1), _DIGITS)
        text = f"|declared {rate:g} per second x median step of time - 1|"
        yield Score("rate_error", error, "share of the rate", "defect", 0.05, "higher", text, column)
