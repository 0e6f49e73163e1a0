"""The dataset card: what a dataset holds, on one self-contained HTML page.

It shows facts, figures, metrics and the findings of validation. All are computed from the dataset; nothing is fetched,
and every text from a file is escaped. The caller passes the table of metrics (`assay.metrics.assess`), because this
room must not import `assay.metrics`.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.analysis.episode_rows import EpisodeScores, episode_rows
from assay.analysis.figures import (
    DatasetView,
    number_text,
    plot_episodes,
    plot_frames,
    plot_marginals,
    plot_projection,
    plot_trajectories,
)
from assay.analysis.page import escape, figure_block, table_block, value_text, writable, write_page
from assay.datasets.dataset import Dataset
from assay.datasets.errors import DatasetError
from assay.datasets.history import replay_obstacle
from assay.datasets.missing import complete_episodes, describe_missing
from assay.datasets.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space, Tuple
from assay.datasets.wording import count_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import polars as pl
    from matplotlib.figure import Figure

    from assay.datasets.validation import ValidationReport

__all__ = ["write_card"]

_HEADLINE = {
    "score": ("behaviour score", "0 random, 100 expert"),
    "tq": ("trajectory quality TQ", "0 random, 1 best"),
    "saco": ("coverage SACo", "1 = as the reference"),
    "saturation": ("saturation of the grid", "1 = too fine to tell"),
    "potential_for_improvement": ("potential for improvement", "0 to 1"),
}


def write_card(
    dataset: Dataset,
    output: str | os.PathLike[str] = "card.html",
    *,
    metrics: pl.DataFrame | None = None,
    episodes: EpisodeScores | None = None,
    random: Dataset | None = None,
    name: str = "",
    overwrite: bool = True,
) -> Path:
    """Write a page about a dataset.

    Parameters
    ----------
    dataset : Dataset
    output : path
        The file to write. It appears whole or not at all.
    metrics : polars.DataFrame, optional
        Table from `assay.metrics.assess`.
    episodes : EpisodeTable, optional
        Table from `assay.metrics.assess(dataset, per="episode")`: a row per episode, which a reader can sort.
    random : Dataset, optional
        Data of random actions in the same environment; drawn beside the dataset.
    name : str
        Title of the card; default: the id of the dataset.
    overwrite : bool
        Whether an existing file may be replaced.

    Returns
    -------
    pathlib.Path
        The file written: figures inline as SVG, no script, nothing fetched from anywhere, light and dark.

    Raises
    ------
    ConfigError
        If the output exists and `overwrite` is False, or is a folder.
    DatasetError
        If the dataset has no steps.
    """
    if not dataset.total_steps:
        raise DatasetError("a dataset without steps has no card")
    target = writable(output, "card.html", overwrite=overwrite)
    title = name or dataset.info.id or "Dataset"
    report = dataset.validate()
    view, beside = DatasetView(dataset), None if random is None else DatasetView(random)
    figures: list[tuple[str, str, Callable[[int], Figure | None]]] = [
        ("episodes", "Returns and lengths of the episodes", lambda w: plot_episodes(view, width_pixels=w)),
        ("projection", "States on two components", lambda w: plot_projection(view, beside, width_pixels=w)),
        ("trajectories", "A few trajectories", lambda w: plot_trajectories(view, width_pixels=w)),
        ("frames", "A few frames", lambda w: plot_frames(view, width_pixels=w)),
        ("states", "Observations", lambda w: plot_marginals(view, "observations", beside, width_pixels=w)),
        ("actions", "Actions", lambda w: plot_marginals(view, "actions", beside, width_pixels=w)),
    ]
    parts = [f"<h1>{escape(title)}</h1>"]
    if dataset.info.description:
        parts.append(f'<p class="question">{escape(dataset.info.description)}</p>')
    parts.append(_summary(dataset, metrics))
    if any(finding.severity != "note" for finding in report.findings):
        parts.append(_warning(report))
    parts.append("<h2>In figures</h2>")
    parts += [figure_block(key, draw, text) for key, text, draw in figures]
    if episodes is not None:
        parts += ["<h2>Episode by episode</h2>", episode_rows(dataset, episodes)]
    if metrics is not None and len(metrics):
        parts += ["<h2>In numbers</h2>", _metrics(metrics)]
    parts += ["<h2>What it is</h2>", _facts(dataset), _columns(dataset), _history(dataset)]
    parts += ['<h2 id="validation">Validation</h2>', _findings(report)]
    write_page(target, title, "\n".join(part for part in parts if part), "card")
    return target


def _summary(dataset: Dataset, metrics: pl.DataFrame | None) -> str:
    steps, episodes = count_of(dataset.total_steps, "step"), count_of(dataset.total_episodes, "episode")
    where = f" in {dataset.info.environment_id}" if dataset.info.environment_id else ""
    text = f"{steps} in {episodes}{where}; "
    text += "; ".join([*describe_missing(dataset), _mean_return(dataset)]) + "."
    known = {} if metrics is None else dict(zip(metrics["metric"], metrics["value"]))
    tiles = "".join(
        f"<div><strong>{value_text(_rounded(known[key]))}</strong><span>{label}</span><small>{scale}</small></div>"
        for key, (label, scale) in _HEADLINE.items()
        if known.get(key) is not None
    )
    return f'<div class="summary"><p>{escape(text)}</p></div>' + (f'<div class="tiles">{tiles}</div>' if tiles else "")


def _mean_return(dataset: Dataset) -> str:
    """Return the mean of the returns that are known, in words."""
    known = dataset.returns[complete_episodes(dataset, ("rewards",))]
    if not len(known):
        return "no return is known"
    mean = float(known.mean())
    if not math.isfinite(mean):
        return "rewards that are not all finite"
    of = "" if len(known) == dataset.total_episodes else f" of the {len(known):,} episodes whose rewards are all there"
    return f"mean return {number_text(mean)}{of}"


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


def _warning(report: ValidationReport) -> str:
    found = [finding.severity for finding in report.findings]
    counts = [(found.count(severity), severity) for severity in ("error", "warning")]
    text = " and ".join(f"{count} {noun}{'s' if count > 1 else ''}" for count, noun in counts if count)
    return f'<div class="warning">Validation found {text}: <a href="#validation">what and where</a>.</div>'


def _metrics(metrics: pl.DataFrame) -> str:
    rows = []
    for row in metrics.iter_rows(named=True):
        text = value_text(row["value"])
        if row["interval"] is not None:
            low, high = value_text(row["interval"]["low"]), value_text(row["interval"]["high"])
            text += f" <small>[{low}, {high}]</small>"
        definition = f"<td class='text long longer'>{escape(row['source'])}</td>"
        rows.append(
            [escape(row["metric"].replace("_", " ")), text, f"<td class=text>{escape(row['unit'])}</td>", definition]
        )
    caption = "With [95 % interval] where a value is an estimate; units and definitions stand on the right."
    return table_block(["Metric", "Value", "Unit", "Definition"], rows, caption, text=(2, 3))


def _facts(dataset: Dataset) -> str:
    info = dataset.info
    size = sum(dataset.column(name).nbytes for name in dataset.columns)
    facts: dict[str, Any] = {
        "Size": f"{count_of(dataset.total_steps, 'step')}, {count_of(dataset.total_episodes, 'episode')}, {size / 1e6:,.1f} MB in memory",
        "Environment": info.environment_id,
        "Observation space": None if info.observation_space is None else _space(info.observation_space),
        "Action space": None if info.action_space is None else _space(info.action_space),
        "Reference scores": info.references.source if info.references else None,
        "Behaviour": info.algorithm,
        "Source": info.source,
        "Authors": ", ".join(info.authors),
        "Code": info.code,
        "Licence": info.licence or "not stated",
        "Fingerprint": dataset.fingerprint,
    }
    items = "\n".join(f"<dt>{key}</dt><dd>{escape(value)}</dd>" for key, value in facts.items() if value)
    return f"<dl>\n{items}\n</dl>"


def _space(space: Space) -> str:
    """Describe a space in one line."""
    match space:
        case Box(shape, dtype):
            lows, highs = space.bounds()
            bounds = "without bounds"
            if lows.size and (lows > -float("inf")).all() and (highs < float("inf")).all():
                bounds = f"from {lows.min():g} to {highs.max():g}"
            return f"{' x '.join(map(str, shape)) or 'one number'} {dtype}, {bounds}"
        case Discrete(n, start):
            return f"one of {n} values" + (f" from {start} on" if start else "")
        case MultiDiscrete(nvec):
            return f"several of {nvec} values"
        case MultiBinary(n):
            return f"{n} bits"
        case Dict(subspaces):
            return "; ".join(f"{key}: {_space(child)}" for key, child in subspaces.items())
        case Tuple(children):
            return "; ".join(_space(child) for child in children)
    return "text"


def _columns(dataset: Dataset) -> str:
    rows = []
    for name in dataset.columns:
        array = dataset.column(name)
        shape = " x ".join(f"{size:,}" for size in array.shape)
        rows.append([f"<code>{escape(name)}</code>", escape(array.dtype), shape])
    table = table_block(["Column", "Type", "Shape"], rows, "One row per step; observations have one more per episode.")
    return f"<details><summary>Columns ({len(rows)})</summary>\n{table}\n</details>"


def _history(dataset: Dataset) -> str:
    if not dataset.history:
        return "<p>Its history is not recorded.</p>"
    rows = []
    for number, record in enumerate(dataset.history):
        text = " ".join(f"{key}={json.dumps(value)}" for key, value in record.parameters.items())
        long = f"<td class='text long'><code>{escape(text)}</code></td>"
        rows.append(
            [str(number), f"<td class=text>{escape(record.transform)}</td>", long, escape(record.version or "–")]
        )
    obstacle = replay_obstacle(dataset.history)
    caption = "How it came to be; " + (
        "<code>assay.replay</code> makes it again from this." if obstacle is None else f"{escape(obstacle)}."
    )
    return table_block(["#", "Step", "Parameters", "Assay"], rows, caption, text=(1, 2))


def _findings(report: ValidationReport) -> str:
    if not report.findings:
        return f"<p>{len(report.checks)} checks found nothing: {escape(', '.join(report.checks))}.</p>"
    rows = []
    for finding in report.findings:
        at = {"column": finding.column, "episode": finding.episode, "row": finding.row}
        place = ", ".join(f"{key} {value}" for key, value in at.items() if value is not None)
        tone = "lower" if finding.severity == "error" else "text"
        message = f"<td class='text long'>{escape(finding.message)}</td>"
        first = f"<td class='text {tone}'>{finding.severity}</td>"
        rows.append([escape(finding.check), first, message, f"<td class=text>{escape(place or '–')}</td>"])
    caption = f"{len(report.checks)} checks: {escape(', '.join(report.checks))}."
    return table_block(["Check", "Severity", "What", "First place"], rows, caption, text=(1, 2, 3))
