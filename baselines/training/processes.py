"""All cores of a CPU: populations side by side, in processes of one thread each.

::

    this process                                  a training process, one per core
    ------------                                  --------------------------------
    divides the jobs into populations      ->     reads the jobs as JSON on its input, maps their datasets
    shows the progress, calls loggers      <-     trains whatever population is free, as several machines with one
    waits                                         folder of runs do (`claiming`), and says how it goes on its output
    closes the inputs when interrupted     ->     saves and ends, also where this process was killed

Which jobs train together is decided here, before any process starts, and depends on their number and on that of the processes
alone. A run is written, checkpointed and resumed by the same code as in one process. Where a training process dies, another
one goes on with its population from the checkpoints.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, Any, cast

from assay.baselines.runs.plan import Plan
from assay.baselines.runs.run import Run
from assay.baselines.training.logging.logger import Logger
from assay.baselines.training.options import TrainingOptions
from assay.baselines.training.progress import MemberProgress, TrainingProgress
from assay.baselines.training.sending import DatasetShelf, job_to_plain
from assay.baselines.training.work import WorkGroup
from assay.datasets import errors
from assay.datasets.environments.pool import signal_name, usable_cores, worker_environment
from assay.datasets.errors import AssayError, AssayWarning
from assay.datasets.memory import scratch_folder
from assay.datasets.registry import imported_files

__all__ = ["ProcessError", "train_in_processes"]

_SECONDS_TO_SAVE = 60.0  # that processes get when this one is interrupted


class ProcessError(AssayError, RuntimeError):
    """The processes that trained have all died."""


def train_in_processes(
    populations: Sequence[WorkGroup],
    plan: Plan,
    options: TrainingOptions,
    report: Callable[[TrainingProgress], None] | None,
    loggers: Sequence[Logger],
) -> None:
    """Train populations in as many processes as the options say.

    Parameters
    ----------
    populations : sequence of WorkGroup
    plan : Plan
    options : TrainingOptions
    report : callable or None
        Called with the progress of all populations.
    loggers : sequence of Logger
        Called in this process.

    Raises
    ------
    ConfigError
        If a job cannot be sent, or there is no room for its dataset.
    ProcessError
        If all processes died before everything was trained.
    AssayError
        What training raised there.
    """
    if not populations:
        return
    assert not isinstance(options.processes, str)
    scratch = scratch_folder()
    scratch.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="training-", dir=scratch))
    try:
        request = json.dumps(_request(populations, plan, options, DatasetShelf(folder))).encode()
        count = min(options.processes, len(populations))
        with _Processes(count, request) as processes:
            _Listener(report, loggers).listen(processes)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    died = [text for text in processes.deaths if text]
    unfinished = [
        item.folder
        for group in populations
        for item in group.members
        if not (item.folder / "run.json").exists() or Run(item.folder).status == "unfinished"
    ]
    if died and unfinished:
        raise ProcessError(
            f"{len(unfinished)} runs are not finished, because {'; '.join(died)}. What was done goes on from the last "
            "checkpoints when the same jobs are given again; processes=1, or a smaller population, takes less memory"
        )
    for text in died:
        warnings.warn(f"{text}; other processes went on with its runs", AssayWarning, stacklevel=3)


def _request(
    populations: Sequence[WorkGroup], plan: Plan, options: TrainingOptions, shelf: DatasetShelf
) -> dict[str, Any]:
    """Return what every process is told: all jobs, and which of them train together."""
    count = options.processes
    assert not isinstance(count, str)
    simulators = usable_cores() if options.workers is None else options.workers
    each = replace(options, processes=1, workers=min(simulators, max(1, simulators // count)))
    return {
        "imports": [os.fspath(file) for file in imported_files()],
        "populations": [
            {
                "streaming": group.streaming,
                "company": group.company,
                "jobs": [job_to_plain(item.job, shelf) for item in group.members],
                "folders": [item.folder.name for item in group.members],
            }
            for group in populations
        ],
        "runs": os.fspath(populations[0].members[0].folder.parent.resolve()),
        "steps": plan.steps,
        "evaluation": None if plan.evaluation is None else asdict(plan.evaluation),
        "options": {name: getattr(each, name) for name in each.__dataclass_fields__},
    }


class _Processes:
    """The training processes, and what they say, in the order in which it comes."""

    def __init__(self, count: int, request: bytes) -> None:
        self.said: queue.SimpleQueue[tuple[int, dict[str, Any] | None]] = queue.SimpleQueue()
        self.deaths: list[str] = []  # of every process what ended it, empty where it ended by itself
        self._started: list[subprocess.Popen[bytes]] = []
        self._listeners: list[threading.Thread] = []
        try:
            for _ in range(count):
                self._start(request)
        except BaseException:
            self._end()
            raise

    def _start(self, request: bytes) -> None:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "assay.baselines.training.training_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=worker_environment(),
            process_group=0,  # Ctrl-C does not reach it: it saves when its input is closed
        )
        number = len(self._started)
        self._started.append(process)
        stdin, stdout = cast(IO[bytes], process.stdin), cast(IO[bytes], process.stdout)
        with suppress(OSError):  # one that died already is noticed by its silence
            stdin.write(request + b"\n")
            stdin.flush()
        listener = threading.Thread(target=self._hear, args=(number, stdout), daemon=True)
        self._listeners.append(listener)
        listener.start()

    def _hear(self, number: int, stream: IO[bytes]) -> None:
        for line in stream:
            self.said.put((number, json.loads(line)))
        self.said.put((number, None))

    def __len__(self) -> int:
        return len(self._started)

    def __enter__(self) -> _Processes:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _end(self) -> None:
        """Have all processes save and end, and find out what ended them."""
        for process in self._started:
            with suppress(OSError):
                cast(IO[bytes], process.stdin).close()
        try:
            for process in self._started:
                process.wait(_SECONDS_TO_SAVE)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):  # a second Ctrl-C ends them at once
            for process in self._started:
                process.kill()
            raise
        finally:
            self.deaths = [_death(process) for process in self._started]
            for listener in self._listeners:
                listener.join()


def _death(process: subprocess.Popen[bytes]) -> str:
    code = process.wait()
    if code == 0:
        return ""
    how = f"was killed by {signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
    memory = " (by the system, where memory ran out)" if code == -9 else ""
    return f"training process {process.pid} {how}{memory}"


class _Listener:
    """Passes on what the processes say: progress to the caller, curves to the loggers, warnings once each."""

    def __init__(self, report: Callable[[TrainingProgress], None] | None, loggers: Sequence[Logger]) -> None:
        self.report, self.loggers = report, loggers
        self.logged: set[int] = set()  # processes whose population is being logged
        self.warned: set[str] = set()
        self.runs: dict[str, Run] = {}

    def listen(self, processes: _Processes) -> None:
        """Listen until all processes have ended; raises what training raised there."""
        silent = 0
        try:
            while silent < len(processes):
                number, said = processes.said.get()
                if said is None:
                    silent += 1
                    self.close(number)
                else:
                    getattr(self, "hear_" + said.pop("kind"))(number, **said)
        finally:
            for logger in self.loggers:
                logger.close()

    def hear_progress(self, number: int, progress: dict[str, Any]) -> None:
        """Tell the caller where a population stands."""
        rows = tuple(
            MemberProgress(**{**row, "metrics": tuple((name, value) for name, value in row["metrics"])})
            for row in progress.pop("rows")
        )
        if self.report is not None:
            self.report(TrainingProgress(**progress, rows=rows))

    def hear_start(self, number: int, folder: str) -> None:
        """Begin to log a run."""
        self.logged.add(number)
        run = self.runs[folder] = Run(Path(folder))
        for logger in self.loggers:
            logger.start(run)

    def hear_log(self, number: int, folder: str, points: str, update: int, metrics: dict[str, float]) -> None:
        """Log numbers of a run."""
        for logger in self.loggers:
            logger.log(self.runs[folder], points, update, metrics)

    def hear_close(self, number: int) -> None:
        """Note that a process's population has ended."""
        self.close(number)

    def close(self, number: int) -> None:
        """Close the loggers where nobody else's runs are open."""
        if number in self.logged:
            self.logged.remove(number)
            if not self.logged:
                for logger in self.loggers:
                    logger.close()

    def hear_warning(self, number: int, text: str) -> None:
        """Warn of the same only once."""
        if text not in self.warned:
            self.warned.add(text)
            warnings.warn(text, AssayWarning, stacklevel=4)

    def hear_error(self, number: int, name: str, text: str) -> None:
        """Raise what a process raised."""
        found = getattr(errors, name, AssayError)
        raise (found if found is not errors.UnknownNameError else AssayError)(text)
