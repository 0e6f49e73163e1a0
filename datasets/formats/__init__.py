"""File formats, each one module with `sniff`, `read` and `write` behind one protocol."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

from assay.datasets.dataset import Dataset
from assay.datasets.errors import DatasetError, FormatError, UnknownNameError

__all__ = ["FORMATS", "Format", "format_named", "sniff"]

FORMATS = ("assay", "minari")  # in the order in which they are tried


class Format(Protocol):
    """What a format module offers."""

    def sniff(self, path: Path) -> bool:
        """Tell from the content whether `path` is in this format; never raises on foreign files."""

    def read(self, path: Path, **options: Any) -> Dataset:
        """Read `path`; raises FormatError or DatasetError, naming the place, on anything wrong."""

    def write(self, dataset: Dataset, path: Path, *, overwrite: bool = False, **options: Any) -> None:
        """Write `dataset` to `path`, whole or not at all."""


def format_named(name: str) -> Format:
    """Return the format of this name."""
    if name not in FORMATS:
        raise UnknownNameError("format", name, FORMATS)
    return cast(Format, import_module(f"assay.datasets.formats.{name}"))


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
    for name in FORMATS:
        if format_named(name).sniff(path):
            return name
    raise FormatError(f"{path} is in no known format ({', '.join(FORMATS)})" + _contents(path))


def _contents(path: Path) -> str:
    if not path.is_dir():
        return ""
    inside = sorted(child.name for child in path.iterdir() if child.is_dir() and not child.name.startswith("."))
    datasets = [name for name in inside if any(format_named(item).sniff(path / name) for item in FORMATS)]
    return f"; the folder holds the datasets {', '.join(datasets)}" if datasets else ""
