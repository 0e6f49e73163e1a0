"""The population engine: many jobs of one algorithm trained together as one program.

::

    one update          draw [P, B] rows -> one gather per stream -> losses [P] -> one batched product per layer, one
                        Adam step per network on its flat buffer, one target update per network

Everything an update reads is on the device, and the update counter is a tensor there. On CUDA updates are captured in
graphs and replayed, whatever their number (`pieces`); on a CPU the same functions run eagerly. Where asked, the updates
are first traced, backward pass included, and compiled, which fuses the small operations. Losses are added up on the device
and read when somebody logs, so nothing waits for the host in between. Where an algorithm has stages or segments, the host
has its turn between two stretches of updates, never inside one.
"""

from __future__ import annotations

import contextlib
import gc
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch

from assay.baselines.algorithms.algorithm import (
    Combined,
    Losses,
    Pause,
    Phase,
    Setting,
    Stage,
    describe_networks,
    stack_hyperparameters,
)
from assay.baselines.engine.acting import Acting, Actor, actor_of
from assay.baselines.engine.batches import Batches
from assay.baselines.engine.data import TrainingData
from assay.baselines.engine.learner import Member, State
from assay.baselines.engine.randomness import Draws
from assay.baselines.engine.tables import Buffer, DatasetTable
from assay.baselines.networks.network import Network
from assay.datasets import memory
from assay.datasets.device import check_device
from assay.datasets.errors import ConfigError

__all__ = ["Member", "Population", "State", "pieces", "stage_lengths"]

_UPDATES_PER_GRAPH = 16
_ALIVE = -1  # in `frozen_at`
_BUFFERS = "buffers"  # before the names of their tensors in a state


def pieces(first: int, updates: int, period: int, longest: int) -> Iterator[tuple[int, int]]:
    """Cut a stretch of updates into pieces of few kinds, each of which is captured once.

    A piece ends where the period does, or is a power of two of whole periods, as many as fit; the last is what is left.

    Parameters
    ----------
    first, updates : int
        Number of the first update, and how many there are.
    period : int
        After which the updates repeat.
    longest : int
        The period times a power of two.

    Yields
    ------
    first, updates of a piece, the first as its place in the period

    Examples
    --------
    >>> list(pieces(13, 30, period=2, longest=16))
    [(1, 1), (0, 16), (0, 8), (0, 4), (0, 1)]
    """
    end = first + updates
    while first < end:
        place, left = first % period, end - first
        length = min(period - place, left)
        if length == period:
            length = longest
            while length > left:
                length //= 2
        yield place, length
        first += length


def _product_plus_bias(
    bias: torch.Tensor, inputs: torch.Tensor, weight: torch.Tensor, *, beta: float = 1, alpha: float = 1
) -> torch.Tensor:
    """Take apart what a compiler does not look into: the addition then fuses with the activation that follows."""
    return alpha * torch.bmm(inputs, weight) + beta * bias


class _Sums:
    """Logged numbers of one phase, added up on the device; the host knows how many were added."""

    def __init__(self) -> None:
        self.names: tuple[str, ...] = ()
        self.values = torch.zeros(0)  # [names, P] float64
        self.count = 0

    def add(self, metrics: Mapping[str, torch.Tensor]) -> None:
        """Add one number per name and member; the first call fixes the names."""
        added = torch.stack([value.detach() for value in metrics.values()])
        if not self.names:
            self.names = tuple(metrics)
            self.values = torch.zeros_like(added, dtype=torch.float64)
        self.values.add_(added)

    def restore(self, metrics: Mapping[str, Sequence[float]], members: slice, like: torch.Tensor) -> None:
        """Set the sums of some members; the last number of each row counts the summands."""
        if not self.names:
            self.names = tuple(metrics)
            self.values = torch.zeros(len(metrics), len(like), dtype=torch.float64, device=like.device)
        for row, name in zip(self.values, self.names):
            row[members] = row.new_tensor(metrics[name][:-1]) if name in metrics else 0.0
        self.count = next((int(numbers[-1]) for numbers in metrics.values()), 0)


def stage_lengths(stages: Sequence[Stage], steps: int) -> list[int]:
    """Return the updates of each stage of a training.

    Stages without a number of updates share what the others leave evenly; what does not divide goes to the last of them.

    Raises
    ------
    ConfigError
        If they do not fit into it.

    Examples
    --------
    >>> stage_lengths([Stage("dynamics", (), {}, updates=300), Stage("policy", (), {})], 1_000)
    [300, 700]
    >>> stage_lengths([Stage(f"task {number}", (), {}) for number in range(3)], 100)
    [33, 33, 34]
    """
    for stage in stages:
        for what, count in (("updates", stage.updates), ("segment", stage.segment)):
            if count is not None and count < 1:
                raise ConfigError(f"stage {stage.name!r} has {what}={count}, which must be at least 1")
    if twice := len(stages) - len({stage.name for stage in stages}):
        raise ConfigError(f"{twice} stages have the name of another one, and would draw the same numbers")
    open_ones = [stage.name for stage in stages if stage.updates is None]
    fixed = sum(stage.updates or 0 for stage in stages)
    if len(open_ones) > 1 and 0 <= steps - fixed < len(open_ones):
        raise ConfigError(
            f"{steps:,} updates are too few: the stages {', '.join(open_ones)} share {steps - fixed} and need one each"
        )
    if fixed > steps or (open_ones and fixed == steps):
        named = ", ".join(f"{stage.name} {stage.updates}" for stage in stages if stage.updates is not None)
        raise ConfigError(
            f"{steps:,} updates are too few: the stages take {named}" + (", and more" if open_ones else "")
        )
    if not open_ones and fixed < steps:
        raise ConfigError(f"{steps:,} updates are more than the {fixed:,} that the stages take; set their updates")
    share, rest = divmod(steps - fixed, max(1, len(open_ones)))
    shares = {name: share + rest * (name == open_ones[-1]) for name in open_ones}
    return [shares[stage.name] if stage.updates is None else stage.updates for stage in stages]


class _StageAtWork:
    """A stage of a population: where it lies in the training, its batches, and its captured and compiled updates."""

    def __init__(self, stage: Stage, start: int, updates: int, batches: Batches, draws: Draws) -> None:
        self.stage, self.start, self.updates, self.batches, self.draws = stage, start, updates, batches, draws
        self.period = math.lcm(*(phase.every for phase in stage.phases))  # after which the unrolled updates repeat
        self.unroll = self.period << max(0, (_UPDATES_PER_GRAPH // self.period).bit_length() - 1)  # most in one graph
        self.sums = [_Sums() for _ in stage.phases]
        self.graphs: dict[tuple[int, int], torch.cuda.CUDAGraph] = {}
        self.period_updates: Callable[[], object] | None = None


class Population:
    """Members of one algorithm, with equal static parameters and shapes, trained in step.

    A member whose loss stops being finite takes no further step, and its weights stay finite; its neighbours do not notice.

    Parameters
    ----------
    members : sequence of Member
    data : sequence of TrainingData
        Each dataset once, however many members train on it.
    steps : int
        Updates in the whole training; learning-rate schedules end there.
    device : str or torch.device
    dtype : torch.dtype
        float64 is for tests of equality.
    storage : torch.dtype, optional
        Of the data on the device; float16 and bfloat16 halve it. Default as `dtype`.
    streaming : bool
        Keep the data in host memory and send each batch.
    bf16 : bool
        Keep activations in bfloat16 too (weights, optimizer and losses stay as they are).
    compile : str, optional
        Trace the updates and give them to this backend of `torch.compile`, such as `"inductor"`.
    graph : bool, optional
        Capture updates in a CUDA graph; default on CUDA.
    """

    def __init__(
        self,
        members: Sequence[Member],
        data: Sequence[TrainingData],
        steps: int,
        *,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        storage: torch.dtype | None = None,
        streaming: bool = False,
        bf16: bool = False,
        compile: str | None = None,
        graph: bool | None = None,
    ) -> None:
        check_device(device)
        self.members, self.data, self.steps = tuple(members), tuple(data), steps
        self.device, self.dtype, self.bf16 = torch.device(device), dtype, bf16
        if self.device.type == "cpu":
            memory.keep_freed()  # every update makes the activations of all members anew
        self.algorithm = self.members[0].algorithm
        for member in self.members:
            if (
                type(member.algorithm) is not type(self.algorithm)
                or member.algorithm.static_parameters() != self.algorithm.static_parameters()
            ):
                raise ConfigError(f"{member.algorithm} and {self.algorithm} cannot share a population")
        sizes = {(item.observation_size, item.action_size) for item in self.data}
        if len(sizes) != 1:
            raise ConfigError(f"datasets of different shapes {sorted(sizes)} cannot share a population")
        if any(item.shapes != self.data[0].shapes for item in self.data):
            raise ConfigError("datasets whose observations have different parts cannot share a population")
        self.shapes = self.data[0].shapes
        self.observation_size, self.action_size = self.data[0].observation_size, self.data[0].action_size
        if compile and streaming:
            raise ConfigError("compiled updates need their data on the device; streaming=True keeps it on the host")

        self.update = torch.zeros(1, dtype=torch.int64, device=self.device)
        self.completed = 0  # the host's copy of `update`
        self.draws = Draws([member.seed for member in self.members], self.update, dtype)
        specs = describe_networks(self.algorithm, self.shapes)
        self.networks = {name: Network(name, spec, self.draws, fused=not compile) for name, spec in specs.items()}
        self.hyperparameters = stack_hyperparameters(
            [member.algorithm for member in self.members], torch.zeros(0, dtype=dtype, device=self.device)
        )
        home = torch.device("cpu") if streaming else self.device
        self.table = DatasetTable(self.data, [member.data for member in self.members], storage or dtype, home)
        self.buffers = {
            name: Buffer(layout, len(self.members), dtype, self.device)
            for name, layout in self.algorithm.buffers(self.shapes).items()
        }
        self._stages = self._lay_out_stages(streaming)
        self._frozen_at = torch.full((len(self.members), 1), _ALIVE, dtype=torch.int64, device=self.device)
        on_cuda = self.device.type == "cuda"
        self._use_graph = on_cuda if graph is None else graph
        if self._use_graph and not on_cuda:
            raise ConfigError("a CUDA graph needs a CUDA device")
        self._compile, self._tracing = compile, False
        self.pauses = True  # whether the host has its turns; not where only updates are measured
        self._captures = False  # whether the first capture was prepared

    # ---------------------------------------------------------------- stages

    def _lay_out_stages(self, streaming: bool) -> list[_StageAtWork]:
        stages = self.algorithm.stages()
        found, start = [], 0
        for stage, updates in zip(stages, stage_lengths(stages, self.steps)):
            self._check_names(stage)
            draws = self.draws.scoped(stage.name)
            batches = Batches(stage.streams, self.table, self.buffers, draws, self.hyperparameters, streaming=streaming)
            found.append(_StageAtWork(stage, start, updates, batches, draws))
            start += updates
        return found

    def _check_names(self, stage: Stage) -> None:
        """Raise ConfigError, before anything is trained, where a stage or a network names what is not there."""
        followed = {name for phase in stage.phases if phase.follow != "trained" for name in phase.follow}
        copies = {name for name, network in self.networks.items() if network.spec.target}
        if missing := sorted(followed - copies):
            raise ConfigError(
                f"{self.algorithm.label} lets {missing[0]!r} follow, but networks with a target copy are "
                f"{', '.join(sorted(copies)) or 'none'}"
            )
        for name, network in self.networks.items():
            spec = network.spec
            target = spec.target_update_rate if name in followed else None
            for field in filter(None, (spec.learning_rate, spec.weight_decay, spec.gradient_clip, target)):
                if not hasattr(self.hyperparameters, field):
                    raise ConfigError(
                        f"network {name!r} of {self.algorithm.label} names {field!r}, which is no float field"
                    )

    @property
    def _now(self) -> _StageAtWork:
        """The stage of the coming update; after the last update the last stage."""
        later = [stage for stage in self._stages if self.completed < stage.start + stage.updates]
        return later[0] if later else self._stages[-1]

    @property
    def stages(self) -> int:
        """How many there are."""
        return len(self._stages)

    def enter_stage(self, number: int) -> None:
        """Go to the first update of a stage without training; what it costs can then be measured."""
        self.completed = self._stages[number].start
        self.update.fill_(self.completed)

    @property
    def batches(self) -> Batches:
        """The batches of the coming update."""
        return self._now.batches

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The parts of the coming update."""
        return self._now.stage.phases

    @property
    def period(self) -> int:
        """Updates after which those of the present stage repeat."""
        return self._now.period

    @property
    def unroll(self) -> int:
        """Most updates of the present stage in one graph."""
        return self._now.unroll

    def _pause(self, stage: _StageAtWork) -> None:
        """Give the host its turn, where the coming update begins a segment."""
        done = self.completed - stage.start
        between, segment = stage.stage.between, stage.stage.segment
        if between is None or not self.pauses or done % (segment or stage.updates):
            return
        between(Pause(self.networks, self.buffers, self.table, self.hyperparameters, stage.draws, done))

    # ---------------------------------------------------------------- one update

    def _one_update(self, stage: _StageAtWork, number: int, slot: int = 0) -> None:
        """Train by the update with this number; only its remainder by the period matters, and the slot when streaming."""
        batches = stage.batches.batches(slot)
        for phase, sums in zip(stage.stage.phases, stage.sums):
            if (number + 1) % phase.every:
                continue
            with self._activations():
                setting = Setting(self.networks, batches, self.hyperparameters, stage.draws, self.table, self.shapes)
                losses = phase.losses(setting)
            self._descend(stage, phase, losses)
            if losses.metrics:
                sums.add(losses.metrics)
        self.update += 1

    def _activations(self) -> contextlib.AbstractContextManager[object]:
        if not self.bf16:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16, cache_enabled=False)

    def _descend(self, stage: _StageAtWork, phase: Phase, losses: Losses) -> None:
        if losses.of:
            finite = torch.isfinite(torch.stack([loss.detach() for loss in losses.each])).all(0)[:, None]
            newly_frozen = (self._frozen_at == _ALIVE) & ~finite
            self._frozen_at.copy_(torch.where(newly_frozen, self.update, self._frozen_at))
        alive = self._frozen_at == _ALIVE  # [P, 1]
        # On a CPU looking is cheaper than masking; on a GPU it would wait.
        mask = None if self.device.type == "cpu" and not self._tracing and bool(alive.all()) else alive
        for name, loss in losses.of.items():
            if isinstance(loss, Combined):  # all of them are differentiated before any step changes a weight
                self.networks[name].differentiate_and_combine([each.sum() for each in loss.losses], loss.combine)
            else:
                self.networks[name].differentiate(loss.sum())
        for name in losses.of:
            spec = self.networks[name].spec
            self.networks[name].step(
                self._learning_rate(name, stage),
                weight_decay=getattr(self.hyperparameters, spec.weight_decay) if spec.weight_decay else None,
                gradient_clip=getattr(self.hyperparameters, spec.gradient_clip) if spec.gradient_clip else None,
                alive=mask,
            )
        followed = phase.follow
        if followed == "trained":
            followed = tuple(name for name in losses.of if self.networks[name].spec.target)
        for name in followed:
            rate = self._follow_rate(name, stage)
            self.networks[name].follow(rate if mask is None else rate.masked_fill(~mask, 0.0))

    def _learning_rate(self, network: str, stage: _StageAtWork | None = None) -> torch.Tensor:
        stage = stage or self._now
        spec = self.networks[network].spec
        rate: torch.Tensor = getattr(self.hyperparameters, spec.learning_rate)  # [P, 1]
        done = self.update - stage.start if stage.start else self.update
        if spec.warmup:
            rate = rate * ((done + 1) / spec.warmup).clamp(max=1.0).to(self.dtype)
        if spec.schedule == "cosine":
            rate = rate * (0.5 * (1.0 + torch.cos(done * (math.pi / stage.updates))))
        return rate

    def _follow_rate(self, network: str, stage: _StageAtWork) -> torch.Tensor:
        """Return the rate [P, 1] of a target copy in this update; 0 in those that a hard copy lets pass."""
        spec = self.networks[network].spec
        rate: torch.Tensor = getattr(self.hyperparameters, spec.target_update_rate)
        if spec.follow_every == 1:
            return rate
        due = (self.update - stage.start + 1) % spec.follow_every == 0
        return rate * due.to(self.dtype)

    # ---------------------------------------------------------------- many updates

    def advance(self, updates: int) -> None:
        """Train every member by so many updates."""
        end = self.completed + updates
        while self.completed < end:
            stage = self._now
            self._pause(stage)
            self._advance_segment(stage, self._next_stop(stage, end) - self.completed)

    def _next_stop(self, stage: _StageAtWork, end: int) -> int:
        """Return the update before which the host has its turn again, or `end`."""
        last = stage is self._stages[-1]
        stops = [end] if last else [end, stage.start + stage.updates]  # who asks for more than all updates gets them
        if stage.stage.segment is not None:
            done = self.completed - stage.start
            stops.append(stage.start + (done // stage.stage.segment + 1) * stage.stage.segment)
        return min(stops)

    def _advance_segment(self, stage: _StageAtWork, updates: int) -> None:
        for first, together in pieces(self.completed - stage.start, updates, stage.period, stage.unroll):
            graph = self._captured(stage, first, together) if self._use_graph else None
            if stage.batches.streaming:
                stage.batches.prepare(self.completed, together)
            if graph is None:
                self._run(stage, first, together)
            else:
                graph.replay()
            done = self.completed - stage.start
            for phase, sums in zip(stage.stage.phases, stage.sums):
                sums.count += (done + together) // phase.every - done // phase.every
            self.completed += together

    def _run(self, stage: _StageAtWork, first: int, updates: int) -> None:
        """Train by some updates, whole periods as compiled where that is asked for."""
        slot = 0
        while slot < updates:
            if self._compile and (first + slot) % stage.period == 0 and updates - slot >= stage.period:
                compiled = self._compiled(stage)
                with torch.no_grad():
                    compiled()
                slot += stage.period
                continue
            together = updates - slot if self._compile is None else 1
            with stage.draws.ahead(together):
                for number in range(slot, slot + together):
                    self._one_update(stage, first + number, number)
                    stage.draws.proceed()
            slot += together

    def _compiled(self, stage: _StageAtWork) -> Callable[[], object]:
        if stage.period_updates is None:
            stage.period_updates = self._trace_and_compile(stage)
        return stage.period_updates

    def _trace_and_compile(self, stage: _StageAtWork) -> Callable[[], object]:
        assert self._compile is not None
        before = self.state()
        try:
            program = self.trace(stage)
        finally:
            self.restore(before)
        compiled: Callable[[], object] = torch.compile(program, backend=self._compile, fullgraph=True)
        return compiled

    def trace(self, stage: _StageAtWork | None = None) -> torch.fx.GraphModule:
        """Record one period of updates, backward passes and optimizer steps included, as one program; the weights change.

        torch.compile does not look into torch.autograd.grad; what make_fx records has the derivatives written out.
        """
        from torch.fx.experimental.proxy_tensor import make_fx

        stage = stage or self._now

        def period() -> None:
            for network in self.networks.values():
                network.renew_views()  # so that the program knows what is a view of which buffer
            for number in range(stage.period):
                self._one_update(stage, number)

        self._tracing = True
        try:
            for number in range(stage.period):
                self._one_update(stage, number)  # creates what the first update creates
            return make_fx(period, decomposition_table={torch.ops.aten.baddbmm.default: _product_plus_bias})()
        finally:
            self._tracing = False
            for network in self.networks.values():
                network.renew_views()

    def _captured(self, stage: _StageAtWork, first: int, updates: int) -> torch.cuda.CUDAGraph:
        """Capture some updates when they are first wanted; `first` is their place in the period."""
        if not stage.graphs:
            if not self._captures:
                self._stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
                # What a graph allocates is dead at its end and they run one after the other: they can share their memory.
                self._pool = torch.cuda.graph_pool_handle()
                self._captures = True
            if stage.batches.streaming:
                stage.batches.prepare(0, stage.unroll)  # makes the places that every graph reads from
            self._warm_up(stage)
        if (first, updates) not in stage.graphs:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
                self._run(stage, first, updates)
            stage.graphs[first, updates] = graph
        return stage.graphs[first, updates]

    def _warm_up(self, stage: _StageAtWork) -> None:
        """Run what is to be captured, so that all that lasts is made before; what this changes is put back."""
        before = self.state()
        self._stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self._stream):
            for _ in range(3):
                self._run(stage, 0, stage.period)
        torch.cuda.current_stream(self.device).wait_stream(self._stream)
        self.restore(before)
        gc.collect()  # a population that is freed during a capture would break it

    # ---------------------------------------------------------------- logging

    def metrics(self) -> dict[str, np.ndarray]:
        """Return the mean [P] of every logged number since the last call, and start anew; waits for the device."""
        means: dict[str, np.ndarray] = {}
        for sums in self._all_sums:
            if sums.count:
                values = sums.values.cpu().numpy() / sums.count
                means |= dict(zip(sums.names, values))
            sums.values.zero_()
            sums.count = 0
        return means

    @property
    def _all_sums(self) -> list[_Sums]:
        return [sums for stage in self._stages for sums in stage.sums]

    @property
    def frozen_at(self) -> list[int | None]:
        """The update in which each member's loss was first not finite, or None; waits for the device."""
        return [None if update == _ALIVE else update for update in self._frozen_at[:, 0].tolist()]

    # ---------------------------------------------------------------- acting

    def actor(self) -> Actor:
        """Return a snapshot of what every member acts with now; training on does not change it."""
        acting = [
            Acting(member.algorithm, data.observation_scale, data.action_scale, data.best_return, self.shapes)
            for member, data in ((member, self.data[member.data]) for member in self.members)
        ]
        return actor_of(acting, self.networks)

    def act(self, observations: np.ndarray) -> np.ndarray:
        """Return each member's actions at the start of episodes, in the environment's units.

        Parameters
        ----------
        observations : (P, n, observation) array

        Returns
        -------
        (P, n, action) float64 array
        """
        members, episodes, _ = observations.shape
        return self.actor().begin(slice(0, members), episodes).act(observations, np.zeros((members, episodes)))

    # ---------------------------------------------------------------- state

    def state(self, member: int | None = None) -> State:
        """Copy everything that training changes, of one member or of all.

        A member's state fits into any population that has the same job, at any place in it.
        """
        tensors: dict[str, torch.Tensor] = {}
        for name, network in self.networks.items():
            rows = slice(None) if member is None else network.rows(member)
            tensors |= {f"{name}/{key}": value[rows].clone() for key, value in network.tensors().items()}
        steps = {name: network.optimizer.steps for name, network in self.networks.items()}
        chosen = slice(None) if member is None else slice(member, member + 1)
        metrics = [
            {name: [*row[chosen].tolist(), sums.count] for name, row in zip(sums.names, sums.values)}
            for sums in self._all_sums
        ]
        for name, buffer in self.buffers.items():
            tensors |= {f"{_BUFFERS}/{name}/{key}": value[chosen].clone() for key, value in buffer.tensors().items()}
        return State(self.completed, steps, tensors, metrics, self._frozen_at[chosen, 0].tolist())

    def restore(self, state: State, member: int | None = None) -> None:
        """Set what `state` returned; all members must be restored to the same update."""
        for name, network in self.networks.items():
            prefix = f"{name}/"
            own = {key.removeprefix(prefix): value for key, value in state.tensors.items() if key.startswith(prefix)}
            network.restore(own, state.optimizer_steps[name], slice(None) if member is None else network.rows(member))
        chosen = slice(None) if member is None else slice(member, member + 1)
        for sums, metrics in zip(self._all_sums, state.metrics):
            sums.restore(metrics, chosen, like=self._frozen_at[:, 0])
        for name, buffer in self.buffers.items():
            for key, tensor in buffer.tensors().items():
                tensor[chosen] = state.tensors[f"{_BUFFERS}/{name}/{key}"].to(tensor.device)
        self._frozen_at[chosen, 0] = self._frozen_at.new_tensor(state.frozen_at)
        self.completed = state.update
        self.update.fill_(state.update)
