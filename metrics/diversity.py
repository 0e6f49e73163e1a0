"""How different the episodes of a dataset are from each other.

Each of E episodes is summarized by the mean and the standard deviation (ddof 0) of every column of [state, action] over
its steps, in units of the column's standard deviation over all steps; z_i, 2 D numbers.

    diversity = mean_{i<j} |z_i - z_j| / sqrt(2 D)

It is 0 if all episodes look alike on average, as those of one policy from one start do, and around 1 if episodes differ
as much as steps do, each in a place of its own. It has no upper limit but is rarely above 1.5. High: the dataset mixes
many policies, tasks or starts, as replay and play data do, and weighting or filtering by trajectory has a choice. Low:
it has no choice, however widely single steps spread. The measure is ours; distances between summarized trajectories are
common in quality-diversity work.

The order within an episode and constant columns do not matter. A discrete action is one 0/1 column per value that
occurs in the sampled steps.
"""

from __future__ import annotations

import numpy as np

from assay.datasets.dataset import Dataset
from assay.metrics.estimates import Estimate, jackknife
from assay.metrics.measures import Basis, Measure, Measures, NotMeasurable, register_group
from assay.metrics.neighbours import Scaling, StepSample, discrete_actions, one_hot

__all__ = ["episode_diversity"]

EPISODES = 1_000
STEPS = 200_000


def episode_diversity(summaries: np.ndarray) -> float:
    """Return the mean distance between pairs of rows, divided by the root of the number of columns.

    Parameters
    ----------
    summaries : (E, C) floats, finite
        One row per episode, on one scale.

    Returns
    -------
    float
        Non-negative.

    Raises
    ------
    NotMeasurable
        If there are fewer than two rows.

    Examples
    --------
    >>> episode_diversity(np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]]))  # distances 1, 1 and 2
    1.3333333333333333
    """
    return _estimate(np.asarray(summaries, np.float64)).value


def _estimate(summaries: np.ndarray) -> Estimate:
    from scipy.spatial.distance import pdist, squareform

    episodes, columns = summaries.shape
    if episodes < 2 or not columns:
        raise NotMeasurable("diversity needs at least two episodes and a column that varies")
    distances = squareform(pdist(summaries)) / np.sqrt(columns)
    total, each = distances.sum() / 2, distances.sum(1)
    value = float(total / (episodes * (episodes - 1) / 2))
    if episodes < 3:
        return Estimate(value, None)
    without = (total - each) / ((episodes - 1) * (episodes - 2) / 2)
    return jackknife(value, without, np.ones(episodes, np.int64))


# -------------------------------------------------------------------- for the table


@register_group("diversity", order=110)
def measures(basis: Basis) -> Measures:
    """Return `episode_diversity`."""

    def diversity() -> Measure:
        sample, note = _some_episodes(basis.dataset, basis.seed)
        value, interval = _estimate(_summaries(sample))
        return Measure(value, "standard deviations", f"mean distance between episode summaries; {note}", interval)

    return {"episode_diversity": diversity}


def _some_episodes(dataset: Dataset, seed: int) -> tuple[StepSample, str]:
    """Return the steps of some episodes (evenly spaced ones of long episodes), and a note that says which they are."""
    lengths = dataset.episode_lengths
    episodes = np.flatnonzero(lengths)
    note = f"all {len(episodes):,} episodes"
    if len(episodes) > EPISODES:
        generator = np.random.Generator(np.random.PCG64(seed))
        note = f"{EPISODES:,} of {len(episodes):,} episodes, seed {seed}"
        episodes = np.sort(generator.choice(episodes, EPISODES, replace=False))
    if not len(episodes):
        raise NotMeasurable("there are no steps")
    most = max(1, STEPS // len(episodes))
    counts = np.minimum(lengths[episodes], most)
    if (counts < lengths[episodes]).any():
        note += f", at most {most:,} steps of each"
    of = np.repeat(np.arange(len(episodes)), counts)
    place = np.arange(len(of)) - (np.cumsum(counts) - counts)[of]
    steps = dataset.episode_starts[episodes][of] + place * lengths[episodes][of] // counts[of]
    return StepSample(dataset, steps, of, seed), note


def _summaries(sample: StepSample) -> np.ndarray:
    """Return means and deviations of the columns that vary, episode by episode; the blocks are the episodes."""
    actions = sample.numbers("actions")
    if discrete_actions(sample.dataset):
        actions = one_hot(actions, np.unique(actions))
    rows = np.hstack([sample.numbers("observations"), actions])
    scaling = Scaling.of(rows)
    rows = scaling(rows)[:, ~scaling.constant]
    starts = np.flatnonzero(np.diff(sample.blocks, prepend=-1))
    counts = np.diff(np.append(starts, len(rows)))[:, None]
    means = np.add.reduceat(rows, starts, axis=0) / counts
    deviations = np.sqrt(np.add.reduceat((rows - means[sample.blocks]) ** 2, starts, axis=0) / counts)
    return np.hstack([means, deviations])
