"""What a variant of a dataset is called: the name that it was given, else one made from its source and last transforms.

::

    hopper/medium-replay                         the source: its id
    hopper/medium-replay + rewards 0.3           after RandomCorruption(element="rewards", rate=0.3)
    noisy                                        after Named(variant="noisy") as well
    noisy + 90 episodes                          and after .select(range(90))

The name is read from the history, so it is saved, loaded and replayed with the dataset.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import Field

from assay.datasets.dataset import Dataset
from assay.datasets.errors import AssayError
from assay.datasets.info import BY_HAND, CONCATENATE, INFO, SELECT, SOURCE, Record
from assay.datasets.transform import Transform, make_transform, register, summary_of
from assay.datasets.wording import count_of

__all__ = ["NAMED", "Named", "is_transform", "name_from_history", "variant_name"]

NAMED = "datasets.named"
_NO_TRANSFORMS = (SOURCE, CONCATENATE, INFO, NAMED)
_MOST = 3  # transforms that a name tells


@register(NAMED)
class Named(Transform):
    """Name a variant: tables, figures and run folders call it so. The data stays as it is.

    Parameters
    ----------
    variant : str
        The name. Transforms that follow are appended to it.

    Examples
    --------
    >>> import numpy as np
    >>> from assay.corruption import RandomCorruption
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(6.0), actions=np.zeros((5, 1)), rewards=np.ones(5),
    ...     terminations=np.arange(5) == 4, truncations=np.zeros(5, bool))
    >>> noisy = RandomCorruption(element="rewards", rate=0.5)(dataset)
    >>> variant_name(noisy), variant_name(Named(variant="noisy")(noisy))
    ('dataset + rewards 0.5', 'noisy')
    """

    variant: str = Field(min_length=1, max_length=200)

    def apply(self, dataset: Dataset) -> Dataset:  # noqa: D102
        return dataset

    def summary(self) -> str:  # noqa: D102
        return self.variant


def variant_name(dataset: Dataset) -> str:
    """Return what a dataset is called in tables, figures and run folders; see the module's text.

    Examples
    --------
    >>> import assay
    >>> variant_name(assay.load("pendulum/random", steps=400))
    'pendulum/random'
    """
    return name_from_history(dataset.info.id, dataset.history)


def name_from_history(source: str, history: Iterable[Record]) -> str:
    """Return the name of a variant whose source has this id and whose history is this.

    Examples
    --------
    >>> history = [Record("source", {}), Record("corruption.random", {"element": "actions", "rate": 0.1})]
    >>> name_from_history("hopper/medium", history)
    'hopper/medium + actions 0.1'
    """
    base = source
    changes: list[str] = []
    for record in history:
        if record.transform == NAMED:
            base, changes = str(record.parameters.get("variant", "")), []
        elif record.transform == INFO and record.parameters.get("id"):
            base, changes = str(record.parameters["id"]), []
        elif is_transform(record.transform):
            changes.append(_summary(record))
    left_out = ["…"] if len(changes) > _MOST else []
    return " + ".join([base or "dataset", *left_out, *changes[-_MOST:]])


def is_transform(name: str) -> bool:
    """Tell whether a record of this name changed the data: a source or a name does not."""
    return name not in _NO_TRANSFORMS


def _summary(record: Record) -> str:
    if record.transform == SELECT:
        return count_of(len(record.parameters.get("episodes") or ()), "episode")
    if record.transform == BY_HAND:
        return "changed by hand"
    parameters: dict[str, Any] = dict(record.parameters)
    try:
        return make_transform(record.transform, parameters).summary()
    except (AssayError, TypeError, ValueError):  # of a later version, or from a plug-in that is not there
        return summary_of(record.transform, parameters)
