"""Standardizing columns of numbers for a model, and going back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

__all__ = ["Scale"]


@dataclass(frozen=True)
class Scale:
    """What standardizes columns: (x - mean) / deviation, where a column that never changes is only shifted.

    Parameters
    ----------
    mean, deviation : (D,) float64 arrays
        The deviation of a column that never changes is 0: whatever a network says of it, it stays the same.
    """

    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> Scale:
        """Return the scale of rows (M, D)."""
        mean, deviation = values.mean(0, dtype=np.float64), values.std(0, dtype=np.float64)
        smallest = 1e-6 * np.maximum(np.abs(mean), 1.0)
        return cls(mean, np.where(deviation > smallest, deviation, 0.0))

    def down(self, values: np.ndarray) -> np.ndarray:
        """Return standardized rows, float32."""
        standardized: np.ndarray = ((values - self.mean) / self._divisor).astype(np.float32)
        return standardized

    @property
    def _divisor(self) -> np.ndarray:
        return np.where(self.deviation > 0, self.deviation, 1.0)

    def up(self, values: np.ndarray) -> np.ndarray:
        """Return rows in their own units, float64."""
        units: np.ndarray = np.asarray(values, np.float64) * self.deviation + self.mean
        return units

    def down_on_device(self, values: torch.Tensor) -> torch.Tensor:
        """Return standardized rows [..., D]."""
        return (values - values.new_tensor(self.mean)) / values.new_tensor(self._divisor)
