"""What runs are called in tables, and what tells them apart: parameters of the algorithm, of the transforms, of the evaluation.

Of a run only what tables need is kept (`RunFacts`). Settings that many runs share are held once, so that 100,000 runs fit
into memory.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from assay.baselines.runs.reader import StoredRun

__all__ = ["RunFacts", "algorithm_labels", "noise_text", "parameter_columns", "variant_labels"]

_LONGEST_VALUE = (
    200  # characters of a parameter that is not a number; longer ones, such as lists of episodes, are counted
)


@dataclass(slots=True)
class RunFacts:
    """What tells a run apart from others."""

    algorithm: str
    label: str
    variant: str
    source: tuple[Any, Any]  # id of the dataset, environment
    fingerprint: str | None
    noise: Mapping[str, Any] | None
    setting: Mapping[str, Any]  # of the training, apart from what was chosen for the variant
    recipe: Mapping[str, Any]  # parameters of the transforms
    parameters: Mapping[str, Any]  # every one of them: algorithm/..., transform/..., evaluation/...

    @classmethod
    def of(cls, run: StoredRun, shared: dict[str, Mapping[str, Any]]) -> RunFacts:
        """Take the facts of a run; `shared` holds the settings of runs before it."""
        job, dataset = run.job, run.dataset
        noise = (job.get("evaluation") or {}).get("observation_noise")
        return cls(
            str(job["algorithm"]),
            run.label,
            run.variant,
            (dataset.get("id"), dataset.get("environment_id")),
            dataset.get("fingerprint"),
            _once(noise, shared) if noise else None,
            _once(_setting(run), shared),
            _once(_recipe(run), shared),
            _once(_parameters(run), shared),
        )


def _once(value: Mapping[str, Any], shared: dict[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    return shared.setdefault(json.dumps(value), value)


def _setting(run: StoredRun) -> dict[str, Any]:
    """Return what a run was trained with, apart from what was chosen for its variant."""
    parameters = run.job.get("parameters") or {}
    chosen = run.job.get("by_variant") or []
    return {**{name: value for name, value in parameters.items() if name not in chosen}, "updates": run.job["steps"]}


def _recipe(run: StoredRun) -> dict[str, Any]:
    """Return the parameters of what was done to the data of a run, as labels tell them."""
    found = {}
    for number, record in enumerate(run.transforms):
        for name, value in dict(record.get("parameters") or {}).items():
            key = name if len(run.transforms) == 1 else f"{number + 1}.{name}"
            text = _short(value)
            found[key] = value if text == json.dumps(value) else text  # lists stay lists, but for long ones
    return found


def _parameters(run: StoredRun) -> dict[str, Any]:
    """Return every parameter of a run by the name of its column."""
    found: dict[str, Any] = {}
    _flatten("algorithm", run.job.get("parameters") or {}, found)
    times: dict[str, int] = {}
    for record in run.transforms:
        name = str(record.get("transform"))
        times[name] = times.get(name, 0) + 1
        called = name if times[name] == 1 else f"{name}#{times[name]}"
        _flatten(f"transform/{called}", record.get("parameters") or {}, found)
    _flatten("evaluation", run.job.get("evaluation") or {}, found)
    return found


def _flatten(prefix: str, value: Any, found: dict[str, Any]) -> None:
    if isinstance(value, Mapping):
        for name, item in value.items():
            _flatten(f"{prefix}/{name}", item, found)
    else:
        found[prefix] = _short(value)


def _short(value: Any) -> Any:
    """Return numbers and texts as they are, lists as JSON, and long ones as their length and a hash."""
    if value is None or isinstance(value, bool | int | float):
        return value
    text = value if isinstance(value, str) else json.dumps(value)
    if len(text) <= _LONGEST_VALUE:
        return text
    import xxhash

    size = f"{len(value):,} {'characters' if isinstance(value, str) else 'entries'}"
    return f"{size}, hash {xxhash.xxh3_64_hexdigest(text.encode())[:8]}"


def parameter_columns(facts: Sequence[RunFacts]) -> pl.DataFrame:
    """Return a column for every parameter that any run has; null where a run has none of that name.

    Whole numbers are Int64, other numbers Float64, flags Boolean, and everything else is text.
    """
    distinct: dict[int, int] = {}
    kinds: list[Mapping[str, Any]] = []
    for item in facts:
        if id(item.parameters) not in distinct:
            distinct[id(item.parameters)] = len(kinds)
            kinds.append(item.parameters)
    which = [distinct[id(item.parameters)] for item in facts]
    names = dict.fromkeys(name for kind in kinds for name in kind)  # in the order of the runs
    names = dict.fromkeys(sorted(names, key=lambda name: _PARTS.index(name.partition("/")[0])))
    columns = [_column(name, [kind.get(name) for kind in kinds]) for name in names]
    return pl.DataFrame(columns)[which] if columns else pl.DataFrame()


_PARTS = ("algorithm", "transform", "evaluation")


def _column(name: str, values: list[Any]) -> pl.Series:
    known = [value for value in values if value is not None]
    if known and all(isinstance(value, bool) for value in known):
        return pl.Series(name, values, pl.Boolean)
    if known and all(isinstance(value, int | float) and not isinstance(value, bool) for value in known):
        whole = all(isinstance(value, int) and abs(value) < 2**63 for value in known)
        return pl.Series(name, values, pl.Int64) if whole else pl.Series(name, [*map(_as_float, values)], pl.Float64)
    texts = [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
    return pl.Series(name, texts, pl.String)


def _as_float(value: Any) -> float | None:
    return None if value is None else float(value)


# -------------------------------------------------------------------- labels


def algorithm_labels(runs: Sequence[RunFacts]) -> list[str]:
    """Return display names, with the difference where runs of one algorithm and label differ in parameters or budget, and any noise.

    What was chosen for the variant (`by_variant`) is not told: the choosing is part of the algorithm.
    """
    told = _differences([(run.algorithm, run.label) for run in runs], [run.setting for run in runs])
    labels = []
    for run, text in zip(runs, told, strict=True):
        label = f"{run.label} ({text})" if text else run.label
        labels.append(f"{label} under {noise_text(run.noise)}" if run.noise else label)
    return labels


def variant_labels(runs: Sequence[RunFacts] | Sequence[StoredRun]) -> list[str]:
    """Return the names of the variants, with the difference where different data has one name.

    The difference is that of the transforms' parameters, else of the fingerprints. One name for the same recipe on several
    datasets is what suites do; the column `dataset` tells those apart.
    """
    shared: dict[str, Mapping[str, Any]] = {}
    facts = [run if isinstance(run, RunFacts) else RunFacts.of(run, shared) for run in runs]
    names = [(run.variant, *run.source) for run in facts]
    marks = [run.fingerprint for run in facts]
    told = _differences(names, [run.recipe for run in facts])
    several: dict[Any, set[Any]] = {}
    by_text: dict[Any, dict[str, set[Any]]] = {}
    for name, mark, text in zip(names, marks, told, strict=True):
        several.setdefault(name, set()).add(mark)
        by_text.setdefault(name, {}).setdefault(text, set()).add(mark)
    clear = {name: all(len(found) == 1 for found in texts.values()) for name, texts in by_text.items()}
    labels = []
    for name, mark, text in zip(names, marks, told, strict=True):
        if len(several[name]) < 2:
            labels.append(name[0])
        elif text and clear[name]:
            labels.append(f"{name[0]} ({text})")
        else:
            labels.append(f"{name[0]} (data {str(mark or 'unknown')[:8]})")
    return labels


def _differences(groups: Sequence[Any], settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say for each item, as `name=value, ...`, what of its settings differs within its group."""
    distinct = {(group, id(setting)): setting for group, setting in zip(groups, settings, strict=True)}
    values: dict[Any, dict[str, set[str]]] = {}
    for (group, _), setting in distinct.items():
        for name, value in setting.items():
            values.setdefault(group, {}).setdefault(name, set()).add(json.dumps(value, sort_keys=True))
    for (group, _), setting in distinct.items():
        for name in values.get(group, {}).keys() - setting.keys():
            values[group][name].add("null")  # as if it had been None
    differing = {group: [name for name, found in named.items() if len(found) > 1] for group, named in values.items()}
    texts = {
        (group, mark): ", ".join(f"{name}={setting[name]}" for name in differing.get(group, ()) if name in setting)
        for (group, mark), setting in distinct.items()
    }
    return [texts[group, id(setting)] for group, setting in zip(groups, settings, strict=True)]


def noise_text(noise: Mapping[str, Any]) -> str:
    """Describe test-time noise, so that its returns never pass for clean ones."""
    attack = "action-difference attack, " if noise.get("attack") == "action_difference" else ""
    unit = "" if noise.get("unit") == "absolute" else " std"
    return f"{attack}{noise.get('distribution', 'uniform')} noise of {noise.get('scale', 0):g}{unit}"
