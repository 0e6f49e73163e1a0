"""Distances between two datasets, which measure what a corruption, an augmentation or another policy changed.

P and Q are the distributions of rows [state, action, reward] of a dataset and a reference, on the reference's scale
(`assay.metrics.neighbours`), so that every distance is in standard deviations of the reference or has no unit. Here n
and m are the numbers of rows, D that of columns.

`sliced_wasserstein`, Bonneel et al. 2015, "Sliced and Radon Wasserstein barycenters of measures": the root of the mean,
over random directions u, of W_2^2 between the projections; W_2 of two samples on a line is exact, by their quantiles.
Non-negative; a shift by v gives |v| / sqrt(D). Two samples of one distribution give about 1/sqrt(n), not 0.

`mmd`, Gretton et al. 2012, "A kernel two-sample test" (equation 3): the unbiased estimate of the squared maximum mean
discrepancy, mean k(x, x') + mean k(y, y') - 2 mean k(x, y), pairs of different rows, k(x, y) = exp(-|x - y|^2 / 2 s^2)
with s the median distance of the pooled rows (of at most 1,000 of them). About 0 for equal distributions, negative by
chance, below 2. It sees differences as wide as s and few that are narrower.

`kl_divergence`, Wang, Kulkarni and Verdu 2009, "Divergence estimation for multidimensional densities via
k-nearest-neighbor distances", of P from Q in nats:

    D/n sum_i log(nu_k(i) / rho_k(i)) + log(m / (n - 1))

with nu_k(i), rho_k(i) the distances of row i to its k-th neighbour in the reference and among the other rows, k = 5.
Non-negative up to error; unbounded. It says how surprising the dataset is under the reference: large if it goes where
the reference never was, small if it is a narrow part of the reference. Distances below 1e-6 standard deviations count
as 1e-6. In many dimensions it does not see noise that is small against the distances between neighbours.

`ks_distances`: of each column, the largest difference between the two distribution functions (Smirnov 1939); 0 to 1.
The maximum belongs to the column that changed most. Correlations between columns are not seen.

If the distances to the data that an algorithm was tuned on are small, expect similar results. If they are large after a
transform, the measure that is large says what changed: KS one column, MMD and Wasserstein the whole cloud, KL that
there are new places. None of them sees a change of the next observations alone (corrupted dynamics); `transition_noise`
does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from assay.metrics.coverage import pair
from assay.metrics.entropy import FINEST
from assay.metrics.estimates import leaving_out, of_sample
from assay.metrics.measures import Basis, Measure, Measures, NotMeasurable, register_group
from assay.metrics.neighbours import Scaling, StepSample, kth_without, nearest, search, some_of

__all__ = ["kl_divergence", "ks_distances", "mmd", "sliced_wasserstein"]

K = 5
DIRECTIONS = 100
MMD_ROWS = 2_000
_MEDIAN_ROWS = 1_000
_KNOWN = 12  # neighbours to fall back on where a block of rows is left out


def sliced_wasserstein(rows: np.ndarray, reference: np.ndarray, directions: int = DIRECTIONS, seed: int = 0) -> float:
    """Return the sliced 2-Wasserstein distance.

    Parameters
    ----------
    rows : (n, D) floats, finite
    reference : (m, D) floats, finite
        On the same scale.
    directions : int
        Number of random directions.
    seed : int

    Returns
    -------
    float
        Non-negative, in units of the columns.

    Raises
    ------
    NotMeasurable
        If one of them has no rows.

    Examples
    --------
    >>> rows = np.array([[0.0], [1.0], [2.0]])
    >>> round(sliced_wasserstein(rows + 3, rows), 6), sliced_wasserstein(rows[::-1], rows)
    (3.0, 0.0)
    """
    rows, reference = _checked(rows, reference, 1)
    towards = _directions(rows.shape[1], directions, seed)
    return _projected_distance(towards @ rows.T, towards @ reference.T)


def mmd(rows: np.ndarray, reference: np.ndarray, bandwidth: float | None = None) -> float:
    """Return the unbiased estimate of the squared maximum mean discrepancy, with a Gaussian kernel.

    Parameters
    ----------
    rows : (n, D) floats, finite
    reference : (m, D) floats, finite
    bandwidth : float, optional
        s; default the median distance between pooled rows (of at most 1,000, evenly spaced), 1 if that is 0.

    Returns
    -------
    float
        About 0 to 2; cost and memory are quadratic in the rows.

    Raises
    ------
    NotMeasurable
        If one of them has fewer than two rows.

    Examples
    --------
    >>> mmd(np.array([[0.0], [0.0]]), np.array([[99.0], [99.0]]), bandwidth=1.0)  # 1 + 1 - 2 * 0
    2.0
    """
    rows, reference = _checked(rows, reference, 2)
    kernels = _kernels(rows, reference, _bandwidth(rows, reference) if bandwidth is None else bandwidth)
    return _mmd_of(kernels, np.arange(len(rows)), np.arange(len(reference)))


def kl_divergence(rows: np.ndarray, reference: np.ndarray, k: int = K) -> float:
    """Return the Kullback-Leibler divergence of the rows' distribution from the reference's, in nats.

    Parameters
    ----------
    rows : (n, D) floats, finite
    reference : (m, D) floats, finite
    k : int

    Returns
    -------
    float
        Non-negative up to error.

    Raises
    ------
    NotMeasurable
        If there are k rows or fewer, or fewer than k of the reference.

    Examples
    --------
    >>> generator = np.random.default_rng(0)
    >>> rows, reference = generator.normal(1, 1, (3000, 1)), generator.standard_normal((3000, 1))
    >>> bool(abs(kl_divergence(rows, reference) - 0.5) < 0.1)  # of N(1, 1) from N(0, 1): 1/2
    True
    """
    rows, reference = _checked(rows, reference, 1)
    _require_neighbours(rows, reference, k)
    across, own = search(reference, rows, k)[0][:, -1], nearest(rows, k).distances[:, -1]
    return float(_kl_terms(across, own, (len(rows), len(reference)), rows.shape[1]).mean())


def ks_distances(rows: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return the two-sample Kolmogorov-Smirnov statistic of every column.

    Parameters
    ----------
    rows : (n, D) floats, finite
    reference : (m, D) floats, finite

    Returns
    -------
    (D,) float64
        0 to 1.

    Raises
    ------
    NotMeasurable
        If one of them has no rows.

    Examples
    --------
    >>> ks_distances(np.array([[0.0, 5.0], [1.0, 6.0]]), np.array([[1.0, 0.0], [2.0, 1.0]])).tolist()
    [0.5, 1.0]
    """
    rows, reference = _checked(rows, reference, 1)
    return np.array([_ks(np.sort(a), np.sort(b)) for a, b in zip(rows.T, reference.T)])


def _checked(rows: np.ndarray, reference: np.ndarray, least: int) -> tuple[np.ndarray, np.ndarray]:
    rows, reference = np.asarray(rows, np.float64), np.asarray(reference, np.float64)
    if min(len(rows), len(reference)) < least:
        raise NotMeasurable(f"a distance needs at least {least} rows of each, not {len(rows)} and {len(reference)}")
    return rows, reference


def _directions(columns: int, number: int, seed: int) -> np.ndarray:
    """Return unit vectors evenly distributed over the sphere; (number, D)."""
    drawn = np.random.Generator(np.random.SFC64(seed)).standard_normal((number, columns))
    result: np.ndarray = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return result


def _projected_distance(rows: np.ndarray, reference: np.ndarray) -> float:
    """Return the root mean of W_2^2 over lines, each a row of the two arrays; (lines, n) and (lines, m)."""
    rows, reference = np.sort(rows, axis=1), np.sort(reference, axis=1)
    n, m = rows.shape[1], reference.shape[1]
    if n == m:
        return float(np.sqrt(((rows - reference) ** 2).mean()))
    # both quantile functions are constant between the places i/n and j/m
    places = np.union1d(np.arange(1, n + 1) / n, np.arange(1, m + 1) / m)
    widths = np.diff(places, prepend=0)
    middle = places - widths / 2
    differences = rows[:, (middle * n).astype(np.int64)] - reference[:, (middle * m).astype(np.int64)]
    return float(np.sqrt((differences**2 @ widths).mean()))


def _ks(rows: np.ndarray, reference: np.ndarray) -> float:
    rows, reference = np.sort(rows), np.sort(reference)
    places = np.concatenate([rows, reference])
    below = np.searchsorted(rows, places, side="right") / len(rows)
    return float(np.abs(below - np.searchsorted(reference, places, side="right") / len(reference)).max())


def _bandwidth(rows: np.ndarray, reference: np.ndarray) -> float:
    from scipy.spatial.distance import pdist

    pooled = np.concatenate([rows, reference])
    return float(np.median(pdist(pooled[some_of(len(pooled), _MEDIAN_ROWS)]))) or 1.0


def _kernels(rows: np.ndarray, reference: np.ndarray, s: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return k of all pairs, within rows, within the reference and across; 0 for a row with itself."""
    from scipy.spatial.distance import cdist

    pairs = ((rows, rows), (reference, reference), (rows, reference))
    xx, yy, xy = (np.exp(cdist(a, b, "sqeuclidean") / (-2 * s**2)) for a, b in pairs)
    np.fill_diagonal(xx, 0)
    np.fill_diagonal(yy, 0)
    return xx, yy, xy


def _mmd_of(kernels: tuple[np.ndarray, np.ndarray, np.ndarray], rows: np.ndarray, reference: np.ndarray) -> float:
    """Return the estimate from some rows of each side, given by their positions."""
    xx, yy, xy = kernels
    n, m = len(rows), len(reference)
    x, y = np.bincount(rows, minlength=len(xx)), np.bincount(reference, minlength=len(yy))
    return float(x @ xx @ x / (n * (n - 1)) + y @ yy @ y / (m * (m - 1)) - 2 * (x @ xy @ y) / (n * m))


def _kl_terms(across: np.ndarray, own: np.ndarray, sizes: tuple[int, int], columns: int) -> np.ndarray:
    """Return the terms of the sum, from the distances to the k-th neighbours in the reference and in the dataset."""
    ratios = np.maximum(across, FINEST) / np.maximum(own, FINEST)
    result: np.ndarray = columns * np.log(ratios) + np.log(sizes[1] / max(1, sizes[0] - 1))
    return result


def _require_neighbours(rows: np.ndarray, reference: np.ndarray, k: int) -> None:
    if len(rows) <= k or len(reference) < k:
        raise NotMeasurable(
            f"the divergence by {k} neighbours needs more than {k} rows of each, not {len(rows)} and {len(reference)}"
        )


# -------------------------------------------------------------------- for the table


@register_group("distance", order=150, of_steps=True)
def measures(basis: Basis) -> Measures:
    """Return `sliced_wasserstein`, `mmd`, `kl_divergence`, `ks_mean` and `ks_max`."""

    def both() -> tuple[StepSample, StepSample, np.ndarray, np.ndarray]:
        def join() -> tuple[StepSample, StepSample, np.ndarray, np.ndarray]:
            ours, theirs, rows, reference = pair(basis)
            mine, others = ours.numbers("rewards"), theirs.numbers("rewards")
            scaling = Scaling.of(others, mine)
            return ours, theirs, np.hstack([rows, scaling(mine)]), np.hstack([reference, scaling(others)])

        return basis.cache("pair with rewards", join)

    def note(ours: StepSample, theirs: StepSample, which: str) -> str:
        return f"{which}; {ours.note}; {theirs.dataset.info.id or 'reference'}: {theirs.note}"

    def left(block: int | None, ours: StepSample, theirs: StepSample) -> tuple[np.ndarray, np.ndarray]:
        """Return the steps of each sample that are not in the block that is left out."""
        return ours.blocks != of_sample(block, 0), theirs.blocks != of_sample(block, 1)

    def wasserstein() -> Measure:
        ours, theirs, rows, reference = both()
        _checked(rows, reference, 1)
        towards = _directions(rows.shape[1], DIRECTIONS, basis.seed)
        mine, others = towards @ rows.T, towards @ reference.T

        def statistic(block: int | None) -> float:
            some, other = left(block, ours, theirs)
            return _projected_distance(mine[:, some], others[:, other]) if some.any() and other.any() else float("nan")

        value, interval = leaving_out(statistic, ours.blocks, theirs.blocks)
        which = f"Bonneel et al. 2015, W2 of (s, a, r), {DIRECTIONS} directions"
        return Measure(value, "standard deviations", note(ours, theirs, which), interval)

    def discrepancy() -> Measure:
        ours, theirs, rows, reference = both()
        some = some_of(len(rows), MMD_ROWS)  # as many as of the reference
        if len(some) < 2:
            raise NotMeasurable("the discrepancy needs two steps of each")
        kernels = _kernels(rows[some], reference[some], _bandwidth(rows, reference))

        def statistic(block: int | None) -> float:
            mine, others = (np.flatnonzero(kept[some]) for kept in left(block, ours, theirs))
            return _mmd_of(kernels, mine, others) if min(len(mine), len(others)) > 1 else float("nan")

        value, interval = leaving_out(statistic, ours.blocks[some], theirs.blocks[some])
        which = f"Gretton et al. 2012, unbiased squared MMD of (s, a, r), median bandwidth, {len(some):,} rows of each"
        return Measure(value, "squared kernel distance", note(ours, theirs, which), interval)

    def divergence() -> Measure:
        ours, theirs, rows, reference = both()
        _require_neighbours(rows, reference, K)
        asked = some_of(len(rows))
        own = nearest(rows, _KNOWN, asked)
        distances, found = search(reference, rows[asked], min(_KNOWN, len(reference)))

        def statistic(block: int | None) -> float:
            mine, others = left(block, ours, theirs)
            if not mine[asked].any() or not others.any():
                return float("nan")
            across, _ = kth_without(distances, theirs.blocks[found], of_sample(block, 1), K)
            among, _ = kth_without(own.distances, ours.blocks[own.rows], of_sample(block, 0), K)
            terms = _kl_terms(across, among, (int(mine.sum()), int(others.sum())), rows.shape[1])
            return float(terms[mine[asked]].mean())

        value, interval = leaving_out(statistic, ours.blocks, theirs.blocks)
        which = f"Wang et al. 2009, KL of (s, a, r) from the reference's, k={K}, {len(asked):,} rows asked"
        return Measure(value, "nats", note(ours, theirs, which), interval)

    def smirnov(summary: Callable[[np.ndarray], Any], which: str) -> Measure:
        ours, theirs, rows, reference = both()
        _checked(rows, reference, 1)

        def statistic(block: int | None) -> float:
            some, other = left(block, ours, theirs)
            if not some.any() or not other.any():
                return float("nan")
            found = basis.cache(f"ks without {block}", lambda: ks_distances(rows[some], reference[other]))
            return float(summary(found))

        value, interval = leaving_out(statistic, ours.blocks, theirs.blocks).within(0, 1)
        source = note(ours, theirs, f"Kolmogorov-Smirnov, {which} of {rows.shape[1]} columns of (s, a, r)")
        return Measure(value, "difference of distribution functions", source, interval)

    return {
        "sliced_wasserstein": wasserstein,
        "mmd": discrepancy,
        "kl_divergence": divergence,
        "ks_mean": lambda: smirnov(np.mean, "mean"),
        "ks_max": lambda: smirnov(np.max, "largest"),
    }
