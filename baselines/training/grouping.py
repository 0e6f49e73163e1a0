"""Which jobs train together: populations formed by likeness, size and memory, and formed again as they were.

Jobs that can share a program are split into populations of at most so many members, so that each with its datasets
fits into memory. What was begun is taken up in the same company: a member's numbers depend on it in the last digits, and a
resumed training is to end as an undisturbed one would have.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

__all__ = ["GroupCandidate", "GroupOfJobs", "even_share", "form_groups"]


@dataclass(frozen=True)
class GroupCandidate:
    """A job as far as grouping is concerned.

    Parameters
    ----------
    kind : hashable
        Jobs of one kind can share a population.
    data : hashable
        Jobs of the same data share it in memory.
    data_bytes : int
    company : str or None
        Name of the population in which it began; None for a new job.
    """

    kind: Hashable
    data: Hashable
    data_bytes: int
    company: str | None = None


@dataclass(frozen=True)
class GroupOfJobs:
    """Indices of the candidates that train together, and whether their data has to stay on the host."""

    members: tuple[int, ...]
    streaming: bool = False


def even_share(jobs: int, largest: int, processes: int) -> int:
    """Return how many of some jobs to train together, so that as many populations as processes have equal work.

    Parameters
    ----------
    jobs : int
        Of one kind.
    largest : int
        Most members of a population.
    processes : int
        That train at the same time.

    Examples
    --------
    >>> even_share(90, largest=64, processes=1), even_share(90, largest=64, processes=2), even_share(90, largest=20, processes=2)
    (64, 45, 15)
    """
    if processes == 1:
        return largest
    populations = min(jobs, processes * math.ceil(jobs / (largest * processes)))
    return math.ceil(jobs / populations)


def form_groups(
    candidates: Sequence[GroupCandidate],
    largest: Callable[[Hashable], int],
    member_bytes: Callable[[Hashable], int],
    memory: int,
) -> list[GroupOfJobs]:
    """Form populations.

    Parameters
    ----------
    candidates : sequence of GroupCandidate
    largest : callable
        Kind -> most members of a population that is not begun.
    member_bytes : callable
        Kind -> what a member takes besides its data.
    memory : int
        Bytes that a population may take.

    Returns
    -------
    list of GroupOfJobs
        Every candidate in exactly one, in the order of its first member.

    Examples
    --------
    >>> jobs = [GroupCandidate("IQL", "clean", 60), GroupCandidate("BC", "clean", 60), GroupCandidate("IQL", "noisy", 60)]
    >>> form_groups(jobs, lambda kind: 64, lambda kind: 1, memory=1_000)
    [GroupOfJobs(members=(0, 2), streaming=False), GroupOfJobs(members=(1,), streaming=False)]
    >>> form_groups(jobs, lambda kind: 64, lambda kind: 1, memory=100)
    [GroupOfJobs(members=(0,), streaming=False), GroupOfJobs(members=(1,), streaming=False), GroupOfJobs(members=(2,), streaming=False)]
    """
    together: dict[Hashable, list[int]] = {}
    for index, item in enumerate(candidates):
        together.setdefault((item.kind, item.company), []).append(index)
    groups = []
    for indices in together.values():
        first = candidates[indices[0]]
        most = largest(first.kind) if first.company is None else len(indices)
        groups += _split(indices, candidates, most, member_bytes(first.kind), memory)
    return sorted(groups, key=lambda group: group.members)


def _split(
    indices: Sequence[int], candidates: Sequence[GroupCandidate], largest: int, member_bytes: int, memory: int
) -> list[GroupOfJobs]:
    """Fill one population after the other."""
    groups: list[GroupOfJobs] = []
    members: list[int] = []
    data: dict[Hashable, int] = {}

    def close() -> None:
        if members:
            groups.append(GroupOfJobs(tuple(members)))
        members.clear()
        data.clear()

    streamed: list[int] = []
    for index in indices:
        item = candidates[index]
        if item.data_bytes + member_bytes > memory:
            streamed.append(index)
            continue
        added = 0 if item.data in data else item.data_bytes
        if len(members) == largest or sum(data.values()) + added + (len(members) + 1) * member_bytes > memory:
            close()
        members.append(index)
        data[item.data] = item.data_bytes
    close()
    at_a_time = max(1, min(largest, memory // max(member_bytes, 1)))
    groups += [
        GroupOfJobs(tuple(streamed[i : i + at_a_time]), streaming=True) for i in range(0, len(streamed), at_a_time)
    ]
    return groups
