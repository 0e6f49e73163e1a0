"""Dimension dropout: s~ = m * s, where m is 0 in each dimension with a probability, the same dimensions for a whole segment (S4RL, section 4.1)."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from assay.augmentation.states.perturbation import StatePerturbation
from assay.datasets.transform import register

__all__ = ["DimensionDropout"]


@register("augmentation.dimension_dropout")
class DimensionDropout(StatePerturbation):
    """Add transitions in which some dimensions of the states are zero.

    Parameters
    ----------
    ratio, length, seed
        See `SegmentAugmentation`.
    probability : float in (0, 1)
        That a dimension is zero.

    Examples
    --------
    >>> generator = np.random.default_rng(0)
    >>> dropped = DimensionDropout(probability=0.5).perturb(np.ones((1, 2, 6)), generator)
    >>> (dropped[0, 0] == dropped[0, 1]).all().item(), sorted(set(dropped.ravel().tolist()))
    (True, [0.0, 1.0])
    """

    probability: float = Field(default=0.5, gt=0, lt=1)

    def perturb(self, states: np.ndarray, generator: np.random.Generator) -> np.ndarray:  # noqa: D102
        kept = generator.random((len(states), 1, *states.shape[2:])) >= self.probability
        return states * kept
