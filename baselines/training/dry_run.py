"""A dry run: what a training would do, how much memory it needs and about how long it takes. Nothing is written."""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Unpack

import torch

from assay.baselines.engine.population import Population
from assay.baselines.evaluation.evaluation import Evaluation
from assay.baselines.runs.job import Job
from assay.baselines.runs.plan import Plan
from assay.baselines.training.options import OptionChanges, TrainingOptions
from assay.baselines.training.sizing import seconds_per_update
from assay.baselines.training.train import matmul_precision
from assay.baselines.training.work import (
    Work,
    WorkGroup,
    build_population,
    count_processes,
    form_populations,
    lay_out,
    look_up,
    resume_from_checkpoints,
)
from assay.datasets.errors import ConfigError

__all__ = ["PlannedJob", "PlannedPopulation", "PlannedSearch", "TrainingPlan", "plan_training"]


@dataclass(frozen=True)
class PlannedJob:
    """A job and what there is of it already.

    Parameters
    ----------
    label, variant, seed
        Its algorithm and dataset as tables call them, and its training seed.
    folder : Path
    status : str
        `"finished"` or `"diverged"` (not trained again), `"resumes"`, `"new"`, or `"unknown"`.
    update : int
        Where it resumes.
    """

    label: str
    variant: str
    seed: int
    folder: Path
    status: str
    update: int = 0


@dataclass(frozen=True)
class PlannedPopulation:
    """Jobs that would be trained together.

    Parameters
    ----------
    label : str
        The algorithm.
    members, datasets : int
    observation_size, action_size : int
    updates : int
        That are left to each member.
    state_bytes : int
        Weights and optimizer on the device, of all members.
    data_bytes : int
        Datasets on the device.
    peak_bytes : int or None
        On CUDA, the most that was allocated while it was timed, with all of the above and working space.
    seconds_per_update : float
        Of all members, timed on this machine just now.
    error : str or None
        Why it would fail; the sizes are then 0.
    """

    label: str
    members: int
    datasets: int
    observation_size: int = 0
    action_size: int = 0
    updates: int = 0
    state_bytes: int = 0
    data_bytes: int = 0
    peak_bytes: int | None = None
    seconds_per_update: float = 0.0
    error: str | None = None

    @property
    def seconds(self) -> float:
        """Estimated time to train it, without evaluation."""
        return self.updates * self.seconds_per_update


@dataclass(frozen=True)
class PlannedSearch:
    """What a search would train besides the jobs of a plan.

    Parameters
    ----------
    trainings : int
        Of proposals, in all.
    finished : int
        Of those, known to be finished.
    finals : int
        Trainings of what it will have found.
    seconds : float
        Estimated time of the proposals that are left, as the next batch was timed.
    """

    trainings: int
    finished: int
    finals: int
    seconds: float


@dataclass(frozen=True)
class TrainingPlan:
    """What a training would do.

    Parameters
    ----------
    jobs : tuple of PlannedJob
        In the order given.
    populations : tuple of PlannedPopulation
        In the order in which they would be trained.
    processes : int
        That train populations side by side.
    collects : int or None
        Steps of the source dataset that would be collected first. The populations were then timed on a sample, and what
        is finished is not known, because runs are recognized by their data.
    search : PlannedSearch or None
        Where the suite searches parameters.
    """

    jobs: tuple[PlannedJob, ...]
    populations: tuple[PlannedPopulation, ...]
    processes: int = 1
    collects: int | None = None
    search: PlannedSearch | None = None

    @property
    def seconds(self) -> float:
        """Estimated time of all populations, each taken up by the first process that is free; without evaluation."""
        busy_until = [0.0] * self.processes
        for population in self.populations:
            heapq.heapreplace(busy_until, busy_until[0] + population.seconds)
        return max(busy_until)


def plan_training(
    jobs: Sequence[Job],
    *,
    steps: int,
    runs: str | os.PathLike[str] = "runs",
    evaluation: Evaluation | None = Evaluation(),  # noqa: B008  (frozen)
    options: TrainingOptions = TrainingOptions(),  # noqa: B008  (frozen)
    **changes: Unpack[OptionChanges],
) -> TrainingPlan:
    """Plan what `train` would do with the same arguments, with a short timing of each population on the device.

    Parameters
    ----------
    jobs, steps, runs, evaluation, options, **changes
        As in `train`; without a Ray cluster, because this machine is timed.

    Returns
    -------
    TrainingPlan

    Raises
    ------
    ConfigError
        Where `train` would raise it.

    Examples
    --------
    >>> import assay
    >>> from assay.baselines import BC, Job, plan_training
    >>> jobs = [Job(BC(hidden=(8,)), assay.load("pendulum/random", steps=400), seed) for seed in range(3)]
    >>> plan = plan_training(jobs, steps=10, runs="no-such-folder")
    >>> [job.status for job in plan.jobs], plan.populations[0].members, plan.populations[0].updates
    (['new', 'new', 'new'], 3, 10)
    """
    options = options.with_changes(changes)
    if options.ray is not None:
        raise ConfigError("a plan times this machine, not a Ray cluster; leave --ray out (ray= in Python)")
    plan = Plan(steps, evaluation, options.matmul_precision, options.storage)
    work = look_up(jobs, plan, runs)
    options.check_device()
    processes = count_processes(work, options)
    options = replace(options, processes=processes)
    with matmul_precision(plan.precision, options.device), _threads(1 if processes > 1 else torch.get_num_threads()):
        groups = form_populations(work, options)
        for group in groups:
            resume_from_checkpoints(group)
        planned = tuple(_planned_job(item) for item in work)
        populations = tuple(_planned_population(group, plan, options) for group in groups)
    return TrainingPlan(planned, populations, max(1, min(processes, len(populations))))


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Compute with so many threads while the block runs."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _planned_job(item: Work) -> PlannedJob:
    job, update = item.job, 0 if item.state is None else item.state.update
    status = item.run.status if item.finished else "resumes" if update else "new"
    return PlannedJob(job.name or job.algorithm.label, job.label, job.seed, item.folder, status, update)


def _planned_population(group: WorkGroup, plan: Plan, options: TrainingOptions) -> PlannedPopulation:
    work = group.members
    label, datasets = work[0].job.algorithm.label, len({item.job.dataset.fingerprint for item in work})
    if options.on_cuda:
        torch.cuda.reset_peak_memory_stats(options.device)
    training_data, failures = lay_out(group)
    if failures:
        return PlannedPopulation(label, len(work), datasets, error=str(failures[0][1]))
    population = build_population(group, training_data, plan, options)
    updates = plan.steps - population.completed
    if not isinstance(population, Population):  # a method without a loop
        return PlannedPopulation(label, len(work), datasets, updates=updates)
    seconds = seconds_per_update(population)
    networks = population.networks.values()
    return PlannedPopulation(
        label,
        len(work),
        datasets,
        population.observation_size,
        population.action_size,
        updates,
        sum(tensor.nbytes for network in networks for tensor in network.tensors().values()),
        0 if group.streaming else population.table.nbytes,
        torch.cuda.max_memory_allocated(options.device) if options.on_cuda else None,
        seconds,
    )
