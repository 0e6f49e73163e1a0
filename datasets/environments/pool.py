"""Many copies of one Gymnasium environment, stepped together on worker processes.

Collection, random search and the evaluation of trained policies all step environments through this pool. A *slot* is
one copy. Slots are spread evenly over the workers; which worker a slot lives on never changes what it returns.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Self, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from assay.datasets.environments.code_on_disk import mark_of_code
from assay.datasets.environments.specification import EnvironmentSpec
from assay.datasets.errors import CollectionError, ConfigError
from assay.datasets.registry import imported_files
from assay.datasets.spaces import space_from_json, space_to_gymnasium
from assay.datasets.system_errors import system_reason

if TYPE_CHECKING:
    from assay.datasets.environments.worker import EnvironmentGroup, SlotColumns, SlotError

__all__ = ["EnvironmentPool", "PoolFailure"]

_CODE = mark_of_code()  # when this process read it

SECONDS_TO_END = 2.0
"""How long workers are given to end by themselves when the pool closes, all of them together."""


@dataclass(frozen=True)
class PoolFailure:
    """An environment that raised, or a worker that died.

    Parameters
    ----------
    slots
        Those that may be the reason: the one whose environment raised, or all that the dead worker was to step.
    cause
        What happened, naming the environment and the slots.
    """

    slots: NDArray[np.int64]
    cause: str


class EnvironmentPool:
    """Copies of one environment that are reset and stepped in batches, each only when asked.

    There is no automatic reset: a slot that ended has to be reset with a new seed by the caller, so that no
    observation is ever lost and every episode has a known seed. A pool may be used from any one thread at a time.

    Parameters
    ----------
    environment_id
        Registered Gymnasium id such as ``"Hopper-v5"``, or ``"module:id"`` to import ``module`` first; or an
        `EnvironmentSpec`, with its arguments, time limit and wrappers.
    environments
        Number of copies.
    workers
        Worker processes; 0 steps in this process, None takes as many as there are usable cores. Never more than
        ``environments``. The numbers returned do not depend on it.
    kwargs
        Keyword arguments of ``gymnasium.make``, such as ``max_episode_steps``; they must survive JSON.
    restart
        Start a failed worker anew instead of raising. Its running episodes are lost: see `lost` and `failures`.

    Attributes
    ----------
    observation_space, action_space
        Gymnasium's, of one copy. Actions are Box or Discrete; observations may also be a Dict or Tuple of them, and are
        then rows of a structured array, with one field for each part: ``observations["desired_goal"]`` is ``[n, 2]``.
    spec_json
        ``EnvSpec.to_json()`` of one copy; None where the environment's entry point has no JSON form.
    evaluation_goals
        How many evaluation goals the environment has (see `assay.datasets.environments.goals`); 0 for most.
    lost
        bool ``[environments]``: slots whose episode ended with their worker; what `step` returns for them means
        nothing, and they have to be reset.
    failures
        Every `PoolFailure` so far; stays empty unless ``restart``.

    Raises
    ------
    ConfigError
        If a parameter is impossible.
    CollectionError
        If an environment cannot be made, has a space that cannot be collected, raises, or its worker dies; it
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
        environment_id: str | EnvironmentSpec,
        environments: int,
        workers: int | None = None,
        kwargs: Mapping[str, Any] | None = None,
        restart: bool = False,
    ) -> None:
        if environments < 1:
            raise ConfigError(f"environments must be at least 1, not {environments}")
        if workers is not None and workers < 0:
            raise ConfigError(f"workers must be 0 or more, or None for one per usable core, not {workers}")
        spec = EnvironmentSpec(environment_id) if isinstance(environment_id, str) else environment_id
        self.environment_id = spec.id
        self.environments = environments
        self.workers = min(environments, usable_cores() if workers is None else workers)
        self.restart = restart
        self.lost = np.zeros(environments, bool)
        self.failures: list[PoolFailure] = []
        self._kwargs = {**spec.make_arguments, **(kwargs or {})}
        self._wrappers = spec.wrappers
        self._group: EnvironmentGroup | None = None
        self._processes: list[subprocess.Popen[bytes]] = []
        self._memory: int | None = None
        self._asked: deque[tuple[NDArray[np.int64], list[tuple[int, subprocess.Popen[bytes]]]]] = deque()
        self._running = np.zeros(environments, bool)  # slots that were reset and have not ended
        self._worker_of = np.arange(environments) % max(self.workers, 1)
        self._open = True
        try:
            description = self._start()
            self.observation_space = space_to_gymnasium(space_from_json(description["observation_space"]))
            self.action_space = space_to_gymnasium(space_from_json(description["action_space"]))
            self.spec_json: str | None = description["spec_json"]
            self.evaluation_goals: int = description["evaluation_goals"]
            self._action_shape = tuple(self.action_space.shape)
            self._columns = self._lay_out()
        except BaseException:
            self.close()
            raise

    def reset(self, slots: ArrayLike, seeds: ArrayLike, goals: ArrayLike | None = None) -> NDArray[Any]:
        """Start an episode in some slots.

        Parameters
        ----------
        slots
            Distinct slot numbers, int ``[n]``.
        seeds
            Reset seed of each, non-negative int ``[n]``.
        goals
            Number of the evaluation goal of each, int ``[n]`` below `evaluation_goals`; None leaves goals to the environment.

        Returns
        -------
        numpy.ndarray
            First observations ``[n, ...]``, in the dtype of the observation space.
        """
        from assay.datasets.environments.worker import NO_GOAL

        chosen = self._check_slots(slots)
        seeds = np.asarray(seeds, np.int64)
        if seeds.shape != chosen.shape or (seeds < 0).any():
            raise ConfigError(f"seeds must be {len(chosen)} non-negative integers, one for each slot")
        if goals is not None and not self.evaluation_goals:
            raise ConfigError(f"{self.environment_id} has no evaluation goals")
        if self._asked:
            raise ConfigError(f"call step_wait before more slots of {self.environment_id} are reset")
        self._columns.seeds[chosen] = seeds
        self._columns.goals[chosen] = NO_GOAL if goals is None else np.asarray(goals, np.int64)
        self._running[chosen], self.lost[chosen] = True, False
        self._ask(b"R", chosen)
        self._wait()
        return self._columns.observations[chosen]

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
        if self._asked:
            raise ConfigError(f"call step_wait before {self.environment_id} is stepped again with step")
        self.step_async(slots, actions)
        return self.step_wait()

    def step_async(self, slots: ArrayLike, actions: ArrayLike) -> None:
        """Begin to step some slots, as `step` does; other slots may be begun before `step_wait` is called."""
        chosen = self._check_slots(slots)
        if not self._running[chosen].all():
            ended = chosen[~self._running[chosen]].tolist()
            raise ConfigError(f"slots {ended} of {self.environment_id} have no running episode: reset them first")
        actions = np.asarray(actions)
        if actions.shape != (len(chosen), *self._action_shape):
            expected = (len(chosen), *self._action_shape)
            raise ConfigError(f"actions must have shape {expected} for {self.environment_id}, not {actions.shape}")
        self._columns.actions[chosen] = actions
        self._ask(b"S", chosen)

    def step_wait(self) -> tuple[NDArray[Any], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
        """Return what `step` returns, for the slots of the earliest `step_async` not waited for."""
        if not self._asked:
            raise ConfigError(f"no step of {self.environment_id} was begun with step_async")
        chosen, columns = self._wait(), self._columns
        terminations, truncations = columns.terminations[chosen], columns.truncations[chosen]
        self._running[chosen] &= ~(terminations | truncations)
        return columns.observations[chosen], columns.rewards[chosen], terminations, truncations

    def costs(self, slots: ArrayLike) -> NDArray[np.float64]:
        """Return what the last step of some slots cost, float64 ``[n]``: ``info["cost"]``, NaN where there is none.

        Examples
        --------
        >>> with EnvironmentPool("CartPole-v1", environments=1, workers=0) as pool:
        ...     _ = pool.reset([0], seeds=[0])
        ...     _ = pool.step([0], actions=[1])
        ...     pool.costs([0]).tolist()
        [nan]
        """
        return self._columns.costs[self._check_slots(slots)]

    def abort(self) -> None:
        """Kill the workers, so that a call that waits for them ends with an error; for any other thread than its own.

        The pool still has to be closed, by the thread that uses it or after that thread has ended.
        """
        self._open = False
        for process in list(self._processes):
            process.kill()

    def close(self) -> None:
        """End the workers; one that does not end by itself in time is killed. May be called twice."""
        self._open = False
        self._asked.clear()
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
        if self._memory is not None:
            os.close(self._memory)
            self._memory = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # at interpreter exit half of the modules may be gone
            self.close()

    # ---------------------------------------------------------------- workers

    def _start(self) -> dict[str, Any]:
        """Make all environments; return what the first worker says of them."""
        if not self.workers:
            self._group = self._make_group()
            return self._group.description
        try:
            json.dumps([self._kwargs, self._wrappers])
        except (TypeError, ValueError) as error:
            raise ConfigError(f"kwargs of {self.environment_id} must survive JSON to reach a worker: {error}") from None
        self._memory = unnamed_file()
        for worker in range(self.workers):
            self._processes.append(self._start_worker(worker))
        descriptions = [self._describe(worker) for worker in range(self.workers)]
        return descriptions[0]

    def _make_group(self) -> EnvironmentGroup:
        """Make all environments in this process."""
        from assay.datasets.environments.worker import EnvironmentGroup, SlotError

        try:
            return EnvironmentGroup(self.environment_id, self._kwargs, range(self.environments), self._wrappers)
        except SlotError as error:
            raise CollectionError(self._slot_failure(error).cause) from error

    def _start_worker(self, worker: int) -> subprocess.Popen[bytes]:
        """Start a process and tell it which environments to make."""
        from assay.datasets.environments.worker import LENGTH

        assert self._memory is not None
        process = subprocess.Popen(
            # -P: the current folder is on the path only where it is on ours.
            [sys.executable, "-P", "-m", "assay.datasets.environments.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=worker_environment(),
            pass_fds=(self._memory,),
            process_group=0,  # Ctrl-C does not reach a worker; its pool decides when it ends
        )
        config = {
            "environment_id": self.environment_id,
            "kwargs": self._kwargs,
            "wrappers": self._wrappers,
            "slots": np.flatnonzero(self._worker_of == worker).tolist(),
            "environments": self.environments,
            "memory": self._memory,
            "code": _CODE,
            "imports": [os.fspath(file) for file in imported_files()],
        }
        message = json.dumps(config).encode()
        with contextlib.suppress(OSError):  # a worker that died already is noticed when it is to answer
            cast(BinaryIO, process.stdin).write(LENGTH.pack(len(message)) + message)
            cast(BinaryIO, process.stdin).flush()
        return process

    def _describe(self, worker: int) -> dict[str, Any]:
        """Wait until a worker has made its environments."""
        from assay.datasets.environments.worker import LENGTH

        failure = self._read_status(worker)
        if failure is not None:
            raise CollectionError(failure.cause)
        size = self._read(worker, LENGTH.size)
        description = self._read(worker, LENGTH.unpack(size)[0]) if len(size) == LENGTH.size else b""
        if not description:
            raise CollectionError(self._death(worker).cause)
        return cast(dict[str, Any], json.loads(description))

    def _lay_out(self) -> SlotColumns:
        from assay.datasets.environments.worker import SlotColumns, row_layout

        observation, action = row_layout(self.observation_space), row_layout(self.action_space)
        try:
            return SlotColumns(self.environments, observation, action, self._memory)
        except OSError as error:
            raise CollectionError(
                f"{self.environment_id}: there is no shared memory for {self.environments} environments: "
                f"{system_reason(error)}; ask for fewer, or for workers=0"
            ) from error

    def _recover(self, worker: int, failure: PoolFailure) -> None:
        """Start a failed worker anew, or raise what happened where that is not wanted."""
        if not (self.restart and self._open):
            raise CollectionError(failure.cause)
        self.failures.append(failure)
        mine = self._worker_of == worker
        self.lost |= mine & self._running
        self._running &= ~mine
        if self._group is not None:
            self._group.close()
            self._group = self._make_group()
            return
        dead = self._processes[worker]
        dead.kill()
        dead.wait()
        for stream in (dead.stdin, dead.stdout):
            with contextlib.suppress(OSError):  # a dead worker's pipe cannot be flushed
                cast(BinaryIO, stream).close()
        self._processes[worker] = self._start_worker(worker)
        if not self._open:  # `abort` may have come before the new process
            self._processes[worker].kill()
        self._describe(worker)

    # ---------------------------------------------------------------- requests

    def _check_slots(self, slots: ArrayLike) -> NDArray[np.int64]:
        chosen = np.asarray(slots)
        if not self._open:
            raise ConfigError(f"this pool of {self.environment_id} is closed")
        if chosen.ndim != 1 or (chosen.size and chosen.dtype.kind not in "iu"):
            raise ConfigError(f"slots must be a flat array of integers, not {chosen.dtype} {chosen.shape}")
        chosen = chosen.astype(np.int64)
        known = (chosen >= 0) & (chosen < self.environments)
        asked = np.zeros(self.environments, bool)
        asked[chosen[known]] = True
        if np.count_nonzero(asked) < len(chosen):
            raise ConfigError(f"slots must be distinct and below {self.environments}, not {chosen.tolist()}")
        return chosen

    def _ask(self, operation: bytes, slots: NDArray[np.int64]) -> None:
        """Have the workers of some slots begin."""
        from assay.datasets.environments.worker import REQUEST

        asked: list[tuple[int, subprocess.Popen[bytes]]] = []
        self._asked.append((slots, asked))
        try:
            if self._group is not None:
                self._do_here(operation, slots)
                return
            owners = self._worker_of[slots]
            for worker, process in enumerate(list(self._processes)):
                rows = slots[owners == worker]
                if len(rows):
                    asked.append((worker, process))
                    stream = cast(BinaryIO, process.stdin)
                    # A worker that is gone is noticed when it is to answer: it may have left a report.
                    with contextlib.suppress(OSError):
                        stream.write(REQUEST.pack(operation, len(rows)) + rows.tobytes())
                        stream.flush()
        except BaseException:
            self.close()
            raise

    def _wait(self) -> NDArray[np.int64]:
        """Wait for the earliest request and return its slots."""
        slots, asked = self._asked.popleft()
        try:
            for worker, process in asked:
                if self._processes[worker] is process:  # not one that failed an earlier request and was replaced
                    failure = self._read_status(worker)
                    if failure is not None:
                        self._recover(worker, failure)
        except BaseException:  # also KeyboardInterrupt: answers that nobody read would be taken for later ones
            self.close()
            raise
        return slots

    def _do_here(self, operation: bytes, slots: NDArray[np.int64]) -> None:
        from assay.datasets.environments.worker import SlotError

        assert self._group is not None
        try:
            (self._group.reset if operation == b"R" else self._group.step)(self._columns, slots.tolist())
        except SlotError as error:
            self._recover(0, self._slot_failure(error))

    def _read(self, worker: int, count: int) -> bytes:
        """Read so many bytes, or fewer where the worker is gone."""
        return cast(BinaryIO, self._processes[worker].stdout).read(count)

    def _read_status(self, worker: int) -> PoolFailure | None:
        """Wait for an answer; None says that all went well."""
        from assay.datasets.environments.worker import DONE, LENGTH, SlotError

        status = self._read(worker, 1)
        if status == DONE:
            return None
        size = self._read(worker, LENGTH.size)
        report = self._read(worker, LENGTH.unpack(size)[0]) if len(size) == LENGTH.size else b""
        try:
            told = json.loads(report)
        except ValueError:  # it died before it could say why
            return self._death(worker)
        return self._slot_failure(SlotError(told["slot"], told["doing"], told["cause"]))

    def _slot_failure(self, error: SlotError) -> PoolFailure:
        cause = f"environment {self.environment_id} failed when slot {error.slot} was {error.doing}: {error.cause}"
        return PoolFailure(np.array([error.slot]), cause)

    def _death(self, worker: int) -> PoolFailure:
        process = self._processes[worker]
        try:
            code = process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            cause = "closed its pipe"
        else:
            cause = f"was killed by {signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
        mine = np.flatnonzero(self._worker_of == worker)
        named = ", ".join(map(str, mine[:8])) + (", ..." if len(mine) > 8 else "")
        return PoolFailure(
            mine[self._running[mine]],
            f"worker {worker} (process {process.pid}) of environment {self.environment_id}, "
            f"which steps slots {named}, {cause}; what it wrote last is on standard error",
        )


def unnamed_file() -> int:
    """Return the descriptor of an empty file in memory that ends with the last process that has it open."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("assay-environments")
    with tempfile.TemporaryFile() as file:  # systems other than Linux
        return os.dup(file.fileno())


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
