"""Draw detection against benefit, and write the tables of docs/curation.md.

Usage: assay run suites/curation.yaml --budget small
       python docs/make_curation_table.py [runs/curation-small]

With a folder of runs, their scores and what the detectors find go to docs/curation.parquet first. The figure and the tables come from that
file alone. Intervals are 95 %, over seeds, or over cells of a task and a defect where correlations are.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
from page_parts import replace_part

import assay
from assay.analysis.runs import read_folders
from assay.analysis.trials.curation import CurationResult, curation, curation_scores
from assay.auditing import detections_of
from assay.corruption import ColumnFilter, DynamicsFilter, OracleFilter, RandomCorruption

HERE = Path(__file__).parent
PAGE, EVIDENCE, FIGURE = HERE / "curation.md", HERE / "curation.parquet", HERE / "images" / "curation.png"
KEYS = ["task", "defect", "detector"]
CONTROLS = ("oracle", "random")
SCORES = ("clean", "contaminated", "gap", "gap_low", "gap_high")
LOUD = "noisy states"  # that three detectors find without error
UPRIGHT = 0.7  # cosine of the pendulum's angle above which it stands


def main(runs: str | None = None) -> None:
    """Write the figure and the tables."""
    if runs is not None:
        write_evidence(runs)
    evidence = pl.read_parquet(EVIDENCE)
    result = curation(evidence, evidence.unique(KEYS).drop_nulls("auroc"))
    result.plot(width_pixels=1040).savefig(FIGURE, dpi=144, facecolor="white")
    replace_part(PAGE, "what was run", what_was_run(evidence))
    replace_part(PAGE, "gaps", gaps(result))
    replace_part(PAGE, "detectors", detectors(result))
    replace_part(PAGE, "length", length(result))
    replace_part(PAGE, "relation", relation(result))
    replace_part(PAGE, "what is lost", what_is_lost())


def write_evidence(runs: str) -> None:
    """Keep one row per score, with what its detector finds."""
    scores = curation_scores(runs)
    found = detections_of(read_folders(runs))
    scores.join(found, on=KEYS, how="left", maintain_order="left").write_parquet(EVIDENCE, compression="zstd")


def what_was_run(evidence: pl.DataFrame) -> str:
    """Say how many trainings there are, of what."""
    counts = {name: evidence.filter(pl.col(name) != "")[name].n_unique() for name in ("task", "defect", "action")}
    names = evidence.filter(~pl.col("detector").str.contains("^$|^oracle|^random"))["detector"].n_unique()
    return (
        f"{evidence.height:,} trainings: {counts['task']} tasks, {counts['defect']} defects, {names} detectors, {counts['action']} actions and "
        f"{evidence['seed'].n_unique()} seeds."
    )


def share(row: dict[str, Any]) -> str:
    """Write a recovered share with its interval."""
    if row["recovered"] is None:
        return "no gap"
    ends = ("?" if row[name] is None else f"{row[name]:.2f}" for name in ("recovered_low", "recovered_high"))
    return f"{row['recovered']:.2f} [{', '.join(ends)}]"


def gaps(result: CurationResult) -> str:
    """Return what every defect costs, and what the controls bring back of it by dropping."""
    lines = [
        "| defect | task | clean | contaminated | gap | oracle recovers | random recovers |",
        "|---|---|---|---|---|---|---|",
    ]
    dropped = result.table.filter(pl.col("action") == "drop")
    for (defect, task), group in dropped.group_by("defect", "task", maintain_order=True):
        oracle, random = (group.row(by_predicate=pl.col("detector") == name, named=True) for name in CONTROLS)
        numbers = {name: f"{round(oracle[name], 1) + 0.0:.1f}" for name in SCORES}  # and no negative zero
        gap = f"{numbers['gap']} [{numbers['gap_low']}, {numbers['gap_high']}]"
        scores = f"{numbers['clean']} | {numbers['contaminated']}"
        lines.append(f"| {defect} | {task} | {scores} | {gap} | {share(oracle)} | {share(random)} |")
    return "\n".join(lines)


def detectors(result: CurationResult) -> str:
    """Return AUROC, recovered share and verdict of every detector and action, the tasks side by side."""
    tasks = result.table["task"].unique(maintain_order=True).to_list()
    lines = [f"| defect | detector | action | {' | '.join(tasks)} |", "|---|---|---|" + "---|" * len(tasks)]
    ordered = result.detectors.group_by("defect", "detector", "action", maintain_order=True)
    for key, group in ordered:
        rows = {row["task"]: row for row in group.iter_rows(named=True)}
        cells = [
            f"{rows[task]['auroc_beyond_length']:.2f}: {share(rows[task])}; {rows[task]['verdict']}"
            if task in rows
            else ""
            for task in tasks
        ]
        lines.append(f"| {' | '.join(map(str, key))} | {' | '.join(cells)} |")
    return "\n".join(lines)


def length(result: CurationResult) -> str:
    """Return the AUROC of each detector of episodes, with the length taken out and without, where lengths differ most."""
    known = result.detectors.drop_nulls("length_correlation").unique(KEYS, maintain_order=True)
    spread = known.group_by("task").agg(pl.len()).sort("len", "task", descending=True)
    task = spread["task"][0]
    lines = [
        "| defect | detector | AUROC | of equal length | beyond length | correlation with length |",
        "|---|---|---|---|---|---|",
    ]
    moved = known.filter(pl.col("task") == task).with_columns(
        (pl.col("auroc") - pl.col("auroc_beyond_length")).abs().alias("moved")
    )
    for row in moved.sort("moved", descending=True).head(6).iter_rows(named=True):
        cells = (row[name] for name in ("auroc", "auroc_of_equal_length", "auroc_beyond_length", "length_correlation"))
        numbers = " | ".join("none" if value is None else f"{value:.2f}" for value in cells)
        lines.append(f"| {row['defect']} | {row['detector']} | {numbers} |")
    return "\n".join(lines)


def relation(result: CurationResult) -> str:
    """Return the correlations of detection with benefit, and the summary of the audit."""
    lines = ["| detection | benefit | compared | correlation | points | |", "|---|---|---|---|---|---|"]
    for benefit, named in (("recovered", "recovered share"), ("over_random", "score over random")):
        for detection, called in (("auroc", "AUROC"), ("auroc_beyond_length", "AUROC beyond length")):
            for row in result.relation(detection, benefit).iter_rows(named=True):
                lines.append(f"| {called} | {named} | {_compared(row)} | {_correlation(row)} |")
    quiet = replace(result, table=result.table.filter(pl.col("defect") != LOUD)).relation()
    lines += [
        f"| AUROC beyond length | recovered share, without {LOUD} | {_compared(row)} | {_correlation(row)} |"
        for row in quiet.iter_rows(named=True)
    ]
    return "\n".join([*lines, "", *(f"- {sentence}" for sentence in result.sentences)])


def what_is_lost() -> str:
    """Say which steps the model of the dynamics takes for spikes: those of the swing-up, where a linear model errs."""
    clean = assay.load("pendulum/expert", steps=8_000)
    spoiled = RandomCorruption("states", distribution="salt_and_pepper", scale=0.5, rate=0.3)(clean)
    found = ColumnFilter(of="suspicion/dynamics", per="step", share="corrupted", action="flag")(
        DynamicsFilter(action="flag")(spoiled)
    )
    wrong, flagged = OracleFilter(action="flag").find(spoiled)[0], found.column("flagged/suspicion_dynamics")
    swinging = clean.observations[clean.observation_rows, 0] < UPRIGHT
    kept = {
        name: (where & ~wrong & ~flagged).sum() / (where & ~wrong).sum()
        for name, where in (("up", ~swinging), ("swing", swinging))
    }
    return (
        f"Of the clean steps of the pendulum the residual filter leaves {kept['up']:.0%} where it stands upright, and {kept['swing']:.1%} where it "
        f"still swings up (the cosine of its angle below {UPRIGHT:g}); {int((swinging & ~wrong).sum())} clean steps are of the second kind."
    )


def _compared(row: dict[str, Any]) -> str:
    return "all" if row["compared"] == "all" else "within a task and defect"


def _correlation(row: dict[str, Any]) -> str:
    if row["low"] is None:
        return f"{row['correlation']:+.2f} | {row['points']} | too few cells for an interval"
    shown = "rises" if row["low"] > 0 else "falls" if row["high"] < 0 else "not shown"
    return f"{row['correlation']:+.2f} [{row['low']:+.2f}, {row['high']:+.2f}] | {row['points']} | {shown}"


if __name__ == "__main__":
    main(*sys.argv[1:])
