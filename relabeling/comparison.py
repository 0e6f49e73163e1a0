"""The variants of a semi-supervised experiment, for suites to call by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from assay.datasets.errors import UnknownNameError
from assay.datasets.transform import register_variants

__all__ = ["semi_supervised"]

METHODS: Mapping[str, str] = {
    "labelled only": "relabeling.labelled_only",
    "proxy": "relabeling.inverse_dynamics",
    "one step": "relabeling.one_step_actions",
    "nearest neighbour": "relabeling.nearest_neighbour_actions",
    "latent": "relabeling.latent_actions",
}
"""Names in tables, and the transforms that they stand for."""


@register_variants("relabeling.semi_supervised")
def semi_supervised(
    fractions: Sequence[float] = (0.1,),
    quantiles: Sequence[Sequence[float]] = ((0.0, 0.5),),
    methods: Sequence[str] = ("labelled only", "proxy", "nearest neighbour"),
    seed: int = 0,
) -> dict[str, list[Any]]:
    """Return one variant for each method, share of labelled episodes, and range of their returns.

    Parameters
    ----------
    fractions : sequence of float
        Of all episodes that keep their actions; as in `HideActions`.
    quantiles : sequence of (low, high)
        Ranges of the returns that they are drawn from.
    methods : sequence of str
        What is done about the others: "labelled only" leaves them out, "proxy" is `InverseDynamicsLabels`, "one step",
        "nearest neighbour" and "latent" are the baselines.
    seed : int
        Of the choice of episodes, and of the models.

    Examples
    --------
    >>> list(semi_supervised(methods=["proxy"], quantiles=[(0.0, 0.5), (0.0, 1.0)]))
    ['proxy 10% of 0-50%', 'proxy 10% of 0-100%']
    """
    made = {}
    for method in methods:
        if method not in METHODS:
            raise UnknownNameError("method", method, METHODS)
        for fraction in fractions:
            for low, high in quantiles:
                hidden = {"fraction": fraction, "quantiles": [low, high], "seed": seed}
                parameters = {} if method == "labelled only" else {"seed": seed}
                name = f"{method} {100 * fraction:g}% of {100 * low:g}-{100 * high:g}%"
                made[name] = [{"relabeling.hide_actions": hidden}, {METHODS[method]: parameters}]
    return made
