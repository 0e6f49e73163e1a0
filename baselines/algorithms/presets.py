"""Presets: what the authors of an algorithm chose per dataset, as a JSON file beside the algorithm's own.

`my_method.json` beside `my_method.py`::

    {
      "source": "paper or repository",
      "keys": ["environment", "data"],
      "presets": {"hopper": {"medium": {"temperature": 3.0}}},
      "otherwise": {"temperature": 1.0}
    }

`keys` says what the levels of `presets` stand for; each is one of

- `environment`: the body of the dataset's environment, such as `hopper` of Hopper-v5; where it has none, what its name
  begins with, such as `antmaze` of antmaze-umaze-v2;
- `data`: which policies made the data, such as `medium-replay` of hopper/medium-replay or hopper-medium-replay-v2;
- `corruption`: `random`, `adversarial`, ... where one transform of `corruption` is in the history;
- `element`: what that transform corrupted; states count as observations.

The entry `"*"` of a level stands for all that the level does not name. `otherwise` is for datasets that are not in the table;
without it they are an error. `{}` is an entry like others: the fields stay at their defaults.

Others may have run the algorithm with settings of their own. `"studies"` holds a table like this one for each of them, by name:
`"studies": {"robomimic": {"source": ..., "keys": ..., "presets": ...}}`.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError, UnknownNameError

if TYPE_CHECKING:
    from assay.baselines.algorithms.algorithm import Algorithm

__all__ = ["KEYS", "Presets", "presets_of"]


def _environment(dataset: Dataset) -> str:
    known = dataset.info.environment_id
    return (known.partition("-")[0] if known else re.split("[-/]", dataset.info.id or "")[0]).lower()


def _data(dataset: Dataset) -> str:
    name = dataset.info.id or ""
    behind = name.rpartition("/")[2] if "/" in name else name.partition("-")[2]
    return re.sub(r"-v\d+$", "", behind)


def _corruption(dataset: Dataset) -> tuple[str, str]:
    """Return the kind and the element of the one corruption in the history; empty where there is none, or several."""
    found = {
        (record.transform.partition(".")[2], str(record.parameters.get("element")))
        for record in dataset.history
        if record.transform.startswith("corruption.")
    }
    kind, element = found.pop() if len(found) == 1 else ("", "")
    return kind, "observations" if element == "states" else element


KEYS: dict[str, Callable[[Dataset], str]] = {
    "environment": _environment,
    "data": _data,
    "corruption": lambda dataset: _corruption(dataset)[0],
    "element": lambda dataset: _corruption(dataset)[1],
}
"""What the levels of a table of presets may stand for, and how a dataset's value is found."""


_ANY = "*"


@dataclass(frozen=True)
class Presets:
    """A table of presets.

    Parameters
    ----------
    label : str
        Of the algorithm, for messages.
    keys : tuple of str
        Names of the levels, from `KEYS`.
    table : mapping
        Nested as deep as there are keys; the innermost mappings are fields of the algorithm.
    otherwise : mapping or None
        Fields for what is not in the table.

    Examples
    --------
    >>> presets = Presets("Example", ("environment", "data"), {"hopper": {"medium": {"rate": 0.1}}})
    >>> presets.find("hopper", "medium")
    {'rate': 0.1}
    """

    label: str
    keys: tuple[str, ...]
    table: Mapping[str, Any]
    otherwise: Mapping[str, Any] | None = None

    def find(self, *path: str) -> dict[str, Any]:
        """Return the fields of one entry of the table, by its keys in order.

        Raises
        ------
        UnknownNameError
            If there is no such entry; with the nearest names.
        """
        found: Mapping[str, Any] = self.table
        for depth, key in enumerate(path):
            key = key if key in found else _ANY if _ANY in found else key
            if key not in found:
                above = f" of {' '.join(path[:depth])}" if depth else ""
                raise UnknownNameError(f"{self.label} preset{above}", key, found)
            found = found[key]
        return dict(found)

    def values_for(self, dataset: Dataset) -> dict[str, Any]:
        """Return the fields that were chosen for a dataset like this one.

        Raises
        ------
        UnknownNameError
            If the table has nothing for it, and nothing for other datasets.
        """
        try:
            return self.find(*(KEYS[key](dataset) for key in self.keys))
        except UnknownNameError:
            if self.otherwise is None:
                raise
            return dict(self.otherwise)


def presets_of(algorithm: type[Algorithm], study: str | None = None) -> Presets:
    """Read the presets beside the file that defines an algorithm; with a study, those that this study ran it with.

    Raises
    ------
    ConfigError
        If there is no such file, or it is not a table of presets.
    UnknownNameError
        If it has no such study.
    """
    file = Path(str(sys.modules[algorithm.__module__].__file__)).with_suffix(".json")
    try:
        plain = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{algorithm.label} has no presets by dataset: there is no {file}") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file} is not a JSON file: {error}") from error
    return _checked(algorithm, plain if study is None else _study(algorithm, plain, study), str(file))


def _study(algorithm: type[Algorithm], plain: Any, study: str) -> Any:
    studies = plain.get("studies", {}) if isinstance(plain, dict) else {}
    if study not in studies:
        raise UnknownNameError(f"study of {algorithm.label}", study, studies)
    return studies[study]


def _checked(algorithm: type[Algorithm], plain: Any, where: str) -> Presets:
    if not isinstance(plain, dict) or not {"keys", "presets"} <= plain.keys():
        raise ConfigError(f"{where}: expected an object with keys and presets")
    for key in plain["keys"]:
        if key not in KEYS:
            raise ConfigError(f"{where}: {UnknownNameError('key of presets', str(key), KEYS)}")
    known = [item.name for item in fields(cast(Any, algorithm)) if item.init]
    entries: list[Any] = [plain["presets"]]
    for _ in plain["keys"]:
        entries = [inner for entry in entries if isinstance(entry, dict) for inner in entry.values()]
    for entry in [*entries, plain.get("otherwise") or {}]:
        if not isinstance(entry, dict):
            raise ConfigError(f"{where}: {entry!r} is not an object of fields")
        for name in entry:
            if name not in known:
                raise ConfigError(f"{where}: {UnknownNameError('field', name, known)}")
    return Presets(algorithm.label, tuple(plain["keys"]), plain["presets"], plain.get("otherwise"))
