r"""Experience selection: which few steps of a dataset to keep, and to draw alone.

Of what is learned from later only a small memory may stay: M steps of the data, or of each task in it. They are chosen

- `random`: all equally likely;
- `reward`: those with the largest rewards, of equal ones all equally likely;
- `model`: model-based experience selection as in OER (Gai, Wang & He 2023, arXiv 2305.13804; a reconstruction): a policy is followed in a learned model,
  from states in which episodes begin, and every imagined state stands for the nearest step of the data
  (`assay.baselines.dynamics.experience`). So what is kept looks like what the policy will visit, and not like the data.

Deviations of `model`: those of `assay.baselines.algorithms.continual`, which chooses in the same way while it trains; the ensemble is that of
`assay.baselines.dynamics.ensemble`.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from assay.datasets.collection.policies_by_path import policy_for
from assay.datasets.dataset import Dataset, map_nested
from assay.datasets.errors import ConfigError, DatasetError
from assay.datasets.generators import block_generator
from assay.datasets.missing import require_labels
from assay.datasets.registry import Integer, Seed, Widths
from assay.datasets.transform import register
from assay.datasets.transitions import Transitions
from assay.reweighting.weighting import Weighting

__all__ = ["ExperienceSelection"]


@register("reweighting.experience")
class ExperienceSelection(Weighting):
    """Draw a few steps alone: at random, those of large reward, or those near to where a policy goes.

    A step weighs as many times as it was chosen, and others 0; `reweighting.materialize` then makes them a dataset of their own.

    Parameters
    ----------
    select : "model", "random" or "reward"
        How they are chosen.
    size : int
        M.
    each : str, optional
        A part of the observations that is one of several categories, such as `task`: M steps of each are chosen, on its own data.
    policy : str
        Which policy is followed: "clone", a Gaussian that clones the data, or the path of a policy file or of a run.
    networks, hidden, updates, learning_rate, batch_size
        Of the ensemble of dynamics networks, and of the clone.
    horizon : int
        Most steps of a rollout; it also ends where the chosen step does.
    reanchor : bool
        Go on from the state of the chosen step, or from the imagined one.
    action_weight : float >= 0
        Of differences of actions in the distance, where states and actions are in their standard deviations; 0 compares states alone.
    seed : int
    device : str
    combine
        As of `Weighting`.

    Raises
    ------
    DatasetError
        When applied: if there are fewer steps than M to choose from without repetition, or numbers are not finite.
    ConfigError
        When applied: if `each` is no category, actions are no vectors of numbers, or the policy does not fit.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(observations=np.arange(5.0), actions=np.zeros(4), rewards=[0.0, 3.0, 1.0, 2.0], episode_lengths=[4])
    >>> ExperienceSelection(select="reward", size=2)(dataset).weights.tolist()
    [0.0, 2.0, 0.0, 2.0]
    """

    select: Literal["model", "random", "reward"] = "model"
    size: Integer = Field(default=1000, ge=1)
    each: str | None = None
    policy: str = "clone"
    networks: Integer = Field(default=5, ge=1)
    hidden: Widths = (256, 256)
    updates: Integer = Field(default=20_000, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0, allow_inf_nan=False)
    batch_size: Integer = Field(default=256, ge=1)
    horizon: Integer = Field(default=100, ge=1)
    reanchor: bool = True
    action_weight: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    seed: Seed = 0
    device: str = "cpu"

    @property
    def costly(self) -> bool:  # noqa: D102
        return self.select == "model"

    def weigh(self, dataset: Dataset) -> np.ndarray:  # noqa: D102
        transitions = dataset.transitions(dtype=np.float32)
        chosen = np.zeros(dataset.total_steps)
        for number, rows in enumerate(self._groups(transitions)):
            chosen += np.bincount(
                transitions.steps[self._choose(dataset, transitions, rows, number)], minlength=len(chosen)
            )
        return chosen

    def _groups(self, transitions: Transitions[np.ndarray]) -> list[np.ndarray]:
        """Return the rows of each category of `each`, or all of them."""
        if self.each is None:
            return [np.arange(len(transitions))]
        found = transitions.observations
        for part in self.each.split("/"):
            found = found.get(part) if isinstance(found, dict) else None
        if found is None or found.dtype.kind not in "iu" or found.size != len(transitions):
            raise ConfigError(f"{self.name}: observations/{self.each} is not one of several categories")
        return [np.flatnonzero(found.ravel() == category) for category in np.unique(found)]

    def _choose(
        self, dataset: Dataset, transitions: Transitions[np.ndarray], rows: np.ndarray, group: int
    ) -> np.ndarray:
        """Return chosen rows of a group; of model-based selection some come several times."""
        if self.select == "model":
            near: np.ndarray = rows[self._near_policy(dataset, transitions, rows, group)]
            return near
        if self.size > len(rows):
            raise DatasetError(f"{self.name}: size={self.size:,} is more than the {len(rows):,} steps to choose from")
        order = block_generator(self.seed, self.name, "order", group).permutation(len(rows))
        if self.select == "reward":
            require_labels(dataset, "rewards", by=self.name)
            order = order[np.argsort(-transitions.rewards[rows][order], kind="stable")]
        kept: np.ndarray = rows[order[: self.size]]
        return kept

    def _near_policy(
        self, dataset: Dataset, transitions: Transitions[np.ndarray], rows: np.ndarray, group: int
    ) -> np.ndarray:
        """Return places among rows that stand for what the policy visits in a model of them."""
        from assay.reweighting.followed import FollowedPolicy

        require_labels(dataset, "actions", "rewards", by=self.name)
        policy = None if self.policy == "clone" else policy_for(self.policy, dataset)
        begins = np.isin(transitions.steps[rows], dataset.episode_starts)
        if not begins.any():
            raise DatasetError(f"{self.name}: none of {len(rows):,} steps begins an episode")
        part = Transitions(
            **{
                name: map_nested(lambda array: array[rows], value)
                for name, value in vars(transitions).items()
                if value is not None and name in _USED
            }
        )
        return FollowedPolicy(self, dataset, part, policy, group).places(np.flatnonzero(begins))


_USED = ("observations", "actions", "rewards", "next_observations", "terminations", "truncations", "steps")
