"""What goal-conditioned methods share: observations under another goal, and what a transition achieves.

Observations have the parts of multi-goal environments (Plappert et al. 2018, arXiv 1802.09464), and what networks see is the whole
vector::

    observation    achieved_goal   desired_goal   observation      in alphabetical order, see `Shapes`
    under goal g   achieved_goal   g              observation      g: what the next observation of some row achieves

So a policy acts on an environment's observations as they are. Where observations are normalized, desired goals are as achieved ones
are, so that one can stand for the other. Rewards are never read, and terminations neither: an episode that ends because its own goal
is reached goes on under another goal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from assay.baselines.algorithms.algorithm import Algorithm, Batch, Setting
from assay.baselines.engine.shapes import Shapes
from assay.datasets.errors import ConfigError

__all__ = ["ACHIEVED", "DESIRED", "GoalConditioned", "Relabelled", "goal_size", "reached", "relabelled", "towards"]

ACHIEVED, DESIRED = "achieved_goal", "desired_goal"


class GoalConditioned(Algorithm):
    """Base of algorithms that learn to reach goals, from actions and observations alone."""

    labels: ClassVar[tuple[str, ...]] = ("actions",)
    scaled_as: ClassVar[Mapping[str, str]] = {DESIRED: ACHIEVED}


@dataclass(frozen=True)
class Relabelled:
    """A batch under the goals of a stream of hindsight rows.

    Parameters
    ----------
    observations, next_observations : [P, B, observation] tensors
    enters : [P, B] bool tensor
        Where the transition itself enters the goal: what it achieves equals the goal.
    """

    observations: torch.Tensor
    next_observations: torch.Tensor
    enters: torch.Tensor


def goal_size(shapes: Shapes, label: str) -> int:
    """Return the entries of a goal.

    Raises
    ------
    ConfigError
        If the observations have no achieved and desired goal, vectors of the same size.

    Examples
    --------
    >>> from assay.baselines.engine.shapes import Part
    >>> goal_size(Shapes((Part("achieved_goal", (2,)), Part("desired_goal", (2,))), 4), "SMORe")
    2
    """
    sizes = {part.name: part.size for part in shapes.in_vector}
    if ACHIEVED not in sizes or sizes[ACHIEVED] != sizes.get(DESIRED):
        have = ", ".join(f"{part.name} {list(part.shape)}" for part in shapes.parts if part.name) or "one unnamed array"
        raise ConfigError(
            f"{label} learns to reach goals: observations need the parts {ACHIEVED} and {DESIRED}, vectors of one size, such as "
            f"those of pointmaze-umaze-multigoal/expert; these have {have}"
        )
    return sizes[ACHIEVED]


def shapes_of(setting: Setting) -> Shapes:
    """Return the shapes of the data that a loss is computed for."""
    assert setting.shapes is not None, "a goal-conditioned loss needs the shapes of the data"
    return setting.shapes


def reached(rows: Batch, shapes: Shapes) -> torch.Tensor:
    """Return what transitions achieve, [P, B, goal]: the achieved goal of s'."""
    return rows.next_observations[..., shapes.place(ACHIEVED)]


def towards(observations: torch.Tensor, goals: torch.Tensor, shapes: Shapes) -> torch.Tensor:
    """Return observations [P, B, n] with other desired goals [P, B, goal].

    Examples
    --------
    >>> from assay.baselines.engine.shapes import Part
    >>> shapes = Shapes((Part("achieved_goal", (1,)), Part("desired_goal", (1,)), Part("observation", (1,))), 2)
    >>> towards(torch.tensor([[[1.0, 2.0, 3.0]]]), torch.tensor([[[9.0]]]), shapes).tolist()
    [[[1.0, 9.0, 3.0]]]
    """
    place = shapes.place(DESIRED)
    return torch.cat([observations[..., : place.start], goals, observations[..., place.stop :]], -1)


def relabelled(setting: Setting, stream: str = "goals") -> Relabelled:
    """Return the batch under the goals that the rows of a stream enter."""
    shapes, batch = shapes_of(setting), setting.batch
    goals = reached(setting.batches[stream], shapes)
    return Relabelled(
        towards(batch.observations, goals, shapes),
        towards(batch.next_observations, goals, shapes),
        (reached(batch, shapes) == goals).all(-1),
    )
