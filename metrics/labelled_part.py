"""The part of a dataset whose labels are all there, for metrics that need labels of which some are missing.

The part is made of whole episodes: a return with a gap is no return, and what is left of an episode between two gaps is no
episode. A metric that needs actions is measured on the episodes whose actions are all there, whatever rewards they lack.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from assay.datasets.missing import LABELS, complete_episodes, partly_missing
from assay.metrics.measures import Basis

__all__ = ["labelled_parts"]


def labelled_parts(basis: Basis) -> Iterator[tuple[Basis, str]]:
    """Yield what to measure instead where labels are partly missing, from the largest part on, and its name in words.

    First the episodes with all actions, then those with all rewards, then those with both; parts without an episode are
    left out. A reference is cut down in the same way.
    """
    datasets = [basis.dataset] if basis.reference is None else [basis.dataset, basis.reference]
    partly = [element for element in LABELS if any(element in partly_missing(dataset) for dataset in datasets)]
    for elements in [(element,) for element in partly] + ([tuple(partly)] if len(partly) > 1 else []):
        parts, notes = [], []
        for dataset in datasets:
            cut = [element for element in elements if element in partly_missing(dataset)]
            complete = complete_episodes(dataset, cut)
            parts.append(dataset if complete.all() else dataset.select(complete))
            if not complete.all():
                whose = "the reference's " if dataset is basis.reference else ""
                notes.append(
                    f"the {complete.sum():,} of {whose}{len(complete):,} episodes whose {' and '.join(cut)} are all there"
                )
        if all(part.total_episodes for part in parts):
            reference = parts[1] if len(parts) > 1 else None
            yield replace(basis, dataset=parts[0], reference=reference, _results={}), ", ".join(notes)
