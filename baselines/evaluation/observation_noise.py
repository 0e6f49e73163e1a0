"""Noise at test time: what a policy sees is disturbed, what the simulator does is not.

    random              o = s + scale std * lambda,   lambda ~ U[-1, 1]^d, N(0, 1)^d or Student's t
    action_difference   of K such o, the one with the largest  mean_j (pi(s)_j - pi(o)_j)^2

std is the standard deviation of each dimension of the observations that the policy was trained on. Both are the attacks
of Robust Decision Transformer (Xu et al., ICLR 2025, arXiv 2407.04285), K = 50. A policy that looks back sees disturbed
observations in its history too, and the attack compares what it would do next.

The numbers are a function of the seeds of the noise and of the episode and of the step alone, so they depend neither on
workers nor on who else is evaluated; all members and algorithms meet the same lambda in the same step of an episode.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field

from assay.datasets.errors import ConfigError
from assay.datasets.registry import Integer, validated

if TYPE_CHECKING:
    from assay.baselines.engine.acting import Actor

__all__ = ["NoisyEpisodes", "ObservationNoise"]

_PURPOSE = 0x0B5E


@validated("observation_noise")
class ObservationNoise:
    """How observations are disturbed while a policy is evaluated; the words are those of `corruption.random`.

    Parameters
    ----------
    attack : "random" or "action_difference"
    distribution : "uniform", "gaussian" or "student_t"
        Of lambda.
    scale : float >= 0
        Largest noise, or its spread.
    unit : "standard_deviation" or "absolute"
        Whether the scale is in standard deviations of the training observations, or in the observation's own unit.
    samples : int > 0
        K, of the action-difference attack.
    degrees_of_freedom : float > 0
        Of Student's distribution.
    seed : int >= 0
        Of the noise; episodes have numbers of their own.

    Examples
    --------
    >>> print(ObservationNoise(scale=0.1))
    uniform noise of 0.1 std
    >>> print(ObservationNoise(attack="action_difference", distribution="gaussian", unit="absolute"))
    action-difference attack, gaussian noise of 0.1
    """

    attack: Literal["random", "action_difference"] = "random"
    distribution: Literal["uniform", "gaussian", "student_t"] = "uniform"
    scale: Annotated[float, Field(ge=0)] = 0.1
    unit: Literal["standard_deviation", "absolute"] = "standard_deviation"
    samples: Annotated[Integer, Field(gt=0)] = 50
    degrees_of_freedom: Annotated[float, Field(gt=0)] = 2.0
    seed: Annotated[Integer, Field(ge=0)] = 0

    def __str__(self) -> str:
        attack = "action-difference attack, " if self.attack == "action_difference" else ""
        unit = " std" if self.unit == "standard_deviation" else ""
        return f"{attack}{self.distribution} noise of {self.scale:g}{unit}"

    def generators(self, seeds: np.ndarray) -> list[np.random.Generator]:
        """Return the generator of each episode, given its seed."""
        return [
            np.random.Generator(np.random.SFC64(np.random.SeedSequence((self.seed, _PURPOSE, int(seed)))))
            for seed in seeds
        ]

    def draw(self, generators: list[np.random.Generator], samples: int, width: int) -> np.ndarray:
        """Return the next lambda of every episode, times the scale: (n, samples, width) float64."""
        draws = np.empty((len(generators), samples, width))
        for generator, row in zip(generators, draws):
            if self.distribution == "uniform":
                generator.random(out=row)
                row *= 2
                row -= 1
            elif self.distribution == "gaussian":
                generator.standard_normal(out=row)
            else:
                row[...] = generator.standard_t(self.degrees_of_freedom, row.shape)
        draws *= self.scale
        return draws


class NoisyEpisodes:
    """Episodes whose policy sees disturbed observations.

    Parameters
    ----------
    noise : ObservationNoise
    actor : Actor
        Whose scales are taken.
    members : slice
    seeds : (n,) int64
        Of the episodes.

    Raises
    ------
    ConfigError
        If the noise is in standard deviations and these are not known.
    """

    def __init__(self, noise: ObservationNoise, actor: Actor, members: slice, seeds: np.ndarray) -> None:
        self.noise, self.episodes = noise, actor.begin(members, len(seeds), seeds.tolist())
        self.generators = noise.generators(seeds)
        self.unit: np.ndarray | float = 1.0  # [p, 1, 1, observation]
        if noise.unit == "standard_deviation":
            deviation = actor.observation_deviation(members)
            if deviation is None:
                raise ConfigError(
                    "the policy does not hold the standard deviation of its training observations; give the noise with "
                    'unit="absolute", or train it anew'
                )
            self.unit = deviation[:, None, None]

    def act(self, observations: np.ndarray, rewards: np.ndarray) -> np.ndarray:
        """Return the next actions, (p, n, action), given the true observations, (p, n, observation)."""
        samples = self.noise.samples if self.noise.attack == "action_difference" else 1
        lambdas = self.noise.draw(self.generators, samples, observations.shape[-1])
        candidates = observations[:, :, None] + self.unit * lambdas  # [p, n, K, observation]
        chosen = candidates[:, :, 0]
        if self.noise.attack == "action_difference":
            actions = self.episodes.consider(np.concatenate([observations[:, :, None], candidates], 2), rewards)
            difference = np.square(actions[:, :, 1:] - actions[:, :, :1]).mean(-1)
            worst = np.nan_to_num(difference, nan=-1.0).argmax(-1)
            chosen = np.take_along_axis(candidates, worst[:, :, None, None], 2)[:, :, 0]
        return self.episodes.act(chosen, rewards)

    def consider(self, candidates: np.ndarray, rewards: np.ndarray) -> np.ndarray:
        """Return what would be done at undisturbed candidates."""
        return self.episodes.consider(candidates, rewards)
