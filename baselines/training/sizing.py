"""How many members to train together: what one costs, and how the speed grows with their number, measured on the device."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch

from assay.baselines.algorithms.algorithm import Algorithm
from assay.baselines.engine.data import ActionScale, TrainingData
from assay.baselines.engine.population import Member, Population
from assay.datasets import memory
from assay.datasets.transitions import Transitions

__all__ = [
    "available_memory",
    "bytes_per_member",
    "choose_size",
    "kept_for_backward",
    "like_population",
    "seconds_per_update",
]

_ROWS = 4_096  # of the data that a trial trains on
_SECONDS = 0.2  # of a trial
_TOLERANCE = 1.05  # by which doubling may make a member's update slower; timings are noisy
_SMALL_BATCHES = (16, 32)
_SHARE_OF_MEMORY = 0.8  # what is free now may not be free later


def available_memory(device: str) -> int:
    """Return the bytes that a population may take on a device."""
    if torch.device(device).type == "cuda":
        free = torch.cuda.mem_get_info(torch.device(device))[0]
    else:
        free = memory.available_memory()
    return int(_SHARE_OF_MEMORY * free)


def like_population(
    algorithm: Algorithm,
    members: int,
    observation_size: int,
    action_size: int,
    *,
    device: str = "cpu",
    bf16: bool = False,
) -> Population:
    """Make a population of an algorithm on a little made-up data of the same shapes."""
    rng = np.random.default_rng(0)
    transitions = Transitions(
        observations=rng.standard_normal((_ROWS, observation_size), np.float32),
        actions=rng.uniform(-1, 1, (_ROWS, action_size)).astype(np.float32),
        rewards=rng.standard_normal(_ROWS, np.float32),
        next_observations=rng.standard_normal((_ROWS, observation_size), np.float32),
        terminations=np.zeros(_ROWS, bool),
        truncations=np.zeros(_ROWS, bool),
        steps=np.arange(_ROWS),
    )
    bounds = np.ones(action_size)
    data = TrainingData.of(transitions, ActionScale.of(-bounds, bounds), normalize=True, extra=algorithm.extra_columns)
    made = [Member(algorithm, seed, 0) for seed in range(members)]
    return Population(made, [data], 1_000_000, device=device, bf16=bf16)


def seconds_per_update(population: Population, seconds: float = _SECONDS) -> float:
    """Measure how long all members together take for one update; the population is trained by that.

    Examples
    --------
    >>> from assay.baselines import BC
    >>> seconds_per_update(like_population(BC(), 2, 3, 1), seconds=0.01) > 0
    True
    """

    def run(updates: int) -> None:
        population.advance(updates)
        if population.device.type == "cuda":
            torch.cuda.synchronize(population.device)

    together = population.unroll if population.device.type == "cuda" else population.period
    run(together)  # captures the graph, and touches all memory once
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        run(together)
        done += together
    return (time.perf_counter() - start) / done


def bytes_per_member(algorithm: Algorithm, observation_size: int, action_size: int) -> int:
    """Estimate what a member takes besides its data: weights, gradients, optimizer state, and activations.

    Activations are what the backward passes of one update keep, and half as much for what is in flight. They are measured
    for two small batches, on the CPU, and grow in proportion to the batch.

    Examples
    --------
    >>> from assay.baselines import TD3BC
    >>> bytes_per_member(TD3BC(), 17, 6) > 6 * 4 * 3 * 70_000  # six numbers per parameter, three networks
    True
    """
    small, large = (
        like_population(replace(cast(Any, algorithm), batch_size=size), 1, observation_size, action_size)
        for size in _SMALL_BATCHES
    )
    state = sum(network.buffer.nbytes * (6 if network.spec.target else 5) for network in small.networks.values())
    kept = kept_for_backward(small)
    per_row = (kept_for_backward(large) - kept) / (_SMALL_BATCHES[1] - _SMALL_BATCHES[0])
    return state + int(1.5 * (kept + per_row * (algorithm.batch_size - _SMALL_BATCHES[0])))


def kept_for_backward(population: Population) -> int:
    """Return the bytes that autograd keeps during one period of updates, each storage once and without weights."""
    kept: dict[int, int] = {}
    weights = {network.buffer.untyped_storage().data_ptr() for network in population.networks.values()}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        population.advance(population.period)
    return sum(kept.values())


def choose_size(jobs: int, seconds: Callable[[int], float], most: int) -> int:
    """Choose how many of some jobs to train at a time.

    The number is doubled as long as a member's share of the time does not grow by more than 5 %: more at a time is at least
    as fast in all, and shares simulators and data.

    Parameters
    ----------
    jobs : int
    seconds : callable
        Members -> seconds per update of them all.
    most : int
        What fits.

    Examples
    --------
    >>> choose_size(100, lambda members: 1.0 + 0.1 * members, most=64)  # a fixed cost that many share
    64
    >>> choose_size(100, lambda members: 0.1 * members**1.2, most=64)  # more are slower
    1
    """
    size, per_member = 1, seconds(1)
    while size < min(jobs, most):
        larger = min(2 * size, jobs, most)
        cost = seconds(larger) / larger
        if cost > _TOLERANCE * per_member:
            break
        size, per_member = larger, cost
    return size
