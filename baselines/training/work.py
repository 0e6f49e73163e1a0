"""Jobs at work: what there is of each already, which train together, and the population that they make."""

from __future__ import annotations

import functools
import hashlib
import json
import math
import os
import warnings
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from assay.baselines.engine.acting import Actor
from assay.baselines.engine.data import TrainingData, check_columns, check_learnable, row_columns
from assay.baselines.engine.learner import Learner, Member, State
from assay.baselines.engine.population import stage_lengths
from assay.baselines.engine.tables import data_bytes
from assay.baselines.evaluation.environment import require_known, try_environment
from assay.baselines.runs.job import Job
from assay.baselines.runs.lease import Lease
from assay.baselines.runs.plan import Plan
from assay.baselines.runs.run import PendingEvaluation, Run
from assay.baselines.runs.schema import DESCRIPTION, complete_row
from assay.baselines.training.grouping import GroupCandidate, even_share, form_groups
from assay.baselines.training.options import TrainingOptions
from assay.baselines.training.sending import can_be_sent
from assay.baselines.training.sizing import (
    available_memory,
    bytes_per_member,
    flops_per_update,
    most_members,
)
from assay.datasets.errors import AssayError, AssayWarning, ConfigError
from assay.datasets.missing import require_labels

__all__ = [
    "Work",
    "WorkGroup",
    "build_population",
    "count_processes",
    "estimate_data_bytes",
    "form_populations",
    "lay_out",
    "look_up",
    "resume_from_checkpoints",
    "try_environments",
]


_WORTH_PROCESSES = 1e12  # floating-point operations: half a minute of one core, where starting processes takes seconds


class Work:
    """A job on its way to a finished run."""

    def __init__(self, job: Job, plan: Plan, root: Path) -> None:
        self.job, self.plan = job, plan
        self.folder = root / plan.folder(job)
        if not (self.folder / DESCRIPTION).exists() and (root / plan.former_folder(job) / DESCRIPTION).exists():
            self.folder = root / plan.former_folder(job)
        self.run: Run
        self._reset()

    def _reset(self) -> None:
        self.state: State | None = None
        self.pending: PendingEvaluation | None = None
        self.restarts = 0  # of simulators, in the evaluations of its population
        self.curves: list[tuple[Any, ...]] = []
        self.returns: list[tuple[Any, ...]] = []
        self.seconds = 0.0
        self.finished = False
        self.company: str | None = None  # the population in which it was begun
        self.checkpoints: frozenset[int] = frozenset()
        self.seen: tuple[Any, ...] = ()  # what there was of it when it was looked up
        self.number = 0  # of the latest checkpoint
        self.diverged_at: int | None = None

    def check(self) -> None:
        """Raise ConfigError where the job is impossible, before anything is written for any job."""
        algorithm = self.job.algorithm
        require_labels(self.job.dataset, *algorithm.labels, by=algorithm.label)
        check_learnable(self.job.shapes, self.job.dataset.actions, images=algorithm.image_observations)
        check_columns(self.job.dataset, algorithm.batch_columns)
        try:
            stage_lengths(algorithm.stages(), self.plan.steps)
        except ConfigError as error:
            named = ", ".join(name for name in algorithm.parameters() if name.endswith("_updates"))
            what = f"; the fields {named} say how many" if named else ""
            raise ConfigError(f"{algorithm.label} on {self.job.label}: {error}{what}") from None
        if self.plan.evaluation is not None and self.plan.environment(self.job) is None:
            raise ConfigError(
                f"{self.job.label} does not say which environment it comes from: name it by Evaluation(environment=...), or "
                "train without one by evaluation=None (`assay train` and `assay run`: --episodes 0; a suite: `evaluation: "
                "{environment: Hopper-v5}`, or `evaluation: null`)"
            )

    def look_up(self) -> None:
        """Find out what is there already; nothing is written."""
        self._reset()
        if (self.folder / DESCRIPTION).exists():
            self.run = Run(self.folder)
            self.finished = self.run.ended
            if self.run.status == "unfinished":
                self.company = self.run.description["population"]
                self.checkpoints = frozenset(self.run.checkpoints())
            self.seen = (self.run.status, self.run.description.get("digest"), self.checkpoints)

    def changed(self) -> bool:
        """Look it up again, and tell whether another process has begun or ended it since."""
        before = self.seen
        self.look_up()
        return self.seen != before

    def resume(self, number: int) -> None:
        """Read a checkpoint."""
        self.number = number
        self.state, self.pending, progress = self.run.read_checkpoint(number)
        self.curves = [tuple(row) for row in progress["curves"]]
        self.returns = [complete_row("returns", row) for row in progress["returns"]]
        self.seconds, self.diverged_at = progress["seconds"], progress["diverged_at"]
        self.restarts = progress["restarts"]

    def begin(self, trained_on: dict[str, Any], company: str, lease: Lease) -> None:
        """Make the run's folder, or take up the one that is there; `company` names the job's population."""
        started = datetime.now(UTC).isoformat(timespec="seconds")
        guard = functools.partial(lease.check, self.folder)
        self.run = Run.create(self.folder, self.job, self.plan, trained_on, started, company, guard)
        self.run.keep_checkpoint(self.number)  # a later one lacks its companions

    @property
    def kind(self) -> str:
        """Jobs with the same text can share a population."""
        dataset, algorithm = self.job.dataset, self.job.algorithm
        shapes = [[str(array.dtype), array.shape[1:]] for array in _leaves(dataset.observations, dataset.actions)]
        environment = str(self.plan.environment(self.job))
        scale = self.job.action_scale
        actions = [len(scale.center), scale.first]
        parts = self.job.shapes.to_plain()
        same = [algorithm.name, algorithm.static_parameters(), shapes, parts, actions, environment]
        return json.dumps(same, sort_keys=True)

    @property
    def data_key(self) -> str:
        """Jobs with the same text share their laid out dataset."""
        scale = self.job.action_scale  # of the space, which the fingerprint does not cover
        bounds = [scale.center.tolist(), scale.half_range.tolist(), scale.first]
        return self.job.dataset.fingerprint + json.dumps([self.job.algorithm.data_parameters(), bounds])

    def checkpoint(self, population: Learner, member: int, pending: tuple[int, Actor] | None) -> None:
        """Save the member's state, and the policy whose evaluation has not come to its end, beside what was saved."""
        progress = {
            "curves": self.curves,
            "returns": self.returns,
            "seconds": self.seconds,
            "diverged_at": self.diverged_at,
            "restarts": self.restarts,
        }
        evaluated = None if pending is None else PendingEvaluation(pending[0], pending[1].tensors(member))
        self.number += 1
        self.run.write_checkpoint(self.number, population.state(member), evaluated, progress)


def look_up(jobs: Sequence[Job], plan: Plan, runs: str | os.PathLike[str]) -> list[Work]:
    """Check all jobs, then find out what there is of each already; nothing is written."""
    work = [Work(job, plan, Path(runs)) for job in jobs]
    for item in work:
        item.check()
    if plan.evaluation is not None:
        for environment in {environment for job in jobs if (environment := plan.environment(job)) is not None}:
            try:
                require_known(environment, plan.evaluation)
            except ConfigError as error:
                advice = "training without an evaluation needs none: evaluation=None (`assay train`: --episodes 0)"
                raise ConfigError(f"{error}; {advice}") from error
    for item in work:
        item.look_up()
    return work


def try_environments(work: Sequence[Work], workers: int | None) -> None:
    """Make one simulator of every environment that what is not finished will be evaluated in.

    Raises
    ------
    CollectionError
        If one cannot be made.
    ConfigError
        If one does not fit the data.
    """
    tried = set()
    for item in (item for item in work if not item.finished):
        evaluation, environment, shapes = item.plan.evaluation, item.plan.environment(item.job), item.job.shapes
        if evaluation is None or environment is None or (environment, shapes) in tried:
            continue
        try_environment(environment, evaluation, shapes, workers)
        tried.add((environment, shapes))


def _leaves(*values: Any) -> Iterator[np.ndarray]:
    for value in values:
        if isinstance(value, dict):
            yield from _leaves(*value.values())
        else:
            yield value


@dataclass(frozen=True)
class WorkGroup:
    """Jobs that train together.

    Parameters
    ----------
    members : list of Work
    streaming : bool
        Whether their data stays on the host.
    """

    members: list[Work]
    streaming: bool = False

    @property
    def company(self) -> str:
        """A name for these jobs together."""
        return hashlib.sha256("\n".join(item.folder.name for item in self.members).encode()).hexdigest()[:16]


def form_populations(work: Sequence[Work], options: TrainingOptions, memory: int | None = None) -> list[WorkGroup]:
    """Group what is not finished into populations.

    Parameters
    ----------
    work : sequence of Work
    options : TrainingOptions
        `population` is the most members of one, and `processes` train at the same time (1 where that is undecided). With
        Ray, the memory is that of this machine.
    memory : int, optional
        Bytes that a population may take; default is a process's share of what the device has left.
    """
    processes = 1 if isinstance(options.processes, str) else options.processes
    device, population = options.device if options.ray is None else "cpu", options.population
    unfinished = list({item.folder: item for item in reversed(work) if not item.finished}.values())[::-1]
    kinds: dict[Hashable, list[Work]] = {}
    for item in unfinished:
        kinds.setdefault(item.kind, []).append(item)
    available = available_memory(device) // processes if memory is None else memory
    taken = {
        kind: bytes_per_member(items[0].job.algorithm, items[0].job.shapes, stored_columns(items[0].job))
        for kind, items in kinds.items()
    }

    def largest(kind: Hashable) -> int:
        new = [item for item in kinds[kind] if item.company not in begun]
        most = population
        if isinstance(most, str):
            most = most_members(options.device, _flops_per_update(new[0]))
        return even_share(len(new), most, processes)

    weighted = {
        item.kind
        for item in unfinished
        if item.job.dataset.weights is not None and item.job.algorithm.dataset_weights == "draws"
    }
    begun = _companies(unfinished)
    candidates = [
        GroupCandidate(
            item.kind,
            item.data_key,
            estimate_data_bytes(item, weighted=item.kind in weighted),
            item.company if item.company in begun else None,
        )
        for item in unfinished
    ]
    groups = form_groups(candidates, largest, taken.__getitem__, available)
    made = [WorkGroup([unfinished[index] for index in group.members], group.streaming) for group in groups]
    for group in made:
        if group.streaming:
            first = group.members[0]
            warnings.warn(
                f"{first.job.label} does not fit into the {available / 1e9:.3g} GB that are free on {device}: its batches "
                f"are sent from host memory while {first.job.algorithm.label} trains",
                AssayWarning,
                stacklevel=3,
            )
    for kind, items in kinds.items():
        data = {item.data: item.data_bytes for item in candidates if item.kind == kind}
        needed, parts = (
            sum(data.values()) + len(items) * taken[kind],
            sum(group.members[0].kind == kind for group in made),
        )
        if needed > available and parts > 1:
            warnings.warn(
                f"the {len(items)} jobs of {items[0].job.algorithm.label} need {needed / 1e9:.3g} GB and {device} has "
                f"{available / 1e9:.3g} GB free: they are trained as {parts} populations, one after the other",
                AssayWarning,
                stacklevel=3,
            )
    return made


def count_processes(work: Sequence[Work], options: TrainingOptions) -> int:
    """Return how many processes train what is not finished: as many as the options say, or one per thread where it pays.

    Nothing is timed: the floating-point work of the jobs decides.
    """
    if not isinstance(options.processes, str):
        return options.processes
    threads = torch.get_num_threads()
    unfinished = [item for item in work if not item.finished]
    if threads == 1 or options.on_cuda or options.ray is not None or options.workers == 0:
        return 1
    if not all(map(can_be_sent, (item.job.algorithm for item in unfinished))):
        return 1
    kinds = {item.kind: item for item in unfinished}
    each = {kind: _flops_per_update(item) * item.plan.steps for kind, item in kinds.items()}
    return threads if sum(each[item.kind] for item in unfinished) >= _WORTH_PROCESSES else 1


def _flops_per_update(item: Work) -> int:
    return flops_per_update(item.job.algorithm, item.job.shapes, stored_columns(item.job))


def _companies(unfinished: Sequence[Work]) -> dict[str, frozenset[int]]:
    """Return the checkpoints that all runs of a population have; one without any is as good as not begun."""
    common: dict[str, frozenset[int]] = {}
    for item in unfinished:
        if item.company is not None:
            common[item.company] = common.get(item.company, item.checkpoints) & item.checkpoints
    return {company: numbers for company, numbers in common.items() if numbers}


def resume_from_checkpoints(group: WorkGroup) -> None:
    """Read the latest checkpoint that all runs of a population have: a kill may have come between two of them."""
    for numbers in _companies(group.members).values():
        for item in group.members:
            item.resume(max(numbers))


def estimate_data_bytes(item: Work, *, weighted: bool) -> int:
    """Return what the item's dataset takes in a population, whose data is all drawn by weights if some is."""
    algorithm, dataset, shapes = item.job.algorithm, item.job.dataset, item.job.shapes
    columns = row_columns(
        shapes.observation_size, shapes.action_size, algorithm.batch_columns, stored_columns(item.job)
    )
    copies = 2 if dataset.has_next_observations else 1
    frames = copies * (dataset.total_steps + dataset.total_episodes)
    images = [(frames, part.size) for part in shapes.images]
    rows = algorithm.training_rows(dataset)
    return data_bytes(rows, columns, item.plan.storage_dtype, weighted=weighted, images=images)


def stored_columns(job: Job) -> dict[str, int]:
    """Return the sizes of those extra columns of the algorithm that the dataset has."""
    names = [name for name in job.algorithm.batch_columns if name in job.dataset.columns]
    return {name: math.prod(job.dataset.column(name).shape[1:]) for name in names}


def lay_out(group: WorkGroup) -> tuple[dict[str, TrainingData], list[tuple[Work, AssayError]]]:
    """Lay out the datasets of a group, and say whose cannot be learned from."""
    training_data: dict[str, TrainingData] = {}
    errors: dict[str, AssayError] = {}
    for item in group.members:
        if item.data_key not in training_data and item.data_key not in errors:
            try:
                training_data[item.data_key] = item.job.algorithm.training_data(item.job.dataset, item.job.action_scale)
            except AssayError as error:
                errors[item.data_key] = error
    return training_data, [(item, errors[item.data_key]) for item in group.members if item.data_key in errors]


def build_population(
    group: WorkGroup, training_data: Mapping[str, TrainingData], plan: Plan, options: TrainingOptions
) -> Learner:
    """Make the networks, place the data, and restore what was saved."""
    numbers = {key: number for number, key in enumerate(training_data)}
    population = group.members[0].job.algorithm.learner(
        [Member(item.job.algorithm, item.job.seed, numbers[item.data_key]) for item in group.members],
        list(training_data.values()),
        plan.steps,
        device=options.device,
        storage=plan.storage_dtype,
        streaming=group.streaming,
        bf16=plan.bf16,
        compile="inductor" if options.compile else None,
    )
    for index, item in enumerate(group.members):
        if item.state is not None:
            population.restore(item.state, index)
            item.state = None
    return population
