"""From a file's arrays under names of its own to the dataset's columns, as the user says.

What can be said is one mapping for all sources, `assay.datasets.tables.column_mapping`: which names are which column, and
what tells where episodes end. Here it is followed for sources of whole arrays::

    columns          {"observations": "state", "actions": "act"}    a column that is not named is looked for as it is
                     {"observations": ["x", "y"]}                   several arrays, side by side in one row
    flags            terminations, truncations                      an episode ends where either is set; or one of
    episode          an id per row                                  rows of one id are one episode
    episode_lengths  [3, 2]                                         steps of each episode
    episode_ends     [3, 5]                                         the row after each episode's last
    episode_starts   [0, 3], or [1, 0, 0, 1, 0]                     each episode's first row, or a flag on it
    time             a stamp per row                                kept, in seconds; with gap or resets it ends episodes
    ends             "truncated", "terminated", or a truth value    what an end means where no flag says it

Nothing is guessed: arrays that nobody claims are named in a warning, and what is missing is named in the error, with
the option to pass. Observations of one row per step and one more per episode hold the final ones; of one row per step
they do not, and the final ones come from next observations or stay unknown (see `rows`).
"""

from __future__ import annotations

import difflib
import os
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from assay.datasets.dataset import Dataset, is_under
from assay.datasets.errors import AssayWarning, ConfigError, DatasetError, FormatError
from assay.datasets.formats.rows import dataset_from_rows, episode_lengths_from_flags, flags
from assay.datasets.info import DatasetInfo
from assay.datasets.memory import empty
from assay.datasets.missing import LABELS
from assay.datasets.tables.categories import Encoder
from assay.datasets.tables.clock import seconds_of
from assay.datasets.tables.column_mapping import COLUMNS, WHOLE, ColumnMapping, Source, as_mapping
from assay.datasets.tables.endings import end_episodes
from assay.datasets.tables.episode_borders import lengths_by_borders, starts_by_id, starts_by_time

__all__ = ["COLUMNS", "Arrays", "Given", "choose", "dataset_from_mapping"]

Given = Mapping[str, Any] | str | os.PathLike[str] | ColumnMapping | None
"""A mapping as a user gives it: a dict, or the path of a YAML file."""

_FLAGS = ("terminations", "truncations")
_FLAT = ("rewards", *_FLAGS, "costs", "weights")  # stored as (N, 1) by some
_BLOCK_ROWS = 65_536


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
    columns: Given = None,
    episode_lengths: str | int | None = None,
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
    columns : mapping, or path of a YAML file, optional
        What `assay.datasets.tables.column_mapping` says: name of a dataset's column -> name or names in the file
        (observations, actions, rewards, terminations, truncations, next_observations, costs, weights, and below infos/
        and corrupted/ whatever there is), and what else is to be said: episode, time, ends, units. A name that has
        others below it in the file (`state/pose`, `state/goal`) brings them all. Columns that are not given are taken
        where the file uses the dataset's own names.
    episode_lengths, episode_ends, episode_starts : str, optional
        Name in the file of the array that says where episodes are, at most one of the three; without, the flags do.
        Ends are exclusive; starts are row numbers, or one flag per row. `episode_lengths` may be a number, or "all".
    info : DatasetInfo, optional
        Names and units of the mapping are added to it.
    unread : iterable of str, optional
        What the file holds besides, and no array can be: named in the warning.

    Returns
    -------
    Dataset
        A flag column that is nowhere is all False, but for what `ends` says.

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
    >>> arrays = {"x": np.arange(5.0), "y": np.zeros(5), "act": np.zeros(5), "rew": np.ones(5), "end": np.array([3, 5])}
    >>> columns = {"observations": ["x", "y"], "actions": "act", "rewards": "rew", "ends": "truncated"}
    >>> dataset = dataset_from_mapping(arrays, where="example", columns=columns, episode_ends="end")
    >>> dataset.episode_lengths.tolist(), dataset.observations[:, 0].tolist(), dataset.info.names["observations"]
    ([3, 2], [0.0, 1.0, 2.0, 2.0, 3.0, 4.0, 4.0], ('x', 'y'))
    """
    mapping = as_mapping(columns, where).merged(
        where, episode_lengths=episode_lengths, episode_ends=episode_ends, episode_starts=episode_starts
    )
    chosen = choose(arrays, mapping, where)
    check_complete(chosen, mapping, arrays, where)
    encoder = Encoder(mapping.categories)
    result = {
        name: _column(_joined(arrays, source, encoder, where), name, where, source) for name, source in chosen.items()
    }
    remembered: dict[str, Any] = {}
    if mapping.time is not None:
        place = f"{where}: array {mapping.time}"
        result["time"], remembered = seconds_of(np.asarray(arrays[mapping.time]), mapping.time_unit, place)
    steps = _steps(result)
    missing = [name for name in _FLAGS if name not in result]
    for name in missing:
        result[name] = np.zeros(steps, bool)
    for name in _FLAGS:
        if len(result[name]) != steps:
            raise DatasetError(f"{where}: {name} has {len(result[name])} rows, but {_measure(result)} has {steps}")
    lengths = _lengths(mapping, arrays, result, where)
    ends = mapping.ends
    if ends is not None:
        said: Any = ends
        if ends not in ("truncated", "terminated"):
            said = flags(np.asarray(arrays[ends]), f"{where}: array {ends}")
        if isinstance(said, np.ndarray) and len(said) != steps:
            raise DatasetError(f"{where}: array {ends} has {len(said)} rows, but there are {steps} steps")
        result["terminations"], result["truncations"] = end_episodes(
            result["terminations"], result["truncations"], lengths, said
        )
    warn_of(
        where,
        [*absent_labels(chosen), *([] if ends else missing)],
        sorted({*arrays, *unread} - {*names_in(chosen), *mapping.names}),
    )
    if encoder.found:
        remembered["categories"] = dict(encoder.found)
    info = described(info or DatasetInfo(), chosen, result, mapping, encoder, remembered)
    try:
        return _assemble(result, lengths, info)
    except DatasetError as error:
        raise DatasetError(f"{where}: {error}") from error


# -------------------------------------------------------------------- which array is which column


def names_in(chosen: Mapping[str, Source]) -> set[str]:
    """Return the names in the source that the columns are made of."""
    return {name for source in chosen.values() for name in ([source] if isinstance(source, str) else source)}


def choose(names: Collection[str], mapping: ColumnMapping, where: object) -> dict[str, Source]:
    """Return column of the dataset -> name or names in the source, those included that are the dataset's own.

    Raises
    ------
    ConfigError
        If the mapping names what is not there, or two things for one column.
    """
    chosen: dict[str, Source] = {}
    for name, source in mapping.columns.items():
        found = _found(name, source, names, where)
        if twice := sorted(found.keys() & chosen.keys()):
            raise ConfigError(f"{where}: column {twice[0]} is given twice")
        chosen |= found
    for option, source in _structural(mapping).items():
        if source not in names:
            raise _absent(source, option, names, where)
    for key, asked in (("units", mapping.units), ("categories", mapping.categories)):
        if unknown := [name for name in asked if name not in names]:
            raise _absent(unknown[0], key, names, where)
    given = {name.split("/")[0] if name.split("/")[0] not in ("infos", "corrupted") else name for name in chosen}
    taken = {*names_in(chosen), *mapping.names}
    for name in names:
        top = name.split("/")[0]
        if top in COLUMNS and name not in taken and top not in given and name not in given:
            chosen[name] = name
    return chosen


def _found(name: str, source: Source, names: Collection[str], where: object) -> dict[str, Source]:
    if not isinstance(source, str):
        for part in source:
            if part not in names:
                raise _absent(part, name, names, where)
        return {name: source}
    below: dict[str, Source] = {name + key.removeprefix(source): key for key in names if key.startswith(f"{source}/")}
    found: dict[str, Source] = {name: source} if source in names else below
    if not found:
        raise _absent(source, name, names, where)
    return found


def _absent(source: str, name: str, names: Collection[str], where: object) -> ConfigError:
    near = difflib.get_close_matches(source, names, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return ConfigError(f"{where}: there is no array {source!r} for {name}; {hint}{holds(names)}")


def _structural(mapping: ColumnMapping) -> dict[str, str]:
    """Return option -> name in the source of what is no column, but tells of episodes or time."""
    found = {name: value for name, value in mapping.structures.items() if isinstance(value, str) and value != WHOLE}
    found |= {f"episode {name}" if len(mapping.episode) > 1 else "episode": name for name in mapping.episode}
    if mapping.time is not None:
        found["time"] = mapping.time
    if mapping.ends not in (None, "truncated", "terminated"):
        found["ends"] = str(mapping.ends)
    return found


def check_complete(chosen: Mapping[str, Source], mapping: ColumnMapping, names: Collection[str], where: object) -> None:
    """Raise FormatError where a needed column, or what tells episodes apart, is neither named nor there."""
    if not any(is_under(key, "observations") for key in chosen):
        missing = ["observations", *absent_labels(chosen)]
        example = ", ".join(f'"{name}": "..."' for name in missing)
        raise FormatError(
            f"{where}: nothing is named {' or '.join(missing)}; {holds(names)}. "
            f"Say which arrays they are: columns={{{example}}}"
        )
    if not mapping.tells_episodes and not any(name in chosen for name in _FLAGS):
        raise FormatError(
            f"{where}: nothing says where episodes end; {holds(names)}. Name the flags, "
            'columns={"terminations": "...", "truncations": "..."}, a column of ids, columns={"episode": "..."}, or one of '
            'episode_lengths="...", episode_ends="...", episode_starts="..." (episode_lengths="all": it is one episode)'
        )


def absent_labels(chosen: Collection[str]) -> list[str]:
    """Return which of actions and rewards no column is."""
    return [element for element in LABELS if not any(is_under(name, element) for name in chosen)]


def holds(names: Collection[str]) -> str:
    """Say in words which names a source has."""
    listed = sorted(names)
    more = f" and {len(listed) - 30} more" if len(listed) > 30 else ""
    return f"the file holds {', '.join(listed[:30])}{more}" if listed else "the file holds no arrays"


def warn_of(where: object, missing: list[str], unread: list[str]) -> None:
    """Warn, once, of labels and flags that are nowhere and of what is not read."""
    texts = []
    if unlabelled := [name for name in missing if name in LABELS]:
        named = ", ".join(f'"{name}": "..."' for name in unlabelled)
        texts.append(
            f"nothing is named {' or '.join(unlabelled)}, so they are missing (columns={{{named}}} names them)"
        )
    texts += [f"it has no {name}, so none is set" for name in missing if name in _FLAGS]
    if set(_FLAGS) <= set(missing):
        texts.append('columns={"ends": "truncated"} says what the end of an episode means')
    if unread:
        texts.append(f'arrays that are not read: {", ".join(unread)} (columns={{"infos/...": "..."}} takes them)')
    if texts:
        warnings.warn(f"{where}: {'; '.join(texts)}", AssayWarning, stacklevel=4)


def described(
    info: DatasetInfo,
    chosen: Mapping[str, Source],
    columns: Mapping[str, np.ndarray],
    mapping: ColumnMapping,
    encoder: Encoder,
    remembered: Mapping[str, Any],
) -> DatasetInfo:
    """Return the info with names and units of the dimensions, and what else the mapping and the source say."""
    names, units = dict(info.names), dict(info.units)
    for column, source in chosen.items():
        if not any(is_under(column, top) for top in ("observations", "actions")):
            continue
        parts = [source] if isinstance(source, str) else source
        width = int(np.prod(columns[column].shape[1:], dtype=np.int64))
        one_part = len(parts) == 1 and parts[0] not in encoder.encodings
        labels = [label for part in parts for label in encoder.labels(part, encoder.widths.get(part, 1))]
        if len(labels) == width and not (one_part and width > 1):
            names[column] = tuple(labels)
        if any(part in mapping.units for part in parts):
            of_parts = [mapping.units.get(part, "") for part in parts for _ in range(encoder.widths.get(part, 1))]
            units[column] = tuple(of_parts)
    rewards = chosen.get("rewards")
    if isinstance(rewards, str) and rewards in mapping.units:
        units["rewards"] = (mapping.units[rewards],)
    changes: dict[str, Any] = {"names": names, "units": units}
    if mapping.name:
        changes["id"] = mapping.name
    if remembered:
        changes["extra"] = {**info.extra, **remembered}
    return replace(info, **changes)


def _joined(arrays: Mapping[str, np.ndarray], source: Source, encoder: Encoder, where: object) -> np.ndarray:
    """Return an array, or several side by side in one row."""
    if isinstance(source, str):
        array = encoder(source, arrays[source], f"{where}: array {source}")
        encoder.widths[source] = int(np.prod(array.shape[1:], dtype=np.int64)) if array.ndim else 1
        return array
    parts = []
    for name in source:
        array = encoder(name, np.asarray(arrays[name]), f"{where}: array {name}")
        if array.ndim not in (1, 2):
            raise DatasetError(
                f"{where}: array {name} has shape {list(array.shape)}; beside others in one row stand arrays of one number "
                "or one list of numbers per row"
            )
        parts.append(array[:, None] if array.ndim == 1 else array)
        encoder.widths[name] = parts[-1].shape[1]
        check_kind(name, array.dtype, where)
        if len(parts[-1]) != len(parts[0]):
            raise DatasetError(f"{where}: array {name} has {len(parts[-1])} rows, but {source[0]} has {len(parts[0])}")
    dtype = np.result_type(*[part.dtype for part in parts])
    rows, width = len(parts[0]), sum(part.shape[1] for part in parts)
    return np.concatenate(parts, axis=1, out=empty((rows, width), dtype))


def check_kind(name: str, dtype: np.dtype, where: object, example: str = "") -> None:
    """Raise DatasetError where what is to stand beside numbers is none; an example says where it is seen."""
    if dtype.kind not in "biuf":
        raise DatasetError(
            f"{where}: column {name} is {'text' if dtype.kind in 'US' else dtype}{example}, and cannot stand beside numbers in one row; leave it out, or make numbers of it: "
            f'columns={{"categories": {{"{name}": "one-hot"}}}}'
        )


def _column(array: np.ndarray, name: str, where: object, source: Source) -> np.ndarray:
    place = f"{where}: array {source if isinstance(source, str) else ', '.join(source)}"
    if name in _FLAGS:
        return flags(array, place)
    if array.ndim == 0:
        raise DatasetError(f"{place} is a single value; {name} needs one row per step")
    return array[:, 0] if name in _FLAT and array.ndim == 2 and array.shape[1] == 1 else array


# -------------------------------------------------------------------- where the episodes are


def _measure(columns: Mapping[str, np.ndarray]) -> str:
    """Return the column whose rows are the steps; where there are observations alone, a row of them is a step."""
    for role in ("rewards", "actions", *_FLAGS, "time", "observations"):
        if found := next((name for name in columns if is_under(name, role)), None):
            return found
    raise AssertionError("observations are always there")


def _steps(columns: Mapping[str, np.ndarray]) -> int:
    return len(columns[_measure(columns)])


def _lengths(
    mapping: ColumnMapping, arrays: Mapping[str, np.ndarray], columns: Mapping[str, np.ndarray], where: object
) -> np.ndarray:
    steps = _steps(columns)
    starts = _starts(mapping, arrays, columns, steps, where)
    if not mapping.structures:
        if starts is not None:
            return lengths_by_borders(starts)
        return episode_lengths_from_flags(columns["terminations"], columns["truncations"])
    lengths = _lengths_of(mapping, arrays, steps, where)
    if starts is None:
        return lengths
    starts[(np.cumsum(lengths) - lengths)] = True
    return lengths_by_borders(starts)


def _starts(
    mapping: ColumnMapping,
    arrays: Mapping[str, np.ndarray],
    columns: Mapping[str, np.ndarray],
    steps: int,
    where: object,
) -> np.ndarray | None:
    """Return which rows begin an episode by an id or by time; None where neither was said."""
    starts = None
    if mapping.episode:
        ids = [np.asarray(arrays[name]) for name in mapping.episode]
        for name, array in zip(mapping.episode, ids, strict=True):
            if len(array) != steps:
                raise DatasetError(f"{where}: array {name} has {len(array)} rows, but there are {steps} steps")
        starts = starts_by_id(ids, mapping.episode, where)
    if mapping.gap is not None or mapping.resets:
        of_time = starts_by_time(columns["time"], gap=mapping.gap, resets=mapping.resets)
        starts = of_time if starts is None else starts | of_time
    return starts


def _lengths_of(mapping: ColumnMapping, arrays: Mapping[str, np.ndarray], steps: int, where: object) -> np.ndarray:
    """Return the lengths that `episode_lengths`, `episode_ends` or `episode_starts` says."""
    option, source = next(iter(mapping.structures.items()))
    if source == WHOLE:
        return np.array([steps] if steps else [], np.int64)
    if isinstance(source, int):
        if steps % source:
            raise DatasetError(f"{where}: {steps} rows are no whole number of episodes of {source} steps")
        return np.full(steps // source, source, np.int64)
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
        raise DatasetError(
            f"{place}: entry {wrong[0]} is {array[wrong[0]]}; a whole number belongs there, so the array is damaged or of another kind"
        )
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
    steps, episodes = _steps(columns), len(lengths)
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
