"""How much of the error rate each look at a growing trial may spend.

Who looks after every batch of seeds and stops at the first p value below alpha is wrong far more often than alpha. So the rate
is spent over the looks, little at first (Lan & DeMets 1983, "Discrete sequential boundaries for clinical trials", Biometrika
70), by the function of O'Brien and Fleming's kind

    alpha*(t) = 2 - 2 Phi(z[1 - alpha/2] / sqrt(t)),       t = seeds so far / seeds at the last look

Look k may use what is allowed by then and not used yet: `alpha_k = alpha*(t_k) - sum of alpha_j, j < k`. It rejects when the
exact p value of all seeds so far is at most alpha_k. The levels sum to at most alpha, so the probability of any wrong
rejection is at most alpha, whatever the joint distribution of the looks; this is a little conservative. The intervals at the
levels 1 - alpha_k cover together, at all looks, with probability 1 - alpha.

The same levels hold the rate on the other side. An equivalence is tested at alpha_k at look k, so that data whose difference is the
margin is ever called equivalent with probability alpha at most. Giving up for futility spends beta = 1 - power by the same function: data
whose difference is worth finding is ever given up with probability beta at most. What is given up gets no verdict, so that alpha need
not know of it ("non-binding": one may also go on).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from assay.analysis.trials.sign_flip import smallest_p_value
from assay.datasets.errors import ConfigError

__all__ = ["levels_of_looks", "spent_by"]


def spent_by(share: float, alpha: float = 0.05) -> float:
    """Return how much of `alpha` may be spent by this share of the seeds.

    Examples
    --------
    >>> [round(spent_by(share), 4) for share in (0.25, 0.5, 0.75, 1.0)]
    [0.0001, 0.0056, 0.0236, 0.05]
    """
    from scipy.stats import norm

    return float(2 * norm.sf(norm.isf(alpha / 2) / math.sqrt(share)))


def levels_of_looks(seeds: Sequence[int], alpha: float = 0.05, comparisons: int = 1) -> tuple[float, ...]:
    """Return the level of each look.

    Parameters
    ----------
    seeds : sequence of int
        How many there are at each look, growing; the last one is the most that there can be.
    alpha : float
    comparisons : int
        That share the level of a look.

    Returns
    -------
    tuple of float
        0 at a look, but the last, with too few seeds to reject anything at its level. What it cannot use is left to the next one.

    Raises
    ------
    ConfigError
        If the numbers do not grow.

    Examples
    --------
    >>> [round(level, 4) for level in levels_of_looks([4, 8, 12, 16])]
    [0.0, 0.0, 0.0236, 0.0264]
    >>> levels_of_looks([16])
    (0.05,)
    >>> [round(level, 4) for level in levels_of_looks([8, 12, 16], comparisons=60)]
    [0.0, 0.0, 0.05]
    """
    if not seeds or seeds[0] < 1 or any(later <= earlier for earlier, later in pairwise(seeds)):
        raise ConfigError(f"the looks are after {list(seeds)} seeds; the numbers have to grow, from 1 at least")
    levels: list[float] = []
    for count in seeds[:-1]:
        level = spent_by(count / seeds[-1], alpha) - sum(levels)
        levels.append(level if smallest_p_value(count) <= level / comparisons else 0.0)
    return (*levels, alpha - sum(levels))
