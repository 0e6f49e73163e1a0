"""The return of the best path through a dataset, if episodes could be joined where they meet.

States are put into the cells of a grid. Every step of the dataset is an edge from the cell it starts in to the cell it
leads to, with its reward::

    episode 0   A --0--> B --10--> end        best episode                     10
    episode 1   C --5--> B ---0--> end        best stitched path  C, B, end    15

The value of the best path of at most H steps follows by value iteration over this empirical MDP, backwards in time,

    V_0(s) = 0,    V_h(s) = max over edges (s, r, s') of r + V_(h-1)(s'),    V(end) = 0,

where `end` follows a termination. H is the length of the longest episode, so that a path cannot gain by running in
circles for longer than an episode lasts. A path goes on until a termination or for H steps. If no step starts in the
cell of the last state of a truncated or unfinished episode, only a path of H steps may end there; otherwise a path with
negative rewards would gain by stopping early. An observed episode is always a path.

It is an **upper estimate**, never a promise. States in one cell count as one state, so a coarse grid has many paths
that no policy can follow (with one cell, the result is H times the largest reward). Chance counts as choice, so lucky
transitions of a stochastic environment are picked. On a grid so fine that no two episodes meet, the result is the best
observed return. `outcomes="mean"` takes the mean over all steps with the same cell of states and of actions, which
removes the luck; a pair with an outcome from which no path goes on is then left out. Compare datasets on the same grid
(`Grid.from_spaces`, or one reference).

Far above the best observed return: methods with dynamic programming (CQL, IQL, TD3+BC) can find more than the data
shows. Equal to it: there is nothing to stitch, and imitation of the best episodes is enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError
from assay.metrics.grid import Grid, has_bins
from assay.metrics.measures import Basis, Measure, Measures, NotMeasurable, register_group
from assay.metrics.returns import finite_returns, last_steps

__all__ = ["Stitched", "stitched_return"]


@dataclass(frozen=True)
class Stitched:
    """Returns of the best paths through a dataset.

    Parameters
    ----------
    best : float
        Return of the best path from any state that an episode starts in; with `outcomes="best"` at least the largest
        return.
    mean : float
        Mean over the episodes of the return of the best path from where they start; likewise at least the mean return.
    cells : int
        Distinct states on the grid.
    crossings : int
        Cells that two episodes or more visit; a path can change between episodes there.
    """

    best: float
    mean: float
    cells: int
    crossings: int


def stitched_return(
    dataset: Dataset,
    grid: Grid | None = None,
    *,
    bins: int = 100,
    horizon: int | None = None,
    outcomes: Literal["best", "mean"] = "best",
) -> Stitched:
    """Return the returns of the best paths through the states of a dataset, an upper estimate (see the module's text).

    Parameters
    ----------
    dataset : Dataset
    grid : Grid, optional
        Grid whose cells count as states; default `Grid.from_dataset(dataset, bins)`.
    bins : int
        Edges per column of the default grid.
    horizon : int, optional
        Longest path, in steps; default the length of the longest episode.
    outcomes : "best" or "mean"
        Whether a path chooses between observed transitions, or between pairs of a state and an action cell with the
        mean of their outcomes.

    Raises
    ------
    ConfigError
        If the horizon is not positive.
    DatasetError
        If there are no episodes, columns are not those of the grid, or numbers are not finite; with the place.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(  # the drawing in the module's text: A = 0, B = 1, C = 2, end = -1
    ...     observations=np.array([0, 1, -1, 2, 1, -1]), actions=np.zeros(4), rewards=[0.0, 10.0, 5.0, 0.0],
    ...     terminations=[False, True, False, True], truncations=np.zeros(4, bool))
    >>> stitched_return(dataset)
    Stitched(best=15.0, mean=12.5, cells=4, crossings=2)
    """
    observed = finite_returns(dataset)
    if horizon is not None and horizon < 1:
        raise ConfigError(f"horizon={horizon}: a path has at least one step")
    if outcomes not in ("best", "mean"):
        raise ConfigError(f"outcomes={outcomes!r}: known are best and mean")
    steps = int(dataset.episode_lengths.max()) if horizon is None else horizon
    grid = Grid.from_dataset(dataset, bins, parts=_parts(outcomes)) if grid is None else grid
    graph = _Graph(dataset, grid, outcomes)
    starts = graph.sources[dataset.episode_starts]
    from_start = graph.values(steps)[starts]
    # an observed episode that is shorter than the horizon is a path, too
    if outcomes == "best":
        shown = np.full(graph.cells, -np.inf)
        np.maximum.at(shown, starts, np.where(dataset.episode_lengths <= steps, observed, -np.inf))
        from_start = np.maximum(from_start, shown[starts])
    else:
        shown = np.bincount(starts, observed) / np.maximum(np.bincount(starts), 1)
        from_start = np.where(np.isfinite(from_start), from_start, shown[starts])
    return Stitched(float(from_start.max()), float(from_start.mean()), graph.cells, graph.crossings(dataset))


def _parts(outcomes: str) -> tuple[str, ...]:
    """Return what the cells of the default grid are made of: without the actions where no path asks for them."""
    return ("observations",) if outcomes == "best" else ("observations", "actions")


class _Graph:
    """The empirical MDP: its states are the cells by first visit, then the end, then a dead end."""

    def __init__(self, dataset: Dataset, grid: Grid, outcomes: str) -> None:
        steps = dataset.total_steps
        hashes = np.concatenate([*grid.states.hashes(dataset), *grid.states.hashes(dataset, following=True)])
        _, first, numbers = np.unique(hashes, return_index=True, return_inverse=True)
        rank = np.empty(len(first), np.int64)
        rank[np.argsort(first)] = np.arange(len(first))
        numbers = rank[numbers.ravel()]
        self.cells = len(first)
        self.sources, self.entered = numbers[:steps], numbers[steps:]
        self.end, self.unknown = self.cells, self.cells + 1
        targets = self.entered.copy()
        targets[last_steps(dataset)[~dataset.final_observations_known]] = self.unknown
        targets[dataset.terminations] = self.end
        rewards = np.asarray(dataset.rewards, np.float64)
        if outcomes == "best":
            choices = self.sources * (self.cells + 2) + targets
        else:
            actions = np.concatenate(list(grid.actions.hashes(dataset)))
            kinds, actions = np.unique(actions, return_inverse=True)
            choices = self.sources * len(kinds) + actions.ravel()
        order = np.argsort(choices, kind="stable")
        begins = _first_of_runs(choices[order])
        if outcomes == "best":  # keep the largest reward of equal edges
            self.rewards = np.maximum.reduceat(rewards[order], begins)
            self.targets = targets[order][begins]
            self.outcomes: np.ndarray | None = None
        else:
            self.rewards, self.targets, self.outcomes = rewards[order], targets[order], begins
            self.counts = np.diff(begins, append=steps)
        owners = self.sources[order][begins]
        self.choices = _first_of_runs(owners)
        self.owners = owners[self.choices]

    def values(self, horizon: int) -> np.ndarray:
        """Return V of every cell with `horizon` steps to go; -inf where no path lasts that long or ends."""
        value = np.zeros(self.cells + 2)
        for _ in range(horizon):
            worth = self.rewards + value[self.targets]
            if self.outcomes is not None:
                worth = np.add.reduceat(worth, self.outcomes) / self.counts
            after = np.full(self.cells + 2, -np.inf)
            after[self.owners] = np.maximum.reduceat(worth, self.choices)
            after[self.end] = 0.0
            if np.array_equal(after, value):
                break
            value = after
        return value

    def crossings(self, dataset: Dataset) -> int:
        """Count the cells that two episodes or more visit."""
        episodes = dataset.episode_of_step
        lasts = last_steps(dataset)
        cells = np.concatenate([self.sources, self.entered[lasts]])
        visits = np.unique(cells * np.int64(dataset.total_episodes) + np.concatenate([episodes, episodes[lasts]]))
        return int(np.count_nonzero(np.bincount(visits // dataset.total_episodes) > 1))


def _first_of_runs(values: np.ndarray) -> np.ndarray:
    """Return where each run of equal values begins."""
    return np.flatnonzero(np.append(True, values[1:] != values[:-1]))


# -------------------------------------------------------------------- for the table


@register_group("stitching", order=60)
def measures(basis: Basis) -> Measures:
    """Return `stitched_return_best` and `stitched_return_mean`."""
    dataset = basis.dataset
    bins = 100 if basis.bins is None else basis.bins

    def stitched() -> Stitched:
        if not has_bins(dataset, _parts("best")):
            raise NotMeasurable("a grid needs observations that are numbers")
        return basis.cache("stitched", lambda: stitched_return(dataset, bins=bins))

    def source(found: Stitched) -> str:
        share = found.cells / (dataset.total_steps + dataset.total_episodes)
        return (
            f"value iteration over {found.cells:,} state cells, {bins} edges a column; an upper estimate: "
            f"{share:.0%} of the states have a cell of their own, {found.crossings:,} are met by several episodes"
        )

    return {
        "stitched_return_best": lambda: Measure(stitched().best, "reward", source(stitched())),
        "stitched_return_mean": lambda: Measure(stitched().mean, "reward", source(stitched())),
    }
