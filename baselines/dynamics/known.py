"""Environments whose step is known in closed form: a model of the dynamics without error.

With it, what a model-based method does wrong is not the model's fault: `dynamics="true"` of the algorithms in
`assay.baselines.algorithms.model_based`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import TypeAlias

import torch

__all__ = ["KnownDynamics", "known_dynamics", "names_of_known"]

KnownDynamics: TypeAlias = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""States [..., observation] and actions [..., action] in the environment's units -> next states and rewards [...]."""

_GRAVITY, _STEP, _FASTEST = 10.0, 0.05, 8.0
_BUMP, _WIDTH, _SLOPE, _EDGE = (0.5, 0.0), 0.3, 0.4, 2.0  # of the plane; a test compares its steps with the simulator's


def pendulum(states: torch.Tensor, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Gymnasium's Pendulum-v1: states are (cos, sin, angular velocity)."""
    cosine, sine, velocity = states.unbind(-1)
    torque, angle = actions[..., 0].clamp(-2.0, 2.0), torch.atan2(sine, cosine)
    rewards = -(angle.square() + 0.1 * velocity.square() + 0.001 * torque.square())
    faster = (velocity + (1.5 * _GRAVITY * sine + 3.0 * torque) * _STEP).clamp(-_FASTEST, _FASTEST)
    turned = angle + faster * _STEP
    return torch.stack([turned.cos(), turned.sin(), faster], -1), rewards


def edge_of_reach(states: torch.Tensor, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A point that an action moves; see `assay.datasets.environments.edge_of_reach`."""
    reached = states + actions.clamp(-1.0, 1.0)
    away = (reached - reached.new_tensor(_BUMP)).square().sum(-1)
    rewards = torch.exp(-0.5 * away / _WIDTH**2) + _SLOPE * reached[..., 0]
    return reached, torch.where(reached[..., 0].abs() <= _EDGE, rewards, torch.zeros_like(rewards))


_KNOWN: dict[str, KnownDynamics] = {"Pendulum": pendulum, "assay/EdgeOfReach": edge_of_reach}


def names_of_known() -> tuple[str, ...]:
    """Return the environments whose dynamics are known, without their versions."""
    return tuple(_KNOWN)


def known_dynamics(env_spec: str | None) -> KnownDynamics | None:
    """Return the dynamics of an environment's specification (JSON), or None where they are not known.

    Examples
    --------
    >>> step = known_dynamics('{"id": "Pendulum-v1"}')
    >>> states, rewards = step(torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([[0.0]]))  # it hangs upright, at rest
    >>> states.tolist(), rewards.tolist()
    ([[1.0, 0.0, 0.0]], [-0.0])
    """
    if env_spec is None:
        return None
    content = json.loads(env_spec)
    arguments = content.get("kwargs") or {}
    if not set(arguments) <= {"render_mode"} or not math.isclose(float(arguments.get("g", _GRAVITY)), _GRAVITY):
        return None  # another physics than the usual one
    match = re.fullmatch(r"([A-Za-z0-9/]+)-v\d+", str(content.get("id")))
    return _KNOWN.get(match[1]) if match else None
