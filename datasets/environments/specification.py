"""Which environment a dataset was recorded in, as simulators need it: id, keyword arguments, time limit, wrappers.

Datasets keep Gymnasium's `EnvSpec` as JSON. Of it, this is what changes what an episode is::

    id                     of the registered environment
    kwargs                 without render_mode, which changes no number
    max_episode_steps      the time limit
    additional_wrappers    those of gymnasium.wrappers are applied again, those that an environment of Assay's brings itself
                           are not; others are refused by name

Code that a dataset names is not imported: the entry point is that of the registered id, never the recorded one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from assay.datasets.errors import ConfigError
from assay.datasets.info import DatasetInfo

__all__ = ["EnvironmentSpec", "evaluation_environment", "read_spec", "registered_spec"]

EVALUATION_SPEC = "eval_env_spec"  # in `DatasetInfo.extra`, as Minari calls it
_RECORDERS = ("DataCollector", "OrderEnforcing", "PassiveEnvChecker", "RecordEpisodeStatistics", "RecordVideo")
"""Wrappers that observe only: without them every number is the same."""
_OWN = "assay.datasets.environments."


@dataclass(frozen=True)
class EnvironmentSpec:
    """An environment, and in what it differs from the one that is registered under its id.

    Parameters
    ----------
    id : str
        Registered Gymnasium id, or `"module:id"`.
    kwargs : mapping
        Keyword arguments of `gymnasium.make`, as JSON values.
    max_episode_steps : int, optional
        Time limit; default that of the registered environment.
    wrappers : tuple of (name, mapping)
        Classes of `gymnasium.wrappers` and their keyword arguments, the innermost first.

    Examples
    --------
    >>> spec = EnvironmentSpec("Pendulum-v1", {"g": 1.0}, max_episode_steps=50)
    >>> spec.make_arguments
    {'g': 1.0, 'max_episode_steps': 50}
    >>> str(spec)
    'Pendulum-v1 (g=1.0, max_episode_steps=50)'
    """

    id: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    max_episode_steps: int | None = None
    wrappers: tuple[tuple[str, Mapping[str, Any]], ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether it is the registered environment as it is."""
        return not self.kwargs and self.max_episode_steps is None and not self.wrappers

    @property
    def make_arguments(self) -> dict[str, Any]:
        """Keyword arguments of `gymnasium.make`, the time limit included."""
        limit = {} if self.max_episode_steps is None else {"max_episode_steps": self.max_episode_steps}
        return {**self.kwargs, **limit}

    def to_plain(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        wrappers = [[name, dict(kwargs)] for name, kwargs in self.wrappers]
        plain = {"kwargs": dict(self.kwargs), "max_episode_steps": self.max_episode_steps, "wrappers": wrappers}
        return {"id": self.id, **{key: value for key, value in plain.items() if value}}

    def __str__(self) -> str:
        parts = [f"{name}={value!r}" for name, value in self.make_arguments.items()]
        parts += [name for name, _ in self.wrappers]
        return f"{self.id} ({', '.join(parts)})" if parts else self.id

    def __hash__(self) -> int:
        return hash(json.dumps(self.to_plain(), sort_keys=True, default=str))


def read_spec(text: str | None) -> EnvironmentSpec | None:
    """Read Gymnasium's `EnvSpec` as JSON; None where there is none or it names no environment.

    Raises
    ------
    ConfigError
        If the environment was recorded inside a wrapper that cannot be applied again; with its name.

    Examples
    --------
    >>> read_spec('{"id": "Pendulum-v1", "max_episode_steps": 50, "kwargs": {"g": 1.0, "render_mode": "human"}}')
    EnvironmentSpec(id='Pendulum-v1', kwargs={'g': 1.0}, max_episode_steps=50, wrappers=())
    """
    plain = _plain(text)
    if plain is None:
        return None
    recorded = plain.get("additional_wrappers")
    wrappers = [_wrapper(item, plain["id"]) for item in recorded] if isinstance(recorded, list) else []
    kwargs = plain.get("kwargs")
    kwargs = {str(name): value for name, value in kwargs.items()} if isinstance(kwargs, Mapping) else {}
    kwargs.pop("render_mode", None)
    return EnvironmentSpec(plain["id"], kwargs, time_limit(text), tuple(item for item in wrappers if item is not None))


def time_limit(text: str | None) -> int | None:
    """Return `max_episode_steps` of a spec as JSON, or None where it says none."""
    plain = _plain(text)
    limit = None if plain is None else plain.get("max_episode_steps")
    return limit if isinstance(limit, int) and not isinstance(limit, bool) and limit > 0 else None


def _plain(text: str | None) -> dict[str, Any] | None:
    try:
        plain = json.loads(text) if text else None
    except (ValueError, TypeError, RecursionError):
        return None
    return plain if isinstance(plain, dict) and isinstance(plain.get("id"), str) else None


def _wrapper(recorded: Any, environment_id: str) -> tuple[str, Mapping[str, Any]] | None:
    name = str(recorded.get("name")) if isinstance(recorded, Mapping) else str(recorded)
    if name in _RECORDERS:
        return None
    entry_point = str(recorded.get("entry_point", "")) if isinstance(recorded, Mapping) else ""
    if entry_point.startswith(_OWN):
        return None  # the environment brings it itself
    kwargs = recorded.get("kwargs") if isinstance(recorded, Mapping) else None
    if entry_point.startswith("gymnasium.wrappers") and isinstance(kwargs, Mapping):
        return name, dict(kwargs)
    where = f" ({entry_point})" if entry_point else ""
    raise ConfigError(
        f"the dataset was recorded in {environment_id} inside the wrapper {name}{where}, which cannot be applied again "
        f"from its record; name the environment without it, such as Evaluation(environment={environment_id!r}), or do "
        "not evaluate"
    )


def evaluation_environment(info: DatasetInfo) -> EnvironmentSpec | None:
    """Return the environment that policies learned from a dataset are evaluated in.

    Minari's evaluation environment (`eval_env_spec`) where the dataset has one, else the one it was recorded in. Arguments
    that are as registered are left out, so that the spec says only what differs.

    Parameters
    ----------
    info : DatasetInfo

    Raises
    ------
    ConfigError
        As in `read_spec`.

    Examples
    --------
    >>> recorded = '{"id": "Pendulum-v1", "max_episode_steps": 200, "kwargs": {}}'
    >>> evaluation_environment(DatasetInfo(env_spec=recorded))  # as it is registered
    EnvironmentSpec(id='Pendulum-v1', kwargs={}, max_episode_steps=None, wrappers=())
    """
    preferred = info.extra.get(EVALUATION_SPEC)
    spec = read_spec(preferred if isinstance(preferred, str) else None) or read_spec(info.env_spec)
    if spec is None or spec.is_plain:
        return spec
    try:
        registered = _registered(spec.id)
    except ConfigError:  # said where the environment is made
        return spec
    kwargs = {
        name: value
        for name, value in spec.kwargs.items()
        if name not in registered.kwargs or _as_json(registered.kwargs[name]) != _as_json(value)
    }
    limit = None if spec.max_episode_steps == registered.max_episode_steps else spec.max_episode_steps
    return replace(spec, kwargs=kwargs, max_episode_steps=limit)


def registered_spec(environment_id: str) -> str:
    """Return Gymnasium's `EnvSpec` of an environment as it is registered, as JSON.

    Raises
    ------
    ConfigError
        If nothing registers it here.

    Examples
    --------
    >>> read_spec(registered_spec("Pendulum-v1"))
    EnvironmentSpec(id='Pendulum-v1', kwargs={}, max_episode_steps=200, wrappers=())
    """
    return str(_registered(environment_id).to_json())


def _registered(environment_id: str) -> Any:
    """Return Gymnasium's spec of an id; raise ConfigError where nothing registers it here."""
    import gymnasium

    from assay.datasets.environments.worker import register_environments_of

    register_environments_of(environment_id)
    try:
        return gymnasium.spec(environment_id.partition(":")[2] or environment_id)
    except gymnasium.error.Error as error:
        raise ConfigError(
            f"no environment {environment_id} is registered here: {error}; one that a module of yours registers is called "
            f"module:{environment_id}"
        ) from error


def _as_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
