"""Goals for data that have none: the state that an episode ends in was reached, so it can be what the episode was for.

What is observed becomes one part of the observation, and the goal, a state of the same kind, another, as goal-conditioned environments have
them (Plappert et al. 2018, arXiv 1802.09464)::

    observations                   s0 s1 s2 s3| s0 s1 s2
    observations/achieved_goal     s0 s1 s2 s3| s0 s1 s2
    observations/desired_goal      s3 s3 s3 s3| s2 s2 s2

This is the "final" strategy of hindsight experience replay (Andrychowicz et al. 2017, arXiv 1707.01495, section 3.3) with the identity for
the map from states to goals. Algorithms that draw goals anew in every batch start from it too.
"""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np

from assay.datasets.dataset import Dataset
from assay.datasets.editing.rename import Rename
from assay.datasets.environments.families.ogbench import published_environment
from assay.datasets.errors import ConfigError
from assay.datasets.transform import Transform, register

__all__ = ["HindsightGoals"]


@register("relabeling.hindsight_goals")
class HindsightGoals(Transform):
    """Observations of two parts, the state and a goal: the last state of the episode that is known.

    Parameters
    ----------
    environment : str, optional
        Id of the environment that policies are evaluated in from now on, whose observations have these parts. The default is OGBench's where
        the dataset has the name of one that it published, such as `pointmaze-medium-navigate-v0`, and none elsewhere: the one that the data
        was collected in does not show goals.

    Raises
    ------
    ConfigError
        When applied: if observations have parts already.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(5.0), actions=np.zeros(3), rewards=np.zeros(3),
    ...     terminations=[False, False, False], truncations=[False, True, True])
    >>> with_goals = HindsightGoals()(dataset)
    >>> with_goals.column("observations/desired_goal").tolist()
    [2.0, 2.0, 2.0, 4.0, 4.0]
    """

    environment: str | None = None

    def apply(self, dataset: Dataset) -> Dataset:  # noqa: D102
        if "observations" not in dataset.columns:
            raise ConfigError("observations have parts already; goals are given to data whose observation is one array")
        lengths = dataset.episode_lengths
        first = dataset.episode_starts + np.arange(dataset.total_episodes)  # rows of observations
        reached = dataset.column("observations")[first + lengths - 1 + dataset.final_observations_known]
        both = {"observations": lengths + 1, "next_observations": lengths}
        here = {name: rows for name, rows in both.items() if name in dataset.columns}
        parted = Rename(columns={name: f"{name}/achieved_goal" for name in here}).apply(dataset)
        goals = {f"{name}/desired_goal": np.repeat(reached, rows, axis=0) for name, rows in here.items()}
        names, units = (
            {
                **texts,
                **{goal: texts[state] for goal in goals if (state := goal.replace("desired", "achieved")) in texts},
            }
            for texts in (parted.info.names, parted.info.units)
        )
        environment = self.environment or published_environment(dataset.info.id)
        spec = None if environment is None else json.dumps({"id": environment})
        return parted.replace(goals, info=replace(parted.info, names=names, units=units, env_spec=spec))
