r"""Proxy actions from a multi-transition inverse dynamics model.

Source: Zheng, Henaff, Amos & Grover, "Semi-Supervised Offline Reinforcement Learning with Action-Free Trajectories", ICML
2023, arXiv 2210.06518 (SS-ORL); published code facebookresearch/ssorl. From k past states, the present and the next one,

.. math::
    p(a_t | s_{t-k}, ..., s_t, s_{t+1}) = \tanh N(\mu, \sigma^2), \quad
    L = -\log p(a_t) = \sum_j \tfrac{(u_j - \mu_j)^2}{2 \sigma_j^2} + \log \sigma_j + \text{const}, \quad u = \tanh^{-1} a

with one perceptron for mu and one for log sigma in [-5, 2] (two layers of 1024 with ReLU and dropout 0.1, orthogonal initial
weights, Adam 1e-4, batches of 1024), on a tenth of the labelled trajectories held out. All members, splits and k are trained
together, as one population.

What differs from the paper or its code, on purpose:

- **The best weights on the held-out steps are kept.** The published code copies them to a name that it never reads, and
  returns the last ones.
- **Windows are aligned.** In the published code, for k > 0 the window of a trajectory's last step lacks s_(t+1), is one
  state short, and is padded in front with raw zeros. Here the final observation is stored, and before the first state
  there is the first state again (`relabeling/shared/windows.py`).
- **Changes of the state are inputs**, each normalized, in place of the states themselves; they hold the same. Normalized
  states hide an action that moves a state by a thousandth of its spread.
- **The label is the mean of the action**, and its spread the standard deviation of the action, over the Gaussian (by
  Gauss-Hermite quadrature) and over all members. The published label is the mean of tanh(mu), and its uncertainty mixes
  clipped means with standard deviations from before the tanh.
- **The spread is calibrated** on the held-out steps; see `relabeling/shared/calibration.py`.
- Actions at the bounds have no finite log density: they are taken for +-0.999 of the range. (The published code makes NaN
  of them where the action range is not narrowed by hand.)
- Batches hold 1024 rows, where the published loader gives 20 times that; 10,000 updates, of which the published code has
  100 and the paper 100,000; the rate of Adam falls to zero along a cosine; three members, where the published ensemble has one.
- The last layer begins a hundred times smaller than orthogonal, so that all members begin at mu = 0.
- Discrete actions, which the paper has not: one perceptron for the logits, trained by cross-entropy; the label is the most
  probable action, and its uncertainty the calibrated probability that it is wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError
from assay.datasets.progress import Progress
from assay.datasets.registry import Integer, Widths
from assay.datasets.transform import register
from assay.relabeling.shared.labelling import ActionLabels, Labelled

if TYPE_CHECKING:
    from assay.relabeling.shared.predictors import Predictor

__all__ = ["InverseDynamicsLabels"]


@register("relabeling.inverse_dynamics")
class InverseDynamicsLabels(ActionLabels):
    """Fill in missing actions by an ensemble of inverse dynamics models (Zheng et al. 2023; see the module's text).

    Parameters
    ----------
    past_states : int >= 0, or several
        k. Of several, all are trained at once, and the one with the least loss on the held-out steps labels.
    ensemble : int >= 1
        Members, for each split and k.
    steps : int > 0
        Updates.
    hidden : tuple of int
        Widths of the hidden layers of both networks.
    dropout : float in [0, 1)
    learning_rate : float > 0
        Of Adam, at the beginning.
    schedule : "cosine" or "constant"
        Of the rate.
    batch_size : int > 0
        Steps per update and member.
    device : str
        Such as `"cuda"`. It changes rounding only.
    validation, splits, coverage, uncertain, share, seed
        As in `ActionLabels`.

    Raises
    ------
    ConfigError
        If a parameter is out of its range; when applied, if states are images or actions are nested.
    DatasetError
        When applied: if too few steps have labels, or a state or a label is not finite.

    Notes
    -----
    Fills the column `actions` where `missing/actions` says so, and removes that mask; a last step whose next state was
    never recorded goes on missing. Writes `uncertainty/actions`: (N, action) float32, half the width of the interval
    around each entry that holds the true action with a probability of `coverage`, in its units, 0 where the label is
    true; of discrete actions (N,), the probability that the label is wrong. `dataset.info.extra["proxy_actions"]` holds
    the report of the model (see `FittedActions`).

    Examples
    --------
    >>> import assay
    >>> from assay.relabeling import HideActions
    >>> hidden = HideActions(fraction=0.5, quantiles=(0.0, 1.0))(assay.load("pendulum/random", steps=2_000))
    >>> filled = InverseDynamicsLabels(steps=200, hidden=(32, 32), batch_size=128, learning_rate=1e-3)(hidden)
    >>> bool(filled.missing["actions"].any()), filled.column("uncertainty/actions").shape
    (False, (2000, 1))
    """

    past_states: Integer | tuple[Integer, ...] = 1
    ensemble: Integer = Field(default=3, ge=1)
    steps: Integer = Field(default=10_000, gt=0)
    hidden: Widths = (1024, 1024)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    learning_rate: float = Field(default=1e-4, gt=0)
    schedule: Literal["cosine", "constant"] = "cosine"
    batch_size: Integer = Field(default=1024, gt=0)
    device: str = "cpu"

    @property
    def several_past_states(self) -> tuple[int, ...]:
        """The candidates for k."""
        found = self.past_states if isinstance(self.past_states, tuple) else (self.past_states,)
        if not found or min(found) < 0 or len(set(found)) < len(found):
            raise ConfigError(f"past_states={self.past_states}: expected different numbers of 0 or more")
        return found

    def learn(
        self, labelled: Labelled, dataset: Dataset, progress: Progress | None
    ) -> tuple[list[Predictor], Predictor | None, dict[str, Any]]:
        """Train members x splits x k as one population, and choose k."""
        from assay.relabeling.shared.inverse_model import Inverse, fit_inverse

        settings = Inverse(
            learning_rate=self.learning_rate,
            dropout=self.dropout,
            batch_size=self.batch_size,
            hidden=self.hidden,
            schedule=self.schedule,
            discrete=labelled.discrete,
        )
        return fit_inverse(
            settings,
            labelled,
            self.several_past_states,
            members=self.ensemble,
            steps=self.steps,
            seed=self.seed,
            purpose=self.name,
            device=self.device,
            progress=None if progress is None else lambda done: progress(done, self.steps),
        )
