"""Augmented random search (ARS), the trainer of the behaviour policies that Assay ships.

Mania, Guy, Recht: "Simple random search of static linear policies is competitive for reinforcement learning",
NeurIPS 2018, arXiv 1803.07055, algorithm 2 in the version V2-t. With policy weights M, directions d_1 ... d_N of
standard normal entries, and the observation filter (mu, sigma) frozen during an iteration:

1. play one episode for each sign of each direction with the policy
   pi_k,+-(s) = (M +- nu d_k) f((s - mu) / sigma), and call their returns r_k,+ and r_k,-
2. keep the b directions with the largest max(r_k,+, r_k,-)
3. M <- M + alpha / (b sigma_R) sum_k (r_k,+ - r_k,-) d_k, with sigma_R the standard deviation of the 2b returns kept
4. update mu and sigma with every observation seen

Deliberate deviations:

- both signs of a direction start from the same reset seed, which removes that much variance from their difference;
- actions are clipped to the action space, as they are when data is collected; the authors leave that to MuJoCo;
- f may add products of observations (``features="quadratic"``), and a discrete action is the largest score;
- actions may carry noise during training (``action_noise``), for policies that are collected from with noise.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from assay.datasets.collection.policies import Features, LinearPolicy, expand_features, feature_count, row_products
from assay.datasets.collection.policy_returns import episode_returns
from assay.datasets.environments.pool import EnvironmentPool
from assay.datasets.errors import ConfigError

__all__ = ["SETTINGS", "Iterate", "RandomSearchConfig", "RandomSearchResult", "random_search"]

FIRST_EVALUATION_SEED = 3_000_000_000
"""Training resets use seeds below 2**31, so evaluation never sees a start that was trained on."""


@dataclass(frozen=True, kw_only=True)
class RandomSearchConfig:
    """Settings of `random_search`; `SETTINGS` holds those that suit each environment."""

    directions: int = Field(default=8, ge=1)
    """N: directions tried in an iteration, each with both signs."""
    elite: int = Field(default=4, ge=1)
    """b: best directions that the update uses; at most ``directions``."""
    step_size: float = Field(default=0.01, gt=0)
    """alpha: length of the update."""
    perturbation: float = Field(default=0.025, gt=0)
    """nu: standard deviation of the weights' perturbations."""
    survival_bonus: float = 0.0
    """Subtracted from every reward during training, so that standing still is worth nothing."""
    features: Features = "linear"
    """What the policy is linear in; see `LinearPolicy`."""
    action_noise: float = Field(default=0.0, ge=0)
    """Noise of the actions during training, as a fraction of half the action range (Box only)."""
    evaluation_interval: int = Field(default=5, ge=1)
    """Iterations between two kept iterates."""
    evaluation_episodes: int = Field(default=8, ge=1)
    """Episodes that each kept iterate is evaluated on, always from the same seeds."""
    evaluation_noise: float = Field(default=0.0, ge=0)
    """Noise of the actions during evaluation, as in `assay.datasets.collection.collect`."""

    def __post_init__(self) -> None:
        if self.elite > self.directions:
            raise ConfigError(f"elite ({self.elite}) must be at most directions ({self.directions})")


SETTINGS: dict[str, RandomSearchConfig] = {
    "Hopper-v5": RandomSearchConfig(directions=8, elite=4, step_size=0.01, perturbation=0.025, survival_bonus=1.0),
    "HalfCheetah-v5": RandomSearchConfig(directions=32, elite=4, step_size=0.02, perturbation=0.03),
    "Walker2d-v5": RandomSearchConfig(directions=40, elite=30, step_size=0.03, perturbation=0.025, survival_bonus=1.0),
    "Pendulum-v1": RandomSearchConfig(
        directions=16, elite=8, step_size=0.05, perturbation=0.1, features="quadratic", evaluation_episodes=32
    ),
    "CartPole-v1": RandomSearchConfig(directions=8, elite=4, step_size=0.05, perturbation=0.1, evaluation_interval=1),
}
"""Named defaults for each environment; Hopper, HalfCheetah and Walker2d follow table 9 of the paper."""


@dataclasses.dataclass(frozen=True)
class Iterate:
    """The policy after some iterations.

    Parameters
    ----------
    iteration, steps
        Iterations and environment steps of training behind it (evaluation not counted).
    policy
        What it plays.
    returns
        True returns (no survival bonus subtracted) of its evaluation episodes, float64 ``[evaluation_episodes]``.
    """

    iteration: int
    steps: int
    policy: LinearPolicy
    returns: NDArray[np.float64]

    @property
    def mean_return(self) -> float:
        """Mean of `returns`."""
        return float(self.returns.mean())


@dataclasses.dataclass(frozen=True)
class RandomSearchResult:
    """What `random_search` found.

    Parameters
    ----------
    environment_id, config, seed
        What was run.
    iterates
        The start, then every ``evaluation_interval`` iterations and the last, in order.
    evaluation_seeds
        Seeds of the evaluation episodes, the same for every iterate.
    """

    environment_id: str
    config: RandomSearchConfig
    seed: int
    iterates: tuple[Iterate, ...]
    evaluation_seeds: tuple[int, ...]

    @property
    def best(self) -> Iterate:
        """The iterate with the largest mean return: a maximum over noisy evaluations, so evaluate it afresh."""
        return max(self.iterates, key=lambda iterate: iterate.mean_return)


class ObservationFilter:
    """Running mean and standard deviation of all observations seen."""

    def __init__(self, size: int) -> None:
        self.count = 0
        self.mean, self.squares = np.zeros(size), np.zeros(size)

    @property
    def std(self) -> NDArray[np.float64]:
        """Standard deviation, 1 where an entry has never varied."""
        if self.count < 2:
            return np.ones_like(self.mean)
        std = np.sqrt(self.squares / (self.count - 1))
        return np.where(std < 1e-7, 1.0, std)

    def update(self, count: int, deviations: NDArray[np.float64], squares: NDArray[np.float64]) -> None:
        """Add observations by their number and the sums of (s - mean) and (s - mean)^2 about the present mean."""
        shift = deviations / count
        total = self.count + count
        self.squares = self.squares + squares - count * shift**2 + self.count * count / total * shift**2
        self.mean = self.mean + shift * count / total
        self.count = total


def random_search(
    environment_id: str,
    config: RandomSearchConfig | None = None,
    *,
    seed: int = 0,
    iterations: int | None = None,
    steps: int | None = None,
    target_return: float | None = None,
    workers: int | None = None,
    progress: Callable[[Iterate], None] | None = None,
) -> RandomSearchResult:
    """Train a linear policy by augmented random search.

    Parameters
    ----------
    environment_id
        Gymnasium id; flat Box observations, Box or Discrete actions, episodes that end.
    config
        Settings; None takes those of `SETTINGS`, or the defaults for an environment that is not in it.
    seed
        Keys every random draw. The same seed gives the same iterates, whatever ``workers`` is.
    iterations, steps, target_return
        When to stop: after so many iterations, at the end of the iteration in which so many environment steps are
        reached, or when a kept iterate's mean return reaches the target; at least one of the first two is needed.
    workers
        Worker processes, as in `EnvironmentPool`.
    progress
        Called with every kept iterate.

    Returns
    -------
    RandomSearchResult
        The kept iterates, with the evaluation seeds.

    Raises
    ------
    ConfigError
        If there is no limit, or the environment's spaces do not suit a linear policy.

    Examples
    --------
    >>> result = random_search("CartPole-v1", iterations=2, workers=0)
    >>> [iterate.iteration for iterate in result.iterates]
    [0, 1, 2]
    """
    config = config or SETTINGS.get(environment_id, RandomSearchConfig())
    if iterations is None and steps is None:
        raise ConfigError("random search needs a limit: iterations or steps")
    seeds = range(FIRST_EVALUATION_SEED, FIRST_EVALUATION_SEED + config.evaluation_episodes)
    with EnvironmentPool(environment_id, 2 * config.directions, workers) as pool:
        search = _Search(pool, config, seed)
        iterates = [search.evaluate(seeds)]
        if progress is not None:
            progress(iterates[-1])
        while not (
            (iterations is not None and search.iteration >= iterations)
            or (steps is not None and search.steps >= steps)
            or (target_return is not None and iterates[-1].mean_return >= target_return)
        ):
            search.iterate()
            over = search.iteration == iterations or (steps is not None and search.steps >= steps)
            if over or search.iteration % config.evaluation_interval == 0:
                iterates.append(search.evaluate(seeds))
                if progress is not None:
                    progress(iterates[-1])
    return RandomSearchResult(environment_id, config, seed, tuple(iterates), tuple(seeds))


class _Search:
    """The state of one search: weights, filter and counters."""

    def __init__(self, pool: EnvironmentPool, config: RandomSearchConfig, seed: int) -> None:
        observation, action = pool.observation_space, pool.action_space
        self.discrete = type(action).__name__ == "Discrete"
        if type(observation).__name__ != "Box" or len(observation.shape) != 1:
            raise ConfigError(f"a linear policy needs a flat Box of observations, not {observation}")
        if not self.discrete and len(action.shape) != 1:
            raise ConfigError(f"a linear policy needs a flat Box of actions or Discrete ones, not {action}")
        if config.action_noise and (self.discrete or not action.is_bounded()):
            raise ConfigError(f"action_noise needs a finite range of actions, and {action} has none")
        self.pool, self.config, self.seed = pool, config, seed
        outputs = int(action.n) if self.discrete else action.shape[0]
        self.weights = np.zeros((outputs, feature_count(observation.shape[0], config.features)))
        self.filter = ObservationFilter(observation.shape[0])
        self.iteration = self.steps = 0

    def policy(self) -> LinearPolicy:
        return LinearPolicy(self.weights, self.filter.mean, self.filter.std, self.config.features, self.discrete)

    def evaluate(self, seeds: range) -> Iterate:
        policy = self.policy()
        returns, _ = episode_returns(self.pool, policy, seeds, self.config.evaluation_noise)
        return Iterate(self.iteration, self.steps, policy, returns)

    def iterate(self) -> None:
        config = self.config
        generator = np.random.default_rng([self.seed, self.iteration])
        directions = generator.standard_normal((config.directions, *self.weights.shape))
        seeds = generator.integers(2**31, size=config.directions)
        candidates = np.concatenate(
            [self.weights + config.perturbation * directions, self.weights - config.perturbation * directions]
        )
        plus, minus = np.split(self.play(candidates, np.concatenate([seeds, seeds]), generator), 2)
        elite = np.argsort(-np.maximum(plus, minus), kind="stable")[: config.elite]
        spread = np.concatenate([plus[elite], minus[elite]]).std()
        if spread > 0:  # otherwise no direction differs from another, and there is nothing to follow
            gradient = ((plus - minus)[elite, None, None] * directions[elite]).sum(axis=0)
            self.weights = self.weights + config.step_size / (config.elite * spread) * gradient
        self.iteration += 1

    def play(
        self, candidates: NDArray[np.float64], seeds: NDArray[np.int64], generator: np.random.Generator
    ) -> NDArray[np.float64]:
        """Play one episode of each candidate's weights; return their returns, less the survival bonus."""
        config, mean, std, space = self.config, self.filter.mean, self.filter.std, self.pool.action_space
        active = np.arange(len(candidates))
        returns = np.zeros(len(candidates))
        observations: NDArray[Any] = self.pool.reset(active, seeds)
        count, deviations, squares = 0, np.zeros_like(mean), np.zeros_like(mean)
        while len(active):
            centred = observations - mean
            count += len(centred)
            deviations += centred.sum(axis=0)
            squares += (centred**2).sum(axis=0)
            scores = row_products(candidates[active], expand_features(centred / std, config.features))
            if self.discrete:
                actions = np.argmax(scores, axis=1) + int(space.start)
            else:
                if config.action_noise:
                    # One draw for all candidates, played or not: the stream does not depend on who is still active.
                    noise = generator.standard_normal((len(candidates), scores.shape[1]))[active]
                    scores = scores + config.action_noise * (space.high - space.low) / 2 * noise
                actions = np.clip(scores, space.low, space.high)
            observations, rewards, terminations, truncations = self.pool.step(active, actions)
            returns[active] += rewards - config.survival_bonus
            going = ~(terminations | truncations)
            active, observations = active[going], observations[going]
        self.filter.update(count, deviations, squares)
        self.steps += count
        return returns
