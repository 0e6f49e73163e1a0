r"""EDAC: ensemble-diversified actor-critic (An et al. 2021, arXiv 2110.01548, section 4).

SAC-N whose critics are also driven apart: with the unit gradients of the critics to the action in the data,
:math:`g_k = \nabla_a Q_k(s, a) / \lVert \nabla_a Q_k(s, a) \rVert`, the critics minimize

.. math::
    L(Q) = \sum_k E \, (Q_k(s, a) - y)^2 + \eta \, \frac{1}{N - 1} \, E \sum_{i \ne j} \langle g_i, g_j \rangle ,

so that far fewer of them do. Everything else is SAC-N's (`sac_n`).

The logged `critic_loss` is the whole of it, as in CORL; `similarity` is the sum over pairs without its weight. `edac.json` has CORL's
N and eta by dataset.

Deviations: none from CORL's `edac.py` beyond those of SAC-N; 1e-10 is added to each norm as there. The sum over pairs is
computed as :math:`\lVert \sum_k g_k \rVert^2 - \sum_k \lVert g_k \rVert^2`, in a time linear in N. The authors' code
(snu-mllab/EDAC) compares a random subset of min(N, |A|) critics in each update and divides by its size less one. Unifloral
compares all of them too, but moves the target networks before the critics.
"""

from __future__ import annotations

import torch
from pydantic import Field

from assay.baselines.algorithms.actor_critic.sac_n import SACN, actor_loss, soft_targets, temperature_loss
from assay.baselines.algorithms.algorithm import Losses, Phase, Setting
from assay.datasets.registry import register

__all__ = ["EDAC"]

_SMALL = 1e-10


@register("edac", label="EDAC")
class EDAC(SACN):
    """SAC-N with diversified critics, with CORL's defaults; N and eta by dataset, such as 50 critics for hopper, are `values_for`'s.

    Examples
    --------
    >>> EDAC(eta=5.0).eta
    5.0
    """

    eta: float = Field(default=1.0, ge=0)  # weight of the similarity

    def phases(self) -> tuple[Phase, ...]:  # noqa: D102
        return Phase(temperature_loss), Phase(actor_loss), Phase(critic_loss, follow=("critic",))


def critic_loss(setting: Setting) -> Losses:
    """Squared error of the soft temporal difference, and the similarity of the critics' gradients to the action."""
    networks, batch, h = setting.networks, setting.batch, setting.hyperparameters
    critics = networks["critic"].spec.ensemble
    # Each critic has its own copy of the actions, [P, K, B, action], so that one backward pass gives every gradient.
    actions = batch.actions[:, None].repeat(1, critics, 1, 1).requires_grad_()
    observations = batch.observations[:, None].expand(-1, critics, -1, -1)
    values = networks["critic"](torch.cat([observations, actions], -1), repeated=True).squeeze(-1)  # [P, K, B]
    loss = (values - soft_targets(setting)[:, None]).square().mean(-1).sum(1)  # [P]

    (gradients,) = torch.autograd.grad(values.sum(), actions, create_graph=True)
    gradients = gradients / (torch.linalg.vector_norm(gradients, dim=-1, keepdim=True) + _SMALL)
    pairs = gradients.sum(1).square().sum(-1) - gradients.square().sum((1, 3))  # [P, B], over i != j
    similarity = pairs.mean(-1) / (critics - 1)
    total = loss + h.eta[:, 0] * similarity
    return Losses({"critic": total}, {"critic_loss": total, "similarity": similarity, "q_mean": values.mean((1, 2))})
