"""What a dataset holds, counted: steps, episodes, and the share of steps that a transform corrupted."""

from __future__ import annotations

from collections.abc import Callable

from assay.metrics.measures import Basis, Measure, Measures, register_group

__all__: list[str] = []


@register_group("size", order=10)
def size(basis: Basis) -> Measures:
    """Return `steps` and `episodes`."""
    dataset = basis.dataset
    return {
        "steps": lambda: Measure(dataset.total_steps, "steps", "count"),
        "episodes": lambda: Measure(dataset.total_episodes, "episodes", "count"),
    }


@register_group("corruption", order=160)
def corruption(basis: Basis) -> Measures:
    """Return `corrupted_<element>` for every ground-truth mask."""

    def share(element: str) -> Callable[[], Measure]:
        source = f"mask in column corrupted/{element}"
        return lambda: Measure(float(basis.dataset.masks[element].mean()), "fraction of steps", source)

    return {f"corrupted_{element}": share(element) for element in sorted(basis.dataset.masks)}
