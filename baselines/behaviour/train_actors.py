"""Train, choose and measure the neural behaviour policies that ship with Assay.

``python -m assay.baselines.behaviour.train_actors hopper`` writes ``datasets/collection/policies/hopper-sac-medium.safetensors``
and what else the run of that body reached. For one body it

1. trains by SAC or DQN, keeping a checkpoint now and then under ``--work``. A training whose last checkpoint is there is
   not run again;
2. shortlists checkpoints by their few evaluation episodes, plays the shortlist again on selection seeds as data is
   collected with them (SAC's actions sampled, DQN's greedy), and takes for each level the one that is best (expert) or
   nearest to the level's share of the expert score (simple, medium);
3. measures it on fresh episodes and leaves a level out whose measured score is not in its band.

Levels, bands and seeds are those of the linear policies (`train_policies`). Every file holds the learning curve of the
whole run, the settings, the measured returns, this command and the versions.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

import assay.datasets.collection
from assay.baselines.behaviour.checkpoints import learning_curve, read_checkpoints, write_checkpoint
from assay.baselines.behaviour.dqn import DQNConfig, train_dqn
from assay.baselines.behaviour.interaction import Checkpoint
from assay.baselines.behaviour.sac import SACConfig, train_sac
from assay.baselines.behaviour.train_policies import (
    BANDS,
    FIRST_SELECTION_SEED,
    LEVEL_SCORES,
    MEASUREMENT_SEEDS,
    summary,
)
from assay.datasets.collection.catalog import shipped_policies
from assay.datasets.collection.network_policy import NetworkPolicy
from assay.datasets.collection.policy_file import write_policy_file
from assay.datasets.collection.policy_returns import episode_returns
from assay.datasets.environments.pool import EnvironmentPool

__all__ = ["PLANS", "ActorPlan", "train_actors"]

SHORTLIST = 5
SELECTION_SEEDS = range(FIRST_SELECTION_SEED, FIRST_SELECTION_SEED + 30)
Report = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class ActorPlan:
    """How the actors of one body are made.

    Parameters
    ----------
    environment_id
        What they act in.
    config
        Settings of SAC or DQN, which decide the algorithm too.
    steps
        Environment steps of the training.
    seed
        Of the training.
    levels
        Those that are looked for among its checkpoints.
    """

    environment_id: str
    config: SACConfig | DQNConfig
    steps: int
    seed: int = 0
    levels: tuple[str, ...] = ("medium", "expert")

    @property
    def algorithm(self) -> str:
        """``"sac"`` or ``"dqn"``."""
        return "sac" if isinstance(self.config, SACConfig) else "dqn"


PLANS: dict[str, ActorPlan] = {
    "hopper": ActorPlan("Hopper-v5", SACConfig(), 85_000, levels=("simple", "medium", "expert")),
    "halfcheetah": ActorPlan("HalfCheetah-v5", SACConfig(), 60_000),
    # Two layers, so that the file stays small. With the Dataset Perspective paper's discount of 0.95 and learning rate of
    # 1e-4 no checkpoint of 30,000 steps keeps the pole up for 500.
    "cartpole": ActorPlan(
        "CartPole-v1",
        DQNConfig(hidden=(256, 256), learning_rate=1e-3, batch_size=64, final_exploration=0.04),
        30_000,
    ),
}


def train_actors(body: str, work: Path, output: Path, report: Report) -> list[Path]:
    """Write the files of one body.

    Parameters
    ----------
    body
        Key of `PLANS`.
    work
        Folder where checkpoints are kept between two starts of the command.
    output
        Folder of the files.
    report
        Called with one line of progress at a time.

    Returns
    -------
    list of Path
        The files that were written: one for each level that was reached.
    """
    plan = PLANS[body]
    settings = json.loads(json.dumps(dataclasses.asdict(plan.config)))
    run = {"algorithm": plan.algorithm.upper(), "settings": settings, "seed": plan.seed}
    checkpoints = finished_training(plan, work, run, report)
    references = shipped_policies(body)["references"]
    low, high = references["random_return"], references["expert_return"]
    written = []
    with EnvironmentPool(plan.environment_id, 10, workers=0) as pool:
        for level in plan.levels:
            aim = low + (high - low) * LEVEL_SCORES[level] / 100 if level in LEVEL_SCORES else np.inf
            chosen = nearest(pool, checkpoints, aim)
            policy = as_collected(chosen.policy)
            returns, lengths = episode_returns(pool, policy, MEASUREMENT_SEEDS)
            score = 100 * (returns.mean() - low) / (high - low)
            name = f"{body}/{plan.algorithm}-{level}"
            report(f"{name}: {returns.mean():.1f} +- {returns.std(ddof=1):.1f} at {chosen.steps:,}, score {score:.1f}")
            floor, ceiling = BANDS[level]
            if not floor - 1e-9 <= score <= ceiling:
                report(f"{name} is left out: a score between {floor:g} and {ceiling:g} was asked for")
                continue
            training = {
                **run,
                "steps": chosen.steps,
                "episodes": chosen.episodes,
                "measured": summary(returns, lengths) | {"returns": returns.tolist()},
                "learning_curve": learning_curve(checkpoints),
                "command": f"python -m assay.baselines.behaviour.train_actors {body}",
                "versions": {each: version(each) for each in ("gymnasium", "mujoco", "numpy", "torch")},
                "machine": platform.machine(),
            }
            path = output / f"{body}-{plan.algorithm}-{level}.safetensors"
            write_policy_file(path, plan.environment_id, policy, training)
            written.append(path)
    return written


def finished_training(plan: ActorPlan, work: Path, run: Mapping[str, Any], report: Report) -> list[Checkpoint]:
    """Return the checkpoints of a plan's training, which is run unless its last one is there."""
    found = [each for each in read_checkpoints(work, run) if each.steps <= plan.steps]
    if found and found[-1].steps == plan.steps:
        return found
    began = time.monotonic()

    def progress(_: int, checkpoint: Checkpoint | None) -> None:
        if checkpoint is not None:
            write_checkpoint(work, plan.environment_id, checkpoint, run)
            after = f"{time.monotonic() - began:,.0f} s"
            report(f"{plan.environment_id}: {checkpoint.mean_return:.1f} at {checkpoint.steps:,} after {after}")

    options: dict[str, Any] = {"seed": plan.seed, "steps": plan.steps, "progress": progress}
    if isinstance(plan.config, SACConfig):
        return list(train_sac(plan.environment_id, plan.config, **options).checkpoints)
    return list(train_dqn(plan.environment_id, plan.config, **options).checkpoints)


def nearest(pool: EnvironmentPool, checkpoints: list[Checkpoint], aim: float) -> Checkpoint:
    """Return the checkpoint that earns what is nearest to ``aim`` as data is collected; infinity asks for the most."""

    def cost(earned: float) -> float:
        return abs(earned - aim) if np.isfinite(aim) else -earned

    def selected(checkpoint: Checkpoint) -> float:
        return cost(float(episode_returns(pool, as_collected(checkpoint.policy), SELECTION_SEEDS)[0].mean()))

    shortlist = sorted(checkpoints, key=lambda each: (cost(each.mean_return), -each.steps))[:SHORTLIST]
    return min(shortlist, key=selected)


def as_collected(policy: NetworkPolicy) -> NetworkPolicy:
    """Return the policy as its data is collected: a Gaussian is sampled from."""
    return dataclasses.replace(policy, stochastic=policy.head == "tanh_gaussian")


def main() -> None:
    """Train the bodies named on the command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("bodies", nargs="+", choices=sorted(PLANS))
    parser.add_argument("--work", type=Path, default=Path("runs/actors"), help="where checkpoints are kept")
    parser.add_argument("--output", type=Path, default=Path(str(assay.datasets.collection.__path__[0])) / "policies")
    arguments = parser.parse_args()
    console = Console()
    for body in arguments.bodies:
        for path in train_actors(body, arguments.work / body, arguments.output, console.print):
            console.print(f"written to {path}", soft_wrap=True)


if __name__ == "__main__":
    main()
