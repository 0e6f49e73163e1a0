"""Returns and lengths of the episodes, summarized.

A return is the undiscounted sum of the rewards of an episode as the dataset has them (corrupted or relabelled ones
included), in float64. All E episodes count, the ones that were cut
off included; `assay.metrics.tq` counts completed ones only. The standard deviation is the population's (ddof 0), and
quantiles are interpolated linearly between order statistics.
"""

from __future__ import annotations

import numpy as np

from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError, DatasetError
from assay.datasets.info import ReferenceScores

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
    """Return the fraction of episodes whose last step is a truncation; one step may be both, or neither."""
    require_episodes(dataset)
    return float(dataset.truncations[last_steps(dataset)].mean())


def last_steps(dataset: Dataset) -> np.ndarray:
    """Return the (E,) index of every episode's last step."""
    result: np.ndarray = np.cumsum(dataset.episode_lengths) - 1
    return result


def require_episodes(dataset: Dataset) -> None:
    """Raise DatasetError where there is nothing to summarize."""
    if not dataset.total_episodes:
        raise DatasetError("the dataset has no episodes to summarize")


def finite_returns(dataset: Dataset) -> np.ndarray:
    """Return the (E,) returns, or raise DatasetError naming the first episode whose return is not finite."""
    require_episodes(dataset)
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
