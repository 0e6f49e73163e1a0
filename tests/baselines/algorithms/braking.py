"""The braking car as a table of transitions, and learners of its viability kernel: FISOR's part of it, alone."""

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


class Feasibility(FISOR):
    """The part of FISOR that learns what is feasible, alone."""

    def networks(self, shapes: Shapes) -> dict[str, Specification]:
        return {name: spec for name, spec in super().networks(shapes).items() if name.startswith("safety")}

    def phases(self) -> tuple[Phase, ...]:
        return (Phase(self.feasibility_losses, follow=("safety_critic",)),)

    def feasibility_losses(self, setting: Setting) -> Losses:
        return Losses(*safety_losses(setting, self.violation, self.critic_batch_size))


def learned_values(learners: list[Feasibility], seed: int, updates: int) -> np.ndarray:
    """Return V_h [P, states] of learners of one kind, trained together."""
    data = car_data(seed)
    made = Population([Member(learner, seed, 0) for learner in learners], [data], updates)
    made.advance(updates)
    scaled = (STATES - data.observation_scale.mean) / data.observation_scale.scale
    inputs = torch.tensor(scaled, dtype=torch.float32).expand(len(learners), -1, -1)
    with torch.no_grad():
        return made.networks["safety_value"](inputs, weights="frozen").squeeze(-1).numpy()


def accuracy(values: np.ndarray) -> tuple[float, float]:
    """Return the share of states that are told right, and of those called safe that are not."""
    true, told = viable(STATES), values <= 0
    return float((told == true).mean()), float((told & ~true).mean())


LEARNER = partial(Feasibility, hidden=(64, 64), batch_size=256, learning_rate=1e-3, normalize_observations=True)
