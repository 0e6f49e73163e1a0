"""How near generated transitions are to the data and to the simulator: a table of docs/augmentation.md.

Usage: python docs/make_generative_table.py

2,000 transitions of each kind. "dynamics" is the distance from the next state to what the simulator's own step makes of the state and the action, and
"reward" that of the reward, both over the standard deviation in the data: medians, with 95 % intervals of a bootstrap. "marginals" is the mean over
all columns of the 1-Wasserstein distance to the data, over the standard deviation. The Gaussian is one fitted to whole
transitions; "rolled out" are single steps of the learned model. One seed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from page_parts import replace_part
from scipy.stats import wasserstein_distance

import assay
from assay.augmentation import GenerativeAugmentation, ModelBasedAugmentation
from assay.augmentation.simulators import simulator_of

PAGE = Path(__file__).parent / "augmentation.md"
DATASETS = {"pendulum/medium-replay": 20_000, "halfcheetah/medium-replay": 20_000}
DRAWN, UPDATES = 2_000, 10_000


def rows(dataset: assay.Dataset, steps: np.ndarray) -> np.ndarray:
    """Return transitions [s, a, r, s'] as rows."""
    places = dataset.observation_rows[steps]
    parts = (
        dataset.observations[places],
        dataset.actions[steps],
        dataset.rewards[steps, None],
        dataset.observations[places + 1],
    )
    return np.concatenate([np.asarray(part, np.float64) for part in parts], axis=1)


def describe(found: np.ndarray, data: np.ndarray, states: int, actions: int, simulator) -> str:
    """Return the cells of one kind."""
    wrong, reward_wrong = [], []
    for row in found:
        following, reward, _ = simulator.step(row[:states].copy(), row[states : states + actions].copy())
        wrong.append((row[-states:] - following) / data[:, -states:].std(0))
        reward_wrong.append(abs(row[states + actions] - reward) / data[:, states + actions].std())
    distances = np.sqrt(np.mean(np.square(wrong), axis=1))
    marginals = np.mean([wasserstein_distance(a, b) / max(b.std(), 1e-9) for a, b in zip(found.T, data.T)])
    return f"{interval(distances)} | {interval(np.array(reward_wrong))} | {marginals:.3f} |"


def interval(values: np.ndarray) -> str:
    """Return the median with its interval."""
    rng = np.random.default_rng(0)
    low, high = np.quantile([np.median(rng.choice(values, len(values))) for _ in range(500)], [0.025, 0.975])
    return f"{np.median(values):.3f} [{low:.3f}, {high:.3f}]"


def main() -> None:
    """Measure, and write the table."""
    lines = ["| | | dynamics | reward | marginals |", "|---|---|---|---|---|"]
    for name, count in DATASETS.items():
        dataset = assay.load(name, steps=count)
        simulator = simulator_of(dataset)
        inner = np.setdiff1d(np.arange(count), np.cumsum(dataset.episode_lengths) - 1)
        data = rows(dataset, inner)
        states, actions = dataset.observations.shape[1], dataset.actions.shape[1]
        rng = np.random.default_rng(0)
        gaussian = rng.multivariate_normal(data.mean(0), np.cov(data.T), DRAWN)
        low, high = dataset.info.action_space.low, dataset.info.action_space.high
        gaussian[:, states : states + actions] = np.clip(gaussian[:, states : states + actions], low, high)
        ratio = DRAWN / count
        generated = GenerativeAugmentation(ratio=ratio, updates=UPDATES, learning_rate=1e-3)(dataset)
        rolled = ModelBasedAugmentation(
            ratio=ratio, horizon=1, updates=UPDATES // 2, hidden=(128, 128, 128), penalty=None
        )(dataset)
        kinds = {
            "data": data[rng.choice(len(data), DRAWN, replace=False)],
            "generated": rows(generated, np.flatnonzero(generated.column("augmented"))),
            "rolled out": rows(rolled, np.flatnonzero(rolled.column("augmented"))),
            "Gaussian": gaussian,
        }
        for kind, found in kinds.items():
            lines.append(f"| {name} | {kind} | " + describe(found, data, states, actions, simulator))
            print(lines[-1], flush=True)
    replace_part(PAGE, "generated", "\n".join(lines))


if __name__ == "__main__":
    main()
