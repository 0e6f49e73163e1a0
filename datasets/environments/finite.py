"""Processes of a few states whose model is known: they are stepped as any environment is, and policies are valued exactly.

::

    start (S,) -> state s, step h          what is observed: s itself, or the features phi(s, .) of every action
    reward      r[h, s, a]                 the reward itself, or the probability that it is 1 and not 0
    next state  P[h, s, a, .]
    step H                                 ends the episode: a termination, or a truncation where the process goes on

`PROBLEMS` are those of the theory of offline RL: bandits, contextual bandits, tables, and linear processes. "Graded" problems
have gaps 1/2, 1/4, 1/8, ... between what actions are worth, so that with N steps there is always a gap of about the inverse
root of N that the data just does not show. In the others each state is half as likely as the one before, so that an expert's N
steps miss states of a probability of about 1/N.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import ArrayLike, NDArray

from assay.datasets.errors import ConfigError, UnknownNameError

__all__ = ["PROBLEMS", "FiniteEnvironment", "FiniteProcess", "GreedyPolicy", "problem_named"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FiniteProcess:
    """A process of S states and A actions that ends after H steps.

    Parameters
    ----------
    transitions
        ``[H, S, A, S]``, probabilities.
    rewards
        ``[H, S, A]``, expected.
    start
        ``[S]``, probabilities.
    random_rewards
        Whether a reward is 1 with the expected one as its probability, and else 0.
    continuing
        Whether step H is a truncation.
    features
        ``[S, A, d]`` where these are observed in place of the state.

    Examples
    --------
    >>> process = problem_named("bandit")
    >>> process.expected_return(np.array([[[0]], [[7]]])).tolist(), process.best_return()
    ([0.6, 0.5], 0.6)
    """

    transitions: Array
    rewards: Array
    start: Array
    random_rewards: bool = False
    continuing: bool = False
    features: Array | None = None

    @property
    def horizon(self) -> int:
        """H."""
        return len(self.rewards)

    @property
    def observations(self) -> NDArray[Any]:
        """What is observed in each state: ``[S]`` whole numbers, or ``[S, A, d]``."""
        return np.arange(len(self.start)) if self.features is None else self.features

    def expected_return(self, actions: ArrayLike) -> Array:
        """Return the exact expected return ``[P]`` of P policies, given their actions ``[P, H, S]``."""
        chosen = np.asarray(actions, np.int64)
        states = np.arange(len(self.start))
        value = np.zeros((len(chosen), len(states)))
        for step in reversed(range(self.horizon)):
            taken = chosen[:, step]
            moves = self.transitions[step][states, taken]  # [P, S, S]
            value = self.rewards[step][states, taken] + (moves * value[:, None]).sum(-1)
        found: Array = value @ self.start
        return found

    def best_return(self) -> float:
        """Return the largest expected return of any policy."""
        value = np.zeros(len(self.start))
        for step in reversed(range(self.horizon)):
            value = (self.rewards[step] + self.transitions[step] @ value).max(-1)
        return float(value @ self.start)


@dataclass(frozen=True, eq=False)
class GreedyPolicy:
    """Takes the action with the largest value.

    Parameters
    ----------
    values
        ``[S, A]`` for states, or the weights ``[d]`` of features.

    Examples
    --------
    >>> GreedyPolicy([[0.1, 0.2], [0.4, 0.3]])(np.array([0, 1, 1])).tolist()
    [1, 0, 0]
    """

    values: ArrayLike

    def __call__(self, observations: ArrayLike) -> NDArray[np.int64]:
        """Return actions ``[n]`` for states ``[n]``, or for features ``[n, A, d]``."""
        values = np.asarray(self.values, np.float64)
        of_actions = (
            values[np.asarray(observations, np.int64)]
            if values.ndim == 2
            else (np.asarray(observations, np.float64) * values).sum(-1)
        )
        chosen: NDArray[np.int64] = of_actions.argmax(-1)
        return chosen

    def to_dict(self) -> dict[str, Any]:
        """Return what decides its actions, as JSON values."""
        return {"kind": "greedy", "values": np.asarray(self.values).tolist()}


# ---------------------------------------------------------------- problems


def repeated(moves: Array, rewards: Array, horizon: int) -> tuple[Array, Array]:
    """Return transitions and rewards that are those of every step."""
    return np.broadcast_to(moves, (horizon, *moves.shape)), np.broadcast_to(rewards, (horizon, *rewards.shape))


def pulls(means: Array, chance: Array) -> FiniteProcess:
    """Return a contextual bandit: means ``[S, A]`` of rewards that are 0 or 1, and how likely each context is."""
    moves = np.broadcast_to(np.eye(len(chance))[:, None], (*means.shape, len(chance)))
    return FiniteProcess(moves[None], means[None], chance, random_rewards=True)


def halving(states: int) -> Array:
    """Return probabilities of which each is half of the one before."""
    chance = 2.0 ** -np.arange(1, states + 1)
    return np.asarray(chance / chance.sum())


def graded(states: int) -> Array:
    """Return means ``[S, 2]`` around 1/2 whose gaps are 1/2, 1/4, ...; the better action alternates."""
    gaps = 2.0 ** -np.arange(1, states + 1)
    signs = np.where(np.arange(states) % 2, -1.0, 1.0)
    return 0.5 + np.stack([-gaps * signs, gaps * signs], -1) / 2


def one_better(states: int) -> Array:
    """Return means ``[S, 3]``: 0.8 for action 1, 0.2 for the others."""
    return np.broadcast_to(np.array([0.2, 0.8, 0.2]), (states, 3))


def bandit() -> FiniteProcess:
    """Return the bandit of one arm that pays 0.6 and twenty that pay 0.5."""
    return pulls(np.array([[0.6, *[0.5] * 20]]), np.ones(1))


def contextual_bandit(states: int = 14) -> FiniteProcess:
    """Return a contextual bandit whose contexts halve in probability."""
    return pulls(one_better(states), halving(states))


def graded_bandit(states: int = 8) -> FiniteProcess:
    """Return a contextual bandit of even contexts whose gaps halve."""
    return pulls(graded(states), np.full(states, 1 / states))


def lucky_bandit(probability: float = 0.1) -> FiniteProcess:
    """Return the Bernoulli bandit of Dichotomy of Control: arm 0 pays with 1 - p, arm 1 with p."""
    return pulls(np.array([[1 - probability, probability]]), np.ones(1))


def ladder(states: int = 10, horizon: int = 10) -> FiniteProcess:
    """Return a ladder: action 1 leads one step up in half of the cases, and all else back to the lowest step."""
    moves = np.zeros((states, 3, states))
    moves[:, :, 0] = 1.0
    moves[:, 1, 0] = 0.5
    moves[np.arange(states), 1, np.minimum(np.arange(states) + 1, states - 1)] += 0.5
    return FiniteProcess(*repeated(moves, one_better(states), horizon), np.eye(states)[0], True, continuing=True)


def graded_table(states: int = 8, horizon: int = 10) -> FiniteProcess:
    """Return a process that goes anywhere after every action, with gaps that halve."""
    even = np.full(states, 1 / states)
    moves = np.broadcast_to(even, (states, 2, states))
    return FiniteProcess(*repeated(moves, graded(states), horizon), even, True, continuing=True)


def graded_linear(states: int = 8) -> FiniteProcess:
    """Return a linear process of two steps: in context k, action 1 may win by the k-th feature, and action 0 by a common one.

    The common feature wins with probability 1/2, the k-th with 1/2 plus or minus 2^-(k + 2), k from 0; a win pays 1 in the
    second step. The d = K + 3 features are probabilities of that many distributions of the next state.
    """
    lose, win, count = states, states + 1, states + 2
    odds = np.append(0.5 + (graded(states)[:, 1] - 0.5), 0.5)
    features = np.zeros((count, 2, states + 3))
    features[np.arange(states), 1, np.arange(states)] = 1.0
    features[:states, 0, states] = 1.0
    features[lose, :, states + 1] = features[win, :, states + 2] = 1.0
    outcomes = np.zeros((states + 3, count))
    outcomes[: states + 1, lose], outcomes[: states + 1, win] = 1 - odds, odds
    outcomes[states + 1, lose] = outcomes[states + 2, win] = 1.0
    moves, rewards = features @ outcomes, np.zeros((2, count, 2))
    rewards[1, win] = 1.0
    start = np.append(np.full(states, 1 / states), [0.0, 0.0])
    return FiniteProcess(np.stack([moves, moves]), rewards, start, features=features)


def linear_mdp(xi: float = 0.2, perturbation: float | None = None) -> FiniteProcess:
    """Return the simulated linear process of R2PVI's authors (Tang, Liu & Xu 2025, arXiv 2411.18612).

    Five states, of which 3 is the failure and 4 the good one, 16 actions in {-1, 1}^4, three steps. A perturbation q sends
    a share q of the first step's good moves to the failure.
    """
    slip, actions = 0.001, np.array(list(product([-1, 1], repeat=4)))
    good = 0.3 + actions @ np.full(4, xi / 4)
    features = np.zeros((5, 16, 4))
    for state in range(3):
        features[state, :, state], features[state, :, 3] = 1 - good, good
    features[3, :, 2] = features[4, :, 3] = 1.0
    share = 0.0 if perturbation is None else perturbation
    first, later = np.zeros((4, 5)), np.zeros((4, 5))  # where each feature leads
    first[0, 1], first[0, 3] = (1 - slip, slip) if perturbation is None else (1.0, 0.0)
    first[3, 3], first[3, 4] = share, 1 - share
    first[1], first[2] = np.eye(5)[2], np.eye(5)[3]
    later[0] = later[1] = [0, 0, 1 - slip, slip, 0]
    later[2], later[3] = np.eye(5)[3], np.eye(5)[4]
    moves = np.stack([features @ first, features @ later, features @ later])
    rewards = features[..., 3] * np.array([0.0, 1.0, 1.0])[:, None, None]
    return FiniteProcess(moves, rewards, np.eye(5)[0], features=features)


PROBLEMS: Mapping[str, Callable[..., FiniteProcess]] = {
    "bandit": bandit,
    "contextual-bandit": contextual_bandit,
    "graded-bandit": graded_bandit,
    "lucky-bandit": lucky_bandit,
    "ladder": ladder,
    "graded-table": graded_table,
    "graded-linear": graded_linear,
    "linear-mdp": linear_mdp,
}


def problem_named(name: str, **parameters: Any) -> FiniteProcess:
    """Make a problem.

    Raises
    ------
    UnknownNameError
        If there is none of this name.
    ConfigError
        If it has no such parameter, or a probability leaves [0, 1].
    """
    if name not in PROBLEMS:
        raise UnknownNameError("problem", name, PROBLEMS)
    try:
        made = PROBLEMS[name](**parameters)
    except TypeError as error:
        raise ConfigError(f"{name}: {error}") from error
    if made.transitions.min() < 0 or made.transitions.max() > 1 + 1e-9:
        raise ConfigError(f"{name} with {parameters}: a probability leaves [0, 1]")
    return made


class FiniteEnvironment(gymnasium.Env[Any, Any]):
    """A problem as an environment.

    Parameters
    ----------
    problem
        One of `PROBLEMS`.
    **parameters
        Of the problem, such as ``perturbation=0.5``.

    Examples
    --------
    >>> environment = FiniteEnvironment("linear-mdp")
    >>> environment.reset(seed=0)[0].shape, environment.step(15)[2:4]
    ((16, 4), (False, False))
    """

    def __init__(self, problem: str, **parameters: Any) -> None:
        self.model = problem_named(problem, **parameters)
        states, actions = self.model.rewards.shape[1:]
        self.action_space = gymnasium.spaces.Discrete(actions)
        self.observation_space = (
            gymnasium.spaces.Discrete(states)
            if self.model.features is None
            else gymnasium.spaces.Box(0.0, 1.0, self.model.features.shape[1:], np.float64)
        )
        self._start, self._moves = self.model.start.cumsum(), self.model.transitions.cumsum(-1)
        self._seen, self._state, self._step = self.model.observations, 0, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        """Draw the first state."""
        super().reset(seed=seed)
        self._state, self._step = self._drawn(self._start), 0
        return self._seen[self._state], {}

    def step(self, action: Any) -> Any:
        """Draw the reward and the next state."""
        place = self._step, self._state, int(action)
        reward = float(self.model.rewards[place])
        if self.model.random_rewards:
            reward = float(self.np_random.random() < reward)
        self._state, self._step = self._drawn(self._moves[place]), self._step + 1
        over = self._step == self.model.horizon
        continuing = self.model.continuing
        return self._seen[self._state], reward, over and not continuing, over and continuing, {}

    def _drawn(self, cumulative: Array) -> int:
        return min(int(np.searchsorted(cumulative, self.np_random.random(), side="right")), len(cumulative) - 1)
