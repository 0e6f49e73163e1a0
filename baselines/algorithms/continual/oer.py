r"""OER, a reconstruction: offline experience replay with model-based selection and dual behaviour cloning.

Gai, Wang & He 2023, *OER: Offline Experience Replay for Continual Offline Reinforcement Learning* (ECAI 2023, arXiv 2305.13804). Tasks
come one after the other, each with its own data; of each a memory of M steps is kept.

- Model-based experience selection: the learned policy :math:`\pi_n` is rolled out in a model of task n, from states in which episodes of the data
  begin, and for every imagined state the nearest step of the data is kept (`assay.baselines.dynamics.experience`).
- Dual behaviour cloning: :math:`\pi_n` learns on the present task alone, by TD3+BC (`td3_bc`). A second policy :math:`\mu` clones it and the memory, and is
  the one that acts:

.. math::
    L(\mu) = E_{D_n} \lVert \mu(s) - \pi_n(s) \rVert^2 / d_a + \frac{\lambda}{n - 1} \sum_{j < n} E_{B_j} \lVert \mu(s) - a \rVert^2 / d_a

So cloning what is remembered never disturbs the values of the present task.

This is a reconstruction from the abstract and from summaries: no code was published, and the equations above are what they say. Decisions of
this project, none of them the authors': the base TD3+BC; M = 1000; five networks of two layers of 256 as the model, trained beside the policy; a
rollout goes on from the step that was chosen (`reanchor`), and ends where that step did; distances are in the scale of the model's inputs; a
step may be kept several times; the task is told as a one-hot code; :math:`\lambda = 1`. Numbers of the paper are not reproduced.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field

from assay.baselines.algorithms.algorithm import Losses, LossFunction, Memory, Setting
from assay.baselines.algorithms.continual.tasks import TasksInOrder, replay_loss
from assay.baselines.engine.acting import EpisodeDraws
from assay.baselines.engine.shapes import Shapes
from assay.baselines.networks import MLP, FixedNetwork
from assay.datasets.registry import register

__all__ = ["OER"]


@register("oer", label="OER (reconstruction)")
class OER(TasksInOrder):
    """TD3+BC on tasks in order, beside a policy that clones it and a memory of the tasks before.

    Examples
    --------
    >>> OER().selection, OER(selection="random").buffer_size
    ('model', 1000)
    """

    acting: ClassVar[tuple[str, ...]] = ("clone",)

    selection: Literal["random", "reward", "model"] = Field(default="model", kw_only=True)
    clone_learning_rate: float = Field(default=3e-4, gt=0, kw_only=True)

    def networks(self, shapes: Shapes) -> dict[str, Any]:  # noqa: D102
        sizes = shapes.observation_size, shapes.action_size
        clone = MLP(*sizes, self.hidden, learning_rate="clone_learning_rate", output="tanh")
        return {**super().networks(shapes), "clone": clone}

    def losses_beside(self) -> Sequence[LossFunction]:  # noqa: D102
        return (clone_loss,)

    def act(  # noqa: D102
        self, networks: Mapping[str, FixedNetwork], observations: Any, memory: Memory, draws: EpisodeDraws
    ) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        return networks["clone"](observations, weights="frozen"), {}


def clone_loss(setting: Setting) -> Losses:
    """Squared distance of the second policy to the first one on the present task, and to the actions of the memory."""
    networks, batch = setting.networks, setting.batch
    with torch.no_grad():
        learned = networks["actor"](batch.observations, weights="frozen")
    present = batch.mean((networks["clone"](batch.observations) - learned).square(), (1, 2), rows=1)
    replayed = replay_loss(setting, "clone")
    return Losses({"clone": present + replayed}, {"clone_loss": present, "replay_loss": replayed})
