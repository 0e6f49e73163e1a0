"""Random corruption of one element of the transitions.

Source: Yang et al., "Towards Robust Offline Reinforcement Learning under Diverse Data Corruption" (RIQL), ICLR 2024,
arXiv 2310.12955; published code `attack.py`. With rate c and scale eps, a step is touched where
u < c, u ~ U[0, 1), and then

    observations   s   <-  s  + lambda * std(s)        lambda ~ U[-eps, eps]^dim(s)
    actions        a   <-  a  + lambda * std(a)        lambda ~ U[-eps, eps]^dim(a)
    rewards        r   <-  r'                          r'     ~ U[-30 eps, 30 eps]
    dynamics       s'  <-  s' + lambda * std(s')       lambda ~ U[-eps, eps]^dim(s)

std is the population standard deviation (ddof 0) of each dimension over the N steps, before this transform. As
published, in the text and in the code, actions are not clipped to their bounds (`clip` does it), and rewards are
replaced in an absolute range (`rewards="added"` disturbs them by their own spread). The 30 is about six times a
HalfCheetah reward; where rewards are sparse it means something else.

Only the named element changes. After that, the s of a step differs from the s' of the step before it. So the clean s'
are stored as `next_observations`, unless they already are. Final observations, flags and all other columns stay as they
are. `corrupted/<element>` is True where a step was touched. Beyond the paper there is

    states         s_t and the s' of step t-1, together: the trajectory stays continuous (as in RDT and ADG, whose
                   sequences hold each state once). Where a stored s' differs from s_t already, it stays as it is.

and, in place of lambda ~ U[-eps, eps]:

    gaussian            lambda ~ N(0, eps^2)
    student_t           lambda = eps t,  t of Student's distribution: heavy tails
    salt_and_pepper     each dimension becomes, with probability eps, the least or the largest value of its column
    replacement         the whole row becomes that of another step, drawn uniformly; for discrete elements too

What differs from the paper or its code, on purpose:

- The paper says that c N transitions are sampled. The code draws each with probability c, and so do we by default: the
  count is binomial, and the steps touched at a lower rate are among those at a higher one, with the same lambda.
  count="exact" takes exactly c N.
- `seed` is a seed of the corruption alone. In the code it is the training seed, so that data and training vary
  together.
- Masks are kept per element and united over repeated corruption; the code returns the last mask only.
- s' of an episode's last step is its own final observation. D4RL's `qlearning_dataset`, which the code corrupts, takes
  the first observation of the next episode there, and drops steps that timed out.
- std is summed in float64 over the steps of the whole dataset. Noise is drawn and added in the column's precision
  (float64 for float64 columns, float32 for float32 and shorter ones); the code draws float64 and rounds the sum.
- Random numbers come from `assay.datasets.generators`, one generator per block of steps, so they differ from the
  code's.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import Field, model_validator

from assay.corruption.shared import elements
from assay.corruption.shared.elements import (
    action_bounds,
    extremes,
    floating_leaves,
    follow_states,
    open_element,
    require_finite,
    standard_deviation,
    writable,
)
from assay.corruption.shared.steps import StepCorruption, with_mask
from assay.datasets.dataset import Dataset
from assay.datasets.errors import DatasetError
from assay.datasets.generators import block_generator, blocks, random_rows
from assay.datasets.memory import copy
from assay.datasets.streaming import StepReader
from assay.datasets.transform import register

__all__ = ["RandomCorruption"]

REWARD_RANGE = 30.0  # as in the published code; it is multiplied by the scale
_REACH = {"uniform": 1.0, "gaussian": 10.0, "student_t": 1e4}  # scales that practically no draw exceeds


@register("corruption.random")
class RandomCorruption(StepCorruption):
    """Replace or disturb one element of randomly chosen steps (RIQL; the module's text has the equations).

    Parameters
    ----------
    element : "observations", "actions", "rewards", "dynamics" or "states"
        What to touch; dynamics is the next observation, states are observations together with the next observation of
        the step before. Of structured (Dict, Tuple) columns every floating leaf gets its own noise under one common
        mask, and leaves that are not floating stay as they are.
    rate : float in [0, 1]
        Probability that a step is touched.
    scale : float >= 0
        Largest noise, or its spread, in standard deviations; for replaced rewards in units of 30.
    seed : int >= 0
        The touched steps and their noise depend on seed, element and the step's position alone.
    distribution : "uniform", "gaussian", "student_t", "salt_and_pepper" or "replacement"
        Distribution of the noise.
    unit : "standard_deviation" or "absolute"
        Whether noise is in standard deviations of its dimension, or in the column's own unit.
    rewards : "replaced" or "added"
        Whether rewards are replaced, as published, or disturbed like the other elements.
    clip : bool
        Keep touched actions inside the action space.
    degrees_of_freedom : float > 0
        Degrees of freedom of Student's distribution; fewer give heavier tails.
    granularity, window, count, tag, mask, shared
        Which steps; see `StepCorruption`.

    Raises
    ------
    ConfigError
        If a parameter is out of its range.
    DatasetError
        When applied: if the element is discrete (except for replacement), or holds NaN or infinity.

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

    element: Literal["observations", "actions", "rewards", "dynamics", "states"]
    rate: float = Field(default=0.3, ge=0, le=1)
    scale: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    seed: int = Field(default=0, ge=0)
    distribution: Literal["uniform", "gaussian", "student_t", "salt_and_pepper", "replacement"] = "uniform"
    unit: Literal["standard_deviation", "absolute"] = "standard_deviation"
    rewards: Literal["replaced", "added"] = "replaced"
    clip: bool = False
    degrees_of_freedom: float = Field(default=2.0, gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _consistent(self) -> RandomCorruption:
        if self.clip and self.element != "actions":
            raise ValueError(f"only actions are clipped to the action space, not {self.element}")
        if self.distribution == "salt_and_pepper" and self.scale > 1:
            raise ValueError(f"the scale of salt_and_pepper is a probability; {self.scale:g} is more than 1")
        return self

    def summary(self) -> str:  # noqa: D102
        return super().summary().removeprefix("random ")

    def apply(self, dataset: Dataset) -> Dataset:
        """Return the corrupted dataset; columns that do not change are shared."""
        reader, element, changed = open_element(dataset, self.element)
        mask = self.touched_steps(dataset, self.element, self.rate, self.seed)
        replaces = self.distribution == "replacement"  # reads other rows of the column, so the result needs a copy
        for name in reader.leaves(element) if replaces else floating_leaves(reader, element):
            column = copy(reader.dataset.column(name)) if replaces else writable(reader, name, changed)
            changed[name] = self._disturb(reader, name, mask, column)
            if self.element == "states" and dataset.has_next_observations:
                changed[f"next_{name}"] = follow_states(reader, name, mask, column)
        return dataset.replace(changed | with_mask(dataset, self.element, mask))

    def _disturb(self, reader: StepReader, name: str, mask: np.ndarray, column: np.ndarray) -> np.ndarray:
        """Change the touched rows of a column in place."""
        change = self._change_of(reader, name, column.dtype)
        starts_from_observations = name.partition("/")[0] == "observations"
        bounds = action_bounds(reader.dataset, name) if self.clip else None
        # Each leaf has its own noise, but all leaves of a replaced row come from the same other step.
        purpose = f"{self.element}:rows" if self.distribution == "replacement" else f"{self.element}:{name}"
        for block, rows in blocks(len(mask)):
            generator = block_generator(self.seed, self.name, purpose, block)
            for steps in reader.chunks(name, elements.CHUNK_BYTES, rows):
                touched = np.flatnonzero(mask[steps])
                part, places = column[steps], touched
                if starts_from_observations:
                    part, places = column, reader.observation_rows(steps)[touched]
                values = change(generator, steps, touched, places, part)
                if bounds is not None:
                    values = np.clip(values, *bounds)
                part[places] = values
        return column

    def _change_of(self, reader: StepReader, name: str, dtype: np.dtype) -> Any:
        """Return a function (generator, steps, touched, places, column) that gives the new values of touched rows.

        Numbers are drawn for every step, touched or not, so that the noise of a step does not depend on the mask of the
        steps before it.
        """
        if self.distribution == "replacement":
            return self._rows_of_others(reader, name)
        if self.distribution == "salt_and_pepper":
            return self._extreme_values(*extremes(reader, name))
        replaces = self.element == "rewards" and self.rewards == "replaced"
        precision: type[Any] = np.float64 if dtype.itemsize >= 8 else np.float32
        if replaces or self.unit == "absolute":
            require_finite(reader, name)
            spread = np.array(REWARD_RANGE if replaces and self.unit == "standard_deviation" else 1.0)
        else:
            spread = standard_deviation(reader, name)
        with np.errstate(over="ignore"):
            reach = np.asarray(self.scale * spread, precision)  # per dimension
            span: np.ndarray = 2 * reach
            if not np.isfinite((span * _REACH[self.distribution]).astype(dtype)).all():
                raise DatasetError(f"column {name} ({dtype}) cannot hold noise of scale {self.scale:g}; lower it")

        def change(
            generator: np.random.Generator, steps: slice, touched: np.ndarray, places: np.ndarray, column: np.ndarray
        ) -> np.ndarray:
            shape = (steps.stop - steps.start, *column.shape[1:])
            if self.distribution == "uniform":
                noise = random_rows(generator, shape, touched, precision)
                noise *= span
                noise -= reach
            elif self.distribution == "gaussian":
                noise = generator.standard_normal(shape, dtype=precision)[touched]
                noise *= reach
            else:
                noise = generator.standard_t(self.degrees_of_freedom, shape)[touched].astype(precision)
                noise *= reach
            if not replaces:
                noise += np.take(column, places, axis=0)
            return noise

        return change

    def _extreme_values(self, low: np.ndarray, high: np.ndarray) -> Any:
        def change(
            generator: np.random.Generator, steps: slice, touched: np.ndarray, places: np.ndarray, column: np.ndarray
        ) -> np.ndarray:
            draws = random_rows(generator, (steps.stop - steps.start, *column.shape[1:]), touched)
            values = np.where(draws < self.scale / 2, low, high)
            return np.where(draws < self.scale, values, column[places])

        return change

    def _rows_of_others(self, reader: StepReader, name: str) -> Any:
        total = reader.dataset.total_steps
        source = reader.dataset.column(name)

        def change(
            generator: np.random.Generator, steps: slice, touched: np.ndarray, places: np.ndarray, column: np.ndarray
        ) -> np.ndarray:
            further = 1 + generator.integers(0, max(1, total - 1), steps.stop - steps.start)
            others = (touched + steps.start + further[touched]) % total
            if len(source) != total:
                others = others + reader.episodes_of(others)
            taken: np.ndarray = source[others]
            return taken

        return change
