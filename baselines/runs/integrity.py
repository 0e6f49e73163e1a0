"""Hashes of what a run leaves on disk: every file has one, and a JSON file covers itself.

::

    run.json        "files": {"curves.parquet": hash, ...}      of a finished run, as the bytes were written
                    "digest": hash                              of everything else in run.json
    checkpoint/     <number>-<hash>.safetensors                 one file, put in place in one step

Hashes are xxh3-128, as in stored datasets. What was written before there were any is read, and nothing is claimed of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assay.datasets.atomic import atomic_write
from assay.datasets.errors import DatasetIntegrityError, FormatError

__all__ = ["content_hash", "read_json", "read_verified", "safetensors_texts", "write_json"]

_DIGEST = "digest"


def content_hash(content: bytes) -> str:
    """Return the xxh3-128 hash of some bytes."""
    import xxhash

    return xxhash.xxh3_128_hexdigest(content)


def write_json(file: Path, plain: Mapping[str, Any]) -> dict[str, Any]:
    """Write a JSON object with the digest of its content, whole or not at all; returns what was written."""
    read_back = json.loads(json.dumps(plain))  # tuples are lists there, and keys are texts
    sealed = {**read_back, _DIGEST: _digest(read_back)}
    atomic_write(file, json.dumps(sealed, indent=1))
    return sealed


def read_json(file: Path, schema: str, versions: Mapping[int, bool]) -> dict[str, Any]:
    """Read a JSON object, and check its schema, its version and its digest.

    Parameters
    ----------
    file : Path
    schema : str
    versions : mapping of int to bool
        The known versions, and whether such a file has to have a digest.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FormatError
        If it does not declare the schema, or a version that is not known.
    DatasetIntegrityError
        If it is damaged.
    """
    try:
        plain = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetIntegrityError(f"{file} is damaged: {error}") from error
    if not isinstance(plain, dict) or plain.get("schema") != schema:
        found = plain.get("schema") if isinstance(plain, dict) else type(plain).__name__
        raise FormatError(f"{file} does not declare the schema {schema!r} (found {found!r}); Assay did not write it")
    version = plain.get("schema_version")
    if type(version) is not int or version not in versions:
        known = " and ".join(map(str, versions))
        raise FormatError(
            f"{file} has schema version {version!r}, this Assay reads {known}; read it with the version of Assay that "
            "wrote it, or run again"
        )
    if (_DIGEST in plain or versions[version]) and plain.get(_DIGEST) != _digest(plain):
        raise DatasetIntegrityError(
            f"{file} is damaged or was edited: its digest is wrong. Restore it from a copy, or remove the folder and run "
            "again"
        )
    return plain


def read_verified(file: Path, expected: str | None) -> bytes:
    """Read a file, and check it against the hash that it has to have, if one is known.

    Raises
    ------
    DatasetIntegrityError
        If it is missing, cannot be read, or differs from what was written.
    """
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        raise DatasetIntegrityError(f"{file} is missing; restore it from a copy, or run again") from None
    except OSError as error:
        raise DatasetIntegrityError(f"{file} cannot be read: {error}") from error
    if expected is not None and content_hash(content) != expected:
        raise DatasetIntegrityError(
            f"{file} is damaged: its content does not match the hash that was stored for it. Restore it from a copy, or "
            "remove it and run again"
        )
    return content


def safetensors_texts(content: bytes) -> dict[str, str]:
    """Return the texts in the header of a safetensors file: 8 bytes with its length, then JSON."""
    length = int.from_bytes(content[:8], "little")
    found: dict[str, str] = json.loads(content[8 : 8 + length]).get("__metadata__") or {}
    return found


def _digest(plain: Mapping[str, Any]) -> str:
    content = {key: value for key, value in plain.items() if key != _DIGEST}
    return content_hash(json.dumps(content, sort_keys=True).encode())
