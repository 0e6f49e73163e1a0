"""Model steps per CPU-second of the dynamics ensemble, beside what the core's matrix rate allows.

Usage: taskset -c 0 env OMP_NUM_THREADS=1 python benchmarks/dynamics.py

Seven networks of four layers of 200, 17 observations and 6 actions. Without a penalty a row passes one elite, with one all
seven. "of products" is the share of the rate of 256 x 256 matrix products, measured in the same run.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from assay.baselines.dynamics.ensemble import DynamicsEnsemble, train_dynamics
from assay.baselines.dynamics.penalties import PENALTIES

OBSERVATION, ACTION, ROWS, SECONDS = 17, 6, 4096, 2.0


def per_second(work: Callable[[], object]) -> float:
    """Return how often something is done in a CPU-second."""
    work()
    done, start = 0, time.process_time()
    while time.process_time() - start < SECONDS:
        work()
        done += 1
    return done / (time.process_time() - start)


def main() -> None:
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    states, actions = rng.normal(size=(2_000, OBSERVATION)), rng.uniform(-1, 1, (2_000, ACTION))
    trained = train_dynamics(states, actions, states[:, 0], 0.9 * states, updates=5)
    square = torch.randn(256, 256)
    products = 2 * 256**3 * per_second(lambda: square @ square)
    of_network = 2 * sum(item.size for item in trained.networks.spec.parameters() if item.shape[0] > 1)
    print(f"{'penalty':22}{'steps/CPU-s':>14}{'of products':>14}")
    for name in (None, *PENALTIES):
        ensemble = DynamicsEnsemble(
            trained.networks, trained.elites, trained.held_out_errors, trained.inputs, trained.targets, penalty=name
        )
        given = torch.randn(ROWS, OBSERVATION), torch.randn(ROWS, ACTION), torch.randn(ROWS, OBSERVATION + 1)
        order = torch.randperm(ROWS)
        steps = ROWS * per_second(partial(ensemble.step, *given, order))
        networks = trained.networks.members if name else 1
        print(f"{name or 'none':22}{steps:14,.0f}{steps * networks * of_network / products:14.1%}")


if __name__ == "__main__":
    main()
