"""Trajectory weighting: steps of better episodes are drawn more often.

Source: Hong et al., "Harnessing Mixed Offline Reinforcement Learning Datasets via Trajectory Weighting", ICLR 2023,
arXiv 2306.13085; published code `JaxCQL/dataset_utils.py` of Improbable-AI/harness-offline-rl. Episode i has return G_i
(undiscounted), length T_i and first observation s_(i,0). With temperature alpha,

    return weighting (RW)      x_i = minmax(G_i)               minmax(y) = (y - min y) / (max y - min y)
    advantage weighting (AW)   x_i = minmax(G_i - V(s_(i,0)))  V: least squares of G on s_0, with an intercept

    p_(i,t) = exp(x_i / alpha) / sum_j T_j exp(x_j / alpha)

    top                        p_(i,t) = 1 / (steps of the best k episodes by G), k = ceil(fraction E), and 0 for all others

so an episode is drawn with probability proportional to T_i exp(x_i / alpha), and then one of its steps uniformly. AW
discounts what luck in the first state gave; RW and AW agree where s_0 says nothing about the return. Published
temperatures are 0.1 (IQL, TD3+BC) and 0.2 (CQL); lower is greedier.

What differs from the paper or its code, on purpose:

- The `weights` column holds N p, of mean 1 over the steps, so that 1 is the weight of uniform drawing; learners
  normalize it anyway.
- Where all scores are equal the code divides by zero; here all weights are 1. This includes AW where V explains the
  returns completely, as it must with no more episodes than s_0 has numbers (plus one for the intercept): what is left
  then is rounding, which min-max would blow up into weights. Scores that spread less than 1e-8 of the spread of the
  returns, or 1e-12 of their size, count as equal.
- The d3rlpy examples beside the code take the softmax of raw returns; the code for CQL, IQL and TD3+BC, followed here,
  of min-maxed ones.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from pydantic import Field

from assay.datasets.dataset import Dataset
from assay.datasets.errors import DatasetError
from assay.datasets.missing import require_labels
from assay.datasets.streaming import StepReader
from assay.datasets.transform import register
from assay.reweighting.weighting import Weighting

__all__ = ["TrajectoryWeighting"]

# a spread of scores is rounding where it is below this share of the spread of the returns, or of their size
_OF_SPREAD, _OF_SIZE = 1e-8, 1e-12


@register("reweighting.trajectory")
class TrajectoryWeighting(Weighting):
    """Weight the steps by how good their episode is (Hong et al. 2023; the module's text has the equations).

    Parameters
    ----------
    score : "return", "advantage" or "top"
        RW, AW, or only the best episodes, all alike: the baseline that the paper compares with.
    temperature : float > 0
        Of RW and AW. Lower is greedier; the best and the worst episode differ by exp(1 / temperature) in weight.
    fraction : float in (0, 1]
        Of "top": how many of the episodes. Of equal returns the earlier episode is the better one.
    combine
        As of `Weighting`.

    Raises
    ------
    ConfigError
        If a parameter is out of its range.
    DatasetError
        When applied: if a return or, for the advantage, a first observation is not a finite number.

    Notes
    -----
    Writes the column `weights`, (N,) float64 of mean 1; all other columns are shared. `effective_sample_size` says how many
    steps are left of it.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.zeros(5), actions=np.zeros(3), rewards=[1.0, 1.0, 4.0],
    ...     terminations=[False, True, False], truncations=[False, False, True])
    >>> weights = TrajectoryWeighting(score="return", temperature=1.0)(dataset).weights
    >>> (weights / weights[0]).round(3).tolist()
    [1.0, 1.0, 2.718]
    """

    score: Literal["return", "advantage", "top"] = "return"
    temperature: float = Field(default=0.1, gt=0, allow_inf_nan=False)
    fraction: float = Field(default=0.1, gt=0, le=1)

    def weigh(self, dataset: Dataset) -> np.ndarray:
        """Return the same weight for all steps of an episode."""
        returns = _finite_returns(dataset)
        if self.score == "top":
            best = np.argsort(-returns, kind="stable")[: math.ceil(self.fraction * len(returns))]
            return np.repeat(np.isin(np.arange(len(returns)), best).astype(np.float64), dataset.episode_lengths)
        scores = returns - _value_of_first_observation(dataset, returns) if self.score == "advantage" else returns
        # from the best episode down, so that the exponential cannot overflow
        weights = np.exp((_min_max(scores, returns) - 1) / self.temperature)
        return np.repeat(weights, dataset.episode_lengths)


def _min_max(scores: np.ndarray, returns: np.ndarray) -> np.ndarray:
    if not len(scores):
        return scores
    if np.ptp(scores) <= max(_OF_SPREAD * np.ptp(returns), _OF_SIZE * np.abs(returns).max()):
        return np.ones(len(scores))
    result: np.ndarray = (scores - scores.min()) / np.ptp(scores)
    return result


def _finite_returns(dataset: Dataset) -> np.ndarray:
    require_labels(dataset, "rewards", by="a weight by returns")
    returns = dataset.returns
    wrong = np.flatnonzero(~np.isfinite(returns))
    if len(wrong):
        raise DatasetError(f"the return of episode {wrong[0]} is {returns[wrong[0]]}; repair or leave out that episode")
    return returns


def _value_of_first_observation(dataset: Dataset, returns: np.ndarray) -> np.ndarray:
    """V(s_0) of every episode: the projection of the returns on first observations and a constant."""
    if not len(returns):
        return returns
    reader = StepReader(dataset)
    columns = []
    for name in reader.leaves("observations"):
        column = dataset.column(name)
        if column.dtype.kind not in "fiub":
            raise DatasetError(f"column {name} holds {column.dtype}, which the returns cannot be regressed on")
        first = column[dataset.episode_starts + np.arange(dataset.total_episodes)]
        wrong = np.argwhere(~np.isfinite(first))
        if len(wrong):
            raise DatasetError(f"column {name} is {first[tuple(wrong[0])]} at episode {wrong[0][0]}, step 0")
        columns.append(first.reshape(len(first), -1).astype(np.float64))
    states = np.concatenate(columns, axis=1)
    # centred and scaled: the same projection, but no column is lost to the solver's cutoff for being small
    states = states - states.mean(0)
    spread = states.std(0)
    states = states[:, spread > 0] / spread[spread > 0]
    centre = returns.mean()
    coefficients = np.linalg.lstsq(states, returns - centre, rcond=None)[0]
    result: np.ndarray = centre + states @ coefficients
    return result
