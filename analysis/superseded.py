"""Runs in the folder of a suite that the suite has replaced: what an earlier search found, or runs of earlier settings.

`suite.json` lists the runs that the suite consists of. Others stay in the folder; tables leave out those that would stand in the
same cell as runs of the suite, such as the winner of a search that was grown since.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from assay.analysis.run_labels import RunFacts
from assay.baselines.runs.reader import StoredRun, read_suite

__all__ = ["Listed", "current_runs", "in_use", "runs_in_use"]

Listed: TypeAlias = tuple[str, int, RunFacts]  # name of the run folder, training seed


def current_runs(folder: str | os.PathLike[str]) -> frozenset[str]:
    """Return the names of the run folders that a folder's suite lists; empty where it lists none."""
    suite = (read_suite(folder) if Path(folder).is_dir() else None) or {}
    return frozenset(suite.get("runs") or ())


def in_use(runs: Sequence[Listed], current: Collection[str]) -> list[bool]:
    """Tell for each run of a folder whether tables have it: all but those that runs of the suite have replaced.

    A run is replaced by one of the suite that tables would call the same, where it has the same seed or other parameters. Further
    seeds of the same parameters stay, and so do runs of other data, algorithms or settings, which have names of their own.
    """
    parameters: dict[Any, set[str]] = {}
    seeds: set[Any] = set()
    for name, seed, facts in runs:
        if name in current:
            parameters.setdefault(_cell(facts), set()).add(_text(facts.parameters))
            seeds.add((_cell(facts), seed))
    found = []
    for name, seed, facts in runs:
        known = parameters.get(_cell(facts))
        replaced = known is not None and ((_cell(facts), seed) in seeds or _text(facts.parameters) not in known)
        found.append(name in current or not replaced)
    return found


def runs_in_use(runs: Sequence[StoredRun], current: Collection[str]) -> list[StoredRun]:
    """Return the runs of a folder that tables have, in their order; see `in_use`."""
    if all(run.folder.name in current for run in runs) or not current:
        return list(runs)
    shared: dict[str, Any] = {}
    listed = [(run.folder.name, int(run.job["seed"]), RunFacts.of(run, shared)) for run in runs]
    return [run for run, used in zip(runs, in_use(listed, current)) if used]


def _cell(facts: RunFacts) -> tuple[Any, ...]:
    """Return what tables tell runs apart by, besides the seed."""
    same = (facts.algorithm, facts.label, facts.variant, facts.source, facts.fingerprint)
    return (*same, _text(facts.noise), _text(facts.setting))


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
