r"""RAVL: reach-aware value learning (Sims et al. 2024, arXiv 2402.12527, section 6).

Rollouts that are cut after k steps reach states in which none of them begins. Their values are bootstrapped from and never updated,
and they explode even where the model is perfect. RAVL finds such states by the disagreement of N critics and values them low: it is
EDAC (`edac`) on the data and on rollouts of the model (`agent`), without a penalty on the model,

.. math::
    y &= r + \gamma (1 - d) (\min_i Q'_i(s', a') - \alpha \log \pi(a' | s')) \\
    L(Q) &= \sum_i E \, (Q_i(s, a) - y)^2 + \eta \, \frac{1}{N - 1} \, E \sum_{i \ne j} \langle g_i, g_j \rangle

with the unit gradients g of the critics to the action. One update trains the temperature, then the actor, then the critics.

Deviations from github.com/anyasims/edge-of-reach: those of `agent`, `dynamics` and `edac`. As there, rollouts of halfcheetah never
end. Its N, eta and k per dataset are in the paper's appendix, which was not at hand: there are no presets.
"""

from __future__ import annotations

from pydantic import Field

from assay.baselines.algorithms.actor_critic.edac import critic_loss
from assay.baselines.algorithms.actor_critic.sac_n import actor_loss, temperature_loss
from assay.baselines.algorithms.algorithm import Phase
from assay.baselines.algorithms.model_based.agent import ModelBased, on_both
from assay.datasets.registry import register

__all__ = ["RAVL"]


@register("ravl", label="RAVL")
class RAVL(ModelBased):
    """EDAC on rollouts of a model, with the published defaults.

    Examples
    --------
    >>> RAVL(eta=10.0).rollout_length
    5
    """

    eta: float = Field(default=1.0, ge=0)  # weight of the similarity of the critics' gradients

    def phases(self) -> tuple[Phase, ...]:  # noqa: D102
        critics = Phase(on_both(critic_loss), follow=("critic",))
        return Phase(on_both(temperature_loss)), Phase(on_both(actor_loss)), critics
