"""What is known of each environment, as one record; the catalog, the registrations and the references come from here.

A family of environments is one file in `families`: it says which ids belong to it, what has to be imported and installed
for them, and holds one record for each environment that is known by name. Nothing here imports a simulator.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from assay.datasets.collection.policies import Policy

__all__ = ["EnvironmentFamily", "EnvironmentRecord", "Expert", "Registration", "families", "family_of", "records"]


@dataclass(frozen=True)
class Expert:
    """A policy that is written down or plans.

    Parameters
    ----------
    make : callable
        Makes the policy.
    described : str
        What it is, in a few words.
    noise : float
        Action noise that expert data is collected with.
    share : float
        Of a detour: its share of the steps of the data named `detours`.
    discrete : bool
        Whether its actions are numbers of choices. The catalog then also has its data mixed with random ones, and its data with
        some random actions.
    """

    make: Callable[[], Policy]
    described: str
    noise: float = 0.0
    share: float = 0.5
    discrete: bool = False


@dataclass(frozen=True)
class Registration:
    """How an environment of Assay's own is registered with Gymnasium; the parameters are those of `gymnasium.register`."""

    entry_point: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    max_episode_steps: int | None = None


@dataclass(frozen=True)
class EnvironmentRecord:
    """One environment.

    Parameters
    ----------
    name : str
        The catalog's name of it, the part of `"hopper/medium"` before the slash; empty where the catalog has no data of it.
    environment_id : str
        Gymnasium id.
    trained : bool
        Whether policies trained for it are shipped, in `collection/policies/<name>.json`.
    expert : Expert, optional
        Where there is one that needs no training.
    detour : Expert, optional
        A planned controller with another aim than the task's, for small datasets of which no trajectory is good.
    reference_returns : (float, float), optional
        D4RL's random and expert return of the body, whatever the version of the environment.
    registration : Registration, optional
        Of Assay's own environments.
    packages : tuple of str
        Those whose versions measured returns depend on.
    collected : mapping
        Keyword arguments of `gymnasium.make` that data is collected with, where episodes of data are not those of an evaluation.
    """

    name: str
    environment_id: str
    trained: bool = False
    expert: Expert | None = None
    detour: Expert | None = None
    reference_returns: tuple[float, float] | None = None
    registration: Registration | None = None
    packages: tuple[str, ...] = ("gymnasium", "numpy")
    collected: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class EnvironmentFamily:
    """Environments that come from one place.

    Parameters
    ----------
    environments : tuple of EnvironmentRecord
    prefixes : tuple of str
        How ids of the family begin, those without a record included.
    module : str
        What has to be imported before Gymnasium knows the ids; empty where Gymnasium brings them.
    extra : str
        Assay's extra that installs the module.
    """

    environments: tuple[EnvironmentRecord, ...]
    prefixes: tuple[str, ...] = ()
    module: str = ""
    extra: str = ""


@functools.cache
def families() -> tuple[EnvironmentFamily, ...]:
    """Return the family of each file in the package `families`, in the order of the files' names."""
    from assay.datasets.environments import families as package

    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    return tuple(importlib.import_module(f"assay.datasets.environments.families.{name}").FAMILY for name in names)


@functools.cache
def records() -> Mapping[str, EnvironmentRecord]:
    """Return the environments that have a name, by name.

    Examples
    --------
    >>> records()["hopper"].environment_id
    'Hopper-v5'
    """
    return {record.name: record for family in families() for record in family.environments if record.name}


def family_of(environment_id: str) -> EnvironmentFamily | None:
    """Return the family whose prefix an id has, or None.

    Examples
    --------
    >>> family_of("PointMaze_UMaze-v3").extra
    'robotics'
    """
    for family in families():
        if family.prefixes and environment_id.startswith(family.prefixes):
            return family
    return None
