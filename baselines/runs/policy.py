"""Trained policies: the networks and scales that a finished run leaves, and acting with them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from assay.baselines.algorithms.registry import algorithm_named
from assay.baselines.engine.acting import Acting, Actor, actor_of
from assay.baselines.engine.data import ActionScale, ObservationScale
from assay.baselines.networks.network import FixedNetwork
from assay.datasets.errors import ConfigError, DatasetIntegrityError

__all__ = ["TrainedPolicy"]


class TrainedPolicy:
    """The networks and scales of a finished run."""

    def __init__(self, acting: Acting, networks: Mapping[str, FixedNetwork]) -> None:
        self.acting, self.networks = acting, networks

    @classmethod
    def load(cls, file: Path, content: bytes, description: Mapping[str, Any]) -> TrainedPolicy:
        """Read what `Run.write_policy` wrote: the content of this file."""
        from safetensors import SafetensorError
        from safetensors.torch import load

        try:
            tensors = load(content)
            deviation = tensors["observation/deviation"].numpy() if "observation/deviation" in tensors else None
            mean, scale = tensors["observation/mean"].numpy(), tensors["observation/scale"].numpy()
            observation = ObservationScale(mean, scale, deviation)
            first = int(tensors["action/first"]) if "action/first" in tensors else None
            action = ActionScale(tensors["action/center"].numpy(), tensors["action/half_range"].numpy(), first)
            algorithm = algorithm_named(description["job"]["algorithm"], description["job"]["parameters"])
            specs = algorithm.networks(len(observation.mean), len(action.center))
            networks = {
                name: FixedNetwork(name, spec, tensors[f"{name}/parameters"].view(spec.ensemble, spec.size))
                for name, spec in specs.items()
            }
            acting = Acting(algorithm, observation, action, float(tensors["return/best"]))
        except (SafetensorError, KeyError, RuntimeError) as error:
            raise DatasetIntegrityError(f"{file} is damaged: {error}") from error
        return cls(acting, networks)

    def actor(self) -> Actor:
        """Return an actor of one member."""
        return actor_of([self.acting], self.networks)

    def act(self, observations: np.ndarray) -> np.ndarray:
        """Return (n, action) actions in the environment's units."""
        self._check(observations)
        episodes = self.actor().begin(slice(0, 1), len(observations))
        actions: np.ndarray = episodes.act(observations[None], np.zeros((1, len(observations))))[0]
        return actions

    def q_values(self, observations: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """Return (K, n) values."""
        import torch

        if "critic" not in self.networks:
            raise ConfigError("this algorithm has no critic")
        self._check(observations)
        observation, action, critic = self.acting.observation_scale, self.acting.action_scale, self.networks["critic"]
        inputs = np.concatenate(
            [(observations - observation.mean) / observation.scale, (actions - action.center) / action.half_range], 1
        )
        with torch.no_grad():
            found = critic(torch.from_numpy(inputs)[None].to(critic.buffer.dtype), weights="frozen")
        values: np.ndarray = found.view(critic.spec.ensemble, -1).double().numpy()
        return values

    def _check(self, observations: np.ndarray) -> None:
        size = len(self.acting.observation_scale.mean)
        if observations.ndim != 2 or observations.shape[1] != size:
            raise ConfigError(f"observations have shape {observations.shape}; expected (n, {size})")
