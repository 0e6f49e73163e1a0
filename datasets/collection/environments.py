"""Many copies of one Gymnasium environment, stepped together on worker processes.

Collection, random search and the evaluation of trained policies all step environments through this pool. A *slot* is
one copy. Slots are spread evenly over the workers; which worker a slot lives on never changes what it returns.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Self, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from assay.datasets.errors import CollectionError, ConfigError
from assay.datasets.spaces import space_from_json, space_to_gymnasium

if TYPE_CHECKING:
    from assay.datasets.collection.worker import EnvironmentGroup

__all__ = ["EnvironmentPool"]

SECONDS_TO_END = 2.0
"""How long workers are given to end by themselves when the pool closes, all of them together."""


class EnvironmentPool:
    """Copies of one environment that are reset and stepped in batches, each only when asked.

    There is no automatic reset: a slot that ended has to be reset with a new seed by the caller, so that no
    observation is ever lost and every episode has a known seed. A pool may be used from any one thread at a time.

    Parameters
    ----------
    environment_id
        Registered Gymnasium id such as ``"Hopper-v5"``, or ``"module:id"`` to import ``module`` first.
    environments
        Number of copies.
    workers
        Worker processes; 0 steps in this process, None takes as many as there are usable cores. Never more than
        ``environments``. The numbers returned do not depend on it.
    kwargs
        Keyword arguments of ``gymnasium.make``; they must survive JSON.

    Attributes
    ----------
    observation_space, action_space
        ``gymnasium.spaces.Box`` or ``Discrete``, of one copy.
    spec_json
        ``EnvSpec.to_json()`` of one copy; None where the environment's entry point has no JSON form.

    Raises
    ------
    ConfigError
        If a parameter is impossible.
    CollectionError
        If an environment cannot be made, has a space that is neither Box nor Discrete, raises, or its worker dies; it
        names the environment, the slot and the cause.

    Examples
    --------
    >>> with EnvironmentPool("CartPole-v1", environments=3, workers=0) as pool:
    ...     observations = pool.reset([0, 1, 2], seeds=[10, 11, 12])
    ...     observations, rewards, terminations, truncations = pool.step([0, 2], actions=[1, 0])
    >>> observations.shape, rewards.tolist(), terminations.tolist()
    ((2, 4), [1.0, 1.0], [False, False])
    """

    def __init__(
        self,
        environment_id: str,
        environments: int,
        workers: int | None = None,
        kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        if environments < 1:
            raise ConfigError(f"environments must be at least 1, not {environments}")
        if workers is not None and workers < 0:
            raise ConfigError(f"workers must be 0 or more, or None for one per usable core, not {workers}")
        self.environment_id = environment_id
        self.environments = environments
        self.workers = min(environments, usable_cores() if workers is None else workers)
        self._group: EnvironmentGroup | None = None
        self._processes: list[subprocess.Popen[bytes]] = []
        self._running = np.zeros(environments, bool)  # slots that were reset and have not ended
        self._worker_of = np.arange(environments) % max(self.workers, 1)
        self._open = True
        try:
            description = self._start(dict(kwargs or {}))
        except BaseException:
            self.close()
            raise
        self.observation_space = space_to_gymnasium(space_from_json(description["observation_space"]))
        self.action_space = space_to_gymnasium(space_from_json(description["action_space"]))
        self.spec_json: str | None = description["spec_json"]
        self._observation_dtype = np.dtype(self.observation_space.dtype)
        self._observation_shape = tuple(self.observation_space.shape)
        self._action_dtype = np.dtype(self.action_space.dtype)
        self._action_shape = tuple(self.action_space.shape)

    def reset(self, slots: ArrayLike, seeds: ArrayLike) -> NDArray[Any]:
        """Start an episode in some slots.

        Parameters
        ----------
        slots
            Distinct slot numbers, int ``[n]``.
        seeds
            Reset seed of each, non-negative int ``[n]``.

        Returns
        -------
        numpy.ndarray
            First observations ``[n, ...]``, in the dtype of the observation space.
        """
        chosen = self._check_slots(slots)
        seeds = np.asarray(seeds, np.int64)
        if seeds.shape != chosen.shape or (seeds < 0).any():
            raise ConfigError(f"seeds must be {len(chosen)} non-negative integers, one for each slot")
        (observations,) = self._exchange(b"R", chosen, seeds)
        self._running[chosen] = True
        return observations

    def step(
        self, slots: ArrayLike, actions: ArrayLike
    ) -> tuple[NDArray[Any], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
        """Step some slots once.

        Parameters
        ----------
        slots
            Distinct numbers of slots whose episode is running, int ``[n]``.
        actions
            One action for each, ``[n, ...]``; cast to the dtype of the action space, not clipped.

        Returns
        -------
        observations : numpy.ndarray
            ``[n, ...]``; the final observation where the episode ended.
        rewards : numpy.ndarray
            float64 ``[n]``.
        terminations, truncations : numpy.ndarray
            bool ``[n]``.
        """
        chosen = self._check_slots(slots)
        if not self._running[chosen].all():
            ended = chosen[~self._running[chosen]].tolist()
            raise ConfigError(f"slots {ended} of {self.environment_id} have no running episode: reset them first")
        actions = np.asarray(actions)
        if actions.shape != (len(chosen), *self._action_shape):
            expected = (len(chosen), *self._action_shape)
            raise ConfigError(f"actions must have shape {expected} for {self.environment_id}, not {actions.shape}")
        outcome = self._exchange(b"S", chosen, actions.astype(self._action_dtype))
        observations, rewards, terminations, truncations = outcome
        self._running[chosen] = ~(terminations | truncations)
        return observations, rewards, terminations, truncations

    def close(self) -> None:
        """End the workers; one that does not end by itself in time is killed. May be called twice."""
        self._open = False
        if self._group is not None:
            self._group.close()
            self._group = None
        processes, self._processes = self._processes, []
        for process in processes:
            with contextlib.suppress(OSError):  # a dead worker's pipe cannot be flushed
                cast(BinaryIO, process.stdin).close()
        deadline = time.monotonic() + SECONDS_TO_END
        for process in processes:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            cast(BinaryIO, process.stdout).close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # at interpreter exit half of the modules may be gone
            self.close()

    def _start(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        from assay.datasets.collection.worker import LENGTH, EnvironmentGroup, SlotError

        slots = np.arange(self.environments)
        if not self.workers:
            try:
                self._group = EnvironmentGroup(self.environment_id, kwargs, slots.tolist())
            except SlotError as error:
                raise self._failure(error) from error
            return self._group.description
        try:
            json.dumps(kwargs)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"kwargs of {self.environment_id} must survive JSON to reach a worker: {error}") from None
        for worker in range(self.workers):
            config = {
                "environment_id": self.environment_id,
                "kwargs": kwargs,
                "slots": slots[self._worker_of == worker].tolist(),
            }
            message = json.dumps(config).encode()
            self._processes.append(
                subprocess.Popen(
                    # -P: the current folder is on the path only where it is on ours.
                    [sys.executable, "-P", "-m", "assay.datasets.collection.worker"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    env=worker_environment(),
                )
            )
            self._send(worker, LENGTH.pack(len(message)) + message)
        descriptions = []
        for worker in range(self.workers):
            self._receive_status(worker)
            descriptions.append(json.loads(self._receive(worker, LENGTH.unpack(self._receive(worker, 4))[0])))
        return cast(dict[str, Any], descriptions[0])

    def _check_slots(self, slots: ArrayLike) -> NDArray[np.int64]:
        chosen = np.asarray(slots)
        if not self._open:
            raise ConfigError(f"this pool of {self.environment_id} is closed")
        if chosen.ndim != 1 or (chosen.size and chosen.dtype.kind not in "iu"):
            raise ConfigError(f"slots must be a flat array of integers, not {chosen.dtype} {chosen.shape}")
        chosen = chosen.astype(np.int64)
        if len(np.unique(chosen)) < len(chosen) or (chosen < 0).any() or (chosen >= self.environments).any():
            raise ConfigError(f"slots must be distinct and below {self.environments}, not {chosen.tolist()}")
        return chosen

    def _exchange(self, operation: bytes, slots: NDArray[np.int64], payload: NDArray[Any]) -> list[NDArray[Any]]:
        """Send each worker its rows, wait for all, and put the answers back in the order of ``slots``."""
        from assay.datasets.collection.worker import REQUEST, SlotError, little_endian

        count = len(slots)
        columns: list[NDArray[Any]] = [np.empty((count, *self._observation_shape), self._observation_dtype)]
        if operation == b"S":
            columns += [np.empty(count), np.empty(count, bool), np.empty(count, bool)]
        if self._group is not None:
            try:
                if operation == b"R":
                    return [self._group.reset(slots.tolist(), payload.tolist())]
                return list(self._group.step(slots.tolist(), payload))
            except SlotError as error:
                self.close()
                raise self._failure(error) from error
            except BaseException:
                self.close()
                raise
        try:
            owners = self._worker_of[slots]
            rows_of = [(worker, np.flatnonzero(owners == worker)) for worker in np.unique(owners).tolist()]
            for worker, rows in rows_of:
                header = REQUEST.pack(operation, len(rows))
                parts = (slots[rows], payload[rows])
                self._send(
                    worker, header + b"".join(part.astype(little_endian(part.dtype)).tobytes() for part in parts)
                )
            for worker, rows in rows_of:
                self._receive_status(worker)
                for column in columns:
                    shape = (len(rows), *column.shape[1:])
                    data = self._receive(worker, math.prod(shape) * column.itemsize)
                    column[rows] = np.frombuffer(data, little_endian(column.dtype)).reshape(shape)
        except BaseException:  # also KeyboardInterrupt: answers that nobody read would be taken for later ones
            self.close()
            raise
        return columns

    def _send(self, worker: int, message: bytes) -> None:
        stream = cast(BinaryIO, self._processes[worker].stdin)
        try:
            stream.write(message)
            stream.flush()
        except OSError:
            # A worker that reported an error and ended is best explained by its report.
            self._receive_status(worker)
            raise self._death(worker) from None

    def _receive(self, worker: int, count: int) -> bytes:
        data = cast(BinaryIO, self._processes[worker].stdout).read(count)
        if len(data) < count:
            raise self._death(worker)
        return data

    def _receive_status(self, worker: int) -> None:
        from assay.datasets.collection.worker import DONE, LENGTH, SlotError

        if self._receive(worker, 1) != DONE:
            report = json.loads(self._receive(worker, LENGTH.unpack(self._receive(worker, 4))[0]))
            raise self._failure(SlotError(report["slot"], report["doing"], report["cause"]))

    def _failure(self, error: Any) -> CollectionError:
        return CollectionError(
            f"environment {self.environment_id} failed when slot {error.slot} was {error.doing}: {error.cause}"
        )

    def _death(self, worker: int) -> CollectionError:
        process = self._processes[worker]
        try:
            code = process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            cause = "closed its pipe"
        else:
            cause = f"was killed by {signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
        slots = np.flatnonzero(self._worker_of == worker).tolist()
        named = ", ".join(map(str, slots[:8])) + (", ..." if len(slots) > 8 else "")
        return CollectionError(
            f"worker {worker} (process {process.pid}) of environment {self.environment_id}, "
            f"which steps slots {named}, {cause}; what it wrote last is on standard error"
        )


def usable_cores() -> int:
    """Return the number of cores this process may use, which a container or taskset can make fewer than exist."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def signal_name(number: int) -> str:
    """Return ``SIGKILL`` for 9, and ``signal 77`` where there is no name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def worker_environment() -> dict[str, str]:
    """Return the variables of a worker: the import path of this process, and one thread for each numerical library."""
    import assay

    package_root = str(Path(assay.__file__).parent.parent)
    # The same order of folders as here, so that a worker imports the same assay and the same user modules.
    path = [entry or os.getcwd() for entry in sys.path]
    if package_root not in path:
        path.append(package_root)
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
    return {**os.environ, **dict.fromkeys(threads, "1"), "PYTHONPATH": os.pathsep.join(path)}
