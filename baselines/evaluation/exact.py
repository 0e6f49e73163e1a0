"""Exact evaluation: where an environment's model is known, expected returns are computed and nothing is sampled.

Every member is asked for its action in every state at every step, and the model does the rest. That holds for policies of the
present observation and step alone. So each is asked again, at least 256 times in all, with other seeds and after other states; one
that ever answers differently acts at random or by memory, and is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np

from assay.datasets.environments.specification import EnvironmentSpec
from assay.datasets.environments.worker import register_environments_of
from assay.datasets.errors import ConfigError

if TYPE_CHECKING:
    from assay.baselines.engine.acting import Actor

__all__ = ["KnownModel", "chosen_actions", "exact_returns", "known_model"]

_QUESTIONS = 256  # at least, to a policy at each step


class KnownModel(Protocol):
    """What an environment offers as its attribute `model`."""

    @property
    def horizon(self) -> int:
        """Steps of an episode."""

    @property
    def observations(self) -> np.ndarray:
        """What is observed in each of S states: (S, ...)."""

    def expected_return(self, actions: np.ndarray) -> np.ndarray:
        """Return the exact expected return (P,) of P policies, given their actions (P, H, S)."""


def known_model(environment: str | EnvironmentSpec) -> KnownModel:
    """Return the model of an environment.

    Raises
    ------
    ConfigError
        If it has none, or cannot be made.

    Examples
    --------
    >>> known_model("assay/LinearMDP-v0").horizon
    3
    """
    import gymnasium

    spec = EnvironmentSpec(environment) if isinstance(environment, str) else environment
    register_environments_of(spec.id)
    try:
        made = gymnasium.make(spec.id, **spec.make_arguments)
    except (gymnasium.error.Error, TypeError) as error:
        raise ConfigError(f"{spec} cannot be made: {error}") from error
    model = getattr(made.unwrapped, "model", None)
    if not hasattr(model, "expected_return"):
        raise ConfigError(f"{spec} has no model to compute returns by; evaluate with engine gymnasium")
    return cast(KnownModel, model)


def exact_returns(actor: Actor, environment: str | EnvironmentSpec) -> tuple[np.ndarray, int]:
    """Return the expected undiscounted return (P,) of every member, and the horizon.

    Parameters
    ----------
    actor : Actor
    environment : str or EnvironmentSpec
        Its keyword arguments may perturb the dynamics.

    Raises
    ------
    ConfigError
        If the environment has no model, or a member acts at random or by memory.
    """
    model = known_model(environment)
    return model.expected_return(chosen_actions(actor, model)), model.horizon


def chosen_actions(actor: Actor, model: KnownModel) -> np.ndarray:
    """Return what every member does at every step in every state, (P, H, S) int64.

    Raises
    ------
    ConfigError
        If a member acts at random or by memory.
    """
    states = len(model.observations)
    copies = max(2, -(-_QUESTIONS // states))
    # Copy c of a state is met at step 0, and c states further on at each later step; copies have seeds of their own.
    shown: Any = model.observations.reshape(states, -1).astype(np.float64)
    places = np.arange(states)[None] + np.arange(copies)[:, None] * np.arange(model.horizon)[:, None, None]
    places %= states  # [H, copies, S]
    episodes = actor.begin(slice(0, actor.members), copies * states, range(copies * states))
    rewards = np.zeros((actor.members, copies * states))
    chosen = np.zeros((actor.members, model.horizon, states), np.int64)
    for step in range(model.horizon):
        seen = shown[places[step]].reshape(copies * states, -1)
        actions = episodes.act(np.broadcast_to(seen, (actor.members, *seen.shape)), rewards)[..., 0]
        answers = np.zeros((actor.members, copies, states), np.int64)
        answers[:, np.arange(copies)[:, None], places[step]] = np.where(np.isfinite(actions), actions, 0.0).reshape(
            actor.members, copies, states
        )
        if (answers != answers[:, :1]).any():
            raise ConfigError(
                "expected returns are computed for policies of the observation and the step alone, and this one acts at random or by "
                "memory; evaluate with engine gymnasium"
            )
        chosen[:, step] = answers[:, 0]
    return chosen
