"""Hide the actions of most episodes, as the published splits of SS-ORL do, to measure what filling them in is worth.

Source: Zheng et al. 2023 (arXiv 2210.06518), section 5 and `data.py` of the published code. Trajectories are sorted by their
undiscounted return. Of the n trajectories, n x fraction keep their labels, drawn without replacement from a range of
quantiles of the return.

==========  ====================================  ==============================================================
choice      fields                                in the paper
==========  ====================================  ==============================================================
coupled     quantiles (0, q)                      labelled from the lowest q; all others are unlabelled
decoupled   quantiles, unlabelled_quantiles       both drawn from ranges of their own; what is in neither is dropped
random      quantiles (0, 1)                      labelled from all
==========  ====================================  ==============================================================

The published code first drops the trajectory of the least return, by a strict comparison of cumulated lengths. Here none is
dropped.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from assay.datasets.dataset import Dataset, is_under
from assay.datasets.errors import ConfigError, DatasetError
from assay.datasets.generators import block_generator
from assay.datasets.missing import blank
from assay.datasets.registry import Seed
from assay.datasets.transform import Transform, register

__all__ = ["HideActions"]


@register("relabeling.hide_actions")
class HideActions(Transform):
    """Keep the actions of a few episodes and hide all others.

    Parameters
    ----------
    fraction : float in (0, 1]
        Of all episodes that keep their actions, rounded down and at least one; at most as many as the range holds.
    quantiles : (low, high), 0 <= low < high <= 1
        Range of the returns that they are drawn from: episodes of rank int(low n) to int(high n) - 1, from the lowest
        return; equal returns in the order of the dataset.
    unlabelled_quantiles : (low, high), optional
        The episodes that are left without actions; all others that keep none are dropped. Default: all others.
    unlabelled_fraction : float in (0, 1], optional
        Of all episodes, how many at most of these are kept; default all.
    seed : int >= 0
        Of the draw.

    Raises
    ------
    ConfigError
        If a range is empty or outside [0, 1]; when applied, if actions are nested.
    DatasetError
        When applied: if there are no actions, no episode lies in the range, or a return is unknown.

    Notes
    -----
    Hidden actions are NaN (0 where they are integers) and `missing/actions` is True. The column `truth/actions` holds the
    actions as they were; no learner, metric or export sees it unless asked by name. Rewards and states stay.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(8.0), actions=np.ones((4, 1)), rewards=[3.0, 1.0, 2.0, 4.0],
    ...     terminations=np.ones(4, bool), truncations=np.zeros(4, bool))
    >>> hidden = HideActions(fraction=0.25, quantiles=(0.0, 0.25))(dataset)
    >>> hidden.missing["actions"].tolist(), hidden.column("truth/actions").ravel().tolist()
    ([True, False, True, True], [1.0, 1.0, 1.0, 1.0])
    """

    fraction: float = Field(default=0.1, gt=0, le=1)
    quantiles: tuple[float, float] = (0.0, 0.5)
    unlabelled_quantiles: tuple[float, float] | None = None
    unlabelled_fraction: float | None = Field(default=None, gt=0, le=1)
    seed: Seed = 0

    def __post_init__(self) -> None:
        for name in ("quantiles", "unlabelled_quantiles"):
            low, high = getattr(self, name) or (0.0, 1.0)
            if not 0 <= low < high <= 1:
                raise ConfigError(f"{name}=({low:g}, {high:g}): expected 0 <= low < high <= 1")

    def apply(self, dataset: Dataset) -> Dataset:
        """Return the dataset with most actions hidden."""
        if "actions" not in dataset.columns:
            nested = any(is_under(name, "actions") for name in dataset.columns)
            raise (
                ConfigError("nested actions cannot be hidden")
                if nested
                else DatasetError("there are no actions to hide")
            )
        labelled, unlabelled = self._episodes(dataset)
        shown = np.zeros(dataset.total_episodes, bool)
        shown[labelled] = True
        hidden = ~np.repeat(shown, dataset.episode_lengths) | dataset.missing["actions"]
        truth = dataset.column("truth/actions") if "truth/actions" in dataset.columns else dataset.actions
        columns: dict[str, np.ndarray | None] = {"actions": blank(dataset.actions, hidden), "truth/actions": truth}
        columns["missing/actions"] = hidden if hidden.any() else None
        result = dataset.replace(columns)
        kept = np.union1d(labelled, unlabelled)
        return result if len(kept) == dataset.total_episodes else result.select(kept)

    def _episodes(self, dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
        """Return the episodes with and without labels."""
        total = dataset.total_episodes
        chosen = {self.quantiles, self.unlabelled_quantiles or (0.0, 1.0)}
        if chosen != {(0.0, 1.0)} and np.isnan(dataset.returns).any():
            raise DatasetError(
                "some returns are unknown, because rewards are missing; quantiles=(0, 1) draws episodes whatever their return"
            )
        order = np.argsort(dataset.returns, kind="stable")
        pool = self._pool(order, self.quantiles, "quantiles")
        count = min(len(pool), max(1, int(total * self.fraction)))
        labelled = self._drawn(pool, count, "labelled")
        rest = (
            order if self.unlabelled_quantiles is None else self._pool(order, self.unlabelled_quantiles, "unlabelled")
        )
        rest = rest[~np.isin(rest, labelled)]
        if self.unlabelled_fraction is not None:
            rest = self._drawn(rest, min(len(rest), max(1, int(total * self.unlabelled_fraction))), "unlabelled")
        return labelled, rest

    def _pool(self, order: np.ndarray, quantiles: tuple[float, float], name: str) -> np.ndarray:
        low, high = (int(len(order) * value) for value in quantiles)
        if low == high:
            raise DatasetError(f"no episode of {len(order)} lies in {name} {quantiles}; widen the range")
        return order[low:high]

    def _drawn(self, pool: np.ndarray, count: int, purpose: str) -> np.ndarray:
        generator = block_generator(self.seed, self.name, purpose, 0)
        found: np.ndarray = np.sort(generator.choice(pool, count, replace=False))
        return found
