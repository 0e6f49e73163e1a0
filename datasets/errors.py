"""Every error a user can meet: what is wrong, where, and what to do about it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "ArgumentError",
    "AssayError",
    "AssayWarning",
    "CollectionError",
    "ConfigError",
    "DatasetError",
    "DatasetIntegrityError",
    "DownloadError",
    "FormatError",
    "MissingLabelsError",
    "StorageError",
    "UnknownNameError",
]


class AssayError(Exception):
    """Base class of all errors that Assay raises on purpose; the command line prints them as one line."""


class AssayWarning(UserWarning):
    """Something was left out or looks wrong, and the work goes on; the text names it."""


class DatasetError(AssayError, ValueError):
    """The content of a dataset is impossible: shapes, lengths, dtypes, flags or values disagree."""


class DatasetIntegrityError(DatasetError):
    """A stored dataset differs from what was written: a hash, a length or a file is wrong."""


class MissingLabelsError(DatasetError):
    """Something needs an action or a reward that the dataset does not have; the text says how many, and what fills them in."""


class FormatError(DatasetError):
    """A file is not in the format it was read as, or in no format Assay knows."""


class ConfigError(AssayError, ValueError):
    """A parameter, recipe or suite asks for something impossible or misspelt."""


class ArgumentError(AssayError, TypeError):
    """A function was given something of another kind than it works on; the text names the argument."""


class CollectionError(AssayError, RuntimeError):
    """An environment or one of its workers failed while it was stepped."""


class DownloadError(AssayError, OSError):
    """A file could not be fetched: the server refused, was silent, or the connection kept failing."""


class StorageError(AssayError, OSError):
    """Something cannot be written: the disk is full, a folder is read-only, a name is too long."""


class UnknownNameError(AssayError, KeyError):
    """A name that nothing is registered under; the nearest known names are in the message.

    Parameters
    ----------
    kind : str
        What the name should be one of.
    name : str
    known : iterable of str
        All names of the kind; they are listed where none is near.
    hint : str
        What else helps.
    elsewhere : str
        Where the names are listed, if they are too many to be listed here.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "", *, elsewhere: str = "") -> None:
        known = sorted(known)
        nearest = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        if nearest:
            advice = f"did you mean {' or '.join(map(repr, nearest))}?"
        elif elsewhere:
            advice = elsewhere
        else:
            advice = f"known: {', '.join(known)}" if known else "there is none"
        super().__init__(f"unknown {kind} {name!r}; {advice}" + (f" {hint}" if hint else ""))

    def __str__(self) -> str:  # KeyError would print the repr
        return str(self.args[0])
