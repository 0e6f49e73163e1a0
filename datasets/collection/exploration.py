"""What a behaviour policy does in an environment: action noise, clipping, and one random stream for each episode.

An episode is a function of its policy, its noise level and its one seed: the environment is reset with the seed, and
the noise comes from a generator keyed by the seed. So an episode never depends on which slot it ran in, on how many
others ran beside it, or on which of them ended first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assay.datasets.collection.network_policy import NetworkPolicy
from assay.datasets.collection.policies import Policy, UniformPolicy
from assay.datasets.errors import CollectionError, ConfigError

__all__ = ["Behaviour", "check_noise"]

STEPS_PER_DRAW = 64
"""Random numbers are drawn for this many steps of an episode at once; it changes nothing but speed."""


def check_noise(action_space: Any, noise: float) -> None:
    """Raise ConfigError unless that much noise can be added to actions of that space."""
    if not np.isfinite(noise) or noise < 0:
        raise ConfigError(f"noise must be 0 or more, not {noise}")
    if is_discrete(action_space):
        if noise > 1:
            raise ConfigError(f"noise is the probability of a uniform action here and must be at most 1, not {noise}")
    elif noise and not action_space.is_bounded():
        raise ConfigError(f"noise is a fraction of half the action range, and {action_space} has no finite range")


class Behaviour:
    """One policy with its noise, acting in the slots of a pool.

    Parameters
    ----------
    policy
        Callable ``observations [n, ...] -> actions [n, ...]``, or `UniformPolicy`.
    action_space
        ``gymnasium.spaces.Box`` or ``Discrete``.
    noise
        Box: standard deviation of Gaussian noise, as a fraction of half the action range. Discrete: probability of a
        uniform action.
    slots
        Number of slots that may act.
    """

    def __init__(self, policy: Policy, action_space: Any, noise: float, slots: int) -> None:
        check_noise(action_space, noise)
        if isinstance(policy, UniformPolicy) and not is_discrete(action_space) and not action_space.is_bounded():
            raise ConfigError(f"uniform actions need a finite action range, and {action_space} has none")
        if not isinstance(policy, UniformPolicy) and not callable(policy):
            raise ConfigError(f"a policy must be callable on observations, not {type(policy).__name__}")
        self.policy, self.action_space, self.noise = policy, action_space, noise
        self.discrete = is_discrete(action_space)
        self.sampled = isinstance(policy, NetworkPolicy) and policy.stochastic
        self.random = isinstance(policy, UniformPolicy) or self.sampled or noise > 0
        self._generators: list[np.random.Generator | None] = [None] * slots
        # [slot, step within the draw, action dimension]; for discrete actions (whether, which), and for a policy that is
        # itself sampled (its own, the noise's).
        self._shape = (2,) if self.discrete else tuple(action_space.shape)
        if self.sampled:
            self._shape = (2, *self._shape)
        self._draws = np.empty((slots, STEPS_PER_DRAW, *self._shape))
        self._next = np.zeros(slots, np.int64)

    def start(self, slot: int, seed: int) -> None:
        """Begin the episode of that seed in a slot."""
        # The spawn key keeps the noise apart from what the environment draws from the same seed.
        self._generators[slot] = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(1,))))
        self._next[slot] = STEPS_PER_DRAW

    def act(self, slots: NDArray[np.int64], observations: NDArray[Any]) -> NDArray[Any]:
        """Return the actions to execute, in the dtype of the action space and inside its bounds, ``[n, ...]``."""
        draws = self._draw(slots) if self.random else None
        if self.discrete:
            return self._discrete(observations, draws)
        space = self.action_space
        low, high = space.low.astype(np.float64), space.high.astype(np.float64)
        if isinstance(self.policy, UniformPolicy):
            assert draws is not None
            actions = low + (high - low) * draws
        else:
            actions = self._ask(self.policy, observations, draws)
            if draws is not None and self.noise:
                actions = actions + self.noise * (high - low) / 2 * (draws[:, 1] if self.sampled else draws)
        # Bounds are representable in the action dtype and rounding is monotone, so the cast stays inside them.
        clipped: NDArray[Any] = np.clip(actions, low, high).astype(space.dtype)
        return clipped

    def _discrete(self, observations: NDArray[Any], draws: NDArray[np.float64] | None) -> NDArray[Any]:
        count, start = int(self.action_space.n), int(self.action_space.start)
        uniform = None if draws is None else np.floor(draws[:, 1] * count).astype(np.int64)
        if isinstance(self.policy, UniformPolicy):
            assert uniform is not None
            return uniform + start
        actions = self._ask(self.policy, observations, draws).astype(np.int64)
        if (actions < 0).any() or (actions >= count).any():
            raise CollectionError(f"the policy returned action {actions.max()}, but there are only {count} actions")
        if draws is not None and uniform is not None:
            actions = np.where(draws[:, 0] < self.noise, uniform, actions)
        return actions + start

    def _ask(
        self,
        policy: Callable[[Any], NDArray[Any]],
        observations: Any,
        draws: NDArray[np.float64] | None,
    ) -> NDArray[Any]:
        if self.sampled and isinstance(policy, NetworkPolicy) and draws is not None:
            actions = policy.sample(observations, draws[:, 0])
        else:
            actions = np.asarray(policy(observations))
        expected = (len(observations), *self.action_space.shape)
        if actions.shape != expected:
            raise CollectionError(f"the policy must return actions of shape {expected}, not {actions.shape}")
        if not self.discrete:
            actions = actions.astype(np.float64)
            if not np.isfinite(actions).all():
                row = int(np.flatnonzero(~np.isfinite(actions.reshape(len(actions), -1)).all(axis=1))[0])
                raise CollectionError(f"the policy returned {actions[row].tolist()} for {observations[row].tolist()}")
        return actions

    def _draw(self, slots: NDArray[np.int64]) -> NDArray[np.float64]:
        for slot in slots[self._next[slots] == STEPS_PER_DRAW].tolist():
            generator = self._generators[slot]
            assert generator is not None
            uniform = self.discrete or isinstance(self.policy, UniformPolicy)
            size = (STEPS_PER_DRAW, *self._shape)
            self._draws[slot] = generator.random(size) if uniform else generator.standard_normal(size)
            self._next[slot] = 0
        draws: NDArray[np.float64] = self._draws[slots, self._next[slots]]
        self._next[slots] += 1
        return draws


def is_discrete(space: Any) -> bool:
    """Return whether a gymnasium space is Discrete."""
    return type(space).__name__ == "Discrete"
