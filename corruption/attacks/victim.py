"""Victims: the critics and the policy that an adversarial corruption is made against.

A victim answers in torch tensors through which gradients pass, in the units of the dataset::

    class Mine:
        def q_values(self, observations, actions):  # [n, observation], [n, action] -> [critics, n]
            return torch.stack([critic(torch.cat([observations, actions], -1)).squeeze(-1) for critic in self.critics])

        def act(self, observations):                # [n, observation] -> [n, action], without noise
            return self.actor(observations)

A function (observations, actions) -> [critics, n] or [n] will do where no policy is asked for (everything but dynamics).
A finished run of the runner is a victim by its folder; only then can the corruption be replayed from its record.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

from assay.datasets.errors import ConfigError, DatasetIntegrityError

if TYPE_CHECKING:
    import torch

__all__ = ["LayeredVictim", "Layers", "Victim", "digest_of", "folder_of", "open_victim"]

LIVE = "live:"  # before the class of a victim that the record cannot hold

Layers: TypeAlias = "Sequence[tuple[torch.Tensor, torch.Tensor]]"


@runtime_checkable
class Victim(Protocol):
    """What is attacked."""

    def q_values(self, observations: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """Return [critics, n] values of n pairs; each depends on its own row alone."""

    def act(self, observations: torch.Tensor) -> torch.Tensor:
        """Return the [n, action] deterministic actions at n observations."""


@runtime_checkable
class LayeredVictim(Victim, Protocol):
    """A victim whose critics are perceptrons with ReLU, and whose gradients can therefore be had much faster."""

    def critic_layers(self) -> Layers | None:
        """Return (weight [critics, in, out], bias [critics, 1, out]) of each layer, or None where they are not such.

        They take [observation, action] in the dataset's units; in float64, so that scales folded into them are exact.
        """


class _Function:
    """A bare function as a victim without a policy."""

    def __init__(self, function: Callable[..., torch.Tensor]) -> None:
        self.function = function

    def q_values(self, observations: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        values = self.function(observations, actions)
        return values[None] if getattr(values, "ndim", None) == 1 else values

    def act(self, observations: torch.Tensor) -> torch.Tensor:
        raise ConfigError("corrupting dynamics needs a victim with a policy: give it a method act(observations)")


def folder_of(victim: Any) -> Path | None:
    """Return the run folder that a path (or a `Run`, which is path-like) names, or None for a live victim."""
    return Path(victim) if isinstance(victim, str | os.PathLike) else None


def describe_victim(victim: Any) -> str | None:
    """Return what the record says of a victim."""
    if victim is None:
        return None
    folder = folder_of(victim)
    if folder is not None:
        return str(folder)
    kind = victim if hasattr(victim, "__qualname__") else type(victim)
    return f"{LIVE}{kind.__module__}.{kind.__qualname__}"


def digest_of(folder: Path) -> str | None:
    """Return a hash of the networks in a run folder; None where there are none."""
    import xxhash

    file = folder / "policy.safetensors"
    return xxhash.xxh3_128_hexdigest(file.read_bytes()) if file.is_file() else None


def open_victim(victim: Any, digest: str | None, device: str) -> Victim:
    """Return a victim from whatever stands for it.

    Raises
    ------
    ConfigError
        If nothing, or no finished run, is there.
    DatasetIntegrityError
        If the run's networks are not those of the record.
    """
    if victim is None:
        raise ConfigError("corruption.adversarial: victim is missing: give a run folder, or an object with q_values")
    folder = folder_of(victim)
    if folder is None:
        return victim if isinstance(victim, Victim) else _Function(victim)
    if str(victim).startswith(LIVE):
        raise ConfigError(
            f"corruption.adversarial: the victim was a live object ({str(victim).removeprefix(LIVE)}), which the record "
            "cannot hold; to be replayed, a corruption needs the folder of a finished run as its victim"
        )
    found = digest_of(folder)
    if found is None:
        raise ConfigError(
            f"corruption.adversarial: victim={os.fspath(victim)!r} is not the folder of a finished run; "
            "`assay corrupt --mode adversarial --victim edac` trains one"
        )
    if digest is not None and digest != found:
        raise DatasetIntegrityError(f"{folder} holds other networks ({found}) than the record was made with ({digest})")
    # Run folders are the runner's, whose room may not be imported here, nor is it unless a folder is given: as with the
    # rooms of transforms it is asked by name, for something that keeps to the protocol above.
    opened: Victim = import_module("assay.baselines.training.run_victim").RunVictim(folder, device)
    return opened
