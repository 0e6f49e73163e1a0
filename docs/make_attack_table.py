"""Print how far attacks lower a victim's values, and random noise in the same box, as the table of docs/corruption.md.

Usage: python docs/make_attack_table.py [UPDATES]     (of the victim, default 1500; about six minutes on one core)

The victim is EDAC, trained briefly on halfcheetah/medium-replay (20,000 steps, collected on first use) and kept under
ASSAY_HOME/victims. Each number is the fall of its mean value per touched step.
"""

from __future__ import annotations

import sys

import numpy as np
import torch

import assay
from assay.baselines import EDAC, train_victim
from assay.baselines.victim import RunVictim
from assay.corruption import AdversarialCorruption, RandomCorruption
from assay.datasets import Dataset

RATE = 0.15
SETTINGS = {  # for a short training; three layers as published
    "hidden": (256, 256, 256),
    "batch_size": 64,
    "actor_learning_rate": 1e-3,
    "critic_learning_rate": 1e-3,
    "return_steps": 3,
}
WAYS = {
    "100 steps of 0.01": {},
    "25 steps of 0.04": {"steps": 25, "step_size": 0.04},
    "published start": {"initialization": "published"},
}


def mean_value(victim: RunVictim, dataset: Dataset, element: str) -> float:
    """Return the mean over critics and steps, of (s, a), or of (s', pi(s')) for dynamics."""
    states = dataset.next_observations if element == "dynamics" else dataset.observations[dataset.observation_rows]
    observations = torch.from_numpy(np.array(states, np.float32))
    with torch.no_grad():
        actions = (
            victim.act(observations)
            if element == "dynamics"
            else torch.from_numpy(np.array(dataset.actions, np.float32))
        )
        return float(victim.q_values(observations, actions).mean())


def main(updates: str = "1500") -> None:
    """Print the table in Markdown."""
    torch.set_num_threads(1)
    whole = assay.load("halfcheetah/medium-replay", steps=20_000)
    run = train_victim(EDAC(**SETTINGS), whole, steps=int(updates))
    victim = RunVictim(run)
    dataset = whole.select(np.arange(0, whole.total_episodes, 5))
    print("| element | random | " + " | ".join(WAYS) + " |\n|---|---|---|---|---|")
    for element in ("observations", "actions", "dynamics"):
        before = mean_value(victim, dataset, element)
        noisy = RandomCorruption(element, rate=RATE)(dataset)
        share = noisy.masks[element].mean()
        falls = [before - mean_value(victim, noisy, element)]
        for options in WAYS.values():
            attacked = AdversarialCorruption(element, victim=run, rate=RATE, **options)(dataset)
            falls.append(before - mean_value(victim, attacked, element))
        print(f"| {element} | " + " | ".join(f"{fall / share:.3g}" for fall in falls) + " |", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
