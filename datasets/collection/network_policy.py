"""Neural behaviour policies: a multilayer perceptron in plain NumPy, without torch.

Rows are computed one after the other, each by the same element-wise products and sums, so that the output for a row does
not depend, to the last bit, on the rows beside it (see `policies`: a matrix product does not promise that), nor on the
BLAS library and its threads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from assay.datasets.errors import ConfigError

__all__ = ["NetworkPolicy"]

Activation: TypeAlias = Literal["relu", "selu"]
Head: TypeAlias = Literal["tanh", "tanh_gaussian", "argmax"]

SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772
LOG_STD_RANGE = (-20.0, 2.0)


@dataclass(frozen=True, eq=False)
class NetworkPolicy:
    """What a multilayer perceptron says of the flattened observation.

    Parameters
    ----------
    weights
        One float32 matrix ``[inputs, outputs]`` for each layer.
    biases
        One float32 vector ``[outputs]`` for each layer.
    head
        What the last layer's outputs are. ``"argmax"``: a value for each discrete action, the largest is taken.
        ``"tanh"``: the action before tanh. ``"tanh_gaussian"``: means and log standard deviations before tanh, half of
        the outputs each (Haarnoja et al. 2018, arXiv 1812.05905, appendix C).
    low, high
        float32 ``[action]``: what -1 and 1 after tanh stand for; None for ``"argmax"``.
    activation
        Between the layers: ``"relu"``, or ``"selu"`` (Klambauer et al. 2017, arXiv 1706.02515).
    stochastic
        Whether the collector draws actions of a ``"tanh_gaussian"`` with `sample`; otherwise it takes the mean's.

    Raises
    ------
    ConfigError
        If shapes do not fit each other, a number is not finite, or ``low`` is not below ``high``.

    Examples
    --------
    >>> policy = NetworkPolicy([[[1.0], [-1.0]]], [[0.5]], head="tanh", low=[-2.0], high=[2.0])
    >>> policy(np.array([[3.0, 3.5], [9.0, 0.0]])).round(4)
    array([[0.],
           [2.]], dtype=float32)
    """

    weights: Sequence[NDArray[np.float32]]
    biases: Sequence[NDArray[np.float32]]
    head: Head
    low: NDArray[np.float32] | None = None
    high: NDArray[np.float32] | None = None
    activation: Activation = "relu"
    stochastic: bool = False

    def __post_init__(self) -> None:
        for name, kinds in (("head", Head), ("activation", Activation)):
            if getattr(self, name) not in get_args(kinds):
                raise ConfigError(f"{name} must be one of {', '.join(get_args(kinds))}, not {getattr(self, name)!r}")
        if not len(self.weights) or len(self.weights) != len(self.biases):
            raise ConfigError(f"a network policy needs as many biases as weights, not {len(self.biases)}")
        weights = tuple(numbers(weight, f"weight {i}", 2) for i, weight in enumerate(self.weights))
        biases = tuple(numbers(bias, f"bias {i}", 1) for i, bias in enumerate(self.biases))
        for i, (weight, bias) in enumerate(zip(weights, biases)):
            if i and weight.shape[0] != weights[i - 1].shape[1]:
                raise ConfigError(f"weight {i} takes {weight.shape[0]} inputs, but layer {i - 1} gives {bias.shape[0]}")
            if bias.shape[0] != weight.shape[1]:
                raise ConfigError(f"bias {i} has {bias.shape[0]} entries for {weight.shape[1]} outputs")
        object.__setattr__(self, "weights", weights)
        object.__setattr__(self, "biases", biases)
        if self.stochastic and self.head != "tanh_gaussian":
            raise ConfigError(f"only a tanh_gaussian policy can be stochastic, not {self.head!r}")
        if self.discrete:
            if self.low is not None or self.high is not None:
                raise ConfigError("an argmax policy has no low and high: its actions are numbers of actions")
            return
        low, high = numbers(self.low, "low", 1), numbers(self.high, "high", 1)
        if low.shape != high.shape or not (low < high).all():
            raise ConfigError("low of a network policy must be below high, entry by entry")
        expected = len(low) * (2 if self.head == "tanh_gaussian" else 1)
        if weights[-1].shape[1] != expected:
            raise ConfigError(f"{expected} outputs are needed for {len(low)} actions, not {weights[-1].shape[1]}")
        object.__setattr__(self, "low", low)
        object.__setattr__(self, "high", high)

    @property
    def discrete(self) -> bool:
        """Whether the actions are numbers of actions."""
        return self.head == "argmax"

    @property
    def observation_size(self) -> int:
        """Numbers in a flattened observation."""
        return len(self.weights[0])

    def to_dict(self) -> dict[str, Any]:
        """Return what decides its actions, as JSON values, the numbers by their SHA-256."""
        state = hashlib.sha256()
        for array in (*self.weights, *self.biases, self.low, self.high):
            if array is not None:
                state.update(f"{array.shape}".encode() + array.astype("<f4").tobytes())
        return {
            "kind": "network",
            "head": self.head,
            "activation": self.activation,
            "stochastic": self.stochastic,
            "sha256": state.hexdigest(),
        }

    def outputs(self, observations: ArrayLike) -> NDArray[np.float32]:
        """Return what the last layer says: float32 ``[n, outputs]`` for observations ``[n, ...]``."""
        rows = np.asarray(observations)
        if rows.ndim < 2 or int(np.prod(rows.shape[1:])) != self.observation_size:
            raise ConfigError(f"expected observations [n, {self.observation_size}], not {list(rows.shape)}")
        rows = rows.reshape(len(rows), -1).astype(np.float32)
        found = np.empty((len(rows), self.weights[-1].shape[1]), np.float32)
        for row, values in enumerate(rows):
            for i, (weight, bias) in enumerate(zip(self.weights, self.biases)):
                if i:
                    values = activate(values, self.activation)
                values = np.add.reduce(weight * values[:, None], axis=0) + bias
            found[row] = values
        return found

    def __call__(self, observations: ArrayLike) -> NDArray[Any]:
        """Return the greedy actions for a batch.

        Parameters
        ----------
        observations
            ``[n, ...]``.

        Returns
        -------
        numpy.ndarray
            float32 ``[n, actions]`` between ``low`` and ``high``; int64 ``[n]`` for ``"argmax"``.
        """
        outputs = self.outputs(observations)
        if self.discrete:
            chosen: NDArray[Any] = np.argmax(outputs, axis=-1)
            return chosen
        mean = outputs[:, : outputs.shape[1] // 2] if self.head == "tanh_gaussian" else outputs
        return self._scaled(mean)

    def sample(self, observations: ArrayLike, noise: ArrayLike) -> NDArray[Any]:
        """Return actions of a ``"tanh_gaussian"`` at given standard normal numbers.

        Parameters
        ----------
        observations
            ``[n, ...]``.
        noise
            ``[n, actions]``.
        """
        if self.head != "tanh_gaussian":
            raise ConfigError(f"only a tanh_gaussian policy draws actions, not {self.head!r}")
        mean, log_std = np.split(self.outputs(observations), 2, axis=1)
        std = np.stack([np.exp(np.clip(row, *LOG_STD_RANGE)) for row in log_std]) if len(mean) else log_std
        return self._scaled(mean + std * np.asarray(noise, np.float32))

    def _scaled(self, unbounded: NDArray[np.float32]) -> NDArray[np.float32]:
        assert self.low is not None
        assert self.high is not None
        squashed = np.stack([np.tanh(row) for row in unbounded]) if len(unbounded) else unbounded
        middle, half = (self.high + self.low) / 2, (self.high - self.low) / 2
        actions: NDArray[np.float32] = (middle + half * squashed).astype(np.float32)
        return actions


def activate(values: NDArray[np.float32], activation: Activation) -> NDArray[np.float32]:
    """Apply an activation to float32 values."""
    if activation == "relu":
        return np.maximum(values, np.float32(0.0))
    negative = np.float32(SELU_ALPHA) * np.expm1(np.minimum(values, np.float32(0.0)))
    return np.float32(SELU_SCALE) * np.where(values > 0, values, negative)


def numbers(value: Any, name: str, dimensions: int) -> NDArray[np.float32]:
    """Return a read-only float32 copy, or raise ConfigError naming what it is of."""
    try:
        array = np.array(value, np.float32, order="C")
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name} of a network policy must be numbers: {error}") from None
    if array.ndim != dimensions or not array.size or not np.isfinite(array).all():
        raise ConfigError(f"{name} of a network policy must be finite, in {dimensions} dimension(s)")
    array.flags.writeable = False
    return array
