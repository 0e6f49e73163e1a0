"""File formats, each one module with `sniff`, `read` and, where it can be written, `write` behind one protocol."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError, DatasetError, FormatError, UnknownNameError

__all__ = [
    "FORMATS",
    "Format",
    "WritableFormat",
    "format_named",
    "known_formats",
    "register_format",
    "sniff",
    "writable_formats",
    "writer_named",
]

FORMATS = (  # in the order in which they are tried
    "assay",
    "minari",
    "lerobot",
    "gen_dgrl",
    "robomimic",
    "maniskill",
    "d3rlpy",
    "dsrl",
    "d4rl",
    "hdf5",
    "neorl",
    "stable_baselines",
    "imitation",
    "ogbench",
    "npz",
)


class Format(Protocol):
    """What a format module offers."""

    TITLE: str
    """The format's name, as a person would say it."""
    LAYOUT: str
    """What it is on disk: "folder" or "file", and of which suffix."""
    CANNOT_HOLD: str
    """What a dataset may have and this format has no place for; empty where it holds everything."""

    def sniff(self, path: Path) -> bool:
        """Tell from the content whether `path` is in this format; never raises on foreign files."""

    def read(self, path: Path, **options: Any) -> Dataset:
        """Read `path`; raises FormatError or DatasetError, naming the place, on anything wrong."""


class WritableFormat(Format, Protocol):
    """A format module that writes, too."""

    def write(self, dataset: Dataset, path: Path, *, overwrite: bool = False, **options: Any) -> None:
        """Write `dataset` to `path`, whole or not at all; warns (AssayWarning) about what cannot be held."""


_REGISTERED: dict[str, Format] = {}


def register_format(name: str, format: Format) -> None:
    """Make a format of your own known under a name: a module, or any object that offers what `Format` says.

    Parameters
    ----------
    name : str
    format : Format
        Tried after the built-in ones where a file's format is to be found.

    Raises
    ------
    ConfigError
        If the name is taken, or something is missing from the format.
    """
    if name in FORMATS:
        raise ConfigError(f"{name} is a built-in format; choose another name")
    if missing := [item for item in ("TITLE", "LAYOUT", "CANNOT_HOLD", "sniff", "read") if not hasattr(format, item)]:
        raise ConfigError(f"format {name} has no {missing[0]}; see assay.datasets.formats.Format")
    _REGISTERED[name] = format


def known_formats() -> tuple[str, ...]:
    """Return the names of all formats, in the order in which they are tried."""
    return (*FORMATS, *_REGISTERED)


def format_named(name: str) -> Format:
    """Return the format of this name.

    Raises
    ------
    UnknownNameError
        If there is none; with the nearest names.
    """
    if name in _REGISTERED:
        return _REGISTERED[name]
    if name not in FORMATS:
        raise UnknownNameError("format", name, known_formats())
    return cast(Format, import_module(f"assay.datasets.formats.{name}"))


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
