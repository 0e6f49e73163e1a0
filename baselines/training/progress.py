"""Progress of a training: what is new in the curves of a population goes to the caller and to the loggers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np

from assay.baselines.training.logging.logger import Logger
from assay.datasets.progress import Draw
from assay.datasets.wording import count_of

if TYPE_CHECKING:
    from assay.baselines.runs.job import Job
    from assay.baselines.runs.run import Run

__all__ = ["MemberProgress", "Reporter", "TrainingProgress", "training_bar"]


@dataclass(frozen=True)
class MemberProgress:
    """Where one member stands.

    Parameters
    ----------
    label, variant, seed
        Its algorithm and dataset as tables call them, and its training seed.
    metrics : tuple of (str, float)
        Means of the training metrics between the last two log points.
    mean_return, score : float or None
        Of the latest evaluation; the score where the environment has references.
    """

    label: str
    variant: str
    seed: int
    metrics: tuple[tuple[str, float], ...] = ()
    mean_return: float | None = None
    score: float | None = None


@dataclass(frozen=True)
class TrainingProgress:
    """Where a training stands; given to the `progress` callable.

    Parameters
    ----------
    population, populations : int
        Number of the population at work, and how many there are.
    label : str
        Its algorithm.
    members : int
    update, steps : int
        Updates done by each member, of how many.
    updates_per_second : float
        Summed over members, since the last report.
    evaluated : float
        Share of the final evaluation that is done; 0 while training.
    rows : tuple of MemberProgress
        One per member.
    ended : bool
        Whether this is the population's last report: it finished or failed.
    waiting_for : str
        The process that trains it, where that is another one; this one waits.
    """

    population: int
    populations: int
    label: str
    members: int
    update: int
    steps: int
    updates_per_second: float
    evaluated: float = 0.0
    rows: tuple[MemberProgress, ...] = ()
    ended: bool = False
    waiting_for: str = ""

    @property
    def title(self) -> str:
        """What is at work, in words."""
        jobs = count_of(self.members, "job")
        waits = f": waiting for {self.waiting_for}" if self.waiting_for else ""
        return f"{self.label} ({self.population + 1}/{self.populations}), {jobs}{waits}"


def training_bar(draw: Draw) -> Callable[[TrainingProgress], None]:
    """Return a `progress` callable that draws the population at work, its speed and what is left; or all that are, as one.

    Examples
    --------
    >>> bar = training_bar(print)
    >>> bar(TrainingProgress(0, 2, "BC", 1, 50, 100, 25.0))
    BC (1/2), 1 job, 25 updates/s 50 100
    >>> bar(TrainingProgress(1, 2, "BC", 1, 30, 100, 20.0))
    2 of 2 populations, 2 jobs, 45 updates/s 80 200
    """
    at_work: dict[int, TrainingProgress] = {}

    def update(state: TrainingProgress) -> None:
        at_work[state.population] = state
        if state.ended:
            del at_work[state.population]
        elif len(at_work) > 1:
            states = at_work.values()
            jobs, speed = sum(item.members for item in states), sum(item.updates_per_second for item in states)
            title = f"{len(at_work)} of {state.populations} populations, {jobs} jobs"
            done, total = sum(item.update for item in states), sum(item.steps for item in states)
            draw(f"{title}, {speed:,.0f} updates/s", done, total)
        elif state.evaluated:
            draw(f"{state.title}, evaluating", round(100 * state.evaluated), 100)
        else:
            draw(f"{state.title}, {state.updates_per_second:,.0f} updates/s", state.update, state.steps)

    return update


class WorkInProgress(Protocol):
    """A job at work, as a reporter sees it: `curves` and `returns` grow at their ends."""

    job: Job
    run: Run
    curves: list[tuple[Any, ...]]  # update, metric, value
    returns: list[tuple[Any, ...]]  # the columns of `schema.RETURNS`


class _Reader:
    """Reads what is new in the curves and returns of one member."""

    def __init__(self, work: WorkInProgress) -> None:
        self.work = work
        self.curves_read = self.returns_read = 0
        self.latest = MemberProgress(work.job.name or work.job.algorithm.label, work.job.label, work.job.seed)

    def new(self) -> Iterator[tuple[str, int, dict[str, float]]]:
        """Yield (kind, update, metrics) of every point since the last call; of all points at the first one."""
        curves, returns = self.work.curves[self.curves_read :], self.work.returns[self.returns_read :]
        self.curves_read, self.returns_read = len(self.work.curves), len(self.work.returns)
        metrics: dict[str, float] = {}
        for update, rows in groupby(curves, itemgetter(0)):
            metrics = {name: value for _, name, value in rows}
            yield "training", update, metrics
        evaluated: dict[str, float] = {}
        references = self.work.run.references
        for update, rows in groupby(returns, itemgetter(0)):
            mean = float(np.mean([row[3] for row in rows]))
            evaluated = {"return": mean} | ({} if references is None else {"score": references.normalize(mean)})
            yield "evaluation", update, evaluated
        self.latest = MemberProgress(
            self.latest.label,
            self.latest.variant,
            self.latest.seed,
            tuple(metrics.items()) or self.latest.metrics,
            evaluated.get("return", self.latest.mean_return),
            evaluated.get("score", self.latest.score),
        )


class Reporter:
    """Tells the caller and the loggers what is new, when it is called at log points and while evaluating.

    Parameters
    ----------
    progress : callable or None
    loggers : sequence of Logger
    number, total : int
        Of the population.
    work : sequence of WorkInProgress
    steps : int
        Updates of each member.
    """

    def __init__(
        self,
        progress: Callable[[TrainingProgress], None] | None,
        loggers: Sequence[Logger],
        number: int,
        total: int,
        work: Sequence[WorkInProgress],
        steps: int,
    ) -> None:
        self.progress, self.loggers = progress, loggers
        self.number, self.total, self.steps = number, total, steps
        self.label = work[0].job.algorithm.label
        self.readers = [_Reader(item) for item in work]
        self.last: tuple[float, int | None] = (time.monotonic(), None)
        self.started = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Tell what is still new, and that the population has ended."""
        if self.started:
            self._log()
        self._tell(self.last[1] or 0, 0.0, ended=True)
        for logger in self.loggers:
            logger.close()

    def __call__(self, update: int, evaluated: float = 0.0) -> None:
        """Tell what is new after so many updates, or with this share of the final evaluation done."""
        if not self.started:
            for logger in self.loggers:
                for reader in self.readers:
                    logger.start(reader.work.run)
            self.started = True
        self._log()
        self._tell(update, evaluated, ended=False)

    def _log(self) -> None:
        for reader in self.readers:
            for kind, update, metrics in reader.new():
                for logger in self.loggers:
                    logger.log(reader.work.run, kind, update, metrics)

    def _tell(self, update: int, evaluated: float, *, ended: bool) -> None:
        members, (then, before), now = len(self.readers), self.last, time.monotonic()
        speed = 0.0 if before is None else (update - before) * members / max(now - then, 1e-9)
        self.last = (now, update)
        if self.progress is not None:
            rows = tuple(reader.latest for reader in self.readers)
            self.progress(
                TrainingProgress(
                    self.number, self.total, self.label, members, update, self.steps, speed, evaluated, rows, ended
                )
            )
