"""A policy followed in a learned model of some transitions, by the transitions nearest to where it goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from assay.baselines.dynamics.ensemble import clone_policy, train_dynamics
from assay.baselines.dynamics.experience import follow_policy
from assay.baselines.dynamics.gaussian import GaussianModel
from assay.baselines.engine.neighbours import nearest_of
from assay.baselines.engine.scale import Scale
from assay.baselines.engine.shapes import named_arrays
from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError, DatasetError
from assay.datasets.generators import block_generator
from assay.datasets.transitions import Transitions

if TYPE_CHECKING:
    from assay.reweighting.experience import ExperienceSelection

__all__ = ["FollowedPolicy"]

Policy = Callable[[Any], Any]


class FollowedPolicy:
    """Everything that is learned from the transitions of a group, and following a policy in it.

    Parameters
    ----------
    chosen : ExperienceSelection
    dataset : Dataset
        For messages, and the bounds of its actions.
    transitions : Transitions
    policy : callable or None
        None clones the transitions.
    group : int
        Part of every draw.
    """

    def __init__(
        self,
        chosen: ExperienceSelection,
        dataset: Dataset,
        transitions: Transitions[np.ndarray],
        policy: Policy | None,
        group: int,
    ) -> None:
        self.chosen, self.generator = chosen, block_generator(chosen.seed, chosen.name, "rollouts", group)
        self._arrays = named_arrays(transitions.observations)
        states, following = self._vectors(transitions.observations), self._vectors(transitions.next_observations)
        actions = np.asarray(transitions.actions)
        if actions.dtype.kind != "f" or actions.ndim != 2:
            raise ConfigError(
                f"{chosen.name}: model-based selection follows policies whose actions are vectors of numbers"
            )
        finite = np.isfinite(np.concatenate([states, following, actions, transitions.rewards[:, None]], 1)).all(1)
        if not finite.all():
            raise DatasetError(
                f"{chosen.name}: {int((~finite).sum())} transitions hold NaN or infinite numbers, the first at step "
                f"{int(transitions.steps[finite.argmin()])}; corruption.repair.fill fills or drops them"
            )
        network = GaussianModel(hidden=chosen.hidden, learning_rate=chosen.learning_rate, batch_size=chosen.batch_size)
        training: dict[str, Any] = {
            "model": network,
            "updates": chosen.updates,
            "seed": chosen.seed,
            "device": chosen.device,
        }
        self.ensemble = train_dynamics(
            states,
            actions,
            transitions.rewards,
            following,
            networks=chosen.networks,
            elites=chosen.networks,
            **training,
        )
        self.scale, self.actions_scale = Scale.of(states), Scale.of(actions)
        self.states, self.actions = (
            torch.tensor(part, dtype=torch.float32, device=chosen.device) for part in (states, actions)
        )
        self.ended = torch.tensor(transitions.terminations, device=chosen.device)
        self._act = self._of(policy) if policy is not None else self._clone(states, actions, training)

    def places(self, starts: np.ndarray) -> np.ndarray:
        """Return `size` places among the transitions, from rollouts that begin in some of them."""
        chosen, device = self.chosen, self.states.device
        slots = -(-chosen.size // chosen.horizon)
        weight = chosen.action_weight
        keys = torch.cat(
            [self.scale.down_on_device(self.states), weight * self.actions_scale.down_on_device(self.actions)], 1
        )

        def begin(step: int) -> torch.Tensor:
            drawn = self.generator.choice(starts, slots)
            return self.states[torch.as_tensor(drawn, device=device)]

        def imagine(states: torch.Tensor, step: int) -> torch.Tensor:
            noise = torch.as_tensor(
                self.generator.standard_normal((slots, states.shape[1] + 1), np.float32), device=device
            )
            order = torch.as_tensor(self.generator.permutation(slots), device=device)
            return self.ensemble.step(states, self._act(states), noise, order).states

        def nearest(states: torch.Tensor) -> torch.Tensor:
            asked = self.scale.down_on_device(states)
            acted = weight * self.actions_scale.down_on_device(self._act(states))
            return nearest_of(keys, asked, acted, torch.ones_like(asked[:, :1]))

        found = follow_policy(
            begin,
            imagine,
            nearest,
            lambda places: self.states[places],
            lambda places: self.ended[places],
            steps=-(-chosen.size // slots),
            longest=chosen.horizon,
            anchored=chosen.reanchor,
        )
        result: np.ndarray = found.flatten()[: chosen.size].cpu().numpy()
        return result

    def _vectors(self, observations: Any) -> np.ndarray:
        parts = [np.asarray(array, np.float64).reshape(len(array), -1) for _, array in named_arrays(observations)]
        return np.concatenate(parts, axis=1)

    def _of(self, policy: Policy) -> Callable[[torch.Tensor], torch.Tensor]:
        def act(states: torch.Tensor) -> torch.Tensor:
            answers = np.asarray(policy(self._apart(states.cpu().numpy())))
            return torch.as_tensor(answers, dtype=torch.float32, device=states.device)

        return act

    def _apart(self, states: np.ndarray) -> Any:
        """Return rows of vectors as observations, nested as those of the data."""
        made: dict[str, Any] = {}
        start = 0
        for name, array in self._arrays:
            width = int(np.prod(array.shape[1:]))
            values = states[:, start : start + width].reshape(-1, *array.shape[1:])
            if array.dtype.kind in "iu":
                values = np.rint(values)
            *outer, last = name.split("/")
            inner = made
            for part in outer:
                inner = inner.setdefault(part, {})
            inner[last] = values.astype(array.dtype)
            start += width
        return made.get("", made)

    def _clone(
        self, states: np.ndarray, actions: np.ndarray, training: dict[str, Any]
    ) -> Callable[[torch.Tensor], torch.Tensor]:
        cloned = clone_policy(states, actions, **training)
        return lambda found: cloned(found)[0]
