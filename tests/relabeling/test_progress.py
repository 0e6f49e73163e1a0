"""Progress: a sidecar that goes out and comes in unchanged, and rewards, advantages and weights by their definitions."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

import assay
from assay.cli import main
from assay.datasets import Dataset
from assay.datasets.errors import ConfigError, DatasetError, FormatError
from assay.relabeling import ProgressLabels, read_progress, write_progress
from assay.relabeling.progress.use import ADVANTAGE

PROGRESS = np.array([0.0, 0.25, 0.5, 1.0, 0.5, 0.25], np.float32)  # one episode gains, the other loses


@pytest.fixture
def dataset() -> Dataset:
    ends = np.array([False, False, False, True, False, True])
    return Dataset.from_arrays(
        observations=np.arange(8.0),
        actions=np.zeros(6),
        rewards=np.arange(6.0),
        terminations=ends,
        truncations=np.zeros(6, bool),
        columns={"infos/progress": PROGRESS},
    )


def test_what_is_written_is_read_again(dataset, tmp_path):
    path = tmp_path / "mine_progress.parquet"
    partly = np.where(np.arange(6) == 2, np.nan, PROGRESS).astype(np.float32)
    write_progress(path, dataset, dense=PROGRESS, sparse=partly)
    frame = pl.read_parquet(path)
    assert frame.columns == ["index", "episode_index", "progress_sparse", "progress_dense"]
    assert frame["episode_index"].to_list() == [0, 0, 0, 0, 1, 1]
    found = read_progress(path, dataset)
    np.testing.assert_array_equal(found.dense, PROGRESS)
    np.testing.assert_array_equal(found.sparse, partly)
    frame.sample(fraction=1.0, shuffle=True, seed=1).with_columns(extra=1).write_parquet(
        path
    )  # others' order and columns
    np.testing.assert_array_equal(read_progress(path, dataset).dense, PROGRESS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"index": [0, 1, 2, 3, 4, 6]}, "row 5 is about step 6"),
        ({"episode_index": [0, 0, 0, 1, 1, 1]}, "row 3 says that step 3 is of episode 1"),
        ({"index": [0, 1, 2, 3, 4, 4]}, "step 4 has more than one row"),
        ({"progress_dense": [0.0, 0.0, 0.0, 1.5, 0.0, 0.0]}, "is 1.5 in row 3"),
        ({"index": [0.0] * 6}, "column index is Float64"),
        ({"progress_dense": ["high"] * 6}, "expected numbers"),
    ],
)
def test_a_file_of_another_dataset_or_of_no_progress_is_refused(dataset, tmp_path, change, message):
    path = tmp_path / "sarm_progress.parquet"
    columns = {"index": list(range(6)), "episode_index": [0, 0, 0, 0, 1, 1], "progress_dense": PROGRESS.tolist()}
    pl.DataFrame({**columns, **change}).write_parquet(path)
    with pytest.raises(FormatError, match=message):
        read_progress(path, dataset)


def test_files_that_are_none_and_names_that_nobody_finds(dataset, tmp_path):
    with pytest.raises(FormatError, match="does not exist"):
        read_progress(tmp_path / "absent", dataset)
    (tmp_path / "text").write_text("progress")
    with pytest.raises(FormatError, match="no parquet file"):
        read_progress(tmp_path / "text", dataset)
    with pytest.raises(ConfigError, match=r"ends in _progress\.parquet"):
        write_progress(tmp_path / "progress.parquet", dataset, dense=PROGRESS)
    with pytest.raises(ConfigError, match="of step 3 is 2"):
        write_progress(tmp_path / "a_progress.parquet", dataset, dense=PROGRESS * 2)
    assert list(tmp_path.glob("*.parquet")) == []


def test_gains_sum_to_what_the_episode_gained_and_levels_are_those_reached(dataset):
    gains = ProgressLabels(column="infos/progress")(dataset)
    assert gains.rewards.tolist() == [0.25, 0.25, 0.5, 0.0, -0.25, 0.0]
    assert gains.returns.tolist() == [1.0, -0.25]
    assert gains.column("truth/rewards").tolist() == dataset.rewards.tolist()
    assert ProgressLabels(column="infos/progress", reward="level")(dataset).rewards.tolist() == [
        0.25,
        0.5,
        1,
        1,
        0.25,
        0.25,
    ]


def test_an_advantage_looks_ahead_inside_the_episode(dataset):
    found = ProgressLabels(column="infos/progress", use="advantage", horizon=2)(dataset).column(ADVANTAGE)
    assert found.tolist() == [0.5, 0.75, 0.5, 0.0, -0.25, 0.0]


def test_the_weights_are_those_of_the_paper(dataset):
    labels = ProgressLabels(column="infos/progress", use="weights", horizon=1, kappa=0.3)
    gains = np.array([0.25, 0.25, 0.5, 0.0, -0.25, 0.0])
    mean, deviation = gains.mean(), gains.std()
    soft = (gains - mean + 2 * deviation) / (4 * deviation + 1e-6)
    expected = [soft[0], soft[1], 1.0, soft[3], 0.0, soft[5]]  # between 0 and kappa soft, above it 1, below 0 nothing
    np.testing.assert_allclose(labels(dataset).weights, expected, atol=1e-6)
    backwards = dataset.replace({"infos/progress": np.array([1.0, 0.8, 0.6, 0.4, 0.2, 0.0])})
    with pytest.raises(DatasetError, match="longer horizon"):
        ProgressLabels(column="infos/progress", use="weights", horizon=1, kappa=0.3)(
            backwards.replace({"infos/progress": np.full(6, np.nan)})
        )


def test_steps_without_progress_have_no_reward_and_no_weight(dataset):
    partly = dataset.replace({"infos/progress": np.where(np.arange(6) == 1, np.nan, PROGRESS)})
    rewarded = ProgressLabels(column="infos/progress")(partly)
    assert rewarded.missing["rewards"].tolist() == [True, True, False, False, False, False]
    weighted = ProgressLabels(column="infos/progress", use="weights", horizon=1)(partly)
    assert weighted.weights[:2].tolist() == [0.0, 0.0]


def test_the_command_writes_a_sidecar_and_makes_weights_of_it(dataset, tmp_path, capsys):
    source, sidecar, output = tmp_path / "data", tmp_path / "mine_progress.parquet", tmp_path / "weighted"
    assay.save(dataset, source)
    main(["relabel", "progress", str(source), "--column", "infos/progress", "--export", str(sidecar)])
    main(
        [
            "relabel",
            "progress",
            str(source),
            "--source",
            str(sidecar),
            "--use",
            "weights",
            "--horizon",
            "1",
            "-o",
            str(output),
        ]
    )
    expected = ProgressLabels(column="infos/progress", use="weights", horizon=1)(dataset).weights
    np.testing.assert_array_equal(assay.load(output).weights, expected)
    assert "have a positive weight" in capsys.readouterr().out
