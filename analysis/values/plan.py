"""What valuing episodes will cost, and which values it will be able to tell from 0, before anything is trained.

Half of the M subsets hold a group, so the standard error of its value, a difference of two means of M/2 scores each, is
`2 sd / sqrt(M)`, with sd the standard deviation of the subsets' scores. A value is told from 0 with probability `power` where it is
larger than `(z[0.975] + z[power])` such errors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from assay.datasets.errors import ConfigError

__all__ = ["ValuePlan", "subsets_needed"]

POWER = 0.8


@dataclass(frozen=True)
class ValuePlan:
    """How many trainings values take, and how exact they will be.

    Parameters
    ----------
    groups : int
        Whose values are estimated.
    subsets : int
        Random subsets.
    seeds : int
        Trainings of each subset.
    deviation : float, optional
        Standard deviation of the subsets' scores, such as `ValueResult.deviation` of a pilot. Without it errors are in units of it.

    Examples
    --------
    >>> plan = ValuePlan(groups=20, subsets=400, seeds=2, deviation=5.0)
    >>> plan.trainings, plan.standard_error, round(plan.smallest_value, 2)
    (800, 0.5, 1.4)
    >>> print(ValuePlan(groups=20, subsets=400))
    20 groups, 400 random subsets with 2 trainings each: 800 trainings.
    The standard error of a value will be about 2 sd / sqrt(400) = 0.1 standard deviations of the subsets' scores; a value of 0.28 of them is told from 0 in 80 % of such plans.
    """

    groups: int
    subsets: int
    seeds: int = 2
    deviation: float | None = None

    def __post_init__(self) -> None:
        if self.deviation is not None and not 0 < self.deviation < math.inf:
            raise ConfigError(f"deviation={self.deviation!r} must be above 0, in units of the score, or None")

    @property
    def trainings(self) -> int:
        """Policies that are trained."""
        return self.subsets * self.seeds

    @property
    def standard_error(self) -> float:
        """Of a value: in units of the score where the deviation is known, else in deviations."""
        return 2 * (1.0 if self.deviation is None else self.deviation) / math.sqrt(self.subsets)

    @property
    def smallest_value(self) -> float:
        """The value whose 95 % interval excludes 0 with probability 0.8."""
        return _errors_to_show(POWER) * self.standard_error

    @property
    def sentences(self) -> list[str]:
        """The plan for people."""
        unit = "standard deviations of the subsets' scores" if self.deviation is None else "in units of the score"
        told = f"{self.smallest_value:.3g}{' of them' if self.deviation is None else ''}"
        return [
            f"{self.groups:,} groups, {self.subsets:,} random subsets with {self.seeds} trainings each: {self.trainings:,} trainings.",
            f"The standard error of a value will be about 2 sd / sqrt({self.subsets}) = {self.standard_error:.3g} {unit}; a value of "
            f"{told} is told from 0 in {POWER:.0%} of such plans.".replace("%", " %"),
        ]

    def __str__(self) -> str:
        return "\n".join(self.sentences)


def subsets_needed(value: float, deviation: float, power: float = POWER) -> int:
    """Return how many subsets tell a value from 0 with this probability.

    Parameters
    ----------
    value : float
        In units of the score.
    deviation : float
        Standard deviation of the subsets' scores.
    power : float

    Raises
    ------
    ConfigError
        If a number is impossible.

    Examples
    --------
    >>> subsets_needed(1.4, 5.0)
    401
    """
    if not (0 < abs(value) < math.inf and 0 < deviation < math.inf and 0.5 <= power < 1):
        raise ConfigError(
            f"value={value!r} must not be 0, deviation={deviation!r} must be above 0, and power={power!r} from 0.5 to 1"
        )
    return math.ceil((2 * _errors_to_show(power) * deviation / value) ** 2)


def _errors_to_show(power: float) -> float:
    from scipy.stats import norm

    return float(norm.ppf(0.975) + norm.ppf(power))
