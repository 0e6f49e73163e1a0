"""Loading datasets for commands, with progress, and what is said about them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from assay.cli.console import progress_bar
from assay.cli.options import settings
from assay.datasets.errors import ConfigError
from assay.datasets.system_errors import system_reason

if TYPE_CHECKING:
    from assay.datasets.dataset import Dataset

__all__ = ["check_files", "check_free", "format_of", "load"]


def load(name: str, source_format: str | None = None, options: Sequence[str] = ()) -> Dataset:
    """Load a dataset, with progress where it is collected first; options are settings of its reader."""
    import assay
    from assay.datasets.collection.catalog import is_collectable

    read = settings(options, "--option")
    if not is_collectable(name):
        return assay.load(name, format=source_format, **read)
    with progress_bar(f"collecting {name}") as report:
        return assay.load(name, format=source_format, progress=report, **read)


def format_of(name: str, source_format: str | None, options: Sequence[str] = ()) -> str:
    """Return the format that a name is read as, with these settings of its reader."""
    from assay.datasets.collection.catalog import is_collectable
    from assay.datasets.formats import sniff, sniff_mapped

    if is_collectable(name):
        return "assay"
    scheme = name.partition(":")[0]
    if scheme in ("minari", "d4rl"):
        return scheme
    mapped = sniff_mapped(Path(name)) if "columns" in settings(options, "--option") else None
    return source_format or mapped or sniff(Path(name))


def check_free(output: Path, overwrite: bool) -> None:
    """Raise, before any work is done, where something is in the place of the output, or nothing can be written there."""
    if output.exists() and not overwrite:
        raise ConfigError(f"{output} exists already; choose another path or pass --overwrite")
    folder = next(parent for parent in output.absolute().parents if parent.exists() or parent.is_symlink())
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        reason = "permission denied" if folder.is_dir() else "it is not a folder"
        raise ConfigError(f"{output} cannot be written: {folder}: {reason}")
    try:
        tempfile.TemporaryFile(dir=folder).close()  # such as in /proc, whose permissions do not say it
    except OSError as error:
        raise ConfigError(f"{output} cannot be written: {folder}: {system_reason(error)}") from error


def check_files(files: Mapping[str, Path | None], overwrite: bool) -> None:
    """Raise, before any work is done, where a file cannot be written, or two options (the keys) name the same one."""
    named: dict[Path, str] = {}
    for option, file in files.items():
        if file is None:
            continue
        if file.is_dir():
            raise ConfigError(f"{option}: {file} is a folder; name the file to write")
        check_free(file, overwrite)
        other = named.setdefault(file.resolve(), option)
        if other != option:
            raise ConfigError(f"{file} cannot be the file of both {other} and {option}; name two files")
