"""Small recordings of every domain's task, with random actions that are held for a while so that things move."""

from __future__ import annotations

import functools

import gymnasium
import numpy as np
import pytest

from assay.augmentation.domains import AntMaze, Parking, PointMaze, Soccer
from assay.datasets import Dataset
from assay.datasets.environments.worker import register_environments_of

DOMAINS = {
    "point maze": PointMaze(map="umaze"),
    "point maze, distance": PointMaze(map="umaze", speed=None),
    "point maze, any angle": PointMaze(map="umaze", rotation="any"),
    "point maze, dense": PointMaze(map="medium", dense=True, goals="redrawn"),
    "point maze, episodic": PointMaze(map="umaze", episodic=True),
    "ant maze": AntMaze(map="umaze"),
    "ant maze, forces": AntMaze(map="umaze", goals="redrawn"),
    "soccer": Soccer(),
    "parking": Parking(),
    "parking, redrawn": Parking(goals="redrawn"),
}
"""Domains by what is said of them in the names of tests."""

_TASKS = {
    "point maze": ("PointMaze_UMaze-v3", {}),
    "point maze, distance": ("PointMaze_UMaze-v3", {}),
    "point maze, any angle": ("PointMaze_UMaze-v3", {}),
    "point maze, dense": ("PointMaze_Medium-v3", {"reward_type": "dense"}),
    "point maze, episodic": ("assay/PointMaze-UMaze-Goal-v0", {}),
    "ant maze": ("AntMaze_UMaze-v4", {}),
    "ant maze, forces": ("AntMaze_UMaze-v5", {}),
    "soccer": ("assay/PushBallToGoal-v0", {}),
    "parking": ("parking-v0", {}),
    "parking, redrawn": ("parking-v0", {}),
}


@functools.cache
def recording(name: str, episodes: int = 4, steps: int = 60) -> Dataset:
    """Record a few episodes of a domain's task; a test without the simulator is skipped."""
    environment_id, kwargs = _TASKS[name]
    if environment_id.startswith("parking"):
        pytest.importorskip("highway_env")
    register_environments_of(environment_id)
    environment = gymnasium.make(environment_id, disable_env_checker=True, max_episode_steps=steps, **kwargs)
    recorded = [episode(environment, seed) for seed in range(episodes)]
    environment.close()
    return Dataset.from_episodes(recorded)


def episode(environment, seed):
    generator = np.random.default_rng(seed)
    observation, _ = environment.reset(seed=seed)
    observations, rows, ended = [observation], [], False
    while not ended:
        if len(rows) % 10 == 0:
            action = generator.uniform(-1, 1, environment.action_space.shape).astype(np.float32)
        observation, reward, terminated, truncated, _ = environment.step(action)
        observations.append(observation)
        rows.append((action, reward, terminated, truncated))
        ended = terminated or truncated
    actions, rewards, terminations, truncations = (np.array(column) for column in zip(*rows, strict=True))
    first = observations[0]
    stacked = (
        {key: np.stack([each[key] for each in observations]) for key in first}
        if isinstance(first, dict)
        else np.stack(observations)
    )
    return {
        "observations": stacked,
        "actions": actions,
        "rewards": rewards.astype(float),
        "terminations": terminations.astype(bool),
        "truncations": truncations.astype(bool),
    }
