"""Ids of Minari datasets: `(namespace/)name-v(number)`, the path below Minari's folder of datasets."""

from __future__ import annotations

import re
from pathlib import Path

from assay.datasets.atomic import atomic_write
from assay.datasets.errors import DatasetError
from assay.datasets.remote import minari_root

__all__ = ["identifier_for", "mark_namespaces"]

_ID = re.compile(r"(?:(?P<namespace>[-_\w][-_\w/]*[-_\w]+)/)?(?P<dataset>[-_\w]+?)-v(?P<version>\d+)")


def identifier_for(path: Path, given: str | None) -> str:
    """Return the id of a dataset to be written at `path`: the given one, else what the path says.

    Raises
    ------
    DatasetError
        If Minari would refuse it.
    """
    if given is not None:
        candidates = [given]
    elif path.is_relative_to(minari_root()):
        candidates = [path.relative_to(minari_root()).as_posix()]
    else:
        candidates = ["/".join(path.parts[-2:]), path.name]
    for candidate in candidates:
        if _ID.fullmatch(candidate):
            return candidate
    raise DatasetError(
        f"{candidates[0]!r} is not a Minari id: (namespace/)name-v(number), of letters, digits, - and _, the namespace "
        f"with at least two; name the folder like {re.sub(r'[^-_a-zA-Z0-9]', '-', path.name) or 'name'}-v0, or pass "
        "dataset_id"
    )


def mark_namespaces(path: Path) -> None:
    """Give every namespace above a dataset the file by which Minari lists it."""
    root = minari_root()
    if not path.is_relative_to(root):
        return
    for namespace in path.parents:
        if namespace == root:
            return
        if not (namespace / "namespace_metadata.json").exists():
            atomic_write(namespace / "namespace_metadata.json", "{}")
