r"""How good the advice is: what following it on a dataset would have cost, when nothing of that dataset was known.

``python -m assay.analysis.advice.regret`` leaves a part of the evidence out, asks for advice on each dataset of it, and prints

.. math:: \text{regret} = \max_a P(a) - P(\text{advised}), \quad P(a) \text{ the mean over the seeds of algorithm } a

beside the regret of always taking the algorithm that is best on average in the rest of the evidence. A negative difference of the two is
in favour of the advice. Datasets for which the advice is refused count in neither; their number is told. Intervals are 95 % percentile
bootstrap over datasets, of the difference over pairs. Left out is one dataset, the five datasets of one online run, or a whole
environment: the first is what the user has who measured something alike, the last what a user of a new environment has.

The largest of several noisy means is too large, so both regrets are somewhat too large as well; their difference is not concerned.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from assay.analysis.advice.advice import Place, advice_on
from assay.analysis.advice.comparison import RADIUS, RESAMPLES
from assay.analysis.advice.evidence import load_evidence
from assay.datasets.bootstrap import bootstrap, percentile_interval
from assay.datasets.errors import ConfigError

__all__ = ["LEFT_OUT", "regrets", "table_of"]

LEFT_OUT: dict[str, tuple[str, ...]] = {
    "dataset": ("suite", "dataset"),
    "online run": ("suite", "environment", "data_run"),
    "environment": ("environment",),
}
"""What is left out together: the columns that the rows share."""


def regrets(evidence: pl.DataFrame, left_out: str = "dataset", radius: float = RADIUS) -> pl.DataFrame:
    """Return the regret on every dataset of the evidence, left out with what belongs to it.

    Parameters
    ----------
    evidence : polars.DataFrame
        From `load_evidence`.
    left_out : str
        Key of `LEFT_OUT`.
    radius : float
        Within which datasets are near.

    Returns
    -------
    polars.DataFrame
        One row per dataset: its name, `advised` (null where the advice is refused), `overall`, `best`, and the `regret` of the advised
        and `overall_regret` of the algorithm that is best on average elsewhere.

    Raises
    ------
    ConfigError
        If nothing would be left.
    """
    columns = list(LEFT_OUT[left_out])
    rows = []
    for key, part in evidence.group_by(columns, maintain_order=True):
        same = pl.all_horizontal(
            pl.col(name).eq_missing(pl.lit(value)) for name, value in zip(columns, key, strict=True)
        )
        rest = evidence.filter(~same)
        if rest.is_empty():
            raise ConfigError(f"the evidence has one {left_out} only; without it, nothing is left to advise from")
        overall = _ranked(rest)
        for (suite, dataset), own in part.group_by("suite", "dataset", maintain_order=True):
            place = Place(own["tq"][0], own["saco"][0])
            advised = advice_on(str(dataset), place, rest, actions=own["actions"][0], radius=radius).advised
            learned = dict(own.group_by("label").agg(pl.col("performance").mean()).sort("label").iter_rows())
            best = max(learned, key=lambda label: learned[label])
            always = next((label for label in overall if label in learned), None)
            rows.append((suite, dataset, advised, always, best, _regret(learned, advised), _regret(learned, always)))
    names = ["suite", "dataset", "advised", "overall", "best", "regret", "overall_regret"]
    types = [pl.String] * 5 + [pl.Float64] * 2
    return pl.DataFrame(rows, schema=dict(zip(names, types)), orient="row")


def _ranked(evidence: pl.DataFrame) -> list[str]:
    """Return the algorithms, the best on average over datasets first."""
    of_datasets = evidence.group_by("label", "suite", "dataset").agg(pl.col("performance").mean())
    means = of_datasets.group_by("label").agg(pl.col("performance").mean())
    return means.sort("performance", "label", descending=[True, False])["label"].to_list()


def _regret(learned: dict[Any, Any], label: str | None) -> float | None:
    return None if label is None or label not in learned else float(max(learned.values()) - learned[label])


def table_of(evidence: pl.DataFrame, radius: float = RADIUS) -> str:
    """Return the regrets as a table of Markdown, a row for each of `LEFT_OUT`."""
    lines = [
        "| left out | datasets | advice refused | regret of the advised | of the best overall | difference | |",
        "|---|---|---|---|---|---|---|",
    ]
    for left_out in LEFT_OUT:
        try:
            found = regrets(evidence, left_out, radius)
        except ConfigError as error:
            lines.append(f"| {left_out} | {error} | | | | | |")
            continue
        known = found.drop_nulls(["regret", "overall_regret"])
        cells = [left_out, str(found.height), str(found.height - known.height)]
        if len(known) < 2:
            lines.append(f"| {' | '.join(cells)} | too few | | | |")
            continue
        own, overall = (known[name].to_numpy() for name in ("regret", "overall_regret"))
        difference, low, high = interval(own - overall)
        word = "the advice is better" if high < 0 else "the advice is worse" if low > 0 else "not shown"
        cells += [_text(*interval(own)), _text(*interval(overall)), _text(difference, low, high, "+"), word]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def interval(values: np.ndarray) -> tuple[float, float, float]:
    """Return the mean over datasets and the ends of its 95 % interval."""
    drawn = bootstrap([values], lambda rows: rows.mean(1), RESAMPLES, np.random.default_rng(0))
    low, high = percentile_interval(drawn)
    return float(values.mean()), float(low), float(high)


def _text(mean: float, low: float, high: float, sign: str = "") -> str:
    return f"{mean:{sign}.2f} [{low:{sign}.2f}, {high:{sign}.2f}]"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Print what following the advice would have cost on data left out.")
    parser.add_argument("--evidence", type=Path, default=None, help="Parquet file; default what comes with Assay")
    parser.add_argument("--radius", type=float, default=RADIUS)
    arguments = parser.parse_args()
    print(table_of(load_evidence(arguments.evidence), arguments.radius))


if __name__ == "__main__":
    main()
