"""The command that compares data before and after a change by what is learned from it: trial."""

from __future__ import annotations

import json as json_text
import shlex
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from rich.table import Table
from tyro.conf import Positional, arg

from assay.cli.application import Misuse, command, refuse_options
from assay.cli.console import escape, number, out, training_display
from assay.cli.loading import check_files, load
from assay.cli.options import Settings, Training, TypedOptions, settings
from assay.datasets.errors import ConfigError, FormatError

if TYPE_CHECKING:
    from assay.analysis.trials import Rules, TrialResult
    from assay.baselines import TrainingOptions

__all__: list[str] = []

OF_TRAINING = ("--algorithm", "--set", "--steps", "--seeds", "--look-every", "--episodes", "--environment")
"""Options that say what is trained on datasets, which finished runs and suites say themselves."""
USAGE = "assay trial BEFORE AFTER ...  |  assay trial RUNS|SUITE.yaml --control VARIANT"


@command("trial")
def trial(
    data: Annotated[Positional[list[str]], arg(metavar="BEFORE AFTER|RUNS|SUITE")],
    *,
    algorithm: tuple[str, ...] = ("td3_bc",),
    set: Settings = [],  # noqa: B006
    steps: int = 20_000,
    seeds: int = 16,
    look_every: int | None = None,
    vary: Literal["training", "data", "task"] = "training",
    episodes: int = 10,
    environment: str | None = None,
    margin: float | None = None,
    futility: float | None = None,
    alpha: float = 0.05,
    power: float = 0.8,
    starts: Literal["fixed", "random"] = "fixed",
    multiplicity: Literal["holm", "max_t", "none"] = "holm",
    control: str = "clean",
    budget: str = "small",
    runs: Path | None = None,
    json: Path | None = None,
    figure: Path | None = None,
    overwrite: bool = False,
    fail_on: tuple[Literal["better", "worse", "equivalent", "undecided"], ...] = (),
    training: Training = TypedOptions(),  # noqa: B008  (frozen)
) -> None:
    """Is it better to learn from the data after a change? Trains both sides with the same seeds and gives a verdict.

    The verdict is better, worse, equivalent (with --margin) or undecided, and beside it stands what these seeds could have shown.
    Given again, the same command goes on where it stopped.

    Exit status: 0 the trial ended, whatever its verdict; 1 a verdict is one of --fail-on, or the trial could not be done; 2 the
    command line was not understood.

    Example: assay trial hopper/medium-replay cleaned/ --algorithm iql td3_bc --steps 20000 --seeds 16

    Example: assay trial before.yaml after.yaml --vary data --margin 2 --look-every 4 --fail-on worse

    Example: assay trial runs/quickstart-small --control clean --json verdicts.json

    Args:
        data: Two or more datasets, the first one before the change: catalog names, minari:<id>, paths, or recipes (.yaml). Or
            one folder of finished runs, or one suite, whose variants are compared with --control.
        algorithm: One or several, by name.
        set: Change a field of every algorithm; may be given several times.
        steps: Updates of each training.
        seeds: Training seeds, from 0; below 6 nothing can be shown. Of finished runs, all seeds are taken.
        look_every: Train so many seeds at a time and stop at a verdict; the error rate holds over all looks.
        vary: What the verdict is about: these datasets (training); the recipes, with data of its own for every seed (data); or
            the tasks of finished runs, which are the replicates then (task).
        episodes: Start states that every policy is evaluated from.
        environment: Gymnasium id to evaluate in, instead of the datasets' own.
        margin: Differences below it do not matter, in units of the score.
        futility: The smallest difference worth finding, in units of the score. With --look-every, what does not look like having it is
            given up early, as undecided.
        alpha: Most wrong verdicts, as a share of trials in which nothing changed.
        power: For the smallest difference and the seeds needed.
        starts: Whether start states belong to the task, or are a sample as the seeds are.
        multiplicity: How several comparisons share alpha.
        control: Of finished runs or a suite: the variant that the others are compared with.
        budget: Of a suite.
        runs: Folder for the run folders; default runs/trial, or runs/SUITE-BUDGET.
        json: Also write everything to this file.
        figure: Also draw the differences to this file: .png, .svg or .pdf.
        overwrite: Replace the files of --json and --figure.
        fail_on: One or several verdicts that exit with status 1.
        training: Where and how to train.
    """
    from assay.analysis.trials import Rules

    if episodes < 1:
        raise ConfigError(f"--episodes {episodes}: it has to be 1 or more, because scores are what is compared")
    check_files({"--json": json, "--figure": figure}, overwrite)
    if figure is not None and figure.suffix not in (".png", ".svg", ".pdf"):
        raise ConfigError(f"{figure}: a figure is written as .png, .svg or .pdf")
    rules, options = Rules(alpha, margin, power, "mean", starts, multiplicity, futility), training.checked()
    if futility is not None and (len(data) == 1 or look_every is None):
        raise Misuse("--futility is asked while seeds are added; say after how many to look by --look-every", USAGE)
    for option, values in (("--algorithm", algorithm), ("--fail-on", fail_on)):
        if not values:
            refuse_options([option], "nothing follows it", USAGE)
    if len(data) == 1:
        result = of_runs(Path(data[0]), control, budget, vary, rules, runs, options)
    elif not data or vary == "task":
        raise Misuse("tasks vary in a folder of runs or a suite only" if data else "which data?", USAGE)
    else:
        reason = "of a folder of runs or a suite; of datasets, the first one is what the others are compared with"
        refuse_options(["--control", "--budget"], reason, USAGE)
        from assay.analysis.trials.trial import trial as run_trial
        from assay.baselines import Evaluation, algorithm_named

        sides = [side(name) for name in data]
        names = after_names(data)
        with training_display() as (_, report_training):
            result = run_trial(
                sides[0],
                sides[1] if len(sides) == 2 else dict(zip(names, sides[1:])),
                algorithms=[algorithm_named(name, settings(set)) for name in algorithm],
                steps=steps,
                evaluation=Evaluation(episodes=episodes, environment=environment),
                seeds=seeds,
                look_every=look_every,
                vary=vary,
                margin=margin,
                futility=futility,
                alpha=alpha,
                power=power,
                starts=starts,
                multiplicity=multiplicity,
                runs=runs or Path("runs/trial"),
                progress=report_training,
                options=options,
            )
    print_result(result)
    write(result, json, figure)
    if failing := sorted({*result.verdict.values()} & {*fail_on}):
        out.print(f"exit status 1: a verdict is {', '.join(failing)}")
        raise SystemExit(1)


def side(name: str) -> Any:
    """Load one side: a dataset, or a recipe of a YAML file."""
    from assay.datasets.recipe import Recipe

    return Recipe.from_yaml(name) if name.endswith((".yaml", ".yml")) else load(name)


def after_names(data: list[str]) -> list[str]:
    """Return what the sides after the change are called, as they were typed."""
    names = [Path(name).stem if name.endswith((".yaml", ".yml")) else name for name in data[1:]]
    if len(names) > len({*names}):
        raise ConfigError(f"the sides {', '.join(names)} must have names of their own")
    return names


def of_runs(
    place: Path,
    control: str,
    budget: str,
    vary: Literal["training", "data", "task"],
    rules: Rules,
    runs: Path | None,
    options: TrainingOptions,
) -> TrialResult:
    """Compare the variants of finished runs, or of a suite that is run first."""
    from assay.analysis.trials import compare_runs
    from assay.baselines.runs.reader import run_folders

    if vary == "data":
        raise Misuse("--vary data needs two recipes: finished runs are of one dataset per variant", USAGE)
    if place.suffix in (".yaml", ".yml"):
        refuse_options(OF_TRAINING, "of datasets; a suite says what is trained", USAGE)
        return compare_runs(run_suite_first(place, control, budget, runs, options), control, vary=vary, rules=rules)
    if runs is not None:
        raise Misuse("--runs is where trials are trained; these runs are finished", USAGE)
    try:
        run_folders(place)
    except FormatError as error:
        raise FormatError(f"{error}. To compare two datasets, name both: assay trial {place} AFTER") from error
    of_options = [f"--{item.name.replace('_', '-')}" for item in fields(TypedOptions)]
    refuse_options([*OF_TRAINING, "--budget", *of_options], "these runs are finished, and nothing is trained", USAGE)
    return compare_runs(place, control, vary=vary, rules=rules)


def run_suite_first(file: Path, control: str, budget: str, runs: Path | None, options: TrainingOptions) -> Path:
    """Run a suite, as `assay run` does, and return the folder of its runs."""
    from assay.analysis.trials.finished_runs import check_control
    from assay.baselines import Suite, run_suite
    from assay.metrics import assess

    suite = Suite.from_yaml(file)
    part = suite.part_of(suite.budget(budget))
    check_control([f"{source} {name}".strip() for source in part.sources_by_label for name in part.variants], control)
    if suite.evaluation is None:
        raise ConfigError(f"{file}: evaluation is null, and a trial compares what policies earn")
    with training_display() as (draw, report_training):
        run_suite(
            suite,
            budget,
            runs=suite.folder(budget, runs),
            measure=assess,
            progress=report_training,
            collecting=lambda name, done, total: draw(f"collecting {name}", done, total),
            preparing=lambda variant, done, total: draw(f"preparing {variant}", done, total),
            options=options,
            command=shlex.join(["assay", "run", str(file), "--budget", budget]),
        )
    return suite.folder(budget, runs)


def print_result(result: TrialResult) -> None:
    """Print the verdicts as a table, and below it what they hold for."""
    columns = ("algorithm", "after", "verdict", "difference", "interval", "could have shown", "seeds", "p")
    table = Table(*columns, title=escape(result.question))
    for row in result.table.iter_rows(named=True):
        interval = "none" if row["low"] is None else f"{number(row['low'])} to {number(row['high'])}"
        shown = "nothing" if row["smallest_difference"] is None else number(row["smallest_difference"])
        table.add_row(
            row["algorithm"],
            escape(row["after"]),
            row["verdict"],
            f"{number(row['difference'])} {row['unit']}",
            interval,
            shown,
            str(row["seeds"]),
            number(row["adjusted_p_value"]),
        )
    out.print(table)
    for line in (result.headline.removeprefix(result.question).strip(), *result.sentences):
        out.print(line, markup=False, highlight=False, soft_wrap=True)


def write(result: TrialResult, json: Path | None, figure: Path | None) -> None:
    """Write the result as JSON and as a figure, each whole or not at all."""
    import io

    from assay.datasets.atomic import atomic_write

    if json is not None:
        atomic_write(json, json_text.dumps(result.to_plain(), indent=2) + "\n")
        out.print(f"written to {json}", soft_wrap=True)
    if figure is not None:
        content = io.BytesIO()
        result.plot().savefig(content, format=figure.suffix[1:])
        atomic_write(figure, content.getvalue())
        out.print(f"drawn to {figure}", soft_wrap=True)
