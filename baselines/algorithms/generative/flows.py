r"""Flow matching of actions (Lipman et al. 2023, arXiv 2210.02747), as behaviour cloning with any distribution.

A vector field v moves noise into the data's actions along straight lines,

.. math:: L(v) = E \, \lVert v(s, x_t, t) - (a - x_0) \rVert^2 / d_a, \quad x_t = (1 - t) x_0 + t a, \;
    x_0 \sim N(0, I), \; t \sim U[0, 1)

and an action is drawn by Euler steps from noise at t = 0 to t = 1.
"""

from __future__ import annotations

import torch

from assay.baselines.algorithms.algorithm import Setting
from assay.baselines.networks.network import FixedNetwork

__all__ = ["flow_actions", "flow_matching_loss"]


def flow_matching_loss(setting: Setting, network: str) -> torch.Tensor:
    """Return the loss [P] of the vector field of this name on the batch."""
    batch, draws = setting.batch, setting.draws
    noise = draws.normal("flow noise", *batch.actions.shape[1:])
    times = draws.uniform("flow time", batch.actions.shape[1], 1)  # [P, B, 1]
    between = (1.0 - times) * noise + times * batch.actions
    velocities = setting.networks[network](torch.cat([batch.observations, between, times], -1))
    return (velocities - (batch.actions - noise)).square().mean((1, 2))


def flow_actions(network: FixedNetwork, observations: torch.Tensor, noise: torch.Tensor, steps: int) -> torch.Tensor:
    """Return the actions [P, n, action] in [-1, 1] that a vector field makes of noise [P, n, action], without gradients."""
    with torch.no_grad():
        actions = noise
        for step in range(steps):
            times = torch.full_like(actions[..., :1], step / steps)
            velocities = network(torch.cat([observations, actions, times], -1), weights="frozen")
            actions = actions + velocities / steps
    return actions.clamp(-1.0, 1.0)
