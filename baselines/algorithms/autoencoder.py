r"""A conditional variational autoencoder of actions (Sohn et al. 2015; of actions Fujimoto et al. 2019, arXiv 1812.02900).

Two networks, an encoder of (s, a) and a decoder of (s, z). The encoder says the mean and the log standard deviation of a Gaussian
over z, from which z is drawn; the decoder says an action in [-1, 1]. Both are trained on one loss, for example

.. math:: E \, (\hat a - a)^2 + \tfrac{1}{2} KL, \quad
    KL = -\tfrac{1}{2} E \, (1 + \log \sigma^2 - \mu^2 - \sigma^2) ,

means over batch and entries.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch

from assay.baselines.engine.shapes import Shapes
from assay.baselines.networks import MLP, FixedNetwork
from assay.baselines.networks.network import Network

__all__ = ["autoencoder_networks", "decode", "divergence", "encode", "latent_size", "reconstruct"]

_LOG_STD_RANGE = (-4.0, 15.0)


def autoencoder_networks(
    shapes: Shapes, hidden: tuple[int, ...], learning_rate: str, latent: int | None = None
) -> dict[str, MLP]:
    """Describe the networks `"encoder"` and `"decoder"`; by default with twice as many latent numbers as an action has entries."""
    latent, known = latent or 2 * shapes.action_size, shapes.observation_size
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


def latent_size(decoder: FixedNetwork, observations: torch.Tensor) -> int:
    """Return how many latent numbers a decoder takes beside observations [..., observation]."""
    return cast(MLP, decoder.spec).inputs - observations.shape[-1]


def decode(
    decoder: FixedNetwork, observations: torch.Tensor, noise: torch.Tensor, clip: float | None = None
) -> torch.Tensor:
    """Return actions [P, n, B, action] of standard normal noise [P, n, B, latent], n for each state; gradients stop at the decoder.

    Noise within +-`clip` gives actions like those that the data has often.
    """
    latent = noise if clip is None else noise.clamp(-clip, clip)
    found: torch.Tensor = decoder(observations, latent, weights="frozen")
    return found


def divergence(mean: torch.Tensor, log_std: torch.Tensor) -> torch.Tensor:
    """Return the divergence of each latent Gaussian from the standard normal, [P, B, latent].

    Examples
    --------
    >>> divergence(torch.tensor([1.0]), torch.tensor([0.0])).item()
    0.5
    """
    return -0.5 * (1.0 + 2.0 * log_std - mean.square() - torch.exp(2.0 * log_std))
