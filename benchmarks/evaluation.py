"""Speed of an evaluation beside the raw stepping rate of the same environments on the same cores.

Usage: env OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive python benchmarks/evaluation.py
           [--environments Hopper-v5 HalfCheetah-v5] [--members 1 8 64] [--episodes 10] [--workers 2] [--rounds 3]

One round evaluates P members (2 x 256, untrained) and then replays the very same episodes, seeds and actions, in plain
Gymnasium loops (as long as no member has more than 256 episodes): as many processes as workers, the environments of each stepped one after the other, no policy and no
messages. Rates are steps per second of wall time and per CPU-second of all processes involved; making the environments
counts on neither side. The policy's own share is shown apart: where there is no GPU it uses the same cores. The median
of the rounds is printed, and the two sides of a round run one after the other, so that a busy machine slows both.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch

from assay.baselines import TD3BC, Evaluation
from assay.baselines.engine.population import Population
from assay.baselines.engine.shapes import Shapes
from assay.baselines.evaluation.evaluation import evaluate, simulators
from assay.baselines.training.sizing import like_population
from assay.datasets.environments.pool import EnvironmentPool, usable_cores


class Recorded:
    """An actor that notes what it does."""

    def __init__(self, actor: Any) -> None:
        self.actor, self.members = actor, actor.members
        self.actions: dict[int, list[np.ndarray]] = {}  # of each batch, by its first member
        self.observations: dict[int, np.ndarray] = {}

    def begin(self, members: slice, episodes: int) -> Any:
        inner, outer = self.actor.begin(members, episodes), self

        class Episodes:
            def act(self, observations: np.ndarray, rewards: np.ndarray) -> np.ndarray:
                actions: np.ndarray = inner.act(observations, rewards)
                outer.actions.setdefault(members.start, []).append(actions.astype(np.float32))
                outer.observations[members.start] = observations
                return actions

        return Episodes()

    def policy_seconds(self) -> float:
        """Measure what all calls of the policy cost, as many of each batch as there were."""
        total = 0.0
        for first, steps in self.actions.items():
            m, n, _ = steps[0].shape
            episodes = self.actor.begin(slice(first, first + m), n)
            observations, rewards = self.observations[first], np.zeros((m, n))
            calls = min(len(steps), 500)
            started = time.process_time()
            for _ in range(calls):
                episodes.act(observations, rewards)
            total += (time.process_time() - started) / calls * len(steps)
        return total

    def episodes(self, lengths: np.ndarray) -> dict[tuple[int, int], np.ndarray]:
        """Return the actions of each (member, episode), [length, action]."""
        found = {}
        for first, steps in self.actions.items():
            stacked = np.stack(steps, 2)  # [m, n, T, action]
            for (member, episode), _ in np.ndenumerate(stacked[..., 0, 0]):
                found[first + member, episode] = stacked[member, episode, : lengths[first + member, episode]]
        return found


def population(environment: str, members: int) -> Population:
    made = gymnasium.make(environment)
    return like_population(TD3BC(), members, Shapes.flat(made.observation_space.shape[0], made.action_space.shape[0]))


def replay(environment: str, simulators: int, jobs: list[tuple[int, np.ndarray]], start: Any, results: Any) -> None:
    """Step episodes in a plain loop, `simulators` of them side by side."""
    environments = [gymnasium.make(environment, disable_env_checker=True) for _ in range(simulators)]
    start.wait()
    wall, cpu, steps = time.perf_counter(), time.process_time(), 0
    for first in range(0, len(jobs), simulators):
        part = list(zip(environments, jobs[first : first + simulators]))
        for made, (seed, _) in part:
            made.reset(seed=seed)
        for step in range(max(len(actions) for _, (_, actions) in part)):
            for made, (_, actions) in part:
                if step < len(actions):
                    made.step(actions[step])
                    steps += 1
    results.put((steps, wall, time.perf_counter(), time.process_time() - cpu))


def raw(environment: str, workers: int, simulators: int, jobs: list[tuple[int, np.ndarray]]) -> tuple[float, float]:
    """Return steps per second of wall time, and per CPU-second."""
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(workers), context.Queue()
    processes = [
        context.Process(target=replay, args=(environment, -(-simulators // workers), jobs[i::workers], start, results))
        for i in range(workers)
    ]
    for process in processes:
        process.start()
    steps, begins, ends, cpu = zip(*(results.get() for _ in processes))
    for process in processes:
        process.join()
    return sum(steps) / (max(ends) - min(begins)), sum(steps) / sum(cpu)


def cpu_seconds(processes: list[int]) -> float:
    """Return what this process and others have used so far."""
    ticks = 0
    for process in processes:
        fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def one_round(environment: str, members: int, episodes: int, workers: int) -> dict[str, float]:
    evaluation = Evaluation(episodes=episodes)
    actor = Recorded(population(environment, members).actor())
    count = simulators(members, evaluation)
    with EnvironmentPool(environment, count, workers, restart=True) as pool:
        processes = [process.pid for process in pool._processes]
        wall, cpu = time.perf_counter(), cpu_seconds(processes)
        result = evaluate(actor, environment, evaluation, pool=pool)
        wall, cpu = time.perf_counter() - wall, cpu_seconds(processes) - cpu
    steps = int(result.lengths.sum())
    policy, calls = actor.policy_seconds(), sum(map(len, actor.actions.values()))
    jobs = [(int(result.seeds[e]), actions) for (_, e), actions in sorted(actor.episodes(result.lengths).items())]
    raw_wall, raw_cpu = raw(environment, workers, count, jobs)
    return {
        "steps": steps,
        "raw/s": raw_wall,
        "evaluation/s": steps / wall,
        "ratio": steps / wall / raw_wall,
        "raw/CPU-s": raw_cpu,
        "evaluation/CPU-s": steps / cpu,
        "ratio CPU": steps / cpu / raw_cpu,
        "ratio CPU without policy": steps / (cpu - policy) / raw_cpu,
        "policy us/step": policy / steps * 1e6,
        "policy us/call": policy / calls * 1e6,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--environments", nargs="+", default=["Hopper-v5", "HalfCheetah-v5"])
    parser.add_argument("--members", nargs="+", type=int, default=[1, 8, 64])
    parser.add_argument("--episodes", type=int, default=10)
    parser.add_argument("--workers", type=int, default=usable_cores())
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    titles = None
    for environment in arguments.environments:
        for members in arguments.members:
            given = environment, members, arguments.episodes, arguments.workers
            rounds = [one_round(*given) for _ in range(arguments.rounds)]
            row = {name: statistics.median(item[name] for item in rounds) for name in rounds[0]}
            if titles is None:
                titles = list(row)
                print(
                    f"{arguments.workers} workers, {arguments.episodes} episodes, median of {arguments.rounds} rounds"
                )
                print("| environment | members | " + " | ".join(titles) + " |")
                print("|---" * (len(titles) + 2) + "|")
            cells = [f"{value:.2f}" if "ratio" in name else f"{value:,.0f}" for name, value in row.items()]
            print(f"| {environment} | {members} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
