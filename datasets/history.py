"""Replaying a history: the dataset is made again from its source, and every fingerprint on the way is checked.

::

    source              load(name)                              checked against the fingerprint noted then
    corruption.random   the registered transform, its fields    checked before and after
    datasets.select     select(episodes)                        checked before and after
    datasets.info       replace(info=...)                       the info alone
    datasets.replace    a change by hand                        refused: nobody knows the values

A history may hold a second `source`: a dataset that was changed by hand, saved, and loaded from there. Replay begins at the
latest one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from assay.datasets.dataset import Dataset, concatenate
from assay.datasets.errors import AssayError, ConfigError, DatasetIntegrityError, UnknownNameError
from assay.datasets.info import BY_HAND, CONCATENATE, INFO, SELECT, SOURCE, DatasetInfo, Record
from assay.datasets.transform import make_transform, registered

__all__ = ["replay", "replay_obstacle"]


def replay(history: Iterable[Record]) -> Dataset:
    """Rebuild a dataset from its history.

    Parameters
    ----------
    history : iterable of Record
        As in `Dataset.history`.

    Returns
    -------
    Dataset
        With the fingerprint of the original.

    Raises
    ------
    ConfigError
        If a record cannot be repeated: a change by hand, a source that is missing, a transform that fails. The record
        is named.
    UnknownNameError
        If no transform is registered under a record's name.
    DatasetIntegrityError
        If the data before or after a record differs from what it was then: the source or a library has changed.
    """
    records = list(history)
    if (obstacle := replay_obstacle(records)) is not None:
        raise ConfigError(obstacle)
    first = _latest_source(records)
    dataset = _origin(records[first], _place(records, first))
    for number, record in enumerate(records[first + 1 :], first + 1):
        dataset = _repeat(record, dataset, _place(records, number))
    return dataset if not first else dataset.with_history((*records[:first], *dataset.history))


def replay_obstacle(history: Iterable[Record]) -> str | None:
    """Return why a history cannot be replayed, naming the record; None where no record stands against it.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(5.0), actions=np.zeros(3), rewards=[1.0, 1.0, 4.0],
    ...     terminations=[False, True, True], truncations=[False, False, False])
    >>> replay_obstacle(dataset.history)
    'the history is empty: the dataset was made from arrays in memory and cannot be rebuilt'
    """
    records = list(history)
    if not records:
        return "the history is empty: the dataset was made from arrays in memory and cannot be rebuilt"
    first = _latest_source(records)
    if records[first].transform not in (SOURCE, CONCATENATE):
        return f"the history begins with {records[first].transform}, not with a source: it cannot be rebuilt"
    for number, record in enumerate(records[first:], first):
        place = _place(records, number)
        if record.transform == BY_HAND:
            touched = [name for names in record.parameters.values() if isinstance(names, list) for name in names]
            what = f"columns {', '.join(map(str, touched))}" if touched else "episodes"
            return (
                f"{place} is a change by hand ({what}) and cannot be rebuilt: save the dataset and replay from the file, "
                "or make the change by a registered transform"
            )
        if record.transform == CONCATENATE:
            try:
                obstacles = [replay_obstacle(part) for part in _parts(record, place)]
            except ConfigError as error:
                return str(error)
            for part, obstacle in enumerate(obstacles):
                if obstacle is not None:
                    return f"{place}, dataset {part}: {obstacle}"
    return None


def _latest_source(records: Sequence[Record]) -> int:
    return max((number for number, record in enumerate(records) if record.transform == SOURCE), default=0)


def _place(records: Sequence[Record], number: int) -> str:
    return f"record {number} of the history ({records[number].transform})"


def _parts(record: Record, place: str) -> list[tuple[Record, ...]]:
    histories = record.parameters.get("histories")
    if not isinstance(histories, list) or not histories:
        raise ConfigError(f"{place} is damaged: histories must be a list")
    with _named(place):
        return [Record.history_from_plain(plain) for plain in histories]


def _origin(record: Record, place: str) -> Dataset:
    """Load the source that a history begins with, or rebuild the datasets that it was joined of."""
    if record.transform == CONCATENATE:
        with _named(place):
            return _checked(concatenate([replay(part) for part in _parts(record, place)]), record, place)
    from assay.datasets.loading import load

    name, options = record.parameters.get("name"), record.parameters.get("options") or {}
    if not isinstance(name, str) or not isinstance(options, dict):
        raise ConfigError(f"{place} is damaged: it must hold the name of a dataset, and options by name")
    with _named(place):
        dataset = load(name, format=record.parameters.get("format"), **options)
    expected = record.parameters.get("fingerprint")
    if expected is not None and dataset.fingerprint != expected:
        raise DatasetIntegrityError(
            f"{place}: {name} now has fingerprint {dataset.fingerprint}; the history was made from {expected}"
        )
    return dataset.with_history((record,))


def _repeat(record: Record, dataset: Dataset, place: str) -> Dataset:
    """Apply one record to the dataset before it."""
    if record.parent != dataset.fingerprint:
        raise DatasetIntegrityError(
            f"{place}: before {record.transform} the rebuilt data has fingerprint {dataset.fingerprint}, but it was "
            f"applied to {record.parent}: the source or a library has changed"
        )
    special: dict[str, Callable[[Dataset, Record], Dataset]] = {SELECT: _select, INFO: _with_info}
    with _named(place):
        if record.transform in special:
            result = special[record.transform](dataset, record)
        elif record.transform in registered():
            result = make_transform(record.transform, record.parameters)(dataset)
        else:
            raise UnknownNameError("transform", record.transform, registered(), f"({place})")
    return _checked(result, record, place)


def _checked(result: Dataset, record: Record, place: str) -> Dataset:
    if record.fingerprint is not None and result.fingerprint != record.fingerprint:
        raise DatasetIntegrityError(
            f"{place}: after {record.transform} the rebuilt data has fingerprint {result.fingerprint}, but it was "
            f"{record.fingerprint} then: a library or a parameter has changed"
        )
    return result


def _select(dataset: Dataset, record: Record) -> Dataset:
    return dataset.select(np.array(record.parameters["episodes"], np.int64))


def _with_info(dataset: Dataset, record: Record) -> Dataset:
    return dataset.replace(info=DatasetInfo.from_plain({**dataset.info.to_plain(), **record.parameters}))


@contextmanager
def _named(place: str) -> Iterator[None]:
    """Say in errors which record they are about."""
    try:
        yield
    except DatasetIntegrityError as error:
        raise DatasetIntegrityError(f"{place}: {error}") from error
    except UnknownNameError as error:
        if place in str(error):
            raise
        raise ConfigError(f"{place}: {error}") from error
    except (
        AssayError,
        KeyError,
        TypeError,
        ValueError,
        OverflowError,
    ) as error:  # parameters that are not what they were
        raise ConfigError(f"{place}: {error}") from error
