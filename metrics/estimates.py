"""Values with a 95 % interval, where steps depend on each other.

Neighbouring steps of an episode resemble each other, so a thousand of them say less than a thousand independent ones.
Intervals here come from leaving out one of up to 20 blocks at a time: groups of whole episodes (episode i in group i
mod 20), or, with fewer than 20 episodes, stretches of consecutive steps. That is the delete-a-group jackknife for
groups of unequal size (Busing, Meijer and van der Leeden 1999, "Delete-m jackknife for unequal m"), with Student's t
for the number of blocks. Where rows serve as neighbours of others, they are left out as neighbours, too. It covers what
another draw of steps and episodes would have changed (in simulations 96 to 100 % of the time: it is rather too wide,
most so for shares of neighbourhoods), and no bias of the estimator, which is stated where that is described.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from assay.datasets.dataset import Dataset
from assay.datasets.streaming import StepReader

__all__ = ["BLOCKS", "Estimate", "blocks_of", "jackknife", "leaving_out", "mean_by_blocks", "of_sample"]

BLOCKS = 20


class Estimate(NamedTuple):
    """A value and its 95 % interval; none where there is only one block."""

    value: float
    interval: tuple[float, float] | None

    def within(self, low: float, high: float) -> Estimate:
        """Cut the interval to what is possible."""
        if self.interval is None:
            return self
        return Estimate(self.value, (max(low, self.interval[0]), min(high, self.interval[1])))


def blocks_of(dataset: Dataset, steps: np.ndarray) -> np.ndarray:
    """Return the block of each of these steps; (n,) int64 below BLOCKS."""
    if dataset.total_episodes >= BLOCKS:
        result: np.ndarray = StepReader(dataset).episodes_of(steps) % BLOCKS
        return result
    return steps * BLOCKS // max(1, dataset.total_steps)


def jackknife(value: float, without: np.ndarray, sizes: np.ndarray) -> Estimate:
    """Give a value its interval.

    Parameters
    ----------
    value : float
        The statistic of all rows.
    without : (G,) floats
        The statistic of all rows but those of one block.
    sizes : (G,) int
        Rows in each block; empty blocks do not count.

    Examples
    --------
    >>> low, high = jackknife(2.0, np.array([2.5, 2.0, 1.5]), np.array([1, 1, 1])).interval
    >>> round(low, 2), round(high, 2)  # the mean of 1, 2, 3: t(2) = 4.30, standard error 0.58
    (-0.48, 4.48)
    """
    from scipy.special import stdtrit

    without, sizes = without[sizes > 0], sizes[sizes > 0]
    if len(sizes) < 2 or not np.isfinite(without).all():
        return Estimate(value, None)
    groups, inverse = len(sizes), sizes.sum() / sizes
    pseudo = inverse * value - (inverse - 1) * without
    centre = groups * value - np.sum((1 - 1 / inverse) * without)
    error = float(np.sqrt(np.mean((pseudo - centre) ** 2 / (inverse - 1))))
    half = float(stdtrit(groups - 1, 0.975)) * error
    return Estimate(value, (value - half, value + half))


def leaving_out(statistic: Callable[[int | None], float], *blocks: np.ndarray) -> Estimate:
    """Return a statistic and its interval.

    Parameters
    ----------
    statistic : callable
        Takes the block to leave out, or None, and returns a value. Where there are several samples, blocks of the
        second one are numbered from BLOCKS on, and so forth.
    *blocks : (n,) int64
        The block of each row of each sample; the variances that the samples contribute add up.
    """
    value, squares = statistic(None), 0.0
    for number, sample in enumerate(blocks):
        sizes = np.bincount(sample, minlength=BLOCKS)
        some = np.flatnonzero(sizes)
        without = np.array([statistic(number * BLOCKS + int(block)) for block in some])
        interval = jackknife(value, without, sizes[some]).interval
        if interval is None:
            return Estimate(value, None)
        squares += ((interval[1] - interval[0]) / 2) ** 2
    half = float(np.sqrt(squares))
    return Estimate(value, (value - half, value + half))


def of_sample(block: int | None, number: int) -> int | None:
    """Return which block of this sample is left out, where samples number theirs as in `leaving_out`; None for none."""
    return None if block is None or block // BLOCKS != number else block % BLOCKS


def mean_by_blocks(values: np.ndarray, blocks: np.ndarray) -> Estimate:
    """Return the mean of some numbers, and its interval by their blocks.

    Examples
    --------
    >>> mean_by_blocks(np.array([1.0, 2.0, 3.0]), np.array([0, 1, 2])).value
    2.0
    """
    sizes = np.bincount(blocks, minlength=BLOCKS)
    sums = np.bincount(blocks, values, minlength=BLOCKS)
    some = sizes > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        without = (sums.sum() - sums[some]) / (len(values) - sizes[some])
    return jackknife(float(values.mean()), without, sizes[some])
