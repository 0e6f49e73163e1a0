"""What the mazes of Gymnasium-Robotics have in common: places that are free, goals, rewards and terminations.

Away from walls the dynamics are the same everywhere and in all four directions of the grid, so a segment may be moved to any place p~,
mirrored and rotated by R::

    p_t  ->  p~ + R (p_t - p_0)

What R does to velocities, orientations and actions says the domain of the body. A segment is valid where the body touches no wall, before
or after the motion.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pydantic

from assay.augmentation.domain import Domain
from assay.augmentation.maze_map import MazeMap, maze_map, read_map
from assay.augmentation.plane import Motions, Rotation
from assay.augmentation.segments import Segments
from assay.augmentation.simulator import Simulator
from assay.datasets.dataset import Dataset
from assay.datasets.environments.specification import EnvironmentSpec
from assay.datasets.environments.worker import register_environments_of
from assay.datasets.errors import DatasetError

__all__ = ["GOAL_RADIUS", "Maze", "MazeSimulator"]

GOAL_RADIUS = 0.45
_GOAL_SPREAD = 0.25  # of a cell, around its centre, as the simulator draws goals


@pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=pydantic.ConfigDict(extra="forbid"))
class Maze(Domain):
    """Base of the mazes, whose observations are `observation`, `achieved_goal` and `desired_goal`.

    Parameters
    ----------
    map : str or rows
        `"umaze"`, `"medium"`, `"large"`, `"open"`, or rows of walls (1 or #) and free cells (0, ., r, g, c).
    goals : "kept" or "redrawn"
        Whether a new segment has the goal of its source, or one that is drawn as the simulator draws goals.
    rotation : "quarter" or "any"
    mirrored : bool
        Whether segments may be mirrored.
    dense : bool
        Rewards are exp(-distance) in place of 1 at the goal.
    episodic : bool
        Reaching the goal is a termination (`continuing_task=False`); no segment goes on from there.
    """

    map: Annotated[Any, pydantic.BeforeValidator(read_map)] = "umaze"
    goals: Literal["kept", "redrawn"] = "kept"
    rotation: Rotation = "quarter"
    mirrored: bool = True
    dense: bool = False
    episodic: bool = False

    scale: ClassVar[float]
    """Width of a cell."""
    clearance: ClassVar[float]
    """Distance from the walls at which the body touches none."""
    sizes: ClassVar[tuple[int, ...]]
    """Numbers in an `observation`."""

    ids: ClassVar[str]
    """How the ids of its environments begin."""

    @classmethod
    def of_environment(cls, spec: EnvironmentSpec) -> Domain | None:  # noqa: D102
        if not spec.id.removeprefix("assay/").replace("-", "_").startswith(cls.ids) or "maze_map" not in spec.kwargs:
            return None
        return cls(
            map=spec.kwargs["maze_map"],
            dense=spec.kwargs.get("reward_type", "sparse") == "dense",
            episodic=not spec.kwargs.get("continuing_task", True),
        )

    @property
    def maze(self) -> MazeMap:
        """Tables of the map."""
        return maze_map(self.map, self.scale)

    def check(self, dataset: Dataset) -> None:  # noqa: D102
        wanted = f"{self.name}: observations with the parts observation ({' or '.join(map(str, self.sizes))} numbers), "
        wanted += "achieved_goal and desired_goal (2 each) are needed"
        parts = dataset.observations
        if not isinstance(parts, dict) or set(parts) != {"observation", "achieved_goal", "desired_goal"}:
            raise DatasetError(
                f"{wanted}; the dataset has {', '.join(name for name in dataset.columns if 'observations' in name)}"
            )
        for name, sizes in {"observation": self.sizes, "achieved_goal": (2,), "desired_goal": (2,)}.items():
            if parts[name].ndim != 2 or parts[name].shape[1] not in sizes:
                raise DatasetError(f"{wanted}; observations/{name} has {list(parts[name].shape[1:])}")
        outside = np.flatnonzero(self.maze.cell(parts["desired_goal"]) < 0)
        if len(outside):
            goal = np.round(parts["desired_goal"][outside[0]], 2).tolist()
            raise DatasetError(
                f"{self.name}: the goal {goal} in row {outside[0]} of the observations lies in no free cell of the map; is map right?"
            )

    def augment(self, segments: Segments, generator: np.random.Generator) -> tuple[Segments, np.ndarray]:  # noqa: D102
        return self._moved(segments, generator, aimed=False)

    def aim(self, segments: Segments, generator: np.random.Generator) -> tuple[Segments, np.ndarray]:
        """Propose the rotations that turn what a segment covers into the direction of the way to the goal."""
        return self._moved(segments, generator, aimed=True)

    def potential(self, observations: Any) -> np.ndarray:
        """Return minus the length of the way to the goal, (M,)."""
        return -self.maze.distance(observations["achieved_goal"], observations["desired_goal"])

    def labelled(self, segments: Segments) -> Segments:  # noqa: D102
        offsets = segments.observations["achieved_goal"] - segments.observations["desired_goal"]
        distances = np.hypot(offsets[:, 1:, 0], offsets[:, 1:, 1])
        reached = distances <= GOAL_RADIUS
        rewards = np.exp(-distances) if self.dense else reached.astype(np.float64)
        return segments.with_changes(rewards=rewards, terminations=reached if self.episodic else np.zeros_like(reached))

    def _moved(self, segments: Segments, generator: np.random.Generator, aimed: bool) -> tuple[Segments, np.ndarray]:
        maze, count = self.maze, len(segments)
        positions = segments.observations["achieved_goal"].astype(np.float64)
        goals = segments.observations["desired_goal"].astype(np.float64)
        if self.goals == "redrawn":
            spread = _GOAL_SPREAD * self.scale * generator.uniform(-1, 1, (count, 2))
            goals = np.broadcast_to(
                (maze.goals[generator.integers(0, len(maze.goals), count)] + spread)[:, None], goals.shape
            )
        places = maze.draw(count, generator, self.clearance)
        offsets = positions - positions[:, :1]
        if aimed:
            heading = maze.heading(places, goals[:, 0])
            motions = Motions.towards(offsets[:, -1], heading, generator, self.rotation, self.mirrored)
        else:
            motions = Motions.draw(count, generator, self.rotation, self.mirrored)
        moved = motions(offsets)
        moved += places[:, None]
        valid = maze.clear(positions, self.clearance).all(axis=1) & maze.clear(moved, self.clearance).all(axis=1)
        if self.episodic:
            valid &= (np.hypot(*np.moveaxis(moved[:, :-1] - goals[:, :-1], 2, 0)) > GOAL_RADIUS).all(axis=1)
        observation, actions, possible = self.turned(
            segments.observations["observation"], segments.actions, motions, moved
        )
        observations = {"observation": observation, "achieved_goal": moved, "desired_goal": goals}
        return segments.with_changes(observations=observations, actions=actions), valid & possible

    @abstractmethod
    def turned(
        self, observation: np.ndarray, actions: np.ndarray, motions: Motions, places: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return what motions make of the body's state and its actions, and whether the body could do it, (M,) bool.

        Parameters
        ----------
        observation : (M, L + 1, size)
        actions : (M, L, ...)
        motions : Motions
        places : (M, L + 1, 2)
            Where the body is after the motion.
        """


class MazeSimulator(Simulator):
    """Steps a maze of Gymnasium-Robotics from an observation.

    Parameters
    ----------
    domain : Maze
    """

    def __init__(self, domain: Maze) -> None:
        register_environments_of("PointMaze_UMaze-v3")  # imports Gymnasium-Robotics
        rows = domain.maze.rows
        self.options: dict[str, Any] = {
            "maze_map": [[{"#": 1, ".": 0}.get(cell, cell) for cell in row] for row in rows],
            "reward_type": "dense" if domain.dense else "sparse",
            "continuing_task": not domain.episodic,
        }

    @abstractmethod
    def environment(self, observation: np.ndarray) -> tuple[Any, Any]:
        """Return the environment and the part of it that holds the state."""

    @abstractmethod
    def state(self, observation: np.ndarray, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the positions and velocities of the simulator."""

    def step(self, observation: Any, action: Any) -> tuple[Any, float, bool]:  # noqa: D102
        environment, body = self.environment(observation["observation"])
        environment.goal = np.array(observation["desired_goal"], np.float64)
        body.set_state(*self.state(np.asarray(observation["observation"], np.float64), observation["achieved_goal"]))
        after, reward, terminated, _, _ = environment.step(np.asarray(action))
        return after, float(reward), bool(terminated)
