"""Hartigan's dip: how far a sample is from having one mode.

Hartigan and Hartigan 1985, "The Dip Test of Unimodality": the dip of a distribution function F is its largest distance to
the nearest unimodal distribution function, one that is convex up to some mode m and concave from there on. For n numbers
it lies between 1/(2n) (evenly spaced) and 1/4 (two equal atoms); about 0.4/sqrt(n) for uniform ones, and less for peaks.

Computed exactly, by the taut string that the paper describes (section 3): on the modal interval [x_l, x_u], at first
everything, the greatest convex minorant and the least concave majorant of the empirical F are laid; where they are
farthest apart, the interval is cut down to that place; the dip is the largest distance, over all rounds, between F and the
minorant to the left or the majorant to the right of the modal interval. The text of algorithm AS 217 was not used.
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
        1/(2n) to 1/4.

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
    places, counts = np.unique(ordered, return_counts=True)
    raise NotImplementedError
