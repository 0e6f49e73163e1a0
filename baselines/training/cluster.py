"""More than one machine: Ray gets one task per population.

The jobs are grouped on the machine that asks, as for a local run, so the populations are the same. Each distinct column of
their datasets is put into Ray's object store once; a node fetches it once, and its workers read it there without copying
it. A worker trains its population with `train`, into the same run folders as a local run, so everything that holds there
holds here: finished runs are skipped, checkpoints are written, and a failure stays with its population. When a node is
lost, Ray starts its tasks on another one, and they resume from the checkpoints.

What Ray cannot do is share a disk: the folder of the runs must be one that every node sees under the same path, and Assay
must be installed on every node. Ray starts no process of Assay's besides the tasks, except an actor that holds the latest
progress.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.baselines.algorithms.registry import algorithm_named
from assay.baselines.runs.job import Job
from assay.baselines.runs.lease import Owner, take
from assay.baselines.runs.run import Run
from assay.baselines.runs.schema import DESCRIPTION
from assay.baselines.training.options import TrainingOptions
from assay.baselines.training.progress import TrainingProgress
from assay.baselines.training.work import resume_from_checkpoints
from assay.datasets.dataset import Dataset
from assay.datasets.errors import AssayError, ConfigError
from assay.datasets.registry import defined_in_import, import_file, imported_files

if TYPE_CHECKING:
    from assay.baselines.training.work import WorkGroup

__all__ = ["train_on_cluster"]

_ATTEMPTS_AFTER_A_LOSS = 10  # each goes on from the last checkpoint
_SECONDS_BETWEEN_LOOKS = 0.5
_SECONDS_TO_SAVE = 60.0  # that tasks get when the driver is interrupted


class ClusterError(AssayError, RuntimeError):
    """A task of the cluster was lost, or left nothing where it should have written."""


def train_on_cluster(
    populations: Sequence[WorkGroup],
    options: TrainingOptions,
    further: Mapping[str, Any],
    progress: Callable[[TrainingProgress], None] | None,
) -> list[Exception | None]:
    """Train every population as a task of a Ray cluster.

    Parameters
    ----------
    populations : sequence of WorkGroup
    options : TrainingOptions
        `ray` is the address, as in `ray.init`; a connection that this process has already is used as it is. With the device
        `"cuda"` every population gets one GPU.
    further : mapping
        Further parameters of `train`: steps, evaluation and loggers.
    progress : callable or None

    Returns
    -------
    list of Exception or None
        What stopped each population as a whole; None where its runs tell.

    Raises
    ------
    ConfigError
        If Ray is not installed, or the cluster cannot be reached.
    """
    ray, address, device = _import_ray(), options.ray, options.device
    assert address is not None
    if not populations:
        return []
    errors: list[Exception | None] = [None] * len(populations)
    with _connection(ray, address):
        board, store = _start_board(ray), _ColumnStore(ray)
        cores = _cores_per_population(ray.nodes(), len(populations), on_gpu=options.on_cuda)
        task = ray.remote(_train).options(
            num_cpus=cores, num_gpus=int(options.on_cuda), max_retries=_ATTEMPTS_AFTER_A_LOSS
        )
        on_node = replace(options, ray=None, processes=1, workers=cores if options.workers is None else options.workers)
        pending = {}
        for number, group in enumerate(populations):
            _begin(group, {"device": device, "ray": address})
            jobs = [store.put(item.job) for item in group.members]
            folders = [item.folder.resolve() for item in group.members]
            settings = {**further, "options": replace(on_node, population=len(jobs))}
            pending[task.remote(imported_files(), jobs, folders, settings, cores, number, board)] = number
        try:
            while pending:
                done, _ = ray.wait(list(pending), timeout=_SECONDS_BETWEEN_LOOKS)
                for latest in ray.get(board.take.remote()):
                    if progress is not None:
                        progress(replace(latest, populations=len(populations)))
                for finished in done:
                    errors[pending.pop(finished)] = _outcome(ray, finished)
        except KeyboardInterrupt:
            for task in pending:
                ray.cancel(task)  # raises KeyboardInterrupt in a task at work, which saves, as after Ctrl-C
            ray.wait(list(pending), num_returns=len(pending), timeout=_SECONDS_TO_SAVE)
            raise
    return errors


def _begin(group: WorkGroup, trained_on: dict[str, Any]) -> None:
    """Make the run folders, which a node takes up; where another process has just made them, they are left to it."""
    folders = [item.folder for item in group.members]
    while isinstance(lease := take(folders), Owner):
        if all((folder / DESCRIPTION).exists() for folder in folders):
            return
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    with lease:
        changed = [item for item in group.members if item.changed()]
        if not changed:
            resume_from_checkpoints(group)
        for item in group.members:
            if item not in changed or not item.seen:
                item.begin(trained_on, group.company, lease)
            item.state = None


def _import_ray() -> Any:
    try:
        import ray
    except ModuleNotFoundError as error:
        raise ConfigError("Ray is not installed: pip install 'assay[ray]', on every node") from error
    return ray


@contextmanager
def _connection(ray: Any, address: str) -> Iterator[None]:
    if ray.is_initialized():
        yield
        return
    try:
        ray.init(address=address, logging_level=logging.WARNING)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ConfigError(f"no Ray cluster at {address!r} ({error}); `ray start --head` starts one") from error
    try:
        yield
    finally:
        ray.shutdown()


class _Board:
    """The latest progress of every population; tasks leave it here without waiting for an answer."""

    def __init__(self) -> None:
        self.latest: dict[int, TrainingProgress] = {}

    def leave(self, progress: TrainingProgress) -> None:
        self.latest[progress.population] = progress

    def take(self) -> list[TrainingProgress]:
        """Return what came since the last call."""
        latest, self.latest = list(self.latest.values()), {}
        return latest


def _start_board(ray: Any) -> Any:
    """Start the board beside the driver: a node that is lost does not take it along."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(_Board).options(num_cpus=0, scheduling_strategy=here).remote()


def _cores_per_population(nodes: Sequence[Mapping[str, Any]], populations: int, *, on_gpu: bool) -> int:
    """Return the most CPU cores that a task may ask for while all populations still run at the same time.

    On GPUs it is a GPU's share of the cores of its node.
    """
    resources = [node["Resources"] for node in nodes if node["Alive"]]
    if on_gpu:
        shares = [int(node.get("CPU", 0) // node["GPU"]) for node in resources if node.get("GPU", 0) >= 1]
        return max(1, min(shares, default=1))
    cores = [int(node.get("CPU", 0)) for node in resources]
    enough = [share for share in range(1, max(cores) + 1) if sum(count // share for count in cores) >= populations]
    return max(enough, default=1)


class _ColumnStore:
    """Puts jobs into words that Ray can carry, and each distinct column into its object store once."""

    def __init__(self, ray: Any) -> None:
        self.ray = ray
        self.references: dict[tuple[str, ...], Any] = {}

    def put(self, job: Job) -> dict[str, Any]:
        """Return the fields of a job; the columns of its dataset are references."""
        dataset = job.dataset
        plain = {item.name: getattr(job, item.name) for item in fields(job)}
        if defined_in_import(type(job.algorithm)):  # a worker knows it once it has imported the file
            plain["algorithm"] = (job.algorithm.name, job.algorithm.parameters())
        plain["dataset"] = {
            "columns": {name: self._reference(dataset, name) for name in dataset.columns},
            "episode_lengths": dataset.episode_lengths,
            "info": dataset.info,
            "history": dataset.history,
            "episode_columns": dataset.episode_columns,
        }
        return plain

    def _reference(self, dataset: Dataset, name: str) -> Any:
        column = dataset.column(name)
        key = (dataset.column_hash(name), column.dtype.str, str(column.shape))
        if key not in self.references:
            self.references[key] = self.ray.put(np.ascontiguousarray(column))
        return self.references[key]


def _take(ray: Any, plain: Mapping[str, Any]) -> Job:
    """Build the job again; its columns are read where they lie in the node's object store."""
    dataset = dict(plain["dataset"])
    names = list(dataset["columns"])
    columns = dict(zip(names, ray.get([dataset["columns"][name] for name in names])))
    algorithm = plain["algorithm"]
    if isinstance(algorithm, tuple):
        algorithm = algorithm_named(*algorithm)
    return Job(**{**plain, "algorithm": algorithm, "dataset": Dataset(**{**dataset, "columns": columns})})


def _train(
    imports: Sequence[Path],
    jobs: Sequence[Mapping[str, Any]],
    folders: Sequence[Path],
    settings: Mapping[str, Any],
    cores: int,
    number: int,
    board: Any,
) -> dict[Path, str]:
    """Train one population on a worker, and return the status of each run folder."""
    import torch

    from assay.baselines.training.train import train

    ray = _import_ray()
    for file in imports:
        import_file(file)
    for folder in folders:
        if not (folder / "run.json").exists():
            node = ray.util.get_node_ip_address()
            raise ClusterError(f"node {node} does not see {folder}; runs= must be a folder that all nodes share")
    torch.set_num_threads(cores)
    left: list[Any] = []

    def leave(progress: TrainingProgress) -> None:
        left[:] = [board.leave.remote(replace(progress, population=number))]

    runs = train(
        [_take(ray, plain) for plain in jobs],
        runs=folders[0].parent,
        progress=leave,
        **settings,
    )
    ray.get(left)  # the last word is on the board before the driver hears that the task is done
    return {run.folder: run.status for run in runs}


def _outcome(ray: Any, task: Any) -> Exception | None:
    try:
        statuses = ray.get(task)
    except ray.exceptions.RayTaskError as error:
        cause: Exception = error.cause
        return cause
    except ray.exceptions.RayError as error:
        return ClusterError(f"Ray lost the population for good: {error}")
    for folder, status in statuses.items():
        if (seen := Run(folder).status) != status:
            return ClusterError(f"{folder} is {status} on its node and {seen} here; runs= must be a shared folder")
    return None
