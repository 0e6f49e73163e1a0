r"""ER: experience replay for tasks that come one after the other, as the reference of OER.

TD3+BC (`td3_bc`) learns the tasks in order (`tasks`), and its policy clones what was kept of the tasks before, as methods of
continual learning replay examples (Rolnick et al. 2019, arXiv 1811.11682; Chaudhry et al. 2019, arXiv 1902.10486):

.. math:: L(\pi) = L_{\text{TD3+BC}}(\pi; D_n) + \frac{\lambda}{n - 1} \sum_{j < n} E_{B_j} \lVert \pi(s) - a \rVert^2 / d_a

One policy has both losses, so cloning changes which actions the critic of the present task values. With `replay_weight` 0 nothing is
replayed: fine-tuning, which forgets.

Deviations: those papers replay with the losses of their own learners (V-trace; a classifier's). Here actions alone are replayed, and the
critic learns from the present task, so that ER differs from OER (`oer`) in nothing but the policy that clones, and in what is kept.
"""

from __future__ import annotations

from assay.baselines.algorithms.actor_critic import td3_bc
from assay.baselines.algorithms.algorithm import Losses, LossFunction, Setting
from assay.baselines.algorithms.continual.tasks import TasksInOrder, replay_loss
from assay.datasets.registry import register

__all__ = ["ER"]


@register("er", label="ER")
class ER(TasksInOrder):
    """TD3+BC on tasks in order, whose policy clones a memory of those before.

    Examples
    --------
    >>> ER(replay_weight=0.0).tasks  # fine-tuning on three tasks
    3
    """

    def actor_loss(self) -> LossFunction:  # noqa: D102
        return actor_loss


def actor_loss(setting: Setting) -> Losses:
    """Loss of TD3+BC on the present task, plus cloning of the memory."""
    metrics = td3_bc.actor_loss(setting).metrics
    replayed = replay_loss(setting, "actor")
    return Losses({"actor": metrics["actor_loss"] + replayed}, {**metrics, "replay_loss": replayed})
