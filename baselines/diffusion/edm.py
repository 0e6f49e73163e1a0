r"""EDM: a denoiser, its loss and its sampler (Karras et al. 2022, arXiv 2206.00364).

A network F becomes a denoiser whose inputs and targets have unit variance at every noise level (their table 1, with data of deviation
s, here 1):

.. math::
    D(x; \sigma) &= c_{skip} \, x + c_{out} \, F(c_{in} \, x; \tfrac14 \ln \sigma), \qquad
    c_{skip} = \frac{s^2}{\sigma^2 + s^2}, \; c_{out} = \frac{\sigma s}{\sqrt{\sigma^2 + s^2}}, \; c_{in} = \frac{1}{\sqrt{\sigma^2 + s^2}} \\
    L &= E \, \frac{\sigma^2 + s^2}{(\sigma s)^2} \, \lVert D(x + \sigma \epsilon; \sigma) - x \rVert^2, \qquad \ln \sigma \sim N(-1.2, 1.2^2)

The sampler (their algorithm 2) goes down the noise levels of equation 5 from 80 to 0.002 with rho = 7, adds a little noise before each step
("churn") and corrects each by Heun's second order.

Deviations: the denoiser acts by a copy of its weights that follows slowly, as in EDM; the copy moves at every update.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from assay.baselines.algorithms.algorithm import Algorithm, Losses, Phase, Setting
from assay.baselines.engine.data import ActionScale, ObservationScale, TrainingData
from assay.baselines.engine.population import Member, Population
from assay.baselines.engine.shapes import Shapes
from assay.baselines.networks import FixedNetwork, Specification
from assay.baselines.networks.residual import ResidualDenoiser
from assay.datasets.errors import DatasetError

__all__ = ["Denoiser", "Diffusion", "denoised", "noise_levels", "sample", "train_denoiser"]

_MEAN_LOG_NOISE, _DEVIATION_LOG_NOISE = -1.2, 1.2
_LARGEST, _SMALLEST, _RHO = 80.0, 0.002, 7.0
_CHURN_BETWEEN, _CHURN_NOISE = (0.05, 50.0), 1.003
_UPDATES_PER_REPORT = 50

Denoiser = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Noisy vectors [B, D], noise level [] -> clean vectors [B, D]."""
Guide = Callable[[torch.Tensor, int], torch.Tensor]
"""Vectors [B, D] before a step, and its number -> the vectors to go on with."""


@dataclass(frozen=True)
class Diffusion(Algorithm):
    """The denoiser and its loss, trained on the engine; a batch's `observations` are the clean vectors."""

    learning_rate: float = 3e-4
    batch_size: int = 256
    width: int = 256
    blocks: int = 4
    target_update_rate: float = 0.005

    name = "diffusion"
    label = "diffusion"

    def networks(self, shapes: Shapes) -> dict[str, Specification]:  # noqa: D102
        network = ResidualDenoiser(
            shapes.observation_size,
            self.width,
            self.blocks,
            learning_rate="learning_rate",
            schedule="cosine",
            target=True,
        )
        return {"denoiser": network}

    def phases(self) -> tuple[Phase, ...]:  # noqa: D102
        return (Phase(loss, follow=("denoiser",)),)


def denoised(
    network: FixedNetwork, noisy: torch.Tensor, level: torch.Tensor, *, weights: str = "learned"
) -> torch.Tensor:
    """Return D(x; sigma), [P, B, D], of vectors [P, B, D] with noise of levels [P, B, 1]."""
    variance = level.square() + 1.0
    inner = network(noisy / variance.sqrt(), 0.25 * level.log(), weights=weights)  # type: ignore[arg-type]
    return noisy / variance + level / variance.sqrt() * inner


def loss(setting: Setting) -> Losses:
    """Weighted squared error of the denoised vectors."""
    clean, draws = setting.batch.observations, setting.draws
    log_level = _MEAN_LOG_NOISE + _DEVIATION_LOG_NOISE * draws.normal("noise level", clean.shape[1], 1)
    level = log_level.exp()  # [P, B, 1]
    noisy = clean + level * draws.normal("noise", *clean.shape[1:])
    wrong = (denoised(setting.networks["denoiser"], noisy, level) - clean).square().mean(-1, keepdim=True)
    total = ((level.square() + 1.0) / level.square() * wrong).mean((1, 2))
    return Losses({"denoiser": total}, {"denoising_loss": total})


def train_denoiser(
    vectors: np.ndarray,
    *,
    model: Diffusion | None = None,
    updates: int = 20_000,
    seed: int = 0,
    device: str = "cpu",
    progress: Callable[[int], None] | None = None,
) -> Denoiser:
    """Train on vectors of mean 0 and deviation 1.

    Parameters
    ----------
    vectors : (M, D) float array
    model : Diffusion, optional
    updates : int
    seed : int
    device : str
    progress : callable, optional
        Called with the updates done.

    Raises
    ------
    DatasetError
        If training diverges.

    Examples
    --------
    >>> vectors = np.random.default_rng(0).normal(size=(500, 2))
    >>> denoiser = train_denoiser(vectors, model=Diffusion(width=16, blocks=1), updates=5)
    >>> denoiser(torch.zeros(3, 2), torch.tensor(1.0)).shape
    torch.Size([3, 2])
    """
    count, size = vectors.shape
    data = TrainingData(
        np.concatenate([vectors, np.zeros((count, 1))], axis=1, dtype=np.float32),
        (("observations", size), ("actions", 1)),  # every algorithm has actions; this one does not look at them
        np.ones(count, np.int32),
        ObservationScale(np.zeros(size), np.ones(size)),
        ActionScale(np.zeros(1), np.ones(1)),
        best_return=0.0,
        scalars=(),
    )
    population = Population([Member(model or Diffusion(), seed, 0)], [data], updates, device=device)
    while population.completed < updates:
        population.advance(min(_UPDATES_PER_REPORT, updates - population.completed))
        if progress is not None:
            progress(population.completed)
    if population.frozen_at[0] is not None:
        raise DatasetError("the diffusion model diverged; choose a smaller learning rate")
    trained = population.networks["denoiser"]
    assert trained.target_buffer is not None
    network = FixedNetwork("denoiser", trained.spec, trained.target_buffer.clone())

    @torch.no_grad()
    def denoiser(noisy: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
        levels = level.expand(1, len(noisy), 1)
        return denoised(network, noisy[None], levels, weights="frozen")[0]

    return denoiser


def noise_levels(steps: int) -> list[float]:
    """Return the levels of a sampler, from the largest to 0 (equation 5).

    Examples
    --------
    >>> [round(level, 3) for level in noise_levels(3)]
    [80.0, 2.515, 0.002, 0.0]
    """
    high, low = _LARGEST ** (1 / _RHO), _SMALLEST ** (1 / _RHO)
    return [*((high + place / max(steps - 1, 1) * (low - high)) ** _RHO for place in range(steps)), 0.0]


@torch.no_grad()
def sample(
    denoiser: Denoiser,
    count: int,
    size: int,
    generator: np.random.Generator,
    *,
    steps: int = 128,
    churn: float = 80.0,
    guide: Guide | None = None,
    device: str = "cpu",
) -> torch.Tensor:
    """Draw vectors.

    Parameters
    ----------
    denoiser : callable
    count, size : int
    generator : numpy Generator
        Of all noise.
    steps : int
        Noise levels; each but the last takes two calls of the denoiser.
    churn : float
        S_churn; 0 draws nothing after the first noise.
    guide : callable, optional
        Changes the vectors before each step but the last.
    device : str

    Returns
    -------
    [count, size] tensor

    Examples
    --------
    >>> gaussian = lambda noisy, level: noisy / (1 + level**2)  # the best denoiser of N(0, 1)
    >>> found = sample(gaussian, 2_000, 1, np.random.default_rng(0), steps=32)
    >>> bool(abs(found.mean()) < 0.1), bool(abs(found.std() - 1) < 0.1)
    (True, True)
    """

    def noise() -> torch.Tensor:
        return torch.as_tensor(generator.standard_normal((count, size), np.float32), device=device)

    levels = noise_levels(steps)
    vectors = levels[0] * noise()
    for number, (level, following) in enumerate(pairwise(levels)):
        if guide is not None and number < steps - 1:
            vectors = guide(vectors, number)
        inside = _CHURN_BETWEEN[0] <= level <= _CHURN_BETWEEN[1]
        raised = level * (1.0 + (min(churn / steps, math.sqrt(2.0) - 1.0) if inside else 0.0))
        if raised > level:
            vectors = vectors + math.sqrt(raised**2 - level**2) * _CHURN_NOISE * noise()
        slope = (vectors - denoiser(vectors, vectors.new_tensor(raised))) / raised
        moved = vectors + (following - raised) * slope
        if following > 0.0:
            slope_there = (moved - denoiser(moved, moved.new_tensor(following))) / following
            moved = vectors + (following - raised) * 0.5 * (slope + slope_there)
        vectors = moved
    return vectors
