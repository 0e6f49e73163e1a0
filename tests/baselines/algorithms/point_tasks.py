"""Tasks of a point, in NumPy: few good episodes among random ones, and what a policy visits and reaches."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import assay
from assay.baselines.algorithms.continual.tasks import TasksInOrder
from assay.baselines.engine.data import ActionScale
from assay.baselines.engine.population import Member, Population
from assay.datasets.dataset import Dataset
from assay.datasets.environments.families.task_sequences import GOALS
from assay.datasets.environments.task_sequence import HORIZON, NEAR, SPEED, START

__all__ = ["mixture", "rolled_out", "successes", "trained"]

Policy = Callable[[np.ndarray], np.ndarray]  # states [n, 2] -> actions [n, 2]


def mixture(steps: int, percent: int, seed: int = 0) -> Dataset:
    """Episodes of all tasks in no order, so many percent of whose steps are good ones."""
    found = assay.load(f"point-tasks/random-expert-{percent}", steps=steps, seed=seed)
    return found.select(np.random.default_rng(seed).permutation(found.total_episodes))


def trained(
    algorithm: TasksInOrder, dataset: Dataset, seeds: range, steps: int, updates: int | None = None
) -> Population:
    """Members that are trained by so many of the updates, by default all; what they keep of the last task is then chosen."""
    data = algorithm.training_data(dataset, ActionScale.of(-np.ones(2), np.ones(2)))
    made = Population([Member(algorithm, seed, 0) for seed in seeds], [data], steps)
    made.advance(steps if updates is None else updates)
    return made


def policy_of(made: Population, member: int, task: int, network: str | None = None) -> Policy:
    """Return what a member does in a task: as it acts, or by a network of a name."""

    def act(states: np.ndarray) -> np.ndarray:
        if network is None:
            every = np.broadcast_to(
                np.column_stack([states, np.full(len(states), task)]), (len(made.members), len(states), 3)
            )
            return made.act(every)[member]
        code = np.eye(3)[np.full(len(states), task)]
        inputs = made.networks[network].buffer.new_tensor(np.column_stack([states, code]))
        answers = made.networks[network](inputs.expand(len(made.members), -1, -1), weights="frozen")
        return answers[member].double().numpy()

    return act


def rolled_out(policy: Policy, task: int, episodes: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return the states that episodes visit, (n, 2), and which of them reach the goal."""
    states, seen = np.random.default_rng(seed).uniform(-START, START, (episodes, 2)), []
    reached = np.zeros(episodes, bool)
    for _ in range(HORIZON):
        seen.append(states[~reached])
        moved = np.clip(states + SPEED * np.clip(policy(states), -1, 1), -1, 1)
        states = np.where(reached[:, None], states, moved)
        reached |= np.square(states - np.array(GOALS[task])).sum(1) <= NEAR**2
    return np.concatenate(seen), reached


def successes(made: Population) -> np.ndarray:
    """Return the share of episodes that every member finishes in each task, (P, 3)."""
    return np.array(
        [
            [rolled_out(policy_of(made, member, task), task)[1].mean() for task in range(3)]
            for member in range(len(made.members))
        ]
    )
