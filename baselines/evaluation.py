"""Evaluation: every member of a population on the same episodes, all at once.

Episodes are numbered, and each has its own seed that depends on `Evaluation.seed` alone, never on training: all members
and all algorithms meet the same initial states. One policy call per step serves all members and episodes; simulators
run on worker processes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as validated_dataclass

from assay.datasets.errors import CollectionError

__all__ = ["Evaluation", "EvaluationResult", "episode_seeds", "evaluate"]

_SIMULATORS_AT_A_TIME = 256
_LONGEST_EPISODE = 100_000


@validated_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Evaluation:
    """How trained policies are evaluated.

    Parameters
    ----------
    episodes : int
        Per policy and evaluation.
    every : int, optional
        Updates between evaluations on the way; None evaluates once, after the last update.
    seed : int
        Of the initial states; independent of the training seeds.
    environment : str, optional
        Gymnasium id; default is the dataset's environment.

    Examples
    --------
    >>> Evaluation(episodes=5).every is None
    True
    """

    episodes: Annotated[int, Field(gt=0)] = 10
    every: Annotated[int, Field(gt=0)] | None = None
    seed: int = 0
    environment: str | None = None


@dataclass(frozen=True)
class EvaluationResult:
    """Undiscounted returns (P, episodes), lengths in steps (P, episodes), and the seeds (episodes,) of the episodes."""

    returns: np.ndarray
    lengths: np.ndarray
    seeds: np.ndarray


def episode_seeds(seed: int, episodes: int) -> np.ndarray:
    """Return the seeds of the evaluation episodes 0, 1, ...: (episodes,) int64 below 2**31.

    Examples
    --------
    >>> bool((episode_seeds(0, 3) == episode_seeds(0, 5)[:3]).all())
    True
    """
    children = [np.random.SeedSequence((seed, 0xE7A1, episode)) for episode in range(episodes)]
    return np.array([int(child.generate_state(1)[0]) >> 1 for child in children], np.int64)


def evaluate(
    act: Callable[[np.ndarray], np.ndarray],
    members: int,
    environment_id: str,
    evaluation: Evaluation,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> EvaluationResult:
    """Run every member on the episodes of an evaluation.

    Parameters
    ----------
    act : callable
        (P, n, observation) observations -> (P, n, action) actions.
    members : int
        P.
    environment_id : str
    evaluation : Evaluation
    workers : int, optional
        Simulator processes; default one per core.
    progress : callable, optional
        Called with (episodes done, episodes in all).

    Raises
    ------
    CollectionError
        If a simulator fails, or an episode does not end.
    """
    from assay.datasets.collection.environments import EnvironmentPool

    seeds = episode_seeds(evaluation.seed, evaluation.episodes)
    returns = np.zeros((members, evaluation.episodes))
    lengths = np.zeros((members, evaluation.episodes), np.int64)
    at_a_time = min(evaluation.episodes, max(1, _SIMULATORS_AT_A_TIME // members))
    with EnvironmentPool(environment_id, members * at_a_time, workers=workers) as pool:
        for start in range(0, evaluation.episodes, at_a_time):
            part = slice(start, min(start + at_a_time, evaluation.episodes))
            _run_episodes(pool, act, members, seeds[part], returns[:, part], lengths[:, part])
            if progress is not None:
                progress(part.stop * members, evaluation.episodes * members)
    return EvaluationResult(returns, lengths, seeds)


def _run_episodes(
    pool: Any,
    act: Callable[[np.ndarray], np.ndarray],
    members: int,
    seeds: np.ndarray,
    returns: np.ndarray,
    lengths: np.ndarray,
) -> None:
    """Run one episode per member and seed; fills the (P, n) returns and lengths."""
    slots = np.arange(members * len(seeds))
    current = np.asarray(pool.reset(slots, np.tile(seeds, members)), np.float64)
    running = np.ones(len(slots), bool)
    totals, steps = np.zeros(len(slots)), np.zeros(len(slots), np.int64)
    while running.any():
        # Finished episodes stay in the batch, so that the shapes, and with them the rounding, never change.
        actions = act(current.reshape(members, len(seeds), -1)).reshape(len(slots), -1)
        active = slots[running]
        observations, rewards, terminations, truncations = pool.step(active, actions[running])
        current[active] = observations
        totals[active] += rewards
        steps[active] += 1
        running[active] = ~(terminations | truncations)
        if steps.max() > _LONGEST_EPISODE:
            raise CollectionError(
                f"an evaluation episode of {pool.environment_id} did not end in {_LONGEST_EPISODE} steps"
            )
    returns[:] = totals.reshape(returns.shape)
    lengths[:] = steps.reshape(lengths.shape)
