"""Commands that train and compare policies: train and evaluate."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from rich.table import Table
from tyro.conf import Positional, arg

from assay.baselines.training.options import Precision
from assay.cli.application import command, refuse_options
from assay.cli.console import drawing, escape, number, out, training_display
from assay.cli.loading import load
from assay.cli.options import Loggers, Name, Settings, Training, TypedOptions, settings
from assay.datasets.errors import AssayError, ConfigError
from assay.datasets.registry import check_seed

if TYPE_CHECKING:
    import polars as pl

    from assay.baselines import Run

__all__ = ["check_runs"]


@command("train")
def train(
    name: Name,
    *,
    algorithm: str = "td3_bc",
    set: Settings = [],  # noqa: B006
    seeds: tuple[int, ...] = (0,),
    steps: int = 100_000,
    runs: Path = Path("runs"),
    evaluation: Literal["final", "sparse", "published"] = "final",
    episodes: int | None = None,
    evaluate_every: int | None = None,
    observation_noise: Settings = [],  # noqa: B006
    log: Loggers = [],  # noqa: B006
    training: Training = TypedOptions(),  # noqa: B008  (frozen)
) -> None:
    """Train an algorithm on a dataset, all seeds together.

    Example: assay train hopper/medium-replay --algorithm iql --set expectile=0.9 --seeds 0 1 2 --steps 20000

    Example: assay train hopper/medium --observation-noise scale=0.1 --observation-noise attack=action_difference

    Args:
        name: Catalog name, minari:<id> or path.
        algorithm: By name, such as bc, td3_bc or iql; a wrong name lists those that are near. `--import FILE.py` brings
            your own.
        set: Change a field of the algorithm; may be given several times.
        seeds: Training seeds.
        steps: Updates of each seed.
        runs: Folder for the run folders; finished runs in it are not trained again.
        evaluation: After the last update only, 10 times along the way, or 200 times as published; 10 episodes each.
        episodes: Episodes of each evaluation and seed, instead of 10; 0 trains without an environment.
        evaluate_every: Updates between evaluations on the way, instead of the preset's.
        observation_noise: Evaluate under noise on the observations: scale, distribution, attack, ... of ObservationNoise;
            may be given several times.
        log: Also log to tensorboard or wandb; may be given several times.
        training: Where and how to train.
    """
    from assay.baselines import Evaluation, Job, ObservationNoise, algorithm_named
    from assay.baselines import train as train_jobs
    from assay.baselines.training.logging import logger_named

    if not seeds:
        raise ConfigError("--seeds: name one training seed at least")
    if len({*seeds}) < len(seeds):
        raise ConfigError(f"--seeds {' '.join(map(str, seeds))}: a seed stands there twice")
    if episodes == 0:
        ignored = ["--evaluation", "--evaluate-every", "--observation-noise"]
        refuse_options(ignored, "--episodes 0 trains without an evaluation", "assay train NAME --episodes 0")
    options, chosen = training.checked(), algorithm_named(algorithm, settings(set))
    dataset = load(name)
    given = {"episodes": episodes, "every": evaluate_every}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if observation_noise:
        changes["observation_noise"] = ObservationNoise(**settings(observation_noise, "--observation-noise"))
    asked = None if episodes == 0 else replace(Evaluation.preset(evaluation, steps), **changes)
    with training_display() as (_, report_training):
        finished = train_jobs(
            [Job(chosen, dataset, seed) for seed in seeds],
            steps=steps,
            runs=runs,
            evaluation=asked,
            progress=report_training,
            loggers=[logger_named(item) for item in log],
            options=options,
        )
    print_runs(finished)


@command("evaluate")
def evaluate(
    runs: Annotated[Positional[Path], arg(metavar="RUNS")],
    *,
    dataset: str,
    discount: float = 0.99,
    steps: int = 50_000,
    device: str = "cpu",
    precision: Precision = "highest",
    seed: int = 0,
    save: bool = True,
) -> None:
    """Estimate what finished runs are worth from a dataset alone, without an environment: a ranking, not scores.

    The estimates are kept beside the runs (off_policy.parquet), and reports of runs without returns show them.

    Example: assay evaluate runs/mine --dataset hopper/medium-replay

    Args:
        runs: Folder of runs, or one run folder.
        dataset: Catalog name, minari:<id> or path; its rewards and the first states of its episodes are used.
        discount: Of the estimated values.
        steps: Updates of each run's critic (fitted Q evaluation).
        device: cpu, cuda, cuda:1, ...
        precision: Of matrix products; medium (bfloat16 operands) is nearly twice as fast on recent CPUs, bf16 keeps
            activations in bfloat16 too.
        seed: Of the critics' weights, the batches and the bootstrap.
        save: Keep the estimates beside the runs.
    """
    import polars as pl

    from assay.analysis import load_runs, rank_stability, save_values
    from assay.analysis.off_policy import refuse_other_values
    from assay.baselines import Run, fitted_q_evaluation

    check_seed(seed)
    known = load_runs(runs, where=pl.col("status") == "finished")
    finished = known["path"]
    if not len(finished):
        raise ConfigError(f"{runs} holds no finished run")
    data = load(dataset)
    folder = Path(finished[0]).parent
    if save:
        refuse_other_values(folder, data.fingerprint, discount)
    with drawing() as draw:
        found = fitted_q_evaluation(
            [Run(path) for path in finished],
            data,
            discount=discount,
            steps=steps,
            device=device,
            precision=precision,
            seed=seed,
            progress=lambda done, total: draw("fitted Q evaluation", done, total),
        )
    found = found.drop("label", "variant").join(
        known.select("run", "label", "variant"), on="run", maintain_order="left"
    )
    title = f"Discounted value of the initial states ({discount:g}), from {dataset}"
    table = Table("algorithm", "variant", "seed", "method", "value", "95% interval", title=title)
    for row in found.sort("method", "estimate", descending=[False, True], nulls_last=True).iter_rows(named=True):
        value, interval = "diverged", ""
        if row["estimate"] is not None:
            value, interval = number(row["estimate"]), f"{number(row['low'])} to {number(row['high'])}"
        table.add_row(row["label"], row["variant"], str(row["seed"]), row["method"], value, interval)
    out.print(table)
    print_stability(rank_stability(found))
    if save:
        said = {"dataset": data.name, "fingerprint": data.fingerprint}
        file = save_values(folder, found, **said, discount=discount, updates=steps)
        report = f"assay report {shlex.quote(str(folder))}"
        out.print(f"estimates kept in {file}; `{report}` shows them", soft_wrap=True)


def print_stability(stability: pl.DataFrame) -> None:
    """Print whether the estimates order the algorithms alike from seed to seed, where there is an order."""
    table = Table(
        "variant", "method", "first", "first in seeds", "agreement", "algorithms", "seeds", title="Rankings over seeds"
    )
    for row in stability.filter(stability["candidates"] > 1).iter_rows(named=True):
        share = "" if row["first_share"] is None else f"{row['first_share']:.0%}"
        agreement = "" if row["agreement"] is None else f"{row['agreement']:.2f}"
        counts = str(row["candidates"]), str(row["seeds"])
        table.add_row(row["variant"], row["method"], row["first"], share, agreement, *counts)
    if table.row_count:
        out.print(table)


def print_runs(runs: list[Run]) -> None:
    """Print one line per run, and exit with status 1 if one failed."""
    noises = {str(item.observation_noise) for item in runs if item.observation_noise is not None}
    title = f"Evaluated under {', '.join(sorted(noises))}" if noises else None
    table = Table("run", "algorithm", "variant", "seed", "status", "mean return", "score", title=title)
    for item in runs:
        evaluated = item.status == "finished" and len(item.returns) > 0
        mean = number(float(item.returns.mean())) if evaluated else ""
        score = number(item.score) if evaluated else ""
        called = escape(item.label), escape(item.variant), str(item.job["seed"])
        table.add_row(str(item.folder), *called, item.status, mean, score)
    out.print(table)
    check_runs(runs)


def check_runs(runs: list[Run]) -> None:
    """List the runs that did not finish, and why, and raise if there are any."""
    failed = [item for item in runs if item.status != "finished"]
    if failed:
        table = Table("run", "status", "reason", title="Not finished")
        for item in failed:
            reason = (item.error or "").strip().splitlines() or [""]
            table.add_row(item.folder.name, item.status, escape(reason[-1]))
        out.print(table)
        raise AssayError(f"{len(failed)} of {len(runs)} runs did not finish")
