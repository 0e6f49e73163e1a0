"""The soccer task of the GuDA paper; the simulator is `push_ball.PushBallToGoal`. A detour pushes the ball to a side line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from assay.datasets.environments.record import EnvironmentFamily, EnvironmentRecord, Expert, Registration

if TYPE_CHECKING:
    from assay.datasets.environments.push_ball import BallPlanner

__all__ = ["FAMILY"]

_SIDE_LINE = (0.0, 2.9)


def ball_planner() -> BallPlanner:
    """Make the controller that pushes the ball into the goal."""
    from assay.datasets.environments.push_ball import BallPlanner

    return BallPlanner()


def detour_planner() -> BallPlanner:
    """Make the controller that pushes the ball to a side line."""
    from assay.datasets.environments.push_ball import BallPlanner

    return BallPlanner(aim=_SIDE_LINE)


FAMILY = EnvironmentFamily(
    environments=(
        EnvironmentRecord(
            "soccer",
            "assay/PushBallToGoal-v0",
            expert=Expert(ball_planner, "A planner that walks behind the ball and pushes it to the goal", noise=0.3),
            detour=Expert(detour_planner, "A planner that pushes the ball to a side line", noise=0.3),
            registration=Registration("assay.datasets.environments.push_ball:PushBallToGoal", max_episode_steps=250),
        ),
    )
)
