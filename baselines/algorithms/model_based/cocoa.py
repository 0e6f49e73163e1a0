r"""COCOA: compositional conservatism (Song et al. 2024, arXiv 2404.04682), on MOPO, and in the files beside on other bases.

A state that is not in the data may be the sum of an anchor near the data and a difference that was seen elsewhere. Policy and critics are
functions of the two, :math:`\Delta = s - \hat s`, bilinear in what is made of them, with the action joined to both for critics:

.. math::
    h(\Delta, \hat s) &= \sum_k f_k(\Delta) \, g_k(\hat s) \\
    \hat s_0 &= s, \quad \hat s_{i+1} = \hat s_i + \mathrm{mean}_E \, \mu(\hat s_i, \mathrm{seek}(\hat s_i)), \quad \hat s = \hat s_n

The anchor is where n steps of a policy lead that seeks the data. It is cloned from rollouts against time, which leave the data:

::

    stage "dynamics"    models of s' - s and, of the same rows, of s - s' given (s', a)
    stage "anchors"     rollouts of the second from next states of the data, each along one direction d, an action of the data:
                        a = clip(`reverse_scale` d + `reverse_noise` e);  L(seek) = E |seek(s) - a|^2 over all their steps
    stage "policy"      the base on pairs (Delta, anchor)

With `anchor_steps=0` the anchor is the state itself, and nothing is gained. This file has it on MOPO; `cocoa_mobile`, `cocoa_cql`, `cocoa_iql` and
`cocoa_ravl` have it on others, the last of which was not tried by the authors. CQL and IQL use the models for anchors alone.

Deviations from github.com/runamu/compositional-conservatism: the entries of h are the outputs
themselves, without a layer behind them; a step towards the anchor takes the mean over the elites; directions are drawn and not
chosen for being dissimilar; the seeker takes `anchor_updates`, where there it ends when it gains less than half a percent; anchors of
rows of the data are computed with each batch and not stored. No gradient passes through the seeker or the model.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, TypeVar

import pydantic
import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from assay.baselines.algorithms.algorithm import (
    FIRST,
    Batch,
    Losses,
    LossFunction,
    Memory,
    Pause,
    Phase,
    Setting,
    Stage,
)
from assay.baselines.algorithms.model_based.agent import look
from assay.baselines.algorithms.model_based.dynamics import (
    adopt_best,
    dynamics_loss,
    dynamics_networks,
    keep_best,
    mean_of_elites,
    model_step,
)
from assay.baselines.algorithms.model_based.mopo import MOPO
from assay.baselines.engine.acting import EpisodeDraws
from assay.baselines.engine.shapes import Shapes
from assay.baselines.engine.streams import BufferLayout, Stream
from assay.baselines.engine.tables import DatasetTable
from assay.baselines.networks import MLP, FixedNetwork, Specification
from assay.baselines.networks.bilinear import Bilinear
from assay.datasets.errors import ConfigError
from assay.datasets.registry import Widths, register

if TYPE_CHECKING:
    from assay.baselines.algorithms.model_based.agent import LearnedDynamics as Base
else:
    Base = object  # fields of a base with defaults of its own would hide those of what it is mixed with

__all__ = ["COCOA", "Compositional"]

REVERSED = "reversed"
"""Name of the buffer of rollouts against time."""
_AGAINST_TIME = "reverse_"  # before the names of networks
_SEEKING = ("anchor", "dynamics", "dynamics_errors", "dynamics_scale")
Kind = TypeVar("Kind", bound=FixedNetwork)
_OTHER_END = {"observations": "next_observations", "next_observations": "observations"}


@dataclass(frozen=True, config=pydantic.ConfigDict(extra="forbid"))
class Compositional(Base):
    """What COCOA adds to an algorithm of this room: anchors near the data, and policies and critics of pairs."""

    acting: ClassVar[tuple[str, ...]] = ("actor", *_SEEKING)
    valued_by: ClassVar[tuple[str, ...]] = ("critic", *_SEEKING)

    hidden: Widths = Field(default=(64, 64), kw_only=True)  # of f and of g
    embedding: int = Field(default=4, gt=0, kw_only=True)  # terms of the bilinear sum
    anchor_steps: int = Field(default=1, ge=0, kw_only=True)  # n, from the state to its anchor
    anchor_hidden: Widths = Field(default=(100, 100), kw_only=True)
    anchor_learning_rate: float = Field(default=1e-3, gt=0, kw_only=True)
    anchor_updates: int = Field(default=10_000, gt=0, kw_only=True)  # of a training's updates, those of the seeker
    anchor_batch_size: int = Field(default=256, gt=0, kw_only=True)
    reverse_rollouts: int = Field(default=50_000, gt=0, kw_only=True)
    reverse_length: int = Field(default=5, gt=0, kw_only=True)  # steps of each
    reverse_scale: float = Field(default=0.8, ge=0, kw_only=True)  # of its direction
    reverse_noise: float = Field(default=0.1, ge=0, kw_only=True)  # deviation of its actions

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.learns_dynamics:
            raise ConfigError("COCOA's anchors are steps of learned networks: dynamics must be 'learned'")

    # ---------------------------------------------------------------- training

    def networks(self, shapes: Shapes) -> dict[str, Specification]:  # noqa: D102
        backwards = dynamics_networks(shapes, models=self.models, hidden=self.model_hidden, learned_terminations=False)
        anchor = MLP(
            shapes.observation_size,
            shapes.action_size,
            self.anchor_hidden,
            learning_rate="anchor_learning_rate",
            layer_norm=True,
            output="tanh",
        )
        named = {f"{_AGAINST_TIME}{name}": network for name, network in backwards.items()}
        return {**super().networks(shapes), **named, "anchor": anchor}

    def agent_networks(self, shapes: Shapes) -> dict[str, Specification]:  # noqa: D102
        state, base = shapes.observation_size, super().agent_networks(shapes)
        kept = ("output", "state_independent", "learning_rate", "ensemble", "target", "schedule")
        pairs = {
            name: Bilinear(
                state,
                network.inputs - state,
                network.outputs,
                self.hidden,
                self.embedding,
                **{field: getattr(network, field) for field in kept},
            )
            for name, network in base.items()
            if isinstance(network, MLP)
        }
        return {**base, **pairs}

    def buffers(self, shapes: Shapes) -> Mapping[str, BufferLayout]:  # noqa: D102
        pairs = dict.fromkeys(_OTHER_END, 2 * shapes.observation_size)
        rollouts = {
            name: replace(layout, columns={**layout.columns, **pairs})
            for name, layout in super().buffers(shapes).items()
        }
        steps = {"observations": shapes.observation_size, "actions": shapes.action_size}
        return {**rollouts, REVERSED: BufferLayout(self.reverse_rollouts * self.reverse_length, steps)}

    def phases(self) -> tuple[Phase, ...]:  # noqa: D102
        own = super().phases()  # type: ignore[safe-super]
        return tuple(replace(phase, losses=self.on_pairs(phase.losses)) for phase in own)

    def stages(self) -> tuple[Stage, ...]:  # noqa: D102
        dynamics, policy = super().stages()
        both = replace(dynamics, phases=(Phase(self.losses_both_ways),), between=look_both_ways)
        anchors = Stage(
            "anchors",
            (Phase(anchor_loss),),
            {FIRST: Stream(self.anchor_batch_size, table=REVERSED)},
            updates=self.anchor_updates,
            segment=self.anchor_updates,
            between=self.leave_the_data,
        )
        return both, anchors, policy

    def losses_both_ways(self, setting: Setting) -> Losses:
        """Likelihood of the models of both directions of time."""
        swapped = Batch({_OTHER_END.get(name, name): column for name, column in setting.batch.columns.items()})
        reverse = replace(setting, networks=against_time(setting.networks), batches={FIRST: swapped})
        forward, backward = dynamics_loss(setting, self.models), dynamics_loss(reverse, self.models)
        losses = {**forward.of, f"{_AGAINST_TIME}dynamics": backward.of["dynamics"]}
        return Losses(losses, {**forward.metrics, **{f"{_AGAINST_TIME}{k}": v for k, v in backward.metrics.items()}})

    @torch.no_grad()
    def leave_the_data(self, pause: Pause) -> None:
        """Fill the buffer with rollouts against time, before the first update of the seeker."""
        for direction in (pause, pause_against_time(pause)):
            keep_best(direction)  # of the last updates of the stage before
            adopt_best(direction.networks)
        data, draws, count, h = pause.data, pause.draws, self.reverse_rollouts, pause.hyperparameters
        dtype = pause.networks["anchor"].buffer.dtype
        starts = data.draw(draws, "starts of reverse rollouts", count)
        states = data.column("next_observations", starts).to(dtype)
        directions = data.column("actions", data.draw(draws, "directions of reverse rollouts", count)).to(dtype)
        going = torch.ones(states.shape[:2], dtype=torch.bool, device=states.device)
        for number in range(self.reverse_length):
            purpose = f"step {number} of reverse rollouts"
            noise = draws.normal(f"{purpose}: actions", *directions.shape[1:])
            actions = h.reverse_scale[..., None] * directions + h.reverse_noise[..., None] * noise
            actions = actions.clamp(-1.0, 1.0)
            step = model_step(
                against_time(pause.networks),
                states,
                actions,
                draws,
                purpose,
                elites=self.elites,
                uncertainty=None,
                variant="paper",
            )
            going = going & torch.isfinite(step.states).all(-1)
            states = torch.where(going[..., None], step.states, states)
            pause.buffers[REVERSED].append({"observations": states, "actions": actions}, going)

    # ---------------------------------------------------------------- anchors

    @torch.no_grad()
    def anchors(self, networks: Mapping[str, FixedNetwork], states: torch.Tensor) -> torch.Tensor:
        """Return the anchor of each state, [P, B, state]."""
        found = states
        for _ in range(self.anchor_steps):
            actions = networks["anchor"](found, weights="frozen")
            found = mean_of_elites(networks, found, actions, self.elites)
        return found

    def states(self, seen: torch.Tensor) -> torch.Tensor:
        """Return the states that pairs stand for, [P, B, state]."""
        differences, anchors = seen.chunk(2, -1)
        return differences + anchors

    def seen(self, networks: Mapping[str, FixedNetwork], states: torch.Tensor) -> torch.Tensor:
        """Return the difference from the anchor and the anchor, [P, B, 2 state]."""
        anchors = self.anchors(networks, states)
        return torch.cat([states - anchors, anchors], -1)

    def on_pairs(self, losses: LossFunction) -> LossFunction:
        """Return losses that see pairs in rows of the data; those of the model are stored as pairs."""

        def of_pairs(setting: Setting) -> Losses:
            batch = setting.batches[FIRST]
            pairs = {name: self.seen(setting.networks, batch[name]) for name in _OTHER_END}
            return losses(
                replace(setting, batches={**setting.batches, FIRST: replace(batch, columns={**batch.columns, **pairs})})
            )

        return of_pairs

    # ---------------------------------------------------------------- acting

    def act(  # noqa: D102
        self,
        networks: Mapping[str, FixedNetwork],
        observations: torch.Tensor,
        memory: Memory,
        draws: EpisodeDraws,
    ) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        return super().act(networks, self.seen(networks, observations), memory, draws)

    def values(  # noqa: D102
        self, networks: Mapping[str, FixedNetwork], observations: torch.Tensor, actions: torch.Tensor
    ) -> torch.Tensor:
        return super().values(networks, self.seen(networks, observations), actions)


@register("cocoa", label="MOPO+COCOA")
class COCOA(Compositional, MOPO):
    """MOPO on anchors near the data and differences from them, with the published networks; how long the seeker trains is a choice of this project.

    Examples
    --------
    >>> COCOA(penalty_weight=0.5).anchor_steps
    1
    """


def anchor_loss(setting: Setting) -> Losses:
    """Squared error of the actions that lead back to the data."""
    batch = setting.batch
    loss = (setting.networks["anchor"](batch.observations) - batch.actions).square().mean((1, 2))
    return Losses({"anchor": loss}, {"anchor_loss": loss})


def look_both_ways(pause: Pause) -> None:
    """Look at the held-out rows with the models of both directions of time."""
    look(pause)
    look(pause_against_time(pause))


def against_time(networks: Mapping[str, Kind]) -> dict[str, Kind]:
    """Return the networks of the reverse model under the names of the forward one."""
    return {
        name.removeprefix(_AGAINST_TIME): network
        for name, network in networks.items()
        if name.startswith(_AGAINST_TIME)
    }


def pause_against_time(pause: Pause) -> Pause:
    """Return a pause in which the reverse model is the model, and steps of the data begin where they ended."""
    data: DatasetTable = copy.copy(pause.data)
    data.columns = tuple((_OTHER_END.get(name, name), size) for name, size in data.columns)
    return replace(pause, networks=against_time(pause.networks), data=data)
