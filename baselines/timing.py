"""A short timing of a population on its device, for estimates and for choosing its size."""

from __future__ import annotations

import time

import torch

from assay.baselines.population import Population

__all__ = ["seconds_per_update"]

_UPDATES_AT_FIRST = 16


def seconds_per_update(population: Population, *, seconds: float = 0.5) -> float:
    """Measure how long one update of all members takes.

    Parameters
    ----------
    population : Population
        It is trained meanwhile, so it should be one made for the purpose.
    seconds : float
        Updates are doubled until they take this long; together with what is thrown away, the first ones that compile,
        capture and allocate, it takes two to three times as long.

    Returns
    -------
    float
        Seconds of wall time, as the load of the machine allowed.
    """
    updates = _UPDATES_AT_FIRST
    _advance(population, updates)
    while (elapsed := _advance(population, updates)) < seconds:
        updates *= 2
    return elapsed / updates


def _advance(population: Population, updates: int) -> float:
    started = time.perf_counter()
    population.advance(updates)
    if population.device.type == "cuda":
        torch.cuda.synchronize(population.device)
    return time.perf_counter() - started
