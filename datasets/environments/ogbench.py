"""OGBench's environments (Park et al. 2025, arXiv 2410.20092), with the goal in the observation and its five tasks as evaluation goals.

OGBench observes a state and hands out the goal once, as a state of the same kind. Here both are parts of every observation, so that the
networks of goal-conditioned algorithms see what OGBench's see, the state beside the goal::

    achieved_goal    [n]    the state: OGBench's observation
    desired_goal     [n]    a state at the goal: info["goal"] of OGBench's reset

Starts, goals, rewards, success and the time limit are OGBench's: the k-th evaluation goal (from 0) is its task k + 1, and without a number
the environment draws one of the five. Success ends the episode with a reward of 1, so that the return is OGBench's success.

With `collecting=True` an episode is one of OGBench's data: it begins anywhere, and whenever the goal is reached another one is drawn, until
the time limit. That needs rules of its own for each kind of environment, and is there for the mazes of the point (`PointData`) and for one cube
(`CubeData`).

OGBench draws much of this from generators that no seed reaches: NumPy's global one (tasks, places within cells, teleports), and one that
the arm makes anew for every draw (the steps after which a goal is observed). Both are replaced here, so that an episode follows from its seed.
"""

from __future__ import annotations

import contextlib
import copy
import os
import warnings
from collections.abc import Iterator
from typing import Any

import gymnasium
import mujoco
import numpy as np
from numpy.typing import NDArray

from assay.datasets.environments.goals import EvaluationGoals
from assay.datasets.environments.ogbench_experts import CUBE, GRIPPER, SCALE
from assay.datasets.errors import ConfigError

__all__ = ["CubeData", "GoalBesideState", "OGBenchTasks", "PointData", "make"]

Array = NDArray[np.float64]


class GoalBesideState(gymnasium.Env[Any, Any]):
    """An environment of OGBench that observes the goal too.

    Parameters
    ----------
    task : str
        OGBench's id of it, such as `"pointmaze-medium-v0"`.
    **options
        Of OGBench's environment.

    Raises
    ------
    ConfigError
        If OGBench is not installed.
    """

    def __init__(self, task: str, **options: Any) -> None:
        self.core = core_of(task, options)
        self.generator = generator_of(None)
        self.action_space = self.core.action_space
        state = self.core.observation_space
        self.observation_space = gymnasium.spaces.Dict({"achieved_goal": state, "desired_goal": state})
        self.goal: Array = np.zeros(state.shape)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Begin an episode: of the task that the options name, as OGBench numbers them, else of one that is drawn."""
        super().reset(seed=seed)
        if seed is not None:
            self.generator = generator_of(seed)
            self.action_space.seed(seed)
        return self.beside(self.begin(seed, options)), {}

    def begin(self, seed: int | None, options: dict[str, Any] | None) -> Any:
        """Reset OGBench's environment, take its goal, and return its state."""
        with drawing_from(self.generator):
            state, info = self.core.reset(seed=seed, options=options)
        self.goal = info["goal"]
        return state

    def step(self, action: Any) -> Any:
        """Step as OGBench does."""
        with drawing_from(self.generator):
            state, reward, terminated, truncated, info = self.core.step(action)
        told = {"success": bool(info["success"])}
        return self.beside(state), float(reward), bool(terminated), bool(truncated), told

    def beside(self, state: Array) -> dict[str, Array]:
        """Return the observation of a state under the goal."""
        return {"achieved_goal": state, "desired_goal": self.goal}

    def close(self) -> None:
        """Close the environment."""
        self.core.close()


class OGBenchTasks(EvaluationGoals):
    """An environment of OGBench whose evaluation goals are its tasks."""

    def __init__(self, task: str) -> None:
        env = GoalBesideState(task)
        super().__init__(env, range(1, env.core.num_tasks + 1))

    def begin(self, goal: Any, seed: int | None) -> Any:
        """Begin a task."""
        return self.env.reset(seed=seed, options={"task_id": goal})


class PointData(GoalBesideState):
    """A maze of the point as OGBench's data `navigate` are collected: from anywhere, to goal after goal."""

    def __init__(self, task: str) -> None:
        super().__init__(task, terminate_at_goal=False)
        self.cells = np.argwhere(self.core.maze_map == 0)
        self.corners = np.array([cell for cell in self.cells if not is_hallway(self.core.maze_map, *cell)])

    def begin(self, seed: int | None, options: dict[str, Any] | None) -> Any:
        """Begin in any cell, towards any that is no hallway."""
        task = {"init_ij": self.drawn(self.cells), "goal_ij": self.drawn(self.corners)}
        return super().begin(seed, {"task_info": task})

    def step(self, action: Any) -> Any:
        """Step, and draw another goal where this one is reached."""
        observation, *outcome = super().step(action)
        if outcome[-1]["success"]:
            middle = self.core.ij_to_xy(self.drawn(self.corners))
            with drawing_from(self.generator):
                self.goal = np.array(self.core.add_noise(middle))
            self.core.set_goal(goal_xy=self.goal)
        return self.beside(observation["achieved_goal"]), *outcome

    def drawn(self, cells: NDArray[np.int64]) -> tuple[int, int]:
        """Return one of some cells."""
        row, column = cells[self.generator.integers(len(cells))]
        return int(row), int(column)


class CubeData(GoalBesideState):
    """One cube and the arm as OGBench's data of oracles are collected: to place after place.

    Another place is drawn once the cube lies within 2 cm of its place and the gripper is within 4 cm of its own, or after 200 steps; so
    OGBench's oracle says that it is done.
    """

    most_steps = 200

    def __init__(self, task: str) -> None:
        super().__init__(task, terminate_at_goal=False, mode="data_collection")
        self.steps = 0  # since the place was drawn

    def begin(self, seed: int | None, options: dict[str, Any] | None) -> Any:
        """Begin with arm, cube and its place anywhere."""
        state, _ = self.core.reset(seed=seed)
        self.aim()
        return state

    def step(self, action: Any) -> Any:
        """Step, and draw another place where it is time."""
        observation, *outcome = super().step(action)
        self.steps += 1
        gripper, cube = (
            np.linalg.norm(observation["achieved_goal"][part] - self.goal[part]) / SCALE for part in (GRIPPER, CUBE)
        )
        if (cube <= 0.02 and gripper <= 0.04) or self.steps == self.most_steps:
            self.core.set_new_target(return_info=False)
            self.aim()
        return self.beside(observation["achieved_goal"]), *outcome

    def aim(self) -> None:
        """Take for the goal what is observed of the arm anywhere and the cube at its place, on a copy of the simulation."""
        core, self.steps = self.core, 0
        simulation, core._data = core._data, copy.copy(core._data)
        target = core._cube_target_mocap_ids[0]
        core._data.joint("object_joint_0").qpos[:3] = core._data.mocap_pos[target]
        core._data.joint("object_joint_0").qpos[3:] = core._data.mocap_quat[target]
        core.initialize_arm()
        mujoco.mj_rnePostConstraint(core._model, core._data)  # what the gripper touches
        self.goal, core._data = core.compute_observation(), simulation


def make(task: str, collecting: bool = False) -> gymnasium.Env[Any, Any]:
    """Make an environment of OGBench.

    Parameters
    ----------
    task : str
        OGBench's id of it.
    collecting : bool
        Whether episodes are those of data and not those of an evaluation.

    Raises
    ------
    ConfigError
        If OGBench is not installed, or data are to be collected where there are no rules for it.
    """
    if not collecting:
        return OGBenchTasks(task)
    if task.startswith("pointmaze-"):
        return PointData(task)
    if task == "cube-single-v0":
        return CubeData(task)
    raise ConfigError(f"collecting: data can be collected in OGBench's pointmaze-... and cube-single-v0, not in {task}")


def core_of(task: str, options: dict[str, Any]) -> Any:
    """Make an environment as OGBench registers it, without Gymnasium's wrappers."""
    try:
        import ogbench  # noqa: F401  (importing registers them)
    except ModuleNotFoundError as error:
        raise ConfigError(f"{error.name} is not installed: pip install 'assay[ogbench]'") from error
    spec = gymnasium.spec(task)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*X11: The DISPLAY environment variable")  # nothing is shown
        kind: Any = gymnasium.envs.registration.load_env_creator(str(spec.entry_point))
        if isinstance(kind, type):
            # The arm's action space is made anew by every look at it, each time with another generator.
            kind = type(kind.__name__, (kind,), {"action_space": gymnasium.spaces.Box(-1.0, 1.0, (5,), np.float32)})
        core = kind(**{**spec.kwargs, **options})
    if file := getattr(core, "fullpath", None):
        os.unlink(file)  # the model of a maze is written to a temporary file, which has been read
    return core


def generator_of(seed: int | None) -> np.random.Generator:
    """Return the generator of an episode, apart from those that its simulator and its policy's noise have of the same seed."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(2,))))


@contextlib.contextmanager
def drawing_from(generator: np.random.Generator) -> Iterator[None]:
    """Let what draws from NumPy's global generator draw from another one."""
    everyones: Any = np.random
    before = everyones.get_bit_generator()
    everyones.set_bit_generator(generator.bit_generator)
    try:
        yield
    finally:
        everyones.set_bit_generator(before)


def is_hallway(walls: NDArray[np.int64], row: int, column: int) -> bool:
    """Tell whether a free cell is only passed through: two neighbours on one line are free, the other two are walls.

    Examples
    --------
    >>> walls = np.array([[1, 1, 1, 1], [1, 0, 0, 1], [1, 0, 1, 1], [1, 0, 0, 1], [1, 1, 1, 1]])
    >>> [(row, column) for row, column in np.argwhere(walls == 0).tolist() if is_hallway(walls, row, column)]
    [(2, 1)]
    """
    beside = walls[row, column - 1], walls[row, column + 1]
    across = walls[row - 1, column], walls[row + 1, column]
    return {(*beside, *across)} <= {(0, 0, 1, 1), (1, 1, 0, 0)}
