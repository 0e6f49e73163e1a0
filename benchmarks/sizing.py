"""From how many members on training together is slower: the table that decides the size of populations.

Usage: taskset -c 0 env OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive python benchmarks/sizing.py [--device cuda] [--write]

Members of very different work, each in populations of 1, 2, 4, ... 64; observations 17, actions 6. Printed is the time of an
update per member, in that of a member alone: CPU seconds of the process on a CPU, so that a busy machine matters less, and
wall-clock seconds on CUDA. All sizes take turns and the least time of each counts; it takes five minutes of a core. `--write` puts the numbers into
`baselines/training/saturation.json`, in place of those of the same kind of device.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

from assay.baselines import BC, CQL, IQL, SACN, TD3BC
from assay.baselines.engine.population import Population
from assay.baselines.engine.shapes import Shapes
from assay.baselines.runs.machine import hardware
from assay.baselines.training.sizing import bytes_per_member, flops_per_update, like_population, most_members
from assay.datasets.atomic import atomic_write

TABLE = Path(__file__).parent.parent / "baselines" / "training" / "saturation.json"
COMMAND = "taskset -c 0 env OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive python benchmarks/sizing.py"
SHAPES = Shapes.flat(17, 6)
_ENOUGH = 40.0  # CPU seconds for a row of the table
SIZES = (1, 2, 4, 8, 16, 32, 64)
MEMBERS = (
    BC(hidden=(16, 16), batch_size=32),
    BC(hidden=(64, 64), batch_size=64),
    TD3BC(hidden=(64, 64), batch_size=64),
    BC(),
    TD3BC(),
    IQL(),
    SACN(),
    CQL(),
)


def seconds(population: Population, least: float) -> float:
    """Return the time of one update of all members, from updates that take at least so many seconds together."""
    on_cuda = population.device.type == "cuda"
    clock = time.perf_counter if on_cuda else time.process_time
    together = population.unroll if on_cuda else population.period
    done, start = 0, clock()
    while clock() - start < least:
        population.advance(together)
        done += together
        if on_cuda:
            torch.cuda.synchronize(population.device)
    return (clock() - start) / done


def costs(algorithm: Any, device: str, *, rounds: int, least: float, memory: float) -> dict[int, float]:
    """Return the time of an update per member, in that of a member alone, for every size that fits into the memory."""
    fitting = [size for size in SIZES if size * bytes_per_member(algorithm, SHAPES) <= memory]
    best: dict[int, float] = {}
    began = time.process_time()
    for number in range(rounds):
        if number > 1 and time.process_time() - began > _ENOUGH:
            break  # heavy members: their few long updates vary less
        for size in fitting if number % 2 else reversed(fitting):
            population = like_population(algorithm, size, SHAPES, device=device)
            population.advance(population.unroll if device != "cpu" else population.period)
            best[size] = min(best.get(size, float("inf")), seconds(population, least) / size)
    return {size: best[size] / best[1] for size in fitting}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=0.1, help="of each measurement at least")
    parser.add_argument("--gigabytes", type=float, default=6.0, help="that a population may take")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    kind = torch.device(arguments.device).type
    entries = []
    for algorithm in MEMBERS:
        flops = flops_per_update(algorithm, SHAPES)
        found = costs(
            algorithm,
            arguments.device,
            rounds=arguments.rounds,
            least=arguments.seconds,
            memory=1e9 * arguments.gigabytes,
        )
        changed = {name: value for name, value in vars(algorithm).items() if value != getattr(type(algorithm)(), name)}
        member = f"{algorithm.label} {json.dumps(changed)}" if changed else algorithm.label
        entries.append(
            {"member": member, "flops": flops, "cost": {str(n): round(cost, 3) for n, cost in found.items()}}
        )
        most = most_members(kind, flops, {"devices": {kind: entries[-1:]}})
        print(f"{member:45} {flops / 1e6:9.1f} MFLOP  {entries[-1]['cost']}  at most {most}", flush=True)
    if arguments.write:
        written = json.loads(TABLE.read_text()) if TABLE.exists() else {"devices": {}, "measured": {}}
        written["devices"][kind] = sorted(entries, key=lambda entry: entry["flops"])
        option = "" if kind == "cpu" else f" --device {arguments.device}"
        written["measured"][kind] = {**hardware(arguments.device), "torch": torch.__version__} | {
            "command": f"{COMMAND}{option} --write"
        }
        atomic_write(TABLE, json.dumps(written, indent=1) + "\n")


if __name__ == "__main__":
    main()
