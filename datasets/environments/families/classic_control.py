"""Gymnasium's classic control, and Pendulum with sparse rewards.

Two experts are written down: MountainCar pushes in the direction of its velocity, and Acrobot turns in the direction of its
second joint's.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from assay.datasets.environments.record import EnvironmentFamily, EnvironmentRecord, Expert, Registration

if TYPE_CHECKING:
    from assay.datasets.collection.policies import LinearPolicy

__all__ = ["FAMILY", "by_sign"]


def by_sign(entry: int, size: int, sign: int) -> LinearPolicy:
    """Return a policy of three actions (back, none, forth) that takes the sign of one entry of the observation."""
    import numpy as np

    from assay.datasets.collection.policies import LinearPolicy

    weights = np.zeros((3, size))
    weights[[0, 2], entry] = -sign, sign
    return LinearPolicy(weights, np.zeros(size), np.ones(size), discrete=True)


FAMILY = EnvironmentFamily(
    environments=(
        EnvironmentRecord("pendulum", "Pendulum-v1", trained=True),
        EnvironmentRecord(
            "pendulum-sparse",
            "assay/SparsePendulum-v0",
            trained=True,
            registration=Registration("assay.datasets.environments.tasks:sparse_pendulum", max_episode_steps=200),
        ),
        EnvironmentRecord("cartpole", "CartPole-v1", trained=True),
        EnvironmentRecord(
            "mountaincar",
            "MountainCar-v0",
            expert=Expert(
                functools.partial(by_sign, 1, 2, 1), "A push in the direction of the velocity", discrete=True
            ),
        ),
        EnvironmentRecord(
            "acrobot",
            "Acrobot-v1",
            expert=Expert(
                functools.partial(by_sign, 5, 6, 1),
                "A torque in the direction of the second joint's velocity",
                discrete=True,
            ),
        ),
    )
)
