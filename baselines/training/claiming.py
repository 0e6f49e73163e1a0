"""Populations one after the other, as they become this process's; what another process trains is waited for.

Two processes may be given the same jobs in the same folder of runs, on one machine or on several. Each population is
trained by the one that takes all of its runs first. The other goes on with the next population, and at the end waits: for
finished runs, or for a lease to lapse, after which it resumes from the checkpoints. See `assay.baselines.runs.lease`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from assay.baselines.runs.lease import Lease, Owner, take
from assay.baselines.training.work import Work, WorkGroup, resume_from_checkpoints

__all__ = ["Claim", "claim_populations"]

_SHORTEST_WAIT, _LONGEST_WAIT = 0.05, 2.0  # seconds between looks at what others do


@dataclass(frozen=True)
class Claim:
    """A population that is this process's while it is worked on.

    Parameters
    ----------
    group : WorkGroup
        With its checkpoints taken up.
    lease : Lease
    number, total : int
        Of the population, as far as is known.
    """

    group: WorkGroup
    lease: Lease
    number: int
    total: int


def claim_populations(
    work: Sequence[Work],
    form: Callable[[Sequence[Work]], list[WorkGroup]],
    waiting: Callable[[WorkGroup, Owner, int, int], None],
) -> Generator[Claim, None, None]:
    """Yield every population that is not finished, once all of its runs are this process's; they are until the next one.

    Close the iterator where it is left early.

    Parameters
    ----------
    work : sequence of Work
        Looked up.
    form : callable
        Makes populations of what is not finished.
    waiting : callable
        Called now and then with a population, the process that has runs of it, and its number and the total.
    """
    ended: set[Path] = set()  # what this process or another one has tried by now, whatever came of it
    number = 0
    while open_ := [item for item in work if not item.finished and item.folder not in ended]:
        groups = form(open_)
        total = number + len(groups)
        pause = _SHORTEST_WAIT
        while groups:
            owners: dict[int, Owner] = {}
            for place, group in enumerate(groups):
                found = take([item.folder for item in group.members])
                if isinstance(found, Owner):
                    owners[place] = found
                    continue
                with found:
                    if _changed(group, ended):
                        break
                    resume_from_checkpoints(group)
                    yield Claim(group, found, number, total)
                    if not found.holds:
                        break
                ended |= {item.folder for item in group.members}
                number += 1
            else:
                groups = [groups[place] for place in owners]
                if groups:
                    waiting(groups[0], next(iter(owners.values())), number, total)
                    time.sleep(pause)
                    pause = min(2 * pause, _LONGEST_WAIT)
                continue
            for item in open_:
                if item.folder not in ended:
                    _changed(WorkGroup([item]), ended)
            break


def _changed(group: WorkGroup, ended: set[Path]) -> bool:
    """Look a population up again, and tell whether another process has begun, ended or failed any of it."""
    changed = [item for item in group.members if item.changed()]
    ended |= {item.folder for item in changed if item.seen and item.run.status == "failed"}
    return bool(changed)
