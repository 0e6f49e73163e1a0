"""What a format cannot hold: columns that change what is learned are refused, everything else is left out with a warning.

========================================  ==========================================================================
refused, unless dropped by name            why
========================================  ==========================================================================
`next_observations` that differ            they are the dynamics; without them the data looks clean
`weights`                                  they decide how often a step is drawn
`costs`                                    safe methods learn from them
`corrupted/...`, `uncertainty/...`         they say which values were changed or filled in (steps and episodes)
`missing/...`, `infos/missing/...`         they say which labels and values are not there
`rewards`, `terminations`                  where the format makes something else of them
any other column but those below           somebody put it there to be learned from
========================================  ==========================================================================

Left out with one warning: `infos/...`, `time`, episode columns, truncations and final observations that the format has no place
for, names and units, and the provenance (info and history). `truth/...` is what a transform hid: no format but Assay's own is to show it.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable

from assay.datasets.dataset import Dataset, is_under
from assay.datasets.errors import AssayWarning, DatasetError, MissingLabelsError
from assay.datasets.generators import BLOCK_STEPS
from assay.datasets.missing import LABELS

__all__ = ["changes_learning", "names_and_units", "next_observations_differ", "report_losses", "require_held"]

_HARMLESS = ("infos", "time", "truncations", "truth")


def changes_learning(dataset: Dataset, name: str) -> bool:
    """Tell whether a method may learn something else when a column, of the steps or of the episodes, is missing.

    Examples
    --------
    >>> import numpy as np
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(3.0), actions=np.zeros(2), rewards=[1.0, 1.0], terminations=[False, True],
    ...     truncations=[False, False], columns={"weights": [1.0, 2.0], "infos/height": [0.0, 0.1]})
    >>> [name for name in dataset.columns if changes_learning(dataset, name)][-1]
    'weights'
    """
    if name not in dataset.columns:  # a column of the episodes table
        return is_under(name, "corrupted")
    if is_under(name, "next_observations"):
        return next_observations_differ(dataset)
    return is_under(name, "infos/missing") or not any(is_under(name, prefix) for prefix in _HARMLESS)


def next_observations_differ(dataset: Dataset) -> bool:
    """Tell whether a stored next observation differs, bit for bit, from the observation in the following row."""
    rows = dataset.observation_rows
    for name in dataset.columns:
        if not is_under(name, "next_observations"):
            continue
        stored, observations = dataset.column(name), dataset.column(name.removeprefix("next_"))
        if stored.dtype != observations.dtype:
            return True
        for start in range(0, len(stored), BLOCK_STEPS):
            following = observations[rows[start : start + BLOCK_STEPS] + 1]
            if stored[start : start + BLOCK_STEPS].tobytes() != following.tobytes():
                return True
    return False


def require_held(dataset: Dataset, format_title: str, *elements: str) -> None:
    """Raise MissingLabelsError where a format needs a column of actions or rewards that the dataset does not have.

    Parameters
    ----------
    dataset : Dataset
    format_title : str
        Name of the format, for messages.
    elements : str
        What the format cannot be without; default actions and rewards.
    """
    for element in elements or LABELS:
        if not any(is_under(name, element) for name in dataset.columns):
            raise MissingLabelsError(
                f'{format_title} holds no dataset without {element}; format="assay" and "npz" keep it as it is'
            )


def names_and_units(dataset: Dataset, *, names: bool = True, units: bool = True) -> list[str]:
    """Return in words which of them the dataset has: what a format without a place for them leaves out."""
    held = {"names of dimensions": names and dataset.info.names, "units": units and dataset.info.units}
    return [word for word, found in held.items() if found]


def report_losses(
    dataset: Dataset,
    format_title: str,
    columns: Iterable[str] = (),
    others: Iterable[str] = (),
    *,
    drop: Collection[str] = (),
) -> None:
    """Refuse what changes what is learned and was not dropped by name, and warn once of everything else.

    Parameters
    ----------
    dataset : Dataset
    format_title : str
        Name of the format, for messages.
    columns : iterable of str
        Columns, of the steps or of the episodes table, that the format has no place for.
    others : iterable of str
        What else is left out or changed, in words.
    drop : collection of str
        Columns that the user gave up.

    Raises
    ------
    DatasetError
        Naming the columns, and how to drop them.

    Warns
    -----
    AssayWarning
        Naming what is left out.
    """
    lost = list(columns)
    refused = [name for name in lost if name not in drop and changes_learning(dataset, name)]
    if refused:
        names = list(dict.fromkeys(name.split("/")[0] for name in refused))
        options = " ".join(f"--drop {name}" for name in names)
        raise DatasetError(
            f"{format_title} cannot hold {', '.join(refused)}, and what is learned depends on that. "
            f'format="assay" keeps everything; to write the rest, drop it by name: drop={names} ({options})'
        )
    texts = [*(name for name in lost if not is_under(name, "truth")), *others]
    if texts:
        warnings.warn(
            f'{format_title} has no place for {"; ".join(texts)}; left out (format="assay" keeps everything)',
            AssayWarning,
            stacklevel=5,
        )
