"""What to do with labels that were filled in with a large spread: leave their steps out, or draw them less often.

`relabeling/shared/uncertainty.py` says what a large spread is. A true label has weight 1, one of ordinary spread 1/2. SS-ORL
(Zheng et al. 2023) computes the spread of its ensemble and does not use it; whether it tells wrong labels from right ones is
what `relabeling.label_error` measures.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from assay.datasets.dataset import Dataset
from assay.datasets.transform import Transform, register
from assay.relabeling.shared.uncertainty import drop_uncertain, weight_by_spread

__all__ = ["UncertainLabels"]


@register("relabeling.uncertain")
class UncertainLabels(Transform):
    """Leave out or weight down the steps whose filled-in labels are uncertain.

    Parameters
    ----------
    element : str
        Whose labels: `"actions"`, `"rewards"`, ...
    method : "drop" or "weight"
        Leave out the most uncertain of the filled-in steps, or give every step a weight on top of weights that are
        there.
    share : float in (0, 1)
        Of the filled-in steps, for "drop".

    Raises
    ------
    DatasetError
        When applied: if no label of this element was filled in.

    Examples
    --------
    >>> import numpy as np
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(5.0), actions=np.zeros(4), rewards=np.zeros(4), terminations=np.zeros(4, bool),
    ...     truncations=np.arange(4) == 3, columns={"uncertainty/actions": [0.0, 2.0, 2.0, 6.0]})
    >>> UncertainLabels(method="weight")(dataset).weights.tolist()
    [1.0, 0.5, 0.5, 0.1]
    """

    element: str = "actions"
    method: Literal["drop", "weight"] = "drop"
    share: float = Field(default=0.1, gt=0, lt=1)

    def apply(self, dataset: Dataset) -> Dataset:
        """Return the dataset without the steps, or with its `weights` column."""
        if self.method == "weight":
            return weight_by_spread(dataset, self.element)
        return drop_uncertain(dataset, self.element, self.share)
