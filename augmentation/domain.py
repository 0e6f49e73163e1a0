"""What a domain knows: which changes of a transition its dynamics allow, what they are worth, and how to check them.

A domain is one file in `augmentation/domains`, or anywhere else with `@register("name")`::

    @register("my_domain")
    class MyDomain(Domain):
        width: float = 1.0

        def augment(self, segments, generator): ...     # -> changed segments, valid (M,)
        def potential(self, observations): ...          # (M,), higher is nearer to the goal
        def labelled(self, segments): ...               # rewards and terminations of changed segments

It works on whole blocks (see `assay.augmentation.segments`) and draws from the generator it is given alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, cast

import numpy as np

from assay.augmentation.segments import Segments
from assay.augmentation.simulator import Simulator
from assay.datasets.dataset import Dataset
from assay.datasets.environments.specification import EnvironmentSpec, read_spec
from assay.datasets.errors import ConfigError
from assay.datasets.parts import part_from_plain
from assay.datasets.registry import Registry

__all__ = ["Domain", "domain_from_plain", "domain_of"]


class Domain(ABC):
    """Base of all domains; a frozen dataclass, so that a record of the history can hold it."""

    registry: ClassVar[Registry[type[Domain]]] = Registry("domain", ("assay.augmentation.domains",), "assay.domains")
    name: ClassVar[str]

    @classmethod
    def of_environment(cls, spec: EnvironmentSpec) -> Domain | None:
        """Return the domain of an environment, with what its arguments say; None where it is none of this domain's."""
        return None

    @abstractmethod
    def augment(self, segments: Segments, generator: np.random.Generator) -> tuple[Segments, np.ndarray]:
        """Propose a random change of each segment.

        Parameters
        ----------
        segments : Segments
            Left as they are.
        generator : numpy.random.Generator

        Returns
        -------
        segments : Segments
            Other observations and actions; rewards and terminations may be those of before.
        valid : (M,) bool
            Whether the dynamics lead from each observation to the next one by the action.
        """

    def aim(self, segments: Segments, generator: np.random.Generator) -> tuple[Segments, np.ndarray]:
        """Propose changes that tend to raise the potential; without an own way to do so, random ones."""
        return self.augment(segments, generator)

    @abstractmethod
    def potential(self, observations: Any) -> np.ndarray:
        """Return how near each observation is to the goal, (M,) float64; higher is nearer."""

    @abstractmethod
    def labelled(self, segments: Segments) -> Segments:
        """Return the segments with the rewards and terminations that the task gives for them."""

    def check(self, dataset: Dataset) -> None:  # noqa: B027
        """Raise DatasetError where the dataset is not of this domain."""

    def simulator(self) -> Simulator:
        """Return the task's simulator, whose step the segments are compared with.

        Raises
        ------
        ConfigError
            If the domain has none, or it is not installed.
        """
        raise ConfigError(f"the domain {self.name} has no simulator to check its transitions with")


def domain_of(dataset: Dataset) -> Domain:
    """Return the domain of the environment that a dataset was recorded in.

    Raises
    ------
    ConfigError
        If no domain knows it; with the domains that there are.
    """
    spec = read_spec(dataset.info.env_spec)
    known = Domain.registry.all()
    for domain in known.values():
        made = None if spec is None else domain.of_environment(spec)
        if made is not None:
            return made
    place = "the dataset says of no environment" if spec is None else f"no domain knows {spec.id}"
    raise ConfigError(
        f"{place}: name the domain ({', '.join(known)}), or write one of your own (assay.augmentation.domain)"
    )


def domain_from_plain(plain: Any) -> Domain:
    """Build a domain from `{name: parameters}`, as recipes write it.

    Raises
    ------
    ConfigError
        If it is neither a domain nor such a mapping.

    Examples
    --------
    >>> domain_from_plain({"point_maze": {"map": "umaze"}}).map
    'umaze'
    """
    return cast(Domain, part_from_plain(plain, Domain.registry, Domain))
