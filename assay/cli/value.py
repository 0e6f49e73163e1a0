"""The command that estimates what each episode of a dataset is worth: value."""

from __future__ import annotations

import json as json_text
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from assay.cli.application import command
from assay.cli.console import escape, number, out, training_display
from assay.cli.loading import check_free, load
from assay.cli.options import Name, Settings, Training, TypedOptions, settings
from assay.datasets.errors import ConfigError

if TYPE_CHECKING:
    from assay.analysis.values import ValueResult

__all__: list[str] = []

SHOWN = 10  # groups of the least and of the largest value


@command("value")
def value(
    name: Name,
    *,
    algorithm: str = "bc",
    set: Settings = [],  # noqa: B006
    steps: int = 20_000,
    subsets: int = 512,
    by: str = "episode",
    seeds: int = 2,
    seed: int = 0,
    episodes: int = 10,
    environment: str | None = None,
    runs: Path = Path("runs/value"),
    json: Path | None = None,
    overwrite: bool = False,
    training: Training = TypedOptions(),  # noqa: B008  (frozen)
) -> None:
    """What is each episode worth? Trains on random subsets and compares scores with and without it.

    Values are given only where they rank subsets that they have not seen better than returns, lengths and random numbers do.

    Exit status: 0 values are given; 1 they are not, or it could not be done; 2 the command was misused.

    Example: assay value demonstrations/ --algorithm bc --steps 5000 --subsets 512 --json values.json

    Example: assay value demonstrations/ --by tags/operator --subsets 64

    Args:
        name: Catalog name, minari:<id> or path.
        algorithm: By name.
        set: Change a field of the algorithm; may be given several times.
        steps: Updates of each training.
        subsets: Random subsets; a value's standard error is about 2 sd / sqrt(subsets).
        by: Group episodes by this column of the episode table, such as tags/NAME; fewer groups need fewer subsets.
        seeds: Trainings of each subset.
        seed: Of the subsets; the first training seed.
        episodes: Start states that every policy is evaluated from.
        environment: Gymnasium id to evaluate in, instead of the dataset's own.
        runs: Folder for the run folders.
        json: Also write the values and their validation to this file.
        overwrite: Replace the file of --json.
        training: Where and how to train.
    """
    from assay.analysis.values.value import value as value_episodes
    from assay.baselines import Evaluation, algorithm_named

    if episodes < 1:
        raise ConfigError(f"--episodes {episodes}: it has to be 1 or more, because scores are what is compared")
    if json is not None:
        check_free(json, overwrite)
    options = training.checked()
    dataset = load(name)
    with training_display() as (_, report_training):
        result = value_episodes(
            dataset,
            algorithm=algorithm_named(algorithm, settings(set)),
            steps=steps,
            subsets=subsets,
            by=by,
            seeds=seeds,
            seed=seed,
            evaluation=Evaluation(episodes=episodes, environment=environment),
            runs=runs,
            progress=report_training,
            options=options,
        )
    print_values(result)
    if json is not None:
        from assay.datasets.atomic import atomic_write

        atomic_write(json, json_text.dumps(result.to_plain(), indent=2) + "\n")
        out.print(f"written to {json}", soft_wrap=True)
    if not result.validation.passed:
        raise SystemExit(1)


def print_values(result: ValueResult) -> None:
    """Print how far the values can be relied on, and the groups of the least and of the largest value."""
    if result.validation.passed:
        ordered = result.table.sort("value", nulls_last=True)
        ends = [*range(min(SHOWN, len(ordered))), *range(max(SHOWN, len(ordered) - SHOWN), len(ordered))]
        table = Table("group", "episodes", "steps", "mean return", f"value ({result.unit})", "95% interval")
        for row in ordered[ends].iter_rows(named=True):
            interval = "" if row["low"] is None else f"{number(row['low'])} to {number(row['high'])}"
            cells = (
                str(row["episodes"]),
                str(row["steps"]),
                number(row["return_mean"]),
                number(row["value"]),
                interval,
            )
            table.add_row(escape(row["group"]), *cells)
        out.print(table)
    for line in result.sentences:
        out.print(line, markup=False, highlight=False, soft_wrap=True)
