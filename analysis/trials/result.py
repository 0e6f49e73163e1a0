"""The result of a trial: verdicts by algorithm, as mappings, a table, text, HTML, a figure and plain values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import polars as pl

from assay.analysis.trials.comparison import Comparison, Rules, Verdict
from assay.datasets.wording import count_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["POOLED", "TrialResult", "Vary"]

Vary: TypeAlias = Literal["training", "data", "task"]
Key: TypeAlias = tuple[str, str]  # algorithm, variant

POOLED = "pooled"  # stands for an algorithm where all of them are averaged

_ABOUT = {
    "training": "these two datasets; training seeds are the replicates",
    "data": "the procedures that make the data; every seed has data of its own",
    "task": "the change over tasks like these; tasks are the replicates, not their seeds",
}
_COLUMNS: dict[str, Any] = {
    "algorithm": pl.String,
    "before": pl.String,
    "after": pl.String,
    "verdict": pl.String,
    "difference": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "alpha": pl.Float64,
    "p_value": pl.Float64,
    "adjusted_p_value": pl.Float64,
    "comparisons": pl.Int64,
    "seeds": pl.Int64,
    "starts": pl.Int64,
    "score_before": pl.Float64,
    "score_after": pl.Float64,
    "deviation": pl.Float64,
    "standardized": pl.Float64,
    "probability_of_improvement": pl.Float64,
    "smallest_difference": pl.Float64,
    "smallest_low": pl.Float64,
    "smallest_high": pl.Float64,
    "seeds_for_half": pl.Int64,
    "diverged_before": pl.Int64,
    "diverged_after": pl.Int64,
    "unit": pl.String,
    "futile": pl.Boolean,
    "notes": pl.List(pl.String),
}


def _percent(share: float) -> str:
    """Write a share for people.

    Examples
    --------
    >>> _percent(0.975)
    '97.5 %'
    """
    return f"{100 * share:.3g} %"


@dataclass(frozen=True)
class TrialResult:
    """What a trial found.

    The mappings `verdict`, `difference`, `interval`, `smallest_difference` and `seeds_for_half` have one entry per algorithm,
    and `"pooled"` where there are several of them. With several variants the keys are `(algorithm, variant)`.

    Parameters
    ----------
    comparisons : mapping of (algorithm, variant) to Comparison
        The algorithm is `"pooled"` for the mean over algorithms, in standard deviations of their scores.
    control : str
        What the data before the change is called.
    variants : tuple of str
        What the data after the change is called.
    rules : Rules
    vary : "training", "data" or "task"
        What the verdicts are about: these datasets, the procedures that make them, or the change over tasks.
    unit : str
        Of the scores.
    starts : int
        Start states that every policy is evaluated from.
    diverged : mapping of (algorithm, variant or control) to int
        Trainings that diverged; they count with what their policies earn.
    planned_seeds : int
        The most seeds that the trial could have used.
    looks : tuple of int
        Numbers of seeds after which it was decided whether to go on.
    folder : str
        Of the runs.
    """

    comparisons: Mapping[Key, Comparison]
    control: str
    variants: tuple[str, ...]
    rules: Rules
    vary: Vary
    unit: str
    starts: int
    diverged: Mapping[Key, int] = field(default_factory=dict)
    planned_seeds: int = 0
    looks: tuple[int, ...] = ()
    folder: str = ""

    # ---------------------------------------------------------------- by algorithm

    @property
    def verdict(self) -> dict[Any, Verdict]:
        """`"better"`, `"worse"`, `"equivalent"` or `"undecided"`: of the data after the change."""
        return {self._key(key): item.verdict for key, item in self.comparisons.items()}

    @property
    def difference(self) -> dict[Any, float]:
        """Score after minus score before the change."""
        return {self._key(key): item.difference for key, item in self.comparisons.items()}

    @property
    def interval(self) -> dict[Any, tuple[float, float]]:
        """Of the difference, at the level at which the verdict was given."""
        return {self._key(key): item.interval for key, item in self.comparisons.items()}

    @property
    def smallest_difference(self) -> dict[Any, float]:
        """What these seeds could have shown, with probability `rules.power`."""
        return {self._key(key): item.smallest_difference for key, item in self.comparisons.items()}

    @property
    def seeds_for_half(self) -> dict[Any, int | None]:
        """Seeds that could show half the smallest difference."""
        return {self._key(key): item.seeds_for_half for key, item in self.comparisons.items()}

    def _key(self, key: Key) -> Any:
        return key if len(self.variants) > 1 else key[0]

    # ---------------------------------------------------------------- as a table

    @cached_property
    def table(self) -> pl.DataFrame:
        """One row per algorithm and variant; `comparisons` says over how many the error rate holds.

        Ends that are infinite, because the seeds are too few for any interval, are null.
        """
        return pl.DataFrame([self._row(key, item) for key, item in self.comparisons.items()], schema=_COLUMNS)

    def _row(self, key: Key, item: Comparison) -> dict[str, Any]:
        algorithm, variant = key
        of_algorithms = [name for name in dict.fromkeys(name for name, _ in self.comparisons) if name != POOLED]
        counted = of_algorithms if algorithm == POOLED else [algorithm]
        row = {
            "algorithm": algorithm,
            "before": self.control,
            "after": variant,
            "verdict": item.verdict,
            "difference": item.difference,
            "low": item.interval[0],
            "high": item.interval[1],
            "alpha": item.alpha,
            "p_value": item.p_value,
            "adjusted_p_value": item.adjusted_p_value,
            "comparisons": sum((name == POOLED) == (algorithm == POOLED) for name, _ in self.comparisons),
            "seeds": item.seeds,
            "starts": self.starts,
            "score_before": item.before,
            "score_after": item.after,
            "deviation": item.deviation,
            "standardized": item.standardized,
            "probability_of_improvement": item.probability_of_improvement,
            "smallest_difference": item.smallest_difference,
            "smallest_low": item.smallest_interval[0],
            "smallest_high": item.smallest_interval[1],
            "seeds_for_half": item.seeds_for_half,
            "diverged_before": sum(self.diverged.get((name, self.control), 0) for name in counted),
            "diverged_after": sum(self.diverged.get((name, variant), 0) for name in counted),
            "unit": "standard deviations" if algorithm == POOLED else self.unit,
            "futile": item.futile,
            "notes": list(item.notes),
        }
        return {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in row.items()
        }

    def to_plain(self) -> dict[str, Any]:
        """Return everything as JSON values; what is infinite or undefined is None."""
        rows = self.table.to_dicts()
        rules = {name: getattr(self.rules, name) for name in self.rules.__dataclass_fields__}
        return {
            "control": self.control,
            "variants": list(self.variants),
            "vary": self.vary,
            "about": _ABOUT[self.vary],
            "rules": rules,
            "planned_seeds": self.planned_seeds,
            "looks": list(self.looks),
            "comparisons": rows,
        }

    # ---------------------------------------------------------------- for people

    def plot(self, *, width_pixels: int = 680) -> Figure:
        """Draw the differences with their intervals: a forest plot; see `assay.analysis.figures.plot_forest`."""
        from assay.analysis.figures import plot_forest

        return plot_forest(self.table, margin=self.rules.margin, width_pixels=width_pixels)

    @property
    def headline(self) -> str:
        """The question and what the verdicts are about, in one line."""
        return f"{self.question} About {_ABOUT[self.vary]}."

    @property
    def question(self) -> str:
        """What the trial asks."""
        return f"Is it better to learn from {', '.join(self.variants)} than from {self.control}?"

    @property
    def sentences(self) -> list[str]:
        """One sentence per comparison, and what goes with all of them."""
        lines = [self._sentence(row) for row in self.table.iter_rows(named=True)]
        count = sum(name != POOLED for name, _ in self.comparisons)
        how = {"holm": "Holm", "max_t": "max-T", "none": "each alone"}[self.rules.multiplicity]
        over = "" if count == 1 else f", over {count} comparisons ({how})"
        looks = f", and over looks after {', '.join(map(str, self.looks))} seeds" if len(self.looks) > 1 else ""
        starts = "start states count as random" if self.rules.starts == "random" else "for these start states"
        share = _percent(self.rules.alpha)
        said = [f"Where nothing changed, at most {share} of such trials say better or worse{over}{looks}; {starts}."]
        if self.rules.futility is not None:
            said.append(
                f"A difference of {self.rules.futility:.3g} or more is given up in at most {_percent(1 - self.rules.power)} of such trials."
            )
        return [*lines, *said]

    def _sentence(self, row: Mapping[str, Any]) -> str:
        name = row["algorithm"] if len(self.variants) == 1 else f"{row['algorithm']}, {row['after']}"
        size = f"{row['difference']:+.3g} {row['unit']}"
        between = (
            ""
            if row["low"] is None
            else f" ({_percent(1 - row['alpha'])} interval {row['low']:+.3g} to {row['high']:+.3g})"
        )
        text = f"{name}: {row['verdict']}, {size}{between}, {count_of(row['seeds'], 'task' if self.vary == 'task' else 'seed')}"
        if row["verdict"] == "undecided" and row["smallest_difference"] is not None:
            needed = "no number of seeds shows" if row["seeds_for_half"] is None else f"{row['seeds_for_half']:,} show"
            text += (
                f"; these could have shown {row['smallest_difference']:.3g} with probability {self.rules.power:.2g}, and "
                f"{needed} half of it"
            )
        if row["diverged_before"] or row["diverged_after"]:
            text += f"; diverged: {row['diverged_before']} before, {row['diverged_after']} after, counted with what they earn"
        return "; ".join([text, *row["notes"]]) + "."

    def __str__(self) -> str:
        return "\n".join([self.headline, *(f"  {line}" for line in self.sentences)])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        heads = ("algorithm", "after", "verdict", "difference", "interval", "seeds", "could have shown", "p")
        rows = []
        for row in self.table.iter_rows(named=True):
            interval = "none" if row["low"] is None else f"{row['low']:+.3g} to {row['high']:+.3g}"
            shown = "nothing" if row["smallest_difference"] is None else f"{row['smallest_difference']:.3g}"
            cells = (
                row["algorithm"],
                row["after"],
                row["verdict"],
                f"{row['difference']:+.3g} {row['unit']}",
                interval,
                str(row["seeds"]),
                shown,
                f"{row['adjusted_p_value']:.2g}",
            )
            rows.append("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
        notes = [f"{row['algorithm']}: {note}" for row in self.table.iter_rows(named=True) for note in row["notes"]]
        below = "".join(f"<p>{escape(text)}</p>" for text in [*notes, *self.sentences[len(self.table) :]])
        head = "<tr>" + "".join(f"<th>{name}</th>" for name in heads) + "</tr>"
        return (
            f"<p>{escape(self.headline)}</p><table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>{below}"
        )
