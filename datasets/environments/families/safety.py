"""Problems with costs: what must not happen stands beside what is rewarded.

The simulator is `braking_car.BrakingCar`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from assay.datasets.environments.record import EnvironmentFamily, EnvironmentRecord, Expert, Registration

if TYPE_CHECKING:
    from assay.datasets.environments.braking_car import LateBraker, Rusher

__all__ = ["FAMILY", "late_braker", "rusher"]


def late_braker() -> LateBraker:
    """Make the best of the policies that never meet the wall."""
    from assay.datasets.environments.braking_car import LateBraker

    return LateBraker()


def rusher() -> Rusher:
    """Make the policy that never brakes."""
    from assay.datasets.environments.braking_car import Rusher

    return Rusher()


FAMILY = EnvironmentFamily(
    environments=(
        EnvironmentRecord(
            "braking-car",
            "assay/BrakingCar-v0",
            expert=Expert(late_braker, "Braking as late as the wall allows"),
            detour=Expert(rusher, "Never braking"),
            registration=Registration("assay.datasets.environments.braking_car:BrakingCar"),
        ),
    )
)
