"""Many copies of one environment on EnvPool's C++ threads, with the interface of `EnvironmentPool`.

EnvPool (Weng et al. 2022, arXiv 2206.10558) has environments of its own under Gymnasium's names: faster, with other random
streams and another version of the simulator, so that an episode is not the one that Gymnasium gives for the same seed. Its
copies take their seed when they are made and none later. So a reset here makes new copies, one for each slot with its own
seed; a slot's episode depends on its seed alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from assay.datasets.environments.pool import usable_cores
from assay.datasets.environments.specification import EnvironmentSpec
from assay.datasets.errors import CollectionError, ConfigError

__all__ = ["EnvPoolEnvironments"]


class EnvPoolEnvironments:
    """Copies of an EnvPool environment, reset and stepped in batches; see `EnvironmentPool`.

    Slots that were reset together are stepped together, and two such batches may be under way at a time.

    Parameters
    ----------
    environment_id
        One of `envpool.list_all_envs()`, such as ``"Hopper-v5"``; or an `EnvironmentSpec` of it. Of a spec, only the time
        limit can differ from the registered environment.
    environments
        Number of copies.
    workers
        Threads of a batch; default one per usable core.

    Attributes
    ----------
    evaluation_goals
        0: EnvPool's environments draw their own goals.

    Raises
    ------
    ConfigError
        If EnvPool is not installed, has no such environment, or cannot make it as the spec says.
    """

    evaluation_goals = 0

    def __init__(self, environment_id: str | EnvironmentSpec, environments: int, workers: int | None = None) -> None:
        self._limit: dict[str, int] = {}
        if isinstance(environment_id, EnvironmentSpec):
            spec, environment_id = environment_id, environment_id.id
            if spec.kwargs or spec.wrappers:
                raise ConfigError(
                    f"the dataset was recorded in {spec}, which EnvPool cannot make: use "
                    'Evaluation(engine="gymnasium"), or Evaluation(environment=...) to name another environment'
                )
            if spec.max_episode_steps is not None:
                self._limit = {"max_episode_steps": spec.max_episode_steps}
        self._envpool = _import_envpool()
        if environment_id not in self._envpool.list_all_envs():
            raise ConfigError(f"EnvPool has no environment {environment_id}; `envpool.list_all_envs()` lists its own")
        self.environment_id, self.environments = environment_id, environments
        self.workers = max(1, usable_cores() if workers is None else workers)
        self.failures: Sequence[Any] = ()  # none is started anew: an error in C++ ends the process
        self.lost = np.zeros(environments, bool)
        self._batch_of = np.full(environments, -1)
        self._place = np.zeros(environments, np.int32)  # of a slot in its batch
        self._costs = np.full(environments, np.nan)
        self._batches: dict[int, Any] = {}
        self._made = 0
        self._under_way: deque[tuple[Any, NDArray[np.int32], NDArray[np.int64]]] = deque()
        self._closed = False
        one = self._make([0])
        self.observation_space, self.action_space = one.observation_space, one.action_space
        one.close()

    def _make(self, seeds: Sequence[int]) -> Any:
        threads = min(self.workers, len(seeds))
        return self._envpool.make_gymnasium(
            self.environment_id, num_envs=len(seeds), seed=list(seeds), num_threads=threads, **self._limit
        )

    def reset(self, slots: ArrayLike, seeds: ArrayLike, goals: ArrayLike | None = None) -> NDArray[Any]:
        """Start an episode in some slots, each from its seed; returns first observations ``[n, ...]``."""
        if goals is not None:
            raise ConfigError(f"EnvPool's {self.environment_id} has no evaluation goals")
        chosen = np.asarray(slots)
        batch = self._make(np.asarray(seeds).tolist())
        self._batches[self._made] = batch
        self._batch_of[chosen], self._place[chosen] = self._made, np.arange(len(chosen))
        self._made += 1
        for number in set(self._batches) - set(self._batch_of.tolist()):  # of which no slot is left
            self._batches.pop(number).close()
        first, info = batch.reset()
        observations: NDArray[Any] = np.asarray(first)[np.argsort(info["env_id"])]
        return observations

    def step_async(self, slots: ArrayLike, actions: ArrayLike) -> None:
        """Begin to step some slots that were reset together."""
        if self._closed:
            raise CollectionError(f"the environments {self.environment_id} are closed")
        chosen = np.asarray(slots)
        (number,) = set(self._batch_of[chosen].tolist())
        batch, places = self._batches[number], self._place[chosen]
        batch.send(np.asarray(actions).astype(self.action_space.dtype), places)
        self._under_way.append((batch, places, chosen))

    def step_wait(self) -> tuple[NDArray[Any], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
        """Return what the longest begun step came to, in the order of its slots."""
        batch, places, slots = self._under_way.popleft()
        observations, rewards, terminations, truncations, info = batch.recv()
        order = np.argsort(info["env_id"])[np.argsort(np.argsort(places))]
        self._costs[slots] = info["cost"][order] if "cost" in info else np.nan
        return observations[order], rewards[order].astype(np.float64), terminations[order], truncations[order]

    def costs(self, slots: ArrayLike) -> NDArray[np.float64]:
        """Return what the last step of some slots cost, float64 ``[n]``; NaN where there is none."""
        costs: NDArray[np.float64] = self._costs[np.asarray(slots)]
        return costs

    def abort(self) -> None:
        """Let a thread that steps these environments come to an error."""
        self._closed = True

    def close(self) -> None:
        """Close all copies."""
        self._closed = True
        for batch in self._batches.values():
            batch.close()
        self._batches.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _import_envpool() -> Any:
    try:
        import envpool
    except ModuleNotFoundError as error:
        raise ConfigError("EnvPool is not installed: pip install 'assay[envpool]'") from error
    return envpool
