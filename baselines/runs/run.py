"""Runs: what came of a job, on disk.

::

    RUNS/<algorithm>-<variant>-seed<seed>-<hash>/
        run.json               the job, its dataset's fingerprint and history, versions, hardware, status
        curves.parquet         update, metric, value: means of the training losses between log points
        returns.parquet        update, episode, seed, return, length, final: every evaluation episode
        policy.safetensors     the networks and scales of the trained policy
        checkpoint/            while unfinished: <number>.safetensors, with the policy whose evaluation is under way

A run is finished when run.json says so, which is the last thing written. Runs are recognized by the hash of their job,
so the same job is never trained twice, and an unfinished one goes on where its checkpoint stands.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.baselines.engine.acting import Actor
from assay.baselines.engine.learner import Learner, State
from assay.baselines.evaluation.observation_noise import ObservationNoise
from assay.baselines.runs.job import Job
from assay.baselines.runs.machine import versions
from assay.baselines.runs.plan import Plan
from assay.baselines.runs.policy import TrainedPolicy
from assay.baselines.runs.schema import CURVES, RETURNS, SCHEMA_VERSION
from assay.datasets.atomic import atomic_write
from assay.datasets.errors import DatasetIntegrityError, FormatError
from assay.datasets.info import ReferenceScores
from assay.datasets.registry import imported_files

if TYPE_CHECKING:
    import polars as pl
    import torch

__all__ = ["PendingEvaluation", "Run"]

_PENDING = "evaluating/"  # before the names of a pending evaluation's tensors


@dataclass(frozen=True)
class PendingEvaluation:
    """An evaluation that was under way when a checkpoint was written: its update, and what the member acts with."""

    update: int
    tensors: Mapping[str, torch.Tensor]


class Run:
    """A run folder: reads what is there, and writes it atomically.

    Parameters
    ----------
    folder : path

    Raises
    ------
    FormatError
        If the folder holds no run.

    Examples
    --------
    >>> Run("no-such-folder")
    Traceback (most recent call last):
    ...
    assay.datasets.errors.FormatError: no-such-folder holds no run: run.json is missing
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.description = self._read_description()

    def _read_description(self) -> dict[str, Any]:
        file = self.folder / "run.json"
        try:
            description = json.loads(file.read_bytes())
        except FileNotFoundError:
            raise FormatError(f"{self.folder} holds no run: run.json is missing") from None
        except (ValueError, OSError) as error:
            raise DatasetIntegrityError(f"{file} is damaged: {error}") from error
        if not isinstance(description, dict) or description.get("schema") != "assay-run":
            raise FormatError(f"{file} does not describe a run")
        if description.get("schema_version") != SCHEMA_VERSION:
            raise FormatError(f"{file} has schema version {description.get('schema_version')}, not {SCHEMA_VERSION}")
        return description

    # ---------------------------------------------------------------- what came of it

    @property
    def status(self) -> str:
        """`"finished"`, `"unfinished"`, `"failed"` (with `error`) or `"diverged"` (not finite)."""
        return str(self.description["status"])

    @property
    def error(self) -> str | None:
        """What went wrong, if something did."""
        return self.description.get("error")

    @property
    def returns(self) -> np.ndarray:
        """(episodes,) float64 undiscounted returns of the final evaluation."""
        import polars as pl

        table = self._table("returns", RETURNS)
        values: np.ndarray = table.filter(pl.col("final"))["return"].to_numpy()
        return values

    @property
    def references(self) -> ReferenceScores | None:
        """What the scores are normalized by."""
        stored = self.description.get("references")
        return None if stored is None else ReferenceScores(**stored)

    @property
    def score(self) -> float | None:
        """Mean final D4RL score, or None without references or evaluation."""
        if self.references is None or not len(self.returns):
            return None
        return float(self.references.normalize(self.returns).mean())

    @property
    def observation_noise(self) -> ObservationNoise | None:
        """What disturbed the observations of every evaluation, if anything; such returns are no clean scores."""
        stored = (self.description["job"].get("evaluation") or {}).get("observation_noise")
        return None if stored is None else ObservationNoise(**stored)

    @property
    def curves(self) -> pl.DataFrame:
        """Training losses: update, metric, value."""
        return self._table("curves", CURVES)

    def _table(self, name: str, schema: Mapping[str, str]) -> pl.DataFrame:
        import polars as pl

        file = self.folder / f"{name}.parquet"
        types = {column: getattr(pl, kind) for column, kind in schema.items()}
        if not file.exists():
            return pl.DataFrame(schema=types)
        try:
            return pl.read_parquet(file, memory_map=False).select(list(types))
        except Exception as error:  # polars raises many kinds on damaged files
            raise DatasetIntegrityError(f"{file} is damaged: {error}") from error

    def __repr__(self) -> str:
        job = self.description["job"]
        score = f", score {self.score:.1f}" if self.status == "finished" and self.score is not None else ""
        if score and self.observation_noise is not None:
            score += f" under {self.observation_noise}"
        return f"<Run {job['label']} on {job['variant']}, seed {job['seed']}: {self.status}{score}>"

    def __fspath__(self) -> str:
        return os.fspath(self.folder)

    # ---------------------------------------------------------------- acting

    @cached_property
    def trained_policy(self) -> TrainedPolicy:
        """The networks and scales as they were written."""
        return TrainedPolicy.load(self.folder / "policy.safetensors", self.description)

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
        (K, n) float64 array, one row per critic of the ensemble

        Raises
        ------
        ConfigError
            If the algorithm has no critic.
        """
        return self.trained_policy.q_values(np.asarray(observations), np.asarray(actions))

    # ---------------------------------------------------------------- writing

    @classmethod
    def create(cls, folder: Path, job: Job, plan: Plan, hardware: Mapping[str, Any], started: str, company: str) -> Run:
        """Make the folder of an unfinished run, or take up the one that is there."""
        dataset, references = job.dataset, job.dataset.info.references
        description = {
            "schema": "assay-run",
            "schema_version": SCHEMA_VERSION,
            "status": "unfinished",
            "hash": plan.hash(job),
            "job": plan.describe(job),
            "dataset": {
                "id": dataset.info.id,
                "fingerprint": dataset.fingerprint,
                "history": [record.to_plain() for record in dataset.history],
                "total_steps": dataset.total_steps,
                "total_episodes": dataset.total_episodes,
                "return_mean": float(dataset.returns.mean()),
                "behaviour_return": job.known_behaviour_return,
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
        }
        folder.mkdir(parents=True, exist_ok=True)
        atomic_write(folder / "run.json", json.dumps(description, indent=1))
        return cls(folder)

    def update(self, **fields: Any) -> None:
        """Change fields of run.json."""
        self.description |= fields
        atomic_write(self.folder / "run.json", json.dumps(self.description, indent=1))

    def write_table(self, name: str, rows: list[tuple[Any, ...]]) -> None:
        """Write curves or returns."""
        import io

        import polars as pl

        schema = {"curves": CURVES, "returns": RETURNS}[name]
        types = {column: getattr(pl, kind) for column, kind in schema.items()}
        content = io.BytesIO()
        pl.DataFrame(rows, schema=types, orient="row").write_parquet(content)
        atomic_write(self.folder / f"{name}.parquet", content.getvalue())

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
        atomic_write(self._checkpoint(number), content)

    def _checkpoint(self, number: int) -> Path:
        return self.folder / "checkpoint" / f"{number}.safetensors"

    def checkpoints(self) -> list[int]:
        """Return the numbers of the checkpoints that are there, in order."""
        return sorted(int(file.stem) for file in self.folder.glob("checkpoint/*.safetensors") if file.stem.isdigit())

    def keep_checkpoint(self, number: int | None) -> None:
        """Remove all checkpoints but one, or all."""
        for other in self.checkpoints():
            if other != number:
                self._checkpoint(other).unlink(missing_ok=True)

    def read_checkpoint(self, number: int) -> tuple[State, PendingEvaluation | None, dict[str, Any]]:
        """Return what `write_checkpoint` wrote."""
        from safetensors import SafetensorError, safe_open

        file = self._checkpoint(number)
        try:
            with safe_open(file, "pt") as opened:
                progress = json.loads(opened.metadata()["progress"])
                tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
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
            f"{name}/parameters": network.buffer[network.rows(member)].cpu().contiguous()
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
        atomic_write(self.folder / "policy.safetensors", save(tensors, described))

    def finish(self, status: str, **fields: Any) -> None:
        """Mark the run as ended and drop its checkpoint."""
        self.update(status=status, **fields)
        shutil.rmtree(self.folder / "checkpoint", ignore_errors=True)
