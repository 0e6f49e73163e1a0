r"""A conditional variational autoencoder of actions (Sohn et al. 2015; of actions Fujimoto et al. 2019, arXiv 1812.02900).

Two networks, an encoder of (s, a) and a decoder of (s, z). The encoder says the mean and the log standard deviation of a Gaussian
over z, from which z is drawn; the decoder says an action in [-1, 1]. Both are trained on one loss, for example

.. math:: E \, (\hat a - a)^2 + \tfrac{1}{2} KL, \quad
    KL = -\tfrac{1}{2} E \, (1 + \log \sigma^2 - \mu^2 - \sigma^2) ,

means over batch and entries.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from assay.baselines.engine.shapes import Shapes
from assay.baselines.networks import MLP
from assay.baselines.networks.network import Network

__all__ = ["autoencoder_networks", "divergence", "encode", "reconstruct"]

_LOG_STD_RANGE = (-4.0, 15.0)


def autoencoder_networks(shapes: Shapes, hidden: tuple[int, ...], learning_rate: str) -> dict[str, MLP]:
    """Describe the networks `"encoder"` and `"decoder"`, with twice as many latent numbers as an action has entries."""
    latent, known = 2 * shapes.action_size, shapes.observation_size
    return {
        "encoder": MLP(known + shapes.action_size, 2 * latent, hidden, learning_rate=learning_rate),
        "decoder": MLP(known + latent, shapes.action_size, hidden, learning_rate=learning_rate, output="tanh"),
    }


def encode(
    networks: Mapping[str, Network], observations: torch.Tensor, actions: torch.Tensor, *, frozen: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and log standard deviation [P, B, latent] of the latent numbers."""
    encoder = networks["encoder"]
    outputs = encoder(torch.cat([observations, actions], -1), weights="frozen" if frozen else "learned")
    mean, log_std = outputs.chunk(2, -1)
    return mean, log_std.clamp(*_LOG_STD_RANGE)


def reconstruct(
    networks: Mapping[str, Network],
    observations: torch.Tensor,
    actions: torch.Tensor,
    noise: torch.Tensor,
    *,
    frozen: bool = False,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Encode actions and decode what is drawn with standard normal noise [P, B, latent].

    Returns
    -------
    actions [P, B, action], and mean and log standard deviation of the latent numbers
    """
    mean, log_std = encode(networks, observations, actions, frozen=frozen)
    latent = mean + log_std.exp() * noise
    decoded = networks["decoder"](torch.cat([observations, latent], -1), weights="frozen" if frozen else "learned")
    return decoded, mean, log_std


def divergence(mean: torch.Tensor, log_std: torch.Tensor) -> torch.Tensor:
    """Return the divergence of each latent Gaussian from the standard normal, [P, B, latent].

    Examples
    --------
    >>> divergence(torch.tensor([1.0]), torch.tensor([0.0])).item()
    0.5
    """
    return -0.5 * (1.0 + 2.0 * log_std - mean.square() - torch.exp(2.0 * log_std))
