"""What a finished run leaves is covered by hashes: a flipped bit is found, and the file is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from assay.analysis import load_curves, load_quality, load_returns, load_runs, load_suite
from assay.baselines import IQL, Evaluation, Job, Run, train
from assay.baselines.runs.integrity import read_json, write_json
from assay.baselines.runs.run import RunIsFinishedError
from assay.baselines.suites.suite import Suite, run_suite
from assay.datasets.errors import AssayError, DatasetIntegrityError, FormatError
from assay.metrics import assess
from tests.baselines.problems import pendulum_like

FLIPS = 300
FILES = ("run.json", "curves.parquet", "returns.parquet", "policy.safetensors")


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("integrity")
    job = Job(IQL(hidden=(8, 8), batch_size=16), pendulum_like())
    (run,) = train([job], steps=10, runs=folder, evaluation=Evaluation(episodes=3, every=5), workers=0)
    return run


def everything(folder: Path) -> tuple:
    """All values that the folder gives, through both readers."""
    run = Run(folder)
    run.verify()
    observations = np.linspace(-1, 1, 15).reshape(5, 3)
    tables = [load_runs(folder).drop("path"), load_returns(folder), load_curves(folder), run.curves, run.evaluations]
    return (
        json.dumps(run.description, sort_keys=True),
        [table.write_csv() for table in tables],
        run.policy(observations).tobytes(),
        run.q_values(observations, np.zeros((5, 1))).tobytes(),
    )


def error_of(read: Callable[[], object]) -> str | None:
    try:
        read()
    except AssayError as error:
        return str(error)
    return None


def test_flipped_bits_of_a_finished_run_are_found_or_harmless(finished, tmp_path):
    folder = tmp_path / finished.folder.name
    shutil.copytree(finished.folder, folder)
    expected = everything(folder)
    rng, found = np.random.default_rng(0), 0
    for flip in range(FLIPS):
        file = folder / FILES[flip % len(FILES)]
        good = file.read_bytes()
        bad = bytearray(good)
        bad[rng.integers(len(bad))] ^= 1 << int(rng.integers(8))
        file.write_bytes(bad)
        message = error_of(lambda: everything(folder) == expected or pytest.fail("a value changed"))
        assert message is None or str(file) in message  # None: the same JSON in other words, such as 1E-3 for 1e-3
        found += message is not None
        file.write_bytes(good)
    assert found > 0.95 * FLIPS


@pytest.mark.parametrize("name", FILES[1:])
def test_a_file_that_is_cut_or_gone_or_another_run_s_is_found(finished, tmp_path, name):
    folder = tmp_path / finished.folder.name
    shutil.copytree(finished.folder, folder)
    good = (folder / name).read_bytes()
    for content in (good[:-1], b"", good + b"\0"):
        (folder / name).write_bytes(content)
        with pytest.raises(DatasetIntegrityError, match=f"{name} is damaged"):
            Run(folder).verify()
    (folder / name).unlink()
    with pytest.raises(DatasetIntegrityError, match=f"{name} is missing"):
        Run(folder).verify()


def test_an_edited_description_is_found(finished, tmp_path):
    folder = tmp_path / finished.folder.name
    shutil.copytree(finished.folder, folder)
    text = (folder / "run.json").read_text()
    for old, new in [
        ('"seed": 0', '"seed": 1'),
        ('"digest"', '"digits"'),
        ('"schema_version": 2', '"schema_version": 1'),
    ]:
        (folder / "run.json").write_text(text.replace(old, new, 1))
        with pytest.raises(AssayError, match=r"run\.json"):
            Run(folder)
        with pytest.raises(AssayError, match=r"run\.json"):
            load_runs(folder)


def test_a_run_of_the_first_version_has_no_hashes_and_still_loads(finished, tmp_path):
    folder = tmp_path / finished.folder.name
    shutil.copytree(finished.folder, folder)
    plain = {key: value for key, value in finished.description.items() if key not in ("digest", "files")}
    (folder / "run.json").write_text(json.dumps({**plain, "schema_version": 1}))
    assert everything(folder)[1:] == everything(finished.folder)[1:]


def test_a_damaged_checkpoint_is_found_by_its_name(tmp_path):
    job = Job(IQL(hidden=(8, 8), batch_size=16), pendulum_like())
    options = {"steps": 200, "evaluation": None, "checkpoint_seconds": 0.0, "runs": tmp_path}

    def stop(report):
        if report.update >= 100:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train([job], progress=stop, **options)
    (file,) = tmp_path.glob("*/checkpoint/*.safetensors")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(DatasetIntegrityError, match=str(file)):
        train([job], **options)


def test_a_finished_run_is_not_written_again(finished):
    before = {file.name: file.read_bytes() for file in finished.folder.iterdir()}
    for write in (
        lambda: finished.update(status="failed", error="too late"),
        lambda: finished.write_table("curves", []),
        lambda: finished.finish("finished", seconds=1.0),
    ):
        with pytest.raises(RunIsFinishedError, match="never rewritten"):
            write()
    assert {file.name: file.read_bytes() for file in finished.folder.iterdir()} == before


def test_a_file_that_run_json_does_not_list_is_not_read(finished, tmp_path):
    folder = tmp_path / finished.folder.name
    shutil.copytree(finished.folder, folder)
    write_json(folder / "run.json", {**finished.description, "files": {}})
    with pytest.raises(DatasetIntegrityError, match=r"policy\.safetensors is not among the files"):
        Run(folder).policy(np.zeros((1, 3)))


def test_json_that_covers_itself(tmp_path):
    file = tmp_path / "x.json"
    written = write_json(file, {"schema": "s", "schema_version": 2, "tuple": (1, 2), "keys": {10: "a", 9: "b"}})
    assert read_json(file, "s", {2: True}) == written
    with pytest.raises(FormatError, match="schema version 2"):
        read_json(file, "s", {1: False})
    file.write_text("[" * 100_000)
    with pytest.raises(DatasetIntegrityError, match=r"x\.json is damaged"):
        read_json(file, "s", {2: True})


def test_flipped_bits_of_what_a_suite_says_and_measured_are_found_or_harmless(tmp_path):
    suite = Suite.from_plain(
        {
            "name": "tiny",
            "source": "pendulum/random",
            "variants": {"clean": []},
            "algorithms": {"bc": {}},
            "evaluation": None,
            "budgets": {"smoke": {"steps": 2, "dataset_steps": 400, "algorithm_parameters": {"hidden": [8]}}},
        }
    )
    run_suite(suite, "smoke", runs=tmp_path, measure=partial(assess, select=["unique_states"]), workers=0)
    quality, described = load_quality(tmp_path), load_suite(tmp_path)
    assert quality.height > 0

    def read() -> None:
        assert load_suite(tmp_path) == described
        assert load_quality(tmp_path).equals(quality)

    rng, found = np.random.default_rng(0), 0
    for flip in range(100):
        file = tmp_path / ("suite.json", "quality.parquet")[flip % 2]
        good = file.read_bytes()
        bad = bytearray(good)
        bad[rng.integers(len(bad))] ^= 1 << int(rng.integers(8))
        file.write_bytes(bad)
        message = error_of(read)
        assert message is None or str(file) in message
        found += message is not None
        file.write_bytes(good)
    assert found >= 95
    (tmp_path / "quality.parquet").unlink()
    with pytest.raises(DatasetIntegrityError, match="is missing"):
        load_quality(tmp_path)
