"""Amplitude scaling: s~ = z s, one factor z ~ U[low, high] for a whole segment (RAD, section 3.2; S4RL, section 4.1).

RAD's range of 0.6 to 1.2 is the default. As there, the state and the next state are scaled alike.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field, model_validator

from assay.augmentation.states.perturbation import StatePerturbation
from assay.datasets.transform import register

__all__ = ["AmplitudeScaling"]


@register("augmentation.amplitude_scaling")
class AmplitudeScaling(StatePerturbation):
    """Add transitions whose states are multiplied by a random factor.

    Parameters
    ----------
    ratio, length, seed
        See `SegmentAugmentation`.
    low, high : float > 0
        Range of the factor.

    Examples
    --------
    >>> generator = np.random.default_rng(0)
    >>> scaled = AmplitudeScaling(low=2.0, high=2.0).perturb(np.ones((1, 2, 3)), generator)
    >>> scaled.tolist()
    [[[2.0, 2.0, 2.0], [2.0, 2.0, 2.0]]]
    """

    low: float = Field(default=0.6, gt=0, allow_inf_nan=False)
    high: float = Field(default=1.2, gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _ordered(self) -> AmplitudeScaling:
        if self.low > self.high:
            raise ValueError(f"low={self.low:g} is above high={self.high:g}")
        return self

    def perturb(self, states: np.ndarray, generator: np.random.Generator) -> np.ndarray:  # noqa: D102
        factors = generator.uniform(self.low, self.high, len(states))
        return states * factors.reshape(-1, *[1] * (states.ndim - 1))
