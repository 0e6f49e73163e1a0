"""One process that steps environments for `EnvironmentPool`, and the protocol the two speak.

The worker is started as ``python -m assay.datasets.environments.worker``, so it needs neither pickle nor a main guard and
works from notebooks, scripts and beside torch threads alike. Numbers pass through shared memory (`SlotColumns`), which the
worker inherits as an open file without a name; its standard input and output say when they are ready::

    start    pool -> worker    u32 length, JSON {environment_id, kwargs, wrappers, slots, environments, memory, code, imports}
             worker -> pool    u8 0, u32 length, JSON {observation_space, action_space, spec_json, evaluation_goals}
    reset    pool -> worker    b"R", u32 n, i64[n] slots     reads seeds and goals, writes observations
             worker -> pool    u8 0
    step     pool -> worker    b"S", u32 n, i64[n] slots     reads actions, writes the five outcomes
             worker -> pool    u8 0
    failure  worker -> pool    u8 1, u32 length, JSON {slot, doing, cause}; the worker then ends
    end      pool closes the pipe; the worker ends, also when the pool's process was killed
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import math
import mmap
import os
import re
import struct
import sys
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np

from assay.datasets.environments.code_on_disk import mark_of_code
from assay.datasets.environments.record import family_of
from assay.datasets.errors import ConfigError
from assay.datasets.registry import import_file
from assay.datasets.renamed import former_names
from assay.datasets.spaces import space_from_gymnasium, space_to_json

__all__ = ["EnvironmentGroup", "SlotColumns", "SlotError", "main", "row_layout"]

LENGTH = struct.Struct("<I")
REQUEST = struct.Struct("<cI")
DONE, FAILED = b"\0", b"\1"
GOALS, GOAL = (
    "evaluation_goals",
    "goal",
)  # an attribute of environments with goals, and an option of their resets (`goals`)
NO_GOAL = -1


class SlotError(Exception):
    """What an environment raised, with the slot it happened in; the pool turns it into a CollectionError."""

    def __init__(self, slot: int, doing: str, cause: str) -> None:
        super().__init__(cause)
        self.slot, self.doing, self.cause = slot, doing, cause


def register_environments_of(environment_id: str, imports: Sequence[str] = ()) -> None:
    """Import what registers an environment; Gymnasium itself does so only for its own and for ``module:id``.

    The user's own files are imported only for an id that nothing else has registered: most of them define algorithms, and
    would bring torch into every worker. What a package prints about other environments of its own when it is imported is left out.
    """
    import gymnasium

    if environment_id.startswith("assay/"):
        import assay.datasets.environments.tasks  # noqa: F401  (importing registers them)
    family = family_of(environment_id)
    if family is not None:
        said = io.StringIO()
        try:
            with contextlib.redirect_stderr(said):
                importlib.import_module(family.module)
        except ModuleNotFoundError as error:
            raise ConfigError(f"{family.module} is not installed: pip install 'assay[{family.extra}]'") from error
        finally:
            sys.stderr.write(
                "".join(line for line in said.getvalue().splitlines(True) if concerns(environment_id, line))
            )
    if environment_id not in gymnasium.registry:
        for file in imports:
            import_file(file)


def concerns(environment_id: str, line: str) -> bool:
    """Tell whether a line is not about other environments alone.

    Examples
    --------
    >>> concerns("FetchReach-v4", "use FetchPush-v4"), concerns("FetchReach-v4", "this needs MuJoCo 3")
    (False, True)
    """
    named = re.findall(r"[\w/]+-v\d+", line)
    return environment_id in named or not named


def wrapper_named(name: str) -> Any:
    """Return a class of ``gymnasium.wrappers``; anything else is an error."""
    import gymnasium

    found = getattr(gymnasium.wrappers, name, None)
    if not (isinstance(found, type) and issubclass(found, gymnasium.Wrapper)):
        raise ConfigError(f"gymnasium.wrappers has no wrapper {name}")
    return found


def describe_space(space: Any, role: str, slot: int) -> str:
    """Return a space as JSON: Box and Discrete, and for observations Dict and Tuple of them; others are an error."""
    kinds = {type(part).__name__ for part in parts_of(space)} if role == "observation" else {type(space).__name__}
    if not kinds <= {"Box", "Discrete"}:
        also = ", and Dict and Tuple of them" if role == "observation" else ""
        cause = f"{role} space {space} cannot be collected: only Box and Discrete can{also} (flatten it first)"
        raise SlotError(slot, "made", cause)
    return space_to_json(space_from_gymnasium(space))


def parts_of(space: Any) -> list[Any]:
    """Return the spaces that a Dict or Tuple is made of, or the space itself."""
    kind = type(space).__name__
    children = space.spaces.values() if kind == "Dict" else space.spaces if kind == "Tuple" else None
    return [space] if children is None else [part for child in children for part in parts_of(child)]


def row_layout(space: Any) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Return the dtype and shape of one row: those of a Box or Discrete, a record of its parts for a Dict or Tuple.

    Examples
    --------
    >>> from gymnasium.spaces import Box, Dict
    >>> row_layout(Dict(goal=Box(0, 1, (2,)), here=Box(0, 1, (3,), np.float64)))
    (dtype([('goal', '<f4', (2,)), ('here', '<f8', (3,))]), ())
    """
    kind = type(space).__name__
    if kind not in ("Dict", "Tuple"):
        return np.dtype(space.dtype), tuple(space.shape)
    names = list(space.spaces) if kind == "Dict" else [f"_index_{i}" for i in range(len(space.spaces))]
    children = list(space.spaces.values()) if kind == "Dict" else list(space.spaces)
    return np.dtype([(name, *row_layout(child)) for name, child in zip(names, children)]), ()


def as_row(observation: Any, space: Any) -> Any:
    """Return an observation as it is assigned to a row of `row_layout`."""
    kind = type(space).__name__
    if kind == "Dict":
        return tuple(as_row(observation[name], child) for name, child in space.spaces.items())
    if kind == "Tuple":
        return tuple(as_row(each, child) for each, child in zip(observation, space.spaces))
    return observation


class SlotColumns:
    """What a pool and its workers give each other, one row for each slot.

    ::

        seeds, goals [E]      actions [E, ...]                                written by the pool
        observations [E, ...]      rewards, terminations, truncations, costs [E]     written by the slot's worker

    A cost is ``info["cost"]`` of the step; NaN where the environment says none.

    Parameters
    ----------
    environments
        E, the slots of the whole pool.
    observation, action
        dtype and shape of one row.
    memory
        Descriptor of the file that holds the columns; it is made large enough. None keeps them in this process.
    """

    def __init__(
        self,
        environments: int,
        observation: tuple[np.dtype[Any], tuple[int, ...]],
        action: tuple[np.dtype[Any], tuple[int, ...]],
        memory: int | None = None,
    ) -> None:
        kinds: list[tuple[np.dtype[Any], tuple[int, ...]]] = [
            (np.dtype(np.int64), ()),
            (np.dtype(np.int64), ()),
            action,
            observation,
            (np.dtype(np.float64), ()),
            (np.dtype(bool), ()),
            (np.dtype(bool), ()),
            (np.dtype(np.float64), ()),
        ]
        sizes = [environments * math.prod(shape) * dtype.itemsize for dtype, shape in kinds]
        # Workers write beside each other: every column begins on a cache line of its own.
        starts = np.cumsum([0, *(-(-size // 64) * 64 for size in sizes)]).tolist()
        buffer: Any = bytearray(starts[-1])
        if memory is not None:
            if os.fstat(memory).st_size < starts[-1]:
                os.ftruncate(memory, starts[-1])
            buffer = mmap.mmap(memory, starts[-1])
        arrays = [
            np.frombuffer(buffer, dtype, environments * math.prod(shape), start).reshape(environments, *shape)
            for (dtype, shape), start in zip(kinds, starts)
        ]
        self.seeds, self.goals, self.actions, self.observations, self.rewards = arrays[:5]
        self.terminations, self.truncations, self.costs = arrays[5:]


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
    wrappers
        Names of classes of ``gymnasium.wrappers`` and their keyword arguments, the innermost first.
    imports
        Files of the user's own that may register the environment.
    """

    def __init__(
        self,
        environment_id: str,
        kwargs: Mapping[str, Any],
        slots: Sequence[int],
        wrappers: Sequence[tuple[str, Mapping[str, Any]]] = (),
        imports: Sequence[str] = (),
    ) -> None:
        import gymnasium

        self.environments: dict[int, Any] = {}
        for slot in slots:
            try:
                register_environments_of(environment_id, imports)
                # The checker costs a third of the speed and warns about things no dataset depends on.
                made = gymnasium.make(environment_id, disable_env_checker=True, **kwargs)
                for name, arguments in wrappers:
                    made = wrapper_named(name)(made, **arguments)
                self.environments[slot] = made
            except Exception as error:
                raise SlotError(slot, "made", f"{type(error).__name__}: {error}") from error
        first = self.environments[slots[0]]
        self.observation_space = first.observation_space
        self.nested = type(self.observation_space).__name__ in ("Dict", "Tuple")
        try:
            spec_json = first.spec.to_json()
        except Exception:  # an entry point that is an object, not a name, has no JSON form
            spec_json = None
        self.description: dict[str, Any] = {
            "observation_space": describe_space(first.observation_space, "observation", slots[0]),
            "action_space": describe_space(first.action_space, "action", slots[0]),
            "spec_json": spec_json,
            "evaluation_goals": len(first.get_wrapper_attr(GOALS)) if first.has_wrapper_attr(GOALS) else 0,
        }
        self.discrete_actions = type(first.action_space).__name__ == "Discrete"

    def columns(self, environments: int, memory: int | None = None) -> SlotColumns:
        """Lay out the columns for a pool of so many environments like these."""
        first = next(iter(self.environments.values()))
        return SlotColumns(environments, row_layout(first.observation_space), row_layout(first.action_space), memory)

    def reset(self, columns: SlotColumns, slots: Sequence[int]) -> None:
        """Reset each slot with its seed, and towards its evaluation goal where it is given one."""
        for slot, seed, goal in zip(slots, columns.seeds[slots].tolist(), columns.goals[slots].tolist()):
            options = {} if goal == NO_GOAL else {"options": {GOAL: goal}}
            try:
                observation = self.environments[slot].reset(seed=seed, **options)[0]
                columns.observations[slot] = as_row(observation, self.observation_space) if self.nested else observation
            except Exception as error:
                raise SlotError(slot, "reset", f"{type(error).__name__}: {error}") from error

    def step(self, columns: SlotColumns, slots: Sequence[int]) -> None:
        """Step each slot once with its action."""
        # Copied, because some environments keep the action that they are given, or clip it in place.
        actions = columns.actions[slots]
        observations, rewards = columns.observations, columns.rewards
        terminations, truncations, costs = columns.terminations, columns.truncations, columns.costs
        for slot, action in zip(slots, actions.tolist() if self.discrete_actions else actions):
            try:
                observation, *outcome = self.environments[slot].step(action)
                observations[slot] = as_row(observation, self.observation_space) if self.nested else observation
                rewards[slot], terminations[slot], truncations[slot] = outcome[:3]
                costs[slot] = outcome[3].get("cost", math.nan)
            except Exception as error:
                raise SlotError(slot, "stepped", f"{type(error).__name__}: {error}") from error

    def close(self) -> None:
        """Close every environment; an environment that cannot be closed is left to the end of the process."""
        for environment in self.environments.values():
            with contextlib.suppress(Exception):  # nothing depends on it, and the data is already with the caller
                environment.close()
        self.environments.clear()


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
        if config["code"] != mark_of_code():
            raise SlotError(
                config["slots"][0],
                "start",
                "Assay was changed or upgraded since this program began, and the simulator's process would run other code than "
                "the program: start it again",
            )
        group = EnvironmentGroup(
            config["environment_id"], config["kwargs"], config["slots"], config["wrappers"], config["imports"]
        )
        description = json.dumps(group.description).encode()
        replies.write(DONE + LENGTH.pack(len(description)) + description)
        replies.flush()
        columns = None
        while header := requests.read(REQUEST.size):
            if len(header) < REQUEST.size:
                raise EOFError
            operation, count = REQUEST.unpack(header)
            slots = np.frombuffer(read_exactly(requests, 8 * count), np.int64).tolist()
            if columns is None:
                columns = group.columns(config["environments"], config["memory"])
            if operation == b"R":
                group.reset(columns, slots)
            else:
                group.step(columns, slots)
            replies.write(DONE)
            replies.flush()
        group.close()
    except SlotError as error:
        message = json.dumps({"slot": error.slot, "doing": error.doing, "cause": error.cause}).encode()
        replies.write(FAILED + LENGTH.pack(len(message)) + message)
        replies.flush()


def main() -> None:
    """Serve the process that started this one, until it closes the pipe or dies."""
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


__getattr__ = former_names(__name__, {"Columns": SlotColumns})


if __name__ == "__main__":
    main()
