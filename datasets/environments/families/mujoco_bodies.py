"""Gymnasium's MuJoCo bodies, with D4RL's returns of random and expert policies (d4rl/infos.py, v2)."""

from __future__ import annotations

from assay.datasets.environments.record import EnvironmentFamily, EnvironmentRecord

__all__ = ["FAMILY"]

FAMILY = EnvironmentFamily(
    environments=(
        EnvironmentRecord("hopper", "Hopper-v5", trained=True, reference_returns=(-20.272305, 3234.3)),
        EnvironmentRecord("halfcheetah", "HalfCheetah-v5", trained=True, reference_returns=(-280.178953, 12135.0)),
        EnvironmentRecord("walker2d", "Walker2d-v5", trained=True, reference_returns=(1.629008, 4592.3)),
        EnvironmentRecord("", "Ant-v5", reference_returns=(-325.6, 3879.7)),
    )
)
