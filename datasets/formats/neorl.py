"""NeoRL and NeoRL-2: one .npz archive, or one Parquet table, with a row per step and what followed it.

::

    obs, next_obs     (N, ...)
    action            (N, ...)
    reward            (N,) or (N, 1)
    done              (N,) or (N, 1), as floating point numbers 0 and 1
    truncated         (N,), likewise: NeoRL-2 (arXiv 2503.19267)
    index             (E,) the row after each trajectory's last: NeoRL (Qin et al. 2022, arXiv 2102.00714)

`done` is a termination. In NeoRL nothing marks a truncation, but `index` says where a trajectory stops: one that stops
without `done` was truncated there. NeoRL's own loader puts a 0 in front of `index`; the file has none.

NeoRL-2 is published as Parquet, too: the columns have the same names, and `obs`, `next_obs` and `action` hold lists.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from assay.datasets.dataset import Dataset
from assay.datasets.errors import AssayWarning
from assay.datasets.formats.containers.npz import npz_names, open_npz
from assay.datasets.formats.containers.parquet import open_parquet, parquet_names
from assay.datasets.formats.rows import dataset_from_rows, episode_lengths_from_ends, flags, flat, naming
from assay.datasets.info import DatasetInfo

__all__ = ["read", "sniff"]

TITLE = "NeoRL and NeoRL-2"
LAYOUT = "file .npz or .parquet"
ORDER = 100
CANNOT_HOLD = "nested observations or actions, infos, weights, costs and other columns, info and history"

NEEDED = {"obs", "next_obs", "action", "reward", "done"}


def sniff(path: Path) -> bool:
    """Tell whether `path` is an archive or a table with NeoRL's arrays."""
    names = npz_names(path) or parquet_names(path)
    return names >= NEEDED and names.isdisjoint({"acts", "actions"})


def read(path: Path) -> Dataset:
    """Read a file of NeoRL or NeoRL-2.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Dataset
        With the id that the file's name is, such as `"DMSD-high-20000-val"`. Arrays that are not of the format are
        listed in `info.extra["not_read"]`.

    Warns
    -----
    AssayWarning
        If the file has neither `truncated` nor `index`, so that only `done` ends episodes.

    Raises
    ------
    FormatError
        If the file is damaged or an array is missing; with both.
    DatasetError
        If the arrays do not fit together.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "DMSD-high-2-val.npz")
    >>> np.savez(
    ...     path, obs=np.array([[0.0], [1.0]]), next_obs=np.array([[1.0], [2.0]]), action=np.zeros((2, 1)),
    ...     reward=np.ones(2), done=np.zeros(2), truncated=np.array([0.0, 1.0]))
    >>> dataset = read(path)
    >>> dataset.info.id, dataset.truncations.tolist(), dataset.observations.ravel().tolist()
    ('DMSD-high-2-val', [False, True], [0.0, 1.0, 2.0])
    """
    with _open(path) as (names, array), naming(path):
        terminations = flags(array("done"), "array done")
        lengths, truncations = None, np.zeros(len(terminations), bool)
        if "index" in names:
            lengths = episode_lengths_from_ends(array("index"), len(terminations), "array index")
        if "truncated" in names:
            truncations = flags(array("truncated"), "array truncated")
        elif lengths is not None:
            truncations[np.cumsum(lengths) - 1] = True
            truncations &= ~terminations
        else:
            warnings.warn(
                f"{path} has neither truncated nor index: only done ends episodes", AssayWarning, stacklevel=3
            )
        known = {*NEEDED, "truncated", "index"}
        left = [name for name in names if name not in known]
        return dataset_from_rows(
            {
                "observations": array("obs"),
                "next_observations": array("next_obs"),
                "actions": array("action"),
                "rewards": flat(array("reward"), "array reward"),
                "terminations": terminations,
                "truncations": truncations,
            },
            lengths=lengths,
            info=DatasetInfo(
                id=path.stem, source=f"{TITLE} file {path.name}", extra={"not_read": left} if left else {}
            ),
        )


@contextmanager
def _open(path: Path) -> Iterator[tuple[Collection[str], Callable[[str], np.ndarray]]]:
    """Open an archive or a table: the names of its arrays, and what reads one."""
    if parquet_names(path):
        with open_parquet(path) as table:
            yield tuple(table.types), table.rows_of
    else:
        with open_npz(path) as archive:
            yield archive.names, archive.read
