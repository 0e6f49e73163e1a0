"""Random corruption of one element of the transitions.

Source: Yang et al., "Towards Robust Offline Reinforcement Learning under Diverse Data Corruption" (RIQL), ICLR 2024,
arXiv 2310.12955; published code `attack.py`. With rate c and scale eps, a step is touched where
u < c, u ~ U[0, 1), and then

    observations   s   <-  s  + lambda * std(s)        lambda ~ U[-eps, eps]^dim(s)
    actions        a   <-  a  + lambda * std(a)        lambda ~ U[-eps, eps]^dim(a)
    rewards        r   <-  r'                          r'     ~ U[-30 eps, 30 eps]
    dynamics       s'  <-  s' + lambda * std(s')       lambda ~ U[-eps, eps]^dim(s)

std is the population standard deviation (ddof 0) of each dimension over the N steps, before this transform. Actions are
not clipped to their bounds, and the reward's 30 is absolute: about six times a HalfCheetah reward, and of another
meaning altogether where rewards are sparse. Both are as published, in the paper's text and in its code.

Only the named element changes. A step's s is not the s' of the step before it any more, so the clean s' are stored as
`next_observations` (unless they already are), and final observations, flags and all other columns stay as they are.
`corrupted/<element>` is True where a step was touched.

What differs from the paper or its code, on purpose:

- The paper says that c N transitions are sampled; the code draws each with probability c, and so do we: the count is
  binomial. In exchange the touched steps at a lower rate are among those at a higher one, with the same lambda.
- `seed` is its own; in the code it is the training seed, so that data and training vary together.
- Masks are kept per element and united over repeated corruption; the code returns the last mask only.
- s' of an episode's last step is its own final observation. D4RL's `qlearning_dataset`, which the code corrupts, takes
  the first observation of the next episode there, and drops steps that timed out.
- std is summed in float64 over the steps of the whole dataset. Noise is drawn and added in the column's precision
  (float64 for float64 columns, float32 for float32 and shorter ones); the code draws float64 and rounds the sum.
- The stream is Assay's (`assay.datasets.randomness`), one generator per block of steps, so no draw repeats the code's.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import Field

from assay.datasets.dataset import Dataset
from assay.datasets.errors import DatasetError
from assay.datasets.memory import copy, empty
from assay.datasets.randomness import block_generator, blocks
from assay.datasets.streaming import StepReader
from assay.datasets.transform import Transform, register

__all__ = ["RandomCorruption"]

REWARD_RANGE = 30.0  # of the published code; times scale
_CHUNK_BYTES = 1 << 20


@register("corruption.random")
class RandomCorruption(Transform):
    """Replace or disturb one element of randomly chosen steps (RIQL; the module's text has the equations).

    Parameters
    ----------
    element : "observations", "actions", "rewards" or "dynamics"
        What to touch; dynamics is the next observation. Of structured (Dict, Tuple) columns every floating leaf gets
        its own noise under one common mask, and leaves that are not floating stay as they are.
    rate : float in [0, 1]
        Probability that a step is touched.
    scale : float >= 0
        Largest noise in standard deviations; for rewards in units of 30.
    seed : int >= 0
        The touched steps and their noise depend on seed, element and the step's position alone.

    Raises
    ------
    ConfigError
        If a parameter is out of its range.
    DatasetError
        When applied: if the element is discrete, or holds NaN or infinity.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(6.0), actions=np.zeros((5, 1)), rewards=np.ones(5),
    ...     terminations=np.arange(5) == 4, truncations=np.zeros(5, bool))
    >>> variant = RandomCorruption(element="rewards", rate=0.5, scale=1.0, seed=0)(dataset)
    >>> bool(np.all((variant.rewards == 1.0) | variant.masks["rewards"]))
    True
    >>> np.shares_memory(variant.actions, dataset.actions)
    True
    """

    element: Literal["observations", "actions", "rewards", "dynamics"]
    rate: float = Field(default=0.3, ge=0, le=1)
    scale: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    seed: int = Field(default=0, ge=0)

    def apply(self, dataset: Dataset) -> Dataset:
        """Return the corrupted dataset; columns that do not change are shared."""
        reader = StepReader(dataset)
        changed: dict[str, np.ndarray] = {}
        if self.element in ("observations", "dynamics"):
            changed |= _clean_next_observations(reader)
        prefix = "next_observations" if self.element == "dynamics" else self.element
        clean = dataset.replace(changed) if changed else dataset
        reader = StepReader(clean)
        mask = self._mask(dataset.total_steps)
        for name in _floating_leaves(reader, prefix):
            owned = changed.get(name)  # made a moment ago, so nobody else sees it change
            changed[name] = self._disturb(reader, name, mask, copy(clean.column(name)) if owned is None else owned)
        before = dataset.masks.get(self.element)
        changed[f"corrupted/{self.element}"] = mask if before is None else mask | before
        return dataset.replace(changed)

    def _mask(self, steps: int) -> np.ndarray:
        mask = np.empty(steps, bool)
        for block, rows in blocks(steps):
            generator = block_generator(self.seed, self.name, f"{self.element}:mask", block)
            np.less(generator.random(rows.stop - rows.start), self.rate, out=mask[rows])
        return mask

    def _disturb(self, reader: StepReader, name: str, mask: np.ndarray, column: np.ndarray) -> np.ndarray:
        replaces = self.element == "rewards"
        if replaces:
            _require_finite(reader, name)
            spread = np.array(REWARD_RANGE)
        else:
            spread = _standard_deviation(reader, name)
        precision: type[Any] = np.float64 if column.dtype.itemsize >= 8 else np.float32
        with np.errstate(over="ignore"):
            reach = np.asarray(self.scale * spread, precision)  # per dimension
            span: np.ndarray = 2 * reach
            if not np.isfinite(span.astype(column.dtype)).all():
                raise DatasetError(
                    f"column {name} ({column.dtype}) cannot hold noise of scale {self.scale:g}; lower it"
                )
        starts_from_observations = name.partition("/")[0] == "observations"
        for block, rows in blocks(len(mask)):
            generator = block_generator(self.seed, self.name, f"{self.element}:{name}", block)
            for steps in reader.chunks(name, _CHUNK_BYTES, rows):
                # every step draws, touched or not: what a step gets must not depend on the mask of those before it
                noise: np.ndarray = generator.random((steps.stop - steps.start, *column.shape[1:]), dtype=precision)
                touched = np.flatnonzero(mask[steps])
                places = touched + steps.start
                if starts_from_observations:
                    places = reader.observation_rows(steps)[touched]
                noise = noise[touched]
                noise *= span
                noise -= reach
                if not replaces:
                    noise += column[places]
                column[places] = noise
        return column


def _floating_leaves(reader: StepReader, prefix: str) -> list[str]:
    names = reader.leaves(prefix)
    floating = [name for name in names if np.issubdtype(reader.dataset.column(name).dtype, np.floating)]
    if not floating:
        found = ", ".join(f"{name} {reader.dataset.column(name).dtype}" for name in names)
        raise DatasetError(
            f"random corruption adds real-valued noise, and {prefix} holds none that could take it ({found}); "
            "choose another element, or convert the column to floating point first if its values are quantities"
        )
    return floating


def _clean_next_observations(reader: StepReader) -> dict[str, np.ndarray]:
    """Gather the s' that are not stored yet, before anything is touched."""
    dataset = reader.dataset
    missing = [name for name in reader.leaves("observations") if f"next_{name}" not in dataset.columns]
    gathered = {}
    for name in missing:
        source = dataset.column(name)
        column = empty((dataset.total_steps, *source.shape[1:]), source.dtype)
        for steps in reader.chunks(name, _CHUNK_BYTES):
            column[steps] = reader.read_following(name, steps)
        gathered[f"next_{name}"] = column
    return gathered


def _standard_deviation(reader: StepReader, name: str) -> np.ndarray:
    """Return the population standard deviation of each dimension over the steps, in float64, in one pass.

    Means and squared deviations of chunks are merged (Chan, Golub and LeVeque 1979), which stays exact where the plain
    sum of squares cancels.
    """
    count, mean, squares = 0, np.zeros(()), np.zeros(())
    for steps in reader.chunks(name, _CHUNK_BYTES):
        values = reader.read(name, steps).astype(np.float64)
        size = len(values)
        with np.errstate(over="ignore", invalid="ignore"):
            chunk_mean = _sum_rows(values) / size
            if not np.isfinite(chunk_mean).all():
                reader.require_finite(name, steps, values)
            values -= chunk_mean
            np.square(values, out=values)
            shift = chunk_mean - mean
            squares = squares + _sum_rows(values) + np.square(shift) * (count * size / (count + size))
        mean = mean + shift * (size / (count + size))
        count += size
    result: np.ndarray = np.sqrt(squares / max(count, 1))
    return result


def _sum_rows(values: np.ndarray) -> np.ndarray:
    """Sum over the first axis; short rows are joined to long ones first, which the inner loop adds much faster."""
    joined, width = 32, values.shape[1:]
    whole = len(values) // joined * joined
    total: np.ndarray = values[whole:].sum(0)
    if whole:
        total = total + values[:whole].reshape(whole // joined, -1).sum(0).reshape(joined, *width).sum(0)
    return total


def _require_finite(reader: StepReader, name: str) -> None:
    for steps in reader.chunks(name, _CHUNK_BYTES):
        reader.require_finite(name, steps, reader.read(name, steps))
