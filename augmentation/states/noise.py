"""Noise on states: S4RL's zero-mean Gaussian noise, s~ = s + e with e ~ N(0, scale^2), and uniform noise, e ~ U[-scale, scale].

Every number of every observation gets its own noise (S4RL, section 4.1). The defaults are the published ones, 3e-4 for both, in the
unit of the state.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from assay.augmentation.states.perturbation import StatePerturbation
from assay.datasets.transform import register

__all__ = ["GaussianNoise", "UniformNoise"]


@register("augmentation.gaussian_noise")
class GaussianNoise(StatePerturbation):
    """Add transitions whose states have Gaussian noise.

    Parameters
    ----------
    ratio, length, seed
        See `SegmentAugmentation`.
    scale : float > 0
        Standard deviation, in the unit of the state.

    Examples
    --------
    >>> from assay.datasets import Dataset
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(4.0), actions=np.zeros(3), rewards=np.ones(3),
    ...     terminations=np.arange(3) == 2, truncations=np.zeros(3, bool))
    >>> noisy = GaussianNoise(scale=1e-3)(dataset).select("augmented")
    >>> bool(np.abs(noisy.observations - [0, 1, 1, 2, 2, 3]).max() < 0.01), noisy.rewards.tolist()
    (True, [1.0, 1.0, 1.0])
    """

    scale: float = Field(default=3e-4, gt=0, allow_inf_nan=False)

    def perturb(self, states: np.ndarray, generator: np.random.Generator) -> np.ndarray:  # noqa: D102
        return states + self.scale * generator.standard_normal(states.shape)


@register("augmentation.uniform_noise")
class UniformNoise(StatePerturbation):
    """Add transitions whose states have uniform noise.

    Parameters
    ----------
    ratio, length, seed
        See `SegmentAugmentation`.
    scale : float > 0
        Largest noise, in the unit of the state.

    Examples
    --------
    >>> generator = np.random.default_rng(0)
    >>> bool(np.abs(UniformNoise(scale=0.5).perturb(np.zeros((3, 2, 4)), generator)).max() <= 0.5)
    True
    """

    scale: float = Field(default=3e-4, gt=0, allow_inf_nan=False)

    def perturb(self, states: np.ndarray, generator: np.random.Generator) -> np.ndarray:  # noqa: D102
        return states + generator.uniform(-self.scale, self.scale, states.shape)
