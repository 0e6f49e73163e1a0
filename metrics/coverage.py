"""How much of a reference's states and actions a dataset has rows near to, in continuous spaces.

Both datasets are looked at through samples of equal size n, on the reference's scale (`assay.metrics.neighbours`).
Around each row j of the reference lies a ball that reaches to its own k-th nearest row of the reference, k = 5: what
counts as near is what is near in the reference itself.

    coverage = share of reference rows j with a row of the dataset in the ball of j
    inside   = share of dataset rows x that lie in the ball of the reference row nearest to x

Coverage is that of Naeem et al. 2020, "Reliable Fidelity and Diversity Metrics for Generative Models", who replaced the
recall of Kynkaanniemi et al. 2019. `inside` is the precision of the latter with the one ball of the nearest row in
place of all balls, of which those around outliers are so large that they hold anything (the fault that Naeem et al.
find).

Both are between 0 and 1. Two samples of one distribution have, whatever it is and in any dimension, an expected
coverage of

    1 - (n-1)...(n-k) / ((2n-1)...(2n-k)), about 1 - 2^-k = 0.969 for k = 5.

High coverage: whatever the reference does, the dataset has been near; learning what the reference's policy is worth is
interpolation. Low coverage with high `inside`: the dataset is a narrow part of the reference, fit for imitation. Low
`inside`: it goes where the reference does not, such as noise or a policy from elsewhere. Both depend on n: more rows,
smaller balls. They are compared at equal n only, which the `source` of the table states. A dataset and its own variant
are compared by different steps of the two.
"""

from __future__ import annotations

import numpy as np

from assay.metrics.estimates import leaving_out, of_sample
from assay.metrics.measures import Basis, Measure, Measures, NotMeasurable, register_group, sample_steps
from assay.metrics.neighbours import Sample, kth_without, nearest, paired_rows, search, some_of

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
        0 to 1; the module's text says what two equal distributions have.

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
    """Return the share of rows that are no farther from the nearest reference row than that is from its k-th neighbour.

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


def pair(basis: Basis) -> tuple[Sample, Sample, np.ndarray, np.ndarray]:
    """Return samples of equal size of the dataset and the reference, and their rows on the reference's scale.

    Two datasets of equal episode lengths may be variants of each other, or the same. Of those no step is taken from
    both: a row that meets itself in the reference is no sign of coverage, and spoils divergences.
    """
    reference = basis.require_reference()

    def draw() -> tuple[Sample, Sample, np.ndarray, np.ndarray]:
        if np.array_equal(basis.dataset.episode_lengths, reference.episode_lengths):
            size = min(2 * basis.sample, reference.total_steps)
            steps = sample_steps(reference, size, basis.seed)
            chosen = np.random.Generator(np.random.PCG64(basis.seed)).permutation(size)
            ours, theirs = (
                Sample.at(which, steps[np.sort(half)], basis.seed)
                for which, half in ((basis.dataset, chosen[: size // 2]), (reference, chosen[size // 2 :][: size // 2]))
            )
        else:
            size = min(basis.sample, basis.dataset.total_steps, reference.total_steps)
            ours, theirs = Sample.of(basis.dataset, size, basis.seed), Sample.of(reference, size, basis.seed + 1)
        return ours, theirs, *paired_rows(ours, theirs)

    return basis.once("pair", draw)


@register_group("overlap", order=90)
def measures(basis: Basis) -> Measures:
    """Return `coverage` and `inside_reference`."""

    def source(ours: Sample, theirs: Sample, which: str, asked: int) -> str:
        label = theirs.dataset.info.id or "reference"
        return f"{which}, k={K}; {ours.said}; {label}: {theirs.said}; {asked:,} balls"

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
