"""robomimic: demonstrations, filter keys, and dones that mean two things."""

from __future__ import annotations

import json
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
from assay.datasets.errors import AssayWarning, ConfigError, DatasetError, FormatError, UnknownNameError
from assay.datasets.formats import robomimic, sniff
from assay.datasets.info import DatasetInfo
from tests.datasets.dataset_strategies import assert_same_columns, clean_dataset
from tests.datasets.formats.row_strategies import row_datasets

in_one_folder = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ENV_ARGS = {"env_name": "Lift", "env_type": 1, "env_kwargs": {"horizon": 400}}


def demonstration(number: int, length: int = 4, **changes: Any) -> dict[str, Any]:
    """One demonstration whose every value says whose it is."""
    generator = np.random.default_rng(number)
    states = generator.normal(size=(length + 1, 3))
    result: dict[str, Any] = {
        "obs/pose": states[:-1],
        "next_obs/pose": states[1:],
        "actions": np.full((length, 2), number, np.float64),
        "rewards": (np.arange(length) == length - 1).astype(float),
        "dones": (np.arange(length) == length - 1).astype(int),
        "states": np.full((length, 5), float(number)),
    }
    return {name: array for name, array in (result | changes).items() if array is not None}


def make(path: Path, demonstrations: dict[int, dict[str, Any]], masks: dict[str, Any] | None = None) -> Path:
    with h5py.File(path, "w") as file:
        for number, arrays in demonstrations.items():
            group = file.create_group(f"data/demo_{number}")
            for name, array in arrays.items():
                group[name] = array
            group.attrs["num_samples"] = len(arrays["actions"])
            group.attrs["model_file"] = "<mujoco/>"
        file["data"].attrs["total"] = sum(len(arrays["actions"]) for arrays in demonstrations.values())
        file["data"].attrs["env_args"] = json.dumps(ENV_ARGS)
        for key, names in (masks or {}).items():
            file[f"mask/{key}"] = names
    return path


# -------------------------------------------------------------------- reading


def test_demonstrations_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    path = make(tmp_path / "file", {number: demonstration(number) for number in (10, 2, 0, 1)})
    dataset = robomimic.read(path)
    assert dataset.actions[::4, 0].tolist() == [0, 1, 2, 10]
    assert dataset.episode_columns["demo"].tolist() == [0, 1, 2, 10]
    assert dataset.column("infos/states")[::4, 0].tolist() == [0, 1, 2, 10]
    assert not dataset.has_next_observations
    assert dataset.info.extra["env_args"] == ENV_ARGS
    assert dataset.info.extra["model_file"] == "<mujoco/>"
    assert sniff(path) == "robomimic"


def test_filter_keys_are_tags_and_one_of_them_can_be_read_alone(tmp_path: Path) -> None:
    masks = {
        "train": np.array([b"demo_2", b"demo_0"]),  # of fixed length, as split_train_val.py writes them
        "valid": np.array(["demo_1"], dtype=h5py.string_dtype()),
    }
    path = make(tmp_path / "file", {number: demonstration(number) for number in range(3)}, masks)
    dataset = robomimic.read(path)
    assert dataset.episode_columns["tags/train"].tolist() == [True, False, True]
    assert dataset.episode_columns["tags/valid"].tolist() == [False, True, False]
    part = robomimic.read(path, filter_key="train")
    assert part.actions[::4, 0].tolist() == [0, 2]
    with pytest.raises(UnknownNameError, match=r"'trian'; did you mean 'train'\?"):
        robomimic.read(path, filter_key="trian")


def test_the_single_key_flat_is_the_observation_itself(tmp_path: Path) -> None:
    renamed = {"obs/flat": np.zeros((4, 3)), "next_obs/flat": np.ones((4, 3)), "obs/pose": None, "next_obs/pose": None}
    dataset = robomimic.read(make(tmp_path / "file", {0: demonstration(0, **renamed)}))
    assert dataset.observations.shape == (5, 3)
    assert dataset.next_observations[-1].tolist() == [1, 1, 1]


def test_images_stay_uint8_with_channels_last(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (4, 8, 8, 3), np.uint8)
    changes = {"obs/eye": images, "next_obs/eye": np.roll(images, -1, axis=0)}
    dataset = robomimic.read(make(tmp_path / "file", {0: demonstration(0, **changes)}))
    assert dataset.observations["eye"].dtype == np.uint8
    assert (dataset.observations["eye"][:4] == images).all()


def test_without_next_observations_the_final_one_is_unknown(tmp_path: Path) -> None:
    path = make(tmp_path / "file", {number: demonstration(number, **{"next_obs/pose": None}) for number in range(2)})
    dataset = robomimic.read(path)
    assert not dataset.episode_columns["final_observation"].any()
    assert dataset.transitions(keep_terminal=False).steps.tolist() == [0, 1, 2, 4, 5, 6]


def test_a_success_in_a_sparse_task_is_a_termination_and_any_other_end_a_truncation(tmp_path: Path) -> None:
    failed = demonstration(1, rewards=np.zeros(4))
    dataset = robomimic.read(make(tmp_path / "file", {0: demonstration(0), 1: failed}))
    assert np.flatnonzero(dataset.terminations).tolist() == [3]
    assert np.flatnonzero(dataset.truncations).tolist() == [7]
    assert dataset.column("infos/dones").tolist() == [0, 0, 0, 1] * 2


def test_timeouts_that_convert_d4rl_made_dones_of_are_no_terminations(tmp_path: Path) -> None:
    """robomimic/scripts/conversion/convert_d4rl.py sets dones = 1 at timeouts."""
    path = make(tmp_path / "file", {0: demonstration(0, rewards=np.array([0.5, 1.0, 1.0, 1.0]))})
    assert not robomimic.read(path).terminations.any()
    assert robomimic.read(path).truncations.tolist() == [False, False, False, True]
    assert robomimic.read(path, dones="terminations").terminations.tolist() == [False, False, False, True]
    assert not robomimic.read(path, dones="truncations").terminations.any()


def test_our_own_conversion_of_d4rl_data_keeps_timeouts_apart_and_the_unfinished_tail(tmp_path: Path) -> None:
    """convert_d4rl.py merges timeouts into dones, repeats the last observation, and drops the unfinished tail."""
    source = clean_dataset(steps=24, length=6)
    lengths = [6, 6, 6, 6]
    flags = {"truncations": source.truncations & (np.arange(24) == 5), "terminations": np.isin(np.arange(24), (11, 17))}
    dataset = Dataset({name: source.replace(flags).column(name) for name in source.columns}, lengths)
    assay.save(dataset, tmp_path / "d4rl.hdf5", format="d4rl")
    assay.save(assay.load(tmp_path / "d4rl.hdf5"), tmp_path / "robomimic.hdf5", format="robomimic")
    again = assay.load(tmp_path / "robomimic.hdf5")
    assert_same_columns(again, dataset)
    with h5py.File(tmp_path / "robomimic.hdf5") as file:
        assert [int(file[f"data/demo_{number}/dones"][-1]) for number in range(4)] == [0, 1, 1, 0]


def test_dones_before_the_end_are_kept_beside_the_flags(tmp_path: Path) -> None:
    solved = {"dones": np.array([0, 0, 1, 1]), "rewards": np.array([0.0, 0, 1, 1])}
    dataset = robomimic.read(make(tmp_path / "file", {0: demonstration(0, **solved)}))
    assert dataset.terminations.tolist() == [False, False, False, True]
    assert dataset.column("infos/dones").tolist() == [0, 0, 1, 1]


def test_missing_rewards_and_dones_and_what_is_not_read_are_named(tmp_path: Path) -> None:
    demos = {number: demonstration(number, rewards=None, dones=None) for number in range(2)}
    demos[0] |= {"only_here": np.zeros(4), "datagen_info/text": ["a"] * 4}
    path = make(tmp_path / "file", demos, {"train": np.array([b"demo_0", b"demo_9"])})
    with h5py.File(path, "a") as file:
        file["data"].attrs["total"] = 9
        file["other"] = 1
    with pytest.warns(AssayWarning) as caught:
        dataset = robomimic.read(path)
    assert len(caught) == 1
    message = str(caught[0].message)
    for text in (
        "no rewards",
        "no dones",
        "data/<demo>/only_here",
        "datagen_info/text",
        "'demo_9'",
        "total says 9",
        "other",
    ):
        assert text in message
    assert dataset.missing["rewards"].all()
    assert not (dataset.terminations | dataset.truncations).any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"actions": np.zeros((0, 2))}, "demo_1/actions: the demonstration has no steps"),
        ({"obs/pose": np.zeros((5, 3))}, "demo_1/obs/pose has 5 rows; the episode has 4 steps"),
        ({"obs/pose": np.zeros((4, 2))}, r"demo_1/obs/pose is float64\[2\] here, but float64\[3\] in data/demo_0"),
        ({"obs/pose": None}, "demo_1: obs/pose is missing"),
        ({"obs/more": np.zeros((4, 2))}, "demo_0: obs/more is missing"),
        ({"dones": np.full(4, 3)}, "dones, row 4: 3 is not a flag"),
        ({"rewards": np.zeros((4, 2))}, "demo_1/rewards is float64"),
    ],
)
def test_impossible_files_are_refused_with_the_place(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = make(tmp_path / "file", {0: demonstration(0), 1: demonstration(1, **changes)})
    with pytest.raises(DatasetError, match=message):
        robomimic.read(path)


def test_other_mistakes_are_named(tmp_path: Path) -> None:
    path = make(tmp_path / "file", {0: demonstration(0)})
    with pytest.raises(ConfigError, match='"success"'):
        robomimic.read(path, dones="all")  # type: ignore[arg-type]
    with h5py.File(path, "a") as file:
        file["data/demo_0"].attrs["num_samples"] = 5
    with pytest.raises(DatasetError, match="num_samples is not 4"):
        robomimic.read(path)
    raw = make(tmp_path / "raw", {0: demonstration(0, **{"obs/pose": None, "next_obs/pose": None})})
    with pytest.raises(FormatError, match="have no obs"):
        robomimic.read(raw)


# -------------------------------------------------------------------- writing


@in_one_folder
@given(dataset=row_datasets(nested=True), data=st.data())
def test_what_was_written_comes_back_equal_tags_included(tmp_path: Path, dataset: Dataset, data: st.DataObject) -> None:
    episodes = dataset.total_episodes
    flags = st.lists(st.booleans(), min_size=episodes, max_size=episodes)
    extra = {
        f"tags/{key}": np.array(data.draw(flags)) for key in data.draw(st.sets(st.sampled_from(("a", "20_percent"))))
    }
    if data.draw(st.booleans()):
        extra |= {"seed": np.arange(episodes), "level": np.array([f"l{i}" for i in range(episodes)])}
        extra["demo"] = np.arange(episodes) * 3 + 1
    columns = {name: dataset.column(name) for name in dataset.columns}
    dataset = Dataset(columns, dataset.episode_lengths, episode_columns={**dataset.episode_columns, **extra})
    with warnings.catch_warnings():
        warnings.simplefilter("error", AssayWarning)
        robomimic.write(dataset, tmp_path / "again", overwrite=True)
        again = robomimic.read(tmp_path / "again")
    assert_same_columns(dataset, again)
    assert again == dataset


def test_flags_anywhere_and_episodes_of_40000_steps_come_back_equal(tmp_path: Path) -> None:
    dataset = clean_dataset(steps=80_000, length=40_000, terminations=np.random.default_rng(0).random(80_000) < 0.1)
    robomimic.write(dataset, tmp_path / "long")
    assert robomimic.read(tmp_path / "long") == dataset


def test_robomimic_finds_what_it_looks_for(tmp_path: Path) -> None:
    dataset = clean_dataset(episode_columns={"tags/train": np.arange(10) < 8}).replace(
        {"infos/states": np.zeros((60, 4))}
    )
    robomimic.write(dataset, tmp_path / "file")
    with h5py.File(tmp_path / "file") as file:
        assert file["data"].attrs["total"] == 60
        assert json.loads(file["data"].attrs["env_args"])["env_type"] == 2
        demo = file["data/demo_9"]
        assert demo.attrs["num_samples"] == 6
        assert {"actions", "rewards", "dones", "states", "obs", "next_obs"} <= set(demo)
        assert demo["obs/flat"].shape == demo["next_obs/flat"].shape == (6, 3)
        assert [elem.decode("utf-8") for elem in np.array(file["mask/train"][:])] == [f"demo_{i}" for i in range(8)]


def test_env_args_come_back(tmp_path: Path) -> None:
    info = DatasetInfo(id="mine", extra={"env_args": ENV_ARGS})
    robomimic.write(clean_dataset(info=info), tmp_path / "file")
    assert robomimic.read(tmp_path / "file").info == info
    with h5py.File(tmp_path / "file") as file:
        assert json.loads(file["data"].attrs["env_args"]) == ENV_ARGS


def test_nested_actions_and_partly_unknown_finals_are_errors(tmp_path: Path) -> None:
    good = clean_dataset()
    with pytest.raises(DatasetError, match="actions as one array"):
        robomimic.write(good.replace({"actions": None, "actions/a": good.actions}), tmp_path / "file")
    with pytest.raises(DatasetError, match="final observation of episode 4"):
        robomimic.write(clean_dataset(episode_columns={"final_observation": np.arange(10) != 4}), tmp_path / "file")
    assert not list(tmp_path.iterdir())
