"""When an episode of a known environment ends, as a function of the step: a model of the dynamics need not guess it.

OfflineRL-Kit and MOPO keep such a function for each MuJoCo body. Theirs for the hopper compares before it takes the absolute value, so
that no lower bound is left; here both bounds hold, as in the environment.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import TypeAlias

import torch

__all__ = ["Termination", "known_termination"]

Termination: TypeAlias = Callable[[torch.Tensor], torch.Tensor]
"""Next states [..., observation], in the environment's units -> bool [...]."""


def never(states: torch.Tensor) -> torch.Tensor:
    """Return False everywhere."""
    return torch.zeros(states.shape[:-1], dtype=torch.bool, device=states.device)


def hopper(states: torch.Tensor) -> torch.Tensor:
    """Fallen: too low, leaning by 0.2 rad, or a state of 100 or more."""
    upright = (states[..., 0] > 0.7) & (states[..., 1].abs() < 0.2)
    return ~(upright & bounded(states[..., 1:]))


def walker2d(states: torch.Tensor) -> torch.Tensor:
    """Fallen: height outside of 0.8 to 2, or leaning by 1 rad."""
    height = states[..., 0]
    return ~((height > 0.8) & (height < 2.0) & (states[..., 1].abs() < 1.0))


def ant(states: torch.Tensor) -> torch.Tensor:
    """Torso outside of 0.2 to 1."""
    height = states[..., 0]
    return ~(torch.isfinite(states).all(-1) & (height >= 0.2) & (height <= 1.0))


def humanoid(states: torch.Tensor) -> torch.Tensor:
    """Torso outside of 1 to 2."""
    height = states[..., 0]
    return ~((height > 1.0) & (height < 2.0))


def cartpole(states: torch.Tensor) -> torch.Tensor:
    """Cart beyond 2.4, or pole beyond 12 degrees."""
    return (states[..., 0].abs() > 2.4) | (states[..., 2].abs() > 12 * 2 * torch.pi / 360)


def bounded(states: torch.Tensor) -> torch.Tensor:
    """Return whether all numbers are finite and below 100 in size."""
    return (torch.isfinite(states) & (states.abs() < 100.0)).all(-1)


_KNOWN: dict[str, Termination] = {
    "HalfCheetah": never,
    "Swimmer": never,
    "Reacher": never,
    "Pusher": never,
    "Pendulum": never,
    "Hopper": hopper,
    "Walker2d": walker2d,
    "Ant": ant,
    "Humanoid": humanoid,
    "CartPole": cartpole,
}


def known_termination(env_spec: str | None) -> Termination | None:
    """Return the termination function of an environment's specification (JSON), or None where none is known.

    Examples
    --------
    >>> found = known_termination('{"id": "Hopper-v5"}')
    >>> found(torch.tensor([[1.2, 0.0, 0.0], [0.6, 0.0, 0.0], [1.2, -0.3, 0.0]])).tolist()
    [False, True, True]
    """
    if env_spec is None:
        return None
    content = json.loads(env_spec)
    arguments = content.get("kwargs") or {}
    if arguments.get("terminate_when_unhealthy") is False:
        return never
    if any(name.startswith(("healthy_", "exclude_current")) for name in arguments):
        return None  # another range than the usual one, or observations with another layout
    match = re.fullmatch(r"([A-Za-z0-9]+)-v\d+", str(content.get("id")))
    return _KNOWN.get(match[1]) if match else None
