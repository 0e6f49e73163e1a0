"""Problems with costs: what must not happen stands beside what is rewarded.

The simulators are `braking_car.BrakingCar` and `point_robot.PointRobot`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from assay.datasets.environments.record import EnvironmentFamily, EnvironmentRecord, Expert, Registration

if TYPE_CHECKING:
    from assay.datasets.environments.braking_car import LateBraker, Rusher
    from assay.datasets.environments.point_robot import CarefulDriver, StraightDriver

__all__ = ["FAMILY", "careful_driver", "late_braker", "rusher", "straight_driver"]


def late_braker() -> LateBraker:
    """Make the best of the policies that never meet the wall."""
    from assay.datasets.environments.braking_car import LateBraker

    return LateBraker()


def rusher() -> Rusher:
    """Make the policy that never brakes."""
    from assay.datasets.environments.braking_car import Rusher

    return Rusher()


def careful_driver() -> CarefulDriver:
    """Make the policy that drives round the hazards."""
    from assay.datasets.environments.point_robot import CarefulDriver

    return CarefulDriver()


def straight_driver() -> StraightDriver:
    """Make the policy that drives straight to the goal."""
    from assay.datasets.environments.point_robot import StraightDriver

    return StraightDriver()


FAMILY = EnvironmentFamily(
    environments=(
        EnvironmentRecord(
            "braking-car",
            "assay/BrakingCar-v0",
            expert=Expert(late_braker, "Braking as late as the wall allows"),
            detour=Expert(rusher, "Never braking"),
            registration=Registration("assay.datasets.environments.braking_car:BrakingCar"),
        ),
        EnvironmentRecord(
            "point-robot",
            "assay/PointRobot-v0",
            expert=Expert(careful_driver, "Driving round the hazards", noise=0.3),
            detour=Expert(straight_driver, "Driving straight to the goal", noise=0.3),
            registration=Registration("assay.datasets.environments.point_robot:PointRobot"),
        ),
    )
)
