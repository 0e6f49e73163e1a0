r"""What is learned, kept and lost when tasks come one after the other.

With :math:`R_{ij}` the mean return in task j after the training on task i, of T tasks (Lopez-Paz & Ranzato 2017, *Gradient Episodic Memory for Continual
Learning*, arXiv 1706.08840, equations 2 to 4):

.. math::
    \text{average (PER)} &= \frac 1 T \sum_j R_{Tj}, \qquad \text{learned} = \frac 1 T \sum_j R_{jj} \\
    \text{backward (BWT)} &= \frac{1}{T - 1} \sum_{j < T} (R_{Tj} - R_{jj}), \qquad
    \text{forward (FWT)} = \frac{1}{T - 1} \sum_{j > 1} (R_{j-1,j} - b_j)

Backward transfer below 0 is forgetting. Forward transfer is what a task earns before it was trained on, beyond the b of a policy that learned nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from assay.analysis.statistics import check_confidence
from assay.analysis.tables import interval_of_seeds, need_columns, one_run_per_seed
from assay.datasets.errors import ConfigError

__all__ = ["transfer_table"]

MEASURES = ("average", "learned", "backward", "forward")


def transfer_table(
    returns: pl.DataFrame,
    rows: Sequence[str] = ("label", "variant"),
    *,
    untrained: float = 0.0,
    confidence: float = 0.95,
    reps: int = 2000,
    random_state: int = 0,
) -> pl.DataFrame:
    """Summarize trainings on tasks in order: average, learned, backward and forward transfer, with intervals over seeds.

    Tasks are the evaluation goals of the environment, and each took an equal share of the updates, as those of
    `assay.baselines.algorithms.continual` do. Of a training on all tasks at once only the average says something.

    Parameters
    ----------
    returns : polars.DataFrame
        From `load_returns`, of runs that were evaluated after every task: every `steps // T` updates.
    rows : sequence of str
        Columns that tell the rows apart.
    untrained : float
        b, the return of a policy that learned nothing, in every task.
    confidence, reps, random_state
        As for `score_table`.

    Returns
    -------
    polars.DataFrame
        The `rows`, measure ("average", "learned", "backward" or "forward"), seeds, value with low and high (null with fewer than two
        seeds); all in returns.

    Raises
    ------
    ConfigError
        If there are fewer than two tasks, a task was not evaluated when it was over, or a seed occurs in two runs of a row.

    Examples
    --------
    A policy that earns 1 in the task that it learned last, and nothing in the other:

    >>> returns = pl.DataFrame({"label": "fine-tuning", "variant": "two", "run": "a", "seed": 0, "update": [5, 5, 10, 10],
    ...                         "goal": [0, 1, 0, 1], "return": [1.0, 0.0, 0.0, 1.0]})
    >>> transfer_table(returns).select("measure", "value").rows()
    [('average', 0.5), ('learned', 1.0), ('backward', -1.0), ('forward', 0.0)]
    """
    need_columns(returns, [*rows, "run", "seed", "update", "goal", "return"])
    check_confidence(confidence, reps)
    table = []
    for group in returns.partition_by(list(rows), maintain_order=True):
        names = group.select(rows).row(0, named=True)
        told = ", ".join(f"{key} {value}" for key, value in names.items())
        one_run_per_seed(group, told)
        runs = group.sort("seed").partition_by("seed", maintain_order=True)
        matrices = np.stack([_matrix(run, told) for run in runs])  # [seeds, T, T]
        values = _measures(matrices, untrained)
        for measure in MEASURES:
            low, high, _ = interval_of_seeds(values[measure][:, None], confidence, reps, random_state)
            value = float(values[measure].mean())
            table.append({**names, "measure": measure, "seeds": len(runs), "value": value, "low": low, "high": high})
    numbers: dict[str, Any] = {"measure": pl.String, "seeds": pl.Int64}
    numbers |= dict.fromkeys(("value", "low", "high"), pl.Float64)
    return pl.DataFrame(table, schema={**{name: returns.schema[name] for name in rows}, **numbers})


def _matrix(run: pl.DataFrame, told: str) -> np.ndarray:
    """Return R of one run, (T, T)."""
    known = run.filter(pl.col("goal").is_not_null())
    tasks = known["goal"].n_unique()
    if tasks < 2:
        raise ConfigError(f"{told}: tasks are evaluation goals, and its episodes have {tasks}; two are the fewest")
    steps: Any = known["update"].max()
    share = steps // tasks
    means = known.group_by("update", "goal").agg(pl.col("return").mean()).rows_by_key(["update", "goal"])
    matrix = np.empty((tasks, tasks))
    for task in range(tasks):
        update = steps if task == tasks - 1 else (task + 1) * share
        for other in range(tasks):
            found = means.get((update, other))
            if found is None:
                raise ConfigError(
                    f"{told}: task {other} was not evaluated after {update:,} updates, when task {task} was over; evaluate every "
                    f"{share:,} updates, with at least {tasks} episodes"
                )
            matrix[task, other] = found[0][0]
    return matrix


def _measures(matrices: np.ndarray, untrained: float) -> dict[str, np.ndarray]:
    """Return every measure of each seed, of matrices [seeds, T, T]."""
    own = np.diagonal(matrices, axis1=1, axis2=2)
    before = np.diagonal(matrices, offset=1, axis1=1, axis2=2)
    return {
        "average": matrices[:, -1].mean(1),
        "learned": own.mean(1),
        "backward": (matrices[:, -1, :-1] - own[:, :-1]).mean(1),
        "forward": before.mean(1) - untrained,
    }
