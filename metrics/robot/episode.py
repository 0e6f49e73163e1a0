"""Episodes among their like: return, outliers in length, repetitions, and success near the end.

length_outlier   robust z of ln(length)
repeated         share of an episode's (s, a), rounded to a thousandth of a standard deviation, that one earlier episode
                 has too
success_at_end   share of the last second at which the declared success, or a reward of two values, holds
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from assay.datasets.validation import steps_of_earlier_episodes
from assay.metrics.robot.checks import Recording, Score, episode_check, robust_z

__all__ = ["episode", "success_at_end"]

_SUCCESSES = ("infos/success", "infos/is_success", "infos/next.success")


@episode_check("episode", order=10)
def episode(recording: Recording) -> Iterator[Score]:
    """Length, duration and return of each episode, as facts; outliers in length, repetitions."""
    lengths = recording.lengths.astype(np.float64)
    yield Score("length", lengths, "steps", definition="steps of the episode")
    if recording.timed:
        yield Score("duration", lengths * recording.step_seconds, "s", definition="steps x median step of time")
    rewards = recording.dataset.column("rewards") if "rewards" in recording.dataset.columns else None
    if rewards is not None and rewards.any():
        yield Score("return", recording.sum_by_episode(rewards), "reward", definition="sum of the rewards")
    z = np.abs(robust_z(np.log(lengths)))
    yield Score("length_outlier", z, "deviations", "risk", 3.5, "higher", "distance of ln(length) from the median")
    _, share = steps_of_earlier_episodes(recording.dataset)
    text = "share of the (s, a), rounded, that one earlier episode has too"
    yield Score("repeated", share, "share of steps", "risk", 0.9, "higher", text)


@episode_check("success", order=80)
def success_at_end(recording: Recording) -> Iterator[Score]:
    """Share of the last second at which success is declared; nothing where no column declares it."""
    dataset = recording.dataset
    column = next((name for name in _SUCCESSES if name in dataset.columns), "rewards")
    if column not in dataset.columns:
        return
    values = dataset.column(column)
    if values.ndim != 1 or len(values) != dataset.total_steps or values.dtype.kind not in "iufb":
        return
    if column == "rewards" and (len(np.unique(values[:1000])) > 2 or len(np.unique(values)) != 2):
        return
    holds = values > values.min() if column == "rewards" else values.astype(np.float64) > 0
    wanted = np.rint(1 / recording.step_seconds) if recording.timed else np.ones(recording.episodes)
    last = np.clip(wanted.astype(np.int64), 1, recording.lengths)
    place = np.arange(dataset.total_steps) - np.repeat(dataset.episode_starts, recording.lengths)
    near = place >= np.repeat(recording.lengths - last, recording.lengths)
    share = recording.sum_by_episode(holds & near) / last
    text = f"share of the last second at which {column} holds"
    yield Score("success_at_end", share, "share of steps", "risk", 1e-9, "lower", text, column)
