"""What a trial or a valuation is asked to train and to evaluate, checked before anything is trained."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Protocol

from assay.datasets.errors import ConfigError
from assay.datasets.info import DatasetInfo

__all__ = ["EvaluatedHow", "TrainedAlgorithm", "checked_algorithm", "checked_evaluation"]


class TrainedAlgorithm(Protocol):
    """An algorithm, as a trial sees it."""

    @property
    def name(self) -> Any:
        """What the algorithm is registered as."""


class EvaluatedHow(Protocol):
    """An evaluation, as a trial sees it."""

    def environment_of(self, info: DatasetInfo) -> Any:
        """Return where policies that learned from such data are evaluated."""


def checked_algorithm(given: Any) -> TrainedAlgorithm:
    """Return an algorithm, given itself or by name.

    Raises
    ------
    ConfigError
        If it is neither.

    Examples
    --------
    >>> checked_algorithm("bc").name
    'bc'
    """
    runner: Any = import_module("assay.baselines")
    found = runner.algorithm_named(given) if isinstance(given, str) else given
    if not isinstance(found, runner.Algorithm):
        raise ConfigError(f"{given!r} is no algorithm; give one such as BC(), or a name such as 'bc'")
    return found  # type: ignore[no-any-return]


def checked_evaluation(given: Any, steps: int) -> EvaluatedHow:
    """Return how policies are evaluated, given so or by the name of a preset.

    Parameters
    ----------
    given : Evaluation or str
    steps : int
        Updates of each training, which presets depend on.

    Raises
    ------
    ConfigError
        If it is neither. None, by which `assay.baselines.train` trains without an environment, leaves nothing to compare.

    Examples
    --------
    >>> checked_evaluation("final", steps=100).episodes
    10
    """
    runner: Any = import_module("assay.baselines")
    if given is None:
        raise ConfigError(
            "evaluation=None trains without an environment, and what policies earn there is what is compared; leave "
            "evaluation out, or pass Evaluation(...)"
        )
    found = runner.Evaluation.preset(given, steps) if isinstance(given, str) else given
    if not isinstance(found, runner.Evaluation):
        raise ConfigError(
            f"evaluation={given!r} must be an Evaluation, or the name of a preset: {', '.join(runner.Evaluation.PRESETS)}"
        )
    return found  # type: ignore[no-any-return]
