"""Make a table of evidence for `assay advise` from folders of a suite's runs.

``python -m assay.analysis.advice.make_evidence runs/mine-small --output mine.parquet`` does so for one suite; `evidence` says how the table that
comes with Assay is made. With ``--keep OTHER.parquet`` that table's rows come first, but for those of datasets that the folders hold.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import polars as pl

from assay.analysis.advice.evidence import evidence_of, load_evidence
from assay.datasets.atomic import atomic_write

__all__: list[str] = []


def main() -> None:
    """Write the evidence of the folders on the command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("folders", nargs="+", metavar="RUNS", help="folders of a suite's runs")
    parser.add_argument("--actions", choices=("discrete", "continuous"), default="discrete")
    parser.add_argument("--keep", type=Path, help="table whose rows of other datasets are kept")
    parser.add_argument("--output", type=Path, required=True, help="Parquet file to write")
    arguments = parser.parse_args()
    table = pl.concat([evidence_of(folder, arguments.actions) for folder in arguments.folders])
    if arguments.keep is not None:
        table = pl.concat([load_evidence(arguments.keep).join(table, on=["suite", "dataset"], how="anti"), table])
    content = io.BytesIO()
    table.write_parquet(content, compression="zstd")
    atomic_write(arguments.output, content.getvalue())
    print(f"{arguments.output}: {table.height:,} runs on {table['dataset'].n_unique()} datasets")


if __name__ == "__main__":
    main()
