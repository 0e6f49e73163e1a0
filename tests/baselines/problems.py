"""Small learning problems with known shapes, for tests of the engine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from assay.baselines.algorithms.algorithm import Algorithm
from assay.baselines.algorithms.continual.tasks import TasksInOrder
from assay.baselines.algorithms.goal_conditioned.goals import GoalConditioned
from assay.baselines.engine.data import ActionScale, TrainingData
from assay.baselines.engine.population import Member, Population
from assay.baselines.engine.shapes import Part, Shapes
from assay.datasets.dataset import Dataset
from assay.datasets.info import DatasetInfo
from assay.datasets.spaces import Box
from assay.datasets.transitions import Transitions

SMALL_MODEL = {
    "batch_size": 32,
    "hidden": (16, 16),
    "model_hidden": (12, 12),
    "models": 3,
    "elites": 2,
    "model_batch_size": 8,
    "real_percent": 25,
}
"""Settings of model-based algorithms that train in no time."""


def transitions(seed: int = 0, steps: int = 500, observation: int = 3, action: int = 2) -> Transitions[np.ndarray]:
    rng = np.random.default_rng(seed)
    return Transitions(
        observations=rng.normal(2.0, 3.0, (steps, observation)),
        actions=rng.uniform(-1, 1, (steps, action)),
        rewards=rng.normal(size=steps),
        next_observations=rng.normal(2.0, 3.0, (steps, observation)),
        terminations=rng.random(steps) < 0.1,
        truncations=np.zeros(steps, bool),
        steps=np.arange(steps),
        columns={"costs": (np.random.default_rng((seed, 1)).random(steps) < 0.3).astype(float)},
    )


def training_data(
    seed: int = 0, steps: int = 500, weights: np.ndarray | None = None, extra: Sequence[str] = ()
) -> TrainingData:
    made = transitions(seed, steps)
    if weights is not None:
        made = Transitions(**{**made.__dict__, "weights": weights})
    return TrainingData.of(made, ActionScale.of(-np.ones(2), np.ones(2)), normalize=True, extra=extra)


def discrete_data(seed: int = 0, steps: int = 500, extra: Sequence[str] = ()) -> TrainingData:
    """The problem of `training_data` with three discrete actions."""
    made = transitions(seed, steps)
    actions = np.random.default_rng(seed).integers(0, 3, steps)
    made = Transitions(**{**made.__dict__, "actions": actions})
    return TrainingData.of(made, ActionScale.of_discrete(3, 0), normalize=True, extra=extra)


GOAL_SHAPES = Shapes((Part("achieved_goal", (2,)), Part("desired_goal", (2,)), Part("observation", (3,))), 2)


def goal_data(seed: int = 0, steps: int = 500) -> TrainingData:
    """Episodes with goals, a tenth of whose steps end one."""
    rng = np.random.default_rng(seed)
    made = transitions(seed, steps)
    sizes = {part.name: part.size for part in GOAL_SHAPES.parts}
    now, after = ({name: rng.normal(size=(steps, size)) for name, size in sizes.items()} for _ in range(2))
    made = Transitions(**{**made.__dict__, "observations": now, "next_observations": after})
    return TrainingData.of(made, ActionScale.of(-np.ones(2), np.ones(2)), normalize=False, shapes=GOAL_SHAPES)


TASK_SHAPES = Shapes((Part("observation", (3,)), Part("task", (), "category", 8)), 2)


def task_data(seed: int = 0, steps: int = 500) -> TrainingData:
    """Eight tasks, whose steps stand in no order."""
    rng, made = np.random.default_rng((seed, 2)), transitions(seed, steps)
    tasks = np.concatenate([np.arange(8), rng.integers(8, size=steps - 8)])
    now, after = ({"observation": part, "task": tasks} for part in (made.observations, made.next_observations))
    made = Transitions(**{**made.__dict__, "observations": now, "next_observations": after})
    return TrainingData.of(made, ActionScale.of(-np.ones(2), np.ones(2)), normalize=False, shapes=TASK_SHAPES)


def data_for(algorithm: Algorithm, seed: int = 0, steps: int = 500) -> TrainingData:
    """Data of the kind of actions that an algorithm takes, with its extra columns."""
    if isinstance(algorithm, GoalConditioned):
        return goal_data(seed, steps)
    if isinstance(algorithm, TasksInOrder):
        return task_data(seed, steps)
    make = training_data if algorithm.continuous_actions else discrete_data
    return make(seed, steps, extra=algorithm.extra_columns)


def population(algorithm, seeds, *, data=None, steps=100, **options) -> Population:
    data = data or [data_for(algorithm)]
    members = [Member(algorithm, seed, number % len(data)) for number, seed in enumerate(seeds)]
    return Population(members, data, steps, **options)


def pendulum_like(seed: int = 0, episodes: int = 10, length: int = 20) -> Dataset:
    """A dataset of Pendulum-v1's shapes, with made-up numbers."""
    rng = np.random.default_rng(seed)
    steps = episodes * length
    ends = np.zeros(steps, bool)
    ends[length - 1 :: length] = True
    return Dataset.from_arrays(
        observations=rng.normal(size=(steps + episodes, 3)).astype(np.float32),
        actions=rng.uniform(-2, 2, (steps, 1)).astype(np.float32),
        rewards=rng.normal(size=steps),
        terminations=np.zeros(steps, bool),
        truncations=ends,
        info=DatasetInfo(
            id=f"pendulum-like-{seed}",
            action_space=Box((1,), "float32", [-2.0], [2.0]),
            env_spec='{"id": "Pendulum-v1"}',
        ),
    )
