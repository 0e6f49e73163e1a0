"""What a model says of actions, and how several models are joined.

Networks and models see continuous actions scaled to [-1, 1]; discrete ones are numbered from 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

__all__ = ["Mixture", "Prediction", "Predictor"]


@dataclass(frozen=True)
class Prediction:
    """Of n steps.

    Parameters
    ----------
    mean : (n, action) float64
        Scaled actions; of discrete ones the probabilities, (n, A).
    deviation : (n, action) float64, optional
        Standard deviation of the scaled actions; None for discrete ones.
    """

    mean: np.ndarray
    deviation: np.ndarray | None = None


class Predictor(Protocol):
    """A fitted model of the actions."""

    @property
    def past_states(self) -> int:
        """How many states before s_t its windows hold."""

    def __call__(self, inputs: np.ndarray) -> Prediction:
        """Predict the actions of windows (n, (past_states + 2) state), as `Windows.inputs` gives them."""


@dataclass(frozen=True)
class Mixture:
    """The distribution that is one of several, all equally likely: its mean, and the spread within and between them.

    Parameters
    ----------
    parts : sequence of Predictor
        Of windows of one length.

    Examples
    --------
    >>> class Constant:
    ...     past_states = 0
    ...     def __init__(self, mean): self.mean = mean
    ...     def __call__(self, inputs): return Prediction(np.full((1, 1), self.mean), np.full((1, 1), 3.0))
    >>> found = Mixture((Constant(-4.0), Constant(4.0)))(np.zeros((1, 2)))
    >>> found.mean.item(), found.deviation.item()
    (0.0, 5.0)
    """

    parts: Sequence[Predictor]

    @property
    def past_states(self) -> int:
        """That of the parts."""
        return self.parts[0].past_states

    def __call__(self, inputs: np.ndarray) -> Prediction:
        """Predict with all parts."""
        found = [part(inputs) for part in self.parts]
        mean = np.mean([item.mean for item in found], axis=0)
        deviations = [item.deviation for item in found if item.deviation is not None]
        if not deviations:
            return Prediction(mean)
        within = np.mean(np.square(deviations), axis=0)
        between = np.mean(np.square([item.mean - mean for item in found]), axis=0)
        return Prediction(mean, np.sqrt(within + between))
