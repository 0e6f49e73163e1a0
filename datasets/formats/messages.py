"""Messages of robots as arrays: the numbers in them, field by field, one row per message.

What a message holds is taken from the topic's first one; a field is read where every message has it, with equally many
numbers. Names beside them (`sensor_msgs/JointState.name`) become the names of the entries. Images are decoded when they are
asked for.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from assay.datasets.errors import FormatError
from assay.datasets.formats.topics import Messages
from assay.datasets.memory import empty

__all__ = ["decode_image", "messages_of", "ros_types"]

_DEEPEST = 16  # messages within messages
_MOST_FIELDS = 10_000
_NAMES = ("name", "names", "joint_names")
_CHANNELS = {"mono8": 1, "8UC1": 1, "rgb8": 3, "bgr8": 3, "8UC3": 3, "rgba8": 4, "bgra8": 4, "mono16": 1, "16UC1": 1}
_LARGEST_IMAGE = 1 << 28  # pixels


def messages_of(stamps: Sequence[int], messages: Sequence[Any], kind: str, where: str, *, by_header: bool) -> Messages:
    """Return the messages of one topic as arrays.

    Parameters
    ----------
    stamps : sequence of int
        Nanoseconds, when each was received.
    messages : sequence
        Objects with fields, or dicts.
    kind : str
        Their type, such as `"sensor_msgs/msg/JointState"`.
    where : str
        For messages.
    by_header : bool
        Take the stamps of the messages' headers in place of those of reception.

    Raises
    ------
    FormatError
        If the headers are asked for and there are none.

    Examples
    --------
    >>> found = messages_of([5, 9], [{"pose": {"x": 1.0}, "label": "a"}, {"pose": {"x": 2.0}, "label": "b"}], "Pose", "/pose",
    ...     by_header=False)
    >>> {name: array.tolist() for name, array in found.fields.items()}
    {'pose/x': [1.0, 2.0]}
    """
    fields: dict[str, np.ndarray] = {}
    texts: dict[str, list[tuple[str, ...]]] = {}
    image = _is_image(kind)
    for name, path in _paths(messages[0], (), image=image):
        values = [_follow(message, path) for message in messages]
        if name.rpartition("/")[2] in _NAMES and _is_texts(values[0]):
            texts[name.rpartition("/")[0]] = [tuple(value) for value in values]
        elif (array := _array(values)) is not None:
            fields[name] = array
    named: dict[str, tuple[str, ...]] = {}
    for name, array in fields.items():
        labels = texts.get(name.rpartition("/")[0])
        if labels is not None and array.shape[1:] == (len(labels[0]),):
            fields[name], named[name] = _in_one_order(array, labels, f"{where}/{name}"), labels[0]
    times = np.array(stamps, np.int64)
    if by_header:
        if "header/stamp" not in fields:
            raise FormatError(f"{where}: its messages ({kind}) have no header with a stamp; leave stamps out")
        times = fields["header/stamp"]
    order = np.argsort(times, kind="stable")
    if not np.array_equal(order, np.arange(len(order))):
        messages = [messages[row] for row in order.tolist()]
        times, fields = times[order], {name: array[order] for name, array in fields.items()}
    whole: Callable[[], np.ndarray] | None = (lambda: _images(messages, where)) if image else None
    return Messages(times, fields, named, whole)


def _in_one_order(array: np.ndarray, labels: Sequence[tuple[str, ...]], where: str) -> np.ndarray:
    """Return numbers (messages, names) in the order in which the first message names them.

    Raises
    ------
    FormatError
        If a message names others: two senders share the topic.

    Examples
    --------
    >>> _in_one_order(np.array([[1, 2], [4, 3]]), [("hip", "knee"), ("knee", "hip")], "/joints").tolist()
    [[1, 2], [3, 4]]
    """
    first, result = labels[0], array
    for row, own in enumerate(labels):
        if own == first or not own:
            continue
        if sorted(own) != sorted(first) or len(set(first)) < len(first):
            raise FormatError(
                f"{where}: message {row} is about {', '.join(own)}, but message 0 about {', '.join(first)}; two senders share the "
                "topic, so record each under a topic of its own"
            )
        if result is array:
            result = array.copy()
        result[row] = array[row, [own.index(name) for name in first]]
    return result


def _is_image(kind: str) -> bool:
    return kind.replace("/msg/", "/") in ("sensor_msgs/Image", "sensor_msgs/CompressedImage")


def _paths(message: Any, path: tuple[str, ...], *, image: bool) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield name and path of whatever in a message is no message itself."""
    waiting = [(path, message)]
    seen = 0
    while waiting:
        path, value = waiting.pop(0)
        seen += 1
        if seen > _MOST_FIELDS or len(path) > _DEEPEST:
            return
        inside = _fields(value)
        if inside is None or _is_stamp(inside):
            if not (image and path == ("data",)):
                yield "/".join(path), path
        else:
            waiting[:0] = [
                ((*path, key), getattr(value, key) if not isinstance(value, dict) else value[key]) for key in inside
            ]


def _fields(value: Any) -> list[str] | None:
    if isinstance(value, dict):
        return [key for key in value if isinstance(key, str) and key]
    known = getattr(type(value), "__dataclass_fields__", None)
    return None if known is None else [key for key in known if not key.startswith("__")]


def _is_stamp(fields: Sequence[str]) -> bool:
    return set(fields) in ({"sec", "nanosec"}, {"sec", "nsec"})


def _follow(message: Any, path: Sequence[str]) -> Any:
    """Return what lies at a path; None where it ends before."""
    for key in path:
        message = message.get(key) if isinstance(message, dict) else getattr(message, key, None)
    fields = _fields(message)
    if fields is None:
        return message
    parts = [message.get(key) if isinstance(message, dict) else getattr(message, key) for key in fields]
    if not _is_stamp(fields) or not all(isinstance(part, int) for part in parts):
        return None
    seconds, rest = int(parts[fields.index("sec")] or 0), int(parts[1 - fields.index("sec")] or 0)
    return seconds * 1_000_000_000 + rest


def _is_texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(text, str) for text in value)


def _array(values: Sequence[Any]) -> np.ndarray | None:
    """Return one row per message; None where these are no numbers, or not always equally many."""
    first = values[0]
    if isinstance(first, str | bytes) or first is None:
        return None
    try:
        shape = np.shape(first)
        if any(np.shape(value) != shape for value in values):
            return None
        array = np.array(values)
    except (ValueError, TypeError, OverflowError):
        return None
    return array if array.dtype.kind in "biuf" and math.prod(array.shape[1:]) else None


# -------------------------------------------------------------------- images


def _images(messages: Sequence[Any], where: str) -> np.ndarray:
    """Return (M, height, width, channels) pixels; RGB where there are three."""
    first = _image(messages[0], where)
    result = empty((len(messages), *first.shape), first.dtype)
    for row, message in enumerate(messages):
        pixels = _image(message, where)
        if pixels.shape != first.shape or pixels.dtype != first.dtype:
            raise FormatError(
                f"{where}: image {row} is {pixels.dtype}{list(pixels.shape)}, the first {first.dtype}{list(first.shape)}"
            )
        result[row] = pixels
    return result


def _image(message: Any, where: str) -> np.ndarray:
    if not hasattr(message, "encoding"):
        return decode_image(bytes(message.data), where)
    encoding = str(message.encoding)
    channels = _CHANNELS.get(encoding)
    if channels is None:
        raise FormatError(f"{where}: images of encoding {encoding!r} are not decoded; {', '.join(_CHANNELS)} are")
    kind = np.dtype(">u2" if message.is_bigendian else "<u2") if "16" in encoding else np.dtype("u1")
    width = int(message.width) * channels * kind.itemsize
    if not width or int(message.step) < width or len(message.data) != int(message.step) * int(message.height):
        raise FormatError(
            f"{where}: an image of {message.width} x {message.height} has {len(message.data)} bytes; it is damaged"
        )
    lines = np.asarray(message.data, np.uint8).reshape(int(message.height), -1)[:, :width]
    pixels = np.ascontiguousarray(lines).view(kind).reshape(int(message.height), int(message.width), channels)
    if encoding.startswith("bgr"):
        pixels = pixels[..., [2, 1, 0, *range(3, channels)]]
    return pixels.astype(kind.newbyteorder("="))


def decode_image(content: bytes, where: str) -> np.ndarray:
    """Decode a JPEG or PNG image: (height, width, channels), RGB where there are three.

    Raises
    ------
    FormatError
        If it is neither, damaged, or too large to be one.
    """
    from PIL import Image

    try:
        image = Image.open(io.BytesIO(content), formats=["JPEG", "PNG"])
        if image.width * image.height > _LARGEST_IMAGE:
            raise FormatError(f"{where}: an image of {image.width} x {image.height}; it is damaged")
        pixels = np.asarray(image.convert("RGB") if image.mode in ("P", "CMYK", "YCbCr") else image)
    except FormatError:
        raise
    except Exception as error:  # Pillow's plugins raise what they like on damage
        raise FormatError(f"{where}: a damaged image ({error}); copy the file again") from error
    return pixels[..., None] if pixels.ndim == 2 else pixels


# -------------------------------------------------------------------- types


def ros_types(definitions: Mapping[str, str], *, version: int) -> tuple[Any, dict[str, str]]:
    """Return rosbags' store of message types, and type -> reason for those that it does not understand.

    Parameters
    ----------
    definitions : mapping of str to str
        Type -> its definition, with those of the messages inside it.
    version : {1, 2}
        Of ROS.
    """
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    store = get_typestore(Stores.EMPTY)
    unread = {}
    for kind, text in definitions.items():
        name = kind if "/msg/" in kind or version == 2 else kind.replace("/", "/msg/")
        try:
            found = get_types_from_msg(text, name)
            store.register({key: value for key, value in found.items() if key not in store.fielddefs})
        except Exception as error:  # rosbags reports what it does not understand by errors of many kinds
            unread[kind] = " ".join(str(error).split())[:200]
    return store, unread
