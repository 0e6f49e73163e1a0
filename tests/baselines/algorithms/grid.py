"""Small Markov decision processes whose optimum is known by value iteration, and data of a policy in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from assay.baselines import Job
from assay.baselines.algorithms.algorithm import Algorithm
from assay.baselines.engine.population import Member, Population
from assay.datasets import Dataset
from assay.datasets.info import DatasetInfo
from assay.datasets.spaces import Discrete


@dataclass(frozen=True)
class Process:
    """Deterministic: (states, actions) arrays of next states, rewards and ends."""

    following: np.ndarray
    rewards: np.ndarray
    ends: np.ndarray
    discount: float

    def backed_up(self, values: np.ndarray) -> np.ndarray:
        """Return Q (states, actions) of state values."""
        return self.rewards + self.discount * ~self.ends * values[self.following]

    def optimal(self) -> np.ndarray:
        """Return Q* by value iteration."""
        q = np.zeros(self.rewards.shape)
        for _ in range(1_000):
            q = self.backed_up(q.max(1))
        return q

    def value_of(self, policy: np.ndarray) -> np.ndarray:
        """Return Q of a policy (states, actions) by iterating its own equation."""
        q = np.zeros(self.rewards.shape)
        for _ in range(1_000):
            q = self.backed_up((policy * q).sum(1))
        return q

    def collect(self, policy: np.ndarray, steps: int, seed: int = 0, longest: int = 1_000) -> Dataset:
        """Let a policy (states, actions) act in episodes that begin anywhere."""
        generator = np.random.default_rng(seed)
        states, actions = policy.shape
        columns: dict[str, list] = {
            name: [] for name in ("observations", "actions", "rewards", "terminations", "truncations")
        }
        while len(columns["actions"]) < steps:
            state, over, length = int(generator.integers(states)), False, 0
            columns["observations"].append(state)
            while not over:
                action = int(generator.choice(actions, p=policy[state]))
                length += 1
                terminated = bool(self.ends[state, action])
                over = terminated or length == longest
                columns["actions"].append(action)
                columns["rewards"].append(self.rewards[state, action])
                columns["terminations"].append(terminated)
                columns["truncations"].append(over and not terminated)
                state = int(self.following[state, action])
                columns["observations"].append(state)
        info = DatasetInfo(observation_space=Discrete(states), action_space=Discrete(actions))
        return Dataset.from_arrays(**{name: np.array(column) for name, column in columns.items()}, info=info)


def grid(side: int = 4, discount: float = 0.9) -> Process:
    """Up, down, left and right in an open square; reaching the last corner earns 1 and ends the episode."""
    rows, columns = np.divmod(np.arange(side * side), side)
    moves = np.array([(-1, 0), (1, 0), (0, -1), (0, 1)])
    ahead = np.stack([rows, columns], 1)[:, None] + moves
    following = np.clip(ahead, 0, side - 1) @ [side, 1]
    reached = following == side * side - 1
    return Process(following, reached.astype(float), reached, discount)


def corridor(length: int = 5, discount: float = 0.95) -> Process:
    """Every step costs 1 and the way right ends the episode; the third action, a trap, costs 50 and ends it too."""
    states = np.arange(length)
    following = np.stack([np.maximum(states - 1, 0), np.minimum(states + 1, length - 1), states], 1)
    ends = np.zeros((length, 3), bool)
    ends[-1, 1] = ends[:, 2] = True
    rewards = np.where(np.arange(3) == 2, -50.0, -1.0) * np.ones((length, 1))
    return Process(following, rewards, ends, discount)


def two_doors() -> Process:
    """One door leads to 0.2; behind the other one action earns 1 and the other costs 1, so that chance earns nothing there."""
    following = np.array([[0, 1], [1, 1]])
    return Process(following, np.array([[0.2, 0.0], [-1.0, 1.0]]), np.array([[True, False], [True, True]]), 0.9)


def trained(algorithm: Algorithm, dataset: Dataset, updates: int, seeds: Sequence[int] = (0, 1)) -> Population:
    """Train members of some seeds on one dataset."""
    job = Job(algorithm, dataset)
    data = [algorithm.training_data(dataset, job.action_scale)]
    population = Population([Member(algorithm, seed, 0) for seed in seeds], data, updates)
    population.advance(updates)
    return population


def chosen(population: Population, states: int) -> np.ndarray:
    """Return the actions (members, states) that the policies take."""
    observations = np.arange(states, dtype=float)[None, :, None].repeat(len(population.members), 0)
    return population.act(observations)[..., 0].astype(int)
