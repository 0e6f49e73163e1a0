"""Simulators whose whole state stands in their observations, by the environment of a dataset.

======================================  ===============================================================================
Gymnasium's MuJoCo bodies               positions (without the first ones, on which nothing depends) and velocities
Pendulum, CartPole, MountainCar         the angle from its cosine and sine; the state as it is
environments of a domain                see `assay.augmentation.domains`
======================================  ===============================================================================

Hopper and Walker2d cut velocities at 10 in their observations, so faster states cannot be read off them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from assay.augmentation.domain import domain_of
from assay.augmentation.simulator import Simulator
from assay.datasets.dataset import Dataset
from assay.datasets.environments.specification import evaluation_environment
from assay.datasets.environments.worker import register_environments_of
from assay.datasets.errors import ConfigError

__all__ = ["simulator_of"]

_LEFT_OUT: Mapping[str, int] = {
    "HalfCheetah": 1,
    "Hopper": 1,
    "Walker2d": 1,
    "Swimmer": 2,
    "Ant": 2,
    "InvertedPendulum": 0,
}
"""Leading positions that the observations of a body leave out."""


def _pendulum(observation: np.ndarray) -> np.ndarray:
    return np.array([np.arctan2(observation[1], observation[0]), observation[2]])


_STATES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "Pendulum": _pendulum,
    "assay/SparsePendulum": _pendulum,
    "CartPole": np.array,
    "MountainCar": np.array,
    "MountainCarContinuous": np.array,
}


def simulator_of(dataset: Dataset) -> Simulator:
    """Return the simulator of the environment that a dataset was recorded in.

    Raises
    ------
    ConfigError
        If the dataset says of no environment, or its state cannot be read off its observations.
    """
    spec = evaluation_environment(dataset.info)
    if spec is None:
        raise ConfigError("the dataset says of no environment to compare transitions with")
    body = spec.id.rpartition("-v")[0]
    if body not in _LEFT_OUT and body not in _STATES:
        return domain_of(dataset).simulator()
    import gymnasium

    register_environments_of(spec.id)
    kwargs: dict[str, Any] = dict(spec.kwargs)
    environment: Any = gymnasium.make(spec.id, disable_env_checker=True, **kwargs)
    environment.reset(seed=0)
    if body in _STATES:
        return _ClassicControl(environment, _STATES[body])
    return _Body(environment.unwrapped, _LEFT_OUT[body])


class _ClassicControl(Simulator):
    def __init__(self, environment: Any, state_of: Callable[[np.ndarray], np.ndarray]) -> None:
        self._environment, self._state_of = environment, state_of

    def step(self, observation: Any, action: Any) -> tuple[Any, float, bool]:
        inner = self._environment.unwrapped
        inner.state = self._state_of(np.asarray(observation, np.float64))
        if hasattr(inner, "steps_beyond_terminated"):
            inner.steps_beyond_terminated = None
        return _stepped(_outermost_task(self._environment), action)


class _Body(Simulator):
    def __init__(self, environment: Any, left_out: int) -> None:
        self._environment, self._left_out = environment, left_out

    def step(self, observation: Any, action: Any) -> tuple[Any, float, bool]:
        body, left_out = self._environment, self._left_out
        positions, velocities = body.model.nq - left_out, body.model.nv
        numbers = np.asarray(observation, np.float64)
        body.set_state(
            np.concatenate([np.zeros(left_out), numbers[:positions]]), numbers[positions : positions + velocities]
        )
        return _stepped(body, action)


def _outermost_task(environment: Any) -> Any:
    """Return the environment without Gymnasium's own wrappers, whose time limits and order of calls mean nothing here."""
    while type(environment).__module__.startswith("gymnasium.wrappers"):
        environment = environment.env
    return environment


def _stepped(environment: Any, action: Any) -> tuple[Any, float, bool]:
    after, reward, terminated, _, _ = environment.step(action if np.ndim(action) else action.item())
    return after, float(reward), bool(terminated)
