"""Behaviour policies small enough to ship as JSON: linear in (features of) the normalized observation.

A policy is any callable ``observations [n, ...] -> actions [n, ...]``; these are the ones that Assay brings along.
Their output for a row does not depend, to the last bit, on the rows beside it, so that a collected dataset does not
depend on how many environments ran at once. (A matrix product does not promise that: BLAS picks another kernel, and
with it another order of additions, for another number of rows.)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from assay.datasets.errors import ConfigError

__all__ = ["LinearPolicy", "Policy", "UniformPolicy", "expand_features", "feature_count", "row_products"]

Policy: TypeAlias = "Callable[[NDArray[Any]], NDArray[Any]] | UniformPolicy"
Features: TypeAlias = Literal["linear", "quadratic"]


@dataclass(frozen=True)
class UniformPolicy:
    """Actions drawn uniformly from the action space, whatever the observation.

    It is a marker, not a callable: the collector draws from the generator of each episode.
    """


@dataclass(frozen=True, eq=False)
class LinearPolicy:
    """a = W f((s - mean) / std): a score for each action dimension, or for each discrete action.

    Parameters
    ----------
    weights
        float64 ``[actions, features]``.
    mean, std
        Filter of the observations, float64 ``[observation]``; ``std`` is positive.
    features
        ``"linear"``: f(z) = z. ``"quadratic"``: f(z) = z followed by the products z_i z_j of every pair i <= j.
    discrete
        Whether the action is the index of the largest score instead of the scores themselves.

    Raises
    ------
    ConfigError
        If shapes do not fit each other, a number is not finite, or ``std`` is not positive.

    Examples
    --------
    >>> policy = LinearPolicy(weights=[[1.0, -1.0]], mean=[0.0, 1.0], std=[1.0, 2.0])
    >>> policy(np.array([[3.0, 1.0], [0.0, 5.0]]))
    array([[ 3.],
           [-2.]])
    """

    weights: NDArray[np.float64]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    features: Features = "linear"
    discrete: bool = False

    def __post_init__(self) -> None:
        if self.features not in get_args(Features):
            raise ConfigError(f"features must be 'linear' or 'quadratic', not {self.features!r}")
        for name, dimensions in (("weights", 2), ("mean", 1), ("std", 1)):
            try:
                value = np.array(getattr(self, name), np.float64)
            except (TypeError, ValueError) as error:
                raise ConfigError(f"{name} of a linear policy must be numbers: {error}") from None
            if value.ndim != dimensions or not value.size or not np.isfinite(value).all():
                raise ConfigError(f"{name} of a linear policy must be finite, in {dimensions} dimension(s)")
            value.flags.writeable = False
            object.__setattr__(self, name, value)
        if self.std.shape != self.mean.shape or (self.std <= 0).any():
            raise ConfigError("std of a linear policy must be positive and as long as mean")
        expected = feature_count(len(self.mean), self.features)
        if self.weights.shape[1] != expected:
            raise ConfigError(
                f"weights of a linear policy must have {expected} columns for {len(self.mean)} observations "
                f"and {self.features} features, not {self.weights.shape[1]}"
            )

    def __call__(self, observations: ArrayLike) -> NDArray[Any]:
        """Return actions for a batch.

        Parameters
        ----------
        observations
            ``[n, observation]``.

        Returns
        -------
        numpy.ndarray
            float64 ``[n, actions]``, not clipped; int64 ``[n]`` where ``discrete``.
        """
        observations = np.asarray(observations, np.float64)
        if observations.ndim != 2 or observations.shape[1] != len(self.mean):
            raise ConfigError(f"expected observations [n, {len(self.mean)}], not {list(observations.shape)}")
        features = expand_features((observations - self.mean) / self.std, self.features)
        scores = row_products(self.weights, features)
        return np.argmax(scores, axis=-1) if self.discrete else scores

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LinearPolicy) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash((self.weights.tobytes(), self.mean.tobytes(), self.std.tobytes(), self.features, self.discrete))

    def rounded(self, digits: int = 7) -> LinearPolicy:
        """Return the policy with every number cut to ``digits`` significant digits, as it is shipped."""
        weights, mean, std = (round_significant(value, digits) for value in (self.weights, self.mean, self.std))
        return LinearPolicy(weights, mean, std, self.features, self.discrete)

    def to_dict(self) -> dict[str, Any]:
        """Return the policy as JSON-ready values."""
        return {
            "kind": "linear",
            "features": self.features,
            "discrete": self.discrete,
            "mean": self.mean.tolist(),
            "std": self.std.tolist(),
            "weights": self.weights.tolist(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LinearPolicy:
        """Rebuild a policy from `to_dict`; anything else is a ConfigError that says what is wrong."""
        expected = {"kind", "features", "discrete", "mean", "std", "weights"}
        if not isinstance(values, Mapping) or set(values) != expected:
            found = sorted(map(str, values)) if isinstance(values, Mapping) else type(values).__name__
            raise ConfigError(f"a linear policy has the fields {sorted(expected)}, not {found}")
        if values["kind"] != "linear":
            raise ConfigError(f"the kind of a linear policy is 'linear', not {values['kind']!r}")
        if not isinstance(values["discrete"], bool):
            raise ConfigError(f"discrete of a linear policy is true or false, not {values['discrete']!r}")
        return cls(values["weights"], values["mean"], values["std"], values["features"], values["discrete"])

    def to_json(self) -> str:
        """Return the policy as one line of JSON.

        Examples
        --------
        >>> policy = LinearPolicy(weights=[[1.0]], mean=[0.0], std=[1.0])
        >>> LinearPolicy.from_json(policy.to_json()) == policy
        True
        """
        return json.dumps(self.to_dict())

    @classmethod
    def from_json(cls, text: str) -> LinearPolicy:
        """Rebuild a policy from `to_json`; anything else is a ConfigError that says what is wrong."""
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise ConfigError(f"a linear policy must be JSON: {error}") from None
        return cls.from_dict(values)


def described(policy: object) -> str:
    """Return what a policy is, in a few words.

    Examples
    --------
    >>> described(UniformPolicy())
    'Uniform random actions'
    """
    from assay.datasets.collection.network_policy import NetworkPolicy

    if isinstance(policy, UniformPolicy):
        return "Uniform random actions"
    if isinstance(policy, LinearPolicy):
        return "A linear policy"
    if isinstance(policy, NetworkPolicy):
        widths = "-".join(str(len(bias)) for bias in policy.biases[:-1])
        return f"A network policy ({widths or 'one layer'}, {'sampled' if policy.stochastic else 'greedy'})"
    return f"A policy of one's own ({getattr(policy, '__qualname__', type(policy).__qualname__)})"


def feature_count(observation_size: int, features: Features) -> int:
    """Return the number of features of an observation of that size."""
    if features == "linear":
        return observation_size
    return observation_size + observation_size * (observation_size + 1) // 2


def expand_features(normalized: NDArray[np.float64], features: Features) -> NDArray[np.float64]:
    """Return the features ``[..., features]`` of normalized observations ``[..., observation]``."""
    if features == "linear":
        return normalized
    first, second = np.triu_indices(normalized.shape[-1])
    return np.concatenate([normalized, normalized[..., first] * normalized[..., second]], axis=-1)


def row_products(weights: NDArray[np.float64], features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``W f`` for every row: ``[n, actions]`` from ``[actions, features]`` or ``[n, actions, features]``."""
    terms = np.empty((len(features), *weights.shape[-2:]))  # C order, so that the sum runs along a row for any n
    np.multiply(weights, features[:, None, :], out=terms)
    return cast("NDArray[np.float64]", np.add.reduce(terms, axis=-1))


def round_significant(values: NDArray[np.float64], digits: int) -> NDArray[np.float64]:
    """Return values with that many significant decimal digits."""
    return np.array([float(f"{value:.{digits - 1}e}") for value in values.ravel()]).reshape(values.shape)
