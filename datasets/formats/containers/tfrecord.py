"""TFRecord files of `tf.train.Example`, without TensorFlow.

::

    record      length u64 | masked CRC of the length u32 | data | masked CRC of the data u32
    masked      ((crc >> 15) | (crc << 17)) + 0xa282ead8        of the CRC-32C

No package on PyPI reads the records without TensorFlow and verifies the checksums, so the framing is read here
(TensorFlow, core/lib/io/record_writer.h); google-crc32c computes the checksums and protobuf parses the messages, whose
fields are those of core/example/example.proto.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from assay.datasets.errors import ConfigError, FormatError
from assay.datasets.formats.containers.files import require_file

__all__ = ["read_examples"]

_MASK = 0xA282EAD8


def read_examples(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the examples of a file: name of a feature -> its list of bytes, of floats or of integers.

    Raises
    ------
    FormatError
        If the file is cut off, a checksum is wrong, or a record is no example; with the record.
    ConfigError
        If a package is missing (`pip install assay[rlds]`).
    """
    try:
        import google_crc32c
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise ConfigError("TFRecord files need google-crc32c and protobuf: pip install assay[rlds]") from error
    require_file(path)
    size, number = path.stat().st_size, 0
    with path.open("rb") as file:
        while file.tell() < size:
            where = f"{path}, record {number}"
            length = _checked(file.read(8), file.read(4), google_crc32c.value, where)
            count = int.from_bytes(length, "little")
            if count > size - file.tell():
                raise FormatError(f"{where} is cut off; copy the file again")
            data = _checked(file.read(count), file.read(4), google_crc32c.value, where)
            try:
                example = _example_class().FromString(data)
            except DecodeError as error:
                raise FormatError(f"{where} is no tf.train.Example") from error
            yield {name: _values(feature) for name, feature in example.features.feature.items()}
            number += 1


def _checked(data: bytes, checksum: bytes, crc: Any, where: str) -> bytes:
    value = crc(data)
    masked = ((value >> 15 | value << 17) + _MASK) & 0xFFFFFFFF
    if len(checksum) < 4 or int.from_bytes(checksum, "little") != masked:
        raise FormatError(f"{where} is cut off or damaged: its checksum is wrong; copy the file again")
    return data


def _values(feature: Any) -> Any:
    kind = feature.WhichOneof("kind")
    return [] if kind is None else getattr(feature, kind).value


@functools.cache
def _example_class() -> Any:
    """Return protobuf's class for `tf.train.Example`, in a pool of its own: TensorFlow may be there, too."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package="tensorflow", syntax="proto3")
    for name, kind in (
        ("BytesList", kinds.TYPE_BYTES),
        ("FloatList", kinds.TYPE_FLOAT),
        ("Int64List", kinds.TYPE_INT64),
    ):
        file.message_type.add(name=name).field.add(name="value", number=1, label=kinds.LABEL_REPEATED, type=kind)
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, name in enumerate(("BytesList", "FloatList", "Int64List"), 1):
        field = name.replace("List", "_list").lower()
        one = {"label": kinds.LABEL_OPTIONAL, "type": kinds.TYPE_MESSAGE, "type_name": f".tensorflow.{name}"}
        feature.field.add(name=field, number=number, oneof_index=0, **one)
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, label=kinds.LABEL_OPTIONAL, type=kinds.TYPE_STRING)
    inside = {"type": kinds.TYPE_MESSAGE, "type_name": ".tensorflow.Feature"}
    entry.field.add(name="value", number=2, label=kinds.LABEL_OPTIONAL, **inside)
    entries = {"type": kinds.TYPE_MESSAGE, "type_name": ".tensorflow.Features.FeatureEntry"}
    features.field.add(name="feature", number=1, label=kinds.LABEL_REPEATED, **entries)
    whole = {"type": kinds.TYPE_MESSAGE, "type_name": ".tensorflow.Features"}
    file.message_type.add(name="Example").field.add(name="features", number=1, label=kinds.LABEL_OPTIONAL, **whole)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.Example"))
