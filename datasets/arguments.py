"""Public functions that were given something of a wrong kind say which argument it is.

A function works on what it is given, so nothing is checked beforehand, and whatever behaves like an array is one. Only where it
fails with an error of Python's or NumPy's own are its arguments compared with what it asks for::

    tq("hopper/medium")     AttributeError: 'str' object has no attribute 'returns'
                            tq: dataset='hopper/medium' is a str; a Dataset belongs there, such as assay.load('hopper/medium')

An error that no argument is to blame for stays what it is.
"""

from __future__ import annotations

import functools
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

import numpy as np

from assay.datasets.errors import ArgumentError, AssayError

__all__ = ["name_wrong_arguments", "naming_wrong_arguments"]

Function = TypeVar("Function", bound=Callable[..., Any])

_OF_PYTHON = (AttributeError, IndexError, KeyError, TypeError, ValueError)
_LONGEST = 60  # characters of a value in a message


def name_wrong_arguments(room: str, names: Iterable[str]) -> None:
    """Let the public functions of a package name arguments of a wrong kind where they fail."""
    package = sys.modules[room]
    for name in names:
        found = getattr(package, name)
        if inspect.isfunction(found):
            setattr(package, name, naming_wrong_arguments(found, room))


def naming_wrong_arguments(function: Function, home: str) -> Function:
    """Return the function, which raises ArgumentError where it fails because of what it was given.

    Parameters
    ----------
    function : callable
        With annotated parameters.
    home : str
        The module it is public in.

    Examples
    --------
    >>> def double(points: np.ndarray) -> np.ndarray:
    ...     return 2.0 * points
    >>> naming_wrong_arguments(double, "example")("one")
    Traceback (most recent call last):
    ...
    assay.datasets.errors.ArgumentError: double: points='one' is a str; an array of numbers belongs there
    """

    @functools.wraps(function)
    def named(*arguments: Any, **keywords: Any) -> Any:
        try:
            return function(*arguments, **keywords)
        except AssayError:
            raise
        except _OF_PYTHON as error:
            blamed = _blame(function, arguments, keywords)
            if blamed is None:
                raise
            raise ArgumentError(blamed) from error

    named.__module__ = home  # where a pickle finds it
    return named  # type: ignore[return-value]


def _blame(function: Callable[..., Any], arguments: Sequence[Any], keywords: Mapping[str, Any]) -> str | None:
    """Return which argument is not of the kind that is asked for, or None."""
    signature = inspect.signature(function)
    try:
        given = signature.bind(*arguments, **keywords).arguments
    except TypeError:
        return None  # Python's own message names what is missing or too much
    for name, value in given.items():
        parameter = signature.parameters[name]
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if (expected := _expected(str(parameter.annotation), value, function.__globals__)) is not None:
            text = repr(value)
            shown = text if len(text) <= _LONGEST and "\n" not in text else "..."
            advice = f", such as assay.load({value!r})" if expected == "a Dataset" and isinstance(value, str) else ""
            return f"{function.__name__}: {name}={shown} is {_kind(value)}; {expected} belongs there{advice}"
    return None


def _kind(value: Any) -> str:
    name = type(value).__name__
    if value is None:
        return name
    if _is_sequence(value) and not len(value):
        return f"an empty {name}"
    if _is_sequence(value) and not isinstance(value, np.ndarray) and not _is_numbers(value):
        return f"a {name} that is ragged or holds no numbers"
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def _expected(annotation: str, value: Any, names: Mapping[str, Any]) -> str | None:
    """Return in words what belongs where a value of another kind was given; None where it fits, or nobody can say."""
    words = []
    for part in _alternatives(annotation):
        word = _of_one_kind(part, value, names)
        if word is None:
            return None
        words.append(word)
    return " or ".join(dict.fromkeys(word for word in words if word))


def _alternatives(annotation: str) -> list[str]:
    """Split at every | outside of brackets."""
    parts: list[str] = []
    for piece in annotation.split(" | "):
        if parts and parts[-1].count("[") > parts[-1].count("]"):
            parts[-1] += f" | {piece}"
        else:
            parts.append(piece)
    return parts


def _of_one_kind(annotation: str, value: Any, names: Mapping[str, Any]) -> str | None:
    if found := re.fullmatch(r"(?:collections\.abc\.|typing\.)?(?:Sequence|Collection|Iterable)\[(.*)\]", annotation):
        if not isinstance(value, Iterable) or isinstance(value, str | bytes | Mapping):
            return "a list"
        inner = [_expected(found[1], item, names) for item in value] if isinstance(value, Sequence | np.ndarray) else []
        wrong = next((word for word in inner if word is not None), None)
        return None if wrong is None else f"a list, each item {wrong},"
    for pattern, (word, fits) in _KINDS.items():
        if re.fullmatch(pattern, annotation):
            return None if fits(value) else word
    kind = names.get(annotation)
    if kind is Any or kind is object:
        return None
    if inspect.isclass(kind) and not getattr(kind, "_is_protocol", False):
        return None if isinstance(value, kind) else f"a {annotation}"
    members = get_args(kind) if get_origin(kind) in (Union, UnionType) else ()  # a name for several kinds
    text = " | ".join(member.__name__ if inspect.isclass(member) else str(member) for member in members)
    return _expected(text, value, names) if text else None


def _is_sequence(value: Any) -> bool:
    return isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim > 0)


def _is_numbers(value: Any) -> bool:
    try:
        return np.asarray(value).dtype.kind in "biuf"
    except ValueError:  # ragged
        return False


def _is_array(value: Any) -> bool:
    return _is_numbers(value) and bool(np.ndim(value)) and bool(np.size(value))


def _is_dataset(value: Any) -> bool:
    from assay.datasets.dataset import Dataset

    return isinstance(value, Dataset)


def _is_frame(value: Any) -> bool:
    import polars as pl

    return isinstance(value, pl.DataFrame)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


# Pattern of an annotation -> what it is called, and whether a value is one.
_KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    r"Dataset": ("a Dataset", _is_dataset),
    r"np\.ndarray|ArrayLike|NDArray\[.*\]": ("an array of numbers", _is_array),
    r"pl\.DataFrame": ("a polars data frame", _is_frame),
    r"str": ("a text", lambda value: isinstance(value, str)),
    r"Path|os\.PathLike\[str\]": ("a path", lambda value: isinstance(value, os.PathLike)),
    r"bool": ("True or False", lambda value: isinstance(value, bool | np.bool_)),
    r"int": ("a whole number", lambda value: _is_number(value) and float(value).is_integer()),
    r"float": ("a number", _is_number),
    r"None": ("", lambda value: value is None),
    r"(?:collections\.abc\.)?(?:Mapping|dict)\[.*\]": ("a mapping", lambda value: isinstance(value, Mapping)),
}
