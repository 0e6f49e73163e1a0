"""File formats, each one module with `sniff`, `read` and, where it can be written, `write` behind one protocol.

A module of this package that offers what `Format` says is a format, under the module's name. Other formats register
themselves by `register_format`; see `assay.datasets.registry` for how their files are found.
"""

from __future__ import annotations

import inspect
import pkgutil
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError, DatasetError, FormatError
from assay.datasets.registry import Registry

if TYPE_CHECKING:
    FORMATS: tuple[str, ...]

__all__ = [
    "FORMATS",
    "Format",
    "MappedFormat",
    "WritableFormat",
    "format_named",
    "known_formats",
    "register_format",
    "sniff",
    "sniff_mapped",
    "writable_formats",
    "writer_named",
]


class Format(Protocol):
    """What a format module offers."""

    TITLE: str
    """The format's name, as a person would say it."""
    LAYOUT: str
    """What it is on disk: "folder" or "file", and of which suffix."""
    ORDER: int
    """Formats are tried from low to high where a file's format is to be found; 10 to 140 are the built-in ones. Optional:
    without it a format is tried after those."""
    CANNOT_HOLD: str
    """What a dataset may have and this format has no place for; empty where it holds everything."""

    def sniff(self, path: Path) -> bool:
        """Tell from the content whether `path` is in this format; never raises on foreign files."""

    def read(self, path: Path, **options: Any) -> Dataset:
        """Read `path`; raises FormatError or DatasetError, naming the place, on anything wrong."""


class MappedFormat(Format, Protocol):
    """A format module whose `read` takes `columns`, a mapping of names; see `assay.datasets.tables.column_mapping`."""

    def sniff_mapped(self, path: Path) -> bool:
        """Tell whether `path` can be read with a mapping, also where `sniff` does not claim it. Optional: as `sniff`."""

    def propose(self, path: Path, **options: Any) -> str:
        """Return a mapping for `path` as YAML, with the reasons as comments. Optional."""


class WritableFormat(Format, Protocol):
    """A format module that writes, too."""

    def write(self, dataset: Dataset, path: Path, *, overwrite: bool = False, **options: Any) -> None:
        """Write `dataset` to `path`, whole or not at all; warns (AssayWarning) about what cannot be held."""


_NEEDED = ("TITLE", "LAYOUT", "CANNOT_HOLD", "sniff", "read")
_LAST = 1000  # order of a format that gives none
_REGISTRY: Registry[Format] = Registry("format", [], "assay.formats")
_BUILT_IN: list[str] = []  # in the order in which they are tried


def _discover_built_in() -> None:
    """Find the formats of this package, once."""
    if not _BUILT_IN:
        modules = {
            found.name: import_module(f"assay.datasets.formats.{found.name}")
            for found in pkgutil.iter_modules(__path__)
        }
        formats = {name: cast(Format, module) for name, module in modules.items() if not _missing(module)}
        for name, module in formats.items():
            _REGISTRY.add(name, module, f"{__name__}.{name}")
        _BUILT_IN[:] = sorted(formats, key=lambda name: _order(formats[name]))


def _discover() -> None:
    _discover_built_in()
    _REGISTRY.discover()  # those of installed packages


def _missing(format: object) -> list[str]:
    return [item for item in _NEEDED if not hasattr(format, item)]


def _order(format: Format) -> int:
    return getattr(format, "ORDER", _LAST)


def __getattr__(name: str) -> Any:
    if name == "FORMATS":
        _discover()
        return tuple(_BUILT_IN)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def register_format(name: str, format: Format) -> None:
    """Make a format of your own known under a name: a module, or any object that offers what `Format` says.

    Parameters
    ----------
    name : str
    format : Format
        Where a file's format is to be found, formats are tried by their `ORDER`; one without it after the built-in ones.

    Raises
    ------
    ConfigError
        If the name is taken, or something is missing from the format.
    """
    _discover_built_in()
    if _REGISTRY.known(name) is format:  # a file of this package that registers itself
        return
    if name in _BUILT_IN:
        raise ConfigError(f"{name} is a built-in format; choose another name")
    if missing := _missing(format):
        raise ConfigError(f"format {name} has no {missing[0]}; see assay.datasets.formats.Format")
    _REGISTRY.add(name, format, str(getattr(format, "__module__", None) or getattr(format, "__name__", "")))


def known_formats() -> tuple[str, ...]:
    """Return the names of all formats, in the order in which they are tried."""
    _discover()
    known = _REGISTRY.all()
    return tuple(sorted(known, key=lambda name: (_order(known[name]), name)))


def format_named(name: str) -> Format:
    """Return the format of this name.

    Raises
    ------
    UnknownNameError
        If there is none; with the nearest names.
    """
    _discover()
    return _REGISTRY.find(name)


def writable_formats() -> tuple[str, ...]:
    """Return the names of the formats that can be written."""
    return tuple(name for name in known_formats() if hasattr(format_named(name), "write"))


def writer_named(name: str) -> WritableFormat:
    """Return the format of this name, to write with.

    Raises
    ------
    UnknownNameError
        If there is no such format.
    ConfigError
        If it is only read.
    """
    module = format_named(name)
    if not hasattr(module, "write"):
        raise ConfigError(f"format {name} is read, but not written; written are {', '.join(writable_formats())}")
    return cast(WritableFormat, module)


def sniff_mapped(path: Path) -> str | None:
    """Return the name of the format that reads `path` by a mapping of names (`columns`), or None.

    Raises
    ------
    DatasetError
        If nothing is there.
    """
    if not path.exists():
        raise DatasetError(f"{path} does not exist")
    if path.is_dir():  # what lies in the folder of a known format is no table of somebody's own
        known = next((name for name in known_formats() if format_named(name).sniff(path)), None)
        if known is not None:
            return known if "columns" in inspect.signature(format_named(known).read).parameters else None
    for name in known_formats():
        module = format_named(name)
        mapped = "columns" in inspect.signature(module.read).parameters
        if mapped and getattr(module, "sniff_mapped", module.sniff)(path):
            return name
    return None


def sniff(path: Path) -> str:
    """Return the name of the format that `path` is in, decided from its content.

    Raises
    ------
    DatasetError
        If nothing is there.
    FormatError
        If no format recognizes it.
    """
    if not path.exists():
        raise DatasetError(f"{path} does not exist")
    for name in known_formats():
        if format_named(name).sniff(path):
            return name
    from assay.datasets.formats.diagnosis import reason

    raise FormatError(reason(path, {name: format_named(name) for name in known_formats()}))
