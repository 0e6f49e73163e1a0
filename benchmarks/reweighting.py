"""What weights cost: making them, and training by them.

Usage: taskset -c 0 env OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive python benchmarks/reweighting.py

CPU-seconds to weight a million steps in 1,000 episodes (17 observations), beside one pass over a column of rewards; and the updates per
CPU-second of a population that draws by weights, beside the same one without, in turns: the best of each counts.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable

import numpy as np
import torch

from assay.baselines import BC, IQL, TD3BC
from assay.baselines.engine.data import ActionScale, TrainingData
from assay.baselines.engine.population import Member, Population
from assay.datasets import Dataset
from assay.reweighting import CoverageWeighting, TrajectoryWeighting

STEPS, EPISODES, OBSERVATION, ACTION = 1_000_000, 1_000, 17, 6
ROUNDS, SECONDS = 5, 2.0


def dataset(steps: int) -> Dataset:
    rng = np.random.default_rng(0)
    length = STEPS // EPISODES
    count = steps // length
    return Dataset.from_arrays(
        observations=rng.standard_normal((steps + count, OBSERVATION), np.float32),
        actions=rng.uniform(-1, 1, (steps, ACTION)).astype(np.float32),
        rewards=rng.standard_normal(steps, np.float32),
        episode_lengths=[length] * count,
    )


def seconds(work: Callable[[], object]) -> float:
    """Return the CPU-seconds of the fastest of three."""
    found = []
    for _ in range(3):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found)


def main() -> None:
    torch.set_num_threads(1)
    million = dataset(STEPS)
    rewards = million.rewards
    print(f"{'a million steps':34}{'CPU-seconds':>12}")
    print(f"{'one sum over the rewards':34}{seconds(rewards.sum):12.4f}")
    for score in ("return", "advantage", "top"):
        transform = TrajectoryWeighting(score=score)

        def weigh(transform: TrajectoryWeighting = transform) -> Dataset:
            return transform(million.replace({}))  # a new object each time: nothing is remembered

        print(f"{'trajectory, ' + score:34}{seconds(weigh):12.4f}")
    small = dataset(20_000)
    print(f"{'coverage, of 20,000 steps':34}{seconds(lambda: CoverageWeighting()(small.replace({}))):12.4f}")

    weighted = TrajectoryWeighting(score="advantage")(million)
    scale = ActionScale.of(-np.ones(ACTION), np.ones(ACTION))
    for algorithm, members in itertools.product((TD3BC(), IQL(), BC()), (1, 12)):
        if members == 1:
            print(f"\n{'members':>8}{'uniform':>12}{'weighted':>12}{'ratio':>8}   updates/CPU-s of {algorithm.label}")
        populations = {}
        for name, one in {"uniform": million, "weighted": weighted}.items():
            laid_out = TrainingData.of(one.transitions(), scale, normalize=True)
            populations[name] = Population([Member(algorithm, seed, 0) for seed in range(members)], [laid_out], 10**6)
            populations[name].advance(16)
        best = dict.fromkeys(populations, 0.0)
        for _ in range(ROUNDS):
            for name, population in populations.items():
                done, start = 0, time.process_time()
                while time.process_time() - start < SECONDS:
                    population.advance(16)
                    done += 16 * members
                best[name] = max(best[name], done / (time.process_time() - start))
        print(
            f"{members:8}{best['uniform']:12.1f}{best['weighted']:12.1f}{best['weighted'] / best['uniform']:8.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
