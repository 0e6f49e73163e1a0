"""Evaluations beside the training: snapshots of a population run their episodes on a thread while updates go on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import TYPE_CHECKING, Self

import torch

from assay.baselines.engine.acting import Actor
from assay.baselines.engine.shapes import Shapes
from assay.baselines.evaluation.environment import require_fit
from assay.baselines.evaluation.evaluation import Evaluation, EvaluationResult, evaluate, make_simulators
from assay.datasets.errors import CollectionError

if TYPE_CHECKING:
    from assay.datasets.environments.envpool import EnvPoolEnvironments
    from assay.datasets.environments.pool import EnvironmentPool
    from assay.datasets.environments.specification import EnvironmentSpec

__all__ = ["Evaluator"]

_SECONDS_BETWEEN_LOOKS = 0.2


class Evaluator:
    """Evaluates actors one at a time, on a thread of its own and always the same simulators.

    Every evaluation runs on that thread, also one that is waited for, and with a single torch thread: on a CPU the cores
    are already busy with training and simulators, and the rounding of an action does not depend on who waits.

    Parameters
    ----------
    environment_id : str or EnvironmentSpec
    evaluation : Evaluation
    members : int
        Of each actor.
    workers : int, optional
        Simulator processes; default one per core, less one where there are more than two.
    shapes : Shapes, optional
        Of the data, which the environment has to fit.
    """

    def __init__(
        self,
        environment_id: str | EnvironmentSpec,
        evaluation: Evaluation,
        members: int,
        workers: int | None = None,
        shapes: Shapes | None = None,
    ) -> None:
        self.environment_id, self.evaluation, self.members, self.workers = environment_id, evaluation, members, workers
        self.shapes = shapes
        self.share_done = 0.0  # of the evaluation in flight
        self._under_way: tuple[int, Actor, Future[EvaluationResult]] | None = None
        self._pool: EnvironmentPool | EnvPoolEnvironments | None = None
        self._closing = threading.Event()
        self._thread = ThreadPoolExecutor(1, "evaluation")
        # The number of threads belongs to a thread, but is also what threads begun later start with: put that back.
        threads = torch.get_num_threads()
        self._thread.submit(_use_one_torch_thread).result()
        torch.set_num_threads(threads)

    @property
    def pending(self) -> tuple[int, Actor] | None:
        """The update and the actor of the evaluation whose result was not collected yet."""
        return None if self._under_way is None else self._under_way[:2]

    def start(self, update: int, actor: Actor) -> None:
        """Begin to evaluate an actor; the one before must have been collected."""
        assert self._under_way is None, f"the evaluation of update {self._under_way[0]} was not collected"
        self.share_done = 0.0
        self._under_way = update, actor, self._thread.submit(self._evaluate, actor)

    def collect(
        self, *, until: Callable[[], bool] = lambda: False, watch: Callable[[float], None] | None = None
    ) -> tuple[int, EvaluationResult] | None:
        """Wait for the evaluation in flight.

        Parameters
        ----------
        until : callable
            Asked now and then; True ends the waiting.
        watch : callable, optional
            Told the share that is done, now and then.

        Returns
        -------
        update and result, or None if nothing is in flight or the waiting ended early

        Raises
        ------
        CollectionError
            Or whatever else went wrong on the thread.
        """
        if self._under_way is None:
            return None
        update, _, future = self._under_way
        while not future.done():
            if until():
                return None
            wait([future], _SECONDS_BETWEEN_LOOKS)
            if watch is not None and self.share_done:
                watch(self.share_done)
        self._under_way = None
        return update, future.result()

    def collect_finished(self) -> tuple[int, EvaluationResult] | None:
        """Return what `collect` returns, without waiting."""
        return self.collect(until=lambda: True)

    def _evaluate(self, actor: Actor) -> EvaluationResult:
        if self._pool is None and self.evaluation.engine != "exact":
            self._pool = make_simulators(self.members, self.environment_id, self.evaluation, self.workers)
            if self.shapes is not None:
                require_fit(self._pool, self.shapes)
        if self._closing.is_set():
            raise CollectionError(f"the evaluation in {self.environment_id} was given up before it began")
        return evaluate(actor, self.environment_id, self.evaluation, pool=self._pool, progress=self._note)

    def _note(self, done: int, total: int) -> None:
        self.share_done = done / total

    def close(self) -> None:
        """Give up what is in flight, and end the thread and the simulators."""
        self._closing.set()
        if self._under_way is not None and self._pool is not None:
            self._pool.abort()
        self._thread.shutdown()
        if self._pool is not None:
            self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _use_one_torch_thread() -> None:
    torch.get_num_threads()  # the first call in a thread takes over the common number, now and not later
    torch.set_num_threads(1)
