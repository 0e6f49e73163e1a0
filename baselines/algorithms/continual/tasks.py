r"""What methods of this room share: TD3+BC on one task after the other, and a small memory of the tasks before.

::

    stage "task 0"  | updates on D_0                     |
    stage "task 1"                keep B_0 of D_0, forget D_0 | updates on D_1 and on the memory B_0           |
    stage "task 2"                                            keep B_1 of D_1, forget D_1 | D_2, B_0 and B_1   | ...

The data of all tasks is one dataset, whose observations say in their part `task`, one of several categories, which task a step is of
(`assay.datasets.environments.task_sequence`). Every task takes an equal share of the updates. What is kept of a task is chosen when
it is over, before the first update on the next one:

=========  ===========================================================================================================
`random`   `buffer_size` steps of the task, all equally likely
`reward`   those with the largest rewards; of equal ones all equally likely
`model`    those nearest to where the learned policy goes in a learned model (`assay.baselines.dynamics.experience`)
=========  ===========================================================================================================

Networks go on from task to task, their optimizers too. Observations are not normalized by default: the scale of the whole dataset
would tell of tasks that are still to come.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import pydantic
import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from assay.baselines.algorithms.actor_critic import td3_bc
from assay.baselines.algorithms.actor_critic.td3_bc import TD3BC
from assay.baselines.algorithms.algorithm import FIRST, Losses, LossFunction, Pause, Phase, Setting, Stage
from assay.baselines.algorithms.model_based.dynamics import (
    ModelScale,
    dynamics_loss,
    dynamics_networks,
    measure_scale,
    model_step,
)
from assay.baselines.dynamics.experience import follow_policy
from assay.baselines.engine.neighbours import nearest_of
from assay.baselines.engine.shapes import Shapes
from assay.baselines.engine.streams import BufferLayout, CategoryRows, Stream
from assay.baselines.networks import FixedNetwork
from assay.datasets.errors import ConfigError
from assay.datasets.registry import Widths

__all__ = ["MEMORY", "TASK", "TasksInOrder", "replay_loss"]

TASK = "task"
"""Name of the part of observations that says the task."""
MEMORY = "memory"
"""Name of the buffer of what is kept of earlier tasks, and of the stream from it."""
_MODEL = "model"


@dataclass(frozen=True, config=pydantic.ConfigDict(extra="forbid"))
class TasksInOrder(TD3BC):
    """Base of algorithms that learn tasks one after the other."""

    tasks: int = Field(default=3, ge=2, kw_only=True)  # n, as many as the observations tell apart
    selection: Literal["random", "reward", "model"] = Field(default="random", kw_only=True)
    buffer_size: int = Field(default=1000, gt=0, kw_only=True)  # M, steps that are kept of each task
    replay_weight: float = Field(default=1.0, ge=0, kw_only=True)  # lambda, of cloning the memory
    replay_batch_size: int = Field(default=256, gt=0, kw_only=True)  # steps of the memory per update
    models: int = Field(default=5, gt=0, kw_only=True)  # N, of selection "model", as all below
    model_hidden: Widths = Field(default=(256, 256), kw_only=True)
    model_learning_rate: float = Field(default=1e-3, gt=0, kw_only=True)
    model_decay: float = Field(default=1.0, ge=0, kw_only=True)  # factor of the weight decay of dynamics ensembles
    model_batch_size: int = Field(default=256, gt=0, kw_only=True)  # of each network
    rollout_length: int = Field(default=100, gt=0, kw_only=True)  # most steps of a rollout
    reanchor: bool = Field(default=True, kw_only=True)  # go on from the chosen state, not from the imagined one
    action_weight: float = Field(default=1.0, ge=0, kw_only=True)  # of actions in the distance; 0 compares states alone
    normalize_observations: bool = Field(default=False, kw_only=True)

    # ---------------------------------------------------------------- training

    def networks(self, shapes: Shapes) -> dict[str, Any]:  # noqa: D102
        self._check_tasks(shapes)
        networks: dict[str, Any] = {**super().networks(shapes)}
        if self.selection == "model":
            model: dict[str, Any] = {
                **dynamics_networks(shapes, models=self.models, hidden=self.model_hidden, learned_terminations=False)
            }
            # The last weights count, and those of all networks alike.
            networks |= {**model, "dynamics": replace(model["dynamics"], target=False)}
            networks["dynamics_errors"] = replace(model["dynamics_errors"], value=0.0)
        return networks

    def _check_tasks(self, shapes: Shapes) -> None:
        part = next((part for part in shapes.parts if part.name == TASK), None)
        if part is None or part.kind != "category":
            raise ConfigError(
                f"{self.label} learns tasks in order: observations need a part {TASK!r}, one of several categories, such as those of "
                "point-tasks/expert"
            )
        if part.categories != self.tasks:
            raise ConfigError(f"tasks={self.tasks}, and the observations tell {part.categories} tasks apart")

    def buffers(self, shapes: Shapes) -> Mapping[str, BufferLayout]:  # noqa: D102
        columns = {"observations": shapes.observation_size, "actions": shapes.action_size}
        return {MEMORY: BufferLayout(self.buffer_size * (self.tasks - 1), columns)}

    def phases(self) -> tuple[Phase, ...]:  # noqa: D102
        first = [td3_bc.critic_loss, *self.losses_beside()]
        if self.selection == "model":
            first.append(functools.partial(model_loss, models=self.models))
        actor = Phase(self.actor_loss(), every=self.policy_delay, follow=("actor", "critic"))
        return Phase(functools.partial(joint, losses=tuple(first))), actor

    def actor_loss(self) -> LossFunction:
        """Return the loss of the policy; by default that of TD3+BC."""
        return td3_bc.actor_loss

    def losses_beside(self) -> Sequence[LossFunction]:
        """Return losses of further networks, computed with that of the critics."""
        return ()

    def stages(self) -> tuple[Stage, ...]:  # noqa: D102
        return tuple(
            Stage(
                f"task {task}",
                self.phases(),
                self.streams_of(task),
                between=functools.partial(self.change_task, task=task),
            )
            for task in range(self.tasks)
        )

    def streams_of(self, task: int) -> dict[str, Stream]:
        """Name the sources of rows while a task is learned."""
        rows = CategoryRows(TASK, task)
        streams = {FIRST: Stream(self.batch_size, sampler=rows, return_steps=self.return_steps)}
        if task:
            streams[MEMORY] = Stream(self.replay_batch_size, table=MEMORY)
        if self.selection == "model":
            streams[_MODEL] = Stream(self.models * self.model_batch_size, sampler=rows)
        return streams

    # ---------------------------------------------------------------- from one task to the next

    @torch.no_grad()
    def change_task(self, pause: Pause, task: int) -> None:
        """Keep some steps of the task that is over, and measure the data of the one that begins."""
        if pause.update:
            return
        if task:
            rows, valid = self.kept_rows(pause, task - 1)
            columns = {name: pause.data.column(name, rows) for name in ("observations", "actions")}
            pause.buffers[MEMORY].append(columns, valid)
        if self.selection == "model":
            by_task = pause.data.by_category(TASK)
            measure_scale(pause, [by_task.rows(member, task) for member in range(len(pause.data.members))])

    def kept_rows(self, pause: Pause, task: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the rows of a task that are kept, [P, n], and which of them a member has, [P, n] bool."""
        if self.selection == "model":
            rows = self._rows_near_policy(pause, task)
            return rows, torch.ones_like(rows, dtype=torch.bool)
        by_task = pause.data.by_category(TASK)
        first, count = by_task.firsts[:, task, None], by_task.counts[:, task, None]
        places = torch.arange(int(count.max()), device=count.device).expand(len(count), -1)
        rows = by_task.order[first + places.clamp(max=count - 1)]
        bits = pause.draws.bits("rows that are kept", places.shape[1])
        last = torch.iinfo(bits.dtype).max  # places that a member does not have
        order = bits.masked_fill(places >= count, last).argsort(stable=True, dim=1)
        if self.selection == "reward":
            rewards = pause.data.column("rewards", rows)[..., 0].masked_fill(places >= count, -torch.inf)
            order = order.gather(1, rewards.gather(1, order).argsort(stable=True, dim=1, descending=True))
        order = order[:, : self.buffer_size]
        return rows.gather(1, order), (places < count).gather(1, order)

    def _rows_near_policy(self, pause: Pause, task: int) -> torch.Tensor:
        """Return [P, buffer_size] rows that stand for what the policy visits in the model."""
        data, networks, draws = pause.data, pause.networks, pause.draws
        dtype = networks["actor"].buffer.dtype
        own = [data.by_category(TASK).rows(member, task) for member in range(len(data.members))]
        starts = [rows[begins_episode(pause, member, rows)] for member, rows in enumerate(own)]
        limits = torch.tensor([len(rows) for rows in starts], device=own[0].device)
        padded = torch.nn.utils.rnn.pad_sequence(starts, batch_first=True)
        slots = -(-self.buffer_size // self.rollout_length)
        weight = pause.hyperparameters.action_weight[..., None]  # [P, 1, 1]
        model = {
            **networks,
            "dynamics": FixedNetwork("dynamics", networks["dynamics"].spec, networks["dynamics"].buffer),
        }

        def states_of(rows: torch.Tensor) -> torch.Tensor:
            return data.column("observations", rows).to(dtype)

        def begin(step: int) -> torch.Tensor:
            return states_of(padded.gather(1, draws.integers(f"starts {step} of rollouts", limits, slots)))

        def act(states: torch.Tensor) -> torch.Tensor:
            return networks["actor"](states, weights="frozen")

        def imagine(states: torch.Tensor, step: int) -> torch.Tensor:
            purpose = f"step {step} of rollouts"
            elites, variant = self.models, "paper"  # no network is better than another
            return model_step(
                model, states, act(states), draws, purpose, elites=elites, uncertainty=None, variant=variant
            ).states

        rows, scale = torch.nn.utils.rnn.pad_sequence(own, batch_first=True), ModelScale.of(networks)
        keys = torch.cat([scale.next_states(states_of(rows)), weight * data.column("actions", rows).to(dtype)], -1)

        def nearest(states: torch.Tensor) -> torch.Tensor:
            asked, acted = scale.next_states(states), weight * act(states)
            ones = torch.ones_like(asked[0, :, :1])
            found = [
                some[nearest_of(keys[member, : len(some)], asked[member], acted[member], ones)]
                for member, some in enumerate(own)
            ]
            return torch.stack(found)

        chosen = follow_policy(
            begin,
            imagine,
            nearest,
            states_of,
            lambda rows: data.column("bootstraps", rows)[..., 0] == 0,
            steps=-(-self.buffer_size // slots),
            longest=self.rollout_length,
            anchored=self.reanchor,
        )
        return chosen.flatten(1)[:, : self.buffer_size]


def begins_episode(pause: Pause, member: int, rows: torch.Tensor) -> torch.Tensor:
    """Return which rows of a member are the first of their episode."""
    before = pause.data.remaining[(rows - 1).clamp(min=0)]
    return (rows == pause.data.offsets[member]) | (before == 1)


def joint(setting: Setting, losses: Sequence[LossFunction]) -> Losses:
    """Compute losses of different networks together: each sees the others as they were."""
    found = [loss(setting) for loss in losses]
    return Losses(
        {name: value for each in found for name, value in each.of.items()},
        {name: value for each in found for name, value in each.metrics.items()},
    )


def model_loss(setting: Setting, models: int) -> Losses:
    """Likelihood of the rows of each network of the model, under the task that is learned."""
    return dynamics_loss(replace(setting, batches={FIRST: setting.batches[_MODEL]}), models)


def replay_loss(setting: Setting, network: str) -> torch.Tensor:
    """Return lambda times the squared distance of a policy to the actions of the memory, [P]; 0 while there is none."""
    weight = setting.hyperparameters.replay_weight[:, 0]
    if MEMORY not in setting.batches:
        return torch.zeros_like(weight)
    memory = setting.batches[MEMORY]
    away = setting.networks[network](memory.observations) - memory.actions  # [P, B, action]
    loss: torch.Tensor = weight * away.square().mean((1, 2))
    return loss
