"""The command that trains behaviour policies to collect data with."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

from assay.cli.application import arguments, command
from assay.cli.console import out, progress_bar
from assay.cli.options import OptionalOutput, Settings, configured
from assay.datasets.errors import ConfigError
from assay.datasets.registry import check_seed

if TYPE_CHECKING:
    from assay.baselines.behaviour.interaction import Checkpoint
    from assay.baselines.behaviour.random_search import Iterate
    from assay.datasets.collection.network_policy import NetworkPolicy
    from assay.datasets.collection.policies import LinearPolicy

__all__: list[str] = []


@command("datasets", "train-policy")
def train_policy(
    environment: Annotated[Positional[str], arg(metavar="ENVIRONMENT")],
    *,
    algorithm: Literal["ars", "sac", "dqn"] = "ars",
    set: Settings = [],  # noqa: B006
    output: OptionalOutput = None,
    steps: int = 500_000,
    target_return: float | None = None,
    seed: int = 0,
    workers: int | None = None,
    replay: Path | None = None,
    checkpoints: Path | None = None,
) -> None:
    """Train a behaviour policy to collect data with.

    Example: assay datasets train-policy Hopper-v5 --steps 500000 -o hopper-policy.json

    Example: assay datasets train-policy HalfCheetah-v5 --algorithm sac --steps 100000 -o actor.safetensors

    Example: assay datasets train-policy CartPole-v1 --algorithm dqn --set discount=0.95 --steps 20000 --replay replay

    Args:
        environment: Gymnasium id.
        algorithm: Augmented random search of a linear policy (ars), soft actor-critic for continuous actions (sac), or
            deep Q-learning for discrete ones (dqn).
        set: Change a setting of the algorithm; may be given several times.
        output: File to write: the best policy found, with how it was trained. Default policy.json, or actor.safetensors.
        steps: Environment steps to spend.
        target_return: Stop when the mean evaluation return reaches it.
        seed: Of the training.
        workers: Processes of the random search; default one per core. The others train on one thread.
        replay: Folder for every step of the training, as a dataset (sac and dqn).
        checkpoints: Folder for every evaluated policy, written as the training goes on (sac and dqn).
    """
    from assay.datasets.collection.policy_file import write_policy_file

    check_seed(seed)
    best: Iterate | Checkpoint
    policy: LinearPolicy | NetworkPolicy
    if algorithm == "ars":
        if replay is not None or checkpoints is not None:
            raise ConfigError("a random search keeps no replay and no checkpoints; use --algorithm sac or dqn")
        output = output or Path("policy.json")
        best, policy, training = train_linear(environment, set, seed, steps, target_return, workers)
    else:
        output = output or Path("actor.safetensors")
        best, policy, training = train_network(
            environment, algorithm, set, seed, steps, target_return, replay, checkpoints
        )
    training |= {"command": shlex.join(["assay", *arguments]), "versions": policy_versions()}
    write_policy_file(output, environment, policy, training)
    out.print(f"best mean return {best.mean_return:.1f}, reached after {best.steps:,} steps")
    collecting = f"assay datasets collect {shlex.quote(str(output))} -o FOLDER"
    out.print(f"written to {output}; `{collecting}` collects from it", soft_wrap=True)


def train_linear(
    environment: str, changes: list[str], seed: int, steps: int, target_return: float | None, workers: int | None
) -> tuple[Iterate, LinearPolicy, dict[str, Any]]:
    """Train by random search; return the best iterate, its policy and how it was trained."""
    from assay.baselines.behaviour.random_search import SETTINGS, RandomSearchConfig, random_search

    config = configured(SETTINGS.get(environment, RandomSearchConfig()), changes)
    with progress_bar(f"training on {environment}") as draw:
        result = random_search(
            environment,
            config,
            seed=seed,
            steps=steps,
            target_return=target_return,
            workers=workers,
            progress=lambda iterate: draw(min(iterate.steps, steps), steps),
        )
    best = result.best
    training = {
        "method": "augmented random search",
        "settings": asdict(result.config),
        "seed": seed,
        "iteration": best.iteration,
        "steps": best.steps,
        "evaluation_returns": best.returns.tolist(),
    }
    return best, best.policy, training


def train_network(
    environment: str,
    algorithm: Literal["sac", "dqn"],
    changes: list[str],
    seed: int,
    steps: int,
    target_return: float | None,
    replay: Path | None,
    checkpoints: Path | None,
) -> tuple[Checkpoint, NetworkPolicy, dict[str, Any]]:
    """Train by SAC or DQN; return the best checkpoint, its policy and how it was trained."""
    from assay.baselines.behaviour.checkpoints import learning_curve, read_checkpoints, write_checkpoint
    from assay.baselines.behaviour.dqn import DQNConfig, train_dqn
    from assay.baselines.behaviour.sac import SACConfig, train_sac
    from assay.datasets.loading import save

    config = configured(SACConfig() if algorithm == "sac" else DQNConfig(), changes)
    settings = json.loads(json.dumps(asdict(config)))
    training: dict[str, Any] = {"algorithm": algorithm.upper(), "settings": settings, "seed": seed}
    if checkpoints is not None and checkpoints.exists():
        read_checkpoints(checkpoints, training)  # raises where they are of another run
    if replay is not None and replay.exists():
        raise ConfigError(f"{replay} exists already; choose another folder for the replay")
    title = f"training on {environment}"
    with progress_bar(title) as draw:

        def report(done: int, checkpoint: Checkpoint | None) -> None:
            draw(done, steps)
            if checkpoint is not None and checkpoints is not None:
                write_checkpoint(checkpoints, environment, checkpoint, training)

        options: dict[str, Any] = {"seed": seed, "steps": steps, "target_return": target_return, "progress": report}
        if isinstance(config, SACConfig):
            made = train_sac(environment, config, **options)
        else:
            made = train_dqn(environment, config, **options)
    if replay is not None:
        save(made.replay, replay)
        out.print(f"{made.replay.total_steps:,} steps of training written to {replay}", soft_wrap=True)
    best = made.best
    training |= {
        "steps": best.steps,
        "evaluation_returns": best.returns.tolist(),
        "learning_curve": learning_curve(made.checkpoints),
    }
    return best, best.policy, training


def policy_versions() -> dict[str, str]:
    """Return the versions that decide what a training comes to."""
    from importlib.metadata import version

    import assay

    return {"assay": assay.__version__} | {name: version(name) for name in ("gymnasium", "mujoco", "numpy", "torch")}
