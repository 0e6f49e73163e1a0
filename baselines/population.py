"""The population engine: many jobs of one algorithm trained together as one program.

::

    rows of the data    | variant 0 ............ | variant 1 ............ |      one row per transition, on the device
    member 0 (seed 0)     offset 0, length M0
    member 1 (seed 1)     offset 0, length M0
    member 2 (seed 0)                              offset M0, length M1
    one update          draw [P, B] rows -> one gather -> losses [P] -> one batched product per layer, one Adam step
                        per network on its flat buffer, one target update per network

Everything an update reads is on the device, and the update counter is a tensor there, so on CUDA `unroll` updates are
captured once as a graph and replayed; on a CPU the same functions run eagerly. Losses are added up on the device and
read when somebody logs, so nothing waits for the host in between.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from assay.baselines.acting import Actor, FeedforwardActor
from assay.baselines.algorithms.algorithm import Algorithm, Batch, Setting, stack_hyperparameters
from assay.baselines.networks import Network
from assay.baselines.randomness import Draws
from assay.datasets.errors import ConfigError
from assay.datasets.transitions import Transitions

__all__ = ["ActionScale", "Member", "ObservationScale", "Population", "State", "TrainingData"]

_STD_OFFSET = 1e-3  # the published normalization divides by std + 1e-3
_UPDATES_PER_GRAPH = 16


@dataclass(frozen=True)
class ObservationScale:
    """Observations are given to networks as (s - mean) / scale."""

    mean: np.ndarray  # [observation]
    scale: np.ndarray

    @classmethod
    def of(cls, observations: np.ndarray, normalize: bool) -> ObservationScale:
        """Measure a dataset's observations (M, d), or leave them as they are."""
        if not normalize:
            return cls(np.zeros(observations.shape[1]), np.ones(observations.shape[1]))
        return cls(observations.mean(0, dtype=np.float64), observations.std(0, dtype=np.float64) + _STD_OFFSET)


@dataclass(frozen=True)
class ActionScale:
    """Networks see actions in [-1, 1]; the environment's are center + half_range times that."""

    center: np.ndarray  # [action]
    half_range: np.ndarray

    @classmethod
    def of(cls, low: np.ndarray, high: np.ndarray) -> ActionScale:
        """Take the scale from the bounds of an action space."""
        low, high = np.asarray(low, np.float64).ravel(), np.asarray(high, np.float64).ravel()
        if not (np.isfinite(low).all() and np.isfinite(high).all() and (high > low).all()):
            raise ConfigError("the action space is unbounded; a tanh policy needs finite bounds on every entry")
        return cls((high + low) / 2, (high - low) / 2)


def check_learnable(**columns: object) -> None:
    """Raise ConfigError unless every column is an array of flat vectors of floats."""
    for name, array in columns.items():
        if not isinstance(array, np.ndarray):
            raise ConfigError(f"these algorithms learn from flat vectors; the dataset's {name} are nested")
        if array.ndim != 2 or not np.issubdtype(array.dtype, np.floating):
            raise ConfigError(
                f"these algorithms learn from flat vectors of floats; the dataset's {name} are "
                f"{array.dtype}{list(array.shape[1:])}"
            )


@dataclass(frozen=True)
class TrainingData:
    """One dataset laid out for training: a row per transition, normalization folded in.

    Columns are observation, action, reward, next observation, bootstrap.
    """

    rows: np.ndarray  # (M, 2 * observation + action + 2) float64 or float32
    observation_size: int
    action_size: int
    observation_scale: ObservationScale
    action_scale: ActionScale
    weights: np.ndarray | None = None  # (M,)

    @classmethod
    def of(cls, transitions: Transitions[np.ndarray], action_scale: ActionScale, *, normalize: bool) -> TrainingData:
        """Lay out transitions with flat observations and actions."""
        observations, actions = transitions.observations, transitions.actions
        check_learnable(observations=observations, actions=actions)
        if not len(transitions):
            raise ConfigError("the dataset has no transition to learn from")
        if actions.shape[1] != len(action_scale.center):
            raise ConfigError(f"actions have {actions.shape[1]} entries, the action space {len(action_scale.center)}")
        scale = ObservationScale.of(observations, normalize)
        rows = np.concatenate(
            [
                (observations - scale.mean) / scale.scale,
                (actions - action_scale.center) / action_scale.half_range,
                transitions.rewards[:, None],
                (transitions.next_observations - scale.mean) / scale.scale,
                ~transitions.terminations[:, None],
            ],
            axis=1,
            dtype=np.float32 if observations.dtype == np.float32 else np.float64,
        )
        bad = np.flatnonzero(~np.isfinite(rows).all(1))
        if len(bad):
            raise ConfigError(
                f"step {int(transitions.steps[bad[0]])} holds NaN or infinity ({len(bad)} steps in all); repair or "
                "drop these steps first, `assay validate` lists them"
            )
        weights = transitions.weights
        if weights is not None and (not np.isfinite(weights).all() or (weights < 0).any() or not weights.sum() > 0):
            raise ConfigError("weights must be finite and non-negative, and some of them positive")
        return cls(rows, observations.shape[1], actions.shape[1], scale, action_scale, weights)


@dataclass(frozen=True)
class State:
    """What training changes.

    Parameters
    ----------
    update : int
        Updates done.
    optimizer_steps : mapping
        Adam's step count per network.
    tensors : mapping
        `"network/tensor"` -> its rows.
    metrics : mapping
        Name -> sums since the last log point, one per member, and their count as the last entry.
    """

    update: int
    optimizer_steps: Mapping[str, int]
    tensors: Mapping[str, torch.Tensor]
    metrics: Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Member:
    """A job inside a population."""

    algorithm: Algorithm
    seed: int
    data: int  # index of its TrainingData


class Population:
    """Members of one algorithm, with equal static parameters and shapes, trained in step.

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
    compile_graph : bool, optional
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
        compile_graph: bool | None = None,
    ) -> None:
        self.members, self.data, self.steps = tuple(members), tuple(data), steps
        self.device, self.dtype = torch.device(device), dtype
        self.algorithm = self.members[0].algorithm
        for member in self.members:
            if (
                type(member.algorithm) is not type(self.algorithm)
                or member.algorithm.static_parameters() != self.algorithm.static_parameters()
            ):
                raise ConfigError(f"{member.algorithm} and {self.algorithm} cannot share a population")
        shapes = {(item.observation_size, item.action_size) for item in self.data}
        if len(shapes) != 1:
            raise ConfigError(f"datasets of different shapes {sorted(shapes)} cannot share a population")
        ((self.observation_size, self.action_size),) = shapes

        self.update = torch.zeros(1, dtype=torch.int64, device=self.device)
        self.completed = 0  # the host's copy of `update`
        self.draws = Draws([member.seed for member in self.members], self.update, dtype)
        self._place_data()
        specs = self.algorithm.networks(self.observation_size, self.action_size)
        self.networks: dict[str, Network] = {name: Network(name, spec, self.draws) for name, spec in specs.items()}
        self.hyperparameters = stack_hyperparameters(
            [member.algorithm for member in self.members], torch.zeros(0, dtype=dtype, device=self.device)
        )
        self.phases = self.algorithm.phases()
        self.period = math.lcm(*(phase.every for phase in self.phases))  # after which the unrolled updates repeat
        self._metrics: dict[str, torch.Tensor] = {}
        self._one = torch.ones(1, dtype=torch.float64, device=self.device)
        on_cuda = self.device.type == "cuda"
        self._use_graph = on_cuda if compile_graph is None else compile_graph
        if self._use_graph and not on_cuda:
            raise ConfigError("a CUDA graph needs a CUDA device")
        self._graph: torch.cuda.CUDAGraph | None = None

    def _place_data(self) -> None:
        lengths = np.array([len(item.rows) for item in self.data])
        offsets = np.cumsum(lengths) - lengths
        self.rows = torch.cat([torch.from_numpy(item.rows).to(self.device, self.dtype) for item in self.data])
        of_member = [member.data for member in self.members]
        self._offsets = torch.tensor(offsets[of_member], dtype=torch.int64, device=self.device)
        self._lengths = torch.tensor(lengths[of_member], dtype=torch.int64, device=self.device)
        self._cumulative: torch.Tensor | None = None
        if any(item.weights is not None for item in self.data):
            # One increasing array for all datasets: dataset d covers (d, d + 1], so a draw u in [0, 1) of one of its
            # members is a search for d + u.
            parts = []
            for number, item in enumerate(self.data):
                weights = np.ones(len(item.rows)) if item.weights is None else item.weights.astype(np.float64)
                cumulative = np.cumsum(weights / weights.sum())
                parts.append(number + cumulative / cumulative[-1])
            self._cumulative = torch.from_numpy(np.concatenate(parts)).to(self.device)
            self._dataset_of_member = torch.tensor(of_member, dtype=torch.float64, device=self.device)

    # ---------------------------------------------------------------- one update

    def draw_indices(self) -> torch.Tensor:
        """Return [P, B] rows of the data for the current update: uniform, or as weighted by the dataset."""
        batch = self.algorithm.batch_size
        if self._cumulative is None:
            return self._offsets[:, None] + self.draws.integers("batch", self._lengths, batch)
        wanted = self._dataset_of_member[:, None] + self.draws.fractions("batch", batch)
        found = torch.searchsorted(self._cumulative, wanted, right=True)
        # d + u rounds up to d + 1 when u is within 2**-52 of 1; stay inside the member's own dataset.
        return torch.minimum(found, (self._offsets + self._lengths - 1)[:, None])

    def batch(self) -> Batch:
        """Gather the batch of the current update."""
        indices = self.draw_indices()
        rows = self.rows.index_select(0, indices.flatten()).view(*indices.shape, -1)
        sizes = [self.observation_size, self.action_size, 1, self.observation_size, 1]
        observations, actions, rewards, next_observations, bootstraps = torch.split(rows, sizes, dim=-1)
        return Batch(observations, actions, rewards.squeeze(-1), next_observations, bootstraps.squeeze(-1))

    def _one_update(self, number: int) -> None:
        batch = self.batch()
        for phase in self.phases:
            if (number + 1) % phase.every:
                continue
            losses = phase.losses(Setting(self.networks, batch, self.hyperparameters, self.draws))
            for name, loss in losses.of.items():
                self.networks[name].descend(loss.sum(), self._learning_rate(name))
            for name in phase.follow:
                self.networks[name].follow(self.hyperparameters.target_update_rate)
            self._log(losses.metrics)
        self.update += 1

    def _learning_rate(self, network: str) -> torch.Tensor:
        spec = self.networks[network].spec
        rate: torch.Tensor = getattr(self.hyperparameters, spec.learning_rate)  # [P, 1]
        if spec.schedule == "cosine":
            rate = rate * (0.5 * (1.0 + torch.cos(self.update * (math.pi / self.steps))))
        return rate

    # ---------------------------------------------------------------- many updates

    def advance(self, updates: int) -> None:
        """Train every member by so many updates."""
        end = self.completed + updates
        unroll = self.period * max(1, _UPDATES_PER_GRAPH // self.period)
        while self.completed < end:
            if self._use_graph and self.completed % self.period == 0 and end - self.completed >= unroll:
                self._captured(unroll).replay()
                self.completed += unroll
            else:
                self._one_update(self.completed)
                self.completed += 1

    def _captured(self, unroll: int) -> torch.cuda.CUDAGraph:
        """Capture `unroll` updates once; what the warm-up before it changed is put back."""
        if self._graph is None:
            before = self.state()
            stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
            stream.wait_stream(torch.cuda.current_stream(self.device))
            with torch.cuda.stream(stream):
                for number in range(3 * self.period):
                    self._one_update(number)
            torch.cuda.current_stream(self.device).wait_stream(stream)
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                for number in range(unroll):
                    self._one_update(number)
            self.restore(before)
        return self._graph

    def _log(self, metrics: Mapping[str, torch.Tensor]) -> None:
        """Add to the sums on the device; the last row counts the summands."""
        for name, value in metrics.items():
            self._metric(name).add_(torch.cat([value.detach().double(), self._one]))

    def _metric(self, name: str) -> torch.Tensor:
        if name not in self._metrics:
            self._metrics[name] = torch.zeros(len(self.members) + 1, dtype=torch.float64, device=self.device)
        return self._metrics[name]

    def metrics(self) -> dict[str, np.ndarray]:
        """Return the mean [P] of every logged number since the last call, and start anew; waits for the device."""
        means = {}
        for name, sums in self._metrics.items():
            values = sums.cpu().numpy()
            if values[-1]:
                means[name] = values[:-1] / values[-1]
            sums.zero_()
        return means

    # ---------------------------------------------------------------- acting

    def actor(self) -> Actor:
        """Return a snapshot of what every member acts with now; training on does not change it."""
        scales = [self.data[member.data] for member in self.members]
        return FeedforwardActor(
            self.networks["actor"],
            np.stack([item.observation_scale.mean for item in scales]),
            np.stack([item.observation_scale.scale for item in scales]),
            np.stack([item.action_scale.center for item in scales]),
            np.stack([item.action_scale.half_range for item in scales]),
        )

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
        steps = {name: network.optimizer_steps for name, network in self.networks.items()}
        chosen = slice(None) if member is None else [member, -1]
        return State(
            self.completed, steps, tensors, {name: sums[chosen].tolist() for name, sums in self._metrics.items()}
        )

    def restore(self, state: State, member: int | None = None) -> None:
        """Set what `state` returned; all members must be restored to the same update."""
        for name, network in self.networks.items():
            prefix = f"{name}/"
            own = {key.removeprefix(prefix): value for key, value in state.tensors.items() if key.startswith(prefix)}
            network.restore(own, state.optimizer_steps[name], slice(None) if member is None else network.rows(member))
        chosen = slice(None) if member is None else [member, -1]
        for name in dict.fromkeys((*state.metrics, *self._metrics)):  # in a fixed order, which the log keeps
            sums = self._metric(name)
            sums[chosen] = sums.new_tensor(state.metrics[name]) if name in state.metrics else 0.0
        self.completed = state.update
        self.update.fill_(state.update)
