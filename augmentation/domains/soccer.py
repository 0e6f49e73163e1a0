"""Soccer: a robot pushes a ball to a goal (`assay/PushBallToGoal-v0`).

Source: GuDA (Corrado et al. 2024, arXiv 2310.18247; `augment/abstractsim`). Robot and ball are moved together, mirrored and rotated by R
about the ball, which is put anywhere in the field; where the robot does not touch the ball, it is put anywhere by itself::

    ball       b_t      ->  b~ + R (b_t - b_0)
    robot      r_t      ->  b~ + R (r_t - b_0), or r~ + R (r_t - r_0) where it touches no ball
    heading    h_t      ->  R h_t                 a vector (cosine, sine)
    action              ->  turn and sidestep change their sign in the mirror

`potential` is minus what is left to go: the ball's distance to the goal, and the robot's way to where it stands behind the ball. `aim` rotates
what pushes the ball towards the goal, and other steps towards that way.

What differs from the published code, on purpose: places are drawn uniformly (the code prefers the half of the goal), any angle is allowed
(random augmentation in the code turns by at most 45 degrees), and a robot on the goal's side of the ball is led round it, not into it.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from assay.augmentation.domain import Domain
from assay.augmentation.plane import Motions, Rotation
from assay.augmentation.segments import Segments
from assay.augmentation.simulator import Simulator
from assay.datasets.dataset import Dataset
from assay.datasets.environments.push_ball import CONTACT, FIELD, goal_point, in_field, in_goal, way_to_push
from assay.datasets.environments.specification import EnvironmentSpec
from assay.datasets.errors import DatasetError
from assay.datasets.registry import register

__all__ = ["Soccer"]

_MIRRORED_ACTION = np.array([-1.0, 1.0, -1.0])  # turn, forward, sideways
_TOUCHING = CONTACT + 1e-9


@register("soccer")
class Soccer(Domain):
    """The robot and the ball of `assay/PushBallToGoal-v0`.

    Parameters
    ----------
    rotation : "any" or "quarter"
    mirrored : bool
        Whether segments may be mirrored.

    Examples
    --------
    >>> behind, before = np.array([[2.0, 0.0, 3.0, 0.0, 1.0, 0.0]]), np.array([[4.0, 0.0, 3.0, 0.0, 1.0, 0.0]])
    >>> domain = Soccer()
    >>> bool(domain.potential(behind)[0] > domain.potential(before)[0])
    True
    """

    rotation: Rotation = "any"
    mirrored: bool = True

    environment: ClassVar[str] = "assay/PushBallToGoal-v0"

    @classmethod
    def of_environment(cls, spec: EnvironmentSpec) -> Domain | None:  # noqa: D102
        return cls() if spec.id == cls.environment else None

    def check(self, dataset: Dataset) -> None:  # noqa: D102
        observations, actions = dataset.observations, dataset.actions
        shapes = [getattr(part, "shape", (0,))[1:] for part in (observations, actions)]
        if shapes != [(6,), (3,)]:
            raise DatasetError(
                f"soccer: observations of 6 numbers (robot, ball, heading) and actions of 3 are needed, not {shapes[0]} and {shapes[1]}"
            )

    def augment(self, segments: Segments, generator: np.random.Generator) -> tuple[Segments, np.ndarray]:  # noqa: D102
        return self._moved(segments, generator, aimed=False)

    def aim(self, segments: Segments, generator: np.random.Generator) -> tuple[Segments, np.ndarray]:
        """Propose rotations that turn a push towards the goal, and a walk towards the place behind the ball."""
        return self._moved(segments, generator, aimed=True)

    def _moved(self, segments: Segments, generator: np.random.Generator, aimed: bool) -> tuple[Segments, np.ndarray]:
        count = len(segments)
        state = segments.observations.astype(np.float64)
        robot, ball, heading = state[..., :2], state[..., 2:4], state[..., 4:]
        touches = (np.hypot(*np.moveaxis(robot - ball, -1, 0)) <= _TOUCHING).any(axis=1)
        pushed = np.abs(ball - ball[:, :1]).max(axis=(1, 2)) > 0
        together = touches | pushed
        places = generator.uniform(-1, 1, (count, 2, 2)) * FIELD
        new_ball, new_robot = places[:, 0], places[:, 1]
        if aimed:
            walk = way_to_push(new_robot, new_ball, goal_point(new_ball))[1]
            vectors = np.where(pushed[:, None], ball[:, -1] - ball[:, 0], robot[:, -1] - robot[:, 0])
            directions = np.where(pushed[:, None], goal_point(new_ball) - new_ball, walk)
            motions = Motions.towards(vectors, directions, generator, self.rotation, self.mirrored)
        else:
            motions = Motions.draw(count, generator, self.rotation, self.mirrored)
        made = np.empty(state.shape)
        made[..., 2:4] = new_ball[:, None] + motions(ball - ball[:, :1])
        origin = np.where(together[:, None], ball[:, 0], robot[:, 0])[:, None]
        made[..., :2] = np.where(together[:, None], new_ball, new_robot)[:, None] + motions(robot - origin)
        made[..., 4:] = motions(heading)
        mirrored = (motions.mirror < 0)[:, None, None]
        actions = np.where(mirrored, segments.actions * _MIRRORED_ACTION, segments.actions)
        return segments.with_changes(observations=made, actions=actions), self._valid(made, together)

    def _valid(self, made: np.ndarray, together: np.ndarray) -> np.ndarray:
        """Return where an episode can be, and where a robot that was moved by itself still touches no ball, (M,) bool."""
        robot, ball = made[..., :2], made[..., 2:4]
        going_on = in_field(robot[:, :-1]) & in_field(ball[:, :-1])
        apart = np.hypot(*np.moveaxis(robot - ball, -1, 0)) > _TOUCHING
        valid: np.ndarray = going_on.all(axis=1) & (together | apart.all(axis=1))
        return valid

    def potential(self, observations: Any) -> np.ndarray:
        """Return minus the metres that ball and robot have left; 0 in the goal, minus infinity outside the field."""
        robot, ball = observations[:, :2], observations[:, 2:4]
        target = goal_point(ball)
        length, _ = way_to_push(robot, ball, target)
        left: np.ndarray = np.hypot(*(target - ball).T) + length
        left[~(in_field(robot) & in_field(ball))] = np.inf
        left[in_goal(ball)] = 0.0
        return -left

    def labelled(self, segments: Segments) -> Segments:  # noqa: D102
        robot, ball = segments.observations[:, 1:, :2], segments.observations[:, 1:, 2:4]
        scored = in_goal(ball)
        ended = scored | ~(in_field(robot) & in_field(ball))
        return segments.with_changes(rewards=scored.astype(np.float64), terminations=ended)

    def simulator(self) -> Simulator:  # noqa: D102
        return _SoccerSimulator()


class _SoccerSimulator(Simulator):
    def __init__(self) -> None:
        from assay.datasets.environments.push_ball import PushBallToGoal

        self._environment = PushBallToGoal()

    def step(self, observation: Any, action: Any) -> tuple[Any, float, bool]:
        self._environment.set_state(observation)
        after, reward, terminated, _, _ = self._environment.step(action)
        return after, float(reward), bool(terminated)
