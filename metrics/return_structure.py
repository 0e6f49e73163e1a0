"""The shape of the returns: how much lies above the mean, where a learner can find it.

Sources: Hong et al., "Harnessing Mixed Offline Reinforcement Learning Datasets via Trajectory Weighting", ICLR 2023,
arXiv 2306.13085 (the positive-sided variance); Swazinna et al., "Measuring Data Quality for Dataset Selection in
Offline Reinforcement Learning", 2021, arXiv 2111.13461 (the potential of a dataset: its best return against its mean
one).

With G the undiscounted returns of the E episodes, all counted alike whatever their length, and mean(G) the behaviour
mean:

    PSV        = mean(max(G - mean(G), 0)^2)
    potential  = (max(G) - mean(G)) / (max(G) - min(G))
    above mean = share of the episodes with G > mean(G)

PSV says how far good episodes lie above the average one. It is high if a few good episodes are among many poor ones:
weighted sampling and algorithms that choose (RW, AW, IQL, CQL) then gain most. It is 0 if all episodes are alike:
imitation then loses nothing. To compare environments, it is computed on returns scaled to 0..1; the repository of the
paper has no code for it. If all returns are equal there is nothing to scale by, and PSV, potential and share are all 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError
from assay.metrics.measures import Basis, Measure, Measures, NotMeasurable, bootstrap_interval, register_group
from assay.metrics.returns import finite_returns

__all__ = ["fraction_above_mean", "potential_for_improvement", "psv", "return_histogram", "return_quantiles"]

Scale = Literal["raw", "range", "references"]


def return_quantiles(
    dataset: Dataset, quantiles: Sequence[float] = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
) -> np.ndarray:
    """Return quantiles of the returns of all episodes, interpolated linearly between order statistics.

    Parameters
    ----------
    dataset : Dataset
    quantiles : sequence of float in [0, 1]

    Returns
    -------
    (len(quantiles),) float64
        In units of the reward.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.zeros(5), actions=np.zeros(3), rewards=[1.0, 1.0, 4.0],
    ...     terminations=[False, True, False], truncations=[False, False, True])
    >>> return_quantiles(dataset, [0.0, 0.25, 1.0]).tolist()  # returns 2 and 4
    [2.0, 2.5, 4.0]
    """
    wanted = np.asarray(quantiles, float)
    if not ((wanted >= 0) & (wanted <= 1)).all():
        raise ConfigError(f"quantiles={list(quantiles)}: they lie between 0 and 1")
    return np.asarray(np.quantile(finite_returns(dataset), wanted))


def return_histogram(dataset: Dataset, bins: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """Return how many episodes have a return in each of some bins of equal width, and the edges of the bins.

    Parameters
    ----------
    dataset : Dataset
    bins : int

    Returns
    -------
    (bins,) int64, (bins + 1,) float64
        All episodes lie in a bin; the last bin holds its upper edge.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.zeros(5), actions=np.zeros(3), rewards=[1.0, 1.0, 4.0],
    ...     terminations=[False, True, False], truncations=[False, False, True])
    >>> counts, edges = return_histogram(dataset, bins=2)
    >>> counts.tolist(), edges.tolist()
    ([1, 1], [2.0, 3.0, 4.0])
    """
    if bins < 1:
        raise ConfigError(f"bins={bins}: a histogram has at least one bin")
    counts, edges = np.histogram(finite_returns(dataset), bins)
    return counts, edges


def psv(dataset: Dataset, scale: Scale = "raw", *, root: bool = False) -> float:
    """Return the positive-sided variance of the returns (Hong et al. 2023; the module's text has the formula).

    Parameters
    ----------
    dataset : Dataset
    scale : "raw", "range" or "references"
        Scale of the returns: as they are; (G - min G) / (max G - min G), so that PSV is between 0 and 1/4; or
        (G - random) / (expert - random) by the dataset's reference scores.
    root : bool
        Return the square root, in units of the returns.

    Returns
    -------
    float
        Non-negative; 0 where all returns are equal.

    Raises
    ------
    ConfigError
        If `scale="references"` and the dataset has no reference scores, or equal ones.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.zeros(5), actions=np.zeros(3), rewards=[1.0, 1.0, 4.0],
    ...     terminations=[False, True, False], truncations=[False, False, True])
    >>> psv(dataset), psv(dataset, "range"), psv(dataset, root=True) == 0.5**0.5
    (0.5, 0.125, True)
    """
    returns = finite_returns(dataset)
    if scale == "references":
        references = dataset.info.references
        if references is None or references.expert == references.random:
            raise ConfigError('the dataset has no two different reference scores: use scale="range"')
        returns = (returns - references.random) / (references.expert - references.random)
    elif scale == "range":
        returns = returns / _range_of(returns)
    elif scale != "raw":
        raise ConfigError(f"scale={scale!r}: known are raw, range and references")
    value = _psv(returns[None])[0]
    return float(np.sqrt(value) if root else value)


def potential_for_improvement(dataset: Dataset) -> float:
    """Return (max G - mean G) / (max G - min G): how much of the range of the returns lies above the mean.

    Near 1 a few episodes are far better than the rest, and there is much to gain over imitation; near 0 nearly all are
    as good as the best. 0 where all returns are equal.

    Parameters
    ----------
    dataset : Dataset

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.zeros(6), actions=np.zeros(3), rewards=[0.0, 0.0, 9.0],
    ...     terminations=[True, True, True], truncations=[False, False, False])
    >>> round(potential_for_improvement(dataset), 3), round(fraction_above_mean(dataset), 3)
    (0.667, 0.333)
    """
    return float(_potential(finite_returns(dataset))(finite_returns(dataset)[None])[0])


def fraction_above_mean(dataset: Dataset) -> float:
    """Return the share of the episodes whose return is above the mean; 0 where all are equal.

    Below 1/2, good episodes are rarer than poor ones. Above it, a few failures pull the mean down.
    """
    return float(_above(finite_returns(dataset)[None])[0])


# -------------------------------------------------------------------- on rows of returns


def _range_of(returns: np.ndarray) -> float:
    """Return max G - min G, or 1 where that is 0."""
    return float(np.ptp(returns)) or 1.0


def _potential(returns: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Return the potential as a function of rows of returns; the range is that of the data, also for resamples."""
    highest, spread = returns.max(), _range_of(returns)
    return lambda rows: np.clip((highest - rows.mean(1)) / spread, 0.0, 1.0) * (np.ptp(returns) > 0)


def _spread(returns: np.ndarray) -> np.ndarray:
    spread: np.ndarray = returns.max(1) - returns.min(1)
    return spread


def _psv(returns: np.ndarray) -> np.ndarray:
    above = np.maximum(returns - returns.mean(1, keepdims=True), 0)
    # the mean of equal numbers may miss them by a rounding
    return np.where(_spread(returns) == 0, 0.0, (above**2).mean(1))


def _above(returns: np.ndarray) -> np.ndarray:
    return np.where(_spread(returns) == 0, 0.0, (returns > returns.mean(1, keepdims=True)).mean(1))


# -------------------------------------------------------------------- for the table


@register_group("return_structure", order=30)
def measures(basis: Basis) -> Measures:
    """Return `return_quantile_...`, `psv`, `psv_scaled`, `psv_score`, `potential_for_improvement`, `fraction_above_mean`."""
    dataset = basis.dataset

    def of(function: Callable[[np.ndarray], np.ndarray], unit: str, source: str) -> Callable[[], Measure]:
        return of_range(lambda returns: function, unit, source)

    def of_range(
        function_of: Callable[[np.ndarray], Callable[[np.ndarray], np.ndarray]], unit: str, source: str
    ) -> Callable[[], Measure]:
        def measure() -> Measure:
            returns = finite_returns(dataset)
            function = function_of(returns)
            return Measure(
                float(function(returns[None])[0]), unit, source, bootstrap_interval(returns, basis.seed, function)
            )

        return measure

    def quantile(share: float) -> Callable[[], Measure]:
        return of(lambda rows: np.quantile(rows, share, axis=1), "reward", "undiscounted returns of all episodes")

    def by_references() -> Measure:
        references = dataset.info.references
        if references is None or references.expert == references.random:
            raise NotMeasurable("PSV of scores needs two different reference scores, and the dataset's info has none")
        scale = references.expert - references.random
        source = f"{_HONG}, returns scaled by {references.source}"
        return of(lambda rows: _psv(rows / scale), "score^2, 1 expert", source)()

    def scaled(returns: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        return lambda rows: _psv(rows / _range_of(returns))

    return {
        **{f"return_quantile_{round(100 * share)}": quantile(share) for share in (0.1, 0.25, 0.75, 0.9)},
        "psv": of(_psv, "reward^2", _HONG),
        "psv_scaled": of_range(scaled, "0 to 1/4", f"{_HONG}, returns scaled to their range"),
        "psv_score": by_references,
        "potential_for_improvement": of_range(_potential, "0 to 1", "(max - mean) / (max - min) of the returns"),
        "fraction_above_mean": of(_above, "fraction of episodes", "returns above their mean"),
    }


_HONG = "Hong et al. 2023, positive-sided variance"
