"""Presets: variants for suites that span element x mode x rate x scale, as plain values.

    severity    rate   scale
    mild        0.1    0.5
    published   0.3    1.0      RIQL, TRACER, RDT and ADG
    severe      0.5    2.0

Besides single elements there are the combinations of the papers. Each element touches its own steps, unless it is
`mixed`:

    simultaneous   observations, actions, rewards, dynamics       TRACER; RIQL's mixed attack, in its order
    mixed          the same four at the same steps
    full           states, actions, rewards                       RDT and ADG

and any others joined by a plus sign: "actions+rewards".

A mode is the second part of a transform's name, or one of these names for a transform with given parameters:

    uniform, gaussian, ...   corruption.random       distribution
    fast_adversarial         corruption.adversarial  25 steps of 0.08 in place of the published 100 of 0.01

The published descent travels half the width of its box. The fast one travels the full width, so it reaches every corner
from every start. It takes a quarter of the steps and of the time, and lowers the victim's value at least as much
(docs/corruption.md has a table).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from itertools import product
from typing import Any

from assay.datasets.errors import ConfigError, UnknownNameError
from assay.datasets.transform import make_transform, register_variants, registered

__all__ = ["ELEMENTS", "MODES", "SEVERITIES", "grid", "preset"]

SEVERITIES: Mapping[str, Mapping[str, float]] = {
    "mild": {"rate": 0.1, "scale": 0.5},
    "published": {"rate": 0.3, "scale": 1.0},
    "severe": {"rate": 0.5, "scale": 2.0},
}
ELEMENTS = ("observations", "actions", "rewards", "dynamics", "states")
_TOGETHER = {
    "simultaneous": ("observations", "actions", "rewards", "dynamics"),
    "mixed": ("observations", "actions", "rewards", "dynamics"),
    "full": ("states", "actions", "rewards"),
}
MODES: Mapping[str, tuple[str, Mapping[str, Any]]] = {  # transform, and its given parameters
    **{
        distribution: ("corruption.random", {"distribution": distribution})
        for distribution in ("uniform", "gaussian", "student_t", "salt_and_pepper", "replacement")
    },
    "fast_adversarial": ("corruption.adversarial", {"steps": 25, "step_size": 0.08}),
}


def preset(
    severity: str, element: str, mode: str = "random", *, seed: int = 0, **parameters: Any
) -> list[dict[str, Any]]:
    """Return the transforms of one severity, as plain values.

    Parameters
    ----------
    severity : "mild", "published" or "severe"
    element, mode, seed, parameters
        As in `grid`.

    Examples
    --------
    >>> preset("severe", "rewards")
    [{'corruption.random': {'element': 'rewards', 'rate': 0.5, 'scale': 2.0, 'seed': 0}}]
    """
    (transforms,) = grid([element], [mode], severities=[severity], seeds=[seed], clean=False, **parameters).values()
    return transforms


@register_variants("corruption.grid")
def grid(
    elements: Sequence[str],
    modes: Sequence[str] = ("random",),
    rates: Sequence[float] | None = None,
    scales: Sequence[float] | None = None,
    *,
    severities: Sequence[str] | None = None,
    seeds: Sequence[int] = (0,),
    clean: bool = True,
    **parameters: Any,
) -> dict[str, list[dict[str, Any]]]:
    """Return variants that span element x mode x rate x scale x seed.

    Parameters
    ----------
    elements : sequence of str
        "observations", "actions", "rewards", "dynamics", "states", "simultaneous", "mixed", "full", or several joined
        by a plus sign. Modes that touch whole episodes have no element and occur once.
    modes : sequence of str
        "random", the distributions of `corruption.random` ("gaussian", ...), "adversarial", "fast_adversarial" (see the
        module), or any other transform of this room by the second part of its name ("freeze", "truncate_episodes",
        ...).
    rates, scales : sequence of float, optional
        Default 0.3 and 1. Modes without a scale ignore it. The scale of salt_and_pepper is a probability and is cut to
        1.
    severities : sequence of str, optional
        Names of rate and scale together, in place of `rates` and `scales`.
    seeds : sequence of int
        Seeds of the corruption.
    clean : bool
        Whether to begin with the variant "clean", the dataset itself.
    **parameters
        Further parameters, for every mode that takes them, such as `victim="edac"` (rewards need none) or
        `granularity="window"`.

    Returns
    -------
    dict of str to list
        From the name of a variant to its transforms, as in a suite. A name holds the mode, the element, and those other
        parameters that vary: `"random-rewards-rate0.1"`.

    Raises
    ------
    ConfigError
        If a value is impossible; the message names the field.

    Examples
    --------
    >>> for name, transforms in grid(["rewards", "mixed"], rates=[0.1, 0.3]).items():
    ...     print(name, len(transforms))
    clean 0
    random-rewards-rate0.1 1
    random-rewards-rate0.3 1
    random-mixed-rate0.1 4
    random-mixed-rate0.3 4
    """
    spans = {"elements": elements, "modes": modes, "rates": rates, "scales": scales, "severities": severities}
    for name, span in {**spans, "seeds": seeds}.items():
        if span is not None and not len(span):
            raise ConfigError(f"corruption.grid: {name} is empty")
    if severities is not None and (rates is not None or scales is not None):
        raise ConfigError("corruption.grid: give severities, or rates and scales, but not both")
    strengths: list[tuple[str, float, float]] = []
    for severity in severities or ():
        if severity not in SEVERITIES:
            raise UnknownNameError("severity", severity, SEVERITIES)
        chosen = SEVERITIES[severity]
        strengths.append((f"-{severity}" if len(severities or ()) > 1 else "", chosen["rate"], chosen["scale"]))
    if severities is None:
        given_rates, given_scales = list(rates or [0.3]), list(scales or [1.0])
        for rate, scale in product(given_rates, given_scales):
            of_rate = f"-rate{rate:g}" if len(given_rates) > 1 else ""
            of_scale = f"-scale{scale:g}" if len(given_scales) > 1 else ""
            strengths.append((of_rate + of_scale, rate, scale))
    variants: dict[str, list[dict[str, Any]]] = {"clean": []} if clean else {}
    used: set[str] = set()
    for mode, element in product(modes, elements):
        name, fixed, known = _mode(mode)
        used |= known
        parts = _parts(element) if "element" in known else [None]
        for (strength, rate, scale), seed in product(strengths, seeds):
            all_fields = {"rate": rate, "scale": min(scale, 1.0) if mode == "salt_and_pepper" else scale, "seed": seed}
            all_fields |= fixed | parameters | ({"shared": "mixed"} if element == "mixed" else {})
            label = mode if parts == [None] else f"{mode}-{element}"
            if "scale" not in known:
                strength = _without_scale(strength)
            label += strength + (f"-seed{seed}" if len(seeds) > 1 else "")
            kept = {key: value for key, value in all_fields.items() if key in known}
            variants[label] = [{name: _of_part(part, kept)} for part in parts]
    if wrong := set(parameters) - used:
        raise ConfigError(
            f"corruption.grid: {sorted(wrong)[0]!r} is a parameter of none of the modes {', '.join(modes)}"
        )
    for transforms in variants.values():
        for transform in transforms:
            for name, values in transform.items():
                make_transform(name, values)
    return variants


def _parts(element: str) -> list[str | None]:
    parts = list(_TOGETHER.get(element, element.split("+")))
    for part in parts:
        if part not in ELEMENTS:
            raise UnknownNameError("element", part, (*ELEMENTS, *_TOGETHER))
    return [*parts]


def _of_part(part: str | None, parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters for one element; rewards take no victim."""
    if part is None:
        return parameters
    return {"element": part} | {key: value for key, value in parameters.items() if (part, key) != ("rewards", "victim")}


def _mode(mode: str) -> tuple[str, dict[str, Any], set[str]]:
    """Return the transform's name, what the mode fixes, and which parameters it takes."""
    transforms = registered()
    name, fixed = MODES.get(mode, (f"corruption.{mode}", {}))
    if name in transforms:
        return name, dict(fixed), {item.name for item in fields(transforms[name])}  # type: ignore[arg-type]
    known_modes = [key.partition(".")[2] for key in transforms if key.startswith("corruption.") and key.count(".") == 1]
    raise UnknownNameError("mode of corruption", mode, (*known_modes, *MODES))


def _without_scale(strength: str) -> str:
    return "-".join(part for part in strength.split("-") if not part.startswith("scale"))
