"""Jobs: one algorithm on one dataset with one seed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from assay.baselines.algorithms.algorithm import Algorithm
from assay.baselines.engine.data import ActionScale
from assay.baselines.engine.shapes import Shapes
from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError
from assay.datasets.registry import check_seed
from assay.datasets.spaces import Box, Discrete, infer_space

__all__ = ["Job"]


@dataclass(frozen=True)
class Job:
    """One algorithm on one dataset with one seed.

    Parameters
    ----------
    algorithm : Algorithm
    dataset : Dataset
        Or a variant of one.
    seed : int
        Of the initial weights, the batches and all other draws of training; from 0 to 2**63 - 1.
    variant : str
        What the dataset is called in tables; default its own name (`Dataset.name`): the one it was given, else its id
        and its last transforms.
    name : str
        What the algorithm is called in tables; default its label, such as `"TD3+BC"`.
    behaviour_return : float, optional
        Mean return of the policies that made the data; default the mean of the dataset's returns, unless these do not tell:
        where rewards are corrupted, missing or filled in, episodes were cut into pieces, or steps were made up.
    by_variant : tuple of str
        Parameters that were chosen for the variant; tables do not tell algorithms apart by them.

    Raises
    ------
    ConfigError
        If the algorithm or the dataset is something else, such as a class or a name, or the seed is not a whole number from 0 to
        2**63 - 1, which is what run folders and generators hold.

    Examples
    --------
    >>> import assay
    >>> from assay.baselines import BC, Job
    >>> Job(BC(), assay.load("pendulum/random", steps=400)).label
    'pendulum/random'
    """

    algorithm: Algorithm
    dataset: Dataset
    seed: int = 0
    variant: str = ""
    name: str = ""
    behaviour_return: float | None = None
    by_variant: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_algorithm(self.algorithm)
        _check_dataset(self.dataset)
        object.__setattr__(self, "seed", check_seed(self.seed))

    @property
    def label(self) -> str:
        """What the variant is called: `variant`, or the dataset's own name."""
        return self.variant or self.dataset.name

    @property
    def known_behaviour_return(self) -> float | None:
        """Mean true return of the data, where it is known."""
        if self.behaviour_return is not None:
            return self.behaviour_return
        dataset = self.dataset
        others = {"corrupted/rewards", "truth/rewards", "uncertainty/rewards", "augmented"} & set(dataset.columns)
        unknown = others or "origin/step" in dataset.episode_columns or dataset.missing["rewards"].any()
        return None if unknown else float(dataset.returns.mean())

    @cached_property
    def shapes(self) -> Shapes:
        """What the networks see of the dataset."""
        scale = self.action_scale  # raises where the algorithm cannot act
        return Shapes.of(self.dataset, len(scale.center), scale.first is not None, self.algorithm.category_code)

    @property
    def action_scale(self) -> ActionScale:
        """The bounds of the actions, from the dataset's action space; from the actions where that is unknown."""
        space = self.dataset.info.action_space
        actions = self.dataset.actions
        if isinstance(actions, np.ndarray) and space is None and actions.size:
            if actions.dtype.kind == "f":
                return _range_of(actions)
            space = infer_space(actions.reshape(len(actions)) if actions.size == len(actions) else actions)
        if isinstance(space, Discrete) and self.algorithm.discrete_actions and actions.dtype.kind in "iu":
            return ActionScale.of_discrete(space.n, space.start)
        if not isinstance(space, Box) or not self.algorithm.continuous_actions:
            wanted = "bounded Box" if self.algorithm.continuous_actions else "Discrete"
            kind = "unknown" if space is None else type(space).__name__
            raise ConfigError(f"{self.algorithm.label} needs a {wanted} action space; that of {self.label} is {kind}")
        return ActionScale.of(*space.bounds())


def _check_algorithm(given: Any) -> None:
    if isinstance(given, Algorithm):
        return
    if isinstance(given, type) and issubclass(given, Algorithm):
        raise ConfigError(f"job: algorithm={given.__name__} is a class; write {given.__name__}()")
    advice = f"algorithm_named({given!r})" if isinstance(given, str) else "BC()"
    raise ConfigError(f"job: algorithm={given!r} is not an algorithm; write one such as {advice}")


def _check_dataset(given: Any) -> None:
    if isinstance(given, Dataset):
        return
    path = isinstance(given, str | os.PathLike)
    advice = f"assay.load({os.fspath(given)!r})" if path else "assay.load('pendulum/medium')"
    shown = repr(os.fspath(given)) if path else f"a {type(given).__name__}"
    raise ConfigError(f"job: dataset is {shown}, not a Dataset; write {advice}")


def _range_of(actions: np.ndarray) -> ActionScale:
    """Return the scale of actions whose space is unknown: [-1, 1] where they fit in, else what they span."""
    flat = actions.reshape(len(actions), -1)
    low, high = np.minimum(flat.min(0), -1.0), np.maximum(flat.max(0), 1.0)
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise ConfigError("actions hold NaN or infinity, and no action space says what they span; repair them first")
    return ActionScale.of(low, high)
