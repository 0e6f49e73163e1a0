"""What a logger is: it takes the curves of runs to another program."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from assay.datasets.errors import UnknownNameError

if TYPE_CHECKING:
    from assay.baselines.runs.run import Run

__all__ = ["Logger", "logger_named"]


class Logger(Protocol):
    """Takes the curves of runs to another program, at log points and on the host.

    A run that resumes is logged from its first update again, because its curves stand in the checkpoint and what was on
    its way when the process was killed is not known. `start` makes room for that, so that every point appears once.

    One logger serves all runs of a training. With Ray it is copied to the nodes before it is used, so it opens files
    and connections in `start`, not when it is made.
    """

    def start(self, run: Run) -> None:
        """Begin a run, or take it up again: what an interrupted attempt wrote is dropped or recognized."""

    def log(self, run: Run, kind: str, update: int, metrics: Mapping[str, float]) -> None:
        """Take numbers by name. `kind` is `"training"` or `"evaluation"`; updates increase within a kind."""

    def close(self) -> None:
        """Write out what is open; `start` may be called again afterwards."""


def logger_named(name: str) -> Logger:
    """Make a logger by name: `"tensorboard"` or `"wandb"`.

    Raises
    ------
    UnknownNameError
        If there is no such logger.
    ConfigError
        If the package it needs is not installed, or it cannot log in.

    Examples
    --------
    >>> logger_named("tensorbord")
    Traceback (most recent call last):
    ...
    assay.datasets.errors.UnknownNameError: unknown logger 'tensorbord'; did you mean 'tensorboard'?
    """
    from assay.baselines.training.logging.tensorboard import TensorBoard
    from assay.baselines.training.logging.wandb import WeightsAndBiases

    known: dict[str, type[Logger]] = {"tensorboard": TensorBoard, "wandb": WeightsAndBiases}
    if name not in known:
        raise UnknownNameError("logger", name, known)
    return known[name]()
