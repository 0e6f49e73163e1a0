"""D4RL's HDF5 files (Fu et al. 2020, arXiv 2004.07219): read as they mean, or as the published loader reads them.

The layout is drawn in `flat_hdf5`. Three generations exist: v0 has neither `timeouts` nor `next_observations`, later
ones have timeouts, the MuJoCo files of v1 and v2 have both. Read as they mean, the observation after a step is the
stored one, or the following row of the same episode; where an episode ends without a stored one, what followed was
never recorded, and no transition is made of it.

`style="d4rl"` gives what `d4rl.qlearning_dataset` gives, for comparison with numbers that were made with it. It

- takes the following row as next observation, even across the border of an episode, and never the stored ones;
- leaves out every step with a timeout (or keeps it, with `terminate_on_end`, next to the first observation of the
  following episode), so returns miss a reward per timed-out episode;
- leaves out the last row of the file;
- without timeouts counts steps to `horizon`, and counts one too many in the episode after a terminal;
- casts everything to float32.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np

from assay.datasets.dataset import Dataset
from assay.datasets.errors import AssayWarning, ConfigError
from assay.datasets.formats.containers.hdf5 import members, open_hdf5
from assay.datasets.formats.flat_hdf5 import Flat, read_flat, write_flat
from assay.datasets.formats.rows import dataset_from_rows

__all__ = ["read", "sniff", "write"]

TITLE = "D4RL"
LAYOUT = "file .hdf5"
ORDER = 80
CANNOT_HOLD = (
    "datasets without actions or rewards (an error), "
    "labels that are missing in part (missing/..., dropped by name only), "
    "nested observations and actions (an error), episodes that the flags do not tell apart (an error), final "
    "observations known for some episodes only (an error), weights, costs, corrupted/... and other columns that "
    "methods may learn from (dropped by name only), episode columns, the final row of infos of N+E rows, infos of "
    "text, foreign byte order"
)

NEEDED = {"observations", "actions", "rewards", "terminals"}


def sniff(path: Path) -> bool:
    """Tell whether `path` is a flat HDF5 file with D4RL's names, and neither costs nor d3rlpy's."""
    found = members(path)
    others = {"costs", "episode_terminals", "discrete_action"}
    return found >= NEEDED and not found & others


def read(
    path: Path,
    *,
    style: Literal["assay", "d4rl"] = "assay",
    horizon: int | None = None,
    terminate_on_end: bool = False,
) -> Dataset:
    """Read a D4RL file.

    Parameters
    ----------
    path : Path
    style : {"assay", "d4rl"}
        `"d4rl"` reproduces `d4rl.qlearning_dataset`: `transitions()` are its arrays, in its order. Where it left a
        step out, an episode ends without a flag.
    horizon : int, optional
        For files without timeouts (v0): steps after which the environment cut episodes. Default: episodes end at
        terminals only, with a warning.
    terminate_on_end : bool
        That of `qlearning_dataset`; only with `style="d4rl"`. Steps with a timeout are then truncations.

    Returns
    -------
    Dataset
        `infos/...` are columns; texts, numbers and small arrays under `metadata` are in `info.extra["metadata"]`.

    Warns
    -----
    AssayWarning
        About arrays that are not read (weights of the policy that acted), and files without timeouts.

    Raises
    ------
    FormatError, DatasetError
        If the file is damaged, or its arrays do not fit together; with file and array.
    ConfigError
        If the options do not fit the file.

    Examples
    --------
    >>> import tempfile
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(5.0), actions=np.zeros(3), rewards=[1.0, 1.0, 4.0],
    ...     terminations=[False, True, False], truncations=[False, False, True])
    >>> path = Path(tempfile.mkdtemp(), "example.hdf5")
    >>> write(dataset, path)
    >>> read(path) == dataset
    True
    >>> read(path, style="d4rl").transitions().next_observations.tolist()  # the second one is of another episode
    [1.0, 3.0]
    """
    if style not in ("assay", "d4rl"):
        raise ConfigError(f'style is "assay" or "d4rl", not {style!r}')
    if terminate_on_end and style != "d4rl":
        raise ConfigError('terminate_on_end is an option of style="d4rl" only')
    if horizon is not None and horizon < 1:
        raise ConfigError(f"horizon is {horizon}; at least 1 step belongs there")
    with open_hdf5(path) as file:
        has_timeouts = "timeouts" in file.datasets
        if horizon is not None and has_timeouts:
            raise ConfigError(f"{path} has timeouts, which say where episodes were cut; leave horizon out")
        flat = read_flat(file, needed=(), optional=("timeouts", "next_observations"), source=f"D4RL file {path.name}")
        if style == "d4rl":
            if horizon is None and not has_timeouts:
                raise ConfigError(f"{path} has no timeouts; style='d4rl' needs the environment's horizon, such as 1000")
            return _as_published(flat, None if has_timeouts else horizon, terminate_on_end)
        if not has_timeouts:
            if horizon is None:
                warnings.warn(
                    f"{path} has no timeouts: episodes end at terminals only, and may run into one another; "
                    "pass horizon=<steps after which the environment cuts an episode>",
                    AssayWarning,
                    stacklevel=2,
                )
            else:
                flat.rows["truncations"] = _truncations(flat.rows["terminations"], horizon)
        return flat.dataset()


def write(dataset: Dataset, path: Path, *, overwrite: bool = False) -> None:
    """Write a dataset as a D4RL file with timeouts and next observations, gzip-compressed as those are.

    Where no final observation of the dataset was recorded, the file has no next observations, as v1 of AntMaze.

    Parameters
    ----------
    dataset : Dataset
    path : Path
    overwrite : bool

    Warns
    -----
    AssayWarning
        Once, naming what is left out.

    Raises
    ------
    DatasetError
        If observations or actions are nested, episodes are not told apart by their flags, or some final observations
        are unknown.
    """
    write_flat(dataset, path, overwrite=overwrite, name="D4RL", columns={}, next_needed=False)


def _truncations(terminations: np.ndarray, horizon: int) -> np.ndarray:
    """Return flags that truncate an episode every `horizon` steps, except where it terminates."""
    result = np.zeros(len(terminations), bool)
    start = 0
    for end in [*(np.flatnonzero(terminations) + 1).tolist(), len(terminations)]:
        result[start + horizon - 1 : end : horizon] = True
        start = end
    result &= ~terminations
    return result


def _as_published(flat: Flat, horizon: int | None, terminate_on_end: bool) -> Dataset:
    """Return what `qlearning_dataset` returns, as a dataset."""
    rows = flat.rows
    terminals = rows["terminations"]
    finals = rows["truncations"] if horizon is None else _published_count(terminals, horizon, terminate_on_end)
    kept = np.ones(len(terminals), bool) if terminate_on_end else ~finals
    kept[-1:] = False
    episodes = np.cumsum(terminals | finals) - (terminals | finals)  # a step belongs to the episode that it ends
    lengths = np.bincount(episodes[kept]) if kept.any() else np.zeros(0, np.int64)
    following = np.flatnonzero(kept) + 1
    columns: dict[str, Any] = {
        name: rows[name][kept].astype(np.float32) for name in ("observations", "actions", "rewards")
    }
    columns["next_observations"] = rows["observations"][following].astype(np.float32)
    columns["terminations"] = terminals[kept]
    columns["truncations"] = finals[kept]
    columns |= {name: array[kept] for name, array in rows.items() if name.startswith("infos/")}
    return dataset_from_rows(columns, lengths=lengths[lengths > 0], info=flat.info)


def _published_count(terminals: np.ndarray, horizon: int, terminate_on_end: bool) -> np.ndarray:
    """Return the steps at which `qlearning_dataset` ends an episode, with its own way of counting."""
    result = np.zeros(len(terminals), bool)
    count = 0
    for row, terminal in enumerate(terminals.tolist()):
        final = count == horizon - 1
        result[row] = final
        if final and not terminate_on_end:
            count = 0
            continue
        if terminal or final:
            count = 0
        count += 1  # so the episode after a terminal begins at 1
    return result
