r"""MOPO: model-based offline policy optimization (Yu et al. 2020, arXiv 2005.13239, algorithm 2).

Soft actor-critic on the data and on rollouts of a learned model (`agent`), whose rewards are less where the model is unsure:

.. math::
    \tilde r &= r - \lambda u(s, a) \\
    y &= \tilde r + \gamma (1 - d) (\min_k Q'_k(s', a') - \alpha \log \pi(a' | s')), \quad a' \sim \pi(\cdot | s')

with u one of `assay.baselines.dynamics.penalties`, in the paper the largest expected noise of any network. One update trains two
critics, then the actor, then the temperature, each on what the ones before have become, and then lets the targets follow.

`mopo.json` has the k and lambda of OfflineRL-Kit by dataset, with its penalty (`variant="released"`).

Deviations: the code followed is OfflineRL-Kit's `run_mopo.py`, not the authors' TensorFlow; its penalty takes the norm of the
deviations, the paper's that of the variances (`variant`). See `agent` and `dynamics` for what the room shares.
"""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic
from pydantic import Field

from assay.baselines.algorithms.actor_critic.sac_n import actor_loss, critic_loss, temperature_loss
from assay.baselines.algorithms.algorithm import Losses, Phase, Setting
from assay.baselines.algorithms.model_based.agent import ModelBased, check_penalty, on_both
from assay.baselines.engine.shapes import Shapes
from assay.baselines.networks import MLP, Scalars, Specification
from assay.datasets.registry import Widths, register

__all__ = ["MOPO"]


@register("mopo", label="MOPO")
class MOPO(ModelBased):
    """Soft actor-critic on penalized rollouts, with OfflineRL-Kit's defaults; k and lambda by dataset are `values_for`'s.

    Examples
    --------
    >>> MOPO(penalty="ensemble_deviation", penalty_weight=1.0).rollout_length
    5
    """

    actor_learning_rate: float = Field(1e-4, gt=0)
    temperature_learning_rate: float = Field(1e-4, gt=0)
    critics: int = Field(2, ge=2)
    hidden: Widths = (256, 256)
    penalty_weight: float = Field(default=2.5, ge=0)  # lambda
    penalty: Annotated[str, pydantic.AfterValidator(check_penalty)] = "aleatoric"  # u
    variant: Literal["paper", "released"] = "paper"  # of u

    def agent_networks(self, shapes: Shapes) -> dict[str, Specification]:  # noqa: D102
        return two_layer_agent(self, shapes)

    @property
    def rollout_penalty(self) -> str:  # noqa: D102
        return self.penalty

    def phases(self) -> tuple[Phase, ...]:  # noqa: D102
        losses = (critic_loss, actor_loss, temperature_loss)
        return *[Phase(on_both(loss)) for loss in losses], Phase(no_loss, follow=("critic",))


def two_layer_agent(
    algorithm: ModelBased, shapes: Shapes, schedule: Literal["constant", "cosine"] = "constant"
) -> dict[str, Specification]:
    """Describe temperature, actor and critics that begin as PyTorch's layers do.

    Parameters
    ----------
    algorithm : ModelBased
    shapes : Shapes
    schedule : "constant" or "cosine"
        Of the actor's learning rate.
    """
    state, action = shapes.observation_size, shapes.action_size
    actor = MLP(state, 2 * action, algorithm.hidden, learning_rate="actor_learning_rate", schedule=schedule)
    critic = MLP(
        state + action,
        1,
        algorithm.hidden,
        learning_rate="critic_learning_rate",
        ensemble=algorithm.critics,
        target=True,
    )
    return {"temperature": Scalars(learning_rate="temperature_learning_rate"), "actor": actor, "critic": critic}


def no_loss(setting: Setting) -> Losses:
    """Train nothing: the targets follow."""
    return Losses({})
