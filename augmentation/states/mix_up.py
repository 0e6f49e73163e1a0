"""State mix-up: s~_t = z s_t + (1 - z) s_{t+1} with z ~ Beta(alpha, alpha), one z for each step (S4RL, section 4.1; alpha = 0.4).

The mixture of a segment's last state would need the state behind the segment; it is left as it is, so that a transition keeps its real
next state there.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from assay.augmentation.states.perturbation import StatePerturbation
from assay.datasets.transform import register

__all__ = ["StateMixUp"]


@register("augmentation.mix_up")
class StateMixUp(StatePerturbation):
    """Add transitions whose states lie between a state and the next one.

    Parameters
    ----------
    ratio, length, seed
        See `SegmentAugmentation`.
    alpha : float > 0
        Of the Beta distribution; small values stay near one of the two.

    Examples
    --------
    >>> generator = np.random.default_rng(0)
    >>> mixed = StateMixUp().perturb(np.array([[[0.0], [1.0]]]), generator)
    >>> bool(0 <= mixed[0, 0, 0] <= 1), mixed[0, 1].tolist()
    (True, [1.0])
    """

    alpha: float = Field(default=0.4, gt=0, allow_inf_nan=False)

    def perturb(self, states: np.ndarray, generator: np.random.Generator) -> np.ndarray:  # noqa: D102
        shape = (states.shape[0], states.shape[1] - 1)
        share = generator.beta(self.alpha, self.alpha, shape).reshape(*shape, *[1] * (states.ndim - 2))
        mixed = states.copy()
        mixed[:, :-1] = share * states[:, :-1] + (1 - share) * states[:, 1:]
        return mixed
