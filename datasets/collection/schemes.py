"""How published datasets are put together: out of policies, and out of datasets that are there already.

*A Dataset Perspective on Offline RL* (Schweighofer et al. 2022, arXiv 2111.04714) makes five datasets of N steps from one
online training of DQN. `perspective_scheme` says what `assay.datasets.collection.collect.collect` takes for four of them;
the fifth, replay, is every step of the training itself, which ``assay datasets train-policy --replay`` keeps.

========  =========================================================================
random    uniform actions
expert    the final policy, greedy
mixed     the first 80% of the steps as random, the last 20% as expert
noisy     the final policy, with a uniform action at a probability of 0.2
replay    all transitions of the training
========  =========================================================================

In the published code *mixed* joins two buffers in the middle of an episode, so that one transition leads from a random
state to an expert's state, which never happened. Here the parts are whole episodes of their own: the last random one is cut
(truncated, with its real final observation), and the expert begins with a reset.

`mixed_trajectories` is the mixture of *Harnessing Mixed Offline RL Datasets via Trajectory Weighting* (Hong et al. 2023,
arXiv 2306.13085): few good trajectories among random ones, both drawn with replacement. Its authors set no seed, so that
their datasets cannot be drawn again; here one decides. `medium_expert` and `replay_until` are D4RL's (Fu et al. 2020, arXiv
2004.07219), `proficiency` tags episodes as robomimic's multi-human datasets do (Mandlekar et al. 2021, arXiv 2108.03298).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from assay.datasets.collection.policies import Policy, UniformPolicy
from assay.datasets.dataset import Dataset, concatenate
from assay.datasets.errors import ConfigError
from assay.datasets.tagging import TagEpisodes

__all__ = [
    "MIXED_SHARES",
    "NOISY_EPSILON",
    "PROFICIENCIES",
    "medium_expert",
    "mixed_trajectories",
    "perspective_scheme",
    "proficiency",
    "replay_until",
]

MIXED_SHARES = (0.8, 0.2)
"""Of random and expert steps in the Dataset Perspective paper's mixed data."""
NOISY_EPSILON = 0.2
"""Probability of a uniform action in its noisy data."""
PROFICIENCIES = ("worse", "okay", "better")

Scheme: TypeAlias = Literal["random", "expert", "mixed", "noisy"]


def perspective_scheme(scheme: Scheme, expert: Policy) -> tuple[list[tuple[Policy, float]], list[float]]:
    """Return the policies with their shares, and the noise of each, that `collect` takes for one of the paper's datasets.

    Parameters
    ----------
    scheme
        ``"random"``, ``"expert"``, ``"mixed"`` or ``"noisy"``.
    expert
        The final policy of the online training, for discrete actions.

    Examples
    --------
    >>> from assay.datasets.collection.collect import collect
    >>> policies, noise = perspective_scheme("mixed", lambda observations: np.zeros(len(observations), int))
    >>> episodes = collect("CartPole-v1", policies, steps=100, noise=noise, workers=0)
    >>> [int(episodes.episode_lengths[episodes.episode_policies == part].sum()) for part in (0, 1)]
    [80, 20]
    """
    if scheme == "random":
        return [(UniformPolicy(), 1.0)], [0.0]
    if scheme == "expert":
        return [(expert, 1.0)], [0.0]
    if scheme == "mixed":
        return [(UniformPolicy(), MIXED_SHARES[0]), (expert, MIXED_SHARES[1])], [0.0, 0.0]
    if scheme == "noisy":
        return [(expert, 1.0)], [NOISY_EPSILON]
    raise ConfigError(f"scheme must be random, expert, mixed or noisy, not {scheme!r}")


def mixed_trajectories(
    random: Dataset, good: Dataset, fraction: float, *, steps: int | None = None, seed: int = 0
) -> Dataset:
    """Draw whole trajectories, a few good ones and then random ones, with replacement.

    Good trajectories are drawn until they hold more than ``fraction * steps`` steps, then random ones until all hold more
    than ``steps``.

    Parameters
    ----------
    random, good
        Where they are drawn from; for `good` the authors take medium or expert data.
    fraction
        sigma, from 0 (no good trajectory) to 1 (no random one); the paper has 0.01, 0.05, 0.1, 0.25 and 0.5.
    steps
        Size aimed at; by default that of `good`.
    seed
        Of the draws.

    Returns
    -------
    Dataset
        The good trajectories first.

    Examples
    --------
    >>> import assay
    >>> random, expert = assay.load("cartpole/random", steps=2000), assay.load("cartpole/expert", steps=2000)
    >>> mixture = mixed_trajectories(random, expert, 0.1, steps=4000)
    >>> bool(400 < mixture.episode_lengths[mixture.returns > 400].sum() <= 900)
    True
    """
    if not 0 <= fraction <= 1:
        raise ConfigError(f"fraction must be between 0 and 1, not {fraction}")
    steps = good.total_steps if steps is None else steps
    if steps < 1:
        raise ConfigError(f"steps must be at least 1, not {steps}")
    generator = np.random.Generator(np.random.PCG64(seed))
    parts = []
    chosen = drawn_until(good.episode_lengths, fraction * steps, generator) if fraction else np.zeros(0, np.int64)
    if len(chosen):
        parts.append(good.select(chosen))
    held = int(good.episode_lengths[chosen].sum())
    if held <= steps:
        parts.append(random.select(drawn_until(random.episode_lengths, steps - held, generator)))
    return concatenate(parts)


def drawn_until(
    lengths: Sequence[int] | NDArray[np.int64], steps: float, generator: np.random.Generator
) -> NDArray[np.int64]:
    """Draw episodes with replacement until they hold more than so many steps.

    Examples
    --------
    >>> len(drawn_until([10, 10], 25, np.random.default_rng(0)))
    3
    """
    lengths = np.asarray(lengths, np.int64)
    if not len(lengths):
        raise ConfigError("there is no trajectory to draw from")
    drawn: NDArray[np.int64] = np.zeros(0, np.int64)
    while True:
        held = np.cumsum(lengths[drawn])
        enough = np.flatnonzero(held > steps)
        if len(enough):
            return drawn[: enough[0] + 1]
        drawn = np.concatenate([drawn, generator.integers(len(lengths), size=max(16, len(drawn)))])


def medium_expert(medium: Dataset, expert: Dataset) -> Dataset:
    """Join medium and expert data, all of both, as D4RL does."""
    return concatenate([medium, expert])


def replay_until(replay: Dataset, steps: int) -> Dataset:
    """Return the episodes of a training that had begun before so many steps: medium-replay, where the policy was medium then.

    Parameters
    ----------
    replay
        Every step of a training (full-replay), in order.
    steps
        Steps of the training; all of them give the whole replay.
    """
    if not steps >= 1:
        raise ConfigError(f"steps must be at least 1, not {steps}")
    return replay.select(np.flatnonzero(replay.episode_starts < steps))


def proficiency(worse: Dataset, okay: Dataset, better: Dataset) -> Dataset:
    """Join data of three levels of skill and tag each episode with its own, and with the pairs that it belongs to.

    Returns
    -------
    Dataset
        With the tags ``worse``, ``okay``, ``better``, ``worse_okay``, ``worse_better`` and ``okay_better``, the filter
        keys of robomimic's multi-human datasets; any of them selects: ``dataset.select(pl.col("tags/better"))``.
    """
    joined = concatenate([worse, okay, better])
    counts = [part.total_episodes for part in (worse, okay, better)]
    level = np.repeat(np.arange(3), counts)
    return TagEpisodes(tags=proficiency_tags(level))(joined)


def proficiency_tags(level: NDArray[np.int64]) -> dict[str, tuple[int, ...]]:
    """Return the episodes of each tag, given the place of each episode's level in `PROFICIENCIES`.

    Examples
    --------
    >>> proficiency_tags(np.array([0, 2, 1]))["worse_better"]
    (0, 1)
    """
    single = {name: {number} for number, name in enumerate(PROFICIENCIES)}
    pairs = {
        f"{one}_{two}": single[one] | single[two]
        for one, two in (("worse", "okay"), ("worse", "better"), ("okay", "better"))
    }
    return {
        name: tuple(np.flatnonzero(np.isin(level, list(levels))).tolist()) for name, levels in (single | pairs).items()
    }
