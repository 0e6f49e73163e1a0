"""Smoothness of trajectories: autocorrelation, and jumps that stand out.

Over pairs of consecutive steps t, t + 1 of one episode, x a column of states, of actions, or the rewards:

    autocorrelation = mean over columns that vary of the correlation of x_t and x_{t+1}
    jump            J_t = root mean square over columns of (x_{t+1} - x_t) / std(x)
    discontinuities = share of pairs with J_t > 0 and log J_t > Q3 + 3 (Q3 - Q1), Q of the logarithms of positive jumps

Autocorrelation is between -1 and 1 (Pearson's, over all pairs: slow drifts between episodes count). High for states:
many steps hold little more information than few; collect more steps, or skip frames. Near 1 for actions: smooth
control, as of a trained policy or a person; near 0: independent noise in every step, as of a random policy; negative:
chattering.

Discontinuities are Tukey's "far out" points (1977) of the logarithms of the jumps. No unit and no distribution is
assumed; a normal distribution has a share of 1e-6. Above 0, there are resets inside an episode, teleports, sensor
glitches, frames from another trajectory, or wrongly joined episodes. A corrupted observation counts twice, on the way
out and on the way back. If more than a quarter of the pairs jump, jumps are the rule and none is found. In data that
are smooth otherwise, contacts may count.
"""

from __future__ import annotations

import numpy as np

from assay.datasets.dataset import Dataset
from assay.metrics.estimates import BLOCKS, Estimate, blocks_of, jackknife, mean_by_blocks
from assay.metrics.measures import Basis, Measure, Measures, NotMeasurable, register_group
from assay.metrics.neighbours import Scaling, StepSample, discrete_actions, one_hot

__all__ = ["autocorrelation", "discontinuities"]


def autocorrelation(before: np.ndarray, after: np.ndarray) -> float:
    """Return the mean over columns of the correlation between rows and the rows that follow them.

    Parameters
    ----------
    before, after : (n, D) floats, finite

    Returns
    -------
    float
        -1 to 1.

    Raises
    ------
    NotMeasurable
        If no column varies both before and after.

    Examples
    --------
    >>> x = np.array([[1.0], [2.0], [3.0], [4.0]])
    >>> autocorrelation(x[:-1], x[1:]), autocorrelation(x, -x)
    (1.0, -1.0)
    """
    return _autocorrelation(before, after, np.zeros(len(before), np.int64)).value


def discontinuities(before: np.ndarray, after: np.ndarray) -> float:
    """Return the share of jumps that are far larger than the others.

    Parameters
    ----------
    before, after : (n, D) floats, finite

    Returns
    -------
    float
        0 to 1/4.

    Raises
    ------
    NotMeasurable
        If there are no pairs, or no column varies.

    Examples
    --------
    >>> x = np.array([[0.0], [1.0], [2.5], [3.5], [5.0], [99.0], [100.5], [101.5], [103.0]])
    >>> discontinuities(x[:-1], x[1:])
    0.125
    """
    return float(_jumps(before, after).mean())


def _autocorrelation(before: np.ndarray, after: np.ndarray, blocks: np.ndarray) -> Estimate:
    before, after = np.asarray(before, np.float64), np.asarray(after, np.float64)
    first, second = Scaling.of(before), Scaling.of(after)
    varying = ~(first.constant | second.constant)
    if not varying.any():
        raise NotMeasurable("no column varies from step to step")
    a, b = first(before)[:, varying], second(after)[:, varying]
    moments = np.stack([np.ones_like(a), a, b, a * a, b * b, a * b])
    membership = np.eye(BLOCKS)[blocks].T
    sums = membership @ moments  # [moment, block, column]
    sizes = sums[0, :, 0]
    some = sizes > 0
    value = _correlation(sums.sum(1))
    if some.sum() < 2:
        return Estimate(value, None)
    return jackknife(
        value, np.array([_correlation(sums.sum(1) - sums[:, i]) for i in np.flatnonzero(some)]), sizes[some]
    )


def _correlation(sums: np.ndarray) -> float:
    n, a, b, aa, bb, ab = sums
    variance = np.maximum((aa - a * a / n) * (bb - b * b / n), 0)
    some = variance > 1e-12 * n**2  # relative to columns whose overall variance is 1
    if not some.any():
        return float("nan")
    return float(np.clip((ab - a * b / n)[some] / np.sqrt(variance[some]), -1, 1).mean())


def _jumps(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    before, after = np.asarray(before, np.float64), np.asarray(after, np.float64)
    scaling = Scaling.of(np.concatenate([before, after]))
    if scaling.constant.all():
        raise NotMeasurable("no column varies from step to step")
    sizes = np.sqrt(((scaling(after) - scaling(before))[:, ~scaling.constant] ** 2).mean(1))
    jumped = sizes > 0
    found = np.zeros(len(sizes), bool)
    if jumped.any():
        logs = np.log(sizes[jumped])
        low, high = np.quantile(logs, (0.25, 0.75))
        found[jumped] = logs > high + 3 * (high - low) + 1e-9  # equal jumps differ by rounding
    return found


# -------------------------------------------------------------------- for the table


@register_group("smoothness", order=140, of_steps=True)
def measures(basis: Basis) -> Measures:
    """Return `autocorrelation_observations`, `..._actions`, `..._rewards` and `discontinuities`."""
    dataset = basis.dataset

    def pairs() -> tuple[StepSample, str]:
        return basis.cache("pairs", lambda: _pairs(dataset, basis.sample, basis.seed))

    def read(prefix: str) -> tuple[np.ndarray, np.ndarray]:
        def numbers() -> tuple[np.ndarray, np.ndarray]:
            sample, _ = pairs()
            following = StepSample(dataset, sample.steps + 1, sample.blocks, sample.seed)
            before, after = sample.numbers(prefix), following.numbers(prefix)
            if prefix == "actions" and discrete_actions(dataset):
                values = np.union1d(before, after)
                return one_hot(before, values), one_hot(after, values)
            return before, after

        return basis.cache(f"pairs of {prefix}", numbers)

    def correlation(prefix: str) -> Measure:
        value, interval = _autocorrelation(*read(prefix), pairs()[0].blocks).within(-1, 1)
        return Measure(value, "correlation", f"of {prefix} one step apart; {pairs()[1]}", interval)

    def jumps() -> Measure:
        found = _jumps(*read("observations")).astype(np.float64)
        value, interval = mean_by_blocks(found, pairs()[0].blocks).within(0, 1)
        source = f"jumps of the observation, far out by Tukey 1977; {pairs()[1]}"
        return Measure(value, "fraction of pairs", source, interval)

    return {
        "autocorrelation_observations": lambda: correlation("observations"),
        "autocorrelation_actions": lambda: correlation("actions"),
        "autocorrelation_rewards": lambda: correlation("rewards"),
        "discontinuities": jumps,
    }


def _pairs(dataset: Dataset, size: int, seed: int) -> tuple[StepSample, str]:
    """Return steps that are followed by another one of their episode, and a note that says which they are."""
    total = dataset.total_steps - int((dataset.episode_lengths > 0).sum())
    if total < 2:
        raise NotMeasurable("no two steps of an episode follow each other often enough")
    drawn = np.arange(total)
    note = f"all {total:,} pairs of steps"
    if total > size:
        generator = np.random.Generator(np.random.PCG64(seed))
        drawn = np.sort(generator.choice(total, size, replace=False, shuffle=False))
        note = f"{size:,} of {total:,} pairs of steps, seed {seed}"
    inner = np.maximum(dataset.episode_lengths - 1, 0)
    episodes = np.searchsorted(np.cumsum(inner), drawn, side="right")
    steps = dataset.episode_starts[episodes] + drawn - (np.cumsum(inner) - inner)[episodes]
    return StepSample(dataset, steps, blocks_of(dataset, steps), seed), note
