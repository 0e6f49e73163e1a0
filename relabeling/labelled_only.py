"""The two comparisons of a semi-supervised experiment: only what has labels, and the truth restored."""

from __future__ import annotations

from assay.datasets.dataset import Dataset
from assay.datasets.errors import DatasetError
from assay.datasets.transform import Transform, register
from assay.relabeling.shared.steps import keep_steps

__all__ = ["LabelledOnly", "RestoreTruth"]


@register("relabeling.labelled_only")
class LabelledOnly(Transform):
    """Leave out the steps that lack a label; where they lie inside an episode, it is split there.

    Parameters
    ----------
    element : "actions" or "rewards"

    Raises
    ------
    DatasetError
        When applied: if no step has a label.

    Examples
    --------
    >>> import numpy as np
    >>> from assay.relabeling import HideActions
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(8.0), actions=np.ones((4, 1)), rewards=[3.0, 1.0, 2.0, 4.0],
    ...     terminations=np.ones(4, bool), truncations=np.zeros(4, bool))
    >>> LabelledOnly()(HideActions(fraction=0.25, quantiles=(0.0, 0.25))(dataset)).rewards.tolist()
    [1.0]
    """

    element: str = "actions"

    def apply(self, dataset: Dataset) -> Dataset:
        """Return the dataset of the labelled steps."""
        missing = dataset.missing[self.element]
        if missing.all():
            raise DatasetError(f"no step has a label in {self.element}; nothing would be left")
        result = keep_steps(dataset, ~missing)
        name = f"missing/{self.element}"
        return result.replace({name: None}) if name in result.columns else result


@register("relabeling.truth")
class RestoreTruth(Transform):
    """Put the labels of `truth/<element>` back: the oracle that filled-in labels are compared with.

    Parameters
    ----------
    element : "actions" or "rewards"

    Raises
    ------
    DatasetError
        When applied: if the dataset does not know the truth.

    Examples
    --------
    >>> import numpy as np
    >>> from assay.relabeling import HideActions
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(8.0), actions=np.ones((4, 1)), rewards=[3.0, 1.0, 2.0, 4.0],
    ...     terminations=np.ones(4, bool), truncations=np.zeros(4, bool))
    >>> RestoreTruth()(HideActions(fraction=0.25)(dataset)).actions.ravel().tolist()
    [1.0, 1.0, 1.0, 1.0]
    """

    element: str = "actions"

    def apply(self, dataset: Dataset) -> Dataset:
        """Return the dataset with true labels, without what stood for them."""
        truth = f"truth/{self.element}"
        if truth not in dataset.columns:
            raise DatasetError(f"there is no column {truth}: nothing was hidden or replaced in {self.element}")
        others = (
            name for name in (f"missing/{self.element}", f"uncertainty/{self.element}") if name in dataset.columns
        )
        return dataset.replace({self.element: dataset.column(truth), truth: None, **dict.fromkeys(others)})
