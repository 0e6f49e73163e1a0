r"""What a judge is worth: how often it is right, whether it repeats itself, and whether it prefers a side.

A judge that answers 1 where the second is truly better with probability `sensitivity`, and 0 where the first is with probability
`specificity`, shows of a true difference between two things only

.. math:: \Delta_{observed} = \Delta_{true} (sensitivity + specificity - 1)

(Rogan and Gladen 1978), so that a comparison judged by it takes :math:`1 / (sensitivity + specificity - 1)^2` times the trials of a
perfect one. Rates have Wilson's interval, differences and sums the bootstrap's.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.datasets.bootstrap import bootstrap, percentile_interval
from assay.datasets.errors import ConfigError, UnknownNameError
from assay.datasets.generators import block_generator
from assay.relabeling.judges.judge import Judge, Pairs

if TYPE_CHECKING:
    import polars as pl

__all__ = ["JudgeQuality", "judge_quality", "wilson_interval"]

_RESAMPLES = 2_000


@dataclass(frozen=True)
class JudgeQuality:
    """How good a judge is.

    Parameters
    ----------
    table : polars DataFrame
        A row for each measure: measure, value, low, high (the interval), count (what it was measured on), meaning.
    """

    table: pl.DataFrame

    def __getitem__(self, measure: str) -> float:
        """Return the value of one measure."""
        return float(self._row(measure)["value"])

    def interval(self, measure: str) -> tuple[float, float]:
        """Return the interval of one measure."""
        row = self._row(measure)
        return row["low"], row["high"]

    def _row(self, measure: str) -> dict[str, Any]:
        for row in self.table.iter_rows(named=True):
            if row["measure"] == measure:
                return row
        raise UnknownNameError("measure", measure, self.table["measure"])

    def _repr_html_(self) -> str:
        return str(self.table._repr_html_())


def wilson_interval(successes: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Return Wilson's interval of a rate (Wilson 1927).

    Examples
    --------
    >>> [round(bound, 3) for bound in wilson_interval(8, 10)]
    [0.49, 0.943]
    """
    if not trials:
        return 0.0, 1.0
    from scipy.stats import binomtest

    found = binomtest(successes, trials).proportion_ci(level, method="wilson")
    return float(found.low), float(found.high)


def judge_quality(
    judge: Judge,
    pairs: Pairs,
    goal: str,
    *,
    truth: Sequence[int] | np.ndarray | None = None,
    repeats: int = 2,
    swap: bool = True,
    level: float = 0.95,
    seed: int = 0,
) -> JudgeQuality:
    """Measure a judge on pairs.

    Parameters
    ----------
    judge : Judge
    pairs : Pairs
    goal : str
    truth : (n,) of 0, 1 and -1, optional
        Which of the two is better, -1 where neither is. Default: by the rewards of the pairs where they have any; without
        both there is no sensitivity or specificity.
    repeats : int
        How often every pair is asked, for the agreement; 1 measures none. A judge without a `repeat` of its own is simply asked
        again.
    swap : bool
        Ask every pair in both orders, for the bias of position.
    level : float in (0, 1)
        Of the intervals.
    seed : int
        Of the bootstrap.

    Returns
    -------
    JudgeQuality

    Raises
    ------
    ConfigError
        If the truth is of another length or holds other numbers, or there is no pair.

    Examples
    --------
    >>> from assay.relabeling import ScriptedTeacher
    >>> from assay.relabeling.judges import Segments
    >>> rewards = np.random.default_rng(0).normal(size=(2, 500, 1))
    >>> pairs = Pairs(*(Segments(np.arange(500)[:, None] + 500 * side, rewards[side]) for side in range(2)))
    >>> quality = judge_quality(ScriptedTeacher(mistake=0.2), pairs, "any")
    >>> low, high = quality.interval("sensitivity")
    >>> bool(low < 0.8 < high), round(quality["agreement between repeats"], 2)
    (True, 1.0)
    """
    count = len(pairs)
    if not count:
        raise ConfigError("judge_quality needs at least one pair")
    if isinstance(repeats, bool) or not isinstance(repeats, int) or repeats < 1:
        raise ConfigError(f"repeats={repeats!r}: expected a whole number of at least 1")
    if not 0 < level < 1:
        raise ConfigError(f"level={level!r}: expected a number between 0 and 1")
    right = _truth(pairs, truth)
    answers = [_asked(judge, pairs, goal, number) for number in range(repeats)]
    rows: list[dict[str, Any]] = []

    def rate(measure: str, hits: np.ndarray, meaning: str) -> None:
        low, high = wilson_interval(int(hits.sum()), len(hits), level)
        value = float(hits.mean()) if len(hits) else float("nan")
        rows.append(
            {"measure": measure, "value": value, "low": low, "high": high, "count": len(hits), "meaning": meaning}
        )

    def resampled(measure: str, samples: list[np.ndarray], statistic: Any, meaning: str) -> None:
        value, low, high = float("nan"), float("nan"), float("nan")
        if all(map(len, samples)):
            generator = block_generator(seed, "relabeling.judge_quality", measure, 0)
            drawn = bootstrap(samples, statistic, _RESAMPLES, generator)
            value = float(statistic(*(sample[None] for sample in samples))[0])
            low, high = (float(bound) for bound in percentile_interval(drawn, (1 - level) / 2, (1 + level) / 2))
        rows.append(
            {
                "measure": measure,
                "value": value,
                "low": low,
                "high": high,
                "count": sum(map(len, samples)),
                "meaning": meaning,
            }
        )

    first = answers[0]
    rate("decided", first >= 0, "share of pairs that the judge answers with one of the two")
    if right is not None:
        on_second = (first[(right == 1) & (first >= 0)] == 1).astype(np.float64)
        on_first = (first[(right == 0) & (first >= 0)] == 0).astype(np.float64)
        rate("sensitivity", on_second, "says second where the second is better, of what it decides")
        rate("specificity", on_first, "says first where the first is better, of what it decides")
        samples = [on_second, on_first]
        resampled(
            "shown of a difference",
            samples,
            lambda yes, no: yes.mean(1) + no.mean(1) - 1,
            "sensitivity + specificity - 1: the share of a true difference that it shows",
        )
        resampled(
            "trials for one",
            samples,
            lambda yes, no: 1 / np.maximum(yes.mean(1) + no.mean(1) - 1, 1e-9) ** 2,
            "how many judged trials tell as much as one with the truth",
        )
    if repeats > 1:
        same = np.concatenate([(answers[0] == other) for other in answers[1:]])
        rate("agreement between repeats", same, "the same answer when it is asked again")
    if swap:
        turned = _asked(judge, Pairs(pairs.second, pairs.first), goal, 0)
        both = (first >= 0) & (turned >= 0)
        rate("consistent when swapped", first[both] == 1 - turned[both], "the same segment in either order")
        signs = np.where(first[both] == turned[both], 1.0 - 2.0 * first[both], 0.0)
        resampled(
            "bias to the first",
            [signs],
            lambda values: values.mean(1),
            "share that takes the first in both orders, less the share that takes the second",
        )
    import polars as pl

    return JudgeQuality(pl.DataFrame(rows))


def _truth(pairs: Pairs, truth: Sequence[int] | np.ndarray | None) -> np.ndarray | None:
    if truth is None:
        if pairs.first.rewards is None or pairs.second.rewards is None:
            return None
        difference = pairs.second.rewards.sum(1, dtype=np.float64) - pairs.first.rewards.sum(1, dtype=np.float64)
        return np.where(difference == 0, -1, difference > 0).astype(np.int8)
    given = np.asarray(truth)
    if given.shape != (len(pairs),) or given.dtype.kind not in "biu" or not np.isin(given, (-1, 0, 1)).all():
        raise ConfigError(f"truth must be {len(pairs)} numbers, each 0, 1 or -1, one per pair")
    return given.astype(np.int8)


def _asked(judge: Judge, pairs: Pairs, goal: str, repeat: int) -> np.ndarray:
    if "repeat" in inspect.signature(judge.judge).parameters:
        answers = judge.judge(pairs, goal, repeat=repeat)  # type: ignore[call-arg]
    else:
        answers = judge.judge(pairs, goal)
    found = np.asarray(answers)
    if found.shape != (len(pairs),) or not np.isin(found, (-1, 0, 1)).all():
        raise ConfigError(
            f"the judge {judge.name} answered {found.dtype}{list(found.shape)}; expected 0, 1 or -1 per pair"
        )
    return found.astype(np.int8)
