"""Weights by tag: how much of what is drawn comes from which episodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import numpy as np
from pydantic import Field

from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError, DatasetError, UnknownNameError
from assay.datasets.transform import register
from assay.reweighting.weighting import Weighting

__all__ = ["TagWeighting"]


@register("reweighting.tags")
class TagWeighting(Weighting):
    """Draw a share of the steps from the episodes of each tag; inside a share, every step equally often.

    Parameters
    ----------
    shares : mapping of str to float in (0, 1]
        Of each tag. What is left of 1 goes to the episodes without any of these tags.
    combine
        As of `Weighting`.

    Raises
    ------
    UnknownNameError, ConfigError, DatasetError
        When applied: if there is no such tag, an episode has two of them, shares are more than 1, or a share has no steps.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(6.0), actions=np.zeros(4), episode_lengths=[3, 1],
    ...     episode_columns={"tags/expert": np.array([False, True])})
    >>> TagWeighting(shares={"expert": 0.5})(dataset).weights.round(3).tolist()
    [0.667, 0.667, 0.667, 2.0]
    """

    shares: Mapping[str, Annotated[float, Field(gt=0, le=1)]]

    def weigh(self, dataset: Dataset) -> np.ndarray:  # noqa: D102
        rest = 1.0 - sum(self.shares.values())
        if not self.shares or rest < -1e-9:
            raise ConfigError(f"shares are {dict(self.shares)}; some are needed, of 1 together at most")
        episodes = np.full(dataset.total_episodes, -1)
        for number, tag in enumerate(self.shares):
            if tag not in dataset.tags:
                raise UnknownNameError("tag", tag, dataset.tags)
            own = dataset.tagged(tag)
            if len(twice := np.flatnonzero(own & (episodes >= 0))):
                raise DatasetError(
                    f"episode {twice[0]} has the tags {list(self.shares)[episodes[twice[0]]]} and {tag}: which share is it of?"
                )
            episodes[own] = number
        group = episodes[dataset.episode_of_step]
        wanted = [*self.shares.values(), max(rest, 0.0)]
        counts = np.array([(group == number).sum() for number in [*range(len(self.shares)), -1]])
        for name, share, count in zip([*self.shares, "episodes without these tags"], wanted, counts, strict=True):
            if share > 1e-9 and not count:
                raise DatasetError(
                    f"{name}: a share of {share:g} is to be drawn from no step; shares of 1 together leave nothing for them"
                )
        weights = np.divide(wanted, counts, out=np.zeros(len(wanted)), where=counts > 0)
        return np.asarray(weights[group])
