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
import os
import pkgutil
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, Generic, TypeVar, cast, dataclass_transform

import pydantic

from assay.datasets.errors import AssayError, AssayWarning, ConfigError, UnknownNameError

__all__ = ["Registry", "describe_validation_error", "import_file", "imported_files", "register"]

Entry = TypeVar("Entry")
ClassType = TypeVar("ClassType", bound=type[Any])

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
    file = Path(path).resolve()
    if file in _IMPORTED:
        return
    if file.suffix != ".py" or not file.is_file():
        raise ConfigError(f"{path}: expected a Python file to import")
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


def _line(error: BaseException, file: Path) -> str:
    """Return the last line of a file that an error passed through."""
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(file):
            line = trace.tb_lineno
        trace = trace.tb_next
    return "" if line is None else f" (line {line})"


@dataclass_transform(frozen_default=True, field_specifiers=(pydantic.Field,))
def register(name: str, **attributes: Any) -> Callable[[ClassType], ClassType]:
    """Make a class a frozen, validated dataclass and register it in the registry of its base class.

    Parameters
    ----------
    name : str
        How configurations name it.
    **attributes
        More class attributes, such as an algorithm's `label`.
    """

    def decorate(cls: ClassType) -> ClassType:
        made: Any = pydantic.dataclasses.dataclass(frozen=True, config=pydantic.ConfigDict(extra="forbid"))(cls)
        for attribute, value in {"name": name, **attributes}.items():
            setattr(made, attribute, value)
        made.__init__ = _with_clear_errors(name, made.__init__)
        made.registry.add(name, made, made.__module__)
        return cast(ClassType, made)

    return decorate


def _with_clear_errors(name: str, init: Callable[..., None]) -> Callable[..., None]:
    def __init__(self: object, *arguments: Any, **parameters: Any) -> None:
        try:
            init(self, *arguments, **parameters)
        except pydantic.ValidationError as error:
            known = [item.name for item in fields(self) if item.init]  # type: ignore[arg-type]
            positional = [item.name for item in fields(self) if not item.kw_only]  # type: ignore[arg-type]
            raise ConfigError(describe_validation_error(name, error, positional, known)) from error

    __init__.__wrapped__ = init  # type: ignore[attr-defined]  # keeps the signature for help() and for tyro
    return __init__


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
        message = item["msg"].removeprefix("Value error, ")
        message = message[0].lower() + message[1:]
        if not item["loc"]:  # of several parameters together
            lines.append(message)
            continue
        first, *rest = item["loc"]
        if isinstance(first, int) and first < len(positional):
            first = positional[first]
        place = ".".join(str(part) for part in (first, *rest))
        if item["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
            near = difflib.get_close_matches(str(first), known, n=1, cutoff=0.5)
            lines.append(f"{place} is not a parameter of it" + (f"; did you mean {near[0]!r}?" if near else ""))
        elif item["type"] in ("missing", "missing_argument"):
            lines.append(f"{place} is missing")
        else:
            lines.append(f"{place}={item['input']!r}: {message}")
    return f"{what}: " + "; ".join(lines)


def checked_names(name: str, parameters: Mapping[Any, Any]) -> dict[str, Any]:
    """Return parameters as keyword arguments; raise ConfigError where a key is not a name."""
    if wrong := [key for key in parameters if not isinstance(key, str)]:
        raise ConfigError(f"{name}: {wrong[0]!r} is not a parameter of it; parameters have names")
    return dict(parameters)
