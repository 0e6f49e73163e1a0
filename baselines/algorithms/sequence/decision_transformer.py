r"""DT: the Decision Transformer, behaviour cloning conditioned on the return to go (Chen et al. 2021, arXiv 2106.01345).

A causal transformer reads the last T steps as tokens R_t, s_t, a_t, where R_t is the return from step t on, and predicts
each action from what came before it:

.. math:: L(\pi) = E \, \tfrac{1}{T} \sum_t v_t \, \lVert \pi(R_{\le t}, s_{\le t}, a_{< t}) - a_t \rVert^2 / d_a

where v_t is 0 behind the end of an episode. Acting starts with a target return as R_0 and takes each reward off it.

Sequences start at uniformly drawn steps and are padded behind the episode's end, so the mean is over padding too, as in
CORL's `dt.py`, whose defaults these are (three blocks, width 128, one head, T = 20, AdamW 1e-4 with decay 1e-4, clipping
at 0.25, linear warm-up, dropout 0.1). Its configurations for D4RL have other batches, rates and target returns; they are in
`decision_transformer.json`, the first of two target returns where there are two.

Deviations from CORL: draws of dropout are the member's own (counter-based); the target return is by default the best
return in the data, where CORL's configurations name one or two numbers per task; observations are normalized by
(s - mean) / (std + 1e-3) as everywhere here, not + 1e-6; time steps past `longest_episode` share an embedding. The original
code pads before the sequence and samples whole trajectories in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

import torch
from pydantic import Field

from assay.baselines.algorithms.algorithm import Algorithm, Losses, Memory, Phase, Setting
from assay.baselines.engine.acting import Acting, EpisodeDraws
from assay.baselines.engine.shapes import Shapes
from assay.baselines.networks import FixedNetwork
from assay.baselines.networks.transformer import SequenceTransformer
from assay.datasets.errors import ConfigError
from assay.datasets.registry import register

__all__ = ["DecisionTransformer"]


@register("dt", label="DT")
class DecisionTransformer(Algorithm):
    """Decision Transformer, with the defaults of CORL's code; `values_for` gives its settings for D4RL, batches of 4,096 among them.

    Examples
    --------
    >>> DecisionTransformer(sequence_length=10).width
    128
    """

    extra_columns: ClassVar[tuple[str, ...]] = ("returns_to_go", "timesteps")
    looks_back: ClassVar[bool] = True

    return_scale: float = Field(1e-3, gt=0)  # returns are given to the network times this
    learning_rate: float = Field(1e-4, gt=0)  # after the warm-up
    weight_decay: float = Field(1e-4, ge=0)  # decoupled
    gradient_clip: float = Field(0.25, gt=0)  # largest norm of the gradient
    dropout: float = Field(0.1, ge=0, lt=1)  # of tokens, attention and both branches of a block
    warmup: int = Field(10_000, ge=0)  # updates
    batch_size: int = Field(64, gt=0)  # sequences per update
    sequence_length: int = Field(20, gt=0)  # T, steps that the policy looks back, the present one included
    width: int = Field(128, gt=0)  # of a token
    blocks: int = Field(3, gt=0)
    heads: int = Field(1, gt=0)
    longest_episode: int = Field(1_000, gt=0)  # steps
    normalize_observations: bool = True  # (s - mean) / (std + 1e-3) over the dataset
    target_return: float | None = None  # asked for when acting; None asks for the best return in the data

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ConfigError(f"width={self.width} has to be a multiple of heads={self.heads}")

    def networks(self, shapes: Shapes) -> dict[str, SequenceTransformer]:  # noqa: D102
        actor = SequenceTransformer(
            shapes.observation_size,
            shapes.action_size,
            self.width,
            self.blocks,
            self.heads,
            self.longest_episode,
            learning_rate="learning_rate",
            warmup=self.warmup,
            weight_decay="weight_decay",
            gradient_clip="gradient_clip",
        )
        return {"actor": actor}

    def phases(self) -> tuple[Phase, ...]:  # noqa: D102
        return (Phase(actor_loss),)

    def begin(self, members: Sequence[Acting], episodes: int) -> dict[str, torch.Tensor]:
        """Ask for the target return in every episode."""
        algorithms = [cast(DecisionTransformer, member.algorithm) for member in members]
        targets = [
            member.best_return if algorithm.target_return is None else algorithm.target_return
            for member, algorithm in zip(members, algorithms)
        ]
        asked = torch.tensor([targets, [algorithm.return_scale for algorithm in algorithms]], dtype=torch.float64)
        returns, scales = asked[..., None].repeat(1, 1, episodes)  # [P, n]
        return {"return_to_go": returns, "return_scale": scales}

    def act(
        self,
        networks: Mapping[str, FixedNetwork],
        observations: torch.Tensor,
        memory: Memory,
        draws: EpisodeDraws,
    ) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        """Return the next actions, given the last T steps of each episode and what is left of the target return."""
        state = memory.state
        return_to_go = state["return_to_go"] - memory.rewards
        outputs = cast(Any, networks["actor"].spec).actions
        present = {
            "observations": observations,
            "actions": observations.new_zeros(*observations.shape[:2], outputs),
            "returns_to_go": (return_to_go * state["return_scale"]).to(observations.dtype),
            "timesteps": torch.full(observations.shape[:2], memory.step),
        }
        window = {}
        for name, value in present.items():
            joined = torch.cat([state[name], value[:, :, None]], 2) if name in state else value[:, :, None]
            window[name] = joined[:, :, -self.sequence_length :]
        inputs = (window["returns_to_go"], window["observations"], window["actions"], window["timesteps"])
        actions = networks["actor"](*inputs, weights="frozen")[:, :, -1].clamp(-1.0, 1.0)
        window["actions"] = torch.cat([window["actions"][:, :, :-1], actions[:, :, None]], 2)
        return actions, {**window, "return_to_go": return_to_go, "return_scale": state["return_scale"]}


def actor_loss(setting: Setting) -> Losses:
    """Squared error of every action of the sequences."""
    batch, h = setting.batch, setting.hyperparameters
    assert batch.valid is not None

    def dropout(activations: torch.Tensor, purpose: str) -> torch.Tensor:
        kept = setting.draws.events(f"dropout/{purpose}", 1.0 - h.dropout, *activations.shape[1:])
        scale: torch.Tensor = 1.0 / (1.0 - h.dropout.view(-1, *[1] * (activations.dim() - 1)))
        return activations * (kept * scale)

    returns = batch["returns_to_go"] * h.return_scale[..., None]
    predicted: torch.Tensor = setting.networks["actor"](
        returns, batch.observations, batch.actions, batch["timesteps"], dropout=dropout
    )  # [P, B, T, action]
    errors = (predicted - batch.actions).square() * batch.valid[..., None]
    loss: torch.Tensor = errors.mean((1, 2, 3))
    return Losses({"actor": loss}, {"actor_loss": loss})
