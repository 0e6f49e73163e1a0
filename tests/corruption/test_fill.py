"""Filling: what was there stays bit for bit, what was missing is filled and marked, and what is left out is left out whole."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.corruption.repair import FillMissing, OracleFilter, OutlierFilter
from assay.datasets import Dataset, concatenate, replay
from assay.datasets.errors import DatasetError

FAST = settings(max_examples=80, deadline=None)


@st.composite
def logs(draw: st.DrawFn, stored: bool | None = None) -> Dataset:
    """Episodes with missing numbers anywhere, of which every value is different."""
    lengths = draw(st.lists(st.integers(1, 8), min_size=1, max_size=4))
    steps, episodes = sum(lengths), len(lengths)
    seed = draw(st.integers(0, 2**32 - 1))
    rate = draw(st.sampled_from([0.0, 0.1, 0.4]))
    generator = np.random.default_rng(seed)

    def column(rows: int, *shape: int) -> np.ndarray:
        values = generator.normal(size=(rows, *shape))
        values[generator.random(values.shape) < rate] = generator.choice([np.nan, np.inf, -np.inf])
        return values

    ends = np.cumsum(lengths) - 1
    terminations, truncations = np.zeros(steps, bool), np.zeros(steps, bool)
    terminal = generator.random(episodes) < 0.5
    terminations[ends[terminal]], truncations[ends[~terminal]] = True, True
    columns = {"infos/number": np.arange(steps)}
    if draw(st.booleans()) if stored is None else stored:
        columns["next_observations"] = column(steps, 2)
    return Dataset.from_arrays(
        observations=column(steps + episodes, 2),
        actions=column(steps, 1),
        rewards=column(steps),
        terminations=terminations,
        truncations=truncations,
        columns=columns,
    )


def by_pandas(dataset: Dataset, name: str, method: str) -> np.ndarray:
    array = dataset.column(name)
    lengths = dataset.episode_lengths + (len(array) != dataset.total_steps)
    frame = pd.DataFrame(np.where(np.isfinite(array), array, np.nan).reshape(len(array), -1))
    parts = []
    for _, part in frame.groupby(np.repeat(np.arange(len(lengths)), lengths)):
        part = part.reset_index(drop=True)
        filled = part.ffill().bfill() if method == "previous" else part.interpolate(limit_direction="both")
        parts.append(filled.to_numpy())
    return np.concatenate(parts).reshape(array.shape)


@FAST
@given(dataset=logs(), method=st.sampled_from(["previous", "interpolate"]))
def test_gaps_are_filled_as_pandas_fills_them_within_an_episode(dataset: Dataset, method: str) -> None:
    names = [name for name in dataset.columns if dataset.column(name).dtype.kind == "f"]
    expected = {name: by_pandas(dataset, name, method) for name in names}
    if not all(np.isfinite(array).all() for array in expected.values()):
        with pytest.raises(DatasetError, match=r"column \w+, dimension \d: episode \d has no number to fill from"):
            FillMissing(method=method)(dataset)
        return
    filled = FillMissing(method=method)(dataset)
    for name in names:
        np.testing.assert_allclose(filled.column(name), expected[name], rtol=1e-12, atol=1e-12)


@FAST
@given(dataset=logs(), value=st.floats(-5, 5))
def test_what_was_there_stays_and_what_was_filled_is_marked(dataset: Dataset, value: float) -> None:
    filled = FillMissing(method="constant", value=value)(dataset)
    marked = np.zeros(dataset.total_steps, bool)
    for name in dataset.columns:
        before, after = dataset.column(name), filled.column(name)
        if before.dtype.kind != "f":
            assert after.tobytes() == before.tobytes()
            continue
        missing = ~np.isfinite(before)
        assert after[~missing].tobytes() == before[~missing].tobytes()
        assert (after[missing] == value).all()
        rows = missing.reshape(len(missing), -1).any(axis=1)
        marked |= rows[dataset.observation_rows] if len(rows) != dataset.total_steps else rows
    masks = [filled.column(name) for name in filled.columns if name.startswith("filled/")]
    assert np.array_equal(np.any(masks, axis=0) if masks else np.zeros(dataset.total_steps, bool), marked)
    finals = dataset.observation_rows[dataset.episode_starts + dataset.episode_lengths - 1] + 1
    of_finals = ~np.isfinite(dataset.observations[finals]).all(axis=1)
    assert (
        filled.episode_columns.get("filled/final_observation", np.zeros(len(finals), bool)).tolist()
        == of_finals.tolist()
    )


def transitions_of(dataset: Dataset) -> dict[int, tuple[bytes, ...]]:
    """What a learner sees of each step, by the step's number in the first dataset."""
    seen = dataset.transitions(np.float64)
    numbers = dataset.column("infos/number")[seen.steps]
    arrays = (seen.observations, seen.actions, seen.rewards, seen.terminations)
    following = np.where(seen.terminations[:, None], 0.0, seen.next_observations)  # a placeholder may stand there
    return {
        int(number): (*(array[row].tobytes() for array in arrays), following[row].tobytes())
        for row, number in enumerate(numbers)
    }


@FAST
@given(dataset=logs())
def test_split_leaves_true_transitions_only_and_nothing_missing(dataset: Dataset) -> None:
    try:
        left = FillMissing(method="split")(dataset)
    except DatasetError as error:
        assert "nothing is left" in str(error)  # noqa: PT017
        return
    assert all(np.isfinite(left.column(name)).all() for name in left.columns if left.column(name).dtype.kind == "f")
    before = transitions_of(dataset)
    for number, seen in transitions_of(left).items():
        assert seen == before[number]


@FAST
@given(dataset=logs())
def test_drop_keeps_every_whole_step_once_in_its_own_episode_and_says_what_it_joined(dataset: Dataset) -> None:
    steps = np.zeros(dataset.total_steps, bool)
    for name in ("actions", "rewards", "next_observations"):
        if name in dataset.columns:
            steps |= ~np.isfinite(dataset.column(name)).reshape(len(steps), -1).all(axis=1)
    rows = ~np.isfinite(dataset.observations).all(axis=1)
    steps |= rows[dataset.observation_rows]
    if steps.all():
        with pytest.raises(DatasetError, match="nothing is left"):
            FillMissing(method="drop")(dataset)
        return
    left = FillMissing(method="drop")(dataset)
    assert left.column("infos/number").tolist() == np.flatnonzero(~steps).tolist()
    assert np.isfinite(left.observations).all()
    origin = dataset.episode_of_step[left.column("infos/number")]
    assert np.array_equal(np.unique(origin, return_inverse=True)[1], left.episode_of_step)
    lasts = left.episode_starts + left.episode_lengths - 1
    assert (left.terminations | left.truncations)[lasts].all()
    if not dataset.has_next_observations and (steps.any() or rows.any()):
        true = transitions_of(dataset)
        joined = left.column("filled/joined")
        numbers = left.column("infos/number").tolist()
        for number, seen in transitions_of(left).items():
            if not joined[numbers.index(number)]:
                assert seen[:3] == true[number][:3]
                assert seen[4] == true[number][4] or left.terminations[numbers.index(number)]


def test_a_filled_variant_trains_and_is_replayed_in_company_of_a_clean_one(tmp_path) -> None:
    import assay
    from assay.baselines import BC, Job, train

    clean = assay.load("pendulum/random", steps=400)
    observations, rewards = clean.observations.copy(), clean.rewards.copy()
    observations[[7, 8, 150], 1] = np.nan
    rewards[20] = np.nan
    assay.save(clean.replace({"observations": observations, "rewards": rewards}), tmp_path / "logs")
    damaged = assay.load(tmp_path / "logs")
    (run,) = train([Job(BC(hidden=(8,)), damaged)], steps=2, evaluation=None, runs=tmp_path / "runs")
    assert run.status == "failed"
    assert "step 7 of episode 0, column observations[1] holds NaN" in str(run.error)
    assert "corruption.repair.fill" in str(run.error)
    for method in ("previous", "interpolate", "constant", "drop", "split"):
        mended = FillMissing(method=method)(damaged)
        (run,) = train([Job(BC(hidden=(8,)), mended)], steps=2, evaluation=None, runs=tmp_path / "runs")
        assert (method, run.status) == (method, "finished")
        assert mended.validate().ok
        assert replay(mended.history) == mended
    assert concatenate([FillMissing()(damaged), clean]).total_steps == 800


# ---------------------------------------------------------------- filters leave no wrong final observation


@FAST
@given(dataset=logs(), element=st.sampled_from(["observations", "states", "dynamics"]))
def test_dropping_outliers_leaves_no_missing_observation_behind(dataset: Dataset, element: str) -> None:
    if element == "dynamics" and dataset.has_next_observations:
        return
    try:
        left = OutlierFilter(element, threshold=1e9)(dataset)  # only what is not finite is beyond it
    except DatasetError as error:
        assert "dropped" in str(error)  # noqa: PT017
        return
    usable = left.transitions(np.float64)
    if not dataset.has_next_observations:
        assert np.isfinite(usable.observations).all() or element == "dynamics"
        assert np.isfinite(usable.next_observations).all()
    if element != "dynamics":
        assert np.isfinite(left.observations[left.observation_rows]).all()
        if not dataset.has_next_observations:
            assert np.isfinite(left.observations).all()


def test_many_bad_rows_do_not_stay_as_the_ends_of_many_episodes() -> None:
    generator = np.random.default_rng(0)
    observations = generator.normal(size=(2121, 3))
    bad = generator.choice(2121, 150, replace=False)
    observations[bad] = np.nan
    dataset = Dataset.from_arrays(
        observations=observations,
        actions=np.zeros((2100, 1)),
        rewards=np.zeros(2100),
        terminations=np.zeros(2100, bool),
        truncations=np.arange(1, 2101) % 100 == 0,
    )
    left = OutlierFilter("observations")(dataset)
    assert np.isfinite(left.observations).all()
    assert left.validate().ok
    weighted = OutlierFilter("observations", action="weights")(dataset)
    drawn = weighted.transitions(np.float64)
    assert weighted.weights is not None
    positive = weighted.weights[drawn.steps] > 0
    assert np.isfinite(drawn.next_observations[positive]).all()


def test_a_stored_next_observation_takes_the_place_of_a_wrong_final_one() -> None:
    dataset = Dataset.from_arrays(
        observations=np.array([0.0, 1.0, 99.0, 3.0, 4.0]),
        actions=np.zeros(4),
        rewards=np.zeros(4),
        terminations=np.arange(4) == 3,
        truncations=np.zeros(4, bool),
        columns={"next_observations": np.array([1.0, 2.0, 3.0, 4.0])},
    )
    left = OutlierFilter("observations", threshold=5.0)(dataset)
    assert left.observations.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert left.episode_lengths.tolist() == [2, 1]


def test_a_termination_with_a_wrong_final_observation_is_kept_and_its_final_observation_marked_unknown() -> None:
    dataset = Dataset.from_arrays(
        observations=np.array([0.0, 1.0, 2.0, np.nan, 0.0, 1.0, np.nan]),
        actions=np.zeros(5),
        rewards=np.arange(5.0),
        terminations=np.arange(5) == 2,
        truncations=np.arange(5) == 4,
    )
    left = OutlierFilter("states")(dataset)
    assert left.rewards.tolist() == [0.0, 1.0, 2.0, 3.0]
    assert left.observations.tolist() == [0.0, 1.0, 2.0, 2.0, 0.0, 1.0]
    assert left.final_observations_known.tolist() == [False, True]
    assert left.transitions().rewards.tolist() == [0.0, 1.0, 2.0, 3.0]


def test_the_oracle_leaves_no_final_observation_that_is_known_to_be_corrupted() -> None:
    dataset = Dataset.from_arrays(
        observations=np.arange(6.0),
        actions=np.zeros(4),
        rewards=np.zeros(4),
        terminations=np.zeros(4, bool),
        truncations=np.array([False, True, False, True]),
        columns={"corrupted/states": np.zeros(4, bool)},
        episode_columns={"corrupted/final_observation": np.array([True, False])},
    )
    left = OracleFilter()(dataset)
    assert left.observations.tolist() == [0.0, 1.0, 3.0, 4.0, 5.0]
