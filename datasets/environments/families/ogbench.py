"""OGBench's goal-conditioned environments (Park et al. 2025, arXiv 2410.20092); the simulators are in `assay.datasets.environments.ogbench`.

`assay/OGBench-<id>` is OGBench's environment of that id with its goal in the observation and its five tasks as evaluation goals. Data can be
collected of the mazes of the point, where a breadth-first search is the expert, and of one cube, where it is OGBench's own oracle.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING

from assay.datasets.environments.record import EnvironmentFamily, EnvironmentRecord, Expert, Registration

if TYPE_CHECKING:
    from assay.datasets.environments.ogbench_experts import CubeOracle, PointPlanner

__all__ = ["FAMILY", "PUBLISHED", "STEPS", "published_environment"]

STEPS = {
    "pointmaze-medium-v0": 1000,
    "pointmaze-large-v0": 1000,
    "pointmaze-giant-v0": 1000,
    "pointmaze-teleport-v0": 1000,
    "antmaze-medium-v0": 1000,
    "antmaze-large-v0": 1000,
    "antmaze-giant-v0": 1000,
    "antmaze-teleport-v0": 1000,
    "humanoidmaze-medium-v0": 2000,
    "humanoidmaze-large-v0": 2000,
    "humanoidmaze-giant-v0": 4000,
    "antsoccer-arena-v0": 1000,
    "antsoccer-medium-v0": 1000,
    "cube-single-v0": 200,
    "cube-double-v0": 500,
    "cube-triple-v0": 1000,
    "cube-quadruple-v0": 1000,
    "cube-octuple-v0": 1500,
    "scene-v0": 750,
    "puzzle-3x3-v0": 500,
    "puzzle-4x4-v0": 500,
    "puzzle-4x5-v0": 1000,
    "puzzle-4x6-v0": 1000,
}
"""OGBench's ids, and the time limit of each in an evaluation. It registers humanoidmaze-teleport-v0 as well, but the model of that one is broken."""
STEPS_OF_DATA = {"pointmaze-giant-v0": 2000}  # elsewhere 1000

_POINT = ("pointmaze-medium", "pointmaze-large", "pointmaze-giant", "pointmaze-teleport")
_EXPLORED = ("antmaze-medium", "antmaze-large", "antmaze-teleport")
_HUMANOID = ("humanoidmaze-medium", "humanoidmaze-large", "humanoidmaze-giant")
_MOVING = (*_POINT, *_EXPLORED, "antmaze-giant", *_HUMANOID, "antsoccer-arena", "antsoccer-medium")
_CUBES = ("cube-single", "cube-double", "cube-triple", "cube-quadruple")
_ARM = (*_CUBES, "scene", "puzzle-3x3", "puzzle-4x4", "puzzle-4x5", "puzzle-4x6")
PUBLISHED: Mapping[str, tuple[str, ...]] = {
    "navigate": _MOVING,
    "stitch": _MOVING,
    "explore": _EXPLORED,
    "play": _ARM,
    "noisy": _ARM,
}
"""OGBench's datasets of states: the kind of data -> the environments that it was published of."""


def point_planner(maze: str) -> PointPlanner:
    """Make the expert of a maze of the point."""
    from assay.datasets.environments.ogbench_experts import MAZES, PointPlanner

    return PointPlanner(MAZES[maze])


def cube_oracle() -> CubeOracle:
    """Make the expert of one cube."""
    from assay.datasets.environments.ogbench_experts import CubeOracle

    return CubeOracle()


EXPERTS = {
    f"pointmaze-{maze}-v0": Expert(
        functools.partial(point_planner, maze), "A breadth-first search over the cells of the maze,", noise=0.5
    )
    for maze in ("medium", "large", "giant", "teleport")
} | {"cube-single-v0": Expert(cube_oracle, "OGBench's Markov oracle", noise=0.1)}
"""Those of the environments that data can be collected of."""


def published_environment(name: str) -> str | None:
    """Return the id of the environment of a dataset that OGBench published, by its name; None for other names.

    Examples
    --------
    >>> published_environment("pointmaze-medium-navigate-v0"), published_environment("cube-single-play-v0-val")
    ('assay/OGBench-pointmaze-medium-v0', 'assay/OGBench-cube-single-v0')
    >>> published_environment("pointmaze-medium-play-v0") is None
    True
    """
    environment, _, kind = name.removesuffix("-val").removesuffix("-v0").rpartition("-")
    published = environment in PUBLISHED.get(kind, ()) and name.removesuffix("-val").endswith("-v0")
    return f"assay/OGBench-{environment}-v0" if published else None


def _record(task: str) -> EnvironmentRecord:
    expert = EXPERTS.get(task)
    limit = STEPS_OF_DATA.get(task, 1000)
    return EnvironmentRecord(
        f"ogbench-{task.removesuffix('-v0')}" if expert else "",
        f"assay/OGBench-{task}",
        expert=expert,
        registration=Registration("assay.datasets.environments.ogbench:make", {"task": task}, STEPS[task]),
        packages=("mujoco", "numpy", "ogbench"),
        collected={"collecting": True, "max_episode_steps": limit} if expert else {},
    )


FAMILY = EnvironmentFamily(
    environments=tuple(map(_record, STEPS)), prefixes=("assay/OGBench-",), module="ogbench", extra="ogbench"
)
