"""Do values choose well? Scores against the share of the groups that is kept, in the order of values and in simpler orders.

For every order and share, policies are trained on what is kept, with seeds that made no value. The score of a choice is then not
flattered by the noise of the trainings that made it. Kept in the order of

- `value`: the largest values first;
- `random`: another order for every seed, so that the curve is that of random choices and not of one of them;
- `return`: the highest mean return first;
- `length`: the longest episodes first, or the shortest, whichever the scores of the subsets speak for.

An order that tells no groups apart, such as that of equal lengths, is left out. All orders have the same seeds and start states, so
scores are pairs, and the order of values is compared with each other one by the sign-flip test on the mean over shares, as
`assay.trial` compares; the comparisons share the error rate by Holm's step-down. A test at every share would leave so little of the
rate for each that eight seeds could never show anything.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from assay.analysis.trials.checks import t_interval
from assay.analysis.trials.comparison import Comparison, Pair, Rules, judge
from assay.analysis.trials.sign_flip import sign_flip_interval
from assay.analysis.values.training import Progress, Training
from assay.datasets.errors import ConfigError
from assay.datasets.registry import check_seed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from assay.analysis.values.result import ValueResult

__all__ = ["SHARES", "ValueCurve", "kept_groups", "value_curve"]

SHARES = (0.9, 0.75, 0.5, 0.25)
_FLOATS = ("score", "low", "high", "difference", "difference_low", "difference_high")
_SCHEMA: dict[str, Any] = {
    "ranking": pl.String,
    "share": pl.Float64,
    **dict.fromkeys(("groups", "episodes", "steps", "seeds"), pl.Int64),
    **dict.fromkeys(_FLOATS, pl.Float64),
}


@dataclass(frozen=True)
class ValueCurve:
    """Scores against the share that is kept, by value and by simpler orders.

    Parameters
    ----------
    table : polars.DataFrame
        One row per order and share: `ranking` (`value`, `random`, `return`, `length`, and `all` for the whole data), `share`,
        `groups`, `episodes` and `steps` that are kept (means over seeds), `seeds`, `score` with `low` and `high` (Student's 95 %
        interval over seeds), and `difference`, the score by value minus that of this order with the same share, with its
        interval. The intervals hold for each row alone. Null where there is none.
    comparisons : mapping of str to Comparison
        By order: the order of values compared with it, on the mean over shares; `better` says that values choose better.
    unit : str
        Of the scores.
    alpha : float
        Probability that any of the comparisons is called where nothing differs.
    longest_first : bool
        What `length` means.
    """

    table: pl.DataFrame
    comparisons: Mapping[str, Comparison]
    unit: str
    alpha: float
    longest_first: bool

    def plot(self, *, width_pixels: int = 680) -> Figure:
        """Draw the curves; see `assay.analysis.figures.plot_value_curve`."""
        from assay.analysis.figures import plot_value_curve

        figure: Any = plot_value_curve(self.table, unit=self.unit, width_pixels=width_pixels).figure
        return figure  # type: ignore[no-any-return]

    def to_plain(self) -> dict[str, Any]:
        """Return everything as JSON values; what is not known is None."""
        rows = []
        for name, item in self.comparisons.items():
            numbers = {"difference": item.difference, "low": item.interval[0], "high": item.interval[1]}
            known = {key: value if math.isfinite(value) else None for key, value in numbers.items()}
            rows.append({"ranking": name, "verdict": item.verdict, **known, "adjusted_p_value": item.adjusted_p_value})
        return {
            "alpha": self.alpha,
            "unit": self.unit,
            "longest_first": self.longest_first,
            "comparisons": rows,
            "curve": self.table.to_dicts(),
        }

    @property
    def sentences(self) -> list[str]:
        """One sentence per comparison, and what they hold for."""
        shares = ", ".join(f"{share:g}" for share in self.table.filter(ranking="value")["share"])
        seeds = self.table["seeds"][0]
        lines = [self._sentence(name, item) for name, item in self.comparisons.items()]
        return [
            *lines,
            f"Means over the shares {shares}, {seeds} seeds that made no value. Where values choose no better, at most "
            f"{100 * self.alpha:.3g} % of such curves say better or worse of any order.",
        ]

    def _sentence(self, name: str, item: Comparison) -> str:
        how = {
            "random": "at random",
            "return": "by mean return",
            "length": f"by length, the {'longest' if self.longest_first else 'shortest'} first",
        }[name]
        words = {"better": "better than", "worse": "worse than"}.get(item.verdict, "not shown to differ from")
        between = ""
        if math.isfinite(item.interval[0]):
            between = f" ({100 * (1 - item.alpha):.3g} % interval {item.interval[0]:+.3g} to {item.interval[1]:+.3g})"
        text = f"Kept by value is {words} kept {how}: {item.difference:+.3g} {self.unit}{between}"
        return "; ".join([text, *item.notes]) + "."

    def __str__(self) -> str:
        return "\n".join(self.sentences)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return "".join(f"<p>{escape(line)}</p>" for line in self.sentences) + self.table._repr_html_()


def value_curve(
    values: ValueResult,
    *,
    shares: Sequence[float] = SHARES,
    seeds: int | Sequence[int] = 8,
    alpha: float = 0.05,
    progress: Progress = "auto",
) -> ValueCurve:
    """Train on the groups that are kept by value and by simpler orders; `ValueResult.curve` describes the parameters."""
    training = values.training
    if not values.validation.passed:
        raise ConfigError("there are no values to choose by: they do not predict the scores of held-out subsets")
    if training is None:
        raise ConfigError("these values do not know how they were made; take what assay.value returns")
    rules, chosen = Rules(alpha), _fresh_seeds(seeds, values.used_seeds)
    counts = kept_groups(shares, len(values.groups))
    longest_first = values.validation.simple.get("number of steps", 0.0) >= 0
    keys = _keys(values.table, longest_first)
    jobs: list[tuple[Sequence[int], int, str]] = []
    cells: list[tuple[str, float, int]] = []  # order, share, groups that are kept
    for name in keys:
        cells += [(name, share, count) for share, count in counts.items()]
    kept: dict[tuple[str, float], list[list[int]]] = {}
    for name, share, count in cells:
        orders = [_order(keys[name], len(values.groups), seed) for seed in chosen]
        kept[name, share] = [_episodes(values.groups, order[:count]) for order in orders]
        drawn = f"{name} {share:g} ({{}})" if keys[name] is None else f"{name} {share:g}"  # chance differs by seed
        jobs += [(part, seed, drawn.format(seed)) for part, seed in zip(kept[name, share], chosen)]
    everything = _episodes(values.groups, range(len(values.groups)))
    kept["all", 1.0] = [everything] * len(chosen)
    jobs += [(everything, seed, "all") for seed in chosen]
    scored = training.scores(jobs, progress).reshape(len(cells) + 1, len(chosen))
    scores = {(name, share): row for (name, share, _), row in zip(cells, scored)} | {("all", 1.0): scored[-1]}
    counts_of = {**counts, 1.0: len(values.groups)}
    rows = [_row(key, scores, counts_of[key[1]], kept[key], training, alpha) for key in scores]
    means = {name: np.mean([scores[name, share] for share in counts], axis=0) for name in keys}
    pairs = {name: Pair(means[name], means["value"]) for name in keys if name != "value"}
    return ValueCurve(
        pl.DataFrame(rows, schema=_SCHEMA, orient="row"), judge(pairs, rules), training.unit, alpha, longest_first
    )


def kept_groups(shares: Sequence[float], groups: int) -> dict[float, int]:
    """Return how many groups every share keeps, rounded up.

    Raises
    ------
    ConfigError
        If a share is not between 0 and 1, keeps all groups, or keeps as many as another one.

    Examples
    --------
    >>> kept_groups([0.9, 0.5], 15)
    {0.9: 14, 0.5: 8}
    """
    found: dict[float, int] = {}
    for share in shares:
        if not 0 < share < 1:
            raise ConfigError(f"shares={list(shares)!r}: a share has to be above 0 and below 1, and {share!r} is not")
        count = math.ceil(share * groups - 1e-9)
        if count == groups:
            raise ConfigError(f"the share {share:g} keeps all of {groups} groups; name a smaller one")
        if count in found.values():
            raise ConfigError(
                f"two of the shares {list(shares)!r} keep the same {count} of {groups} groups; name one of them"
            )
        found[float(share)] = count
    if not found:
        raise ConfigError("shares holds none; name some between 0 and 1")
    return found


def _fresh_seeds(given: int | Sequence[int], used: range) -> list[int]:
    """Return training seeds, none of which made the values."""
    if isinstance(given, int):
        if given < 1:
            raise ConfigError(f"seeds={given!r} must be at least 1")
        return [check_seed(seed) for seed in range(used.stop, used.stop + given)]
    seeds = [check_seed(seed) for seed in given]
    if not seeds or len(set(seeds)) < len(seeds):
        raise ConfigError(f"seeds={list(given)!r} must be seeds of which none occurs twice")
    if seen := sorted(set(seeds) & set(used)):
        raise ConfigError(
            f"seed {seen[0]} made the values ({used.start} to {used.stop - 1} did), and they would look better than they are; use "
            f"others, from {used.stop} on"
        )
    return seeds


def _keys(table: pl.DataFrame, longest_first: bool) -> dict[str, np.ndarray | None]:
    """Return by order what sorts the groups, the largest first; None stands for chance."""
    lengths = (table["steps"] / table["episodes"]).to_numpy()
    keys: dict[str, np.ndarray | None] = {"value": table["value"].fill_null(-math.inf).to_numpy(), "random": None}
    for name, numbers in (
        ("return", table["return_mean"].to_numpy()),
        ("length", lengths if longest_first else -lengths),
    ):
        if np.ptp(numbers) > 0:
            keys[name] = numbers
    return keys


def _order(key: np.ndarray | None, groups: int, seed: int) -> np.ndarray:
    """Return the groups in their order; chance, and which of two equal groups comes first, are by the seed."""
    shuffled = np.random.default_rng((seed, 0x0DE2)).permutation(groups)
    return shuffled if key is None else shuffled[np.argsort(-key[shuffled], kind="stable")]


def _episodes(groups: Sequence[tuple[int, ...]], chosen: Any) -> list[int]:
    return sorted(episode for group in chosen for episode in groups[group])


def _row(
    key: tuple[str, float],
    scores: Mapping[tuple[str, float], np.ndarray],
    groups: int,
    kept: Sequence[Sequence[int]],
    training: Training,
    alpha: float,
) -> tuple[Any, ...]:
    """Return a row of the table."""
    name, share = key
    values, lengths = scores[key], training.dataset.episode_lengths
    steps = np.mean([lengths[list(part)].sum() for part in kept])
    low, high = t_interval(values, alpha)
    differences = scores["value", share] - values if ("value", share) in scores and name != "value" else None
    compared: tuple[float | None, ...] = (None, None, None)
    if differences is not None:
        compared = (float(differences.mean()), *sign_flip_interval(differences, alpha))
    numbers = [
        None if number is None or not math.isfinite(number) else number
        for number in (float(values.mean()), low, high, *compared)
    ]
    episodes = round(float(np.mean([len(part) for part in kept])))
    return name, share, groups, episodes, round(float(steps)), len(values), *numbers
