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
from typing import Literal

import numpy as np
import torch
from torch.nn.functional import softplus

from assay.baselines.algorithms.algorithm import Algorithm, Losses, Phase, Setting
from assay.baselines.engine.shapes import Shapes
from assay.baselines.networks import MLP, FixedNetwork, Specification

__all__ = ["GaussianModel", "gaussian"]

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
        places = np.linspace(0, len(_DECAY) - 1, len(self.hidden) + 1)
        return np.interp(places, np.arange(len(_DECAY)), _DECAY)

    def networks(self, shapes: Shapes) -> dict[str, Specification]:  # noqa: D102
        model = MLP(
            shapes.observation_size,
            2 * shapes.action_size,
            self.hidden,
            learning_rate="learning_rate",
            activation="silu",
            state_independent=2 * shapes.action_size,  # how far the bounds have moved
        )
        return {_NETWORK: model}

    def phases(self) -> tuple[Phase, ...]:  # noqa: D102
        return (Phase(self.losses),)

    def losses(self, setting: Setting) -> Losses:
        """Compute the likelihood of a batch, the decay of the weights, and what keeps the bounds together."""
        network, batch = setting.networks[_NETWORK], setting.batch
        mean, log_variance = gaussian(network, batch.observations)
        likelihood = ((mean - batch.actions).square() * torch.exp(-log_variance) + log_variance).mean((1, 2))  # [P]
        weights = [tensor for tensor in network.parameters if tensor.shape[1] > 1]  # not biases, not bounds
        decay = sum(0.5 * c * weight.square().sum((1, 2)) for c, weight in zip(self.layer_decay.tolist(), weights))
        moved = network.state_independent[:, 0]  # [P, 2 * targets]
        highest, lowest = moved.chunk(2, -1)
        bounds = _BOUND_WEIGHT * (highest - lowest).sum(-1)
        loss = likelihood + setting.hyperparameters.decay[:, 0] * decay + bounds
        return Losses({_NETWORK: loss}, {"negative_log_likelihood": likelihood})


def gaussian(network: FixedNetwork, inputs: torch.Tensor, *, frozen: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and log variance, [P, B, targets] each, of inputs [P, B, in]."""
    weights: Literal["frozen", "learned"] = "frozen" if frozen else "learned"
    mean, log_variance = network(inputs, weights=weights).chunk(2, -1)
    moved = network.weights[weights][-1]
    highest, lowest = moved.chunk(2, -1)  # [P, 1, targets]
    highest, lowest = highest + _LARGEST, lowest + _SMALLEST
    log_variance = highest - softplus(highest - log_variance)
    return mean, lowest + softplus(log_variance - lowest)


def networks_of(found: Mapping[str, FixedNetwork]) -> FixedNetwork:
    """Return the network of a trained `GaussianModel`."""
    return found[_NETWORK]
