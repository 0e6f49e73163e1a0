"""What a check of recorded robots is made of: settings, scores, and the registry that finds the checks.

A check is a function of a recording that yields scores::

    @episode_check("idle", order=10)
    def idle(recording: Recording) -> Iterator[Score]:
        yield Score("idle_head", values, "share of steps", kind="risk", limit=0.25, definition="...")

`kind` says what a score beyond its limit means: a **defect** is wrong whatever one does with the data, a **risk** may make
learning hard, and a score without a kind is a fact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeVar

import numpy as np
import pydantic
from pydantic import Field

from assay.datasets.errors import UnknownNameError
from assay.datasets.registry import Registry, with_clear_errors
from assay.datasets.signals import Signals

__all__ = ["Kind", "Recording", "RobotChecks", "Score", "episode_check", "episode_checks", "robust_z"]

Kind = Literal["defect", "risk"]
Function = TypeVar("Function", bound=Callable[..., Iterable["Score"]])
_OUTLIER = 3.5  # robust z from which on a value is one (Iglewicz and Hoaglin 1993)


@pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=pydantic.ConfigDict(extra="forbid"))
class RobotChecks:
    """Settings of the checks. `limits` are where a score becomes a finding; the others belong to the definitions.

    Parameters
    ----------
    limits : mapping of str to float or None
        Limit of a metric, such as `{"idle_tail": 0.1}`; None: never a finding. Default: each metric's own.
    state, dimensions, rate
        As in `assay.datasets.signals.Signals`.
    idle_speed : float
        Share of the dataset's 95th percentile of the speed below which a step is idle.
    saturation_margin : float
        Share of a dimension's span within which an action is at a bound.
    discrete_values : int
        A dimension with no more different values than this is discrete, such as a gripper's command.
    chatter_seconds : float
        A change of a discrete dimension that is taken back within this time is chatter.
    chatter_floor : float
        Changes of a continuous action below this share of its standard deviation are noise, not reversals.
    gap : float
        Times the median step of time, from which on a step is a gap.
    jump_factor, jump_isolation : float
        A jump is longer than the median by this many median absolute deviations, and this many times longer than the median
        of the six steps around it.
    lag_seconds : float
        Largest lag that is looked for.
    drift_windows : int
        Windows of an episode that a drift is a slope over.

    Examples
    --------
    >>> RobotChecks(limits={"idle_tail": 0.1}).limits["idle_tail"]
    0.1
    """

    limits: dict[str, float | None] = Field(default_factory=dict)
    state: str | None = None
    dimensions: tuple[str, ...] | None = None
    rate: float | None = Field(default=None, gt=0)
    idle_speed: float = Field(default=0.01, ge=0, le=1)
    saturation_margin: float = Field(default=0.01, ge=0, lt=0.5)
    discrete_values: int = Field(default=3, ge=2)
    chatter_seconds: float = Field(default=0.5, gt=0)
    chatter_floor: float = Field(default=0.02, ge=0)
    gap: float = Field(default=1.5, gt=1)
    jump_factor: float = Field(default=20.0, gt=0)
    jump_isolation: float = Field(default=5.0, ge=1)
    lag_seconds: float = Field(default=1.0, gt=0)
    drift_windows: int = Field(default=8, ge=3)


setattr(RobotChecks, "__init__", with_clear_errors("checks", RobotChecks.__init__))  # noqa: B010  # mypy allows no other


@dataclass(frozen=True)
class Recording(Signals):
    """The signals of a dataset and the settings of the checks, with what several checks share."""

    settings: RobotChecks = field(default_factory=RobotChecks)

    @property
    def episodes(self) -> int:
        """E."""
        return self.dataset.total_episodes

    @property
    def lengths(self) -> np.ndarray:
        """(E,) steps."""
        return self.dataset.episode_lengths


@dataclass(frozen=True)
class Score:
    """One metric of all episodes.

    Parameters
    ----------
    metric : str
    values : (E,) or (E, D) float64
        NaN where it cannot be measured.
    unit, definition : str
    kind : "defect", "risk" or None
    limit : float or None
        Beyond which the value is a finding.
    worse : "higher" or "lower"
        On which side of the limit that is.
    column : str or None
        That it is measured on.
    dimensions : tuple of str
        Names of the D columns of `values`.
    rows : int64 like `values`, optional
        First place of what was found, counted from the episode's first step; -1 for none.
    """

    metric: str
    values: np.ndarray
    unit: str
    kind: Kind | None = None
    limit: float | None = None
    worse: Literal["higher", "lower"] = "higher"
    definition: str = ""
    column: str | None = None
    dimensions: tuple[str, ...] = ()
    rows: np.ndarray | None = None

    def flagged(self) -> np.ndarray:
        """Return where the value is beyond the limit, as bool like `values`."""
        if self.limit is None or self.kind is None:
            return np.zeros(self.values.shape, bool)
        with np.errstate(invalid="ignore"):
            result: np.ndarray = self.values > self.limit if self.worse == "higher" else self.values < self.limit
        return result

    def worst(self) -> np.ndarray:
        """Return each episode's value, the worst of its dimensions where there are several; (E,)."""
        if self.values.ndim == 1:
            return self.values
        filled = np.where(np.isnan(self.values), -np.inf if self.worse == "higher" else np.inf, self.values)
        extreme = filled.max(axis=1) if self.worse == "higher" else filled.min(axis=1)
        result: np.ndarray = np.where(np.isinf(extreme) & np.isnan(self.values).all(axis=1), np.nan, extreme)
        return result


class Check(NamedTuple):
    """A registered check: recording -> scores, and its place in the table."""

    function: Callable[[Recording], Iterable[Score]]
    order: int


_REGISTRY: Registry[Check] = Registry("check of episodes", ["assay.metrics.robot"], "assay.episode_checks")


def episode_check(name: str, order: int = 1000) -> Callable[[Function], Function]:
    """Register a function `(recording) -> scores` as a check; see the module's text."""

    def decorate(function: Function) -> Function:
        _REGISTRY.add(name, Check(function, order), function.__module__)
        return function

    return decorate


def episode_checks() -> dict[str, Callable[[Recording], Iterable[Score]]]:
    """Return all checks by name, in the order of the table.

    Examples
    --------
    >>> list(episode_checks())[:3]
    ['episode', 'clock', 'sensors']
    """
    ordered = sorted(_REGISTRY.all().items(), key=lambda item: item[1].order)
    return {name: check.function for name, check in ordered}


def known_check(name: str) -> Callable[[Recording], Iterable[Score]]:
    """Return a check by its name, or raise UnknownNameError."""
    checks = episode_checks()
    if name not in checks:
        raise UnknownNameError("check of episodes", name, checks)
    return checks[name]


def robust_z(values: np.ndarray) -> np.ndarray:
    """Return how far values lie from their median, in standard deviations estimated by the median absolute deviation.

    Where more than half of the values are equal, the mean absolute deviation takes its place (Iglewicz and Hoaglin 1993).

    Examples
    --------
    >>> robust_z(np.array([1.0, 2.0, 3.0, 4.0, 100.0])).round(2).tolist()
    [-1.35, -0.67, 0.0, 0.67, 65.43]
    """
    known = values[np.isfinite(values)]
    if not len(known):
        return np.full(values.shape, np.nan)
    middle = np.median(known)
    spread = 1.4826 * np.median(np.abs(known - middle)) or 1.2533 * np.mean(np.abs(known - middle))
    if not spread:
        return np.where(np.isfinite(values), 0.0, np.nan)
    result: np.ndarray = (values - middle) / spread
    return result


def lowest_ordinary(values: np.ndarray) -> float | None:
    """Return the value below which one is an outlier among the others; None for fewer than five."""
    known = values[np.isfinite(values)]
    if len(known) < 5:
        return None
    z = robust_z(known)
    spread = np.ptp(known) / np.ptp(z) if np.ptp(z) else 0.0
    return float(np.median(known) - _OUTLIER * spread)
