"""What it is worth that a training on a CPU keeps freed memory: CPU time and page faults of an update, with and without.

Usage: taskset -c 0 env OMP_WAIT_POLICY=passive python benchmarks/freed_memory.py [--rounds 2]

Observations 17, actions 6, published defaults. Both sides are processes of their own, which take turns; the least of each counts. "system" is
the kernel's share: it fills pages with zeros when memory is used for the first time.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys

import torch

from assay.baselines import IQL, RIQL, SACN, TD3BC
from assay.baselines.engine.shapes import Shapes
from assay.baselines.training.sizing import like_population
from assay.datasets import memory

ALGORITHMS = {"td3_bc": TD3BC(), "iql": IQL(), "riql": RIQL(), "sac_n": SACN()}
ENOUGH = 4.0  # CPU seconds
Times = tuple[float, float, float]


def measure(name: str, members: int) -> Times:
    """Return the milliseconds of a member's update in its own code and in the kernel, and its page faults."""
    population = like_population(ALGORITHMS[name], members, Shapes.flat(17, 6))
    population.advance(population.period)
    done, before = 0, resource.getrusage(resource.RUSAGE_SELF)
    while True:
        population.advance(population.period)
        done += population.period * members
        now = resource.getrusage(resource.RUSAGE_SELF)
        user, system = now.ru_utime - before.ru_utime, now.ru_stime - before.ru_stime
        if user + system > ENOUGH:
            return 1e3 * user / done, 1e3 * system / done, (now.ru_minflt - before.ru_minflt) / done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--algorithms", nargs="+", choices=ALGORITHMS, default=list(ALGORITHMS))
    parser.add_argument("--populations", nargs="+", type=int, default=[1, 12, 32])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--side", choices=("kept", "returned"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        torch.set_num_threads(1)
        if options.side == "returned":
            memory.keep_freed = lambda: False  # type: ignore[assignment]
        print(json.dumps(measure(options.algorithms[0], options.populations[0])))
        return
    print(f"{'algorithm':10}{'members':>8}{'returned: ms':>14}{'system':>8}{'faults':>8}{'kept: ms':>10}{'ratio':>7}")
    for name in options.algorithms:
        for members in options.populations:
            found: dict[str, list[Times]] = {"returned": [], "kept": []}
            for _ in range(options.rounds):
                for side, times in found.items():
                    command = [sys.executable, __file__, "--algorithms", name, "--populations", str(members)]
                    out = subprocess.run([*command, "--side", side], check=True, capture_output=True, text=True).stdout
                    times.append(tuple(json.loads(out)))
            (user, system, faults), kept = (min(times, key=lambda each: each[0] + each[1]) for times in found.values())
            before, after = user + system, kept[0] + kept[1]
            print(
                f"{name:10}{members:8}{before:14.2f}{system:8.2f}{faults:8.0f}{after:10.2f}{before / after:7.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
