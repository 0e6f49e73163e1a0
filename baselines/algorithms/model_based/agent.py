r"""What the algorithms of this room share: a soft actor-critic that learns from the data and from rollouts of a model.

::

    stage "dynamics"    N networks per member, by likelihood                        (nothing, where the dynamics are the true ones)
    stage "policy"      every `rollout_interval` updates: k steps of the present policy from `rollout_batch` states of the data,
                        into a buffer that holds the last `retained_rollouts` of them
                        every update: `real_percent` of the batch from the data, rounded down, and the rest of it from the buffer

A rollout that ends keeps its place until the buffer is refilled, where only its rows before the end are written. Rewards of the buffer are
r - `penalty_weight` u(s, a); those of the data are as recorded.

Deviations from OfflineRL-Kit, beside those of the model (`dynamics`): rows of the model come from the buffer with numbers of their own in
every update; a rollout is given up where the model says a number that is not finite; start states follow the weights of the
dataset, where it has some.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

import pydantic
import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from assay.baselines.algorithms.actor_critic.sac_n import SACN, policy
from assay.baselines.algorithms.algorithm import (
    FIRST,
    Algorithm,
    Batch,
    Losses,
    LossFunction,
    Pause,
    Phase,
    Setting,
    Stage,
)
from assay.baselines.algorithms.model_based.dynamics import (
    LOOKS,
    BootstrapRows,
    ModelStep,
    dynamics_loss,
    dynamics_networks,
    keep_best,
    measure_scale,
    model_step,
    termination_or_error,
    terminations_of,
    true_step,
)
from assay.baselines.dynamics.ensemble import require_enough
from assay.baselines.dynamics.penalties import PENALTIES
from assay.baselines.engine.data import ActionScale, TrainingData
from assay.baselines.engine.shapes import Shapes
from assay.baselines.engine.streams import BufferLayout, Stream
from assay.baselines.networks import FixedNetwork, Specification
from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError
from assay.datasets.registry import Widths

if TYPE_CHECKING:
    Base = Algorithm
else:
    Base = object  # fields of a base with defaults of its own would hide those of the algorithm that this is mixed with

__all__ = ["LearnedDynamics", "ModelBased", "mixed", "on_both"]

MODEL = "model"
"""Name of the buffer of rollouts, and of the stream from it."""


@dataclass(frozen=True, config=pydantic.ConfigDict(extra="forbid"))
class LearnedDynamics(Base):
    """What an algorithm is that learns a model of the dynamics before its own networks, whatever it does with the model."""

    discrete_actions: ClassVar[bool] = False

    model_learning_rate: float = Field(default=1e-3, gt=0, kw_only=True)
    model_decay: float = Field(default=1.0, ge=0, kw_only=True)  # factor of the published weight decay per layer
    models: int = Field(default=7, gt=0, kw_only=True)  # N
    elites: int = Field(default=5, gt=0, kw_only=True)  # E
    model_hidden: Widths = Field(default=(200, 200, 200, 200), kw_only=True)
    model_batch_size: int = Field(default=256, gt=0, kw_only=True)  # of each network
    model_updates: int = Field(default=20_000, gt=0, kw_only=True)  # of a training's updates, those of the dynamics

    def __post_init__(self) -> None:
        if self.elites > self.models:
            raise ConfigError(f"elites={self.elites} are more than the models={self.models}")
        if self.parameters()["return_steps"] != 1:
            raise ConfigError("return_steps must be 1: rows of a model belong to no episode")

    @property
    def learns_dynamics(self) -> bool:
        """Whether there is a model to learn."""
        return True

    @property
    def learns_terminations(self) -> bool:
        """Whether the model says where episodes end."""
        return False

    def networks(self, shapes: Shapes) -> dict[str, Specification]:  # noqa: D102
        agent, learned = self.agent_networks(shapes), self.learns_terminations
        if not self.learns_dynamics:
            return agent
        model = dynamics_networks(shapes, models=self.models, hidden=self.model_hidden, learned_terminations=learned)
        return {**agent, **model}

    def agent_networks(self, shapes: Shapes) -> dict[str, Specification]:
        """Describe the networks of the policy's stage; by default those of the algorithm without a model."""
        return dict(super().networks(shapes))  # type: ignore[safe-super]  # of what this is mixed with

    def stages(self) -> tuple[Stage, ...]:  # noqa: D102
        if not self.learns_dynamics:
            return (self.policy_stage(),)
        first = Stage(
            "dynamics",
            (Phase(functools.partial(dynamics_loss, models=self.models)),),
            {FIRST: Stream(self.models * self.model_batch_size, sampler=BootstrapRows(self.models))},
            updates=self.model_updates,
            segment=max(1, self.model_updates // LOOKS),
            between=look,
        )
        return first, self.policy_stage()

    def training_data(self, dataset: Dataset, action_scale: ActionScale) -> TrainingData:
        """Lay a dataset out for training.

        Raises
        ------
        ConfigError
            If its transitions are too few for a model.
        """
        data = super().training_data(dataset, action_scale)
        if self.learns_dynamics:
            require_enough(len(data.rows))
        return data

    def policy_stage(self) -> Stage:
        """Describe what comes behind the dynamics; by default learning from the data alone."""
        return Stage("policy", self.phases(), self.streams())


@dataclass(frozen=True, config=pydantic.ConfigDict(extra="forbid"))
class ModelBased(LearnedDynamics, SACN):
    """Base of algorithms that learn from rollouts of a model."""

    dynamics: Literal["learned", "true"] = Field(default="learned", kw_only=True)
    terminations: Literal["known", "learned", "none"] = Field(default="known", kw_only=True)
    rollout_interval: int = Field(default=1000, gt=0, kw_only=True)  # updates
    rollout_batch: int = Field(default=50_000, gt=0, kw_only=True)  # states of the data that rollouts begin in
    rollout_length: int = Field(default=5, gt=0, kw_only=True)  # k
    retained_rollouts: int = Field(default=5, gt=0, kw_only=True)  # how many intervals the buffer holds
    real_percent: int = Field(default=5, ge=1, le=99, kw_only=True)  # of a batch that is from the data

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_size < 2:
            raise ConfigError("batch_size must be at least 2, one row of the data and one of the model")

    # ---------------------------------------------------------------- training

    @property
    def learns_dynamics(self) -> bool:  # noqa: D102
        return self.dynamics == "learned"

    @property
    def learns_terminations(self) -> bool:  # noqa: D102
        return self.terminations == "learned"

    def buffers(self, shapes: Shapes) -> Mapping[str, BufferLayout]:  # noqa: D102
        state = shapes.observation_size
        columns = {"observations": state, "actions": shapes.action_size, "rewards": 0, "next_observations": state}
        capacity = self.rollout_batch * self.rollout_length * self.retained_rollouts
        return {MODEL: BufferLayout(capacity, {**columns, "bootstraps": 0})}

    def policy_stage(self) -> Stage:
        """Learn from the data and from rollouts."""
        real = max(1, self.batch_size * self.real_percent // 100)
        streams = {FIRST: Stream(real), MODEL: Stream(self.batch_size - real, table=MODEL)}
        return Stage("policy", self.phases(), streams, segment=self.rollout_interval, between=self.roll_out)

    # ---------------------------------------------------------------- rollouts

    @property
    def rollout_penalty(self) -> str | None:
        """Name of what is subtracted from the rewards of rollouts, `penalty_weight` times; None subtracts nothing."""
        return None

    @property
    def stops_are_ends(self) -> bool:
        """Whether nothing is earned behind a step that stops a rollout (`ModelStep.stopped`)."""
        return False

    @torch.no_grad()
    def roll_out(self, pause: Pause) -> None:
        """Refill a part of the buffer by rollouts of the present policy."""
        if pause.update == 0 and self.learns_dynamics:
            keep_best(pause)  # of the last updates of the stage before
        dtype = pause.networks["actor"].buffer.dtype
        starts = pause.data.draw(pause.draws, "starts of rollouts", self.rollout_batch)
        states = pause.data.column("observations", starts).to(dtype)
        going = torch.ones(states.shape[:2], dtype=torch.bool, device=states.device)
        seen = self.seen(pause.networks, states)
        for number in range(self.rollout_length):
            purpose = f"step {number} of rollouts"
            distribution = policy(pause.networks["actor"](seen, weights="frozen"))
            actions, _ = distribution.sample(pause.draws, f"{purpose}: actions")
            step = self.step(pause, states, actions, purpose)
            going = going & torch.isfinite(step.states).all(-1) & torch.isfinite(step.rewards)
            reached = torch.where(going[..., None], step.states, states)
            ends = terminations_of(pause.networks, pause.data.members, self.terminations, reached)
            rewards = step.rewards
            if self.rollout_penalty is not None:
                rewards = rewards - pause.hyperparameters.penalty_weight * step.penalties
            seen_next = self.seen(pause.networks, reached)
            stopped = ends if step.stopped is None else ends | step.stopped
            final = stopped if self.stops_are_ends else ends
            columns = {"observations": seen, "actions": actions, "rewards": rewards, "next_observations": seen_next}
            pause.buffers[MODEL].append({**columns, "bootstraps": 1.0 - final.to(dtype)}, going)
            states, seen, going = reached, seen_next, going & ~stopped

    def seen(self, networks: Mapping[str, FixedNetwork], states: torch.Tensor) -> torch.Tensor:
        """Return what policy and critics see of states, [P, B, ...]; by default the states."""
        return states

    def states(self, seen: torch.Tensor) -> torch.Tensor:
        """Return the states of what policy and critics see of them, [P, B, ...]; the inverse of `seen`."""
        return seen

    def step(self, pause: Pause, states: torch.Tensor, actions: torch.Tensor, purpose: str) -> ModelStep:
        """Take one step of all rollouts, [P, B, ...]."""
        if not self.learns_dynamics:
            return true_step(pause.data.members, states, actions)
        variant = getattr(self, "variant", "paper")
        return model_step(
            pause.networks,
            states,
            actions,
            pause.draws,
            purpose,
            elites=self.elites,
            uncertainty=self.rollout_penalty,
            variant=variant,
        )

    # ---------------------------------------------------------------- data

    def training_data(self, dataset: Dataset, action_scale: ActionScale) -> TrainingData:
        """Lay a dataset out for training.

        Raises
        ------
        ConfigError
            If ends of episodes are to be known, and those of the dataset's environment are not; or if its transitions are too few
            for a model.
        """
        if self.terminations == "known":
            termination_or_error(dataset.info.env_spec)
        return super().training_data(dataset, action_scale)


def look(pause: Pause) -> None:
    """Measure the data before the first update of the dynamics, and later keep what is best."""
    if pause.update == 0:
        measure_scale(pause)
    else:
        keep_best(pause)


def mixed(setting: Setting) -> Setting:
    """Return the same setting with one batch: the rows of the data, then those of the model."""
    real, model = setting.batches[FIRST], setting.batches[MODEL]
    joined = {name: torch.cat([real[name], model[name]], 1) for name in model.columns}
    return replace(setting, batches={FIRST: Batch(joined)})


def on_both(losses: LossFunction) -> LossFunction:
    """Return losses on rows of the data and of the model together."""

    def of_both(setting: Setting) -> Losses:
        return losses(mixed(setting))

    return of_both


def check_penalty(name: str) -> str:
    """Return the name of a penalty.

    Raises
    ------
    ValueError
        If there is none of that name.
    """
    if name not in PENALTIES:
        raise ValueError(f"there are {', '.join(PENALTIES)}")
    return name
