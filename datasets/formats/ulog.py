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
from assay.datasets.formats.topics import How, Messages, Topic, dataset_from_topics, propose_for_topics
from assay.datasets.info import DatasetInfo

__all__ = ["propose", "read", "sniff"]

TITLE = "PX4 ULog"
LAYOUT = "file .ulg"
ORDER = 36
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
    log = _open(path)
    data = {_name(item): item.data for item in log.data_list}
    return dataset_from_topics(
        _topics(log),
        lambda names: {name: _messages(data[name]) for name in names},
        where=path,
        columns=columns,
        clock=clock,
        how=how,
        info=_info(path, log),
    )


def propose(path: Path) -> str:
    """Return a mapping for `path`, as YAML to be edited."""
    return propose_for_topics(_topics(_open(path)), path)


def _open(path: Path) -> Any:
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
        raise FormatError(f"{path} is damaged: it asks for more memory than there is") from error
    except Exception as error:  # pyulog reports damage by errors of many kinds
        text = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise FormatError(f"{path} is cut off or damaged ({text}); copy it again") from error
    if log.file_corruption or not all("timestamp" in item.data for item in log.data_list):
        raise FormatError(f"{path} is damaged: some of its messages cannot be read; copy it again")
    return log


def _topics(log: Any) -> list[Topic]:
    stamps = {_name(item): item.data["timestamp"] for item in log.data_list}
    kinds = {_name(item): item.name for item in log.data_list}
    return [Topic(name, kinds[name], len(times), _seconds(times)) for name, times in stamps.items()]


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
