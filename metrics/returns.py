"""Returns and lengths of the episodes, summarized.

A return is the undiscounted sum of the rewards of an episode in float64, with the rewards that the dataset holds,
corrupted or relabelled ones included. All E episodes count, also those that were cut off; `assay.metrics.tq` counts
completed ones only. The standard deviation is the population's (ddof 0), and quantiles are interpolated linearly
between order statistics.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError, DatasetError
from assay.datasets.info import ReferenceScores
from assay.datasets.missing import require_labels
from assay.metrics.measures import Basis, Measure, Measures, NotMeasurable, bootstrap_interval, register_group

__all__ = [
    "fraction_terminated",
    "fraction_truncated",
    "length_summary",
    "normalized_score",
    "return_summary",
]


def return_summary(dataset: Dataset) -> dict[str, float]:
    """Summarize the returns of all episodes.

    Parameters
    ----------
    dataset : Dataset

    Returns
    -------
    dict of str to float
        `count`, `mean`, `std`, `min`, `quantile_25`, `median`, `quantile_75`, `max`; in units of the reward.

    Raises
    ------
    DatasetError
        If there are no episodes, or a return is not finite; with the episode.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.zeros(5), actions=np.zeros(3), rewards=[1.0, 1.0, 4.0],
    ...     terminations=[False, True, False], truncations=[False, False, True])
    >>> summary = return_summary(dataset)
    >>> summary["mean"], summary["std"], summary["max"]
    (3.0, 1.0, 4.0)
    """
    return _summary(finite_returns(dataset))


def length_summary(dataset: Dataset) -> dict[str, float]:
    """Summarize the episode lengths, in steps; keys as in `return_summary`.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.zeros(5), actions=np.zeros(3), rewards=np.zeros(3),
    ...     terminations=[False, True, False], truncations=[False, False, True])
    >>> length_summary(dataset)["median"]
    1.5
    """
    require_episodes(dataset)
    return _summary(dataset.episode_lengths.astype(np.float64))


def normalized_score(dataset: Dataset, references: ReferenceScores | None = None) -> float:
    """Return the D4RL score of the mean return, 100 (mean - random) / (expert - random).

    Parameters
    ----------
    dataset : Dataset
    references : ReferenceScores, optional
        Default: `dataset.info.references`.

    Raises
    ------
    ConfigError
        If there are no references, or the two are equal.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.zeros(3), actions=np.zeros(2), rewards=[1.0, 1.0],
    ...     terminations=[False, True], truncations=[False, False])
    >>> normalized_score(dataset, ReferenceScores(random=0.0, expert=8.0, source="example"))
    25.0
    """
    references = references or dataset.info.references
    if references is None:
        raise ConfigError(
            "the score needs the returns of a random and an expert policy, and the dataset has none: pass references="
        )
    if references.expert == references.random:
        raise ConfigError(f"the random and the expert reference are both {references.random:g}: no score between them")
    return float(references.normalize(finite_returns(dataset).mean()))


def fraction_terminated(dataset: Dataset) -> float:
    """Return the fraction of episodes whose last step is a termination: the MDP ended.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.zeros(5), actions=np.zeros(3), rewards=np.zeros(3),
    ...     terminations=[False, True, False], truncations=[False, False, True])
    >>> fraction_terminated(dataset), fraction_truncated(dataset)
    (0.5, 0.5)
    """
    require_episodes(dataset)
    return float(dataset.terminations[last_steps(dataset)].mean())


def fraction_truncated(dataset: Dataset) -> float:
    """Return the fraction of episodes whose last step is a truncation; a step may also be both, or neither."""
    require_episodes(dataset)
    return float(dataset.truncations[last_steps(dataset)].mean())


def last_steps(dataset: Dataset) -> np.ndarray:
    """Return the (E,) index of every episode's last step."""
    result: np.ndarray = np.cumsum(dataset.episode_lengths) - 1
    return result


def require_episodes(dataset: Dataset) -> None:
    """Raise DatasetError if there are no episodes."""
    if not dataset.total_episodes:
        raise DatasetError("the dataset has no episodes to summarize")


def finite_returns(dataset: Dataset) -> np.ndarray:
    """Return the (E,) returns, or raise DatasetError naming the first episode whose return is not finite.

    Rewards that are missing are a `MissingLabelsError`: a return without some of its rewards is not a return.
    """
    require_episodes(dataset)
    require_labels(dataset, "rewards", by="a return")
    returns = dataset.returns
    wrong = np.flatnonzero(~np.isfinite(returns))
    if len(wrong):
        raise DatasetError(
            f"the return of episode {wrong[0]} is {returns[wrong[0]]}: column rewards holds NaN or infinity there "
            "(dataset.validate() lists all such places)"
        )
    return returns


def _summary(values: np.ndarray) -> dict[str, float]:
    low, first, median, third, high = np.quantile(values, (0, 0.25, 0.5, 0.75, 1)).tolist()
    return {
        "count": float(len(values)),
        "mean": float(values.mean()),
        "std": float(values.std()),
        "min": low,
        "quantile_25": first,
        "median": median,
        "quantile_75": third,
        "max": high,
    }


# -------------------------------------------------------------------- for the table


@register_group("returns", order=20)
def measures(basis: Basis) -> Measures:
    """Return `return_...`, `length_...`, `score` and how episodes end."""
    dataset = basis.dataset

    def summary_of(what: str, key: str, unit: str) -> Measure:
        function = return_summary if what == "returns" else length_summary
        value = basis.cache(what, lambda: function(dataset))[key]
        return Measure(value, unit, f"{what} of all episodes" if what == "lengths" else _ALL_RETURNS)

    def return_interval() -> tuple[float, float] | None:
        return basis.cache("return interval", lambda: bootstrap_interval(finite_returns(dataset), basis.seed))

    def return_mean() -> Measure:
        return summary_of("returns", "mean", "reward")._replace(interval=return_interval())

    def length_mean() -> Measure:
        interval = bootstrap_interval(dataset.episode_lengths.astype(np.float64), basis.seed)
        return summary_of("lengths", "mean", "steps")._replace(interval=interval)

    def score() -> Measure:
        references = dataset.info.references
        if references is None:
            raise NotMeasurable("the score needs reference scores, and the dataset's info has none")
        interval = return_interval()
        if interval is not None:
            low, high = sorted(float(references.normalize(border)) for border in interval)
            interval = low, high
        return Measure(normalized_score(dataset), "0 random, 100 expert", references.source, interval)

    def fraction(function: Callable[[Dataset], float], flag: str) -> Callable[[], Measure]:
        return lambda: Measure(function(dataset), "fraction of episodes", f"last step is a {flag}")

    def of(what: str, key: str, unit: str) -> Callable[[], Measure]:
        return lambda: summary_of(what, key, unit)

    return {
        "return_mean": return_mean,
        **{f"return_{key}": of("returns", key, "reward") for key in ("std", "min", "median", "max")},
        "length_mean": length_mean,
        **{f"length_{key}": of("lengths", key, "steps") for key in ("min", "median", "max")},
        "score": score,
        "fraction_terminated": fraction(fraction_terminated, "termination"),
        "fraction_truncated": fraction(fraction_truncated, "truncation"),
    }


_ALL_RETURNS = "undiscounted returns of all episodes"
