r"""Calibration: what a model's spread is worth, measured on steps that it was not fitted to.

Split conformal prediction with normalized residuals (Vovk, Gammerman & Shafer 2005; Lei et al. 2018, arXiv 1604.04173).
With a prediction \hat a and a spread \sigma of each entry, on n held-out steps,

.. math:: r_i = |a_i - \hat a_i| / \sigma_i, \quad q = r_{(\lceil (n + 1) c \rceil)}, \quad P(|a - \hat a| \le q \sigma) \ge c

for a fresh step that is exchangeable with them: the interval \hat a \pm q \sigma has coverage c whatever the model is, and
it is narrow where the model knows more. So that this holds for certain and for uncertain steps alike, and not for all of
them together only, held-out steps of like spread have a factor q of their own (Mondrian conformal prediction). Steps of one
episode resemble each other, and episodes without labels may differ from those with labels: the guarantee is for steps like
the labelled ones. They also choose the best weights of a model, among some tens, which makes errors there a little smaller
than elsewhere.

Of discrete actions, the probabilities are softened by one temperature, which minimizes the cross-entropy on the held-out
steps (Guo et al. 2017, arXiv 1706.04599) together with one step more, whose action is any of them alike: where a few held-out
steps are all predicted rightly, the probabilities do not become certain.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

__all__ = ["NOMINAL", "Calibration", "coverage_table", "reliability", "soften", "temperature_of"]

NOMINAL = (0.5, 0.68, 0.8, 0.9, 0.95)
"""Levels of coverage that are reported."""
_STEPS_PER_BIN, _MOST_BINS = 200, 10  # of like spread
_LEAST = 1e-12
_TEMPERATURES = np.geomspace(0.05, 20.0, 121)


@dataclass(frozen=True)
class Calibration:
    """What the spread of each entry of an action is multiplied by, depending on the spread.

    Parameters
    ----------
    edges : (bins - 1, action) float64
        Between the bins of the spread.
    factors : (bins, action) float64
    """

    edges: np.ndarray
    factors: np.ndarray

    @classmethod
    def of(cls, errors: np.ndarray, spreads: np.ndarray, coverage: float) -> Calibration:
        """Calibrate on held-out steps.

        Parameters
        ----------
        errors, spreads : (n, action) arrays
            Absolute errors, and the model's spreads, above 0.
        coverage : float in (0, 1)
            Where a bin holds too few steps for it, its largest error counts.

        Examples
        --------
        >>> calibration = Calibration.of(np.arange(1.0, 10.0)[:, None], np.full((9, 1), 2.0), 0.5)
        >>> calibration.widths(np.array([[2.0], [4.0]])).ravel().tolist()
        [5.0, 10.0]
        """
        bins = min(_MOST_BINS, max(1, len(errors) // _STEPS_PER_BIN))
        edges = np.quantile(spreads, np.arange(1, bins) / bins, axis=0).reshape(bins - 1, spreads.shape[1])
        factors = np.zeros((bins, spreads.shape[1]))
        for entry, (error, spread) in enumerate(zip(errors.T, spreads.T)):
            scores, of = error / spread, np.searchsorted(edges[:, entry], spread)
            for number in range(bins):
                inside = np.sort(scores[of == number])
                inside = inside if len(inside) else np.sort(scores)  # where many spreads are equal
                rank = min(len(inside), math.ceil((len(inside) + 1) * coverage))
                factors[number, entry] = inside[rank - 1]
        return cls(edges, factors)

    def widths(self, spreads: np.ndarray) -> np.ndarray:
        """Return half the widths of the intervals, (n, action), of steps with these spreads."""
        found = np.empty(spreads.shape)
        for entry, spread in enumerate(spreads.T):
            found[:, entry] = spread * self.factors[np.searchsorted(self.edges[:, entry], spread), entry]
        return found


def coverage_table(errors: np.ndarray, spreads: np.ndarray, groups: np.ndarray) -> list[dict[str, float]]:
    """Say what coverage to expect of fresh steps, for each nominal level.

    The held-out groups (episodes) are cut in two; what is calibrated on one half is tried on the other, and the other way
    round.

    Parameters
    ----------
    errors, spreads : (n, action) arrays
    groups : (n,) int array

    Returns
    -------
    list of dict
        `nominal`; `gaussian`, the coverage if the spread were taken for the standard deviation of a normal distribution;
        `expected`, that of the calibrated interval on the half that it was not calibrated on. Means over steps and
        entries.
    """
    names = np.unique(groups)
    second = np.isin(groups, names[len(names) // 2 :]) if len(names) > 1 else np.arange(len(groups)) * 2 >= len(groups)
    rows = []
    for nominal in NOMINAL:
        inside = np.zeros(errors.shape, bool)
        for half in (second, ~second):
            other = ~half if (~half).any() else half
            calibration = Calibration.of(errors[other], spreads[other], nominal)
            inside[half] = errors[half] <= calibration.widths(spreads[half])
        gaussian = errors <= spreads * NormalDist().inv_cdf((1 + nominal) / 2)
        rows.append({"nominal": nominal, "gaussian": float(gaussian.mean()), "expected": float(inside.mean())})
    return rows


def temperature_of(probabilities: np.ndarray, actions: np.ndarray) -> float:
    """Return the temperature that minimizes the cross-entropy of (n, A) probabilities at (n,) actions.

    Examples
    --------
    >>> sure = np.tile([0.99, 0.01], (100, 1))
    >>> round(float(soften(sure, temperature_of(sure, np.arange(100) % 4 // 3))[0, 0]), 2)
    0.75
    """
    rows, losses = np.arange(len(actions)), []
    for temperature in _TEMPERATURES:
        logarithms = np.log(soften(probabilities, temperature) + _LEAST)
        losses.append(-logarithms[rows, actions].sum() - logarithms.mean())
    return float(_TEMPERATURES[int(np.argmin(losses))])


def soften(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return (n, A) probabilities to the power 1 / temperature, normalized."""
    logarithms = np.log(probabilities + _LEAST) / temperature
    powers = np.exp(logarithms - logarithms.max(1, keepdims=True))
    found: np.ndarray = powers / powers.sum(1, keepdims=True)
    return found


def reliability(probabilities: np.ndarray, actions: np.ndarray) -> list[dict[str, float]]:
    """Say how often the most probable action is right, for steps of like probability.

    Returns
    -------
    list of dict
        For each fifth of the steps by the probability of the action chosen: `nominal`, its mean, and `expected`, how often
        the action was right.
    """
    chosen = probabilities.max(1)
    right = probabilities.argmax(1) == actions
    rows = []
    for part in np.array_split(np.argsort(chosen, kind="stable"), 5):
        if len(part):
            nominal = float(chosen[part].mean())
            rows.append({"nominal": nominal, "expected": float(right[part].mean())})
    return rows
