r"""One-step deterministic inverse dynamics: a = f(s_t, s_(t+1)), by least squares. A baseline.

Source: the inverse model of Torabi, Warnell & Stone, "Behavioral Cloning from Observation", IJCAI 2018, arXiv 1805.01954, which
maximizes the likelihood of the actions; with a Gaussian of constant variance that is

.. math:: L(f) = E \, \lVert f(s_t, s_{t+1}) - a_t \rVert^2 .

Two layers of 256 with ReLU and a tanh output, Adam 3e-4, batches of 256. It is what the published multi-transition model is
compared with: no past states, no spread of its own (every label gets the same one, from the errors on the held-out steps), one
network. Of discrete actions: cross-entropy of a softmax.
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

__all__ = ["OneStepLabels"]


@register("relabeling.one_step_actions")
class OneStepLabels(ActionLabels):
    """Fill in missing actions by a deterministic model of one transition.

    Parameters
    ----------
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
    >>> filled = OneStepLabels(steps=100, hidden=(32, 32))(hidden)
    >>> bool(filled.missing["actions"].any())
    False
    """

    steps: Integer = Field(default=10_000, gt=0)
    hidden: Widths = (256, 256)
    learning_rate: float = Field(default=3e-4, gt=0)
    batch_size: Integer = Field(default=256, gt=0)
    device: str = "cpu"

    def learn(
        self, labelled: Labelled, dataset: Dataset, progress: Progress | None
    ) -> tuple[list[Predictor], Predictor | None, dict[str, Any]]:
        """Train one network per split, all at once."""
        from assay.relabeling.shared.one_step_model import OneStep, fit_one_step

        settings = OneStep(self.learning_rate, self.batch_size, self.hidden, labelled.discrete)
        report = None if progress is None else lambda done: progress(done, self.steps)
        return fit_one_step(
            settings, labelled, steps=self.steps, seed=self.seed, purpose=self.name, device=self.device, progress=report
        )
