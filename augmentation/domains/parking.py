"""Parking: a car is driven into a spot (highway-env's `parking-v0`).

Source: GuDA (Corrado et al. 2024, arXiv 2310.18247), which names the domain; its code does not have it. The lot is flat and empty, so
segments of the car are moved to a place p~, mirrored and rotated by R with respect to the spot::

    position   p_t      ->  p~ + R (p_t - p_0)
    velocity   v_t      ->  R v_t,      heading (cosine, sine)  ->  R heading
    action              ->  steering changes its sign in the mirror
    reward              ->  -sqrt(w . |achieved - desired|),  w = (1, 0.3, 0, 0, 0.02, 0.02)

`potential` is minus the length of the way into the spot (`assay.datasets.environments.parking`), longer by the arc that turns the car into
the heading of that way. `aim` mirrors what steers away from it.

A segment is valid where the car is clear of the walls, before and after. Lots with other cars are refused: observations do not show them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np

from assay.augmentation.domain import Domain
from assay.augmentation.plane import Motions, Rotation
from assay.augmentation.segments import Segments
from assay.augmentation.simulator import Simulator
from assay.datasets.dataset import Dataset
from assay.datasets.environments.parking import SCALES, way_in
from assay.datasets.environments.specification import EnvironmentSpec
from assay.datasets.errors import ConfigError, DatasetError
from assay.datasets.registry import register

__all__ = ["Parking"]

_WALLS = np.array([34.5, 20.5])  # inner faces, metres from the middle
_REACH = 2.7  # half a diagonal of the car
_SUBSTEP_SECONDS = 1 / 15  # the simulator looks as far ahead for collisions
_WEIGHTS = np.array([1.0, 0.3, 0.0, 0.0, 0.02, 0.02])
_SUCCESS = 0.12
_TURNING_RADIUS = 5.6  # at full steering, metres
_SPOT_PLACES = np.array([[(number + 1 - 7) * 4.0 - 2.0, side * 14.0] for number in range(14) for side in (-1, 1)])


@register("parking")
class Parking(Domain):
    """The car of `parking-v0`.

    Parameters
    ----------
    goals : "kept" or "redrawn"
        Whether a new segment has the spot of its source, or one of the lot's 28.
    rotation : "any" or "quarter"
    mirrored : bool
        Whether segments may be mirrored.

    Examples
    --------
    >>> spot = np.array([[0.0, 0.14, 0.0, 0.0, 0.0, 1.0]])
    >>> near, far = (np.array([[0.0, y / 100, 0.0, 0.0, 0.0, 1.0]]) for y in (10.0, 4.0))
    >>> [round(float(Parking().potential({"achieved_goal": each, "desired_goal": spot})[0]), 6) for each in (near, far)]
    [-4.0, -10.0]
    """

    goals: Literal["kept", "redrawn"] = "kept"
    rotation: Rotation = "any"
    mirrored: bool = True

    environment: ClassVar[str] = "parking-v0"

    @classmethod
    def of_environment(cls, spec: EnvironmentSpec) -> Domain | None:  # noqa: D102
        if spec.id != cls.environment:
            return None
        config = spec.kwargs.get("config") or {}
        if config:
            raise ConfigError(
                f"parking: the environment was made with config {dict(config)}; the domain knows its defaults alone"
            )
        return cls()

    def check(self, dataset: Dataset) -> None:  # noqa: D102
        parts = dataset.observations
        names = ("observation", "achieved_goal", "desired_goal")
        if (
            not isinstance(parts, dict)
            or set(parts) != set(names)
            or any(parts[name].shape[1:] != (6,) for name in names)
        ):
            raise DatasetError(f"parking: observations with the parts {', '.join(names)} of 6 numbers each are needed")

    def augment(self, segments: Segments, generator: np.random.Generator) -> tuple[Segments, np.ndarray]:  # noqa: D102
        return self._moved(segments, generator, aimed=False)

    def aim(self, segments: Segments, generator: np.random.Generator) -> tuple[Segments, np.ndarray]:
        """Propose motions whose mirror is such that a segment turns towards the way into the spot."""
        return self._moved(segments, generator, aimed=True)

    def _moved(self, segments: Segments, generator: np.random.Generator, aimed: bool) -> tuple[Segments, np.ndarray]:
        count = len(segments)
        state = segments.observations["observation"].astype(np.float64) * SCALES
        goals = segments.observations["desired_goal"].astype(np.float64)
        if self.goals == "redrawn":
            goals = np.broadcast_to(_spots(count, generator)[:, None], goals.shape)
        places = generator.uniform(-1, 1, (count, 2)) * (_WALLS - _REACH)
        motions = Motions.draw(count, generator, self.rotation, self.mirrored)
        if aimed and self.mirrored:
            motions = _turning_in(motions, state, places, goals[:, 0] * SCALES)
        made = np.empty(state.shape)
        made[..., :2] = places[:, None] + motions(state[..., :2] - state[:, :1, :2])
        made[..., 2:4], made[..., 4:] = motions(state[..., 2:4]), motions(state[..., 4:])
        valid = _clear(state) & _clear(made)
        made /= SCALES
        valid &= (_distance(made[:, :-1], goals[:, :-1]) >= _SUCCESS).all(axis=1)  # no episode goes on in its spot
        actions = np.array(segments.actions)
        actions[motions.mirror < 0, :, 1] *= -1
        observations = {"observation": made, "achieved_goal": made, "desired_goal": goals}
        return segments.with_changes(observations=observations, actions=actions), valid

    def potential(self, observations: Any) -> np.ndarray:
        """Return minus the metres that are left to drive, (M,)."""
        state, goal = observations["achieved_goal"] * SCALES, observations["desired_goal"] * SCALES
        length, heading = way_in(state[:, :2], goal[:, :2], goal[:, 4:])
        arc = _TURNING_RADIUS * np.abs(_difference(heading, np.arctan2(state[:, 5], state[:, 4])))
        potential: np.ndarray = -(length + arc)
        return potential

    def labelled(self, segments: Segments) -> Segments:  # noqa: D102
        distance = _distance(
            segments.observations["achieved_goal"][:, 1:], segments.observations["desired_goal"][:, 1:]
        )
        return segments.with_changes(rewards=-distance, terminations=-distance > -_SUCCESS)

    def simulator(self) -> Simulator:  # noqa: D102
        return _ParkingSimulator()


def _distance(achieved: np.ndarray, desired: np.ndarray) -> np.ndarray:
    """Return the square root of the weighted differences, whose negative is the reward."""
    distance: np.ndarray = np.sqrt(np.abs(achieved - desired) @ _WEIGHTS)
    return distance


def _difference(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the angle from one heading to another, between -pi and pi."""
    difference: np.ndarray = np.arctan2(np.sin(other - one), np.cos(other - one))
    return difference


def _clear(state: np.ndarray) -> np.ndarray:
    """Return whether the car is away from the walls in every state of a segment, (M,) bool."""
    reach = _REACH + np.hypot(state[..., 2], state[..., 3]) * _SUBSTEP_SECONDS
    clear: np.ndarray = (np.abs(state[..., :2]) + reach[..., None] <= _WALLS).all(axis=(1, 2))
    return clear


def _spots(count: int, generator: np.random.Generator) -> np.ndarray:
    """Draw spots of the lot as goals, (count, 6)."""
    places = _SPOT_PLACES[generator.integers(0, len(_SPOT_PLACES), count)]
    upright = np.arctan2(places[:, 1], 0.0)
    spots: np.ndarray = np.stack([*places.T, 0 * upright, 0 * upright, np.cos(upright), np.sin(upright)], -1) / SCALES
    return spots


def _turning_in(motions: Motions, state: np.ndarray, places: np.ndarray, goals: np.ndarray) -> Motions:
    """Return the motions, with the mirror in which a segment turns towards the heading of the way.

    The car's heading after the motion is drawn first; in the other mirror the angle of the rotation is the one that keeps it.
    """
    first, last = (np.arctan2(state[:, step, 5], state[:, step, 4]) for step in (0, -1))
    heading = motions.mirror * first + motions.angle
    _, wanted = way_in(places, goals[:, :2], goals[:, 4:])
    turned, missing = _difference(first, last), _difference(heading, wanted)
    mirror = np.where(turned * missing == 0, motions.mirror, np.sign(turned * missing))
    angle = heading - mirror * first
    return replace(motions, cosine=np.cos(angle), sine=np.sin(angle), mirror=mirror)


class _ParkingSimulator(Simulator):
    def __init__(self) -> None:
        import gymnasium

        from assay.datasets.environments.worker import register_environments_of

        register_environments_of(Parking.environment)
        self._environment: Any = gymnasium.make(Parking.environment, disable_env_checker=True).unwrapped
        self._environment.reset(seed=0)

    def step(self, observation: Any, action: Any) -> tuple[Any, float, bool]:
        environment, state = self._environment, np.asarray(observation["observation"], np.float64) * SCALES
        car, goal = environment.vehicle, np.asarray(observation["desired_goal"], np.float64) * SCALES
        car.position, car.heading = state[:2].copy(), float(np.arctan2(state[5], state[4]))
        car.speed, car.crashed, car.impact = float(state[2:4] @ state[4:]), False, None
        car.goal.position, car.goal.heading = goal[:2].copy(), float(np.arctan2(goal[5], goal[4]))
        after, reward, terminated, _, _ = environment.step(np.asarray(action))
        return after, float(reward), bool(terminated)
