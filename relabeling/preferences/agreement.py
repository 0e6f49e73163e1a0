"""How well predicted preferences agree with answers: accuracy, log loss, calibration."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from assay.datasets.errors import ConfigError

__all__ = ["Agreement", "agreement", "ranking_accuracy"]

_BINS = 10
_Z = 1.959963984540054  # of a 95% interval


@dataclass(frozen=True)
class Agreement:
    """Agreement of predicted preferences with answers.

    Parameters
    ----------
    accuracy : float
        Share of the pairs whose better segment is predicted; NaN without pairs.
    low, high : float
        95% Wilson interval of the accuracy.
    log_loss : float
        Mean of -log P(answer), in nats; log 2 says nothing.
    calibration_error : float
        Expected calibration error: over ten bins of the confidence max(P, 1 - P) in [0.5, 1], the mean distance of confidence and
        accuracy.
    pairs : int
    """

    accuracy: float
    low: float
    high: float
    log_loss: float
    calibration_error: float
    pairs: int

    def to_plain(self) -> dict[str, Any]:
        """Return the numbers as JSON values; what is not measured is None."""
        return {name: None if value != value else value for name, value in asdict(self).items()}


def agreement(probabilities: np.ndarray, answers: np.ndarray) -> Agreement:
    """Compare P(second better) with answers.

    Parameters
    ----------
    probabilities : (n,) float in [0, 1]
    answers : (n,) 0 or 1

    Examples
    --------
    >>> found = agreement(np.array([0.9, 0.8, 0.4, 0.3]), np.array([1, 1, 1, 0]))
    >>> found.accuracy, round(found.low, 2), round(found.high, 2)
    (0.75, 0.3, 0.95)
    """
    count = len(answers)
    if not count:
        return Agreement(*[float("nan")] * 5, 0)
    second = np.asarray(answers) > 0.5
    confidence = np.maximum(probabilities, 1.0 - probabilities)
    right = (probabilities > 0.5) == second
    of_answer = np.clip(np.where(second, probabilities, 1.0 - probabilities), 1e-12, 1.0)
    places = np.minimum(((confidence - 0.5) * 2 * _BINS).astype(int), _BINS - 1)
    sums = [np.bincount(places, values, _BINS) for values in (confidence, right)]
    return Agreement(
        float(right.mean()),
        *_wilson(int(right.sum()), count),
        float(-np.log(of_answer).mean()),
        float(np.abs(sums[0] - sums[1]).sum() / count),
        count,
    )


def _wilson(hits: int, count: int) -> tuple[float, float]:
    share, z = hits / count, _Z
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * np.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return float(middle - half), float(middle + half)


def ranking_accuracy(rewards: np.ndarray, truth: np.ndarray, *, pairs: int = 10_000, seed: int = 0) -> Agreement:
    """Measure how often rewards order two steps, drawn uniformly, as the truth does.

    Parameters
    ----------
    rewards, truth : (N,)
        Pairs of equal truth are left out; of equal rewards count half.
    pairs : int
    seed : int

    Returns
    -------
    Agreement
        With `log_loss` and `calibration_error` NaN: rewards are no probabilities.

    Raises
    ------
    ConfigError
        If the truth is the same everywhere.

    Examples
    --------
    >>> truth = np.arange(100.0)
    >>> ranking_accuracy(truth**2, truth).accuracy, ranking_accuracy(-truth, truth).accuracy
    (1.0, 0.0)
    """
    generator = np.random.default_rng(seed)
    first, second = generator.integers(0, len(truth), (2, pairs))
    wanted = np.sign(np.asarray(truth, np.float64)[second] - np.asarray(truth, np.float64)[first])
    given = np.sign(np.asarray(rewards, np.float64)[second] - np.asarray(rewards, np.float64)[first])
    differ = wanted != 0
    count = int(differ.sum())
    if not count:
        raise ConfigError("the truth is the same in all steps: there is nothing to rank")
    right = float(np.where(given == 0, 0.5, given == wanted)[differ].sum())
    return Agreement(right / count, *_wilson(round(right), count), float("nan"), float("nan"), count)
