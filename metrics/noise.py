"""Stochasticity of transitions and rewards: the share of an outcome that state and action do not determine.

The Gamma test (Stefansson, Koncar and Jones 1997, "A note on the Gamma test"; consistency: Evans and Jones 2002). With
x a row [state, action], y an outcome, and N_p(i) the p-th nearest neighbour of i, for p = 1 ... k (k = 10):

    delta(p) = mean_i |x_i - x_{N_p(i)}|^2          gamma(p) = 1/2 mean_i (y_i - y_{N_p(i)})^2
    noise    = intercept of the least-squares line of gamma on delta          ratio = noise / var(y)

The intercept is the variance of y that remains when neighbours come arbitrarily close. This is the noise, if the rest
of y is a smooth function of x. A plain variance among neighbours would also count how far they are apart; the line
removes most of that. The ratio is averaged over outcome columns that vary: the change of each observation column in a
step, or the reward.

About 0: the outcome is deterministic given the observation. 1: state and action say nothing about it. Estimates may lie
a little outside. High: one sample of an outcome says little, optimistic planning and filtering by return mistake luck
for skill, and quantile or ensemble critics help. Noise that a corruption added shows up here, and so does hidden state.
In many dimensions and few steps, neighbours are far apart and the line is an extrapolation: discontinuous dynamics
(contacts) then count as noise.

If all neighbours are equally far, as when all rows repeat, there is no line, and the mean of gamma is taken.
"""

from __future__ import annotations

import numpy as np

from assay.metrics.estimates import Estimate, leaving_out
from assay.metrics.measures import Basis, Measure, Measures, NotMeasurable, register_group
from assay.metrics.neighbours import (
    STATE_ACTION_NEIGHBOURS,
    Neighbours,
    Scaling,
    StepSample,
    nearest,
    some_of,
    state_action_neighbours,
    state_action_rows,
    the_sample,
)

__all__ = ["noise_ratio"]


def noise_ratio(inputs: np.ndarray, outputs: np.ndarray, k: int = STATE_ACTION_NEIGHBOURS) -> float:
    """Return the share of the outputs' variance that the inputs do not determine.

    Parameters
    ----------
    inputs : (n, D) floats, finite
        On one scale; `state_action_rows` makes them.
    outputs : (n, C) floats, finite
    k : int
        Neighbours.

    Returns
    -------
    float
        About 0 to 1.

    Raises
    ------
    NotMeasurable
        If there are fewer than three rows, or no output varies.

    Examples
    --------
    >>> x = np.random.default_rng(0).uniform(0, 3, (500, 1))
    >>> abs(noise_ratio(x, np.sin(x))) < 0.01
    True
    """
    inputs, outputs = np.asarray(inputs, np.float64), np.asarray(outputs, np.float64)
    return _ratio(nearest(inputs, k), outputs, np.zeros(len(inputs), np.int64)).value


def _ratio(neighbours: Neighbours, outputs: np.ndarray, blocks: np.ndarray) -> Estimate:
    if len(outputs) < 3:
        raise NotMeasurable(f"noise is seen among neighbours of at least three rows, not {len(outputs)}")
    scaling = Scaling.of(outputs)
    if scaling.constant.all():
        raise NotMeasurable("the outcome is the same at every step: nothing varies")
    scaled = scaling(outputs)[:, ~scaling.constant]
    deltas = neighbours.distances**2
    gammas = np.stack(  # of unit variance: the mean over columns of the ratios is the ratio of the means
        [
            ((scaled[neighbours.queries] - scaled[neighbours.rows[:, p]]) ** 2).mean(1) / 2
            for p in range(deltas.shape[1])
        ],
        axis=1,
    )
    of_queries, of_neighbours = blocks[neighbours.queries][:, None], blocks[neighbours.rows]

    def intercept(block: int | None) -> float:
        keep = np.ones(deltas.shape) if block is None else (of_queries != block) & (of_neighbours != block)
        counts = keep.sum(0)
        if not counts.all():
            return float("nan")
        return _intercept((deltas * keep).sum(0) / counts, (gammas * keep).sum(0) / counts)

    return leaving_out(intercept, blocks)


def _intercept(deltas: np.ndarray, gammas: np.ndarray) -> float:
    centred = deltas - deltas.mean()
    spread = (centred**2).sum()
    slope = (centred * gammas).sum() / spread if spread > 1e-12 * (deltas**2).sum() else 0.0
    return float(gammas.mean() - slope * deltas.mean())


# -------------------------------------------------------------------- for the table


@register_group("noise", order=130, of_steps=True)
def measures(basis: Basis) -> Measures:
    """Return `transition_noise` and `reward_noise`."""

    def usable() -> tuple[StepSample, Neighbours]:
        def find() -> tuple[StepSample, Neighbours]:
            sample = the_sample(basis)
            known = np.flatnonzero(np.isin(sample.steps, basis.dataset.usable_steps, assume_unique=True))
            if len(known) == len(sample):
                return sample, state_action_neighbours(basis)
            sample = sample.take(known)  # steps whose next observation was recorded
            return sample, nearest(state_action_rows(sample), STATE_ACTION_NEIGHBOURS, some_of(len(sample)))

        return basis.cache("usable neighbours", find)

    def measure(sample: StepSample, neighbours: Neighbours, outputs: np.ndarray, what: str) -> Measure:
        value, interval = _ratio(neighbours, outputs, sample.blocks)
        source = f"Gamma test, Stefansson et al. 1997, k={STATE_ACTION_NEIGHBOURS}, {what}; {sample.note}"
        return Measure(value, "fraction of variance", source, interval)

    def of_transitions() -> Measure:
        sample, neighbours = usable()
        change = sample.numbers("next_observations") - sample.numbers("observations")
        return measure(sample, neighbours, change, "change of the observation given (s, a)")

    def of_rewards() -> Measure:
        sample, neighbours = usable()
        return measure(sample, neighbours, sample.numbers("rewards"), "reward given (s, a)")

    return {"transition_noise": of_transitions, "reward_noise": of_rewards}
