"""Plans: how jobs are trained, and what identifies the run of each."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from assay.baselines.evaluation.evaluation import Evaluation
from assay.baselines.runs.job import Job
from assay.baselines.runs.schema import JOB_VERSION
from assay.datasets.errors import ConfigError

if TYPE_CHECKING:
    import torch

    from assay.datasets.environments.specification import EnvironmentSpec

__all__ = ["Plan"]

_LONGEST_VARIANT = 120  # characters of its name in that of a folder; the hash tells folders apart


@dataclass(frozen=True)
class Plan:
    """How jobs are trained: what, besides the job itself, its result depends on; the parameters are those of `train`."""

    steps: int
    evaluation: Evaluation | None
    precision: str
    storage: str = "float32"

    def __post_init__(self) -> None:
        if not isinstance(self.steps, int) or isinstance(self.steps, bool) or self.steps < 1:
            raise ConfigError(f"steps={self.steps!r} must be a whole number of at least 1")

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

    def environment(self, job: Job) -> EnvironmentSpec | None:
        """Return the environment that the job is evaluated in."""
        return None if self.evaluation is None else self.evaluation.environment_of(job.dataset.info)

    def describe(self, job: Job) -> dict[str, Any]:
        """Return the job as JSON values, as in run.json."""
        described: dict[str, Any] = {
            "algorithm": job.algorithm.name,
            "label": job.name or job.algorithm.label,
            "parameters": job.algorithm.parameters(),
            "by_variant": list(job.by_variant),
            "variant": job.label,
            "seed": job.seed,
            "steps": self.steps,
            "evaluation": None if self.evaluation is None else _evaluation_as_plain(self.evaluation),
        }
        environment = self.environment(job)
        # Said only where it is not the dataset's environment as registered, so that other jobs keep their hash.
        if environment is not None and not self._is_ordinary(environment, job):
            described["evaluation"] |= {"environment_spec": environment.to_plain()}
        return described

    def _is_ordinary(self, environment: EnvironmentSpec, job: Job) -> bool:
        named = self.evaluation is not None and self.evaluation.environment is not None
        return environment.is_plain and (named or environment.id == job.dataset.info.environment_id)

    def hash(self, job: Job) -> str:
        """Identify the job by everything that its result depends on; the variant's name is not part of it."""
        described = self.describe(job)
        del described["label"], described["variant"], described["by_variant"]
        described["parameters"] = job.algorithm.identifying_parameters()
        described |= {"dataset": job.dataset.fingerprint, "schema": JOB_VERSION}
        described |= {"precision": self.precision, "storage": self.storage}
        return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()

    def folder(self, job: Job) -> str:
        """Name the run's folder."""
        return self._folder(job, job.label[:_LONGEST_VARIANT])

    def former_folder(self, job: Job) -> str:
        """Name the run's folder as when a variant without a name was called by its source, however long that was."""
        return self._folder(job, job.variant or job.dataset.info.id or "dataset")

    def _folder(self, job: Job, variant: str) -> str:
        variant = re.sub(r"[^A-Za-z0-9_.]+", "-", variant)
        return f"{job.algorithm.name}-{variant}-seed{job.seed}-{self.hash(job)[:8]}"


def _evaluation_as_plain(evaluation: Evaluation) -> dict[str, Any]:
    """Return it as JSON values; what came later is said only where it is used, so that other jobs keep their hash."""
    later = ("observation_noise", "cost_limit")
    return {name: value for name, value in asdict(evaluation).items() if name not in later or value is not None}
