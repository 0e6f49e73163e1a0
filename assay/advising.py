"""Advice on a dataset: measure it, place it on the quality plane, and compare what was trained near it.

It uses `assay.metrics` and `assay.analysis` together, which do not know each other.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from assay.analysis.advice import advice_on, findings_of, load_evidence
from assay.analysis.advice.advice import Advice, Place
from assay.analysis.advice.comparison import RADIUS
from assay.analysis.advice.findings import METRICS, has_discrete_actions
from assay.datasets.collection.catalog import catalog
from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError
from assay.datasets.info import ReferenceScores
from assay.datasets.loading import load
from assay.datasets.progress import Auto
from assay.datasets.recording import unrecorded
from assay.datasets.wording import count_of
from assay.metrics import assess
from assay.metrics.trajectory_quality import quality_references

if TYPE_CHECKING:
    from collections.abc import Callable

    import polars as pl

__all__ = ["advise"]


def advise(
    dataset: Dataset,
    reference: Dataset | None = None,
    *,
    random_return: float | None = None,
    best_return: float | None = None,
    bins: int | None = None,
    radius: float = RADIUS,
    evidence: pl.DataFrame | None = None,
    progress: Callable[[int, int, str], None] | Auto | None = "auto",
) -> Advice:
    """Say what to train on a dataset: algorithms that did well on measured datasets near it, and what the data itself shows.

    Parameters
    ----------
    dataset : Dataset
    reference : Dataset, optional
        What SACo is relative to: the replay of an online training in the same environment, with about as many steps. By default what
        the catalog has of that kind for the environment, of as many steps, which is collected where it is not there yet.
    random_return, best_return : float, optional
        Mean returns of uniform actions and of the best online policy, which TQ is relative to. By default those of the dataset's
        information, else the catalog's or D4RL's for its environment.
    bins : int, optional
        Edges per column of the grid that SACo counts on; default 100.
    radius : float
        Distance on the plane of TQ and SACo up to which a measured dataset counts as near.
    evidence : polars.DataFrame, optional
        In place of the runs that come with Assay: `assay.analysis.advice.evidence_of` of your own.
    progress : callable, optional
        As in `assay.metrics.assess`.

    Returns
    -------
    Advice
        `.table` compares the algorithms, `.findings` say what the data shows, `.evidence` holds the runs; `.refusal` is the reason where
        nothing measured is near. `print` shows one page, notebooks show tables, and `.write("advice.html")` writes a page.

    Raises
    ------
    DatasetError
        If the dataset has no episode.
    ConfigError
        If only one of the two returns is known, or the random one is not below the best one.

    Examples
    --------
    >>> import assay
    >>> cartpole = assay.load("cartpole/noisy", steps=1_000)
    >>> advice = assay.advise(cartpole, reference=assay.load("cartpole/mixed", steps=1_000))
    >>> advice.table["verdict"][0], len(advice.evidence) == advice.table["runs"].sum()
    ('advised', True)
    """
    known, origin = _references(dataset, random_return, best_return)
    notes, obstacles = [], []
    if known is None:
        obstacles.append("TQ needs the returns of a random and of the best policy (random_return and best_return)")
    else:
        notes.append(f"TQ: 0 is a return of {known.random:.4g}, 1 is {known.expert:.4g}; {origin}.")
    if reference is None:
        reference = _replay_of(dataset)
    if reference is None:
        obstacles.append("SACo needs the replay of an online training in the same environment (reference)")
    else:
        notes.append(
            f"SACo: 1 is the coverage of {reference.info.id or 'the reference'}, {count_of(reference.total_steps, 'step')}."
        )
    with unrecorded():
        measured = dataset.replace(info=dataclasses.replace(dataset.info, reference_scores=known))
    table = assess(measured, reference, ["quality", "state_actions", *METRICS], bins, progress=progress)
    values = {row["metric"]: row for row in table.iter_rows(named=True)}
    if known is not None and "tq" not in values:
        obstacles.append(table.skipped.get("tq", "no episode with all its rewards is completed, so there is no TQ"))
    if reference is not None and "saco" not in values:
        obstacles.append(table.skipped.get("saco", "SACo cannot be counted on these columns"))
    between = values["tq"]["interval"] if "tq" in values else None
    tq, saco, saturation = (values[name]["value"] if name in values else None for name in ("tq", "saco", "saturation"))
    place = Place(tq, saco, between and (between["low"], between["high"]), saturation, tuple(notes), tuple(obstacles))
    return advice_on(
        dataset.info.id or "dataset",
        place,
        load_evidence() if evidence is None else evidence,
        findings_of(dataset, dataset.validate(), table),
        actions="discrete" if has_discrete_actions(dataset) else "continuous",
        environment=dataset.info.environment_id,
        radius=radius,
    )


def _references(
    dataset: Dataset, random_return: float | None, best_return: float | None
) -> tuple[ReferenceScores | None, str]:
    """Return the returns that TQ is relative to, and where they come from; None where they are not known."""
    if random_return is not None or best_return is not None:
        return _ascending(*quality_references(dataset, random_return, best_return), "given"), "as given"
    if dataset.info.references is not None:
        source = dataset.info.references.source
        return _ascending(*quality_references(dataset), source), source
    for kind in ("catalog", "d4rl"):
        try:
            low, high = quality_references(dataset, references=kind)
        except ConfigError:
            continue
        origin = f"{'the catalog' if kind == 'catalog' else 'D4RL'} for {dataset.info.environment_id}"
        return ReferenceScores(low, high, origin), origin
    return None, ""


def _ascending(low: float, high: float, source: str) -> ReferenceScores:
    """Refuse references the wrong way round: what was measured is returns, of which more is better."""
    if low > high:
        raise ConfigError(
            f"advice needs a random return below the best one, not random_return={low:g} and best_return={high:g}"
        )
    return ReferenceScores(low, high, source)


def _replay_of(dataset: Dataset) -> Dataset | None:
    """Return the catalog's replay data of the dataset's environment, with as many steps; None where there is none."""
    environment = dataset.info.environment_id
    for name, entry in catalog().items():
        if entry.environment_id == environment and name.endswith("replay"):
            return load(name, steps=dataset.total_steps)
    return None
