"""The values of episodes or groups, with their validation, as a table, text and HTML."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from typing import Any

import numpy as np
import polars as pl

from assay.analysis.values.curve import SHARES, ValueCurve, value_curve
from assay.analysis.values.estimates import Validation
from assay.analysis.values.training import Progress, Training
from assay.datasets.errors import ConfigError

__all__ = ["ValueResult"]


@dataclass(frozen=True)
class ValueResult:
    """What groups of episodes are worth, or that this is not known.

    Parameters
    ----------
    table : polars.DataFrame
        One row per group: `group`, `episodes`, `steps`, `return_mean`, `value` with `low` and `high` (Banzhaf value and its 95 %
        interval, in units of the score), `weight` (of the datamodel). The last four are null where validation failed.
    validation : Validation
    groups : tuple of tuple of int
        Episodes of every group.
    subsets, seeds : int
        Subsets, and trainings of each.
    unit : str
        Of the values.
    deviation : float
        Standard deviation of the subsets' scores, for `ValuePlan`.
    first_seed : int
        Of the trainings; they used `subsets * seeds` seeds from it on.
    training : Training, optional
        How the policies were trained, for `curve`.
    """

    table: pl.DataFrame
    validation: Validation
    groups: tuple[tuple[int, ...], ...]
    subsets: int
    seeds: int
    unit: str
    deviation: float = math.nan
    first_seed: int = 0
    training: Training | None = field(default=None, compare=False)

    @property
    def used_seeds(self) -> range:
        """Training seeds that made the values."""
        return range(self.first_seed, self.first_seed + self.subsets * self.seeds)

    def episodes_to_keep(self, share: float) -> list[int]:
        """Return the episodes of the groups of the largest value, this share of the groups, in order.

        Raises
        ------
        ConfigError
            If the values were not validated, or the share is not in (0, 1].
        """
        if not self.validation.passed:
            raise ConfigError("there are no values: they do not predict the scores of held-out subsets")
        if not 0 < share <= 1:
            raise ConfigError(f"share={share!r} must be above 0 and 1 at most")
        count = math.ceil(share * len(self.groups))
        best = np.argsort(-self.table["value"].to_numpy(), kind="stable")[:count]
        return sorted(episode for group in best for episode in self.groups[group])

    def curve(
        self,
        *,
        shares: Sequence[float] = SHARES,
        seeds: int | Sequence[int] = 8,
        alpha: float = 0.05,
        progress: Progress = "auto",
    ) -> ValueCurve:
        """Train on what is kept by value, at random, by return and by length, with seeds that made no value.

        Trainings: one per seed for each share and order, and one per seed for the whole data.

        Parameters
        ----------
        shares : sequence of float
            Of the groups that are kept, each between 0 and 1; rounded up to whole groups.
        seeds : int or sequence of int
            So many that the values have not seen, or these. Below 7 no comparison can be called at alpha = 0.05.
        alpha : float
            Error rate of all comparisons together; 1 - alpha is the coverage of the intervals.
        progress : callable, optional
            As in `assay.baselines.train`.

        Returns
        -------
        ValueCurve

        Raises
        ------
        ConfigError
            If the values were not validated, a seed made them, or a share keeps nothing that another one does not.

        Examples
        --------
        >>> import assay, tempfile
        >>> from assay.baselines import BC, Evaluation
        >>> dataset = assay.load("pendulum/random", steps=1_000)
        >>> values = assay.value(
        ...     dataset, algorithm=BC(hidden=(4,)), steps=2, subsets=24, seeds=1, evaluation=Evaluation(episodes=1),
        ...     runs=tempfile.mkdtemp(), workers=0, progress=None)
        >>> values.curve()
        Traceback (most recent call last):
        assay.datasets.errors.ConfigError: there are no values to choose by: they do not predict the scores of held-out subsets
        """
        return value_curve(self, shares=shares, seeds=seeds, alpha=alpha, progress=progress)

    def to_plain(self) -> dict[str, Any]:
        """Return everything as JSON values; what is not known is None."""
        validation = {
            name: None if isinstance(item, float) and math.isnan(item) else item
            for name, item in asdict(self.validation).items()
        }
        return {
            "passed": self.validation.passed,
            "validation": validation,
            "subsets": self.subsets,
            "seeds": self.seeds,
            "unit": self.unit,
            "deviation": self.deviation,
            "values": self.table.to_dicts(),
            "episodes": [list(group) for group in self.groups],
        }

    @property
    def sentences(self) -> list[str]:
        """What was found, and how far it can be relied on."""
        found = self.validation
        simple = ", ".join(f"{name} {value:+.2f}" for name, value in found.simple.items())
        ceiling = "" if math.isnan(found.ceiling) else f"; the noise of training allows {found.ceiling:.2f}"
        lines = [
            f"Held-out subsets are ranked with correlation {found.correlation:.2f} ({found.interval[0]:.2f} to "
            f"{found.interval[1]:.2f}){ceiling}. Simple predictors: {simple}."
        ]
        if not found.passed:
            return [
                *lines,
                f"That is not shown to be better than {found.best_simple} (gain {found.gain[0]:+.2f} to {found.gain[1]:+.2f}), "
                f"so no values are given. {self.subsets} subsets of {len(self.groups)} groups were trained {self.seeds} times each; "
                "value fewer groups, or train more subsets.",
            ]
        sure = self.table.filter((pl.col("low") > 0) | (pl.col("high") < 0))
        return [
            *lines,
            f"{len(sure)} of {len(self.groups)} groups have a value whose 95 % interval excludes 0, "
            f"{len(sure.filter(pl.col('value') < 0))} of them a negative one ({self.unit}).",
        ]

    def __str__(self) -> str:
        lines = self.sentences
        if self.validation.passed:
            ordered = self.table.sort("value")
            ends = pl.concat([ordered.head(3), ordered.tail(3)]).unique("group", maintain_order=True)
            lines = lines + [
                f"  {row['group']}: {row['value']:+.3g} ({row['low']:+.3g} to {row['high']:+.3g})"
                for row in ends.iter_rows(named=True)
            ]
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        text = "".join(f"<p>{escape(line)}</p>" for line in self.sentences)
        return text + (self.table._repr_html_() if self.validation.passed else "")
