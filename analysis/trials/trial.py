"""Trains algorithms on data before and after a change, with the same seeds, until there is a verdict.

All sides of an algorithm train as one population. Run folders belong to `assay.baselines`, which trains; this room reads them, and
opens the runner by name when a trial is started.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from importlib import import_module
from typing import Any, TypeAlias

from assay.analysis.trials.asked import EvaluatedHow, TrainedAlgorithm, checked_algorithm, checked_evaluation
from assay.analysis.trials.comparison import Comparison, Multiplicity, Pair, Rules, Starts
from assay.analysis.trials.finished_runs import judge_with_pooled, notes_on_divergence, scores_of, unit_of
from assay.analysis.trials.result import POOLED, TrialResult, Vary
from assay.analysis.trials.sequential import levels_of_looks
from assay.analysis.trials.sign_flip import Statistic
from assay.baselines.runs.reader import StoredRun
from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError
from assay.datasets.loading import load
from assay.datasets.progress import Auto
from assay.datasets.recipe import Recipe
from assay.datasets.registry import check_seed

__all__ = ["Source", "trial"]


Source: TypeAlias = Dataset | Recipe | str | Callable[[int], Dataset]
Algorithms: TypeAlias = "TrainedAlgorithm | str | Sequence[TrainedAlgorithm | str] | Mapping[str, TrainedAlgorithm]"


@dataclass(frozen=True)
class _Side:
    """Data of one side: what it is called, what makes it for a training seed, and whether that depends on the seed."""

    name: str
    make: Callable[[int], Dataset]
    varies: bool

    def dataset(self, seed: int) -> Dataset:
        """Return the data for a training seed."""
        return _made(self.make, seed, self.name)


def trial(
    before: Source,
    after: Source | Mapping[str, Source],
    *,
    algorithms: Algorithms,
    steps: int,
    evaluation: EvaluatedHow | str = "final",
    seeds: int | Sequence[int] = 16,
    look_every: int | None = None,
    vary: Vary = "training",
    margin: float | None = None,
    futility: float | None = None,
    alpha: float = 0.05,
    power: float = 0.8,
    statistic: Statistic = "mean",
    starts: Starts = "fixed",
    multiplicity: Multiplicity = "holm",
    runs: str | os.PathLike[str] = "runs",
    progress: Callable[[Any], None] | Auto | None = "auto",
    options: Any = None,
    **changes: Any,
) -> TrialResult:
    """Find out whether learning from data after a change is better than from the data before it.

    Both sides are trained with the same seeds as one population per algorithm, and evaluated from the same start states. The
    result has one of four verdicts for each algorithm, `"better"`, `"worse"`, `"equivalent"` or `"undecided"`, and says which
    difference these seeds could have shown.

    Parameters
    ----------
    before : Dataset, Recipe, str or callable
        The control. A text is what `assay.load` takes.
    after : the same, or mapping of names to such
        What the change made of it; several variants share the control and the error rate.
    algorithms : Algorithm or name, a sequence of them, or mapping of names to algorithms
    steps : int
        Updates of each training.
    evaluation : Evaluation or str
        By default 10 episodes after the last update; other names are those of `Evaluation.preset`. None, which trains without
        an environment elsewhere, is refused: what policies earn there is what is compared.
    seeds : int or sequence of int
        Training seeds: that many from 0, or these. Below 6 nothing can be shown at alpha = 0.05.
    look_every : int, optional
        Train so many seeds at a time, and stop for a comparison as soon as it has a verdict, "equivalent" included, or is
        futile. The error rate is spent over the looks, see `assay.analysis.trials.sequential`. By default all seeds are trained at once.
    vary : "training" or "data"
        `"training"`: the verdict is about these two datasets. `"data"`: about the procedures that make them. Every training seed s
        then gets data of its own: the seeds of a recipe's transforms, and of its source where its options name one, are raised by
        s, and a callable is given s.
    margin : float, optional
        In units of the score: differences inside (-margin, margin) do not matter to you. Without it nothing is "equivalent".
    futility : float, optional
        In units of the score: the smallest difference worth finding. With `look_every`, a comparison is given up, as undecided, at a
        look where a difference of that size is not to be expected any more.
    alpha, power, statistic, starts, multiplicity
        See `assay.analysis.trials.comparison.Rules`.
    runs : path
        Folder for the run folders. What is finished there is not trained again, and a trial that was interrupted goes on.
    progress : callable, optional
        As in `assay.baselines.train`.
    options : TrainingOptions, optional
        How to train; `**changes` are fields of it, such as `device="cuda"`.

    Returns
    -------
    TrialResult

    Raises
    ------
    ConfigError
        If the two sides are the same data, have different environments or observations or actions of different shapes, or a
        setting is impossible; before anything is trained.
    AssayError
        If a training failed. Trainings that diverge are no failures: they count with what their policies earn.

    Examples
    --------
    >>> import assay, tempfile
    >>> from assay.baselines import BC, Evaluation
    >>> before = assay.load("pendulum/random", steps=400)
    >>> result = assay.trial(
    ...     before, before[:1].named("one episode"), algorithms=BC(hidden=(4,)), steps=5, seeds=2,
    ...     evaluation=Evaluation(episodes=1), runs=tempfile.mkdtemp(), workers=0)
    >>> result.verdict  # two seeds can show nothing
    {'bc': 'undecided'}
    """
    rules = Rules(alpha, margin, power, statistic, starts, multiplicity, futility)
    if futility is not None and look_every is None:
        raise ConfigError("futility is asked at looks; say after how many seeds to look by look_every")
    runner: Any = import_module("assay.baselines")
    named = _named_algorithms(algorithms)
    every = _seeds(seeds)
    asked = checked_evaluation(evaluation, steps)
    sides = _sides(before, after, vary)
    comparisons = 1 if multiplicity == "none" else len(named) * (len(sides) - 1)
    looks = _looks(len(every), look_every, rules, comparisons)
    _check(sides, asked, every[0])
    found, done = _Found(sides, named, rules), 0
    read: dict[tuple[str, str], list[StoredRun]] = {}
    for count, level, beta in zip(looks, levels_of_looks(looks, alpha, comparisons), _betas(looks, rules)):
        data = {(side.name, seed): side.dataset(seed) for side in found.open_sides for seed in every[done:count]}
        cells = [(name, side.name, seed) for name, side in found.open_cells for seed in every[done:count]]
        jobs = [
            runner.Job(named[name], data[side, seed], seed, side, "" if name == named[name].name else name)
            for name, side, seed in cells
        ]
        _check_shapes(jobs)
        trained = runner.train(
            jobs,
            steps=steps,
            runs=runs,
            evaluation=asked,
            progress=progress,
            options=options or runner.TrainingOptions(),
            **changes,
        )
        for (name, side, _), run in zip(cells, trained):
            read.setdefault((name, side), []).append(run)
        found.judge(read, level, beta, count)
        done = count
        if not found.open:
            break
    return found.result(vary, len(every), os.fspath(runs))


class _Found:
    """What is decided, and what is still open: comparisons of an algorithm and a variant."""

    def __init__(self, sides: Sequence[_Side], named: Mapping[str, TrainedAlgorithm], rules: Rules) -> None:
        self.control, *self.variants = sides
        self.rules = rules
        self.open = [(name, side) for name in named for side in self.variants]
        self.algorithms = list(named)
        self.comparisons: dict[tuple[str, str], Comparison] = {}
        self.diverged: dict[tuple[str, str], int] = {}
        self.looks: list[int] = []
        self.unit, self.starts = "", 0

    @property
    def open_cells(self) -> list[tuple[str, _Side]]:
        """What has to be trained: of every algorithm with an open comparison, the control and the open variants."""
        algorithms = dict.fromkeys(name for name, _ in self.open)
        return [(name, self.control) for name in algorithms] + self.open

    @property
    def open_sides(self) -> list[_Side]:
        return list({side.name: side for _, side in self.open_cells}.values())

    def judge(self, runs: Mapping[tuple[str, str], Sequence[StoredRun]], level: float, beta: float, count: int) -> None:
        """Judge what is open; what has a verdict, or is futile, is closed and keeps it."""
        first = next(iter(runs.values()))[0]
        scores = {
            key: scores_of(runs[key], first.references) for key in ((name, side.name) for name, side in self.open_cells)
        }
        self.diverged |= {key: item.diverged for key, item in scores.items()}
        self.unit, self.starts = unit_of(first.references), len(next(iter(scores.values())).starts)
        pairs = {
            (name, side.name): Pair(scores[name, self.control.name].values, scores[name, side.name].values)
            for name, side in self.open
        }
        for key, item in judge_with_pooled(pairs, self.rules, level, beta).items():
            decided = self.comparisons.get(key)
            # The pooled mean needs all algorithms: it keeps what it said when the last of them was still open.
            whole = key[0] != POOLED or sum(variant == key[1] for _, variant in pairs) == len(self.algorithms)
            if whole and (decided is None or decided.verdict == "undecided"):
                self.comparisons[key] = item
        said = {(name, side): self.comparisons[name, side.name] for name, side in self.open}
        self.open = [key for key, item in said.items() if item.verdict == "undecided" and not item.futile]
        self.looks.append(count)

    def result(self, vary: Vary, planned: int, folder: str) -> TrialResult:
        """Return what was found, algorithms in the order given and the pooled mean last."""
        names = [*self.algorithms, POOLED]
        ordered = {
            (name, side.name): self.comparisons[name, side.name]
            for name in names
            for side in self.variants
            if (name, side.name) in self.comparisons
        }
        return TrialResult(
            notes_on_divergence(ordered, self.control.name, self.diverged),
            self.control.name,
            tuple(side.name for side in self.variants),
            self.rules,
            vary,
            self.unit,
            self.starts,
            self.diverged,
            planned,
            tuple(self.looks),
            folder,
        )


def _named_algorithms(given: Any) -> dict[str, TrainedAlgorithm]:
    """Return algorithms by what they are called in the result."""
    if isinstance(given, Mapping):
        named = {name: checked_algorithm(item) for name, item in given.items()}
    else:
        listed = [given] if isinstance(given, str) or not isinstance(given, Sequence) else list(given)
        made = [checked_algorithm(item) for item in listed]
        names = [str(item.name) for item in made]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ConfigError(
                f"{min(twice)} is given twice; name its settings: algorithms={{'first': ..., 'second': ...}}"
            )
        named = dict(zip(names, made))
    if not named or POOLED in named:
        raise ConfigError(f"algorithms must be one at least, and none of them called {POOLED!r}")
    return named


def _seeds(given: int | Sequence[int]) -> list[int]:
    seeds = list(range(given)) if isinstance(given, int) and not isinstance(given, bool) else list(given)  # type: ignore[arg-type]
    if not seeds or len(set(seeds)) < len(seeds):
        raise ConfigError(f"seeds={given!r} must be a number above 0, or seeds of which none occurs twice")
    return [check_seed(seed) for seed in seeds]


def _looks(total: int, every: int | None, rules: Rules, comparisons: int) -> list[int]:
    """Return the numbers of seeds after which to look; those too early for any verdict, and to give up, are left out."""
    if every is None:
        return [total]
    if every < 1:
        raise ConfigError(f"look_every={every} must be at least 1, or None to look once")
    if every > total:
        raise ConfigError(
            f"look_every={every} is more than the {total} seeds; give more seeds, or look once without it"
        )
    looks = [*range(every, total, every), total]
    levels = zip(levels_of_looks(looks, rules.alpha, comparisons), _betas(looks, rules))
    return [count for count, found in zip(looks, levels) if any(level > 0 for level in found) or count == total]


def _betas(looks: Sequence[int], rules: Rules) -> tuple[float, ...]:
    """Return the probability with which each look may give up what is worth finding; the last one has nothing to give up."""
    if rules.futility is None or len(looks) == 1:
        return (0.0,) * len(looks)
    return (*levels_of_looks(looks, 1 - rules.power)[:-1], 0.0)


# ---------------------------------------------------------------- sides


def _sides(before: Source, after: Source | Mapping[str, Source], vary: Vary) -> list[_Side]:
    """Return the control and the variants, each with a name of its own."""
    if vary not in ("training", "data"):
        raise ConfigError(
            f"vary={vary!r} is not one of training, data; tasks vary in compare_runs, on runs of several tasks"
        )
    control = _side(before, "", vary)
    if isinstance(after, Mapping):
        variants = [_side(source, name, vary) for name, source in after.items()]
    else:
        variants = [_side(after, "", vary)]
        if variants[0].name == control.name:
            variants = [replace(variants[0], name=f"{control.name} (after)")]
            control = replace(control, name=f"{control.name} (before)")
    names = [side.name for side in (control, *variants)]
    if not variants or len(set(names)) < len(names):
        raise ConfigError(f"the sides must have names of their own, one variant at least; they are {', '.join(names)}")
    if vary == "data" and not any(side.varies for side in (control, *variants)):
        raise ConfigError(
            "vary='data' needs data that depends on a seed: a Recipe with a transform that has one, or a callable of the seed; "
            "for fixed datasets use vary='training'"
        )
    return [control, *variants]


def _side(given: Source, name: str, vary: Vary) -> _Side:
    if isinstance(given, Recipe):
        return _side_of_recipe(given, name, vary)
    if callable(given) and not isinstance(given, Dataset):
        if vary != "data":
            raise ConfigError("a side that is a callable makes data for each seed: that is vary='data'")
        return _Side(name or _made(given, 0, "a side").name, given, True)
    if not isinstance(given, Dataset | str | os.PathLike):
        raise ConfigError(
            f"{given!r} is no side of a trial; give a Dataset, a Recipe, what assay.load takes, or a callable of the seed"
        )
    dataset = given if isinstance(given, Dataset) else load(given)
    return _Side(name or dataset.name, lambda seed: dataset, False)


def _side_of_recipe(recipe: Recipe, name: str, vary: Vary) -> _Side:
    """Return the side of a recipe; its source is loaded once where it does not depend on the seed."""
    of_source = "seed" in (recipe.options or {})
    varies = vary == "data" and (of_source or any(_has_seed(item) for item in recipe.transforms))
    source = load(recipe.source, **(recipe.options or {}))
    if not varies:
        dataset = recipe.apply(source)
        return _Side(name or dataset.name, lambda seed: dataset, False)

    def make(seed: int) -> Dataset:
        moved = [replace(item, seed=item.seed + seed) if _has_seed(item) else item for item in recipe.transforms]  # type: ignore[attr-defined, type-var]
        options = dict(recipe.options or {})
        start = load(recipe.source, **{**options, "seed": options["seed"] + seed}) if of_source else source
        return replace(recipe, transforms=tuple(moved)).apply(start)

    return _Side(name or make(0).name, make, True)


def _has_seed(transform: Any) -> bool:
    return any(item.name == "seed" for item in fields(transform))


def _check(sides: Sequence[_Side], evaluation: EvaluatedHow, seed: int) -> None:
    """Refuse sides that cannot be compared, before anything is trained."""
    control = sides[0].dataset(seed)
    where = evaluation.environment_of(control.info)
    if where is None:
        raise ConfigError(_without_environment(sides[0].name))
    for side in sides[1:]:
        dataset = side.dataset(seed)
        if dataset.fingerprint == control.fingerprint:
            raise ConfigError(f"{side.name} holds the same data as {sides[0].name}: there is no change to try")
        other = evaluation.environment_of(dataset.info)
        if other is None:
            raise ConfigError(_without_environment(side.name))
        if other != where:
            raise ConfigError(
                f"{side.name} is evaluated in {other}, and {sides[0].name} in {where}; name one for both by "
                "Evaluation(environment=...) (`assay trial`: --environment)"
            )


def _without_environment(name: str) -> str:
    return (
        f"{name} does not say which environment it comes from; name it by Evaluation(environment=...) (`assay trial`: "
        "--environment). A trial compares what policies earn there"
    )


def _check_shapes(jobs: Sequence[Any]) -> None:
    """Refuse data from which an algorithm learns policies that see or do something else than the control's."""
    first: dict[str, Any] = {}
    for job in jobs:
        control = first.setdefault(job.name or job.algorithm.name, job)
        for what, one, other in (
            ("observations", _seen(job.shapes), _seen(control.shapes)),
            ("actions", _done(job.shapes), _done(control.shapes)),
        ):
            if one != other:
                raise ConfigError(
                    f"the {what} of {job.variant} and of {control.variant} differ: {one}, and {other}; policies of both sides "
                    "are evaluated in one environment"
                )


def _seen(shapes: Any) -> str:
    """Say what a policy sees."""
    return ", ".join(" ".join(filter(None, (part.name, part.kind, str(part.shape)))) for part in shapes.parts)


def _done(shapes: Any) -> str:
    """Say what a policy does."""
    return f"{shapes.action_size} {'categories' if shapes.discrete_actions else 'numbers'}"


def _made(make: Callable[[int], Any], seed: int, name: str) -> Dataset:
    made = make(seed)
    if not isinstance(made, Dataset):
        raise ConfigError(f"{name}: its callable gave {made!r} for seed {seed}; it has to return a Dataset")
    return made
