"""A training process: trains the jobs that it reads on its input, and says on its output how it goes.

It is started by `assay.baselines.training.processes`. Its input is one line of JSON, and stays open: when it is closed,
training saves and ends.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import torch

from assay.baselines.evaluation.evaluation import Evaluation
from assay.baselines.runs.plan import Plan
from assay.baselines.runs.run import Run
from assay.baselines.training.options import TrainingOptions
from assay.baselines.training.progress import TrainingProgress
from assay.baselines.training.sending import job_from_plain
from assay.baselines.training.train import train_populations
from assay.baselines.training.work import Work, WorkGroup, look_up
from assay.datasets.dataset import Dataset
from assay.datasets.errors import AssayError, AssayWarning
from assay.datasets.registry import import_file

Say = Callable[..., None]


class _Forwarder:
    """A logger that has the other process log."""

    def __init__(self, say: Say) -> None:
        self.say = say

    def start(self, run: Run) -> None:
        self.say("start", folder=os.fspath(run.folder))

    def log(self, run: Run, kind: str, update: int, metrics: Mapping[str, float]) -> None:
        self.say("log", folder=os.fspath(run.folder), points=kind, update=update, metrics=dict(metrics))

    def close(self) -> None:
        self.say("close")


def _train(request: dict[str, Any], say: Say) -> None:
    for file in request["imports"]:
        import_file(file)
    torch.set_num_threads(1)
    options = TrainingOptions(**request["options"])
    evaluation = None if request["evaluation"] is None else Evaluation(**request["evaluation"])
    plan = Plan(request["steps"], evaluation, options.matmul_precision, options.storage)
    datasets: dict[str, Dataset] = {}
    populations: list[list[Work]] = []
    for asked in request["populations"]:
        jobs = [job_from_plain(plain, datasets) for plain in asked["jobs"]]
        populations.append(look_up(jobs, plan, request["runs"]))
        for item, folder in zip(populations[-1], asked["folders"]):
            if item.folder.name != folder:
                raise AssayError(f"{folder} became {item.folder.name} in a training process; train with processes=1")

    def form(open_: Sequence[Work]) -> list[WorkGroup]:
        left = set(map(id, open_))
        groups = [
            WorkGroup([item for item in members if id(item) in left], asked["streaming"])
            for members, asked in zip(populations, request["populations"])
        ]
        return [group for group in groups if group.members]

    def report(progress: TrainingProgress) -> None:
        if not progress.waiting_for:  # for a process beside this one, which says itself how it goes
            say("progress", progress=asdict(progress))

    train_populations(
        [item for members in populations for item in members],
        form,
        plan,
        options,
        report,
        [_Forwarder(say)],
        [asked["company"] for asked in request["populations"]],
    )


def _end_with_input(ended: threading.Event) -> None:
    """Interrupt the training when the input is closed: the other process was interrupted, or is no more."""
    os.read(0, 1)  # nothing more is ever sent; a buffered read would be in the way when Python ends
    if not ended.is_set():
        os.kill(os.getpid(), signal.SIGINT)


def _serve() -> int:
    output = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints is no message
    lock = threading.Lock()

    def say(kind: str, **content: Any) -> None:
        with lock, suppress(OSError):  # nobody listens any more: then the input is closed too, and training ends
            print(json.dumps({"kind": kind, **content}), file=output, flush=True)

    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        if issubclass(category, AssayWarning):
            say("warning", text=str(message))

    request = json.loads(sys.stdin.buffer.readline())
    ended = threading.Event()
    threading.Thread(target=_end_with_input, args=(ended,), daemon=True).start()
    with warnings.catch_warnings():
        warnings.simplefilter("always", AssayWarning)
        warnings.showwarning = show
        try:
            _train(request, say)
        except AssayError as error:
            say("error", name=type(error).__name__, text=str(error))
        except KeyboardInterrupt:
            return 0  # it has saved
        finally:
            ended.set()
    return 0


if __name__ == "__main__":
    sys.exit(_serve())
