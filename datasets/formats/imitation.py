"""Demonstrations of the library imitation, in its .npz form: trajectories with their final observations.

::

    obs         s0 s1 s2 s3 | s0 s1 s2      (N+E, ...) one row more than steps in every trajectory
    acts        a0 a1 a2    | a0 a1         (N, ...)
    rews        r0 r1 r2    | r0 r1         (N,), not in demonstrations without rewards
    indices     3                           (E-1,) first step of every trajectory but the first
    terminal    1             0             (E,) whether the trajectory runs to the end of its episode
    infos                                   (N,) pickled dictionaries: never opened

`terminal` does not tell a termination from a time limit: imitation sets it in Pendulum-v1, which never terminates. It
is read as a termination unless `horizon` gives the limit of the environment: a trajectory of that many steps was
truncated. A trajectory that is not terminal is a fragment of an episode: its last step is truncated.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from assay.datasets.dataset import Dataset
from assay.datasets.errors import AssayWarning, ConfigError, DatasetError
from assay.datasets.formats.containers.npz import npz_names, open_npz
from assay.datasets.formats.rows import episode_lengths_from_ends, flags, flat, naming
from assay.datasets.info import DatasetInfo

__all__ = ["read", "sniff"]

TITLE = "imitation demonstrations"
LAYOUT = "file .npz"
ORDER = 120
CANNOT_HOLD = "whether a termination was a time limit, nested observations or actions, other columns"

NEEDED = {"obs", "acts", "terminal", "indices"}


def sniff(path: Path) -> bool:
    """Tell whether `path` is an archive with imitation's arrays."""
    names = npz_names(path)
    return names >= NEEDED and names.isdisjoint({"actions", "action"})


def read(path: Path, *, horizon: int | None = None) -> Dataset:
    """Read demonstrations of imitation.

    Parameters
    ----------
    path : Path
    horizon : int, optional
        Steps after which the environment stops by itself: a terminal trajectory of that length counts as truncated.

    Returns
    -------
    Dataset
        Arrays that are not read (`infos`) are listed in `info.extra["not_read"]`.

    Warns
    -----
    AssayWarning
        If the demonstrations have no rewards; they are missing then.

    Raises
    ------
    FormatError
        If the file is damaged or an array is missing; with both.
    DatasetError
        If the arrays do not fit together.
    ConfigError
        If `horizon` is less than 1.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "rollouts.npz")
    >>> np.savez(
    ...     path, obs=np.arange(7.0), acts=np.zeros(5), rews=np.ones(5), indices=np.array([3]),
    ...     terminal=np.array([True, False]))
    >>> dataset = read(path)
    >>> dataset.episode_lengths.tolist(), dataset.terminations.tolist(), dataset.truncations.tolist()
    ([3, 2], [False, False, True, False, False], [False, False, False, False, True])
    """
    if horizon is not None and horizon < 1:
        raise ConfigError(f"horizon is {horizon}; at least 1 step belongs there")
    with open_npz(path) as file, naming(path):
        actions = file.read("acts")
        steps = len(actions) if actions.ndim else 0
        if not steps:
            raise DatasetError("array acts holds no steps")
        splits = file.read("indices")
        ends = np.append(splits.astype(np.int64), steps) if splits.ndim == 1 and splits.dtype.kind in "iu" else splits
        lengths = episode_lengths_from_ends(ends if splits.size else np.array([steps]), steps, "array indices")
        terminal = flags(file.read("terminal"), "array terminal")
        if len(terminal) != len(lengths):
            raise DatasetError(
                f"array terminal has {len(terminal)} entries, but indices says {len(lengths)} trajectories"
            )
        if "rews" in file.names:
            rewards = {"rewards": flat(file.read("rews"), "array rews")}
        else:
            rewards = {}
            warnings.warn(f"{path} has no rewards (rews); they are missing", AssayWarning, stacklevel=3)
        lasts = np.cumsum(lengths) - 1
        terminated = terminal if horizon is None else terminal & (lengths < horizon)
        terminations, truncations = np.zeros(steps, bool), np.zeros(steps, bool)
        terminations[lasts], truncations[lasts] = terminated, ~terminated
        left = [name for name in file.names if name not in {*NEEDED, "rews"}]
        return Dataset(
            {
                "observations": file.read("obs"),
                "actions": actions,
                **rewards,
                "terminations": terminations,
                "truncations": truncations,
            },
            lengths,
            info=DatasetInfo(id=path.stem, source=f"{TITLE} {path.name}", extra={"not_read": left} if left else {}),
        )
