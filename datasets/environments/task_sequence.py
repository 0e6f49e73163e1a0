"""Tasks that share the shapes of their observations and actions, as one environment; and the tasks of a point in a plane.

::

    observation                      {"observation": what the task shows, "task": its number}
    reset(seed)                      a task is drawn; so data of all of them is collected
    reset(seed, options={"goal": k}) task k: evaluation gives episode e task e modulo their number, and keeps success for each

Which task an episode is of stands in its observations, so one dataset holds the data of all tasks, and learners take them one after the
other or all at once (`assay.baselines.algorithms.continual`). The tasks are the evaluation goals of `goals`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from assay.datasets.environments.worker import GOAL
from assay.datasets.errors import ConfigError

__all__ = ["PointGoal", "PointScript", "TaskSequence", "point_tasks"]

HORIZON, SPEED, NEAR, START = 11, 0.1, 0.15, 0.2


class TaskSequence(gymnasium.Env[Any, Any]):
    """Several environments as the tasks 0, 1, ... of one.

    Parameters
    ----------
    tasks : sequence of gymnasium.Env
        Of equal observation spaces and equal action spaces.

    Attributes
    ----------
    evaluation_goals : tuple of int
        The numbers of the tasks.

    Raises
    ------
    ConfigError
        If there are fewer than two, or their spaces differ.

    Examples
    --------
    >>> from gymnasium.envs.classic_control.pendulum import PendulumEnv
    >>> environment = TaskSequence([PendulumEnv(g=10.0), PendulumEnv(g=5.0)])
    >>> observation, _ = environment.reset(seed=0, options={"goal": 1})
    >>> int(observation["task"])
    1
    """

    def __init__(self, tasks: Sequence[gymnasium.Env[Any, Any]]) -> None:
        if len(tasks) < 2:
            raise ConfigError(f"a sequence of tasks has at least two, not {len(tasks)}")
        for number, task in enumerate(tasks):
            if (task.observation_space, task.action_space) != (tasks[0].observation_space, tasks[0].action_space):
                raise ConfigError(
                    f"task {number} has the spaces {task.observation_space} and {task.action_space}, and task 0 "
                    f"{tasks[0].observation_space} and {tasks[0].action_space}; one policy needs the same"
                )
        self.tasks, self.task = tuple(tasks), 0
        self.evaluation_goals = tuple(range(len(tasks)))
        self.action_space = tasks[0].action_space
        self.observation_space = gymnasium.spaces.Dict(
            observation=tasks[0].observation_space, task=gymnasium.spaces.Discrete(len(tasks))
        )

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Begin an episode of the task that the options name, else of one that is drawn."""
        super().reset(seed=seed)
        number, of_task = self.np_random.integers((len(self.tasks), 2**31))
        chosen = (options or {}).get(GOAL, number)
        if not 0 <= chosen < len(self.tasks):
            raise ConfigError(f"there are {len(self.tasks)} tasks, and none has the number {chosen}")
        self.task = int(chosen)
        observation, info = self.tasks[self.task].reset(seed=int(of_task))
        return self._with_task(observation), info

    def step(self, action: Any) -> Any:
        """Step the task."""
        observation, *outcome = self.tasks[self.task].step(action)
        return self._with_task(observation), *outcome

    def close(self) -> None:
        """Close all tasks."""
        for task in self.tasks:
            task.close()

    def _with_task(self, observation: Any) -> dict[str, Any]:
        return {"observation": observation, "task": np.int64(self.task)}


class PointGoal(gymnasium.Env[NDArray[np.float32], NDArray[np.float32]]):
    """A point in the square [-1, 1] x [-1, 1] that begins near the middle and earns 1 at its goal, where the episode ends.

    ::

        start       uniform in [-0.2, 0.2] x [-0.2, 0.2]
        step        s' = s + 0.1 a, a in [-1, 1] x [-1, 1], kept in the square
        reward      1 within 0.15 of the goal, which ends the episode; else 0
        11 steps    then a truncation; the goals of `point-tasks` are 7 to 8 steps away

    Parameters
    ----------
    goal : (x, y)
        Which no observation shows.

    Examples
    --------
    >>> environment = PointGoal(goal=(0.3, 0.0))
    >>> state, _ = environment.reset(seed=0)
    >>> outcomes = [environment.step(10 * (np.array([0.3, 0.0]) - environment.state)) for _ in range(3)]
    >>> [outcome[1] for outcome in outcomes][-1]
    1.0
    """

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)

    def __init__(self, goal: Sequence[float]) -> None:
        self.goal = np.asarray(goal, np.float64)
        self.state, self._step = np.zeros(2), 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        """Draw a start."""
        super().reset(seed=seed)
        self.state, self._step = self.np_random.uniform(-START, START, 2), 0
        return self.state.astype(np.float32), {}

    def step(self, action: Any) -> Any:
        """Move."""
        self.state = np.clip(self.state + SPEED * np.clip(np.asarray(action, np.float64), -1.0, 1.0), -1.0, 1.0)
        self._step += 1
        reached = bool(np.square(self.state - self.goal).sum() <= NEAR**2)
        over = self._step >= HORIZON and not reached
        return self.state.astype(np.float32), float(reached), reached, over, {}


def point_tasks(goals: Sequence[Sequence[float]]) -> TaskSequence:
    """Make the tasks of a point, one for each goal."""
    return TaskSequence([PointGoal(goal) for goal in goals])


@dataclass(frozen=True)
class PointScript:
    """The best policy of the tasks of a point: straight to the goal.

    Parameters
    ----------
    goals : sequence of (x, y)

    Examples
    --------
    >>> PointScript(((0.0, 0.8), (0.8, 0.0)))({"observation": np.zeros((1, 2)), "task": np.array([0])}).tolist()
    [[0.0, 1.0]]
    """

    goals: tuple[tuple[float, float], ...]

    def __call__(self, observations: Any) -> NDArray[np.float64]:
        """Return the actions ``[n, 2]`` for ``observation`` ``[n, 2]`` and ``task`` ``[n]``."""
        tasks = np.asarray(observations["task"], np.int64).ravel()
        away = np.asarray(self.goals)[tasks] - observations["observation"]
        actions: NDArray[np.float64] = np.clip(away / SPEED, -1.0, 1.0)
        return actions

    def to_dict(self) -> dict[str, Any]:
        """Return what decides its actions, as JSON values."""
        return {"kind": "point-script", "goals": [list(goal) for goal in self.goals]}
