"""The sides of a curation audit: defects x detectors x actions, as variants of a suite.

::

    variants:
      clean: []
      audit:
        corruption.curation:
          defects:
            noisy actions: [corruption.random: {element: actions, granularity: trajectory, count: exact}]
          detectors:
            low return: {of: return, worse: lower}
            dynamics: {of: suspicion/dynamics, after: [corruption.repair.dynamics: {action: flag}]}
          actions: {drop: {}, weight: {action: weights, weight: 0.2}}

makes `noisy actions`, `noisy actions / dynamics / drop`, `noisy actions / low return / drop`, the same for `weight`, and beside them
the two controls of every action: `noisy actions / oracle / drop`, which acts on what the ground truth marks, and `noisy actions /
random 1 / drop`, which acts on as much at random. A chance choice may be lucky, so there are several (`draws`).

A detector is a column that `corruption.repair.column` reads, made by the transforms in `after`. An action is fields of that filter; one
with the key `fill` is a repair: the flagged steps lose their numbers of an element, and get others by `corruption.repair.fill`.
`assay.audit` reads the runs of such a suite.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from assay.datasets.errors import ConfigError
from assay.datasets.transform import register_variants

__all__ = ["curation"]

SEPARATOR = " / "
_FIELDS = {
    "defect": ("transforms", "per", "share", "actions", "detectors"),
    "detector": ("of", "worse", "of_episode", "after"),
}
_REPAIRED = ("observations", "states", "dynamics", "actions", "rewards")


@register_variants("corruption.curation")
def curation(
    defects: Mapping[str, Sequence[Any] | Mapping[str, Any]],
    detectors: Mapping[str, Mapping[str, Any]],
    actions: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    share: float | Literal["corrupted"] = "corrupted",
    per: Literal["episode", "step"] = "episode",
    draws: int = 2,
    seed: int = 0,
) -> dict[str, list[Any]]:
    """Return the variants of a curation audit, without the clean one.

    Parameters
    ----------
    defects : mapping of str to list or mapping
        Of each defect its transforms, which mark what they touch; or a mapping with `transforms` and what is different for this
        defect: `per`, `share`, `actions`, and `detectors`, the names of those to try.
    detectors : mapping of str to mapping
        Of each the column `of`, whether the `higher` or `lower` is `worse`, how an episode is scored by its steps (`of_episode`), and
        `after`: transforms that make the column.
    actions : mapping of str to mapping, optional
        Fields of `corruption.repair.column`, such as `{action: weights, weight: 0.2}`, or `{fill: states, method: interpolate}`:
        the flagged steps' states are filled in from their neighbours, and episodes without any other are left out. Default `{drop: {}}`.
    share, per
        How much is acted on, and whether it is episodes or steps; as in `ColumnFilter`.
    draws : int >= 1
        Choices of the same size at random.
    seed : int
        Of the random choices and of ties.

    Raises
    ------
    ConfigError
        If a part is misspelt or impossible.

    Examples
    --------
    >>> noise = [{"corruption.random": {"element": "actions", "granularity": "trajectory", "count": "exact"}}]
    >>> list(curation({"noise": noise}, {"low return": {"of": "return", "worse": "lower"}}, draws=1))
    ['noise', 'noise / oracle / drop', 'noise / random 1 / drop', 'noise / low return / drop']
    """
    if draws < 1:
        raise ConfigError(f"corruption.curation: draws={draws} must be at least 1")
    detectors = {name: _checked("detector", name, given) for name, given in detectors.items()}
    if taken := [name for name in detectors if name.split(" ")[0] in ("oracle", "random")]:
        raise ConfigError(f"corruption.curation: detector {taken[0]!r}: oracle and random are there already")
    variants: dict[str, list[Any]] = {}
    for defect, given in defects.items():
        own = _checked("defect", defect, given if isinstance(given, Mapping) else {"transforms": given})
        harm, chosen = list(own.get("transforms") or ()), own.get("detectors", list(detectors))
        if unknown := [name for name in chosen if name not in detectors]:
            raise ConfigError(f"corruption.curation: defect {defect}: there is no detector {unknown[0]!r}")
        variants[_named(defect)] = harm
        rules = {"per": own.get("per", per), "share": own.get("share", share), "seed": seed}
        sides: dict[str, tuple[list[Any], dict[str, Any]]] = {"oracle": ([], {**rules, "of": "oracle"})}
        for draw in range(1, draws + 1):
            sides[f"random {draw}"] = ([], {**rules, "of": "random", "seed": seed + draw})
        for name in chosen:
            column = {key: value for key, value in detectors[name].items() if key != "after"}
            sides[name] = (list(detectors[name].get("after") or ()), {**rules, **column})
        for action, fields in (own.get("actions") or actions or {"drop": {}}).items():
            for name, (after, column) in sides.items():
                label = SEPARATOR.join(map(_named, (defect, name, action)))
                variants[label] = [*harm, *after, *_acting(column, dict(fields or {}), f"action {action}")]
    return variants


def _acting(column: dict[str, Any], fields: dict[str, Any], where: str) -> list[Any]:
    """Return the transforms that flag by a column and act on it."""
    if "fill" not in fields:
        return [{"corruption.repair.column": {**column, **fields}}]
    element, method = fields.pop("fill"), fields.pop("method", "interpolate")
    if element not in _REPAIRED:
        raise ConfigError(f"corruption.curation: {where}: fill={element!r} is not one of {', '.join(_REPAIRED)}")
    flags = f"flagged/{str(column['of']).replace('/', '_')}"
    return [
        {"corruption.repair.column": {**column, **fields, "action": "flag"}},
        {"corruption.missing": {"element": element, "mask": flags}},
        {"corruption.repair.fill": {"method": method, "hopeless": "drop"}},
    ]


def _checked(kind: str, name: str, given: Any) -> dict[str, Any]:
    """Return the mapping of a defect or detector, refusing keys that are not known."""
    known = _FIELDS[kind]
    if not isinstance(given, Mapping) or (kind == "detector" and "of" not in given):
        raise ConfigError(f"corruption.curation: {kind} {name}: expected a mapping of {', '.join(known)}")
    if unknown := [key for key in given if key not in known]:
        raise ConfigError(f"corruption.curation: {kind} {name}: {unknown[0]!r} is not one of {', '.join(known)}")
    return dict(given)


def _named(name: str) -> str:
    if SEPARATOR.strip() in name:
        raise ConfigError(f"corruption.curation: {name!r} must not hold a slash, which separates the parts of a name")
    return name
