"""A corridor of five cells, known exactly; registered when it is imported by ``module:id``."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

LENGTH = 5


class Chain(gymnasium.Env[Any, Any]):
    """Cells 0 to 4, one-hot; action 1 goes right, 0 left. Reaching the last ends the episode with a reward of 1."""

    observation_space = gymnasium.spaces.Box(0.0, 1.0, (LENGTH,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.cell = int(self.np_random.integers(LENGTH - 1))
        return self.observe(), {}

    def step(self, action: Any) -> Any:
        self.cell = max(0, self.cell + (1 if action else -1))
        over = self.cell == LENGTH - 1
        return self.observe(), float(over), over, False, {}

    def observe(self) -> Any:
        return np.eye(LENGTH, dtype=np.float32)[self.cell]


def true_values(discount: float) -> np.ndarray:
    """Return Q* [cell, action] by value iteration."""
    values = np.zeros((LENGTH, 2))
    for _ in range(500):
        for cell in range(LENGTH - 1):
            for action in (0, 1):
                after = max(0, cell + (1 if action else -1))
                over = after == LENGTH - 1
                values[cell, action] = float(over) + discount * (not over) * values[after].max()
    return values


gymnasium.register("Chain-v0", entry_point=Chain, max_episode_steps=12)
