"""Problems of a few states whose answers are known exactly, for tests of methods without a loop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from assay.baselines import DirectAlgorithm, Job
from assay.baselines.engine.direct import DirectLearner
from assay.baselines.engine.learner import Member
from assay.datasets import Dataset
from assay.datasets.info import DatasetInfo
from assay.datasets.spaces import Discrete


@dataclass(frozen=True)
class Problem:
    """A Markov decision process: P (S, A, S), r (S, A) as probabilities of a reward of 1, the first state's distribution."""

    transitions: np.ndarray
    rewards: np.ndarray
    start: np.ndarray
    discount: float

    def values(self, policy: np.ndarray) -> np.ndarray:
        """Values (S,) of a deterministic policy (S,), by a linear solve."""
        rows = np.arange(len(policy))
        moves = self.transitions[rows, policy]
        return np.linalg.solve(np.eye(len(policy)) - self.discount * moves, self.rewards[rows, policy])

    def best(self) -> np.ndarray:
        """An optimal policy, by policy iteration."""
        policy = np.zeros(len(self.rewards), int)
        for _ in range(100):
            better = (self.rewards + self.discount * self.transitions @ self.values(policy)).argmax(1)
            if (better == policy).all():
                break
            policy = better
        return policy

    def occupancy(self, policy: np.ndarray) -> np.ndarray:
        """Normalized discounted occupancy (S, A) of a policy."""
        rows = np.arange(len(policy))
        moves = self.transitions[rows, policy]
        states = (1 - self.discount) * np.linalg.solve(np.eye(len(policy)) - self.discount * moves.T, self.start)
        found = np.zeros(self.rewards.shape)
        found[rows, policy] = states
        return found

    def gap(self, policy: np.ndarray) -> float:
        """How much worse a policy is than the best, from the first states."""
        return float(self.start @ (self.values(self.best()) - self.values(policy)))

    def sampled(self, shares: np.ndarray, steps: int, seed: int) -> Dataset:
        """Independent steps whose state and action are drawn by shares (S, A); each is an episode that was cut."""
        rng = np.random.default_rng(seed)
        cells = rng.choice(shares.size, steps, p=shares.ravel())
        states, actions = np.divmod(cells, shares.shape[1])
        cumulative = self.transitions.cumsum(-1)[states, actions]
        following = (rng.random(steps)[:, None] > cumulative).sum(1).clip(max=len(shares) - 1)
        rewards = (rng.random(steps) < self.rewards[states, actions]).astype(float)
        return Dataset.from_arrays(
            observations=np.stack([states, following], 1).ravel(),
            actions=actions,
            rewards=rewards,
            terminations=np.zeros(steps, bool),
            truncations=np.ones(steps, bool),
            info=DatasetInfo(observation_space=Discrete(len(shares)), action_space=Discrete(shares.shape[1])),
        )


def garnet(states: int, actions: int, branches: int, discount: float, seed: int) -> Problem:
    """A random problem in which each action leads to a few states (Archibald et al. 1995)."""
    rng = np.random.default_rng(seed)
    transitions = np.zeros((states, actions, states))
    for state in range(states):
        for action in range(actions):
            targets = rng.choice(states, branches, replace=False)
            transitions[state, action, targets] = rng.dirichlet(np.ones(branches))
    return Problem(transitions, rng.random((states, actions)), np.full(states, 1 / states), discount)


def learner_of(
    algorithms: DirectAlgorithm | list[DirectAlgorithm], datasets: list[Dataset], seeds: list[int] | None = None
) -> DirectLearner:
    """A learner with one member per dataset; an algorithm for each, or one for all."""
    each = algorithms if isinstance(algorithms, list) else [algorithms] * len(datasets)
    jobs = [Job(algorithm, dataset) for algorithm, dataset in zip(each, datasets)]
    data = [job.algorithm.training_data(job.dataset, job.action_scale) for job in jobs]
    seeds = seeds or [0] * len(datasets)
    return DirectLearner([Member(each[k], seeds[k], k) for k in range(len(datasets))], data, 1)


def solved(
    algorithms: DirectAlgorithm | list[DirectAlgorithm], datasets: list[Dataset], seeds: list[int] | None = None
) -> DirectLearner:
    """The same, after its first update."""
    learner = learner_of(algorithms, datasets, seeds)
    learner.advance(1)
    return learner


def policies_of(learner: DirectLearner, states: int) -> np.ndarray:
    """The action of each member in each state at the first step: (P, S)."""
    members = len(learner.members)
    episodes = learner.actor().begin(slice(0, members), states)
    observations = np.broadcast_to(np.arange(states, dtype=float)[None, :, None], (members, states, 1))
    return episodes.act(observations, np.zeros((members, states)))[..., 0].astype(int)


def log_slope(sizes: list[int], gaps: list[float]) -> float:
    """Slope of log(gap) against log(size), by least squares."""
    return float(np.polyfit(np.log(sizes), np.log(gaps), 1)[0])
