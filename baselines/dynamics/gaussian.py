r"""A network that says a Gaussian: mean and variance of every target, by maximum likelihood.

The probabilistic networks of PETS (Chua et al. 2018, arXiv 1805.12114) as MBPO, MOPO and what followed them use it. With learned
bounds of the log variance, which a softplus lets it approach only,

.. math::
    v &\leftarrow v_{\max} - \mathrm{softplus}(v_{\max} - v), \qquad v \leftarrow v_{\min} + \mathrm{softplus}(v - v_{\min}) \\
    L &= E \, [ (\mu - y)^2 e^{-v} + v ] + \tfrac{1}{2} \sum_l c_l \lVert W_l \rVert^2
         + 0.01 \sum v_{\max} - 0.01 \sum v_{\min}

where E is the mean over the rows and the targets' dimensions, and v begins bounded by 0.5 and -10.

Deviations from OfflineRL-Kit's `dynamics_module.py`: initial weights are uniform in +-1/sqrt(inputs), not a truncated normal;
the decay c of its five layers is interpolated where there are others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch.nn.functional import softplus

from assay.baselines.algorithms.algorithm import Algorithm, Losses, Phase, Setting
from assay.baselines.engine.shapes import Shapes
from assay.baselines.networks import MLP, FixedNetwork, Network, Specification

__all__ = ["GaussianModel", "gaussian", "gaussian_network", "layer_decay", "likelihood_loss", "regularization"]

_DECAY = (2.5e-5, 5e-5, 7.5e-5, 7.5e-5, 1e-4)
_LARGEST, _SMALLEST = 0.5, -10.0  # log variances at first
_BOUND_WEIGHT = 0.01
_NETWORK = "model"


@dataclass(frozen=True)
class GaussianModel(Algorithm):
    """Regression of `actions` (the targets) on `observations` (the inputs) of a batch, with a variance for every target.

    Parameters
    ----------
    learning_rate : float
        Of Adam.
    batch_size : int
    hidden : tuple of int
        Widths of the hidden layers.
    decay : float
        Factor of the published weight decay per layer.

    Examples
    --------
    >>> GaussianModel(hidden=(64, 64)).layer_decay.tolist()
    [2.5e-05, 7.5e-05, 0.0001]
    """

    learning_rate: float = 1e-3
    batch_size: int = 256
    hidden: tuple[int, ...] = (200, 200, 200, 200)
    decay: float = 1.0

    name = "gaussian_model"
    label = "Gaussian model"

    @property
    def layer_decay(self) -> np.ndarray:
        """The c of each layer, before `decay`."""
        return layer_decay(len(self.hidden) + 1)

    def networks(self, shapes: Shapes) -> dict[str, Specification]:  # noqa: D102
        return {_NETWORK: gaussian_network(shapes.observation_size, shapes.action_size, self.hidden, "learning_rate")}

    def phases(self) -> tuple[Phase, ...]:  # noqa: D102
        return (Phase(self.losses),)

    def losses(self, setting: Setting) -> Losses:
        """Compute the likelihood of a batch, the decay of the weights, and what keeps the bounds together."""
        network, batch = setting.networks[_NETWORK], setting.batch
        mean, log_variance = gaussian(network, batch.observations)
        likelihood = likelihood_loss(mean, log_variance, batch.actions)  # [P]
        loss = likelihood + regularization(network, self.layer_decay, setting.hyperparameters.decay)
        return Losses({_NETWORK: loss}, {"negative_log_likelihood": likelihood})


def layer_decay(layers: int) -> np.ndarray:
    """Return the weight decay c of each of so many layers: the published ones of five, or between them."""
    return np.interp(np.linspace(0, len(_DECAY) - 1, layers), np.arange(len(_DECAY)), _DECAY)


def gaussian_network(inputs: int, targets: int, hidden: tuple[int, ...], learning_rate: str, **options: Any) -> MLP:
    """Describe a network that says mean and variance of so many targets; the options are those of `MLP`."""
    return MLP(
        inputs,
        2 * targets,
        hidden,
        learning_rate=learning_rate,
        activation="silu",
        state_independent=2 * targets,  # how far the bounds have moved
        **options,
    )


def gaussian(
    network: FixedNetwork,
    inputs: torch.Tensor,
    *,
    weights: Literal["frozen", "learned", "target"] = "learned",
    repeated: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and log variance of the targets at inputs [P, B, in]: [P, B, targets] each.

    An ensemble gives [P, N, B, targets]; with `repeated` each of its networks has inputs of its own, [P, N, B, in].
    """
    mean, log_variance = network(inputs, weights=weights, repeated=repeated).chunk(2, -1)
    highest, lowest = network.weights[weights][-1].view(*mean.shape[:-2], 1, -1).chunk(2, -1)
    highest, lowest = highest + _LARGEST, lowest + _SMALLEST
    log_variance = highest - softplus(highest - log_variance)
    return mean, lowest + softplus(log_variance - lowest)


def likelihood_loss(mean: torch.Tensor, log_variance: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return twice the negative log-likelihood of the targets, up to a constant: a number per network."""
    return ((mean - targets).square() * torch.exp(-log_variance) + log_variance).mean((-2, -1))


def regularization(network: Network, layer_decay: np.ndarray, decay: torch.Tensor) -> torch.Tensor:
    """Return the decay of the weights, times `decay` [P, 1], and what keeps the bounds together: a sum per member, [P]."""
    weights = [tensor for tensor in network.parameters if tensor.shape[1] > 1]  # not biases, not bounds
    decayed = sum(0.5 * c * weight.square().sum((1, 2)) for c, weight in zip(layer_decay.tolist(), weights))
    highest, lowest = network.state_independent[:, 0].chunk(2, -1)
    bounds = _BOUND_WEIGHT * (highest - lowest).sum(-1)
    per_network = decay.repeat_interleave(network.spec.ensemble, 0)[:, 0] * decayed + bounds
    total: torch.Tensor = per_network.view(network.members, -1).sum(1)
    return total


def networks_of(found: Mapping[str, FixedNetwork]) -> FixedNetwork:
    """Return the network of a trained `GaussianModel`."""
    return found[_NETWORK]
