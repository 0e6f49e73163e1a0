"""Whether a model knows where it is wrong: penalties beside the true error of steps, where the dynamics are known.

The protocol of Lu et al. 2022 (arXiv 2110.04135), by their abstract and from memory: the states are those that rollouts of the model itself
visit, the error is that of each step from there, and a penalty is good as far as the ranks of both agree.

Deviations: dynamics in closed form stand for their simulator; actions of the rollouts are uniform, not those of a trained policy;
the error is that of the mean over the elites, so that the noise of a draw is no part of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from assay.baselines.dynamics.known import KnownDynamics
from assay.baselines.dynamics.penalties import PENALTIES, penalty
from assay.datasets.errors import ConfigError

if TYPE_CHECKING:
    import polars as pl

    from assay.baselines.dynamics.ensemble import DynamicsEnsemble

__all__ = ["penalty_calibration"]


def penalty_calibration(
    ensemble: DynamicsEnsemble,
    known: KnownDynamics,
    states: torch.Tensor,
    *,
    length: int = 5,
    bound: float = 1.0,
    seed: int = 0,
) -> pl.DataFrame:
    """Compare every penalty with the true error of the model, on states that its own rollouts visit.

    Parameters
    ----------
    ensemble : DynamicsEnsemble
        Of states and actions in the environment's units.
    known : callable
        The true dynamics, as from `known_dynamics`.
    states : [B, observation] tensor
        That rollouts begin in.
    length : int
        Steps of each rollout.
    bound : float
        Actions are uniform between it and its negative.
    seed : int

    Returns
    -------
    polars.DataFrame
        A row per penalty and variant: penalty, variant, spearman and pearson (its correlation with the distance of the predicted next state
        from the true one, -1 to 1), steps.

    Raises
    ------
    ConfigError
        If `length` is less than 1.

    Examples
    --------
    >>> import numpy as np
    >>> from assay.baselines.dynamics.ensemble import train_dynamics
    >>> rng = np.random.default_rng(0)
    >>> s, a = rng.uniform(-1, 1, (2, 400, 2))
    >>> ensemble = train_dynamics(s, a, s[:, 0], s + a, networks=3, elites=2, updates=20)
    >>> found = penalty_calibration(ensemble, lambda s, a: (s + a, s[..., 0]), torch.zeros(50, 2), length=2)
    >>> found.columns, len(found)
    (['penalty', 'variant', 'spearman', 'pearson', 'steps'], 10)
    """
    import polars as pl

    if length < 1:
        raise ConfigError(f"length={length} must be at least 1")
    generator = torch.Generator().manual_seed(seed)
    size = ensemble.inputs.mean.shape[0] - states.shape[1]
    kinds = [(name, variant) for name in PENALTIES for variant in ("paper", "released")]
    errors, values = [], []
    for _ in range(length):
        actions = (2.0 * torch.rand(len(states), size, generator=generator) - 1.0) * bound
        means, deviations = ensemble.predict(states, actions)
        following = means[torch.as_tensor(ensemble.elites)].mean(0)[:, :-1]
        true, _ = known(states, actions)
        errors.append((following - true).norm(dim=-1))
        values.append(torch.stack([penalty(name, means, deviations, variant) for name, variant in kinds]))
        noise = torch.randn(following.shape[0], means.shape[-1], generator=generator)
        order = torch.randperm(len(states), generator=generator)
        states = ensemble.step(states, actions, noise, order).states
    error = pl.Series("error", torch.cat(errors).double().numpy())
    named = [pl.Series(str(number), row.double().numpy()) for number, row in enumerate(torch.cat(values, 1))]
    table = pl.DataFrame([error, *named])
    found = [
        {
            "penalty": name,
            "variant": variant,
            **{
                kind: table.select(pl.corr("error", str(number), method=kind)).item()
                for kind in ("spearman", "pearson")
            },
            "steps": len(table),
        }
        for number, (name, variant) in enumerate(kinds)
    ]
    return pl.DataFrame(found)
