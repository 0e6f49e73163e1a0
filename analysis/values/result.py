"""The values of episodes or groups, with their validation, as a table, text and HTML."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

import numpy as np
import polars as pl

from assay.analysis.values.estimates import Validation
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
    """

    table: pl.DataFrame
    validation: Validation
    groups: tuple[tuple[int, ...], ...]
    subsets: int
    seeds: int
    unit: str

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
