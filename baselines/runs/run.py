"""Runs: what came of a job, on disk.

::

    RUNS/<algorithm>-<variant>-seed<seed>-<hash>/
        run.json               the job, its dataset's fingerprint and history, versions, hardware, status; the hash of every
                               file of a finished run, and a digest of itself
        curves.parquet         update, metric, value: means of the training losses between log points
        returns.parquet        update, episode, seed, return, length, final, goal, and cost where there is one: every
                               evaluation episode
        policy.safetensors     the networks and scales of the trained policy
        checkpoint/            while unfinished: <number>-<hash>.safetensors, with the policy whose evaluation is under way
    RUNS/.owners/<run>         while a process works on it: which one (see `lease.py`)

A run is finished when run.json says so, which is the last thing written; from then on nothing of it is written again.
Runs are recognized by the hash of their job, so the same job is never trained twice, and an unfinished one goes on where
its checkpoint stands.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.baselines.engine.acting import Actor
from assay.baselines.engine.learner import Learner, State
from assay.baselines.evaluation.observation_noise import ObservationNoise
from assay.baselines.runs.integrity import content_hash, read_verified, safetensors_texts, write_json
from assay.baselines.runs.job import Job
from assay.baselines.runs.machine import versions
from assay.baselines.runs.plan import Plan
from assay.baselines.runs.policy import TrainedPolicy
from assay.baselines.runs.reader import StoredRun
from assay.baselines.runs.schema import (
    CHECKPOINTS,
    DESCRIPTION,
    OMITTED_COLUMNS,
    POLICY,
    RUN_SCHEMA,
    RUN_VERSION,
    TABLES,
)
from assay.datasets.atomic import atomic_write
from assay.datasets.errors import AssayError, DatasetIntegrityError
from assay.datasets.registry import imported_files

if TYPE_CHECKING:
    import torch

__all__ = ["PendingEvaluation", "Run", "RunIsFinishedError"]

_CHECKPOINT = re.compile(r"\d+(-[0-9a-f]{32})?\.safetensors")
_PENDING = "evaluating/"  # before the names of a pending evaluation's tensors


@dataclass(frozen=True)
class PendingEvaluation:
    """An evaluation that was under way when a checkpoint was written: its update, and what the member acts with."""

    update: int
    tensors: Mapping[str, torch.Tensor]


class Run(StoredRun):
    """A run folder: reads what is there, acts with the trained policy, and writes it atomically.

    Parameters
    ----------
    folder : path
    guard : callable, optional
        Called before anything is written; raises where the folder is not this process's, see `assay.baselines.runs.lease`.

    Raises
    ------
    FormatError
        If the folder holds no run.
    DatasetIntegrityError
        If run.json is damaged; reading other files raises it as well, naming the file.

    Examples
    --------
    >>> Run("no-such-folder")
    Traceback (most recent call last):
    ...
    assay.datasets.errors.FormatError: no-such-folder holds no run: run.json is missing
    """

    def __init__(self, folder: str | os.PathLike[str], guard: Callable[[], None] | None = None) -> None:
        super().__init__(folder)
        self.guard = guard
        self._hashes: dict[str, str] = {}  # of what was written by this object

    @property
    def observation_noise(self) -> ObservationNoise | None:
        """What disturbed the observations of every evaluation, if anything; such returns are no clean scores."""
        stored = (self.job.get("evaluation") or {}).get("observation_noise")
        return None if stored is None else ObservationNoise(**stored)

    def __repr__(self) -> str:
        text = super().__repr__()
        if "score" in text and self.observation_noise is not None:
            return f"{text.removesuffix('>')} under {self.observation_noise}>"
        return text

    # ---------------------------------------------------------------- acting

    @cached_property
    def trained_policy(self) -> TrainedPolicy:
        """The networks and scales as they were written."""
        if not self.ended:
            raise DatasetIntegrityError(f"{self.folder / POLICY} is missing: the run is {self.status}")
        return TrainedPolicy.load(self.folder / POLICY, self.content(POLICY), self.description)

    def policy(self, observations: Any) -> np.ndarray:
        """Act, deterministically. A policy that looks back acts as in the first step of an episode.

        Parameters
        ----------
        observations : (n, observation) array

        Returns
        -------
        (n, action) float64 array, in the environment's units
        """
        return self.trained_policy.act(np.asarray(observations))

    def actor(self) -> Actor:
        """Return what acts in episodes, for policies that look back on theirs; see `assay.baselines.engine.acting`."""
        return self.trained_policy.actor()

    def q_values(self, observations: Any, actions: Any) -> np.ndarray:
        """Value state-action pairs.

        Parameters
        ----------
        observations : (n, observation) array
        actions : (n, action) array, in the environment's units

        Returns
        -------
        (K, n) float64 array, one row per critic of the ensemble, in the units of the rewards that it learned from (`reward_scale`)

        Raises
        ------
        ConfigError
            If the algorithm has no critic.
        """
        return self.trained_policy.q_values(np.asarray(observations), np.asarray(actions))

    # ---------------------------------------------------------------- writing

    @classmethod
    def create(
        cls,
        folder: Path,
        job: Job,
        plan: Plan,
        hardware: Mapping[str, Any],
        started: str,
        company: str,
        guard: Callable[[], None] | None = None,
    ) -> Run:
        """Make the folder of an unfinished run, or take up the one that is there."""
        dataset, references = job.dataset, job.dataset.info.references
        description = {
            "schema": RUN_SCHEMA,
            "schema_version": RUN_VERSION,
            "status": "unfinished",
            "hash": plan.hash(job),
            "job": plan.describe(job),
            "dataset": {
                "id": dataset.info.id,
                "fingerprint": dataset.fingerprint,
                "history": [record.to_plain() for record in dataset.history],
                "total_steps": dataset.total_steps,
                "total_episodes": dataset.total_episodes,
                "return_mean": _if_finite(dataset.returns.mean()),
                "behaviour_return": _if_finite(job.known_behaviour_return),
                "environment_id": dataset.info.environment_id,
            },
            "references": None if references is None else asdict(references),
            "versions": versions(),
            "imports": [os.fspath(file) for file in imported_files()],  # of the user's own; reading needs them again
            "hardware": dict(hardware),
            "precision": plan.precision,
            "storage": plan.storage,
            "population": company,
            "seconds": 0.0,
            "evaluation_restarts": 0,
            "started": started,
            "error": None,
            "files": {},
        }
        if guard is not None:
            guard()
        _refuse_if_ended(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / DESCRIPTION, description)
        return cls(folder, guard)

    def update(self, **fields: Any) -> None:
        """Change fields of run.json.

        Raises
        ------
        RunIsFinishedError
            If the run ended meanwhile: what is finished is never rewritten.
        """
        self._check_ownership()
        _refuse_if_ended(self.folder)
        self.description = write_json(self.folder / DESCRIPTION, {**self.description, **fields})

    def _check_ownership(self) -> None:
        if self.guard is not None:
            self.guard()

    def _write(self, name: str, content: bytes) -> None:
        self._check_ownership()
        _refuse_if_ended(self.folder)
        atomic_write(self.folder / name, content)
        self._hashes[name] = content_hash(content)

    def write_table(self, name: str, rows: list[tuple[Any, ...]]) -> None:
        """Write curves or returns."""
        import io

        import polars as pl

        types = {column: getattr(pl, kind) for column, kind in TABLES[name].items()}
        content = io.BytesIO()
        frame = pl.DataFrame(rows, schema=types, orient="row")
        unused = [column for column in OMITTED_COLUMNS if column in types and frame[column].is_null().all()]
        frame.drop(unused).write_parquet(content)
        self._write(f"{name}.parquet", content.getvalue())

    def write_checkpoint(
        self, number: int, state: State, pending: PendingEvaluation | None, progress: Mapping[str, Any]
    ) -> None:
        """Write the state of an unfinished run beside what was written before.

        Parameters
        ----------
        number : int
            Of the checkpoint. The runs of a population count together: one is good when all of them have it.
        state : State
        pending : PendingEvaluation or None
        progress : mapping
            Stored beside them as JSON values.
        """
        from safetensors.torch import save

        header = {
            "update": state.update,
            "optimizer_steps": dict(state.optimizer_steps),
            "metrics": [dict(metrics) for metrics in state.metrics],
            "frozen_at": list(state.frozen_at),
            "evaluating": None if pending is None else pending.update,
            **progress,
        }
        tensors = dict(state.tensors)
        if pending is not None:
            tensors |= {f"{_PENDING}{name}": tensor for name, tensor in pending.tensors.items()}
        tensors = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
        content = save(tensors, {"progress": json.dumps(header)})
        self._check_ownership()
        file = self.folder / CHECKPOINTS / f"{number}-{content_hash(content)}.safetensors"
        atomic_write(file, content)
        for other in self._checkpoint_files():
            if _number(other) == number and other.name != file.name:
                other.unlink(missing_ok=True)

    def _checkpoint_files(self) -> list[Path]:
        """Return the checkpoints, by number: <number>-<hash>.safetensors, or formerly <number>.safetensors."""
        found = [file for file in (self.folder / CHECKPOINTS).glob("*.safetensors") if _CHECKPOINT.fullmatch(file.name)]
        return sorted(found, key=_number)

    def checkpoints(self) -> list[int]:
        """Return the numbers of the checkpoints that are there, in order."""
        return [_number(file) for file in self._checkpoint_files()]

    def keep_checkpoint(self, number: int | None) -> None:
        """Remove all checkpoints but one, or all."""
        self._check_ownership()
        for file in self._checkpoint_files():
            if _number(file) != number:
                file.unlink(missing_ok=True)

    def read_checkpoint(self, number: int) -> tuple[State, PendingEvaluation | None, dict[str, Any]]:
        """Return what `write_checkpoint` wrote."""
        from safetensors import SafetensorError
        from safetensors.torch import load

        files = [file for file in self._checkpoint_files() if _number(file) == number]
        if not files:
            raise DatasetIntegrityError(f"{self.folder / CHECKPOINTS} holds no checkpoint {number}")
        file = files[-1]
        content = read_verified(file, file.stem.partition("-")[2] or None)
        try:
            tensors = load(content)
            progress = json.loads(safetensors_texts(content)["progress"])
            acting = {
                name.removeprefix(_PENDING): tensors.pop(name) for name in list(tensors) if name.startswith(_PENDING)
            }
            fields = {name: progress.pop(name) for name in ("update", "optimizer_steps", "metrics", "frozen_at")}
            evaluating = progress.pop("evaluating")
            pending = None if evaluating is None else PendingEvaluation(evaluating, acting)
            return State(tensors=tensors, **fields), pending, progress
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise DatasetIntegrityError(f"{file} is damaged ({error}); remove it to train this run anew") from error

    def write_policy(self, population: Learner, member: int) -> None:
        """Write the networks and scales of one member."""
        import torch
        from safetensors.torch import save

        data = population.data[population.members[member].data]
        tensors = {
            f"{name}/parameters": network.acting_buffer[network.rows(member)].cpu().contiguous()
            for name, network in population.networks.items()
        }
        for name, scale in (
            ("observation/mean", data.observation_scale.mean),
            ("observation/scale", data.observation_scale.scale),
            ("action/center", data.action_scale.center),
            ("action/half_range", data.action_scale.half_range),
        ):
            tensors[name] = torch.from_numpy(np.ascontiguousarray(scale))
        if data.action_scale.first is not None:
            tensors["action/first"] = torch.tensor(data.action_scale.first)
        if data.observation_scale.deviation is not None:
            tensors["observation/deviation"] = torch.from_numpy(data.observation_scale.deviation)
        tensors["return/best"] = torch.tensor(data.best_return, dtype=torch.float64)
        described = {"schema": "assay-policy"}
        if not data.shapes.is_one_vector:
            described["shapes"] = json.dumps(data.shapes.to_plain())
        self._write(POLICY, save(tensors, described))

    def finish(self, status: str, **fields: Any) -> None:
        """Mark the run as ended, with the hashes of its files, and drop its checkpoint."""
        self.update(status=status, files=self._hashes, **fields)
        shutil.rmtree(self.folder / CHECKPOINTS, ignore_errors=True)


class RunIsFinishedError(AssayError, RuntimeError):
    """Something was to be written into a run that has ended."""


def _refuse_if_ended(folder: Path) -> None:
    if (folder / DESCRIPTION).exists() and StoredRun(folder).ended:
        raise RunIsFinishedError(
            f"{folder} is finished, and a finished run is never rewritten; remove it to train it anew"
        )


def _number(file: Path) -> int:
    return int(file.stem.partition("-")[0])


def _if_finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
