"""How episodes end where the one who has the data does not say it in full.

::

    given                          flags of the last step of an episode
    both flags                     as they are
    one flag, or none              where no flag is set, what `ends` says: truncated, or terminated
    observations of T rows         the final observation is not known: the last row again, and `final_observation` False

A learner does not bootstrap from a terminated step, and not across an unknown final observation; nothing is made up for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from assay.datasets.column_checks import FLAGS, as_array, is_under
from assay.datasets.errors import ConfigError, DatasetError

__all__ = ["Ends", "check_ends", "steps_of_episode", "with_ended_episodes", "with_final_rows"]

Ends = Literal["truncated", "terminated"]


def check_ends(ends: str) -> None:
    """Raise ConfigError where `ends` is neither of the two."""
    if ends not in ("truncated", "terminated"):
        raise ConfigError(f"ends={ends!r}: an episode ends truncated or terminated")


def with_ended_episodes(
    columns: Mapping[str, np.ndarray], lengths: np.ndarray | None, ends: str
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return the columns with both flags, and the length of every episode.

    Parameters
    ----------
    columns : mapping of str to array
        With both flags, one of them, or none; flat booleans.
    lengths : (E,) integers, optional
        Needed without flags.
    ends : "truncated" or "terminated"
        What the end of an episode means that no flag says, where not both are given.

    Raises
    ------
    DatasetError
        If nothing says where episodes end, or the flags are of other lengths than the steps, or than each other.

    Examples
    --------
    >>> columns, lengths = with_ended_episodes({"terminations": np.array([False, True, False])}, None, "truncated")
    >>> lengths.tolist(), columns["truncations"].tolist()
    ([2, 1], [False, False, True])
    """
    check_ends(ends)
    given = [name for name in FLAGS if name in columns]
    if not given and lengths is None:
        raise DatasetError(
            "nothing says where episodes end: pass episode_lengths (a list with the number of all steps, where it is one "
            "episode), or terminations and truncations"
        )
    steps = int(lengths.sum()) if lengths is not None else len(columns[given[0]])
    flags = {name: columns.get(name, np.zeros(steps, bool)) for name in FLAGS}
    for name in given:
        if len(flags[name]) != steps and lengths is not None:
            raise DatasetError(f"{name} has {len(flags[name])} flags, and the episodes have {steps} steps")
    if flags["terminations"].shape != flags["truncations"].shape:
        shapes = " and ".join(f"{name} {flags[name].shape}" for name in FLAGS)
        raise DatasetError(f"{shapes} must be flat and equal")
    ended = flags["terminations"] | flags["truncations"]
    if lengths is None:
        borders = np.flatnonzero(ended)
        if steps and (not len(borders) or borders[-1] != steps - 1):
            if len(given) == len(FLAGS):
                raise DatasetError(
                    f"the last step ({steps - 1}) has neither a termination nor a truncation; "
                    "set its truncation flag, or pass episode_lengths"
                )
            borders = np.append(borders, steps - 1)
        lengths = np.diff(borders, prepend=-1)
    if len(given) < len(FLAGS):
        lasts = np.cumsum(lengths) - 1
        name = "truncations" if ends == "truncated" else "terminations"
        flags[name] = flags[name].copy()
        flags[name][lasts[~ended[lasts]]] = True
    return {**columns, **flags}, lengths


def steps_of_episode(arrays: Mapping[str, np.ndarray]) -> int:
    """Return how many steps an episode has: as many as flags, actions, rewards or others; else one fewer than observations."""
    names = [*FLAGS, *sorted(arrays)]
    counted = [
        name for name in names if name in arrays and not is_under(name, "observations") and not is_under(name, "infos")
    ]
    for name in counted:
        return len(as_array(name, arrays[name]).reshape(-1)) if name in FLAGS else len(np.atleast_1d(arrays[name]))
    return max(0, max((len(np.atleast_1d(array)) for array in arrays.values()), default=0) - 1)


def with_final_rows(episodes: Sequence[dict[str, np.ndarray]], lengths: Sequence[int]) -> np.ndarray:
    """Repeat the last observation of episodes whose final one is not there, and return which have it, (E,) bool."""
    known = np.ones(len(episodes), bool)
    for number, (arrays, length) in enumerate(zip(episodes, lengths, strict=True)):
        observed = [name for name in arrays if is_under(name, "observations")]
        if length and observed and all(arrays[name].ndim and len(arrays[name]) == length for name in observed):
            known[number] = False
            for name in observed:
                arrays[name] = np.concatenate([arrays[name], arrays[name][-1:]])
    return known
