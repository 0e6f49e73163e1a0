"""A report that a person can open anywhere: one HTML file with the figures, the tables and how they were made.

Everything is computed from the run folder. Nothing is fetched, and every text from a file is escaped. If the intervals
of two means overlap, the report says that there is no clear difference.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from assay.analysis.figures import (
    choose_metric,
    distinct_variants,
    plot_quality,
    plot_scores,
    variants_in_order,
)
from assay.analysis.figures.curves import CurveTables, draw_curves
from assay.analysis.off_policy import load_values
from assay.analysis.page import escape, figure_block, table_block, value_text, writable, write_page
from assay.analysis.report_statistics import (
    algorithms_section,
    efficiency_figure,
    profiles_figure,
    verdicts_section,
)
from assay.analysis.run_labels import variant_labels
from assay.analysis.runs import load_quality, load_returns, load_suite, read_folders, table_of_runs
from assay.analysis.selection import rank_stability
from assay.analysis.tables import (
    change_table,
    clean_variant,
    cost_table,
    counts_text,
    format_interval,
    goal_table,
    joined,
    score_table,
    statuses_text,
    verdict,
)
from assay.baselines.runs.reader import StoredRun, run_folders, suite_label
from assay.datasets.wording import count_of

__all__ = ["write_report"]


def _counts(counts: Sequence[int], noun: str) -> str:
    return joined([*map(str, counts[:-1]), count_of(counts[-1], noun)], "or")


def absent_jobs(records: Sequence[StoredRun], suite: dict[str, Any] | None) -> list[tuple[str, str, int]]:
    """Return algorithm, variant and seed of what a suite lists and has no run yet; empty for free runs."""
    suite = suite or {}
    algorithms = suite.get("algorithms", [])
    present = {(suite_label(run, algorithms), run.job["variant"], run.job["seed"]) for run in records}
    return [
        job
        for algorithm in algorithms
        for variant in suite.get("variants", [])
        for seed in suite.get("seeds", [])
        if (job := (algorithm, variant, seed)) not in present
    ]


def _ranking(runs: pl.DataFrame, metric: str, clean: str) -> str:
    """Return a sentence about the best algorithm on the clean data, with no more certainty than the seeds allow."""
    table = score_table(runs.filter(variant=clean), metric, ["label"]).drop_nulls("mean").sort("mean", descending=True)
    rows = table.to_dicts()
    noun = "score" if metric == "score" else "mean return"
    if not rows:
        return f"No run on {clean} has a {noun} yet."
    digits = _digits(metric, rows)
    first = rows[0]
    value = format_interval(first["mean"], first["low"], first["high"], digits)
    if len(rows) == 1:
        text = f"On {clean}, {first['label']} reaches a {noun} of {value}"
    else:
        close = [row["label"] for row in rows[1:] if verdict(first, row) == "no clear difference"]
        few = [row["label"] for row in rows[1:] if verdict(first, row) == "too few seeds"]
        text = f"On {clean}, {first['label']} has the highest mean {noun if metric == 'score' else 'return'}, {value}"
        if few:
            text += "; there are too few seeds to tell whether it is better than " + joined(few, "or")
        if close:
            text += "; no clear difference from " + joined(close, "or")
        if not few and not close:
            text += "; its interval lies above those of all others"
    if first["behaviour"] is not None:
        text += f". The data itself averages {first['behaviour']:.{digits}f}"
    return text + "."


def _digits(metric: str, rows: Sequence[dict[str, Any]]) -> int:
    if metric == "score":
        return 1
    largest = max((abs(row["mean"]) for row in rows if row.get("mean") is not None), default=0.0)
    return 0 if largest >= 1000 else 1 if largest >= 10 else 3


def _harm(runs: pl.DataFrame, metric: str, clean: str) -> list[str]:
    """Return a sentence per algorithm about the variant furthest below the clean one."""
    if runs["variant"].n_unique() < 2:
        return []
    changes = change_table(runs, metric, ["label"], clean=clean)
    sentences = []
    for group in changes.partition_by("label", maintain_order=True):
        scored = group.drop_nulls("change").sort("change")
        if scored.is_empty():
            sentences.append(f"{group['label'][0]} cannot be compared with {clean} yet.")
            continue
        rows = scored.to_dicts()
        worst = rows[0]
        digits = _digits(metric, rows)
        amount = f"{worst['mean']:.{digits}f} against {worst['clean']:.{digits}f}"
        if worst["change"] >= 0:
            text = f"{worst['label']} is on no variant below {clean}"
        elif worst["verdict"] == "lower":
            text = f"{worst['label']} loses most on {worst['variant']} ({amount})"
        elif worst["verdict"] == "too few seeds":
            text = f"{worst['label']} is lowest on {worst['variant']} ({amount}), with too few seeds to be sure"
        else:
            text = f"{worst['label']} shows no clear loss on {worst['variant']}, its lowest ({amount})"
        others = [row for row in rows[1:] if row["verdict"] == "lower"]
        if others:
            text += f", and is clearly below {clean} on {count_of(len(others), 'other variant')}"
        sentences.append(text + ".")
    return sentences


def _summary(runs: pl.DataFrame, absent: int, metric: str) -> str:
    clean = clean_variant(runs)
    sentences = [statuses_text(runs["status"], absent)]
    if runs[metric].drop_nulls().is_empty():
        asked = "evaluation/episodes" in runs.columns
        sentences.append(
            "No policy has been evaluated yet."
            if asked
            else "They were trained without an environment, so none has a return."
        )
    elif clean is not None:
        sentences += [_ranking(runs, metric, clean), *_harm(runs, metric, clean)]
    elif runs["variant"].n_unique() == 1:
        sentences.append(_ranking(runs, metric, runs["variant"][0]))
    else:
        sentences.append("No variant is recognizably the clean one, so none is compared with the others.")
    return f'<div class="summary"><p>{escape(" ".join(sentences))}</p></div>'


def _score_section(runs: pl.DataFrame, metric: str) -> str:
    table = score_table(runs, metric, ["label"])
    clean = clean_variant(runs)
    changes: dict[tuple[str, str], dict[str, Any]] = {}
    if clean is not None:
        changes = {
            (row["label"], row["variant"]): row for row in change_table(runs, metric, ["label"], clean=clean).to_dicts()
        }
    labels = runs["label"].unique(maintain_order=True).to_list()
    cells = {(row["label"], row["variant"]): row for row in table.to_dicts()}
    digits = _digits(metric, table.to_dicts())
    rows, change_rows = [], []
    for variant in variants_in_order(runs):
        row, change_row = [escape(variant)], [escape(variant)]
        for label in labels:
            cell, change = cells.get((label, variant)), changes.get((label, variant))
            row.append(_score_cell(cell, digits))
            change_row.append(_change_cell(change, digits))
        behaviour = [cells[label, variant]["behaviour"] for label in labels if (label, variant) in cells]
        known = [value for value in behaviour if value is not None]
        row.append(f"{known[0]:.{digits}f}" if known else "–")
        rows.append(row)
        if variant != clean:
            change_rows.append(change_row)
    names = [escape(label) for label in labels]
    what = "Final score" if metric == "score" else "Mean final return"
    counts = counts_text(table["seeds"], table["episodes"])
    caption = f"{what}: mean over {counts} [95 % interval]. “Data” is the mean of the dataset's own episodes."
    text = table_block(["Variant", *names, "Data"], rows, caption)
    if clean is not None and change_rows:
        caption = (
            f"Change against {escape(clean)}: difference of the means [95 % interval]. ▼ lower and ▲ higher: three "
            "seeds or more on both sides, and the intervals above do not overlap. Anything else is no clear difference."
        )
        text += "\n" + table_block(["Variant", *names], change_rows, caption)
    return text


def _cost_section(runs: pl.DataFrame, metric: str) -> str:
    """Return the table of costs beside what was earned; nothing where no run has costs."""
    if runs["cost_return"].is_null().all():
        return ""
    table = cost_table(runs, ["label"])
    columns = {
        ("Score" if metric == "score" else "Return"): metric,
        "Cost": "cost_return",
        "Cost / limit": "normalized_cost",
        "Episodes over the limit": "over_limit",
    }
    rows = []
    for row in table.iter_rows(named=True):
        cells = [escape(row["variant"]), escape(row["label"])]
        for name in columns.values():
            share = name == "over_limit" and row[name] is not None
            mean, low, high = (
                None if row[key] is None else (100.0 if share else 1.0) * row[key]
                for key in (name, f"{name}/low", f"{name}/high")
            )
            digits = 0 if share else _digits(name, [{"mean": mean}])
            text = format_interval(mean, low, high, digits)
            cells.append(f"{text} %" if share else text)
        rows.append(cells)
    caption = (
        f"What final policies cost: mean over {counts_text(table['seeds'], table['episodes'])} [95 % interval]. The cost of an "
        "episode is the sum over its steps; above 1, the limit is exceeded on average. Return and cost are two numbers: "
        "neither makes up for the other."
    )
    return "<h2>Costs</h2>\n" + table_block(["Variant", "Algorithm", *columns], rows, caption, text=[0, 1])


def _score_cell(cell: dict[str, Any] | None, digits: int) -> str:
    if cell is None:
        return "not run"
    if cell["mean"] is None:
        return "no score"
    text = f"{cell['mean']:.{digits}f}"
    if cell["low"] is not None:
        text += f" <small>[{cell['low']:.{digits}f}, {cell['high']:.{digits}f}]</small>"
    if cell["seeds"] < cell["runs"] or cell["low"] is None:
        text += f" <small class=line>{_seeds(cell['seeds'], cell['runs'])}</small>"
    return text


def _seeds(scored: int, listed: int) -> str:
    return count_of(scored, "seed") if scored == listed else f"{scored} of {count_of(listed, 'seed')}"


def _change_cell(change: dict[str, Any] | None, digits: int) -> str:
    if change is None or change["change"] is None:
        return "–"
    text = f"{change['change']:+.{digits}f}"
    if change["low"] is not None:
        text += f" <small>[{change['low']:+.{digits}f}, {change['high']:+.{digits}f}]</small>"
    mark = {"lower": "▼ ", "higher": "▲ "}.get(change["verdict"], "")
    return f"<td class={change['verdict']}>{mark}{text}</td>" if mark else text


METHODS = {
    "fitted_q": "Fitted Q evaluation",
    "own_critic": "Value of the first states under the policy's own critic",
}


def _value_section(runs: pl.DataFrame, values: pl.DataFrame, command: str) -> str:
    """Return what is known of policies that no environment has seen."""
    text = (
        "These runs were trained without an environment, so there are no returns. What follows is estimated from data: it ranks "
        "policies, it does not score them."
    )
    known = values.drop("label", "variant").join(
        runs.select("run", "label", "variant"), on="run", maintain_order="left"
    )
    if known.is_empty():
        return (
            f"<p>{escape(text.partition(' What follows')[0])} To estimate from data which algorithm fits, run "
            f"<code>{escape(command)}</code> and make this report again.</p>"
        )
    parts = [f"<p>{escape(text)}</p>"]
    labels = known["label"].unique(maintain_order=True).to_list()
    for method, title in METHODS.items():
        of_method = known.filter(method=method)
        if of_method.is_empty():
            continue
        cells = {
            (row["label"], row["variant"]): row
            for row in score_table(of_method, "estimate", ["label"]).iter_rows(named=True)
        }
        digits = _digits("estimate", list(cells.values()))
        rows = [
            [escape(variant), *(_score_cell(cells.get((label, variant)), digits) for label in labels)]
            for variant in of_method["variant"].unique(maintain_order=True)
        ]
        source = f"from {_several(of_method['dataset'])}, discount {_several(of_method['discount'])}"
        caption = f"{title}, {source}: mean over seeds [95 % interval]"
        parts.append(table_block(["Variant", *map(escape, labels)], rows, escape(caption)))
    parts.append(_stability_table(rank_stability(known)))
    return "\n".join(parts)


def _stability_table(stability: pl.DataFrame) -> str:
    rows = [
        [
            escape(row["variant"]),
            escape(METHODS.get(row["method"], row["method"])),
            escape(row["first"] or "–"),
            "–" if row["first_share"] is None else f"{row['first_share']:.0%}",
            "–" if row["agreement"] is None else f"{row['agreement']:.2f}",
            str(row["candidates"]),
            str(row["seeds"] or 0),
        ]
        for row in stability.iter_rows(named=True)
    ]
    caption = (
        "Is the ranking stable? Agreement is the mean rank correlation between two training seeds: 1 where all seeds order the "
        "algorithms alike, about 0 where the order is chance. Own critics of different algorithms do not compare well: "
        "some are pessimistic by design."
    )
    header = ["Variant", "Estimate", "First", "First in seeds", "Agreement", "Algorithms", "Seeds"]
    return table_block(header, rows, escape(caption), text=(1, 2))


def _goal_section(records: Sequence[StoredRun], runs: pl.DataFrame) -> str:
    """Return success by evaluation goal; "" where no environment of the runs has such goals."""
    known = {item.folder.name for item in records if item.ended and item.evaluations["goal"].is_not_null().any()}
    if not known:
        return ""
    table = goal_table(load_returns(runs.filter(pl.col("run").is_in(known))))
    cells = {(row["variant"], row["goal"], row["label"]): row for row in table.iter_rows(named=True)}
    labels, rows = list(dict.fromkeys(table["label"])), []
    for variant in dict.fromkeys(table["variant"]):
        goals = table.filter(pl.col("variant") == variant)["goal"].unique().sort(nulls_last=True)
        for goal in goals:
            found = [cells.get((variant, goal, label)) for label in labels]
            texts = [
                "–" if row is None else format_interval(row["success"], row["low"], row["high"], 2) for row in found
            ]
            rows.append([escape(variant), "mean" if goal is None else str(goal), *texts])
    caption = "Success by evaluation goal: mean over seeds [95 % interval]; each goal that was tried counts alike in the mean."
    if table.drop_nulls("goal")["episodes"].min() == 1:  # with more episodes than goals the first goals have several
        caption += (
            " Where a goal has one episode, the evaluation may have had fewer episodes than there are goals: those that are not listed "
            "were not tried."
        )
    return "<h2>Goals</h2>\n" + table_block(["Variant", "Goal", *map(escape, labels)], rows, caption)


def _quality_section(quality: pl.DataFrame) -> str:
    variants = quality["variant"].unique(maintain_order=True).to_list()
    metrics = quality["metric"].unique(maintain_order=True).to_list()
    values = {(row["variant"], row["metric"]): row for row in quality.iter_rows(named=True)}
    units = {row["metric"]: row["unit"] for row in quality.iter_rows(named=True) if row["unit"]}
    rows = []
    for metric in metrics:
        unit = f" <small>{escape(units[metric])}</small>" if metric in units else ""
        rows.append([escape(metric) + unit, *(_quality_cell(values.get((variant, metric))) for variant in variants)])
    header = ["Metric", *(escape(variant) for variant in variants)]
    return table_block(header, rows, "Quality of every variant's dataset, with [95 % interval] where it was estimated.")


def _quality_cell(row: dict[str, Any] | None) -> str:
    if row is None or row["value"] is None:
        return "–"
    text = value_text(row["value"])
    if row["low"] is not None and row["high"] is not None:
        text += f" <small>[{value_text(row['low'])}, {value_text(row['high'])}]</small>"
    return text


def _recipes(records: Sequence[StoredRun]) -> str:
    seen: dict[str, tuple[str, str]] = {}
    for record, variant in zip(records, variant_labels(records), strict=True):
        parts = []
        for step in record.transforms:
            parameters = step.get("parameters") or {}
            words = " ".join(f"{name}={json.dumps(value)}" for name, value in parameters.items())
            parts.append(f"{step.get('transform', '?')} {words}".strip())
        text = "; ".join(parts) or "as it is"
        seen.setdefault(variant, (text, record.dataset.get("fingerprint") or "not recorded"))
    rows = [
        [escape(variant), f"<td class='text long'>{escape(text)}</td>", f"<code>{escape(mark)}</code>"]
        for variant, (text, mark) in seen.items()
    ]
    return table_block(["Variant", "What was done to the source", "Fingerprint"], rows, "The variants", text=(1, 2))


def _runs_section(runs: pl.DataFrame, absent: Sequence[tuple[str, str, int]], metric: str) -> str:
    digits = _digits(metric, [{"mean": value} for value in runs[metric].to_list()])
    final, best = ("Final score", "Best (diagnostic)") if metric == "score" else ("", "")
    left = {"Algorithm", "Variant", "Status", "Error", "Folder"}
    lines: list[dict[str, str]] = []
    for row in runs.iter_rows(named=True):
        ended = row["status"] == "finished"
        status = escape(row["status"])
        line = {
            "Algorithm": escape(row["label"]),
            "Variant": escape(row["variant"]),
            "Seed": str(row["seed"]),
            "Status": status if ended else f"<td data-status={status} class=text>{status}</td>",
            final: format_interval(row["score"], None, None, digits),
            best: format_interval(row["best_score"], None, None, digits),
            "Final return": format_interval(row["return_mean"], None, None, 1 if metric == "score" else digits),
            "Episodes": str(row["episodes"]),
            "Updates": f"{row['updates']:,}" if ended else f"{row['updates']:,} of {row['updates_planned']:,}",
            "Seconds": "–" if row["seconds"] is None else f"{row['seconds']:,.0f}",
            "Error": f"<td class='text long'>{escape(row['error'] or '')}</td>",
            "Folder": f"<code>{escape(row['run'])}</code>",
        }
        lines.append({name: cell for name, cell in line.items() if name})
    if runs["error"].is_null().all():
        lines = [{name: cell for name, cell in line.items() if name != "Error"} for line in lines]
    header = list(lines[0])
    for algorithm, variant, seed in absent:
        known = {
            "Algorithm": escape(algorithm),
            "Variant": escape(variant),
            "Seed": str(seed),
            "Error": "",
            "Folder": "",
        }
        known["Status"] = "<td data-status=absent class=text>not started</td>"
        lines.append({name: known.get(name, "–") for name in header})
    count = count_of(len(lines), "run")
    rows = [list(line.values()) for line in lines]
    text = [i for i, name in enumerate(header) if name in left]
    table = table_block(header, rows, "One run per line", text=text, sortable=True)
    return f"<details><summary>Every run ({count})</summary>\n{table}\n</details>"


def _several(values: Iterable[Any]) -> str:
    distinct = list(dict.fromkeys(str(value) for value in values if value not in (None, "")))
    return "; ".join(distinct) or "not recorded"


def _made(records: Sequence[StoredRun], runs: pl.DataFrame, suite: dict[str, Any] | None) -> str:
    suite = suite or {}
    versions: dict[str, list[str]] = {}
    for record in records:
        for name, version in (record.description.get("versions") or {}).items():
            versions.setdefault(name, []).append(str(version))
    hardware = [
        ", ".join(f"{name} {value}" for name, value in (record.description.get("hardware") or {}).items())
        for record in records
    ]
    started = sorted(str(record.description["started"]) for record in records if record.description.get("started"))
    seconds = float(runs["seconds"].drop_nulls().sum())
    budget = suite.get("budget")
    updates = sorted(set(runs["updates_planned"].to_list()))
    episodes = sorted({(record.job.get("evaluation") or {}).get("episodes") or 0 for record in records})
    rows: list[tuple[str, str]] = []
    if suite.get("command"):
        rows.append(("Command", str(suite["command"])))
    if suite.get("name"):
        rows.append(("Suite", f"{suite['name']}" + (f", budget {budget}" if budget else "")))
    rows += [
        ("Training", f"{joined([f'{count:,}' for count in updates], 'or')} gradient updates per run"),
        (
            "Evaluation",
            f"{_counts(episodes, 'episode')} after the last update"
            if any(episodes)
            else "none: trained without an environment",
        ),
        ("Source data", _several([suite.get("source"), *runs["dataset"].to_list()])),
        ("Environment", _several(runs["environment"].to_list())),
        (
            "References",
            _several(runs["references"].to_list()) if runs["references"].drop_nulls().len() else "none known",
        ),
        ("Versions", ", ".join(f"{name} {_several(found)}" for name, found in versions.items()) or "not recorded"),
        ("Hardware", _several(hardware)),
        ("Precision", _several(record.description.get("precision") for record in records)),
        ("Time", f"{_duration(seconds)} summed over the runs" + (f"; first started {started[0]}" if started else "")),
    ]
    items = "\n".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in rows)
    return f"<dl>\n{items}\n</dl>\n{_recipes(records)}"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _warnings(records: Sequence[StoredRun], runs: pl.DataFrame, aside: int) -> list[str]:
    """Return warnings about runs that cannot be compared although their names are equal, and of those that are left out."""
    found = []
    if aside:
        found.append(
            f"{count_of(aside, 'run')} of earlier settings, such as what a search found before it was grown, are in the folder "
            "and left out here: the suite has replaced them."
        )
    marks: dict[tuple[Any, ...], set[Any]] = {}
    for record in records:
        name = (record.variant, record.dataset.get("id"), record.dataset.get("environment_id"))
        marks.setdefault(name, set()).add(record.dataset.get("fingerprint"))
    for (variant, *_), different in marks.items():
        if len(different) > 1:
            found.append(
                f"The runs on {variant} were trained on {len(different)} different datasets of that name (their "
                "fingerprints differ). They are told apart in every table and never averaged."
            )
    if runs["references"].drop_nulls().n_unique() > 1:
        found.append("The scores of different runs use different references.")
    if runs["references"].is_null().any() and runs["references"].is_not_null().any():
        found.append("Some runs have no reference returns and therefore no score.")
    lacking = runs.filter(pl.col("status") != "finished")
    if lacking.height:
        found.append(
            f"{count_of(lacking.height, 'run')} did not finish. A mean over the remaining seeds can flatter an algorithm "
            "that fails on the hard ones."
        )
    return found


def _caveats(runs: pl.DataFrame, suite: dict[str, Any] | None, metric: str) -> str:
    if "evaluation/episodes" not in runs.columns:
        item = (
            "Off-policy estimates depend on the data and on the critic that is trained. Where an estimate orders the "
            "algorithms differently from seed to seed, the order is not known."
        )
        return f"<ul>\n<li>{escape(item)}</li>\n</ul>"
    items = [
        "Scores are those of the final policy, after the last update. The best score along the way is chosen with "
        "hindsight; it is listed per run as a diagnostic only."
    ]
    counts = score_table(runs, metric, ["label"])["seeds"].to_list()
    scored = [count for count in counts if count]
    fewest = min(scored, default=0)
    if fewest == 1:
        items.append("Cells with a single seed have no interval: one run says nothing about the next.")
    if fewest and fewest < 10:
        seeds = sorted(set(scored))
        items.append(
            f"The cells have {_counts(seeds, 'seed')}. Bootstrap intervals of few seeds are "
            "too narrow: with three, the 95 % interval is the range of the three and covers the true mean about three "
            "times in four, and two equal algorithms fail to overlap in one comparison of ten. Many comparisons are "
            "made here, so expect a few such by chance."
        )
    budget = (suite or {}).get("budget")
    if budget and budget != "paper":
        items.append(f"The budget is “{budget}”, not the published one: compare within this report, not with papers.")
    if metric == "score":
        items.append(
            "A score is 100 (R − random) / (expert − random) with the references named above; it compares only with "
            "scores that use the same references and the same version of the environment."
        )
    else:
        items.append("No reference returns are known for this environment, so returns are shown as they are.")
    return "<ul>\n" + "\n".join(f"<li>{escape(item)}</li>" for item in items) + "\n</ul>"


def report_body(path: Path) -> tuple[str, str]:
    """Return title and body (HTML) of the report of a folder of runs."""
    records, suite = read_folders(path), load_suite(path)
    runs = distinct_variants(table_of_runs(records))
    absent = absent_jobs(records, suite)
    title = str((suite or {}).get("title") or (suite or {}).get("name") or f"Runs in {path.resolve().name}")
    parts = [f"<h1>{escape(title)}</h1>"]
    if suite and suite.get("question"):
        parts.append(f'<p class="question">{escape(suite["question"])}</p>')
    quality = load_quality(path)
    if runs.is_empty():
        parts.append(f'<div class="summary"><p>{escape(statuses_text(runs["status"], len(absent)))}</p></div>')
    else:
        metric = choose_metric(runs)
        parts.append(_summary(runs, len(absent), metric))
        warnings = _warnings(records, runs, len(run_folders(path)) - len(records))
        if warnings:
            items = "".join(f"<li>{escape(item)}</li>" for item in warnings)
            parts.append(f'<div class="warning"><ul>{items}</ul></div>')
        if any(record.job.get("evaluation") for record in records):
            parts.append("<h2>Scores</h2>" if metric == "score" else "<h2>Returns</h2>")
            text = "Final result of every algorithm on every variant; same as the table"
            parts.append(figure_block("scores", lambda width: plot_scores(runs, metric, width_pixels=width), text))
            parts.append(_score_section(runs, metric))
            if runs[metric].is_not_null().any():
                parts.append(_goal_section(records, runs))
                parts.append(verdicts_section(records, runs))
                parts += [algorithms_section(runs, metric), profiles_figure(runs, metric)]
            parts.append(_cost_section(runs, metric))
        else:
            parts.append("<h2>Values estimated from data</h2>")
            source = (suite or {}).get("source") or runs["dataset"][0] or "DATASET"
            command = shlex.join(["assay", "evaluate", str(path), "--dataset", source])
            parts.append(_value_section(runs, load_values(records[0].folder.parent), command))
    if not quality.is_empty():
        parts.append("<h2>The data</h2>")
        text = "Quality of every variant's dataset; same as the table"
        parts.append(figure_block("quality", lambda width: plot_quality(quality, width_pixels=width), text))
        parts.append(_quality_section(quality))
    if not runs.is_empty():
        text = "How learning went, over gradient updates"
        tables = CurveTables.read(records)
        curves = figure_block("curves", lambda width: draw_curves(tables, width), text)
        efficiency = efficiency_figure(runs, metric)
        if curves or efficiency:
            parts += ["<h2>Learning curves</h2>", efficiency, curves]
        parts.append("<h2>Runs</h2>")
        parts.append(_runs_section(runs, absent, metric))
        parts.append("<h2>How this was made</h2>")
        parts.append(_made(records, runs, suite))
        parts.append("<h2>How to read it</h2>")
        parts.append(_caveats(runs, suite, metric))
    return title, "\n".join(part for part in parts if part)


def write_report(
    path: str | os.PathLike[str], output: str | os.PathLike[str] = "report.html", *, overwrite: bool = True
) -> Path:
    """Write one self-contained HTML file about a folder of runs.

    Parameters
    ----------
    path : path
        The folder that holds the run folders, or one run folder. Runs that did not finish are shown as such.
    output : path
        The file to write. It appears whole or not at all.
    overwrite : bool
        Whether an existing file may be replaced.

    Returns
    -------
    pathlib.Path
        The file written: figures inline as SVG, nothing fetched from anywhere, light and dark. The one script in it orders and filters
        tables; without it they are as they stand.

    Raises
    ------
    FormatError
        If a run folder is damaged; the message names the file.
    ConfigError
        If the output exists and `overwrite` is False, or is a folder.
    """
    target = writable(output, "report.html", overwrite=overwrite)
    title, body = report_body(Path(path))
    write_page(target, title, body, "report")
    return target
