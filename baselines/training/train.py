"""Training: jobs are grouped into populations, trained, checkpointed, evaluated and written as runs."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from typing import Unpack

import torch

from assay.baselines.engine.learner import Learner
from assay.baselines.evaluation.evaluation import Evaluation, EvaluationResult
from assay.baselines.evaluation.evaluator import Evaluator
from assay.baselines.runs.job import Job
from assay.baselines.runs.lease import Lease, LeaseLostError, Owner, take
from assay.baselines.runs.machine import hardware, multiplies_bfloat16
from assay.baselines.runs.plan import Plan
from assay.baselines.runs.run import Run
from assay.baselines.training.claiming import claim_populations
from assay.baselines.training.logging.logger import Logger
from assay.baselines.training.options import OptionChanges, TrainingOptions
from assay.baselines.training.progress import Reporter, TrainingProgress, training_bar
from assay.baselines.training.work import (
    Work,
    WorkGroup,
    build_population,
    count_processes,
    form_populations,
    lay_out,
    look_up,
    try_environments,
)
from assay.datasets.errors import AssayError, AssayWarning, ConfigError
from assay.datasets.progress import Auto, reporting

__all__ = ["train", "train_populations"]

_LOG_POINTS = 100
_WORTH_TRYING = 5_000  # updates: what makes an evaluation impossible is then found out before them
_UPDATES_PER_SLICE = 64  # between looks at the clock and at Ctrl-C


def train(
    jobs: Sequence[Job],
    *,
    steps: int,
    runs: str | os.PathLike[str] = "runs",
    evaluation: Evaluation | None = Evaluation(),  # noqa: B008  (frozen)
    progress: Callable[[TrainingProgress], None] | Auto | None = "auto",
    loggers: Sequence[Logger] = (),
    options: TrainingOptions = TrainingOptions(),  # noqa: B008  (frozen)
    **changes: Unpack[OptionChanges],
) -> list[Run]:
    """Train jobs, many at a time.

    Jobs of one algorithm with equal shapes and static parameters form populations; everything else about a job (seed,
    dataset variant, learning rates and other float fields) may differ inside one. A finished run with the same job hash
    is not trained again, an unfinished one resumes from its checkpoint. A run belongs to one process at a time: several
    processes may be given the same jobs, on machines that share the folder; each trains populations that no other has begun,
    waits for the rest, and returns all runs.

    Parameters
    ----------
    jobs : sequence of Job
    steps : int
        Updates of each job.
    runs : path
        Folder for the run folders.
    evaluation : Evaluation or None
        None trains without an environment.
    progress : callable, optional
        Called with a TrainingProgress at log points and while evaluating. By default a bar is shown where somebody looks;
        None is silent. See `assay.datasets.progress`.
    loggers : sequence of Logger
        Where the curves go besides the run folders, such as `TensorBoard()`.
    options : TrainingOptions
        The device, the precision, the size of populations, a Ray cluster, ...
    **changes
        Fields of the options, such as `device="cuda"`; they override those of `options`.

    Returns
    -------
    list of Run
        In the order of the jobs; look at `status`, a job that failed or diverged does not stop the others.

    Raises
    ------
    ConfigError
        If there is no job, a setting is impossible, or a dataset does not suit an algorithm; before anything is trained.

    Examples
    --------
    >>> import assay, tempfile
    >>> from assay.baselines import BC, Evaluation, Job, train
    >>> dataset = assay.load("pendulum/random", steps=400)
    >>> run, = train([Job(BC(), dataset)], steps=10, runs=tempfile.mkdtemp(), evaluation=Evaluation(episodes=1))
    >>> run.status, run.policy(dataset.observations[:2]).shape
    ('finished', (2, 1))
    """
    if not jobs:
        raise ConfigError("jobs is empty: there is nothing to train")
    options = options.with_changes(changes)
    plan = Plan(steps, evaluation, options.matmul_precision, options.storage)
    work = look_up(jobs, plan, runs)
    options.check_device()
    if all(item.finished for item in work):
        return [Run(item.folder) for item in work]
    if steps >= _WORTH_TRYING:
        try_environments(work, options.workers)
    with reporting(progress, "training", training_bar) as report:
        if options.ray is not None:
            from assay.baselines.training.cluster import train_on_cluster

            populations = form_populations(work, options)
            further = {"steps": steps, "evaluation": evaluation, "loggers": loggers}
            errors = train_on_cluster(populations, options, further, report)
            for group, error in zip(populations, errors):
                if error is not None:
                    lease = take([item.folder for item in group.members])
                    if isinstance(lease, Lease):  # else another process is at work on them
                        with lease:
                            _fail([Run(item.folder) for item in group.members], error)
            return [Run(item.folder) for item in work]
        options = replace(options, processes=count_processes(work, options))
        if options.processes == 1:
            form = partial(form_populations, options=options)
            train_populations(work, form, plan, options, report, loggers)
        else:
            from assay.baselines.training.processes import train_in_processes

            train_in_processes(form_populations(work, options), plan, options, report, loggers)
        return [Run(item.folder) for item in work]


def train_populations(
    work: Sequence[Work],
    form: Callable[[Sequence[Work]], list[WorkGroup]],
    plan: Plan,
    options: TrainingOptions,
    report: Callable[[TrainingProgress], None] | None,
    loggers: Sequence[Logger],
    companies: Sequence[str] = (),
) -> None:
    """Train what is not finished in this process, one population after the other.

    Parameters
    ----------
    work : sequence of Work
        Looked up.
    form : callable
        Makes populations of what is not finished.
    plan : Plan
    options : TrainingOptions
    report : callable or None
        Called with the progress.
    loggers : sequence of Logger
    companies : sequence of str
        All populations by name where other processes train some of them, so that reports number them alike.
    """
    trained_on = hardware(options.device) | {"compiled": options.compile}

    def place(group: WorkGroup, number: int, total: int) -> tuple[int, int]:
        known = group.company in companies
        return (companies.index(group.company), len(companies)) if known else (number, max(total, len(companies)))

    def tell_waiting(group: WorkGroup, owner: Owner, number: int, total: int) -> None:
        if report is not None:
            label, members = group.members[0].job.algorithm.label, len(group.members)
            where = place(group, number, total)
            report(TrainingProgress(*where, label, members, 0, plan.steps, 0.0, waiting_for=str(owner)))

    with (
        matmul_precision(plan.precision, options.device),
        closing(claim_populations(work, form, tell_waiting)) as claims,
    ):
        for claim in claims:
            group = claim.group
            for item in group.members:
                item.begin(trained_on, group.company, claim.lease)
            where = place(group, claim.number, claim.total)
            _train_population(group, plan, options, Reporter(report, loggers, *where, group.members, plan.steps))


@contextmanager
def matmul_precision(precision: str, device: str) -> Iterator[None]:
    """Multiply float32 matrices as precisely as this while the block runs; warns where that cannot pay on the device."""
    if precision in ("medium", "bf16") and torch.device(device).type == "cpu" and multiplies_bfloat16() is False:
        cost = "multiplies in float32 here, as 'highest' does" if precision == "medium" else "is many times slower here"
        warnings.warn(
            f"this processor has no instructions for bfloat16 products: precision={precision!r} {cost}",
            AssayWarning,
            stacklevel=4,
        )
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest" if precision == "bf16" else precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _train_population(group: WorkGroup, plan: Plan, options: TrainingOptions, report: Reporter) -> None:
    """Train, evaluate and write one population; an error in it is written to its runs and does not stop the others."""
    training_data, failures = lay_out(group)
    for item, failure in failures:
        _fail([item.run], failure)
    broken = [item for item, _ in failures]
    group = replace(group, members=[item for item in group.members if item not in broken])
    work = group.members
    try:
        with report:
            if not work:
                return
            population = build_population(group, training_data, plan, options)
            with _evaluator(work, plan, options.workers) as evaluator:
                if evaluator is not None:
                    _resume_evaluation(work, population, evaluator)
                _advance(work, population, plan, evaluator, options.checkpoint_seconds, report)
                if evaluator is not None:
                    _evaluate_finally(work, population, evaluator, report)
        for index, item in enumerate(work):
            item.run.write_table("curves", item.curves)
            item.run.write_table("returns", item.returns)
            item.run.write_policy(population, index)
            diverged = item.diverged_at is not None
            error = (
                f"the loss was not finite in update {item.diverged_at}; the networks are as they were then"
                if diverged
                else None
            )
            item.run.finish(
                "diverged" if diverged else "finished",
                seconds=item.seconds,
                error=error,
                evaluation_restarts=item.restarts,
            )
    except LeaseLostError as error:
        warnings.warn(str(error), AssayWarning, stacklevel=3)  # the runs are another's, who goes on with them
    except Exception as error:
        _fail([item.run for item in work], error)


def _fail(runs: Sequence[Run], error: Exception) -> None:
    details = str(error) if isinstance(error, AssayError) else "".join(traceback.format_exception(error))
    for run in runs:
        if run.status == "unfinished":
            run.update(status="failed", error=details)


def _advance(
    work: list[Work],
    population: Learner,
    plan: Plan,
    evaluator: Evaluator | None,
    checkpoint_seconds: float,
    report: Reporter,
) -> None:
    every = max(1, plan.steps // _LOG_POINTS)
    evaluate_every = None if plan.evaluation is None else plan.evaluation.every
    saved = time.monotonic()

    def save() -> None:
        for index, item in enumerate(work):
            item.checkpoint(population, index, None if evaluator is None else evaluator.pending)
        for item in work:
            item.run.keep_checkpoint(item.number)

    with _deferred_interrupt() as interrupt:
        while population.completed < plan.steps:
            if evaluator is not None and _is_multiple(population.completed, evaluate_every):
                # At the start of a turn, so that a training resumed at this update begins the evaluation as well.
                _record(work, evaluator.collect(until=lambda: interrupt.requested))
                if interrupt.requested:
                    save()
                    raise KeyboardInterrupt
                evaluator.start(population.completed, population.actor())
            stop = _next_multiple(population.completed, _UPDATES_PER_SLICE, every, evaluate_every, plan.steps)
            started = time.monotonic()
            population.advance(stop - population.completed)
            logs = stop % every == 0 or stop == plan.steps
            if logs:
                _log(work, population)  # a GPU's work is waited for here
            for item in work:
                item.seconds += (time.monotonic() - started) / len(work)
            if logs:
                report(stop)
            if evaluator is not None:
                _record(work, evaluator.collect_finished())
            if time.monotonic() - saved > checkpoint_seconds or stop == plan.steps or interrupt.requested:
                save()
                saved = time.monotonic()
            if interrupt.requested:
                raise KeyboardInterrupt


def _is_multiple(number: int, period: int | None) -> bool:
    return period is not None and number > 0 and number % period == 0


def _next_multiple(number: int, *periods: int | None) -> int:
    """Return the smallest multiple of any of the periods above `number`."""
    return min((number // period + 1) * period for period in periods if period is not None)


class _Interrupt:
    requested = False


@contextmanager
def _deferred_interrupt() -> Iterator[_Interrupt]:
    """Note the first Ctrl-C instead of raising it in the middle of an update; a second one raises at once."""
    interrupt = _Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt  # only the main thread gets signals
        return

    def note(*_: object) -> None:
        if interrupt.requested:
            raise KeyboardInterrupt
        interrupt.requested = True

    before = signal.signal(signal.SIGINT, note)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, before)


def _log(work: list[Work], population: Learner) -> None:
    metrics = population.metrics()
    for index, (item, frozen_at) in enumerate(zip(work, population.frozen_at)):
        if item.diverged_at is None:  # after that there is nothing to log
            item.curves += [(population.completed, name, float(values[index])) for name, values in metrics.items()]
            item.diverged_at = frozen_at


@contextmanager
def _evaluator(work: list[Work], plan: Plan, workers: int | None) -> Iterator[Evaluator | None]:
    """Give what evaluates the population, or None where nothing does."""
    environment = plan.environment(work[0].job)
    if plan.evaluation is None or environment is None:
        yield None
        return
    with Evaluator(environment, plan.evaluation, len(work), workers, work[0].job.shapes) as evaluator:
        yield evaluator


def _resume_evaluation(work: list[Work], population: Learner, evaluator: Evaluator) -> None:
    """Begin anew the evaluation that was in flight when the checkpoint was written."""
    pending = [item.pending for item in work if item.pending is not None]
    if pending:
        actor = population.actor()
        for member, item in enumerate(pending):
            actor.restore(member, item.tensors)
        evaluator.start(pending[0].update, actor)


def _evaluate_finally(work: list[Work], population: Learner, evaluator: Evaluator, report: Reporter) -> None:
    _record(work, evaluator.collect())
    evaluator.start(population.completed, population.actor())
    _record(work, evaluator.collect(watch=lambda share: report(population.completed, share)), final=True)


def _record(work: list[Work], evaluated: tuple[int, EvaluationResult] | None, final: bool = False) -> None:
    """Keep every episode of an evaluation that has come to its end."""
    if evaluated is None:
        return
    update, result = evaluated
    for index, item in enumerate(work):
        item.restarts += result.restarts
        for episode, seed in enumerate(result.seeds):
            total, length = float(result.returns[index, episode]), int(result.lengths[index, episode])
            goal = None if result.goals is None else int(result.goals[episode])
            cost = math.nan if result.costs is None else float(result.costs[index, episode])
            found = None if math.isnan(cost) else cost
            item.returns.append((update, episode, int(seed), total, length, final, goal, found))
