"""Registries: what can be extended, found by walking packages, by entry points, and in files that a user names.

Nothing keeps a list by hand. A class is registered where it is defined::

    @register("corruption.example")
    class ExampleCorruption(Transform): ...

and found because its file lies in one of the registry's packages, because an installed package names it as an entry point
of the registry's group, or because `import_file` was given its file.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import operator
import os
import pkgutil
import shlex
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from importlib import import_module, metadata
from pathlib import Path
from typing import Annotated, Any, Generic, TypeAlias, TypeVar, cast, dataclass_transform, get_args

import pydantic

from assay.datasets.errors import AssayError, AssayWarning, ConfigError, UnknownNameError

__all__ = [
    "Filters",
    "Integer",
    "Registry",
    "Seed",
    "Widths",
    "check_count",
    "check_seed",
    "defined_in_import",
    "describe_validation_error",
    "import_file",
    "import_hint",
    "imported_files",
    "register",
    "validated",
    "with_clear_errors",
]

Entry = TypeVar("Entry")
ClassType = TypeVar("ClassType", bound=type[Any])


def _no_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("expected a number, not true or false")
    return value


Integer = Annotated[int, pydantic.BeforeValidator(_no_boolean)]
"""An int of a validated configuration; YAML's true, which Python counts as 1, is none."""
Seed = Annotated[Integer, pydantic.Field(ge=0, lt=2**63)]
"""A seed of a validated configuration."""
_Size = Annotated[Integer, pydantic.Field(gt=0)]
Widths: TypeAlias = tuple[_Size, ...]
"""Widths of the hidden layers of a network; () is a linear one."""
Filters: TypeAlias = tuple[tuple[_Size, _Size, _Size], ...]
"""Convolutions of a network: channels, kernel and stride of each."""


def check_seed(seed: Any) -> int:
    """Return a seed as int.

    Raises
    ------
    ConfigError
        If it is not a whole number from 0 to 2**63 - 1, which is what generators and files hold.

    Examples
    --------
    >>> check_seed(-1)
    Traceback (most recent call last):
    ...
    assay.datasets.errors.ConfigError: seed=-1: expected a whole number from 0 to 2**63 - 1
    """
    if isinstance(seed, bool) or not hasattr(seed, "__index__") or not 0 <= operator.index(seed) < 2**63:
        raise ConfigError(f"seed={seed!r}: expected a whole number from 0 to 2**63 - 1")
    return operator.index(seed)


def check_count(name: str, value: Any, least: int = 1) -> int:
    """Return a number of things as int.

    Raises
    ------
    ConfigError
        If it is not a whole number of at least so many; true and false are none.

    Examples
    --------
    >>> check_count("steps", 1.5)
    Traceback (most recent call last):
    ...
    assay.datasets.errors.ConfigError: steps=1.5: expected a whole number, 1 or more
    """
    if isinstance(value, bool) or not hasattr(value, "__index__") or not operator.index(value) >= least:
        raise ConfigError(f"{name}={value!r}: expected a whole number, {least} or more")
    return operator.index(value)


_IMPORTED: dict[Path, str] = {}  # files of `import_file` and the names of their modules


class Registry(Generic[Entry]):
    """Entries of one kind by name.

    Parameters
    ----------
    kind : str
        What an entry is called in messages, such as `"transform"`.
    packages : sequence of str
        Packages whose modules register entries when they are imported, subpackages included; or single modules.
    group : str
        Entry points of installed packages that do the same.

    Examples
    --------
    >>> registry = Registry("fruit", packages=[], group="assay.fruits")
    >>> registry.add("apple", 1)
    >>> registry.find("aple")
    Traceback (most recent call last):
    ...
    assay.datasets.errors.UnknownNameError: unknown fruit 'aple'; did you mean 'apple'?
    """

    def __init__(self, kind: str, packages: Sequence[str], group: str) -> None:
        self.kind, self.packages, self.group = kind, tuple(packages), group
        self._entries: dict[str, Entry] = {}
        self._origins: dict[str, str] = {}
        self._discovered = False

    def add(self, name: str, entry: Entry, origin: str = "") -> None:
        """Make an entry known.

        Parameters
        ----------
        name : str
        entry
        origin : str
            Module that defines it. Only that module may define the name again.

        Raises
        ------
        ConfigError
            If another module has taken the name.
        """
        if name in self._entries and self._origins[name] != origin:
            raise ConfigError(f"two modules define the {self.kind} {name!r}: {self._origins[name]} and {origin}")
        self._entries[name], self._origins[name] = entry, origin

    def remove(self, name: str) -> None:
        """Forget an entry, such as one of a test's own."""
        del self._entries[name], self._origins[name]

    def known(self, name: str) -> Entry | None:
        """Return the entry of this name where it has been added already, without looking for it."""
        return self._entries.get(name)

    def all(self) -> dict[str, Entry]:
        """Return every entry by name, in alphabetical order."""
        self.discover()
        return dict(sorted(self._entries.items()))

    def find(self, name: str, hint: str = "") -> Entry:
        """Return the entry of this name.

        Raises
        ------
        UnknownNameError
            If there is none; with the nearest names and the hint.
        """
        self.discover()
        if name not in self._entries:
            raise UnknownNameError(self.kind, name, self._entries, hint)
        return self._entries[name]

    def discover(self) -> None:
        """Import the packages and entry points, once."""
        if self._discovered:
            return
        self._discovered = True
        for package in self.packages:
            _import_all(package)
        for point in metadata.entry_points(group=self.group):
            try:
                point.load()
            except Exception as error:  # a foreign package must not keep the others from working
                warnings.warn(
                    f"the entry point {point.name!r} of {self.group} ({point.value}) cannot be imported: {error}",
                    AssayWarning,
                    stacklevel=3,
                )


def _import_all(package: str) -> None:
    """Import a module, and all modules below it where it is a package."""
    module = import_module(package)
    for found in pkgutil.iter_modules(getattr(module, "__path__", [])):
        _import_all(f"{package}.{found.name}")


def import_file(path: str | os.PathLike[str]) -> None:
    """Import a Python file of the user's own, so that what it registers is known; once for each file.

    Raises
    ------
    ConfigError
        If there is no such file, or it cannot be imported; the message says which line failed.
    """
    try:
        file = Path(path).resolve()
    except (OSError, RuntimeError, ValueError) as error:  # symbolic links in a circle, a NUL character
        raise ConfigError(f"{path!s} is not a path: {error}") from error
    if file in _IMPORTED:
        return
    if not file.is_file():
        raise ConfigError(f"{path} does not exist, or is not a file")
    if file.suffix != ".py":
        raise ConfigError(f"{path}: expected a Python file (.py) to import")
    name = f"assay_imported_{file.stem}_{hashlib.sha256(os.fsencode(file)).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, AssayError) or not isinstance(error, Exception):
            raise
        raise ConfigError(f"{file} cannot be imported: {type(error).__name__}: {error}{_line(error, file)}") from error
    _IMPORTED[file] = name


def imported_files() -> tuple[Path, ...]:
    """Return the files that `import_file` imported, in order; worker processes import them again."""
    return tuple(_IMPORTED)


def defined_in_import(cls: type) -> bool:
    """Return whether a class was defined in a file that `import_file` imported; other processes know it by name only."""
    return cls.__module__ in _IMPORTED.values()


def import_hint(files: Iterable[str]) -> str:
    """Return what to do about a name that files of a user's own define, and that is not known here; empty without files."""
    missing = [file for file in files if Path(file) not in _IMPORTED]
    if not missing:
        return ""
    options = " ".join(f"--import {shlex.quote(file)}" for file in missing)
    return f"(made with files of its own: pass {options}, or call assay.datasets.registry.import_file)"


def _line(error: BaseException, file: Path) -> str:
    """Return the last line of a file that an error passed through."""
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(file):
            line = trace.tb_lineno
        trace = trace.tb_next
    return "" if line is None else f" (line {line})"


_CONFIGURATION = pydantic.ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass_transform(frozen_default=True, field_specifiers=(pydantic.Field,))
def validated(name: str) -> Callable[[ClassType], ClassType]:
    """Make a class a frozen, validated dataclass, which raises a ConfigError in one line where a field is impossible.

    Numbers have to be finite, except where a field says `Field(allow_inf_nan=True)`.

    Parameters
    ----------
    name : str
        What it is called in messages.
    """

    def decorate(cls: ClassType) -> ClassType:
        made: Any = pydantic.dataclasses.dataclass(frozen=True, config=_CONFIGURATION)(cls)
        made.__init__ = with_clear_errors(name, made.__init__)
        return cast(ClassType, made)

    return decorate


@dataclass_transform(frozen_default=True, field_specifiers=(pydantic.Field,))
def register(name: str, **attributes: Any) -> Callable[[ClassType], ClassType]:
    """Make a class a dataclass as `validated` does, and register it in the registry of its base class.

    Parameters
    ----------
    name : str
        How configurations name it.
    **attributes
        More class attributes, such as an algorithm's `label`.
    """

    def decorate(cls: ClassType) -> ClassType:
        made: Any = validated(name)(cls)
        for attribute, value in {"name": name, **attributes}.items():
            setattr(made, attribute, value)
        made.registry.add(name, made, made.__module__)
        return cast(ClassType, made)

    return decorate


def with_clear_errors(name: str, init: Callable[..., None]) -> Callable[..., None]:
    """Return the initializer of a pydantic dataclass that raises a ConfigError in one line where a field is impossible."""

    def __init__(self: object, *arguments: Any, **parameters: Any) -> None:
        try:
            _refuse_booleans(name, type(self), arguments, parameters)
            init(self, *arguments, **parameters)
        except pydantic.ValidationError as error:
            known = [item.name for item in fields(self) if item.init]  # type: ignore[arg-type]
            positional = [item.name for item in fields(self) if not item.kw_only]  # type: ignore[arg-type]
            raise ConfigError(describe_validation_error(name, error, positional, known)) from error

    __init__.__wrapped__ = init  # type: ignore[attr-defined]  # keeps the signature for help() and for tyro
    return __init__


def _refuse_booleans(what: str, cls: type[Any], arguments: tuple[Any, ...], parameters: Mapping[str, Any]) -> None:
    """Raise ConfigError where true or false is given for a number, which pydantic would read as 1 or 0."""
    positional = [item.name for item in fields(cls) if item.init and not item.kw_only]
    given = {**dict(zip(positional, arguments)), **parameters}
    for name, value in given.items():
        if name in cls.__pydantic_fields__ and _holds_boolean(value):
            annotation = cls.__pydantic_fields__[name].annotation
            if _mentions(annotation, int, float) and not _mentions(annotation, bool, Any):
                raise ConfigError(f"{what}: {name}={value!r}: expected a number, not true or false")


def _holds_boolean(value: Any) -> bool:
    return isinstance(value, bool) or (isinstance(value, list | tuple) and any(map(_holds_boolean, value)))


def _mentions(annotation: Any, *kinds: Any) -> bool:
    return any(annotation is kind for kind in kinds) or any(_mentions(part, *kinds) for part in get_args(annotation))


def describe_validation_error(
    what: str, error: pydantic.ValidationError, positional: Sequence[str] = (), known: Iterable[str] = ()
) -> str:
    """Say in one line which parameters of `what` are wrong, and why.

    Parameters
    ----------
    what : str
    error : pydantic.ValidationError
    positional : sequence of str
        Names of the parameters that may be given by position.
    known : iterable of str
        Names of all parameters, to suggest one for a misspelt name.
    """
    lines, known = [], list(known)
    for item in error.errors():
        message = _begun_small(item["msg"].removeprefix("Value error, "))
        if not item["loc"]:  # of several parameters together
            lines.append(message)
            continue
        first, *rest = item["loc"]
        if isinstance(first, int) and first < len(positional):
            first = positional[first]
        place = ".".join(str(part) for part in (first, *rest))
        if item["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
            near = difflib.get_close_matches(str((first, *rest)[-1]), known, n=1, cutoff=0.5)
            lines.append(f"{place} is not a parameter of it" + (f"; did you mean {near[0]!r}?" if near else ""))
        elif item["type"] in ("missing", "missing_argument"):
            lines.append(f"{place} is missing")
        else:
            lines.append(f"{place}={item['input']!r}: {message}")
    return f"{what}: " + "; ".join(lines)


def _begun_small(text: str) -> str:
    """Return a sentence with a small first letter; a first word of several capitals, such as MOBILE, is a name."""
    first = text.partition(" ")[0]
    return text if sum(map(str.isupper, first)) > 1 else text[0].lower() + text[1:]


def checked_names(name: str, parameters: Mapping[Any, Any]) -> dict[str, Any]:
    """Return parameters as keyword arguments; raise ConfigError where a key is not a name."""
    if wrong := [key for key in parameters if not isinstance(key, str)]:
        raise ConfigError(f"{name}: {wrong[0]!r} is not a parameter of it; parameters have names")
    return dict(parameters)
