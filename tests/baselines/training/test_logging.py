"""Loggers: every point of a run arrives once, with real TensorBoard and W&B files, also after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from assay.baselines import BC, Evaluation, Job, Run, train
from assay.baselines.training.logging import TensorBoard, WeightsAndBiases
from assay.datasets.errors import ConfigError
from assay.datasets.info import ReferenceScores
from tests.baselines.problems import pendulum_like

ROOT = Path(__file__).parents[3]
SMALL = {"hidden": (8,), "batch_size": 8}
Points = dict[str, list[tuple[int, float]]]


def scored(seed: int = 0) -> Job:
    dataset = pendulum_like(seed)
    references = ReferenceScores(random=-1500.0, expert=0.0, source="made up")
    return Job(BC(**SMALL), dataset.replace(info=replace(dataset.info, reference_scores=references)), seed)


def expected(run: Run) -> Points:
    """The points of a run, from its Parquet files."""
    points: Points = defaultdict(list)
    for update, metric, value in run.curves.iter_rows():
        points[f"training/{metric}"].append((update, value))
    returns = pl.read_parquet(run.folder / "returns.parquet").group_by("update", maintain_order=True)
    for update, mean in returns.agg(pl.col("return").mean()).iter_rows():
        points["evaluation/return"].append((update, mean))
        points["evaluation/score"].append((update, 100 * (mean + 1500) / 1500))
    return dict(points)


def tensorboard_points(run: Run) -> Points:
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    folder = run.folder.parent / "tensorboard" / run.folder.name
    events = accumulators.EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def wandb_points(run: Run) -> Points:
    """Read the history of the one offline directory of a run; its file is a log in LevelDB's format."""
    import json

    from wandb.proto.wandb_internal_pb2 import Record

    identifier = run.description["hash"][:32]
    (file,) = (run.folder.parent / "wandb").glob(f"offline-run-*-{identifier}/run-{identifier}.wandb")
    content, position, payload = file.read_bytes(), 7, b""
    points: Points = defaultdict(list)
    ended = False
    while position + 7 <= len(content):
        left_in_block = 32768 - position % 32768
        if left_in_block < 7:
            position += left_in_block
            continue
        length, kind = int.from_bytes(content[position + 4 : position + 6], "little"), content[position + 6]
        payload += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind not in (1, 4):  # whole, or the last part of one
            continue
        record, payload = Record.FromString(payload), b""
        ended = ended or record.WhichOneof("record_type") == "exit"
        values = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        for group in ("training", "evaluation"):
            if f"{group}/update" in values:
                for name, value in values.items():
                    if name.startswith(f"{group}/") and name != f"{group}/update":
                        points[name].append((values[f"{group}/update"], value))
    assert ended, "the run was closed"
    return dict(points)


def assert_equal(found: Points, wanted: Points) -> None:
    assert found.keys() == wanted.keys()
    for name, points in wanted.items():
        assert [update for update, _ in found[name]] == [update for update, _ in points], name
        assert np.allclose([value for _, value in found[name]], [value for _, value in points], rtol=1e-6), name


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")


@pytest.mark.slow
@pytest.mark.usefixtures("offline")
def test_every_point_of_every_member_arrives_once(tmp_path):
    jobs = [scored(0), scored(1)]
    options = {"steps": 20, "evaluation": Evaluation(episodes=2, every=10), "workers": 0}
    runs = train(jobs, runs=tmp_path, loggers=[TensorBoard(), WeightsAndBiases()], **options)
    for run in runs:
        assert len(expected(run)["evaluation/score"]) == 2
        assert_equal(tensorboard_points(run), expected(run))
        assert_equal(wandb_points(run), expected(run))
    assert expected(runs[0]) != expected(runs[1])


SCRIPT = """
import sys
from pathlib import Path
from assay.baselines import Evaluation, Run, train
from assay.baselines.training.logging import TensorBoard, WeightsAndBiases
from tests.baselines.training.test_logging import scored

def tell(report):
    print(report.update, flush=True)

loggers = [TensorBoard(), WeightsAndBiases()]
evaluation = Evaluation(episodes=1, every=200)
train([scored()], steps=800, runs=sys.argv[1], evaluation=evaluation, workers=0, checkpoint_seconds=0.05,
      loggers=loggers, progress=tell)
"""


def start(folder: Path) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment.pop("WANDB_SERVICE", None)  # else it would share W&B's process with this one, and survive in it
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder)], env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


@pytest.mark.slow
@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGINT])
def test_after_an_interruption_no_point_is_missing_or_there_twice(tmp_path, blow):
    process = start(tmp_path)
    while int(process.stdout.readline()) < 400:
        pass
    process.send_signal(blow)
    assert process.wait() != 0
    (folder,) = (file.parent for file in tmp_path.glob("*/run.json"))
    assert Run(folder).status == "unfinished"
    state, *_ = Run(folder).read_checkpoint(Run(folder).checkpoints()[-1])
    assert 0 < state.update < 800

    process = start(tmp_path)
    updates = [int(line) for line in process.stdout]
    assert process.wait() == 0
    assert updates[0] > state.update
    run = Run(folder)
    training = [points for name, points in expected(run).items() if name.startswith("training/")]
    assert training
    assert all(len(points) == 100 for points in training)
    assert_equal(tensorboard_points(run), expected(run))
    assert_equal(wandb_points(run), expected(run))


def test_a_logger_that_cannot_work_says_so_before_anything_is_trained(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match="no API key: run `wandb login`, or set WANDB_MODE=offline"):
        WeightsAndBiases()
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "meta_path", [])
    for name, make in (("tensorboard", TensorBoard), ("wandb", WeightsAndBiases)):
        monkeypatch.delitem(sys.modules, name, raising=False)
        with pytest.raises(ConfigError, match=rf"pip install 'assay\[{name}\]'"):
            make()
