r"""What of a dataset goes with what is learned from it: rank correlations and a mixed regression, over datasets.

The unit is the dataset: seeds of one dataset share its metrics, so a thousand runs on six datasets are six points. The mixed
model says so by a random intercept for each dataset,

.. math:: y_{di} = x_{di}^\top \beta + u_d + \varepsilon_{di}, \quad u_d \sim N(0, \tau^2), \; \varepsilon_{di} \sim N(0, \sigma^2)

fitted by restricted maximum likelihood (Patterson & Thompson 1971; Laird & Ware 1982). With one random intercept the
likelihood has one free number, :math:`\lambda = \tau^2 / \sigma^2`: given it, subtracting
:math:`(1 - 1 / \sqrt{1 + n_d \lambda})` of each dataset's mean makes the model an ordinary regression. So no library of mixed
models is needed; `benchmarks/aggregates.py` compares with statsmodels.

Intervals of coefficients use Student's t with (datasets - 1 - metrics) degrees of freedom, which is exact where every dataset
has equally many runs and :math:`\hat\tau > 0`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from assay.datasets.errors import ConfigError

__all__ = ["MixedModel", "mixed_model", "mixed_regression", "rank_correlations"]

_PREFIX = "metric/"
_FEWEST_FOR_INTERVAL = 5  # datasets
_FEWEST = 3  # datasets of an environment, for a correlation


# -------------------------------------------------------------------- rank correlations


def rank_correlations(
    runs: pl.DataFrame,
    metrics: Sequence[str] | None = None,
    metric: str = "score",
    by: str = "label",
    *,
    within: str | None = "environment",
    confidence: float = 0.95,
    reps: int = 2000,
    random_state: int = 0,
) -> pl.DataFrame:
    """Correlate dataset metrics with mean scores, by ranks (Spearman), over datasets.

    Parameters
    ----------
    runs : polars.DataFrame
        From `with_metrics(load_runs(...))`.
    metrics : sequence of str, optional
        Names without `metric/`; default all that the runs have.
    metric : str
        What was learned: `"score"`, `"return_mean"` or another number per run.
    by : str
        A correlation for each value of this column.
    within : str, optional
        Ranks are compared within each value of this column only, and the correlations are averaged, weighted by the number
        of datasets less one: an environment that is easy and whose datasets cover it well makes no correlation. None
        compares all datasets with each other.
    confidence, reps, random_state
        Nominal coverage, replicates and seed of the bootstrap over datasets (within each environment).

    Returns
    -------
    polars.DataFrame
        One row per name and metric: name (called as `by`), metric, correlation, low, high (null with fewer than five
        datasets), datasets, seeds (the fewest of any dataset), episodes (of each seed).

    Raises
    ------
    ConfigError
        If the runs have no metrics or no scores, or there are too few datasets.

    Examples
    --------
    >>> runs = pl.DataFrame({"label": "IQL", "fingerprint": list("abcd"), "seed": 0, "score": [10.0, 20.0, 30.0, 40.0],
    ...                      "metric/tq": [0.1, 0.2, 0.4, 0.9]})
    >>> rank_correlations(runs).select("metric", "correlation", "datasets").row(0)
    ('tq', 1.0, 4)
    """
    names = _names_of(runs, metrics)
    _need(runs, ["fingerprint", by, metric])
    rows: list[tuple[Any, ...]] = []
    for (name,), group in runs.filter(pl.col(metric).is_finite()).group_by(by, maintain_order=True):
        for called in names:
            points = _points(group, called, metric, within)
            groups = [part for part in points.partition_by("_within") if part.height >= _FEWEST]
            count = sum(part.height for part in groups)
            counts = (count, _least(points, "seeds"), _least(points, "episodes"))
            if not groups:
                rows.append((name, called, None, None, None, *counts))
                continue
            pairs = [part.select("x", "y").to_numpy().T for part in groups]
            generator = np.random.default_rng(random_state)
            value = _weighted(pairs)
            low = high = None
            if count >= _FEWEST_FOR_INTERVAL and value is not None:
                low, high = _bootstrapped(pairs, confidence, reps, generator)
            rows.append((name, called, value, low, high, *counts))
    if not rows:
        raise ConfigError(f"no run has a {metric}; finished runs with an evaluation have one")
    schema = {by: pl.String, "metric": pl.String, **dict.fromkeys(("correlation", "low", "high"), pl.Float64)}
    counted = dict.fromkeys(("datasets", "seeds", "episodes"), pl.Int64)
    return pl.DataFrame(rows, schema={**schema, **counted}, orient="row")


def _points(group: pl.DataFrame, called: str, metric: str, within: str | None) -> pl.DataFrame:
    """Return one row per dataset: x (the metric), y (the mean score), seeds, episodes."""
    place = pl.col(within) if within is not None and within in group.columns else pl.lit("all")
    known = group.filter(pl.col(_PREFIX + called).is_finite())
    if "episodes" not in known.columns:
        known = known.with_columns(pl.lit(None, pl.Int64).alias("episodes"))
    return known.group_by("fingerprint", place.alias("_within"), maintain_order=True).agg(
        pl.col(_PREFIX + called).first().cast(pl.Float64).alias("x"),
        pl.col(metric).mean().alias("y"),
        pl.len().alias("seeds"),
        pl.col("episodes").min(),
    )


def _least(points: pl.DataFrame, column: str) -> int | None:
    found: Any = points[column].min()
    return None if found is None else int(found)


def spearman(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return Spearman's correlations along the last axis; NaN where one side is constant. Ties have their mean rank.

    Examples
    --------
    >>> float(spearman(np.array([1.0, 2.0, 3.0]), np.array([10.0, 30.0, 20.0])))
    0.5
    """
    from scipy.stats import rankdata

    a, b = rankdata(x, axis=-1), rankdata(y, axis=-1)
    a, b = a - a.mean(-1, keepdims=True), b - b.mean(-1, keepdims=True)
    size = np.sqrt((a * a).sum(-1) * (b * b).sum(-1))
    with np.errstate(invalid="ignore", divide="ignore"):
        found: np.ndarray = np.where(size > 0, (a * b).sum(-1) / size, np.nan)
    return found


def _weighted(pairs: Sequence[np.ndarray]) -> float | None:
    """Return the mean of the correlations of (2, n) arrays, weighted by n - 1; None where a side is constant in all."""
    value = float(_mean_of_groups([spearman(x, y) for x, y in pairs], [pair.shape[-1] for pair in pairs]))
    return value if np.isfinite(value) else None


def _mean_of_groups(correlations: Sequence[np.ndarray], sizes: Sequence[int]) -> np.ndarray:
    found = np.stack(correlations)
    weights = np.where(np.isfinite(found), np.reshape(np.array(sizes) - 1.0, (-1, *(1,) * (found.ndim - 1))), 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: np.ndarray = (weights * np.nan_to_num(found)).sum(0) / weights.sum(0)
    return mean


def _bootstrapped(
    pairs: Sequence[np.ndarray], confidence: float, reps: int, generator: np.random.Generator
) -> tuple[float | None, float | None]:
    replicates = []
    for x, y in pairs:
        chosen = generator.integers(0, len(x), (reps, len(x)))
        replicates.append(spearman(x[chosen], y[chosen]))
    found = _mean_of_groups(replicates, [len(x) for x, _ in pairs])
    found = found[np.isfinite(found)]  # a resample of one dataset alone has no ranks
    if not len(found):
        return None, None
    tail = (1 - confidence) / 2
    low, high = np.quantile(found, (tail, 1 - tail))
    return float(low), float(high)


# -------------------------------------------------------------------- mixed regression


@dataclass(frozen=True)
class MixedModel:
    """A linear model with a random intercept for each group, fitted by restricted maximum likelihood.

    Parameters
    ----------
    coefficients : (k,) array
    covariance : (k, k) array
        Of the coefficients.
    between, within : float
        Variances of the groups' intercepts and of the residuals.
    """

    coefficients: np.ndarray
    covariance: np.ndarray
    between: float
    within: float


def mixed_model(response: np.ndarray, design: np.ndarray, groups: np.ndarray) -> MixedModel:
    """Fit a linear model with a random intercept for each group.

    Parameters
    ----------
    response : (n,) array
    design : (n, k) array
        With a column of ones for the intercept.
    groups : (n,) array
        Of which group each row is.

    Raises
    ------
    ConfigError
        If the columns of the design depend on each other, or leave no degree of freedom.

    Examples
    --------
    >>> design = np.stack([np.ones(6), [0, 0, 1, 1, 2, 2]], axis=1)
    >>> model = mixed_model(np.array([1.0, 3.0, 4.0, 6.0, 1.0, 3.0]), design, np.array([0, 0, 1, 1, 2, 2]))
    >>> model.coefficients.round(6).tolist()
    [3.0, 0.0]
    """
    from scipy.optimize import minimize_scalar

    y, x = np.asarray(response, np.float64), np.asarray(design, np.float64)
    rows, columns = x.shape
    if rows <= columns or np.linalg.matrix_rank(x) < columns:
        raise ConfigError(
            f"{rows} runs cannot tell {columns} coefficients apart: too few of them, or one metric follows from the others. "
            "Leave metrics out"
        )
    _, which = np.unique(groups, return_inverse=True)
    sizes = np.bincount(which).astype(np.float64)
    table = np.column_stack([x, y])
    means = np.stack([np.bincount(which, column) / sizes for column in table.T], axis=1)[which]

    def reduced(ratio: float) -> np.ndarray:
        share = 1 - 1 / np.sqrt(1 + sizes * ratio)
        return table - share[which, None] * means

    def deviance(ratio: float) -> float:
        white = reduced(ratio)
        q, r = np.linalg.qr(white[:, :columns])
        residual = white[:, -1] - q @ (q.T @ white[:, -1])
        logarithms = np.log1p(sizes * ratio).sum() + 2 * np.log(np.abs(np.diag(r))).sum()
        return float((rows - columns) * np.log(max(residual @ residual, 1e-300)) + logarithms)

    found = minimize_scalar(lambda power: deviance(float(np.exp(power))), bounds=(-14, 14), method="bounded")
    ratio = float(np.exp(found.x))
    ratio = ratio if deviance(ratio) < deviance(0.0) else 0.0
    white = reduced(ratio)
    inverse = np.linalg.inv(white[:, :columns].T @ white[:, :columns])
    coefficients = inverse @ (white[:, :columns].T @ white[:, -1])
    residual = white[:, -1] - white[:, :columns] @ coefficients
    within = float(residual @ residual / (rows - columns))
    return MixedModel(coefficients, within * inverse, ratio * within, within)


def mixed_regression(
    runs: pl.DataFrame,
    metrics: Sequence[str] | None = None,
    metric: str = "score",
    by: str | None = "label",
    *,
    confidence: float = 0.95,
) -> pl.DataFrame:
    """Regress scores on dataset metrics, with a random intercept for each dataset.

    Parameters
    ----------
    runs : polars.DataFrame
        From `with_metrics(load_runs(...))`. Runs that lack a metric or a score are left out.
    metrics : sequence of str, optional
        Names without `metric/`; default all that the runs have. Few at a time: each costs a degree of freedom, and datasets
        are few.
    metric : str
        What was learned: `"score"`, `"return_mean"` or another number per run.
    by : str, optional
        Levels of this column have intercepts of their own (fixed), so that algorithms may differ in level.
    confidence : float
        Of the intervals.

    Returns
    -------
    polars.DataFrame
        One row per term: term (a metric, or a level of `by`), coefficient, standard_error, low, high, datasets, runs,
        episodes, between and within (standard deviations of the datasets' intercepts and of the residuals). The coefficient
        of a metric is the change of the score per standard deviation of the metric over the datasets; that of a level is
        its mean score at the mean metrics.

    Raises
    ------
    ConfigError
        If there are too few datasets, or the metrics depend on each other.

    Examples
    --------
    >>> runs = pl.DataFrame({"label": "IQL", "fingerprint": list("aabbccdd"), "score": [9.0, 11, 21, 19, 29, 31, 41, 39],
    ...                      "metric/tq": [1.0, 1, 2, 2, 3, 3, 4, 4]})
    >>> row = mixed_regression(runs).filter(term="tq").row(0, named=True)
    >>> float(round(row["coefficient"] / np.std([1, 2, 3, 4], ddof=1), 6)), row["datasets"]
    (10.0, 4)
    """
    from scipy.stats import t

    names = _names_of(runs, metrics)
    _need(runs, ["fingerprint", metric, *([by] if by is not None else [])])
    columns = [_PREFIX + name for name in names]
    known = runs.filter(pl.col(metric).is_finite(), *(pl.col(column).is_finite() for column in columns))
    datasets = known.unique("fingerprint", maintain_order=True)
    freedom = datasets.height - 1 - len(names)
    if freedom < 1:
        raise ConfigError(
            f"{datasets.height} datasets are too few to regress on {len(names)} metrics: at least {len(names) + 2} are needed"
        )
    raw = datasets.select(columns).to_numpy().astype(np.float64)
    center, spread = raw.mean(0), raw.std(0, ddof=1)
    if not (spread > 0).all():
        raise ConfigError(f"the metric {names[int(np.argmin(spread))]!r} is the same on all datasets; leave it out")
    scaled = (known.select(columns).to_numpy() - center) / spread
    levels = known[by].unique(maintain_order=True).to_list() if by is not None else ["intercept"]
    shown = known[by].to_numpy() if by is not None else np.full(known.height, "intercept")
    design = np.column_stack([scaled, *(shown == level for level in levels)])
    model = mixed_model(known[metric].to_numpy(), design, known["fingerprint"].to_numpy())
    errors = np.sqrt(np.diag(model.covariance))
    reach = float(t.ppf((1 + confidence) / 2, freedom)) * errors
    episodes = _least(known, "episodes") if "episodes" in known.columns else None
    return pl.DataFrame(
        {
            "term": [*names, *map(str, levels)],
            "coefficient": model.coefficients,
            "standard_error": errors,
            "low": model.coefficients - reach,
            "high": model.coefficients + reach,
        }
    ).with_columns(
        pl.lit(datasets.height, pl.Int64).alias("datasets"),
        pl.lit(known.height, pl.Int64).alias("runs"),
        pl.lit(episodes, pl.Int64).alias("episodes"),
        pl.lit(model.between**0.5).alias("between"),
        pl.lit(model.within**0.5).alias("within"),
    )


def _names_of(runs: pl.DataFrame, metrics: Sequence[str] | None) -> list[str]:
    known = [name.removeprefix(_PREFIX) for name in runs.columns if name.startswith(_PREFIX)]
    if not known:
        raise ConfigError("the runs have no metrics of their datasets; add them by with_metrics(load_runs(...))")
    for name in metrics or ():
        if name not in known:
            raise ConfigError(f"the runs have no metric {name!r}; they have {', '.join(known)}")
    return known if metrics is None else list(metrics)


def _need(runs: pl.DataFrame, columns: Sequence[str]) -> None:
    missing = [name for name in columns if name not in runs.columns]
    if missing:
        raise ConfigError(f"the runs have no column {missing[0]!r}; they have {', '.join(runs.columns)}")
