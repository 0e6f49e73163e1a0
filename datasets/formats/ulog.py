"""PX4's flight logs (ULog): topics of one aircraft, each at a rate of its own; read with pyulog.

A topic is called as in the log, further instances of it `battery_status[1]`, ...; lists of numbers (`q[0]` to `q[3]`) are
one name, `vehicle_attitude/q`. `topics` says how a mapping makes rows of them::

    assay.load("flight.ulg", columns={"observations": "vehicle_attitude/q", "actions": "actuator_controls_0/control"})
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError, FormatError
from assay.datasets.formats.containers.files import require_file
from assay.datasets.formats.mapping import Given
from assay.datasets.formats.topics import How, Messages, Topic, dataset_from_topics
from assay.datasets.info import DatasetInfo

__all__ = ["read", "sniff"]

TITLE = "PX4 ULog"
LAYOUT = "file .ulg"
ORDER = 150
CANNOT_HOLD = ""

_MAGIC = b"ULog\x01\x12\x35"
_ENTRY = re.compile(r"(.+)\[(\d{1,6})\]")


def sniff(path: Path) -> bool:
    """Tell whether `path` begins as a ULog file does."""
    try:
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def read(
    path: Path, *, columns: Given = None, clock: str | float | None = None, how: How | Mapping[str, How] = "previous"
) -> Dataset:
    """Read a flight log.

    Parameters
    ----------
    path : Path
    columns : mapping, or path of a YAML file
        Column of the dataset -> topic, or numbers of its messages; see `assay.datasets.tables.column_mapping`.
    clock : str or float, optional
        The topic whose messages make the rows, or a rate in hertz. Default: that of the first observation.
    how : {"previous", "nearest", "next"}, or mapping of column to one of them
        Which message of another topic belongs to a row.

    Returns
    -------
    Dataset
        `info.extra["ulog"]` has what the log says of the system, and its parameters.

    Warns
    -----
    AssayWarning
        About rows for which a topic has no message.

    Raises
    ------
    ConfigError
        If pyulog is missing (`pip install assay[ulog]`), or the mapping names what is not there.
    FormatError
        If the file is damaged, or nothing is mapped; then with the topics.
    """
    try:
        from pyulog import ULog
    except ImportError as error:
        raise ConfigError("reading PX4 logs needs pyulog: pip install assay[ulog]") from error
    require_file(path)
    if not sniff(path):
        raise FormatError(f"{path} does not begin as a ULog file does")
    try:
        log = ULog(str(path))
    except MemoryError as error:
        raise FormatError(f"{path} does not fit into memory, or is damaged") from error
    except Exception as error:  # pyulog reports damage by errors of many kinds
        raise FormatError(
            f"{path} is damaged ({type(error).__name__}: {' '.join(str(error).split())}); copy it again"
        ) from error
    if log.file_corruption:
        raise FormatError(f"{path} is damaged: some of its messages cannot be read; copy it again")
    data = {_name(item): item.data for item in log.data_list}
    topics = [
        Topic(_name(item), item.name, len(item.data["timestamp"]), _seconds(item.data["timestamp"]))
        for item in log.data_list
    ]
    return dataset_from_topics(
        topics,
        lambda names: {name: _messages(data[name]) for name in names},
        where=path,
        columns=columns,
        clock=clock,
        how=how,
        info=_info(path, log),
    )


def _name(item: Any) -> str:
    return f"{item.name}[{item.multi_id}]" if item.multi_id else str(item.name)


def _seconds(stamps: np.ndarray) -> float:
    return (int(stamps[-1]) - int(stamps[0])) / 1e6 if len(stamps) else 0.0


def _messages(data: Mapping[str, np.ndarray]) -> Messages:
    """Return the messages of a topic in the order of their stamps, with lists of numbers put together."""
    order = np.argsort(data["timestamp"], kind="stable")
    fields: dict[str, Any] = {}
    for name, values in data.items():
        if name == "timestamp" or values.dtype.kind not in "biuf":
            continue
        entry = _ENTRY.fullmatch(name)
        if entry is None:
            fields[name] = values[order]
        else:
            fields.setdefault(entry[1], []).append(values[order])
    whole = {name: part if isinstance(part, np.ndarray) else np.stack(part, axis=1) for name, part in fields.items()}
    named = {name.replace(".", "/"): part for name, part in whole.items()}
    stamps = data["timestamp"][order].astype(np.int64) * 1000
    return Messages(stamps, named)


def _info(path: Path, log: Any) -> DatasetInfo:
    said = {key: value for key, value in log.msg_info_dict.items() if isinstance(value, str | int | float)}
    parameters = {key: value for key, value in log.initial_parameters.items() if isinstance(value, int | float)}
    extra = {"ulog": {"information": said, "parameters": parameters, "dropouts": len(log.dropouts)}}
    return DatasetInfo(id=path.stem, source=f"{TITLE} file {path.name}", extra=extra)
