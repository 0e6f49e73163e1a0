"""BibTeX of what runs used: algorithms, transforms, datasets, environments, and the statistics of the tables.

The entries lie in `templates/references.bib`. The field `cited_for` of each says what it belongs to, and is left out of the
output::

    algorithm:iql   transform:corruption.random   dataset:D4RL/*   environment:Hopper*   references:D4RL*   statistics
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from importlib.resources import files

import polars as pl

from assay.datasets.errors import ConfigError

__all__ = ["bibliography", "uncited"]

_ENTRY = re.compile(r"^@\w+\{.*?^\}$", re.MULTILINE | re.DOTALL)
_CITED_FOR = re.compile(r",\n  cited_for = \{(.*?)\}")


def bibliography(runs: pl.DataFrame) -> str:
    """Return the BibTeX entries of what runs used.

    Parameters
    ----------
    runs : polars.DataFrame
        From `load_runs`.

    Returns
    -------
    str
        One entry per work, by key. `uncited` lists what has none.

    Raises
    ------
    ConfigError
        If there is no run.

    Examples
    --------
    >>> runs = pl.DataFrame({"algorithm": ["iql"], "dataset": ["hopper/medium"], "environment": ["Hopper-v5"]})
    >>> [line for line in bibliography(runs).splitlines() if line.startswith("@")]  # doctest: +NORMALIZE_WHITESPACE
    ['@inproceedings{agarwal2021deep,', '@inproceedings{kostrikov2022offline,',
     '@inproceedings{todorov2012mujoco,', '@article{towers2024gymnasium,']
    """
    used = _used(runs)
    chosen = [
        _CITED_FOR.sub("", entry) for entry, patterns in _entries() if any(_matches(name, patterns) for name in used)
    ]
    return "\n\n".join(sorted(chosen, key=lambda entry: entry.partition("{")[2])) + "\n"


def uncited(runs: pl.DataFrame) -> list[str]:
    """Return which algorithms and transforms of the runs have no entry: those of a user's own, and what has no paper.

    Examples
    --------
    >>> uncited(pl.DataFrame({"algorithm": ["iql", "my_method"]}))
    ['algorithm:my_method']
    """
    every = [pattern for _, patterns in _entries() for pattern in patterns]
    return [name for name in _used(runs) if name.startswith(("algorithm:", "transform:")) and not _matches(name, every)]


def _used(runs: pl.DataFrame) -> list[str]:
    """Return what the runs used, as the entries name it."""
    if runs.is_empty():
        raise ConfigError("there is no run, so there is nothing to cite")
    found = ["statistics"]
    for column in ("algorithm", "dataset", "environment", "references"):
        if column in runs.columns:
            found += [f"{column}:{value}" for value in runs[column].drop_nulls().unique(maintain_order=True)]
    for name in runs.columns:
        kind, _, rest = name.partition("/")
        if kind == "transform" and runs[name].is_not_null().any():
            found.append(f"transform:{rest.partition('/')[0].partition('#')[0]}")
        if kind == "metric":
            found.append(f"metric:{rest}")
    return list(dict.fromkeys(found))


def _entries() -> list[tuple[str, list[str]]]:
    """Return every entry with the patterns of what it is cited for."""
    text = (files("assay.analysis") / "templates" / "references.bib").read_text(encoding="utf-8")
    found = []
    for entry in _ENTRY.findall(text):
        cited = _CITED_FOR.search(entry)
        found.append((entry, [] if cited is None else [pattern.strip() for pattern in cited[1].split(",")]))
    return found


def _matches(name: str, patterns: list[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
