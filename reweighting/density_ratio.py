r"""Density-ratio weighting (DW): steps weigh as much as the data distribution of a better policy would draw them.

Source: Hong et al., "Beyond Uniform Sampling: Offline Reinforcement Learning with Imbalanced Datasets", NeurIPS 2023, arXiv 2310.04413;
published code dw-offline-rl (`IQL/discriminator.py`, `CQL/JaxCQL/conservative_sac.py`). With two networks f(s, a) and g(s), a clip C
and a temperature T, the steps of a batch B weigh

.. math::
    l = \mathrm{clip}_{1 + C} f(s, a) + \mathrm{clip}_{1 + C} g(s), \qquad w = \mathrm{softmax}_B (l / T)

and both networks minimize

.. math::
    L = - \sum_B w \bar r \; + \; F \, \frac{1}{|B|} \sum_B
        \frac{\big( \gamma_f \, e^{l(s, a) / T} - e^{\mathrm{clip}_{1 + C} g(s') / T} \big)^2}{Z^2} \; + \; K \sum_B w \log w,
    \qquad Z = \frac{1}{|B|} \sum_B e^{l / T}

where r-bar is the reward, min-max scaled over the dataset. The first term wants reward. The second is the flow constraint: a step is drawn as
often as the state that it leads to is, or the weights are those of no policy. The third keeps the weights apart from a few steps.
Without the flow (F = 0), w is proportional to exp(r-bar / K).

Deviations from the published code, on purpose:

- There the weights of each batch multiply the losses of the algorithm, while both are trained. Here they are trained first, and written down
  as the column `weights`, normalized over the dataset: any algorithm then draws by them.
- The flow there is one of e^(f + g) and e^g, unclipped and without Z. Weights do not change when the same number is taken from all f + g, but
  that flow then vanishes whatever the weights are: both networks sink, and nothing is carried back to the choices that lead to
  reward. Here it is one of the weights themselves.
- A step that terminates has no state to lead to, and no part in the flow; there it leads to whatever is stored.
- The code for CQL divides by T before it clips and that for IQL after; as for IQL here. At T = 1, as published, they agree.
- Observations are normalized. A step whose next observation is not known is not trained on, and has the mean weight.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from pydantic import Field

from assay.datasets.dataset import Dataset
from assay.datasets.errors import DatasetError
from assay.datasets.missing import require_labels
from assay.datasets.progress import Progress
from assay.datasets.registry import Integer, Seed, Widths
from assay.datasets.transform import register
from assay.reweighting.weighting import Weighting, normalized

__all__ = ["DensityRatioWeighting"]

_UPDATES_PER_REPORT = 100


@register("reweighting.density_ratio")
class DensityRatioWeighting(Weighting):
    """Weight steps by a density ratio that earns reward and flows (Hong et al. 2023; the module's text has the equations).

    Parameters
    ----------
    flow_weight : float >= 0
        F. Published: 1 and 5 for IQL; 0.001, 0.1 and 5 for CQL.
    entropy_weight : float >= 0
        K. Published: 0.2 and 1 for IQL; 0 for CQL.
    clip : float >= 0
        C.
    temperature : float > 0
        T.
    updates : int
        Of both networks, on batches of `batch_size` steps.
    batch_size, hidden, learning_rate
        Of both networks; the learning rate is Adam's.
    seed : int
    device : str
    combine
        As of `Weighting`. With `product`, batches are drawn by the weights that are there, and the density ratio multiplies them:
        after `reweighting.trajectory`, that is AW + DW.

    Raises
    ------
    DatasetError, MissingLabelsError, ConfigError
        When applied: if actions or rewards are missing, all rewards are equal, no next observation is known, or training diverges.

    Notes
    -----
    `info.extra["density_ratio"]` holds the mean reward, flow residual and negative entropy of the last batches.

    Examples
    --------
    >>> import assay
    >>> dataset = assay.load("pendulum/medium-replay", steps=1_000)
    >>> weighted = DensityRatioWeighting(updates=20, hidden=(16,))(dataset)
    >>> weighted.weights.shape, round(float(weighted.weights.mean()), 6)
    ((1000,), 1.0)
    """

    flow_weight: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    entropy_weight: float = Field(default=0.2, ge=0, allow_inf_nan=False)
    clip: float = Field(default=0.2, ge=0, allow_inf_nan=False)
    temperature: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    updates: Integer = Field(default=10_000, gt=0)
    batch_size: Integer = Field(default=256, gt=0)
    hidden: Widths = (256, 256)
    learning_rate: float = Field(default=1e-4, gt=0)
    seed: Seed = 0
    device: str = "cpu"

    @property
    def costly(self) -> bool:  # noqa: D102
        return True

    def weigh(self, dataset: Dataset) -> np.ndarray:  # noqa: D102
        return self._weights(dataset, None)[0]

    def apply_reporting(self, dataset: Dataset, progress: Progress | None) -> Dataset:  # noqa: D102
        weights, report = self._weights(dataset, progress)
        if self.combine == "product" and dataset.weights is not None:
            weights = weights * dataset.weights
        info = replace(dataset.info, extra={**dataset.info.extra, "density_ratio": report})
        return dataset.replace({"weights": normalized(weights, self.name)}, info=info)

    def _weights(self, dataset: Dataset, progress: Progress | None) -> tuple[np.ndarray, dict[str, float]]:
        """Train both networks, and return the weight of each step, (N,), and what the last batches were like."""
        from assay.baselines.engine.population import Member, Population
        from assay.reweighting.ratio_model import DensityRatio, action_scale, scores

        require_labels(dataset, "actions", "rewards", by="a density ratio")
        drawn = dataset if self.combine == "product" else dataset.replace({"weights": None})
        finite = dataset.rewards[np.isfinite(dataset.rewards)]  # training names those that are not
        low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
        if not high > low:
            raise DatasetError(f"all rewards are {low:g}: no step is worth more than another")
        algorithm = DensityRatio(
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            hidden=self.hidden,
            clip=self.clip,
            temperature=self.temperature,
            flow_weight=self.flow_weight,
            entropy_weight=self.entropy_weight,
            lowest_reward=low,
            reward_range=high - low,
        )
        data = algorithm.training_data(drawn, action_scale(drawn))
        population = Population([Member(algorithm, self.seed, 0)], [data], self.updates, device=self.device)
        while population.completed < self.updates:
            population.advance(min(_UPDATES_PER_REPORT, self.updates - population.completed))
            if progress is not None:
                progress(population.completed, self.updates)
        if any(update is not None for update in population.frozen_at):
            raise DatasetError("the density ratio diverged: choose a smaller learning rate or a smaller flow_weight")
        found = scores(population, data, self.clip) / self.temperature
        weights = np.exp(found - found.max())
        result = np.full(dataset.total_steps, weights.mean())
        result[dataset.transition_steps(keep_terminal=True)] = weights
        return result, {name: round(float(value[0]), 6) for name, value in population.metrics().items()}
