"""Finding algorithms by name; every file below `baselines/algorithms` that registers one is found."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from assay.datasets.registry import Registry, checked_names, register

if TYPE_CHECKING:
    from assay.baselines.algorithms.algorithm import Algorithm

__all__ = ["REGISTRY", "algorithm_named", "algorithms", "register_algorithm"]

AlgorithmType = TypeVar("AlgorithmType", bound="type[Algorithm]")

REGISTRY: Registry[type[Algorithm]] = Registry("algorithm", ["assay.baselines.algorithms"], "assay.algorithms")


def algorithms() -> dict[str, type[Algorithm]]:
    """Return all algorithms by name.

    Examples
    --------
    >>> {"bc", "iql", "td3_bc"} <= set(algorithms())
    True
    """
    return REGISTRY.all()


def algorithm_named(name: str, parameters: Mapping[str, Any] | None = None, hint: str = "") -> Algorithm:
    """Build an algorithm by name.

    Parameters
    ----------
    name : str
    parameters : mapping, optional
        Its fields; default the published ones.
    hint : str
        What to add to the message where there is no such algorithm.

    Raises
    ------
    UnknownNameError, ConfigError
        If there is no such algorithm, or it has no such parameter or value.

    Examples
    --------
    >>> algorithm_named("iql", {"expectile": 0.9}).expectile
    0.9
    """
    return REGISTRY.find(name, hint)(**checked_names(name, parameters or {}))


def register_algorithm(name: str, label: str) -> Callable[[AlgorithmType], AlgorithmType]:
    """Register an algorithm; the former name of `assay.datasets.registry.register`."""
    warnings.warn(
        "register_algorithm(name, label) is now register(name, label=label) of assay.datasets.registry",
        DeprecationWarning,
        stacklevel=2,
    )
    return register(name, label=label)
