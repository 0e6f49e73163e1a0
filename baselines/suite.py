"""Suites: datasets x variants x algorithms x seeds x budget, one standardized experiment as YAML.

::

    name: quickstart
    title: How much noise does replay data survive?
    source: hopper/medium-replay
    variants:
      clean: []
      random-rewards: [corruption.random: {element: rewards, rate: 0.3, scale: 1.0}]
      noise: {corruption.grid: {elements: [actions, states], rates: [0.1, 0.3], clean: false}}  # four variants
    algorithms:
      td3_bc: {}
      iql: {expectile: 0.7}
    seeds: [0, 1, 2]
    evaluation: {episodes: 10}                     # and, for test-time noise, observation_noise: {scale: 0.1}
    quality: {bins: 100}
    budgets:
      smoke: {steps: 200, dataset_steps: 5000, seeds: [0], episodes: 2}
      paper: {steps: 1000000, dataset_steps: 1000000}

An algorithm's key is its label in the tables; where that is not the algorithm's name, `algorithm:` names it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from assay.baselines.algorithms.algorithm import Algorithm, algorithm_named
from assay.baselines.dry_run import TrainingPlan, plan_training
from assay.baselines.evaluation import Evaluation
from assay.baselines.logging.logger import Logger
from assay.baselines.progress import TrainingProgress
from assay.baselines.runs import Job, Run
from assay.baselines.train import train
from assay.datasets.atomic import atomic_write
from assay.datasets.dataset import Dataset
from assay.datasets.errors import AssayError, ConfigError, UnknownNameError
from assay.datasets.recipe import Recipe, read_yaml, transforms_from_plain, variants_from_plain
from assay.datasets.transform import describe_validation_error

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Budget", "Suite", "plan_suite", "run_suite"]

_SAMPLE_STEPS = 2000  # stand for a source that is not collected yet, in a plan


class Budget(BaseModel):
    """How much to spend on a suite; what is None is as the suite or the catalog says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(gt=0)  # updates of each job
    dataset_steps: int | None = Field(None, gt=0)  # size of a catalog dataset
    seeds: tuple[int, ...] | None = None
    episodes: int | None = Field(None, gt=0)  # of each evaluation
    evaluate_every: int | None = Field(None, gt=0)  # updates
    precision: Literal["highest", "high", "medium", "bf16"] = "highest"  # of matrix products
    algorithm_parameters: dict[str, Any] = {}  # for every algorithm, such as a smaller batch
    algorithms: dict[str, dict[str, Any]] = {}  # for the algorithm of this label, over those of the suite


class Quality(BaseModel):
    """How the variants of a suite are measured."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bins: int = Field(100, ge=2)  # edges per column of the grid that SACo counts on; fewer where many columns saturate
    metrics: tuple[str, ...] = ("size", "returns", "quality", "state_actions", "corruption")  # or groups of them


class Suite(BaseModel):
    """One standardized experiment.

    Examples
    --------
    >>> suite = Suite.from_plain({
    ...     "name": "example", "source": "hopper/medium", "variants": {"clean": []},
    ...     "algorithms": {"bc": {}}, "budgets": {"small": {"steps": 10}}})
    >>> suite.make_algorithms(suite.budgets["small"])["bc"].batch_size
    256
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9_-]+$")
    title: str = ""
    question: str = ""
    source: str
    variants: dict[str, list[Any]]
    algorithms: dict[str, dict[str, Any] | None]
    seeds: tuple[int, ...] = (0,)
    evaluation: Literal["final", "sparse", "published"] | Evaluation | None = (
        Evaluation()
    )  # a preset's name, or settings
    quality: Quality = Quality()
    budgets: dict[str, Budget]

    @classmethod
    def from_plain(cls, plain: Any, where: str = "suite") -> Suite:
        """Build a suite from the mapping that its YAML holds, checking every part of it; errors name `where`."""
        if not isinstance(plain, Mapping):
            raise ConfigError(f"{where}: expected a mapping with the keys {', '.join(cls.model_fields)}")
        known = {key: value for key, value in plain.items() if key in cls.model_fields}
        if len(known) < len(plain):
            misspelt = next(str(key) for key in plain if key not in cls.model_fields)
            raise ConfigError(f"{where}: {UnknownNameError('key', misspelt, cls.model_fields)}")
        if isinstance(known.get("variants"), Mapping):
            known["variants"] = variants_from_plain(known["variants"], where)
        try:
            suite = cls.model_validate(known)
        except ValidationError as error:
            raise ConfigError(describe_validation_error(where, error)) from error
        for name, transforms in suite.variants.items():
            transforms_from_plain(transforms, f"{where}: variant {name}")
        for budget in suite.budgets.values():
            suite.make_algorithms(budget, where)
        return suite

    @classmethod
    def from_yaml(cls, path: str | os.PathLike[str]) -> Suite:
        """Read a suite file."""
        return cls.from_plain(read_yaml(os.fspath(path)), os.fspath(path))

    def budget(self, name: str) -> Budget:
        """Return a budget by name."""
        if name not in self.budgets:
            raise UnknownNameError("budget", name, self.budgets)
        return self.budgets[name]

    def make_algorithms(self, budget: Budget, where: str = "suite") -> dict[str, Algorithm]:
        """Build the algorithms by their labels."""
        for label in budget.algorithms:
            if label not in self.algorithms:
                raise ConfigError(f"{where}: budget: {UnknownNameError('algorithm', label, self.algorithms)}")
        made = {}
        for label, given in self.algorithms.items():
            parameters = {**budget.algorithm_parameters, **(given or {}), **budget.algorithms.get(label, {})}
            try:
                made[label] = algorithm_named(str(parameters.pop("algorithm", label)), parameters)
            except AssayError as error:
                raise ConfigError(f"{where}: algorithm {label}: {error}") from error
        return made

    def folder(self, budget: str, runs: str | os.PathLike[str] | None = None) -> Path:
        """Return the folder of the results: `runs`, or `runs/<suite>-<budget>`."""
        return Path(runs if runs is not None else f"runs/{self.name}-{budget}")

    def make_evaluation(self, budget: Budget) -> Evaluation | None:
        """Return the evaluation with the budget's changes."""
        chosen = self.evaluation
        if chosen is None:
            return None
        if isinstance(chosen, str):
            chosen = Evaluation.preset(chosen, budget.steps)
        return replace(chosen, episodes=budget.episodes or chosen.episodes, every=budget.evaluate_every or chosen.every)

    def build_variants(
        self, budget: Budget, progress: Callable[[int, int], None] | None = None
    ) -> tuple[Dataset, dict[str, Dataset]]:
        """Load the source once, apply the transforms of every variant, and return both."""
        from assay.datasets.collection.catalog import catalog
        from assay.datasets.loading import load

        options: dict[str, Any] = {}
        if self.source in catalog():
            options["progress"] = progress
            if budget.dataset_steps is not None:
                options["steps"] = budget.dataset_steps
        source = load(self.source, **options)
        return source, self.variants_of(source)

    def variants_of(self, source: Dataset) -> dict[str, Dataset]:
        """Apply the transforms of every variant."""
        variants = {}
        for name, transforms in self.variants.items():
            recipe = Recipe(self.source, transforms_from_plain(transforms, f"variant {name}"))
            variants[name] = recipe.apply(source)
        return variants

    def steps_to_collect(self, budget: Budget) -> int | None:
        """Return how many steps of a catalog source are to be collected first; None where its data is there."""
        from assay.datasets.collection.catalog import catalog
        from assay.datasets.loading import DEFAULT_STEPS, cached_path

        steps = budget.dataset_steps or DEFAULT_STEPS
        return None if self.source not in catalog() or cached_path(self.source, steps=steps).exists() else steps

    def make_jobs(self, budget: Budget, source: Dataset, variants: Mapping[str, Dataset]) -> list[Job]:
        """List the jobs: variants x algorithms x seeds, in that order."""
        behaviour = float(source.returns.mean())  # of the clean data, whatever a variant did to the rewards
        return [
            Job(algorithm, dataset, seed, variant, algorithm.label if label == algorithm.name else label, behaviour)
            for variant, dataset in variants.items()
            for label, algorithm in self.make_algorithms(budget).items()
            for seed in budget.seeds or self.seeds
        ]


def run_suite(
    suite: Suite | str | os.PathLike[str],
    budget: str,
    *,
    runs: str | os.PathLike[str] | None = None,
    device: str = "cpu",
    precision: str | None = None,
    storage: str = "float32",
    compile: bool = False,
    population: int | Literal["auto"] = "auto",
    measure: Callable[..., pl.DataFrame] | None = None,
    progress: Callable[[TrainingProgress], None] | None = None,
    collecting: Callable[[int, int], None] | None = None,
    workers: int | None = None,
    checkpoint_seconds: float = 120.0,
    loggers: Sequence[Logger] = (),
    ray: str | None = None,
    command: str | None = None,
) -> list[Run]:
    """Run a suite: build its variants, measure them, train every job and write the runs.

    What is finished is skipped, what is not is resumed; the command can be given again after any interruption.

    Parameters
    ----------
    suite : Suite or path of its YAML
    budget : str
        One of the suite's budgets.
    runs : path, optional
        Default `runs/<suite>-<budget>`.
    device, storage, compile, population, workers, checkpoint_seconds, progress, loggers, ray
        As in `train`.
    precision : str, optional
        Default is the budget's.
    measure : callable, optional
        (variant, first variant, bins=, select=) -> frame of metric, value, interval (struct of low, high), unit, source;
        written to `quality.parquet` with the interval as two columns. `assay.metrics.assess` is one.
    collecting : callable, optional
        Called with (steps done, steps in all) while the source is collected.
    command : str, optional
        What was typed; shown in the report.

    Returns
    -------
    list of Run
        Variants x algorithms x seeds, in that order.
    """
    if not isinstance(suite, Suite):
        suite = Suite.from_yaml(suite)
    chosen = suite.budget(budget)
    root = suite.folder(budget, runs)
    source, variants = suite.build_variants(chosen, collecting)
    described = {
        "schema": "assay-suite",
        "schema_version": 1,
        "name": suite.name,
        "title": suite.title,
        "question": suite.question,
        "budget": budget,
        "budget_parameters": chosen.model_dump(),
        "variants": list(variants),
        "algorithms": list(suite.algorithms),
        "seeds": list(chosen.seeds or suite.seeds),
        "source": suite.source,
        "command": command,
    }
    atomic_write(root / "suite.json", json.dumps(described, indent=1))
    if measure is not None:
        _write_quality(
            root / "quality.parquet", variants, partial(measure, bins=suite.quality.bins, select=suite.quality.metrics)
        )
    return train(
        suite.make_jobs(chosen, source, variants),
        steps=chosen.steps,
        runs=root,
        device=device,
        evaluation=suite.make_evaluation(chosen),
        precision=precision or chosen.precision,
        storage=storage,
        compile=compile,
        population=population,
        checkpoint_seconds=checkpoint_seconds,
        workers=workers,
        progress=progress,
        loggers=loggers,
        ray=ray,
    )


def plan_suite(
    suite: Suite | str | os.PathLike[str],
    budget: str,
    *,
    runs: str | os.PathLike[str] | None = None,
    device: str = "cpu",
    precision: str | None = None,
    storage: str = "float32",
    population: int | Literal["auto"] = "auto",
) -> TrainingPlan:
    """Plan what `run_suite` would do with the same arguments; nothing is written.

    The variants are built, as for a run. A source that would have to be collected first is not: its plan is made from a
    sample of 2,000 steps, with the memory of the data in proportion.

    Returns
    -------
    TrainingPlan
        With the estimated time of training on this machine; measuring the variants and evaluation are not included.
    """
    from assay.datasets.loading import collect_entry

    if not isinstance(suite, Suite):
        suite = Suite.from_yaml(suite)
    chosen = suite.budget(budget)
    collects = suite.steps_to_collect(chosen)
    if collects is None:
        source, variants = suite.build_variants(chosen)
    else:
        source = collect_entry(suite.source, steps=min(collects, _SAMPLE_STEPS), workers=0)
        variants = suite.variants_of(source)
    plan = plan_training(
        suite.make_jobs(chosen, source, variants),
        steps=chosen.steps,
        runs=suite.folder(budget, runs),
        device=device,
        evaluation=suite.make_evaluation(chosen),
        precision=precision or chosen.precision,
        storage=storage,
        population=population,
    )
    if collects is None:
        return plan
    share = collects / source.total_steps
    return TrainingPlan(
        tuple(replace(job, status="unknown") for job in plan.jobs),
        tuple(replace(item, data_bytes=round(share * item.data_bytes)) for item in plan.populations),
        collects,
    )


def _write_quality(
    file: Path, variants: Mapping[str, Dataset], measure: Callable[[Dataset, Dataset], pl.DataFrame]
) -> None:
    import io

    import polars as pl

    reference = next(iter(variants.values()))
    tables = [
        measure(dataset, reference)
        .unnest("interval")
        .select(pl.lit(name).alias("variant"), pl.all().exclude("seconds"))
        for name, dataset in variants.items()
    ]
    content = io.BytesIO()
    pl.concat(tables).write_parquet(content)
    atomic_write(file, content.getvalue())
