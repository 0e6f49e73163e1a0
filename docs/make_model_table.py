"""How far a learned model of the dynamics can be followed, and whether its penalties know: two tables of docs/augmentation.md.

Usage: python docs/make_model_table.py

The ensemble of `augmentation.model_based` is trained on the first 80 % of the episodes of each dataset. From states of the others the
recorded actions are taken in the model, and after k steps its mean state is compared with the recorded one. Errors are distances over the
root mean square of the distance that the system itself moves in k steps, so that 1 is what standing still would earn. The penalties
are compared with the error of the first step by Spearman's rank correlation; its interval is a bootstrap over episodes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from page_parts import replace_part
from scipy.stats import spearmanr

import assay
from assay.baselines.dynamics.ensemble import DynamicsEnsemble, train_dynamics
from assay.baselines.dynamics.gaussian import GaussianModel
from assay.baselines.dynamics.penalties import PENALTIES, penalty

PAGE = Path(__file__).parent / "augmentation.md"
DATASETS = ("pendulum/medium-replay", "hopper/medium-replay", "halfcheetah/medium-replay")
STEPS, UPDATES, HORIZONS, BOOTSTRAPS = 20_000, 5_000, (1, 2, 5, 10, 20), 1_000


def trained(dataset: assay.Dataset) -> DynamicsEnsemble:
    """Train the ensemble."""
    made = dataset.transitions(np.float64, keep_terminal=False)
    model = GaussianModel(hidden=(128, 128, 128))
    return train_dynamics(
        made.observations, made.actions, made.rewards, made.next_observations, model=model, updates=UPDATES
    )


def windows(dataset: assay.Dataset, longest: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return states (M, k + 1, observation), actions (M, k, action) and the episode of every tenth window of k steps."""
    states, actions, episodes = [], [], []
    for number, (start, length) in enumerate(zip(dataset.episode_starts, dataset.episode_lengths)):
        for first in range(0, int(length) - longest + 1, 10):
            row = dataset.observation_rows[start + first]
            states.append(dataset.observations[row : row + longest + 1])
            actions.append(dataset.actions[start + first : start + first + longest])
            episodes.append(number)
    return np.array(states, np.float64), np.array(actions, np.float64), np.array(episodes)


def errors(ensemble: DynamicsEnsemble, states: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """Return the error of each window after each step, (M, k), over the distance that the system moves."""
    current = torch.from_numpy(states[:, 0]).float()
    found = []
    for step in range(actions.shape[1]):
        means, _ = ensemble.predict(current, torch.from_numpy(actions[:, step]).float())
        current = means[torch.as_tensor(ensemble.elites)].mean(0)[:, :-1]
        moved = states[:, step + 1] - states[:, 0]
        scale = np.sqrt(np.mean(moved**2, axis=0)) + 1e-9
        wrong = (current.numpy() - states[:, step + 1]) / scale
        found.append(np.sqrt(np.mean(wrong**2, axis=1)))
    return np.stack(found, 1)


def interval(values: np.ndarray, episodes: np.ndarray, statistic) -> tuple[float, float]:
    """Return the 95 % percentile interval of a bootstrap over episodes."""
    rng, rows = np.random.default_rng(0), [np.flatnonzero(episodes == one) for one in np.unique(episodes)]
    drawn = [
        statistic(values[np.concatenate([rows[one] for one in rng.integers(len(rows), size=len(rows))])])
        for _ in range(BOOTSTRAPS)
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def main() -> None:
    """Measure, and write the tables."""
    horizon_rows, penalty_rows = [], []
    for name in DATASETS:
        dataset = assay.load(name, steps=STEPS)
        cut = int(np.searchsorted(np.cumsum(dataset.episode_lengths), 0.8 * STEPS))
        ensemble = trained(dataset.select(np.arange(cut)))
        states, actions, episodes = windows(dataset.select(np.arange(cut, dataset.total_episodes)), max(HORIZONS))
        found = errors(ensemble, states, actions)
        cells = []
        for horizon in HORIZONS:
            column = found[:, horizon - 1]
            low, high = interval(column, episodes, np.median)
            cells.append(f"{np.median(column):.3f} [{low:.3f}, {high:.3f}]")
        horizon_rows.append(f"| {name} | " + " | ".join(cells) + " |")
        means, deviations = ensemble.predict(
            torch.from_numpy(states[:, 0]).float(), torch.from_numpy(actions[:, 0]).float()
        )
        cells = []
        for each in PENALTIES:
            pair = np.stack([penalty(each, means, deviations).numpy(), found[:, 0]], 1)
            correlation = spearmanr(*pair.T).statistic
            low, high = interval(pair, episodes, lambda rows: spearmanr(*rows.T).statistic)
            cells.append(f"{correlation:.2f} [{low:.2f}, {high:.2f}]")
        penalty_rows.append(f"| {name} | " + " | ".join(cells) + " |")
        print(horizon_rows[-1], penalty_rows[-1], sep="\n", flush=True)
    head = "| median error after k steps | " + " | ".join(f"k = {k}" for k in HORIZONS) + " |"
    replace_part(PAGE, "horizons", "\n".join([head, "|---" * (len(HORIZONS) + 1) + "|", *horizon_rows]))
    head = "| rank correlation with the error | " + " | ".join(f"`{name}`" for name in PENALTIES) + " |"
    replace_part(PAGE, "penalties", "\n".join([head, "|---" * (len(PENALTIES) + 1) + "|", *penalty_rows]))


if __name__ == "__main__":
    main()
