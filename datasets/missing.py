"""Labels that a dataset lacks: which steps have no action or no reward, and what needs them says so.

::

    all there       column `actions`
    partly missing  column `actions`, and `missing/actions` (N,) bool: where True, NaN in floating columns and 0 in others
    wholly missing  no column `actions`

So a missing label is always said by a mask or by an absent column. NaN without a mask is a defect, which `validate` reports.
What a transform hid or replaced stands in `truth/<element>`, and the spread of a label that was filled in in
`uncertainty/<element>`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.datasets.column_checks import LABELS, as_array, is_under
from assay.datasets.errors import DatasetError, MissingLabelsError

if TYPE_CHECKING:
    from assay.datasets.dataset import Dataset

__all__ = [
    "LABELS",
    "blank",
    "check_masks",
    "complete_episodes",
    "describe_missing",
    "missing_masks",
    "partly_missing",
    "require_labels",
    "without_labels",
]

_FILLED_BY = {
    "actions": "assay.relabeling fills them in (relabeling.inverse_dynamics, from steps that have actions)",
    "rewards": "assay.relabeling fills them in (relabeling.preferences, relabeling.progress, relabeling.success)",
}


def missing_masks(columns: Mapping[str, np.ndarray], steps: int) -> dict[str, np.ndarray]:
    """Return which steps lack a label, element -> read-only bool (steps,)."""
    masks = {}
    for element in LABELS:
        mask = columns.get(f"missing/{element}")
        if mask is None:
            absent = not any(is_under(name, element) for name in columns)
            mask = np.broadcast_to(np.array(absent), (steps,))
        masks[element] = mask
    return masks


def describe_missing(dataset: Dataset) -> list[str]:
    """Return a clause for each element that lacks labels, such as `"no rewards"` or `"3 of 10 actions missing"`.

    Examples
    --------
    >>> from assay.datasets import Dataset
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(4.0), actions=np.ones(3), terminations=[False, False, True], truncations=[False] * 3,
    ...     missing={"actions": [True, False, False]})
    >>> describe_missing(dataset)
    ['1 of 3 actions missing', 'no rewards']
    """
    clauses = []
    for element, mask in dataset.missing.items():
        count = int(mask.sum())
        if len(mask) and count == len(mask):
            clauses.append(f"no {element}")
        elif count:
            clauses.append(f"{count:,} of {len(mask):,} {element} missing")
    return clauses


def partly_missing(dataset: Dataset) -> list[str]:
    """Return the elements of which some steps have a label and others have none.

    Examples
    --------
    >>> from assay.datasets import Dataset
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(4.0), actions=np.ones(3), terminations=[False, False, True], truncations=[False] * 3,
    ...     missing={"actions": [True, False, False]})
    >>> partly_missing(dataset)
    ['actions']
    """
    return [element for element, mask in dataset.missing.items() if mask.any() and not mask.all()]


def complete_episodes(dataset: Dataset, elements: Sequence[str]) -> np.ndarray:
    """Return (E,) bool: the episodes all of whose steps have labels of these elements.

    Examples
    --------
    >>> from assay.datasets import Dataset
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(5.0), actions=np.ones(3), terminations=[False, True, True], truncations=[False] * 3,
    ...     missing={"actions": [True, False, False]})
    >>> complete_episodes(dataset, ["actions"]).tolist()
    [False, True]
    """
    complete = np.ones(dataset.total_episodes, bool)
    for element in elements:
        complete[dataset.episode_of_step[dataset.missing[element]]] = False
    return complete


def require_labels(dataset: Dataset, *elements: str, by: str) -> None:
    """Raise MissingLabelsError where a step has no label of these elements.

    Parameters
    ----------
    elements : str
        "actions", "rewards".
    by : str
        What needs them, as the subject of a sentence: "the sampler", "BC".
    """
    for element in elements:
        mask = dataset.missing[element]
        count = int(mask.sum())
        if not count:
            continue
        if count == len(mask):
            raise MissingLabelsError(f"{by} needs {element}, and this dataset has none; {_FILLED_BY[element]}")
        raise MissingLabelsError(
            f"{by} needs {element}, and {count:,} of {len(mask):,} steps have none (the first is step "
            f"{int(mask.argmax())}); {_FILLED_BY[element]}, relabeling.labelled_only leaves those steps out"
        )


def no_labels(element: str) -> MissingLabelsError:
    """Return the error of a dataset that was asked for a column of labels that it does not have."""
    return MissingLabelsError(f"this dataset has no {element}; {_FILLED_BY[element]}")


def blank(array: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return a copy in which the rows of the mask hold no label: NaN in floating arrays, 0 in others.

    Examples
    --------
    >>> blank(np.array([1.0, 2.0]), np.array([True, False])).tolist(), blank(np.array([1, 2]), np.array([True, False])).tolist()
    ([nan, 2.0], [0, 2])
    """
    result = np.array(array)
    result[mask] = np.nan if array.dtype.kind in "fc" else np.zeros((), array.dtype)
    return result


def check_masks(missing: Mapping[str, Any] | None, steps: int) -> dict[str, np.ndarray]:
    """Return the masks of missing labels that somebody gave, element -> bool (steps,), without those that name nothing.

    Raises
    ------
    DatasetError
        If an element cannot be missing, or its mask is no flat list of `steps` booleans.
    """
    if not isinstance(missing, Mapping | None):
        raise DatasetError(
            'missing must be a mapping such as {"actions": mask}, with one boolean per step, '
            f"not {type(missing).__name__}"
        )
    masks = {}
    for element, value in (missing or {}).items():
        if element not in LABELS:
            raise DatasetError(f"missing: {element!r} cannot be missing; only actions and rewards can")
        mask = as_array(f"missing/{element}", value, copy=True)
        if mask.dtype != bool or mask.shape != (steps,):
            raise DatasetError(
                f"missing/{element} must be {steps} booleans, one per step, not {mask.dtype} of shape {mask.shape}"
            )
        if mask.any():
            masks[element] = mask
    return masks


def without_labels(columns: Mapping[str, np.ndarray], masks: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the columns without the labels of the masks: blanked, with their `missing/...` columns.

    Labels that `missing/...` columns name already stay missing.

    Raises
    ------
    DatasetError
        If a mask is given for labels that have no column at all.
    """
    result = dict(columns)
    for element, mask in masks.items():
        names = [name for name in columns if is_under(name, element)]
        if not names:
            raise DatasetError(f"missing names {element}, and there is no column {element}; leave the mask out")
        before = columns.get(f"missing/{element}")
        result |= {name: blank(columns[name], mask) for name in names}
        result[f"missing/{element}"] = mask if before is None else mask | before
    return result
