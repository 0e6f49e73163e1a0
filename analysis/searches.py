"""What a suite's search of parameters tried, what came of it, and which parameters it hung on."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from assay.baselines.runs.reader import StoredRun, read_search
from assay.baselines.runs.schema import SEARCH_FOLDER
from assay.datasets.errors import ConfigError

__all__ = ["load_search", "search_table"]

_PREFIX = "parameter/"
_FEWEST = 3  # proposals of which ranks tell anything


def load_search(folder: str | os.PathLike[str]) -> pl.DataFrame:
    """Read the proposals of a suite's search, one row each.

    Parameters
    ----------
    folder : path
        Of the suite's results, such as `runs/NAME-small`. The runs of the proposals lie in `search/` below it, and
        `load_runs` reads them there.

    Returns
    -------
    polars.DataFrame
        In order of the searches and proposals.

        ==================  ===========================================================================
        algorithm, variant  what was searched, by the suite's labels
        sampler             what made the proposals
        proposal, batch     their numbers, from 0
        seeds               trainings of each
        value               mean final score over the seeds, or mean return where there are no references; null
                            where a training diverged, which counts as the worst. The search chose by it: what
                            is best of many is no result, and is never to stand beside the final scores
        best_so_far         the highest value until then; null while all diverged
        best                whether it is what the search found
        parameter/...       what was proposed; lists are JSON text
        runs                names of the run folders
        ==================  ===========================================================================

    Raises
    ------
    FormatError
        If nothing was searched there, or the file is not one of a search.
    DatasetIntegrityError
        If it or a run is damaged.
    """
    plain, below = read_search(folder), Path(folder) / SEARCH_FOLDER
    tables = [_proposals(below, plain["sampler"], searched) for searched in plain["searches"]]
    return pl.concat(tables, how="diagonal_relaxed")


def _proposals(folder: Path, sampler: str, searched: dict[str, Any]) -> pl.DataFrame:
    rows: list[dict[str, Any]] = []
    best: float | None = None
    for item in searched["proposals"]:
        value = _value([StoredRun(folder / name) for name in item["runs"]])
        if value is not None and (best is None or value > best):
            best = value
        rows.append(
            {
                "algorithm": searched["algorithm"],
                "variant": searched["variant"],
                "sampler": sampler,
                "proposal": item["number"],
                "batch": item["batch"],
                "seeds": len(item["runs"]),
                "value": value,
                "best_so_far": best,
                "runs": item["runs"],
            }
        )
    found = next((row["proposal"] for row in rows if best is not None and row["value"] == best), None)
    table = pl.DataFrame(rows, schema_overrides={"value": pl.Float64, "best_so_far": pl.Float64})
    columns = [
        _column(name, [item["parameters"][name] for item in searched["proposals"]]) for name in searched["space"]
    ]
    marked = table.with_columns((pl.col("proposal") == found).fill_null(False).alias("best"), *columns)
    return marked.select(pl.exclude("runs"), "runs")


def _value(runs: list[StoredRun]) -> float | None:
    if any(run.status == "diverged" for run in runs):
        return None
    scores = [run.score for run in runs]
    values = [float(run.returns.mean()) for run in runs] if None in scores else scores
    return float(np.mean(np.array(values, float)))


def _column(name: str, values: list[Any]) -> pl.Series:
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return pl.Series(_PREFIX + name, values, strict=False)
    return pl.Series(_PREFIX + name, [value if isinstance(value, str) else json.dumps(value) for value in values])


def search_table(proposals: pl.DataFrame) -> pl.DataFrame:
    """Tell how much of what came of a search hangs on each parameter alone, by ranks.

    The proposals of a model-based sampler gather where it expects much, so these numbers describe the search that was
    made; they are no estimates for the whole space, and have no intervals. Diverged proposals are the lowest ranks.

    Parameters
    ----------
    proposals : polars.DataFrame
        From `load_search`.

    Returns
    -------
    polars.DataFrame
        One row per algorithm, variant and parameter: algorithm, variant, parameter, found (the best proposal's, as text),
        correlation (of a number: Spearman's with the value, from -1 to 1; null for values without an order),
        importance (share of the variance of the value's ranks that the parameter explains alone, from 0 to 1: of a number
        the correlation squared, of others that between its values, Kruskal and Wallis 1952: H over n - 1), proposals.
        Both are null with fewer than three proposals, or where nothing varies.

    Raises
    ------
    ConfigError
        If the table is not one of proposals.

    Examples
    --------
    >>> proposals = pl.DataFrame({"algorithm": "MOPO", "variant": "clean", "value": [1.0, 2.0, 5.0, 6.0],
    ...     "best": [False, False, False, True], "parameter/penalty": ["a", "a", "b", "b"], "parameter/length": [1, 5, 5, 1]})
    >>> search_table(proposals).select("parameter", "found", "correlation", "importance").rows()
    [('penalty', 'b', None, 0.8), ('length', '1', 0.0, 0.0)]
    """
    needed = ["algorithm", "variant", "value", "best"]
    names = [name for name in proposals.columns if name.startswith(_PREFIX)]
    if missing := [name for name in needed if name not in proposals.columns]:
        raise ConfigError(f"the table has no column {missing[0]!r}; it has to come from load_search")
    rows = []
    for (algorithm, variant), part in proposals.group_by("algorithm", "variant", maintain_order=True):
        best = part.filter(part["best"])
        ranks = part["value"].fill_null(-np.inf).rank("average").to_numpy()
        for name in names:
            given = part[name]
            if given.null_count() == part.height:  # of another algorithm
                continue
            found = None if best.is_empty() else str(best[name][0])
            rows.append((algorithm, variant, name.removeprefix(_PREFIX), found, *_effect(given, ranks), part.height))
    schema = {"algorithm": pl.String, "variant": pl.String, "parameter": pl.String, "found": pl.String}
    numbers = {"correlation": pl.Float64, "importance": pl.Float64, "proposals": pl.Int64}
    return pl.DataFrame(rows, schema={**schema, **numbers}, orient="row")


def _effect(given: pl.Series, ranks: np.ndarray) -> tuple[float | None, float | None]:
    """Return the rank correlation, and the share of the ranks' variance that is explained."""
    total = float(((ranks - ranks.mean()) ** 2).sum())
    if len(ranks) < _FEWEST or total == 0 or given.n_unique() < 2:
        return None, None
    if given.dtype.is_numeric():
        correlation = float(np.corrcoef(given.rank("average").to_numpy(), ranks)[0, 1])
        return round(correlation, 12) + 0.0, round(correlation**2, 12)
    values = given.to_numpy()
    groups = [ranks[values == value] for value in given.unique()]
    between = sum(len(group) * (group.mean() - ranks.mean()) ** 2 for group in groups)
    return None, round(float(between) / total, 12)
