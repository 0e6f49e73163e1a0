"""Recipes: a source and a list of transforms, as YAML or Python.

::

    source: hopper/medium-replay
    transforms:
      - corruption.random: {element: rewards, rate: 0.3, scale: 1.0, seed: 0}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay.datasets.dataset import Dataset
from assay.datasets.errors import AssayError, ConfigError, DatasetError, UnknownNameError
from assay.datasets.history import replay
from assay.datasets.progress import Auto, Progress
from assay.datasets.transform import Transform, make_transform, make_variants, registered
from assay.datasets.variant_cache import apply_or_find

__all__ = ["Recipe", "read_yaml", "replay", "variants_from_plain"]


@dataclass(frozen=True)
class Recipe:
    """A source and the transforms to apply to it, in order.

    Parameters
    ----------
    source : str
        Anything that `assay.load` takes.
    transforms : tuple of Transform
    options : mapping
        Keyword arguments for `assay.load`, such as `steps`.

    Examples
    --------
    >>> recipe = Recipe.from_plain(
    ...     {"source": "hopper/medium", "transforms": [{"corruption.random": {"element": "actions"}}]})
    >>> recipe.transforms[0].element
    'actions'
    """

    source: str
    transforms: tuple[Transform, ...] = ()
    options: Mapping[str, Any] | None = None

    @classmethod
    def from_plain(cls, plain: Any, where: str = "recipe") -> Recipe:
        """Build a recipe from the mapping that its YAML holds; errors name `where`."""
        if not isinstance(plain, Mapping) or "source" not in plain:
            raise ConfigError(f"{where}: expected a mapping with the key source (and transforms)")
        if unknown := set(plain) - {"source", "transforms", "options"}:
            raise ConfigError(f"{where}: unknown key {sorted(unknown)[0]!r}; known: options, source, transforms")
        source, options = plain["source"], plain.get("options")
        if not isinstance(source, str) or not source:
            raise ConfigError(f"{where}: source must be a name or a path, not {source!r}")
        if options is not None and not (isinstance(options, Mapping) and all(isinstance(key, str) for key in options)):
            raise ConfigError(f"{where}: options must be a mapping of names to values, not {options!r}")
        return cls(source, transforms_from_plain(plain.get("transforms"), where), options)

    @classmethod
    def from_yaml(cls, path: str | Path) -> Recipe:
        """Read a recipe file."""
        return cls.from_plain(read_yaml(path), str(path))

    def to_plain(self) -> dict[str, Any]:
        """Return the mapping that `from_plain` reads."""
        plain: dict[str, Any] = {"source": self.source}
        if self.options:
            plain["options"] = dict(self.options)
        plain["transforms"] = [{item.name: item.parameters()} for item in self.transforms]
        return plain

    def build(self) -> Dataset:
        """Load the source and apply the transforms."""
        from assay.datasets.loading import load

        return self.apply(load(self.source, **(self.options or {})))

    def apply(self, dataset: Dataset, *, keep: bool = False, progress: Progress | Auto | None = "auto") -> Dataset:
        """Apply the transforms, in order, to a dataset in place of the source.

        Parameters
        ----------
        dataset : Dataset
        keep : bool
            Cache the results of costly transforms; see `assay.datasets.variant_cache`.
        progress : callable, optional
            Called with (done, total) by transforms that take minutes; default as in `Transform.__call__`.

        Raises
        ------
        ConfigError, DatasetError
            Whatever a transform raises, with its number, from 0.
        """
        for number, transform in enumerate(self.transforms):
            try:
                dataset = apply_or_find(transform, dataset, progress) if keep else transform(dataset, progress=progress)
            except (ConfigError, DatasetError) as error:
                error.args = (f"transform {number}: {error}",)
                raise
        return dataset


def transforms_from_plain(plain: Any, where: str) -> tuple[Transform, ...]:
    """Build the transforms of a recipe or variant: a list of one-entry mappings, name -> parameters."""
    if plain is None:
        return ()
    if not isinstance(plain, list):
        raise ConfigError(f"{where}: transforms must be a list of `name: {{parameters}}` entries")
    transforms = []
    for number, entry in enumerate(plain):
        if isinstance(entry, str):
            entry = {entry: {}}
        if not isinstance(entry, Mapping) or len(entry) != 1:
            raise ConfigError(f"{where}: transform {number} must be one `name: {{parameters}}` entry, not {entry!r}")
        ((name, parameters),) = entry.items()
        if parameters is not None and not isinstance(parameters, Mapping):
            raise ConfigError(f"{where}: the parameters of {name} must be a mapping, not {parameters!r}")
        try:
            transforms.append(make_transform(str(name), parameters or {}))
        except UnknownNameError:
            raise UnknownNameError("transform", str(name), registered(), f"({where}: transform {number})") from None
        except ConfigError as error:
            raise ConfigError(f"{where}: transform {number}: {error}") from error
    return tuple(transforms)


def variants_from_plain(plain: Any, where: str) -> dict[str, list[Any]]:
    """Return the variants of a suite by name, each a list of transforms as plain values.

    Where a mapping stands in place of a list, it names a function that makes many variants, which are named by it::

        variants:
          clean: []
          random-rewards: [corruption.random: {element: rewards, rate: 0.3}]
          noise: {corruption.grid: {elements: [actions, rewards], rates: [0.1, 0.3], clean: false}}

    Raises
    ------
    ConfigError
        If it is neither, or a name occurs twice.
    """
    if not isinstance(plain, Mapping):
        raise ConfigError(f"{where}: variants must be a mapping of names to lists of transforms, not {plain!r}")
    variants: dict[str, list[Any]] = {}
    for name, value in plain.items():
        made: Mapping[str, list[Any]] = {str(name): [] if value is None else value}
        if isinstance(value, Mapping):
            if len(value) != 1 or not isinstance(next(iter(value.values())), Mapping):
                raise ConfigError(
                    f"{where}: variant {name}: expected a list of transforms, or one `function: {{parameters}}` that "
                    "makes variants, such as corruption.grid"
                )
            ((function, parameters),) = value.items()
            try:
                made = make_variants(str(function), parameters)
            except AssayError as error:
                raise ConfigError(f"{where}: variant {name}: {error}") from error
        if twice := variants.keys() & made.keys():
            if twice == {"clean"} and not variants["clean"] and not made["clean"]:
                made = {key: item for key, item in made.items() if key != "clean"}
            else:
                raise ConfigError(f"{where}: two variants are named {min(twice)!r}")
        variants |= made
    return variants


def read_yaml(path: str | Path) -> Any:
    """Read a YAML file of plain values; see `assay.datasets.yaml_reader.read_yaml`."""
    from assay.datasets.yaml_reader import read_yaml as read

    return read(path)
