"""MuJoCo scenes from stored positions, headless.

The renderer is our own, because that of Gymnasium draws shadows, reflections and four samples per pixel: it makes tens of
frames per second where this one makes more than a thousand. Frames have none of the three, and round geoms have 16 slices.
The model's own camera is used where it has one (`track` follows the body), else Gymnasium's free camera of the environment.

`MUJOCO_GL` chooses the backend, `egl` or `osmesa`; by default EGL where its library is found.
"""

from __future__ import annotations

import ctypes.util
import os
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import numpy as np

from assay.datasets.dataset import Dataset
from assay.datasets.environments.specification import EnvironmentSpec
from assay.datasets.errors import ConfigError
from assay.relabeling.frames.renderer import Renderer, final_rows_filled

__all__ = ["MujocoRenderer", "gl_context"]

PACKAGES = {"egl": "libegl1 libegl-mesa0 libgl1-mesa-dri", "osmesa": "libosmesa6"}  # of Debian
_LIBRARIES = {"egl": "EGL", "osmesa": "OSMesa"}
_SLICES, _STACKS, _QUADS = 16, 8, 1  # of round geoms and of boxes; fewer are faster
_MOST_GEOMS = 2_000

_LEFT_OUT: Mapping[str, int] = {  # leading positions that observations of a body leave out
    "HalfCheetah": 1,
    "Hopper": 1,
    "Walker2d": 1,
    "Swimmer": 2,
    "Ant": 2,
    "Humanoid": 2,
    "InvertedPendulum": 0,
}


def gl_context(width: int, height: int) -> Any:
    """Make a context to render in without a display.

    Raises
    ------
    ConfigError
        If there is no library to do it with; with the Debian packages of it.
    """
    asked = os.environ.get("MUJOCO_GL", "").lower()
    if asked not in ("", *PACKAGES):
        raise ConfigError(f"MUJOCO_GL={asked}: frames are rendered headless, by egl or osmesa")
    found = [kind for kind, library in _LIBRARIES.items() if ctypes.util.find_library(library)]
    backend = asked or next(iter(found), "")
    if backend not in found:
        wanted = f"MUJOCO_GL={asked} finds no {_LIBRARIES[asked]}" if asked else "neither EGL nor OSMesa is installed"
        packages = PACKAGES[asked] if asked else f"{PACKAGES['egl']}, or {PACKAGES['osmesa']}"
        raise ConfigError(f"frames cannot be rendered: {wanted}; apt-get install {packages}")
    try:
        if backend == "egl":
            from mujoco import egl as platform
        else:
            from mujoco import osmesa as platform
        context = platform.GLContext(width, height)
        context.make_current()
    except (ImportError, RuntimeError, AttributeError, OSError) as error:
        raise ConfigError(
            f"frames cannot be rendered by {backend}: {error}; apt-get install {PACKAGES[backend]}, or choose the other "
            "backend by MUJOCO_GL"
        ) from error
    return context


class MujocoRenderer(Renderer):
    """Renders positions of a model.

    Parameters
    ----------
    spec, states, shape
        As of `Renderer`. A state is the positions of the model, and behind them the target of a maze.
    environment
        Unwrapped, made for its model and its camera.
    """

    def __init__(
        self, spec: EnvironmentSpec, states: np.ndarray, shape: tuple[int, int, int], environment: Any
    ) -> None:
        super().__init__(spec, states, shape)
        self._environment = environment

    @classmethod
    def of(cls, dataset: Dataset, spec: EnvironmentSpec, height: int) -> MujocoRenderer:
        """Read the positions of a dataset.

        Raises
        ------
        ConfigError
            If the environment is none of MuJoCo's, or neither `infos/qpos` nor the observations give the positions.
        """
        import gymnasium

        from assay.datasets.environments.worker import register_environments_of

        register_environments_of(spec.id)
        kwargs: dict[str, Any] = dict(spec.kwargs)
        try:
            environment: Any = gymnasium.make(spec.id, disable_env_checker=True, **kwargs).unwrapped
        except gymnasium.error.Error as error:
            raise ConfigError(f"frames cannot be rendered: {spec.id} cannot be made: {error}") from error
        model = getattr(environment, "model", None)
        if type(model).__name__ != "MjModel":
            raise ConfigError(
                f"frames of {spec.id} cannot be rendered: it is neither MuJoCo's nor one of the classic controls that are "
                "drawn here; give a column of images"
            )
        positions = _positions(dataset, spec, model.nq)
        states = np.concatenate([positions, *_targets(dataset, environment, len(positions))], 1)
        return cls(spec, states, (height, height, 3), environment)

    def __enter__(self) -> Self:
        import mujoco

        height, width, _ = self.shape
        self._context = gl_context(width, height)
        model = self._model = self._environment.model
        quality, size = model.vis.quality, getattr(model.vis, "global_")  # noqa: B009  (a name of the bindings)
        quality.offsamples, quality.numslices, quality.numstacks, quality.numquads = 0, _SLICES, _STACKS, _QUADS
        size.offwidth, size.offheight = width, height
        self._data = mujoco.MjData(model)
        self._drawing = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._drawing)
        self._scene = mujoco.MjvScene(model, maxgeom=_MOST_GEOMS)
        for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
            self._scene.flags[flag] = False
        self._camera, self._options = _camera(self._environment), mujoco.MjvOption()
        self._rectangle = mujoco.MjrRect(0, 0, width, height)
        self._pixels = np.empty(self.shape, np.uint8)
        return self

    def render(self, state: np.ndarray) -> np.ndarray:  # noqa: D102
        import mujoco

        model, data = self._model, self._data
        data.qpos[:] = state[: model.nq]
        if len(state) > model.nq:
            model.site_pos[self._environment.target_site_id][:2] = state[model.nq :]
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)  # which cameras that follow a body look at
        mujoco.mj_camlight(model, data)
        everything = mujoco.mjtCatBit.mjCAT_ALL
        mujoco.mjv_updateScene(model, data, self._options, None, self._camera, everything, self._scene)
        mujoco.mjr_render(self._rectangle, self._scene, self._drawing)
        mujoco.mjr_readPixels(self._pixels, None, self._rectangle, self._drawing)
        return self._pixels[::-1]  # OpenGL begins at the bottom

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._drawing.free()
        self._context.free()
        self._environment.close()


def _positions(dataset: Dataset, spec: EnvironmentSpec, count: int) -> np.ndarray:
    """Return (N+E, count) positions of the model."""
    if "infos/qpos" in dataset.columns:
        stored = final_rows_filled(dataset, dataset.column("infos/qpos"))
        if stored.shape[1:] != (count,):
            raise ConfigError(
                f"infos/qpos has {list(stored.shape[1:])} entries per row; {spec.id} has {count} positions"
            )
        return stored
    body, observations = spec.id.rpartition("-v")[0], dataset.observations
    if body.startswith("PointMaze_") and isinstance(observations, dict):
        return np.asarray(observations["observation"][:, :count])
    if body not in _LEFT_OUT or not isinstance(observations, np.ndarray):
        raise ConfigError(
            f"frames of {spec.id} need the state of the simulator in the column infos/qpos, (N+E, {count}) or (N, {count}); "
            "its observations alone do not give it"
        )
    stored = spec.kwargs.get("exclude_current_positions_from_observation", True) is False
    unknown = 0 if stored else _LEFT_OUT[body]
    known: np.ndarray = observations[:, : count - unknown]
    return np.concatenate([np.zeros((len(known), unknown)), known], 1)


def _targets(dataset: Dataset, environment: Any, rows: int) -> list[np.ndarray]:
    """Return the (N+E, 2) targets of a maze, in a list; an empty one elsewhere."""
    if not hasattr(environment, "target_site_id"):
        return []
    observations = dataset.observations
    if isinstance(observations, dict) and "desired_goal" in observations:
        return [np.asarray(observations["desired_goal"])]
    return [np.zeros((rows, 2))]


def _camera(environment: Any) -> Any:
    """Return the camera `track` of the model, or the free one that Gymnasium's renderer is set to."""
    import mujoco

    model, camera = environment.model, mujoco.MjvCamera()
    fixed = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_CAMERA, "track")
    if fixed >= 0:
        camera.type, camera.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, fixed
        return camera
    mujoco.mjv_defaultFreeCamera(model, camera)
    inner = getattr(environment, "point_env", environment)
    configured = getattr(getattr(inner, "mujoco_renderer", None), "default_cam_config", None) or {}
    for name, value in configured.items():
        if name == "lookat":
            camera.lookat[:] = value
        else:
            setattr(camera, name, value)
    if hasattr(environment, "target_site_id"):
        camera.azimuth, camera.elevation = 90.0, -90.0  # a maze is seen from above
    return camera
