r"""Model-based experience selection: the transitions of the data that lie nearest to where a policy would go, by a model.

Gai, Wang & He 2023 (*OER: Offline Experience Replay for Continual Offline Reinforcement Learning*, arXiv 2305.13804). A policy is rolled
out in a model of the dynamics, and every imagined state stands for the transition of the data that begins nearest to it:

.. math:: \hat s_{t+1} \sim \hat P(\cdot \mid s_t, \pi(s_t)), \qquad i_t = \arg\min_i \lVert s_i - \hat s_{t+1} \rVert^2, \qquad s_{t+1} = s_{i_t}

::

    slot 0    start -> i_0 -> i_1 -> ... ends, start -> i_k -> ...        a rollout ends where its transition did, or after so many
    slot 1    start -> i_0 -> ...                                         steps; then the next one begins in its slot
"""

from __future__ import annotations

from collections.abc import Callable

import torch

__all__ = ["follow_policy"]


def follow_policy(
    begin: Callable[[int], torch.Tensor],
    imagine: Callable[[torch.Tensor, int], torch.Tensor],
    nearest: Callable[[torch.Tensor], torch.Tensor],
    states_of: Callable[[torch.Tensor], torch.Tensor],
    ends_at: Callable[[torch.Tensor], torch.Tensor],
    *,
    steps: int,
    longest: int,
    anchored: bool = True,
) -> torch.Tensor:
    """Return the rows that stand for what a policy visits, [..., steps, slots]; a row may be chosen several times.

    Parameters
    ----------
    begin : callable
        Step -> states to begin in, [..., slots, observation].
    imagine : callable
        States and step -> states that the policy leads to in the model.
    nearest : callable
        States -> numbers of the nearest rows, [..., slots].
    states_of, ends_at : callable
        Rows -> the states that they begin in; and whether their episodes end with them.
    steps : int
        In every slot.
    longest : int
        Most steps of a rollout.
    anchored : bool
        Go on from the state of the chosen row, so that errors of the model do not add up, or from the imagined one.

    Examples
    --------
    The data lies on whole numbers, and the policy goes up by about one:

    >>> rows = follow_policy(lambda step: torch.zeros(1, 1), lambda states, step: states + 1.2,
    ...                      lambda states: states.round().long()[..., 0], lambda rows: rows[..., None].float(),
    ...                      lambda rows: rows == 3, steps=5, longest=9)
    >>> rows[:, 0].tolist()
    [1, 2, 3, 1, 2]
    """
    chosen = []
    states = begin(0)
    age = torch.zeros(states.shape[:-1], dtype=torch.int64, device=states.device)
    for step in range(steps):
        imagined = imagine(states, step)
        rows = nearest(imagined)
        chosen.append(rows)
        age = age + 1
        over = ends_at(rows) | (age >= longest)
        reached = states_of(rows) if anchored else imagined
        states = torch.where(over[..., None], begin(step + 1), reached)
        age = age * ~over
    return torch.stack(chosen, -2)
