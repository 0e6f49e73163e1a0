"""Advice on what to train on a dataset: where it lies on the quality plane, what did well near it, and what the data shows.

Nothing is fitted and nothing is guessed: the table holds the runs of measured datasets near the place. Where none is near, the advice is
refused with the reason; what the data itself shows is said in any case.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from assay.analysis.advice.comparison import NOT_WORSE, RADIUS, compare_algorithms, near_evidence
from assay.analysis.advice.evidence import COLUMNS
from assay.analysis.advice.findings import AdviceFinding
from assay.analysis.page import escape, table_block, value_text, writable, write_page
from assay.datasets.errors import ConfigError
from assay.datasets.wording import count_of

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

__all__ = ["Advice", "Place", "advice_on"]

SATURATED = 0.9  # share of the rows that are alone in their cell, from which SACo is a ratio of sizes


@dataclass(frozen=True)
class Place:
    """Where a dataset lies on the quality plane.

    Parameters
    ----------
    tq, saco : float or None
        None where it could not be measured; `obstacles` says why.
    tq_interval : (float, float) or None
        95 % interval.
    saturation : float or None
        Of the grid that SACo counts on.
    notes : tuple of str
        What both are relative to.
    obstacles : tuple of str
        What stands in the way of a place.
    """

    tq: float | None
    saco: float | None
    tq_interval: tuple[float, float] | None = None
    saturation: float | None = None
    notes: tuple[str, ...] = ()
    obstacles: tuple[str, ...] = ()

    def __str__(self) -> str:
        between = "" if self.tq_interval is None else f" [{self.tq_interval[0]:.2f}, {self.tq_interval[1]:.2f}]"
        tq, saco = ("unknown" if value is None else f"{value:.2f}" for value in (self.tq, self.saco))
        return f"TQ {tq}{between if self.tq is not None else ''}, SACo {saco}"


@dataclass(frozen=True, repr=False)
class Advice:
    """What to train on a dataset, with the evidence.

    Parameters
    ----------
    name : str
        Of the dataset.
    place : Place
        Where it lies on the quality plane.
    table : polars.DataFrame
        The algorithms that were trained near it, the best first (`compare_algorithms`); without rows where the advice is refused.
    findings : tuple of AdviceFinding
        What the data itself shows, and what that means for the choice.
    evidence : polars.DataFrame
        The runs that the table is made of, each with the `distance` of its dataset and its command.
    warnings : tuple of str
        Where the advice is stretched: metrics outside of what was measured, another environment, an uncertain place.
    refusal : str or None
        Why there is no advice.
    """

    name: str
    place: Place
    table: pl.DataFrame
    findings: tuple[AdviceFinding, ...]
    evidence: pl.DataFrame
    warnings: tuple[str, ...] = ()
    refusal: str | None = None

    @property
    def advised(self) -> str | None:
        """The algorithm that did best near the dataset; None where the advice is refused."""
        return None if self.table.is_empty() else str(self.table["algorithm"][0])

    @property
    def headline(self) -> str:
        """The advice in a sentence."""
        if self.table.is_empty():
            return f"No advice: {self.refusal}."
        row = self.table.row(0, named=True)
        as_good = self.table.filter(pl.col("verdict") == NOT_WORSE)["algorithm"].to_list()
        text = f"Train {self.advised}: on {count_of(row['datasets'], 'measured dataset')} near this one ({count_of(row['runs'], 'run')}, the "
        text += f"nearest at {row['nearest']:.2f}) it reached {_share(row['performance'], row['low'], row['high'])} of the best online policy."
        if row["low"] is None:
            return f"{text} So few datasets allow no interval."
        return text + (f" Not shown to be worse: {', '.join(as_good)}." if as_good else "")

    def __repr__(self) -> str:
        return f"<Advice on {self.name}: {self.advised or 'refused'}>"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.table import Table
        from rich.text import Text

        yield Text(f"{self.name}: {self.place}", style="bold")
        yield Text(self.headline)
        if not self.table.is_empty():
            table = Table(
                "algorithm", "of the best online policy", "behind the first", "datasets", "runs", "nearest", "verdict"
            )
            for row in self.table.iter_rows(named=True):
                table.add_row(*_cells(row))
            yield table
        for warning in self.warnings:
            yield Text(f"warning: {warning}", style="yellow")
        for finding in self.findings:
            yield Text(f"the data: {finding}")
        for note in self.place.notes:
            yield Text(note, style="dim")

    def __str__(self) -> str:
        from rich.console import Console

        console = Console(width=140, color_system=None)
        with console.capture() as captured:
            console.print(self)
        return captured.get()

    def _repr_html_(self) -> str:
        parts = [
            f"<p><strong>{escape(self.name)}</strong>: {escape(self.place)}</p>",
            f"<p>{escape(self.headline)}</p>",
        ]
        if not self.table.is_empty():
            caption = "Mean over the near datasets of the means over seeds, 0 = random, 1 = best online policy, with [95 % interval]."
            header = ["Algorithm", "Performance", "Behind the first", "Datasets", "Runs", "Nearest", "Verdict"]
            rows = [[escape(cell) for cell in _cells(row)] for row in self.table.iter_rows(named=True)]
            parts.append(table_block(header, rows, caption, text=(6,)))
        parts += [f'<div class="warning">{escape(warning)}</div>' for warning in self.warnings]
        parts.append("<h2>What the data shows</h2>")
        rows = [[escape(item.name), _long(item.found), _long(item.means)] for item in self.findings]
        if rows:
            parts.append(
                table_block(["Finding", "What", "What it means"], rows, "Measured on the dataset.", text=(1, 2))
            )
        else:
            parts.append("<p>Nothing that changes the choice.</p>")
        parts += [f"<p>{escape(note)}</p>" for note in self.place.notes]
        return "\n".join(parts)

    def write(self, output: str | os.PathLike[str], *, overwrite: bool = True) -> Path:
        """Write the advice as one self-contained HTML page, with the runs that it rests on.

        Raises
        ------
        ConfigError
            If the output exists and `overwrite` is False, or is a folder.
        """
        target = writable(output, "advice.html", overwrite=overwrite)
        parts = [f"<h1>What to train on {escape(self.name)}</h1>", self._repr_html_(), self._evidence()]
        write_page(target, f"What to train on {self.name}", "\n".join(parts), "advice")
        return target

    def _evidence(self) -> str:
        if self.evidence.is_empty():
            return ""
        keys = ["dataset", "environment", "tq", "saco", "distance", "suite"]
        near = self.evidence.group_by(keys, maintain_order=True).agg(pl.len().alias("runs"), pl.col("command").first())
        rows = [
            [
                escape(row["dataset"]),
                escape(row["environment"]),
                *(value_text(row[key]) for key in ("tq", "saco", "distance", "runs")),
                f"<td class='text long'><code>{escape(row['command'] or '')}</code></td>",
            ]
            for row in near.iter_rows(named=True)
        ]
        header = ["Dataset", "Environment", "TQ", "SACo", "Distance", "Runs", "Command"]
        return "<h2>The evidence</h2>\n" + table_block(
            header, rows, "Measured datasets, the nearest first.", text=(1, 6)
        )


def _long(text: str) -> str:
    return f"<td class='text long'>{escape(text)}</td>"


def _share(mean: float | None, low: float | None, high: float | None) -> str:
    if mean is None:
        return "–"
    return f"{mean:.2f}" if low is None else f"{mean:.2f} [{low:.2f}, {high:.2f}]"


def _cells(row: dict[str, Any]) -> list[str]:
    """Return a row of the table as text."""
    behind = "" if row["verdict"] == "advised" else _share(row["behind"], row["behind_low"], row["behind_high"])
    performance = _share(row["performance"], row["low"], row["high"])
    return [
        row["algorithm"],
        performance,
        behind,
        str(row["datasets"]),
        str(row["runs"]),
        f"{row['nearest']:.2f}",
        row["verdict"],
    ]


# -------------------------------------------------------------------- from a place to advice


def advice_on(
    name: str,
    place: Place,
    evidence: pl.DataFrame,
    findings: tuple[AdviceFinding, ...] = (),
    *,
    actions: str = "discrete",
    environment: str | None = None,
    radius: float = RADIUS,
) -> Advice:
    """Return the advice on a dataset whose place is known.

    Parameters
    ----------
    name : str
        Of the dataset.
    place : Place
    evidence : polars.DataFrame
        From `load_evidence` or `evidence_of`.
    findings : tuple of AdviceFinding
    actions : "discrete" or "continuous"
        Of the dataset. Only evidence of the same kind counts: the algorithms are others.
    environment : str, optional
        Gymnasium id of the dataset's environment.
    radius : float
        Distance on the plane up to which a measured dataset is near.

    Raises
    ------
    ConfigError
        If the radius is not positive.
    """
    if not radius > 0:
        raise ConfigError(f"radius={radius}: a distance on the plane of TQ and SACo has to be above 0")
    if lacking := [name for name in COLUMNS if name not in evidence.columns]:
        raise ConfigError(
            f"the evidence has no column {lacking[0]!r}; assay.analysis.advice.evidence_of makes it of runs, and load_evidence reads it"
        )
    of_kind = evidence.filter(pl.col("actions") == actions)
    near, refusal = _nothing(of_kind), None
    if of_kind.is_empty():
        refusal = f"nothing was measured with {actions} actions"
    elif place.tq is None or place.saco is None:
        refusal = "its place on the quality plane is not known: " + (
            "; ".join(place.obstacles) or "TQ or SACo is missing"
        )
    else:
        near = near_evidence(of_kind, place.tq, place.saco, radius)
        if near.is_empty():
            refusal = _how_far(of_kind, place.tq, place.saco, radius)
    warnings = () if refusal else _stretches(place, of_kind, near, environment, radius)
    return Advice(name, place, compare_algorithms(near), findings, near, warnings, refusal)


def _nothing(evidence: pl.DataFrame) -> pl.DataFrame:
    return evidence.clear().with_columns(distance=pl.lit(None, pl.Float64))


def _how_far(evidence: pl.DataFrame, tq: float, saco: float, radius: float) -> str:
    nearest = near_evidence(evidence, tq, saco, np.inf).row(0, named=True)
    where = f"{nearest['dataset']} at TQ {nearest['tq']:.2f} and SACo {nearest['saco']:.2f}"
    return f"nothing measured is near: the nearest dataset, {where}, is {nearest['distance']:.2f} away, and {radius:g} is near"


def _stretches(
    place: Place, evidence: pl.DataFrame, near: pl.DataFrame, environment: str | None, radius: float
) -> tuple[str, ...]:
    """Say where the advice is stretched beyond what was measured."""
    assert place.tq is not None
    assert place.saco is not None
    said = []
    for name, value in (("tq", place.tq), ("saco", place.saco)):
        low, high = float(evidence[name].min()), float(evidence[name].max())  # type: ignore[arg-type]
        if not low <= value <= high:
            text = {"tq": "TQ", "saco": "SACo"}[name]
            said.append(f"{text} {value:.2f} is extrapolated: measured datasets have {low:.2f} to {high:.2f}")
    if not said and not _inside(evidence.select("tq", "saco").unique().to_numpy(), np.array([place.tq, place.saco])):
        said.append(f"{place} is extrapolated: it lies outside of the region that the measured datasets span together")
    if place.tq_interval is not None and place.tq_interval[1] - place.tq_interval[0] > 2 * radius:
        said.append("the interval of TQ is wider than the region that counts as near")
    if place.saturation is not None and place.saturation > SATURATED:
        said.append(
            f"SACo says little more than the ratio of the sizes: {place.saturation:.0%} of the rows are alone in their cell of the "
            "grid; take fewer bins"
        )
    others = near["environment"].unique().drop_nulls().sort().to_list()
    if environment not in others:
        said.append(f"no near dataset is of {environment or 'the same environment'}: they are of {', '.join(others)}")
    return tuple(said)


def _inside(points: np.ndarray, place: np.ndarray) -> bool:
    """Tell whether a place lies in the convex hull of points [n, 2]; where they are on a line, on none of its sides."""
    from scipy.spatial import ConvexHull, QhullError

    try:
        hull = ConvexHull(points)
    except (QhullError, ValueError):
        return bool((points == place).all(1).any())
    return bool((hull.equations[:, :2] @ place + hull.equations[:, 2] <= 1e-9).all())
