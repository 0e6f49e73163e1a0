"""Stable Baselines' expert recordings (`generate_expert_traj`): one .npz archive with a row per step.

::

    obs               (N, ...)     what each step started from; the final observation was not recorded
    actions           (N, ...)
    rewards           (N,)
    episode_starts    (N,) bool    the step is the first of its episode
    episode_returns   (E,)

Nothing says how an episode ended, or whether the last one did, so no flag is set and `validate` reports it; a warning
names it here. An end that is known can be put in with `dataset.replace({"terminations": ...})`.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from assay.datasets.dataset import Dataset
from assay.datasets.errors import AssayWarning, DatasetError
from assay.datasets.formats.containers.npz import npz_names, open_npz
from assay.datasets.formats.rows import dataset_from_rows, flags, flat, naming
from assay.datasets.info import DatasetInfo

__all__ = ["read", "sniff"]

TITLE = "Stable Baselines expert recording"
LAYOUT = "file .npz"
ORDER = 110
CANNOT_HOLD = "how episodes ended, final observations, nested observations or actions, other columns"

NEEDED = {"obs", "actions", "rewards", "episode_starts"}


def sniff(path: Path) -> bool:
    """Tell whether `path` is an archive with the arrays of such a recording."""
    names = npz_names(path)
    return names >= NEEDED and names.isdisjoint({"acts", "action", "observations", "assay"})


def read(path: Path) -> Dataset:
    """Read a recording of Stable Baselines.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Dataset
        No flag is set. `episode_returns` is an episode column. Arrays that are not of the format are listed in
        `info.extra["not_read"]`.

    Warns
    -----
    AssayWarning
        That the file does not say how episodes ended; and where the stored returns are not the sums of the rewards.

    Raises
    ------
    FormatError
        If the file is damaged or an array is missing; with both.
    DatasetError
        If the arrays do not fit together.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "expert.npz")
    >>> np.savez(
    ...     path, obs=np.array([[0.0], [1.0], [7.0]]), actions=np.zeros((3, 1)), rewards=np.ones(3),
    ...     episode_starts=np.array([True, False, True]), episode_returns=np.array([2.0, 1.0]))
    >>> with warnings.catch_warnings(action="ignore"):
    ...     dataset = read(path)
    >>> dataset.episode_lengths.tolist(), dataset.observations.ravel().tolist()
    ([2, 1], [0.0, 1.0, 1.0, 7.0, 7.0])
    """
    with open_npz(path) as file, naming(path):
        rewards = flat(file.read("rewards"), "array rewards")
        is_start = flags(file.read("episode_starts"), "array episode_starts")
        if len(is_start) != len(rewards):
            raise DatasetError(f"array episode_starts has {len(is_start)} rows, but rewards has {len(rewards)}")
        starts = np.flatnonzero(is_start)
        if not len(starts) or starts[0]:
            raise DatasetError("array episode_starts: the first row starts no episode; the file is not complete")
        lengths = np.diff(starts, append=len(rewards))
        warnings.warn(
            f"{path}: the format does not say how episodes ended, so no termination or truncation is set, and has no "
            "final observations",
            AssayWarning,
            stacklevel=3,
        )
        left = [name for name in file.names if name not in {*NEEDED, "episode_returns"}]
        dataset = dataset_from_rows(
            {
                "observations": file.read("obs"),
                "actions": file.read("actions"),
                "rewards": rewards,
                "terminations": np.zeros(len(rewards), bool),
                "truncations": np.zeros(len(rewards), bool),
            },
            lengths=lengths,
            info=DatasetInfo(id=path.stem, source=f"{TITLE} {path.name}", extra={"not_read": left} if left else {}),
        )
        if "episode_returns" not in file.names:
            return dataset
        returns = flat(file.read("episode_returns"), "array episode_returns")
        return _with_returns(dataset, returns, path)


def _with_returns(dataset: Dataset, returns: np.ndarray, path: Path) -> Dataset:
    if len(returns) != dataset.total_episodes:
        raise DatasetError(
            f"array episode_returns has {len(returns)} entries, but episode_starts says {dataset.total_episodes} "
            "episodes; the file is not complete"
        )
    different = np.flatnonzero(~np.isclose(returns, dataset.returns, rtol=1e-4, atol=1e-3, equal_nan=True))
    if len(different):
        first = different[0]
        warnings.warn(
            f"{path}: episode_returns differs from the rewards in {len(different)} episodes, first in episode {first}: "
            f"{returns[first]:g} is stored, the rewards add up to {dataset.returns[first]:g}",
            AssayWarning,
            stacklevel=4,
        )
    columns = {name: dataset.column(name) for name in dataset.columns}
    extra = {**dataset.episode_columns, "episode_returns": returns}
    return Dataset(columns, dataset.episode_lengths, info=dataset.info, episode_columns=extra)
