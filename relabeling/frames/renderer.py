"""What renders a dataset: the states that decide its pictures, and how one becomes a picture.

=================  ==================================================================================================
MuJoCo             `infos/qpos`; else the positions that the observations of Gymnasium's bodies and of PointMaze hold. Those
                   leave out how far the body has come, which a camera that follows it does not see either.
classic control    the observations of CartPole, Pendulum, Acrobot and MountainCar
=================  ==================================================================================================
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Any, Self

import numpy as np

from assay.datasets.dataset import Dataset
from assay.datasets.environments.specification import EnvironmentSpec, read_spec
from assay.datasets.errors import ConfigError

__all__ = ["Renderer", "final_rows_filled", "renderer_of"]


class Renderer(ABC):
    """Renders the states of one dataset; a context manager that holds the graphics context.

    Parameters
    ----------
    spec : EnvironmentSpec
    states : (N+E, n) float64 array
        What decides a frame.
    shape : (height, width, 3)
    """

    def __init__(self, spec: EnvironmentSpec, states: np.ndarray, shape: tuple[int, int, int]) -> None:
        self.spec, self.states, self.shape = spec, np.ascontiguousarray(states, np.float64), shape
        wrong = np.flatnonzero(~np.isfinite(self.states).all(1))
        if len(wrong):
            raise ConfigError(
                f"row {wrong[0]} of the states that frames are rendered from holds NaN or infinity ({len(wrong):,} rows in "
                "all); leave these steps out, for instance by corruption.repair.fill with method=split"
            )

    @property
    def name(self) -> str:
        """Of the environment, as part of a file's name."""
        return "".join(letter if letter.isalnum() else "-" for letter in self.spec.id)

    @property
    def settings(self) -> dict[str, Any]:
        """What a frame depends on beside its state, as JSON values."""
        return {"environment": self.spec.to_plain(), "shape": list(self.shape), "renderer": type(self).__name__}

    @abstractmethod
    def __enter__(self) -> Self: ...

    @abstractmethod
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @abstractmethod
    def render(self, state: np.ndarray) -> np.ndarray:
        """Return the frame of one state, (height, width, 3) uint8."""


def renderer_of(dataset: Dataset, height: int) -> Renderer:
    """Return what renders a dataset.

    Raises
    ------
    ConfigError
        If the dataset does not say its environment, or nothing here renders it.
    """
    spec = read_spec(dataset.info.env_spec)
    if spec is None:
        raise ConfigError(
            "frames need an image column (uint8), or the environment to render them with: this dataset has neither; set "
            "info.env_spec, or give the column of the images"
        )
    from assay.relabeling.frames.classic_control import ClassicControlRenderer, is_classic_control
    from assay.relabeling.frames.mujoco_scene import MujocoRenderer

    if is_classic_control(spec.id):
        return ClassicControlRenderer.of(dataset, spec, height)
    return MujocoRenderer.of(dataset, spec, height)


def final_rows_filled(dataset: Dataset, column: np.ndarray) -> np.ndarray:
    """Return a column of N+E rows; where it has N, what is known of an episode's last step stands for its final row too."""
    if len(column) == dataset.total_steps + dataset.total_episodes:
        return column
    filled = np.empty((dataset.total_steps + dataset.total_episodes, *column.shape[1:]), column.dtype)
    filled[dataset.observation_rows] = column
    lasts = dataset.episode_starts + dataset.episode_lengths - 1
    filled[dataset.observation_rows[lasts] + 1] = column[lasts]
    return filled
