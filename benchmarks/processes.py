"""What the cores of a CPU bring: one process with one thread, with a thread per core, and a process of one thread per core.

Usage: env OMP_WAIT_POLICY=passive python benchmarks/processes.py [--members 12] [--steps 400] [--rounds 2]

`assay.train` on made-up data of 17 observations and 6 actions, with the published networks, without evaluation. The ways take
turns. "updates/s" is summed over members, in wall-clock time between the reports of the first and the last log point of all
populations; "whole" is the time of the call, with the start of the processes and the writing of the runs. Another program at
work on the same cores spoils the comparison.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch

from assay.baselines import CQL, IQL, TD3BC, Job, TrainingProgress, train
from assay.baselines.runs.machine import hardware
from assay.datasets.dataset import Dataset
from assay.datasets.environments.pool import usable_cores
from assay.datasets.info import DatasetInfo
from assay.datasets.spaces import Box

ALGORITHMS = {"TD3+BC": (TD3BC(), 1.0), "IQL": (IQL(), 0.7), "CQL": (CQL(), 0.08)}  # with the share of the steps


def made_up(steps: int = 20_000, length: int = 1_000) -> Dataset:
    """Return a dataset of the shapes of HalfCheetah."""
    rng = np.random.default_rng(0)
    ends = np.arange(steps) % length == length - 1
    return Dataset.from_arrays(
        observations=rng.normal(size=(steps + steps // length, 17)).astype(np.float32),
        actions=rng.uniform(-1, 1, (steps, 6)).astype(np.float32),
        rewards=rng.normal(size=steps),
        terminations=np.zeros(steps, bool),
        truncations=ends,
        info=DatasetInfo(id="made-up", action_space=Box((6,), "float32", [-1.0] * 6, [1.0] * 6)),
    )


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Compute with so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    yield
    torch.set_num_threads(before)


class Clock:
    """Notes when each population reported first and last."""

    def __init__(self) -> None:
        self.first: dict[int, tuple[float, int]] = {}
        self.last: dict[int, tuple[float, int]] = {}
        self.members: dict[int, int] = {}

    def __call__(self, report: TrainingProgress) -> None:
        if report.update and not report.ended:
            now = (time.monotonic(), report.update)
            self.first.setdefault(report.population, now)
            self.last[report.population] = now
            self.members[report.population] = report.members

    @property
    def rate(self) -> float:
        """Updates per second, summed over populations that work side by side."""
        done = sum(self.members[key] * (self.last[key][1] - self.first[key][1]) for key in self.last)
        began, ended = min(time for time, _ in self.first.values()), max(time for time, _ in self.last.values())
        return done / (ended - began)


def measure(jobs: list[Job], steps: int, processes: int) -> tuple[float, float]:
    """Return updates per second, and the seconds of the call."""
    clock, started = Clock(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        train(jobs, steps=steps, runs=folder, evaluation=None, progress=clock, processes=processes)
    return clock.rate, time.monotonic() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, default=12)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    cores, dataset = usable_cores(), made_up()
    print(f"{hardware('cpu')}, {cores} usable cores, {arguments.members} members\n")
    print(
        "| | one thread | threads: updates/s | whole | processes: updates/s | whole | threads / one | processes / one |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for label, (algorithm, share) in ALGORITHMS.items():
        steps = max(10, round(arguments.steps * share))
        jobs = [Job(algorithm, dataset, seed) for seed in range(arguments.members)]

        def in_threads(count: int) -> tuple[float, float]:
            with threads(count):
                return measure(jobs, steps, 1)  # noqa: B023  (called at once)

        ways: dict[str, Callable[[], tuple[float, float]]] = {
            "one": lambda: in_threads(1),
            "threads": lambda: in_threads(cores),
            "processes": lambda: measure(jobs, steps, cores),  # noqa: B023
        }
        best = {name: (0.0, float("inf")) for name in ways}
        for _ in range(arguments.rounds):
            for name, way in ways.items():
                rate, whole = way()
                best[name] = (max(rate, best[name][0]), min(whole, best[name][1]))
        one, shared, apart = (best[name] for name in ways)
        print(
            f"| {label} | {one[0]:.1f} | {shared[0]:.1f} | {shared[1]:.1f} s | {apart[0]:.1f} | {apart[1]:.1f} s | "
            f"{shared[0] / one[0]:.2f} | {apart[0] / one[0]:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
