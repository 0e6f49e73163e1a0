"""highway-env's parking lot (Leurent 2018); a detour drives to a place beside the spot."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from assay.datasets.environments.record import EnvironmentFamily, EnvironmentRecord, Expert

if TYPE_CHECKING:
    from assay.datasets.environments.parking import ParkingPlanner

__all__ = ["FAMILY"]

_BESIDE = 8.0  # metres: two spots


def parking_planner(across: float = 0.0) -> ParkingPlanner:
    """Make the controller that drives into the spot, or beside it."""
    from assay.datasets.environments.parking import ParkingPlanner

    return ParkingPlanner(across)


FAMILY = EnvironmentFamily(
    environments=(
        EnvironmentRecord(
            "parking",
            "parking-v0",
            expert=Expert(parking_planner, "A controller that follows the way into the spot", noise=0.1),
            detour=Expert(
                functools.partial(parking_planner, _BESIDE), "A controller that drives two spots beside", noise=0.3
            ),
            packages=("highway-env", "gymnasium", "numpy"),
        ),
    ),
    prefixes=("parking-",),
    module="highway_env",
    extra="parking",
)
