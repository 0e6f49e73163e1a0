"""A run belongs to one process at a time, and to nobody any more when that process is gone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from assay.baselines import BC, Job, Run, train
from assay.baselines.runs import lease as module
from assay.baselines.runs.lease import Lease, LeaseLostError, Owner, owner_of, take
from tests.baselines.problems import pendulum_like

ROOT = Path(__file__).parents[3]
SMALL = {"hidden": (8,), "batch_size": 16}


def write_owner(folder: Path, owner: Owner, age: float = 0.0) -> Path:
    file = folder.parent / ".owners" / folder.name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(asdict(owner)))
    os.utime(file, (time.time() - age,) * 2)
    return file


def elsewhere(**fields: object) -> Owner:
    return replace(Owner("another machine", "elsewhere", 17, "1", "a" * 32), **fields)


def test_a_folder_is_taken_by_one_only_and_free_again_afterwards(tmp_path):
    folders = [tmp_path / "a", tmp_path / "b"]
    with take(folders) as lease:
        assert owner_of(folders[0]) == lease.owner
        other = take([tmp_path / "b", tmp_path / "c"])
        assert isinstance(other, Owner)
        assert str(other) == f"process {os.getpid()} on {lease.owner.host}"
        assert owner_of(tmp_path / "c") is None  # all or none
        lease.check(folders[1])
    assert not any(tmp_path.iterdir())
    with take([tmp_path / "b"]) as again:
        assert again.holds


def test_a_dead_process_of_this_machine_loses_its_folders_at_once(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    dead = replace(Owner.of_this_process(), process=process.pid, token="b" * 32)
    process.wait()
    write_owner(tmp_path / "a", dead)
    assert owner_of(tmp_path / "a") is None
    with take([tmp_path / "a"]) as lease:
        assert isinstance(lease, Lease)


def test_a_process_number_that_was_given_again_is_not_the_owner(tmp_path):
    write_owner(tmp_path / "a", replace(Owner.of_this_process(), started="1"))
    with take([tmp_path / "a"]) as lease:
        assert isinstance(lease, Lease)


def test_a_process_elsewhere_keeps_its_folders_until_its_lease_lapses(tmp_path):
    write_owner(tmp_path / "a", elsewhere(), age=module.LAPSE_SECONDS - 30)
    assert take([tmp_path / "a"]) == elsewhere()
    write_owner(tmp_path / "a", elsewhere(), age=module.LAPSE_SECONDS + 30)
    with take([tmp_path / "a"]) as lease:
        assert isinstance(lease, Lease)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"machine": 1}'])
def test_a_lease_that_says_nothing_lapses_by_its_time(tmp_path, content):
    file = write_owner(tmp_path / "a", elsewhere())
    file.write_bytes(content)
    assert isinstance(take([tmp_path / "a"]), Owner)
    os.utime(file, (time.time() - module.LAPSE_SECONDS - 30,) * 2)
    with take([tmp_path / "a"]) as lease:
        assert isinstance(lease, Lease)


def test_a_lease_is_renewed_while_it_is_held(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BEAT_SECONDS", 0.01)
    with take([tmp_path / "a"]) as lease:
        os.utime(lease.files[0], (0, 0))
        deadline = time.monotonic() + 60
        while lease.files[0].stat().st_mtime < 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert lease.files[0].stat().st_mtime > 1


def test_an_owner_that_was_thought_dead_finds_out_before_it_writes(tmp_path):
    lease = take([tmp_path / "a"])
    write_owner(tmp_path / "a", elsewhere())
    assert not lease.holds
    with pytest.raises(LeaseLostError, match="taken over by process 17 on elsewhere"):
        lease.check(tmp_path / "a")
    lease.release()
    assert owner_of(tmp_path / "a") == elsewhere()  # what is another's is left alone


def test_where_links_are_unknown_a_file_is_made_exclusively(tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", refuse)
    with take([tmp_path / "a"]) as lease:
        assert isinstance(lease, Lease)
        assert isinstance(take([tmp_path / "a"]), Owner)


def test_of_many_threads_that_want_a_lapsed_lease_one_gets_it(tmp_path):
    for number in range(20):
        folder = tmp_path / str(number)
        write_owner(folder, elsewhere(), age=module.LAPSE_SECONDS + 30)
        start, found = threading.Barrier(8), []

        def attempt(folder: Path = folder, start: threading.Barrier = start, found: list = found) -> None:
            start.wait()
            found.append(take([folder]))

        threads = [threading.Thread(target=attempt) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        leases = [item for item in found if isinstance(item, Lease) and item.holds]
        assert len(leases) == 1
        for item in found:
            if isinstance(item, Lease):
                item.release()


def test_train_waits_for_another_owner_says_so_and_returns_what_that_one_finished(tmp_path):
    job = Job(BC(**SMALL), pendulum_like())
    (there,) = train([job], steps=5, runs=tmp_path / "other", evaluation=None)
    runs = tmp_path / "runs"
    folder = runs / there.folder.name
    lease = take([folder])
    waited = []

    def watch(report):
        waited.append(report)
        if len(waited) == 2:  # the other process finishes now
            there.folder.rename(folder)
            lease.release()

    (run,) = train([job], steps=5, runs=runs, evaluation=None, progress=watch)
    assert run.description == there.description
    assert {report.waiting_for for report in waited} == {str(lease.owner)}
    assert "waiting for process" in waited[0].title


def test_a_failure_elsewhere_is_the_outcome_for_who_waited(tmp_path):
    from assay.baselines.runs.integrity import write_json

    job = Job(BC(**SMALL), pendulum_like())
    (there,) = train([job], steps=5, runs=tmp_path / "other", evaluation=None)
    folder = tmp_path / "runs" / there.folder.name
    lease = take([folder])

    def watch(report):
        if report.waiting_for and not folder.exists():
            write_json(
                folder / "run.json", {**there.description, "status": "failed", "error": "no memory", "files": {}}
            )
            lease.release()

    (run,) = train([job], steps=5, runs=tmp_path / "runs", evaluation=None, progress=watch)
    assert (run.status, run.error) == ("failed", "no memory")
    (run,) = train([job], steps=5, runs=tmp_path / "runs", evaluation=None)  # asked for again, it is trained again
    assert run.status == "finished"


def test_a_training_that_lost_its_lease_leaves_the_run_to_the_other(tmp_path):
    job = Job(BC(**SMALL), pendulum_like())
    folders = []

    def lose(report):
        if report.waiting_for:  # the other one gives it back, unfinished
            (tmp_path / ".owners" / folders[0].name).unlink()
        elif not folders:
            folders.extend(path.parent for path in tmp_path.glob("*/run.json"))
            write_owner(folders[0], elsewhere())

    with pytest.warns(UserWarning, match="taken over by process 17 on elsewhere"):
        (run,) = train([job], steps=200, runs=tmp_path, evaluation=None, checkpoint_seconds=0.0, progress=lose)
    assert run.status == "finished"
    (alone,) = train([job], steps=200, runs=tmp_path / "alone", evaluation=None)
    assert run.content("policy.safetensors") == alone.content("policy.safetensors")


def test_an_interrupted_training_gives_its_runs_back(tmp_path):
    def stop(report):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        train([Job(BC(**SMALL), pendulum_like())], steps=100, runs=tmp_path, evaluation=None, progress=stop)
    assert caught.traceback  # the frames are alive still
    assert not (tmp_path / ".owners").exists()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_processes_killed_at_random_lose_nothing_and_end_as_an_undisturbed_training(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.baselines.runs.two_processes", str(tmp_path), "50"]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    folders, kills = map(int, done.stdout.split())
    assert folders >= 5
    assert kills >= 20  # of about 80 attempts; a process may end before its turn comes
    assert sum(Run(path.parent).status == "finished" for path in tmp_path.glob("folder*/*/run.json")) >= 4 * folders
