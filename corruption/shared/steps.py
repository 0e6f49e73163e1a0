"""Which steps a corruption touches: single transitions, windows or whole trajectories, at random, counted or given.

Every step i has one number u_i in [0, 1), a function of the seed, the element and i alone::

    episode        | 0             | 1                   |
    u              .7 .1 .9 .4 .2   .3 .8 .6 .1 .5 .9 .2
    transition     every step decides by its own u
    window = 2     .7    .9    .2   .3    .6    .5    .2   by the u of its first step; the last of an episode may be short
    trajectory     .7               .3                     by the u of the episode's first step

A unit is touched where u < rate, so that the touched steps at a lower rate are among those at a higher one; or, with
count="exact", where u is among the round(rate x units) smallest.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pydantic
from pydantic import Field

from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError, DatasetError
from assay.datasets.generators import BLOCK_STEPS, block_generator, blocks, uniform_numbers
from assay.datasets.transform import Transform

__all__ = ["StepCorruption"]


@pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=pydantic.ConfigDict(extra="forbid"))
class StepCorruption(Transform):
    """What transforms that touch a share of the steps have in common; given by keyword.

    Parameters
    ----------
    granularity : "transition", "window" or "trajectory"
        What is touched or left as a whole.
    window : int >= 1
        Steps of a window.
    count : "random" or "exact"
        Whether every unit is touched with probability `rate`, or exactly the share `rate` of the units.
    tag : str, optional
        Touch only episodes with this tag; `rate` is then the share of their steps.
    mask : str, optional
        Touch exactly the steps that this boolean column holds, such as `"infos/suspicious"`, whatever the rate.
    shared : str, optional
        Transforms of equal `shared`, seed and selection touch the same steps, whatever their elements; by default each
        element has steps of its own.
    """

    granularity: Literal["transition", "window", "trajectory"] = "transition"
    window: int = Field(default=10, ge=1, kw_only=True)
    count: Literal["random", "exact"] = "random"
    tag: str | None = None
    mask: str | None = None
    shared: str | None = None

    def touched_steps(self, dataset: Dataset, element: str, rate: float, seed: int) -> np.ndarray:
        """Return which steps to touch, (N,) bool.

        Raises
        ------
        UnknownNameError
            If there is no such tag or mask column.
        DatasetError
            If the mask column is not one boolean per step.
        """
        if self.mask is not None:
            if self.tag is not None:
                raise ConfigError(f"{self.name}: mask names the steps, so tag has no part in it; give one of the two")
            return _given(dataset, self.mask)
        allowed = None if self.tag is None else np.repeat(dataset.tagged(self.tag), dataset.episode_lengths)
        name, purpose = (self.name, element) if self.shared is None else ("corruption", f"shared:{self.shared}")
        if self.granularity == "transition" and self.count == "random":
            mask = np.empty(dataset.total_steps, bool)
            drawn = np.empty(min(BLOCK_STEPS, dataset.total_steps))  # reused, as fresh pages cost more than the numbers
            for block, rows in blocks(dataset.total_steps):
                numbers = drawn[: rows.stop - rows.start]
                block_generator(seed, name, f"{purpose}:mask", block).random(out=numbers)
                np.less(numbers, rate, out=mask[rows])
            return mask if allowed is None else mask & allowed
        draws = uniform_numbers(dataset.total_steps, seed, name, f"{purpose}:mask")
        firsts, lengths = self._units(dataset)
        if allowed is not None:
            firsts, lengths = firsts[allowed[firsts]], lengths[allowed[firsts]]
        of_unit = draws[firsts]
        if self.count == "exact":
            chosen = np.zeros(len(firsts), bool)
            chosen[np.argsort(of_unit, kind="stable")[: round(rate * len(firsts))]] = True
        else:
            chosen = of_unit < rate
        mask = np.zeros(dataset.total_steps, bool)
        mask[slice(None) if allowed is None else allowed] = np.repeat(chosen, lengths)
        return mask

    def _units(self, dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
        """Return the first step and the length of every unit, in order."""
        starts, lengths = dataset.episode_starts, dataset.episode_lengths
        if self.granularity == "trajectory":
            return starts, lengths
        size = 1 if self.granularity == "transition" else self.window
        counts = -(-lengths // size)
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)  # of each unit in its episode
        firsts = np.repeat(starts, counts) + size * within
        return firsts, np.minimum(size, np.repeat(starts + lengths, counts) - firsts)


def _given(dataset: Dataset, name: str) -> np.ndarray:
    mask = dataset.column(name)
    if mask.dtype != bool or mask.shape != (dataset.total_steps,):
        raise DatasetError(
            f"column {name} is {mask.dtype}{list(mask.shape)}; a mask is one boolean per step, ({dataset.total_steps},)"
        )
    return np.array(mask)


def with_mask(dataset: Dataset, element: str, mask: np.ndarray) -> dict[str, np.ndarray]:
    """Return the column `corrupted/<element>`, united with what is there from before."""
    before = dataset.masks.get(element)
    return {f"corrupted/{element}": mask if before is None else mask | before}
