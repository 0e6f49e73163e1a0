"""Trim, drop, cut, split, merge and rename: recorded, replayed, and exact about what is left."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import assay
from assay.datasets import Dataset, DatasetInfo
from assay.datasets.editing.drop import DropEpisodes
from assay.datasets.editing.merge import MergeDatasets
from assay.datasets.editing.rename import Rename
from assay.datasets.editing.split import CutEpisodes, SplitPart
from assay.datasets.editing.trim import TrimEpisodes
from assay.datasets.errors import AssayError, ConfigError, DatasetError, UnknownNameError
from assay.datasets.signals import Signals
from assay.datasets.spaces import Box, Dict
from assay.datasets.transform import make_transform


def recordings(*episodes: list[float], **info: object) -> Dataset:
    """Make a dataset of episodes of one number; rewards number the steps."""
    lengths = [len(episode) for episode in episodes]
    ends = np.zeros(sum(lengths), bool)
    ends[np.cumsum(lengths) - 1] = True
    return Dataset.from_arrays(
        observations=np.concatenate([[*episode, episode[-1]] for episode in episodes]),
        actions=np.zeros(sum(lengths)),
        rewards=np.arange(sum(lengths), dtype=float),
        terminations=ends,
        truncations=np.zeros(sum(lengths), bool),
        columns={"time": np.concatenate([np.arange(n) * 0.5 for n in lengths])},
        info=DatasetInfo(**info),
    )


RESTING = recordings([0.0, 0, 0, 1, 2, 2, 3, 3, 3, 3], [0.0, 1, 2, 3], [5.0, 5, 5])


def test_trimming_leaves_the_motion_and_all_that_belongs_to_it() -> None:
    trimmed = TrimEpisodes()(RESTING)
    assert trimmed.episode_lengths.tolist() == [5, 4, 3]
    assert trimmed.rewards.tolist() == [2, 3, 4, 5, 6, 10, 11, 12, 13, 14, 15, 16]
    assert trimmed.observations[:6].tolist() == [0, 1, 2, 2, 3, 3]
    assert (trimmed.terminations[4], trimmed.truncations[4]) == (False, True)  # its true end was cut off
    assert trimmed.terminations[[8, 11]].all()
    head, tail = Signals(trimmed).idle_ends()
    assert head.tolist()[:2] == tail.tolist()[:2] == [0, 0]


def test_one_end_and_a_margin_can_be_kept() -> None:
    assert TrimEpisodes(head=False)(RESTING).episode_lengths.tolist() == [7, 4, 3]
    assert TrimEpisodes(tail=False)(RESTING).episode_lengths.tolist() == [8, 4, 3]
    assert TrimEpisodes(keep_seconds=0.5)(RESTING).episode_lengths.tolist() == [7, 4, 3]
    assert TrimEpisodes(keep_seconds=100)(RESTING).episode_lengths.tolist() == [10, 4, 3]


@given(
    st.lists(
        st.lists(st.sampled_from([0.0, 0.0, 1.0, -2.0]), min_size=1, max_size=12).map(lambda x: np.cumsum(x).tolist()),
        min_size=1,
        max_size=4,
    )
)
def test_what_trimming_leaves_is_a_run_of_the_steps_of_each_episode(episodes: list[list[float]]) -> None:
    dataset = recordings(*episodes)
    trimmed = TrimEpisodes()(dataset)
    assert trimmed.total_episodes == dataset.total_episodes
    start = 0
    for episode, length in enumerate(trimmed.episode_lengths):
        steps = trimmed.rewards[start : start + length]
        first = dataset.episode_starts[episode]
        assert steps.tolist() == list(range(int(steps[0]), int(steps[0]) + length))
        assert first <= steps[0] <= steps[-1] < first + dataset.episode_lengths[episode]
        start += length


def test_dropping_is_by_number_tag_and_length() -> None:
    assert DropEpisodes(episodes=(0, 2))(RESTING).rewards.tolist() == [10, 11, 12, 13]
    assert DropEpisodes(shortest=4, longest=9)(RESTING).episode_lengths.tolist() == [4]
    tagged = make_transform("datasets.tag", {"tags": {"bad": [1]}})(RESTING)
    assert DropEpisodes(tag="bad")(tagged).episode_lengths.tolist() == [10, 3]
    with pytest.raises(ConfigError, match="0 to 2"):
        DropEpisodes(episodes=(3,))(RESTING)
    with pytest.raises(ConfigError, match="keep at least one"):
        DropEpisodes(longest=1)(RESTING)


def test_episodes_are_cut_where_the_time_goes_back_or_leaps_or_where_one_says() -> None:
    time = RESTING.column("time").copy()
    time[4:10] -= 10
    time[12:14] += 3
    dataset = RESTING.replace({"time": time})
    assert CutEpisodes()(dataset).episode_lengths.tolist() == [4, 6, 4, 3]
    assert CutEpisodes(gap=3)(dataset).episode_lengths.tolist() == [4, 6, 2, 2, 3]
    assert CutEpisodes(back=False)(dataset).episode_lengths.tolist() == [10, 4, 3]
    cut = CutEpisodes(back=False, at={1: (1, 3)})(dataset)
    assert cut.episode_lengths.tolist() == [10, 1, 2, 1, 3]
    assert np.array_equal(cut.rewards, dataset.rewards)
    assert cut.truncations[10]
    for at in ({3: (1,)}, {0: (0,)}, {0: (10,)}):
        with pytest.raises(ConfigError, match="at: episode"):
            CutEpisodes(at=at)(dataset)


def test_parts_are_disjoint_and_together_everything() -> None:
    dataset = recordings(*[[float(i), float(i + 1)] for i in range(20)])
    parts = [SplitPart(fractions=(0.7, 0.2, 0.1), part=part, seed=3)(dataset) for part in range(3)]
    assert [part.total_episodes for part in parts] == [14, 4, 2]
    assert sorted(np.concatenate([part.rewards for part in parts])) == dataset.rewards.tolist()
    with pytest.raises(ConfigError, match="part 3"):
        SplitPart(fractions=(0.7, 0.2, 0.1), part=3)(dataset)


def test_datasets_of_one_robot_are_merged_and_others_are_refused(tmp_path: Path) -> None:
    names = {"observations": ("hip",)}
    first = recordings([0.0, 1.0], names=names, extra={"lerobot": {"fps": 2}})
    second = recordings([5.0, 6.0, 7.0], names=names, extra={"lerobot": {"fps": 2}})
    assay.save(second, tmp_path / "second")
    merged = MergeDatasets(others=(str(tmp_path / "second"),))(first)
    assert merged.episode_lengths.tolist() == [2, 3]
    assert merged.info.names == first.info.names
    assert [record.transform for record in merged.history] == ["datasets.merge"]
    for wrong, what in (
        (recordings([0.0, 1.0], names={"observations": ("knee",)}, extra={"lerobot": {"fps": 2}}), "hip"),
        (recordings([0.0, 1.0], names=names, extra={"lerobot": {"fps": 30}}), "datasets.resample"),
        (
            recordings(
                [0.0, 1.0], names=names, extra={"lerobot": {"fps": 2}}, action_space=Box((), "float64", -9.0, 9.0)
            ),
            "action space",
        ),
    ):
        with pytest.raises(DatasetError, match=what):
            MergeDatasets(others=(str(tmp_path / "second"),))(wrong)


def test_renaming_moves_columns_names_units_and_spaces() -> None:
    box = Box((), "float64", -9.0, 9.0)
    base = recordings([0.0, 1.0], observation_space=Dict({"a": box, "b": box}))
    dataset = base.replace(
        {"observations": None, "observations/a": base.observations, "observations/b": base.observations},
        info=replace(base.info, units={"observations/a": ("rad",)}),
    )
    renamed = Rename(columns={"observations/a": "observations/hip"}, names={"observations/hip": ("angle",)})(dataset)
    assert set(renamed.observations) == {"hip", "b"}
    assert renamed.info.units == {"observations/hip": ("rad",)}
    assert renamed.info.names == {"observations/hip": ("angle",)}
    assert renamed.info.observation_space == Dict({"hip": box, "b": box})
    assert renamed.validate().ok
    back = Rename(columns={"observations/hip": "observations/a"})(renamed)
    assert back == dataset
    with pytest.raises(UnknownNameError, match="observations/a"):
        Rename(columns={"observations/aa": "x"})(dataset)
    with pytest.raises(ConfigError, match="two columns"):
        Rename(columns={"observations/a": "observations/b"})(dataset)
    with pytest.raises(UnknownNameError):
        Rename(names={"observations/c": ("x",)})(dataset)


def test_a_part_without_an_episode_is_refused_and_the_others_are_not() -> None:
    one = RESTING[:1]
    with pytest.raises(
        ConfigError, match=r"part 0 of \[0\.5, 0\.5\] is empty: its share of 1 episode is less than half of one"
    ):
        SplitPart(fractions=(0.5, 0.5), part=0)(one)
    with warnings.catch_warnings(action="error"):
        assert SplitPart(fractions=(0.5, 0.5), part=1)(one).total_episodes == 1


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("datasets.trim", {"keep_seconds": 0.5}),
        ("datasets.drop", {"episodes": [1]}),
        ("datasets.cut", {"at": {0: [3]}}),
        ("datasets.split", {"fractions": [0.5, 0.5], "part": 1}),
        ("datasets.rename", {"names": {"observations": ["hip"]}}),
    ],
)
def test_every_edit_is_recorded_and_made_again_from_its_record(name: str, parameters: dict, tmp_path: Path) -> None:
    assay.save(RESTING, tmp_path / "source")
    source = assay.load(tmp_path / "source")
    edited = make_transform(name, parameters)(source)
    record = edited.history[-1]
    assert record.transform == name
    assay.save(edited, tmp_path / "edited")
    again = assay.load(tmp_path / "edited")
    assert again == edited
    assert make_transform(record.transform, again.history[-1].parameters)(source) == edited
    assert again.info.names == edited.info.names


def test_impossible_parameters_are_refused() -> None:
    for name, parameters in (
        ("datasets.trim", {"keep_seconds": -1}),
        ("datasets.cut", {"gap": 1.0}),
        ("datasets.merge", {"others": []}),
        ("datasets.drop", {"episodes": [True]}),
        ("datasets.trim", {"stat": "x"}),
    ):
        with pytest.raises(AssayError):
            make_transform(name, parameters)
