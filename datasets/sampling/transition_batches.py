"""Batches of transitions, with one-step or n-step returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError
from assay.datasets.missing import LABELS, require_labels
from assay.datasets.sampling.draws import Sampler, checked_weights, make_draws
from assay.datasets.sampling.gathering import GatheredColumns, pack_scalars, unpack_scalars
from assay.datasets.sampling.windows import window
from assay.datasets.transitions import Transitions

if TYPE_CHECKING:
    import torch

__all__ = ["TransitionSampler"]


class TransitionSampler(Sampler[Transitions[Any]]):
    """Draws batches of transitions (s, a, r, s').

    With `return_steps` n, a transition spans m = min(n, steps left in the episode) steps::

        rewards            r_t + discount r_(t+1) + ... + discount^(m-1) r_(t+m-1)
        next_observations  s_(t+m)
        flags              those of step t+m-1
        discounts          discount^m, the factor of the value of s_(t+m) where it did not terminate

    Parameters
    ----------
    dataset : Dataset
        Its `weights` column, where it has one, decides how often a step is drawn.
    batch_size : int
    return_steps : int
        n; 1 for plain transitions.
    discount : float in [0, 1]
        Of the n-step return; with n = 1 it only fills `discounts`.
    strata : mapping of tag to share, optional
        Draw these shares of every batch from the episodes with these tags.
    replacement : bool
        False shuffles: every step once before any twice, pass after pass.
    keep_terminal : bool
        Draw the last step of an episode whose final observation was not stored, where it is a termination; see
        `Dataset.transitions`. Its next observation is a placeholder.
    columns : sequence of str
        Further columns, such as `"costs"` or `"infos/qpos"`, for `Transitions.columns`: their rows at the steps.
    seed : int
    dtype : numpy dtype or None
        Floating columns are cast to it once. None keeps them as they are; memory maps then stay on disk.
    device : str, torch.device or None
        Keep the data and return batches there, as tensors; None for NumPy arrays.

    Raises
    ------
    DatasetError
        If there is nothing to draw, or a weight is negative or not finite.
    ConfigError
        If a parameter is out of its range.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(5.0), actions=np.zeros(3), rewards=[1.0, 1.0, 4.0],
    ...     terminations=[False, True, True], truncations=[False, False, False])
    >>> sampler = TransitionSampler(dataset, batch_size=4, seed=1)
    >>> batch = sampler.sample()
    >>> bool((batch.next_observations == batch.observations + 1).all())
    True
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int = 256,
        *,
        return_steps: int = 1,
        discount: float = 0.99,
        strata: Mapping[str, float] | None = None,
        replacement: bool = True,
        keep_terminal: bool = True,
        columns: Sequence[str] = (),
        seed: int = 0,
        dtype: Any = np.float32,
        device: str | torch.device | None = None,
    ) -> None:
        if return_steps < 1 or not 0 <= discount <= 1:
            raise ConfigError(f"return_steps must be 1 or more, discount in [0, 1]; not {return_steps} and {discount}")
        steps = dataset.transition_steps(keep_terminal=keep_terminal)
        episode_of_step = dataset.episode_of_step
        draws = make_draws(
            dataset,
            steps,
            episode_of_step[steps],
            checked_weights(dataset.weights),
            batch_size=batch_size,
            seed=seed,
            purpose="transitions",
            strata=strata,
            replacement=replacement,
        )
        require_labels(dataset, *LABELS, by="the sampler")
        settings = {"kind": "transitions", "batch_size": batch_size, "seed": seed, "replacement": replacement}
        settings |= {"return_steps": return_steps, "discount": discount}
        if not dataset.final_observations_known.all():  # elsewhere it decides nothing
            settings["keep_terminal"] = keep_terminal
        super().__init__(dataset, draws, settings, strata)
        self.return_steps, self.discount = return_steps, discount
        self._extra = tuple(columns)
        self._episode_of_step = episode_of_step
        self._stops = dataset.episode_starts + np.bincount(episode_of_step[steps], minlength=dataset.total_episodes)
        # Powers and returns are as precise as the rewards of the batches; powers of integers would be 0.
        kept = dataset.rewards.dtype if dataset.rewards.dtype.kind == "f" else np.dtype(np.float64)
        self._precision = kept.newbyteorder("=") if dtype is None else np.dtype(dtype)
        self._powers = (discount ** np.arange(return_steps + 1)).astype(np.float64)
        stored = {name: dataset.nested(name) for name in ("observations", "actions", *self._extra)}
        stored["scalars"] = pack_scalars(dataset)
        if dataset.has_next_observations:
            stored["next_observations"] = dataset.nested("next_observations")
        self._columns = GatheredColumns(stored, dataset.total_steps, dtype, device)

    def sample(self) -> Transitions[Any]:
        """Return the next batch: `Transitions` of batch_size rows, with `discounts`."""
        steps = self._next()
        episodes = self._episode_of_step[steps]
        take, rows = self._columns.take, steps + episodes
        spans: Any = 1
        if self.return_steps > 1:
            spans = np.minimum(self._stops[episodes] - steps, self.return_steps)
        lasts = steps + spans - 1 if self.return_steps > 1 else steps
        rewards, terminations, truncations = unpack_scalars(take("scalars", lasts))
        if self.return_steps > 1:
            rewards = self._returns(steps, spans)
        if "next_observations" in self._columns:
            following = take("next_observations", lasts)
        else:
            following = take("observations", rows + spans)
        return Transitions(
            observations=take("observations", rows),
            actions=take("actions", steps),
            rewards=rewards,
            next_observations=following,
            terminations=terminations,
            truncations=truncations,
            steps=self._columns.send(steps),
            episodes=self._columns.send(episodes),
            discounts=self._columns.send(np.full(len(steps), self._powers[spans], self._precision)),
            columns={name: self._columns.of_steps(name, steps, episodes) for name in self._extra},
        )

    def _returns(self, steps: np.ndarray, spans: np.ndarray) -> Any:
        rows, inside = window(steps, np.arange(self.return_steps), after=spans - 1)
        rewards, _, _ = unpack_scalars(self._columns.take("scalars", rows))
        powers = self._powers[:-1] * inside
        return (rewards * self._columns.send(powers.astype(self._precision))).sum(1)
