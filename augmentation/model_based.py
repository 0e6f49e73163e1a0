r"""Model-based augmentation: short rollouts of a learned model, from states of the data.

MBPO's branched rollouts (Janner et al. 2019, arXiv 1906.08253) as offline methods use them (MOPO, Yu et al. 2020, arXiv 2005.13239): an
ensemble of probabilistic networks is trained on the dataset (`assay.baselines.dynamics`), and from states of the data k steps are taken in it
under a policy. The rewards of the new steps are

.. math::
    \tilde r = r - \lambda \, u(s, a)

with u one of the penalties that say how unsure the ensemble is. Here the new steps become data, for any algorithm; MOPO draws them afresh
under the policy that it is training.

Deviations from MOPO's rollouts: the policy is fixed, by default a Gaussian cloned from the data; a rollout that does not terminate
within k steps is truncated there, and bootstraps; states come from all steps of the data, spread evenly.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from assay.augmentation.extension import Extension, original_steps
from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError, DatasetError
from assay.datasets.generators import block_generator
from assay.datasets.progress import Progress
from assay.datasets.registry import Integer, Seed, Widths
from assay.datasets.transform import Transform, register

if TYPE_CHECKING:
    from assay.augmentation.rollouts import LearnedModel, Rollouts

__all__ = ["ModelBasedAugmentation"]

_STARTS_AT_ONCE = 4096

Penalty = Literal["aleatoric", "pairwise_difference", "ensemble_deviation", "likelihood_variance", "leave_one_out"]


@register("augmentation.model_based")
class ModelBasedAugmentation(Transform):
    """Add rollouts of a model of the dynamics that is learned from the dataset.

    Parameters
    ----------
    ratio : float > 0
        New steps for each original one, about: rollouts that terminate early are followed by others.
    horizon : int >= 1
        k, most steps of a rollout.
    policy : str
        ``"clone"``, a policy cloned from the data (Gaussian, or of categories); ``"random"``, uniform in the action space; a policy
        file, as ``assay datasets train-policy`` writes it; or the folder of a run, as ``assay train`` leaves it.
    penalty : str or None
        u: ``"aleatoric"``, ``"pairwise_difference"``, ``"ensemble_deviation"``, ``"likelihood_variance"`` or ``"leave_one_out"``
        (`assay.baselines.dynamics.penalties` has the formulas). None makes rollouts several times cheaper.
    penalty_weight : float >= 0
        lambda.
    variant : "paper" or "released"
        Of the penalty: as in its paper, or as in OfflineRL-Kit.
    networks, elites : int
        Size of the ensemble, and how many of it are drawn from.
    hidden : tuple of int
        Widths of each network.
    updates : int
        Of the ensemble, the cloned policy and the model of terminations, each.
    learning_rate, batch_size
        Of all of them.
    termination : "auto", "none" or "learned"
        By default the environment's own rule where it is known, else one that is learned, or none where the data holds no
        termination.
    seed : int
    device : str

    Returns
    -------
    Dataset
        The original steps, and behind them the rollouts as episodes; the column `augmented` tells them apart.
        `info.extra["augmentation"]` has the ensemble's held-out errors and the mean penalty.

    Raises
    ------
    MissingLabelsError, DatasetError, ConfigError
        When applied: if actions or rewards are missing, observations are images, there are too few transitions, the policy does not fit
        the environment, or the model leaves the range of numbers.

    Examples
    --------
    >>> import assay
    >>> dataset = assay.load("pendulum/medium-replay", steps=400)
    >>> more = ModelBasedAugmentation(ratio=0.5, horizon=5, updates=20, hidden=(16,), networks=3, elites=2)(dataset)
    >>> more.total_steps, int(more.column("augmented").sum()), more.episode_lengths[-1]
    (600, 200, np.int64(5))
    """

    ratio: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    horizon: Integer = Field(default=5, ge=1)
    policy: str = "clone"
    penalty: Penalty | None = "aleatoric"
    penalty_weight: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    variant: Literal["paper", "released"] = "paper"
    networks: Integer = Field(default=7, ge=1)
    elites: Integer = Field(default=5, ge=1)
    hidden: Widths = (200, 200, 200, 200)
    updates: Integer = Field(default=20_000, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0, allow_inf_nan=False)
    batch_size: Integer = Field(default=256, ge=1)
    termination: Literal["auto", "none", "learned"] = "auto"
    seed: Seed = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.elites > self.networks:
            raise ConfigError(f"elites={self.elites} is more than networks={self.networks}")
        if self.policy not in ("clone", "random") and not Path(self.policy).exists():
            raise ConfigError(
                f'policy={self.policy!r} is neither "clone" nor "random" nor a file or folder of a run that exists'
            )

    @property
    def costly(self) -> bool:  # noqa: D102
        return True

    def apply(self, dataset: Dataset) -> Dataset:  # noqa: D102
        return self.apply_reporting(dataset, None)

    def apply_reporting(self, dataset: Dataset, progress: Progress | None) -> Dataset:  # noqa: D102
        from assay.augmentation.rollouts import LearnedModel

        sources = original_steps(dataset)
        wanted = round(self.ratio * len(sources))
        if not wanted:
            raise DatasetError(f"{self.name}: ratio {self.ratio:g} of {len(sources)} steps is less than one step")
        model = LearnedModel(self, dataset, progress)
        rollouts = self._rollouts(sources, model, wanted, progress)
        extension = Extension(dataset, np.concatenate([each.lengths for each in rollouts]))
        episode = 0
        for each in rollouts:
            each.write(extension, episode, model)
            episode += len(each.lengths)
        steps = sum(int(each.lengths.sum()) for each in rollouts)
        report = {
            "transform": self.name,
            "steps": steps,
            "rollouts": episode,
            "terminated": sum(int(each.terminated.sum()) for each in rollouts),
            "mean_penalty": round(sum(float(each.penalties.sum()) for each in rollouts) / steps, 6),
            "held_out_errors": [round(float(error), 6) for error in model.ensemble.held_out_errors],
            "elites": model.ensemble.elites.tolist(),
            "termination": model.termination_from,
        }
        return extension.finish(report)

    def _rollouts(
        self, sources: np.ndarray, model: LearnedModel, wanted: int, progress: Progress | None
    ) -> list[Rollouts]:
        """Roll out from states of the data until there are so many steps; the last rollout is cut where they are reached."""
        found: list[Rollouts] = []
        held = block = 0
        while held < wanted:
            count = min(_STARTS_AT_ONCE, -(-(wanted - held) // self.horizon))
            generator = block_generator(self.seed, self.name, "rollouts", block)
            places = (np.arange(count) + generator.random(count)) * (len(sources) / count)
            starts = sources[np.minimum(places.astype(np.int64), len(sources) - 1)]
            rollouts = model.roll_out(starts, generator).cut(wanted - held)
            found.append(rollouts)
            held, block = held + int(rollouts.lengths.sum()), block + 1
            if progress is not None:
                progress(self.updates + held * self.updates // wanted, 2 * self.updates)
        return found
