"""The best path through a dataset, on tabular MDPs whose best path is known by hand or by searching all paths."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.datasets import Dataset
from assay.datasets.errors import ConfigError, DatasetError
from assay.metrics import Grid, assess, stitched_return

Episode = tuple[list[int], list[float], str]


def make(*episodes: Episode, actions: list[int] | None = None) -> Dataset:
    """Episodes of (states, rewards, end): t terminated, u truncated, - neither."""
    lengths = [len(rewards) for _, rewards, _ in episodes]
    steps = sum(lengths)
    last = np.cumsum(lengths) - 1
    terminations, truncations = np.zeros(steps, bool), np.zeros(steps, bool)
    for at, (_, _, end) in zip(last, episodes):
        terminations[at], truncations[at] = end == "t", end == "u"
    return Dataset.from_arrays(
        observations=np.concatenate([states for states, _, _ in episodes]),
        actions=np.zeros(steps, np.int64) if actions is None else np.array(actions),
        rewards=np.concatenate([rewards for _, rewards, _ in episodes]),
        terminations=terminations,
        truncations=truncations,
        episode_lengths=lengths,
    )


GRID = Grid(("observations", "actions"), (np.arange(20.0), np.arange(5.0)))


def by_search(episodes: tuple[Episode, ...], horizon: int) -> float:
    """All paths, one after the other."""
    edges: dict[int, list[tuple[float, int | None]]] = {}
    for states, rewards, end in episodes:
        for i, reward in enumerate(rewards):
            ends = end == "t" and i == len(rewards) - 1
            edges.setdefault(states[i], []).append((reward, None if ends else states[i + 1]))

    def best(state: int | None, left: int) -> float:
        if state is None or left == 0:
            return 0.0
        return max((reward + best(follows, left - 1) for reward, follows in edges.get(state, [])), default=-np.inf)

    starts = max(best(states[0], horizon) for states, _, _ in episodes)
    return max(starts, max(sum(rewards) for _, rewards, _ in episodes))


def test_two_episodes_that_meet_are_joined() -> None:
    dataset = make(([0, 1, 9], [0.0, 10.0], "t"), ([2, 1, 9], [5.0, 0.0], "t"))
    found = stitched_return(dataset, GRID)
    assert (found.best, found.mean) == (15.0, 12.5)
    assert dataset.returns.max() == 10.0


def test_a_chain_of_three_episodes_and_a_detour_that_pays() -> None:
    dataset = make(
        ([0, 1, 2, 3], [1.0, 1.0, 1.0], "t"),
        ([5, 1, 6, 7], [0.0, 20.0, 0.0], "t"),
        ([8, 6, 9], [0.0, 100.0], "t"),
    )
    assert stitched_return(dataset, GRID).best == 121.0  # 0, 1, 6, end


def test_episodes_that_never_meet_are_worth_what_they_are() -> None:
    dataset = make(([0, 1, 2], [1.0, 2.0], "t"), ([3, 4, 5], [7.0, 1.0], "t"))
    found = stitched_return(dataset, GRID)
    assert (found.best, found.mean, found.crossings) == (8.0, 5.5, 0)


def test_running_in_circles_ends_at_the_horizon() -> None:
    dataset = make(([0, 1, 0, 2], [1.0, 1.0, 0.0], "t"))
    assert stitched_return(dataset, GRID).best == 3.0
    assert stitched_return(dataset, GRID, horizon=50).best == 50.0


def test_costs_cannot_be_avoided_by_ending_where_an_episode_was_cut_off() -> None:
    dataset = make(([0, 1, 2, 3, 4], [-1.0] * 4, "u"), ([5, 0, 3, 6, 7], [-1.0] * 4, "u"))
    assert stitched_return(dataset, GRID).best == -4.0
    assert stitched_return(make(([0, 1, 2], [-1.0, -1.0], "-")), GRID).best == -2.0


def test_an_unknown_final_state_leads_nowhere() -> None:
    made = make(([0, 1, 1], [1.0, 5.0], "u"), ([1, 2, 3, 4, 5], [0.0] * 4, "t"))
    loop = stitched_return(made, GRID)
    assert loop.best == 20.0  # the state repeats itself: 4 x 5
    columns = {name: made.column(name) for name in made.columns}
    unknown = Dataset(columns, made.episode_lengths, episode_columns={"final_observation": np.array([False, True])})
    assert stitched_return(unknown, GRID).best == 6.0


def test_the_mean_over_outcomes_removes_luck() -> None:
    lucky = make(([0, 1], [10.0], "t"), ([0, 2], [0.0], "t"), ([0, 3], [6.0], "t"), actions=[0, 0, 1])
    assert stitched_return(lucky, GRID).best == 10.0
    assert stitched_return(lucky, GRID, outcomes="mean").mean == 6.0  # action 0 is worth 5


episodes = st.lists(
    st.tuples(
        st.lists(st.integers(0, 5), min_size=5, max_size=5), st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=4),
        st.sampled_from("tu-"),
    ).map(lambda item: (item[0][: len(item[1]) + 1], item[1], item[2])),
    min_size=1, max_size=4,
)  # fmt: skip


@given(episodes)
@settings(max_examples=150, deadline=None)
def test_value_iteration_finds_what_searching_all_paths_finds(drawn: list[Episode]) -> None:
    dataset = make(*drawn)
    horizon = max(len(rewards) for _, rewards, _ in drawn)
    found = stitched_return(dataset, GRID)
    assert found.best == by_search(tuple(drawn), horizon)
    assert found.best >= dataset.returns.max()
    assert found.mean >= dataset.returns.mean()
    backwards = stitched_return(make(*drawn[::-1]), GRID)
    assert (found.best, found.cells, found.crossings) == (backwards.best, backwards.cells, backwards.crossings)
    assert found.mean == pytest.approx(backwards.mean)


def test_stored_next_observations_are_followed() -> None:
    dataset = make(([0, 1, 9], [0.0, 10.0], "t"), ([2, 3, 9], [5.0, 0.0], "t"))
    assert stitched_return(dataset, GRID).best == 10.0
    assert stitched_return(dataset.replace({"next_observations": np.array([1, 9, 1, 9])}), GRID).best == 15.0


def test_the_table_says_that_it_is_an_upper_estimate() -> None:
    dataset = make(([0, 1, -1], [0.0, 10.0], "t"), ([2, 1, -1], [5.0, 0.0], "t"))
    table = assess(dataset, select=["stitching"])
    assert table["value"].to_list() == [15.0, 12.5]
    assert all("upper estimate" in source for source in table["source"])


def test_nonsense_is_refused() -> None:
    dataset = make(([0, 1], [1.0], "t"))
    assert stitched_return(dataset).best == 1.0  # one step, constant columns
    with pytest.raises(ConfigError, match="horizon=0"):
        stitched_return(dataset, horizon=0)
    with pytest.raises(ConfigError, match="known are best and mean"):
        stitched_return(dataset, outcomes="worst")  # type: ignore[arg-type]
    with pytest.raises(DatasetError, match="no episodes"):
        stitched_return(dataset.select([]))
    with pytest.raises(DatasetError, match="observations is nan"):
        stitched_return(dataset.replace({"observations": np.array([np.nan, 0.0])}))
    with pytest.raises(DatasetError, match="return of episode 0"):
        stitched_return(dataset.replace({"rewards": np.array([np.inf])}))
