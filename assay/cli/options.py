"""Options that commands share, and the one grammar of settings: FIELD=VALUE, with a YAML value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

from tyro.conf import OmitArgPrefixes, Positional, UseAppendAction, arg

from assay.baselines.training.options import TrainingOptions
from assay.datasets.errors import ConfigError, UnknownNameError
from assay.datasets.yaml_reader import parse_yaml

__all__ = ["TypedOptions", "configured", "settings"]

Name = Annotated[Positional[str], arg(metavar="NAME")]
Output = Annotated[Path, arg(aliases=["-o"])]
OptionalOutput = Annotated[Path | None, arg(aliases=["-o"])]
Settings = Annotated[UseAppendAction[list[str]], arg(metavar="FIELD=VALUE")]
Checks = Annotated[UseAppendAction[list[str]], arg(metavar="FIELD=VALUE")]
Loggers = Annotated[UseAppendAction[list[str]], arg(metavar="LOGGER")]
Drop = Annotated[UseAppendAction[list[str]], arg(metavar="COLUMN")]
SourceFormat = Annotated[str | None, arg(name="from")]
Configuration = TypeVar("Configuration")


@dataclass(frozen=True)
class TypedOptions(TrainingOptions):
    """Options as they were typed: `checked` refuses what is impossible, after the command line was read as a whole."""

    __doc__ = TrainingOptions.__doc__  # the help of the options

    def __post_init__(self) -> None:
        pass

    def checked(self) -> TrainingOptions:
        """Return the options, or raise ConfigError."""
        return TrainingOptions(**vars(self))


Training = OmitArgPrefixes[TypedOptions]


def settings(texts: Sequence[str], option: str = "--set") -> dict[str, Any]:
    """Read settings: FIELD=VALUE, or several of them as one mapping, {FIELD: VALUE, ...}.

    A value is YAML, so numbers, booleans, lists and mappings are written as usual, and all JSON is YAML.

    Parameters
    ----------
    texts : sequence of str
    option : str
        What they were given by, for messages; empty where they are arguments of their own.

    Raises
    ------
    ConfigError
        If a text is neither form, a value is not YAML, or a field is given twice.

    Examples
    --------
    >>> settings(["rate=0.1", "hidden=[64, 64]", '{"columns": {"observations": "obs"}}'])
    {'rate': 0.1, 'hidden': [64, 64], 'columns': {'observations': 'obs'}}
    """
    found: dict[str, Any] = {}
    for text in texts:
        where = f"{option} {text}".strip()
        if text.startswith("{"):
            values = parse_yaml(text, where)
            if not isinstance(values, dict) or not all(isinstance(field, str) for field in values):
                raise ConfigError(f"{where}: expected a mapping of fields to values")
        else:
            field, equals, value = text.partition("=")
            if not (equals and field.isidentifier()):
                raise ConfigError(f"{where}: expected FIELD=VALUE")
            values = {field: parse_yaml(value, where)}
        if twice := found.keys() & values.keys():
            raise ConfigError(f"{where}: {min(twice)} is given twice")
        found |= values
    return found


def configured(config: Configuration, changes: Sequence[str]) -> Configuration:
    """Change fields of a configuration by settings."""
    from pydantic import ValidationError

    from assay.datasets.registry import describe_validation_error

    values = settings(changes)
    known = [item.name for item in fields(cast(Any, config))]
    for name in values:
        if name not in known:
            raise UnknownNameError("setting", name, known)
    try:
        return cast(Configuration, replace(cast(Any, config), **values))
    except ValidationError as error:
        raise ConfigError(describe_validation_error("--set", error)) from error
