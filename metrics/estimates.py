"""Values with a 95 % interval, for steps that depend on each other.

Consecutive steps of an episode resemble each other, so a thousand of them hold less information than a thousand
independent ones. The intervals come from leaving out one of up to 20 blocks at a time. A block is a group of whole
episodes (episode i is in group i mod 20) or, with fewer than 20 episodes, a stretch of consecutive steps. This is the
delete-a-group jackknife for groups of unequal size (Busing, Meijer and van der Leeden 1999, "Delete-m jackknife for
unequal m"), with Student's t for the number of blocks. Rows that are left out are left out as neighbours, too. The
interval covers the variation between draws of steps and episodes, in simulations 96 to 100 % of the time; it is too
wide rather than too narrow, most of all for shares of neighbourhoods. It does not cover the bias of an estimator, which
each module describes.
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
    """A value and its 95 % interval, which is None if there is only one block."""

    value: float
    interval: tuple[float, float] | None

    def within(self, low: float, high: float) -> Estimate:
        """Return the estimate with its interval cut to the possible range."""
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
    """Return a value with its interval.

    Parameters
    ----------
    value : float
        The statistic of all rows.
    without : (G,) floats
        The statistic without the rows of each block.
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
        Takes the block to leave out, or None, and returns a value. If there are several samples, the blocks of the
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
    """Return the block of sample `number` that is left out, or None; blocks are numbered as in `leaving_out`."""
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
