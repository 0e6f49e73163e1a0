"""The ways out of a dataset: episodes one by one, torch, a notebook's view, figures; and names wherever dimensions are told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from assay.datasets import Dataset, DatasetInfo
from assay.datasets.dimensions import check_names
from assay.datasets.episode import Episode
from assay.datasets.errors import ConfigError, DatasetError, MissingLabelsError, UnknownNameError
from tests.datasets.dataset_strategies import clean_dataset

NAMED = DatasetInfo(
    id="<b>arm</b>",
    names={"observations": ["lift", "turn", "grip"], "actions": ["up", "round"]},
    units={"observations": ["m", "rad", ""]},
)


def test_episodes_are_views_and_together_the_dataset() -> None:
    dataset = clean_dataset(episode_columns={"seed": np.arange(10), "final_observation": np.arange(10) != 4})
    episodes = list(dataset)
    assert len(episodes) == 10
    assert all(isinstance(episode, Episode) and len(episode) == 6 for episode in episodes)
    assert np.array_equal(np.concatenate([episode.observations for episode in episodes]), dataset.observations)
    assert np.array_equal(np.concatenate([episode.rewards for episode in episodes]), dataset.rewards)
    assert np.shares_memory(episodes[3].observations, dataset.observations)
    assert (episodes[4].table["seed"], episodes[4].table["final_observation"]) == (4, False)
    assert repr(dataset[-1]).startswith("<Episode 9: 6 steps, truncated, return ")
    assert dataset[-1].actions.tolist() == dataset[9].actions.tolist()
    again = Dataset.from_episodes([episode.columns for episode in episodes])
    assert np.array_equal(again.observations, dataset.observations)


def test_slices_and_masks_are_datasets() -> None:
    dataset = clean_dataset()
    assert dataset[2:4].fingerprint == dataset.select([2, 3]).fingerprint
    assert dataset[::-3].fingerprint == dataset.select([9, 6, 3, 0]).fingerprint
    assert dataset[dataset.returns > 0].total_episodes == (dataset.returns > 0).sum()
    for wrong in (10, -11):
        with pytest.raises(IndexError, match=f"episode {wrong} does not exist; there are 10"):
            dataset[wrong]
    with pytest.raises(TypeError, match="no array"):
        np.asarray(dataset)


def test_nested_episodes_have_nested_observations() -> None:
    dataset = Dataset.from_arrays(
        observations={"pose": np.zeros((3, 2)), "goal": np.arange(3)},
        terminations=[False, True],
        truncations=[False, False],
    )
    assert dataset[0].observations["goal"].tolist() == [0, 1, 2]
    assert "return" not in repr(dataset[0])
    with pytest.raises(KeyError, match="no column actions"):
        dataset[0].actions  # noqa: B018


# -------------------------------------------------------------------- torch


@pytest.mark.parametrize("workers", [0, 2])
def test_every_transition_comes_once_an_epoch_from_a_loader(workers: int) -> None:
    dataset = clean_dataset(rewards=np.arange(60.0))
    items = DataLoader(dataset.to_torch_dataset(), batch_size=7, shuffle=True, num_workers=workers)
    batches = DataLoader(dataset.to_torch_dataset(batch_size=7), batch_size=None, num_workers=workers)
    for loader in (items, batches):
        found = list(loader)
        assert len(found) == 9
        rewards = torch.cat([batch["rewards"] for batch in found])
        assert sorted(rewards.tolist()) == list(range(60))
        assert rewards.tolist() != list(range(60))
        assert found[0]["observations"].dtype == torch.float32
        assert found[0]["next_observations"].shape == (7, 3)


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    dataset = clean_dataset(rewards=np.arange(60.0))

    def order(seed: int, epoch: int = 0) -> list[float]:
        batches = dataset.to_torch_dataset(batch_size=16, seed=seed)
        batches.set_epoch(epoch)  # type: ignore[union-attr]
        return [reward for batch in batches for reward in batch["rewards"].tolist()]

    assert order(0) == order(0)
    assert order(0) != order(1)
    assert order(0) != order(0, 1)
    batches = dataset.to_torch_dataset(batch_size=16)
    first, second = ([r for batch in batches for r in batch["rewards"].tolist()] for _ in range(2))
    assert (first, second) == (order(0), order(0, 1))
    straight = dataset.to_torch_dataset(batch_size=16, shuffle=False)
    assert [r for batch in straight for r in batch["rewards"].tolist()] == list(range(60))


def test_an_item_can_be_written_to_without_touching_the_dataset() -> None:
    dataset = clean_dataset()
    items = dataset.to_torch_dataset()
    items[3]["observations"].zero_()
    assert np.array_equal(items.arrays["observations"], dataset.transitions().observations)
    with pytest.raises(IndexError, match="transition 60 does not exist; there are 60"):
        items[60]


@pytest.mark.parametrize(
    "options", [{"batch_size": 0}, {"batch_size": 2.5}, {"batch_size": True}, {"batch_size": 4, "seed": -1}]
)
def test_impossible_batches_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        clean_dataset().to_torch_dataset(**options)


@pytest.mark.parametrize("absent", [("rewards",), ("actions",), ("actions", "rewards")])
def test_demonstrations_have_items_without_the_labels_that_nobody_recorded(absent: tuple[str, ...]) -> None:
    whole = clean_dataset()
    bare = whole.replace(dict.fromkeys(absent))
    masked = whole.replace({f"missing/{name}": np.ones(60, bool) for name in absent})
    expected = {name: value for name, value in whole.to_torch_dataset()[7].items() if name not in absent}
    for dataset in (bare, masked):
        item = dataset.to_torch_dataset()[7]
        assert item.keys() == expected.keys()
        assert all(torch.equal(item[name], expected[name]) for name in expected)
        assert expected.keys() == next(iter(dataset.to_torch_dataset(batch_size=4))).keys()
    some = whole.replace({f"missing/{absent[0]}": np.arange(60) < 3})
    with pytest.raises(MissingLabelsError, match="labelled_only"):
        some.to_torch_dataset()


# -------------------------------------------------------------------- shown


def test_a_notebook_shows_the_facts_and_names_and_escapes_them() -> None:
    html = clean_dataset(info=NAMED)._repr_html_()
    assert "60 steps in 10 episodes" in html
    assert "lift (m), turn (rad), grip" in html
    assert "<b>" not in html
    assert "&lt;b&gt;arm" in html
    assert html.count("<svg") == 2
    bare = clean_dataset(rewards=np.full(60, np.nan)).select([])
    assert "0 steps in 0 episodes" in bare._repr_html_()
    assert "returns" not in clean_dataset().replace({"rewards": None})._repr_html_()


@pytest.mark.parametrize("kind", ["episodes", "trajectories", "projection", "observations", "actions"])
def test_a_dataset_draws_itself(kind: str) -> None:
    figure = clean_dataset(info=NAMED).plot(kind)
    texts = [text.get_text() for text in figure.texts]
    if kind == "observations":
        assert {"lift", "turn", "grip"} <= set(texts)
    assert figure.axes


def test_trajectories_without_returns_are_those_of_the_extreme_lengths() -> None:
    lengths = [5, 30, 12, 13]
    dataset = clean_dataset(info=NAMED)
    rows = dataset.observations[: 60 + len(lengths)]
    demonstrations = Dataset.from_arrays(
        observations=rows, actions=dataset.actions, episode_lengths=lengths, ends="truncated"
    )
    figure = demonstrations.plot("trajectories")
    texts = [text.get_text() for text in figure.texts]
    assert {"━ shortest: episode 0, steps 5", "━ median: episode 3, steps 13", "━ longest: episode 1, steps 30"} <= set(
        texts
    )
    assert not any("Reward" in text for text in texts)


def test_what_cannot_be_drawn_is_said() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'episodes'"):
        clean_dataset().plot("episode")
    with pytest.raises(DatasetError, match="nothing to draw as frames"):
        clean_dataset().plot("frames")
    with pytest.raises(DatasetError, match="without steps"):
        clean_dataset().select([]).plot()


# -------------------------------------------------------------------- names


def test_findings_name_the_dimension() -> None:
    observations = clean_dataset().observations.copy()
    observations[:, 1] = 2.0
    observations[5, 2] = np.nan
    messages = {
        item.check: item.message for item in clean_dataset(observations=observations, info=NAMED).validate().findings
    }
    assert messages["constant"] == "1 of 3 dimensions never change: turn (rad)"
    assert messages["finite"].endswith("the first in grip")


def test_names_that_do_not_fit_are_refused_where_they_are_given() -> None:
    check_names(clean_dataset(info=NAMED))
    with pytest.raises(DatasetError, match=r"info\.names has 3 texts for observations, whose rows have 4 numbers"):
        check_names(clean_dataset(info=NAMED, observations=np.zeros((70, 4))))
    with pytest.raises(UnknownNameError, match=r"unknown column of info\.names 'actions/x'"):
        check_names(clean_dataset(info=DatasetInfo(names={"actions/x": ["a"]})))
    for wrong in ("xyz", {"observations": "xyz"}, {"observations": [1]}, {"observations": 3}):
        with pytest.raises(DatasetError, match=r"info\.names must be a mapping of columns to lists of texts"):
            DatasetInfo(names=wrong)  # type: ignore[arg-type]


def test_names_are_kept_by_what_keeps_the_info() -> None:
    dataset = clean_dataset(info=NAMED)
    plain = dataset.info.to_plain()
    assert plain["names"]["actions"] == ["up", "round"]
    assert DatasetInfo.from_plain(plain) == dataset.info
    assert dataset.select([1]).info.names == dataset.info.names


# -------------------------------------------------------------------- time


@pytest.mark.parametrize(
    ("place", "value", "text"),
    [
        (15, 0.05, "come before the step before"),
        (15, 0.2, "are those of the step before"),
        (slice(15, 18), np.array([5.3, 5.4, 5.5]), "a gap in an episode"),
        (slice(None), None, "sampling is irregular; datasets.resample (rate"),
    ],
)
def test_faults_of_time_are_found_inside_episodes(place: Any, value: Any, text: str) -> None:
    time = np.tile(np.arange(6) * 0.1, 10)
    assert clean_dataset(time=time).validate().findings == ()
    time[place] = value if value is not None else time + 0.04 * (np.arange(60) % 2)
    found = [item for item in clean_dataset(time=time).validate().findings if item.check == "timestamps"]
    assert any(text in item.message for item in found), found
    assert all(item.severity == "warning" and item.column == "time" for item in found)


def test_a_recording_without_any_end_flag_is_a_warning_and_half_of_them_an_error() -> None:
    dataset = clean_dataset(truncations=np.zeros(60, bool))
    (finding,) = dataset.validate().findings
    assert (finding.check, finding.severity, finding.count) == ("episode end", "warning", 10)
    assert 'columns={"ends": "truncated"}' in finding.message
    assert dataset.validate().ok
    half = clean_dataset(truncations=np.arange(60) == 5)
    assert [item.severity for item in half.validate().findings] == ["error"]
