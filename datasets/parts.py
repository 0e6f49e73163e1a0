"""Parts of transforms that are chosen by name, such as judges, domains and guides: as objects, and as recipes write them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from assay.datasets.errors import ConfigError
from assay.datasets.info import json_value
from assay.datasets.registry import Registry, checked_names

__all__ = ["part_from_plain", "part_to_plain"]


def part_from_plain(plain: Any, registry: Registry[Any], kind: type) -> Any:
    """Build what a registry holds from its name, or `{name: parameters}`; what is of the kind already stays.

    Raises
    ------
    ConfigError
        If it is none of these, or an object that no record of a history could hold.
    """
    if not isinstance(plain, str | Mapping) and isinstance(plain, kind):
        if not is_dataclass(plain):
            raise ConfigError(
                f"{type(plain).__name__} is no dataclass: a record of the history holds a {registry.kind} by its fields"
            )
        return plain
    if isinstance(plain, str):
        plain = {plain: {}}
    if not isinstance(plain, Mapping) or len(plain) != 1:
        raise ConfigError(
            f"{registry.kind}={plain!r}: expected a {registry.kind}, or a mapping of its name to its parameters"
        )
    ((name, parameters),) = plain.items()
    return registry.find(str(name))(**checked_names(f"{registry.kind} {name}", parameters or {}))


def part_to_plain(part: Any) -> dict[str, Any]:
    """Return `{name: parameters}` of a part."""
    return {part.name: {item.name: json_value(getattr(part, item.name)) for item in fields(part)}}
