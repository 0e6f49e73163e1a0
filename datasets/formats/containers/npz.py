"""Reading .npz archives from strangers, and writing archives.

An archive is a zip file of .npy members. Whatever it declares is checked before memory is set aside: the header of a
member against its size, its size against what deflate can have made of it, and all members against the archive.
Nothing is unpacked to disk, and object arrays, which would be pickles, are never opened.
"""

from __future__ import annotations

import math
import struct
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from assay.datasets.errors import AssayError, FormatError
from assay.datasets.formats.containers.files import require_file
from assay.datasets.memory import empty

__all__ = ["MOST_DENSE", "NpzFile", "npz_names", "open_npz", "write_npz"]

_LARGEST_HEADER = 1 << 16  # bytes
MOST_DENSE = 1100  # deflate cannot shrink data further than 1032 times
_CHUNK_BYTES = 1 << 22
_KINDS = "biufcSU"
_FIRST_MEMBER = b"PK\x03\x04"
_NAME_LENGTH = 26  # where a member's record says how long its name and its extra field are, which follow
_LARGEST_DESCRIPTOR = 24  # bytes that may stand behind a member


class NpzFile:
    """The arrays of one archive; `open_npz` makes it.

    Parameters
    ----------
    path : Path
    archive : zipfile.ZipFile

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "example.npz")
    >>> np.savez(path, actions=np.arange(3))
    >>> with open_npz(path) as file:
    ...     file.names, file.describe("actions"), file.read("actions").tolist()
    (('actions',), (dtype('int64'), (3,)), [0, 1, 2])
    """

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self.path = path
        self._archive = archive
        self._members: dict[str, zipfile.ZipInfo] = {}
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            if name in self._members:
                raise FormatError(f"{path}: the archive holds {name!r} twice")
            self._members[name] = member
        _check_extents(path, archive)
        for name, member in self._members.items():
            # A damaged name would look like another array: each name stands in the archive twice, and they must agree.
            try:
                archive.open(member).close()
            except Exception as error:
                raise _damaged(f"{path}: array {name}", error) from error

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the arrays, in the order of the archive."""
        return tuple(self._members)

    def describe(self, name: str) -> tuple[np.dtype, tuple[int, ...]]:
        """Return dtype and shape of an array without reading it."""
        with self._open(name) as (_, dtype, shape, _):
            return dtype, shape

    def readable(self, name: str) -> bool:
        """Tell whether an array is one that can be read: numbers, booleans or text, and not objects.

        Raises
        ------
        FormatError
            If it cannot because it is damaged.
        """
        try:
            self.describe(name)
        except FormatError:
            self.check(name)
            return False
        return True

    def check(self, name: str) -> None:
        """Compare an array that is not going to be read with its checksum.

        Raises
        ------
        FormatError
            If it is damaged.
        """
        try:
            left = self._members[name].file_size
            with self._archive.open(self._members[name]) as stream:
                while part := stream.read(_CHUNK_BYTES):
                    left -= len(part)
            if left:
                raise ValueError(f"{left} bytes are missing")
        except Exception as error:
            raise _damaged(f"{self.path}: array {name}", error) from error

    def read(self, name: str) -> np.ndarray:
        """Read one array.

        Raises
        ------
        FormatError
            If it is missing, damaged, holds objects, or declares what cannot be true; with file and array.
        """
        with self._open(name) as (stream, dtype, shape, fortran_order):
            try:
                array = empty(shape[::-1] if fortran_order else shape, dtype)
                view = array.reshape(-1).view(np.uint8).data
                filled = 0
                while filled < len(view):
                    count = stream.readinto(view[filled : filled + _CHUNK_BYTES])  # type: ignore[attr-defined]
                    if not count:
                        break
                    filled += count
            except MemoryError:
                raise FormatError(
                    f"{self.path}: array {name} ({dtype}{list(shape)}) does not fit into memory"
                ) from None
            if filled != len(view) or stream.read(1):
                raise FormatError(f"{self.path}: array {name} is truncated or damaged; copy the file again")
            if dtype.kind == "b" and filled and array.view(np.uint8).max() > 1:
                raise FormatError(f"{self.path}: array {name} is damaged: it holds booleans other than 0 and 1")
            if dtype.kind == "U" and not _is_text(array):
                raise FormatError(f"{self.path}: array {name} is damaged: it holds characters that do not exist")
            return array.T if fortran_order else array

    @contextmanager
    def _open(self, name: str) -> Iterator[tuple[IO[bytes], np.dtype, tuple[int, ...], bool]]:
        if name not in self._members:
            raise FormatError(f"{self.path}: there is no array {name}; it holds {', '.join(self.names)}")
        member = self._members[name]
        where = f"{self.path}: array {name}"
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or member.flag_bits & 1:
            raise FormatError(f"{where} is encrypted, or packed as NumPy never packs it")
        if member.file_size > member.compress_size * MOST_DENSE + 64:
            raise FormatError(
                f"{where} claims {member.file_size} bytes, packed into {member.compress_size}; impossible"
            )
        try:
            with self._archive.open(member) as stream:
                dtype, shape, fortran_order = _header(stream, where)
                size = math.prod(shape) * dtype.itemsize
                if stream.tell() + size != member.file_size:
                    raise FormatError(
                        f"{where} declares {dtype}{list(shape)}, but {member.file_size} bytes are stored; it is damaged"
                    )
                yield stream, dtype, shape, fortran_order
        except AssayError:
            raise
        except Exception as error:  # zipfile and zlib report damage by errors of many kinds
            raise _damaged(where, error) from error


def _check_extents(path: Path, archive: zipfile.ZipFile) -> None:
    """Raise FormatError unless the members lie one behind the other, from the first byte to the directory.

    Where they overlap, a small archive unpacks to a huge one; where there is room between them, damage to the directory
    hides a member.
    """
    members = sorted(archive.infolist(), key=lambda member: member.header_offset)
    position = 0
    with path.open("rb") as file:
        for start, member in [*((member.header_offset, member) for member in members), (archive.start_dir, None)]:
            if not 0 <= start - position <= _LARGEST_DESCRIPTOR:
                what = "overlap" if start < position else "are not all listed"
                raise FormatError(
                    f"{path}: the members of the archive {what}; it is damaged, or made to exhaust memory"
                )
            if member is not None:
                file.seek(start + _NAME_LENGTH)
                lengths = struct.unpack("<2H", file.read(4).ljust(4, b"\0"))
                position = start + _NAME_LENGTH + 4 + sum(lengths) + member.compress_size


def _is_text(array: np.ndarray) -> bool:
    """Tell whether an array of characters holds only those that can be written as UTF-8."""
    points = array.reshape(-1).view(np.dtype(np.uint32).newbyteorder(array.dtype.byteorder))
    surrogate = (points >= 0xD800) & (points <= 0xDFFF)
    return not (surrogate | (points > 0x10FFFF)).any()


def _damaged(where: str, error: Exception) -> FormatError:
    return FormatError(f"{where} is damaged ({' '.join(str(error).split())}); copy the file again")


def npz_names(path: Path) -> frozenset[str]:
    """Return the names of the arrays in an archive; none where the path is anything else. Never raises.

    Examples
    --------
    >>> sorted(npz_names(Path("setup.cfg")))
    []
    """
    try:
        if not path.is_file():
            return frozenset()
        with path.open("rb") as file:
            if file.read(4) != _FIRST_MEMBER:
                return frozenset()
        with open_npz(path) as archive:
            return frozenset(archive.names)
    except (AssayError, OSError, ValueError):
        return frozenset()


@contextmanager
def open_npz(path: Path) -> Iterator[NpzFile]:
    """Open an archive for reading.

    Raises
    ------
    FormatError
        If the file is no such archive.
    """
    require_file(path)
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:  # zipfile reports damage by errors of many kinds
        with path.open("rb") as file:
            if file.read(4) == _FIRST_MEMBER:
                raise FormatError(
                    f"{path} begins as an .npz archive, but the list of its members, which stands at the end, is missing or "
                    "damaged: the file is truncated; copy or download it again"
                ) from error
        raise FormatError(f"{path} is not an .npz archive, or damaged: {' '.join(str(error).split())}") from error
    with archive:
        yield NpzFile(path, archive)


def write_npz(path: Path, arrays: Iterable[tuple[str, np.ndarray]], *, compress: bool) -> None:
    """Write arrays, one at a time, as `numpy.savez` does; the same arrays give the same bytes.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "example.npz")
    >>> write_npz(path, [("infos/qpos", np.arange(3))], compress=True)
    >>> np.load(path)["infos/qpos"].tolist()
    [0, 1, 2]
    """
    method = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", method, compresslevel=1) as archive:
        for name, array in arrays:
            member = zipfile.ZipInfo(f"{name}.npy")
            member.compress_type = method
            with archive.open(member, "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, np.asanyarray(array), allow_pickle=False)


def _header(stream: IO[bytes], where: str) -> tuple[np.dtype, tuple[int, ...], bool]:
    try:
        version = np.lib.format.read_magic(stream)
        read: Any = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, fortran_order, dtype = read(stream, max_header_size=_LARGEST_HEADER)
    except (ValueError, KeyError, TypeError, OverflowError, SyntaxError, RecursionError, MemoryError) as error:
        raise FormatError(f"{where} is not a NumPy array, or damaged: {' '.join(str(error).split())}") from error
    if dtype.hasobject:
        raise FormatError(f"{where} holds Python objects, which would have to be unpickled; that is never done")
    if dtype.kind not in _KINDS or dtype.itemsize == 0:
        raise FormatError(f"{where} has dtype {dtype}; numbers, booleans and text are read")
    if not all(type(length) is int and length >= 0 for length in shape):
        raise FormatError(f"{where} declares the shape {shape}; it is damaged")
    return dtype, shape, fortran_order
