"""Pairs of grey images, of which the brighter one is better."""

from __future__ import annotations

import numpy as np

from assay.relabeling.judges import Pairs, Segments


class Images:
    """Frames of one shade each, (L, 8, 8, 3); counts how often one was read."""

    def __init__(self, shades: np.ndarray) -> None:
        self.shades = np.asarray(shades, np.uint8).reshape(len(shades), -1)

    def __getitem__(self, segment: int) -> np.ndarray:
        shades = self.shades[segment]
        return np.broadcast_to(shades[:, None, None, None], (len(shades), 8, 8, 3)).copy()


def grey_pairs(first: np.ndarray, second: np.ndarray) -> Pairs:
    """Return pairs of images of these shades, (n,) or (n, L) in 0 to 255, with the shades as rewards."""
    sides = []
    for start, shades in ((0, first), (1000, second)):
        shades = np.asarray(shades).reshape(len(shades), -1)
        steps = start + np.arange(shades.size).reshape(shades.shape)
        sides.append(Segments(steps, shades.astype(np.float64), Images(shades)))
    return Pairs(*sides)


def random_pairs(count: int, seed: int = 0) -> tuple[Pairs, np.ndarray]:
    """Return pairs of different shades, and which is brighter."""
    generator = np.random.default_rng(seed)
    shades = np.array([generator.choice(256, 2, replace=False) for _ in range(count)])
    return grey_pairs(shades[:, 0], shades[:, 1]), (shades[:, 1] > shades[:, 0]).astype(int)
