"""Write the table of docs/suites.md on what searching parameters is worth.

Usage: assay run suites/search.yaml --budget small
       python docs/make_search_table.py [RUNS]        (default runs/search-small)

Means over the seeds of the final runs, none of which the search has seen, with their 95 % bootstrap intervals.
"""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl
from page_parts import replace_part
from score_parts import differences, scores

from assay.analysis import load_runs

PAGE = Path(__file__).parent / "suites.md"
PAIRS = (("TD3+BC, searched", "TD3+BC"), ("TD3+BC", "BC"))
DATA = "pendulum/medium"


def main(folder: str = "runs/search-small") -> None:
    """Write the table."""
    runs = load_runs(folder).filter(pl.col("status") == "finished").with_columns(variant=pl.lit(DATA))
    replace_part(PAGE, "search", f"{scores(runs)}\n\n{differences(runs, PAIRS)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
