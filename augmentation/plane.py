"""Rigid motions of the plane, one for each of many segments: mirrored at the x axis or not, then rotated.

::

    x' = cos x - sin (m y)          m = -1 mirrors, 1 does not
    y' = sin x + cos (m y)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

__all__ = ["Motions", "Rotation", "angle_of", "turn"]

Rotation = Literal["quarter", "any"]
"""By which angles: multiples of 90 degrees, which hold exactly in a box-shaped world, or all."""

_QUARTERS = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])  # (cos, sin), without rounding


@dataclass(frozen=True)
class Motions:
    """M rigid motions.

    Parameters
    ----------
    cosine, sine : (M,) float64
        Of the angle by which each rotates.
    mirror : (M,) float64
        -1 where it mirrors at the x axis first, else 1.

    Examples
    --------
    >>> quarter = Motions(np.array([0.0]), np.array([1.0]), np.array([1.0]))
    >>> quarter(np.array([[1.0, 2.0]])).tolist()
    [[-2.0, 1.0]]
    """

    cosine: np.ndarray
    sine: np.ndarray
    mirror: np.ndarray

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """Move vectors, (M, ..., 2)."""
        shape = (-1, *[1] * (vectors.ndim - 2))
        cosine, sine, mirror = (part.reshape(shape) for part in (self.cosine, self.sine, self.mirror))
        x, y = vectors[..., 0], vectors[..., 1] * mirror
        moved = np.empty(vectors.shape)
        np.subtract(cosine * x, sine * y, out=moved[..., 0])
        np.add(sine * x, cosine * y, out=moved[..., 1])
        return moved

    @property
    def angle(self) -> np.ndarray:
        """Angle by which each rotates, (M,) in radians."""
        angle: np.ndarray = np.arctan2(self.sine, self.cosine)
        return angle

    @classmethod
    def draw(cls, count: int, generator: np.random.Generator, rotation: Rotation, mirrored: bool) -> Motions:
        """Draw motions uniformly."""
        mirror = _signs(count, generator, mirrored)
        if rotation == "quarter":
            return cls._of_quarters(generator.integers(0, 4, count), mirror)
        angle = generator.uniform(-np.pi, np.pi, count)
        return cls(np.cos(angle), np.sin(angle), mirror)

    @classmethod
    def towards(
        cls,
        vectors: np.ndarray,
        directions: np.ndarray,
        generator: np.random.Generator,
        rotation: Rotation,
        mirrored: bool,
    ) -> Motions:
        """Return motions that turn vectors, (M, 2), into directions, (M, 2), as nearly as the allowed angles do."""
        mirror = _signs(len(vectors), generator, mirrored)
        angle = angle_of(directions) - np.arctan2(vectors[:, 1] * mirror, vectors[:, 0])
        if rotation == "quarter":
            return cls._of_quarters(np.rint(angle / (np.pi / 2)).astype(np.int64) % 4, mirror)
        return cls(np.cos(angle), np.sin(angle), mirror)

    @classmethod
    def _of_quarters(cls, turns: np.ndarray, mirror: np.ndarray) -> Motions:
        cosine, sine = _QUARTERS.T
        return cls(cosine[turns], sine[turns], mirror)


def _signs(count: int, generator: np.random.Generator, drawn: bool) -> np.ndarray:
    return np.where(generator.random(count) < 0.5, -1.0, 1.0) if drawn else np.ones(count)


def angle_of(vectors: np.ndarray) -> np.ndarray:
    """Return the angle of vectors, (..., 2), in radians."""
    angle: np.ndarray = np.arctan2(vectors[..., 1], vectors[..., 0])
    return angle


def turn(vectors: np.ndarray, cosine: np.ndarray, sine: np.ndarray) -> np.ndarray:
    """Rotate vectors, (..., 2), by angles of the shape of their first axes."""
    x, y = vectors[..., 0], vectors[..., 1]
    return np.stack([cosine * x - sine * y, sine * x + cosine * y], axis=-1)
