"""Trained policies: the networks and scales that a finished run leaves, and acting with them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from assay.baselines.algorithms.algorithm import describe_networks
from assay.baselines.algorithms.registry import algorithm_of_run
from assay.baselines.engine.acting import Acting, Actor, actor_of
from assay.baselines.engine.data import ActionScale, ObservationScale
from assay.baselines.engine.shapes import Shapes
from assay.baselines.networks.network import FixedNetwork
from assay.baselines.runs.integrity import safetensors_texts
from assay.datasets.errors import ConfigError, DatasetIntegrityError, UnknownNameError

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
            algorithm = algorithm_of_run(description)
            shapes = _shapes(content, observation, action)
            specs = describe_networks(algorithm, shapes)
            networks = {
                name: FixedNetwork(name, spec, tensors[f"{name}/parameters"].view(spec.ensemble, spec.size))
                for name, spec in specs.items()
            }
            acting = Acting(algorithm, observation, action, float(tensors["return/best"]), shapes)
        except UnknownNameError:  # a KeyError, too
            raise
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

        algorithm, action = self.acting.algorithm, self.acting.action_scale
        if not algorithm.valued_by:
            raise ConfigError(f"{algorithm.label} has no critic")
        self._check(observations)
        vector, images = self.acting.shapes.split(observations)
        dtype = self.networks[algorithm.valued_by[0]].buffer.dtype
        scale = self.acting.observation_scale
        normalized = torch.from_numpy((vector - scale.mean) / scale.scale)[None].to(dtype)
        seen = {"vector": normalized, **{name: torch.from_numpy(image)[None] for name, image in images.items()}}
        encoded = torch.from_numpy(action.encode(actions))[None].to(dtype)
        with torch.no_grad():
            found = algorithm.values(self.networks, seen if images else normalized, encoded)
        values: np.ndarray = found[0].double().numpy()
        return values

    def _check(self, observations: np.ndarray) -> None:
        size = self.acting.shapes.environment_size
        if observations.ndim != 2 or observations.shape[1] != size:
            raise ConfigError(f"observations have shape {observations.shape}; expected (n, {size})")


def _shapes(content: bytes, observation: ObservationScale, action: ActionScale) -> Shapes:
    """Return what the networks were made for; files of flat vectors do not say it."""
    stored = safetensors_texts(content).get("shapes")
    if stored is not None:
        return Shapes.from_plain(json.loads(stored))
    return Shapes.flat(len(observation.mean), len(action.center), action.first is not None)
