"""The one reader of YAML: recipes, suites and values on the command line.

It is PyYAML's safe loader, which builds plain values only, with three differences.

- What hides a mistake is an error: a key that occurs twice (PyYAML keeps the later one in silence).
- What never ends, or grows when it is read, is an error: a file above a mebibyte, nesting deeper than 50, more than 20,000
  values once every alias is written out, and an alias inside the value that it names.
- Numbers are those of JSON too: `1e-4` is a number (YAML 1.1 wants `1.0e-4`). Times such as `12:30` and dates are text.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from assay.datasets.errors import ConfigError

__all__ = ["LARGEST_FILE", "parse_yaml", "read_yaml"]

LARGEST_FILE = 1 << 20  # bytes
_DEEPEST = 50
_MOST_VALUES = 20_000

_INTEGER = re.compile(r"[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0[0-7_]*|[1-9][0-9_]*)$")
_FLOAT = re.compile(
    r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+"
    r"|\.(?:inf|Inf|INF))$|\.(?:nan|NaN|NAN)$"
)


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the differences that the module's text names."""

    def __init__(self, text: str | bytes) -> None:
        super().__init__(text)
        self._depth = self._count = 0
        self._sizes: dict[int, int] = {}  # values in a node, once its aliases are written out

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
        self._depth += 1
        self._count += 1
        if self._depth > _DEEPEST:
            raise yaml.MarkedYAMLError(problem=f"nested deeper than {_DEEPEST}", problem_mark=_mark(event))
        node = super().compose_node(parent, index)
        self._depth -= 1
        if isinstance(event, yaml.AliasEvent) and id(node) not in self._sizes:
            raise yaml.MarkedYAMLError(
                problem=f"the alias *{event.anchor} stands inside what it names", problem_mark=_mark(event)
            )
        self._sizes.setdefault(id(node), self._size(node))
        if max(self._sizes[id(node)], self._count) > _MOST_VALUES:
            raise yaml.MarkedYAMLError(problem=f"more than {_MOST_VALUES:,} values", problem_mark=_mark(event))
        return node

    def _size(self, node: yaml.Node | None) -> int:
        if isinstance(node, yaml.SequenceNode):
            return 1 + sum(self._sizes[id(item)] for item in node.value)
        if isinstance(node, yaml.MappingNode):
            return 1 + sum(self._sizes[id(part)] for pair in node.value for part in pair)
        return 1

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:  # the stubs have another type than the code
        node = super().compose_mapping_node(anchor)
        seen: set[Hashable] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            value = self.construct_object(key)
            if value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {value!r} occurs twice in one mapping", problem_mark=_mark(key)
                )
            seen.add(value)
        return node


def _mark(part: yaml.Event | yaml.Node) -> Any:
    return part.start_mark


def _resolvers() -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    replaced = ("int", "float", "timestamp")
    table: dict[str, list[tuple[str, re.Pattern[str]]]] = {
        first: [(tag, pattern) for tag, pattern in known if tag.rpartition(":")[2] not in replaced]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    for first in "-+.0123456789":
        table.setdefault(first, [])
        table[first] += [("tag:yaml.org,2002:int", _INTEGER), ("tag:yaml.org,2002:float", _FLOAT)]
    return table


_PLAIN = ("null", "bool", "int", "float", "str", "seq", "map")  # no dates, sets, pairs or bytes, which JSON cannot hold
_Loader.yaml_implicit_resolvers = _resolvers()
_Loader.yaml_constructors = {
    tag: construct
    for tag, construct in yaml.SafeLoader.yaml_constructors.items()
    if tag is None or tag.rpartition(":")[2] in _PLAIN
}


def parse_yaml(text: str | bytes, what: str) -> Any:
    """Return the plain values that YAML text describes.

    Parameters
    ----------
    text : str or bytes
    what : str
        What the text is, for messages, such as a file's path.

    Raises
    ------
    ConfigError
        If it is not YAML, a key occurs twice, or a limit of this module's text is passed; with the line.

    Examples
    --------
    >>> parse_yaml("{rate: 1e-1, hidden: [8, 8]}", "example")
    {'rate': 0.1, 'hidden': [8, 8]}
    >>> parse_yaml("a: 1\\na: 2", "example.yaml")
    Traceback (most recent call last):
    ...
    assay.datasets.errors.ConfigError: example.yaml: the key 'a' occurs twice in one mapping (line 2, column 1)
    """
    try:
        loader = _Loader(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        if type(error) is yaml.MarkedYAMLError:
            mark = error.problem_mark
            assert mark is not None
            place = f" (line {mark.line + 1}, column {mark.column + 1})"
            raise ConfigError(f"{what}: {error.problem}{place}") from None
        raise ConfigError(f"{what} is not a YAML file: {_one_line(error)}") from error
    except (
        yaml.YAMLError,
        ValueError,
    ) as error:  # ValueError: a number of thousands of digits, bytes that are not UTF-8
        raise ConfigError(f"{what} is not a YAML file: {_one_line(error)}") from error


def read_yaml(path: str | Path) -> Any:
    """Read a YAML file of plain values.

    Raises
    ------
    ConfigError
        If the file is missing, cannot be read, is larger than `LARGEST_FILE`, or is not YAML; with its path and line.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist") from None
    except IsADirectoryError:
        raise ConfigError(f"{path} is not a YAML file: it is a folder") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # a NUL character in the path
        raise ConfigError(f"{str(path)!r} is not a path: {error}") from error
    if len(content) > LARGEST_FILE:
        raise ConfigError(f"{path} is not a YAML file of settings: it is larger than {LARGEST_FILE >> 20} MiB")
    return parse_yaml(content, str(path))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
