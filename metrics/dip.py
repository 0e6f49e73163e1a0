"""Hartigan's dip: how far a sample is from having one mode.

Hartigan and Hartigan 1985, "The Dip Test of Unimodality": the dip of a distribution function F is its largest distance
to the nearest unimodal distribution function, one that is convex up to some mode m and concave from there on. For n
numbers it lies between 1/(2n) (evenly spaced) and 1/4 (two equal atoms); about 0.4/sqrt(n) for uniform ones, and less
for peaks.

It is computed exactly, by section 3 of the paper. The modal interval is everything at first. In each round, the
greatest convex minorant and the least concave majorant of F are taken over it, and it is cut down to where the two are
farthest apart. The dip is half the largest distance, over all rounds, between F and the minorant on the left or the
majorant on the right of the interval. The code is written from that description, not from algorithm AS 217, and tested
against linear programming over all modes. Equal numbers are one step of F of their total weight. n equal numbers have
the least value, 1/(2n), as in R's diptest.
"""

from __future__ import annotations

import numpy as np

from assay.metrics.measures import NotMeasurable

__all__ = ["dip"]


def dip(values: np.ndarray) -> float:
    """Return the dip statistic of some numbers.

    Parameters
    ----------
    values : (n,) floats, finite

    Returns
    -------
    float
        1/(2n) to 1/4, for n > 1.

    Raises
    ------
    NotMeasurable
        If there are none.

    Examples
    --------
    >>> dip([1.0, 2.0, 3.0, 4.0]), dip([0.0, 0.0, 1.0, 1.0])
    (0.125, 0.25)
    """
    ordered = np.sort(np.asarray(values, np.float64).ravel())
    if not len(ordered):
        raise NotMeasurable("the dip of no numbers is undefined")
    # twice the distances are compared: F rises at a place by its step, and either side of it counts
    places, counts = np.unique(ordered, return_counts=True)
    above = np.cumsum(counts) / len(ordered)  # F at each place, and just before it
    below = above - counts / len(ordered)
    first, last = 0, len(places) - 1
    twice = 1 / len(ordered)
    while True:
        inner = slice(first, last + 1)
        x, low, high = places[inner], below[inner], above[inner]
        minorant, touches_low = _hull(x, low, 1)
        majorant, touches_high = _hull(x, high, -1)
        gap = majorant - minorant
        at_low, at_high = touches_low[gap[touches_low].argmax()], touches_high[gap[touches_high].argmax()]
        if gap[at_low] > gap[at_high]:
            widest, left = gap[at_low], at_low
            right = touches_high[np.searchsorted(touches_high, at_low)]
        else:
            widest, right = gap[at_high], at_high
            left = touches_low[np.searchsorted(touches_low, at_high, side="right") - 1]
        if widest <= twice:
            return float(twice / 2)
        outside_left = (high - minorant)[: left + 1]
        outside_right = (majorant - low)[right:]
        twice = max(twice, outside_left[:-1].max(initial=0), outside_right[1:].max(initial=0))
        if (left, right) == (0, len(x) - 1):
            return float(twice / 2)
        first, last = first + left, first + right


def _hull(x: np.ndarray, y: np.ndarray, sign: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the greatest convex minorant (sign 1) or least concave majorant (-1) at x, and where it touches."""
    kept: list[int] = []
    for i, (a, b) in enumerate(zip(x.tolist(), y.tolist())):
        while len(kept) > 1:
            p, q = kept[-2], kept[-1]
            if sign * ((y[q] - y[p]) * (a - x[q]) - (b - y[q]) * (x[q] - x[p])) < 0:
                break
            kept.pop()
        kept.append(i)
    return np.interp(x, x[kept], y[kept]), np.array(kept)
