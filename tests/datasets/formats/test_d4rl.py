"""D4RL: read as the files mean, or bit for bit as the published loader; written so that they come back equal."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import assay
from assay.datasets.dataset import Dataset
from assay.datasets.errors import AssayWarning, ConfigError, DatasetError, FormatError
from assay.datasets.formats import d4rl, sniff
from assay.datasets.info import DatasetInfo, Record
from tests.datasets.dataset_strategies import assert_same_columns, clean_dataset
from tests.datasets.formats.row_strategies import row_datasets

in_one_folder = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def make(path: Path, arrays: dict[str, Any], compression: str | None = "gzip") -> Path:
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            packed = compression if np.ndim(array) and not isinstance(array, str) else None
            file.create_dataset(name, data=array, compression=packed)
    return path


def rows(steps: int = 20, **changes: Any) -> dict[str, Any]:
    """Arrays of a file of version 1: episodes end by a timeout after 4 steps, a terminal after 4, a timeout at the end."""
    generator = np.random.default_rng(0)
    result: dict[str, Any] = {
        "observations": generator.normal(size=(steps, 3)).astype(np.float32),
        "actions": generator.normal(size=(steps, 2)).astype(np.float32),
        "rewards": np.arange(steps, dtype=np.float32),
        "terminals": np.arange(steps) == 7,
        "timeouts": np.isin(np.arange(steps), (3, steps - 1)),
    }
    return {name: array for name, array in (result | changes).items() if array is not None}


# -------------------------------------------------------------------- reading as the files mean


def test_a_file_without_next_observations_has_no_final_observations_and_invents_none(tmp_path: Path) -> None:
    held = rows()
    dataset = d4rl.read(make(tmp_path / "v1", held))
    assert dataset.episode_lengths.tolist() == [4, 4, 12]
    assert not dataset.episode_columns["final_observation"].any()
    transitions = dataset.transitions(keep_terminal=False)
    assert transitions.steps.tolist() == [0, 1, 2, 4, 5, 6, *range(8, 19)]
    assert (transitions.next_observations == held["observations"][transitions.steps + 1]).all()


def test_stored_next_observations_give_the_final_ones(tmp_path: Path) -> None:
    following = np.roll(rows()["observations"], -1, axis=0)
    following[[3, 7, 19]] = [[1, 1, 1], [2, 2, 2], [3, 3, 3]]
    dataset = d4rl.read(make(tmp_path / "v2", rows(next_observations=following)))
    assert not dataset.has_next_observations
    assert len(dataset.transitions(keep_terminal=False)) == 20
    assert dataset.observations[[4, 9, 22], 0].tolist() == [1, 2, 3]


def test_timeouts_are_truncations_and_never_terminations(tmp_path: Path) -> None:
    """Robomimic's convert_d4rl.py and others set done at timeouts."""
    dataset = d4rl.read(make(tmp_path / "v1", rows()))
    assert np.flatnonzero(dataset.terminations).tolist() == [7]
    assert np.flatnonzero(dataset.truncations).tolist() == [3, 19]


def test_next_observations_do_not_cross_the_border_of_an_episode(tmp_path: Path) -> None:
    """qlearning_dataset takes observations[i + 1] at terminals and, with terminate_on_end, at timeouts (D4RL #145)."""
    held = rows()
    transitions = d4rl.read(make(tmp_path / "v1", held)).transitions(keep_terminal=False)
    assert not {3, 7} & set(transitions.steps.tolist())


def test_the_last_step_of_the_file_is_not_lost(tmp_path: Path) -> None:
    """qlearning_dataset runs over range(N - 1) (D4RL #145)."""
    held = rows(next_observations=np.ones((20, 3), np.float32))
    dataset = d4rl.read(make(tmp_path / "v2", held))
    assert dataset.total_steps == 20
    assert dataset.returns.sum() == held["rewards"].sum()
    assert len(dataset.transitions(keep_terminal=False)) == 20


def test_metadata_of_scalars_texts_and_arrays_is_in_the_info_and_large_arrays_are_named(tmp_path: Path) -> None:
    """sequence_dataset breaks on the scalars under metadata (D4RL #104)."""
    metadata = {
        "metadata/algorithm": "SAC",
        "metadata/iteration": 100,
        "metadata/policy/nonlinearity": np.bytes_("relu"),
        "metadata/policy/fc0/bias": np.array([1.0, 2.0], np.float32),
        "metadata/policy/fc0/weight": np.zeros((256, 256), np.float32),
    }
    with pytest.warns(AssayWarning, match="metadata/policy/fc0/weight") as caught:
        dataset = d4rl.read(make(tmp_path / "v2", rows() | metadata))
    assert len(caught) == 1
    assert dataset.info.extra["metadata"] == {
        "algorithm": "SAC",
        "iteration": 100,
        "policy": {"nonlinearity": "relu", "fc0": {"bias": [1.0, 2.0]}},
    }


@pytest.mark.parametrize("dtype", ["bool", "uint8", "float32", "float64", "int64"])
def test_rewards_and_flags_of_shape_n_1_and_of_any_number_type_are_read(tmp_path: Path, dtype: str) -> None:
    held = rows()
    other = {name: held[name].astype(dtype)[:, None] for name in ("terminals", "timeouts")}
    shaped = held | other | {"rewards": held["rewards"][:, None]}
    assert_same_columns(d4rl.read(make(tmp_path / "shaped", shaped)), d4rl.read(make(tmp_path / "flat", held)))


def test_a_terminal_beside_a_timeout_keeps_both_flags(tmp_path: Path) -> None:
    dataset = d4rl.read(make(tmp_path / "v1", rows(timeouts=np.isin(np.arange(20), (3, 7, 19)))))
    assert dataset.terminations[7]
    assert dataset.truncations[7]
    assert any("both" in str(finding) for finding in dataset.validate().findings)


def test_rows_after_the_last_flag_are_an_unended_episode(tmp_path: Path) -> None:
    dataset = d4rl.read(make(tmp_path / "v1", rows(timeouts=np.arange(20) == 3)))
    assert dataset.episode_lengths.tolist() == [4, 4, 12]
    assert not dataset.truncations[19]


def test_infos_of_one_row_per_step_are_columns_and_others_are_named(tmp_path: Path) -> None:
    held = rows() | {"infos/qpos": np.ones((20, 5)), "infos/goal": np.zeros((1, 2)), "info": np.zeros(3)}
    with pytest.warns(AssayWarning, match="info, infos/goal"):
        dataset = d4rl.read(make(tmp_path / "v1", held))
    assert dataset.column("infos/qpos").shape == (20, 5)


def test_without_timeouts_episodes_end_at_terminals_and_a_warning_says_so(tmp_path: Path) -> None:
    path = make(tmp_path / "v0", rows(timeouts=None))
    with pytest.warns(AssayWarning, match="no timeouts.*horizon="):
        dataset = d4rl.read(path)
    assert dataset.episode_lengths.tolist() == [8, 12]


def test_a_horizon_cuts_every_episode_after_as_many_steps_of_its_own(tmp_path: Path) -> None:
    """The published loader counts one too many in the episode after a terminal, and cuts it a step early."""
    path = make(tmp_path / "v0", rows(timeouts=None))
    dataset = d4rl.read(path, horizon=5)
    assert dataset.episode_lengths.tolist() == [5, 3, 5, 5, 2]
    assert np.flatnonzero(dataset.truncations).tolist() == [4, 12, 17]
    at_the_terminal = d4rl.read(path, horizon=8)
    assert np.flatnonzero(at_the_terminal.truncations).tolist() == [15]


# -------------------------------------------------------------------- reading as the published loader


def qlearning_dataset(
    data: dict[str, np.ndarray], horizon: int | None, terminate_on_end: bool
) -> dict[str, np.ndarray]:
    """What d4rl.qlearning_dataset does, stated again."""
    result: dict[str, list[Any]] = {
        key: [] for key in ("observations", "actions", "next_observations", "rewards", "terminals")
    }
    count = 0
    for i in range(len(data["rewards"]) - 1):
        last = bool(data["timeouts"][i]) if "timeouts" in data else count == (horizon or 0) - 1
        if last and not terminate_on_end:
            count = 0
            continue
        done = bool(data["terminals"][i])
        if done or last:
            count = 0
        for key, value in (
            ("observations", data["observations"][i]),
            ("actions", data["actions"][i]),
            ("next_observations", data["observations"][i + 1]),
            ("rewards", data["rewards"][i]),
        ):
            result[key].append(value.astype(np.float32))
        result["terminals"].append(done)
        count += 1
    return {key: np.array(value) for key, value in result.items()}


@in_one_folder
@given(
    steps=st.integers(2, 60),
    seed=st.integers(0, 2**32 - 1),
    horizon=st.one_of(st.none(), st.integers(1, 9)),
    terminate_on_end=st.booleans(),
    stored=st.booleans(),
    image=st.booleans(),
)
def test_style_d4rl_is_qlearning_dataset_bit_for_bit(
    tmp_path: Path, steps: int, seed: int, horizon: int | None, terminate_on_end: bool, stored: bool, image: bool
) -> None:
    generator = np.random.default_rng(seed)
    data = {
        "observations": generator.integers(0, 255, (steps, 2, 2), np.uint8)
        if image
        else generator.normal(size=(steps, 3)),
        "actions": generator.normal(size=(steps, 2)),
        "rewards": generator.normal(size=steps),
        "terminals": generator.random(steps) < 0.15,
    }
    if horizon is None:
        data["timeouts"] = generator.random(steps) < 0.15
    if stored:
        data["next_observations"] = np.zeros_like(data["observations"])
    expected = qlearning_dataset(data, horizon, terminate_on_end)
    path = make(tmp_path / "file", data)
    dataset = d4rl.read(path, style="d4rl", horizon=horizon, terminate_on_end=terminate_on_end)
    found = dataset.transitions(dtype=np.float32)
    assert len(found) == len(expected["rewards"])
    if len(found):
        for key in ("observations", "actions", "next_observations", "rewards"):
            array = getattr(found, key)
            assert (array.dtype, array.shape) == (expected[key].dtype, expected[key].shape)
            assert array.tobytes() == expected[key].tobytes()
        assert found.terminations.tolist() == expected["terminals"].tolist()


def test_style_d4rl_needs_the_horizon_only_where_there_are_no_timeouts(tmp_path: Path) -> None:
    without, with_timeouts = make(tmp_path / "v0", rows(timeouts=None)), make(tmp_path / "v1", rows())
    with pytest.raises(ConfigError, match="needs the environment's horizon"):
        d4rl.read(without, style="d4rl")
    with pytest.raises(ConfigError, match="leave horizon out"):
        d4rl.read(with_timeouts, horizon=5)
    with pytest.raises(ConfigError, match="only"):
        d4rl.read(with_timeouts, terminate_on_end=True)
    with pytest.raises(ConfigError, match="at least 1"):
        d4rl.read(without, horizon=0)
    with pytest.raises(ConfigError, match='"assay" or "d4rl"'):
        d4rl.read(without, style="other")  # type: ignore[arg-type]


# -------------------------------------------------------------------- writing


@in_one_folder
@given(dataset=row_datasets())
def test_what_was_written_comes_back_equal(tmp_path: Path, dataset: Dataset) -> None:
    path = tmp_path / "again"
    with warnings.catch_warnings():
        warnings.simplefilter("error", AssayWarning)
        d4rl.write(dataset, path, overwrite=True)
        again = d4rl.read(path)
    assert sniff(path) == "d4rl"
    assert_same_columns(dataset, again)
    assert again == dataset


def test_episodes_of_40000_steps_come_back_equal(tmp_path: Path) -> None:
    dataset = clean_dataset(steps=80_000, length=40_000)
    d4rl.write(dataset, tmp_path / "long")
    assert d4rl.read(tmp_path / "long") == dataset


def test_h5py_sees_the_published_layout(tmp_path: Path) -> None:
    dataset = clean_dataset()
    d4rl.write(dataset, tmp_path / "file")
    with h5py.File(tmp_path / "file") as file:
        assert sorted(file) == ["actions", "next_observations", "observations", "rewards", "terminals", "timeouts"]
        assert {item.shape[0] for item in file.values()} == {60}
        assert {item.compression for item in file.values()} == {"gzip"}
        assert (file["next_observations"][()] == dataset.next_observations).all()


def test_info_and_history_survive_while_the_data_does(tmp_path: Path) -> None:
    info = DatasetInfo(id="mine", licence="MIT", extra={"metadata": {"algorithm": "SAC", "sizes": [1, 2]}})
    dataset = clean_dataset(info=info).replace(record=Record("source", {"name": "x"}, version="0"))
    d4rl.write(dataset, tmp_path / "file")
    again = d4rl.read(tmp_path / "file")
    assert (again.info, again.history) == (info, dataset.history)
    with h5py.File(tmp_path / "file", "a") as file:
        assert file["metadata/algorithm"][()] == b"SAC"
        file["rewards"][0] = 5.0
    assert d4rl.read(tmp_path / "file").history == ()


def test_what_the_layout_cannot_say_is_an_error_and_nothing_is_written(tmp_path: Path) -> None:
    good = clean_dataset()
    cases = {
        "nested": good.replace({"observations": None, "observations/a": good.observations}),
        "no flag on its last step": good.replace({"truncations": np.zeros(60, bool)}),
        "a flag before its last step": good.replace({"terminations": np.ones(60, bool)}),
        "final observation of episode 4": clean_dataset(episode_columns={"final_observation": np.arange(10) != 4}),
    }
    for message, dataset in cases.items():
        with pytest.raises(DatasetError, match=message):
            d4rl.write(dataset, tmp_path / "file")
        assert not list(tmp_path.iterdir())


def test_assay_load_and_save_know_the_format(tmp_path: Path) -> None:
    assay.save(clean_dataset(), tmp_path / "file.hdf5", format="d4rl")
    loaded = assay.load(tmp_path / "file.hdf5")
    assert loaded == clean_dataset()
    assert loaded.history[0].parameters["format"] == "d4rl"


# -------------------------------------------------------------------- refusing


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"actions": None}, "there is no dataset actions; the file holds"),
        ({"actions": np.zeros((19, 2))}, "actions has 19 rows, but rewards has 20"),
        ({"terminals": np.full(20, 2)}, "terminals, row 0: 2 is not a flag"),
        ({"timeouts": np.full(20, np.nan)}, "timeouts, row 0: nan is not a flag"),
        ({"rewards": np.zeros((20, 2))}, r"rewards is of shape \(20, 2\)"),
        ({"rewards": 1.0}, "rewards is a single value"),
        ({"observations": ["text"] * 20}, "observations holds text"),
        ({"next_observations": np.zeros((20, 4), np.float32)}, "next_observations is float32"),
    ],
)
def test_impossible_files_are_refused_with_the_place(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = make(tmp_path / "file", rows(**changes), compression=None)
    with pytest.raises(DatasetError, match=message):
        d4rl.read(path)


def test_what_is_no_hdf5_is_not_claimed_and_refused(tmp_path: Path) -> None:
    for name, content in (("empty", b""), ("text", b"hello"), ("head", b"\x89HDF\r\n\x1a\n" + bytes(50))):
        (tmp_path / name).write_bytes(content)
        assert not d4rl.sniff(tmp_path / name)
        with pytest.raises(FormatError):
            d4rl.read(tmp_path / name)
    assert not d4rl.sniff(tmp_path)
    with pytest.raises(FormatError, match="is not a file"):
        d4rl.read(tmp_path)
