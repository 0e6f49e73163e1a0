"""Acting: policies as an evaluation meets them, apart from the training that made them.

An `Actor` is a snapshot that further training does not change. It begins *episodes*, a batch of them at once for some of
its members, and is then asked for actions step by step. A policy of the present observation alone has nothing to
remember (`FeedforwardActor`); one that looks back keeps each episode's history in what `begin` returns
(`SequenceActor`).

Snapshots act on the CPU, wherever their members are trained. Simulators bound the speed of an evaluation, not its small
networks; and a CUDA graph that is being captured, or a large population that keeps the device busy, is not disturbed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from assay.baselines.engine.data import ActionScale, ObservationScale
from assay.baselines.networks import FixedNetwork

if TYPE_CHECKING:
    from assay.baselines.algorithms.algorithm import Algorithm

__all__ = ["Acting", "Actor", "Episodes", "FeedforwardActor", "SequenceActor", "actor_of"]


class Episodes(Protocol):
    """Episodes of p members that began together, n of each."""

    def act(self, observations: np.ndarray, rewards: np.ndarray) -> np.ndarray:
        """Return the next actions.

        Parameters
        ----------
        observations : (p, n, observation) float64 array
        rewards : (p, n) float64 array
            Of the step before; zeros at first.

        Returns
        -------
        (p, n, action) float64 array
            In the environment's units; one whole number where actions are discrete. What an episode is given does not
            depend on the other rows.
        """

    def consider(self, candidates: np.ndarray, rewards: np.ndarray) -> np.ndarray:
        """Return what would be done next if one of k candidates were observed; nothing is remembered.

        Parameters
        ----------
        candidates : (p, n, k, observation) float64 array
        rewards : (p, n) float64 array
            As in `act`.

        Returns
        -------
        (p, n, k, action) float64 array
        """


class Actor(Protocol):
    """A frozen snapshot of what the members of a population act with."""

    members: int

    def begin(self, members: slice, episodes: int) -> Episodes:
        """Begin so many episodes of each of some members."""

    def observation_deviation(self, members: slice) -> np.ndarray | None:
        """Return the standard deviation of the observations that members were trained on, (p, observation), if known."""

    def tensors(self, member: int) -> dict[str, torch.Tensor]:
        """Return what a checkpoint has to hold of a member, by name."""

    def restore(self, member: int, tensors: Mapping[str, torch.Tensor]) -> None:
        """Set what `tensors` returned, in an actor of the same job."""


@dataclass(frozen=True)
class Acting:
    """What a member needs to act besides its weights.

    Parameters
    ----------
    algorithm : Algorithm
    observation_scale : ObservationScale
    action_scale : ActionScale
    best_return : float
        The largest return in the data; asked for by policies that are conditioned on one.
    """

    algorithm: Algorithm
    observation_scale: ObservationScale
    action_scale: ActionScale
    best_return: float


class _Snapshot:
    """Copies of the networks that act, and the members' scales.

    Parameters
    ----------
    acting : sequence of Acting
        One per member, of one algorithm.
    networks : mapping
        Those named by the algorithm's `acting` are copied.
    """

    def __init__(self, acting: Sequence[Acting], networks: Mapping[str, FixedNetwork]) -> None:
        self.acting = tuple(acting)
        self.members = len(self.acting)
        self.algorithm = self.acting[0].algorithm
        self.networks = {name: _copy(networks[name], slice(0, self.members)) for name in self.algorithm.acting}

    def observation_deviation(self, members: slice) -> np.ndarray | None:
        """Return the standard deviation of the observations that members were trained on, if it is known of all."""
        found = [item.observation_scale.deviation for item in self.acting[members]]
        known = [deviation for deviation in found if deviation is not None]
        return np.stack(known) if len(known) == len(found) else None

    def tensors(self, member: int) -> dict[str, torch.Tensor]:
        """Return the weights of a member."""
        return {name: network.buffer[network.rows(member)] for name, network in self.networks.items()}

    def restore(self, member: int, tensors: Mapping[str, torch.Tensor]) -> None:
        """Set the weights of a member."""
        for name, network in self.networks.items():
            network.buffer[network.rows(member)] = tensors[name]


class FeedforwardActor(_Snapshot):
    """Members that act by the present observation alone."""

    def begin(self, members: slice, episodes: int) -> Episodes:
        """Begin episodes; nothing is remembered of them, so any number will do."""
        return _FeedforwardEpisodes(self, members)


class SequenceActor(_Snapshot):
    """Members that act by the last steps of the episode and the return still asked for."""

    def begin(self, members: slice, episodes: int) -> Episodes:
        """Begin episodes, with the target return ahead of each."""
        return _SequenceEpisodes(self, members, episodes)


def actor_of(acting: Sequence[Acting], networks: Mapping[str, FixedNetwork]) -> Actor:
    """Return a snapshot of members of one algorithm."""
    kind = SequenceActor if acting[0].algorithm.sequence_length else FeedforwardActor
    return kind(acting, networks)


class _Scaled:
    """Some members of a snapshot: their networks, and the way from the environment's units and back."""

    def __init__(self, actor: _Snapshot, members: slice) -> None:
        self.acting, self.algorithm = actor.acting[members], actor.algorithm
        self.networks = {name: _copy(network, members) for name, network in actor.networks.items()}
        self.dtype = next(iter(self.networks.values())).buffer.dtype
        self.mean = np.stack([item.observation_scale.mean for item in self.acting])[:, None]
        self.scale = np.stack([item.observation_scale.scale for item in self.acting])[:, None]
        scales = [item.action_scale for item in self.acting]
        # All members of a population have the same kind of actions.
        self.actions = ActionScale(
            np.stack([scale.center for scale in scales])[:, None],
            np.stack([scale.half_range for scale in scales])[:, None],
            scales[0].first,
        )

    def inputs(self, observations: np.ndarray) -> torch.Tensor:
        """Return normalized observations."""
        return torch.from_numpy((observations - self.mean) / self.scale).to(self.dtype)

    def outputs(self, actions: torch.Tensor) -> np.ndarray:
        """Return actions in the environment's units."""
        return self.actions.decode(actions.double().numpy())


class _FeedforwardEpisodes(_Scaled):
    @torch.no_grad()
    def act(self, observations: np.ndarray, rewards: np.ndarray) -> np.ndarray:
        return self.outputs(self.algorithm.act(self.networks, self.inputs(observations)))

    def consider(self, candidates: np.ndarray, rewards: np.ndarray) -> np.ndarray:
        p, n, k, _ = candidates.shape
        return self.act(candidates.reshape(p, n * k, -1), rewards).reshape(p, n, k, -1)


class _SequenceEpisodes(_Scaled):
    """Keeps the last T steps: observations, actions (zeros for the one to come), returns to go and time steps."""

    def __init__(self, actor: _Snapshot, members: slice, episodes: int) -> None:
        super().__init__(actor, members)
        algorithms: list[Any] = [item.algorithm for item in self.acting]
        targets = [
            item.best_return if algorithm.target_return is None else algorithm.target_return
            for item, algorithm in zip(self.acting, algorithms)
        ]
        self.return_scale = np.array([algorithm.return_scale for algorithm in algorithms])[:, None]
        self.return_to_go = np.repeat(np.array(targets, np.float64)[:, None], episodes, axis=1)  # [p, n]
        self.step = 0
        self.history: dict[str, torch.Tensor] = {}

    @torch.no_grad()
    def act(self, observations: np.ndarray, rewards: np.ndarray) -> np.ndarray:
        if self.step:
            self.return_to_go -= rewards
        self.history = self._window(observations, self.return_to_go)
        actions = self.algorithm.act(self.networks, **self.history).clamp(-1.0, 1.0)
        self.history["actions"][:, :, -1] = actions
        self.step += 1
        return self.outputs(actions)

    @torch.no_grad()
    def consider(self, candidates: np.ndarray, rewards: np.ndarray) -> np.ndarray:
        p, n, k, _ = candidates.shape
        returns_to_go = self.return_to_go - rewards if self.step else self.return_to_go
        window = self._window(candidates.reshape(p, n * k, -1), np.repeat(returns_to_go, k, axis=1), k)
        actions = self.algorithm.act(self.networks, **window).clamp(-1.0, 1.0)
        return self.outputs(actions).reshape(p, n, k, -1)

    def _window(self, observations: np.ndarray, returns_to_go: np.ndarray, copies: int = 1) -> dict[str, torch.Tensor]:
        """Return the last T steps, with the present one; of each episode so many times."""
        normalized = self.inputs(observations)
        present = {
            "observations": normalized,
            "actions": torch.zeros(*normalized.shape[:2], self.actions.center.shape[-1], dtype=self.dtype),
            "returns_to_go": torch.from_numpy(returns_to_go * self.return_scale).to(self.dtype),
            "timesteps": torch.full(normalized.shape[:2], self.step),
        }
        window = {}
        for name, value in present.items():
            joined = value[:, :, None]
            if name in self.history:
                joined = torch.cat([self.history[name].repeat_interleave(copies, 1), joined], 2)
            window[name] = joined[:, :, -self.algorithm.sequence_length :]
        return window


def _copy(network: FixedNetwork, members: slice) -> FixedNetwork:
    """Copy some members' weights into a network of their own on the CPU."""
    rows = slice(network.rows(members.start).start, network.rows(members.stop - 1).stop)
    return FixedNetwork(network.name, network.spec, network.buffer[rows].to("cpu", copy=True))
