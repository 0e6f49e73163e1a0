"""What the tabular methods share: states that are numbers, columns of a laid out dataset, and drawing an action."""

from __future__ import annotations

import numpy as np
import torch

from assay.baselines.engine.acting import EpisodeDraws
from assay.baselines.engine.data import TrainingData
from assay.baselines.engine.shapes import Shapes
from assay.datasets.errors import ConfigError

__all__ = ["cells_of", "column_of", "drawn_action", "shares_of", "states_of"]


def states_of(shapes: Shapes, label: str) -> int:
    """Return how many states there are.

    Raises
    ------
    ConfigError
        If observations are not one whole number per step; `label` names the method that needs them.
    """
    part = shapes.parts[0]
    if len(shapes.parts) != 1 or part.kind != "category":
        found = ", ".join(f"{item.name or 'observations'} ({item.kind})" for item in shapes.parts)
        raise ConfigError(
            f"{label} needs states that are one of several: observations of a Discrete space, one whole number per step; "
            f"these have {found}"
        )
    return part.categories


def column_of(data: TrainingData, name: str) -> np.ndarray:
    """Return a column of the rows: (M,) where it is one number per row, else (M, n)."""
    start = 0
    for column, size in data.columns:
        if column == name:
            found: np.ndarray = data.rows[:, start : start + size].astype(np.float64)
            return found[:, 0] if column in data.scalars else found
        start += size
    raise KeyError(name)


def cells_of(data: TrainingData) -> np.ndarray:
    """Return the number of each row's state and action in a table [states, actions]: (M,) int64."""
    states = column_of(data, "observations")[:, 0].astype(np.int64)
    actions = column_of(data, "actions")
    found: np.ndarray = states * actions.shape[1] + actions.argmax(1)
    return found


def shares_of(data: TrainingData, states: int, actions: int, outcomes: int) -> np.ndarray:
    """Return the share of each state, action and outcome in the rows: (S, A, R).

    Outcomes are evenly spaced returns from a step on, between the smallest and the largest of the rows, each the nearest one.
    """
    returns = column_of(data, "returns_to_go")
    width = np.ptp(returns)
    scaled = (returns - returns.min()) / (width if width > 0 else 1.0)
    places = cells_of(data) * outcomes + np.rint(scaled * (outcomes - 1)).astype(int)
    counts = np.bincount(places, minlength=states * actions * outcomes)
    found: np.ndarray = counts.reshape(states, actions, outcomes) / len(returns)
    return found


def drawn_action(logits: torch.Tensor, draws: EpisodeDraws) -> torch.Tensor:
    """Add Gumbel noise to the logarithms of probabilities [P, n, actions], so that the largest is a draw of them."""
    uniform = draws.uniform("action", logits.shape[-1]).clamp(min=2.0**-25)
    return logits - torch.log(-torch.log(uniform))
