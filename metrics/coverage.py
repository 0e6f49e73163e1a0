"""Coverage of a reference in continuous spaces: the share of its states and actions that have rows of a dataset nearby.

Both datasets are sampled to equal size n and put on the reference's scale (`assay.metrics.neighbours`). The ball of a
row j of the reference reaches to the k-th nearest other row of the reference, k = 5. So the reference itself decides
what is near.

    coverage = share of reference rows j with a row of the dataset in the ball of j
    inside   = share of dataset rows x that lie in the ball of the reference row nearest to x

Coverage is that of Naeem et al. 2020, "Reliable Fidelity and Diversity Metrics for Generative Models", who replaced the
recall of Kynkaanniemi et al. 2019. `inside` is the precision of the latter, but only the ball of the nearest row
counts: the balls around outliers are so large that they hold nearly everything, as Naeem et al. found.

Both are between 0 and 1. For two samples of one distribution, in any dimension, the expected coverage is

    1 - (n-1)...(n-k) / ((2n-1)...(2n-k)), about 1 - 2^-k = 0.969 for k = 5.

High coverage: the dataset has rows near everything that the reference does, and the value of the reference's policy can
be learned by interpolation. Low coverage with high `inside`: the dataset is a narrow part of the reference, good for
imitation. Low `inside`: the dataset goes where the reference does not, as with noise or another policy. More rows make
smaller balls, so compare at equal n only; the `source` of the table states n. A dataset and a variant of it are
compared by different steps, so that no row meets itself.
"""

from __future__ import annotations

import numpy as np

from assay.metrics.estimates import leaving_out, of_sample
from assay.metrics.measures import Basis, Measure, Measures, NotMeasurable, register_group, sample_steps
from assay.metrics.neighbours import StepSample, kth_without, nearest, paired_rows, search, some_of

__all__ = ["coverage", "inside"]

K = 5
_KNOWN = 12  # neighbours to fall back on where a block of rows is left out
_NEAREST = 3
_INSIDE_QUERIES = 2_500


def coverage(rows: np.ndarray, reference: np.ndarray, k: int = K) -> float:
    """Return the share of reference rows that have a row within the distance to their own k-th neighbour.

    Parameters
    ----------
    rows : (n, D) floats, finite
    reference : (m, D) floats
        On the same scale; `paired_rows` makes both.
    k : int

    Returns
    -------
    float
        0 to 1; the module's text has the value for two equal distributions.

    Raises
    ------
    NotMeasurable
        If there are no rows, or k reference rows or fewer.

    Examples
    --------
    >>> reference = np.array([[0.0], [1.0], [2.0], [10.0]])
    >>> coverage(np.array([[1.5]]), reference, k=1)  # within 1 of 1 and of 2, and within 8 of 10
    0.5
    """
    _require(rows, reference, k)
    return float((search(rows, reference, 1)[0][:, 0] <= nearest(reference, k).distances[:, -1]).mean())


def inside(rows: np.ndarray, reference: np.ndarray, k: int = K) -> float:
    """Return the share of rows that lie in the ball of the reference row nearest to them.

    Parameters
    ----------
    rows, reference, k
        As in `coverage`.

    Examples
    --------
    >>> inside(np.array([[1.5], [-3.0]]), np.array([[0.0], [1.0], [2.0]]), k=1)
    0.5
    """
    _require(rows, reference, k)
    distances, found = search(reference, rows, 1)
    return float((distances <= nearest(reference, k).distances[:, -1][found]).mean())


def _require(rows: np.ndarray, reference: np.ndarray, k: int) -> None:
    if not len(rows) or len(reference) <= k:
        raise NotMeasurable(
            f"coverage by {k} neighbours needs rows and more than {k} of the reference, not {len(rows)} and "
            f"{len(reference)}"
        )


# -------------------------------------------------------------------- for the table


def pair(basis: Basis) -> tuple[StepSample, StepSample, np.ndarray, np.ndarray]:
    """Return samples of equal size of the dataset and the reference, and their rows on the reference's scale.

    Two datasets of equal episode lengths may be variants of one dataset. Then no step is taken from both, because a row
    that meets itself in the reference would count as covered, and would break divergences.
    """
    reference = basis.require_reference()

    def draw() -> tuple[StepSample, StepSample, np.ndarray, np.ndarray]:
        if np.array_equal(basis.dataset.episode_lengths, reference.episode_lengths):
            size = min(2 * basis.sample, reference.total_steps)
            steps = sample_steps(reference, size, basis.seed)
            chosen = np.random.Generator(np.random.PCG64(basis.seed)).permutation(size)
            ours, theirs = (
                StepSample.at(which, steps[np.sort(half)], basis.seed)
                for which, half in ((basis.dataset, chosen[: size // 2]), (reference, chosen[size // 2 :][: size // 2]))
            )
        else:
            size = min(basis.sample, basis.dataset.total_steps, reference.total_steps)
            ours, theirs = (
                StepSample.of(basis.dataset, size, basis.seed),
                StepSample.of(reference, size, basis.seed + 1),
            )
        return ours, theirs, *paired_rows(ours, theirs)

    return basis.cache("pair", draw)


@register_group("overlap", order=90, of_steps=True)
def measures(basis: Basis) -> Measures:
    """Return `coverage` and `inside_reference`."""

    def source(ours: StepSample, theirs: StepSample, which: str, asked: int) -> str:
        label = theirs.dataset.info.id or "reference"
        return f"{which}, k={K}; {ours.note}; {label}: {theirs.note}; {asked:,} balls"

    def covered_share() -> Measure:
        ours, theirs, rows, reference = pair(basis)
        _require(rows, reference, K)
        asked = some_of(len(reference))
        own = nearest(reference, _KNOWN, asked)
        distances, found = search(rows, reference[asked], min(_NEAREST, len(rows)))

        def share(block: int | None) -> float:
            mine, other = of_sample(block, 0), of_sample(block, 1)
            radii, _ = kth_without(own.distances, theirs.blocks[own.rows], other, K)
            near, _ = kth_without(distances, ours.blocks[found], mine, 1)
            return _mean((near <= radii)[theirs.blocks[asked] != other])

        value, interval = leaving_out(share, ours.blocks, theirs.blocks).within(0, 1)
        return Measure(value, "fraction of reference", source(ours, theirs, "Naeem et al. 2020", len(asked)), interval)

    def inside_share() -> Measure:
        ours, theirs, rows, reference = pair(basis)
        _require(rows, reference, K)
        asked = some_of(len(rows), _INSIDE_QUERIES)
        distances, found = search(reference, rows[asked], min(_NEAREST, len(reference)))
        centres, place = np.unique(found, return_inverse=True)
        place = place.reshape(found.shape)
        own = nearest(reference, _KNOWN, centres)

        def share(block: int | None) -> float:
            mine, other = of_sample(block, 0), of_sample(block, 1)
            radii, _ = kth_without(own.distances, theirs.blocks[own.rows], other, K)
            near, which = kth_without(distances, theirs.blocks[found], other, 1)
            return _mean((near <= radii[place[np.arange(len(asked)), which]])[ours.blocks[asked] != mine])

        value, interval = leaving_out(share, ours.blocks, theirs.blocks).within(0, 1)
        what = source(ours, theirs, "after Kynkaanniemi et al. 2019", len(asked))
        return Measure(value, "fraction of steps", what, interval)

    return {"coverage": covered_share, "inside_reference": inside_share}


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")
