"""Write the table of docs/model-based.md on what MOREC and COCOA bring to their bases.

Usage: assay run suites/model-based-add-ons.yaml --budget small
       python docs/make_add_ons_table.py [RUNS]        (default runs/model-based-add-ons-small)

One cell is one source and algorithm: the mean over seeds with its 95 % bootstrap interval. Whatever is not finished is said to be so.
"""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl
from page_parts import replace_part
from score_parts import differences, scores

from assay.analysis import load_runs

PAGE = Path(__file__).parent / "model-based.md"
PAIRS = (
    ("MOPO+COCOA", "MOPO"),
    ("MOPO (10 steps)", "MOPO"),
    ("MOPO+MOREC (10 steps)", "MOPO (10 steps)"),
    ("CQL+COCOA", "CQL"),
    ("IQL+COCOA", "IQL"),
)


def main(folder: str = "runs/model-based-add-ons-small") -> None:
    """Write the table."""
    runs = load_runs(folder).filter(pl.col("status") == "finished")
    runs = runs.with_columns(pl.col("variant").str.strip_suffix(" clean"))
    replace_part(PAGE, "add-ons", f"{scores(runs)}\n\n{differences(runs, PAIRS)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
