"""Live Minari objects, polars and pandas frames: what goes out says the same, and what comes back is equal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import minari
import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import assay
from assay.datasets import Dataset, DatasetInfo, replay
from assay.datasets.errors import AssayError, ConfigError, DatasetError
from assay.datasets.spaces import Box
from tests.datasets.dataset_strategies import assert_same_columns, clean_dataset


@pytest.fixture(autouse=True)
def _folder_of_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))


def pendulum(**changes: Any) -> Dataset:
    spec = gymnasium.make("Pendulum-v1", max_episode_steps=6, g=2.0).spec
    assert spec is not None
    info = DatasetInfo(
        env_spec=spec.to_json(),
        observation_space=Box((3,), "float64", [-np.inf] * 3, [np.inf] * 3),
        action_space=Box((2,), "float32", [-1.0] * 2, [1.0] * 2),
        authors=("A",),
        description="a test",
    )
    return clean_dataset(info=info, **changes)


@pytest.mark.parametrize("data_format", ["hdf5", "arrow", "parquet"])
def test_a_dataset_goes_to_minari_and_comes_back(data_format: str) -> None:
    dataset = pendulum()
    live = dataset.to_minari("own/pendulum-v0", data_format=data_format)
    assert isinstance(live, minari.MinariDataset)
    assert (live.total_episodes, live.total_steps, live.id) == (10, 60, "own/pendulum-v0")
    assert live.env_spec is not None
    assert live.env_spec.max_episode_steps == 6
    for number, episode in enumerate(minari.load_dataset("own/pendulum-v0").iterate_episodes()):
        own = dataset.select([number])
        np.testing.assert_array_equal(episode.observations, own.observations)
        np.testing.assert_array_equal(episode.actions, own.actions)
        np.testing.assert_array_equal(episode.rewards, own.rewards)
        np.testing.assert_array_equal(episode.truncations, own.truncations)
    again = assay.from_minari(live)
    assert_same_columns(again, dataset)
    assert (again.info.authors, again.info.environment_id) == (("A",), "Pendulum-v1")


def test_what_minari_made_is_read_and_what_it_filtered_is_left_out() -> None:
    from minari.data_collector import EpisodeBuffer

    generator = np.random.default_rng(0)
    environment = gymnasium.make("Pendulum-v1", max_episode_steps=5)
    buffers = [
        EpisodeBuffer(
            id=number,
            seed=number,
            observations=generator.normal(size=(6, 3)).astype(np.float32),
            actions=generator.uniform(-2, 2, (5, 1)).astype(np.float32),
            rewards=[float(number)] * 5,
            terminations=[False] * 5,
            truncations=[False] * 4 + [True],
        )
        for number in range(4)
    ]
    live = minari.create_dataset_from_buffers(
        "own/made-v0", buffer=buffers, env=environment, eval_env=gymnasium.make("Pendulum-v1", g=3.0)
    )
    dataset = assay.from_minari(live)
    assert dataset.returns.tolist() == [0.0, 5.0, 10.0, 15.0]
    assert dataset.episode_columns["seed"].tolist() == [0, 1, 2, 3]
    assert '"g": 3.0' in dataset.info.extra["eval_env_spec"]
    filtered = live.filter_episodes(lambda episode: episode.rewards.sum() > 7)
    part = assay.from_minari(filtered)
    assert part.returns.tolist() == [10.0, 15.0]
    assert replay(part.history) == part
    assert part.to_minari("own/part-v0").total_episodes == 2


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lengths=st.lists(st.integers(1, 5), min_size=1, max_size=4), seed=st.integers(0, 2**32 - 1), nested=st.booleans()
)
def test_any_dataset_of_arrays_survives_the_way_through_minari(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], seed: int, nested: bool
) -> None:
    generator = np.random.default_rng(seed)
    steps, rows = sum(lengths), sum(lengths) + len(lengths)
    ends = np.isin(np.arange(steps), np.cumsum(lengths) - 1)
    terminal = generator.random(steps) < 0.5
    observations: Any = generator.normal(size=(rows, 2)).astype(np.float32)
    if nested:
        observations = {"goal": observations, "here": generator.normal(size=(rows, 1))}
    dataset = Dataset.from_arrays(
        observations=observations,
        actions=generator.normal(size=(steps, 1)),
        rewards=generator.normal(size=steps),
        terminations=ends & terminal,
        truncations=ends & ~terminal,
    )
    folder = tmp_path_factory.mktemp("exchange") / "any-v0"
    live = dataset.to_minari("own/any-v0", path=folder)
    assert_same_columns(assay.from_minari(live), dataset)


def test_an_id_that_is_taken_or_impossible_is_refused(tmp_path: Path) -> None:
    pendulum().to_minari("own/pendulum-v0")
    with pytest.raises(DatasetError, match="exists"):
        pendulum().to_minari("own/pendulum-v0")
    pendulum(seed=1).to_minari("own/pendulum-v0", overwrite=True)
    for wrong in ("pendulum", "../pendulum-v0", "", 3, None):
        with pytest.raises(AssayError):
            pendulum().to_minari(wrong)  # type: ignore[arg-type]
    assert not (tmp_path / "pendulum-v0").exists()


@pytest.mark.parametrize("wrong", [None, "own/pendulum-v0", 3, clean_dataset()])
def test_from_minari_takes_minari_datasets_only(wrong: Any) -> None:
    with pytest.raises(ConfigError, match=r"takes a MinariDataset.*not (NoneType|str|int|Dataset)"):
        assay.from_minari(wrong)


# -------------------------------------------------------------------- frames


def test_polars_and_pandas_frames_say_the_same_steps() -> None:
    dataset = clean_dataset(**{"infos/late": np.arange(70)})
    frame, table = dataset.to_polars(), dataset.to_pandas()
    assert isinstance(frame, pl.DataFrame)
    assert isinstance(table, pd.DataFrame)
    assert len(frame) == len(table) == 60
    np.testing.assert_array_equal(frame["observations"].to_numpy(), dataset.observations[dataset.observation_rows])
    np.testing.assert_array_equal(
        table[["observations_0", "observations_1", "observations_2"]], frame["observations"].to_numpy()
    )
    assert table["infos/late"].tolist() == dataset.observation_rows.tolist()
    pd.testing.assert_frame_equal(dataset.steps().to_pandas(), table)


def test_a_filtered_frame_of_steps_still_becomes_pandas() -> None:
    table = clean_dataset().steps().filter(pl.col("episode") == 3).sort("rewards").to_pandas()
    assert isinstance(table, pd.DataFrame)
    assert table["rewards"].is_monotonic_increasing
    assert table["episode"].unique().tolist() == [3]


def test_episodes_and_selections_need_no_polars() -> None:
    dataset = clean_dataset()
    table = dataset.episodes.to_pandas()
    chosen = dataset.select(table["return"] > table["return"].median())
    assert chosen.total_episodes == 5
    assert dataset.select(table.index[:2]).total_episodes == 2
