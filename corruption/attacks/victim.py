"""Victims: the critics and the policy that an adversarial corruption attacks.

A victim answers in torch tensors through which gradients pass, in the units of the dataset::

    class Mine:
        def q_values(self, observations, actions):  # [n, observation], [n, action] -> [critics, n]
            return torch.stack([critic(torch.cat([observations, actions], -1)).squeeze(-1) for critic in self.critics])

        def act(self, observations):                # [n, observation] -> [n, action], without noise
            return self.actor(observations)

A function (observations, actions) -> [critics, n] or [n] is enough for every element but dynamics, which needs a
policy. The folder of a finished run is a victim as well. Only a corruption with such a victim can be replayed from its
record.
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

LIVE = "live:"  # in a record, comes before the class of a victim that was an object in memory

Layers: TypeAlias = "Sequence[tuple[torch.Tensor, torch.Tensor]]"


@runtime_checkable
class Victim(Protocol):
    """Critics and a policy that can be attacked, because gradients pass through them."""

    def q_values(self, observations: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """Return the [critics, n] values of n pairs; the value of a pair depends on no other pair."""

    def act(self, observations: torch.Tensor) -> torch.Tensor:
        """Return the [n, action] deterministic actions at n observations."""


@runtime_checkable
class LayeredVictim(Victim, Protocol):
    """A victim whose critics are perceptrons with ReLU; their gradients are computed much faster."""

    def critic_layers(self) -> Layers | None:
        """Return (weight [critics, in, out], bias [critics, 1, out]) of each layer, or None for other critics.

        The first layer takes [observation, action] in the dataset's units. All are float64, so that a normalization
        that was folded into them stays exact.
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
    """Return the victim as text for the record: its folder, or the class of an object in memory."""
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
    """Return the victim that a run folder, an object or a function stands for.

    Raises
    ------
    ConfigError
        If the victim is missing, is not the folder of a finished run, or was an object in memory.
    DatasetIntegrityError
        If the hash of the run's networks is not that of the record.
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
    # Run folders belong to assay.baselines. This room must not import it, so the opener of victims is imported by name,
    # and only when a folder is given. What it returns follows the protocol above.
    opened: Victim = import_module("assay.baselines.training.run_victim").RunVictim(folder, device)
    return opened
