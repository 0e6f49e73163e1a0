"""Environments with goals, and for each a numbered set of goals that policies are evaluated on.

As OGBench does with its tasks (Park et al. 2025, arXiv 2410.20092), the goals of an evaluation are the same for every policy, and
success is kept for each of them::

    reset(seed)                          start and goal as the environment draws them; so data is collected
    reset(seed, options={"goal": k})     the k-th evaluation goal; the seed draws what the goal leaves open

Rewards are success: 1 once the goal is reached, which ends an episode of a maze, or for the gripper of a Fetch robot in the last
step alone, as the methods on that robot count it. So the return of an episode is its success. Whoever evaluates asks an environment for
`evaluation_goals`, of which there may be as many as one likes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np

from assay.datasets.environments.worker import GOAL
from assay.datasets.errors import ConfigError

__all__ = ["EvaluationGoals", "FetchGoals", "MazeGoals", "fetch_with_goals", "maze_with_goals"]


class EvaluationGoals(gymnasium.Wrapper[Any, Any, Any, Any], ABC):
    """Base of environments with evaluation goals.

    Parameters
    ----------
    env : gymnasium.Env
    goals : sequence
        As the subclass says.

    Attributes
    ----------
    evaluation_goals : tuple
    """

    def __init__(self, env: gymnasium.Env[Any, Any], goals: Sequence[Any]) -> None:
        super().__init__(env)
        self.evaluation_goals = tuple(goals)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Begin an episode, towards the evaluation goal that the options name, else as the environment does."""
        number = (options or {}).get(GOAL)
        if number is None:
            return self.env.reset(seed=seed, options=options)
        if not 0 <= number < len(self.evaluation_goals):
            raise ConfigError(
                f"there are {len(self.evaluation_goals)} evaluation goals, and none has the number {number}"
            )
        return self.begin(self.evaluation_goals[number], seed)

    @abstractmethod
    def begin(self, goal: Any, seed: int | None) -> Any:
        """Begin an episode towards a goal."""


class MazeGoals(EvaluationGoals):
    """A maze of Gymnasium-Robotics; a goal is the cell to begin in and the cell to reach, both (row, column)."""

    def begin(self, goal: Any, seed: int | None) -> Any:
        """Begin in the first cell; places within both cells are drawn."""
        start, end = (np.array(cell) for cell in goal)
        return self.env.reset(seed=seed, options={"reset_cell": start, "goal_cell": end})


class FetchGoals(EvaluationGoals):
    """An arm of Gymnasium-Robotics; a goal is a place relative to where the gripper begins, in metres.

    Parameters
    ----------
    env : gymnasium.Env
    goals : sequence of (x, y, z)
        The height counts where goals may lie in the air; on the table it is that of the object.
    horizon : int
        The last step of an episode, in which success is rewarded.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], goals: Sequence[Any], horizon: int) -> None:
        super().__init__(env, goals)
        self.horizon, self.steps = horizon, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Begin an episode."""
        self.steps = 0
        return super().reset(seed=seed, options=options)

    def begin(self, goal: Any, seed: int | None) -> Any:
        """Put the goal where it belongs; an object lies where the seed says."""
        observation, info = self.env.reset(seed=seed)
        arm: Any = self.unwrapped
        place = arm.initial_gripper_xpos + np.asarray(goal)
        if arm.has_object:
            place[2] = arm.height_offset
        arm.goal = place
        return {**observation, "desired_goal": place.copy()}, info

    def step(self, action: Any) -> Any:
        """Step; the reward is 1 in the last step if the goal is reached there, else 0."""
        observation, _, terminated, truncated, info = self.env.step(action)
        self.steps += 1
        return observation, float(self.steps == self.horizon and info["is_success"] > 0), terminated, truncated, info


def maze_with_goals(goals: Sequence[Any], **options: Any) -> MazeGoals:
    """Make a maze of the point in which an episode ends at its goal.

    Parameters
    ----------
    goals : sequence of ((row, column), (row, column))
    **options
        Of Gymnasium-Robotics' `PointMazeEnv`.
    """
    from gymnasium_robotics.envs.maze.point_maze import PointMazeEnv

    return MazeGoals(PointMazeEnv(continuing_task=False, **options), goals)


def fetch_with_goals(task: str, goals: Sequence[Any], horizon: int, **options: Any) -> FetchGoals:
    """Make an arm.

    Parameters
    ----------
    task : "reach" or "push"
    goals : sequence of (x, y, z)
    horizon : int
    **options
        Of Gymnasium-Robotics' environment.
    """
    if task == "reach":
        from gymnasium_robotics.envs.fetch.reach import MujocoFetchReachEnv as Arm
    elif task == "push":
        from gymnasium_robotics.envs.fetch.push import MujocoFetchPushEnv as Arm
    else:
        raise ConfigError(f"task={task!r}: an arm can reach or push")
    return FetchGoals(Arm(reward_type="sparse", **options), goals, horizon)
