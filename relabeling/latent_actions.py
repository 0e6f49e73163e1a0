r"""Latent actions with a linear probe: do they carry the control? A baseline.

Source: Schmidt & Jiang, "Learning to Act without Actions", ICLR 2024, arXiv 2312.10812 (LAPO). An inverse model invents an
action z, and a forward model must predict the change of the state from s_t and z. Neither sees a true action, so all
transitions are learned from, labelled or not:

.. math:: z = \tanh f(s_t, s_{t+1}), \qquad L(f, g) = E \, \lVert g(s_t, z + \epsilon) - (s_{t+1} - s_t) \rVert^2

z is narrow, so that it can hold what distinguishes the transitions that start in s_t and not the next state itself. What z
knows of the true action is then read off by a linear probe on the labelled steps: ridge regression, or logistic regression
for discrete actions. The report's `explained` says for each entry of the action which share of its variance z carries; where
that is near 0, latent actions are no substitute for labels.

Deviations from LAPO: states in place of images; z is continuous, as many numbers as the action has entries, with Gaussian
noise epsilon of 0.1 in place of vector quantization; the probe is linear, where LAPO trains a decoder of the policy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from assay.datasets.dataset import Dataset
from assay.datasets.progress import Progress
from assay.datasets.registry import Integer, Widths
from assay.datasets.transform import register
from assay.relabeling.shared.labelling import ActionLabels, Labelled

if TYPE_CHECKING:
    from assay.relabeling.shared.predictors import Predictor

__all__ = ["LatentActionLabels"]


@register("relabeling.latent_actions")
class LatentActionLabels(ActionLabels):
    """Fill in missing actions by a linear probe of latent actions (see the module's text).

    Parameters
    ----------
    latent_size : int >= 1, optional
        Numbers of a latent action; default as many as the action has entries (of discrete actions one less than there are).
    noise : float >= 0
        Standard deviation of epsilon.
    ridge : float > 0
        Penalty of the probe, per step.
    steps : int > 0
        Updates.
    hidden : tuple of int
    learning_rate : float > 0
        Of Adam.
    batch_size : int > 0
    device : str
    validation, splits, coverage, uncertain, share, seed
        As in `ActionLabels`.

    Notes
    -----
    Writes what `InverseDynamicsLabels` writes.

    Examples
    --------
    >>> import assay
    >>> from assay.relabeling import HideActions
    >>> hidden = HideActions(fraction=0.5, quantiles=(0.0, 1.0))(assay.load("pendulum/random", steps=2_000))
    >>> model = LatentActionLabels(steps=300, hidden=(32, 32), learning_rate=3e-3).fit(hidden)
    >>> model.report["latent_size"], 0.0 < model.report["explained"][0] <= 1.0
    (1, True)
    """

    latent_size: Integer | None = Field(default=None, ge=1)
    noise: float = Field(default=0.1, ge=0)
    ridge: float = Field(default=1e-3, gt=0)
    steps: Integer = Field(default=10_000, gt=0)
    hidden: Widths = (256, 256)
    learning_rate: float = Field(default=3e-4, gt=0)
    batch_size: Integer = Field(default=256, gt=0)
    device: str = "cpu"

    def learn(
        self, labelled: Labelled, dataset: Dataset, progress: Progress | None
    ) -> tuple[list[Predictor], Predictor | None, dict[str, Any]]:
        """Train the latent actions of every split on all transitions but those held out, then the probes."""
        from assay.relabeling.shared.latent_model import Latent, fit_latent

        entries = labelled.targets.shape[1] - labelled.discrete
        settings = Latent(
            learning_rate=self.learning_rate,
            noise=self.noise,
            batch_size=self.batch_size,
            hidden=self.hidden,
            latent_size=self.latent_size or entries,
        )
        return fit_latent(
            settings,
            labelled,
            ridge=self.ridge,
            steps=self.steps,
            seed=self.seed,
            purpose=self.name,
            device=self.device,
            progress=None if progress is None else lambda done: progress(done, self.steps),
        )
