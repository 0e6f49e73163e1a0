"""Frames per CPU-second of the renderer, next to Gymnasium's own.

    MUJOCO_GL=egl python benchmarks/rendering.py [--frames 1000] [--height 84]

The same states of HalfCheetah are rendered by `assay.relabeling.frames` (no shadows, no reflections, one sample per pixel, round geoms
of 16 slices) and by `gymnasium.make(..., render_mode="rgb_array")`, and those of CartPole and Pendulum by both as well. Writing the
compressed file is in neither. Goal for HalfCheetah at 84 x 84: 1,400 frames per second on a quiet core, as measured for such settings,
and at least 20 times Gymnasium's.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import gymnasium
import numpy as np
from rich.console import Console
from rich.table import Table

from assay.datasets import Dataset, DatasetInfo
from assay.relabeling.frames.mujoco_scene import MujocoRenderer
from assay.relabeling.frames.renderer import Renderer, renderer_of


def make_dataset(environment_id: str, frames: int) -> Dataset:
    """Make random states near the start of an episode."""
    environment: Any = gymnasium.make(environment_id)
    size = environment.observation_space.shape[0]
    observations = np.random.default_rng(0).normal(0, 0.1, (frames, size))
    if environment_id.startswith("Pendulum"):
        angles = np.linspace(0, 2 * np.pi, frames)
        observations[:, :2] = np.stack([np.cos(angles), np.sin(angles)], 1)
    return Dataset.from_arrays(
        observations=observations,
        actions=np.zeros((frames - 1, 1)),
        rewards=np.zeros(frames - 1),
        terminations=np.arange(frames - 1) == frames - 2,
        truncations=np.zeros(frames - 1, bool),
        info=DatasetInfo(env_spec=json.dumps({"id": environment_id})),
    )


def rate_of_ours(renderer: Renderer) -> float:
    """Return frames per CPU-second."""
    with renderer:
        renderer.render(renderer.states[0])
        start = time.process_time()
        for state in renderer.states:
            renderer.render(state)
        return len(renderer.states) / (time.process_time() - start)


def rate_of_gymnasium(environment_id: str, renderer: Renderer, frames: int) -> float:
    """Return frames per CPU-second of `env.render()` on the same states."""
    height, width, _ = renderer.shape
    size = {"height": height, "width": width} if isinstance(renderer, MujocoRenderer) else {}
    environment = gymnasium.make(environment_id, render_mode="rgb_array", disable_env_checker=True, **size)
    environment.reset(seed=0)
    environment.render()
    inner: Any = environment.unwrapped
    start = time.process_time()
    for state in renderer.states[:frames]:
        if isinstance(renderer, MujocoRenderer):
            inner.set_state(state, np.zeros(inner.model.nv))
        else:
            inner.state = state
        environment.render()
    elapsed = time.process_time() - start
    environment.close()
    return frames / elapsed


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--height", type=int, default=84)
    options = parser.parse_args()
    table = Table("environment", "size", "ours, frames per CPU-second", "Gymnasium's", "ratio")
    for environment_id in ("HalfCheetah-v5", "Hopper-v5", "CartPole-v1", "Pendulum-v1"):
        renderer = renderer_of(make_dataset(environment_id, options.frames), options.height)
        theirs = rate_of_gymnasium(environment_id, renderer, max(20, options.frames // 20))
        ours = rate_of_ours(renderer_of(make_dataset(environment_id, options.frames), options.height))
        size = f"{renderer.shape[1]} x {renderer.shape[0]}"
        table.add_row(environment_id, size, f"{ours:,.0f}", f"{theirs:,.0f}", f"{ours / theirs:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
