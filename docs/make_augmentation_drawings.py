"""Draw what each augmentation does to a trajectory: docs/images/augmentation-domains.png and augmentation-states.png.

Usage: python docs/make_augmentation_drawings.py      (needs assay[robotics,parking])

Left, what was recorded; in the middle, segments of it that were moved at random; right, those that guidance keeps. A dot is where a segment
begins. Everything comes from the same transforms that recipes name.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np

import assay
from assay.augmentation import (
    AmplitudeScaling,
    DimensionDropout,
    GaussianNoise,
    GuidedAugmentation,
    RandomAugmentation,
    StateMixUp,
    Symmetry,
    UniformNoise,
)
from assay.augmentation.maze_map import maze_map
from assay.datasets import Dataset

if TYPE_CHECKING:
    from matplotlib.axes import Axes

IMAGES = Path(__file__).parent / "images"
SEGMENTS = 120  # drawn in each panel
INK, BALL, GOAL = "#1f4e79", "#b4460b", "#2c8c4a"


def main() -> None:
    """Draw both figures."""
    domains().savefig(IMAGES / "augmentation-domains.png", dpi=110, facecolor="white")
    states().savefig(IMAGES / "augmentation-states.png", dpi=110, facecolor="white")


def domains() -> plt.Figure:
    """Draw one row for each domain."""
    rows: list[tuple[str, str, int, int, Callable[[Axes], None], Callable[[Dataset], list[np.ndarray]]]] = [
        (
            "PointMaze",
            "pointmaze-medium-goal/detours",
            900,
            12,
            lambda axes: walls(axes, "medium", 1.0, (2.5, -2.5)),
            achieved,
        ),
        (
            "AntMaze",
            "antmaze-umaze-goal/detours",
            1400,
            20,
            lambda axes: walls(axes, "umaze", 4.0, (-4.0, -4.0)),
            achieved,
        ),
        ("soccer", "soccer/detours", 600, 15, field, robot),
        ("parking", "parking/detours", 600, 10, lot, parked),
    ]
    figure, grid = plt.subplots(len(rows), 3, figsize=(10, 3.1 * len(rows)), layout="constrained")
    for line, (name, source, steps, length, scene, places) in zip(grid, rows, strict=True):
        dataset = assay.load(source, steps=steps)
        shown = [
            ("recorded", dataset),
            ("random", RandomAugmentation(length=length, ratio=4)(dataset).select("augmented")),
            ("guided", GuidedAugmentation(length=length, ratio=4)(dataset).select("augmented")),
        ]
        for axes, (title, data) in zip(line, shown, strict=True):
            scene(axes)
            for path in places(data.select(range(min(SEGMENTS, data.total_episodes)))):
                axes.plot(path[:, 0], path[:, 1], color=INK, linewidth=0.8)
                axes.plot(*path[0], "o", color=INK, markersize=2.5)
            if name == "soccer":
                for path in paths(data.select(range(min(SEGMENTS, data.total_episodes))), slice(2, 4)):
                    axes.plot(path[:, 0], path[:, 1], color=BALL, linewidth=1.4)
            axes.set(title=f"{name}: {title}", xticks=[], yticks=[])
            axes.set_aspect("equal")
    return figure


def paths(dataset: Dataset, entries: slice, part: str | None = None) -> list[np.ndarray]:
    """Return two numbers of the observations, episode by episode."""
    rows = dataset.observations if part is None else dataset.observations[part]
    return np.split(rows[:, entries], np.cumsum(dataset.episode_lengths + 1)[:-1])


def achieved(dataset: Dataset) -> list[np.ndarray]:
    """Return the places of a body in a maze."""
    return paths(dataset, slice(0, 2), "achieved_goal")


def robot(dataset: Dataset) -> list[np.ndarray]:
    """Return the places of the soccer robot."""
    return paths(dataset, slice(0, 2))


def parked(dataset: Dataset) -> list[np.ndarray]:
    """Return the car's places as seen from its spot, whose heading is up."""
    found = []
    for path, goal in zip(
        paths(dataset, slice(0, 2), "achieved_goal"), paths(dataset, slice(0, 6), "desired_goal"), strict=True
    ):
        offset, heading = 100 * (path - goal[:, :2]), goal[0, 4:]
        along, across = offset @ heading, offset @ np.array([heading[1], -heading[0]])
        found.append(np.stack([across, along], 1))
    return found


def walls(axes: Axes, name: str, scale: float, goal: tuple[float, float]) -> None:
    """Draw the walls of a maze and its goal."""
    maze = maze_map(name, scale)
    height, width = np.array(maze.free.shape) * scale / 2
    axes.imshow(~maze.free, cmap="Greys", vmax=2.5, extent=(-width, width, -height, height))
    axes.plot(*goal, "*", color=GOAL, markersize=11)


def field(axes: Axes) -> None:
    """Draw the soccer field and its goal."""
    axes.plot([-4.5, 4.5, 4.5, -4.5, -4.5], [-3, -3, 3, 3, -3], color="#9aa0a6", linewidth=1)
    axes.plot([4.5, 4.5], [-0.75, 0.75], color=GOAL, linewidth=4)


def lot(axes: Axes) -> None:
    """Draw the spot, as the car is to stand in it."""
    axes.plot([-2, -2, 2, 2], [-4, 4, 4, -4], color=GOAL, linewidth=1.5)
    axes.set(xlim=(-45, 45), ylim=(-40, 25))


def states() -> plt.Figure:
    """Draw the angle and the speed of one swing of a pendulum under each perturbation, and mirrored."""
    dataset = assay.load("pendulum/medium", steps=200)
    shown: list[tuple[str, Any]] = [
        ("Gaussian noise, scale 0.1", GaussianNoise(scale=0.1, length=25)),
        ("uniform noise, scale 0.2", UniformNoise(scale=0.2, length=25)),
        ("amplitude scaling", AmplitudeScaling(length=25)),
        ("state mix-up", StateMixUp(length=25)),
        ("dimension dropout, 0.3", DimensionDropout(probability=0.3, length=25)),
        ("symmetry", Symmetry(observation_signs=(1, -1, -1), action_signs=(-1,), length=25)),
    ]
    figure, grid = plt.subplots(2, 3, figsize=(10, 5.6), layout="constrained")
    for axes, (title, transform) in zip(grid.flat, shown, strict=True):
        source, added = dataset.observations, transform(dataset).select("augmented")
        axes.plot(source[:200, 1], source[:200, 2], color="#9aa0a6", linewidth=3, alpha=0.6, label="recorded")
        for path in paths(added, slice(1, 3)):
            axes.plot(path[:, 0], path[:, 1], color=INK, linewidth=0.9)
            axes.plot(*path[0], "o", color=INK, markersize=2.5)
        axes.set(title=title, xlabel="sine of the angle", ylabel="speed (rad/s)")
    return figure


if __name__ == "__main__":
    main()
