"""Gymnasium's classic control: the state is set, and the environment draws itself.

The frame is drawn at the environment's own size, whose lines have fixed widths, and smoothly scaled to the height asked for.
Pendulum's arrow, which shows the last torque, is not drawn: the torque is no part of an observation.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import numpy as np

from assay.datasets.dataset import Dataset
from assay.datasets.environments.specification import EnvironmentSpec
from assay.datasets.errors import ConfigError
from assay.relabeling.frames.renderer import Renderer

__all__ = ["ClassicControlRenderer", "is_classic_control"]


def _pendulum(observations: np.ndarray) -> np.ndarray:
    """(cos, sin, speed) -> (angle, speed)."""
    return np.stack([np.arctan2(observations[:, 1], observations[:, 0]), observations[:, 2]], 1)


def _acrobot(observations: np.ndarray) -> np.ndarray:
    """(cos 1, sin 1, cos 2, sin 2, speeds) -> (angles, speeds)."""
    angles = np.arctan2(observations[:, [1, 3]], observations[:, [0, 2]])
    return np.concatenate([angles, observations[:, 4:]], 1)


def _itself(observations: np.ndarray) -> np.ndarray:
    return observations


_STATES: Mapping[str, tuple[Callable[[np.ndarray], np.ndarray], tuple[int, int]]] = {  # and (height, width) of a frame
    "CartPole": (_itself, (400, 600)),
    "Pendulum": (_pendulum, (500, 500)),
    "assay/SparsePendulum": (_pendulum, (500, 500)),
    "Acrobot": (_acrobot, (500, 500)),
    "MountainCar": (_itself, (400, 600)),
    "MountainCarContinuous": (_itself, (400, 600)),
}


def _body(environment_id: str) -> str:
    return environment_id.rpartition("-v")[0]


def is_classic_control(environment_id: str) -> bool:
    """Whether an environment is one of these.

    Examples
    --------
    >>> is_classic_control("CartPole-v1"), is_classic_control("Hopper-v5")
    (True, False)
    """
    return _body(environment_id) in _STATES


@contextmanager
def _without_display() -> Iterator[None]:
    """Let SDL, while it starts, look for no display."""
    before = os.environ.get("SDL_VIDEODRIVER")
    os.environ["SDL_VIDEODRIVER"] = "dummy"
    try:
        yield
    finally:
        if before is None:
            del os.environ["SDL_VIDEODRIVER"]
        else:
            os.environ["SDL_VIDEODRIVER"] = before


class ClassicControlRenderer(Renderer):
    """Draws one state after the other with the environment's own `render`."""

    @classmethod
    def of(cls, dataset: Dataset, spec: EnvironmentSpec, height: int) -> ClassicControlRenderer:
        """Read the states of a dataset's observations."""
        state_of, (own_height, own_width) = _STATES[_body(spec.id)]
        observations = dataset.observations
        if not isinstance(observations, np.ndarray) or observations.ndim != 2:
            raise ConfigError(f"the observations of {spec.id} are not flat vectors: its state cannot be read off them")
        return cls(spec, state_of(observations.astype(np.float64)), (height, round(height * own_width / own_height), 3))

    def __enter__(self) -> Self:
        import gymnasium

        from assay.datasets.environments.worker import register_environments_of

        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
        register_environments_of(self.spec.id)
        try:
            import pygame  # noqa: F401
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"{self.spec.id} is drawn by pygame, which is not installed: pip install 'gymnasium[classic-control]'"
            ) from error
        kwargs: dict[str, Any] = dict(self.spec.kwargs)
        self._environment: Any = gymnasium.make(
            self.spec.id, render_mode="rgb_array", disable_env_checker=True, **kwargs
        )
        if hasattr(self._environment.unwrapped, "screen_dim"):  # Pendulum's, whose whole picture grows with it
            self._environment.unwrapped.screen_dim = 4 * self.shape[0]
        with _without_display():
            self._environment.reset(seed=0)  # Gymnasium draws nothing before
            self._environment.render()
        return self

    def render(self, state: np.ndarray) -> np.ndarray:  # noqa: D102
        import pygame

        environment = self._environment.unwrapped
        environment.state = state
        environment.render()
        height, width, _ = self.shape
        scaled = pygame.transform.smoothscale(environment.screen, (width, height))
        return pygame.surfarray.array3d(scaled).swapaxes(0, 1)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._environment.close()
