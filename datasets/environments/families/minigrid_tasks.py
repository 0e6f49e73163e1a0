"""MiniGrid's tasks as the Dataset Perspective paper observes them; the simulator is `minigrid.FlatView`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from assay.datasets.environments.record import EnvironmentFamily, EnvironmentRecord, Expert, Registration

if TYPE_CHECKING:
    from assay.datasets.environments.planners import LavaGapPlanner

__all__ = ["FAMILY", "TASKS"]

TASKS = {
    "LavaGapS7": "MiniGrid-LavaGapS7-v0",
    "Dynamic-Obstacles-8x8": "MiniGrid-Dynamic-Obstacles-8x8-v0",
}
"""Assay's name of each task -> MiniGrid's id."""


def lava_gap_planner() -> LavaGapPlanner:
    """Make the expert of LavaGap."""
    from assay.datasets.environments.planners import LavaGapPlanner

    return LavaGapPlanner()


def _record(name: str, task: str, expert: Expert | None = None) -> EnvironmentRecord:
    registration = Registration("assay.datasets.environments.minigrid:FlatView", {"task": TASKS[task]})
    packages = ("minigrid", "numpy")
    return EnvironmentRecord(
        name, f"assay/MiniGrid-{task}-v0", expert=expert, registration=registration, packages=packages
    )


FAMILY = EnvironmentFamily(
    environments=(
        _record(
            "lavagap",
            "LavaGapS7",
            Expert(
                lava_gap_planner,
                "A breadth-first search over poses, averaged over those that look alike,",
                discrete=True,
            ),
        ),
        _record("dynamic-obstacles", "Dynamic-Obstacles-8x8"),
    ),
    prefixes=("MiniGrid-", "assay/MiniGrid-"),
    module="minigrid",
    extra="minigrid",
)
