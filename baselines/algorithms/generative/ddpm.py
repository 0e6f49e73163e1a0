r"""Diffusion of actions in a few fixed steps (Ho, Jain & Abbeel 2020, arXiv 2006.11239), with the betas of a VP process.

A network predicts the noise in a noisy action, and an action is drawn by T steps back from pure noise. For t = 1..T,

.. math::
    \alpha_t &= \exp(-\tfrac{b}{T} - \tfrac{(B - b)(2 t - 1)}{2 T^2}), \quad \bar\alpha_t = \prod_{i \le t} \alpha_i, \quad
        b = 0.1, \; B = 10 \\
    a_t &= \sqrt{\bar\alpha_t} \, a + \sqrt{1 - \bar\alpha_t} \, \epsilon, \qquad
        L = E \, w \, \lVert \epsilon - \epsilon_\theta(s, a_t, t) \rVert^2 \\
    a_{t-1} &= \tfrac{1}{\sqrt{\alpha_t}} (a_t - \tfrac{1 - \alpha_t}{\sqrt{1 - \bar\alpha_t}} \epsilon_\theta)
        + 1[t > 1] \sqrt{1 - \alpha_t} \, z, \text{ clipped to } [-1, 1]

so that the last level of noise, the product of all alphas at t = T, leaves the same 0.6 % of the action for every T. The weights w of
the rows make it weighted cloning, which samples from the weighted distribution exactly (Zheng et al. 2024, arXiv 2401.10700).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from assay.baselines.algorithms.algorithm import Setting
from assay.baselines.networks.network import Dropout, FixedNetwork

__all__ = ["diffused_actions", "diffusion_errors", "vp_alphas"]

_LEAST, _MOST = 0.1, 10.0  # b and B


def vp_alphas(steps: int) -> list[float]:
    """Return alpha of t = 1..T.

    Examples
    --------
    >>> [round(alpha, 3) for alpha in vp_alphas(5)], round(math.prod(vp_alphas(5)), 4), round(math.prod(vp_alphas(50)), 4)
    ([0.804, 0.541, 0.364, 0.245, 0.165], 0.0064, 0.0064)
    """
    return [
        math.exp(-_LEAST / steps - 0.5 * (_MOST - _LEAST) * (2 * step - 1) / steps**2) for step in range(1, steps + 1)
    ]


def diffusion_errors(setting: Setting, network: str, steps: int, dropout: Dropout | None = None) -> torch.Tensor:
    """Return the squared error [P, B] of the predicted noise of every row, summed over the entries of the action."""
    batch, draws = setting.batch, setting.draws
    members, rows, size = batch.actions.shape
    limits = torch.full((members,), steps, dtype=torch.int64, device=batch.actions.device)
    times = draws.integers("diffusion time", limits, rows)  # [P, B], t - 1
    noise = draws.normal("diffusion noise", rows, size)
    share = (times + 1).to(noise.dtype).unsqueeze(-1) / steps
    kept = torch.exp(-_LEAST * share - 0.5 * (_MOST - _LEAST) * share.square())  # the product of alpha up to t
    noisy = kept.sqrt() * batch.actions + (1.0 - kept).sqrt() * noise
    level = times.to(noise.dtype).unsqueeze(-1)
    predicted = setting.networks[network](batch.observations, noisy, level, dropout=dropout)
    return (predicted - noise).square().sum(-1)


@torch.no_grad()
def diffused_actions(
    network: FixedNetwork, observations: torch.Tensor, draw: Callable[[str], torch.Tensor], steps: int
) -> torch.Tensor:
    """Draw actions [P, n, action] in [-1, 1] at observations [P, n, observation].

    Parameters
    ----------
    network : FixedNetwork
        Takes observations, noisy actions and t - 1.
    observations : tensor
    draw : callable
        Gives standard normal numbers [P, n, action] for a purpose.
    steps : int
        T.
    """
    alphas = vp_alphas(steps)
    actions = draw("diffusion start")
    for step in reversed(range(steps)):
        alpha, kept = alphas[step], math.prod(alphas[: step + 1])
        noise = network(observations, actions, torch.full_like(actions[..., :1], float(step)), weights="frozen")
        actions = (actions - (1.0 - alpha) / math.sqrt(1.0 - kept) * noise) / math.sqrt(alpha)
        if step:
            actions = actions + math.sqrt(1.0 - alpha) * draw(f"diffusion step {step}")
        actions = actions.clamp(-1.0, 1.0)
    return actions
