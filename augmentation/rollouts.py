"""What is learned from a dataset for model-based augmentation, and rollouts in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch

from assay.augmentation.extension import Extension, original_steps
from assay.augmentation.vectors import ActionVectors, ObservationVectors
from assay.baselines.dynamics.ensemble import clone_categories, clone_policy, train_dynamics, train_terminations
from assay.baselines.dynamics.gaussian import GaussianModel
from assay.baselines.dynamics.terminations import Termination, known_termination
from assay.datasets.collection.policies_by_path import policy_for
from assay.datasets.dataset import Dataset
from assay.datasets.errors import DatasetError
from assay.datasets.missing import require_labels
from assay.datasets.progress import Progress

if TYPE_CHECKING:
    from assay.augmentation.model_based import ModelBasedAugmentation

__all__ = ["LearnedModel", "Rollouts"]


class Rollouts:
    """Rollouts of a block: states [n, k + 1, observation], what was done in them, and how many steps [n] count."""

    def __init__(
        self,
        starts: np.ndarray,
        lengths: np.ndarray,
        terminated: np.ndarray,
        states: np.ndarray,
        actions: np.ndarray,
        rewards: np.ndarray,
        penalties: np.ndarray,
    ) -> None:
        self.starts, self.lengths, self.terminated = starts, lengths, terminated
        self.states, self.actions, self.rewards = states, actions, rewards
        self._penalties = penalties

    @property
    def penalties(self) -> np.ndarray:
        """Of the steps that count, (sum of lengths,)."""
        found: np.ndarray = self._penalties[self._counts(self._penalties.shape[1])]
        return found

    def _counts(self, width: int, more: int = 0) -> np.ndarray:
        counts: np.ndarray = np.arange(width) < (self.lengths + more)[:, None]
        return counts

    def cut(self, steps: int) -> Rollouts:
        """Return the first of them, so many steps."""
        ends = np.cumsum(self.lengths)
        if ends[-1] <= steps:
            return self
        kept = int(np.searchsorted(ends, steps)) + 1
        lengths, terminated = self.lengths[:kept].copy(), self.terminated[:kept].copy()
        if excess := int(ends[kept - 1]) - steps:
            lengths[-1] -= excess
            terminated[-1] = False
        parts = (self.states, self.actions, self.rewards, self._penalties)
        return Rollouts(self.starts[:kept], lengths, terminated, *(part[:kept] for part in parts))

    def write(self, extension: Extension, episode: int, model: LearnedModel) -> None:
        """Write them behind a dataset."""
        steps = self._counts(self.actions.shape[1])
        terminations = np.zeros(steps.shape, bool)
        terminations[np.arange(len(self.lengths)), self.lengths - 1] = self.terminated
        extension.write(
            episode,
            observations=model.observations.apart(self.states[self._counts(self.states.shape[1], 1)]),
            actions=model.actions.stored(self.actions[steps]),
            rewards=self.rewards[steps],
            terminations=terminations[steps],
            steps=np.repeat(self.starts, self.lengths),
        )


class LearnedModel:
    """Everything that is learned from a dataset, and rolling it out."""

    def __init__(self, chosen: ModelBasedAugmentation, dataset: Dataset, progress: Progress | None) -> None:
        require_labels(dataset, "actions", "rewards", by="a model of the dynamics")
        self.chosen, self.dataset = chosen, dataset
        self.observations, self.actions = ObservationVectors(dataset), ActionVectors(dataset)
        rows = np.intersect1d(dataset.transition_steps(keep_terminal=False), original_steps(dataset))
        if len(rows) < 10:
            raise DatasetError(f"{chosen.name}: {len(rows)} transitions are too few to learn the dynamics from")
        states, following = self.observations.pairs(dataset, rows)
        seen = self.actions.seen(np.asarray(dataset.actions)[rows])
        rewards = np.asarray(dataset.rewards, np.float64)[rows]
        usable = (
            np.isfinite(states).all(1) & np.isfinite(following).all(1) & np.isfinite(seen).all(1) & np.isfinite(rewards)
        )
        if not usable.all():
            raise DatasetError(
                f"{chosen.name}: {int((~usable).sum())} of {len(usable)} transitions hold NaN or infinite numbers, the first at step "
                f"{int(rows[~usable][0])}; corruption.repair.fill fills or drops them"
            )
        network = GaussianModel(learning_rate=chosen.learning_rate, batch_size=chosen.batch_size, hidden=chosen.hidden)
        # What may be refused comes before what takes long.
        ended = np.asarray(dataset.terminations)[rows]
        self.act = self._policy(states, seen, network)
        self.ends, self.termination_from = self._termination(following, ended)
        half = None if progress is None else (lambda done: progress(done, 2 * chosen.updates))
        self.ensemble = train_dynamics(
            states,
            seen,
            rewards,
            following,
            networks=chosen.networks,
            elites=chosen.elites,
            model=network,
            updates=chosen.updates,
            seed=chosen.seed,
            device=chosen.device,
            penalty=chosen.penalty,
            variant=chosen.variant,
            progress=half,
        )
        self.starts = self.observations.states(dataset)

    def _termination(self, following: np.ndarray, ended: np.ndarray) -> tuple[Termination | None, str]:
        chosen = self.chosen
        known = known_termination(self.dataset.info.env_spec) if self.observations.is_vector else None
        if chosen.termination == "auto" and known is not None:
            return (lambda found: known(self.observations.whole(found))), "environment"
        if chosen.termination == "none" or (chosen.termination == "auto" and not ended.any()):
            return None, "none"
        if not ended.any():
            raise DatasetError(
                f'{chosen.name}: no step of the data terminates, so that there is nothing to learn; termination="none"'
            )
        learned = train_terminations(
            following, ended, updates=chosen.updates, hidden=chosen.hidden, seed=chosen.seed, device=chosen.device
        )
        return learned, "learned"

    def _policy(
        self, states: np.ndarray, seen: np.ndarray, network: GaussianModel
    ) -> Callable[[torch.Tensor, np.random.Generator], torch.Tensor]:
        """Return what gives actions, as the networks see them, in states [n, observation]."""
        chosen, actions = self.chosen, self.actions
        if chosen.policy == "random":
            return lambda found, generator: torch.as_tensor(
                actions.random(len(found), generator), dtype=torch.float32, device=found.device
            )
        if chosen.policy != "clone":
            policy = policy_for(chosen.policy, self.dataset)

            def act(found: torch.Tensor, generator: np.random.Generator) -> torch.Tensor:
                answers = policy(self.observations.apart(found.cpu().numpy()))
                return torch.as_tensor(actions.seen(np.asarray(answers)), dtype=torch.float32, device=found.device)

            return act
        return self._clone(states, seen, network) if actions.count is None else self._clone_categories(states, seen)

    def _clone_categories(
        self, states: np.ndarray, seen: np.ndarray
    ) -> Callable[[torch.Tensor, np.random.Generator], torch.Tensor]:
        chosen = self.chosen
        log_probabilities = clone_categories(
            states, seen, updates=chosen.updates, hidden=chosen.hidden, seed=chosen.seed, device=chosen.device
        )

        def act(found: torch.Tensor, generator: np.random.Generator) -> torch.Tensor:
            known = log_probabilities(found)
            gumbel = torch.as_tensor(generator.gumbel(size=known.shape), dtype=known.dtype, device=known.device)
            return torch.nn.functional.one_hot((known + gumbel).argmax(1), known.shape[1]).to(torch.float32)

        return act

    def _clone(
        self, states: np.ndarray, seen: np.ndarray, network: GaussianModel
    ) -> Callable[[torch.Tensor, np.random.Generator], torch.Tensor]:
        mean_and_deviation = clone_policy(
            states, seen, model=network, updates=self.chosen.updates, seed=self.chosen.seed, device=self.chosen.device
        )
        low, high = (
            torch.as_tensor(bound, dtype=torch.float32, device=self.chosen.device) for bound in self.actions.bounds
        )

        def act(found: torch.Tensor, generator: np.random.Generator) -> torch.Tensor:
            mean, deviation = mean_and_deviation(found)
            noise = torch.as_tensor(generator.standard_normal(mean.shape, np.float32), device=found.device)
            return torch.minimum(torch.maximum(mean + deviation * noise, low), high)

        return act

    def roll_out(self, starts: np.ndarray, generator: np.random.Generator) -> Rollouts:
        """Take up to k steps from the states of some steps of the data."""
        chosen, device, count = self.chosen, self.ensemble.device, len(starts)
        current = torch.as_tensor(self.starts[starts], dtype=torch.float32, device=device)
        alive = torch.ones(count, dtype=torch.bool, device=device)
        lengths = torch.zeros(count, dtype=torch.int64, device=device)
        terminated = torch.zeros(count, dtype=torch.bool, device=device)
        states = [current]
        taken: list[torch.Tensor] = []
        rewards: list[torch.Tensor] = []
        penalties: list[torch.Tensor] = []
        for _ in range(chosen.horizon):
            action = self.act(current, generator)
            noise = torch.as_tensor(generator.standard_normal((count, current.shape[1] + 1), np.float32), device=device)
            order = torch.as_tensor(generator.permutation(count), device=device)
            step = self.ensemble.step(current, action, noise, order)
            earned = step.rewards - chosen.penalty_weight * step.penalties
            lost = alive & ~(torch.isfinite(step.states).all(-1) & torch.isfinite(earned))
            if lost.any():
                row = int(lost.nonzero()[0])
                raise DatasetError(
                    f"{chosen.name}: the model leaves the range of numbers in {int(lost.sum())} of {count} rollouts, first from step "
                    f"{int(starts[row])} after {int(lengths[row])} steps; more updates, or a shorter horizon"
                )
            lengths += alive
            if self.ends is not None:
                ended = alive & self.ends(step.states)
                terminated |= ended
                alive &= ~ended
            moved = lengths == len(taken) + 1
            current = torch.where(moved[:, None], step.states, current)
            states.append(current)
            taken.append(action)
            rewards.append(earned)
            penalties.append(step.penalties)
            if not alive.any():
                break

        def together(parts: list[torch.Tensor]) -> np.ndarray:
            stacked: np.ndarray = torch.stack(parts, 1).cpu().numpy()
            return stacked

        return Rollouts(
            starts,
            lengths.cpu().numpy(),
            terminated.cpu().numpy(),
            together(states),
            together(taken),
            together(rewards),
            together(penalties),
        )
