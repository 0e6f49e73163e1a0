r"""Weights by what a column says: progress, an uncertainty, a cost, a score of every episode.

With x the column, min-max scaled to [0, 1] over its finite numbers, and alpha a temperature:

============  =====================================  =================================================
form          weight                                 for
============  =====================================  =================================================
proportional  the number itself                      weights and shares that somebody else has made
softmax       exp(x / alpha)                         scores, of which more is better
============  =====================================  =================================================

`lower_is_better` turns x around: exp((1 - x) / alpha). A NaN is no score: such a step or episode has weight 0.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError, DatasetError, UnknownNameError
from assay.datasets.transform import register
from assay.reweighting.weighting import Weighting

__all__ = ["ColumnWeighting"]


@register("reweighting.column")
class ColumnWeighting(Weighting):
    """Weight steps by a column of the steps, or of the episodes table.

    Parameters
    ----------
    of : str
        Such as `"infos/progress"`, `"uncertainty/actions"` (of several numbers, the largest), or an episode column such as `"return"`.
    form : "softmax" or "proportional"
    temperature : float > 0
        Of the softmax; lower is greedier.
    lower_is_better : bool
        Of the softmax: turn the scale around.
    combine
        As of `Weighting`.

    Raises
    ------
    UnknownNameError, ConfigError, DatasetError
        When applied: if there is no such column, it holds no numbers, or `proportional` numbers below 0.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(5.0), actions=np.zeros(3), rewards=[1.0, 1.0, 4.0], episode_lengths=[2, 1],
    ...     columns={"infos/progress": [0.0, 1.0, 2.0]})
    >>> ColumnWeighting(of="infos/progress", form="proportional")(dataset).weights.tolist()
    [0.0, 1.0, 2.0]
    >>> weights = ColumnWeighting(of="return", temperature=0.5, lower_is_better=True)(dataset).weights
    >>> weights.round(3).tolist()  # returns 2, 2 and 4
    [1.405, 1.405, 0.19]
    """

    of: str
    form: Literal["softmax", "proportional"] = "softmax"
    temperature: float = Field(default=0.1, gt=0, allow_inf_nan=False)
    lower_is_better: bool = False

    def weigh(self, dataset: Dataset) -> np.ndarray:  # noqa: D102
        values = self._values(dataset)
        if len(wrong := np.flatnonzero(np.isinf(values))):
            raise DatasetError(
                f"column {self.of} is {values[wrong[0]]} at step {wrong[0]}; a score is a finite number, or NaN"
            )
        known = ~np.isnan(values)
        if not known.any():
            raise DatasetError(f"column {self.of} holds no finite number")
        if self.form == "proportional":
            if self.lower_is_better:
                raise ConfigError(
                    "lower_is_better turns the scale of the softmax around; proportional weights have none"
                )
            if len(wrong := np.flatnonzero(known & (values < 0))):
                raise DatasetError(
                    f"column {self.of} is {values[wrong[0]]:g} at step {wrong[0]}; a weight is at least 0"
                )
            return np.where(known, values, 0.0)
        low, high = values[known].min(), values[known].max()
        scaled = (values - low) / (high - low) if high > low else np.ones(len(values))
        if self.lower_is_better:
            scaled = 1.0 - scaled
        # from the best step down, so that the exponential cannot overflow
        return np.where(known, np.exp((np.where(known, scaled, 1.0) - 1.0) / self.temperature), 0.0)

    def _values(self, dataset: Dataset) -> np.ndarray:
        """Return one number per step, (N,) float64."""
        if self.of in dataset.columns:
            array = dataset.column(self.of)
            if len(array) != dataset.total_steps:
                raise ConfigError(f"column {self.of} has a row more for each episode; one number per step is needed")
            array = array.reshape(len(array), -1).max(axis=1) if array.ndim > 1 else array
        elif self.of in dataset.episodes.columns:
            array = dataset.episodes[self.of].to_numpy()[dataset.episode_of_step]
        else:
            raise UnknownNameError("column", self.of, [*dataset.columns, *dataset.episodes.columns])
        if array.dtype.kind not in "biuf":
            raise ConfigError(f"column {self.of} holds {array.dtype}; numbers are needed")
        return array.astype(np.float64)
