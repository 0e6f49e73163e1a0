"""Acting: policies as an evaluation meets them, apart from the training that made them.

An `Actor` is a snapshot that further training does not change. It begins *episodes*, a batch of them at once for some of
its members, and is then asked for actions step by step. A policy of the present observation alone has nothing to
remember (`FeedforwardActor`); one that looks back keeps each episode's history in what `begin` returns.

Snapshots act on the CPU, wherever their members are trained. Simulators bound the speed of an evaluation, not its small
networks; and a CUDA graph that is being captured, or a large population that keeps the device busy, is not disturbed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import torch

from assay.baselines.networks import Network
from assay.baselines.randomness import Draws

__all__ = ["Actor", "Episodes", "FeedforwardActor"]


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
            In the environment's units. What an episode is given does not depend on the other rows.
        """


class Actor(Protocol):
    """A frozen snapshot of what the members of a population act with."""

    members: int

    def begin(self, members: slice, episodes: int) -> Episodes:
        """Begin so many episodes of each of some members."""

    def tensors(self, member: int) -> dict[str, torch.Tensor]:
        """Return what a checkpoint has to hold of a member, by name."""

    def restore(self, member: int, tensors: Mapping[str, torch.Tensor]) -> None:
        """Set what `tensors` returned, in an actor of the same job."""


class FeedforwardActor:
    """Members that act by one network of the present observation: center + half_range * clip(f((s - mean) / scale)).

    Parameters
    ----------
    network : Network
        Its weights are copied.
    mean, scale : (P, observation) arrays
        Of the observations.
    center, half_range : (P, action) arrays
        Of the actions.
    """

    def __init__(
        self, network: Network, mean: np.ndarray, scale: np.ndarray, center: np.ndarray, half_range: np.ndarray
    ) -> None:
        self.members = network.members
        self._network = _copy(network, slice(0, network.members))
        self._mean, self._scale, self._center, self._half_range = (
            array[:, None] for array in (mean, scale, center, half_range)
        )

    def begin(self, members: slice, episodes: int) -> Episodes:
        """Begin episodes; nothing is remembered of them, so any number will do."""
        return _FeedforwardEpisodes(
            _copy(self._network, members),
            self._mean[members],
            self._scale[members],
            self._center[members],
            self._half_range[members],
        )

    def tensors(self, member: int) -> dict[str, torch.Tensor]:
        """Return the weights of a member."""
        return {self._network.name: self._network.buffer[self._network.rows(member)]}

    def restore(self, member: int, tensors: Mapping[str, torch.Tensor]) -> None:
        """Set the weights of a member."""
        self._network.buffer[self._network.rows(member)] = tensors[self._network.name]


class _FeedforwardEpisodes:
    def __init__(
        self, network: Network, mean: np.ndarray, scale: np.ndarray, center: np.ndarray, half_range: np.ndarray
    ) -> None:
        self.network, self.mean, self.scale, self.center, self.half_range = network, mean, scale, center, half_range

    @torch.no_grad()
    def act(self, observations: np.ndarray, rewards: np.ndarray) -> np.ndarray:
        inputs = torch.from_numpy((observations - self.mean) / self.scale).to(self.network.buffer.dtype)
        outputs = self.network(inputs, weights="frozen").double().numpy()
        actions: np.ndarray = self.center + self.half_range * np.clip(outputs, -1.0, 1.0)
        return actions


def _copy(network: Network, members: slice) -> Network:
    """Copy some members' weights into a network of their own on the CPU."""
    rows = slice(network.rows(members.start).start, network.rows(members.stop - 1).stop)
    weights = network.buffer[rows].cpu()
    draws = Draws([0] * (members.stop - members.start), torch.zeros(1, dtype=torch.int64), weights.dtype)
    copy = Network(network.name, network.spec, draws)
    copy.buffer.copy_(weights)
    return copy
