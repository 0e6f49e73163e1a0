"""ROS bags: files of ROS 1 (.bag), and folders or single .db3 files of ROS 2; read with rosbags.

`topics` says how a mapping makes rows of them; MCAP files of ROS 2 are `mcap`'s, unless they lie in a folder with
metadata.yaml.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from assay.datasets.dataset import Dataset
from assay.datasets.errors import AssayError, ConfigError, FormatError
from assay.datasets.formats.containers.files import require_file
from assay.datasets.formats.mapping import Given
from assay.datasets.formats.messages import messages_of
from assay.datasets.formats.topics import How, Messages, Topic, dataset_from_topics, propose_for_topics
from assay.datasets.info import DatasetInfo

__all__ = ["propose", "read", "sniff"]

TITLE = "ROS bag"
LAYOUT = "file .bag or .db3, or folder"
ORDER = 38
CANNOT_HOLD = ""

MARKS = ("metadata.yaml",)
_MAGIC = (b"#ROSBAG V2.0\n", b"SQLite format 3\x00")


def sniff(path: Path) -> bool:
    """Tell whether `path` is a bag of ROS 1, or a bag of ROS 2: a database of topics, or a folder with metadata.yaml."""
    try:
        if path.is_dir():
            with (path / "metadata.yaml").open("rb") as file:
                return b"rosbag2_bagfile_information" in file.read(4096)
        with path.open("rb") as file:
            head = file.read(16)
        return head.startswith(_MAGIC[0]) or (head == _MAGIC[1] and path.suffix == ".db3")
    except OSError:
        return False


def read(
    path: Path,
    *,
    columns: Given = None,
    clock: str | float | None = None,
    how: How | Mapping[str, How] = "previous",
    stamps: Literal["received", "header"] = "received",
) -> Dataset:
    """Read a bag.

    Parameters
    ----------
    path : Path
    columns : mapping, or path of a YAML file
        Column of the dataset -> topic, or numbers of its messages; see `assay.datasets.tables.column_mapping`.
    clock : str or float, optional
        The topic whose messages make the rows, or a rate in hertz. Default: that of the first observation.
    how : {"previous", "nearest", "next"}, or mapping of column to one of them
        Which message of another topic belongs to a row.
    stamps : {"received", "header"}
        When a message was: as it was received, or as its own header says.

    Returns
    -------
    Dataset

    Warns
    -----
    AssayWarning
        About rows for which a topic has no message.

    Raises
    ------
    ConfigError
        If rosbags is missing (`pip install assay[bags]`), or the mapping names what is not there.
    FormatError
        If the bag is damaged, or nothing is mapped; then with the topics.
    """
    if stamps not in ("received", "header"):
        raise ConfigError(f'stamps are "received" or "header", not {stamps!r}')
    with _open(path) as bag:
        return dataset_from_topics(
            _topics(bag),
            lambda names: _messages(bag, names, path, by_header=stamps == "header"),
            where=path,
            columns=columns,
            clock=clock,
            how=how,
            info=DatasetInfo(id=path.stem, source=f"{TITLE} {path.name}"),
        )


def propose(path: Path) -> str:
    """Return a mapping for `path`, as YAML to be edited."""
    with _open(path) as bag:
        return propose_for_topics(_topics(bag), path)


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    """Open a bag; whatever rosbags raises on damage while it is open is a FormatError."""
    require_file(path / "metadata.yaml" if path.is_dir() else path)
    try:
        from rosbags.highlevel import AnyReader
        from rosbags.typesys import Stores, get_typestore
    except ImportError as error:
        raise ConfigError("ROS bags need rosbags: pip install assay[bags]") from error
    try:
        with (
            _named_as_rosbags_wants(path) as named,
            AnyReader([named], default_typestore=get_typestore(Stores.ROS2_HUMBLE)) as bag,
        ):
            yield bag
    except AssayError:
        raise
    except MemoryError as error:
        raise FormatError(f"{path} is damaged: it asks for more memory than there is") from error
    except Exception as error:  # rosbags reports damage by errors of many kinds
        text = " ".join(str(error).split()) or type(error).__name__
        raise FormatError(f"{path} is cut off or damaged ({text}); copy it again") from error


@contextmanager
def _named_as_rosbags_wants(path: Path) -> Iterator[Path]:
    """Give a path that ends in .bag for a bag of ROS 1: rosbags goes by the name, here the content decides."""
    if path.is_dir() or path.suffix in (".bag", ".db3"):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder, "recording.bag")
        link.symlink_to(path.resolve())
        yield link


def _topics(bag: Any) -> list[Topic]:
    seconds = bag.duration / 1e9 if bag.message_count else 0.0
    return [
        Topic(name, found.msgtype or "several types", found.msgcount, seconds) for name, found in bag.topics.items()
    ]


def _messages(bag: Any, names: Sequence[str], path: Path, *, by_header: bool) -> dict[str, Messages]:
    """Return the messages of some topics."""
    stamps: dict[str, list[int]] = {name: [] for name in names}
    messages: dict[str, list[Any]] = {name: [] for name in names}
    connections = [connection for connection in bag.connections if connection.topic in stamps]
    kinds = {connection.topic: connection.msgtype for connection in connections}
    for connection, stamp, data in bag.messages(connections=connections):
        stamps[connection.topic].append(stamp)
        messages[connection.topic].append(bag.deserialize(data, connection.msgtype))
    for name in names:
        if not messages[name]:
            raise FormatError(f"{path}: {name} has no messages, though the bag lists some; it is damaged")
    return {
        name: messages_of(stamps[name], messages[name], kinds[name], f"{path}: topic {name}", by_header=by_header)
        for name in names
    }
