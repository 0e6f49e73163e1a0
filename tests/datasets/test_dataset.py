"""The dataset: its layout, that it cannot change, and the laws of taking it apart and putting it together."""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import assay
from assay.datasets.dataset import Dataset, concatenate
from assay.datasets.errors import AssayWarning, DatasetError, UnknownNameError
from assay.datasets.formats import format_named
from assay.datasets.info import DatasetInfo, Record
from tests.datasets.dataset_strategies import assert_same_columns, clean_dataset, datasets

FAST = settings(max_examples=50, deadline=None)


def two_episodes(**changes: Any) -> Dataset:
    """Episode 0: s 0 1 2 3 in three steps, terminated; episode 1: s 10 11 12 in two steps, truncated."""
    columns: dict[str, Any] = {
        "observations": np.array([[0.0], [1], [2], [3], [10], [11], [12]]),
        "actions": np.arange(5),
        "rewards": np.array([1.0, 2, 3, 4, 5]),
        "terminations": np.array([False, False, True, False, False]),
        "truncations": np.array([False, False, False, False, True]),
    }
    return Dataset.from_arrays(**(columns | changes))


# -------------------------------------------------------------------- layout


def test_a_step_reads_its_observation_and_the_next_row_follows_it() -> None:
    dataset = two_episodes()
    assert (dataset.total_steps, dataset.total_episodes, len(dataset)) == (5, 2, 5)
    assert dataset.episode_lengths.tolist() == [3, 2]
    assert dataset.episode_starts.tolist() == [0, 3]
    assert dataset.episode_of_step.tolist() == [0, 0, 0, 1, 1]
    assert dataset.observation_rows.tolist() == [0, 1, 2, 4, 5]
    assert dataset.observations[dataset.observation_rows].ravel().tolist() == [0, 1, 2, 10, 11]
    assert dataset.next_observations.ravel().tolist() == [1, 2, 3, 11, 12]
    assert dataset.returns.tolist() == [6, 9]


@FAST
@given(dataset=datasets())
def test_the_layout_holds_for_any_structure(dataset: Dataset) -> None:
    steps, episodes = dataset.total_steps, dataset.total_episodes
    assert dataset.episode_lengths.sum() == steps
    for name in dataset.columns:
        is_observation = name.startswith("observations")
        assert len(dataset.column(name)) in ({steps + episodes} if is_observation else {steps, steps + episodes})
    for number, start in enumerate(dataset.episode_starts):
        assert dataset.observation_rows[start] == start + number
        length = dataset.episode_lengths[number]
        assert dataset.returns[number] == pytest.approx(
            dataset.rewards[start : start + length].astype(np.float64).sum(), rel=1e-4, abs=1e-4
        )


def test_nested_columns_are_dicts_and_tuples_become_indices() -> None:
    dataset = two_episodes(observations={"goal": np.zeros(7), "pair": (np.ones((7, 2)), np.zeros(7, bool))})
    names = ("observations/goal", "observations/pair/_index_0", "observations/pair/_index_1")
    assert tuple(name for name in dataset.columns if name.startswith("obs")) == names
    assert dataset.observations["pair"]["_index_0"].shape == (7, 2)
    assert dataset.next_observations["goal"].shape == (5,)


def test_episodes_can_be_given_one_by_one() -> None:
    whole = two_episodes()
    parts = [
        {
            "observations": whole.observations[first:last],
            **{name: whole.column(name)[start:end] for name in ("actions", "rewards", "terminations", "truncations")},
        }
        for first, last, start, end in ((0, 4, 0, 3), (4, 7, 3, 5))
    ]
    assert Dataset.from_episodes(parts) == whole


# -------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"observations": np.zeros((6, 1))}, "column observations has 6 rows; 5 steps in 2 episodes need 7"),
        ({"actions": np.zeros(4)}, "column actions has 4 rows; the dataset has 5 steps"),
        ({"rewards": np.zeros((5, 1))}, "column rewards must be flat"),
        ({"terminations": np.array([0.0, 0, 1, 0, 0])}, "column terminations must be flat booleans"),
        ({"actions": np.array([None] * 5)}, "column actions has dtype object"),
        ({"truncations": np.zeros(5, bool)}, r"the last step \(4\) has neither"),
        ({"episode_lengths": [3, 0, 2]}, "at least 1 step"),
        ({"columns": {"../x": np.zeros(5)}}, "'../x' is not a column name"),
        ({"columns": {"infos": np.zeros(5), "infos/x": np.zeros(5)}}, "column infos/x lies inside column infos"),
        ({"columns": {"weights": 1.0}}, "column weights is a single value"),
        ({"episode_columns": {"seed": np.zeros(3)}}, r"episode column seed has shape \(3,\)"),
        ({"episode_columns": {"length": np.zeros(2)}}, "episode column length is computed from the steps"),
    ],
)
def test_impossible_columns_are_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        two_episodes(**changes)


def test_a_missing_column_is_named() -> None:
    columns = {name: two_episodes().column(name) for name in two_episodes().columns if name != "terminations"}
    with pytest.raises(DatasetError, match="column terminations is missing"):
        Dataset(columns, [3, 2])
    columns |= {"terminations": two_episodes().terminations, "rewards/x": columns.pop("rewards")}
    with pytest.raises(DatasetError, match="column rewards/x: rewards cannot be nested"):
        Dataset(columns, [3, 2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"observations": np.zeros(4)}, "episode 1: column observations has 4 rows for 2 steps; expected 3"),
        ({"actions": np.zeros(3)}, "episode 1: column actions has 3 rows for 2 steps; expected 2"),
        ({"costs": np.zeros(2)}, "episode 1 and episode 0 differ in their columns: costs"),
        ({"terminations": None}, "episode 1 has no column terminations"),
    ],
)
def test_an_impossible_episode_is_refused_by_number_and_column(change: dict[str, Any], message: str) -> None:
    good = {
        "observations": np.zeros(3),
        "actions": np.zeros(2),
        "rewards": np.zeros(2),
        "terminations": np.array([False, True]),
        "truncations": np.zeros(2, bool),
    }
    bad = {key: value for key, value in (good | change).items() if value is not None}
    with pytest.raises(DatasetError, match=message):
        Dataset.from_episodes([good, bad])


def test_a_misspelt_column_is_answered_with_the_nearest_names() -> None:
    with pytest.raises(UnknownNameError, match="'reward'; did you mean 'rewards'"):
        two_episodes().column("reward")


# -------------------------------------------------------------------- immutability


def test_changing_the_source_arrays_afterwards_changes_nothing() -> None:
    observations, weights, seeds, lengths = np.zeros((7, 1)), np.ones(5), np.array([1, 2]), np.array([3, 2])
    dataset = two_episodes(
        observations={"x": observations},
        columns={"weights": weights},
        episode_columns={"seed": seeds},
        episode_lengths=lengths,
    )
    fingerprint = dataset.fingerprint
    for array in (observations, weights, seeds, lengths):
        array[:] = 77
    again = two_episodes(
        observations={"x": np.zeros((7, 1))},
        columns={"weights": np.ones(5)},
        episode_columns={"seed": np.array([1, 2])},
        episode_lengths=[3, 2],
    )
    assert again.fingerprint == fingerprint
    assert_same_columns(dataset, again)
    assert dataset.episode_columns["seed"].tolist() == [1, 2]


def test_nothing_of_a_dataset_can_be_assigned_or_written() -> None:
    dataset = two_episodes(episode_columns={"seed": np.arange(2)})
    for name in dataset.columns:
        with pytest.raises(ValueError, match="read-only"):
            dataset.column(name)[0] = 0
    for array in (dataset.episode_lengths, dataset.episode_columns["seed"]):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 5
    with pytest.raises(AttributeError, match="cannot be changed"):
        dataset.info = DatasetInfo()
    dataset.episode_columns.clear()  # type: ignore[attr-defined]
    assert "seed" in dataset.episode_columns


def test_replace_shares_every_other_column_and_leaves_the_original() -> None:
    dataset = two_episodes()
    changed = dataset.replace({"rewards": np.zeros(5), "costs": np.ones(5)})
    assert dataset.rewards.tolist() == [1, 2, 3, 4, 5]
    for name in ("observations", "actions", "terminations", "truncations"):
        assert np.shares_memory(changed.column(name), dataset.column(name))
    assert changed.replace({"costs": None, "rewards": dataset.rewards}) == dataset


def test_a_dataset_is_not_pickled() -> None:
    with pytest.raises(TypeError, match=r"assay.save"):
        pickle.dumps(two_episodes())


# -------------------------------------------------------------------- subsets


@FAST
@given(dataset=datasets(), data=st.data())
def test_select_takes_exactly_the_episodes_asked_for_in_that_order(dataset: Dataset, data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.integers(0, dataset.total_episodes - 1), max_size=6))
    part = dataset.select(chosen)
    assert part.episode_lengths.tolist() == dataset.episode_lengths[chosen].tolist()
    for position, episode in enumerate(chosen):
        for name in dataset.columns:
            one, other = dataset.column(name), part.column(name)
            extra = int(len(one) != dataset.total_steps)
            length = dataset.episode_lengths[episode] + extra
            first = dataset.episode_starts[episode] + extra * episode
            second = part.episode_starts[position] + extra * position
            assert one[first : first + length].tobytes() == other[second : second + length].tobytes()


@FAST
@given(dataset=datasets())
def test_selecting_all_episodes_or_joining_each_alone_gives_the_same_dataset(dataset: Dataset) -> None:
    episodes = range(dataset.total_episodes)
    assert dataset.select(list(episodes)) == dataset
    assert concatenate([dataset.select([episode]) for episode in episodes]) == dataset


@pytest.mark.filterwarnings("ignore:split")
@FAST
@given(dataset=datasets(max_length=4, max_episodes=12), share=st.floats(0, 1), seed=st.integers(0, 99))
def test_split_parts_are_disjoint_ordered_and_together_everything(dataset: Dataset, share: float, seed: int) -> None:
    numbered = Dataset(
        {name: dataset.column(name) for name in dataset.columns},
        dataset.episode_lengths,
        episode_columns={"number": np.arange(dataset.total_episodes)},
    )
    first, second = numbered.split([share, 1 - share], seed)
    numbers = [part.episode_columns["number"].tolist() for part in (first, second)]
    assert all(part == sorted(part) for part in numbers)
    assert sorted(numbers[0] + numbers[1]) == list(range(dataset.total_episodes))
    assert abs(len(numbers[0]) - share * dataset.total_episodes) <= 0.5
    assert numbered.split([share, 1 - share], seed)[0] == first


def test_a_part_that_is_left_without_an_episode_is_named_unless_its_share_is_zero() -> None:
    one = clean_dataset(steps=3, length=3)
    with pytest.warns(
        AssayWarning, match=r"split: 1 part of 2 without any of 1 episode: the share is too small \(0\.5\)"
    ):
        assert [part.total_episodes for part in one.split([0.5, 0.5])] == [0, 1]
    with warnings.catch_warnings(action="error"):
        assert [part.total_episodes for part in one.split([0.0, 1.0])] == [0, 1]


def test_another_seed_splits_differently() -> None:
    dataset = clean_dataset(steps=300, length=3)
    assert dataset.split([0.5, 0.5], 0)[0] != dataset.split([0.5, 0.5], 1)[0]


@FAST
@given(parts=st.integers(1, 4), dataset=datasets(max_length=6))
def test_concatenate_is_associative_and_adds_up(parts: int, dataset: Dataset) -> None:
    together = concatenate([dataset] * parts)
    assert together.total_steps == parts * dataset.total_steps
    assert concatenate([concatenate([dataset, dataset]), dataset]) == concatenate(
        [dataset, concatenate([dataset, dataset])]
    )


def test_concatenate_completes_the_columns_that_only_some_have() -> None:
    plain = two_episodes()
    extra = plain.replace(
        {"weights": np.full(5, 2.0), "corrupted/rewards": np.ones(5, bool), "next_observations": np.zeros((5, 1))}
    )
    joined = concatenate([plain, extra])
    assert joined.weights is not None
    assert joined.weights.tolist() == [1.0] * 5 + [2.0] * 5
    assert joined.masks["rewards"].tolist() == [False] * 5 + [True] * 5
    assert joined.next_observations.ravel().tolist() == [1, 2, 3, 11, 12, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda d: d.replace({"rewards": d.rewards.astype("f4")}), r"rewards is float32\[\] in dataset 1 but float64"),
        (lambda d: d.replace({"actions": np.zeros((5, 2), int)}), r"actions is int64\[2\] in dataset 1 but int64\[\]"),
        (lambda d: d.replace({"costs": np.zeros(5)}), "column costs is missing in dataset 0"),
    ],
)
def test_datasets_that_do_not_fit_are_not_joined(other: Callable[[Dataset], Dataset], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        concatenate([two_episodes(), other(two_episodes())])
    with pytest.raises(DatasetError, match="at least one"):
        concatenate([])


@pytest.mark.parametrize(
    ("episodes", "message"),
    [
        ([2], "episode 2 does not exist; there are 2"),
        ([-3], "episode -3 does not exist"),
        ([0.5], "integers or a bool mask"),
        ([[0]], "flat list or mask"),
        (np.array([True]), "the mask has 1 entries for 2 episodes"),
    ],
)
def test_episodes_that_do_not_exist_cannot_be_selected(episodes: Any, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        two_episodes().select(episodes)


def test_episodes_are_selected_by_number_mask_or_expression() -> None:
    dataset = two_episodes()
    expected = dataset.select([1])
    assert dataset.select([-1]) == expected
    assert dataset.select(np.array([False, True])) == expected
    assert dataset.select(pl.col("truncated")) == expected


def test_fractions_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(DatasetError, match="add up to 1"):
        two_episodes().split([0.5, 0.4])


# -------------------------------------------------------------------- identity


INGREDIENTS: dict[str, Callable[[], Dataset]] = {
    "a value": lambda: two_episodes(rewards=np.array([1.0, 2, 3, 4, 6])),
    "a sign of zero": lambda: two_episodes(observations=np.array([[-0.0], [1], [2], [3], [10], [11], [12]])),
    "a dtype": lambda: two_episodes(actions=np.arange(5, dtype=np.uint64)),
    "a shape": lambda: two_episodes(actions=np.arange(5)[:, None]),
    "a flag": lambda: two_episodes(terminations=np.zeros(5, bool), episode_lengths=[3, 2]),
    "another column": lambda: two_episodes(columns={"costs": np.zeros(5)}),
    "a column's name": lambda: two_episodes(columns={"cost": np.zeros(5)}),
    "the episodes": lambda: two_episodes(episode_lengths=[2, 3]),
    "an episode column": lambda: two_episodes(episode_columns={"seed": np.arange(2)}),
    "an episode column's values": lambda: two_episodes(episode_columns={"seed": np.arange(2) + 1}),
    "an episode column's kind": lambda: two_episodes(episode_columns={"seed": np.array(["0", "1"])}),
    "the order of episodes": lambda: two_episodes().select([1, 0]),
}


def test_the_fingerprint_changes_with_every_ingredient() -> None:
    fingerprints = {name: make().fingerprint for name, make in INGREDIENTS.items()}
    fingerprints["as it was"] = two_episodes().fingerprint
    assert len(set(fingerprints.values())) == len(fingerprints)


def test_the_fingerprint_depends_neither_on_history_nor_on_info_nor_on_memory_layout() -> None:
    dataset = two_episodes()
    record = Record("source", {"name": "x"})
    assert dataset.replace(info=DatasetInfo(id="other"), record=record) == dataset
    assert hash(dataset.replace(record=record)) == hash(dataset)
    fortran = np.asfortranarray(np.random.default_rng(0).normal(size=(7, 3)))
    assert two_episodes(observations=fortran) == two_episodes(observations=fortran.copy(order="C"))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(dataset=datasets())
def test_the_fingerprint_survives_the_store(dataset: Dataset, tmp_path: Path) -> None:
    store = format_named("assay")
    store.write(dataset, tmp_path / "stored", overwrite=True)
    again = store.read(tmp_path / "stored", verify=False)
    recomputed = Dataset(
        {name: np.array(again.column(name)) for name in again.columns},
        again.episode_lengths,
        episode_columns=again.episode_columns,
    )
    assert recomputed.fingerprint == dataset.fingerprint


# -------------------------------------------------------------------- views


def test_transitions_can_leave_out_every_step_whose_next_observation_was_never_recorded() -> None:
    dataset = two_episodes(episode_columns={"final_observation": np.array([True, False])})
    transitions = dataset.transitions(keep_terminal=False)
    assert transitions.steps.tolist() == [0, 1, 2, 3]
    assert transitions.next_observations.ravel().tolist() == [1, 2, 3, 11]
    assert len(two_episodes().transitions()) == 5
    stored = dataset.replace({"next_observations": np.zeros((5, 1))})
    assert stored.transitions(keep_terminal=False).steps.tolist() == [
        0,
        1,
        2,
        3,
    ]  # the mark decides, whatever a transform stored


@FAST
@given(dataset=datasets())
def test_transitions_are_contiguous_cast_floats_only_and_agree_with_the_columns(dataset: Dataset) -> None:
    assume(not isinstance(dataset.observations, dict) and not isinstance(dataset.actions, dict))
    transitions = dataset.transitions()
    assert len(transitions) == dataset.total_steps
    floating = np.issubdtype(dataset.observations.dtype, np.floating)
    assert transitions.observations.dtype == (np.float32 if floating else dataset.observations.dtype)
    assert transitions.observations.flags.c_contiguous
    np.testing.assert_array_equal(
        transitions.next_observations, dataset.next_observations.astype(transitions.observations.dtype)
    )
    np.testing.assert_array_equal(transitions.actions, dataset.actions.astype(transitions.actions.dtype))


def test_transitions_go_to_torch_with_their_weights() -> None:
    pytest.importorskip("torch")
    tensors = two_episodes(columns={"weights": np.arange(5.0)}).to_torch()
    assert tensors.next_observations.ravel().tolist() == [1, 2, 3, 11, 12]
    assert tensors.weights is not None
    assert tensors.weights.tolist() == [0, 1, 2, 3, 4]


def test_the_episodes_table_says_how_each_ended() -> None:
    table = two_episodes(episode_columns={"seed": np.array([5, 6])}).episodes
    assert table.to_dict(as_series=False) == {
        "episode": [0, 1],
        "start": [0, 3],
        "length": [3, 2],
        "return": [6.0, 9.0],
        "terminated": [True, False],
        "truncated": [False, True],
        "seed": [5, 6],
    }


@FAST
@given(dataset=datasets(max_length=8))
def test_any_dataset_can_be_seen_as_polars_and_pandas_frames(dataset: Dataset) -> None:
    frame = dataset.steps().collect()
    assert frame.height == dataset.total_steps
    assert frame["episode"].to_list() == dataset.episode_of_step.tolist()
    assert set(dataset.columns) < set(frame.columns)
    table = dataset.to_pandas()
    assert len(table) == dataset.total_steps
    np.testing.assert_array_equal(table["rewards"].to_numpy(), dataset.rewards)


def test_the_steps_frame_shows_where_each_step_starts() -> None:
    frame = two_episodes().steps().collect()
    assert frame["observations"].to_list() == [[0.0], [1.0], [2.0], [10.0], [11.0]]
    assert frame["step"].to_list() == [0, 1, 2, 0, 1]
    assert two_episodes().to_pandas()["observations_0"].tolist() == [0, 1, 2, 10, 11]


def test_an_empty_dataset_has_all_views() -> None:
    empty = two_episodes().select([])
    assert (empty.total_steps, empty.total_episodes, empty.returns.tolist()) == (0, 0, [])
    assert empty.episodes.height == empty.steps().collect().height == len(empty.transitions()) == 0
    assert concatenate([empty, two_episodes()]) == two_episodes()


def test_the_package_offers_the_dataset_by_its_name() -> None:
    assert assay.Dataset is Dataset
    assert "5 steps in 2 episodes" in repr(two_episodes())


# -------------------------------------------------------------------- tags, quantiles, returns to go


def tagged_dataset() -> Dataset:
    tags = {"tags/worse": np.array([True, False, True, False]), "tags/better": np.array([False, True, False, False])}
    return clean_dataset(24, episode_columns=tags)


def test_a_tag_selects_its_episodes() -> None:
    dataset = tagged_dataset()
    assert dataset.tags == ("better", "worse")
    assert dataset.select("worse") == dataset.select([0, 2])
    assert dataset.select(pl.col("tags/worse")) == dataset.select([0, 2])
    with pytest.raises(UnknownNameError, match="did you mean 'worse'"):
        dataset.select("wors")
    with pytest.raises(UnknownNameError, match="no episode of this dataset is tagged"):
        clean_dataset().select("worse")


def test_tags_survive_selection_saving_and_joining(tmp_path: Path) -> None:
    dataset = tagged_dataset()
    assay.save(dataset, tmp_path / "tagged")
    assert assay.load(tmp_path / "tagged").tagged("worse").tolist() == [True, False, True, False]
    assert dataset.select([2, 1]).tagged("worse").tolist() == [True, False]
    assert concatenate([dataset, dataset]).tagged("better").tolist() == [False, True, False, False] * 2


def test_a_split_by_tag_gives_each_tag_its_episodes() -> None:
    dataset = tagged_dataset()
    better, worse = dataset.split(by="tag")
    assert better == dataset.select([1])
    assert worse == dataset.select([0, 2])
    with pytest.raises(DatasetError, match="no episode of this dataset is tagged"):
        clean_dataset().split(by="tag")
    with pytest.raises(DatasetError, match="takes no fractions"):
        dataset.split([0.5, 0.5], by="tag")


@pytest.mark.filterwarnings("ignore:split")
@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(-3, 3), min_size=1, max_size=12), st.integers(1, 4))
def test_a_split_by_return_orders_the_parts_and_keeps_every_episode(returns: list[int], parts: int) -> None:
    dataset = Dataset.from_arrays(
        observations=np.zeros(2 * len(returns)),
        actions=np.arange(len(returns)),
        rewards=np.array(returns, float),
        terminations=np.ones(len(returns), bool),
        truncations=np.zeros(len(returns), bool),
    )
    split = dataset.split([1 / parts] * parts, by="return")
    assert np.concatenate([part.actions for part in split]).size == len(returns)
    assert sorted(np.concatenate([np.sort(part.returns) for part in split]).tolist()) == sorted(returns)
    joined = np.concatenate([np.sort(part.returns) for part in split])
    assert (np.diff(joined) >= 0).all()
    assert all((np.diff(part.actions) > 0).all() for part in split)
    sizes = [part.total_episodes for part in split]
    assert max(sizes) - min(sizes) <= 1


@settings(max_examples=60, deadline=None)
@given(datasets(extras=False), st.sampled_from([0.0, 0.5, 0.9, 1.0]))
def test_returns_to_go_satisfy_their_recursion_in_every_episode(dataset: Dataset, discount: float) -> None:
    to_go = dataset.returns_to_go(discount)
    lasts = dataset.episode_starts + dataset.episode_lengths - 1
    assert (to_go[lasts] == dataset.rewards[lasts]).all()
    inside = np.setdiff1d(np.arange(dataset.total_steps), lasts)
    assert (to_go[inside] == dataset.rewards[inside] + discount * to_go[inside + 1]).all()
    if discount == 1.0:
        np.testing.assert_allclose(to_go[dataset.episode_starts], dataset.returns, rtol=1e-9, atol=1e-9)


def test_an_expression_reads_only_what_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = clean_dataset(24, length=6)

    def refuse(self: Dataset) -> np.ndarray:
        raise AssertionError("returns were computed")

    monkeypatch.setattr(Dataset, "returns", property(refuse))
    assert dataset.select(pl.col("length") > 5).total_episodes == 4
    assert dataset.select(pl.col("episode").is_in([1, 3])).total_episodes == 2
    with pytest.raises(AssertionError, match="returns were computed"):
        dataset.select(pl.col("return") > 0)


def test_a_selection_from_a_store_reads_no_column_that_it_does_not_name(tmp_path: Path) -> None:
    """The files of all other columns are cut to nothing: whoever reads from their memory maps dies of SIGBUS."""
    program = """
import sys, polars, assay
from pathlib import Path
folder = Path(sys.argv[1])
dataset = assay.load(folder, verify=False)
for file in folder.glob("columns/**/*.npy"):
    if file.stem != "rewards":
        file.open("r+b").truncate(0)
part = dataset.select(polars.col("return") > 1 - polars.col("return").max())
assert part.total_steps == 24 and part.rewards.sum() == dataset.rewards.sum()
if sys.argv[2] == "more":
    part.actions.sum()
"""
    for more, code in (("", 0), ("more", -signal.SIGBUS)):
        assay.save(clean_dataset(24, length=6), tmp_path / f"store{more}")
        command = [sys.executable, "-c", program, str(tmp_path / f"store{more}"), more]
        run = subprocess.run(command, capture_output=True, text=True)
        assert run.returncode == code, run.stderr


def test_a_selection_may_be_a_series_or_a_pattern_and_a_misspelt_column_is_named() -> None:
    dataset = clean_dataset(24, length=6).replace(episode_columns={"tags/a": np.array([True, False, True, False])})
    assert dataset.select(dataset.episodes["tags/a"]).total_episodes == 2
    assert dataset.select(dataset.episodes.filter(pl.col("tags/a"))["episode"]).total_episodes == 2
    assert dataset.select(pl.any_horizontal(pl.col("^tags/.*$"))).total_episodes == 2
    with pytest.raises(UnknownNameError, match="'lenght'; did you mean 'length'"):
        dataset.select(pl.col("lenght") > 5)


def test_consecutive_episodes_are_shared_not_copied() -> None:
    dataset = clean_dataset()
    part = dataset.select(range(2, 6))
    assert np.shares_memory(part.observations, dataset.observations)
    assert np.shares_memory(part.rewards, dataset.rewards)
    assert not np.shares_memory(dataset.select([2, 4]).rewards, dataset.rewards)


def test_a_termination_without_a_recorded_final_observation_is_kept_for_learners() -> None:
    dataset = Dataset.from_arrays(
        observations=np.array([0.0, 1.0, 1.0, 5.0, 6.0, 6.0]),
        actions=np.zeros(4),
        rewards=[0.0, 1.0, 0.0, 2.0],
        terminations=[False, True, False, False],
        truncations=[False, False, False, True],
        episode_columns={"final_observation": np.zeros(2, bool)},
    )
    assert dataset.transitions(keep_terminal=False).steps.tolist() == [0, 2]
    kept = dataset.transitions()
    assert kept.steps.tolist() == [0, 1, 2]  # the timeout stays out: what followed would be bootstrapped from
    assert kept.rewards.tolist() == [0.0, 1.0, 0.0]
    assert kept.terminations.tolist() == [False, True, False]


def test_replace_adds_and_removes_columns_of_the_episodes_table():
    dataset = clean_dataset(12, 6, episode_columns={"seed": np.arange(2), "policy": np.zeros(2)})
    changed = dataset.replace(episode_columns={"seed": np.array([5, 6]), "policy": None, "tags/good": np.ones(2, bool)})
    assert {name: values.tolist() for name, values in changed.episode_columns.items()} == {
        "seed": [5, 6],
        "tags/good": [True, True],
    }
    assert list(dataset.episode_columns) == ["seed", "policy"]
    assert np.shares_memory(changed.observations, dataset.observations)
