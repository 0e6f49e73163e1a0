"""Jobs and runs: what is to be trained, and what came of it, on disk.

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

import hashlib
import json
import os
import platform
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.baselines.acting import Acting, Actor, actor_of
from assay.baselines.algorithms.algorithm import Algorithm, algorithm_named
from assay.baselines.data import ActionScale, ObservationScale
from assay.baselines.evaluation import Evaluation
from assay.baselines.observation_noise import ObservationNoise
from assay.baselines.population import Population, State
from assay.datasets.atomic import atomic_write
from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError, DatasetIntegrityError, FormatError
from assay.datasets.info import ReferenceScores
from assay.datasets.spaces import Box, Discrete, infer_space

if TYPE_CHECKING:
    import polars as pl
    import torch

    from assay.baselines.networks import FixedNetwork

__all__ = ["Job", "PendingEvaluation", "Plan", "Run", "hardware", "multiplies_bfloat16"]

PRECISIONS = ("highest", "high", "medium", "bf16")
STORAGES = ("float32", "float16", "bfloat16")
SCHEMA_VERSION = 1
_PENDING = "evaluating/"  # before the names of a pending evaluation's tensors
_CURVES = {"update": "Int64", "metric": "String", "value": "Float64"}
_RETURNS = {
    "update": "Int64",
    "episode": "Int64",
    "seed": "Int64",
    "return": "Float64",
    "length": "Int64",
    "final": "Boolean",
}


@dataclass(frozen=True)
class Job:
    """One algorithm on one dataset with one seed.

    Parameters
    ----------
    algorithm : Algorithm
    dataset : Dataset
        Or a variant of one.
    seed : int
        Of the initial weights, the batches and all other draws of training.
    variant : str
        What the dataset is called in tables; default its id.
    name : str
        What the algorithm is called in tables; default its label, such as `"TD3+BC"`.
    behaviour_return : float, optional
        Mean return of the policies that made the data; default the mean of the dataset's returns, unless its rewards
        are corrupted, when they do not tell.
    by_variant : tuple of str
        Parameters that were chosen for the variant; tables do not tell algorithms apart by them.

    Examples
    --------
    >>> import assay
    >>> from assay.baselines import BC, Job
    >>> Job(BC(), assay.load("pendulum/random", steps=400)).label
    'pendulum/random'
    """

    algorithm: Algorithm
    dataset: Dataset
    seed: int = 0
    variant: str = ""
    name: str = ""
    behaviour_return: float | None = None
    by_variant: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The variant's name, or the dataset's id."""
        return self.variant or self.dataset.info.id or "dataset"

    @property
    def known_behaviour_return(self) -> float | None:
        """Mean true return of the data, where it is known."""
        if self.behaviour_return is not None:
            return self.behaviour_return
        return None if "rewards" in self.dataset.masks else float(self.dataset.returns.mean())

    @property
    def action_scale(self) -> ActionScale:
        """The bounds of the actions, from the dataset's action space; from the actions where that is unknown."""
        space = self.dataset.info.action_space
        actions = self.dataset.actions
        if isinstance(actions, np.ndarray) and space is None and actions.size:
            if actions.dtype.kind == "f":
                return _range_of(actions)
            space = infer_space(actions.reshape(len(actions)) if actions.size == len(actions) else actions)
        if isinstance(space, Discrete) and self.algorithm.discrete_actions and actions.dtype.kind in "iu":
            return ActionScale.of_discrete(space.n, space.start)
        if not isinstance(space, Box):
            kind = "unknown" if space is None else type(space).__name__
            raise ConfigError(
                f"{self.algorithm.label} needs a bounded Box action space; that of {self.label} is {kind}"
            )
        return ActionScale.of(*space.bounds())


def _range_of(actions: np.ndarray) -> ActionScale:
    """Return the scale of actions whose space is unknown: [-1, 1] where they fit in, else what they span."""
    flat = actions.reshape(len(actions), -1)
    low, high = np.minimum(flat.min(0), -1.0), np.maximum(flat.max(0), 1.0)
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise ConfigError("actions hold NaN or infinity, and no action space says what they span; repair them first")
    return ActionScale.of(low, high)


@dataclass(frozen=True)
class PendingEvaluation:
    """An evaluation that was under way when a checkpoint was written: its update, and what the member acts with."""

    update: int
    tensors: Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Plan:
    """How jobs are trained: what, besides the job itself, its result depends on; the parameters are those of `train`."""

    steps: int
    evaluation: Evaluation | None
    precision: str
    storage: str = "float32"

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ConfigError(f"steps={self.steps} must be at least 1")
        for name, known in (("precision", PRECISIONS), ("storage", STORAGES)):
            if getattr(self, name) not in known:
                raise ConfigError(f"{name}={getattr(self, name)!r} is not one of {', '.join(known)}")

    @property
    def bf16(self) -> bool:
        """Whether activations are bfloat16."""
        return self.precision == "bf16"

    @property
    def storage_dtype(self) -> torch.dtype:
        """Of the data on the device."""
        import torch

        dtype: torch.dtype = getattr(torch, self.storage)
        return dtype

    def environment(self, job: Job) -> str | None:
        """Id of the environment that the job is evaluated in."""
        if self.evaluation is None:
            return None
        return self.evaluation.environment or job.dataset.info.environment_id

    def describe(self, job: Job) -> dict[str, Any]:
        """Return the job as JSON values, as in run.json."""
        return {
            "algorithm": job.algorithm.name,
            "label": job.name or job.algorithm.label,
            "parameters": job.algorithm.parameters(),
            "by_variant": list(job.by_variant),
            "variant": job.label,
            "seed": job.seed,
            "steps": self.steps,
            "evaluation": None if self.evaluation is None else _evaluation_as_plain(self.evaluation),
        }

    def hash(self, job: Job) -> str:
        """Identify the job by everything that its result depends on; the variant's name is not part of it."""
        described = self.describe(job)
        del described["label"], described["variant"], described["by_variant"]
        described |= {"dataset": job.dataset.fingerprint, "schema": SCHEMA_VERSION}
        described |= {"precision": self.precision, "storage": self.storage}
        return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()

    def folder(self, job: Job) -> str:
        """Name the run's folder."""
        variant = re.sub(r"[^A-Za-z0-9_.]+", "-", job.label)
        return f"{job.algorithm.name}-{variant}-seed{job.seed}-{self.hash(job)[:8]}"


def _evaluation_as_plain(evaluation: Evaluation) -> dict[str, Any]:
    """Return it as JSON values; without noise it is described as before there was any, and keeps its job's hash."""
    plain = asdict(evaluation)
    if evaluation.observation_noise is None:
        del plain["observation_noise"]
    return plain


def _processor(field: str) -> str | None:
    """Return what Linux says about the processor, or None."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text(errors="replace") if cpuinfo.exists() else ""
    found = re.search(rf"^({field})\s*:\s*(.+)$", text, re.MULTILINE)
    return found.group(2) if found else None


def multiplies_bfloat16() -> bool | None:
    """Return whether the processor has instructions for bfloat16 products; None where it does not say."""
    flags = _processor("flags|Features")
    return None if flags is None else not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(flags.split())


def hardware(device: str) -> dict[str, Any]:
    """Describe the machine that trains."""
    processor = _processor("model name") or platform.processor() or platform.machine()
    described = {"device": device, "processor": processor, "cores": os.cpu_count()}
    if device.startswith("cuda"):
        import torch

        described["accelerator"] = torch.cuda.get_device_name(device)
    return described


def versions() -> dict[str, str]:
    """Return the versions of what the results depend on."""
    from assay import __version__

    found = {"assay": __version__, "python": platform.python_version()}
    for name in ("torch", "numpy", "gymnasium", "mujoco"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


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

        table = self._table("returns", _RETURNS)
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
        return self._table("curves", _CURVES)

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
        """Return what acts in episodes, for policies that look back on theirs; see `assay.baselines.acting`."""
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

        schema = {"curves": _CURVES, "returns": _RETURNS}[name]
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

    def write_policy(self, population: Population, member: int) -> None:
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
        atomic_write(self.folder / "policy.safetensors", save(tensors, {"schema": "assay-policy"}))

    def finish(self, status: str, **fields: Any) -> None:
        """Mark the run as ended and drop its checkpoint."""
        self.update(status=status, **fields)
        shutil.rmtree(self.folder / "checkpoint", ignore_errors=True)


class TrainedPolicy:
    """The networks and scales of a finished run."""

    def __init__(self, acting: Acting, networks: Mapping[str, FixedNetwork]) -> None:
        self.acting, self.networks = acting, networks

    @classmethod
    def load(cls, file: Path, description: Mapping[str, Any]) -> TrainedPolicy:
        """Read what `Run.write_policy` wrote."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        from assay.baselines.networks import FixedNetwork

        if not file.exists():
            raise DatasetIntegrityError(f"{file} is missing: the run is {description['status']}")
        try:
            tensors = load_file(file)
            deviation = tensors["observation/deviation"].numpy() if "observation/deviation" in tensors else None
            mean, scale = tensors["observation/mean"].numpy(), tensors["observation/scale"].numpy()
            observation = ObservationScale(mean, scale, deviation)
            first = int(tensors["action/first"]) if "action/first" in tensors else None
            action = ActionScale(tensors["action/center"].numpy(), tensors["action/half_range"].numpy(), first)
            algorithm = algorithm_named(description["job"]["algorithm"], description["job"]["parameters"])
            specs = algorithm.networks(len(observation.mean), len(action.center))
            networks = {
                name: FixedNetwork(name, spec, tensors[f"{name}/parameters"].view(spec.ensemble, spec.size))
                for name, spec in specs.items()
            }
            acting = Acting(algorithm, observation, action, float(tensors["return/best"]))
        except (SafetensorError, KeyError, RuntimeError) as error:
            raise DatasetIntegrityError(f"{file} is damaged: {error}") from error
        return cls(acting, networks)

    def actor(self) -> Actor:
        """Return an actor of one member."""
        return actor_of([self.acting], self.networks)

    def act(self, observations: np.ndarray) -> np.ndarray:
        """Return (n, action) actions in the environment's units."""
        self._check(observations)
        episodes = self.actor().begin(slice(0, 1), len(observations))
        actions: np.ndarray = episodes.act(observations[None], np.zeros((1, len(observations))))[0]
        return actions

    def q_values(self, observations: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """Return (K, n) values."""
        import torch

        if "critic" not in self.networks:
            raise ConfigError("this algorithm has no critic")
        self._check(observations)
        observation, action, critic = self.acting.observation_scale, self.acting.action_scale, self.networks["critic"]
        inputs = np.concatenate(
            [(observations - observation.mean) / observation.scale, (actions - action.center) / action.half_range], 1
        )
        with torch.no_grad():
            found = critic(torch.from_numpy(inputs)[None].to(critic.buffer.dtype), weights="frozen")
        values: np.ndarray = found.view(critic.spec.ensemble, -1).double().numpy()
        return values

    def _check(self, observations: np.ndarray) -> None:
        size = len(self.acting.observation_scale.mean)
        if observations.ndim != 2 or observations.shape[1] != size:
            raise ConfigError(f"observations have shape {observations.shape}; expected (n, {size})")
