"""Loading in a process of its own: the same dataset, or one error, whatever the reader does there."""

from __future__ import annotations

import os
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

import assay
from assay.datasets.errors import AssayWarning, ConfigError, DatasetError, FormatError
from assay.datasets.isolation import Limits
from assay.datasets.memory import scratch_folder
from tests.datasets.dataset_strategies import clean_dataset


@pytest.fixture(autouse=True)
def own_scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_SCRATCH", str(tmp_path / "scratch"))


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file whose reader, in the child only, runs the Python that the test writes into it."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(
        textwrap.dedent(
            """
            import pathlib, sys
            if sys.orig_argv[1:4] == ["-P", "-m", "assay.datasets.isolation"]:
                import assay.datasets.loading as loading
                def read(name, **_):
                    exec(pathlib.Path(name).read_text())
                loading.load = read
            """
        )
    )
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return tmp_path / "file.hdf5"


def test_the_dataset_is_the_same_with_its_history_and_leaves_nothing_behind(tmp_path: Path) -> None:
    assay.save(clean_dataset(episode_columns={"seed": np.arange(10)}), tmp_path / "file.hdf5", format="robomimic")
    plain = assay.load(tmp_path / "file.hdf5")
    isolated = assay.load(tmp_path / "file.hdf5", isolated=True)
    assert isolated == plain
    assert (isolated.info, isolated.history) == (plain.info, plain.history)
    assert not list(scratch_folder().iterdir())
    assert isolated.rewards.sum() == plain.rewards.sum()  # the columns outlive their names


def test_options_and_warnings_and_errors_cross_over(tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", state=np.zeros((4, 2)), a=np.zeros((4, 1)), r=np.ones(4), ends=np.array([2, 4]))
    columns = {"observations": "state", "actions": "a", "rewards": "r"}
    with pytest.warns(AssayWarning, match="terminations"):
        dataset = assay.load(tmp_path / "mine.npz", format="npz", isolated=True, columns=columns, episode_ends="ends")
    assert dataset.episode_lengths.tolist() == [2, 2]
    with pytest.raises(ConfigError, match="no array 'nowhere'"):
        assay.load(tmp_path / "mine.npz", format="npz", isolated=True, columns=columns, episode_ends="nowhere")
    with pytest.raises(DatasetError, match="does not exist"):
        assay.load(tmp_path / "absent.npz", isolated=True)
    with pytest.raises(ConfigError, match="plain numbers"):
        assay.load(tmp_path / "mine.npz", isolated=True, columns={"observations": object()})
    with pytest.raises(ConfigError, match="is made here"):
        assay.load("pendulum/random", isolated=True)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "ended by the signal SIGSEGV"),
        ("import os; os._exit(3)", "ended with status 3"),
        ("bytearray(1 << 31)", "took more than 1 GiB of memory"),
        ("import numpy; numpy.ones(1 << 28).sum()", "took more than 1 GiB of memory"),
        ("raise RuntimeError('odd')", "ended with status 1 .RuntimeError: odd"),
    ],
)
def test_a_reader_that_dies_is_one_error_that_names_the_file(reader: Path, code: str, message: str) -> None:
    reader.write_text(code)
    with pytest.raises(FormatError, match=message) as caught:
        assay.load(reader, isolated=Limits(memory_gib=1))
    assert str(reader) in str(caught.value)
    assert not list(scratch_folder().iterdir())


def test_a_reader_that_never_ends_is_stopped_with_its_children(reader: Path, tmp_path: Path) -> None:
    reader.write_text(
        f"import subprocess; p = subprocess.Popen(['sleep', '1000']); open({str(tmp_path / 'pid')!r}, 'w').write(str(p.pid))\n"
        "while True: pass"
    )
    with pytest.raises(FormatError, match=r"took more than 10 seconds and was stopped.*timeout_seconds"):
        assay.load(reader, isolated=Limits(timeout_seconds=10))
    process = int((tmp_path / "pid").read_text())
    for _ in range(100):
        status = Path(f"/proc/{process}/status")
        if not status.exists() or "zombie" in status.read_text():
            break
        time.sleep(0.05)
    else:
        os.kill(process, 9)
        pytest.fail("a process of the child is still running")
    assert not list(scratch_folder().iterdir())


@pytest.mark.parametrize("limits", [{"memory_gib": 0}, {"timeout_seconds": -1}, {"memory_gib": True}])
def test_limits_are_positive(limits: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="a positive number"):
        Limits(**limits)
