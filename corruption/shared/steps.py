"""Choose the steps that a corruption touches: single transitions, windows or whole trajectories.

Every step i has one number u_i in [0, 1), a function of the seed, the element and i alone. A unit is the transition,
window
or trajectory that is touched as a whole; the number of its first step decides::

    episode        | 0             | 1                   |
    u              .7 .1 .9 .4 .2   .3 .8 .6 .1 .5 .9 .2
    transition     each step is a unit
    window = 2     .7    .9    .2   .3    .6    .5    .2   the last window of an episode may be shorter
    trajectory     .7               .3                     each episode is a unit

A unit is touched if u < rate. So the steps touched at a lower rate are among those touched at a higher one. With
count="exact", the round(rate x units) units of smallest u are touched.
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
    """Base of the transforms that touch a share of the steps; its parameters are given by keyword.

    Parameters
    ----------
    granularity : "transition", "window" or "trajectory"
        Unit that is touched or left alone as a whole.
    window : int >= 1
        Number of steps in a window.
    count : "random" or "exact"
        Whether every unit is touched with probability `rate`, or exactly the share `rate` of the units.
    tag : str, optional
        Touch only episodes with this tag; `rate` is then the share of their steps.
    mask : str, optional
        Boolean column that names the touched steps, such as `"infos/suspicious"`; the rate is then ignored.
    shared : str, optional
        Name for a choice of steps. Transforms with the same name, seed, rate and granularity touch the same steps, also
        for different elements. By default, each element has its own choice.
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
                raise ConfigError(f"{self.name}: mask names the steps, so tag has no effect; give one of the two")
            return _mask_column(dataset, self.mask)
        allowed = None if self.tag is None else np.repeat(dataset.tagged(self.tag), dataset.episode_lengths)
        name, purpose = (self.name, element) if self.shared is None else ("corruption", f"shared:{self.shared}")
        if self.granularity == "transition" and self.count == "random":
            mask = np.empty(dataset.total_steps, bool)
            drawn = np.empty(
                min(BLOCK_STEPS, dataset.total_steps)
            )  # one buffer for all blocks: allocating costs more than drawing
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
        within = np.arange(counts.sum()) - np.repeat(
            np.cumsum(counts) - counts, counts
        )  # number of each unit within its episode
        firsts = np.repeat(starts, counts) + size * within
        return firsts, np.minimum(size, np.repeat(starts + lengths, counts) - firsts)


def _mask_column(dataset: Dataset, name: str) -> np.ndarray:
    mask = dataset.column(name)
    if mask.dtype != bool or mask.shape != (dataset.total_steps,):
        raise DatasetError(
            f"column {name} is {mask.dtype}{list(mask.shape)}; a mask is one boolean per step, ({dataset.total_steps},)"
        )
    return np.array(mask)


def with_mask(dataset: Dataset, element: str, mask: np.ndarray) -> dict[str, np.ndarray]:
    """Return the column `corrupted/<element>`: the mask, united with the one of an earlier corruption."""
    before = dataset.masks.get(element)
    return {f"corrupted/{element}": mask if before is None else mask | before}
