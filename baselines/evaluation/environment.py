"""Whether policies can be evaluated in an environment: it is known here, and it shows and takes what the data holds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from assay.baselines.engine.shapes import Shapes
from assay.baselines.evaluation.evaluation import Evaluation, make_simulators
from assay.baselines.evaluation.exact import known_model
from assay.datasets.environments.specification import EnvironmentSpec, registered_spec
from assay.datasets.errors import ConfigError
from assay.datasets.spaces import Box, leaves, space_from_gymnasium

if TYPE_CHECKING:
    from assay.datasets.environments.envpool import EnvPoolEnvironments
    from assay.datasets.environments.pool import EnvironmentPool

__all__ = ["require_fit", "require_known", "try_environment"]


def require_known(environment: EnvironmentSpec, evaluation: Evaluation) -> None:
    """Raise ConfigError where nothing here knows the environment; it is not made.

    Examples
    --------
    >>> require_known(EnvironmentSpec("Pendulun-v1"), Evaluation())
    Traceback (most recent call last):
    ...
    assay.datasets.errors.ConfigError: no environment Pendulun-v1 is registered here: ...
    """
    if evaluation.engine == "gymnasium" and ":" not in environment.id:  # "module:id" is for who imports the module
        registered_spec(environment.id)
    elif evaluation.engine == "exact":
        known_model(environment)


def try_environment(environment: EnvironmentSpec, evaluation: Evaluation, shapes: Shapes, workers: int | None) -> None:
    """Make one simulator of an environment and look whether it fits the data.

    Raises
    ------
    CollectionError
        If it cannot be made.
    ConfigError
        If it shows other observations than the data has, or takes other actions.
    """
    if evaluation.engine != "exact":
        with make_simulators(1, environment, Evaluation(episodes=1, engine=evaluation.engine), workers) as one:
            require_fit(one, shapes)


def require_fit(pool: EnvironmentPool | EnvPoolEnvironments, shapes: Shapes) -> None:
    """Raise ConfigError where simulators show other observations than the data has, or take other actions."""
    known, shown = {part.name: part.size for part in shapes.parts}, _sizes(pool.observation_space)
    if known != shown:
        raise ConfigError(
            f"{pool.environment_id} has observations of {_said(shown)}, and the data of {_said(known)}: "
            "evaluate in the environment that the data is from"
        )
    space = pool.action_space
    discrete = type(space).__name__ == "Discrete"
    count = int(space.n) if discrete else math.prod(space.shape)
    fits = shapes.action_size <= count if discrete else shapes.action_size == count
    if discrete != shapes.discrete_actions or not fits:
        kinds = {True: "choices", False: "numbers"}
        raise ConfigError(
            f"{pool.environment_id} takes actions of {count} {kinds[discrete]}, and those of the data have {shapes.action_size} "
            f"{kinds[shapes.discrete_actions]}: evaluate in the environment that the data is from"
        )


def _sizes(space: Any) -> dict[str, int]:
    """Return the count of numbers of every part of an observation, by the names that datasets give the parts."""
    found = leaves(space_from_gymnasium(space), "")
    return {
        name.removeprefix("/"): math.prod(part.shape) if isinstance(part, Box) else 1 for name, part in found.items()
    }


def _said(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {size}" if name else f"{size} numbers" for name, size in sorted(sizes.items()))
