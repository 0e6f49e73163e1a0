"""One process that steps environments for `EnvironmentPool`, and the protocol the two speak.

The worker is started as ``python -m assay.datasets.collection.worker`` and talks over its standard input and output,
so it needs neither pickle nor a main guard and works from notebooks, scripts and beside torch threads alike::

    start    pool -> worker    u32 length, JSON {environment_id, kwargs, slots}
             worker -> pool    u8 0, u32 length, JSON {observation_space, action_space, spec_json}
    reset    pool -> worker    b"R", u32 n, i64[n] slots, i64[n] seeds
             worker -> pool    u8 0, observations [n, ...]
    step     pool -> worker    b"S", u32 n, i64[n] slots, actions [n, ...]
             worker -> pool    u8 0, observations [n, ...], f64[n] rewards, u8[n] terminations, u8[n] truncations
    failure  worker -> pool    u8 1, u32 length, JSON {slot, doing, cause}; the worker then ends
    end      pool closes the pipe; the worker ends, also when the pool's process was killed

All numbers are little-endian; observations and actions have the dtype and shape of their spaces.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import struct
import sys
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np

from assay.datasets.spaces import space_from_gymnasium, space_to_json

__all__ = ["EnvironmentGroup", "SlotError", "main"]

LENGTH = struct.Struct("<I")
REQUEST = struct.Struct("<cI")
DONE, FAILED = b"\0", b"\1"


class SlotError(Exception):
    """What an environment raised, with the slot it happened in; the pool turns it into a CollectionError."""

    def __init__(self, slot: int, doing: str, cause: str) -> None:
        super().__init__(cause)
        self.slot, self.doing, self.cause = slot, doing, cause


def describe_space(space: Any, role: str, slot: int) -> str:
    """Return a Box or Discrete space as JSON; other spaces are an error naming their role."""
    if type(space).__name__ not in ("Box", "Discrete"):
        cause = f"{role} space {space} cannot be collected: only Box and Discrete can (flatten it first)"
        raise SlotError(slot, "made", cause)
    return space_to_json(space_from_gymnasium(space))


class EnvironmentGroup:
    """Some slots of a pool, stepped one after the other in the current process.

    Parameters
    ----------
    environment_id
        Registered Gymnasium id, or ``module:id``.
    kwargs
        Keyword arguments of ``gymnasium.make``.
    slots
        The pool's numbers of the environments made here.
    """

    def __init__(self, environment_id: str, kwargs: Mapping[str, Any], slots: Sequence[int]) -> None:
        import gymnasium

        if environment_id.startswith("assay/"):
            import assay.datasets.collection.tasks  # noqa: F401  (importing registers them)

        self.environments: dict[int, Any] = {}
        for slot in slots:
            try:
                # The checker costs a third of the speed and warns about things no dataset depends on.
                self.environments[slot] = gymnasium.make(environment_id, disable_env_checker=True, **kwargs)
            except Exception as error:
                raise SlotError(slot, "made", f"{type(error).__name__}: {error}") from error
        first = self.environments[slots[0]]
        try:
            spec_json = first.spec.to_json()
        except Exception:  # an entry point that is an object, not a name, has no JSON form
            spec_json = None
        self.description: dict[str, Any] = {
            "observation_space": describe_space(first.observation_space, "observation", slots[0]),
            "action_space": describe_space(first.action_space, "action", slots[0]),
            "spec_json": spec_json,
        }
        self.observation_dtype, self.observation_shape = first.observation_space.dtype, first.observation_space.shape
        self.action_dtype, self.action_shape = first.action_space.dtype, first.action_space.shape
        self.discrete_actions = type(first.action_space).__name__ == "Discrete"

    def reset(self, slots: Sequence[int], seeds: Sequence[int]) -> np.ndarray[Any, Any]:
        """Reset each slot with its seed; return observations ``[n, ...]``."""
        observations = np.empty((len(slots), *self.observation_shape), self.observation_dtype)
        for row, (slot, seed) in enumerate(zip(slots, seeds)):
            try:
                observations[row] = self.environments[slot].reset(seed=seed)[0]
            except Exception as error:
                raise SlotError(slot, "reset", f"{type(error).__name__}: {error}") from error
        return observations

    def step(self, slots: Sequence[int], actions: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], ...]:
        """Step each slot once; return observations ``[n, ...]``, rewards, terminations and truncations ``[n]``."""
        count = len(slots)
        observations = np.empty((count, *self.observation_shape), self.observation_dtype)
        rewards, terminations, truncations = np.empty(count), np.empty(count, bool), np.empty(count, bool)
        for row, slot in enumerate(slots):
            action = int(actions[row]) if self.discrete_actions else actions[row]
            try:
                outcome = self.environments[slot].step(action)
                observations[row], rewards[row], terminations[row], truncations[row] = outcome[:4]
            except Exception as error:
                raise SlotError(slot, "stepped", f"{type(error).__name__}: {error}") from error
        return observations, rewards, terminations, truncations

    def close(self) -> None:
        """Close every environment; an environment that cannot be closed is left to the end of the process."""
        for environment in self.environments.values():
            with contextlib.suppress(Exception):  # nothing depends on it, and the data is already with the caller
                environment.close()
        self.environments.clear()


def little_endian(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype as it travels."""
    return dtype.newbyteorder("<")


def read_exactly(stream: BinaryIO, count: int) -> bytes:
    """Read ``count`` bytes or raise EOFError: half a message means that the other side is gone."""
    data = stream.read(count)
    if len(data) < count:
        raise EOFError
    return data


def serve(requests: BinaryIO, replies: BinaryIO) -> None:
    """Answer requests until the pipe ends."""
    config = json.loads(read_exactly(requests, LENGTH.unpack(read_exactly(requests, LENGTH.size))[0]))
    try:
        group = EnvironmentGroup(config["environment_id"], config["kwargs"], config["slots"])
        description = json.dumps(group.description).encode()
        replies.write(DONE + LENGTH.pack(len(description)) + description)
        replies.flush()
        while header := requests.read(REQUEST.size):
            if len(header) < REQUEST.size:
                raise EOFError
            operation, count = REQUEST.unpack(header)
            slots = np.frombuffer(read_exactly(requests, 8 * count), "<i8").tolist()
            if operation == b"R":
                seeds = np.frombuffer(read_exactly(requests, 8 * count), "<i8").tolist()
                columns: tuple[np.ndarray[Any, Any], ...] = (group.reset(slots, seeds),)
            else:
                shape = (count, *group.action_shape)
                size = int(np.prod(shape)) * group.action_dtype.itemsize
                # Copied, because some environments clip the action that they are given in place.
                actions = np.frombuffer(read_exactly(requests, size), little_endian(group.action_dtype)).reshape(shape)
                columns = group.step(slots, actions.astype(group.action_dtype))
            replies.write(DONE + b"".join(column.astype(little_endian(column.dtype)).tobytes() for column in columns))
            replies.flush()
        group.close()
    except SlotError as error:
        message = json.dumps({"slot": error.slot, "doing": error.doing, "cause": error.cause}).encode()
        replies.write(FAILED + LENGTH.pack(len(message)) + message)
        replies.flush()


def main() -> None:
    """Serve the process that started this one, until it closes the pipe or dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the pool decides when to end
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb")
    # Whatever an environment prints, from Python or from C, must not end up between two messages.
    os.dup2(2, 1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    try:
        serve(requests, replies)
    except (EOFError, BrokenPipeError):  # the pool's process is gone: nobody is left to tell
        os._exit(0)
    sys.stderr.flush()
    os._exit(0)  # a library's exit handlers may hang; the environments are closed


if __name__ == "__main__":
    main()
