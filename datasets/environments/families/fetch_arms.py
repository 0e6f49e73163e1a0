"""Gymnasium-Robotics' Fetch arm, with evaluation goals: reaching a place, and pushing a block to one.

`assay/FetchReach-MultiGoal-v0` and `assay/FetchPush-MultiGoal-v0` are FetchReach-v4 and FetchPush-v4 with five evaluation goals and a reward of 1
for being at the goal in the last of 50 steps (`goals.FetchGoals`). Their experts are written down (`arm_scripts`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from assay.datasets.environments.record import EnvironmentFamily, EnvironmentRecord, Expert, Registration

if TYPE_CHECKING:
    from assay.datasets.environments.arm_scripts import PushScript, ReachScript

__all__ = ["FAMILY"]

STEPS = 50
REACH_GOALS = ((0.12, 0.12, 0.1), (0.12, -0.12, -0.1), (-0.12, 0.12, -0.1), (-0.12, -0.12, 0.1), (0.0, 0.0, -0.12))
PUSH_GOALS = ((0.12, 0.12, 0.0), (0.12, -0.12, 0.0), (-0.12, 0.12, 0.0), (-0.12, -0.12, 0.0), (0.0, 0.0, 0.0))
"""Metres from where the gripper begins; training goals are drawn within 0.15 of it along each axis."""


def reach_script() -> ReachScript:
    """Make the expert that reaches."""
    from assay.datasets.environments.arm_scripts import ReachScript

    return ReachScript()


def push_script() -> PushScript:
    """Make the expert that pushes."""
    from assay.datasets.environments.arm_scripts import PushScript

    return PushScript()


def _arm(task: str, goals: tuple[tuple[float, ...], ...], expert: Expert) -> EnvironmentRecord:
    return EnvironmentRecord(
        f"fetch-{task}",
        f"assay/Fetch{task.title()}-MultiGoal-v0",
        expert=expert,
        registration=Registration(
            "assay.datasets.environments.goals:fetch_with_goals",
            {"task": task, "goals": [list(goal) for goal in goals], "horizon": STEPS},
            max_episode_steps=STEPS,
        ),
        packages=("gymnasium-robotics", "mujoco", "numpy"),
    )


FAMILY = EnvironmentFamily(
    environments=(
        _arm("reach", REACH_GOALS, Expert(reach_script, "A controller that moves the gripper to the goal", noise=0.2)),
        _arm(
            "push",
            PUSH_GOALS,
            Expert(push_script, "A script that goes behind the block and pushes it to the goal", noise=0.2),
        ),
    ),
    prefixes=("Fetch", "assay/Fetch"),
    module="gymnasium_robotics",
    extra="robotics",
)
