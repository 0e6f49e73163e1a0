"""How many members to train together: what one takes of memory, and from how many on more are slower.

Nothing is timed here. What a member takes follows from its algorithm and shapes, and from how many members on an update
becomes slower is read from a table that `benchmarks/sizing.py` measured once. So the same jobs in the same memory always form
the same populations, however busy the machine is; free memory is rounded down to coarse steps, so that small changes of it
do not matter either.
"""

from __future__ import annotations

import functools
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from assay.baselines.algorithms.algorithm import Algorithm, describe_networks
from assay.baselines.algorithms.direct import DirectAlgorithm
from assay.baselines.engine.data import ActionScale, Frames, TrainingData
from assay.baselines.engine.population import Member, Population
from assay.baselines.engine.shapes import Shapes
from assay.datasets import memory
from assay.datasets.transitions import Transitions

__all__ = [
    "available_memory",
    "bytes_per_member",
    "flops_per_update",
    "kept_for_backward",
    "like_population",
    "most_members",
    "saturation_table",
    "seconds_per_update",
    "steady_memory",
]

_ROWS = 4_096  # of the data that a trial trains on
_SECONDS = 0.2  # of a timing for a plan
_TOLERANCE = 1.1  # a member's update may be so much slower than in the fastest population: less is noise
_SMALL_BATCHES = (16, 32)
_FRAMES = 64  # of images, that a trial shows
_SHARE_OF_MEMORY = 0.8  # what is free now may not be free later
_STEPS_PER_DOUBLING = 4  # of memory
_UNMEASURED = 64  # members, on a device that is not in the table


def available_memory(device: str) -> int:
    """Return the bytes that a population may take on a device: a share of what is free, in coarse steps."""
    if torch.device(device).type == "cuda":
        free = torch.cuda.mem_get_info(torch.device(device))[0]
    else:
        free = memory.available_memory()
    return steady_memory(int(_SHARE_OF_MEMORY * free))


def steady_memory(count: int) -> int:
    """Round bytes down to a power of 2^(1/4), so that small changes of what is free change nothing.

    Examples
    --------
    >>> steady_memory(19_000_000_000) == steady_memory(18_000_000_000)
    True
    >>> steady_memory(16 << 30) == 16 << 30
    True
    """
    if count < 1:
        return 0
    return int(2.0 ** (math.floor(math.log2(count) * _STEPS_PER_DOUBLING) / _STEPS_PER_DOUBLING))


def like_population(
    algorithm: Algorithm,
    members: int,
    shapes: Shapes,
    *,
    device: str = "cpu",
    bf16: bool = False,
    stored: Mapping[str, int] | None = None,
) -> Population:
    """Make a population of an algorithm on a little made-up data of the same shapes; it trains without pauses.

    Parameters
    ----------
    algorithm : Algorithm
    members : int
    shapes : Shapes
    device : str
    bf16 : bool
    stored : mapping, optional
        Entries of those extra columns that come from the dataset.
    """
    rng = np.random.default_rng(0)
    observations = _made_up(shapes, rng)
    actions: np.ndarray = rng.uniform(-1, 1, (_ROWS, shapes.action_size)).astype(np.float32)
    scale = ActionScale.of(-np.ones(shapes.action_size), np.ones(shapes.action_size))
    if shapes.discrete_actions:
        actions, scale = rng.integers(0, shapes.action_size, _ROWS), ActionScale.of_discrete(shapes.action_size, 0)
    transitions = Transitions(
        observations=observations,
        actions=actions,
        rewards=rng.standard_normal(_ROWS, np.float32),
        next_observations=observations,
        terminations=np.zeros(_ROWS, bool),
        truncations=np.zeros(_ROWS, bool),
        steps=np.arange(_ROWS),
        columns={name: np.zeros((_ROWS, size), np.float32) for name, size in (stored or {}).items()},
    )
    places = np.arange(_ROWS) % _FRAMES
    frames = {
        part.key: Frames(rng.integers(0, 256, (_FRAMES, *part.shape)).astype(np.uint8), places, places)
        for part in shapes.images
    }
    data = TrainingData.of(
        transitions, scale, normalize=True, extra=algorithm.batch_columns, shapes=shapes, frames=frames or None
    )
    made = [Member(algorithm, seed, 0) for seed in range(members)]
    population = Population(made, [data], 1_000_000, device=device, bf16=bf16)
    population.pauses = False  # a rollout is no part of an update, and its environment is not known here
    return population


def _made_up(shapes: Shapes, rng: np.random.Generator) -> Any:
    """Return observations of so many rows, as a dataset would hold them; images are apart."""
    found: dict[str, np.ndarray] = {}
    for part in shapes.parts:
        if part.kind == "category":
            found[part.name] = part.first + rng.integers(0, part.categories, _ROWS)
        elif part.kind == "image":
            found[part.name] = np.zeros((_ROWS, 0), np.float32)
        else:
            found[part.name] = rng.standard_normal((_ROWS, *part.shape), np.float32)
    return found if list(found) != [""] else found[""]


def seconds_per_update(population: Population, seconds: float = _SECONDS) -> float:
    """Measure how long all members together take for one update; the population is trained by that.

    Examples
    --------
    >>> from assay.baselines import BC
    >>> from assay.baselines.engine.shapes import Shapes
    >>> seconds_per_update(like_population(BC(), 2, Shapes.flat(3, 1)), seconds=0.01) > 0
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


def bytes_per_member(algorithm: Algorithm, shapes: Shapes, stored: Mapping[str, int] | None = None) -> int:
    """Estimate what a member takes besides its data: weights, gradients, optimizer state, and activations.

    Activations are what the backward passes of one update keep, and half as much for what is in flight. They are measured
    for two small batches, on the CPU, and grow in proportion to the batch.

    Examples
    --------
    >>> from assay.baselines import TD3BC
    >>> bytes_per_member(TD3BC(), Shapes.flat(17, 6)) > 6 * 4 * 3 * 70_000  # six numbers per parameter, three networks
    True
    """
    if isinstance(algorithm, DirectAlgorithm):  # tables in float64, and what is counted into them
        return sum(4 * 8 * spec.ensemble * spec.size for spec in describe_networks(algorithm, shapes).values())
    (one,) = _small_populations(algorithm, shapes, stored, _SMALL_BATCHES[:1])
    state = sum(network.buffer.nbytes * (6 if network.spec.target else 5) for network in one.networks.values())
    state += sum(buffer.rows.nbytes for buffer in one.buffers.values())
    return state + int(1.5 * _for_whole_batch(kept_for_backward, algorithm, shapes, stored))


def flops_per_update(algorithm: Algorithm, shapes: Shapes, stored: Mapping[str, int] | None = None) -> int:
    """Count the floating-point operations of a member's update, those of matrix products.

    They are counted for two small batches, and grow in proportion to the batch.

    Examples
    --------
    >>> from assay.baselines import BC
    >>> shapes = Shapes.flat(17, 6)
    >>> flops_per_update(BC(batch_size=512), shapes) == 2 * flops_per_update(BC(batch_size=256), shapes)
    True
    """

    if isinstance(algorithm, DirectAlgorithm):
        return 0

    def count(population: Population) -> int:
        with FlopCounterMode(display=False) as counter:
            population.advance(population.period)
        total: int = counter.get_total_flops()
        return total // population.period

    return round(_for_whole_batch(count, algorithm, shapes, stored))


def _for_whole_batch(
    measure: Callable[[Population], int], algorithm: Algorithm, shapes: Shapes, stored: Mapping[str, int] | None
) -> float:
    """Measure a member with small batches, in the stage that takes most, and return what follows for the whole batch."""
    low, high = _SMALL_BATCHES
    at_low, at_high = (
        _most_of_stages(measure, population)
        for population in _small_populations(algorithm, shapes, stored, _SMALL_BATCHES)
    )
    return at_low + (at_high - at_low) / (high - low) * (algorithm.batch_size - low)


def _most_of_stages(measure: Callable[[Population], int], population: Population) -> int:
    found = []
    for number in range(population.stages):
        population.enter_stage(number)
        found.append(measure(population))
    return max(found)


def _small_populations(
    algorithm: Algorithm, shapes: Shapes, stored: Mapping[str, int] | None, batches: Sequence[int]
) -> list[Population]:
    return [
        like_population(replace(cast(Any, algorithm), batch_size=size), 1, shapes, stored=stored) for size in batches
    ]


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


def most_members(device: str, flops: int, table: Mapping[str, Any] | None = None) -> int:
    """Return how many members to train together at most: as many as were not measurably slower.

    The table says for members of some sizes what an update of one costs in populations of 1, 2, 4, ...; the member of the
    nearest size counts. The answer is the largest population whose cost is within 10 % of the smallest cost.

    Parameters
    ----------
    device : str
    flops : int
        Of a member's update.
    table : mapping, optional
        As `saturation_table` returns it, which is the default.

    Examples
    --------
    >>> costs = {"1": 1.0, "2": 0.7, "4": 0.6, "8": 0.62, "16": 0.8}
    >>> most_members("cpu", 2_000_000, {"devices": {"cpu": [{"flops": 1_000_000, "cost": costs}]}})
    8
    """
    measured = (saturation_table() if table is None else table)["devices"].get(torch.device(device).type)
    if not measured:
        return _UNMEASURED
    nearest = min(measured, key=lambda entry: abs(math.log(entry["flops"] / max(flops, 1))))
    costs = {int(members): cost for members, cost in nearest["cost"].items()}
    return max(members for members, cost in costs.items() if cost <= _TOLERANCE * min(costs.values()))


@functools.cache
def saturation_table() -> Mapping[str, Any]:
    """Return what `benchmarks/sizing.py` measured: by kind of device, the cost of a member's update in company.

    An entry of `devices[kind]` holds `member` (its algorithm), `flops` (of its update) and `cost`: population -> time of an
    update per member, in that of a member alone.
    """
    table: Mapping[str, Any] = json.loads(Path(__file__).with_name("saturation.json").read_text())
    return table
