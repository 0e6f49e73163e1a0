"""The formats that are .npz archives: NeoRL, Stable Baselines, imitation, OGBench, gen_dgrl and plain npz."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import assay
from assay.datasets.dataset import Dataset
from assay.datasets.errors import AssayError, AssayWarning, ConfigError, DatasetError, FormatError
from assay.datasets.formats import FORMATS, format_named, gen_dgrl, imitation, neorl, npz, ogbench, stable_baselines
from assay.datasets.info import DatasetInfo, Record, ReferenceScores
from assay.datasets.spaces import Box
from assay.relabeling import HindsightGoals
from tests.datasets.dataset_strategies import assert_same_columns, clean_dataset, datasets, random_array

SHARED = Path(__file__).parents[3] / "../shared/data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared")

Arrays = dict[str, Any]


def claimed_by(path: Path) -> list[str]:
    return [name for name in FORMATS if format_named(name).sniff(path)]


def quietly(read: Callable[..., Dataset], *arguments: Any, **options: Any) -> Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AssayWarning)
        return read(*arguments, **options)


# -------------------------------------------------------------------- small files of every format


def neorl2_arrays() -> Arrays:
    """Two trajectories, 3 + 2 steps: one truncated, one done."""
    return {
        "obs": np.array([[0.0], [1.0], [2.0], [10.0], [11.0]], np.float32),
        "next_obs": np.array([[1.0], [2.0], [3.0], [11.0], [12.0]], np.float32),
        "action": np.arange(5, dtype=np.float32)[:, None],
        "reward": np.arange(5, dtype=np.float32),
        "done": np.array([0, 0, 0, 0, 1], np.float32),
        "truncated": np.array([0, 0, 1, 0, 0], np.float32),
    }


def neorl_arrays() -> Arrays:
    arrays = neorl2_arrays()
    del arrays["truncated"]
    arrays |= {"index": np.array([3, 5]), "reward": arrays["reward"][:, None], "done": arrays["done"][:, None]}
    return arrays


def stable_baselines_arrays() -> Arrays:
    return {
        "actions": np.arange(5)[:, None],
        "obs": np.array([[0.0], [1.0], [2.0], [10.0], [11.0]], np.float32),
        "rewards": np.arange(5.0),
        "episode_returns": np.array([3.0, 7.0]),
        "episode_starts": np.array([1, 0, 0, 1, 0], bool),
    }


def imitation_arrays() -> Arrays:
    return {
        "obs": np.array([[0.0], [1.0], [2.0], [3.0], [10.0], [11.0], [12.0]], np.float32),
        "acts": np.arange(5),
        "rews": np.arange(5.0),
        "terminal": np.array([True, False]),
        "indices": np.array([3]),
    }


def ogbench_arrays() -> Arrays:
    return {
        "observations": np.array([[0.0], [1.0], [2.0], [3.0], [10.0], [11.0], [12.0]], np.float32),
        "actions": np.array([[0.0], [1.0], [2.0], [-9.0], [3.0], [4.0], [-9.0]], np.float32),
        "terminals": np.array([0, 0, 0, 1, 0, 0, 1], bool),
        "qpos": np.arange(14.0).reshape(7, 2),
    }


def npz_arrays() -> Arrays:
    return {
        "observations": np.arange(5.0)[:, None],
        "actions": np.arange(5.0)[:, None],
        "rewards": np.arange(5.0),
        "terminations": np.array([0, 0, 1, 0, 0], bool),
        "truncations": np.array([0, 0, 0, 0, 1], bool),
    }


ARCHIVES: dict[str, Callable[[], Arrays]] = {
    "neorl": neorl2_arrays,
    "stable_baselines": stable_baselines_arrays,
    "imitation": imitation_arrays,
    "ogbench": ogbench_arrays,
    "npz": npz_arrays,
}


OPTIONAL = ("truncated", "rews", "episode_returns", "qpos", "terminations", "truncations")


def save(path: Path, arrays: Arrays) -> Path:
    np.savez(path, **arrays)
    return path


def save_procgen(folder: Path, *, name: str = "20230329T190805_0_2_56_10.00.npz", **changes: Any) -> Path:
    arrays: Arrays = {
        "observations": np.arange(3 * 12, dtype=np.uint8).reshape(3, 3, 2, 2),
        "actions": np.array([[4], [7]]),
        "rewards": np.array([[0.0], [10.0]], np.float32),
        "dones": np.array([False, True]),
    }
    folder.mkdir(exist_ok=True)
    np.savez_compressed(folder / name, **{key: value for key, value in (arrays | changes).items() if value is not None})
    return folder


# -------------------------------------------------------------------- what holds for all of them


@pytest.mark.parametrize("name", ARCHIVES)
def test_exactly_one_format_claims_a_file_whatever_it_is_called(name: str, tmp_path: Path) -> None:
    arrays = ARCHIVES[name]()
    assert claimed_by(save(tmp_path / "halfcheetah.npz", arrays)) == [name]
    assert claimed_by((tmp_path / "halfcheetah.npz").rename(tmp_path / "ogbench-neorl.bin")) == [name]


def test_a_folder_of_procgen_episodes_is_recognized_by_what_the_files_hold(tmp_path: Path) -> None:
    assert claimed_by(save_procgen(tmp_path / "a")) == ["gen_dgrl"]
    save_procgen(tmp_path / "b", dones=None)
    (tmp_path / "c").mkdir()
    (tmp_path / "c/20230329T190805_0_2_56_10.00.npz").write_text("nothing")
    (tmp_path / "d").mkdir()
    for folder in "bcd":
        assert claimed_by(tmp_path / folder) == []


@pytest.mark.parametrize("name", ARCHIVES)
def test_a_missing_array_is_named_with_the_file(name: str, tmp_path: Path) -> None:
    for missing in ARCHIVES[name]():
        arrays = ARCHIVES[name]()
        del arrays[missing]
        path = save(tmp_path / f"without-{missing}.npz", arrays)
        if missing in OPTIONAL or (name == "npz" and missing in ("actions", "rewards")):
            assert quietly(format_named(name).read, path).total_steps == 5
            continue
        with pytest.raises(FormatError, match=missing) as caught:
            quietly(format_named(name).read, path)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ARCHIVES)
@pytest.mark.parametrize("change", [lambda array: array[:-1], lambda array: np.concatenate([array, array]), np.ravel])
def test_arrays_of_other_lengths_are_refused_with_the_file(
    name: str, change: Callable[[np.ndarray], np.ndarray], tmp_path: Path
) -> None:
    for key in ARCHIVES[name]():
        arrays = ARCHIVES[name]()
        changed = change(arrays[key])
        if len(changed) == len(arrays[key]):
            continue
        path = save(tmp_path / "wrong.npz", {**arrays, key: changed})
        if key == "qpos":
            assert quietly(ogbench.read, path).info.extra["not_read"] == ["qpos"]
            continue
        with pytest.raises(DatasetError) as caught:
            quietly(format_named(name).read, path)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ARCHIVES)
def test_dtypes_are_kept(name: str, tmp_path: Path) -> None:
    arrays = ARCHIVES[name]()
    for key in ("obs", "next_obs", "observations"):
        if key in arrays:
            arrays[key] = arrays[key].astype(np.float16)
    for key in ("action", "acts", "actions"):
        if key in arrays:
            arrays[key] = arrays[key].astype(np.int8)
    dataset = quietly(format_named(name).read, save(tmp_path / "a.npz", arrays))
    assert (dataset.observations.dtype, dataset.actions.dtype) == (np.float16, np.int8)


@pytest.mark.parametrize("name", ARCHIVES)
def test_pickled_arrays_are_never_opened_and_what_is_not_read_is_named(name: str, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "sprung",))

    path = save(tmp_path / "a.npz", {**ARCHIVES[name](), "secrets": np.array([Trap()] * 5, object)})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        dataset = format_named(name).read(path)
    assert "secrets" in dataset.info.extra.get("not_read", []) or any("secrets" in str(item.message) for item in caught)
    assert not (tmp_path / "sprung").exists()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from([*ARCHIVES, "gen_dgrl"]),
    edits=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4),
    keep=st.one_of(st.just(1.0), st.just(1.0), st.floats(0, 1)),
)
@example(name="ogbench", edits=[(0.958984375, 1)], keep=1.0)  # the index says another length of what is not read
def test_a_damaged_file_is_refused_or_reads_the_same(
    tmp_path: Path, name: str, edits: list[tuple[float, int]], keep: float
) -> None:
    shutil.rmtree(tmp_path / "work", ignore_errors=True)
    if name == "gen_dgrl":
        path = save_procgen(tmp_path / "work")
        file = next(path.iterdir())
    else:
        (tmp_path / "work").mkdir()
        path = file = save(tmp_path / "work" / "a.npz", ARCHIVES[name]())
    expected = quietly(format_named(name).read, path)
    content = bytearray(file.read_bytes())
    for place, value in edits:
        content[int(place * len(content))] = value
    file.write_bytes(content[: round(keep * len(content))])
    assert claimed_by(path) in ([], [name])
    try:
        found = quietly(format_named(name).read, path)
    except AssayError:
        return
    assert found == expected


# -------------------------------------------------------------------- NeoRL

FACTS = {  # ../shared/data/README.md: rows, truncations, duplicate (s, a), duplicate (s, a, r, s')
    "DMSD-high-100000-train": (100_000, 1_000, 0, 0),
    "DMSD-high-20000-val": (20_000, 200, 10, 3),
    "Fusion-high-20000-val": (20_000, 200, 0, 0),
    "Pipeline-high-100000-train": (100_000, 100, 79, 78),
    "Pipeline-high-20000-val": (20_000, 20, 0, 0),
    "SafetyHalfCheetah-high-100000-train": (18_000, 18, 0, 0),
    "SafetyHalfCheetah-high-20000-val": (2_000, 2, 0, 0),
    "Salespromotion-high-20000-val": (20_000, 400, 535, 478),
}


@needs_shared
@pytest.mark.parametrize("name", FACTS)
def test_neorl2_data_has_the_facts_of_its_readme(name: str) -> None:
    steps, truncations, pairs, transitions = FACTS[name]
    path = SHARED / "neorl2" / f"{name}.npz"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = assay.load(path)
    assert dataset.info.id == name
    assert (dataset.total_steps, int(dataset.truncations.sum())) == (steps, truncations)
    assert dataset.total_episodes == truncations
    assert not dataset.terminations.any()
    assert not dataset.has_next_observations  # equal to the following observation inside every episode
    assert "final_observation" not in dataset.episode_columns
    assert np.abs(dataset.actions).max() <= 1
    rows = np.hstack([dataset.observations[dataset.observation_rows], dataset.actions])
    assert steps - len(np.unique(rows, axis=0)) == pairs
    findings = {finding.check: finding.count for finding in dataset.validate().findings}
    assert findings.pop("duplicate transitions", 0) == transitions
    assert (findings.pop("constant", None) is not None) == (name == "Pipeline-high-20000-val")
    with np.load(path) as file:
        assert dataset.next_observations.tobytes() == file["next_obs"].tobytes()
        assert dataset.rewards.tobytes() == file["reward"].tobytes()


def test_neorl2_flags_stay_apart(tmp_path: Path) -> None:
    dataset = neorl.read(save(tmp_path / "a.npz", neorl2_arrays()))
    assert dataset.episode_lengths.tolist() == [3, 2]
    assert dataset.terminations.tolist() == [False, False, False, False, True]
    assert dataset.truncations.tolist() == [False, False, True, False, False]
    assert dataset.observations.ravel().tolist() == [0, 1, 2, 3, 10, 11, 12]


def test_neorl_index_holds_the_ends_and_an_end_without_done_is_a_truncation(tmp_path: Path) -> None:
    dataset = neorl.read(save(tmp_path / "a.npz", neorl_arrays()))
    assert_same_columns(dataset, neorl.read(save(tmp_path / "b.npz", neorl2_arrays())))


def test_neorl_timeouts_are_not_terminations(tmp_path: Path) -> None:
    arrays = neorl2_arrays()
    arrays["done"][:] = 0
    arrays["truncated"][4] = 1
    dataset = neorl.read(save(tmp_path / "a.npz", arrays))
    assert not dataset.terminations.any()
    assert not dataset.transitions().terminations.any()


def test_neorl_next_observations_do_not_cross_the_border_of_an_episode(tmp_path: Path) -> None:
    arrays = neorl2_arrays()
    dataset = neorl.read(save(tmp_path / "a.npz", arrays))
    assert dataset.next_observations.tobytes() == arrays["next_obs"].tobytes()
    assert dataset.next_observations[2] != dataset.observations[dataset.observation_rows[3]]


def test_neorl_the_last_row_of_the_file_is_a_transition_too(tmp_path: Path) -> None:
    transitions = neorl.read(save(tmp_path / "a.npz", neorl2_arrays())).transitions()
    assert transitions.steps.tolist() == [0, 1, 2, 3, 4]
    assert transitions.next_observations[4] == 12


def test_neorl_next_observations_that_do_not_follow_are_kept(tmp_path: Path) -> None:
    arrays = neorl2_arrays()
    arrays["next_obs"][1] = 77
    dataset = neorl.read(save(tmp_path / "a.npz", arrays))
    assert dataset.next_observations.ravel().tolist() == [1, 77, 3, 11, 12]
    assert [finding.check for finding in dataset.validate().findings] == ["continuity"]


def test_neorl_without_truncated_or_index_only_done_ends_episodes(tmp_path: Path) -> None:
    arrays = neorl2_arrays()
    del arrays["truncated"]
    with pytest.warns(AssayWarning, match="neither truncated nor index"):
        dataset = neorl.read(save(tmp_path / "a.npz", arrays))
    assert dataset.episode_lengths.tolist() == [5]


def test_neorl_a_tail_after_the_last_flag_is_an_unended_episode(tmp_path: Path) -> None:
    arrays = neorl2_arrays()
    arrays["done"][:] = 0
    dataset = neorl.read(save(tmp_path / "a.npz", arrays))
    assert dataset.episode_lengths.tolist() == [3, 2]
    assert not dataset.truncations[4]
    assert [finding.check for finding in dataset.validate().findings] == ["episode end"]


@pytest.mark.parametrize("index", [[3], [3, 6], [5, 3], [0, 3, 5], [3.0, 5.0]])
def test_neorl_an_index_that_does_not_cut_the_rows_is_refused(index: list[float], tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="array index"):
        neorl.read(save(tmp_path / "a.npz", neorl_arrays() | {"index": np.array(index)}))


def test_neorl_a_flag_of_one_half_is_refused(tmp_path: Path) -> None:
    arrays = neorl2_arrays()
    arrays["done"][1] = 0.5
    with pytest.raises(DatasetError, match=r"array done, row 1: 0\.5 is not a flag"):
        neorl.read(save(tmp_path / "a.npz", arrays))


# -------------------------------------------------------------------- Stable Baselines


def test_stable_baselines_episodes_start_where_flagged_and_end_unknown(tmp_path: Path) -> None:
    with pytest.warns(AssayWarning, match="does not say how episodes ended"):
        dataset = stable_baselines.read(save(tmp_path / "a.npz", stable_baselines_arrays()))
    assert dataset.episode_lengths.tolist() == [3, 2]
    assert not dataset.terminations.any()
    assert not dataset.truncations.any()
    assert dataset.episode_columns["episode_returns"].tolist() == [3.0, 7.0]
    assert {finding.check for finding in dataset.validate().findings} == {"episode end", "final observation"}


def test_stable_baselines_next_observations_do_not_cross_the_border_of_an_episode(tmp_path: Path) -> None:
    dataset = quietly(stable_baselines.read, save(tmp_path / "a.npz", stable_baselines_arrays()))
    transitions = dataset.transitions()
    assert transitions.steps.tolist() == [0, 1, 3]
    assert transitions.next_observations.ravel().tolist() == [1, 2, 11]


def test_stable_baselines_returns_that_the_rewards_do_not_give_are_named(tmp_path: Path) -> None:
    arrays = stable_baselines_arrays() | {"episode_returns": np.array([3.0, 8.0])}
    with pytest.warns(AssayWarning) as caught:
        stable_baselines.read(save(tmp_path / "a.npz", arrays))
    assert "first in episode 1: 8 is stored, the rewards add up to 7" in str(caught[1].message)


@pytest.mark.parametrize("starts", [[0, 0, 0, 1, 0], [0, 0, 0, 0, 0]])
def test_stable_baselines_rows_before_the_first_start_are_refused(starts: list[int], tmp_path: Path) -> None:
    arrays = stable_baselines_arrays() | {"episode_starts": np.array(starts, bool)}
    with pytest.raises(DatasetError, match="the first row starts no episode"):
        quietly(stable_baselines.read, save(tmp_path / "a.npz", arrays))


@needs_shared
@pytest.mark.parametrize(("name", "steps"), [("expert_cartpole", 49_527), ("expert_pendulum", 20_000)])
def test_stable_baselines_published_recordings(name: str, steps: int) -> None:
    with pytest.warns(AssayWarning) as caught:
        dataset = assay.load(SHARED / "npz" / f"{name}.npz")
    assert len(caught) == 1  # the stored returns are the sums of the rewards
    assert (dataset.total_steps, dataset.total_episodes, dataset.info.id) == (steps, 100, name)
    np.testing.assert_allclose(dataset.returns, dataset.episode_columns["episode_returns"], rtol=1e-4)


# -------------------------------------------------------------------- imitation


def test_imitation_observations_are_split_with_one_row_more_per_trajectory(tmp_path: Path) -> None:
    dataset = imitation.read(save(tmp_path / "a.npz", imitation_arrays()))
    assert dataset.episode_lengths.tolist() == [3, 2]
    assert dataset.next_observations.ravel().tolist() == [1, 2, 3, 11, 12]
    assert "final_observation" not in dataset.episode_columns


def test_imitation_a_terminal_trajectory_terminates_and_a_fragment_is_truncated(tmp_path: Path) -> None:
    dataset = imitation.read(save(tmp_path / "a.npz", imitation_arrays()))
    assert dataset.terminations.tolist() == [False, False, True, False, False]
    assert dataset.truncations.tolist() == [False, False, False, False, True]
    assert dataset.validate().ok


def test_imitation_timeouts_are_not_terminations_where_the_limit_is_known(tmp_path: Path) -> None:
    dataset = imitation.read(save(tmp_path / "a.npz", imitation_arrays()), horizon=3)
    assert not dataset.terminations.any()
    assert dataset.truncations.tolist() == [False, False, True, False, True]
    with pytest.raises(ConfigError, match="horizon is 0"):
        imitation.read(tmp_path / "a.npz", horizon=0)


def test_imitation_a_single_trajectory_has_no_indices(tmp_path: Path) -> None:
    arrays = imitation_arrays() | {"indices": np.array([]), "terminal": np.array([True])}
    arrays["obs"] = arrays["obs"][:6]
    assert imitation.read(save(tmp_path / "a.npz", arrays)).episode_lengths.tolist() == [5]


def test_imitation_infos_are_listed_and_rewards_may_be_missing(tmp_path: Path) -> None:
    arrays = imitation_arrays() | {"infos": np.array([{}] * 5, object)}
    assert imitation.read(save(tmp_path / "a.npz", arrays)).info.extra == {"not_read": ["infos"]}
    del arrays["rews"]
    with pytest.warns(AssayWarning, match=r"has no rewards \(rews\)"):
        assert imitation.read(save(tmp_path / "b.npz", arrays)).missing["rewards"].all()


def test_imitation_one_observation_per_step_is_refused(tmp_path: Path) -> None:
    arrays = imitation_arrays()
    arrays["obs"] = arrays["obs"][:5]
    with pytest.raises(DatasetError, match="one more per episode"):
        imitation.read(save(tmp_path / "a.npz", arrays))


@needs_shared
@pytest.mark.parametrize(("name", "steps", "episodes"), [("cartpole", 26_964, 57), ("pendulum", 11_200, 56)])
def test_imitation_published_demonstrations(name: str, steps: int, episodes: int) -> None:
    dataset = assay.load(SHARED / "npz" / f"imitation_{name}_0_expert_rollouts.npz")
    assert (dataset.total_steps, dataset.total_episodes) == (steps, episodes)
    assert dataset.validate().ok
    lasts = dataset.episode_starts + dataset.episode_lengths - 1
    assert np.flatnonzero(dataset.terminations).tolist() == lasts.tolist()
    if name == "pendulum":  # which never terminates
        limited = assay.load(SHARED / "npz" / f"imitation_{name}_0_expert_rollouts.npz", horizon=200)
        assert np.flatnonzero(limited.truncations).tolist() == lasts.tolist()
        assert not limited.terminations.any()


# -------------------------------------------------------------------- OGBench


def test_ogbench_the_last_row_of_a_trajectory_is_no_transition(tmp_path: Path) -> None:
    dataset = ogbench.read(save(tmp_path / "a.npz", ogbench_arrays()))
    assert dataset.actions.ravel().tolist() == [0, 1, 2, 3, 4]
    assert dataset.next_observations.ravel().tolist() == [1, 2, 3, 11, 12]
    assert dataset.column("infos/qpos").tolist() == ogbench_arrays()["qpos"].tolist()


def test_ogbench_ends_are_truncations_and_rewards_are_zeros(tmp_path: Path) -> None:
    dataset = ogbench.read(save(tmp_path / "a.npz", ogbench_arrays()))
    assert not dataset.terminations.any()
    assert dataset.truncations.tolist() == [False, False, True, False, True]
    assert (dataset.rewards.dtype, dataset.rewards.any()) == (np.float32, False)
    assert "zeros" in dataset.info.extra["rewards"]
    assert [finding.check for finding in dataset.validate().findings] == ["zero rewards"]


def test_ogbench_agrees_with_its_own_loader(tmp_path: Path) -> None:
    arrays = ogbench_arrays()
    dataset = ogbench.read(save(tmp_path / "a.npz", arrays))
    # ogbench.utils.load_dataset, regular form: rows but the last of each trajectory, the following row, and the next
    # row's terminal.
    keep = ~arrays["terminals"]
    following = np.concatenate([arrays["observations"][1:], arrays["observations"][-1:]])[keep]
    ends = np.concatenate([arrays["terminals"][1:], [True]])[keep]
    assert dataset.observations[dataset.observation_rows].tolist() == arrays["observations"][keep].tolist()
    assert dataset.next_observations.tolist() == following.tolist()
    assert dataset.truncations.tolist() == ends.tolist()


def test_ogbench_rows_after_the_last_end_are_an_unended_episode_without_a_made_up_step(tmp_path: Path) -> None:
    arrays = {name: array[:6] for name, array in ogbench_arrays().items()}
    dataset = ogbench.read(save(tmp_path / "a.npz", arrays))
    assert dataset.episode_lengths.tolist() == [3, 1]
    assert not dataset.truncations[3]


def test_ogbench_a_trajectory_of_one_row_is_refused(tmp_path: Path) -> None:
    for terminals in ([0, 0, 0, 1, 1, 0, 1], [0, 0, 0, 1, 0, 1, 0]):
        with pytest.raises(DatasetError, match=r"trajectory \d has a single row"):
            ogbench.read(save(tmp_path / "a.npz", ogbench_arrays() | {"terminals": np.array(terminals, bool)}))


def without(dataset: Dataset, *, rewards: bool = True) -> Dataset:
    """The part of a dataset that OGBench can hold: states, actions and infos with final rows, in truncated episodes."""
    lasts = dataset.episode_starts + dataset.episode_lengths - 1
    truncations = np.zeros(dataset.total_steps, bool)
    truncations[lasts] = True
    columns: Arrays = {
        "rewards": np.zeros(dataset.total_steps, np.float32),
        "terminations": np.zeros(dataset.total_steps, bool),
        "truncations": truncations,
    }
    final_rows = dataset.total_steps + dataset.total_episodes
    kept = {
        name: dataset.column(name)
        for name in dataset.columns
        if name in ("observations", "actions") or (name.startswith("infos") and len(dataset.column(name)) == final_rows)
    }
    return Dataset(kept | columns, dataset.episode_lengths)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(dataset=datasets())
def test_ogbench_gives_back_what_it_can_hold(tmp_path: Path, dataset: Dataset) -> None:
    path = tmp_path / "a.npz"
    if not {"observations", "actions"} <= set(dataset.columns):
        with pytest.raises(DatasetError, match="nested, and OGBench holds one array"):
            ogbench.write(dataset, path, overwrite=True)
        return
    quietly(ogbench.write, dataset, path, overwrite=True, drop=["rewards", "terminations"])
    assert claimed_by(path) == ["ogbench"]
    assert ogbench.read(path) == without(dataset)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ogbench.write(without(dataset), path, overwrite=True)
    assert ogbench.read(path) == without(dataset)


def test_ogbench_long_episodes_come_back(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    lengths = [40_000, 1, 32_768]
    steps = sum(lengths)
    dataset = without(
        Dataset(
            {
                "observations": random_array(generator, "float32", (steps + 3, 2)),
                "actions": random_array(generator, "int32", (steps,)),
                "rewards": np.zeros(steps),
                "terminations": np.zeros(steps, bool),
                "truncations": np.zeros(steps, bool),
            },
            lengths,
        )
    )
    ogbench.write(dataset, tmp_path / "a.npz")
    assert ogbench.read(tmp_path / "a.npz") == dataset


def test_ogbench_says_what_becomes_of_flags_and_unknown_finals(tmp_path: Path) -> None:
    truncations = clean_dataset().truncations.copy()
    truncations[8] = True
    known = np.arange(10) != 4
    dataset = clean_dataset(truncations=truncations, episode_columns={"final_observation": known})
    with pytest.warns(AssayWarning) as caught:
        ogbench.write(dataset, tmp_path / "a.npz", drop=["rewards"])
    assert len(caught) == 1
    message = str(caught[0].message)
    for text in (
        "rewards",
        "end flags anywhere but",
        "the last step of 1 episodes, whose final observation is unknown",
    ):
        assert text in message


def test_ogbench_invents_no_transition_where_the_final_observation_is_unknown(tmp_path: Path) -> None:
    known = np.arange(10) != 4
    dataset = clean_dataset(episode_columns={"final_observation": known})
    with warnings.catch_warnings(action="ignore", category=AssayWarning):
        ogbench.write(dataset, tmp_path / "a.npz", drop=["rewards"])
    again = ogbench.read(tmp_path / "a.npz")
    assert again.episode_lengths.tolist() == [6, 6, 6, 6, 5, 6, 6, 6, 6, 6]
    steps = dataset.transitions().steps
    assert again.actions.tolist() == dataset.actions[steps].tolist()
    assert again.next_observations.tolist() == dataset.next_observations[steps].tolist()
    short = clean_dataset(steps=3, length=1, episode_columns={"final_observation": np.array([True, False, True])})
    with pytest.raises(DatasetError, match="episode 1 has one step"):
        ogbench.write(short, tmp_path / "b.npz")
    assert not (tmp_path / "b.npz").exists()


def test_ogbench_of_states_beside_goals_the_states_are_written(tmp_path: Path) -> None:
    plain = ogbench.read(save(tmp_path / "scene-play-v0.npz", ogbench_arrays()))
    with_goals = HindsightGoals()(plain)
    assert with_goals.info.environment_id == "assay/OGBench-scene-v0"
    with pytest.warns(AssayWarning, match="goals"):
        ogbench.write(with_goals, tmp_path / "again.npz")
    assert ogbench.read(tmp_path / "again.npz") == plain


# -------------------------------------------------------------------- gen_dgrl


def test_gen_dgrl_episodes_come_in_the_order_they_were_played(tmp_path: Path) -> None:
    folder = save_procgen(tmp_path / "a", name="20230329T190805_10_2_7_10.00.npz", actions=np.array([[3], [3]]))
    save_procgen(folder, name="20230329T190805_9_2_8_1.00.npz", rewards=np.array([[0.0], [1.0]], np.float32))
    save_procgen(folder, name="20230328T190805_11_2_-1_-2.50.npz", rewards=np.array([[0.0], [-2.5]], np.float32))
    dataset = assay.load(folder)
    assert dataset.episode_columns["seed"].tolist() == [-1, 8, 7]
    assert dataset.episode_columns["index"].tolist() == [11, 9, 10]
    assert dataset.returns.tolist() == [-2.5, 1.0, 10.0]
    assert dataset.actions.ravel().tolist() == [4, 7, 4, 7, 3, 3]
    assert dataset.info.id == "a"


def test_gen_dgrl_the_first_observation_of_the_next_level_is_no_final_observation(tmp_path: Path) -> None:
    with_reset = gen_dgrl.read(save_procgen(tmp_path / "a"))
    frames = np.arange(36, dtype=np.uint8).reshape(3, 3, 2, 2)
    without_reset = gen_dgrl.read(save_procgen(tmp_path / "b", observations=frames[:2]))
    assert_same_columns(with_reset, without_reset)
    assert not with_reset.episode_columns["final_observation"].any()
    assert with_reset.transitions(keep_terminal=False).steps.tolist() == [0]


def test_gen_dgrl_can_do_as_its_own_loader(tmp_path: Path) -> None:
    dataset = gen_dgrl.read(save_procgen(tmp_path / "a"), zero_final=True)
    transitions = dataset.transitions()
    assert transitions.rewards.tolist() == [0, 10]
    assert transitions.terminations.tolist() == [False, True]
    assert not transitions.next_observations[1].any()


def test_gen_dgrl_timeouts_are_not_terminations_where_the_limit_is_known(tmp_path: Path) -> None:
    folder = save_procgen(tmp_path / "a")
    assert gen_dgrl.read(folder).terminations.tolist() == [False, True]
    limited = gen_dgrl.read(folder, horizon=2)
    assert (limited.terminations.any(), limited.truncations.tolist()) == (False, [False, True])
    with pytest.raises(ConfigError, match="horizon is 0"):
        gen_dgrl.read(folder, horizon=0)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("20230329T190805_0_3_56_10.00.npz", {}, "the name says 3 steps, but there are 2"),
        ("20230329T190805_0_2_56_10.02.npz", {}, "the name says a return of 10.02, but the rewards add up to 10"),
        (None, {"rewards": np.array([[np.nan], [10]], np.float32)}, "add up to nan"),
        (None, {"observations": np.zeros((4, 3, 2, 2), np.uint8)}, "array observations has 4 rows"),
        (None, {"actions": np.zeros((3, 1), np.int64)}, r"array actions is int64\[3, 1\], but int64\[2, 1\]"),
        (None, {"dones": np.array([0, 2])}, "array dones, row 1: 2 is not a flag"),
        (None, {"dones": np.array([True])}, "array dones is bool"),
        (None, {"rewards": None}, "there is no array rewards"),
    ],
)
def test_gen_dgrl_a_file_that_is_not_what_its_name_says_is_named(
    name: str | None, changes: Arrays, message: str, tmp_path: Path
) -> None:
    name = name or "20230329T190805_0_2_56_10.00.npz"
    folder = save_procgen(tmp_path / "a", name=name, **changes)
    with pytest.raises(DatasetError, match=message) as caught:
        gen_dgrl.read(folder)
    assert name in str(caught.value)


def test_gen_dgrl_files_that_differ_or_repeat_are_named(tmp_path: Path) -> None:
    folder = save_procgen(tmp_path / "a")
    other = "20230329T190806_1_2_3_10.00.npz"
    save_procgen(folder, name=other, observations=np.zeros((3, 3, 2, 2), np.float32))
    with pytest.raises(DatasetError, match="observations is float32") as caught:
        gen_dgrl.read(folder)
    assert other in str(caught.value)
    (folder / other).unlink()
    save_procgen(folder, name="20230329T190805_0_2_57_10.00.npz")
    with pytest.raises(DatasetError, match="are the same episode"):
        gen_dgrl.read(folder)


def test_gen_dgrl_names_what_else_lies_in_the_folder(tmp_path: Path) -> None:
    folder = save_procgen(tmp_path / "a")
    (folder / "readme.txt").touch()
    (folder / ".hidden").touch()
    with pytest.warns(AssayWarning, match=r"1 entries that are no episodes; they are not read: readme\.txt"):
        gen_dgrl.read(folder)


def test_gen_dgrl_a_name_that_promises_more_than_the_files_hold_is_refused_before_memory_is_set_aside(
    tmp_path: Path,
) -> None:
    folder = save_procgen(tmp_path / "a", name="20230329T190805_0_999999999999_56_10.00.npz")
    with pytest.raises(FormatError, match="the names promise 999999999999 steps"):
        gen_dgrl.read(folder)
    (tmp_path / "b").mkdir()
    with pytest.raises(FormatError, match="holds no files named"):
        gen_dgrl.read(tmp_path / "b")


# -------------------------------------------------------------------- plain npz


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(dataset=datasets(), compress=st.booleans())
def test_npz_gives_every_dataset_back(tmp_path: Path, dataset: Dataset, compress: bool) -> None:
    path = tmp_path / "a.npz"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        npz.write(dataset, path, overwrite=True, compress=compress)
        again = npz.read(path)
    assert claimed_by(path) == ["npz"]
    assert again == dataset
    assert_same_columns(again, dataset)


def test_npz_keeps_extra_columns_info_and_history(tmp_path: Path) -> None:
    info = DatasetInfo(
        id="mine",
        action_space=Box((2,), "float32", [-1.0, -np.inf], [1.0, 1.0]),
        reference_scores=ReferenceScores(0.0, 1.0, "a paper"),
        extra={"a": [1, {"b": None}]},
    )
    dataset = clean_dataset(
        next_observations=np.zeros((60, 3)),
        weights=np.ones(60),
        costs=np.ones(60, np.float16),
        **{"corrupted/rewards": np.ones(60, bool), "infos/note": np.array(["é", ""] * 30), "infos/x.npy": np.ones(70)},
        episode_columns={"seed": np.arange(10), "name": np.array(["a"] * 10), "final_observation": np.arange(10) > 2},
        info=info,
    ).replace(record=Record("source", {"name": "x"}, version="0"))
    npz.write(dataset, tmp_path / "a.npz")
    again = assay.load(tmp_path / "a.npz")
    assert again == dataset
    assert (again.info, again.history) == (dataset.info, dataset.history)
    assert dict(again.episode_columns).keys() == dict(dataset.episode_columns).keys()


def test_npz_long_episodes_come_back(tmp_path: Path) -> None:
    dataset = clean_dataset(steps=120_000, length=40_000)
    npz.write(dataset, tmp_path / "a.npz")
    assert npz.read(tmp_path / "a.npz") == dataset


def test_npz_stored_next_observations_are_kept_even_where_they_follow(tmp_path: Path) -> None:
    dataset = clean_dataset()
    dataset = dataset.replace({"next_observations": dataset.next_observations})
    npz.write(dataset, tmp_path / "a.npz")
    assert npz.read(tmp_path / "a.npz") == dataset


def test_npz_a_column_with_the_name_of_the_episodes_cannot_be_written(tmp_path: Path) -> None:
    for name in ("episode_lengths", "episodes/seed", "assay"):
        with pytest.raises(DatasetError, match=f"column {name}"):
            npz.write(clean_dataset(**{name: np.zeros(60)}), tmp_path / "a.npz")
    npz.write(clean_dataset(), tmp_path / "a.npz")
    with pytest.raises(DatasetError, match="exists already"):
        npz.write(clean_dataset(), tmp_path / "a.npz")


@pytest.mark.parametrize(
    "plain", ["", "[" * 100_000, "{}", '{"info": {"id": 3, "what": 1}, "history": []}', '{"info": {}, "history": 3}']
)
def test_npz_a_damaged_description_is_refused(plain: str, tmp_path: Path) -> None:
    arrays = npz_arrays() | {"episode_lengths": np.array([3, 1]), "assay": np.array(plain)}
    with pytest.raises(FormatError, match=r"array assay is damaged|not a history record|unknown fields"):
        npz.read(save(tmp_path / "a.npz", arrays))


def test_npz_a_mapping_gives_other_names_their_meaning(tmp_path: Path) -> None:
    arrays = {
        "state": np.arange(7.0),
        "act": np.zeros(5),
        "rew": np.ones(5),
        "len": np.array([3, 2]),
        "qpos": np.ones(5),
    }
    path = save(tmp_path / "a.npz", arrays | {"done": np.array([0, 0, 1, 0, 0.0])})
    assert claimed_by(path) == []
    columns = {
        "observations": "state",
        "actions": "act",
        "rewards": "rew",
        "terminations": "done",
        "infos/qpos": "qpos",
    }
    with pytest.warns(AssayWarning, match="it has no truncations"):
        dataset = assay.load(path, format="npz", columns=columns, episode_lengths="len")
    assert dataset.next_observations.tolist() == [1, 2, 3, 5, 6]
    assert dataset.terminations.tolist() == [False, False, True, False, False]
    assert "infos/qpos" in dataset.columns
    with pytest.raises(ConfigError, match="there is no array 'lengths'"):
        npz.read(path, columns=columns, episode_lengths="lengths")
    with pytest.raises(FormatError, match=r'Say which arrays they are: columns=\{"observations": "\.\.\."'):
        npz.read(path)


@pytest.mark.parametrize(
    ("option", "array"),
    [
        ("episode_lengths", [3, 2]),
        ("episode_ends", [3, 5]),
        ("episode_starts", [0, 3]),
        ("episode_starts", [1, 0, 0, 1, 0]),
    ],
)
@pytest.mark.parametrize("named", [True, False])
def test_npz_episodes_are_found_by_lengths_ends_or_starts(
    option: str, array: list[int], named: bool, tmp_path: Path
) -> None:
    arrays = npz_arrays()
    del arrays["terminations"], arrays["truncations"]
    path = save(tmp_path / "a.npz", arrays | {"where" if named else option: np.array(array)})
    with pytest.warns(AssayWarning, match="it has no terminations, so none is set; it has no truncations"):
        dataset = npz.read(path, **({option: "where"} if named else {}))  # type: ignore[arg-type]
    assert dataset.episode_lengths.tolist() == [3, 2]
    assert not dataset.episode_columns["final_observation"].any()


def test_npz_one_number_per_episode_becomes_an_episode_column_and_more_are_named(tmp_path: Path) -> None:
    arrays = npz_arrays() | {
        "episode_lengths": np.array([3, 2]),
        "level": np.array([7, 8]),
        "length": np.array([3, 2]),  # computed from the steps
        "init_qpos": np.zeros((2, 30)),
    }
    with pytest.warns(AssayWarning, match="arrays that are not read: init_qpos, length "):
        dataset = npz.read(save(tmp_path / "a.npz", arrays))
    assert dataset.episode_columns["level"].tolist() == [7, 8]


@needs_shared
def test_npz_the_adroit_demonstrations_load_as_they_are() -> None:
    path = SHARED / "npz/adroit_door_human_demos.npz"
    with pytest.warns(AssayWarning) as caught:
        dataset = assay.load(path)
    message = str(caught[0].message)
    assert len(caught) == 1
    for name in ("terminations", "truncations", "init_door_body_pos", "init_qpos", "init_qvel"):
        assert name in message
    assert (dataset.total_steps, dataset.total_episodes) == (6_729, 25)
    assert not dataset.episode_columns["final_observation"].any()
    with np.load(path) as file:
        assert dataset.episode_lengths.tolist() == file["episode_lengths"].tolist()
        assert dataset.observations[dataset.observation_rows].tobytes() == file["observations"].tobytes()


# -------------------------------------------------------------------- the real files, there and back


@needs_shared
@pytest.mark.parametrize("file", sorted(SHARED.glob("n*/*.npz")), ids=lambda file: file.stem)
def test_every_real_file_survives_plain_npz_and_ogbench(file: Path, tmp_path: Path) -> None:
    assert len(claimed_by(file)) == 1
    dataset = quietly(assay.load, file)
    assay.save(dataset, tmp_path / "a.npz", format="npz")
    assert assay.load(tmp_path / "a.npz") == dataset
    quietly(assay.save, dataset, tmp_path / "b.npz", format="ogbench", drop=["rewards", "terminations"])
    again = assay.load(tmp_path / "b.npz")
    assert again.actions.tobytes() == dataset.actions[dataset.transition_steps(keep_terminal=False)].tobytes()
