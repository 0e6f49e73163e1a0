"""Build new episodes from ranges of steps; every transform that changes where episodes begin and end does so.

::

    steps of a dataset     | 0 1 2 3 4 | 5 6 7 |
    firsts, lengths        (5, 3) (0, 2)                 a range lies inside one episode; in any order, repeated or not
    new episodes           | 5 6 7 | 0 1 |
    observations           s5 s6 s7 sT  s0 s1 s2         the true observation after the last step becomes the final one
    flags at its last step   as before    truncated      a range that stops inside its episode is truncated there
"""

from __future__ import annotations

import numpy as np

from assay.datasets.dataset import Dataset, is_under
from assay.datasets.memory import copy, take_ranges

__all__ = ["take_pieces"]

ORIGIN = "origin/episode"
ORIGIN_STEP = "origin/step"
TOUCHED_FINAL = "corrupted/final_observation"


def take_pieces(dataset: Dataset, firsts: np.ndarray, lengths: np.ndarray) -> Dataset:
    """Return the dataset whose episodes are ranges of steps, in the order given.

    Every column is taken along, masks, weights and the columns of the episodes table included. The episodes table gains
    `origin/episode` and `origin/step`: the episode and the step in it at which each range began. A dataset that has
    these two columns already keeps their meaning: they refer to the first dataset. Columns are shared, not copied, if
    the ranges follow one another without a gap.

    Where a range stops inside its episode:

    - its last step is truncated, unless it is a termination;
    - the observation of the next step becomes the final observation, and counts as recorded;
    - if the mask `corrupted/observations` marks that observation and the clean next observation is stored, the clean
      one is taken instead. Otherwise the episode column `corrupted/final_observation` marks it, because the step whose
      mask marked it is not part of the episode any more.

    Parameters
    ----------
    dataset : Dataset
    firsts : (K,) int64
        First step of each range.
    lengths : (K,) int64
        Steps of each range: at least 1, and not beyond the end of its episode.

    Returns
    -------
    Dataset
        Outside of a transform, recorded in the history as a change by hand.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(5.0), actions=np.zeros(4), rewards=np.arange(4.0),
    ...     terminations=np.arange(4) == 3, truncations=np.zeros(4, bool))
    >>> piece = take_pieces(dataset, np.array([1]), np.array([2]))
    >>> piece.observations.tolist(), piece.rewards.tolist(), piece.truncations.tolist()
    ([1.0, 2.0, 3.0], [1.0, 2.0], [False, True])
    """
    firsts, lengths = np.asarray(firsts, np.int64), np.asarray(lengths, np.int64)
    starts, total = dataset.episode_starts, dataset.total_steps
    of = np.searchsorted(starts, firsts, side="right") - 1
    cut = firsts + lengths < starts[of] + dataset.episode_lengths[of]
    columns = {
        name: take_ranges(array, firsts, lengths)
        if len(array) == total
        else take_ranges(array, firsts + of, lengths + 1)
        for name, array in ((name, dataset.column(name)) for name in dataset.columns)
    }
    lasts = np.cumsum(lengths) - 1
    if cut.any():
        truncations = copy(columns["truncations"])
        truncations[lasts[cut]] |= ~columns["terminations"][lasts[cut]]
        columns["truncations"] = truncations
    episode_columns = {name: array[of] for name, array in dataset.episode_columns.items()}
    if "final_observation" in episode_columns:
        episode_columns["final_observation"] = episode_columns["final_observation"].astype(bool) | cut
    before = dataset.episode_columns.get(ORIGIN_STEP, np.zeros(dataset.total_episodes, np.int64))
    episode_columns[ORIGIN_STEP] = before[of] + firsts - starts[of]
    episode_columns.setdefault(ORIGIN, of)
    disturbed = _finals_of_cut_pieces(dataset, columns, firsts, lengths, cut)
    if disturbed.any() or TOUCHED_FINAL in episode_columns:
        inherited = episode_columns.get(TOUCHED_FINAL, np.zeros(len(of), bool)) & ~cut
        episode_columns[TOUCHED_FINAL] = inherited | disturbed
    return dataset.replace(columns, episode_lengths=lengths, episode_columns=episode_columns)


def _finals_of_cut_pieces(
    dataset: Dataset, columns: dict[str, np.ndarray], firsts: np.ndarray, lengths: np.ndarray, cut: np.ndarray
) -> np.ndarray:
    """Replace corrupted final observations by clean stored ones where there are; return which stay corrupted."""
    disturbed = np.zeros(len(cut), bool)
    following = (firsts + lengths)[cut]  # the steps that the final observations belonged to
    masks, none = dataset.masks, np.zeros(len(following), bool)
    in_states = masks["states"][following] if "states" in masks else none
    in_observations = masks["observations"][following] if "observations" in masks else none
    mended = none
    if dataset.has_next_observations:
        in_dynamics = masks["dynamics"][following - 1] if "dynamics" in masks else none
        mended = in_observations & ~in_states & ~in_dynamics
    if mended.any():
        pieces = np.flatnonzero(cut)[mended]
        finals = (np.cumsum(lengths) + np.arange(len(lengths)))[pieces]
        for name in [name for name in columns if is_under(name, "observations")]:
            columns[name] = copy(columns[name])
            columns[name][finals] = dataset.column(f"next_{name}")[following[mended] - 1]
    disturbed[cut] = in_states | (in_observations & ~mended)
    return disturbed
