"""Print how far attacks lower a victim's values, and random noise in the same box, as the table of docs/corruption.md.

Usage: python docs/make_attack_table.py [UPDATES]     (of the victim, default 4000; about fifteen minutes on one core)

The victim is EDAC as published, trained briefly on hopper/medium-replay (100,000 steps, collected on first use) and kept
under ASSAY_HOME/victims: the one that `assay corrupt hopper/medium-replay --mode adversarial --victim-steps 4000` trains.
Each number is the fall of its mean value per touched step.
"""

from __future__ import annotations

import sys

import numpy as np
import torch

import assay
from assay.baselines import EDAC, train_victim
from assay.baselines.training.run_victim import RunVictim
from assay.corruption import preset
from assay.datasets import Dataset
from assay.datasets.recipe import transforms_from_plain

EPISODES = 20  # every 20th is attacked
WAYS = {
    "random": ("random", {}),
    "100 steps of 0.01": ("adversarial", {}),
    "100 of 0.01, published start": ("adversarial", {"initialization": "published"}),
    "25 steps of 0.08": ("fast_adversarial", {}),
    "25 of 0.08, published start": ("fast_adversarial", {"initialization": "published"}),
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


def main(updates: str = "4000") -> None:
    """Print the table in Markdown."""
    torch.set_num_threads(1)
    whole = assay.load("hopper/medium-replay")
    run = train_victim(EDAC(), whole, steps=int(updates))
    victim = RunVictim(run)
    dataset = whole.select(np.arange(0, whole.total_episodes, EPISODES))
    print(f"| element | {' | '.join(WAYS)} |\n" + "|---" * (1 + len(WAYS)) + "|")
    for element in ("observations", "actions", "dynamics", "states"):
        before = mean_value(victim, dataset, element)
        falls = []
        for mode, parameters in WAYS.values():
            needed = {} if mode == "random" else {"victim": str(run.folder)}
            transforms = preset("published", element, mode, **parameters, **needed)
            (transform,) = transforms_from_plain(transforms, mode)
            variant = transform(dataset)
            falls.append((before - mean_value(victim, variant, element)) / variant.masks[element].mean())
        print(f"| {element} | " + " | ".join(f"{fall:.3g}" for fall in falls) + " |", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
