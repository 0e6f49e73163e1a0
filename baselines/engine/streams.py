"""Streams: the sources of rows of an update, and which of their rows are drawn.

::

    stream      table                     rows
    "batch"     the member's dataset      256, uniform or by the dataset's weights
    "goals"     the member's dataset      one for each row of "batch", later in its episode, or of any episode
    "model"     a buffer of rollouts      256 of those that are filled

Each stream draws under a purpose of its own, so that adding one changes no number of the others.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from assay.baselines.engine.randomness import Draws

if TYPE_CHECKING:
    from assay.baselines.engine.tables import Buffer, DatasetTable

__all__ = ["DATA", "BufferLayout", "CategoryRows", "DrawnRows", "FutureRows", "HindsightRows", "RowSampler", "Stream"]

DATA = "data"
"""Name of the table that holds the members' datasets."""


class RowSampler(ABC):
    """Chooses rows of a table; a frozen dataclass, the same for all members."""

    @abstractmethod
    def choose(
        self,
        table: DatasetTable | Buffer,
        rows: int,
        purpose: str,
        draws: Draws,
        drawn: Mapping[str, torch.Tensor],
        hyperparameters: Any,
    ) -> torch.Tensor:
        """Return [P, rows] int64 row numbers.

        Parameters
        ----------
        table : DatasetTable or Buffer
        rows : int
        purpose : str
            Of the draws.
        draws : Draws
        drawn : mapping
            What the streams before this one have chosen.
        hyperparameters : namespace
        """


@dataclass(frozen=True)
class DrawnRows(RowSampler):
    """Uniform, or in proportion to the weights of the dataset."""

    def choose(  # noqa: D102
        self,
        table: DatasetTable | Buffer,
        rows: int,
        purpose: str,
        draws: Draws,
        drawn: Mapping[str, torch.Tensor],
        hyperparameters: Any,
    ) -> torch.Tensor:
        return table.draw(draws, purpose, rows)


@dataclass(frozen=True)
class CategoryRows(RowSampler):
    """Rows whose observations have one category in a part, such as those of one task; drawn as `DrawnRows` draws.

    Parameters
    ----------
    part : str
        Of the observations, one of several categories.
    category : int
        From 0.

    Examples
    --------
    >>> CategoryRows("task", 1).category
    1
    """

    part: str
    category: int

    def choose(  # noqa: D102
        self,
        table: DatasetTable | Buffer,
        rows: int,
        purpose: str,
        draws: Draws,
        drawn: Mapping[str, torch.Tensor],
        hyperparameters: Any,
    ) -> torch.Tensor:
        return table.by_category(self.part).draw(self.category, draws, purpose, rows)


@dataclass(frozen=True)
class FutureRows(RowSampler):
    """For each row of another stream one of the same episode, that row itself or a later one.

    The `next_observations` of the rows are states that the episode reached: goals in hindsight. Row t of an episode with
    rows t .. T-1 is followed by t + k, with k uniform, or geometric with P(k) in proportion to discount^k and what lies
    behind the episode's end counted for its last row.

    Parameters
    ----------
    of : str
        The other stream, on the same table.
    discount : str, optional
        Name of the field with the discount; None is uniform.
    """

    of: str = "batch"
    discount: str | None = None

    def choose(  # noqa: D102
        self,
        table: DatasetTable | Buffer,
        rows: int,
        purpose: str,
        draws: Draws,
        drawn: Mapping[str, torch.Tensor],
        hyperparameters: Any,
    ) -> torch.Tensor:
        first = drawn[self.of]
        left = table.rows_left(first)  # [P, B], at least 1
        fractions = draws.fractions(purpose, first.shape[1])
        if self.discount is None:
            steps = (fractions * left).long()
        else:
            discount = getattr(hyperparameters, self.discount).double()
            steps = (torch.log1p(-fractions) / torch.log(discount)).long()
        return first + torch.minimum(steps, left - 1)


@dataclass(frozen=True)
class HindsightRows(RowSampler):
    """For each row of another stream the transition that enters its goal: of the same episode's future, else any row.

    ::

        of         | ... s_t  a_t  s_t+1 ............. s_j  a_j  s_j+1 ... |      an episode
                         row t of the other stream     row j, chosen           goal: what s_j+1 achieves

    What the chosen row's `next_observations` achieve is the goal, and the row is a transition that enters it. Goals in hindsight
    are never taken from another episode.

    Parameters
    ----------
    of : str
        The other stream, on the same table.
    share : str, optional
        Name of the field with the probability of a goal in hindsight (Andrychowicz et al. 2017, arXiv 1707.01495); the other
        goals are those of rows drawn as `DrawnRows` draws. None is always in hindsight.
    own_share : str, optional
        Name of the field with the probability that the row itself is chosen, whose goal is reached by its own step; None is 0. It
        is a part of what `share` leaves.
    discount : str, optional
        Of the future, as in `FutureRows`; None is uniform.

    Examples
    --------
    >>> HindsightRows(share="hindsight_share").of
    'batch'
    """

    of: str = "batch"
    share: str | None = None
    own_share: str | None = None
    discount: str | None = None

    def choose(  # noqa: D102
        self,
        table: DatasetTable | Buffer,
        rows: int,
        purpose: str,
        draws: Draws,
        drawn: Mapping[str, torch.Tensor],
        hyperparameters: Any,
    ) -> torch.Tensor:
        future = FutureRows(self.of, self.discount)
        chosen = future.choose(table, rows, f"{purpose}/future", draws, drawn, hyperparameters)
        if self.share is None:
            return chosen
        fractions = draws.fractions(f"{purpose}/kind", chosen.shape[1])
        share = getattr(hyperparameters, self.share).double()
        elsewhere = table.draw(draws, f"{purpose}/any", chosen.shape[1])
        chosen = torch.where(fractions < share, chosen, elsewhere)
        if self.own_share is not None:
            own = getattr(hyperparameters, self.own_share).double()
            chosen = torch.where(fractions >= 1.0 - own, drawn[self.of], chosen)
        return chosen


@dataclass(frozen=True)
class Stream:
    """One source of rows of an update.

    Parameters
    ----------
    rows : int
        Per member and update.
    table : str
        `"data"`, or the name of a buffer.
    sampler : RowSampler
    return_steps : int
        n of n-step returns.
    window : int
        T of windows of an episode; 0 gives single rows.
    discount : str
        Name of the field with the discount of n-step returns.
    """

    rows: int
    table: str = DATA
    sampler: RowSampler = field(default_factory=DrawnRows)
    return_steps: int = 1
    window: int = 0
    discount: str = "discount"

    @property
    def span(self) -> int:
        """Rows of an episode that belong to one sample."""
        return max(self.return_steps, self.window, 1)


@dataclass(frozen=True)
class BufferLayout:
    """A table of each member that pauses fill.

    Parameters
    ----------
    capacity : int
        Most rows.
    columns : mapping
        Name -> entries; 0 for a column of one number per row, which batches hold as [P, B].
    """

    capacity: int
    columns: Mapping[str, int]
