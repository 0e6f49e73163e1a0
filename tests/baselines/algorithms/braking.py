"""The braking car and the robot between hazards as tables of transitions, and learners of what can be kept safe: FISOR's part, alone."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from assay.baselines.algorithms.algorithm import Losses, Phase, Setting
from assay.baselines.algorithms.safe.fisor import FISOR, safety_losses
from assay.baselines.engine.data import ActionScale, TrainingData
from assay.baselines.engine.population import Member, Population
from assay.baselines.engine.shapes import Shapes
from assay.baselines.networks import Specification
from assay.datasets.environments import point_robot
from assay.datasets.environments.braking_car import FASTEST, WALL, advanced, viable
from assay.datasets.transitions import Transitions

LOW, HIGH = (0.0, 0.0), (4.0, FASTEST)
STATES = np.stack(np.meshgrid(np.linspace(0, 4, 81), np.linspace(0, FASTEST, 41), indexing="ij"), -1).reshape(-1, 2)


def car_data(seed: int = 0, steps: int = 20_000) -> TrainingData:
    """Transitions from states all over the plane, by actions at random, with their costs and the signed distance to the wall."""
    generator = np.random.default_rng(seed)
    states = generator.uniform(LOW, HIGH, (steps, 2))
    actions = generator.uniform(-1.0, 1.0, (steps, 1))
    after = advanced(states, actions[:, 0])
    made = Transitions(
        observations=states,
        actions=actions,
        rewards=after[:, 0] - states[:, 0],
        next_observations=after,
        terminations=np.zeros(steps, bool),
        truncations=np.zeros(steps, bool),
        steps=np.arange(steps),
        columns={"costs": (after[:, 0] > WALL).astype(float), "infos/past_wall": after[:, 0] - WALL},
    )
    extra = ("costs", "infos/past_wall")
    return TrainingData.of(made, ActionScale.of(-np.ones(1), np.ones(1)), normalize=True, extra=extra)


def robot_states(seed: int, count: int) -> np.ndarray:
    """States of the robot all over the arena, in every direction."""
    drawn = np.random.default_rng(seed).uniform((-3.0, -3.0, 0.0, -np.pi), (3.0, 3.0, 2.0, np.pi), (count, 4))
    return drawn[~point_robot.over(drawn)]


def robot_data(seed: int = 0, steps: int = 40_000) -> TrainingData:
    """Transitions of the robot from such states, half of them by actions at their bounds, with costs and the depth in a hazard."""
    states = robot_states(seed, steps)
    generator = np.random.default_rng((seed, 1))
    actions = generator.uniform(-1.0, 1.0, (len(states), 2))
    bound = generator.random(len(states)) < 0.5
    actions[bound] = np.sign(actions[bound])
    after = point_robot.advanced(states, actions)
    depth = point_robot.violation(after)
    made = Transitions(
        observations=point_robot.observed(states),
        actions=actions,
        rewards=np.zeros(len(states)),
        next_observations=point_robot.observed(after),
        terminations=point_robot.over(after),
        truncations=np.zeros(len(states), bool),
        steps=np.arange(len(states)),
        columns={"costs": (depth > 0).astype(float), "infos/violation": depth},
    )
    extra = ("costs", "infos/violation")
    return TrainingData.of(made, ActionScale.of(-np.ones(2), np.ones(2)), normalize=True, extra=extra)


class Feasibility(FISOR):
    """The part of FISOR that learns what is feasible, alone."""

    def networks(self, shapes: Shapes) -> dict[str, Specification]:
        return {name: spec for name, spec in super().networks(shapes).items() if name.startswith("safety")}

    def phases(self) -> tuple[Phase, ...]:
        return (Phase(self.feasibility_losses, follow=("safety_critic",)),)

    def feasibility_losses(self, setting: Setting) -> Losses:
        return Losses(*safety_losses(setting, self.violation, self.critic_batch_size))


def learned_values(
    learners: list[Feasibility],
    seed: int,
    updates: int,
    data: TrainingData | None = None,
    observations: np.ndarray = STATES,
) -> np.ndarray:
    """Return V_h [P, states] of learners of one kind, trained together; by default on the car's data, at all of its states."""
    data = car_data(seed) if data is None else data
    made = Population([Member(learner, seed, 0) for learner in learners], [data], updates)
    made.advance(updates)
    scaled = (observations - data.observation_scale.mean) / data.observation_scale.scale
    inputs = torch.tensor(scaled, dtype=torch.float32).expand(len(learners), -1, -1)
    with torch.no_grad():
        return made.networks["safety_value"](inputs, weights="frozen").squeeze(-1).numpy()


def accuracy(values: np.ndarray) -> tuple[float, float]:
    """Return the share of states that are told right, and of those called safe that are not."""
    true, told = viable(STATES), values <= 0
    return float((told == true).mean()), float((told & ~true).mean())


LEARNER = partial(Feasibility, hidden=(64, 64), batch_size=256, learning_rate=1e-3, normalize_observations=True)
