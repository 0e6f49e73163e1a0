r"""How unsure an ensemble of Gaussians is of a step: what model-based methods subtract from its reward.

With the means mu_i and standard deviations sigma_i of the N networks, over the next state and the reward:

====================  ========================================================  =================================================
name                  variant "paper"                                           variant "released" (OfflineRL-Kit)
====================  ========================================================  =================================================
aleatoric             max_i ||Sigma_i||_F, Sigma_i = diag(sigma_i^2) (MOPO)     max_i ||sigma_i||
pairwise_difference   max_ij ||mu_i - mu_j|| (MOReL)                            max_i ||mu_i - mean_j mu_j||
ensemble_deviation    sqrt(mean_i(sigma_i^2 + mu_i^2) - mean_i(mu_i)^2), norm   sqrt(mean over dimensions of Var_i mu_i)
likelihood_variance   Var_i log p_i(y), y the mean of the means                 the same
leave_one_out         mean_i KL(p_i, p_-i), p_-i the Gaussian with the moments  the same
                      of the others' mixture (M2AC)
====================  ========================================================  =================================================

Sources: Yu et al. 2020 (arXiv 2005.13239), Kidambi et al. 2020 (arXiv 2005.05951), Lu et al. 2022 (arXiv 2110.04135; no code, so its last
two are reconstructions).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from assay.datasets.errors import ConfigError

__all__ = ["DIVIDING", "PENALTIES", "penalty"]


def aleatoric(means: torch.Tensor, deviations: torch.Tensor, released: bool) -> torch.Tensor:
    """Return the largest noise that any network expects."""
    return norm(deviations if released else deviations.square()).amax(0)


def pairwise_difference(means: torch.Tensor, deviations: torch.Tensor, released: bool) -> torch.Tensor:
    """Return the largest distance between two means, or from one to the mean of all."""
    if released:
        return norm(means - means.mean(0)).amax(0)
    largest = torch.zeros_like(means[0, ..., 0])
    for number, one in enumerate(means):
        for other in means[:number]:
            largest = torch.maximum(largest, norm(one - other))
    return largest


def ensemble_deviation(means: torch.Tensor, deviations: torch.Tensor, released: bool) -> torch.Tensor:
    """Return the standard deviation of the mixture, or of the means alone."""
    spread = means.var(0, unbiased=False)
    if released:
        return spread.mean(-1).sqrt()
    return (deviations.square().mean(0) + spread).sum(-1).sqrt()


def likelihood_variance(means: torch.Tensor, deviations: torch.Tensor, released: bool) -> torch.Tensor:
    """Return the variance of what the networks think of their mean prediction."""
    standardized = (means.mean(0) - means) / deviations
    log_likelihoods = -(0.5 * standardized.square() + deviations.log() + 0.5 * math.log(2.0 * math.pi)).sum(-1)
    return log_likelihoods.var(0, unbiased=False)


def leave_one_out(means: torch.Tensor, deviations: torch.Tensor, released: bool) -> torch.Tensor:
    """Return the mean divergence of each network from the others."""
    variances, divergences = deviations.square(), []
    for number in range(len(means)):
        rest = [other for other in range(len(means)) if other != number]
        centre = means[rest].mean(0)
        spread = variances[rest].mean(0) + means[rest].var(0, unbiased=False)
        apart = (means[number] - centre).square()
        divergences.append(
            0.5 * ((spread / variances[number]).log() + (variances[number] + apart) / spread - 1.0).sum(-1)
        )
    return torch.stack(divergences).mean(0)


def norm(vectors: torch.Tensor) -> torch.Tensor:
    """Return the lengths of vectors."""
    length: torch.Tensor = torch.linalg.vector_norm(vectors, dim=-1)
    return length


PENALTIES: dict[str, Callable[[torch.Tensor, torch.Tensor, bool], torch.Tensor]] = {
    function.__name__: function
    for function in (aleatoric, pairwise_difference, ensemble_deviation, likelihood_variance, leave_one_out)
}


DIVIDING = ("likelihood_variance", "leave_one_out")
"""Penalties that divide by standard deviations, which must not be zero."""


def penalty(name: str, means: torch.Tensor, deviations: torch.Tensor, variant: str = "paper") -> torch.Tensor:
    """Return how unsure the networks are of each row.

    Parameters
    ----------
    name : str
        One of `PENALTIES`.
    means, deviations : [N, B, D] tensors
        Of the N networks.
    variant : "paper" or "released"

    Returns
    -------
    [B] tensor, at least 0

    Raises
    ------
    ConfigError
        If there is no such penalty, or the ensemble has one network and the penalty compares several.

    Examples
    --------
    >>> means = torch.tensor([[[0.0, 0.0]], [[3.0, 4.0]]])  # two networks, one row
    >>> penalty("pairwise_difference", means, torch.ones_like(means)).tolist()
    [5.0]
    """
    if name not in PENALTIES:
        raise ConfigError(f"penalty {name!r} is not known; there are {', '.join(PENALTIES)}")
    if variant not in ("paper", "released"):
        raise ConfigError(f"variant {variant!r} of a penalty is neither 'paper' nor 'released'")
    if len(means) < 2 and name != "aleatoric":
        raise ConfigError(
            f"the penalty {name!r} compares networks, and the ensemble has one; use 'aleatoric' or more networks"
        )
    return PENALTIES[name](means, deviations, variant == "released")
