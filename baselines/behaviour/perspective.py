"""Make the data of the Dataset Perspective study: online DQN trainings, and five datasets of each (Schweighofer et al. 2022, arXiv 2111.04714).

``python -m assay.baselines.behaviour.perspective cartpole`` trains the study's online runs of one environment as one population
and writes, of every run,

::

    runs/perspective/cartpole/returns.json            greedy returns of the experts, learning curves, settings
    runs/perspective/cartpole/run0/expert.safetensors the expert, a policy file
    runs/perspective/cartpole/run0/replay             every step of the training
    runs/perspective/cartpole/run0/random             uniform actions
    runs/perspective/cartpole/run0/expert             the expert, greedy
    runs/perspective/cartpole/run0/mixed              the first 80 % of random and 20 % of expert
    runs/perspective/cartpole/run0/noisy              the expert with a uniform action at a probability of 0.2

datasets of as many steps as the training had, which a suite names as its sources by path. A run that is there is not trained
again. The scores of all datasets of a run have the random policy at 0 and its expert at 100. ``--table`` prints the experts'
returns as a table of Markdown. ``--budget small`` makes the two shorter runs of fewer environments that the suite's budget
of that name trains on.

The study takes the policy that the training ends with as its expert, good or not. Here the checkpoint is taken that earns most
when the best few are played again on fresh episodes, and it is measured on 100 others.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from assay.baselines.behaviour.checkpoints import learning_curve
from assay.baselines.behaviour.dqn import DQNConfig, train_dqns
from assay.baselines.behaviour.interaction import Checkpoint, OnlineTraining
from assay.baselines.behaviour.train_actors import nearest
from assay.baselines.behaviour.train_policies import MEASUREMENT_SEEDS, summary
from assay.datasets.atomic import atomic_write
from assay.datasets.collection.policies import UniformPolicy
from assay.datasets.collection.policy_file import write_policy_file
from assay.datasets.collection.policy_returns import episode_returns
from assay.datasets.collection.schemes import MIXED_SHARES, NOISY_EPSILON
from assay.datasets.dataset import Dataset, concatenate
from assay.datasets.environments.pool import EnvironmentPool
from assay.datasets.errors import AssayError, ConfigError, UnknownNameError
from assay.datasets.formats import writer_named
from assay.datasets.info import ReferenceScores
from assay.datasets.loading import collect_entry, collect_policy

__all__ = ["PLANS", "SMALL_PLANS", "PerspectivePlan", "make_perspective_data", "run_seed"]

EVALUATIONS = 20
"""Evenly spaced checkpoints of a training, of which the expert is one; the study has 500."""

Report = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class PerspectivePlan:
    """How the data of one environment is made.

    Parameters
    ----------
    environment_id
        What is stepped.
    config
        Settings of the trainings.
    steps
        Of each training, and of each dataset.
    changed
        What differs from the published settings, and why; empty where nothing does.
    runs
        Online runs, trained together.
    """

    environment_id: str
    config: DQNConfig
    steps: int
    changed: str = ""
    runs: int = 5


def _published(environment_id: str, discount: float, steps: int, replay_size: int) -> PerspectivePlan:
    return PerspectivePlan(environment_id, DQNConfig(discount=discount, replay_size=replay_size), steps)


GRID = DQNConfig(
    discount=0.9,
    learning_rate=2.5e-4,
    batch_size=128,
    hidden=(256, 256),
    activation="relu",
    target_interval=250,
    exploration_steps=30_000,
    final_exploration=0.1,
)
GRID_CHANGED = (
    "discount 0.9, learning rate 2.5e-4, batches of 128, two ReLU layers, a target copy every 250 updates, "
    "exploration to 0.1 over 30,000 steps"
)

PLANS: dict[str, PerspectivePlan] = {
    # With the published settings (three layers, learning rate 1e-4, batches of 32, discount 0.95, exploration to 0.01) the
    # means of ten episodes went up and down between 80 and 352 from step 10,000 to 60,000 in five runs, but for one of 500.
    "cartpole": PerspectivePlan(
        "CartPole-v1",
        DQNConfig(hidden=(256, 256), learning_rate=1e-3, batch_size=64, final_exploration=0.04),
        100_000,
        "discount 0.99, learning rate 1e-3, batches of 64, two layers, exploration to 0.04",
    ),
    "mountaincar": _published("MountainCar-v0", 0.99, 100_000, 50_000),
    # With the published settings the experts of LavaGap earned 0.63 to 0.73 of 0.95, and one run of Dynamic-Obstacles in five
    # learned nothing: after 1,000 steps of exploration there are few rewards to learn from.
    "lavagap": PerspectivePlan("assay/MiniGrid-LavaGapS7-v0", GRID, 100_000, GRID_CHANGED),
    "dynamic-obstacles": PerspectivePlan("assay/MiniGrid-Dynamic-Obstacles-8x8-v0", GRID, 100_000, GRID_CHANGED),
    "breakout": _published("assay/MinAtar-Breakout-v0", 0.99, 2_000_000, 500_000),
    "space-invaders": _published("assay/MinAtar-SpaceInvaders-v0", 0.99, 2_000_000, 500_000),
}
"""By the catalog's name of the environment."""

SMALL_PLANS: dict[str, PerspectivePlan] = {
    **{body: dataclasses.replace(PLANS[body], steps=50_000, runs=2) for body in ("cartpole", "mountaincar")},
    # Training with three layers of 256 takes about 1.6 times as long as with two of 128. A learning rate of 1e-3 with
    # batches of 64 earned no more: 4.5 and 2.2 after 50,000 steps, against 4.7 and 4.2 (ten episodes each).
    "breakout": dataclasses.replace(
        PLANS["breakout"],
        config=dataclasses.replace(PLANS["breakout"].config, hidden=(128, 128), learning_rate=5e-4),
        steps=50_000,
        changed="two layers of 128, learning rate 5e-4",
        runs=2,
    ),
}
"""Those of the budget `small`, which lasts minutes on a CPU."""


def run_seed(run: int) -> int:
    """Return the seed of an online run, as published.

    Examples
    --------
    >>> [run_seed(run) for run in range(3)]
    [42, 142, 242]
    """
    return 42 + 100 * run


def make_perspective_data(
    body: str,
    folder: Path,
    report: Report,
    *,
    runs: int | None = None,
    steps: int | None = None,
    budget: Literal["paper", "small"] = "paper",
    plan: PerspectivePlan | None = None,
    workers: int | None = None,
) -> Path:
    """Train, choose the experts and collect.

    Parameters
    ----------
    body
        Key of `PLANS`, or for the budget ``"small"`` of `SMALL_PLANS`.
    folder
        Where the body's folder is written.
    report
        Called with one line of progress at a time.
    runs
        Online runs, trained together; default the plan's.
    steps
        Of each training and of each dataset; default the plan's.
    budget
        Whose plan is followed.
    plan
        In place of that one.
    workers
        Processes that collect; default one per core.

    Returns
    -------
    Path
        Of ``returns.json``.

    Raises
    ------
    ConfigError
        If there are datasets of another size in the folder.
    """
    plan = plan or _plans(budget)[body]
    runs, steps = runs or plan.runs, steps or plan.steps
    output = folder / body
    missing = [run for run in range(runs) if not (output / f"run{run}" / "noisy").exists()]
    config = dataclasses.replace(plan.config, evaluation_interval=max(1, steps // EVALUATIONS))
    settings = json.loads(json.dumps(dataclasses.asdict(config)))
    path = output / "returns.json"
    content: dict[str, Any] = {
        "environment_id": plan.environment_id,
        "command": f"python -m assay.baselines.behaviour.perspective {body} --budget {budget} --runs {runs} --steps {steps}",
        "steps": steps,
        "settings": settings,
        "changed": plan.changed,
        "runs": {},
    }
    if path.exists():
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored["steps"] != steps:
            raise ConfigError(
                f"{output} holds datasets of {stored['steps']:,} steps, not {steps:,}: datasets of one study are of one size; "
                "choose another output, or remove that folder"
            )
        content["runs"] = stored["runs"]
    if not missing:
        return path
    began = time.monotonic()

    def progress(done: int, checkpoints: Sequence[Checkpoint] | None) -> None:
        if checkpoints is not None:
            returns = ", ".join(f"{checkpoint.mean_return:.2f}" for checkpoint in checkpoints)
            report(f"{body}: {returns} at {done:,} of {steps:,} steps after {time.monotonic() - began:,.0f} s")

    trainings = train_dqns(
        plan.environment_id, config, seeds=[run_seed(run) for run in missing], steps=steps, progress=progress
    )
    with EnvironmentPool(plan.environment_id, 10, workers=0) as pool:
        random, random_lengths = episode_returns(pool, UniformPolicy(), MEASUREMENT_SEEDS)
        content["random"] = summary(random, random_lengths)
        for run, training in zip(missing, trainings):
            chosen = nearest(pool, list(training.checkpoints), np.inf)
            returns, lengths = episode_returns(pool, chosen.policy, MEASUREMENT_SEEDS)
            measured = summary(returns, lengths)
            report(
                f"{body}/run{run}: expert of {chosen.steps:,} steps earns {returns.mean():.2f} +- {returns.std(ddof=1):.2f}"
            )
            scores = None  # there is no scale where the training has not come above chance
            if returns.mean() > random.mean():
                scores = ReferenceScores(
                    float(random.mean()),
                    float(returns.mean()),
                    "measured here: mean return of uniform random actions and of the best online policy of this run",
                )
            described = {
                "algorithm": "DQN",
                "settings": settings,
                "seed": training.seed,
                "steps": chosen.steps,
                "measured": measured,
                "final_return": training.checkpoints[-1].mean_return,
                "learning_curve": learning_curve(training.checkpoints),
                "command": content["command"],
            }
            expert = output / f"run{run}" / "expert.safetensors"
            write_policy_file(expert, plan.environment_id, chosen.policy, described)
            for name, dataset in datasets_of(body, training, expert, steps, workers).items():
                info = dataclasses.replace(dataset.info, id=f"{body}-run{run}/{name}", reference_scores=scores)
                writer_named("assay").write(dataset.replace(info=info), output / f"run{run}" / name, overwrite=True)
            content["runs"][str(run)] = described
            atomic_write(path, json.dumps(content, indent=1) + "\n")
    return path


def _plans(budget: str) -> dict[str, PerspectivePlan]:
    return SMALL_PLANS if budget == "small" else PLANS


def datasets_of(
    body: str, training: OnlineTraining, expert: Path, steps: int, workers: int | None
) -> dict[str, Dataset]:
    """Return the five datasets of a training, by their scheme; noisy last."""
    few = round(MIXED_SHARES[0] * steps)
    options: dict[str, Any] = {"seed": training.seed, "workers": workers}
    parts = [
        collect_entry(f"{body}/random", steps=few, **options),
        collect_policy(expert, steps=steps - few, **options),
    ]
    return {
        "replay": training.replay,
        "random": collect_entry(f"{body}/random", steps=steps, **options),
        "expert": collect_policy(expert, steps=steps, **options),
        "mixed": concatenate(parts),
        "noisy": collect_policy(expert, steps=steps, noise=NOISY_EPSILON, **options),
    }


def table_of(folder: Path) -> str:
    """Return the greedy returns of the experts that were made below a folder, as a table of Markdown."""
    lines = [
        "| environment | steps | random | experts of the runs, mean return | all runs, 95 % interval | changed |",
        "|---|---|---|---|---|---|",
    ]
    for body in PLANS:
        path = folder / body / "returns.json"
        if not path.exists():
            continue
        content = json.loads(path.read_text(encoding="utf-8"))
        means = np.array([run["measured"]["mean_return"] for _, run in sorted(content["runs"].items())])
        low, high = mean_interval(means) if len(means) > 1 else (np.nan, np.nan)
        earned = ", ".join(f"{mean:.2f}" for mean in means)
        lines.append(
            f"| {body} | {content['steps']:,} | {content['random']['mean_return']:.2f} | {earned} | "
            f"{low:.2f} to {high:.2f} | {content['changed'] or 'nothing'} |"
        )
    return "\n".join(lines)


def mean_interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the 95 % t-interval of the mean of a few numbers.

    Examples
    --------
    >>> [round(end, 2) for end in mean_interval(np.array([1.0, 2.0, 3.0]))]
    [-0.48, 4.48]
    """
    from scipy.stats import t

    half = float(t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return float(values.mean()) - half, float(values.mean()) + half


def main() -> None:
    """Make the data of the environments named on the command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("bodies", nargs="*", metavar="ENVIRONMENT", help=", ".join(PLANS))
    parser.add_argument("--output", type=Path, default=Path("runs/perspective"))
    parser.add_argument(
        "--budget", choices=("paper", "small"), default="paper", help="of suites/dataset-perspective.yaml"
    )
    parser.add_argument(
        "--runs", type=int, help="online runs of each environment, trained together; default the budget's"
    )
    parser.add_argument("--steps", type=int, help="of each training and dataset; default the budget's")
    parser.add_argument("--table", action="store_true", help="print the returns of what is there, and make nothing")
    arguments = parser.parse_args()
    console = Console()
    if arguments.table:
        console.print(table_of(arguments.output), soft_wrap=True, markup=False, highlight=False)
        return
    plans = _plans(arguments.budget)
    for body in arguments.bodies:
        if body not in plans:
            parser.error(str(UnknownNameError("environment", body, plans, f"(budget {arguments.budget})")))
        try:
            made = make_perspective_data(
                body,
                arguments.output,
                console.print,
                runs=arguments.runs,
                steps=arguments.steps,
                budget=arguments.budget,
            )
        except AssayError as error:
            parser.exit(1, f"error: {error}\n")
        console.print(f"written to {made.parent}", soft_wrap=True)


if __name__ == "__main__":
    main()
