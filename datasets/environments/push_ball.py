"""A robot pushes a ball into a goal: the soccer task of the GuDA paper, as a small environment of Assay's own.

After Corrado et al., "Guided Data Augmentation for Offline Reinforcement Learning and Imitation Learning" (RLC 2024, arXiv
2310.18247), whose simulator is another one: a field of 9 m x 6 m, a goal 1.5 m wide in the middle of its right edge, a disc-shaped robot
that turns, walks and sidesteps, and a ball that lies where it was pushed to::

    state       robot x, y;  ball x, y;  heading        the ball has no speed: it moves only while it is pushed
    action      turn, forward, sideways, each in [-1, 1]
    step        heading +=  0.3 turn
                robot   +=  R(heading) (0.1 forward, 0.05 sideways)
                ball: where the robot overlaps it, out along the line between them until the two touch
    reward      1 when the ball crosses the line of the goal, which ends the episode; else 0
    out         the ball or the robot leaves the field: the episode ends without reward

Nothing depends on the place or the direction in the field, nor on left and right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["CONTACT", "FIELD", "BallPlanner", "PushBallToGoal", "goal_point", "in_field", "in_goal", "way_to_push"]

FIELD = np.array([4.5, 3.0])
"""Half of the field's length and width, metres."""
GOAL_HALF_WIDTH = 0.75
CONTACT = 0.2
"""Distance between the middles of robot and ball when they touch, metres."""
TURN, FORWARD, SIDEWAYS = 0.3, 0.1, 0.05  # rad and metres per step
MOST_STEPS = 250
_AIM_HALF_WIDTH, _AIM_DEPTH = 0.6, 0.1  # what is aimed at lies a little inside the goal

Array = NDArray[np.float64]


def goal_point(ball: Array) -> Array:
    """Return the point in the goal that is nearest to each ball, ``[n, 2]``."""
    y = np.clip(ball[..., 1], -_AIM_HALF_WIDTH, _AIM_HALF_WIDTH)
    return np.stack([np.full_like(y, FIELD[0] + _AIM_DEPTH), y], -1)


def in_goal(ball: Array) -> NDArray[np.bool_]:
    """Return whether each ball is behind the line of the goal."""
    inside: NDArray[np.bool_] = (ball[..., 0] > FIELD[0]) & (np.abs(ball[..., 1]) < GOAL_HALF_WIDTH)
    return inside


def in_field(places: Array) -> NDArray[np.bool_]:
    """Return whether each place is in the field."""
    return np.asarray((np.abs(places) <= FIELD).all(-1))


def way_to_push(robot: Array, ball: Array, target: Array) -> tuple[Array, Array]:
    """Return the length of the shortest way to where the robot stands behind the ball, and the direction in which it begins.

    The way is straight where the ball is not between, else along a tangent to the circle around it and then along the circle.

    Parameters
    ----------
    robot, ball, target
        ``[n, 2]``; the ball is to be pushed towards the target.

    Returns
    -------
    length, direction
        ``[n]`` and ``[n, 2]``; the direction is of no length where the robot stands there.

    Examples
    --------
    >>> length, direction = way_to_push(*np.array([[[-1.0, 0.0]], [[0.0, 0.0]], [[4.6, 0.0]]]))
    >>> length.round(6).tolist(), direction.round(6).tolist()
    ([0.8], [[1.0, 0.0]])
    """
    push = _unit(target - ball)
    spot = ball - CONTACT * push
    offset = robot - ball
    distance = np.maximum(np.hypot(*offset.T), CONTACT)
    outward = _unit(offset)
    side = np.where(
        outward[:, 0] * -push[:, 1] - outward[:, 1] * -push[:, 0] >= 0, 1.0, -1.0
    )  # which way round is shorter
    angle = np.arccos(np.clip((outward * -push).sum(-1), -1.0, 1.0))
    reach = np.arccos(
        np.clip(CONTACT / distance, -1.0, 1.0)
    )  # between the robot and where the tangent touches, seen from the ball
    around = angle > reach
    tangent = np.sqrt(np.maximum(distance**2 - CONTACT**2, 0.0))
    length = np.where(around, tangent + CONTACT * (angle - reach), np.hypot(*(spot - robot).T))
    touch = ball + CONTACT * _turned(outward, side * reach)
    along = _turned(outward, side * np.pi / 2)  # on the circle itself
    direction = np.where((tangent > 1e-9)[:, None], _unit(touch - robot), along)
    return length, np.where(around[:, None], direction, _unit(spot - robot))


def _unit(vectors: Array) -> Array:
    lengths = np.hypot(vectors[..., 0], vectors[..., 1])[..., None]
    unit: Array = vectors / np.where(lengths > 0, lengths, 1.0)
    return unit


def _turned(vectors: Array, angles: Array) -> Array:
    cosine, sine = np.cos(angles), np.sin(angles)
    x, y = vectors[..., 0], vectors[..., 1]
    return np.stack([cosine * x - sine * y, sine * x + cosine * y], -1)


class PushBallToGoal(gymnasium.Env[Any, Any]):
    """The task; observations are robot x, y, ball x, y, and the cosine and sine of the heading, float64 ``[6]``.

    Examples
    --------
    >>> environment = PushBallToGoal()
    >>> environment.set_state(np.array([0.0, 0.0, 0.25, 0.0, 1.0, 0.0]))
    >>> environment.step(np.array([0.0, 1.0, 0.0]))[0].round(6).tolist()
    [0.1, 0.0, 0.3, 0.0, 1.0, 0.0]
    """

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (6,), np.float64)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (3,), np.float32)

    def __init__(self) -> None:
        self._robot, self._ball, self._heading = np.zeros(2), np.zeros(2), 0.0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        """Put the ball into the middle half of the field, and the robot anywhere that is not beside it."""
        super().reset(seed=seed)
        self._ball = self.np_random.uniform(-0.5, 0.5, 2) * FIELD
        self._robot = self._ball
        while np.hypot(*(self._robot - self._ball)) < 3 * CONTACT:
            self._robot = self.np_random.uniform(-0.9, 0.9, 2) * FIELD
        self._heading = float(self.np_random.uniform(-np.pi, np.pi))
        return self._observe(), {}

    def set_state(self, observation: ArrayLike) -> None:
        """Put robot and ball where an observation shows them."""
        state = np.asarray(observation, np.float64)
        self._robot, self._ball = state[:2].copy(), state[2:4].copy()
        self._heading = float(np.arctan2(state[5], state[4]))

    def step(self, action: Any) -> Any:
        """Turn, walk, and push the ball out of the way."""
        turn, forward, sideways = np.clip(np.asarray(action, np.float64), -1.0, 1.0)
        self._heading += TURN * turn
        cosine, sine = np.cos(self._heading), np.sin(self._heading)
        ahead, left = FORWARD * forward, SIDEWAYS * sideways
        self._robot = self._robot + np.array([cosine * ahead - sine * left, sine * ahead + cosine * left])
        offset = self._ball - self._robot
        distance = float(np.hypot(*offset))
        if 0 < distance < CONTACT:
            self._ball = self._robot + offset * (CONTACT / distance)
        scored = bool(in_goal(self._ball))
        out = not scored and not (in_field(self._ball) and in_field(self._robot))
        return self._observe(), float(scored), scored or out, False, {"success": scored}

    def _observe(self) -> Array:
        return np.array([*self._robot, *self._ball, np.cos(self._heading), np.sin(self._heading)])


@dataclass(frozen=True)
class BallPlanner:
    """Walks behind the ball on the shortest way and pushes it straight to the goal.

    Parameters
    ----------
    aim
        A place (x, y) to push the ball to in place of the goal.

    Examples
    --------
    >>> BallPlanner()(np.array([[0.0, 0.0, 0.5, 0.0, 1.0, 0.0]])).round(6).tolist()  # the ball is ahead: straight on
    [[0.0, 1.0, 0.0]]
    """

    aim: tuple[float, float] | None = None

    def __call__(self, observations: ArrayLike) -> Array:
        """Return actions ``[n, 3]`` for observations ``[n, 6]``."""
        state = np.asarray(observations, np.float64)
        robot, ball, heading = state[:, :2], state[:, 2:4], np.arctan2(state[:, 5], state[:, 4])
        target = goal_point(ball) if self.aim is None else np.broadcast_to(self.aim, ball.shape)
        length, way = way_to_push(robot, ball, target)
        push = _unit(target - ball)
        behind = length < CONTACT / 4  # near enough: push on, and correct on the way
        way = np.where(behind[:, None], _unit(push + 2 * way * (length / CONTACT)[:, None]), way)
        angle = np.arctan2(way[:, 1], way[:, 0]) - heading
        angle = np.arctan2(np.sin(angle), np.cos(angle))
        speed = np.where(behind, 1.0, np.minimum(1.0, length / FORWARD + 0.1))
        return np.stack([np.clip(angle / TURN, -1, 1), np.cos(angle) * speed, np.sin(angle) * speed], -1)

    def to_dict(self) -> dict[str, Any]:
        """Return what decides its actions, as JSON values."""
        return {"kind": "ball-planner", "aim": None if self.aim is None else list(self.aim)}
