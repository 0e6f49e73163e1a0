"""MCAP recordings: of ROS 2 (CDR), of ROS 1, and of JSON messages; read with mcap and rosbags, and written.

`topics` says how a mapping makes rows of them. What Assay writes is a recording that ROS 2's tools play: every column is a
topic, every row a message (`std_msgs/msg/Float32MultiArray` and its like, images as `sensor_msgs/msg/Image`). The metadata
record `assay` says where episodes are, so that without a mapping the dataset itself comes back::

    /observations        N+E messages, the final observation of every episode included
    /actions, /rewards, /terminations, /missing/actions, ...     N messages
    metadata "assay"     columns with their dtypes and shapes, episodes, info, history

A row is stamped with its `time` where that ascends, else with its number at a tenth of a second each.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from assay.datasets.atomic import atomic_file
from assay.datasets.dataset import Dataset, is_under
from assay.datasets.errors import AssayError, ConfigError, DatasetError, FormatError
from assay.datasets.formats.containers.files import require_file
from assay.datasets.formats.flat_hdf5 import block_for, info_from, take_block, with_history
from assay.datasets.formats.losses import report_losses
from assay.datasets.formats.mapping import Given
from assay.datasets.formats.messages import messages_of, ros_types
from assay.datasets.formats.rows import in_machine_order
from assay.datasets.formats.topics import How, Messages, Topic, dataset_from_topics, propose_for_topics
from assay.datasets.info import DatasetInfo
from assay.datasets.memory import empty
from assay.datasets.progress import Progress

__all__ = ["propose", "read", "sniff", "write"]

TITLE = "MCAP"
LAYOUT = "file .mcap"
ORDER = 37
CANNOT_HOLD = "text, complex numbers, foreign byte order"

_MESSAGES_BETWEEN_REPORTS = 1_000
_MAGIC = b"\x89MCAP0\r\n"
_BLOCK = "assay"
_DENSEST = 1100  # bytes in a chunk for each byte of it that is stored
_ROS = {"cdr": 2, "ros1": 1}
_KINDS: dict[np.dtype, str] = {
    **{np.dtype(f"f{size}"): f"std_msgs/msg/Float{8 * size}MultiArray" for size in (4, 8)},
    **{np.dtype(f"i{size}"): f"std_msgs/msg/Int{8 * size}MultiArray" for size in (1, 2, 4, 8)},
    **{np.dtype(f"u{size}"): f"std_msgs/msg/UInt{8 * size}MultiArray" for size in (1, 2, 4, 8)},
}
_STORED_AS: dict[np.dtype, np.dtype] = {np.dtype(bool): np.dtype("u1"), np.dtype("f2"): np.dtype("f4")}
_IMAGE = "sensor_msgs/msg/Image"
_STEP_NANOSECONDS = 100_000_000


def sniff(path: Path) -> bool:
    """Tell whether `path` begins as an MCAP file does."""
    try:
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
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
    """Read a recording.

    Parameters
    ----------
    path : Path
    columns : mapping, or path of a YAML file
        Column of the dataset -> topic, or numbers of its messages; see `assay.datasets.tables.column_mapping`. What Assay
        wrote needs none.
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
        If a package is missing (`pip install assay[bags]`), or the mapping names what is not there.
    FormatError
        If the file is damaged, or nothing is mapped; then with the topics.
    """
    if stamps not in ("received", "header"):
        raise ConfigError(f'stamps are "received" or "header", not {stamps!r}')
    require_file(path)
    if not sniff(path):
        raise FormatError(f"{path} does not begin as an MCAP file does")
    found = _survey(path)
    if columns is None and _BLOCK in found.metadata:
        return _dataset(path, found)
    return dataset_from_topics(
        found.topics(),
        lambda names: _messages(path, found, names, by_header=stamps == "header"),
        where=path,
        columns=columns,
        clock=clock,
        how=how,
        info=DatasetInfo(id=path.stem, source=f"{TITLE} file {path.name}"),
    )


def propose(path: Path) -> str:
    """Return a mapping for `path`, as YAML to be edited."""
    require_file(path)
    return propose_for_topics(_survey(path).topics(), path)


# -------------------------------------------------------------------- what is in a file


@dataclass
class _Channel:
    topic: str
    encoding: str
    kind: str
    definition: str
    stamps: list[int] = field(default_factory=list)


@dataclass
class _Survey:
    channels: dict[int, _Channel] = field(default_factory=dict)
    metadata: dict[str, dict[str, str]] = field(default_factory=dict)

    def topics(self) -> list[Topic]:
        merged: dict[str, list[_Channel]] = {}
        for channel in self.channels.values():
            merged.setdefault(channel.topic, []).append(channel)
        result = []
        for name, channels in merged.items():
            stamps = [stamp for channel in channels for stamp in channel.stamps]
            seconds = (max(stamps) - min(stamps)) / 1e9 if stamps else 0.0
            result.append(Topic(name, channels[0].kind, len(stamps), seconds))
        return result


def _records(path: Path) -> Iterator[Any]:
    """Yield the records of a file, those in chunks included; checksums are verified, and sizes before memory is taken."""
    try:
        import zstandard
        from mcap.records import Chunk
        from mcap.stream_reader import StreamReader, breakup_chunk
    except ImportError as error:
        raise ConfigError("MCAP files need mcap and rosbags: pip install assay[bags]") from error
    size = path.stat().st_size
    with _damage_is_a_format_error(path), path.open("rb") as file:
        reader = StreamReader(file, emit_chunks=True, validate_crcs=True, record_size_limit=size)
        for record in reader.records:
            if not isinstance(record, Chunk):
                yield record
                continue
            claimed = record.uncompressed_size
            if record.compression == "zstd":
                claimed = max(claimed, zstandard.frame_content_size(record.data))
            if claimed > max(len(record.data) * _DENSEST, 1 << 20):
                raise FormatError(f"{path}: a chunk of {len(record.data)} bytes claims {claimed}; impossible")
            yield from breakup_chunk(record, validate_crc=True)


@contextmanager
def _damage_is_a_format_error(path: Path) -> Iterator[None]:
    try:
        yield
    except AssayError:
        raise
    except MemoryError as error:
        raise FormatError(f"{path} is damaged: it asks for more memory than there is") from error
    except Exception as error:  # mcap reports damage by errors of many kinds
        text = " ".join(str(error).split()) or type(error).__name__
        raise FormatError(f"{path} is cut off or damaged ({text}); copy it again") from error


def _survey(path: Path) -> _Survey:
    """Read which topics there are, and when their messages came."""
    found = _Survey()
    schemas: dict[int, Any] = {}
    for record in _records(path):
        kind = type(record).__name__
        if kind == "Schema":
            schemas[record.id] = record
        elif kind == "Channel" and record.id not in found.channels:
            schema = schemas.get(record.schema_id)
            text = schema.data.decode(errors="replace") if schema is not None else ""
            name = schema.name if schema is not None else record.message_encoding
            found.channels[record.id] = _Channel(record.topic, record.message_encoding, name, text)
        elif kind == "Message":
            if record.channel_id not in found.channels:
                raise FormatError(f"{path} is damaged: a message belongs to no channel; copy it again")
            found.channels[record.channel_id].stamps.append(record.log_time)
        elif kind == "Metadata":
            found.metadata[record.name] = dict(record.metadata)
    return found


def _messages(path: Path, found: _Survey, names: Sequence[str], *, by_header: bool) -> dict[str, Messages]:
    """Return the messages of some topics."""
    channels = {number: channel for number, channel in found.channels.items() if channel.topic in names}
    decoders = {number: _decoder(path, channel) for number, channel in channels.items()}
    stamps: dict[str, list[int]] = {name: [] for name in names}
    messages: dict[str, list[Any]] = {name: [] for name in names}
    for record in _records(path):
        if type(record).__name__ != "Message" or record.channel_id not in channels:
            continue
        name = channels[record.channel_id].topic
        with _damage_is_a_format_error(path):
            messages[name].append(decoders[record.channel_id](record.data))
        stamps[name].append(record.log_time)
    kinds = {channel.topic: channel.kind for channel in channels.values()}
    return {
        name: messages_of(stamps[name], messages[name], kinds[name], f"{path}: topic {name}", by_header=by_header)
        for name in names
    }


def _decoder(path: Path, channel: _Channel) -> Any:
    """Return what makes an object of a message's bytes."""
    if channel.encoding == "json":
        return json.loads
    if channel.encoding not in _ROS:
        raise FormatError(
            f"{path}: the messages of {channel.topic} are encoded as {channel.encoding!r}; cdr, ros1 and json are read"
        )
    try:
        store, unread = ros_types({channel.kind: channel.definition}, version=_ROS[channel.encoding])
    except ImportError as error:
        raise ConfigError("ROS messages need rosbags: pip install assay[bags]") from error
    if unread:
        raise FormatError(
            f"{path}: the type {channel.kind} of {channel.topic} is not understood: {unread[channel.kind]}"
        )
    if channel.encoding == "cdr":
        return lambda data: store.deserialize_cdr(data, channel.kind)
    kind = channel.kind if "/msg/" in channel.kind else channel.kind.replace("/", "/msg/")
    return lambda data: store.deserialize_ros1(data, kind)


# -------------------------------------------------------------------- what Assay wrote


def _values(kind: str, values: list[Any]) -> np.ndarray:
    """Return a column of the episodes table."""
    if kind == "text":
        return np.array(values, str)
    if np.dtype(kind) not in (*_KINDS, *_STORED_AS):
        raise ValueError(f"an episode column of {kind!r}")
    return np.array(values, kind)


def _dataset(path: Path, found: _Survey) -> Dataset:
    """Return the dataset whose columns are the topics, as the metadata record says."""
    block = take_block({_BLOCK: found.metadata[_BLOCK].get("dataset")}, path)
    try:
        described = {name: (np.dtype(kind), tuple(map(int, shape))) for name, (kind, shape) in block["columns"].items()}
        lengths = [int(length) for length in block["episode_lengths"]]
        extra = {name: _values(kind, values) for name, (kind, values) in block["episode_columns"].items()}
        if any(kind not in (*_KINDS, *_STORED_AS) or min(shape, default=1) < 0 for kind, shape in described.values()):
            raise ValueError("a column of another kind")
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise FormatError(f"{path}: the metadata record {_BLOCK} is damaged: {error}") from error
    counts = {topic.name: topic.count for topic in found.topics()}
    columns: dict[str, np.ndarray] = {}
    for name, (kind, shape) in described.items():
        rows = counts.get(f"/{name}", 0)
        if rows * int(np.prod(shape, dtype=object)) * kind.itemsize > path.stat().st_size * _DENSEST:
            raise FormatError(f"{path}: column {name} claims rows of shape {list(shape)}; impossible")
        columns[name] = empty((rows, *shape), kind)
    filled = dict.fromkeys(columns, 0)
    channels = {number: channel for number, channel in found.channels.items() if channel.topic[1:] in columns}
    decoders = {number: _decoder(path, channel) for number, channel in channels.items()}
    for record in _records(path):
        if type(record).__name__ != "Message" or record.channel_id not in channels:
            continue
        name = channels[record.channel_id].topic[1:]
        with _damage_is_a_format_error(path):
            values = np.asarray(decoders[record.channel_id](record.data).data)
            columns[name][filled[name]] = values.reshape(columns[name].shape[1:])
        filled[name] += 1
    info = info_from(block, DatasetInfo(source=f"{TITLE} file {path.name}"), path)
    try:
        dataset = Dataset(columns, lengths, info=info, episode_columns=extra)
    except DatasetError as error:
        raise DatasetError(f"{path}: {error}") from error
    return with_history(dataset, block, path)


# -------------------------------------------------------------------- writing


def write(dataset: Dataset, path: Path, *, overwrite: bool = False, progress: Progress | None = None) -> None:
    """Write a dataset as a recording of ROS 2 messages, whole or not at all.

    Parameters
    ----------
    dataset : Dataset
    path : Path
    overwrite : bool

    Warns
    -----
    AssayWarning
        Once, with the names of what has no message type.

    Raises
    ------
    DatasetError
        If observations, actions or rewards have no message type, or the file exists and `overwrite` is False.
    ConfigError
        If a package is missing (`pip install assay[bags]`).
    """
    try:
        from mcap.writer import Writer
        from rosbags.typesys import Stores, get_typestore
    except ImportError as error:
        raise ConfigError("MCAP files need mcap and rosbags: pip install assay[bags]") from error
    dataset = in_machine_order(dataset, TITLE)
    held = [name for name in dataset.columns if _is_held(name, dataset.column(name))]
    for name in dataset.columns:
        if name not in held and any(is_under(name, top) for top in ("observations", "actions", "rewards")):
            raise DatasetError(f"column {name} is {dataset.column(name).dtype}, for which ROS has no messages")
    report_losses(dataset, TITLE, [name for name in dataset.columns if name not in held])
    store = get_typestore(Stores.ROS2_HUMBLE)
    with atomic_file(path, overwrite=overwrite) as temporary, temporary.open("wb") as file:
        writer: Any = Writer(file, enable_data_crcs=True)
        writer.start(profile="ros2", library="assay")
        writer.add_metadata(_BLOCK, {"dataset": _block(dataset, held)})
        of_steps, of_observations = _stamps(dataset)
        streams = []
        for name in held:
            array = dataset.column(name)
            kind = _kind(array)
            definition = store.generate_msgdef(kind, ros_version=2)[0].encode()
            channel = writer.register_channel(f"/{name}", "cdr", writer.register_schema(kind, "ros2msg", definition))
            make = _maker(store, kind, array, dataset.info.names.get(name, ()))
            stamps = of_steps if len(array) == dataset.total_steps else of_observations
            streams.append(_encoded(store, kind, make, array, stamps, channel))
        total = sum(len(dataset.column(name)) for name in held)
        for number, (stamp, channel, data) in enumerate(heapq.merge(*streams, key=lambda item: item[:2])):
            writer.add_message(channel, stamp, data, stamp)
            if progress is not None and number % _MESSAGES_BETWEEN_REPORTS == 0:
                progress(number, total)
        writer.finish()


def _is_held(name: str, array: np.ndarray) -> bool:
    kinds = (*_KINDS, *_STORED_AS)
    return (
        array.dtype in kinds and not is_under(name, "truth") and 0 < int(np.prod(array.shape[1:], dtype=object)) < 2**31
    )


def _kind(array: np.ndarray) -> str:
    """Return the type of message for the rows of a column."""
    if array.dtype == np.uint8 and array.ndim == 4 and array.shape[3] in (1, 3, 4):
        return _IMAGE
    return _KINDS[_STORED_AS.get(array.dtype, array.dtype)]


def _maker(store: Any, kind: str, array: np.ndarray, names: Sequence[str]) -> Callable[[np.ndarray, int], Any]:
    """Return what makes a message of a row and its stamp."""
    types, shape = store.types, array.shape[1:]
    if kind == _IMAGE:
        time, header, image = (types[name] for name in ("builtin_interfaces/msg/Time", "std_msgs/msg/Header", _IMAGE))
        encoding = {1: "mono8", 3: "rgb8", 4: "rgba8"}[shape[2]]
        line = shape[1] * shape[2]
        return lambda row, stamp: image(
            header(time(*divmod(stamp, 1_000_000_000)), ""),
            *shape[:2],
            encoding,
            0,
            line,
            np.ascontiguousarray(row).reshape(-1),
        )
    stored = np.dtype(_STORED_AS.get(array.dtype, array.dtype))
    texts = [",".join(names)] if len(shape) == 1 else [f"dimension {number}" for number in range(len(shape))]
    sizes = [int(np.prod(shape[number:], dtype=np.int64)) for number in range(len(shape))]
    dimensions = [
        types["std_msgs/msg/MultiArrayDimension"](*item) for item in zip(texts, map(int, shape), sizes, strict=True)
    ]
    layout = types["std_msgs/msg/MultiArrayLayout"](dimensions, 0)
    return lambda row, stamp: types[kind](layout, np.ascontiguousarray(row, stored).reshape(-1))


def _encoded(
    store: Any,
    kind: str,
    make: Callable[[np.ndarray, int], Any],
    array: np.ndarray,
    stamps: np.ndarray,
    channel: int,
) -> Iterator[tuple[int, int, bytes]]:
    for row, stamp in zip(array, stamps.tolist(), strict=True):
        yield stamp, channel, store.serialize_cdr(make(row, stamp), kind).tobytes()


def _stamps(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Return nanoseconds of the (N,) steps and the (N+E,) observations; each episode begins a moment behind the last one."""
    episode, first = dataset.episode_of_step, dataset.episode_starts
    steps = (np.arange(dataset.total_steps) - first[episode]) * _STEP_NANOSECONDS
    if "time" in dataset.columns:
        seconds = dataset.column("time").astype(np.float64)
        with np.errstate(invalid="ignore"):
            measured = np.round((seconds - seconds[first][episode]) * 1e9)
        inside = np.diff(episode) == 0
        if np.isfinite(measured).all() and (np.diff(measured)[inside] > 0).all() and measured.max(initial=0) < 2**62:
            steps = measured.astype(np.int64)
    lasts = np.cumsum(dataset.episode_lengths) - 1
    spans = steps[lasts] + _STEP_NANOSECONDS
    steps = steps + (np.cumsum(spans + _STEP_NANOSECONDS) - (spans + _STEP_NANOSECONDS))[episode]
    observations = np.insert(steps, lasts + 1, steps[lasts] + _STEP_NANOSECONDS)
    return steps, observations


def _block(dataset: Dataset, held: Sequence[str]) -> str:
    columns = {name: (dataset.column(name).dtype.str, dataset.column(name).shape[1:]) for name in held}
    of_episodes = {
        name: ("text" if array.dtype.kind == "U" else array.dtype.str, array.tolist())
        for name, array in dataset.episode_columns.items()
        if array.dtype.kind == "U" or array.dtype in (*_KINDS, *_STORED_AS)
    }
    return block_for(
        dataset, columns=columns, episode_lengths=dataset.episode_lengths.tolist(), episode_columns=of_episodes
    )
