"""Acting: policies as an evaluation meets them, apart from the training that made them.

An `Actor` is a snapshot that further training does not change. It begins *episodes*, a batch of them at once for some of
its members, and is then asked for actions step by step. What a policy remembers of each episode, and the random numbers it
acts with, are kept here: the algorithm's `act` is a pure function of both.

Snapshots act on the CPU, wherever their members are trained. Simulators bound the speed of an evaluation, not its small
networks; and a CUDA graph that is being captured, or a large population that keeps the device busy, is not disturbed.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import torch

from assay.baselines.engine.data import ActionScale, ObservationScale
from assay.baselines.engine.randomness import Draws
from assay.baselines.engine.shapes import Observations, Shapes
from assay.baselines.networks.network import FixedNetwork

if TYPE_CHECKING:
    from assay.baselines.algorithms.algorithm import Algorithm

__all__ = ["Acting", "Actor", "EpisodeDraws", "Episodes", "Snapshot", "act_once", "actor_of"]


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

    def begin(self, members: slice, episodes: int, seeds: Sequence[int] | None = None) -> Episodes:
        """Begin so many episodes of each of some members; a policy that acts at random draws by their seeds."""

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
    shapes : Shapes
        Of what its networks see.
    """

    algorithm: Algorithm
    observation_scale: ObservationScale
    action_scale: ActionScale
    best_return: float
    shapes: Shapes


class EpisodeDraws:
    """Random numbers of episodes: functions of (an episode's seed, its step, purpose, position) alone.

    So the actions of an episode do not depend on which others are evaluated, and all members meet the same numbers.

    Parameters
    ----------
    seeds : sequence of int
        One per episode.
    members : int
    dtype : torch.dtype
    copies : int
        Rows per episode, neighbours that share their numbers.

    Examples
    --------
    >>> alone, together = EpisodeDraws([7], 1), EpisodeDraws([3, 7], 2)
    >>> bool((together.normal("noise", 2)[:, 1] == alone.normal("noise", 2)[:, 0]).all())
    True
    """

    def __init__(self, seeds: Sequence[int], members: int, dtype: torch.dtype = torch.float32, copies: int = 1) -> None:
        self.seeds, self.members, self.dtype, self.copies = tuple(seeds), members, dtype, copies
        self._step = torch.zeros(1, dtype=torch.int64)
        self._draws = Draws(self.seeds, self._step, dtype, "acting/")

    def at(self, step: int, copies: int = 1) -> EpisodeDraws:
        """Return the draws of a step."""
        found = EpisodeDraws(self.seeds, self.members, self.dtype, copies)
        found._draws._keys = self._draws._keys  # made once per purpose
        found._step.fill_(step)
        return found

    def uniform(self, purpose: str, *shape: int) -> torch.Tensor:
        """Return [P, n, *shape] floats in [0, 1)."""
        return self._spread(self._draws.uniform(purpose, *(shape or (1,))), shape)

    def normal(self, purpose: str, *shape: int) -> torch.Tensor:
        """Return [P, n, *shape] standard normal floats."""
        return self._spread(self._draws.normal(purpose, *(shape or (1,))), shape)

    def _spread(self, numbers: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        per_episode = numbers.view(len(self.seeds), *shape).repeat_interleave(self.copies, 0)
        return per_episode[None].expand(self.members, *per_episode.shape)


class Snapshot:
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
        acts = [name for name in self.algorithm.acting if name in networks]  # an encoder is there for images only
        self.networks = {name: _copy(networks[name], slice(0, self.members)) for name in acts}

    def begin(self, members: slice, episodes: int, seeds: Sequence[int] | None = None) -> Episodes:
        """Begin episodes; without seeds they are numbered."""
        return _SnapshotEpisodes(self, members, episodes, range(episodes) if seeds is None else seeds)

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


def actor_of(acting: Sequence[Acting], networks: Mapping[str, FixedNetwork]) -> Actor:
    """Return a snapshot of members of one algorithm."""
    return Snapshot(acting, networks)


class _SnapshotEpisodes:
    """Episodes of some members of a snapshot: their networks, what they remember, and the way to the environment's units."""

    def __init__(self, actor: Snapshot, members: slice, episodes: int, seeds: Sequence[int]) -> None:
        from assay.baselines.algorithms.algorithm import stack_hyperparameters

        self.acting, self.algorithm = actor.acting[members], actor.algorithm
        self.networks = {name: _copy(network, members) for name, network in actor.networks.items()}
        self.dtype = next(iter(self.networks.values())).buffer.dtype
        self.mean = np.stack([item.observation_scale.mean for item in self.acting])[:, None]
        self.scale = np.stack([item.observation_scale.scale for item in self.acting])[:, None]
        self.shapes = self.acting[0].shapes
        scales = [item.action_scale for item in self.acting]
        # All members of a population have the same kind of actions.
        self.actions = ActionScale(
            np.stack([scale.center for scale in scales])[:, None],
            np.stack([scale.half_range for scale in scales])[:, None],
            scales[0].first,
        )
        self.hyperparameters = stack_hyperparameters(
            [item.algorithm for item in self.acting], torch.zeros(0, dtype=self.dtype)
        )
        self.step = 0
        self.state: Mapping[str, torch.Tensor] = self.algorithm.begin(self.acting, episodes)
        self.draws = EpisodeDraws([int(seed) for seed in seeds], len(self.acting), self.dtype)

    @torch.no_grad()
    def act(self, observations: np.ndarray, rewards: np.ndarray) -> np.ndarray:
        actions, self.state = self._choose(observations, rewards, 1)
        self.step += 1
        return actions

    @torch.no_grad()
    def consider(self, candidates: np.ndarray, rewards: np.ndarray) -> np.ndarray:
        p, n, k, _ = candidates.shape
        actions, _ = self._choose(candidates.reshape(p, n * k, -1), rewards, k)
        return actions.reshape(p, n, k, -1)

    def _choose(
        self, observations: np.ndarray, rewards: np.ndarray, copies: int
    ) -> tuple[np.ndarray, Mapping[str, torch.Tensor]]:
        """Act at `copies` observations of each episode; return actions in the environment's units, and the memory."""

        def repeated(tensor: torch.Tensor) -> torch.Tensor:
            return tensor if copies == 1 else tensor.repeat_interleave(copies, 1)

        memory = _memory(
            self.step,
            repeated(torch.from_numpy(rewards)),
            {name: repeated(tensor) for name, tensor in self.state.items()},
            self.hyperparameters,
        )
        seen = self._seen(observations)
        actions, state = _act(self.algorithm, self.networks, seen, memory, self.draws.at(self.step, copies))
        return self.actions.decode(actions.double().numpy()), state

    def _seen(self, observations: np.ndarray) -> Observations:
        """Return normalized observations, and images as they are."""
        vector, images = self.shapes.split(observations)
        normalized = torch.from_numpy((vector - self.mean) / self.scale).to(self.dtype)
        if not images:
            return normalized
        return {"vector": normalized, **{name: torch.from_numpy(image) for name, image in images.items()}}


def act_once(algorithm: Algorithm, networks: Mapping[str, FixedNetwork], observations: torch.Tensor) -> torch.Tensor:
    """Return the actions [P, n, action] that begin n episodes, for normalized observations; gradients pass through."""
    from assay.baselines.algorithms.algorithm import stack_hyperparameters

    members, episodes = observations.shape[:2]
    hyperparameters = stack_hyperparameters([algorithm] * members, observations)
    memory = _memory(0, torch.zeros(members, episodes, dtype=torch.float64), {}, hyperparameters)
    draws = EpisodeDraws(range(episodes), members, observations.dtype)
    return _act(algorithm, networks, observations, memory, draws)[0]


def _memory(step: int, rewards: torch.Tensor, state: Mapping[str, torch.Tensor], hyperparameters: Any) -> Any:
    from assay.baselines.algorithms.algorithm import Memory

    return Memory(step, rewards, state, hyperparameters)


def _act(
    algorithm: Any, networks: Mapping[str, FixedNetwork], seen: Observations, memory: Any, draws: EpisodeDraws
) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
    """Call an algorithm's `act`; one written for the former `act(networks, observations)` is warned of."""
    if _takes_memory(cast(Hashable, type(algorithm))):
        chosen: tuple[torch.Tensor, Mapping[str, torch.Tensor]] = algorithm.act(networks, seen, memory, draws)
        return chosen
    warnings.warn(
        f"{type(algorithm).__name__}.act takes (networks, observations, memory, draws) now, and returns actions and what "
        "is to be remembered",
        DeprecationWarning,
        stacklevel=2,
    )
    return algorithm.act(networks, seen), {}


@cache
def _takes_memory(kind: Any) -> bool:
    return "memory" in inspect.signature(kind.act).parameters


def _copy(network: FixedNetwork, members: slice) -> FixedNetwork:
    """Copy some members' weights into a network of their own on the CPU."""
    rows = slice(network.rows(members.start).start, network.rows(members.stop - 1).stop)
    return FixedNetwork(network.name, network.spec, network.acting_buffer[rows].to("cpu", copy=True))
