"""AntMaze: a four-legged body that walks through a maze (Gymnasium-Robotics' `AntMaze_*`).

Source: GuDA (Corrado et al. 2024, arXiv 2310.18247; `antmaze_aug_function.py`). A segment is moved to a place p~ and rotated by R, the
torso with it::

    position               p_t      ->  p~ + R (p_t - p_0)
    orientation            q_t      ->  yaw(R) q_t            quaternion (w, x, y, z)
    velocity of the torso  v_t      ->  R v_t                 in the plane; the vertical part stays
    angular velocity, joints, joint velocities, action: as they are (of the body's own frame)
    contact forces         f_t      ->  R f_t                 where the observation has them (105 numbers)

and mirrored before that, at the vertical plane through the x axis: legs of the left and the right change places, hips turn the other way::

    (w, x, y, z) -> (w, -x, y, -z)    (v_x, v_y, v_z) -> (v_x, -v_y, v_z)    (w_x, w_y, w_z) -> (-w_x, w_y, -w_z)

What differs from the published code, on purpose: its orientation rotates the other way round in name only (it treats the quaternion as
(x, y, z, w)), and random outputs are shifted by half a metre after the reward is computed; neither is followed. The code rotates by any
angle. MuJoCo's friction cone is a pyramid along the axes of the world, so the step of the simulator is the same for multiples of 90
degrees alone, and with other angles not where a foot slides (a test shows it). So `rotation` is "quarter" by default. With other angles a
segment is also rejected where contact forces are cut at their limit, because their true values are not known.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from assay.augmentation.mazes import Maze, MazeSimulator
from assay.augmentation.plane import Motions
from assay.augmentation.simulator import Simulator
from assay.datasets.registry import register

__all__ = ["AntMaze"]

_ORIENTATION, _JOINTS = slice(1, 5), slice(5, 13)
_VELOCITY, _SPIN, _JOINT_SPEEDS = slice(13, 15), slice(16, 19), slice(19, 27)
_STATE, _FORCES = 27, 78  # numbers without contact forces, and of these
_MOST_FORCE = 1.0  # the simulator cuts contact forces there
# Joints are hip 1, ankle 1, ..., hip 4, ankle 4; motors begin with leg 4. Mirrored, leg 1 is leg 4 and leg 2 is leg 3.
_JOINT_ORDER = np.array([6, 7, 4, 5, 2, 3, 0, 1])
_MOTOR_ORDER = np.array([2, 3, 0, 1, 6, 7, 4, 5])
_HIP_SIGNS = np.array([-1.0, 1.0] * 4)
_BODY_ORDER = np.array([0, 10, 11, 12, 7, 8, 9, 4, 5, 6, 1, 2, 3])  # the torso, then three parts of each leg
_FORCE_SIGNS = np.array([-1.0, 1.0, -1.0, 1.0, -1.0, 1.0])  # torque, force


@register("ant_maze")
class AntMaze(Maze):
    """The ant of AntMaze, with or without contact forces in its observation.

    Parameters
    ----------
    map, goals, rotation, mirrored, dense, episodic
        See `Maze`.

    Examples
    --------
    >>> domain = AntMaze(map="umaze")  # cells are 4 wide
    >>> goal = np.array([[-4.0, -4.0]])
    >>> domain.potential({"achieved_goal": np.array([[-4.0, 4.0]]), "desired_goal": goal}).tolist()
    [-24.0]
    """

    scale: ClassVar[float] = 4.0
    clearance: ClassVar[float] = 1.3  # the reach of a leg
    ids: ClassVar[str] = "AntMaze_"
    sizes: ClassVar[tuple[int, ...]] = (27, 105)

    def turned(  # noqa: D102
        self, observation: np.ndarray, actions: np.ndarray, motions: Motions, places: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        made = observation.astype(np.float64)
        mirrored = motions.mirror < 0
        made[mirrored] = _mirrored_state(made[mirrored])
        torques = np.array(actions)
        torques[mirrored] = torques[mirrored][..., _MOTOR_ORDER] * _HIP_SIGNS
        rotations = Motions(motions.cosine, motions.sine, np.ones(len(made)))
        made[..., _VELOCITY] = rotations(made[..., _VELOCITY])
        made[..., _ORIENTATION] = _yawed(made[..., _ORIENTATION], rotations.angle)
        possible = np.ones(len(made), bool)
        if made.shape[-1] > _STATE:
            possible = self._turn_forces(made, rotations)
        return made, torques, possible

    def _turn_forces(self, made: np.ndarray, rotations: Motions) -> np.ndarray:
        """Rotate contact forces in place; return where their true values are known, (M,) bool."""
        forces = made[..., _STATE:].reshape(*made.shape[:-1], _FORCES // 3, 3)
        before = forces[..., :2]
        after = rotations(before)
        forces[..., :2] = np.clip(after, -_MOST_FORCE, _MOST_FORCE)
        made[..., _STATE:] = forces.reshape(*made.shape[:-1], _FORCES)
        if self.rotation == "quarter":
            return np.ones(len(made), bool)
        known: np.ndarray = (np.abs(before) < _MOST_FORCE).all(axis=tuple(range(1, before.ndim)))
        return known

    def simulator(self) -> Simulator:  # noqa: D102
        return _AntSimulator(self)


def _mirrored_state(state: np.ndarray) -> np.ndarray:
    """Return states mirrored at the plane through the x and the z axis, (M, L + 1, size)."""
    made = state.copy()
    made[..., _ORIENTATION] *= np.array([1.0, -1.0, 1.0, -1.0])
    made[..., 14] *= -1.0
    made[..., _SPIN] *= np.array([-1.0, 1.0, -1.0])
    for part in (_JOINTS, _JOINT_SPEEDS):
        made[..., part] = state[..., part][..., _JOINT_ORDER] * _HIP_SIGNS
    if state.shape[-1] > _STATE:
        forces = state[..., _STATE:].reshape(*state.shape[:-1], len(_BODY_ORDER), 6)
        made[..., _STATE:] = (forces[..., _BODY_ORDER, :] * _FORCE_SIGNS).reshape(*state.shape[:-1], _FORCES)
    return made


def _yawed(quaternions: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Return orientations, (M, ..., 4), turned about the vertical axis of the world by angles, (M,)."""
    half = (angles / 2).reshape(-1, *[1] * (quaternions.ndim - 2))
    cosine, sine = np.cos(half), np.sin(half)
    w, x, y, z = np.moveaxis(quaternions, -1, 0)
    return np.stack([cosine * w - sine * z, cosine * x - sine * y, cosine * y + sine * x, cosine * z + sine * w], -1)


class _AntSimulator(MazeSimulator):
    def __init__(self, domain: Maze) -> None:
        super().__init__(domain)
        self._made: dict[int, Any] = {}

    def environment(self, observation: np.ndarray) -> tuple[Any, Any]:
        size = len(observation)
        if size not in self._made:
            from gymnasium_robotics.envs.maze import ant_maze_v4, ant_maze_v5

            made: Any = (ant_maze_v5 if size > _STATE else ant_maze_v4).AntMazeEnv(**self.options)
            made.reset(seed=0)
            self._made[size] = made
        return self._made[size], self._made[size].ant_env

    def state(self, observation: np.ndarray, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.concatenate([place, observation[:13]]), observation[13:_STATE]
