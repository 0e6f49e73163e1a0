"""Tasks that come one after the other: a point in a plane with three goals. The simulators are in `task_sequence`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from assay.datasets.environments.record import EnvironmentFamily, EnvironmentRecord, Expert, Registration

if TYPE_CHECKING:
    from assay.datasets.environments.task_sequence import PointScript

__all__ = ["FAMILY", "point_script"]

GOALS = ((0.0, 0.8), (-0.69282, -0.4), (0.69282, -0.4))
"""Of the point: three directions a third of a turn apart, 0.8 from the middle."""


def point_script() -> PointScript:
    """Make the best policy of the tasks of a point."""
    from assay.datasets.environments.task_sequence import PointScript

    return PointScript(GOALS)


FAMILY = EnvironmentFamily(
    environments=(
        EnvironmentRecord(
            "point-tasks",
            "assay/PointTasks-v0",
            expert=Expert(point_script, "Straight to the goal of the task", noise=0.3),
            registration=Registration(
                "assay.datasets.environments.task_sequence:point_tasks",
                {"goals": [list(goal) for goal in GOALS]},
            ),
        ),
    )
)
