"""The oracle filter: leave out exactly what was corrupted.

No detector can do better, so it bounds what filtering can reach, and the rest of the loss is that of having fewer data.
RIQL's code holds it, as `use_original`, but no option reaches it.
"""

from __future__ import annotations

import numpy as np

from assay.corruption.repair.filters import Examination, Filter
from assay.datasets.dataset import Dataset
from assay.datasets.errors import UnknownNameError
from assay.datasets.transform import register

__all__ = ["OracleFilter"]

_TRUE_TRANSITIONS = ("truncations",)  # steps that were stopped artificially hold nothing false


@register("corruption.repair.oracle")
class OracleFilter(Filter):
    """Leave out the steps that the ground truth marks.

    With `states`, the step before a touched one goes too: its next observation is the touched state.

    Parameters
    ----------
    elements : tuple of str, optional
        Whose masks, such as `("rewards",)`; default all but `truncations`, whose transitions are true.
    action : "drop", "weights" or "flag"
        See `Filter`; flags are in the column `flagged/oracle`.

    Raises
    ------
    UnknownNameError
        When applied: if there is no such mask.
    DatasetError
        When applied: if nothing is left.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(5.0), actions=np.zeros(4), rewards=[0.0, 9.0, 2.0, 3.0],
    ...     terminations=np.arange(4) == 3, truncations=np.zeros(4, bool),
    ...     columns={"corrupted/rewards": np.arange(4) == 1})
    >>> clean = OracleFilter()(dataset)
    >>> clean.rewards.tolist(), clean.observations.tolist(), clean.truncations.tolist()
    ([0.0, 2.0, 3.0], [0.0, 1.0, 2.0, 3.0, 4.0], [True, False, False])
    """

    elements: tuple[str, ...] | None = None

    @property
    def label(self) -> str:
        """The name of its flags."""
        return "oracle"

    def examine(self, dataset: Dataset) -> Examination:
        """Unite the masks; final observations that are known to be corrupted are wrong themselves."""
        flagged, _ = self.find(dataset)
        touched = dataset.episode_columns.get("corrupted/final_observation")
        if touched is None or not {"observations", "states"} & set(self._names(dataset)):
            return Examination(flagged)
        wrong = np.zeros(dataset.total_steps + dataset.total_episodes, bool)
        lasts = dataset.episode_starts + dataset.episode_lengths - 1
        wrong[dataset.observation_rows[lasts] + 1] = touched.astype(bool)
        return Examination(flagged, None, wrong)

    def _names(self, dataset: Dataset) -> tuple[str, ...]:
        if self.elements is not None:
            return self.elements
        return tuple(name for name in dataset.masks if name not in _TRUE_TRANSITIONS)

    def find(self, dataset: Dataset) -> tuple[np.ndarray, np.ndarray | None]:
        """Unite the masks."""
        masks, names = dataset.masks, self._names(dataset)
        flagged = np.zeros(dataset.total_steps, bool)
        for name in names:
            if name not in masks:
                raise UnknownNameError("mask", name, masks, "" if masks else "(nothing of this dataset is corrupted)")
            flagged |= masks[name]
            if name == "states":
                later = masks[name].copy()
                later[dataset.episode_starts] = False
                flagged[:-1] |= later[1:]
        return flagged, None
