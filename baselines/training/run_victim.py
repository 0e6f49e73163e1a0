"""Finished runs as victims of adversarial corruption, and training them on demand.

`RunVictim` is what `assay.corruption.attacks.victim.Victim` asks for, without knowing of it: values and actions as torch tensors
through which gradients pass, in the environment's units. `train_victim` trains one on the clean data, once: it is kept
under `home()/victims`, and found again by its dataset's fingerprint, its algorithm and its settings.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
import torch

from assay.baselines.algorithms.algorithm import Algorithm
from assay.baselines.engine.acting import act_once
from assay.baselines.networks import MLP, FixedNetwork
from assay.baselines.runs.job import Job
from assay.baselines.runs.run import Run
from assay.baselines.training.options import OptionChanges, TrainingOptions
from assay.datasets.dataset import Dataset
from assay.datasets.device import check_device
from assay.datasets.errors import AssayError, ConfigError
from assay.datasets.progress import Auto

if TYPE_CHECKING:
    from assay.baselines.training.progress import TrainingProgress

__all__ = ["VICTIM_STEPS", "RunVictim", "train_victim"]

VICTIM_STEPS = 20_000  # updates; published 3 million


class RunVictim:
    """A finished run whose critics and policy can be differentiated.

    Parameters
    ----------
    run : Run or path of its folder
    device : str

    Raises
    ------
    ConfigError
        If the run is not finished, has no critic, or acts on sequences.

    Examples
    --------
    >>> import assay, tempfile
    >>> from assay.baselines import IQL, Job, train
    >>> dataset = assay.load("pendulum/random", steps=400)
    >>> run, = train([Job(IQL(), dataset)], steps=10, runs=tempfile.mkdtemp(), evaluation=None)
    >>> observations = torch.zeros(5, 3, requires_grad=True)
    >>> victim = RunVictim(run)
    >>> victim.q_values(observations, victim.act(observations)).sum().backward()
    >>> observations.grad.shape
    torch.Size([5, 3])
    """

    def __init__(self, run: Run | str | os.PathLike[str], device: str = "cpu") -> None:
        check_device(device)
        self.run = run = run if isinstance(run, Run) else Run(run)
        if run.status != "finished":
            raise ConfigError(f"{run.folder} is {run.status}: only a finished run can be a victim")
        policy = run.trained_policy
        self.algorithm: Algorithm = policy.acting.algorithm
        label = run.description["job"]["label"]
        if self.algorithm.looks_back:
            raise ConfigError(f"{run.folder}: {label} acts on sequences; a victim acts on single observations")
        if not self.algorithm.valued_by:
            raise ConfigError(
                f"{run.folder}: {label} has no critic to attack; edac, iql and td3_bc are among those with one"
            )
        self.networks = {name: _moved(network, device) for name, network in policy.networks.items()}
        self.critic = self.networks[self.algorithm.valued_by[0]]
        self.dtype = self.critic.buffer.dtype
        observation, action = policy.acting.observation_scale, policy.acting.action_scale
        scales = (observation.mean, observation.scale, action.center, action.half_range)
        self._exact = [torch.from_numpy(np.array(scale, np.float64)).to(device) for scale in scales]
        self.mean, self.scale, self.center, self.half_range = (scale.to(self.dtype) for scale in self._exact)

    def q_values(self, observations: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """Return [critics, n] values of [n, observation] and [n, action]."""
        normalized = ((observations - self.mean) / self.scale)[None].to(self.dtype)
        scaled = ((actions - self.center) / self.half_range)[None].to(self.dtype)
        return self.algorithm.values(self.networks, normalized, scaled)[0]

    def act(self, observations: torch.Tensor) -> torch.Tensor:
        """Return [n, action] actions as in evaluation: without noise, inside the bounds."""
        normalized = ((observations - self.mean) / self.scale)[None].to(self.dtype)
        return self.center + self.half_range * act_once(self.algorithm, self.networks, normalized)[0].clamp(-1.0, 1.0)

    def critic_layers(self) -> Sequence[tuple[torch.Tensor, torch.Tensor]] | None:
        """Return the critics' layers in float64, the scales folded into the first; None if they are not plain perceptrons."""
        spec = self.critic.spec
        plain = type(self.algorithm).values is Algorithm.values
        if (
            not plain
            or not isinstance(spec, MLP)
            or spec.layer_norm
            or spec.output != "linear"
            or spec.state_independent
        ):
            return None
        weights = [tensor.detach().double() for tensor in self.critic.weights["frozen"]]
        mean, scale, center, half_range = self._exact
        offset, width = torch.cat([mean, center]), torch.cat([scale, half_range])
        first = weights[0] / width[:, None]
        return [(first, weights[1] - offset[None] @ first), *zip(weights[2::2], weights[3::2])]


def _moved(network: FixedNetwork, device: str) -> FixedNetwork:
    """Return a network on a device."""
    return FixedNetwork(network.name, network.spec, network.buffer.to(device))


def train_victim(
    algorithm: Algorithm,
    dataset: Dataset,
    *,
    steps: int = VICTIM_STEPS,
    seed: int = 0,
    runs: str | os.PathLike[str] | None = None,
    progress: Callable[[TrainingProgress], None] | Auto | None = "auto",
    options: TrainingOptions = TrainingOptions(),  # noqa: B008  (frozen)
    **changes: Unpack[OptionChanges],
) -> Run:
    """Train a victim on a dataset, or find the one that was; an interrupted training goes on.

    Parameters
    ----------
    algorithm : Algorithm
        With a critic.
    dataset : Dataset
        Usually clean.
    steps : int
        Updates; 3 million in the paper.
    seed : int
        Of the training.
    runs : path, optional
        Default `home()/victims`.
    progress, options, **changes
        As in `train`.

    Raises
    ------
    ConfigError
        If the algorithm has no critic, or does not suit the dataset.
    AssayError
        If its training diverged or failed.
    """
    from assay.baselines.training.train import train
    from assay.datasets.loading import home

    check_victim(algorithm)
    root = Path(runs) if runs is not None else home() / "victims"
    (run,) = train(
        [Job(algorithm, dataset, seed)],
        steps=steps,
        runs=root,
        evaluation=None,
        progress=progress,
        options=options.with_changes(changes),
    )
    if run.status != "finished":
        reason = (run.error or "").strip().splitlines() or [""]
        raise AssayError(f"the victim {algorithm.label} in {run.folder} is {run.status}: {reason[-1]}")
    return run


def check_victim(algorithm: Algorithm) -> None:
    """Raise ConfigError where an algorithm has nothing to attack."""
    if algorithm.looks_back or not algorithm.valued_by:
        raise ConfigError(f"{algorithm.label} cannot be a victim: it has no critic of single observations and actions")


def with_victims(transforms: Any, find: Callable[[str], str | os.PathLike[str]], device: str = "cpu") -> list[Any]:
    """Put run folders in place of the victims that the transforms of a variant name.

    Parameters
    ----------
    transforms : list
        As in a recipe: one-entry mappings, name -> parameters.
    find : callable
        Gives the run for a name.
    device : str
        Where the transform computes, if it does not say.
    """
    resolved = []
    for entry in transforms:
        if isinstance(entry, Mapping):
            ((name, parameters),) = entry.items()
            if isinstance(parameters, Mapping) and isinstance(parameters.get("victim"), str):
                victim = parameters["victim"]
                entry = {name: {"device": device, **parameters, "victim": os.fspath(find(victim))}}
        resolved.append(entry)
    return resolved
