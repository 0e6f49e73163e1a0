"""Zarr replay buffers (Chi et al. 2023, Diffusion Policy, arXiv 2303.04137; UMI, arXiv 2402.10329), folders or .zip files.

::

    data/action                 (N, ...)
    data/<key>                  (N, ...) each: state, img, keypoint, robot0_eef_pos, camera0_rgb, ...
    meta/episode_ends           (E,) the row after each episode's last

Without a mapping `action` (or `actions`) becomes the actions and whatever else there is the observations, images left out
unless they are asked for. The final observation of an episode was not recorded, and nothing says how an episode ended.
A chunk that is not there is read by Zarr as zeros: here it is an error, unless `missing_chunks="fill"` says that they are.

Written is format 2 of Zarr, which those projects read. What their layout has no place for stands in the group `assay`:
final observations, and as an attribute the names of the columns, info and history. From it the dataset itself comes back.
"""

from __future__ import annotations

import math
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml

from assay.datasets.atomic import atomic_folder
from assay.datasets.dataset import Dataset, is_under
from assay.datasets.errors import AssayError, ConfigError, DatasetError, FormatError
from assay.datasets.formats.flat_hdf5 import block_for, info_from, take_block, with_history
from assay.datasets.formats.losses import report_losses
from assay.datasets.formats.mapping import Arrays, Given, dataset_from_mapping
from assay.datasets.formats.rows import episode_lengths_from_ends, in_machine_order
from assay.datasets.info import DatasetInfo
from assay.datasets.memory import empty
from assay.datasets.tables.column_mapping import as_mapping

__all__ = ["propose", "read", "sniff", "write"]

TITLE = "Zarr replay buffer"
LAYOUT = "folder, or file .zip"
ORDER = 35
CANNOT_HOLD = "text, foreign byte order"

MARKS = ("data/.zgroup", "meta/.zgroup", "data/zarr.json", "meta/zarr.json")
_ENDS = "meta/episode_ends"
_BLOCK = "assay"
_DESCRIPTIONS = (".zarray", ".zattrs", "zarr.json")
_ACTIONS = ("action", "actions")
_ARRAY = {"observations": "state", "actions": "action", "rewards": "reward"}
_CODECS = {"blosc", "zstd", "zlib", "gzip", "lz4", "bytes", "crc32c", "shuffle", "delta"}
_SLACK = 1 << 12  # bytes that a codec may add to a chunk
_DENSEST = 20_000  # bytes for each byte that is stored
_LARGEST_CHUNK = 1 << 31


def sniff(path: Path) -> bool:
    """Tell whether `path` is a Zarr group, or a zip file of one, with meta/episode_ends."""
    names = [f"{_ENDS}/{name}" for name in (".zarray", "zarr.json")]
    try:
        if path.is_dir():
            return any((path / name).is_file() for name in names)
        if not zipfile.is_zipfile(path):
            return False
        with zipfile.ZipFile(path) as archive:
            return bool({*names} & {*archive.namelist()})
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError, RuntimeError):
        return False


def read(
    path: Path,
    *,
    columns: Given = None,
    images: Sequence[str] = (),
    missing_chunks: Literal["refuse", "fill"] = "refuse",
) -> Dataset:
    """Read a replay buffer.

    Parameters
    ----------
    path : Path
    columns : mapping, or path of a YAML file, optional
        Column of the dataset -> key or keys below `data`; see `assay.datasets.tables.column_mapping`.
    images : sequence of str
        Keys of images to read without a mapping. Others are listed in `info.extra["zarr"]["images"]`.
    missing_chunks : {"refuse", "fill"}
        What to do where chunks of an array are not there: Zarr leaves those out that hold its fill value only, and an
        incomplete copy looks the same.

    Returns
    -------
    Dataset

    Warns
    -----
    AssayWarning
        About end flags, which the layout does not have, and about arrays that cannot be read.

    Raises
    ------
    FormatError, DatasetError
        If the buffer is damaged or incomplete; with the array.
    ConfigError
        If zarr is missing (`pip install assay[zarr]`), or an option names what is not there.

    Examples
    --------
    >>> import tempfile
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(5.0), actions=np.zeros((3, 1)), rewards=np.ones(3),
    ...     terminations=[False, True, False], truncations=[False, False, True])
    >>> folder = Path(tempfile.mkdtemp(), "example.zarr")
    >>> write(dataset, folder)
    >>> read(folder) == dataset
    True
    """
    if missing_chunks not in ("refuse", "fill"):
        raise ConfigError(f'missing_chunks is "refuse" or "fill", not {missing_chunks!r}')
    with _open(path) as buffer:
        buffer.fill = missing_chunks == "fill"
        block = take_block({_BLOCK: buffer.attribute(_BLOCK)}, path)
        if block and columns is None and not images:
            return _dataset(buffer, block)
        names = buffer.below("data")
        ends = buffer.read(_ENDS)
        if columns is None:
            columns = _usual(buffer, names, images)
        elif images:
            raise ConfigError(f"{path}: images are named in the mapping, or in images; not in both")
        mapping = as_mapping(columns, path)
        if not mapping.tells_episodes:
            mapping = mapping.merged(path, episode_ends=_ENDS)
        arrays = Arrays(
            [*(name for name in names if name in mapping.names), _ENDS],
            lambda name: ends if name == _ENDS else buffer.read(f"data/{name}"),
        )
        if unknown := [name for name in mapping.names if name not in arrays]:
            raise ConfigError(f"{path}: there is no array {unknown[0]!r} in data; there are {', '.join(names)}")
        left = [name for name in names if name not in mapping.names]
        extra = {"images": [name for name in left if buffer.is_image(name)]}
        extra["not_read"] = [name for name in left if not buffer.is_image(name)]
        known = {key: value for key, value in extra.items() if value}
        info = DatasetInfo(
            id=path.name.split(".")[0], source=f"{TITLE} {path.name}", extra={"zarr": known} if known else {}
        )
        return dataset_from_mapping(arrays, where=path, columns=mapping, info=info)


def propose(path: Path) -> str:
    """Return a mapping for `path`, as YAML to be edited."""
    with _open(path) as buffer:
        names = buffer.below("data")
        usual = _usual(buffer, names, ())
        left = [name for name in names if name not in as_mapping(usual, path).names]
        lines = [f"# {path}: {len(names)} arrays; the row after each episode's last stands in {_ENDS}"]
        lines.append(yaml.safe_dump({**usual, "ends": "truncated"}, sort_keys=False).rstrip())
        lines += [f"# not taken: {name}{' (images)' if buffer.is_image(name) else ''}" for name in left]
        return "\n".join(lines) + "\n"


def _usual(buffer: _Buffer, names: Sequence[str], images: Sequence[str]) -> dict[str, Any]:
    """Return the mapping that the layout's own names make."""
    if isinstance(images, str):
        raise ConfigError(f"images is {images!r}; a list of keys belongs there, such as [{images!r}]")
    for name in images:
        if name not in names or not buffer.is_image(name):
            there = [name for name in names if buffer.is_image(name)]
            raise ConfigError(f"{buffer.path}: there are no images {name!r}; there are {', '.join(there) or 'none'}")
    acted = next((name for name in _ACTIONS if name in names), None)
    rewarded = next((name for name in ("reward", "rewards") if name in names), None)
    seen = [
        name
        for name in names
        if name not in (acted, rewarded) and buffer.is_readable(name) and (not buffer.is_image(name) or name in images)
    ]
    unreadable = [name for name in names if not buffer.is_readable(name)]
    if unreadable and not seen:
        buffer.read(f"data/{unreadable[0]}")  # says why it cannot be read
    found: dict[str, Any] = (
        {"observations": seen[0] if len(seen) == 1 else {name: name for name in seen}} if seen else {}
    )
    found |= {"actions": acted} if acted is not None else {}
    return found | ({"rewards": rewarded} if rewarded is not None else {})


# -------------------------------------------------------------------- the arrays of a store


@contextmanager
def _open(path: Path) -> Iterator[_Buffer]:
    """Open a buffer; whatever zarr raises on damage while it is open is a FormatError."""
    try:
        import zarr
    except ImportError as error:
        raise ConfigError("Zarr buffers need zarr: pip install assay[zarr]") from error
    if not path.exists():
        raise FormatError(f"{path} is missing; copy the dataset again")
    try:
        if path.is_dir():
            store: Any = zarr.storage.LocalStore(path, read_only=True)
        else:
            store = zarr.storage.ZipStore(path, mode="r")
        try:
            yield _Buffer(path, zarr.open_group(store, mode="r"))
        finally:
            store.close()
    except AssayError:
        raise
    except MemoryError as error:
        raise FormatError(f"{path} is damaged: it asks for more memory than there is") from error
    except Exception as error:  # zarr and its codecs report damage by errors of many kinds
        text = " ".join(str(error).split()) or type(error).__name__
        raise FormatError(f"{path} is incomplete or damaged ({text}); copy it again") from error


class _Buffer:
    """The arrays of a buffer, each checked before it is read."""

    def __init__(self, path: Path, root: Any) -> None:
        self.path, self.root, self.fill = path, root, False
        self._reasons: dict[str, str] = {}
        self._arrays: dict[str, Any] = {}
        if path.is_dir():
            files = (file for file in path.rglob("*") if file.is_file() and not file.is_symlink())
            self._sizes = {file.relative_to(path).as_posix(): file.stat().st_size for file in files}
        else:
            with zipfile.ZipFile(path) as archive:
                self._sizes = {info.filename: info.file_size for info in archive.infolist() if not info.is_dir()}

    def attribute(self, name: str) -> Any:
        value = dict(self.root.attrs).get(name)
        if value is not None and not isinstance(value, str):
            raise FormatError(f"{self.path}: the attribute {name} is no text; it is damaged")
        return value

    def below(self, group: str) -> list[str]:
        """Return the names of the arrays in a group."""
        start = f"{group}/"
        found = {
            name[len(start) :].rpartition("/")[0]
            for name in self._sizes
            if name.startswith(start) and name.rpartition("/")[2] in (".zarray", "zarr.json")
        }
        names = sorted(name for name in found if name and self._is_array(f"{group}/{name}"))
        if not names:
            raise FormatError(f"{self.path}: there are no arrays in {group}")
        return names

    def _is_array(self, name: str) -> bool:
        return self._array(name) is not None or name in self._reasons

    def _array(self, name: str) -> Any:
        """Return an array, or None where it is a group, or cannot be read for a reason that is noted."""
        import zarr

        if name not in self._arrays:
            try:
                with warnings.catch_warnings(action="ignore"):  # zarr's own, about codecs without a specification
                    found = self.root[name]
                self._arrays[name] = found if isinstance(found, zarr.Array) else None
                if self._arrays[name] is not None and (reason := _unreadable(found)):
                    self._reasons[name], self._arrays[name] = reason, None
            except Exception as error:  # a codec that is not installed, or damage
                self._arrays[name] = None
                self._reasons[name] = " ".join(str(error).split()) or type(error).__name__
        return self._arrays[name]

    def is_readable(self, name: str) -> bool:
        return self._array(f"data/{name}") is not None

    def is_image(self, name: str) -> bool:
        """Tell whether an array in `data` holds images, or what only a codec for images unpacks."""
        array = self._array(f"data/{name}")
        if array is None:
            return "codec" in self._reasons.get(f"data/{name}", "")
        return bool(array.dtype == np.uint8 and array.ndim == 4)

    def read(self, name: str) -> np.ndarray:
        """Read an array, after comparing what it declares with what is stored."""
        where = f"{self.path}: array {name}"
        array = self._array(name)
        if array is None:
            raise FormatError(
                f"{where} cannot be read: {self._reasons[name]}" if name in self._reasons else f"{where} is missing"
            )
        stored = {
            key: size
            for key, size in self._sizes.items()
            if key.startswith(f"{name}/") and key.rpartition("/")[2] not in _DESCRIPTIONS
        }
        size = math.prod(array.shape) * array.dtype.itemsize
        chunk = math.prod(array.chunks) * array.dtype.itemsize
        expected = math.prod(-(-rows // length) for rows, length in zip(array.shape, array.chunks, strict=True))
        if chunk > min(_LARGEST_CHUNK, max(1 << 24, 4 * size)) or (size and not math.prod(array.chunks)):
            raise FormatError(f"{where}: stored in chunks of {chunk} bytes; it is damaged")
        if len(stored) != expected and not (self.fill and len(stored) < expected):
            raise FormatError(
                f"{where} has {len(stored)} of its {expected} chunks; the copy is incomplete, or the others hold nothing but "
                f'{array.fill_value}: missing_chunks="fill" takes them so'
            )
        if size > max(sum(stored.values()) * _DENSEST, 1 << 24):
            raise FormatError(f"{where} declares {size} bytes, but {sum(stored.values())} are stored; impossible")
        for key, length in stored.items():
            if length > chunk + chunk // 8 + _SLACK:
                raise FormatError(f"{where}: chunk {key} has {length} bytes for {chunk}; it is damaged")
            self._check_chunk(key, _codec_names(array), chunk, where)
        result = empty(array.shape, array.dtype.newbyteorder("="))
        if not size:
            return result
        step = max(1, (1 << 26) // max(1, chunk)) * array.chunks[0] if array.ndim else 1
        if not array.ndim:
            return np.asarray(array[()])
        for start in range(0, len(result), step):
            result[start : start + step] = array[start : start + step]
        return result

    def _check_chunk(self, key: str, codecs: Sequence[str], size: int, where: str) -> None:
        """Compare what a packed chunk says it holds with its size, before memory is set aside for it."""
        if not {*codecs} & {"blosc", "zstd", "lz4", "zlib", "gzip"}:
            return
        content = self._content(key)
        claimed = _unpacked_size(content, codecs[-1], size)
        if claimed != size:
            raise FormatError(f"{where}: chunk {key} says it holds {claimed} bytes, not {size}; it is damaged")

    def _content(self, key: str) -> bytes:
        if self.path.is_dir():
            return (self.path / key).read_bytes()
        with zipfile.ZipFile(self.path) as archive:
            return archive.read(key)


def _unpacked_size(content: bytes, codec: str, size: int) -> int:
    """Return how many bytes a packed chunk becomes, as far as it says; `size` where it does not."""
    if codec == "blosc":
        return int.from_bytes(content[4:8], "little") if len(content) >= 16 else -1
    if codec == "lz4":
        return int.from_bytes(content[:4], "little")
    if codec == "zstd":
        import zstandard

        said = zstandard.frame_content_size(content)
        return size if said < 0 else said
    try:
        packed = zlib.decompressobj(47)  # zlib or gzip
        return len(packed.decompress(content, size + 1))
    except zlib.error:
        return -1


def _codec_names(array: Any) -> list[str]:
    """Return the names of an array's codecs, in the order in which they pack."""
    names = []
    for codec in (*array.filters, *([array.serializer] if array.serializer is not None else []), *array.compressors):
        plain = codec.to_dict() if hasattr(codec, "to_dict") else codec.get_config()
        names.append(str(plain.get("name", plain.get("id"))))
    return names


def _unreadable(array: Any) -> str:
    """Return why an array is not read, or "". Codecs may do anything, so only known ones are used."""
    if strangers := [name for name in _codec_names(array) if name not in _CODECS]:
        return f"it is packed by the codec {strangers[0]}, which is not read; {', '.join(sorted(_CODECS))} are"
    return "" if array.dtype.kind in "biufc" else f"it holds {array.dtype}, and numbers are read"


# -------------------------------------------------------------------- what Assay wrote


def _dataset(buffer: _Buffer, block: Mapping[str, Any]) -> Dataset:
    """Return the dataset that Assay wrote."""
    path = buffer.path
    ends = buffer.read(_ENDS)
    try:
        names = {str(column): (str(name), bool(finals)) for column, (name, finals) in block["columns"].items()}
        of_episodes = {str(name): str(place) for name, place in block["episode_columns"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FormatError(f"{path}: the attribute {_BLOCK} is damaged: {error}") from error
    rows = {column: buffer.read(f"data/{name}") for column, (name, _) in names.items()}
    steps = len(next(iter(rows.values()), ()))
    lengths = episode_lengths_from_ends(ends, steps, f"{path}: {_ENDS}")
    columns = {}
    for column, (name, finals) in names.items():
        array = rows[column]
        if array.ndim == 0 or len(array) != steps:
            raise DatasetError(f"{path}: data/{name} has {array.shape[:1]} rows, but {_ENDS} ends at {steps}")
        columns[column] = _with_finals(array, buffer.read(f"{_BLOCK}/{name}"), lengths, path) if finals else array
    extra = {name: buffer.read(f"{_BLOCK}/{place}") for name, place in of_episodes.items()}
    info = info_from(block, DatasetInfo(source=f"{TITLE} {path.name}"), path)
    try:
        dataset = Dataset(columns, lengths, info=info, episode_columns=extra)
    except DatasetError as error:
        raise DatasetError(f"{path}: {error}") from error
    return with_history(dataset, block, path)


def _with_finals(rows: np.ndarray, finals: np.ndarray, lengths: np.ndarray, path: Path) -> np.ndarray:
    if finals.shape != (len(lengths), *rows.shape[1:]) or finals.dtype != rows.dtype:
        raise DatasetError(
            f"{path}: the final rows are {finals.dtype}{list(finals.shape)}, one per episode belongs there"
        )
    result = empty((len(rows) + len(lengths), *rows.shape[1:]), rows.dtype)
    places = np.cumsum(lengths + 1) - 1
    inside = np.ones(len(result), bool)
    inside[places] = False
    result[inside], result[places] = rows, finals
    return result


# -------------------------------------------------------------------- writing


def write(dataset: Dataset, path: Path, *, overwrite: bool = False) -> None:
    """Write a dataset as a folder that Diffusion Policy and UMI read, whole or not at all.

    Parameters
    ----------
    dataset : Dataset
    path : Path
    overwrite : bool

    Warns
    -----
    AssayWarning
        Once, with the names of what Zarr has no place for.

    Raises
    ------
    DatasetError
        If observations or actions hold text, or the folder exists and `overwrite` is False.
    ConfigError
        If zarr is missing (`pip install assay[zarr]`).
    """
    try:
        import zarr
    except ImportError as error:
        raise ConfigError("Zarr buffers need zarr: pip install assay[zarr]") from error
    dataset = in_machine_order(dataset, TITLE)
    held = [
        name for name in dataset.columns if dataset.column(name).dtype.kind in "biufc" and not is_under(name, "truth")
    ]
    for name in dataset.columns:
        if name not in held and any(is_under(name, top) for top in ("observations", "actions")):
            raise DatasetError(f"column {name} is {dataset.column(name).dtype}; Zarr buffers hold numbers")
    of_episodes = [name for name, array in dataset.episode_columns.items() if array.dtype.kind in "biufc"]
    lost = [name for name in dataset.columns if name not in held]
    report_losses(dataset, TITLE, lost + [name for name in dataset.episode_columns if name not in of_episodes])
    names = _names(held)
    has_finals = {name: len(dataset.column(name)) != dataset.total_steps for name in held}
    places = {name: f"episodes {number}" for number, name in enumerate(of_episodes)}
    block = {"columns": {name: (names[name], has_finals[name]) for name in held}, "episode_columns": places}
    finals = np.cumsum(dataset.episode_lengths + 1) - 1
    with atomic_folder(path, overwrite=overwrite) as folder:
        root = zarr.open_group(folder, mode="w", zarr_format=2)
        groups = {name: root.create_group(name) for name in ("data", "meta", _BLOCK)}
        _put(groups["meta"], "episode_ends", np.cumsum(dataset.episode_lengths), None)
        for name in held:
            array = dataset.column(name)
            _put(groups["data"], names[name], array, dataset.observation_rows if has_finals[name] else None)
            if has_finals[name]:
                _put(groups[_BLOCK], names[name], array, finals)
        for name, place in places.items():
            _put(groups[_BLOCK], place, dataset.episode_columns[name], None)
        root.attrs[_BLOCK] = block_for(dataset, **block)


def _names(columns: Sequence[str]) -> dict[str, str]:
    """Return column -> key in `data`, flat, each once."""
    result: dict[str, str] = {}
    for column in columns:
        top, _, below = column.partition("/")
        inside = below.replace("/", ".")
        key = _ARRAY.get(column) or (inside if top == "observations" else column.replace("/", "."))
        while key in result.values():
            key = f"{top}.{key}"
        result[column] = key
    return result


def _put(group: Any, name: str, array: np.ndarray, rows: np.ndarray | None) -> None:
    """Write an array, or chosen rows of it, chunk by chunk; every chunk, so that none can be missing unnoticed."""
    count = len(array) if rows is None else len(rows)
    row_bytes = max(1, array.dtype.itemsize * math.prod(array.shape[1:]))
    length = max(1, min(count, (1 << 22) // row_bytes)) or 1
    made = group.create_array(
        name,
        shape=(count, *array.shape[1:]),
        chunks=(length, *(max(1, size) for size in array.shape[1:])),
        dtype=array.dtype,
        config={"write_empty_chunks": True},
    )
    for start in range(0, count, length):
        place = slice(start, min(start + length, count))
        made[place] = array[place] if rows is None else array[rows[place]]
