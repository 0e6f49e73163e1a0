"""Transforms: deterministic functions from dataset to dataset, with validated parameters and a name to be found under.

A transform is a frozen pydantic dataclass::

    @register("corruption.example")
    class ExampleCorruption(Transform):
        rate: float = Field(default=0.3, ge=0, le=1)  # type checkers know defaults by this keyword
        seed: int = 0

        def apply(self, dataset: Dataset) -> Dataset:
            return dataset.replace({"rewards": ...})

Calling a transform applies it and appends one record to the history: its name, its parameters, and the fingerprints
before and after. What `apply` itself does by `replace`, `select` or other transforms is part of that record. A transform
that takes minutes overrides `apply_reporting` in place of `apply`, and its property `costly` is True.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any, ClassVar, TypeVar

from assay.datasets.dataset import Dataset
from assay.datasets.device import check_device
from assay.datasets.errors import ConfigError, UnknownNameError
from assay.datasets.info import Record, assay_version, json_value
from assay.datasets.progress import Auto, Progress, counted, reporting
from assay.datasets.recording import unrecorded
from assay.datasets.registry import Registry, checked_names, register

__all__ = ["Progress", "Transform", "make_transform", "make_variants", "register", "register_variants", "registered"]

_PACKAGES = (
    "assay.augmentation",
    "assay.corruption",
    "assay.relabeling",
    "assay.reweighting",
    "assay.metrics.columns",
    "assay.datasets.editing",
    "assay.datasets.episode_draws",
    "assay.datasets.naming",
    "assay.datasets.resampling",
    "assay.datasets.tagging",
)
_ALWAYS_TOLD = ("element", "rate")  # by the summary of a transform, whether they differ from their defaults or not
_LONGEST_WORD = 24  # of a text in a summary; longer ones are paths or hashes
_VARIANTS: dict[str, Callable[..., Mapping[str, list[Any]]]] = {}


class Transform(ABC):
    """Base of all transforms; see the module's text for how to write one."""

    registry: ClassVar[Registry[type[Transform]]] = Registry("transform", _PACKAGES, "assay.transforms")
    name: ClassVar[str]

    @property
    def costly(self) -> bool:
        """Whether suites cache the result: it takes minutes, and depends only on what the record says."""
        return False

    def draft(self) -> Transform:
        """Return what stands for the transform in a plan: it takes seconds, and gives data of the same shape."""
        return self

    @abstractmethod
    def apply(self, dataset: Dataset) -> Dataset:
        """Return the changed dataset, sharing every column that did not change."""

    def apply_reporting(self, dataset: Dataset, progress: Progress | None) -> Dataset:
        """Apply as `apply` does, and call `progress` with (done, total) on the way."""
        return self.apply(dataset)

    def record_on(self, dataset: Dataset) -> Record:
        """Return the record that the history of the result gets."""
        parameters = self.parameters()
        return Record(self.name, parameters, parameters.get("seed"), dataset.fingerprint, assay_version())

    def __call__(self, dataset: Dataset, *, progress: Progress | Auto | None = "auto") -> Dataset:
        """Apply the transform and record it in the history.

        Parameters
        ----------
        dataset : Dataset
            Left as it is.
        progress : callable, optional
            Called with (done, total) by transforms that take minutes. By default a bar is shown where somebody looks; None
            is silent. See `assay.datasets.progress`.

        Returns
        -------
        Dataset
            Shares all columns that the transform did not change.

        Raises
        ------
        ConfigError
            If the transform has a device that cannot be used here.
        """
        check_device(getattr(self, "device", None))
        record = self.record_on(dataset)
        with unrecorded(), reporting(progress, self.name, counted(self.name)) as report:
            result = self.apply_reporting(dataset, report)
        return result.with_history((*dataset.history, replace(record, fingerprint=result.fingerprint)))

    def summary(self) -> str:
        """Say in a few words what the transform does; variants that have no name of their own are called by it.

        The default is the end of the registered name, then the element and the rate, then what else differs from its
        default, without the seed.
        """
        given = {item.name: item.default for item in fields(self)}  # type: ignore[arg-type]
        defaults = {
            name: json_value(getattr(value, "default", value)) for name, value in given.items()
        }  # of Field(...)
        told = {key: value for key, value in self.parameters().items() if key in _ALWAYS_TOLD or value != defaults[key]}
        return summary_of(self.name, told)

    def parameters(self) -> dict[str, Any]:
        """Return the fields as JSON values, enough to build the transform again."""
        return {item.name: json_value(getattr(self, item.name)) for item in fields(self)}  # type: ignore[arg-type]


def summary_of(name: str, parameters: Mapping[str, Any]) -> str:
    """Put the name of a transform and its parameters into a few words.

    Examples
    --------
    >>> summary_of("corruption.drop_episodes", {"rate": 0.25, "of": "lowest_return", "seed": 1, "scale": 2.0})
    'drop episodes 0.25 lowest_return scale=2'
    """
    words = [name.rpartition(".")[2].replace("_", " ")]
    told = sorted(parameters.items(), key=lambda item: item[0] not in _ALWAYS_TOLD)
    for key, value in told:
        if key == "seed" or isinstance(value, bool) or not isinstance(value, str | int | float):
            continue
        if isinstance(value, str):
            words += [value] if len(value) <= _LONGEST_WORD and "/" not in value else []
        else:
            words.append(f"{value:g}" if key in _ALWAYS_TOLD else f"{key}={value:g}")
    return " ".join(words)


def registered() -> dict[str, type[Transform]]:
    """Return all transforms of all rooms by name."""
    return Transform.registry.all()


VariantsFunction = TypeVar("VariantsFunction", bound=Callable[..., Mapping[str, list[Any]]])


def register_variants(name: str) -> Callable[[VariantsFunction], VariantsFunction]:
    """Register a function that returns many variants, name -> transforms as plain values, for suites to call by name."""

    def decorate(function: VariantsFunction) -> VariantsFunction:
        _VARIANTS[name] = function
        return function

    return decorate


def make_variants(name: str, parameters: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Call a registered function of variants.

    Raises
    ------
    UnknownNameError
        If none has this name.
    ConfigError
        If a parameter is unknown or impossible.

    Examples
    --------
    >>> list(make_variants("corruption.grid", {"elements": ["rewards", "actions"], "rates": [0.3]}))
    ['clean', 'random-rewards', 'random-actions']
    """
    registered()  # imports the rooms
    if name not in _VARIANTS:
        raise UnknownNameError("function of variants", name, _VARIANTS)
    try:
        return dict(_VARIANTS[name](**parameters))
    except TypeError as error:
        raise ConfigError(f"{name}: {error}") from error


def make_transform(name: str, parameters: Mapping[str, Any]) -> Transform:
    """Build a registered transform.

    Raises
    ------
    UnknownNameError
        If no transform has this name.
    ConfigError
        If a parameter is unknown or impossible.

    Examples
    --------
    >>> make_transform("corruption.random", {"element": "rewards", "rate": 0.3}).rate
    0.3
    """
    return Transform.registry.find(name)(**checked_names(name, parameters))
