"""From a recording of topics, each on a clock of its own, to the rows of a dataset on one clock.

::

    /pose       x0    x1    x2    x3            the clock: a topic, or a rate in hertz
    /command       u0          u1               others: the last message that came before (`how`: previous), the nearest,
    row            0     1     2                or the next. Rows before a topic's first message are left out

Names that a mapping (`assay.datasets.tables.column_mapping`) may use are topics and the numbers in their messages::

    /pose                 all numbers of a message beside each other, its header left out; or its image
    /pose/position/x      one of them; lists of numbers that are always equally long are one name

Without another word a recording is one episode, and the clock is the topic that the observations begin with.
"""

from __future__ import annotations

import difflib
import json
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import yaml

from assay.datasets.dataset import Dataset, is_under
from assay.datasets.errors import AssayWarning, ConfigError, DatasetError, FormatError
from assay.datasets.formats.mapping import Arrays, Given, dataset_from_mapping
from assay.datasets.info import DatasetInfo
from assay.datasets.tables.column_mapping import ColumnMapping, as_mapping

__all__ = ["How", "Messages", "Topic", "dataset_from_topics", "propose_for_topics"]

How = Literal["previous", "nearest", "next"]
_HOW: tuple[How, ...] = ("previous", "nearest", "next")
_NANOSECONDS = 1_000_000_000
_MOST_ROWS = 1000  # for each message
_NOT_MEASURED = ("header", "layout", "timestamp", "timestamp_sample")  # fields of messages
_LISTED = 40  # topics in a message
_TIME = "clock of the recording"  # its name among the arrays


@dataclass(frozen=True)
class Messages:
    """The messages of one topic.

    Parameters
    ----------
    stamps : (M,) int64
        Nanoseconds, ascending.
    fields : mapping of str to (M, ...) array
        What has a row per message.
    labels : mapping of str to tuple of str
        Field -> names of its entries, where the messages say them.
    whole : callable, optional
        Returns what the topic's own name stands for, (M, ...), where that is not all numbers beside each other: images.
    """

    stamps: np.ndarray
    fields: Mapping[str, np.ndarray]
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    whole: Callable[[], np.ndarray] | None = None

    def beside_each_other(self) -> tuple[np.ndarray, tuple[str, ...]]:
        """Return all numbers of a message as one row, and their names; headers are left out."""
        names = [name for name in self.fields if name.split("/")[0] not in _NOT_MEASURED]
        parts = [self.fields[name].reshape(len(self.stamps), -1) for name in names]
        if not parts:
            return np.zeros((len(self.stamps), 0)), ()
        labels = [
            label for name, part in zip(names, parts, strict=True) for label in self.names_of(name, part.shape[1])
        ]
        return np.concatenate(parts, axis=1, dtype=np.result_type(*parts)), tuple(labels)

    def names_of(self, name: str, width: int) -> tuple[str, ...]:
        """Return the names of the entries of a field."""
        known = self.labels.get(name)
        if known is not None and len(known) == width:
            return tuple(f"{name}/{label}" for label in known) if len(self.fields) > 1 else known
        return (name,) if width == 1 else tuple(f"{name}[{number}]" for number in range(width))


@dataclass(frozen=True)
class Topic:
    """One topic of a recording.

    Parameters
    ----------
    name, kind : str
        Its name, and the type of its messages.
    count : int
    seconds : float
        From the first message to the last.
    """

    name: str
    kind: str
    count: int
    seconds: float

    def __str__(self) -> str:
        rate = f" at {(self.count - 1) / self.seconds:.4g} Hz" if self.count > 1 and self.seconds > 0 else ""
        return f"{self.name} ({self.kind}, {self.count} messages{rate})"


def dataset_from_topics(
    topics: Sequence[Topic],
    read: Callable[[Sequence[str]], Mapping[str, Messages]],
    *,
    where: object,
    columns: Given,
    clock: str | float | None = None,
    how: How | Mapping[str, How] = "previous",
    info: DatasetInfo | None = None,
) -> Dataset:
    """Make a dataset of a recording.

    Parameters
    ----------
    topics : sequence of Topic
    read : callable
        Told the names of topics, returns their messages.
    where : object
        The file, for messages.
    columns : mapping, or path of a YAML file
        Columns of the dataset -> topics or numbers of their messages.
    clock : str or float, optional
        The topic whose messages make the rows, or a rate in hertz. Default: `time` of the mapping, else the topic of the
        first observation.
    how : {"previous", "nearest", "next"}, or mapping of column to one of them
        Which message of another topic belongs to a row.
    info : DatasetInfo, optional

    Warns
    -----
    AssayWarning
        About rows before a topic's first message, or behind its last for `next`, which are left out; and about no end flags.

    Raises
    ------
    ConfigError, FormatError
        If nothing is mapped, or what is not there; with the topics and a mapping to start from.

    Examples
    --------
    >>> pose = Messages(np.array([0, 10, 20, 30]), {"x": np.arange(4.0), "y": np.zeros(4)})
    >>> command = Messages(np.array([5, 25]), {"u": np.array([1.0, 2.0])})
    >>> topics = [Topic("/pose", "Pose", 4, 3e-8), Topic("/command", "Twist", 2, 2e-8)]
    >>> mapping = {"observations": "/pose", "actions": "/command", "rewards": "/pose/y", "ends": "truncated"}
    >>> with warnings.catch_warnings(action="ignore"):  # that the first pose came before any command
    ...     dataset = dataset_from_topics(
    ...         topics, lambda names: {"/pose": pose, "/command": command}, where="example", columns=mapping)
    >>> dataset.observations[:3, 0].tolist(), dataset.actions.ravel().tolist(), dataset.info.names["observations"]
    ([1.0, 2.0, 3.0], [1.0, 1.0, 2.0], ('x', 'y'))
    """
    mapping = as_mapping(columns, where)
    with_messages = _with_messages(topics, where)
    if not mapping.columns:
        raise FormatError(f"{where} is a recording of topics; {_listed(topics)}. {_proposal(with_messages)}")
    recording = _Recording(with_messages, mapping, read, where)
    ticks, of_clock = recording.ticks(clock if clock is not None else mapping.time)
    rows, kept = recording.rows(ticks, of_clock, how)
    if len(kept) < len(ticks):
        warnings.warn(
            f"{where}: {len(ticks) - len(kept)} of {len(ticks)} rows are left out, for which a topic has no message",
            AssayWarning,
            stacklevel=3,
        )
    arrays = Arrays(
        [*recording.places, _TIME], lambda name: ticks[kept] if name == _TIME else recording.array(name)[rows[name]]
    )
    said = replace(mapping, time=_TIME, time_unit="ns")
    if not said.tells_episodes:
        said = replace(said, episode_lengths="all")
    info = info or DatasetInfo()
    known = {"clock": of_clock or clock, "how": how if isinstance(how, str) else dict(how)}
    info = replace(info, extra={**info.extra, "recording": known})
    dataset = dataset_from_mapping(arrays, where=where, columns=said, info=info)
    names = {**dataset.info.names, **recording.names(dataset)}
    units = dataset.info.units
    return Dataset(
        {name: dataset.column(name) for name in dataset.columns},
        dataset.episode_lengths,
        info=replace(dataset.info, names=names, units=units),
        episode_columns=dataset.episode_columns,
    )


class _Recording:
    """The topics that a mapping speaks of."""

    def __init__(
        self,
        topics: Sequence[Topic],
        mapping: ColumnMapping,
        read: Callable[[Sequence[str]], Mapping[str, Messages]],
        where: object,
    ) -> None:
        self.topics = {topic.name: topic for topic in topics}
        self.mapping, self.where = mapping, where
        names = replace(mapping, time=None, gap=None, resets=False).names  # the clock may be a column, too
        self.places = {name: self._place(name) for name in names}
        self.clock = mapping.time
        wanted = list(dict.fromkeys(topic for topic, _ in self.places.values()))
        self._read = read
        self._messages = dict(read(wanted))
        self._whole: dict[str, np.ndarray] = {}
        for name, (topic, inside) in self.places.items():
            if inside and inside not in self._messages[topic].fields:
                fields = self._messages[topic].fields
                near = difflib.get_close_matches(inside, fields, n=1)
                hint = f"did you mean {topic}/{near[0]}?" if near else f"it has {', '.join(fields) or 'none'}"
                raise ConfigError(
                    f"{where}: the messages of {topic} have no numbers {inside!r}, always equally many; {hint}"
                )
            if not self.array(name).reshape(len(self._messages[topic].stamps), -1).shape[1]:
                raise ConfigError(
                    f"{where}: the messages of {self.topics[topic]} hold no numbers that are always equally many"
                )

    def _place(self, name: str) -> tuple[str, str]:
        """Return the topic of a name, and what it names inside: the longest topic that the name begins with."""
        found = [topic for topic in self.topics if name == topic or name.startswith(f"{topic}/")]
        if not found:
            near = difflib.get_close_matches(name, self.topics, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise ConfigError(f"{self.where}: there is no topic {name!r}; {hint}{_listed(self.topics.values())}")
        topic = max(found, key=len)
        return topic, name[len(topic) + 1 :]

    def array(self, name: str) -> np.ndarray:
        """Return what a name stands for, one row per message of its topic."""
        topic, inside = self.places[name]
        messages = self._messages[topic]
        if inside:
            return messages.fields[inside]
        if name not in self._whole:
            self._whole[name] = messages.beside_each_other()[0] if messages.whole is None else messages.whole()
        return self._whole[name]

    def ticks(self, clock: str | float | None) -> tuple[np.ndarray, str | None]:
        """Return the times of the rows in nanoseconds, and the topic that they are of."""
        if isinstance(clock, bool) or (not isinstance(clock, str | int | float) and clock is not None):
            raise ConfigError(f"{self.where}: clock must be a topic or a rate in hertz, not {clock!r}")
        if clock is None:
            clock = next(iter(self.places.values()))[0]
        if isinstance(clock, str):
            if clock not in self.topics:
                raise ConfigError(
                    f"{self.where}: there is no topic {clock!r} for the clock; {_listed(self.topics.values())}"
                )
            if clock not in self._messages:
                self._messages |= self._read([clock])
            return self._messages[clock].stamps, clock
        if not 0 < clock <= _NANOSECONDS:
            raise ConfigError(f"{self.where}: a clock of {clock} Hz cannot be; a rate above 0 belongs there")
        spans = [self._messages[topic].stamps for topic, _ in self.places.values()]
        first, last = max(int(stamps[0]) for stamps in spans), min(int(stamps[-1]) for stamps in spans)
        count = int((last - first) * clock / _NANOSECONDS) + 1 if last >= first else 0
        if count > _MOST_ROWS * sum(map(len, spans)):
            raise ConfigError(f"{self.where}: at {clock} Hz these are {count:,} rows; choose a lower rate")
        return first + np.round(np.arange(count) * (_NANOSECONDS / clock)).astype(np.int64), None

    def rows(
        self, ticks: np.ndarray, clock: str | None, how: How | Mapping[str, How]
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Return name -> message of its topic in each row, and the ticks that are kept."""
        found = {}
        valid = np.ones(len(ticks), bool)
        for name, (topic, _) in self.places.items():
            stamps = self._messages[topic].stamps
            place = np.arange(len(ticks)) if topic == clock else _at(stamps, ticks, self._how(name, how))
            valid &= (place >= 0) & (place < len(stamps))
            found[name] = place
        kept = np.flatnonzero(valid)
        if not len(kept):
            raise DatasetError(f"{self.where}: there is no row for which all of {', '.join(found)} have a message")
        return {name: place[kept] for name, place in found.items()}, kept

    def _how(self, name: str, how: How | Mapping[str, How]) -> How:
        if isinstance(how, Mapping):
            of_name = [column for column, source in self.mapping.columns.items() if name == source or name in source]
            if unknown := [column for column in how if not any(is_under(key, column) for key in self.mapping.columns)]:
                raise ConfigError(f"{self.where}: how speaks of {unknown[0]}, which the mapping does not")
            how = next((way for column, way in how.items() for key in of_name if is_under(key, column)), "previous")
        if how not in _HOW:
            raise ConfigError(f"{self.where}: how must be one of {', '.join(_HOW)}, not {how!r}")
        return how

    def names(self, dataset: Dataset) -> dict[str, tuple[str, ...]]:
        """Return column -> names of the entries of a row, as the messages say them."""
        result = {}
        for column, source in self.mapping.columns.items():
            if column not in dataset.columns or not (is_under(column, "observations") or is_under(column, "actions")):
                continue
            parts = [source] if isinstance(source, str) else source
            labels = [(part, label) for part in parts for label in self._labels(part)]
            short = tuple(label for _, label in labels)
            if len(set(short)) < len(short):
                short = tuple(f"{part}/{label}" for part, label in labels)
            if len(short) == int(np.prod(dataset.column(column).shape[1:], dtype=np.int64)):
                result[column] = short
        return result

    def _labels(self, name: str) -> tuple[str, ...]:
        topic, inside = self.places[name]
        messages = self._messages[topic]
        if inside:
            width = int(np.prod(messages.fields[inside].shape[1:], dtype=np.int64))
            return messages.labels.get(inside) or messages.names_of(inside, width)
        return () if messages.whole is not None else messages.beside_each_other()[1]


def _at(stamps: np.ndarray, ticks: np.ndarray, how: How) -> np.ndarray:
    """Return which message belongs to each tick; -1 or the number of messages where none does.

    Examples
    --------
    >>> stamps, ticks = np.array([10, 20]), np.array([9, 10, 14, 16, 21])
    >>> {way: _at(stamps, ticks, way).tolist() for way in ("previous", "nearest", "next")}
    {'previous': [-1, 0, 0, 0, 1], 'nearest': [0, 0, 0, 1, 1], 'next': [0, 0, 1, 1, 2]}
    """
    if how == "next":
        return np.searchsorted(stamps, ticks, side="left")
    before = np.searchsorted(stamps, ticks, side="right") - 1
    if how == "previous":
        return before
    low, high = np.maximum(before, 0), np.minimum(before + 1, len(stamps) - 1)
    return np.where(np.abs(ticks - stamps[low]) <= np.abs(stamps[high] - ticks), low, high)


def _listed(topics: Iterable[Topic]) -> str:
    texts = [str(topic) for topic in topics]
    more = f" and {len(texts) - _LISTED} more" if len(texts) > _LISTED else ""
    return f"its topics are {', '.join(texts[:_LISTED])}{more}"


def _proposal(topics: Sequence[Topic]) -> str:
    """Return, in a sentence, a mapping to start from."""
    return f"Say which they are: columns={json.dumps(_proposed(topics))}"


def _proposed(topics: Sequence[Topic]) -> dict[str, str]:
    """Return a mapping of the busiest topic that sounds like commands, and the busiest of the others
    that sounds like a state."""
    ordered = sorted((topic for topic in topics if not _is_bookkeeping(topic.kind)), key=lambda topic: -topic.count)
    acting = [topic.name for topic in ordered if any(word in topic.name.lower() for word in _ACTING)]
    seen = [topic.name for topic in ordered if topic.name not in acting and "image" not in topic.kind.lower()]
    seen.sort(key=lambda name: not any(word in name.lower() for word in _MEASURING))
    found = {"observations": seen[:1], "actions": acting[:1]}
    return {role: names[0] for role, names in found.items() if names} | {"ends": "truncated"}


def _with_messages(topics: Sequence[Topic], where: object) -> list[Topic]:
    """Return the topics that have messages; raise FormatError where none of them is about the robot."""
    found = [topic for topic in topics if topic.count]
    if not found:
        raise FormatError(f"{where} holds no messages, so there is nothing to learn from")
    if all(_is_bookkeeping(topic.kind) for topic in found):
        raise FormatError(
            f"{where} holds logs, parameters, frames and events of services only ({', '.join(map(str, found))}); there are "
            "no numbers to learn from"
        )
    return found


def propose_for_topics(topics: Sequence[Topic], where: object) -> str:
    """Return a mapping for a recording, as YAML to be edited.

    Raises
    ------
    FormatError
        If there are no messages to learn from.

    Examples
    --------
    >>> print(propose_for_topics([Topic("/pose", "Pose", 5, 0.4), Topic("/cmd", "Twist", 2, 0.1)], "run.bag"))
    # run.bag: 2 topics with messages
    observations: /pose  # the busiest topic that sounds like a state, or like no commands: Pose, 5 messages at 10 Hz
    actions: /cmd  # the busiest topic that sounds like commands: Twist, 2 messages at 10 Hz
    time: /pose  # its messages make the rows; others are taken as they were last
    ends: truncated  # somebody stopped recording
    <BLANKLINE>
    """
    there = {topic.name: topic for topic in _with_messages(topics, where)}
    proposed = _proposed(list(there.values()))
    reasons = {
        "observations": "the busiest topic that sounds like a state, or like no commands",
        "actions": "the busiest topic that sounds like commands",
    }
    lines = [f"# {where}: {len(there)} topics with messages"]
    for role, reason in reasons.items():
        if role in proposed:
            text = str(there[proposed[role]]).partition(" (")[2].removesuffix(")")
            lines.append(f"{role}: {_quoted(proposed[role])}  # {reason}: {text}")
        else:
            lines.append(f"# {role}: nothing sounds like it; one of {', '.join(there) or 'none'}")
    if "observations" in proposed:
        lines.append(
            f"time: {_quoted(proposed['observations'])}  # its messages make the rows; others are taken as they were last"
        )
    lines.append("ends: truncated  # somebody stopped recording")
    others = [topic for name, topic in there.items() if name not in proposed.values()]
    lines += [f"# not taken: {topic}" for topic in others]
    return "\n".join(lines) + "\n"


def _quoted(name: str) -> str:
    return yaml.safe_dump(name, width=1 << 16).splitlines()[0]


def _is_bookkeeping(kind: str) -> bool:
    """Tell whether messages of a type are about the running of the system rather than the robot."""
    starts = "rosgraph_msgs/", "rcl_interfaces/", "rosbag2_interfaces/", "tf/", "tf2_msgs/"
    return kind.startswith(starts) or kind.endswith("_Event")


_MEASURING = ("joint", "state", "pose", "odom", "attitude")
_ACTING = ("cmd", "command", "action", "control", "target", "setpoint")
