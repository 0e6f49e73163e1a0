"""Environments of Assay's own, registered with Gymnasium under ``assay/`` when this module is imported.

``assay/SparsePendulum-v0`` is Gymnasium's Pendulum-v1 with a reward of 1 for each step on which the pole stands upright
(the cosine of its angle, the first entry of the observation, is above 0.95) and 0 otherwise. Everything else is
Pendulum-v1's: it begins hanging anywhere, swings up only by going back and forth, and is truncated after 200 steps.

``assay/MinAtar-<game>-v0`` and ``assay/MiniGrid-<task>-v0`` are described in `minatar` and `minigrid`. They need
the extras of those names, when they are made and not before. All ids come from the records in `families`.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import gymnasium

from assay.datasets.environments.record import families

__all__ = ["PREFIX", "SparseReward"]

PREFIX = "assay/"
UPRIGHT = 0.95


class SparseReward(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Replaces Pendulum's cost by 1 where the pole is upright after the step, else 0.

    Examples
    --------
    >>> environment = gymnasium.make("assay/SparsePendulum-v0")
    >>> observation, _ = environment.reset(seed=0)
    >>> environment.step([0.0])[1] in (0.0, 1.0)
    True
    """

    def step(self, action: Any) -> Any:
        """Step, and look at the observation."""
        observation, _, terminated, truncated, info = self.env.step(action)
        return observation, float(observation[0] > UPRIGHT), terminated, truncated, info


def sparse_pendulum(**options: Any) -> gymnasium.Env[Any, Any]:
    """Make a pendulum with sparse rewards."""
    from gymnasium.envs.classic_control.pendulum import PendulumEnv

    return SparseReward(PendulumEnv(**options))


for _family in families():
    for _record in _family.environments:
        if _record.registration is not None and _record.environment_id not in gymnasium.registry:
            gymnasium.register(_record.environment_id, **asdict(_record.registration))
