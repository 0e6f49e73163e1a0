"""Finding algorithms by name; every file below `baselines/algorithms` that registers one is found."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from assay.datasets.registry import Registry, checked_names, import_hint, register

if TYPE_CHECKING:
    from assay.baselines.algorithms.algorithm import Algorithm

__all__ = ["REGISTRY", "algorithm_named", "algorithm_of_run", "algorithms", "register_algorithm"]

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


def algorithm_named(name: str, parameters: Mapping[str, Any] | None = None) -> Algorithm:
    """Build an algorithm by name.

    Parameters
    ----------
    name : str
    parameters : mapping, optional
        Its fields; default the published ones.

    Raises
    ------
    UnknownNameError, ConfigError
        If there is no such algorithm, or it has no such parameter or value.

    Examples
    --------
    >>> algorithm_named("iql", {"expectile": 0.9}).expectile
    0.9
    """
    return REGISTRY.find(name)(**checked_names(name, parameters or {}))


def algorithm_of_run(description: Mapping[str, Any]) -> Algorithm:
    """Build the algorithm of a run.

    Parameters
    ----------
    description : mapping
        What `run.json` holds.

    Raises
    ------
    UnknownNameError
        If there is no such algorithm; where the run was made with files of the user's own, it says which to import.
    """
    job = description["job"]
    made = REGISTRY.find(job["algorithm"], import_hint(description.get("imports", ())))
    return made(**checked_names(job["algorithm"], job["parameters"]))


def register_algorithm(name: str, label: str) -> Callable[[AlgorithmType], AlgorithmType]:
    """Register an algorithm; the former name of `assay.datasets.registry.register`."""
    warnings.warn(
        "register_algorithm(name, label) is now register(name, label=label) of assay.datasets.registry",
        DeprecationWarning,
        stacklevel=2,
    )
    return register(name, label=label)
