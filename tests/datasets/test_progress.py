"""Progress: a bar where somebody looks and it takes long, nothing elsewhere, and the caller's own callable as before."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from assay.datasets.progress import counted, reporting

if sys.platform == "win32":
    pytest.skip("there are no pseudo-terminals", allow_module_level=True)

SLOW = """
import os, sys, tempfile, time
from assay.datasets import progress
progress.SECONDS_BEFORE_BAR = float(sys.argv[1])
"""
COUNTING = """
with progress.reporting("auto", "counting", progress.counted("sheep")) as report:
    for number in range(8):
        time.sleep(0.1)
        if report is not None:
            report(number, 8)
"""
NESTED = """
with progress.reporting(None, "outer", progress.counted("outer")):
""" + "".join(f"    {line}\n" for line in COUNTING.splitlines())
LOAD = """
import assay
os.environ["ASSAY_HOME"] = tempfile.mkdtemp()
dataset = assay.load("pendulum/random", steps=2000)
"""
DOORS = (
    LOAD
    + """
from assay.metrics import assess
assess(dataset)
from assay.baselines import BC, Job, train
train([Job(BC(), dataset)], steps=300, runs=tempfile.mkdtemp(), evaluation=None)
"""
)


def on_terminal(code: str, seconds: float) -> str:
    """Run code in a process whose streams are a terminal, and return what it wrote there."""
    import pty

    outer, inner = pty.openpty()
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "120", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SLOW + code, str(seconds)]
    process = subprocess.Popen(command, stdin=inner, stdout=inner, stderr=inner, env=environment)
    os.close(inner)
    written = b""
    while True:
        try:
            part = os.read(outer, 65_536)
        except OSError:  # Linux says so at the end
            break
        if not part:
            break
        written += part
    os.close(outer)
    assert process.wait() == 0, written.decode()
    return written.decode()


def test_a_slow_call_shows_a_bar_on_a_terminal_and_removes_it():
    written = on_terminal(COUNTING, 0.0)
    assert "sheep" in written
    assert "%" in written
    assert written.rstrip("\r\n").endswith("\x1b[2K")  # the bar's line is erased


def test_a_fast_call_shows_nothing_on_a_terminal():
    assert on_terminal(COUNTING, 1e6) == ""


def test_a_call_inside_one_that_is_silent_is_silent():
    assert on_terminal(NESTED, 0.0) == ""


@pytest.mark.slow
def test_loading_measuring_and_training_show_a_bar_on_a_terminal():
    written = on_terminal(DOORS, 0.0)
    for title in ("loading pendulum/random", "measuring", "training"):
        assert title in written


@pytest.mark.slow
def test_nothing_is_written_where_there_is_no_terminal():
    command = [sys.executable, "-c", SLOW + DOORS, "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_lines_for_a_file_stay_in_the_file_while_a_bar_is_drawn(tmp_path: Path):
    file = tmp_path / "lines"
    code = f"sys.stdout = open({os.fspath(file)!r}, 'w')" + COUNTING.replace(
        "range(8):", "range(8):\n        print(number)"
    )
    assert "sheep" in on_terminal(code + "sys.stdout.close()", 0.0)
    assert file.read_text().split() == [str(number) for number in range(8)]


def test_a_callable_gets_the_calls_and_none_gets_none():
    calls: list[Any] = []
    with reporting(lambda *numbers: calls.append(numbers), "title", counted("title")) as report:
        assert report is not None
        report(1, 2)
    assert calls == [(1, 2)]
    with reporting(None, "title", counted("title")) as report:
        assert report is None


@pytest.mark.slow
def test_a_notebook_shows_a_bar_while_a_call_runs():
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    shown: list[dict[str, Any]] = []

    class Client(nbclient.NotebookClient):  # type: ignore[misc, name-defined]
        def process_message(self, message: Any, *further: Any) -> Any:
            if message["msg_type"] in ("display_data", "update_display_data"):
                shown.append(message["content"]["data"])
            return super().process_message(message, *further)

    code = (SLOW + COUNTING).replace("float(sys.argv[1])", "0.0")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    Client(notebook, timeout=120, kernel_name="python3").execute()
    assert any("sheep" in data["text/html"] and "%" in data["text/html"] for data in shown[1:-1])
    (output,) = notebook.cells[0].outputs
    assert output["data"] == {"text/plain": ""}


@pytest.mark.parametrize(
    ("format", "options"),
    [("assay", {}), ("minari", {}), ("minari", {"data_format": "arrow"}), ("lerobot", {}), ("npz", {})],
)
def test_saving_reports_until_everything_is_written(format: str, options: dict[str, Any], tmp_path: Path):
    import assay

    calls: list[tuple[int, int]] = []
    dataset = assay.load("pendulum/random", steps=1_000)
    name = {"assay": "kept", "npz": "kept.npz"}.get(format, "own/kept-v0")
    assay.save(dataset, tmp_path / name, format=format, progress=lambda *numbers: calls.append(numbers), **options)
    if format == "npz":  # a format whose writer does not tell
        assert calls == []
        return
    assert calls == sorted(calls)
    assert calls[-1][0] == calls[-1][1] > 0
    with pytest.raises(KeyError, match="unknown option"):
        assay.save(dataset, tmp_path / "other", format=format, progres=None)
