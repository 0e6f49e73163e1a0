"""TQ, trajectory quality: how good the behaviour in a dataset is, between a random and the best known policy.

Source: Schweighofer et al., "A Dataset Perspective on Offline Reinforcement Learning", CoLLAs 2022, arXiv 2111.04714;
published code `source/evaluator.py` and `source/plotting/create_plots.py` of ml-jku/OfflineRL.

    TQ(D) = (mean return of D - mean return of D_min) / (best return - mean return of D_min)

The mean is over the completed episodes of D. D_min is the random dataset of the same environment. The paper's text
takes the mean return of the expert dataset as the best return. The code takes the largest of the 500 greedy evaluations
of the online run, so that the TQ of the expert dataset may be above or below 1. Here the caller chooses both
references:

    tq(d)                                          those of d.info.references (a catalog dataset carries the catalog's)
    tq(d, references="d4rl")                       D4RL's random and expert returns for the body (the D4RL notebook's)
    tq(d, references="catalog")                    those that the catalog gives for the environment of d
    tq(d, random=random_data, best=expert_data)    mean completed returns of two datasets, as in the paper's text
    tq(d, random_return=..., best_return=...)      two numbers, such as the code's best evaluation

Each of the last two kinds overrides one reference or both. TQ is not clipped: a dataset may be worse than random or
better than the best. With high TQ, imitation (BC) is competitive with the best offline methods; methods that constrain
the policy (BCQ, CQL, CRR) do well with high TQ or high SACo; with low TQ an algorithm must improve on what it is shown.

An episode is completed if its last step is a termination or a truncation. The published code sums rewards up to each
done flag and so drops the partial episode at the end of the buffer; here that is an episode whose last step has neither
flag, and `partial="count"` counts it with the reward it has. If a collector sets the truncation flag where it stopped
in the middle of an episode, the episode counts as completed, because the flag looks like that of a time limit.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError, DatasetError
from assay.datasets.info import ReferenceScores, reference_scores
from assay.metrics.measures import Basis, Measure, Measures, NotMeasurable, bootstrap_interval, register_group
from assay.metrics.returns import finite_returns, last_steps

__all__ = ["tq"]


def tq(
    dataset: Dataset,
    random_return: float | None = None,
    best_return: float | None = None,
    *,
    random: Dataset | None = None,
    best: Dataset | None = None,
    references: Literal["own", "d4rl", "catalog"] | ReferenceScores = "own",
    partial: Literal["drop", "count"] = "drop",
) -> float:
    """Return the trajectory quality (the module's text has definition and source).

    Parameters
    ----------
    dataset : Dataset
        Only episodes whose last step is a termination or a truncation count.
    random_return, best_return : float, optional
        Undiscounted returns that map to 0 and 1.
    random, best : Dataset, optional
        Datasets whose mean return maps to 0 or 1, over the same episodes as for the dataset itself.
    references : "own", "d4rl", "catalog" or ReferenceScores
        Source of a reference that is not given otherwise.
    partial : "drop" or "count"
        Whether episodes without a flag at their end are left out or counted.

    Returns
    -------
    float
        Unbounded; 0 is random, 1 the best reference.

    Raises
    ------
    ConfigError
        If a reference is neither given nor known, is given twice, is not finite, or both are equal.
    DatasetError
        If no episode is completed, or a return is not finite.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.zeros(5), actions=np.zeros(3), rewards=[1.0, 1.0, 4.0],
    ...     terminations=[False, True, False], truncations=[False, False, True])
    >>> tq(dataset, random_return=1.0, best_return=5.0)  # returns 2 and 4
    0.5
    >>> tq(dataset, random=dataset.select([0]), best=dataset.select([1]))
    0.5
    """
    if partial not in ("drop", "count"):
        raise ConfigError(f"partial={partial!r}: episodes without a flag at their end can be drop or count")
    given = []
    for name, value, source in (("random", random_return, random), ("best", best_return, best)):
        if value is not None and source is not None:
            raise ConfigError(f"TQ needs one {name} reference: pass either {name}_return or {name}, not both")
        given.append(value if source is None else float(_counted_returns(source, partial).mean()))
    low, high = quality_references(dataset, *given, references=references)
    return float((_counted_returns(dataset, partial).mean() - low) / (high - low))


def quality_references(
    dataset: Dataset,
    random_return: float | None = None,
    best_return: float | None = None,
    *,
    references: str | ReferenceScores = "own",
) -> tuple[float, float]:
    """Return the two reference returns of `tq`, or raise ConfigError saying which one to pass."""
    known = None if None not in (random_return, best_return) else _known_references(dataset, references)
    low = random_return if random_return is not None or known is None else known.random
    high = best_return if best_return is not None or known is None else known.expert
    missing = [name for name, value in (("random_return", low), ("best_return", high)) if value is None]
    if low is None or high is None:
        raise ConfigError(
            f"TQ needs reference returns and the dataset has none: pass {' and '.join(missing)}, "
            "or set reference_scores in the dataset's info"
        )
    if not (math.isfinite(low) and math.isfinite(high)) or low == high:
        raise ConfigError(f"TQ needs two finite and different references, not {low:g} and {high:g}")
    return float(low), float(high)


def _known_references(dataset: Dataset, references: str | ReferenceScores) -> ReferenceScores | None:
    environment = dataset.info.environment_id
    if isinstance(references, ReferenceScores):
        return references
    if references == "own":
        return dataset.info.references
    if references == "d4rl":
        found = None if environment is None else reference_scores(environment)
    elif references == "catalog":
        from assay.datasets.collection.catalog import catalog

        entries = (entry for entry in catalog().values() if entry.environment_id == environment)
        found = next((entry.reference_scores for entry in entries), None)
    else:
        raise ConfigError(f"references={references!r}: known are own, d4rl, catalog and a ReferenceScores")
    if found is None:
        raise ConfigError(
            f"{'D4RL' if references == 'd4rl' else 'the catalog'} has no reference returns for "
            f"{environment or 'a dataset whose environment is unknown'}: pass random_return and best_return"
        )
    return found


def _counted_returns(dataset: Dataset, partial: str) -> np.ndarray:
    return finite_returns(dataset) if partial == "count" else completed_returns(dataset)


def completed_returns(dataset: Dataset) -> np.ndarray:
    """Return the returns of the episodes that end in a termination or a truncation."""
    if not any_completed(dataset):
        raise DatasetError("no episode is completed: none ends in a termination or a truncation")
    returns: np.ndarray = finite_returns(dataset)[_completed(dataset)]
    return returns


def any_completed(dataset: Dataset) -> bool:
    """Tell whether any episode is completed."""
    return bool(_completed(dataset).any())


def _completed(dataset: Dataset) -> np.ndarray:
    lasts = last_steps(dataset)
    completed: np.ndarray = dataset.terminations[lasts] | dataset.truncations[lasts]
    return completed


# -------------------------------------------------------------------- for the table


@register_group("quality", order=40)
def measures(basis: Basis) -> Measures:
    """Return `tq`."""

    def quality() -> Measure:
        dataset, references = basis.dataset, basis.dataset.info.references
        if references is None:
            raise NotMeasurable("TQ needs reference scores, and the dataset's info has none")
        if not any_completed(dataset):
            raise NotMeasurable("TQ averages over completed episodes, and there is none")
        random, best = quality_references(dataset)
        interval = bootstrap_interval((completed_returns(dataset) - random) / (best - random), basis.seed)
        source = f"Schweighofer et al. 2022, TQ; {references.source}"
        return Measure(tq(dataset), "0 random, 1 best", source, interval)

    return {"tq": quality}
