"""Structural corruption: what is lost, repeated, cut and joined; that columns and masks travel with their steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import assay
from assay.corruption import (
    DownsampleEpisodes,
    DropEpisodes,
    DuplicateEpisodes,
    FlipTerminations,
    MergeEpisodes,
    RandomCorruption,
    ReorderEpisodes,
    SegmentEpisodes,
    TruncateEpisodes,
)
from assay.corruption.shared.pieces import take_pieces
from assay.datasets import Dataset, Transform, concatenate
from assay.datasets.errors import ConfigError, DatasetError, UnknownNameError
from assay.datasets.generators import block_generator
from tests.datasets.dataset_strategies import clean_dataset, datasets

EVERY = (
    DropEpisodes(rate=0.4),
    DropEpisodes(rate=0.4, of="highest_return"),
    DuplicateEpisodes(rate=0.5),
    DuplicateEpisodes(rate=0.5, copies=2, place="beside"),
    ReorderEpisodes(rate=0.8),
    DownsampleEpisodes(0.4),
    DownsampleEpisodes(0.4, unit="steps"),
    TruncateEpisodes(rate=0.7),
    SegmentEpisodes(length=3),
    SegmentEpisodes(length=2, keep=0.5),
    MergeEpisodes(rate=0.5),
    FlipTerminations(rate=0.7),
    FlipTerminations(mode="inside", rate=0.2),
)
NAMES = [f"{item.name}-{number}" for number, item in enumerate(EVERY)]


def make(lengths: list[int], **changes: Any) -> Dataset:
    """Observations 100 e + t, actions and rewards that number the steps; odd episodes terminate, even ones are truncated."""
    steps, ends = sum(lengths), np.cumsum(lengths) - 1
    last = np.isin(np.arange(steps), ends)
    of = np.repeat(np.arange(len(lengths)), lengths)
    columns = {
        "observations": np.concatenate([100.0 * e + np.arange(n + 1) for e, n in enumerate(lengths)])[:, None],
        "actions": np.arange(steps, dtype=np.float32)[:, None],
        "rewards": np.arange(steps, dtype=np.float64),
        "terminations": last & (of % 2 == 1),
        "truncations": last & (of % 2 == 0),
    }
    episode_columns = changes.pop("episode_columns", None)
    return Dataset(columns | changes, lengths, episode_columns=episode_columns)


def rows(dataset: Dataset) -> list[tuple[float, float, float]]:
    """(s, r, s') of every step."""
    s = dataset.observations[dataset.observation_rows, 0]
    return list(zip(s.tolist(), dataset.rewards.tolist(), dataset.next_observations[:, 0].tolist()))


def apply(transform: Transform, dataset: Dataset) -> Dataset | None:
    """Apply it, or return None where no episode would be left."""
    try:
        return transform(dataset)
    except DatasetError as error:
        if "no episode would be left" not in str(error):
            raise
        return None


# -------------------------------------------------------------------- laws of all of them


@settings(max_examples=25, deadline=None)
@given(dataset=datasets(max_length=12), number=st.integers(0, len(EVERY) - 1))
def test_any_structure_is_taken_and_every_step_keeps_all_of_its_columns(dataset: Dataset, number: int) -> None:
    total = dataset.total_steps
    numbered = dataset.replace({"infos/number": np.arange(total), "corrupted/rewards": np.arange(total) % 3 == 0})
    variant = apply(EVERY[number], numbered)
    if variant is None:
        return
    of = variant.column("infos/number")
    changed = {"terminations", "truncations", "infos/number"}
    if isinstance(EVERY[number], MergeEpisodes):
        changed |= {name for name in numbered.columns if name.startswith("observations")}
    for name in set(numbered.columns) - changed:
        before, after = numbered.column(name), variant.column(name)
        assert before.dtype == after.dtype
        if len(before) == total:
            assert after.tobytes() == before[of].tobytes(), name
        else:
            shift = numbered.observation_rows
            assert after[variant.observation_rows].tobytes() == before[shift[of]].tobytes(), name
            if not isinstance(EVERY[number], MergeEpisodes):  # next rows too
                assert after[variant.observation_rows + 1].tobytes() == before[shift[of] + 1].tobytes(), name


@pytest.mark.parametrize("transform", EVERY, ids=NAMES)
def test_the_same_seed_repeats_another_differs_and_history_rebuilds_the_same_bytes(
    transform: Transform, tmp_path: Path
) -> None:
    assay.save(clean_dataset(240, 6), tmp_path / "source")
    dataset = assay.load(tmp_path / "source")
    variant = transform(dataset)
    assert transform(dataset).fingerprint == variant.fingerprint
    again = assay.replay(variant.history)
    assert again.fingerprint == variant.fingerprint
    assert again.episode_lengths.tolist() == variant.episode_lengths.tolist()
    parameters = transform.parameters()
    if "of" in parameters and parameters["of"] != "any":
        return  # nothing is drawn
    if transform.name == "corruption.segment" and parameters["keep"] == 1:
        return
    assert type(transform)(**(parameters | {"seed": 5}))(dataset).fingerprint != variant.fingerprint


@pytest.mark.parametrize("transform", EVERY, ids=NAMES)
def test_a_clean_dataset_stays_valid_but_for_its_repetitions(transform: Transform) -> None:
    checks = {finding.check for finding in transform(clean_dataset(120, 6)).validate().findings}
    repeated = {"duplicate episodes", "duplicate transitions", "duplicate state-actions"}
    assert checks == (repeated if isinstance(transform, DuplicateEpisodes) else set())


@pytest.mark.parametrize("transform", EVERY, ids=NAMES)
def test_masks_of_earlier_corruptions_stay_with_their_steps(transform: Transform) -> None:
    dataset = clean_dataset(120, 6)
    numbered = dataset.replace({"infos/number": np.arange(dataset.total_steps)})
    first = RandomCorruption("rewards")(RandomCorruption("observations")(numbered))
    variant = transform(first)
    of = variant.column("infos/number")
    for element in ("rewards", "observations"):
        assert variant.masks[element].tolist() == first.masks[element][of].tolist()
    assert variant.validate().ok
    assert not [finding for finding in variant.validate().findings if finding.check == "continuity"]


@pytest.mark.parametrize("transform", EVERY, ids=NAMES)
def test_ground_truth_of_episodes_is_saved_loaded_and_joined(transform: Transform, tmp_path: Path) -> None:
    dataset = clean_dataset(120, 6, episode_columns={"tags/good": np.arange(20) % 2 == 0, "seed": np.arange(20)})
    variant = transform(dataset)
    assay.save(variant, tmp_path / "variant")
    assert assay.load(tmp_path / "variant").fingerprint == variant.fingerprint
    joined = concatenate([dataset, variant])
    for name, values in variant.episode_columns.items():
        if name.startswith("corrupted/"):
            assert joined.episode_columns[name].tolist() == [False] * 20 + values.tolist()
    if "origin/episode" in variant.episode_columns and not isinstance(transform, MergeEpisodes):
        of = variant.episode_columns["origin/episode"]
        assert variant.episode_columns["seed"].tolist() == of.tolist()
        assert variant.tagged("good").tolist() == (of % 2 == 0).tolist()


@pytest.mark.parametrize("transform", EVERY, ids=NAMES)
def test_unknown_final_observations_keep_their_meaning(transform: Transform) -> None:
    base = clean_dataset(120, 6, episode_columns={"final_observation": np.arange(20) % 3 > 0})
    dataset = base.replace({"infos/number": np.arange(120)})
    variant = transform(dataset)
    usable = np.isin(np.arange(120), dataset.usable_steps)
    merged = variant.masks.get(
        "borders", np.zeros(variant.total_steps, bool)
    )  # a merged border knows a (false) next one
    expected = usable[variant.column("infos/number")] | merged
    assert variant.transitions(keep_terminal=False).steps.tolist() == np.flatnonzero(expected).tolist()


@pytest.mark.parametrize("transform", EVERY, ids=NAMES)
def test_a_rate_of_nothing_changes_nothing_and_an_empty_dataset_stays_empty(transform: Transform) -> None:
    parameters = transform.parameters()
    empty = clean_dataset().select([])
    if not isinstance(transform, DropEpisodes):
        assert transform(empty).total_steps == 0
    if "rate" in parameters:
        dataset = clean_dataset()
        same = type(transform)(**(parameters | {"rate": 0.0}))(dataset)
        for name in dataset.columns:
            assert same.column(name).tobytes() == dataset.column(name).tobytes()
        assert not any(mask.any() for mask in same.masks.values())


# -------------------------------------------------------------------- each of them


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=9), st.floats(0, 1), st.integers(0, 99), st.booleans())
def test_an_episode_is_dropped_by_its_own_number(lengths, rate, seed, exact) -> None:
    dataset = make(lengths)
    draws = block_generator(seed, "corruption.drop_episodes", "episodes", 0).random(len(lengths))
    if exact:
        lost = set(np.argsort(draws, kind="stable")[: round(rate * len(lengths))].tolist())
    else:
        lost = set(np.flatnonzero(draws < rate).tolist())
    variant = apply(DropEpisodes(rate=rate, seed=seed, count="exact" if exact else "random"), dataset)
    kept = [] if variant is None else variant.episode_columns["origin/episode"].tolist()
    assert kept == [e for e in range(len(lengths)) if e not in lost]
    if variant is not None:
        assert rows(variant) == rows(dataset.select(kept))


def test_the_best_or_the_worst_episodes_can_be_dropped_and_tags_limit_what_is_touched() -> None:
    tagged = np.array([True, False, True, True])
    dataset = make([2, 2, 2, 2], episode_columns={"tags/a": tagged})
    kept = {of: DropEpisodes(rate=0.25, of=of)(dataset) for of in ("highest_return", "lowest_return")}
    assert {of: variant.episode_columns["origin/episode"].tolist() for of, variant in kept.items()} == {
        "highest_return": [0, 1, 2],
        "lowest_return": [1, 2, 3],
    }
    assert DropEpisodes(rate=1.0, tag="a")(dataset).episode_columns["origin/episode"].tolist() == [1]
    one = DropEpisodes(rate=0.34, tag="a", of="lowest_return")(dataset)
    assert one.episode_columns["origin/episode"].tolist() == [1, 2, 3]
    with pytest.raises(DatasetError, match="no episode would be left"):
        DropEpisodes(rate=1.0)(dataset)
    with pytest.raises(UnknownNameError, match="tag"):
        DropEpisodes(tag="b")(dataset)


def test_duplicates_are_marked_and_originals_are_not() -> None:
    dataset = make([1, 2])
    end = DuplicateEpisodes(rate=1.0, copies=2)(dataset)
    assert end.episode_columns["origin/episode"].tolist() == [0, 1, 0, 1, 0, 1]
    assert end.masks["duplicates"].tolist() == [False] * 3 + [True] * 6
    beside = DuplicateEpisodes(rate=1.0, copies=2, place="beside")(dataset)
    assert beside.episode_columns["origin/episode"].tolist() == [0, 0, 0, 1, 1, 1]
    assert beside.episode_columns["corrupted/duplicated"].tolist() == [False, True, True] * 2
    assert beside.validate().to_frame().filter(check="duplicate episodes")["count"].to_list() == [4]


def test_reordered_episodes_trade_places_and_those_that_moved_are_marked() -> None:
    dataset = make([1, 2, 3, 1, 2, 3, 1])
    variant = ReorderEpisodes(rate=1.0, seed=3)(dataset)
    order = variant.episode_columns["origin/episode"]
    assert sorted(order) == list(range(7))
    assert order.tolist() != list(range(7))
    assert variant.episode_columns["corrupted/reordered"].tolist() == (order != np.arange(7)).tolist()
    assert sorted(rows(variant)) == sorted(rows(dataset))
    assert variant.masks == {}


def test_downsampling_takes_whole_trajectories_by_their_number_or_until_the_steps_suffice() -> None:
    dataset = make([1, 30, 2, 40, 3, 24] * 10)
    shares = {fraction: DownsampleEpisodes(fraction, seed=2)(dataset) for fraction in (0.001, 0.1, 0.5, 1.0)}
    assert [variant.total_episodes for variant in shares.values()] == [1, 6, 30, 60]
    chosen = [set(variant.episode_columns["origin/episode"].tolist()) for variant in shares.values()]
    assert chosen[0] < chosen[1] < chosen[2] < chosen[3]
    for variant in shares.values():
        order = variant.episode_columns["origin/episode"]
        assert (np.diff(order) > 0).all()
    by_steps = DownsampleEpisodes(0.3, seed=2, unit="steps")(dataset)
    assert 300 <= by_steps.total_steps < 300 + 40
    assert shares[1.0] == take_pieces(dataset, dataset.episode_starts, dataset.episode_lengths)


def test_a_truncated_episode_keeps_its_beginning_and_the_true_next_observation() -> None:
    dataset = make([4, 1, 10])
    short = TruncateEpisodes(rate=1.0, shortest=0.5, longest=0.5)(dataset)
    assert short.episode_lengths.tolist() == [2, 1, 5]  # one step cannot be cut
    assert short.observations[:, 0].tolist() == [0, 1, 2, 100, 101, 200, 201, 202, 203, 204, 205]
    assert short.truncations.tolist() == [False, True, False, False, False, False, False, True]
    assert short.terminations.tolist() == [False, False, True, False, False, False, False, False]
    assert short.masks["truncations"].tolist() == short.truncations.tolist()
    assert short.episode_columns["corrupted/truncated"].tolist() == [True, False, True]
    with pytest.raises(ConfigError, match=r"shortest=0.9 is more than longest=0.1"):
        TruncateEpisodes(shortest=0.9, longest=0.1)


def test_the_kept_share_of_truncated_episodes_is_uniform() -> None:
    from scipy import stats

    variant = TruncateEpisodes(rate=1.0, shortest=0.2, longest=0.6)(make([1000] * 400))
    share = variant.episode_lengths / 1000
    assert stats.kstest(share, stats.uniform(0.2, 0.4).cdf).pvalue > 1e-3


def test_segments_cover_every_step_once_and_only_artificial_ends_are_marked() -> None:
    dataset = make([5, 2, 4])
    segments = SegmentEpisodes(length=2)(dataset)
    assert segments.episode_lengths.tolist() == [2, 2, 1, 2, 2, 2]
    assert segments.episode_columns["origin/episode"].tolist() == [0, 0, 0, 1, 2, 2]
    assert segments.episode_columns["origin/step"].tolist() == [0, 2, 4, 0, 0, 2]
    assert rows(segments) == rows(dataset)  # no transition is lost, none is false
    assert segments.episode_columns["corrupted/truncated"].tolist() == [True, True, False, False, True, False]
    some = SegmentEpisodes(length=2, keep=0.5, seed=1)(dataset)
    assert some.total_episodes == 3
    assert set(rows(some)) < set(rows(dataset))


def test_a_merged_border_makes_one_false_transition() -> None:
    dataset = make([2, 1, 2])
    merged = MergeEpisodes(rate=1.0)(dataset)
    assert merged.episode_lengths.tolist() == [5]
    assert rows(merged) == [(0, 0, 1), (1, 1, 100), (100, 2, 200), (200, 3, 201), (201, 4, 202)]
    assert merged.masks["borders"].tolist() == [False, True, True, False, False]
    assert np.flatnonzero(merged.terminations | merged.truncations).tolist() == [4]
    stored = dataset.replace({"next_observations": dataset.next_observations})
    assert rows(MergeEpisodes(rate=1.0)(stored)) == rows(merged)
    assert MergeEpisodes(rate=1.0)(stored).validate().ok


def test_a_merged_episode_is_as_known_as_its_last_part() -> None:
    known = np.array([False, True, True, False])
    dataset = make([1, 1, 1, 1], episode_columns={"final_observation": known})
    seed = next(
        seed for seed in range(99) if MergeEpisodes(rate=0.5, seed=seed)(dataset).episode_lengths.tolist() == [2, 2]
    )
    merged = MergeEpisodes(rate=0.5, seed=seed)(dataset)
    assert merged.episode_columns["final_observation"].tolist() == [True, False]
    assert merged.episode_columns["corrupted/merged"].tolist() == [True, True]


@pytest.mark.parametrize(
    ("mode", "terminated", "touched"),
    [
        ("exchanged", [True, False, True, False], [True] * 4),
        ("hidden", [False] * 4, [False, True, False, True]),
        ("invented", [True] * 4, [True, False, True, False]),
    ],
)
def test_end_flags_trade_places(mode, terminated, touched) -> None:
    dataset = make([2, 2, 2, 2])
    variant = FlipTerminations(mode=mode, rate=1.0)(dataset)
    ends = slice(1, None, 2)
    assert variant.terminations[ends].tolist() == terminated
    assert variant.truncations[ends].tolist() == [not item for item in terminated]
    assert variant.masks["terminations"][ends].tolist() == touched
    assert not variant.masks["terminations"][::2].any()
    assert variant.episode_columns["corrupted/terminated"].tolist() == touched
    assert rows(variant) == rows(dataset)


def test_a_termination_inside_ends_the_episode_there_and_loses_no_transition() -> None:
    dataset = make([6] * 20)
    variant = FlipTerminations(mode="inside", rate=0.3)(dataset)
    mask = variant.masks["terminations"]
    assert 0 < mask.sum() < 60
    assert rows(variant) == rows(dataset)
    assert (variant.terminations == (dataset.terminations | mask)).all()
    assert (variant.truncations == dataset.truncations).all()
    assert variant.total_episodes == 20 + mask.sum()
    assert FlipTerminations(mode="inside", rate=0.25, count="exact")(dataset).masks["terminations"].sum() == 25


def test_a_final_observation_that_was_disturbed_as_a_state_is_mended_or_marked() -> None:
    dataset = make([10] * 30)
    noisy = RandomCorruption("observations", rate=0.5)(dataset)
    short = TruncateEpisodes(rate=1.0)(noisy)
    finals = np.cumsum(short.episode_lengths + 1) - 1
    of = short.episode_columns["origin/episode"]
    assert short.observations[finals, 0].tolist() == (100.0 * of + short.episode_lengths).tolist()  # the clean ones
    assert "corrupted/final_observation" not in short.episode_columns
    states = TruncateEpisodes(rate=1.0)(RandomCorruption("states", rate=0.5)(dataset))
    marked = states.episode_columns["corrupted/final_observation"]
    clean = states.observations[finals, 0] == 100.0 * of + states.episode_lengths
    assert marked.tolist() == (~clean).tolist()
    assert marked.any()
    assert not marked.all()


def test_origins_keep_telling_of_the_first_dataset() -> None:
    dataset = make([4, 6, 8])
    cut = SegmentEpisodes(length=4)(dataset)
    twice = SegmentEpisodes(length=2)(DropEpisodes(rate=0.4, of="lowest_return")(cut))
    origin, step = twice.episode_columns["origin/episode"], twice.episode_columns["origin/step"]
    starts = np.cumsum(twice.episode_lengths + 1) - twice.episode_lengths - 1
    assert twice.observations[starts, 0].tolist() == (100.0 * origin + step).tolist()


@pytest.mark.parametrize(
    ("make_it", "message"),
    [
        (lambda: DropEpisodes(rate=1.5), "rate=1.5"),
        (lambda: DownsampleEpisodes(0.0), "fraction=0.0"),
        (lambda: DuplicateEpisodes(copies=0), "copies=0"),
        (lambda: SegmentEpisodes(length=0), "length=0"),
        (lambda: FlipTerminations(mode="off"), "mode='off'"),
        (lambda: MergeEpisodes(count="all"), "count='all'"),
        (lambda: ReorderEpisodes(seed=-1), "seed=-1"),
        (lambda: TruncateEpisodes(element="rewards"), "element is not a parameter"),
    ],
)
def test_impossible_parameters_are_named(make_it, message) -> None:
    with pytest.raises(ConfigError, match=r"^corruption\.") as error:
        make_it()
    assert message in str(error.value)
