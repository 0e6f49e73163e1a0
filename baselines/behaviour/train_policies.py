"""Train, choose and measure the behaviour policies that ship with Assay.

``python -m assay.baselines.behaviour.train_policies hopper`` writes ``datasets/collection/policies/hopper.json``. For one
body it

1. runs random search with each of the plan's settings and seeds, keeping the iterates along the way. A finished run is
   stored under ``--work`` and read back when the command is started again;
2. shortlists iterates by their few evaluation episodes, plays the shortlist again on selection seeds, and takes for
   each level the one that is best (expert) or nearest to the level's share of the expert score (simple, medium);
3. takes the iterates of the medium policy's own run, from its start up to the medium policy, for the replay mix;
4. rounds every policy as it is shipped and measures it on fresh episodes, with the noise it is collected with.

Seeds of training, evaluation, selection and measurement do not overlap, so that a measured return is not the maximum
over the episodes it was chosen by.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import platform
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

import assay.datasets.collection
from assay.baselines.behaviour.random_search import SETTINGS, Iterate, RandomSearchConfig, random_search
from assay.datasets.atomic import atomic_write
from assay.datasets.collection.catalog import shipped_policies
from assay.datasets.collection.policies import LinearPolicy, UniformPolicy
from assay.datasets.collection.policy_returns import episode_returns
from assay.datasets.environments.pool import EnvironmentPool

__all__ = ["PLANS", "SearchPlan", "SearchRun", "train_policies"]

FIRST_SELECTION_SEED = 3_500_000_000
MEASUREMENT_SEEDS = range(4_000_000_000, 4_000_000_100)
SHORTLIST = 8
LEVEL_SCORES = {"simple": 100 / 6, "medium": 100 / 3}
"""Normalized score that each level aims at; the expert aims as high as it gets."""
BANDS = {"simple": (12.0, 22.0), "medium": (28.0, 40.0), "expert": (100.0, np.inf)}
"""Normalized scores between which a measured policy may carry the name of its level; otherwise the level is absent."""
REPLAY_ITERATES = 10
D4RL = "D4RL d4rl/infos.py, v2 of the Gym-MuJoCo tasks (Fu et al. 2020, arXiv 2004.07219)"

Report = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class SearchRun:
    """One random search: its settings, seed and length."""

    config: RandomSearchConfig
    seed: int
    steps: int


@dataclasses.dataclass(frozen=True)
class SearchPlan:
    """How the policies of one body are made.

    Parameters
    ----------
    environment_id
        What they act in.
    runs
        Searches whose iterates are candidates.
    noise
        Action noise that each level, and "replay" for the iterates, is collected and so measured with.
    references
        D4RL's random and expert return; None measures them here (uniform actions, and the shipped expert).
    selection_episodes
        Episodes by which a candidate is selected from the shortlist.
    absent
        Why a level that no run reached is missing.
    policies_of
        Body whose shipped policies are measured in this environment too, instead of training any: the same task with
        other rewards. The levels are those of that body.
    """

    environment_id: str
    runs: tuple[SearchRun, ...]
    noise: dict[str, float]
    references: tuple[float, float] | None = None
    selection_episodes: int = 40
    absent: str = "no policy of the training runs reached it"
    policies_of: str | None = None


def runs_of(
    environment_id: str, seeds: Sequence[int], steps: int, noise: float, **changes: Any
) -> tuple[SearchRun, ...]:
    """Return one run for each seed with the environment's settings, evaluated with the noise of collection."""
    config = dataclasses.replace(SETTINGS[environment_id], evaluation_noise=noise, **changes)
    return tuple(SearchRun(config, seed, steps) for seed in seeds)


NOISE = {"simple": 0.1, "medium": 0.1, "expert": 0.05, "replay": 0.3}

PLANS: dict[str, SearchPlan] = {
    "hopper": SearchPlan(
        "Hopper-v5",
        runs_of("Hopper-v5", [2], 1_200_000, 0.05, evaluation_interval=2),
        noise=NOISE,
        references=(-20.272305, 3234.3),
    ),
    "halfcheetah": SearchPlan(
        "HalfCheetah-v5",
        runs_of("HalfCheetah-v5", [0, 1], 2_500_000, 0.1, evaluation_interval=1),
        noise=NOISE | {"medium": 0.05, "replay": 0.2},  # with noise 0.1 its gaits lose a quarter of their return
        references=(-280.178953, 12135.0),
        absent="linear policies do not reach it",
    ),
    "walker2d": SearchPlan(
        "Walker2d-v5",
        # Fewer directions than the paper's 40, whose two seeds stayed below 500 in 1.5 million steps.
        runs_of(
            "Walker2d-v5",
            [0],
            2_600_000,
            0.05,
            directions=16,
            elite=8,
            step_size=0.02,
            evaluation_interval=5,
            evaluation_episodes=6,
        ),
        noise=NOISE | {"simple": 0.05, "medium": 0.05, "replay": 0.2},
        references=(1.629008, 4592.3),
        absent="the linear policies trained here do not reach it",
    ),
    "pendulum": SearchPlan(
        "Pendulum-v1",
        runs_of("Pendulum-v1", [0], 3_000_000, 0.1),
        noise=NOISE,
        selection_episodes=300,  # the return depends much on how the pendulum happens to hang at first
    ),
    "pendulum-sparse": SearchPlan("assay/SparsePendulum-v0", (), noise=NOISE, policies_of="pendulum"),
    "cartpole": SearchPlan(
        "CartPole-v1",
        # One direction at a time, or the first update already balances the pole and there is no medium.
        runs_of(
            "CartPole-v1",
            [0],
            80_000,
            0.05,
            directions=1,
            elite=1,
            step_size=0.005,
            perturbation=0.02,
            evaluation_episodes=16,
        ),
        noise=NOISE | {"expert": 0.0},
    ),
}


@dataclasses.dataclass(frozen=True)
class PolicyCandidate:
    """An iterate as it would be shipped, and where it came from."""

    run: int
    iterate: Iterate

    @property
    def policy(self) -> LinearPolicy:
        """The rounded policy."""
        return self.iterate.policy.rounded()


def train_policies(body: str, work: Path, workers: int | None, report: Report) -> dict[str, Any]:
    """Return the content of one body's file.

    Parameters
    ----------
    body
        Key of `PLANS`.
    work
        Folder where finished runs are kept between two starts of the command.
    workers
        Worker processes, as in `EnvironmentPool`; no number depends on it.
    report
        Called with one line of progress at a time.

    Returns
    -------
    dict
        JSON-ready; `assay.datasets.collection.catalog` reads it.
    """
    plan = PLANS[body]
    if plan.policies_of is not None:
        return measured_again(body, plan, workers, report)
    candidates: list[PolicyCandidate] = []
    for number, run in enumerate(plan.runs):
        candidates += [
            PolicyCandidate(number, iterate)
            for iterate in finished_run(plan.environment_id, run, work, workers, report)
        ]
    selection_seeds = range(FIRST_SELECTION_SEED, FIRST_SELECTION_SEED + plan.selection_episodes)
    with EnvironmentPool(plan.environment_id, 20, workers) as pool:

        def selected(candidate: PolicyCandidate, level: str) -> float:
            return float(episode_returns(pool, candidate.policy, selection_seeds, plan.noise[level])[0].mean())

        def nearest(level: str, aim: float) -> PolicyCandidate:
            return min(shortlist(candidates, aim), key=lambda candidate: abs(selected(candidate, level) - aim))

        expert = max(shortlist(candidates, np.inf), key=lambda candidate: selected(candidate, "expert"))
        levels = {"expert": measured_entry(pool, plan, expert, plan.noise["expert"])}
        if plan.references is None:
            random_returns, _ = episode_returns(pool, UniformPolicy(), MEASUREMENT_SEEDS)
            low, high = float(random_returns.mean()), levels["expert"]["measured"]["mean_return"]
            source = "measured here: mean return of uniform random actions and of the shipped expert"
        else:
            (low, high), source = plan.references, D4RL
        chosen: dict[str, PolicyCandidate] = {}
        for level, score in LEVEL_SCORES.items():
            chosen[level] = nearest(level, low + (high - low) * score / 100)
            levels[level] = measured_entry(pool, plan, chosen[level], plan.noise[level])
        absent = {}
        for level, entry in list(levels.items()):
            mean = entry["measured"]["mean_return"]
            score = 100 * (mean - low) / (high - low)
            report(f"{body}/{level}: {mean:.1f} +- {entry['measured']['std_return']:.1f}, score {score:.1f}")
            floor, ceiling = BANDS[level]
            if not floor - 1e-9 <= score <= ceiling:
                absent[level] = f"{plan.absent}: the nearest has a score of {score:.1f}"
                del levels[level]
        replay = replay_iterates(candidates, chosen["medium"], low) if "medium" in levels else []
        iterates = [measured_entry(pool, plan, each, plan.noise["replay"], brief=True) for each in replay]
        for entry in iterates:
            report(f"{body}/iterate {entry['training']['iteration']}: {entry['measured']['mean_return']:.1f}")
    return content_of(body, plan, (low, high, source), levels, absent, iterates)


def content_of(
    body: str,
    plan: SearchPlan,
    references: tuple[float, float, str],
    levels: Mapping[str, Any],
    absent: Mapping[str, str],
    iterates: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Return the content of a body's file."""
    low, high, source = references
    return {
        "schema": 1,
        "body": body,
        "environment_id": plan.environment_id,
        "command": f"python -m assay.baselines.behaviour.train_policies {body}",
        "versions": {name: version(name) for name in ("gymnasium", "mujoco", "numpy")},
        "machine": platform.machine(),
        "references": {"random_return": low, "expert_return": high, "source": source},
        "levels": {level: levels[level] for level in ("simple", "medium", "expert") if level in levels},
        "absent": absent,
        "iterates": iterates,
    }


def measured_again(body: str, plan: SearchPlan, workers: int | None, report: Report) -> dict[str, Any]:
    """Return the content of a body that has another body's policies, measured in its own environment."""
    shipped = shipped_policies(str(plan.policies_of))
    with EnvironmentPool(plan.environment_id, 20, workers) as pool:

        def measured(entry: Mapping[str, Any], brief: bool) -> dict[str, Any]:
            policy = LinearPolicy.from_dict(entry["policy"])
            returns, lengths = episode_returns(pool, policy, MEASUREMENT_SEEDS, entry["noise"])
            report(f"{body}: {returns.mean():.1f} +- {returns.std(ddof=1):.1f}")
            return {**entry, "measured": summary(returns, lengths) | ({} if brief else {"returns": returns.tolist()})}

        levels = {level: measured(entry, brief=False) for level, entry in shipped["levels"].items()}
        iterates = [measured(entry, brief=True) for entry in shipped["iterates"]]
        random_returns, _ = episode_returns(pool, UniformPolicy(), MEASUREMENT_SEEDS)
    source = "measured here: mean return of uniform random actions and of the shipped expert"
    references = (float(random_returns.mean()), levels["expert"]["measured"]["mean_return"], source)
    return content_of(body, plan, references, levels, shipped["absent"], iterates)


def finished_run(
    environment_id: str, run: SearchRun, work: Path, workers: int | None, report: Report
) -> tuple[Iterate, ...]:
    """Return the iterates of a run, read from ``work`` where it was finished before."""
    settings = dataclasses.asdict(run.config)
    identity = {"environment_id": environment_id, "settings": settings, "seed": run.seed, "steps": run.steps}
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    path = work / f"{environment_id}-{digest[:16]}.json"
    if path.exists():
        return tuple(
            Iterate(each["iteration"], each["steps"], LinearPolicy.from_dict(each["policy"]), np.array(each["returns"]))
            for each in json.loads(path.read_text())["iterates"]
        )

    def progress(iterate: Iterate) -> None:
        report(f"{environment_id} seed {run.seed}, step {iterate.steps:,}: {iterate.mean_return:.1f}")

    iterates = random_search(
        environment_id, run.config, seed=run.seed, steps=run.steps, workers=workers, progress=progress
    ).iterates
    content = [{**dataclasses.asdict(each), "policy": each.policy.to_dict()} for each in iterates]
    for each in content:
        each["returns"] = each["returns"].tolist()
    atomic_write(path, json.dumps({"identity": identity, "iterates": content}))
    return iterates


def shortlist(candidates: Sequence[PolicyCandidate], aim: float, count: int = SHORTLIST) -> list[PolicyCandidate]:
    """Return the candidates whose evaluated return is nearest to ``aim``; infinity asks for the largest."""

    def cost(candidate: PolicyCandidate) -> tuple[float, int]:
        mean = candidate.iterate.mean_return
        # Of several that earn the maximum, the one trained longest is the most robust.
        return (abs(mean - aim) if np.isfinite(aim) else -mean), -candidate.iterate.steps

    return sorted(candidates, key=cost)[:count]


def replay_iterates(
    candidates: Sequence[PolicyCandidate], medium: PolicyCandidate, low: float
) -> list[PolicyCandidate]:
    """Return iterates of the medium policy's run up to it, in order, at even steps of return from ``low``."""
    own = [
        candidate
        for candidate in candidates
        if candidate.run == medium.run and candidate.iterate.iteration <= medium.iterate.iteration
    ]
    chosen = {medium.iterate.iteration: medium}
    for aim in np.linspace(low, medium.iterate.mean_return, REPLAY_ITERATES)[:-1]:
        left = [candidate for candidate in own if candidate.iterate.iteration not in chosen]
        if left:
            (nearest,) = shortlist(left, float(aim), count=1)
            chosen[nearest.iterate.iteration] = nearest
    return [chosen[iteration] for iteration in sorted(chosen)]


def measured_entry(
    pool: EnvironmentPool, plan: SearchPlan, candidate: PolicyCandidate, noise: float, brief: bool = False
) -> dict[str, Any]:
    """Measure a candidate on fresh episodes; ``brief`` leaves the returns of the single episodes out."""
    run = plan.runs[candidate.run]
    returns, lengths = episode_returns(pool, candidate.policy, MEASUREMENT_SEEDS, noise)
    settings = dataclasses.asdict(run.config)
    return {
        "noise": noise,
        "training": {
            "algorithm": "augmented random search V2-t",
            "settings": settings,
            "seed": run.seed,
            "iteration": candidate.iterate.iteration,
            "steps": candidate.iterate.steps,
        },
        "measured": summary(returns, lengths) | ({} if brief else {"returns": returns.tolist()}),
        "policy": candidate.policy.to_dict(),
    }


def summary(returns: NDArray[np.float64], lengths: NDArray[np.int64]) -> dict[str, Any]:
    """Return the mean and spread of measured episodes, and where their seeds begin."""
    return {
        "mean_return": float(returns.mean()),
        "std_return": float(returns.std(ddof=1)),
        "mean_length": float(lengths.mean()),
        "episodes": len(returns),
        "first_seed": MEASUREMENT_SEEDS.start,
    }


def layout(content: Mapping[str, Any]) -> str:
    """Return the JSON with one line for each policy and each list of returns: small, and still fit to read."""
    lines = json.dumps(content, indent=1).splitlines()
    text, depth = [], 0
    for line in lines:
        inside = depth > 0
        depth += line.count("[") - line.count("]") if not line.lstrip().startswith('"iterates"') else 0
        text.append(line.lstrip() if inside else "\n" + line)
    return "".join(text).lstrip("\n") + "\n"


def main() -> None:
    """Train the bodies named on the command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("bodies", nargs="+", choices=sorted(PLANS))
    parser.add_argument("--work", type=Path, default=Path("runs/policies"), help="where finished runs are kept")
    parser.add_argument("--output", type=Path, default=Path(str(assay.datasets.collection.__path__[0])) / "policies")
    parser.add_argument("--workers", type=int, default=None)
    arguments = parser.parse_args()
    console = Console()
    for body in arguments.bodies:
        content = train_policies(body, arguments.work / body, arguments.workers, console.print)
        atomic_write(arguments.output / f"{body}.json", layout(content))


if __name__ == "__main__":
    main()
