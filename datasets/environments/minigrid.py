"""MiniGrid tasks (Chevalier-Boisvert et al. 2023, arXiv 2306.13831) as the Dataset Perspective paper observes them.

The agent's view of 7 x 7 cells has three channels: what is there, its colour, its state. The first two are flattened to 98
numbers and divided by 10 (Schweighofer et al. 2022, arXiv 2111.04714). Of the actions, turning left, turning right and
going forward are kept. Everything else is MiniGrid's: the reward of 1 - 0.9 steps / limit at the goal, and the limit of
4 size^2 steps, which truncates.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from assay.datasets.environments.families.minigrid_tasks import TASKS
from assay.datasets.errors import ConfigError

__all__ = ["TASKS", "FlatView"]

VIEW = 7
ACTIONS = 3  # left, right, forward


class FlatView(gymnasium.Env[Any, Any]):
    """A MiniGrid task with float32 observations ``[98]`` and three actions.

    Parameters
    ----------
    task
        MiniGrid's id of it, such as ``"MiniGrid-LavaGapS7-v0"``.

    Raises
    ------
    ConfigError
        If MiniGrid is not installed.
    """

    observation_space = gymnasium.spaces.Box(0.0, 25.5, (2 * VIEW * VIEW,), np.float32)
    action_space = gymnasium.spaces.Discrete(ACTIONS)

    def __init__(self, task: str) -> None:
        try:
            import minigrid
        except ModuleNotFoundError as error:
            raise ConfigError("MiniGrid is not installed: pip install 'assay[minigrid]'") from error
        gymnasium.register_envs(minigrid)
        self.grid = gymnasium.make(task, disable_env_checker=True)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        """Begin an episode."""
        super().reset(seed=seed)
        observation, _ = self.grid.reset(seed=seed)
        return flat_view(observation["image"]), {}

    def step(self, action: Any) -> Any:
        """Turn, or go forward."""
        observation, reward, terminated, truncated, _ = self.grid.step(int(action))
        return flat_view(observation["image"]), float(reward), bool(terminated), bool(truncated), {}

    def close(self) -> None:
        """Close the task."""
        self.grid.close()


def flat_view(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return float32 ``[98]`` for a view ``[7, 7, 3]``."""
    return image[..., :2].reshape(-1).astype(np.float32) / np.float32(10)
