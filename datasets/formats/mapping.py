"""From a file's own names to the dataset's, as the user gives them.

A file of arrays under names of its own choice is read by saying which array is which column, and what tells where
episodes end::

    columns          {"observations": "state", "actions": "act"}    a column that is not named is looked for as it is
    flags            terminations, truncations                      an episode ends where either is set; or one of
    episode_lengths  [3, 2]                                         steps of each episode
    episode_ends     [3, 5]                                         the row after each episode's last
    episode_starts   [0, 3], or [1, 0, 0, 1, 0]                     each episode's first row, or a flag on it

Nothing is guessed: arrays that nobody claims are named in a warning, and what is missing is named in the error, with
the option to pass. Observations of one row per step and one more per episode hold the final ones; of one row per step
they do not, and the final ones come from next observations or stay unknown (see `rows`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np

from assay.datasets.dataset import Dataset, is_under
from assay.datasets.errors import AssayWarning, ConfigError, DatasetError, FormatError
from assay.datasets.formats.rows import dataset_from_rows, episode_lengths_from_flags, flags
from assay.datasets.info import DatasetInfo
from assay.datasets.missing import LABELS

__all__ = ["COLUMNS", "Arrays", "dataset_from_mapping"]

COLUMNS = (
    *("observations", "actions", "rewards", "terminations", "truncations", "next_observations"),
    *("costs", "weights", "infos", "corrupted"),
)
"""Names that a column, or the first part of one (`infos/qpos`), may have."""

_FLAGS = ("terminations", "truncations")
_FLAT = ("rewards", *_FLAGS, "costs", "weights")  # stored as (N, 1) by some
_BLOCK_ROWS = 65_536
_STRUCTURES = ("episode_lengths", "episode_ends", "episode_starts")


class Arrays(Mapping[str, np.ndarray]):
    """The arrays of a file by name, each read when it is asked for.

    Parameters
    ----------
    names : iterable of str
    read : callable
        Told a name, returns the array.

    Examples
    --------
    >>> Arrays(["zeros"], lambda name: np.zeros(2))["zeros"].tolist()
    [0.0, 0.0]
    """

    def __init__(self, names: Iterable[str], read: Callable[[str], np.ndarray]) -> None:
        self._names = dict.fromkeys(names)
        self._read = read

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._names:
            raise KeyError(name)
        return self._read(name)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def dataset_from_mapping(
    arrays: Mapping[str, np.ndarray],
    *,
    where: object,
    columns: Mapping[str, str] | None = None,
    episode_lengths: str | None = None,
    episode_ends: str | None = None,
    episode_starts: str | None = None,
    info: DatasetInfo | None = None,
    unread: Iterable[str] = (),
) -> Dataset:
    """Make a dataset of a file's arrays.

    Parameters
    ----------
    arrays : mapping of str to array
        What the file holds, by its own names, such as `Arrays`; only what is needed is asked for, once.
    where : object
        The file, for messages.
    columns : mapping of str to str, optional
        Name of a dataset's column -> name in the file: observations, actions, rewards, terminations, truncations,
        next_observations, costs, weights, and below infos/ and corrupted/ whatever there is. A name that has others
        below it in the file (`state/pose`, `state/goal`) brings them all. Columns that are not given are taken where
        the file uses the dataset's own names.
    episode_lengths, episode_ends, episode_starts : str, optional
        Name in the file of the array that says where episodes are, at most one of the three; without, the flags do.
        Ends are exclusive; starts are row numbers, or one flag per row.
    info : DatasetInfo, optional
    unread : iterable of str, optional
        What the file holds besides, and no array can be: named in the warning.

    Returns
    -------
    Dataset
        A flag column that is nowhere is all False.

    Warns
    -----
    AssayWarning
        About arrays that are not taken, and about flags that are nowhere.

    Raises
    ------
    ConfigError
        If the options contradict themselves or name what is not there; with what the file holds.
    FormatError
        If a column is missing; with what the file holds and the option to pass.
    DatasetError
        If the arrays do not fit together.

    Examples
    --------
    >>> arrays = {"state": np.arange(5.0), "act": np.zeros(5), "rew": np.ones(5), "end": np.array([3, 5])}
    >>> columns = {"observations": "state", "actions": "act", "rewards": "rew"}
    >>> import warnings
    >>> with warnings.catch_warnings(action="ignore"):  # that nothing says which of the ends are terminations
    ...     dataset = dataset_from_mapping(arrays, where="example", columns=columns, episode_ends="end")
    >>> dataset.episode_lengths.tolist(), dataset.observations.tolist()
    ([3, 2], [0.0, 1.0, 2.0, 2.0, 3.0, 4.0, 4.0])
    """
    structures = {
        name: value
        for name, value in zip(_STRUCTURES, (episode_lengths, episode_ends, episode_starts), strict=True)
        if value is not None
    }
    if len(structures) > 1:
        raise ConfigError(f"{where}: {' and '.join(structures)} say the same thing; give one of them")
    chosen = _choose(arrays, columns or {}, structures, where)
    _check_complete(chosen, structures, arrays, where)
    result = {name: _column(arrays[source], name, f"{where}: array {source}") for name, source in chosen.items()}
    measure = _measure(result)
    steps = len(result[measure])
    missing = [name for name in _FLAGS if name not in result]
    for name in missing:
        result[name] = np.zeros(steps, bool)
    for name in _FLAGS:
        if len(result[name]) != steps:
            raise DatasetError(f"{where}: {name} has {len(result[name])} rows, but {measure} has {steps}")
    lengths = _lengths(structures, arrays, result, where)
    _warn(
        where,
        missing,
        [name for name in LABELS if not any(is_under(key, name) for key in result)],
        sorted({*arrays, *unread} - {*chosen.values(), *structures.values()}),
    )
    try:
        return _assemble(result, lengths, info)
    except DatasetError as error:
        raise DatasetError(f"{where}: {error}") from error


# -------------------------------------------------------------------- which array is which column


def _choose(
    arrays: Mapping[str, np.ndarray], columns: Mapping[str, str], structures: Mapping[str, str], where: object
) -> dict[str, str]:
    """Return column of the dataset -> name in the file."""
    chosen: dict[str, str] = {}
    for name, source in columns.items():
        if name.split("/")[0] not in COLUMNS:
            raise ConfigError(
                f"{where}: {name!r} is not a column; columns are {', '.join(COLUMNS[:-2])}, infos/<name> and "
                "corrupted/<name>"
            )
        below = {name + key.removeprefix(source): key for key in arrays if key.startswith(f"{source}/")}
        found = {name: source} if source in arrays else below
        if not found:
            raise ConfigError(f"{where}: there is no array {source!r} for {name}; {_holds(arrays)}")
        if twice := sorted(found.keys() & chosen.keys()):
            raise ConfigError(f"{where}: column {twice[0]} is given twice")
        chosen |= found
    for option, source in structures.items():
        if source not in arrays:
            raise ConfigError(f"{where}: there is no array {source!r} for {option}; {_holds(arrays)}")
    given = {name.split("/")[0] if name.split("/")[0] not in ("infos", "corrupted") else name for name in chosen}
    taken = {*chosen.values(), *structures.values()}
    for name in arrays:
        top = name.split("/")[0]
        if top in COLUMNS and name not in taken and top not in given and name not in given:
            chosen[name] = name
    return chosen


def _check_complete(
    chosen: Mapping[str, str], structures: Mapping[str, str], arrays: Mapping[str, np.ndarray], where: object
) -> None:
    missing = [name for name in ("observations", *LABELS) if not any(is_under(key, name) for key in chosen)]
    if "observations" in missing:
        example = ", ".join(f'"{name}": "..."' for name in missing)
        raise FormatError(
            f"{where}: nothing is named {' or '.join(missing)}; {_holds(arrays)}. "
            f"Say which arrays they are: columns={{{example}}}"
        )
    if not structures and not any(name in chosen for name in _FLAGS):
        raise FormatError(
            f"{where}: nothing says where episodes end; {_holds(arrays)}. Name the flags, "
            'columns={"terminations": "...", "truncations": "..."}, or one of episode_lengths="...", '
            'episode_ends="...", episode_starts="..."'
        )


def _holds(arrays: Mapping[str, np.ndarray]) -> str:
    names = sorted(arrays)
    more = f" and {len(names) - 30} more" if len(names) > 30 else ""
    return f"the file holds {', '.join(names[:30])}{more}" if names else "the file holds no arrays"


def _warn(where: object, missing: list[str], unlabelled: list[str], unread: list[str]) -> None:
    texts = []
    if unlabelled:
        named = ", ".join(f'"{name}": "..."' for name in unlabelled)
        texts.append(
            f"nothing is named {' or '.join(unlabelled)}, so they are missing (columns={{{named}}} names them)"
        )
    texts += [f"it has no {name}, so none is set" for name in missing]
    if unread:
        texts.append(f'arrays that are not read: {", ".join(unread)} (columns={{"infos/...": "..."}} takes them)')
    if texts:
        warnings.warn(f"{where}: {'; '.join(texts)}", AssayWarning, stacklevel=4)


def _measure(columns: Mapping[str, np.ndarray]) -> str:
    """Return the column whose rows are the steps."""
    for role in ("rewards", "actions", *_FLAGS, "observations"):
        if found := next((name for name in columns if is_under(name, role)), None):
            return found
    raise AssertionError("observations are always there")


def _column(array: np.ndarray, name: str, where: str) -> np.ndarray:
    if name in _FLAGS:
        return flags(array, where)
    if array.ndim == 0:
        raise DatasetError(f"{where} is a single value; {name} needs one row per step")
    return array[:, 0] if name in _FLAT and array.ndim == 2 and array.shape[1] == 1 else array


# -------------------------------------------------------------------- where the episodes are


def _lengths(
    structures: Mapping[str, str], arrays: Mapping[str, np.ndarray], columns: Mapping[str, np.ndarray], where: object
) -> np.ndarray:
    steps = len(columns["terminations"])
    if not structures:
        return episode_lengths_from_flags(columns["terminations"], columns["truncations"])
    option, source = next(iter(structures.items()))
    place = f"{where}: array {source}"
    array = np.asarray(arrays[source])
    if array.ndim == 2 and 1 in array.shape:
        array = array.reshape(-1)
    if option == "episode_starts" and _are_flags(array, steps):
        return _lengths_from_starts(np.flatnonzero(flags(array, place)), steps, place)
    values = _whole_numbers(array, option, place)
    if option == "episode_starts":
        return _lengths_from_starts(values, steps, place)
    lengths: np.ndarray = values if option == "episode_lengths" else np.diff(values, prepend=0)
    if len(wrong := np.flatnonzero(lengths < 1)):
        raise DatasetError(f"{place}: episode {wrong[0]} has {lengths[wrong[0]]} steps; at least 1 belong there")
    total = sum(lengths.tolist())
    if total != steps:
        raise DatasetError(f"{place}: the episodes hold {total} steps, but there are {steps} rows")
    return lengths


def _are_flags(array: np.ndarray, steps: int) -> bool:
    """Tell flags from row numbers. The first row always starts an episode, so flags begin with 1 and row numbers with 0."""
    return array.dtype == bool or (array.ndim == 1 and len(array) == steps and bool(len(array)) and bool(array[0] == 1))


def _whole_numbers(array: np.ndarray, option: str, place: str) -> np.ndarray:
    if array.ndim != 1 or array.dtype.kind not in "iuf":
        raise DatasetError(f"{place} is {array.dtype}{list(array.shape)}; a list of whole numbers belongs in {option}")
    with np.errstate(invalid="ignore"):
        result: np.ndarray = array.astype(np.int64)
    if len(wrong := np.flatnonzero((result != array) | (result < 0) | (result > 2**53))):
        raise DatasetError(f"{place}: entry {wrong[0]} is {array[wrong[0]]}; a whole number belongs there")
    return result


def _lengths_from_starts(starts: np.ndarray, steps: int, place: str) -> np.ndarray:
    if steps and (not len(starts) or starts[0] != 0):
        raise DatasetError(f"{place}: the first row starts no episode")
    lengths: np.ndarray = np.diff(starts, append=steps)
    if len(wrong := np.flatnonzero(lengths < 1)):
        raise DatasetError(
            f"{place}: episode {wrong[0]} starts at row {starts[wrong[0]]} and has {lengths[wrong[0]]} steps of {steps}"
        )
    return lengths


# -------------------------------------------------------------------- putting it together


def _assemble(columns: Mapping[str, np.ndarray], lengths: np.ndarray, info: DatasetInfo | None) -> Dataset:
    steps, episodes = len(columns["terminations"]), len(lengths)
    observed = [name for name in columns if is_under(name, "observations")]
    following = [name for name in columns if is_under(name, "next_observations")]
    if not episodes or not all(len(columns[name]) == steps + episodes for name in observed):
        # Infos may have the final row of every episode, which is not a row of the file's steps.
        late = {name: array for name, array in columns.items() if is_under(name, "infos") and len(array) != steps}
        rows = {name: array for name, array in columns.items() if name not in late}
        dataset = dataset_from_rows(rows, lengths=lengths, info=info)
        return dataset.replace(late) if late else dataset
    if following and sorted(following) != sorted(f"next_{name}" for name in observed):
        raise DatasetError(
            f"next observations ({', '.join(following)}) and observations ({', '.join(observed)}) differ"
        )
    dataset = Dataset(columns, lengths, info=info)
    if following and all(
        _is_next_row(columns[name], columns[name.removeprefix("next_")], dataset) for name in following
    ):
        return dataset.replace(dict.fromkeys(following))
    return dataset


def _is_next_row(following: np.ndarray, observations: np.ndarray, dataset: Dataset) -> bool:
    """Tell whether stored next observations equal the following rows, bit for bit; then they need not be kept."""
    if following.dtype != observations.dtype or following.shape[1:] != observations.shape[1:]:
        return False
    rows = dataset.observation_rows + 1
    return all(
        following[start : start + _BLOCK_ROWS].tobytes() == observations[rows[start : start + _BLOCK_ROWS]].tobytes()
        for start in range(0, len(rows), _BLOCK_ROWS)
    )
