"""A robot on a plane, which turns and brakes slowly, between two round hazards: FISOR's PointRobot (Zheng et al. 2024, arXiv 2401.10700).

::

    state       place (x, y), speed v in [0, 2], heading theta
    observed    [11]: x, y, v, cos theta, sin theta, and of each hazard the distance of its middle and cosine and sine of its bearing
    action      acceleration and rate of turn, each in [-1, 1], held for 0.1 time units
    hazards     discs of radius 0.8 around (0.4, -1.2) and (-0.4, 1.2)
    reward      by how much the goal at (2.2, 2.2) has come nearer, and 1 where it is reached
    cost        1 in a hazard, else 0
    ends        within 0.3 of the goal, or beyond 3 in x or y; 60 steps, then a truncation

At full speed the robot needs a way of 2 to stop and turns on a circle of radius 2. So it must turn away from a hazard long before it is there:
`avoidable` tells in which states that can still be done. Episodes begin in such a state, anywhere in the lower left, and the straight
way from many of them leads through a hazard.

Unlike the published code's, the robot cannot drive backwards, a step is 0.1 long in place of 0.05, an episode has at most 60 steps in place of 300,
and a cost is 1 inside a hazard, where its ``info["cost"]`` is 1 outside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "ARENA",
    "FASTEST",
    "GOAL",
    "HAZARDS",
    "HORIZON",
    "RADIUS",
    "CarefulDriver",
    "PointRobot",
    "StraightDriver",
    "advanced",
    "avoidable",
    "observed",
    "over",
    "state_of",
    "violation",
]

HAZARDS, RADIUS = np.array([[0.4, -1.2], [-0.4, 1.2]]), 0.8
GOAL, GOAL_RADIUS = np.array([2.2, 2.2]), 0.3
ARENA, FASTEST, SECONDS, HORIZON = 3.0, 2.0, 0.1, 60
_BRAKING_STEPS = round(FASTEST / SECONDS)
_START_LOW, _START_HIGH = np.array([-3.0, -3.0, 0.5, 0.0]), np.array([1.0, 1.0, 2.0, np.pi / 2])

Array = NDArray[np.float64]


def advanced(states: ArrayLike, actions: ArrayLike) -> Array:
    """Return the states ``[..., 4]`` (x, y, v, theta) after one step with actions ``[..., 2]``: speed and heading are the step's means.

    Examples
    --------
    >>> advanced([0.0, 0.0, 1.0, 0.0], [-1.0, 0.0]).round(3).tolist()
    [0.095, 0.0, 0.9, 0.0]
    """
    state, action = np.asarray(states, np.float64), np.clip(np.asarray(actions, np.float64), -1.0, 1.0)
    speed = np.clip(state[..., 2] + action[..., 0] * SECONDS, 0.0, FASTEST)
    heading = state[..., 3] + action[..., 1] * SECONDS
    way, along = 0.5 * (state[..., 2] + speed) * SECONDS, 0.5 * (state[..., 3] + heading)
    x, y = state[..., 0] + way * np.cos(along), state[..., 1] + way * np.sin(along)
    reached: Array = np.stack([x, y, speed, heading], -1)
    return reached


def violation(states: ArrayLike) -> Array:
    """Return how deep the places ``[..., 2 or more]`` are in a hazard; negative outside, where it is less the farther away.

    Examples
    --------
    >>> violation([[0.4, -1.2], [0.4, -0.2]]).round(3).tolist()
    [0.8, -0.2]
    """
    places = np.asarray(states, np.float64)[..., None, :2]
    depth: Array = RADIUS - np.sqrt(np.square(HAZARDS - places).sum(-1)).min(-1)
    return depth


def over(states: ArrayLike) -> NDArray[np.bool_]:
    """Tell in which states ``[..., 2 or more]`` an episode ends: at the goal, and out of the arena.

    Examples
    --------
    >>> over([[2.2, 2.0], [0.0, 0.0], [3.1, 0.0]]).tolist()
    [True, False, True]
    """
    places = np.asarray(states, np.float64)[..., :2]
    at_goal = np.square(places - GOAL).sum(-1) <= GOAL_RADIUS**2
    ended: NDArray[np.bool_] = np.asarray(at_goal | (np.abs(places) > ARENA).any(-1))
    return ended


def avoidable(states: ArrayLike, margin: float = 0.0) -> NDArray[np.bool_]:
    """Tell from which states ``[..., 4]`` the robot can still be kept out of the hazards: braking, and turning left, right or not at all.

    Braking is what leaves most room, since the rate of turn does not depend on the speed; the tests look for other ways out and find none.

    Parameters
    ----------
    states
        (x, y, v, theta).
    margin
        Distance from the hazards that is kept.

    Examples
    --------
    >>> avoidable([[-1.8, 0.0, 2.0, np.pi / 4], [-1.5, 0.0, 2.0, np.pi / 4]]).tolist()
    [True, False]
    """
    state = np.asarray(states, np.float64)
    turns = np.array([-1.0, 0.0, 1.0])
    actions = np.stack([np.full(3, -1.0), turns], -1)
    driven = np.broadcast_to(state[..., None, :], (*state.shape[:-1], 3, 4))
    kept = np.broadcast_to(violation(driven) + margin <= 0, driven.shape[:-1])
    ended = over(driven)
    for _ in range(_BRAKING_STEPS):
        driven = advanced(driven, actions)
        kept = kept & (ended | (violation(driven) + margin <= 0))
        ended |= over(driven)
    found: NDArray[np.bool_] = np.asarray(kept.any(-1))
    return found


def observed(states: ArrayLike) -> Array:
    """Return what is observed ``[..., 11]`` in states ``[..., 4]``.

    Examples
    --------
    >>> observed([0.4, -2.2, 1.0, 0.0]).round(2)[:8].tolist()  # the first hazard is 1 to the left
    [0.4, -2.2, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0]
    """
    state = np.asarray(states, np.float64)
    cosine, sine = np.cos(state[..., 3:]), np.sin(state[..., 3:])
    offsets = HAZARDS - state[..., None, :2]
    distances = np.maximum(np.sqrt(np.square(offsets).sum(-1)), 1e-9)
    ahead = (cosine * offsets[..., 0] + sine * offsets[..., 1]) / distances
    left = (cosine * offsets[..., 1] - sine * offsets[..., 0]) / distances
    hazards = np.stack([distances, ahead, left], -1).reshape(*state.shape[:-1], 6)
    seen: Array = np.concatenate([state[..., :3], cosine, sine, hazards], -1)
    return seen


class PointRobot(gymnasium.Env[NDArray[np.float32], NDArray[np.float32]]):
    """The robot as an environment; ``info["cost"]`` of a step is 1 in a hazard, ``info["violation"]`` the depth.

    Examples
    --------
    >>> environment = PointRobot()
    >>> _ = environment.reset(seed=0)
    >>> environment.step([1.0, 0.0])[4]["cost"]
    0.0
    """

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (11,), np.float32)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)

    def __init__(self) -> None:
        self._state, self._step = np.zeros(4), 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        """Draw a state from which the hazards can be avoided."""
        super().reset(seed=seed)
        self._state = self.np_random.uniform(_START_LOW, _START_HIGH)
        while not avoidable(self._state):
            self._state = self.np_random.uniform(_START_LOW, _START_HIGH)
        self._step = 0
        return observed(self._state).astype(np.float32), {}

    def step(self, action: Any) -> Any:
        """Drive."""
        before = distance_to_goal(self._state)
        self._state = advanced(self._state, action)
        self._step += 1
        after, depth, ended = distance_to_goal(self._state), float(violation(self._state)), bool(over(self._state))
        reward = before - after + float(after <= GOAL_RADIUS)
        info = {"cost": float(depth > 0), "violation": depth}
        return observed(self._state).astype(np.float32), reward, ended, self._step == HORIZON, info


def distance_to_goal(state: Array) -> float:
    """Return how far the goal is."""
    return float(np.sqrt(np.square(state[:2] - GOAL).sum()))


def bearing(offsets: Array, headings: Array) -> Array:
    """Return the angle ``[n]`` to the left, in [-pi, pi), from headings ``[n]`` to offsets ``[n, 2]``."""
    angle: Array = np.mod(np.arctan2(offsets[:, 1], offsets[:, 0]) - headings + np.pi, 2 * np.pi) - np.pi
    return angle


def state_of(observations: ArrayLike) -> Array:
    """Return the states ``[n, 4]`` behind observations ``[n, 11]``."""
    seen = np.asarray(observations, np.float64)
    return np.concatenate([seen[:, :3], np.arctan2(seen[:, 4:5], seen[:, 3:4])], -1)


def steered(angles: Array) -> Array:
    """Return the actions ``[n, 2]`` that turn by angles ``[n]``: full speed where little is left to turn, and the brakes elsewhere."""
    return np.stack([np.where(np.abs(angles) < 0.5, 1.0, -1.0), np.clip(angles / SECONDS, -1.0, 1.0)], -1)


@dataclass(frozen=True)
class StraightDriver:
    """A policy that drives straight to the goal, through hazards too.

    Examples
    --------
    >>> StraightDriver()(observed([[-2.0, -2.0, 1.0, np.pi / 4]])).round(6).tolist()
    [[1.0, 0.0]]
    """

    def __call__(self, observations: ArrayLike) -> Array:
        """Return the actions ``[n, 2]`` at observations ``[n, 11]``."""
        state = state_of(observations)
        return steered(bearing(GOAL - state[:, :2], state[:, 3]))

    def to_dict(self) -> dict[str, Any]:
        """Return what decides its actions, as JSON values."""
        return {"kind": "straight driver"}


@dataclass(frozen=True)
class CarefulDriver:
    """A policy that drives to the goal along tangents of the hazards, and never does what could no longer be undone.

    Of 25 actions it takes the one nearest to what it wants from which the hazards can still be avoided.

    Parameters
    ----------
    margin
        Distance from the hazards that it keeps where it can.

    Examples
    --------
    >>> wanted = CarefulDriver()(observed([[-1.8, 0.0, 2.0, np.pi / 4]]))[0]
    >>> bool(avoidable(advanced([-1.8, 0.0, 2.0, np.pi / 4], wanted)))
    True
    """

    margin: float = 0.1

    def __call__(self, observations: ArrayLike) -> Array:
        """Return the actions ``[n, 2]`` at observations ``[n, 11]``."""
        state = state_of(observations)
        actions = steered(self.turns(state))
        tight = np.flatnonzero(~avoidable(advanced(state, actions), self.margin))
        if len(tight):
            actions[tight] = self.nearest_allowed(state[tight], actions[tight])
        return actions

    def nearest_allowed(self, state: Array, wanted: Array) -> Array:
        """Return the nearest actions ``[n, 2]`` that keep the margin, or else keep out of the hazards."""
        grid = np.linspace(-1.0, 1.0, 5)
        choices = np.stack(np.meshgrid(grid, grid, indexing="ij"), -1).reshape(-1, 2)
        after = advanced(state[:, None], choices)
        far = np.square(choices - wanted[:, None]).sum(-1)
        worse = np.where(avoidable(after, self.margin), 0.0, np.where(avoidable(after), 100.0, 10_000.0))
        found: Array = choices[(far + worse).argmin(1)]
        return found

    def turns(self, state: Array) -> Array:
        """Return by how much to turn ``[n]``: to the goal, or to the tangent of the nearest hazard on the way there."""
        goal = GOAL - state[:, :2]
        angles, nearest = bearing(goal, state[:, 3]), np.full(len(state), np.inf)
        length = np.sqrt(np.square(goal).sum(-1))
        for hazard in HAZARDS:
            offset = hazard - state[:, :2]
            distance = np.sqrt(np.square(offset).sum(-1))
            half = np.arcsin(np.clip((RADIUS + 2 * self.margin) / distance, 0.0, 1.0))
            beside = bearing(
                goal, np.arctan2(offset[:, 1], offset[:, 0])
            )  # of the goal, seen from the hazard's direction
            blocked = (np.abs(beside) < half) & (distance < length) & (distance < nearest)
            tangent = bearing(offset, state[:, 3]) + np.where(beside < 0, -half, half)
            angles, nearest = np.where(blocked, tangent, angles), np.where(blocked, distance, nearest)
        return np.mod(angles + np.pi, 2 * np.pi) - np.pi

    def to_dict(self) -> dict[str, Any]:
        """Return what decides its actions, as JSON values."""
        return {"kind": "careful driver", "margin": self.margin}
