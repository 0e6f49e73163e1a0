"""How the policies behind values are trained, so that more of them can be trained alike, with seeds that no value has seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from assay.analysis.trials.asked import checked_algorithm, checked_evaluation
from assay.analysis.trials.finished_runs import scores_of, unit_of
from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError
from assay.datasets.progress import Auto

__all__ = ["Training"]

Progress = Callable[[Any], None] | Auto | None


@dataclass(frozen=True)
class Training:
    """What policies are trained on and how; opens `assay.baselines` by name when it trains.

    Parameters
    ----------
    dataset : Dataset
        Whose episodes are valued.
    algorithm : Algorithm
    steps : int
        Updates of each training.
    evaluation : Evaluation
    runs : path
    options : TrainingOptions
    changes : mapping
        Fields of the options.
    """

    dataset: Dataset
    algorithm: Any
    steps: int
    evaluation: Any
    runs: Any
    options: Any
    changes: Mapping[str, Any]

    @classmethod
    def of(
        cls, dataset: Dataset, algorithm: Any, steps: int, evaluation: Any, runs: Any, options: Any, **changes: Any
    ) -> Training:
        """Resolve names and defaults.

        Raises
        ------
        ConfigError
            If nothing says which environment policies are evaluated in, or the algorithm or evaluation is none.
        """
        runner: Any = import_module("assay.baselines")
        chosen, evaluation = checked_algorithm(algorithm), checked_evaluation(evaluation, steps)
        if evaluation.environment_of(dataset.info) is None:
            raise ConfigError(
                f"{dataset.name} does not say which environment it comes from; name it by Evaluation(environment=...) "
                "(`assay value`: --environment)"
            )
        return cls(dataset, chosen, steps, evaluation, runs, options or runner.TrainingOptions(), changes)

    @property
    def unit(self) -> str:
        """Of the scores."""
        return unit_of(self.dataset.info.references).removeprefix("of ")

    def scores(self, jobs: Sequence[tuple[Sequence[int], int, str]], progress: Progress) -> np.ndarray:
        """Train one policy per job and return its mean scores.

        Parameters
        ----------
        jobs : sequence of (episodes, seed, name)
            Episodes to learn from, the training seed, and what the variant is called.
        progress : callable, "auto" or None

        Returns
        -------
        array, shape (jobs,)
        """
        runner: Any = import_module("assay.baselines")
        parts: dict[tuple[int, ...], Dataset] = {}
        listed = []
        for episodes, seed, name in jobs:
            part = parts.setdefault(tuple(episodes), self.dataset.select(list(episodes)))
            listed.append(runner.Job(self.algorithm, part, seed, name))
        trained = runner.train(
            listed,
            steps=self.steps,
            runs=self.runs,
            evaluation=self.evaluation,
            progress=progress,
            options=self.options,
            **self.changes,
        )
        references = self.dataset.info.references
        return np.array([scores_of([run], references, "a valuation").values.mean() for run in trained])
