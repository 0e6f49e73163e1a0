"""Experts that plan instead of having learned: breadth-first search through a maze, and over the states of a grid.

`MazePlanner` drives the point of PointMaze. The next cell on a shortest path to the goal's cell is looked up, and a
proportional-derivative controller heads for its centre, or for the goal itself once that is in the same or the next cell::

    force = gain (target - position) - damping velocity

The straight way to the centre of a neighbouring cell stays inside the two cells, so it meets no wall.

`LavaGapPlanner` acts in MiniGrid's LavaGap from the agent's view alone, as any policy has to. The distance to the goal of
every pose in every layout is found by breadth-first search; each view stands for the poses that look like it, and its
action is the one after which their distances are smallest on average (QMDP: Littman, Cassandra & Kaelbling 1995). Poses
on a shortest path from the start count a thousand times as much as the others, where the expert comes by accident only,
and a step into the lava counts as far more than any way.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from assay.datasets.errors import ConfigError

__all__ = ["MAZES", "LavaGapPlanner", "MazePlanner"]

MAZES: Mapping[str, tuple[str, ...]] = {
    "umaze": ("#####", "#...#", "###.#", "#...#", "#####"),
    "medium": ("########", "#..##..#", "#..#...#", "##...###", "#..#...#", "#.#..#.#", "#...#..#", "########"),
    "large": (
        "############",
        "#....#.....#",
        "#.##.#.#.#.#",
        "#......#...#",
        "#.####.###.#",
        "#..#.#.....#",
        "##.#.#.#.###",
        "#..#...#...#",
        "############",
    ),
}
"""Walls (#) of PointMaze's mazes, row by row from the top, as in ``gymnasium_robotics.envs.maze.maps``."""


@dataclass(frozen=True)
class MazePlanner:
    """A shortest path through the cells of a maze, and a controller that follows it.

    Parameters
    ----------
    maze
        One string for each row of cells from the top, ``#`` where there is a wall. Cells are 1 wide, and the centre of
        the maze is the origin.
    gain, damping
        Of the controller. The defaults are critically damped for PointMaze's ball: a force of 1 accelerates it by 24
        per second squared.
    aim
        The (row, column) of a cell to head for in place of the observed goal.

    Examples
    --------
    >>> planner = MazePlanner(MAZES["umaze"])
    >>> rows = np.zeros(1, [("observation", "f8", (4,)), ("desired_goal", "f8", (2,))])
    >>> rows["observation"], rows["desired_goal"] = [-1, 1, 0, 0], [-1, -1]  # top left, to the bottom left
    >>> planner(rows)  # goes right first, around the wall
    array([[10.,  0.]])
    """

    maze: tuple[str, ...]
    gain: float = 10.0
    damping: float = 1.3
    aim: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if len({len(row) for row in self.maze}) != 1 or set("".join(self.maze)) - set("#."):
            raise ConfigError("a maze is rows of equal length, made of # (wall) and . (free)")

    def __call__(self, observations: Any) -> NDArray[np.float64]:
        """Return forces ``[n, 2]`` for ``observation`` ``[n, 4]`` (position, velocity) and ``desired_goal`` ``[n, 2]``."""
        states, goals = observations["observation"], observations["desired_goal"]
        if self.aim is not None:
            goals = np.broadcast_to(self.centre(self.aim), goals.shape)
        targets = np.array([self.target(state[:2], goal) for state, goal in zip(states, goals)]).reshape(-1, 2)
        forces: NDArray[np.float64] = self.gain * (targets - states[:, :2]) - self.damping * states[:, 2:]
        return forces

    def to_dict(self) -> dict[str, Any]:
        """Return what decides its actions, as JSON values."""
        aim = {} if self.aim is None else {"aim": list(self.aim)}
        return {"kind": "maze-planner", "maze": list(self.maze), "gain": self.gain, "damping": self.damping, **aim}

    def target(self, position: NDArray[np.float64], goal: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the point to head for."""
        here, there = self.cell(position), self.cell(goal)
        following = next_cells(self.maze, there).get(here, there)
        if following == there:
            return goal
        return self.centre(following)

    def centre(self, cell: tuple[int, int]) -> NDArray[np.float64]:
        """Return the point in the middle of a cell."""
        row, column = cell
        return np.array([column + 0.5 - len(self.maze[0]) / 2, len(self.maze) / 2 - row - 0.5])

    def cell(self, point: NDArray[np.float64]) -> tuple[int, int]:
        """Return the (row, column) of a point."""
        return int(np.floor(len(self.maze) / 2 - point[1])), int(np.floor(point[0] + len(self.maze[0]) / 2))


@functools.cache
def next_cells(maze: tuple[str, ...], goal: tuple[int, int]) -> dict[tuple[int, int], tuple[int, int]]:
    """Return, for each cell from which the goal is reached, the neighbour on a shortest path."""
    following = {goal: goal}
    queue = deque([goal])
    while queue:
        row, column = queue.popleft()
        for neighbour in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
            inside = 0 <= neighbour[0] < len(maze) and 0 <= neighbour[1] < len(maze[0])
            if inside and maze[neighbour[0]][neighbour[1]] != "#" and neighbour not in following:
                following[neighbour] = (row, column)
                queue.append(neighbour)
    return following


Pose = tuple[int, int, int]  # column, row, direction: 0 right, 1 down, 2 left, 3 up
STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))
LAVA_COST = 1_000.0
ELSEWHERE = 1e-3
"""Weight of a pose that lies on no shortest path, against one that does."""


@dataclass(frozen=True)
class LavaGapPlanner:
    """The way to the goal of LavaGap, by views.

    Parameters
    ----------
    size
        Of the grid, walls included.

    Raises
    ------
    ConfigError
        If MiniGrid is not installed, or a view is none of this task's.
    """

    size: int = 7

    def __call__(self, observations: ArrayLike) -> NDArray[np.int64]:
        """Return actions ``[n]`` (0 left, 1 right, 2 forward) for flat views ``[n, 98]`` (see `minigrid`)."""
        known = lava_gap_actions(self.size)
        rows = np.asarray(observations, np.float32)
        try:
            return np.array([known[row.tobytes()] for row in rows], np.int64)
        except KeyError:
            raise ConfigError(f"this is no view of LavaGap with {self.size} x {self.size} cells") from None

    def to_dict(self) -> dict[str, Any]:
        """Return what decides its actions, as JSON values."""
        return {"kind": "lava-gap-planner", "size": self.size}


@functools.cache
def lava_gap_actions(size: int) -> dict[bytes, int]:
    """Return the action for every view."""
    costs: dict[bytes, NDArray[np.float64]] = {}
    for gap_column in range(2, size - 2):
        for gap_row in range(1, size - 1):
            distances = lava_gap_distances(size, (gap_column, gap_row))
            likely = shortest_paths(size, distances)
            acting = [pose for pose, distance in distances.items() if distance]
            for pose, view in lava_gap_views(size, (gap_column, gap_row), acting):
                after = np.array([distances.get(outcome(pose, action, size), LAVA_COST) for action in range(3)])
                weight = 1.0 if pose in likely else ELSEWHERE
                costs[view] = costs.get(view, np.zeros(3)) + weight * after
    return {view: int(np.argmin(cost)) for view, cost in costs.items()}


def shortest_paths(size: int, distances: Mapping[Pose, int]) -> set[Pose]:
    """Return the poses on all shortest paths from the start: the top left corner, facing right."""
    found = {(1, 1, 0)}
    queue = deque(found)
    while queue:
        pose = queue.popleft()
        for action in range(3):
            after = outcome(pose, action, size)
            if distances.get(after) == distances[pose] - 1 and after not in found:
                found.add(after)
                queue.append(after)
    return found


def outcome(pose: Pose, action: int, size: int) -> Pose:
    """Return the pose after an action; a wall stops it."""
    column, row, direction = pose
    if action < 2:
        return column, row, (direction + (1 if action else -1)) % 4
    ahead = column + STEPS[direction][0], row + STEPS[direction][1]
    inside = all(1 <= place <= size - 2 for place in ahead)
    return (*(ahead if inside else (column, row)), direction)


def lava_gap_distances(size: int, gap: tuple[int, int]) -> dict[Pose, int]:
    """Return the number of actions from each pose to the goal, by breadth-first search from the goal backwards."""
    free = [
        (column, row, direction)
        for column in range(1, size - 1)
        for row in range(1, size - 1)
        for direction in range(4)
        if column != gap[0] or row == gap[1]
    ]
    before: dict[Pose, list[Pose]] = {pose: [] for pose in free}
    for pose in free:
        for action in range(3):
            after = outcome(pose, action, size)
            if after in before and after != pose:
                before[after].append(pose)
    distances: dict[Pose, int] = {(size - 2, size - 2, direction): 0 for direction in range(4)}
    queue = deque(distances)
    while queue:
        pose = queue.popleft()
        for earlier in before[pose]:
            if earlier not in distances:
                distances[earlier] = distances[pose] + 1
                queue.append(earlier)
    return distances


def lava_gap_views(size: int, gap: tuple[int, int], poses: Sequence[Pose]) -> Iterator[tuple[Pose, bytes]]:
    """Give the view of each pose in one layout, as MiniGrid renders it."""
    from assay.datasets.environments.minigrid import flat_view

    try:
        from minigrid.core.grid import Grid
        from minigrid.core.world_object import Goal, Lava
        from minigrid.envs.lavagap import LavaGapEnv
    except ModuleNotFoundError as error:
        raise ConfigError("MiniGrid is not installed: pip install 'assay[minigrid]'") from error
    task = LavaGapEnv(size=size)
    task.reset(seed=0)
    task.grid = Grid(size, size)
    task.grid.wall_rect(0, 0, size, size)
    task.put_obj(Goal(), size - 2, size - 2)
    task.grid.vert_wall(gap[0], 1, size - 2, Lava)
    task.grid.set(*gap, None)
    for column, row, direction in poses:
        task.agent_pos, task.agent_dir = np.array((column, row)), direction
        view = task.gen_obs()["image"]  # type: ignore[no-untyped-call]
        yield (column, row, direction), flat_view(view).tobytes()
