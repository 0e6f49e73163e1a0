"""Leaving one group out: what is lost without one operator, session or tag. The cheap form of values, a training per group and seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from assay.analysis.trials.result import TrialResult
from assay.analysis.trials.trial import trial
from assay.analysis.values.value import groups_of
from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError

__all__ = ["leave_one_out"]


def leave_one_out(
    dataset: Dataset,
    *,
    algorithm: Any,
    steps: int,
    by: str | Sequence[Any],
    seeds: int | Sequence[int] = 8,
    **further: Any,
) -> TrialResult:
    """Train without each group of episodes in turn, and compare with training on all of them.

    A trial with one variant per group: `"without NAME"` is worse where the group is worth having, and better where it harms.
    It takes a training per group and seed, where values by random subsets take hundreds, and it answers another
    question: what one group adds to all others. Two groups that hold the same are each worth nothing here.

    Parameters
    ----------
    dataset : Dataset
    algorithm : Algorithm or name
    steps : int
        Updates of each training.
    by : str or sequence
        Column of the episode table, such as `"tags/operator"`, or a label for every episode.
    seeds : int or sequence of int
        Training seeds; below 6 nothing can be shown, and several groups need more.
    **further
        As for `assay.trial`: evaluation, margin, runs, options, ...

    Returns
    -------
    TrialResult
        The error rate holds for all groups together (Holm).

    Raises
    ------
    ConfigError
        If there is one group only, or as for `assay.trial`.
    UnknownNameError
        If there is no such column.

    Examples
    --------
    >>> import assay, tempfile
    >>> from assay.baselines import BC, Evaluation
    >>> data = assay.load("pendulum/random", steps=600)
    >>> found = leave_one_out(data, algorithm=BC(hidden=(4,)), steps=2, by=["a", "b", "b"], seeds=2,
    ...     evaluation=Evaluation(episodes=1), runs=tempfile.mkdtemp(), workers=0)
    >>> found.variants, found.verdict["bc", "without a"]
    (('without a', 'without b'), 'undecided')
    """
    names, groups = groups_of(dataset, by)
    if len(names) < 2:
        raise ConfigError(f"all episodes belong to one group, {names[0]!r}; there is nothing to leave out")
    everything = set(range(dataset.total_episodes))
    without = {
        f"without {name}": dataset.select(sorted(everything.difference(group))) for name, group in zip(names, groups)
    }
    return trial(dataset, without, algorithms=algorithm, steps=steps, seeds=seeds, **further)
