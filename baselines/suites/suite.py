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

An algorithm's key is its label in the tables; where that is not the algorithm's name, `algorithm:` names it. One with
`preset: variant` takes what its authors chose for the environment and the corruption of each variant, with `preset: robomimic`
what that study ran it with. One with `sources: [contextual, "graded *"]` is trained on those sources only, by patterns (fnmatch)
of their labels.

`search:` has parameters searched, per label of an algorithm, before it is trained on the suite's seeds (see `search.py`)::

    search:
      parameters:
        td3_bc: {alpha: {low: 0.1, high: 10, log: true}, hidden: [[64, 64], [256, 256]]}
      sampler: tpe
      proposals: 25
      batch: 5
      seeds: [1000, 1001]                          # of each proposal, none of the suite's

`imports:` lists Python files of your own, by their path from the suite's folder, that define algorithms, transforms, metrics
or formats which the suite names.

Several datasets are `sources:`, a mapping of labels to names; every variant is made of each, and called by both labels.
A budget may run a part of a large suite, and change its transforms::

    small:
      steps: 8000
      only: {sources: [hopper], variants: [clean, proxy], algorithms: [bc]}
      transform_parameters: {relabeling.inverse_dynamics: {steps: 5000}}

A transform that needs a victim names one of `victims:` (written as algorithms are), or an algorithm; it is trained on the
clean source for the budget's `victim_steps`, once, and kept under the folder of `assay.datasets.loading.home`; so is what
an attack makes of the source.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, Unpack, cast

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from assay.baselines.algorithms.algorithm import Algorithm
from assay.baselines.algorithms.presets import presets_of
from assay.baselines.algorithms.registry import algorithm_named
from assay.baselines.evaluation.evaluation import Evaluation
from assay.baselines.runs.integrity import content_hash, write_json
from assay.baselines.runs.job import Job
from assay.baselines.runs.plan import Plan
from assay.baselines.runs.reader import hashes_of_suite, read_suite
from assay.baselines.runs.run import Run
from assay.baselines.runs.schema import (
    QUALITY_FILE,
    SEARCH_FILE,
    SEARCH_FOLDER,
    SEARCH_SCHEMA,
    SUITE_SCHEMA,
    SUITE_VERSION,
)
from assay.baselines.suites.search import (
    Categories,
    Proposal,
    ProposalSequence,
    Range,
    Search,
    Seeds,
    require_optuna,
    space_from_plain,
)
from assay.baselines.training.dry_run import PlannedSearch, TrainingPlan, plan_training
from assay.baselines.training.logging.logger import Logger
from assay.baselines.training.options import OptionChanges, Precision, TrainingOptions
from assay.baselines.training.progress import TrainingProgress, training_bar
from assay.baselines.training.run_victim import VICTIM_STEPS, check_victim, train_victim, with_victims
from assay.baselines.training.train import train
from assay.baselines.training.work import Work
from assay.datasets.atomic import atomic_write
from assay.datasets.dataset import Dataset
from assay.datasets.errors import AssayError, ConfigError, DatasetError, UnknownNameError
from assay.datasets.progress import Auto, Draw, reporting
from assay.datasets.recipe import Recipe, read_yaml, transforms_from_plain, variants_from_plain
from assay.datasets.registry import Integer, checked_names, describe_validation_error, import_file

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Budget", "Suite", "plan_suite", "run_suite"]

SEARCHED = ", searched"  # ends the name of what a search found
_SAMPLE_STEPS = 2000  # stand for a source that is not collected yet, in a plan


class Section(BaseModel):
    """A mapping of known keys in a suite's file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _check_mapping(cls, given: Any) -> Any:
        if not isinstance(given, Mapping | cls):
            raise ValueError(f"expected a mapping with the keys {', '.join(cls.model_fields)}")
        return given


class Only(Section):
    """The part of a suite that a budget runs; None is all.

    Labels, or patterns of them such as `noisy *` (fnmatch). What begins with `!` takes away again what came before.
    """

    sources: tuple[str, ...] | None = None
    variants: tuple[str, ...] | None = None
    algorithms: tuple[str, ...] | None = None


class Budget(Section):
    """How much to spend on a suite; what is None is as the suite or the catalog says."""

    steps: Integer = Field(gt=0)  # updates of each job
    dataset_steps: Integer | None = Field(None, gt=0)  # size of a catalog dataset
    seeds: Seeds | None = None
    episodes: Integer | None = Field(None, gt=0)  # of each evaluation
    evaluate_every: Integer | None = Field(None, gt=0)  # updates
    precision: Precision = "highest"  # of matrix products
    victim_steps: Integer = Field(VICTIM_STEPS, gt=0)  # updates of each victim
    victim_parameters: dict[str, Any] = {}  # for every victim
    transform_parameters: dict[str, dict[str, Any]] = {}  # for every transform of this name, over those of the variants
    algorithm_parameters: dict[str, Any] = {}  # for every algorithm, such as a smaller batch
    algorithms: dict[str, dict[str, Any]] = {}  # for the algorithm of this label, over those of the suite
    only: Only = Only()  # of a large suite
    search: dict[str, Any] = {}  # over that of the suite, such as fewer proposals


class Quality(Section):
    """How the variants of a suite are measured."""

    bins: Integer = Field(
        100, ge=2
    )  # edges per column of the grid that SACo counts on; fewer where many columns saturate
    metrics: tuple[str, ...] = ("size", "returns", "quality", "state_actions", "corruption")  # or groups of them
    # What SACo is relative to: patterns of labels of sources (fnmatch), each with the label of a source, such as
    # {"hopper *": hopper replay}. A source that no pattern fits is measured against its own first variant.
    references: dict[str, str] = {}

    def reference_of(self, label: str) -> str | None:
        """Return the label of the source that this one is measured against; None where that is itself."""
        return next((found for pattern, found in self.references.items() if fnmatchcase(label, pattern)), None)


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
    imports: tuple[str, ...] = ()  # Python files of the user's own
    source: str = ""
    sources: dict[str, str] = {}
    variants: dict[str, list[Any]]
    algorithms: dict[str, dict[str, Any] | None]
    victims: dict[str, dict[str, Any] | None] = {}
    seeds: Seeds = (0,)
    evaluation: Literal["final", "sparse", "published"] | Evaluation | None = Evaluation()  # a preset, or settings
    quality: Quality = Quality()
    search: Search | None = None
    budgets: dict[str, Budget]
    _where: str = PrivateAttr("suite")  # the file, for messages

    @classmethod
    def from_plain(cls, plain: Any, where: str = "suite", folder: str | os.PathLike[str] = ".") -> Suite:
        """Build a suite from the mapping that its YAML holds, checking every part of it.

        Parameters
        ----------
        plain : mapping
        where : str
            What errors name.
        folder : path
            What the paths of `imports` are relative to.

        Raises
        ------
        ConfigError
            If a part is misspelt or impossible.
        """
        if not isinstance(plain, Mapping):
            raise ConfigError(f"{where}: expected a mapping with the keys {', '.join(cls.model_fields)}")
        known = {key: value for key, value in plain.items() if key in cls.model_fields}
        if len(known) < len(plain):
            misspelt = next(str(key) for key in plain if key not in cls.model_fields)
            raise ConfigError(f"{where}: {UnknownNameError('key', misspelt, cls.model_fields)}")
        known["imports"] = _import(known.get("imports"), where, Path(folder))
        if "evaluation" in known:
            known["evaluation"] = _evaluation(known["evaluation"], where)
        if isinstance(known.get("variants"), Mapping):
            known["variants"] = variants_from_plain(known["variants"], where)
        for key in ("variants", "algorithms", "budgets"):
            if key in known and not known[key]:
                raise ConfigError(f"{where}: {key} is empty; name one at least")
        if known.get("search") is not None:
            known["search"] = _search(known["search"], f"{where}: search")
        try:
            suite = cls.model_validate(known)
        except ValidationError as error:
            names = {*cls.model_fields, *Budget.model_fields, *Quality.model_fields}
            raise ConfigError(describe_validation_error(where, error, known=names)) from error
        suite._where = where
        if bool(suite.source) == bool(suite.sources):
            raise ConfigError(f"{where}: give either source, or sources with a label for each")
        for name, transforms in suite.variants.items():
            transforms_from_plain(transforms, f"{where}: variant {name}")
        for label in suite.algorithms:
            for pattern in suite.source_patterns(label, where):
                if not any(fnmatchcase(source, pattern) for source in suite.sources_by_label):
                    raise UnknownNameError(
                        "source", pattern, suite.sources_by_label, f"({where}: sources of algorithm {label})"
                    )
        for budget in suite.budgets.values():
            suite._check_names(budget, where)
            suite.part_of(budget, where)
            suite.make_algorithms(budget, where)
            suite.search_of(budget, where)
            for name, transforms in suite.transforms_of(budget).items():
                transforms_from_plain(transforms, f"{where}: variant {name}")
                with_victims(transforms, partial(suite._check_victim, budget, f"{where}: variant {name}"))
        return suite

    @classmethod
    def from_yaml(cls, path: str | os.PathLike[str]) -> Suite:
        """Read a suite file."""
        return cls.from_plain(read_yaml(os.fspath(path)), os.fspath(path), Path(path).parent)

    def budget(self, name: str) -> Budget:
        """Return a budget by name."""
        if name not in self.budgets:
            raise UnknownNameError("budget", name, self.budgets)
        return self.budgets[name]

    def _check_names(self, budget: Budget, where: str) -> None:
        """Find no algorithm and no transform in a budget that the suite lacks; those that its `only` leaves out it may name."""
        for label in budget.algorithms:
            if label not in self.algorithms:
                raise ConfigError(f"{where}: budget: {UnknownNameError('algorithm', label, self.algorithms)}")
        searched = {} if self.search is None else budget.search.get("parameters", self.search.parameters)
        for label in searched:
            if label not in self.algorithms:
                unknown = UnknownNameError("algorithm", label, self.algorithms)
                raise ConfigError(f"{where}: search: parameters: {unknown}")
        used = {_named(entry)[0] for transforms in self.variants.values() for entry in transforms}
        for name in budget.transform_parameters:
            if name not in used:
                raise UnknownNameError("transform", name, used, f"({where}: transform_parameters of a budget)")

    def part_of(self, budget: Budget, where: str = "suite") -> Suite:
        """Return the suite with only the sources, variants and algorithms that the budget runs.

        Raises
        ------
        UnknownNameError
            If the suite has no such source, variant or algorithm.
        ConfigError
            If nothing is left to train.
        """
        parts: dict[str, Any] = {}
        for key in Only.model_fields:
            chosen, given = getattr(budget.only, key), getattr(self, key)
            if chosen is not None:
                labels = _matching(chosen, given, key[:-1], f"({where}: only of a budget)")
                if not labels:
                    raise ConfigError(f"{where}: only of a budget: {list(chosen)} leaves none of the {key}")
                parts[key] = {label: given[label] for label in labels}
        part = self.model_copy(update=parts)
        for label in part.sources_by_label:
            reference = self.quality.reference_of(label)
            if reference is not None and reference not in part.sources_by_label:
                raise UnknownNameError(
                    "source", reference, part.sources_by_label, f"({where}: quality: reference of {label!r})"
                )
        if not any(part._trained_on(source) for source in part.sources_by_label):
            raise ConfigError(
                f"{where}: only of a budget: no algorithm is left that is trained on a source that is left"
            )
        return part

    def source_patterns(self, algorithm: str, where: str = "suite") -> list[str]:
        """Return the patterns of the sources that an algorithm is trained on; one that fits all where it names none."""
        patterns = (self.algorithms[algorithm] or {}).get("sources", ["*"])
        if not isinstance(patterns, list) or not all(isinstance(pattern, str) for pattern in patterns):
            raise ConfigError(
                f"{where}: algorithm {algorithm}: sources must be a list of labels or patterns of them, not {patterns!r}"
            )
        return patterns

    def make_algorithms(
        self, budget: Budget, where: str = "suite", dataset: Dataset | None = None
    ) -> dict[str, Algorithm]:
        """Build the algorithms by their labels; for a variant, with what their authors chose for it."""
        return {label: self._make_algorithm(budget, label, where, dataset) for label in self.algorithms}

    def _make_algorithm(
        self,
        budget: Budget,
        label: str,
        where: str = "suite",
        dataset: Dataset | None = None,
        proposed: Mapping[str, Any] = MappingProxyType({}),
    ) -> Algorithm:
        given = {**self._given(budget, label), **proposed}
        return _algorithm(label, given, f"{where}: algorithm {label}", dataset)

    def _given(self, budget: Budget, label: str) -> dict[str, Any]:
        """Return what the suite and the budget say of an algorithm."""
        return {**budget.algorithm_parameters, **(self.algorithms[label] or {}), **budget.algorithms.get(label, {})}

    def search_of(self, budget: Budget, where: str = "suite") -> Search | None:
        """Return the search with the budget's changes, of those algorithms that the budget runs; None where there is none.

        Raises
        ------
        ConfigError
            If a range or a value does not suit the algorithm, or the search leaves no seed for the final runs.
        """
        if self.search is None:
            if budget.search:
                raise ConfigError(f"{where}: search of a budget: the suite has no section search that it could change")
            return None
        search = _search({**dict(self.search), **budget.search}, f"{where}: search")
        place = f"{where}: search"
        used = sorted(set(search.seeds) & set(budget.seeds or self.seeds))
        if used:
            raise ConfigError(
                f"{place}: seeds={list(search.seeds)}: {used[0]} is one of the suite's seeds, on which the result of the "
                "search is evaluated; take others for the search"
            )
        if self.evaluation is None:
            raise ConfigError(f"{place}: evaluation is null, so proposals have no scores to choose by")
        spaces = {}
        for label, space in search.parameters.items():
            if label in self.algorithms:
                spaces[label] = {
                    name: self._checked(budget, label, name, entry, f"{place}: parameters")
                    for name, entry in space.items()
                }
        only = _matching(budget.only.algorithms or list(self.algorithms), self.algorithms, "algorithm", f"({where})")
        spaces = {label: space for label, space in spaces.items() if label in only}
        return search.model_copy(update={"parameters": spaces}) if spaces else None

    def _checked(
        self, budget: Budget, label: str, name: str, entry: Range | Categories, where: str
    ) -> Range | Categories:
        """Return a range or values as the algorithm's field takes them, having built it with some of them."""
        if name in ("algorithm", "preset", "sources"):
            raise ConfigError(f"{where}: {label}: {name} is not a field of an algorithm, and cannot be searched")
        kind = type(self._make_algorithm(budget, label, where))
        if isinstance(entry, Range) and name in kind.member_fields():
            entry = entry.model_copy(update={"low": float(entry.low), "high": float(entry.high)})
        for value in entry.examples() if isinstance(entry, Range) else entry:
            self._make_algorithm(budget, label, where, proposed={name: value})
        return entry

    def transforms_of(self, budget: Budget | None) -> dict[str, list[Any]]:
        """Return the transforms of every variant as plain values, with what the budget says of them."""
        given = {} if budget is None else budget.transform_parameters
        entries = {name: [_named(entry) for entry in transforms] for name, transforms in self.variants.items()}
        return {
            variant: [{name: {**parameters, **given.get(name, {})}} for name, parameters in transforms]
            for variant, transforms in entries.items()
        }

    def make_victim(self, budget: Budget, victim: str, where: str = "suite") -> Algorithm:
        """Build the algorithm of a victim by its label or the algorithm's name."""
        given = self.victims.get(victim) or {}
        algorithm = _algorithm(victim, {**budget.victim_parameters, **given}, f"{where}: victim {victim}")
        try:
            check_victim(algorithm)
        except ConfigError as error:
            raise ConfigError(f"{where}: victim {victim}: {error}") from error
        return algorithm

    def _check_victim(self, budget: Budget, where: str, victim: str) -> str:
        if victim in self.victims or not os.path.isdir(victim):
            self.make_victim(budget, victim, where)
        return victim

    def labels_of(self, budget: Budget) -> list[str]:
        """Return what tables call the algorithms, in order, with what a search finds after each that is searched."""
        search = self.search_of(budget)
        labels = []
        for label, algorithm in self.make_algorithms(budget).items():
            labels.append(label)
            if search is not None and label in search.parameters:
                labels.append((algorithm.label if label == algorithm.name else label) + SEARCHED)
        return labels

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

    @property
    def sources_by_label(self) -> dict[str, str]:
        """The datasets; a single one has no label."""
        return self.sources or {"": self.source}

    def load_sources(
        self, budget: Budget, progress: Callable[[str, int, int], None] | None = None
    ) -> dict[str, Dataset]:
        """Load every source, collecting what is not there yet; `progress` is called with (name, done, total)."""
        from assay.datasets.collection.catalog import is_collectable
        from assay.datasets.loading import load

        loaded = {}
        for label, name in self.sources_by_label.items():
            options: dict[str, Any] = {}
            if is_collectable(name):
                options["progress"] = None if progress is None else partial(progress, name)
                if budget.dataset_steps is not None:
                    options["steps"] = budget.dataset_steps
            loaded[label] = load(name, **options)
        return loaded

    def variants_of(
        self,
        sources: Mapping[str, Dataset],
        find_victim: Callable[[Dataset, str], str | os.PathLike[str]] | None = None,
        device: str = "cpu",
        progress: Callable[[str, int, int], None] | None = None,
        budget: Budget | None = None,
    ) -> list[Variant]:
        """Apply the transforms of every variant to every source.

        Parameters
        ----------
        sources : mapping
            As from `load_sources`.
        find_victim : callable, optional
            Gives the folder of a run for a source and the label of its victim. Without one nothing is trained: random
            corruption of the same elements stands for what needs a victim, and the draft of a transform for itself.
        device : str
            Where victims are attacked.
        progress : callable, optional
            Called with (variant, done, total) by transforms that take minutes; what those give is kept under
            `home()/variants`, and found again.
        budget : Budget, optional
            Whose `transform_parameters` apply.
        """
        variants = []
        for label, source in sources.items():
            for name, transforms in self.transforms_of(budget).items():
                if find_victim is None:
                    transforms = [_stand_in(entry) for entry in transforms]
                else:
                    transforms = with_victims(transforms, partial(find_victim, source), device)
                where = f"{self._where}: variant {name}"
                made = transforms_from_plain(transforms, where)
                if find_victim is None:
                    made = tuple(transform.draft() for transform in made)
                called = f"{label} {name}".strip()
                recipe = Recipe(self.sources_by_label[label], made)
                report = None if progress is None else partial(progress, called)
                try:
                    dataset = recipe.apply(source, keep=find_victim is not None, progress=report)
                except (ConfigError, DatasetError) as error:
                    raise ConfigError(f"{where}: {error}") from error
                variants.append(Variant(called, dataset, source, label))
        return variants

    def steps_to_collect(self, budget: Budget) -> int | None:
        """Return how many steps of catalog sources are to be collected first; None where all data is there."""
        from assay.datasets.collection.catalog import is_collectable
        from assay.datasets.loading import DEFAULT_STEPS, cached_path

        steps = budget.dataset_steps or DEFAULT_STEPS
        names = [name for name in self.sources_by_label.values() if is_collectable(name)]
        missing = [name for name in names if not cached_path(name, steps=steps).exists()]
        return steps if missing else None

    def make_jobs(
        self,
        budget: Budget,
        variants: Sequence[Variant],
        found: Mapping[tuple[str, str], Mapping[str, Any]] = MappingProxyType({}),
    ) -> list[Job]:
        """List the jobs: variants x algorithms x seeds, in that order.

        Parameters
        ----------
        budget : Budget
        variants : sequence of Variant
        found : mapping
            What a search found for (variant, algorithm), by their labels; each is trained as well, and called
            `NAME, searched`.
        """
        seeds, jobs = budget.seeds or self.seeds, []
        for variant in variants:
            for label in self._trained_on(variant.source_label):
                jobs += [self._job(budget, variant, label, seed) for seed in seeds]
                if (variant.label, label) in found:
                    proposed = found[variant.label, label]
                    jobs += [self._job(budget, variant, label, seed, proposed, SEARCHED) for seed in seeds]
        return jobs

    def _trained_on(self, source: str) -> list[str]:
        """Return the labels of the algorithms that are trained on the variants of a source."""
        return [
            label
            for label in self.algorithms
            if any(fnmatchcase(source, pattern) for pattern in self.source_patterns(label))
        ]

    def _job(
        self,
        budget: Budget,
        variant: Variant,
        label: str,
        seed: int,
        proposed: Mapping[str, Any] = MappingProxyType({}),
        suffix: str = "",
    ) -> Job:
        algorithm = self._make_algorithm(budget, label, dataset=variant.dataset, proposed=proposed)
        chosen = self._chosen_by_variant(budget, label, algorithm, variant.dataset)
        if suffix:  # tables have one row of it, whatever was found for each variant
            chosen = tuple(dict.fromkeys([*chosen, *proposed]))
        return Job(
            algorithm,
            variant.dataset,
            seed,
            variant.label,
            (algorithm.label if label == algorithm.name else label) + suffix,
            float(variant.source.returns.mean()),  # of the clean data, whatever a variant did to the rewards
            chosen,
        )

    def make_searches(self, search: Search, variants: Sequence[Variant]) -> list[SuiteSearch]:
        """List the searches: one for each variant and searched algorithm that is trained on it."""
        return [
            SuiteSearch(
                variant,
                label,
                ProposalSequence(search.parameters[label], search.sampler, search.proposals, search.batch, search.seed),
            )
            for variant in variants
            for label in self._trained_on(variant.source_label)
            if label in search.parameters
        ]

    def make_search_jobs(self, budget: Budget, search: Search, batches: Sequence[Batch]) -> list[Job]:
        """List the jobs of a batch of each search: searches x proposals x seeds, in that order."""
        return [
            self._job(budget, searched.variant, searched.label, seed, proposed)
            for searched, asked in batches
            for proposed in asked
            for seed in search.seeds
        ]

    def make_search_evaluation(self, budget: Budget) -> Evaluation:
        """Return how proposals are evaluated: once, on episodes that the final runs do not have."""
        evaluation = self.make_evaluation(budget)
        if evaluation is None:
            raise ConfigError("search: evaluation is null, so proposals have no scores to choose by")
        return replace(evaluation, every=None, seed=(evaluation.seed + 1) % 2**63)

    def _chosen_by_variant(self, budget: Budget, label: str, algorithm: Algorithm, dataset: Dataset) -> tuple[str, ...]:
        given = self._given(budget, label)
        if "preset" not in given:
            return ()
        return tuple(key for key in algorithm.values_for(dataset, _study(given["preset"])) if key not in given)


def _matching(patterns: Sequence[str], labels: Mapping[str, Any], kind: str, where: str) -> list[str]:
    """Return the labels that patterns name, in the order of the patterns.

    Examples
    --------
    >>> _matching(["noisy *", "!* / b"], {"clean": 0, "noisy / a": 0, "noisy / b": 0}, "variant", "")
    ['noisy / a']
    """
    chosen: dict[str, None] = {}
    for pattern in patterns:
        wanted = pattern.removeprefix("!")
        found = [wanted] if wanted in labels else [label for label in labels if fnmatchcase(label, wanted)]
        if not found:
            raise UnknownNameError(kind, wanted, labels, where)
        for label in found:
            if wanted == pattern:
                chosen[label] = None
            else:
                chosen.pop(label, None)
    return list(chosen)


@dataclass(frozen=True)
class Variant:
    """A dataset of a suite, and the clean one that it was made of."""

    label: str
    dataset: Dataset
    source: Dataset
    source_label: str = ""


@dataclass
class SuiteSearch:
    """A search of a suite: of one algorithm on one variant, and the runs of each proposal that was told."""

    variant: Variant
    label: str
    sequence: ProposalSequence
    runs: list[list[Run]] = field(default_factory=list)

    def tell(self, asked: Sequence[Mapping[str, Any]], runs: Sequence[Run]) -> None:
        """Tell the runs of a batch, proposals x seeds."""
        each = len(runs) // len(asked)
        grouped = [list(runs[place : place + each]) for place in range(0, len(runs), each)]
        self.sequence.tell(asked, [_value_of(group) for group in grouped])
        self.runs += grouped


Batch: TypeAlias = tuple[SuiteSearch, list[dict[str, Any]]]


def _value_of(runs: Sequence[Run]) -> float | None:
    """Return the mean final score of a proposal over its seeds, or return where there are no scores; None where one diverged."""
    for run in runs:
        if not run.ended:
            raise ConfigError(
                f"search: {run.folder} is {run.status}: {run.error or 'not trained to its end'}; run again, or leave out "
                "what cannot be trained"
            )
        if run.status != "diverged" and not run.returns.size:
            raise ConfigError(f"search: {run.folder} has no final episodes: its data names no environment to score in")
    if any(run.status == "diverged" for run in runs):
        return None
    scores = [run.score for run in runs]
    values = [float(run.returns.mean()) for run in runs] if None in scores else scores
    return float(np.mean(cast(Any, values)))


def _search(given: Any, where: str) -> Search:
    """Build the section `search`."""
    if isinstance(given, Search):
        return given
    if not isinstance(given, Mapping):
        raise ConfigError(f"{where}={given!r}: expected a mapping with the keys {', '.join(Search.model_fields)}")
    made, spaces = checked_names(where, given), given.get("parameters")
    if spaces is not None:
        place = f"{where}: parameters"
        if not isinstance(spaces, Mapping) or not spaces:
            raise ConfigError(f"{place}={spaces!r}: expected labels of algorithms, each with the fields to search")
        made["parameters"] = {
            str(label): space_from_plain(space, f"{place}: {label}") for label, space in spaces.items()
        }
    try:
        return Search.model_validate(made)
    except ValidationError as error:
        raise ConfigError(describe_validation_error(where, error, known=Search.model_fields)) from error


def _import(files: Any, where: str, folder: Path) -> tuple[str, ...]:
    """Import the user's own files, and return their paths."""
    if files is None:
        return ()
    if not isinstance(files, list | tuple) or not all(isinstance(file, str) for file in files):
        raise ConfigError(f"{where}: imports must be a list of Python files, such as [my_method.py]")
    try:
        for file in files:
            import_file(folder / file)
    except AssayError as error:
        raise ConfigError(f"{where}: imports: {error}") from error
    return tuple(os.fspath(folder / file) for file in files)


def _evaluation(given: Any, where: str) -> Any:
    """Return how a suite evaluates: a preset's name, settings, or None."""
    if isinstance(given, str) and given not in Evaluation.PRESETS:
        raise ConfigError(f"{where}: {UnknownNameError('evaluation preset', given, Evaluation.PRESETS)}")
    if given is None or isinstance(given, str | Evaluation):
        return given
    if not isinstance(given, Mapping):
        presets = ", ".join(Evaluation.PRESETS)
        raise ConfigError(f"{where}: evaluation={given!r}: expected settings, one of {presets}, or null for none")
    settings = checked_names(f"{where}: evaluation", given)
    try:
        return Evaluation(**settings)
    except ConfigError as error:  # which says that it is about the evaluation
        raise ConfigError(f"{where}: {error}") from error


def _algorithm(label: str, parameters: dict[str, Any], where: str, dataset: Dataset | None = None) -> Algorithm:
    """Build an algorithm as suites write them: `algorithm` is its name, `preset` asks for its authors' or a study's values."""
    try:
        name, preset = str(parameters.pop("algorithm", label)), parameters.pop("preset", None)
        parameters.pop("sources", None)
        kind = type(algorithm_named(name))
        if preset is not None:
            try:
                presets_of(kind, _study(preset))
            except UnknownNameError as error:
                raise ConfigError(f"preset={preset!r}: {error}; or 'variant'") from error
            parameters = {**(kind.values_for(dataset, _study(preset)) if dataset is not None else {}), **parameters}
        return algorithm_named(name, parameters)
    except AssayError as error:
        raise ConfigError(f"{where}: {error}") from error


def _study(preset: Any) -> str | None:
    """Return the study whose values a preset asks for; `variant` are those of the algorithm's authors."""
    if not isinstance(preset, str):
        raise ConfigError(f"preset={preset!r} is neither 'variant' nor the name of a study")
    return None if preset == "variant" else preset


def _named(entry: Any) -> tuple[str, Mapping[str, Any]]:
    """Return the name and the parameters of a transform as variants write it."""
    if isinstance(entry, str):
        return entry, {}
    ((name, parameters),) = entry.items()
    return str(name), parameters or {}


def _stand_in(entry: Any) -> Any:
    """Replace a transform that needs a victim by random corruption, which gives a dataset of the same shape."""
    if isinstance(entry, Mapping):
        ((_, parameters),) = entry.items()
        if isinstance(parameters, Mapping) and "victim" in parameters:
            return {"corruption.random": {"element": parameters["element"], "rate": parameters.get("rate", 0.3)}}
    return entry


def run_suite(
    suite: Suite | str | os.PathLike[str],
    budget: str,
    *,
    runs: str | os.PathLike[str] | None = None,
    measure: Callable[..., pl.DataFrame] | None = None,
    progress: Callable[[TrainingProgress], None] | Auto | None = "auto",
    collecting: Draw | Auto | None = "auto",
    preparing: Draw | Auto | None = "auto",
    loggers: Sequence[Logger] = (),
    command: str | None = None,
    options: TrainingOptions = TrainingOptions(),  # noqa: B008  (frozen)
    **changes: Unpack[OptionChanges],
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
    progress, loggers, options, **changes
        As in `train`; the default precision is the budget's.
    measure : callable, optional
        (variant, first variant, bins=, select=) -> frame of metric, value, interval (struct of low, high), unit, source;
        written to `quality.parquet` with the interval as two columns. `assay.metrics.assess` is one.
    collecting : callable, optional
        Called with (name, steps done, steps in all) while a source is collected. By default the bar of `progress` shows it;
        where that is a callable or None, nothing does.
    preparing : callable, optional
        Called with (variant, done, total) while a transform takes its time, such as an attack; default as for
        `collecting`.
    command : str, optional
        What was typed; shown in the report.

    Returns
    -------
    list of Run
        Variants x algorithms x seeds, in that order; what a search found comes after its algorithm. The proposals lie in
        `RUNS/search`, and `assay.analysis.load_search` reads them.
    """
    if not isinstance(suite, Suite):
        suite = Suite.from_yaml(suite)
    chosen = suite.budget(budget)
    search = suite.search_of(chosen)
    suite = suite.part_of(chosen)
    if search is not None and search.sampler != "random":
        require_optuna()
    root = suite.folder(budget, runs)
    options = options.with_changes(changes).or_precision(chosen.precision)
    loaded = suite

    with reporting("auto" if progress == "auto" else None, f"suite {suite.name}", lambda draw: draw) as draw:
        if progress == "auto":
            progress = None if draw is None else training_bar(draw)
        report = progress

        def find_victim(source: Dataset, victim: str) -> Run | str:
            if victim not in loaded.victims and os.path.isdir(victim):
                return victim
            algorithm = loaded.make_victim(chosen, victim)
            here = TrainingOptions(
                device=options.device, precision=options.precision
            )  # whatever the suite's jobs are given
            return train_victim(algorithm, source, steps=chosen.victim_steps, progress=report, options=here)

        sources = suite.load_sources(chosen, _titled(collecting, draw, "collecting"))
        variants = suite.variants_of(
            sources,
            find_victim,
            options.device,
            _titled(preparing, draw, "preparing"),
            chosen,
        )
        described = {
            "schema": SUITE_SCHEMA,
            "schema_version": SUITE_VERSION,
            "name": suite.name,
            "title": suite.title,
            "question": suite.question,
            "budget": budget,
            "budget_parameters": chosen.model_dump(),
            "variants": [variant.label for variant in variants],
            "algorithms": suite.labels_of(chosen),
            "seeds": list(chosen.seeds or suite.seeds),
            "source": ", ".join(suite.sources_by_label.values()),
            "command": command,
        }
        files = hashes_of_suite(root) if measure is not None else {}
        listed = _listed_before(root)  # until it is known what is found
        write_json(root / "suite.json", {**described, "files": files, "runs": listed})
        if measure is not None:
            quality_hash = _write_quality(
                root / QUALITY_FILE,
                variants,
                {
                    id(source): sources[reference]
                    for label, source in sources.items()
                    if (reference := suite.quality.reference_of(label)) is not None
                },
                partial(measure, bins=suite.quality.bins, select=suite.quality.metrics),
                draw,
            )
            files = {QUALITY_FILE: quality_hash}
            write_json(root / "suite.json", {**described, "files": files, "runs": listed})
        found = {}
        if search is not None:
            further = {"loggers": loggers, "options": options}
            searches = _run_search(suite, chosen, search, variants, root / SEARCH_FOLDER, report, further)
            found = {(item.variant.label, item.label): item.sequence.best.parameters for item in searches}
        jobs, evaluation = suite.make_jobs(chosen, variants, found), suite.make_evaluation(chosen)
        plan = Plan(chosen.steps, evaluation, options.matmul_precision, options.storage)
        names = list(dict.fromkeys(Work(job, plan, root).folder.name for job in jobs))
        write_json(root / "suite.json", {**described, "files": files, "runs": names})
        return _train_once(
            jobs,
            steps=chosen.steps,
            runs=root,
            evaluation=evaluation,
            progress=report,
            loggers=loggers,
            options=options,
        )


def _listed_before(root: Path) -> list[str]:
    """Return the runs that `suite.json` lists; empty where it lists none, or is damaged."""
    try:
        return list((read_suite(root) or {}).get("runs") or [])
    except DatasetError:
        return []


def _run_search(
    suite: Suite,
    budget: Budget,
    search: Search,
    variants: Sequence[Variant],
    folder: Path,
    report: Callable[[TrainingProgress], None] | None,
    further: Mapping[str, Any],
) -> list[SuiteSearch]:
    """Run the searches of a suite side by side: a batch of each is trained at a time."""
    searches = suite.make_searches(search, variants)
    evaluation = suite.make_search_evaluation(budget)
    while batches := [(item, asked) for item in searches if (asked := item.sequence.ask())]:
        first = len(searches[0].sequence.told)
        where = f", proposals {first + 1} to {first + len(batches[0][1])} of {search.proposals}"

        def told(state: TrainingProgress, where: str = where) -> None:
            if report is not None:
                report(replace(state, label=state.label + where))

        jobs = suite.make_search_jobs(budget, search, batches)
        watched = None if report is None else told
        trained = _train_once(jobs, steps=budget.steps, runs=folder, evaluation=evaluation, progress=watched, **further)
        _tell(batches, trained, search)
        write_json(folder / SEARCH_FILE, _describe_search(search, searches))
    return searches


def _train_once(jobs: Sequence[Job], **further: Any) -> list[Run]:
    """Train jobs of which some may be the same: one proposed twice, or a search that found what is the default."""
    keys = [(job.algorithm.name, repr(job.algorithm), job.label, job.seed) for job in jobs]
    distinct: dict[Any, Job] = {}
    for key, job in zip(keys, jobs):
        distinct.setdefault(key, job)
    runs = dict(zip(distinct, train(list(distinct.values()), **further)))
    return [runs[key] for key in keys]


def _tell(batches: Sequence[Batch], runs: Sequence[Run], search: Search) -> None:
    for item, asked in batches:
        count = len(asked) * len(search.seeds)
        item.tell(asked, runs[:count])
        runs = runs[count:]


def _describe_search(search: Search, searches: Sequence[SuiteSearch]) -> dict[str, Any]:
    """Return what `search.json` holds; scores are in the runs."""

    def proposal(item: Proposal, runs: Sequence[Run]) -> dict[str, Any]:
        return {
            "number": item.number,
            "batch": item.batch,
            "parameters": item.parameters,
            "runs": [run.folder.name for run in runs],
        }

    return {
        "schema": SEARCH_SCHEMA,
        "schema_version": 1,
        **search.model_dump(exclude={"parameters"}),
        "searches": [
            {
                "variant": item.variant.label,
                "algorithm": item.label,
                "space": {
                    name: entry.model_dump() if isinstance(entry, Range) else entry
                    for name, entry in item.sequence.space.items()
                },
                "proposals": [proposal(told, runs) for told, runs in zip(item.sequence.told, item.runs)],
            }
            for item in searches
        ],
    }


def _plan_search(
    suite: Suite, budget: Budget, variants: Sequence[Variant], folder: Path, search: Search, options: TrainingOptions
) -> PlannedSearch:
    """Plan what is left of the searches, by a timing of the next batch."""
    searches = suite.make_searches(search, variants)
    seeds = len(budget.seeds or suite.seeds)
    trainings = len(searches) * search.proposals * len(search.seeds)
    evaluation, seconds, done = suite.make_search_evaluation(budget), 0.0, 0
    while batches := [(item, asked) for item in searches if (asked := item.sequence.ask())]:
        jobs = suite.make_search_jobs(budget, search, batches)
        plan = plan_training(jobs, steps=budget.steps, runs=folder, evaluation=evaluation, options=options)
        if any(job.status not in ("finished", "diverged") for job in plan.jobs):
            left = math.ceil((trainings - done) / len(jobs))
            seconds = plan.seconds * left
            done += sum(job.status in ("finished", "diverged") for job in plan.jobs)
            break
        _tell(batches, [Run(job.folder) for job in plan.jobs], search)
        done += len(jobs)
    return PlannedSearch(trainings, done, len(searches) * seeds, seconds)


def _titled(report: Draw | Auto | None, draw: Draw | None, doing: str) -> Draw | None:
    """Return what was given; by default what draws the name with what is done to it, if anything is drawn."""
    if report != "auto":
        return report
    return None if draw is None else lambda name, done, total: draw(f"{doing} {name}", done, total)


def plan_suite(
    suite: Suite | str | os.PathLike[str],
    budget: str,
    *,
    runs: str | os.PathLike[str] | None = None,
    options: TrainingOptions = TrainingOptions(),  # noqa: B008  (frozen)
    **changes: Unpack[OptionChanges],
) -> TrainingPlan:
    """Plan what `run_suite` would do with the same arguments; nothing is written.

    The variants are built, as for a run, but victims and models of labels are not trained: random corruption stands for what
    needs a victim, and the draft of a transform for itself. A source
    that would have to be collected first is not: its plan is made from a sample of 2,000 steps, with the memory of the data
    in proportion.

    Returns
    -------
    TrainingPlan
        With the estimated time of training on this machine; measuring the variants and evaluation are not included.
    """
    from assay.datasets.collection.catalog import is_collectable
    from assay.datasets.loading import collect_entry, load

    if not isinstance(suite, Suite):
        suite = Suite.from_yaml(suite)
    chosen = suite.budget(budget)
    search = suite.search_of(chosen)
    suite = suite.part_of(chosen)
    options = options.with_changes(changes).or_precision(chosen.precision)
    collects = suite.steps_to_collect(chosen)
    if collects is None:
        sources = suite.load_sources(chosen)
    else:
        steps = min(collects, _SAMPLE_STEPS)
        named = suite.sources_by_label.items()
        sources = {
            label: collect_entry(name, steps=steps, workers=0) if is_collectable(name) else load(name)
            for label, name in named
        }
    variants = suite.variants_of(sources, budget=chosen)
    plan = plan_training(
        suite.make_jobs(chosen, variants),
        steps=chosen.steps,
        runs=suite.folder(budget, runs),
        evaluation=suite.make_evaluation(chosen),
        options=options,
    )
    if search is not None:
        folder = suite.folder(budget, runs) / SEARCH_FOLDER
        plan = replace(plan, search=_plan_search(suite, chosen, variants, folder, search, options))
    if collects is None:
        return plan
    share = collects / max(source.total_steps for source in sources.values())
    return replace(
        plan,
        jobs=tuple(replace(job, status="unknown") for job in plan.jobs),
        populations=tuple(replace(item, data_bytes=round(share * item.data_bytes)) for item in plan.populations),
        collects=collects,
    )


def _write_quality(
    file: Path,
    variants: Sequence[Variant],
    references: dict[int, Dataset],
    measure: Callable[[Dataset, Dataset], pl.DataFrame],
    draw: Draw | None,
) -> str:
    """Measure every variant against the reference of its source (by `id`), write the table, and return its hash."""
    import io

    import polars as pl

    references = dict(references)  # and the first variant of each source that is not in it
    tables = []
    for number, variant in enumerate(variants):
        if draw is not None:
            draw(f"measuring {variant.label}", number, len(variants))
        reference = references.setdefault(id(variant.source), variant.dataset)
        measured = measure(variant.dataset, reference).unnest("interval")
        tables.append(measured.select(pl.lit(variant.label).alias("variant"), pl.all().exclude("seconds")))
    content = io.BytesIO()
    pl.concat(tables).write_parquet(content)
    atomic_write(file, content.getvalue())
    return content_hash(content.getvalue())
