"""A small algorithm that uses every part of the contract: stages, streams, segments, buffers and open columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from assay.baselines.algorithms.algorithm import FIRST, Algorithm, Losses, Pause, Phase, Setting, Stage
from assay.baselines.engine.shapes import Shapes
from assay.baselines.engine.streams import BufferLayout, FutureRows, Stream
from assay.baselines.networks import MLP, Specification

__all__ = ["RolloutCloning"]


@dataclass(frozen=True)
class RolloutCloning(Algorithm):
    """Learn the dynamics, then clone actions in data states and in states that the learned dynamics lead to.

    The policy sees a goal as well: a state of the same episode's future.
    """

    extra_columns: ClassVar[tuple[str, ...]] = ("timesteps",)

    learning_rate: float = 1e-3
    discount: float = 0.9  # of the goals
    batch_size: int = 32
    hidden: tuple[int, ...] = (16,)
    dynamics_updates: int = 7
    segment: int = 5
    capacity: int = 40
    normalize_observations: bool = True

    name = "rollout_cloning"
    label = "rollout cloning"

    def networks(self, shapes: Shapes) -> dict[str, Specification]:
        state, action = shapes.observation_size, shapes.action_size
        return {
            "dynamics": MLP(state + action, state, self.hidden, learning_rate="learning_rate", ensemble=2),
            "actor": MLP(
                2 * state, action, self.hidden, learning_rate="learning_rate", output="tanh", schedule="cosine"
            ),
        }

    def phases(self) -> tuple[Phase, ...]:
        return (Phase(policy_loss),)

    def stages(self) -> tuple[Stage, ...]:
        rows = Stream(self.batch_size)
        goals = Stream(self.batch_size, sampler=FutureRows(discount="discount"))
        model = Stream(8, table="rollouts")
        return (
            Stage("dynamics", (Phase(dynamics_loss),), {FIRST: rows}, updates=self.dynamics_updates),
            Stage(
                "policy",
                self.phases(),
                {FIRST: rows, "goals": goals, "rollouts": model},
                segment=self.segment,
                between=roll_out,
            ),
        )

    def buffers(self, shapes: Shapes) -> Mapping[str, BufferLayout]:
        return {"rollouts": BufferLayout(self.capacity, {"observations": shapes.observation_size, "weight": 0})}

    def act(self, networks, observations, memory, draws):
        return networks["actor"](torch.cat([observations, observations], -1), weights="frozen"), {}


def dynamics_loss(setting: Setting) -> Losses:
    batch = setting.batch
    predicted = setting.networks["dynamics"](torch.cat([batch.observations, batch.actions], -1))  # [P, K, B, s]
    loss = (predicted - batch.next_observations[:, None]).square().mean((2, 3)).sum(1)
    return Losses({"dynamics": loss}, {"dynamics_loss": loss})


def roll_out(pause: Pause) -> None:
    """Refill a part of the buffer with states that the dynamics lead to from data states, under random actions."""
    rows, _ = pause.data.gather(pause.data.draw(pause.draws, "starts", 16))
    dynamics = pause.networks["dynamics"]
    state = dynamics.spec.outputs
    states = rows[:, :, 0, :state].to(dynamics.buffer.dtype)
    actions = 2.0 * pause.draws.uniform("rollout actions", 16, dynamics.spec.inputs - state) - 1.0
    following = dynamics(torch.cat([states, actions], -1), weights="frozen", first=True)
    chosen = pause.draws.uniform("kept", 16) < 0.7
    weight = torch.full(chosen.shape, 0.5 + pause.update, dtype=states.dtype, device=states.device)
    pause.buffers["rollouts"].append({"observations": following, "weight": weight}, chosen)


def policy_loss(setting: Setting) -> Losses:
    batch, goals, model = setting.batch, setting.batches["goals"], setting.batches["rollouts"]
    actor = setting.networks["actor"]
    noise = setting.draws.normal("noise", *batch.observations.shape[1:]) * 0.01
    predicted = actor(torch.cat([batch.observations + noise, goals.next_observations], -1))
    late = (1.0 + batch["timesteps"])[..., None]
    cloning = ((predicted - batch.actions).square() / late).mean((1, 2))
    smooth = actor(torch.cat([model.observations, model.observations], -1)).square().mean(-1)
    loss = cloning + (smooth * model["weight"]).mean(1)
    return Losses({"actor": loss}, {"actor_loss": loss})
