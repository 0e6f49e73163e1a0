"""What can be wrong with time stamps: they go back, stand still, pause, or do not come evenly.

All of it is looked for inside episodes. A frame is what the source says (frames a second), else the median time between two
steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from assay.datasets.dataset import Dataset

__all__ = ["TIME_COLUMNS", "time_faults"]

TIME_COLUMNS = ("time", "infos/timestamp")
"""Columns of time stamps, (N,), in seconds; the first one that a dataset has is looked at."""

_MISSED_FRAMES = 1.5  # between two steps, from which on one is missing, where the rate is known
_PAUSE = 5.0  # median steps, where it is not
_UNEVEN = 0.2  # relative difference from the median step, for an interval to count as uneven
_UNEVEN_SHARE = 0.1  # of the intervals, for the sampling to count as uneven
_FEWEST = 10  # intervals, below which nothing is said about evenness


def time_faults(dataset: Dataset) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield (column, what is wrong, at which steps (N,) bool); steps may be none.

    Examples
    --------
    >>> from assay.datasets import Dataset
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(5.0), actions=np.zeros(4), rewards=np.zeros(4), terminations=np.arange(4) == 3,
    ...     truncations=np.zeros(4, bool), columns={"time": np.array([0.0, 0.1, 0.1, 0.05])})
    >>> [text.partition(" inside")[0] for _, text, wrong in time_faults(dataset) if wrong.any()]
    ['come before the step before them', 'are those of the step before']
    """
    name = next((column for column in TIME_COLUMNS if column in dataset.columns), None)
    if name is None:
        return
    times = dataset.column(name)
    if times.shape != (dataset.total_steps,) or times.dtype.kind not in "iuf" or dataset.total_steps < 2:
        return
    later = np.ones(dataset.total_steps, bool)  # has an earlier step in its episode
    later[dataset.episode_starts] = False
    passed = np.diff(times.astype(np.float64), prepend=float(times[0]))
    yield (
        name,
        "come before the step before them inside an episode, as where rows are out of order",
        later & (passed < 0),
    )
    yield (
        name,
        "are those of the step before inside an episode, as where rows were written twice",
        later & (passed == 0),
    )
    forward = passed[later & (passed > 0)]
    frame = _seconds_per_frame(dataset)
    if frame is not None:
        text = f"come more than {_MISSED_FRAMES:g} frames of {frame:.4g} s after the step before, so frames are missing"
        yield name, text, later & (passed > _MISSED_FRAMES * frame)
    elif len(forward) >= _FEWEST:
        median = float(np.median(forward))
        text = f"come more than {_PAUSE:g} median steps of {median:.4g} s after the step before: a gap in an episode"
        yield name, text, later & (passed > _PAUSE * median)
        uneven = later & (passed > 0) & (np.abs(passed - median) > _UNEVEN * median) & (passed <= _PAUSE * median)
        if uneven.sum() > _UNEVEN_SHARE * later.sum():
            text = (
                f"come more than {_UNEVEN:.0%} earlier or later than the median step of {median:.4g} s says: sampling is "
                f"irregular; datasets.resample (rate {1 / median:.3g}) puts it on one clock"
            )
            yield name, text, uneven


def _seconds_per_frame(dataset: Dataset) -> float | None:
    """Return the time between two steps, where the source says how many there are in a second."""
    for source in dataset.info.extra.values():
        rate = source.get("fps") if isinstance(source, Mapping) else None
        if isinstance(rate, int | float) and not isinstance(rate, bool) and rate > 0:
            return 1.0 / rate
    return None
